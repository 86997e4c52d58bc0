//! One request of a session, from its message to its outcome.

use std::sync::Arc;

use bytes::Bytes;
use trunkline_protocol::{Envelope, LogLevel, Method, each, member};
use trunkline_service::request::SentTrace;
use trunkline_service::shared::Shared;
use trunkline_service::trace::Mark;
use trunkline_service::{
    Attached, Caller, Endpoint, Failure, FailureKind, Input, Log, Outcome, Outlet, Progress, Reply, Request,
};

use super::session::Session;
use super::{asking, settings};
use crate::admit;

/// Tells whether requests of that method may have something to tell before their answer.
pub(crate) fn may_tell(method: Method) -> bool {
    matches!(
        method,
        Method::ToolsCall | Method::PromptsGet | Method::ResourcesRead | Method::CompletionComplete
    )
}

/// A request of a session, with all it needs to be answered, again and again if its client is asked for something.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) shared: Arc<dyn Shared>,
    pub(crate) session: Session,
    pub(crate) caller: Arc<Caller>,
    pub(crate) body: Bytes,
    pub(crate) envelope: Envelope,
    pub(crate) method: Method,
    /// The stream to the client; `None` when it takes none.
    outlet: Option<Outlet>,
    progress: Option<Progress>,
    level: Option<LogLevel>,
    trace: Option<Box<SentTrace>>,
}

impl Call {
    /// Says what the transport tells of the trace.
    pub(crate) fn with_trace(mut self, trace: Option<Box<SentTrace>>) -> Self {
        self.trace = trace;
        self
    }

    /// Puts a request together.
    pub(crate) fn new(
        endpoint: Arc<Endpoint>,
        shared: &Arc<dyn Shared>,
        session: Session,
        caller: Arc<Caller>,
        (body, envelope, method): (Bytes, Envelope, Method),
        outlet: Option<Outlet>,
    ) -> Self {
        let progress = outlet
            .as_ref()
            .and_then(|outlet| Some(Progress::new(admit::progress_token(&body, &envelope)?, outlet.clone())));
        // Asked in this order: nearly no session sets a level.
        let level = outlet.as_ref().and_then(|_| shared.settings(session.number)?.level);
        let level = level.filter(|_| endpoint.capabilities.get("logging").is_some());
        let shared = Arc::clone(shared);
        Self {
            endpoint,
            shared,
            session,
            caller,
            body,
            envelope,
            method,
            outlet,
            progress,
            level,
            trace: None,
        }
    }

    /// Returns the raw JSON of the request's id.
    pub(crate) fn id(&self) -> Bytes {
        admit::slice(&self.body, self.envelope.id.span)
    }

    /// Returns the stream to the client.
    pub(super) fn outlet(&self) -> Option<&Outlet> {
        self.outlet.as_ref()
    }

    /// Answers the request; the mark is what log and caller know it by.
    ///
    /// # Cancel safety
    /// Dropping it stops the work behind it, and closes the questions that were put to the client.
    pub(crate) async fn run(&self) -> (Outcome, Mark) {
        if matches!(
            self.method,
            Method::Ping
                | Method::LoggingSetLevel
                | Method::ResourcesSubscribe
                | Method::ResourcesUnsubscribe
                | Method::SubscriptionsListen
        ) && let Some(failure) = admit::count(&self.endpoint, &self.caller).await
        {
            return (Err(failure), Mark::of(admit::next_log_id()));
        }
        match self.method {
            Method::Ping => (Ok(Reply::from_members(Vec::new())), Mark::of(0)),
            Method::LoggingSetLevel | Method::ResourcesSubscribe | Method::ResourcesUnsubscribe => {
                (settings::change(self).await, Mark::of(admit::next_log_id()))
            }
            // The stand-alone stream is what sessions have in its place.
            Method::SubscriptionsListen => {
                let failure = admit::method_not_found(self.method.as_str().as_bytes(), "");
                (Err(failure), Mark::of(admit::next_log_id()))
            }
            method => {
                let (outcome, mark) = asking::answer(self).await;
                (in_old_words(method, outcome), mark)
            }
        }
    }

    /// Makes the request as services know it; `input` is what the client answered to what it was asked for.
    pub(super) fn request(&self, input: Option<Input>) -> Request {
        let attached = self.outlet.clone().map(|outlet| {
            let log = self.level.map(|level| Log::new(level, outlet.clone()));
            Box::new(Attached { progress: self.progress.clone(), log, ..Attached::new(outlet) })
        });
        admit::legacy(self.body.clone(), &self.envelope, self.method, &self.session, Arc::clone(&self.caller))
            .with_time(self.endpoint.time)
            .with_trace(self.trace.clone())
            .with_attached(attached)
            .with_input(input.map(Box::new))
    }
}

/// Says a failure that only 2026-07-28 has a code for in the words of before: inside `tools/call` as a result that the model
/// can act on.
fn in_old_words(method: Method, outcome: Outcome) -> Outcome {
    let failure = match outcome {
        Err(failure) => failure,
        answered => return answered,
    };
    let text = match failure.kind() {
        FailureKind::MissingCapability => needed(&failure),
        FailureKind::HeaderMismatch | FailureKind::UnsupportedVersion => failure.public().to_owned(),
        _ => return Err(failure),
    };
    refused(method, text)
}

/// Refuses a request for something that its client cannot do or did not do.
pub(super) fn refused(method: Method, text: String) -> Outcome {
    if method == Method::ToolsCall {
        Ok(Reply::tool_error(&text))
    } else {
        Err(Failure::new(FailureKind::InvalidParams, text))
    }
}

/// What a client would have had to declare when it sent `initialize`.
fn needed(failure: &Failure) -> String {
    let data = failure.data().unwrap_or_default();
    let mut names = Vec::new();
    each(member(data, "requiredCapabilities").raw(data), |name, _| names.push(format!("`{name}`")));
    format!(
        "this needs a client with the capability {}, which this one did not declare in `initialize`",
        names.join(" and ")
    )
}
