//! A page of metrics as text, in the two formats that scrapers ask for.

use std::fmt::{self, Write as _};

use super::{Durations, Spread};

/// The form of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// The text format of Prometheus, version 0.0.4.
    #[default]
    Prometheus,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// Returns the media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A page of metrics. The samples of one name may be written in any order: they are gathered under one head.
#[derive(Debug, Default)]
pub struct Page {
    format: Format,
    families: Vec<Family>,
    /// Where the family that was written to last stands.
    last: usize,
}

/// All samples of one name.
#[derive(Debug)]
struct Family {
    name: String,
    kind: Kind,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl Page {
    /// Makes an empty page in the text format of Prometheus.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes an empty page.
    #[must_use]
    pub fn in_format(format: Format) -> Self {
        Self { format, ..Self::default() }
    }

    /// Writes a counter; its name ends in `_total`. Labels are pairs of a name and a value that the configuration bounds, never
    /// one that a client chooses; one with an empty value is left out.
    pub fn counter(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: u64) {
        self.write(name, Kind::Counter, help, |sample| sample.line("", labels, None, &value));
    }

    /// Writes a counter of seconds; its name ends in `_seconds_total`.
    pub fn seconds(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.write(name, Kind::Counter, help, |sample| sample.line("", labels, None, &Number(value)));
    }

    /// Writes a gauge.
    pub fn gauge(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.write(name, Kind::Gauge, help, |sample| sample.line("", labels, None, &Number(value)));
    }

    /// Writes a histogram of seconds; its name ends in `_seconds`.
    pub fn durations(&mut self, name: &str, help: &str, labels: &[(&str, &str)], durations: &Durations) {
        self.spread(name, help, labels, &durations.spread());
    }

    /// Writes a histogram of seconds from what was added up; its name ends in `_seconds`.
    pub fn spread(&mut self, name: &str, help: &str, labels: &[(&str, &str)], spread: &Spread) {
        self.write(name, Kind::Histogram, help, |sample| {
            let mut count = 0;
            for (end, sum) in spread.cumulative() {
                count = sum;
                sample.line("_bucket", labels, Some(end.unwrap_or(f64::INFINITY)), &sum);
            }
            sample.line("_sum", labels, None, &Number(spread.total().as_secs_f64()));
            sample.line("_count", labels, None, &count);
        });
    }

    /// Returns the page.
    #[must_use]
    pub fn into_text(self) -> String {
        let end = if self.format == Format::OpenMetrics { "# EOF\n" } else { "" };
        let length = self.families.iter().map(|family| family.text.len()).sum::<usize>() + end.len();
        let mut text = String::with_capacity(length);
        self.families.iter().for_each(|family| text.push_str(&family.text));
        text.push_str(end);
        text
    }

    fn write(&mut self, name: &str, kind: Kind, help: &str, write: impl FnOnce(&mut Samples<'_>)) {
        debug_assert!(is_name(name), "`{name}` is no name of a metric");
        debug_assert!(kind != Kind::Counter || name.ends_with("_total"), "`{name}` is a counter");
        let known = self.families.get(self.last).is_some_and(|family| family.name == name);
        if !known {
            let at = self.families.iter().position(|family| family.name == name);
            self.last = at.unwrap_or(self.families.len());
            if at.is_none() {
                self.families.push(Family::new(name, kind, help, self.format));
            }
        }
        let Some(family) = self.families.get_mut(self.last) else { return };
        // Samples of another kind would make the page invalid, and with it all that is on it.
        debug_assert!(family.kind == kind, "`{name}` is a {} and no {}", family.kind.word(), kind.word());
        if family.kind == kind {
            write(&mut Samples { name, text: &mut family.text, format: self.format });
        }
    }
}

impl Family {
    fn new(name: &str, kind: Kind, help: &str, format: Format) -> Self {
        // A counter of OpenMetrics has its ending at its samples alone.
        let title = match (format, kind) {
            (Format::OpenMetrics, Kind::Counter) => name.strip_suffix("_total").unwrap_or(name),
            _ => name,
        };
        let is_quoted = format == Format::OpenMetrics;
        let help = Escaped { text: help, is_quoted };
        let text = format!("# HELP {title} {help}\n# TYPE {title} {}\n", kind.word());
        Self { name: name.to_owned(), kind, text }
    }
}

/// Where the samples of one name are written.
struct Samples<'a> {
    name: &'a str,
    text: &'a mut String,
    format: Format,
}

impl Samples<'_> {
    // Writing to a text does not fail.
    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], end: Option<f64>, value: &dyn fmt::Display) {
        let text = &mut *self.text;
        text.push_str(self.name);
        text.push_str(suffix);
        let mut opening = '{';
        for (label, value) in labels.iter().filter(|(_, value)| !value.is_empty()) {
            debug_assert!(is_name(label), "`{label}` is no name of a label");
            let _ = write!(text, "{opening}{label}=\"{}\"", Escaped { text: value, is_quoted: true });
            opening = ',';
        }
        if let Some(end) = end {
            let _ = match self.format {
                _ if end.is_infinite() => write!(text, "{opening}le=\"+Inf\""),
                Format::Prometheus => write!(text, "{opening}le=\"{end}\""),
                // Always with a point there.
                Format::OpenMetrics => write!(text, "{opening}le=\"{end:?}\""),
            };
            opening = ',';
        }
        let closing = if opening == ',' { "}" } else { "" };
        let _ = writeln!(text, "{closing} {value}");
    }
}

