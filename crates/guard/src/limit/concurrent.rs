//! The layer around one tool that bounds how many of its calls run at a time: more wait shortly in a fair line.

use std::num::NonZeroU32;
use std::sync::Arc;

use trunkline_service::meter::{Meter, Page};
use trunkline_service::queue::{self, Crowded, LineBounds, Places};
use trunkline_service::{Answer, Failure, FailureKind, Request, Service};

/// One tool of which only so many calls run at a time.
#[derive(Debug)]
pub struct Concurrent<S> {
    inner: S,
    running: Arc<Running>,
}

/// The calls of one tool that run, with those that wait to. Keep it as long as the bound is the same.
#[derive(Debug)]
pub struct Running {
    path: Box<str>,
    places: Places,
    most: NonZeroU32,
}

impl Running {
    /// Makes room for `most` calls of the tool of that name.
    #[must_use]
    pub fn new(tool: &str, most: NonZeroU32) -> Arc<Self> {
        let places = most.get() as usize;
        let places = Places::new(places, LineBounds::of_calls(places));
        Arc::new(Self { path: format!("tools.{tool}.concurrent").into(), places, most })
    }

    /// Returns how many calls there is room for.
    #[must_use]
    pub fn most(&self) -> NonZeroU32 {
        self.most
    }

    fn refused(&self, crowded: &Crowded) -> Failure {
        let text = format!(
            "too many calls at a time: `{}` lets {} run, and more wait already; try again in a moment",
            self.path, self.most
        );
        Failure::new(FailureKind::Overloaded, text).with_retry_after(crowded.retry_after)
    }
}

impl<S> Concurrent<S> {
    /// Wraps `inner`.
    #[must_use]
    pub const fn new(inner: S, running: Arc<Running>) -> Self {
        Self { inner, running }
    }
}

impl<S: Service> Service for Concurrent<S> {
    fn call(&self, request: Request) -> Answer<'_> {
        let Running { places, .. } = &*self.running;
        if let Some(place) = places.try_take() {
            return self.inner.call(request).map_outcome(move |outcome| {
                drop(place);
                outcome
            });
        }
        Answer::later(async move {
            match places.take(queue::who(request.caller())).await {
                Ok(_place) => self.inner.call(request).await,
                Err(crowded) => Err(self.running.refused(&crowded)),
            }
        })
    }
}

impl Meter for Running {
    fn read(&self, page: &mut Page) {
        let labels = [("limit", &*self.path)];
        // As exact as such numbers have to be.
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let (running, waiting) = (self.places.in_use() as f64, self.places.waiting() as f64);
        page.gauge(
            "trunkline_limit_running",
            "Calls that run under a bound on calls at a time.",
            &labels,
            running,
        );
        page.gauge(
            "trunkline_limit_waiting",
            "Calls that wait for a place under such a bound.",
            &labels,
            waiting,
        );
        for (reason, count) in self.places.counts().refused() {
            let labels = [("limit", &*self.path), ("reason", reason)];
            page.counter("trunkline_limit_crowded_total", "Calls that found no place.", &labels, count);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use trunkline_protocol::{Method, Revision, scan};
    use trunkline_service::{Caller, Reply, ready};

    use super::*;

    struct Never;

    impl Service for Never {
        fn call(&self, _: Request) -> Answer<'_> {
            Answer::later(std::future::pending())
        }
    }

    struct Done;

    impl Service for Done {
        fn call(&self, _: Request) -> Answer<'_> {
            ready(Ok(Reply::text("done")))
        }
    }

    fn request() -> Request {
        let body = bytes::Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#);
        let (_, envelope) = scan(&body).unwrap();
        Request::new(body, &envelope, Method::ToolsCall, Revision::LATEST, Caller::local(), 1)
    }

    #[tokio::test(start_paused = true)]
    async fn one_call_more_than_may_run_waits_and_is_refused_when_no_place_comes_free() {
        let running = Running::new("slow", NonZeroU32::new(1).unwrap());
        let (held, done) = (Concurrent::new(Never, Arc::clone(&running)), Concurrent::new(Done, running));
        let mut first = held.call(request());
        assert!((&mut first).now_or_never().is_none());
        let refused = done.call(request()).await.unwrap_err();
        assert_eq!(refused.kind(), FailureKind::Overloaded);
        assert!(refused.public().contains("tools.slow.concurrent"), "{}", refused.public());
        let mut waiting = done.call(request());
        assert!((&mut waiting).now_or_never().is_none());
        drop(first);
        assert!(!waiting.await.unwrap().is_error());
    }
}
