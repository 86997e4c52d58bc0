//! A coarse clock for the head timeout of HTTP/1: a slow client is caught, and a quick one pays nothing for it.
//!
//! A timer of the runtime armed for every head costs each request some five percent. Here the connection has one timer that
//! ticks, and heads are measured in ticks.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

/// One connection's clock: it stands still between two ticks.
#[derive(Debug)]
pub(super) struct Clock {
    started: Instant,
    tick: Duration,
    ticks: AtomicU32,
}

impl Clock {
    /// Makes a clock that measures `timeout` to within a sixth of it.
    pub(super) fn for_timeout(timeout: Duration) -> Arc<Self> {
        let tick = (timeout / 6).max(Duration::from_millis(10));
        Arc::new(Self { started: Instant::now(), tick, ticks: AtomicU32::new(0) })
    }

    /// Returns how long a tick is.
    pub(super) fn tick(&self) -> Duration {
        self.tick
    }

    /// Lets a tick pass.
    pub(super) fn advance(&self) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
    }

    fn now(&self) -> Instant {
        self.started + self.tick * self.ticks.load(Ordering::Relaxed)
    }
}

/// The clock as hyper takes it.
#[derive(Debug, Clone)]
pub(super) struct CoarseTimer(pub(super) Arc<Clock>);

impl Timer for CoarseTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.0.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(CoarseSleep { clock: Arc::clone(&self.0), deadline })
    }

    fn now(&self) -> Instant {
        self.0.now()
    }
}

/// Waits for a tick at or after its deadline. It registers no waker: the tick itself wakes the connection, whose task polls
/// everything it waits for.
#[derive(Debug)]
struct CoarseSleep {
    clock: Arc<Clock>,
    deadline: Instant,
}

impl Future for CoarseSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.clock.now() >= self.deadline { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Sleep for CoarseSleep {}
