//! The layer around one tool or resource of a connector: asks the breaker, takes a place, and tries again where that does no
//! harm.

use std::sync::Arc;
use std::time::{Duration, Instant};

use trunkline_protocol::Method;
use trunkline_service::queue::{self, Place};
use trunkline_service::{
    Annotations, Answer, Failure, FailureKind, Fault, Outcome, Reply, Request, Service, TimeAllowed, ready,
};

use super::breaker::Admission;
use super::retry::{RetryConfig, random};
use super::source::Source;
use super::verdict::Verdict;

/// When something may be asked for a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeatable {
    /// Whatever became of the first: it only reads, or doing it twice does no more than doing it once.
    Always,
    /// Only when nothing was done.
    IfNotDone,
}

impl From<&Annotations> for Repeatable {
    fn from(annotations: &Annotations) -> Self {
        if annotations.read_only || annotations.idempotent { Self::Always } else { Self::IfNotDone }
    }
}

/// One tool or resource of a source. Answers that say that the source has no room are 503 behind it, as nothing was begun.
pub struct Resilient {
    inner: Arc<dyn Service>,
    source: Arc<Source>,
    repeatable: Repeatable,
}

impl std::fmt::Debug for Resilient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resilient")
            .field("source", &self.source)
            .field("repeatable", &self.repeatable)
            .finish_non_exhaustive()
    }
}

impl Resilient {
    /// Wraps what answers for a source.
    #[must_use]
    pub fn new(inner: Arc<dyn Service>, source: Arc<Source>, repeatable: Repeatable) -> Self {
        Self { inner, source, repeatable }
    }

    async fn run(
        &self,
        request: Request,
        admission: Option<Admission<'_>>,
        place: Option<Place<'_>>,
    ) -> Outcome {
        let _place = match place {
            Some(place) => place,
            None => match self.source.places.take(queue::who(request.caller())).await {
                Ok(place) => place,
                Err(crowded) => {
                    return Err(self.busy().with_retry_after(crowded.retry_after));
                }
            },
        };
        let outcome = match self.source.config().retry {
            Some(retry) => self.try_often(request, admission, retry).await,
            None => self.try_once(request, admission).await.0,
        };
        match Verdict::of(&outcome) {
            Verdict::Failed(Fault::Busy) => Err(self.busy()),
            _ => outcome,
        }
    }

    async fn try_once(&self, request: Request, admission: Option<Admission<'_>>) -> (Outcome, Verdict) {
        let outcome = self.inner.call(request).await;
        let verdict = Verdict::of(&outcome);
        self.source.settle(admission, verdict);
        (outcome, verdict)
    }

    async fn try_often(
        &self,
        mut request: Request,
        mut admission: Option<Admission<'_>>,
        retry: RetryConfig,
    ) -> Outcome {
        let end = request.time().end();
        let told = request.progress().map(trunkline_service::Progress::mark);
        let mut tries = 1;
        loop {
            let again = request.again();
            let (outcome, verdict) = self.try_once(request, admission).await;
            let has_told = again.progress().map(trunkline_service::Progress::mark) != told;
            if tries >= retry.attempts || has_told || !self.may_repeat(verdict) {
                return outcome;
            }
            let wait = retry.wait_after(tries, random());
            if end.is_some_and(|end| Instant::now() + wait >= end) {
                return outcome;
            }
            if !self.source.budget.take(self.source.calls(), retry.budget) {
                self.source.not_retried.add_one();
                return outcome;
            }
            tokio::time::sleep(wait).await;
            // Others found it failing meanwhile.
            let Ok(admitted) = self.source.admit() else { return outcome };
            self.source.retries.add_one();
            admission = admitted;
            request = again.with_time(end.map_or(TimeAllowed::Unlimited, TimeAllowed::Until));
            tries += 1;
        }
    }

    /// Whether the same may be asked once more after that. What was late would be later still, and for a source that has no
    /// room the best is to come back later.
    fn may_repeat(&self, verdict: Verdict) -> bool {
        match verdict {
            Verdict::Failed(Fault::NotDone) => true,
            Verdict::Failed(Fault::Unknown) => self.repeatable == Repeatable::Always,
            _ => false,
        }
    }

    fn busy(&self) -> Failure {
        let name = &self.source.config().name;
        let text = format!(
            "`{name}` has more calls than it can answer, so this one was not begun; try again in a second"
        );
        Failure::new(FailureKind::Overloaded, text)
            .with_fault(Fault::Busy)
            .with_retry_after(Duration::from_secs(1))
    }

    /// The answer while the source is left alone.
    fn left_alone(&self, request: &Request, wait: Duration) -> Outcome {
        self.source.refused.add_one();
        let (name, id) = (&self.source.config().name, request.log_id());
        let seconds = wait.as_secs_f64().ceil().max(1.0);
        let text = format!(
            "`{name}` failed several times and is not asked for the moment, so nothing was done; it is looked at again within \
             {seconds:.0} s"
        );
        if request.method() == Method::ToolsCall {
            return Ok(Reply::logged_error(&text, id).with_fault(Fault::NotDone));
        }
        let failure = Failure::new(FailureKind::UpstreamUnavailable, text);
        Err(failure.with_fault(Fault::NotDone).with_retry_after(wait))
    }
}

impl Service for Resilient {
    fn call(&self, request: Request) -> Answer<'_> {
        match self.source.admit() {
            Ok(admission) => Box::pin(self.run(request, admission, self.source.places.try_take())),
            Err(wait) => ready(self.left_alone(&request, wait)),
        }
    }
}

#[cfg(test)]
mod tests;
