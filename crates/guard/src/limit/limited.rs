//! The layer around everything that a caller may ask for: every method counts, lists, streams and unknown ones too.

use std::sync::Arc;

use trunkline_protocol::Method;
use trunkline_service::{Answer, Outcome, Request, Service, ready};

use super::budget::Budget;
use super::cell;
use super::limits::Limits;
use super::presence::Present;
use super::refusal::Refused;
use super::shared::{Settled, Subject};

/// Counts requests by their callers: each takes one from the limit of callers and from those of all their roles.
#[derive(Debug)]
pub struct Limited<S> {
    inner: S,
    limits: Arc<Limits>,
    counted: Counted,
}

/// Whether the limit of the server was asked before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// By the edge, at its [`Door`](trunkline_service::Door): HTTP.
    AtTheDoor,
    /// By nobody: stdio, and what is embedded.
    Here,
}

impl<S> Limited<S> {
    /// Wraps `inner`.
    #[must_use]
    pub const fn new(inner: S, limits: Arc<Limits>, counted: Counted) -> Self {
        Self { inner, limits, counted }
    }
}

impl<S: Service> Limited<S> {
    /// Takes a request on that was let through.
    fn go_on(&self, key: u64, request: Request) -> Answer<'_> {
        if !self.limits.holds_some {
            return self.inner.call(request);
        }
        let caller = self.limits.known(request.caller());
        let mut held = Held::default();
        for role in self.limits.roles_of(caller) {
            // A subscription lasts as long as its client wants, and is bounded elsewhere.
            if let Some(presence) =
                role.presence.as_ref().filter(|_| request.method() != Method::SubscriptionsListen)
            {
                match presence.enter(key) {
                    Some(present) => held.places.push(present),
                    None => {
                        let refused = Refused::present(presence);
                        return refuse(&request, &refused);
                    }
                }
            }
            if let Some(budget) = role.budget.as_ref().filter(|budget| budget.spec.bytes.is_some()) {
                held.budgets.push(Arc::clone(budget));
            }
        }
        if held.is_empty() {
            return self.inner.call(request);
        }
        self.inner.call(request).map_outcome(move |outcome| {
            held.weigh(key, &outcome);
            outcome
        })
    }
}

/// What a request holds until its answer is there.
#[derive(Debug, Default)]
struct Held {
    places: Vec<Present>,
    budgets: Vec<Arc<Budget>>,
}

impl Held {
    fn is_empty(&self) -> bool {
        self.places.is_empty() && self.budgets.is_empty()
    }

    /// Adds what the result weighs.
    fn weigh(&self, key: u64, outcome: &Outcome) {
        if let (Ok(reply), false) = (outcome, self.budgets.is_empty()) {
            let (bytes, now) = (reply.members().len() as u64, cell::now());
            self.budgets.iter().for_each(|budget| budget.add_bytes(key, bytes, now));
        }
    }
}

/// Tells whether an edge made the request, for the stream of a session: what of its client made the edge do so was counted there.
fn is_of_the_edge(request: &Request) -> bool {
    request.method() == Method::SubscriptionsListen && !request.revision().is_modern()
}

fn refuse<'a>(request: &Request, refused: &Refused<'_>) -> Answer<'a> {
    refused.note(request.notes().map(|notes| &**notes));
    ready(Err(refused.failure()))
}

impl<S: Service> Service for Limited<S> {
    fn call(&self, request: Request) -> Answer<'_> {
        if !self.limits.has_some(self.counted == Counted::Here) || is_of_the_edge(&request) {
            return self.inner.call(request);
        }
        let caller = self.limits.known(request.caller());
        let key = self.limits.state.key(caller);
        let stage = self.limits.stage(self.counted, key, caller, request.body().len() as u64);
        match self.limits.state.settle(stage, Subject::Caller(caller), request.arrived()) {
            Settled::Passed => self.go_on(key, request),
            Settled::Refused(refused) => refuse(&request, &refused),
            Settled::Waiting(waiting) => Answer::later(async move {
                match waiting.await {
                    None => self.go_on(key, request).await,
                    Some(refused) => refuse(&request, &refused).await,
                }
            }),
        }
    }
}

#[cfg(test)]
mod tests;
