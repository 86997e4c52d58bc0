//! What is logged, and how: always to stderr, with the level of the file or of `TRUNKLINE_LOG`, and never a secret.

mod veil;

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::config::{Edge, LogFile, LogFormat};
use veil::Veiled;
pub(crate) use veil::clean;

/// The variable that goes before `[log] level`: a level, or directives like `trunkline_server=debug`.
const VARIABLE: &str = "TRUNKLINE_LOG";

/// Starts logging. A second call changes nothing.
pub(crate) fn start(log: &LogFile, edge: Edge) {
    let level = log.level.map_or(default_level(edge), |level| level.as_str());
    let filter = std::env::var(VARIABLE)
        .ok()
        .filter(|text| !text.trim().is_empty())
        .and_then(|text| EnvFilter::try_new(directives(text.trim())).ok())
        .unwrap_or_else(|| EnvFilter::new(directives(level)));
    veil::watch_panics();
    let builder = tracing_subscriber::fmt()
        .with_writer(Veiled::new(log.redact.detectors()))
        .with_env_filter(filter)
        .with_span_events(FmtSpan::NONE);
    // An error means that logging was started before, which only tests do.
    let _ = match log.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).with_target(false).try_init(),
    };
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
