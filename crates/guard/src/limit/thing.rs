//! What a call of one tool has to pass once its name was admitted: so that a tool which is not there for a caller costs what one
//! that does not exist costs.

use std::sync::Arc;

use trunkline_service::{Check, Checked, Request};

use super::bucket::Bucket;
use super::limits::Limits;
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
        stage.take(self.tool.as_deref(), 1);
        stage.take(self.connector.as_deref(), self.cost);
        if more > 0 {
            stage.take(self.limits.server.as_deref(), more);
            self.limits.add_caller(&mut stage, caller, more, 0);
        }
        stage
    }
}

impl Check for ThingCheck {
    fn check<'s>(&'s self, request: &mut Request) -> Checked<'s> {
        match self.limits.settle(&self.stage(request)) {
            Ok(()) => Checked::Passed,
            Err(refused) => {
                refused.note(request.notes().map(|notes| &**notes));
                Checked::Answered(Err(refused.failure()))
            }
        }
    }
}
