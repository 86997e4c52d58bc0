//! What a call may tell before its answer: progress, log messages, changes; and the trace it is part of.

use serde::Serialize;
use trunkline_protocol::{LogLevel, meta};
use trunkline_service::{Change, Event};

use super::Context;

/// The trace a request is part of, as the client sent it. Spec: 2026-07-28 basic/index#meta; W3C Trace Context.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TraceContext {
    /// `traceparent`: the version, trace id, parent id and flags.
    pub parent: String,
    /// `tracestate`: what vendors add.
    pub state: Option<String>,
    /// `baggage`: what the application adds.
    pub baggage: Option<String>,
}

impl Context {
    /// Reports that `done` of `total` (if known) is done, to a client that asked for progress.
    ///
    /// `done` must rise from call to call. A report that finds the client's queue full is dropped: progress is news, not data.
    /// Nothing in a task. Spec: 2026-07-28 basic/utilities/progress.
    pub fn progress(&self, done: f64, total: Option<f64>, message: Option<&str>) {
        if let Some(progress) = self.0.request.progress()
            && !self.in_task()
        {
            progress.report(done, total, message);
        }
    }

    /// Sends a log message to a client that wants messages of that level; `data` is anything that serializes, a text as a
    /// rule. Messages that find the client's queue full are dropped. Nothing in a task.
    ///
    /// This is for the person at the client; the operator's log is `tracing`. Spec: 2026-07-28 server/utilities/logging.
    pub fn log(&self, level: LogLevel, data: impl Serialize) {
        let Some(log) = self.0.request.log().filter(|log| log.level() <= level && !self.in_task()) else {
            return;
        };
        if let Ok(json) = serde_json::to_vec(&data) {
            log.message(level, Some(self.unit_name()), &json);
        }
    }

    /// Logs at `debug`. See [`log`](Self::log).
    pub fn debug(&self, data: impl Serialize) {
        self.log(LogLevel::Debug, data);
    }

    /// Logs at `info`. See [`log`](Self::log).
    pub fn info(&self, data: impl Serialize) {
        self.log(LogLevel::Info, data);
    }

    /// Logs at `notice`. See [`log`](Self::log).
    pub fn notice(&self, data: impl Serialize) {
        self.log(LogLevel::Notice, data);
    }

    /// Logs at `warning`. See [`log`](Self::log).
    pub fn warning(&self, data: impl Serialize) {
        self.log(LogLevel::Warning, data);
    }

    /// Logs at `error`. See [`log`](Self::log).
    pub fn error(&self, data: impl Serialize) {
        self.log(LogLevel::Error, data);
    }

    /// Ends the stream of this call while the call goes on; clients of 2025-11-25 over HTTP take it up again later. Nothing for
    /// all others, and in a task.
    pub fn close_stream(&self) {
        if let Some(outlet) = self.0.request.outlet()
            && !self.in_task()
        {
            outlet.try_send(Event::CloseStream);
        }
    }

    /// Returns the trace the request is part of, if the client told in `_meta` or in headers, and what it told holds.
    #[must_use]
    pub fn trace(&self) -> Option<TraceContext> {
        let request = &self.0.request;
        let baggage = request.meta(meta::BAGGAGE).text(request.body());
        Some(TraceContext {
            parent: request.sent_trace()?.to_string(),
            state: request.trace().state.map(|state| state.to_string()),
            baggage: baggage.map(std::borrow::Cow::into_owned),
        })
    }

    /// Tells everyone who subscribed to that resource that it changed, on every node.
    pub fn resource_updated(&self, uri: &str) {
        self.core().shared.announce(Change::Resource(uri.into()));
    }

    /// Tells everyone who wants to know that the tools changed. Changes made through [`server`](Self::server) are told by
    /// themselves.
    pub fn tools_changed(&self) {
        self.core().shared.announce(Change::Tools);
    }

    /// Tells everyone who wants to know that the prompts changed. Changes made through [`server`](Self::server) are told by
    /// themselves.
    pub fn prompts_changed(&self) {
        self.core().shared.announce(Change::Prompts);
    }

    /// Tells everyone who wants to know that the list of resources changed. Changes made through [`server`](Self::server) are
    /// told by themselves.
    pub fn resources_changed(&self) {
        self.core().shared.announce(Change::Resources);
    }
}
