//! What a service gives for a request: an outcome, now or later.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;

use crate::Outcome;

/// The outcome of a request, or a future of it. Dropping it stops the work behind it.
///
/// What is decided at once, as a refusal or an answer that was kept, is passed on by every layer as it is, without memory for a
/// future at each.
pub struct Answer<'a>(State<'a>);

/// The future of an outcome that is not there yet.
pub type Later<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

enum State<'a> {
    Ready(Outcome),
    Later(Later<'a>),
    /// The outcome was given out.
    Given,
}

impl<'a> Answer<'a> {
    /// Makes an answer that is there.
    #[must_use]
    pub fn ready(outcome: Outcome) -> Self {
        Self(State::Ready(outcome))
    }

    /// Makes an answer of work that is still to be done.
    #[must_use]
    pub fn later(work: impl Future<Output = Outcome> + Send + 'a) -> Self {
        Self(State::Later(Box::pin(work)))
    }

    /// Makes an answer of work that is boxed already.
    #[must_use]
    pub fn boxed(work: Later<'a>) -> Self {
        Self(State::Later(work))
    }

    /// Returns the outcome where it is there, without looking for it.
    ///
    /// # Errors
    /// The work that is still to be done.
    pub fn if_ready(self) -> Result<Outcome, Later<'a>> {
        match self.0 {
            State::Ready(outcome) => Ok(outcome),
            State::Later(work) => Err(work),
            // Takes no memory.
            State::Given => Err(Box::pin(std::future::pending())),
        }
    }

    /// Polls once, so that work which waits for nothing is done.
    ///
    /// # Errors
    /// The work, for whoever waits for it: it has to be polled again then.
    pub fn now(self) -> Result<Outcome, Later<'a>> {
        let mut work = match self.if_ready() {
            Ok(outcome) => return Ok(outcome),
            Err(work) => work,
        };
        match work.as_mut().now_or_never() {
            Some(outcome) => Ok(outcome),
            None => Err(work),
        }
    }

    /// Has `then` look at the outcome, at once where it is there.
    #[must_use]
    pub fn map_outcome(self, then: impl FnOnce(Outcome) -> Outcome + Send + 'a) -> Self {
        match self.0 {
            State::Ready(outcome) => Self::ready(then(outcome)),
            State::Later(work) => Self::later(async move { then(work.await) }),
            State::Given => Self(State::Given),
        }
    }
}

impl Future for Answer<'_> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        if let State::Later(work) = &mut self.0 {
            return work.as_mut().poll(context);
        }
        match std::mem::replace(&mut self.0, State::Given) {
            State::Ready(outcome) => Poll::Ready(outcome),
            // Whoever polls again has the outcome already.
            State::Later(_) | State::Given => Poll::Pending,
        }
    }
}

impl fmt::Debug for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            State::Ready(_) => "Answer(ready)",
            State::Later(_) => "Answer(later)",
            State::Given => "Answer(given)",
        })
    }
}

/// Returns an answer that is ready at once.
#[must_use]
pub fn ready<'a>(outcome: Outcome) -> Answer<'a> {
    Answer::ready(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reply;

    fn reply() -> Outcome {
        Ok(Reply::text("done"))
    }

    fn is_done(outcome: &Outcome) -> bool {
        outcome.as_ref().is_ok_and(|reply| reply.members() == Reply::text("done").members())
    }

    #[test]
    fn what_is_there_is_given_at_once_and_once() {
        assert!(is_done(&ready(reply()).now().unwrap_or_else(|_| panic!("it was there"))));
        let mut answer = ready(reply());
        assert!(is_done(&(&mut answer).now_or_never().unwrap()));
        assert!((&mut answer).now_or_never().is_none());
        assert_eq!(format!("{answer:?}"), "Answer(given)");
    }

    #[tokio::test]
    async fn what_is_not_there_yet_is_waited_for() {
        let answer = Answer::later(async {
            tokio::task::yield_now().await;
            reply()
        });
        let Err(work) = answer.now() else { panic!("it was not there") };
        assert!(is_done(&Answer::boxed(work).await));
    }

    #[tokio::test]
    async fn whoever_looks_at_the_outcome_may_change_it() {
        let fail = |_: Outcome| Err(crate::Failure::new(crate::FailureKind::Internal, "no"));
        assert!(ready(reply()).map_outcome(fail).now().is_ok_and(|outcome| outcome.is_err()));
        assert!(Answer::later(async { reply() }).map_outcome(fail).await.is_err());
    }
}
