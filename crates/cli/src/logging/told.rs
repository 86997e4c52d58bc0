//! The form of a line, with what the thread that writes it works for: each line of a request has its number and its trace,
//! without a span for every request.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;
use trunkline_service::trace::{self, Mark};

/// A form of lines to which the request is added.
#[derive(Debug)]
pub(super) struct Told<F> {
    format: F,
    form: Form,
}

/// How a line ends, and what is added there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Pretty,
    Json,
}

/// The field by which a line names its request itself.
const REQUEST: &str = "request";

impl<F> Told<F> {
    /// One line for people.
    pub(super) fn text(format: F) -> Self {
        Self { format, form: Form::Text }
    }

    /// Several lines for people.
    pub(super) fn pretty(format: F) -> Self {
        Self { format, form: Form::Pretty }
    }

    /// One JSON object.
    pub(super) fn json(format: F) -> Self {
        Self { format, form: Form::Json }
    }
}

impl<S, N, F> FormatEvent<S, N> for Told<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(mark) = trace::current() else {
            return self.format.format_event(context, writer, event);
        };
        let mut line = String::with_capacity(256);
        self.format.format_event(context, Writer::new(&mut line), event)?;
        let names_request = event.metadata().fields().field(REQUEST).is_some();
        self.form.add(&mut line, mark, names_request);
        writer.write_str(&line)
    }
}

impl Form {
    /// Adds the request to a line, its number unless the line has that already.
    fn add(self, line: &mut String, mark: Mark, names_request: bool) {
        let end = line.trim_end().len();
        let rest = line.split_off(end);
        let number = (!names_request).then(|| format!("{:016x}", mark.log_id));
        match self {
            Self::Json => {
                // An object that ends as one, or something that is better left alone.
                if line.pop_if_brace() {
                    if let Some(number) = number {
                        line.push_str(&format!(",\"request\":\"{number}\""));
                    }
                    line.push_str(&format!(",\"trace_id\":\"{}\"}}", mark.trace_id()));
                }
            }
            Self::Text | Self::Pretty => {
                let (before, between) = if self == Self::Text { (" ", "=") } else { ("\n    ", ": ") };
                if let Some(number) = number {
                    line.push_str(&format!("{before}request{between}{number}"));
                }
                // One of our own says no more than the number.
                if let Some(sent) = mark.sent {
                    line.push_str(&format!("{before}trace_id{between}{}", sent.trace_id()));
                }
            }
        }
        line.push_str(&rest);
    }
}

/// What a line of JSON ends with.
trait PopBrace {
    /// Takes the brace at the end away; `false` when there is none.
    fn pop_if_brace(&mut self) -> bool;
}

impl PopBrace for String {
    fn pop_if_brace(&mut self) -> bool {
        self.ends_with('}') && self.pop().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};

    use serde_json::Value;
    use tracing_subscriber::fmt::MakeWriter;
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::{Registry, fmt as subscriber};
    use trunkline_service::trace::TraceParent;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Kept {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn sent() -> Mark {
        let sent = TraceParent::parse(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        Mark { log_id: 0xab, sent }
    }

    fn say() {
        tracing::info!("between requests");
        let _entered = sent().enter();
        tracing::warn!(code = 7, "a \"quoted\" text\nof two lines");
        tracing::warn!(request = "00000000000000ab", "has it already");
        let _other = Mark::of(0xcd).enter();
        tracing::warn!("of a trace that began here");
    }

    #[test]
    fn lines_of_json_have_the_number_and_the_trace_once() {
        let kept = Kept::default();
        let lines = subscriber::layer().with_writer(kept.clone()).json().flatten_event(true);
        tracing::subscriber::with_default(Registry::default().with(lines.map_event_format(Told::json)), say);
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert_eq!((lines[0].get("request"), lines[0].get("trace_id")), (None, None));
        assert_eq!(lines[1]["request"], "00000000000000ab");
        assert_eq!(lines[1]["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(lines[1]["message"], "a \"quoted\" text\nof two lines");
        assert!(lines.iter().all(|line| line["timestamp"].is_string() && line["level"].is_string()));
        assert_eq!(text.matches("00000000000000ab").count(), 2, "{text}");
        assert_eq!(lines[3]["request"], "00000000000000cd");
        assert_eq!(lines[3]["trace_id"].as_str().unwrap(), Mark::of(0xcd).trace_id().to_string());
    }

    #[test]
    fn lines_for_people_end_with_the_number_and_the_trace_that_came() {
        let kept = Kept::default();
        let lines = subscriber::layer().with_writer(kept.clone()).with_ansi(false).with_target(false);
        tracing::subscriber::with_default(Registry::default().with(lines.map_event_format(Told::text)), say);
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("between requests\n"), "{text}");
        assert!(
            text.contains(" code=7 request=00000000000000ab trace_id=4bf92f3577b34da6a3ce929d0e0e4736\n"),
            "{text}"
        );
        assert!(text.ends_with("began here request=00000000000000cd\n"), "{text}");
    }

    #[test]
    fn pretty_lines_have_them_below() {
        let kept = Kept::default();
        let lines = subscriber::layer().with_writer(kept.clone()).with_ansi(false).pretty();
        tracing::subscriber::with_default(
            Registry::default().with(lines.map_event_format(Told::pretty)),
            say,
        );
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert!(
            text.contains(
                "\n    request: 00000000000000ab\n    trace_id: 4bf92f3577b34da6a3ce929d0e0e4736\n"
            ),
            "{text}"
        );
    }
}
