//! Tells the other nodes what happened here, in the background, and for as long as it takes where they have to hear of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;

use super::super::{Away, Change, Topic};
use super::feed::{CHANGES, News};
use super::mirror::KEPT;
use super::{Core, NEWS, scripts};

/// Most things that wait to be told.
const WAITING: usize = 4096;
/// How long the store is left alone after it was not reached.
const REST: Duration = Duration::from_millis(200);
/// How often something is tried that the store refuses.
const MAX_REFUSED: u32 = 10;
/// The longest change that is told, in bytes; for a longer one the whole list is said to have changed.
const MAX_CHANGE: usize = 8192;
/// How long changes are kept for who takes up a subscription, in seconds.
const KEPT_FOR: u64 = 24 * 60 * 60;

/// Where it is left what has to be told.
#[derive(Debug)]
pub(super) struct Speaker {
    said: mpsc::Sender<Said>,
    /// Whether a change was left out because too much waited.
    left_out: AtomicBool,
}

/// Something to tell.
#[derive(Debug)]
pub(super) enum Said {
    Change(Change),
    Close(Topic),
}

impl Speaker {
    pub(super) fn new() -> (Self, mpsc::Receiver<Said>) {
        let (said, receiver) = mpsc::channel(WAITING);
        (Self { said, left_out: AtomicBool::new(false) }, receiver)
    }

    /// Has a change told. Where too much waits already, all lists are said to have changed instead.
    pub(super) fn say(&self, change: Change) {
        let is_kept =
            matches!(change, Change::Tools | Change::Prompts | Change::Resources | Change::Resource(_));
        if self.said.try_send(Said::Change(change)).is_err() && is_kept {
            self.left_out.store(true, Ordering::Relaxed);
        }
    }

    /// Has a topic closed. Where too much waits already it is open until its time is over.
    pub(super) fn close(&self, topic: Topic) {
        let _ = self.said.try_send(Said::Close(topic));
    }
}

/// Tells what is said, for as long as the future lives.
pub(super) async fn speak(core: Arc<Core>, mut said: mpsc::Receiver<Said>) {
    while let Some(next) = said.recv().await {
        if core.speaker.left_out.swap(false, Ordering::Relaxed) {
            core.until_told(&Change::Resources, 1).await;
            core.until_told(&Change::Tools, 0).await;
            core.until_told(&Change::Prompts, 0).await;
        }
        match next {
            Said::Change(change @ (Change::Session(..) | Change::Cancel(..) | Change::Task(_))) => {
                // Of these nobody was promised to hear.
                let _ = core.tell(change).await;
            }
            Said::Change(change) => core.until_told(&change, 0).await,
            Said::Close(topic) => {
                let mut tries = Tries::default();
                while core.close_topic(topic).await.is_err() && tries.again(&core).await {}
            }
        }
    }
}

impl Core {
    async fn tell(&self, change: Change) -> Result<(), Away> {
        let message = self.news(&News::Told(change))?;
        self.store.publish(NEWS, &message).await?;
        Ok(())
    }

    /// Puts a change into the log of all nodes, after leaving out positions, which tells everybody that something is missing.
    async fn until_told(&self, change: &Change, left_out: u64) {
        let mut text = change.to_bytes();
        if text.len() > MAX_CHANGE {
            text = Change::Resources.to_bytes();
        }
        let (most, left_out, kept_for) = (KEPT.to_string(), left_out.to_string(), KEPT_FOR.to_string());
        let (mut is_first, mut tries) = (true, Tries::default());
        loop {
            if let Ok(sealed) = self.seal(CHANGES, &text) {
                let keys: [&[u8]; 3] = [b"changes:last", b"changes", NEWS.as_bytes()];
                let args = [&sealed[..], most.as_bytes(), left_out.as_bytes(), kept_for.as_bytes()];
                if self.store.run(&scripts::ANNOUNCE, &keys, &args).await.map_err(Away::from).is_ok() {
                    return;
                }
            }
            if std::mem::take(&mut is_first) {
                // Who subscribes at this node need not wait for the store: something changed, and they look at everything.
                self.feed.changes.lag();
            }
            if !tries.again(self).await {
                return;
            }
        }
    }
}

/// How often something was tried.
#[derive(Debug, Default)]
struct Tries {
    /// Times it failed although the store answers: it is refused, and trying for ever would hold up all the rest.
    refused: u32,
}

impl Tries {
    /// Waits for another try; `false` when there is none.
    async fn again(&mut self, core: &Core) -> bool {
        self.refused += u32::from(core.store.is_up());
        if self.refused >= MAX_REFUSED {
            tracing::warn!(
                "the store takes no news of this node; what changed here is not told to the others"
            );
            return false;
        }
        sleep(REST).await;
        true
    }
}
