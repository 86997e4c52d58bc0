//! Polls a connection again at once when it woke itself during a poll.
//!
//! hyper does so with each request that has a body. Woken by itself, a task goes to the end of its worker's queue, and another
//! worker is woken up to look for it: two threads change places for a poll that most of the time finds nothing to do.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Polls one connection, always by the same task or by few in turn.
#[derive(Debug, Default)]
pub(super) struct Inline {
    relay: Option<(Arc<Relay>, Waker)>,
}

/// Passes a wake on to the task, unless the task is polling just now.
#[derive(Debug)]
struct Relay {
    task: Waker,
    state: AtomicU8,
}

impl Inline {
    /// Polls; again and at once, though not for ever, when it was woken meanwhile, by whoever.
    pub(super) fn poll<F: Future>(
        &mut self,
        mut future: Pin<&mut F>,
        context: &mut Context<'_>,
    ) -> Poll<F::Output> {
        let (relay, waker) = match self.relay.take() {
            Some(kept) if kept.0.task.will_wake(context.waker()) => self.relay.insert(kept),
            _ => {
                let relay = Arc::new(Relay { task: context.waker().clone(), state: AtomicU8::new(WAITING) });
                let waker = Waker::from(Arc::clone(&relay));
                self.relay.insert((relay, waker))
            }
        };
        for _ in 0..MOST_POLLS {
            relay.state.store(POLLING, Ordering::Release);
            let polled = future.as_mut().poll(&mut Context::from_waker(waker));
            // A wake from now on reaches the task.
            let state = relay.state.swap(WAITING, Ordering::AcqRel);
            if polled.is_ready() || state != WOKEN {
                return polled;
            }
        }
        // Others are to have their turn.
        relay.task.wake_by_ref();
        Poll::Pending
    }
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let noted = self.state.compare_exchange(POLLING, WOKEN, Ordering::AcqRel, Ordering::Acquire);
        if noted == Err(WAITING) {
            self.task.wake_by_ref();
        }
    }
}

/// Nobody polls: a wake is the task's.
const WAITING: u8 = 0;
/// Somebody polls: a wake is noted.
const POLLING: u8 = 1;
/// A wake was noted.
const WOKEN: u8 = 2;

/// One for the wake that hyper sends itself, and one for an answer that came meanwhile.
const MOST_POLLS: usize = 3;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use tokio::sync::Notify;
    use tokio::task::JoinSet;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Wakes itself so many times before it is done; returns how often it was polled, and its task woken.
    fn polls(wakes: usize) -> (bool, usize, usize) {
        let task = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&task));
        let mut polled = 0;
        let mut future = std::pin::pin!(poll_fn(|context| {
            polled += 1;
            if polled > wakes {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            let clone = context.waker().clone();
            clone.wake_by_ref();
            clone.wake();
            Poll::Pending
        }));
        let is_done = Inline::default().poll(future.as_mut(), &mut Context::from_waker(&waker)).is_ready();
        (is_done, polled, task.0.load(Ordering::Relaxed))
    }

    #[test]
    fn what_wakes_itself_is_polled_again_without_its_task_and_not_for_ever() {
        assert_eq!(polls(0), (true, 1, 0));
        assert_eq!(polls(1), (true, 2, 0));
        assert_eq!(polls(2), (true, 3, 0));
        assert_eq!(polls(100), (false, 3, 1));
    }

    #[test]
    fn a_wake_between_polls_is_the_tasks() {
        let task = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&task));
        let mut inner = None;
        let mut inline = Inline::default();
        for woken in 0..3 {
            let mut future = std::pin::pin!(poll_fn(|context| {
                inner = Some(context.waker().clone());
                Poll::<()>::Pending
            }));
            assert!(inline.poll(future.as_mut(), &mut Context::from_waker(&waker)).is_pending());
            assert_eq!(task.0.load(Ordering::Relaxed), woken);
            inner.take().expect("polled").wake();
        }
        assert_eq!(task.0.load(Ordering::Relaxed), 3);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_wake_of_another_thread_is_lost() {
        let ping = Arc::new(Notify::new());
        let pong = Arc::new(Notify::new());
        let mut tasks = JoinSet::new();
        tasks.spawn({
            let (ping, pong) = (Arc::clone(&ping), Arc::clone(&pong));
            async move {
                for _ in 0..20_000 {
                    ping.notified().await;
                    pong.notify_one();
                }
            }
        });
        let mut inline = Inline::default();
        let mut here = Box::pin(async move {
            for _ in 0..20_000 {
                ping.notify_one();
                pong.notified().await;
            }
        });
        tasks.spawn(async move { poll_fn(|context| inline.poll(here.as_mut(), context)).await });
        let joined = tokio::time::timeout(Duration::from_secs(30), tasks.join_all()).await;
        assert!(joined.is_ok(), "a wake was lost");
    }
}
