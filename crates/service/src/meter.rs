//! What is counted while requests are answered, and how a page of metrics reads it: whoever counts keeps its own numbers, made
//! once, and writes them when it is asked. Nothing is registered, looked up or locked per call.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// Somebody who counts.
pub trait Meter: fmt::Debug + Send + Sync + 'static {
    /// Writes what was counted until now.
    fn read(&self, page: &mut Page);
}

/// A number that rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn add_one(&self) {
        self.add(1);
    }

    /// Adds `more`.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Returns the sum.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that rises and falls.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Adds `change`, which may be negative.
    pub fn add(&self, change: i64) {
        self.0.fetch_add(change, Ordering::Relaxed);
    }

    /// Puts `value` in the place of what it was.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Returns the value.
    #[must_use]
    pub fn value(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How long things took, in steps that are the same for all: what was at most so long, from 0.5 ms to 60 s.
#[derive(Debug, Default)]
pub struct Durations {
    buckets: [AtomicU64; STEPS.len() + 1],
    /// In nanoseconds; wraps after five centuries.
    sum: AtomicU64,
}

/// The upper ends of the steps, in microseconds.
const STEPS: [u64; 16] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

impl Durations {
    /// Counts one that took so long.
    pub fn observe(&self, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let step = STEPS.partition_point(|end| end * 1_000 < nanoseconds);
        if let Some(bucket) = self.buckets.get(step) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(nanoseconds, Ordering::Relaxed);
    }
}

/// A page of metrics in the text format of Prometheus, 0.0.4. The samples of one name have to be written one after another.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
    last: String,
}

impl Page {
    /// Makes an empty page.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a counter; its name ends in `_total`. Labels are pairs of a name and a value that the configuration bounds, never
    /// one that a client chooses.
    pub fn counter(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: u64) {
        self.head(name, "counter", help);
        self.sample(name, "", labels, None, &value);
    }

    /// Writes a gauge.
    pub fn gauge(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.head(name, "gauge", help);
        self.sample(name, "", labels, None, &value);
    }

    /// Writes a histogram of seconds; its name ends in `_seconds`.
    pub fn durations(&mut self, name: &str, help: &str, labels: &[(&str, &str)], durations: &Durations) {
        self.head(name, "histogram", help);
        let mut sum = 0;
        for (step, bucket) in durations.buckets.iter().enumerate() {
            sum += bucket.load(Ordering::Relaxed);
            let end = STEPS.get(step).map_or_else(
                || "+Inf".to_owned(),
                |end| Duration::from_micros(*end).as_secs_f64().to_string(),
            );
            self.sample(name, "_bucket", labels, Some(&end), &sum);
        }
        let seconds = Duration::from_nanos(durations.sum.load(Ordering::Relaxed)).as_secs_f64();
        self.sample(name, "_sum", labels, None, &seconds);
        self.sample(name, "_count", labels, None, &sum);
    }

    /// Returns the page.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        if self.last != name {
            self.last = name.to_owned();
            // Writing to a text does not fail.
            let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        }
    }

    fn sample(
        &mut self,
        name: &str,
        suffix: &str,
        labels: &[(&str, &str)],
        end: Option<&str>,
        value: &dyn fmt::Display,
    ) {
        self.text.push_str(name);
        self.text.push_str(suffix);
        let mut opening = '{';
        for (label, value) in labels.iter().copied().chain(end.map(|end| ("le", end))) {
            let _ = write!(self.text, "{opening}{label}=\"{}\"", Escaped(value));
            opening = ',';
        }
        let closing = if opening == ',' { "}" } else { "" };
        let _ = writeln!(self.text, "{closing} {value}");
    }
}

/// A label's value as the format wants it.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            other => f.write_char(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_one_head_for_each_name_and_escaped_labels() {
        let mut page = Page::new();
        page.counter("trunkline_calls_total", "Calls.", &[("tool", "a\"b\\c\nd")], 2);
        page.counter("trunkline_calls_total", "Calls.", &[("tool", "e")], 3);
        page.gauge("trunkline_in_flight", "Requests in flight.", &[], 1.0);
        assert_eq!(
            page.into_text(),
            "# HELP trunkline_calls_total Calls.\n# TYPE trunkline_calls_total counter\n\
             trunkline_calls_total{tool=\"a\\\"b\\\\c\\nd\"} 2\ntrunkline_calls_total{tool=\"e\"} 3\n\
             # HELP trunkline_in_flight Requests in flight.\n# TYPE trunkline_in_flight gauge\n\
             trunkline_in_flight 1\n"
        );
    }

    #[test]
    fn what_took_as_long_as_a_step_is_in_it() {
        let durations = Durations::default();
        [500, 501, 70_000_000]
            .into_iter()
            .for_each(|micros| durations.observe(Duration::from_micros(micros)));
        let mut page = Page::new();
        page.durations("x_seconds", "X.", &[("tool", "t")], &durations);
        let text = page.into_text();
        assert!(text.contains("x_seconds_bucket{tool=\"t\",le=\"0.0005\"} 1\n"), "{text}");
        assert!(text.contains("le=\"0.001\"} 2\n") && text.contains("le=\"60\"} 2\n"), "{text}");
        assert!(
            text.contains("le=\"+Inf\"} 3\n") && text.contains("x_seconds_count{tool=\"t\"} 3\n"),
            "{text}"
        );
    }
}
