//! What is logged, and how: always to stderr, with the level of the file or of `TRUNKLINE_LOG`, and never a secret.

mod told;
mod veil;

use std::io::{self, IsTerminal as _};
use std::sync::OnceLock;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use crate::config::{Edge, LogFile, LogFormat, LogLevel};
use told::Told;
use veil::Veiled;
pub(crate) use veil::clean;

/// The variable that goes before `[log] level`: a level, or directives like `trunkline_server=debug`.
const VARIABLE: &str = "TRUNKLINE_LOG";

/// The filter in force; there is none before logging is started.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Starts logging. A second call changes nothing.
pub(crate) fn start(log: &LogFile, edge: Edge) {
    veil::watch_panics();
    let (filter, handle) = reload::Layer::new(filter(of_variable(), log.level, edge));
    let lines = lines(log.format, Veiled::new(log.redact.detectors()));
    let started = Registry::default().with(filter).with(lines).try_init();
    // An error means that logging was started before, which only tests do.
    if started.is_ok() {
        let _ = FILTER.set(handle);
    }
}

/// Takes the level of a file that is read anew; the variable still goes before it. The form of the lines stays what it was.
pub(crate) fn change_level(level: Option<LogLevel>, edge: Edge) {
    let Some(handle) = FILTER.get() else { return };
    if let Err(error) = handle.reload(filter(of_variable(), level, edge)) {
        tracing::warn!(%error, "the level of the log stays as it was");
    }
}

/// Returns what writes lines, each with the request that it is of.
fn lines<S>(format: LogFormat, veiled: Veiled) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let is_colored = io::stderr().is_terminal();
    let lines = fmt::layer().with_writer(veiled).with_ansi(is_colored);
    match format {
        LogFormat::Json => lines.json().flatten_event(true).map_event_format(Told::json).boxed(),
        LogFormat::Text => {
            let lines = lines.with_target(false);
            lines.map_event_format(|format| Told::text(format.with_ansi(is_colored))).boxed()
        }
        LogFormat::Pretty => {
            let pretty = move |format: fmt::format::Format<_, _>| {
                Told::pretty(format.with_ansi(is_colored).with_source_location(false))
            };
            lines.pretty().map_event_format(pretty).boxed()
        }
    }
}

fn of_variable() -> Option<String> {
    std::env::var(VARIABLE).ok().filter(|text| !text.trim().is_empty())
}

fn filter(variable: Option<String>, level: Option<LogLevel>, edge: Edge) -> EnvFilter {
    let level = level.map_or(default_level(edge), LogLevel::as_str);
    variable
        .and_then(|text| EnvFilter::try_new(directives(text.trim())).ok())
        .unwrap_or_else(|| EnvFilter::new(directives(level)))
}

/// Hosts show what a stdio server writes to stderr, so it is quiet unless something is wrong.
fn default_level(edge: Edge) -> &'static str {
    match edge {
        Edge::Http(_) => "info",
        Edge::Stdio => "warn",
    }
}

/// A bare level is meant for our own crates; libraries stay at warnings.
fn directives(text: &str) -> String {
    let bare = text.bytes().all(|byte| byte.is_ascii_alphabetic());
    match text.to_ascii_lowercase().as_str() {
        "off" => "off".to_owned(),
        "error" => "error".to_owned(),
        level if bare => format!("warn,trunkline={level}"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_goes_before_the_file_and_the_file_before_the_edge() {
        let of = |variable: Option<&str>, level, edge| {
            filter(variable.map(str::to_owned), level, edge).to_string()
        };
        let edge = Edge::Stdio;
        assert_eq!(of(None, None, edge), "trunkline=warn,warn");
        assert_eq!(of(None, None, Edge::Http(None)), "trunkline=info,warn");
        assert_eq!(of(None, Some(LogLevel::Debug), edge), "trunkline=debug,warn");
        assert_eq!(of(Some("trace"), Some(LogLevel::Debug), edge), "trunkline=trace,warn");
        assert_eq!(of(Some("trunkline_access=debug"), None, edge), "trunkline_access=debug");
        assert_eq!(of(Some("=not=one="), Some(LogLevel::Off), edge), "off");
    }
}