/// Tells whether it is a name of a metric or label: of both, what is allowed to either.
fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

/// A number as both formats want it.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            number if number == f64::INFINITY => f.write_str("+Inf"),
            number if number == f64::NEG_INFINITY => f.write_str("-Inf"),
            number => write!(f, "{number}"),
        }
    }
}

/// A text as the formats want it: of a label, in quotes; of a head, which only OpenMetrics has quotes escaped in.
struct Escaped<'a> {
    text: &'a str,
    is_quoted: bool,
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.chars().try_for_each(|character| match character {
            '\\' => f.write_str("\\\\"),
            '"' if self.is_quoted => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            other => f.write_char(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn page(format: Format) -> String {
        let mut page = Page::in_format(format);
        page.counter("trunkline_calls_total", "Calls \"all\".", &[("tool", "a\"b\\c\nd"), ("by", "")], 2);
        page.gauge("trunkline_in_flight", "Requests in flight.", &[("by", "")], 1.5);
        page.counter("trunkline_calls_total", "Calls \"all\".", &[("tool", "e")], 3);
        page.into_text()
    }

    #[test]
    fn a_page_has_one_head_for_each_name_and_escaped_labels() {
        assert_eq!(
            page(Format::Prometheus),
            "# HELP trunkline_calls_total Calls \"all\".\n# TYPE trunkline_calls_total counter\n\
             trunkline_calls_total{tool=\"a\\\"b\\\\c\\nd\"} 2\ntrunkline_calls_total{tool=\"e\"} 3\n\
             # HELP trunkline_in_flight Requests in flight.\n# TYPE trunkline_in_flight gauge\n\
             trunkline_in_flight 1.5\n"
        );
    }

    #[test]
    fn a_page_of_openmetrics_names_counters_without_their_ending_and_has_an_end() {
        assert_eq!(
            page(Format::OpenMetrics),
            "# HELP trunkline_calls Calls \\\"all\\\".\n# TYPE trunkline_calls counter\n\
             trunkline_calls_total{tool=\"a\\\"b\\\\c\\nd\"} 2\ntrunkline_calls_total{tool=\"e\"} 3\n\
             # HELP trunkline_in_flight Requests in flight.\n# TYPE trunkline_in_flight gauge\n\
             trunkline_in_flight 1.5\n# EOF\n"
        );
    }

    #[test]
    fn a_histogram_has_all_its_steps_and_what_they_add_up_to() {
        let durations = Durations::default();
        [500, 501, 70_000_000]
            .into_iter()
            .for_each(|micros| durations.observe(Duration::from_micros(micros)));
        for (format, minute) in [(Format::Prometheus, "60"), (Format::OpenMetrics, "60.0")] {
            let mut page = Page::in_format(format);
            page.durations("x_seconds", "X.", &[("tool", "t")], &durations);
            let text = page.into_text();
            for line in [
                "x_seconds_bucket{tool=\"t\",le=\"0.0001\"} 0\n",
                "x_seconds_bucket{tool=\"t\",le=\"0.0005\"} 1\n",
                "x_seconds_bucket{tool=\"t\",le=\"0.001\"} 2\n",
                &format!("x_seconds_bucket{{tool=\"t\",le=\"{minute}\"}} 2\n"),
                "x_seconds_bucket{tool=\"t\",le=\"+Inf\"} 3\n",
                "x_seconds_sum{tool=\"t\"} 70.001001\n",
                "x_seconds_count{tool=\"t\"} 3\n",
            ] {
                assert!(text.contains(line), "{line} in {text}");
            }
        }
    }

    #[test]
    fn numbers_that_are_none_have_their_words() {
        let mut page = Page::new();
        for (label, value) in [("a", f64::NAN), ("b", f64::INFINITY), ("c", f64::NEG_INFINITY), ("d", 1e21)] {
            page.gauge("x", "X.", &[("of", label)], value);
        }
        let text = page.into_text();
        for end in ["} NaN\n", "} +Inf\n", "} -Inf\n", "} 1000000000000000000000\n"] {
            assert!(text.contains(end), "{text}");
        }
    }
}
