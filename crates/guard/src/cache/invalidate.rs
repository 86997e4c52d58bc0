//! The layer around a tool that writes: what others keep of what it changed holds no longer once its answer leaves.

use std::sync::Arc;

use trunkline_service::{Answer, FailureKind, Fault, Outcome, Request, Service};

use super::Cache;
use super::meter::Teller;
use super::tags::Tag;

/// Tells of the changes that a tool makes.
#[derive(Clone)]
pub(crate) struct Invalidating {
    pub(crate) inner: Arc<dyn Service>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) tags: Arc<[Arc<Tag>]>,
}

/// A call that may have changed something, told of however it ends.
struct Armed<'a> {
    layer: &'a Invalidating,
    is_armed: bool,
}

impl Drop for Armed<'_> {
    fn drop(&mut self) {
        if self.is_armed {
            // The call was given up; whether it wrote anything, nobody knows.
            let (cache, tags) = (Arc::clone(&self.layer.cache), Arc::clone(&self.layer.tags));
            self.layer.cache.spawn(async move {
                cache.changed(&tags, Teller::Tool).await;
            });
        }
    }
}

impl Service for Invalidating {
    fn call(&self, request: Request) -> Answer<'_> {
        Answer::later(async move {
            let mut armed = Armed { layer: self, is_armed: true };
            let outcome = self.inner.call(request).await;
            if wrote_nothing(&outcome) {
                armed.is_armed = false;
                return outcome;
            }
            self.cache.changed(&self.tags, Teller::Tool).await;
            armed.is_armed = false;
            outcome
        })
    }
}

/// Tells whether it is certain that nothing was done: the source says so, or the call did not come to it.
fn wrote_nothing(outcome: &Outcome) -> bool {
    match outcome {
        Ok(reply) => matches!(reply.fault(), Some(Fault::NotDone | Fault::Busy)),
        Err(failure) => !matches!(
            failure.kind(),
            FailureKind::UpstreamUnavailable | FailureKind::DeadlinePassed | FailureKind::Internal
        ),
    }
}
