//! The way of every log line to stderr: looked through as a whole, once, before it is written.

use std::borrow::Cow;
use std::io::{self, Write};
use std::panic::PanicHookInfo;
use std::sync::OnceLock;

use tracing_subscriber::fmt::MakeWriter;
use trunkline_guard::redact::detect::Detectors;
use trunkline_guard::redact::log::LogVeil;

/// What is hidden, from the start of logging on.
static VEIL: OnceLock<LogVeil> = OnceLock::new();

/// Writes to stderr what may be seen there. It is the same for all of the process: a second choice changes nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Veiled(());

impl Veiled {
    pub(super) fn new(more: Detectors) -> Self {
        VEIL.get_or_init(|| LogVeil::new(more));
        Self(())
    }
}

/// Returns a text as it may be seen on stderr.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    VEIL.get_or_init(|| LogVeil::new(Detectors::default())).clean(text)
}

impl<'w> MakeWriter<'w> for Veiled {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        *self
    }
}

impl Write for Veiled {
    /// Writes one event: the subscriber hands over each as a whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        io::stderr().lock().write_all(clean(&text).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

/// Lets panics pass the same way: their text is made by whoever panics, and may hold anything.
pub(super) fn watch_panics() {
    std::panic::set_hook(Box::new(|panic: &PanicHookInfo<'_>| {
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed");
        let trace = std::backtrace::Backtrace::capture();
        let trace = match trace.status() {
            std::backtrace::BacktraceStatus::Captured => format!("\n{trace}"),
            _ => String::new(),
        };
        // Nothing is left to tell it to when stderr is gone.
        let line = format!("thread `{name}` panicked at {place}: {text}");
        let _ = writeln!(io::stderr().lock(), "{}{trace}", clean(&line));
    }));
}
