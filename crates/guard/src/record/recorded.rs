//! The layer that records: one line for every request, handed over when its outcome is known and before that leaves.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use futures_util::FutureExt as _;
use trunkline_protocol::Method;
use trunkline_service::{Answer, Catalog, Notes, Outcome, Request, Service, ready};

use super::ended::Ended;
use super::line::Line;
use super::names::Names;
use super::recorder::Recorder;

/// Records every request that passes. It stands outside of what bounds requests in number and time, so that those which are
/// refused, late or panic have their lines too before they are answered.
#[derive(Debug)]
pub struct Recorded<S> {
    inner: S,
    recorder: Recorder,
    names: Names,
}

impl<S> Recorded<S> {
    /// Wraps `inner`. Arguments are named in lines only where `catalog` declares them.
    #[must_use]
    pub fn new(inner: S, recorder: Recorder, catalog: &Catalog) -> Self {
        Self { inner, recorder, names: Names::of(catalog) }
    }
}

impl<S: Service> Service for Recorded<S> {
    fn call(&self, mut request: Request) -> Answer<'_> {
        if let Err(failure) = self.recorder.refuse() {
            return ready(Err(failure));
        }
        let is_listening = request.method() == Method::SubscriptionsListen;
        let notes = Arc::<Notes>::default();
        request.note_on(Arc::clone(&notes));
        let open = Open {
            recorder: &self.recorder,
            line: Some(Line::of_request(&request, &self.names, SystemTime::now())),
            notes,
            started: request.arrived(),
            ends: if is_listening { None } else { request.ends() },
        };
        // From here on a line is written whatever happens, a panic in there included.
        let answer = self.inner.call(request);
        match is_listening {
            true => Answer::later(open.listened(answer)),
            false => Answer::later(open.answered(answer)),
        }
    }
}

/// A request that has no line yet. Dropped before it has an outcome, it is recorded as cancelled.
struct Open<'a> {
    recorder: &'a Recorder,
    line: Option<Line>,
    notes: Arc<Notes>,
    started: Instant,
    /// When the time that is allowed is over; `None` for never.
    ends: Option<Instant>,
}

impl Open<'_> {
    async fn answered(mut self, answer: Answer<'_>) -> Outcome {
        let outcome = answer.await;
        self.close(outcome, false).await
    }

    /// A subscription has a line when it begins and one when it ends.
    async fn listened(mut self, mut answer: Answer<'_>) -> Outcome {
        let outcome = match (&mut answer).now_or_never() {
            Some(outcome) => return self.close(outcome, false).await,
            None => {
                if let Some(line) = self.line.clone() {
                    let line = line.finish(&self.notes.take(), Ended::Opened, None, self.started.elapsed());
                    self.recorder.record(line).await?;
                }
                answer.await
            }
        };
        self.close(outcome, true).await
    }

    /// Whether the time that was allowed is over.
    fn is_late(&self) -> bool {
        self.ends.is_some_and(|end| Instant::now() >= end)
    }

    async fn close(&mut self, outcome: Outcome, was_open: bool) -> Outcome {
        let Some(line) = self.line.take() else { return outcome };
        let ended = match Ended::of(&outcome, was_open) {
            Ended::ToolError if self.is_late() => Ended::DeadlinePassed,
            ended => ended,
        };
        let line = line.finish(&self.notes.take(), ended, Some(&outcome), self.started.elapsed());
        self.recorder.record(line).await?;
        outcome
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let Some(line) = self.line.take() else { return };
        let took = self.started.elapsed();
        self.recorder.record_now(line.finish(&self.notes.take(), Ended::of_dropped(), None, took));
    }
}
