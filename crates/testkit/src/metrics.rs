//! A strict reader of pages of metrics: what a scraper would refuse, or would quietly read otherwise than it is meant, is an
//! error here. Sources: the exposition formats of Prometheus (text, 0.0.4) and OpenMetrics 1.0.

use std::collections::{BTreeMap, BTreeSet};

/// A page that was read.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// The value of each series, by its name and its labels as they are written in order of their names.
    pub series: BTreeMap<String, f64>,
    /// The kind of each family.
    pub kinds: BTreeMap<String, String>,
}

/// A series as it is written on a line.
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Metrics {
    /// Reads a page.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut page = Self::default();
        let is_open = text.ends_with("# EOF\n");
        if !text.is_empty() && !text.ends_with('\n') {
            return Err("the page does not end with a line break".to_owned());
        }
        let text = text.strip_suffix("# EOF\n").unwrap_or(text);
        let (mut family, mut helped, mut histograms) = (None, BTreeSet::new(), Vec::new());
        for line in text.lines() {
            let wrong = |why: &str| Err(format!("{why}: {line}"));
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap_or((rest, ""));
                if !is_name(name) || help.is_empty() || !helped.insert(name.to_owned()) {
                    return wrong("a bad, empty or repeated head");
                }
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let Some((name, kind)) = rest.split_once(' ') else { return wrong("a type without a kind") };
                let is_kind = matches!(kind, "counter" | "gauge" | "histogram");
                if !is_kind || !helped.contains(name) || page.kinds.contains_key(name) {
                    return wrong("an unknown, unexplained or repeated type");
                }
                page.kinds.insert(name.to_owned(), kind.to_owned());
                family = Some((name.to_owned(), kind.to_owned()));
            } else if line.starts_with('#') || line.trim().is_empty() {
                return wrong("neither a head nor a sample");
            } else {
                let sample = sample(line)?;
                let Some((name, kind)) = &family else { return wrong("a sample before any type") };
                if !fits(&sample.name, name, kind, is_open) {
                    return wrong("a sample outside of its family");
                }
                if kind != "gauge" && !(sample.value >= 0.0 && sample.value.is_finite()) {
                    return wrong("a count that is none");
                }
                let key = key(&sample.name, &sample.labels);
                if page.series.insert(key, sample.value).is_some() {
                    return wrong("a series twice");
                }
                if kind == "histogram" {
                    histograms.push(sample);
                }
            }
        }
        check_histograms(&histograms)?;
        Ok(page)
    }

    /// Returns the value of a series that is written like `name{a="b"}`, its labels in order of their names.
    #[must_use]
    pub fn value(&self, series: &str) -> Option<f64> {
        self.series.get(series).copied()
    }

    /// Returns the sum of all series of that name that have all of these labels.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let of = |series: &&String| {
            series.split('{').next() == Some(name) && labels.iter().all(|label| series.contains(label))
        };
        self.series.keys().filter(of).filter_map(|series| self.value(series)).sum()
    }

    /// Returns the names of all families.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.kinds.keys().map(String::as_str)
    }
}

fn key(name: &str, labels: &[(String, String)]) -> String {
    let mut sorted: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    sorted.sort_unstable();
    if sorted.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", sorted.join(",")) }
}

fn fits(sample: &str, family: &str, kind: &str, is_open: bool) -> bool {
    match kind {
        "counter" if is_open => sample.strip_suffix("_total") == Some(family),
        "histogram" => {
            sample.strip_prefix(family).is_some_and(|rest| matches!(rest, "_bucket" | "_sum" | "_count"))
        }
        "counter" => sample == family && sample.ends_with("_total"),
        _ => sample == family,
    }
}

/// Checks of every histogram that its steps rise, end without an end, and agree with its count.
fn check_histograms(samples: &[Sample]) -> Result<(), String> {
    let mut steps: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    let mut counts: BTreeMap<String, f64> = BTreeMap::new();
    for Sample { name, labels, value } in samples {
        if let Some(family) = name.strip_suffix("_bucket") {
            let Some(end) = labels.iter().find(|(name, _)| name == "le") else {
                return Err(format!("a step of {family} has no end"));
            };
            let end = number(&end.1).ok_or_else(|| format!("a step of {family} ends at {}", end.1))?;
            let others: Vec<_> = labels.iter().filter(|(name, _)| name != "le").cloned().collect();
            steps.entry(key(family, &others)).or_default().push((end, *value));
        } else if let Some(family) = name.strip_suffix("_count") {
            counts.insert(key(family, labels), *value);
        }
    }
    for (series, steps) in &steps {
        let rises = steps.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        let last = steps.last().copied().unwrap_or_default();
        if !rises || !last.0.is_infinite() || counts.get(series) != Some(&last.1) {
            return Err(format!("the steps of {series} do not rise to its count"));
        }
    }
    if steps.len() == counts.len() {
        Ok(())
    } else {
        Err("a histogram without steps, or without a count".to_owned())
    }
}

