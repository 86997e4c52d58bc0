//! One request in the terms of 2026-07-28, its payload raw.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use trunkline_protocol::{Envelope, Method, Revision, Token};

use crate::caller::Caller;
use crate::progress::Progress;

/// A request on its way to the tool that answers it. It owns the body once; parts of it are spans.
#[derive(Debug)]
pub struct Request {
    body: Bytes,
    parts: Parts,
    method: Method,
    revision: Revision,
    caller: Arc<Caller>,
    client: Option<Arc<LegacyClient>>,
    time: TimeAllowed,
    progress: Option<Progress>,
    target: u32,
    log_id: u64,
}

/// The spans that are still of use once the envelope is classified.
#[derive(Debug, Clone, Copy, Default)]
struct Parts {
    name: Token,
    arguments: Token,
    cursor: Token,
    capabilities: Token,
}

/// How long an answer is of use. A span is counted from when somebody first waits, so that a call which is ready at once
/// never asks for the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeAllowed {
    /// For ever.
    #[default]
    Unlimited,
    /// For so long from now.
    Within(Duration),
    /// Until then.
    Until(Instant),
}

impl TimeAllowed {
    /// Returns when the time is over, a span counted from now; `None` for never.
    #[must_use]
    pub fn end(self) -> Option<Instant> {
        match self {
            Self::Unlimited => None,
            Self::Within(span) => Instant::now().checked_add(span),
            Self::Until(end) => Some(end),
        }
    }
}

/// What a legacy session says of its client, in place of the members of `_meta`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LegacyClient {
    /// The capabilities of `initialize`, as raw JSON.
    pub capabilities: Bytes,
    /// The client's name, at most 64 bytes.
    pub name: Box<str>,
}

impl Request {
    /// Makes a request from a scanned body. `log_id` is shown to the caller and written to the log.
    #[must_use]
    pub fn new(
        body: Bytes,
        envelope: &Envelope,
        method: Method,
        revision: Revision,
        caller: Arc<Caller>,
        log_id: u64,
    ) -> Self {
        let parts = Parts {
            name: envelope.name,
            arguments: envelope.arguments,
            cursor: envelope.cursor,
            capabilities: envelope.capabilities,
        };
        Self {
            body,
            parts,
            method,
            revision,
            caller,
            client: None,
            time: TimeAllowed::Unlimited,
            progress: None,
            target: 0,
            log_id,
        }
    }

    /// Says what the session knows of the client, for requests of a legacy revision.
    #[must_use]
    pub fn with_legacy_client(mut self, client: Arc<LegacyClient>) -> Self {
        self.client = Some(client);
        self
    }

    /// Says how long an answer is of use.
    #[must_use]
    pub fn with_time(mut self, time: TimeAllowed) -> Self {
        self.time = time;
        self
    }

    /// Says where progress goes; `None` when the client did not ask for any.
    #[must_use]
    pub fn with_progress(mut self, progress: Option<Progress>) -> Self {
        self.progress = progress;
        self
    }

    /// Returns the method.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }

    /// Returns the revision the client speaks.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Returns who asks.
    #[must_use]
    pub fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }

    /// Returns `params.name`; `None` when it is absent or no string.
    #[must_use]
    pub fn name(&self) -> Option<Cow<'_, str>> {
        self.parts.name.text(&self.body)
    }

    /// Returns where `params.cursor` stands, of whatever kind it is.
    #[must_use]
    pub fn cursor(&self) -> Token {
        self.parts.cursor
    }

    /// Returns where `params.arguments` stands, of whatever kind it is.
    #[must_use]
    pub fn arguments_token(&self) -> Token {
        self.parts.arguments
    }

    /// Returns `params.arguments` as raw JSON, `{}` when absent or null.
    #[must_use]
    pub fn arguments(&self) -> &[u8] {
        if self.parts.arguments.is_nothing() { b"{}" } else { self.parts.arguments.raw(&self.body) }
    }

    /// Returns the client's capabilities as raw JSON; of this request, or of its session. Empty when unknown.
    #[must_use]
    pub fn client_capabilities(&self) -> &[u8] {
        match &self.client {
            Some(client) => &client.capabilities,
            None => self.parts.capabilities.raw(&self.body),
        }
    }

    /// Returns the whole message.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Returns how long an answer is of use.
    #[must_use]
    pub fn time(&self) -> TimeAllowed {
        self.time
    }

    /// Returns where progress goes; `None` when the client did not ask for any.
    #[must_use]
    pub fn progress(&self) -> Option<&Progress> {
        self.progress.as_ref()
    }

    /// Returns the number of the tool within the service that answers it, set by the router.
    #[must_use]
    pub fn target(&self) -> u32 {
        self.target
    }

    /// Sets the number of the tool within the service that answers it.
    pub fn set_target(&mut self, target: u32) {
        self.target = target;
    }

    /// Returns the number under which log and caller know this request.
    #[must_use]
    pub fn log_id(&self) -> u64 {
        self.log_id
    }
}
