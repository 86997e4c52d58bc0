//! The outermost layer: counts every request with what it came to, and lets the log tell whose a line is.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::FutureExt as _;
use trunkline_protocol::Method;
use trunkline_service::trace::Mark;
use trunkline_service::{Answer, Catalog, Later, Outcome, Proof, Request, Service, ready};

use super::ended::Ended;
use super::observations::{Observations, Resolved, Series};

/// The target of the line that the log has for each request, at level debug.
const ACCESS: &str = "trunkline_access";

/// Counts every request that passes. It stands outside of all other layers, so that what they refuse counts too.
///
/// A usual call costs one look at the clock, one at the names of the catalog, and some six additions to memory that no other
/// core writes. Names that are not configured share one series, as do methods that no revision knows: no client makes a new one.
#[derive(Debug)]
pub struct Observed<S> {
    inner: S,
    observations: Arc<Observations>,
    catalog: Arc<Catalog>,
    resolved: Resolved,
}

impl<S> Observed<S> {
    /// Wraps `inner`. Requests count under the names of `catalog`, which is the whole one, into `observations`.
    #[must_use]
    pub fn new(inner: S, observations: Arc<Observations>, catalog: Arc<Catalog>) -> Self {
        let resolved = observations.resolve(&catalog);
        Self { inner, observations, catalog, resolved }
    }

    /// Returns where a request counts.
    fn series(&self, request: &mut Request) -> Option<&Series> {
        let configured = match request.method() {
            Method::ToolsCall => {
                self.catalog.find_named(request).and_then(|number| self.resolved.tools.get(number as usize))
            }
            Method::PromptsGet => request.name().and_then(|name| self.resolved.prompts.get(&*name)),
            _ => None,
        };
        configured.map(|series| &**series).or_else(|| self.observations.of_method(request.method()))
    }

    /// Returns the name of a tool or prompt that is configured.
    fn name(&self, request: &Request) -> Option<Box<str>> {
        let name = request.name()?;
        let is_configured = match request.method() {
            Method::ToolsCall => self.catalog.find(name.as_bytes()).is_some(),
            Method::PromptsGet => self.resolved.prompts.contains_key(&*name),
            _ => false,
        };
        is_configured.then(|| (&*name).into())
    }

    /// Returns what the log tells of the request when it has ended; `None` where it does not.
    fn access(&self, request: &Request) -> Option<Box<Access>> {
        if !tracing::enabled!(target: ACCESS, tracing::Level::DEBUG) {
            return None;
        }
        let by = match request.caller().proof {
            Proof::Local => "local",
            Proof::Token { .. } => "token",
            Proof::Key { .. } => "key",
            _ => "other",
        };
        let (method, bytes_in) = (request.method(), request.body().len());
        Some(Box::new(Access { method, name: self.name(request), by, bytes_in }))
    }
}

impl<S: Service> Service for Observed<S> {
    fn call(&self, mut request: Request) -> Answer<'_> {
        let Some(series) = self.series(&mut request) else { return self.inner.call(request) };
        series.begin(request.body().len());
        let is_listening = request.method() == Method::SubscriptionsListen;
        let mut open = Open {
            series,
            access: self.access(&request),
            mark: request.mark(),
            started: request.arrived(),
            ends: if is_listening { None } else { request.ends() },
            is_listening,
            was_open: false,
            has_ended: false,
        };
        // From here on it is counted whatever happens, a panic in there included.
        let answer = {
            let _entered = open.mark.enter();
            self.inner.call(request).if_ready()
        };
        match answer {
            Ok(outcome) => {
                let entered = open.mark.enter();
                open.close(&outcome);
                drop(entered);
                ready(outcome)
            }
            Err(answer) => Answer::later(Watched { open, answer }),
        }
    }
}

/// What the log tells of a request: nothing that a client made up, and no value.
#[derive(Debug)]
struct Access {
    method: Method,
    name: Option<Box<str>>,
    by: &'static str,
    bytes_in: usize,
}

/// A request that has not ended. Dropped before it has an outcome, it counts as cancelled.
struct Open<'a> {
    series: &'a Series,
    access: Option<Box<Access>>,
    mark: Mark,
    started: Instant,
    /// When the time that is allowed is over; `None` for never.
    ends: Option<Instant>,
    is_listening: bool,
    /// It was waited for.
    was_open: bool,
    has_ended: bool,
}

/// The answer to a request, and what is to be known of it.
struct Watched<'a> {
    answer: Later<'a>,
    open: Open<'a>,
}

impl Future for Watched<'_> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let this = &mut *self;
        let _entered = this.open.mark.enter();
        let Poll::Ready(outcome) = this.answer.poll_unpin(context) else {
            this.open.was_open = true;
            return Poll::Pending;
        };
        this.open.close(&outcome);
        Poll::Ready(outcome)
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        if !self.open.has_ended {
            // What is given up says its last words as this request. The future in its place takes no memory.
            let _entered = self.open.mark.enter();
            self.answer = Box::pin(std::future::pending());
        }
    }
}

impl Open<'_> {
    /// Whether the time that was allowed is over.
    fn is_late(&self) -> bool {
        self.ends.is_some_and(|end| Instant::now() >= end)
    }

    fn close(&mut self, outcome: &Outcome) {
        let ended = match Ended::of(outcome, self.is_listening && self.was_open) {
            Ended::ToolError if self.is_late() => Ended::DeadlinePassed,
            ended => ended,
        };
        self.end(ended, Some(outcome));
    }

    fn end(&mut self, ended: Ended, outcome: Option<&Outcome>) {
        self.has_ended = true;
        let took = self.started.elapsed();
        // How long a subscription lasted is nobody's work.
        self.series.end(ended, outcome, (!self.is_listening).then_some(took));
        let Some(access) = self.access.take() else { return };
        let reply = outcome.and_then(|outcome| outcome.as_ref().ok());
        tracing::debug!(
            target: ACCESS,
            request = %format_args!("{:016x}", self.mark.log_id),
            method = access.method.as_str(),
            name = access.name.as_deref(),
            outcome = ended.word(),
            us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            by = access.by,
            bytes_in = access.bytes_in,
            bytes_out = reply.map(|reply| reply.members().len()),
            rows = reply.and_then(trunkline_service::Reply::rows),
            "answered"
        );
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            let _entered = self.mark.enter();
            self.end(Ended::of_dropped(), None);
        }
    }
}
