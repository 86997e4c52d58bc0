//! What a call of one tool has to pass once its name was admitted: so that a tool which is not there for a caller costs what one
//! that does not exist costs.

use std::sync::Arc;

use trunkline_service::{Check, Checked, Notes, Outcome, Request};

use super::bucket::Bucket;
use super::limits::Limits;
use super::refusal::Refused;
use super::shared::{Settled, Subject};
use super::stage::Stage;

/// The limit of a tool, that of its connector, and what it costs beyond one request.
#[derive(Debug)]
pub(super) struct ThingCheck {
    limits: Arc<Limits>,
    tool: Option<Arc<Bucket>>,
    connector: Option<Arc<Bucket>>,
    cost: u32,
}

impl ThingCheck {
    pub(super) fn new(
        limits: Arc<Limits>,
        tool: Option<Arc<Bucket>>,
        connector: Option<Arc<Bucket>>,
        cost: u32,
    ) -> Self {
        Self { limits, tool, connector, cost }
    }

    fn stage(&self, request: &Request) -> Stage<'_> {
        let caller = self.limits.known(request.caller());
        let more = self.cost.saturating_sub(1);
        let mut stage = Stage::new(if more > 0 { self.limits.state.key(caller) } else { 0 });
        if more > 0 {
            self.limits.add_cost(&mut stage, caller, more);
        }
        stage.take(self.tool.as_ref(), 1);
        stage.take(self.connector.as_ref(), self.cost);
        if more > 0 {
            stage.take_more(self.limits.server.as_ref(), more);
        }
        stage
    }
}

impl Check for ThingCheck {
    fn check<'s>(&'s self, request: &mut Request) -> Checked<'s> {
        let subject = Subject::Caller(self.limits.known(request.caller()));
        match self.limits.state.settle(self.stage(request), subject, request.arrived()) {
            Settled::Passed => Checked::Passed,
            Settled::Refused(refused) => Checked::Answered(refuse(refused, request.notes())),
            Settled::Waiting(waiting) => {
                let notes = request.notes().map(Arc::clone);
                Checked::Waiting(Box::pin(async move {
                    waiting.await.map(|refused| refuse(refused, notes.as_ref()))
                }))
            }
        }
    }
}

fn refuse(refused: Refused<'_>, notes: Option<&Arc<Notes>>) -> Outcome {
    refused.note(notes.map(|notes| &**notes));
    Err(refused.failure())
}
