//! Progress of one request, for the client that asked for it and nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;
use trunkline_protocol::write;

/// Sends `notifications/progress` on the stream of one request.
///
/// Values must rise; one that does not is dropped, and so is one that finds the client's queue full: progress is news,
/// not data. Spec: 2026-07-28 basic/utilities/progress.
#[derive(Debug, Clone)]
pub struct Progress {
    token: Bytes,
    out: mpsc::Sender<Bytes>,
    /// The bits of the last value sent; positive floats order as their bits do.
    last: Arc<AtomicU64>,
}

impl Progress {
    /// Makes a sender for the given token (raw JSON, string or integer). Messages are whole JSON-RPC notifications
    /// without line breaks.
    #[must_use]
    pub fn new(token: Bytes, out: mpsc::Sender<Bytes>) -> Self {
        Self { token, out, last: Arc::new(AtomicU64::new(0)) }
    }

    /// Reports that `progress` of `total` (if known) is done. `progress` must be positive, finite and greater than before.
    pub fn report(&self, progress: f64, total: Option<f64>, message: Option<&str>) {
        if !progress.is_finite()
            || progress <= 0.0
            || self.last.fetch_max(progress.to_bits(), Ordering::Relaxed) >= progress.to_bits()
        {
            return;
        }
        let mut out = Vec::with_capacity(160);
        out.extend_from_slice(
            br#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"#,
        );
        out.extend_from_slice(&self.token);
        out.extend_from_slice(format!(r#","progress":{progress}"#).as_bytes());
        if let Some(total) = total.filter(|total| total.is_finite()) {
            out.extend_from_slice(format!(r#","total":{total}"#).as_bytes());
        }
        if let Some(message) = message {
            out.extend_from_slice(br#","message":"#);
            write::string(&mut out, message);
        }
        out.extend_from_slice(b"}}");
        // A full queue or a client that left: nothing is owed.
        let _ = self.out.try_send(out.into());
    }

    /// Returns the last value reported; zero before the first.
    #[must_use]
    pub fn last(&self) -> f64 {
        f64::from_bits(self.last.load(Ordering::Relaxed))
    }
}
