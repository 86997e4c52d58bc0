//! What goes on beside requests for what is kept: databases are heard when they tell of changes, answers are fetched before somebody
//! asks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use trunkline_guard::cache::{Cache, Listening, Warmable, Warming, warm_problems};
use trunkline_service::Caller;
use trunkline_service::file::Problem;

use super::Served;
use crate::config::{Fingerprint, Things};
use crate::guards::Guards;

/// What goes on, from one file to the next.
#[derive(Debug, Default)]
pub(crate) struct Ahead(Mutex<Going>);

#[derive(Debug, Default)]
struct Going {
    /// The connectors that are heard, with what the file said of each.
    heard: BTreeMap<String, (Fingerprint, Listening)>,
    warming: Option<Warming>,
}

impl Ahead {
    /// Goes on with what is served now: connectors that did not change are heard on without a break.
    pub(super) fn go_on(&self, cache: &Arc<Cache>, served: &[Served], warm: Vec<Warmable>, guards: &Guards) {
        let mut going = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut going.heard);
        for served in served {
            let Some(notices) = served.source.notices() else { continue };
            let known = before.remove(&served.name).filter(|(own, _)| *own == served.own);
            let heard = known.unwrap_or_else(|| (served.own.clone(), cache.listen(&served.name, &*notices)));
            going.heard.insert(served.name.clone(), heard);
        }
        // The old ones end first, so that nothing is fetched twice at a time.
        going.warming = None;
        going.warming = (!warm.is_empty()).then(|| cache.warm(warm, &callers(guards)));
    }
}

/// Returns those for whom answers are fetched ahead where callers with the same roles share them: one for each role, or the local user.
fn callers(guards: &Guards) -> Vec<Arc<Caller>> {
    if !guards.is_guarded() {
        return vec![guards.policy.local()];
    }
    let of_role = |role: &str| Arc::new(Caller { roles: vec![role.into()], ..Caller::default() });
    guards.policy.role_names().map(of_role).collect()
}

/// Tells which of the calls that the file wants to be warm do not fit their tools.
pub(crate) fn problems(things: &Things, served: &[Served]) -> Vec<Problem> {
    let entries = served.iter().flat_map(|served| served.source.parts().tools);
    let mut problems = Vec::new();
    for entry in entries {
        let name = entry.definition.name.as_str();
        let plan = things.tools.get(name).and_then(|tool| tool.cache.as_ref());
        let schema = entry.facts.schema.as_ref().unwrap_or(&entry.definition.input_schema);
        problems.extend(plan.into_iter().flat_map(|plan| warm_problems(&["tools", name], plan, schema)));
    }
    problems
}
