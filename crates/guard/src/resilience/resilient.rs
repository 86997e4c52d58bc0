//! The layer around one tool or resource of a connector: asks the breaker, takes a place, and tries again where that does no
//! harm.

use std::sync::Arc;
use std::time::{Duration, Instant};

use trunkline_protocol::Method;
use trunkline_service::queue::{self, Place};
use trunkline_service::{
    Annotations, Answer, Failure, FailureKind, Fault, Outcome, Progress, Reply, Request, Service, ready,
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

    async fn wait_for_place(&self, request: Request, admission: Option<Admission<'_>>) -> Outcome {
        match self.source.places.take(queue::who(request.caller())).await {
            Ok(place) => self.begin(request, admission, place).await,
            Err(crowded) => Err(self.busy().with_retry_after(crowded.retry_after)),
        }
    }

    /// Asks the source, and once more if that came to nothing.
    fn begin<'s>(
        &'s self,
        request: Request,
        admission: Option<Admission<'s>>,
        place: Place<'s>,
    ) -> Answer<'s> {
        let again = self.source.config().retry.map(|retry| Again::of(&request, retry));
        match self.inner.call(request).if_ready() {
            Ok(outcome) => match self.judge(outcome, admission, again) {
                Next::Ends(outcome) => ready(outcome),
                Next::Waits(failed, again) => Answer::later(self.try_again(failed, again, place)),
            },
            Err(answer) => Answer::later(async move {
                match self.judge(answer.await, admission, again) {
                    Next::Ends(outcome) => outcome,
                    Next::Waits(failed, again) => self.try_again(failed, again, place).await,
                }
            }),
        }
    }

    /// Notes what an outcome says of the source, and whether it is asked once more.
    fn judge(&self, outcome: Outcome, admission: Option<Admission<'_>>, again: Option<Again>) -> Next {
        let verdict = Verdict::of(&outcome);
        self.source.settle(admission, verdict);
        match again.filter(|again| self.may_repeat(verdict) && again.may_follow()) {
            Some(again) => Next::Waits(outcome, again),
            None if verdict == Verdict::Failed(Fault::Busy) => Next::Ends(Err(self.busy())),
            None => Next::Ends(outcome),
        }
    }

    /// Asks until something comes of it, or there are no tries left.
    async fn try_again(&self, mut failed: Outcome, mut again: Again, _place: Place<'_>) -> Outcome {
        loop {
            let wait = again.retry.wait_after(again.tries, random());
            if again.request.ends().is_some_and(|end| Instant::now() + wait >= end) {
                return failed;
            }
            if !self.source.budget.take(self.source.calls(), again.retry.budget) {
                self.source.not_retried.add_one();
                return failed;
            }
            tokio::time::sleep(wait).await;
            // Others found it failing meanwhile.
            let Ok(admission) = self.source.admit() else { return failed };
            self.source.retries.add_one();
            let outcome = self.inner.call(again.next()).await;
            match self.judge(outcome, admission, Some(again)) {
                Next::Ends(outcome) => return outcome,
                Next::Waits(outcome, next) => (failed, again) = (outcome, next),
            }
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
            Ok(admission) => match self.source.places.try_take() {
                Some(place) => self.begin(request, admission, place),
                None => Answer::later(self.wait_for_place(request, admission)),
            },
            Err(wait) => ready(self.left_alone(&request, wait)),
        }
    }
}

/// What an outcome is followed by.
enum Next {
    /// Nothing: it is the answer.
    Ends(Outcome),
    /// Another try, after a while.
    Waits(Outcome, Again),
}

/// What is kept of a request for the next try.
struct Again {
    request: Request,
    retry: RetryConfig,
    /// How often it was tried.
    tries: u32,
    /// How much progress had been told before the first try: who was told of more is not told it a second time.
    told: Option<u64>,
}

impl Again {
    fn of(request: &Request, retry: RetryConfig) -> Self {
        let told = request.progress().map(Progress::mark);
        Self { request: request.again(), retry, tries: 1, told }
    }

    fn may_follow(&self) -> bool {
        self.tries < self.retry.attempts && self.request.progress().map(Progress::mark) == self.told
    }

    fn next(&mut self) -> Request {
        self.tries += 1;
        self.request.again()
    }
}

#[cfg(test)]
mod tests;
