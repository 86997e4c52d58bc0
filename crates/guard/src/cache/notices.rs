//! Sources that tell of their changes: what is kept of one holds no longer once it says so, and nothing of it is given out while nobody
//! would hear it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use trunkline_service::notices::{FollowNotices, Notice, Notices};

use super::Cache;
use super::meter::Teller;
use super::tags::{Named, Tag};

/// A flood of notices is taken together for so long.
const TOGETHER: Duration = Duration::from_millis(25);
/// Most tags that are taken together; with more, all of the connector is meant.
const MOST: usize = 64;

/// Listens to a source until it is dropped.
#[derive(Debug)]
pub struct Listening {
    _ending: DropGuard,
}

/// A connector of which nothing is given out while its source is not heard.
struct Suspicion {
    connector: Arc<Tag>,
    is_on: bool,
}

impl Suspicion {
    fn set(&mut self, is_on: bool) {
        if is_on != std::mem::replace(&mut self.is_on, is_on) {
            if is_on { self.connector.suspect() } else { self.connector.trust() }
        }
    }
}

impl Drop for Suspicion {
    fn drop(&mut self) {
        self.set(false);
    }
}

impl Cache {
    /// Has a connector's source say what holds no longer. Until it is heard nothing of the connector is given out.
    #[must_use]
    pub fn listen(self: &Arc<Self>, connector: &str, source: &dyn Notices) -> Listening {
        let ending = CancellationToken::new();
        let mut suspicion =
            Suspicion { connector: self.tags.intern(Named::Connector(connector)), is_on: false };
        suspicion.set(true);
        let (cache, notices, ended) = (Arc::clone(self), source.follow(), ending.clone());
        self.spawn(async move {
            ended.run_until_cancelled(cache.heed(notices, suspicion)).await;
        });
        Listening { _ending: ending.drop_guard() }
    }

    async fn heed(&self, mut notices: Box<dyn FollowNotices>, mut suspicion: Suspicion) {
        let connector = Arc::clone(&suspicion.connector);
        let mut next = notices.next().await;
        loop {
            match next {
                Notice::Lost => suspicion.set(true),
                Notice::Heard => {
                    // What was missed is not known.
                    self.changed(&[Arc::clone(&connector)], Teller::Source).await;
                    suspicion.set(false);
                }
                Notice::Changed(tag) => {
                    let mut changed = Vec::new();
                    self.add(&mut changed, tag.as_deref(), &connector);
                    let after = self.gather(&mut *notices, &mut changed, &connector).await;
                    self.changed(&changed, Teller::Source).await;
                    if let Some(after) = after {
                        next = after;
                        continue;
                    }
                }
            }
            next = notices.next().await;
        }
    }

    /// Takes more changes together with those that came; returns what else came.
    async fn gather(
        &self,
        notices: &mut dyn FollowNotices,
        changed: &mut Vec<Arc<Tag>>,
        connector: &Arc<Tag>,
    ) -> Option<Notice> {
        let end = Instant::now() + TOGETHER;
        loop {
            match timeout_at(end, notices.next()).await {
                Err(_) => return None,
                Ok(Notice::Changed(tag)) => self.add(changed, tag.as_deref(), connector),
                Ok(other) => return Some(other),
            }
        }
    }

    /// Adds a tag; one that nothing has, as from a trigger that tells something else, means all of the connector.
    fn add(&self, changed: &mut Vec<Arc<Tag>>, tag: Option<&str>, connector: &Arc<Tag>) {
        let found = tag.and_then(|tag| self.tags.find(Named::Tag(tag)));
        let found = found.unwrap_or_else(|| Arc::clone(connector));
        if changed.iter().any(|known| Arc::ptr_eq(known, &found)) {
            return;
        }
        if changed.len() < MOST {
            changed.push(found);
        } else {
            // The last place is for everything.
            *changed = vec![Arc::clone(connector)];
        }
    }
}
