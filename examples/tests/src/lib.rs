//! Drives an example's binary as a client would, with messages written out: over HTTP in either era, and over stdio.
//!
//! Tests are the only readers, so whatever goes wrong here panics and says what it waited for.

#![expect(clippy::expect_used, clippy::panic, reason = "what helps tests may end them")]

mod http;
mod process;
mod stdio;

use std::time::Duration;

use serde_json::{Value, json};

pub use http::{Client, Messages};
pub use process::Example;
pub use stdio::Stdio;

/// The longest wait for anything, far above what is expected.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for `future`, at most as long as anything may take.
async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited half a minute for {what}"),
    }
}

/// Returns `params` with the `_meta` every modern request has; members that are there already stay.
fn with_meta(mut params: Value, capabilities: &Value) -> Value {
    let mut meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "example-tests", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": capabilities,
    });
    if let Some(own) = params.get("_meta").and_then(Value::as_object) {
        for (key, value) in own {
            meta[key] = value.clone();
        }
    }
    params["_meta"] = meta;
    params
}

/// Returns the text of the first block of a tool's result.
///
/// # Panics
/// When the message is no result that begins with text.
#[must_use]
pub fn text(message: &Value) -> &str {
    message
        .pointer("/result/content/0/text")
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("no text: {message}"))
}

/// Waits until `check` holds, looking again every few milliseconds.
///
/// # Panics
/// When it does not hold within half a minute.
pub async fn until<F: Future<Output = bool>>(what: &str, mut check: impl FnMut() -> F) {
    let looking = async {
        while !check().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    patiently(what, looking).await;
}
