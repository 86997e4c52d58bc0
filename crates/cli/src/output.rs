//! Where commands write: people's text to stderr, results to stdout. A reader that is gone is no error.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use trunkline_sql::Severity;

use crate::config::{Diagnostic, Document, Edge, LogFile, LogFormat, Style, render};
use crate::logging;

/// Writes a line to stderr.
pub(crate) fn line(text: &str) {
    // Nothing is left to tell it to when stderr is gone.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Whether a result could not be written, so that the command must not end as if it had been.
static LOST: AtomicBool = AtomicBool::new(false);

/// Writes text to stdout, with a line break at its end. A reader that has enough is no error; a full disk is, see [`lost`].
pub(crate) fn result(text: &str) {
    let mut out = io::stdout().lock();
    let written = out
        .write_all(text.trim_end_matches('\n').as_bytes())
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            LOST.store(true, Ordering::Relaxed);
            line(&format!("error: the result cannot be written: {error}"));
        }
        _ => {}
    }
}

/// Tells whether a result could not be written.
pub(crate) fn lost() -> bool {
    LOST.load(Ordering::Relaxed)
}

/// Returns a number with the word for what is counted: `1 tool`, `3 tools`.
pub(crate) fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// Writes diagnostics to stderr, in colour on a terminal.
pub(crate) fn diagnostics(problems: &[Diagnostic], document: &Document) {
    line(render(problems, document, style()).trim_end());
}

fn style() -> Style {
    let colours =
        io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if colours { Style::Terminal(width()) } else { Style::Plain }
}

/// Returns how many columns a line on stderr has; 140 where nobody says.
fn width() -> usize {
    let size = terminal_size::terminal_size_of(io::stderr());
    size.map_or(140, |(terminal_size::Width(columns), _)| usize::from(columns).max(40))
}

/// How a running server speaks to its operator.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Voice {
    /// Log lines are JSON, so nothing else may stand between them.
    json: bool,
    /// Only what is wrong is told.
    quiet: bool,
}

impl Voice {
    pub(crate) fn new(log: &LogFile, edge: Edge) -> Self {
        Self { json: log.format == LogFormat::Json, quiet: edge == Edge::Stdio }
    }

    /// Tells what happens.
    pub(crate) fn say(self, text: &str) {
        match self {
            Self { json: true, .. } => tracing::info!("{text}"),
            Self { quiet: true, .. } => {}
            Self { .. } => line(&logging::clean(text)),
        }
    }

    /// Tells what may need doing.
    pub(crate) fn warn(self, text: &str) {
        if self.json { tracing::warn!("{text}") } else { line(&format!("warning: {}", logging::clean(text))) }
    }

    /// Tells what is wrong with the file, under one headline.
    pub(crate) fn wrong(self, headline: &str, problems: &[Diagnostic], document: &Document) {
        if self.json {
            for problem in problems {
                let (key, told) = (&problem.key, problem.one_line(document));
                if problem.severity == Severity::Warning {
                    tracing::warn!(key, "{headline}: {told}");
                } else {
                    tracing::error!(key, "{headline}: {told}");
                }
            }
            return;
        }
        line(&format!("{headline}:\n"));
        diagnostics(problems, document);
        line("");
    }
}