fn sample(line: &str) -> Result<Sample, String> {
    let wrong = |why: &str| format!("{why}: {line}");
    let end = line.find(['{', ' ']).ok_or_else(|| wrong("no value"))?;
    let (name, mut rest) = line.split_at(end);
    if !is_name(name) {
        return Err(wrong("a bad name"));
    }
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, behind) = rest.split_once("=\"").ok_or_else(|| wrong("a label without a value"))?;
            let is_new = !labels.iter().any(|(known, _)| known == label);
            if !is_name(label) || label.contains(':') || !is_new {
                return Err(wrong("a bad or repeated label"));
            }
            let (value, behind) = quoted(behind).ok_or_else(|| wrong("a value that does not end"))?;
            labels.push((label.to_owned(), value));
            match behind.strip_prefix(',') {
                Some(next) => rest = next,
                None => {
                    rest = behind.strip_prefix('}').ok_or_else(|| wrong("labels that do not end"))?;
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ').and_then(number).ok_or_else(|| wrong("no number"))?;
    Ok(Sample { name: name.to_owned(), labels, value })
}

/// Reads a text up to its closing quote.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    loop {
        match letters.next()? {
            (at, '"') => return Some((value, text.get(at + 1..)?)),
            (_, '\\') => match letters.next()?.1 {
                'n' => value.push('\n'),
                letter @ ('\\' | '"') => value.push(letter),
                _ => return None,
            },
            (_, letter) => value.push(letter),
        }
    }
}

fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        "NaN" => Some(f64::NAN),
        text if text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e')) => {
            text.parse().ok()
        }
        _ => None,
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# HELP a_total A.\n# TYPE a_total counter\na_total{x=\"1\\\"\\n\\\\\",y=\"2\"} 3\na_total 4\n\
                        # HELP b B.\n# TYPE b gauge\nb -1.5\n\
                        # HELP c_seconds C.\n# TYPE c_seconds histogram\nc_seconds_bucket{le=\"0.1\"} 1\n\
                        c_seconds_bucket{le=\"+Inf\"} 2\nc_seconds_sum 3.5\nc_seconds_count 2\n";

    #[test]
    fn a_page_is_read() {
        let page = Metrics::parse(GOOD).unwrap();
        assert_eq!(page.value("b"), Some(-1.5));
        assert_eq!(page.sum("a_total", &[]), 7.0);
        assert_eq!(page.sum("a_total", &["y=\"2\""]), 3.0);
        assert_eq!(page.names().collect::<Vec<_>>(), ["a_total", "b", "c_seconds"]);
        assert!(
            Metrics::parse(&format!("{}# EOF\n", GOOD.replace("_total A", " A").replace("_total c", " c")))
                .is_ok()
        );
    }

    #[test]
    fn what_a_scraper_would_refuse_is_wrong() {
        for (from, to) in [
            ("a_total 4\n", "a_total 4\na_total 5\n"),
            ("a_total 4\n", "a_total x\n"),
            ("a_total 4\n", "a_total -4\n"),
            ("a_total 4\n", "b_total 4\n"),
            ("a_total 4\n", "a_total{x=\"1} 4\n"),
            ("a_total 4\n", "a_total{x=\"\\q\"} 4\n"),
            ("a_total 4\n", "a_total{x=\"1\",x=\"2\"} 4\n"),
            ("a_total 4\n", "a_total{1x=\"1\"} 4\n"),
            ("a_total 4\n", "\n"),
            ("b -1.5\n", "b inf\n"),
            ("# TYPE b gauge", "# TYPE b thing"),
            ("# HELP b B.\n", ""),
            ("le=\"0.1\"} 1", "le=\"0.1\"} 3"),
            ("c_seconds_count 2", "c_seconds_count 3"),
            ("c_seconds_bucket{le=\"+Inf\"} 2\n", ""),
            ("c_seconds_count 2\n", "c_seconds_count 2"),
            ("# HELP b B.\n# TYPE b gauge\n", "# HELP a_total A.\n# TYPE a_total counter\n"),
        ] {
            let bad = GOOD.replacen(from, to, 1);
            assert_ne!(bad, GOOD, "{from}");
            assert!(Metrics::parse(&bad).is_err(), "{to}");
        }
    }
}
