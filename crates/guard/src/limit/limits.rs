//! The limits of one state of the config file, with what is counted under them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use rustc_hash::FxHashMap;
use trunkline_service::{Arrival, Caller, Check, Door};

use super::bucket::{Bucket, Whose};
use super::budget::Budget;
use super::limited::Counted;
use super::presence::Presence;
use super::refusal::Refused;
use super::shared::{Settled, Subject};
use super::spec::{LimitsSpec, ThingSpec};
use super::stage::{Stage, Use};
use super::state::LimitState;
use super::thing::ThingCheck;

/// All limits of a file. The layer [`Limited`](super::Limited), the [`Door`] and the [checks](Self::check) of tools ask it.
#[derive(Debug)]
pub struct Limits {
    pub(super) state: LimitState,
    pub(super) server: Option<Arc<Bucket>>,
    address: Option<Arc<Bucket>>,
    caller: Option<Arc<Bucket>>,
    roles: FxHashMap<Box<str>, Role>,
    /// Whether some role bounds what its callers hold until they are answered.
    pub(super) holds_some: bool,
    /// Who the local user is here: edges that know no better bring one without roles.
    local: Arc<Caller>,
}

/// What holds for each caller of a role.
#[derive(Debug)]
pub(super) struct Role {
    limit: Option<Arc<Bucket>>,
    pub(super) budget: Option<Arc<Budget>>,
    pub(super) presence: Option<Arc<Presence>>,
}

impl Role {
    fn holds(&self) -> bool {
        self.presence.is_some() || self.budget.as_ref().is_some_and(|budget| budget.spec.bytes.is_some())
    }
}

impl Limits {
    /// Makes the limits of a file. What `state` has counted under the same limits goes on. `local` is the local user with the
    /// roles that the file gives them.
    #[must_use]
    pub fn new(spec: &LimitsSpec, state: &LimitState, local: Arc<Caller>) -> Self {
        state.prune();
        let bucket = |name: &str, rate: Option<_>, whose| {
            rate.map(|rate| state.bucket(&format!("limits.{name}"), name, rate, whose))
        };
        let roles = spec.roles.iter().map(|(name, role)| {
            let label = format!("role {name}");
            let path = |key: &str| format!("roles.{name}.{key}");
            let limit = role.limit.map(|rate| state.bucket(&path("limit"), &label, rate, Whose::Each));
            let budget = role.budget.map(|spec| state.budget(&path("budget"), &label, spec));
            let presence = role.concurrent.map(|most| state.presence(&path("concurrent"), &label, most));
            (name.clone(), Role { limit, budget, presence })
        });
        let roles: FxHashMap<_, Role> = roles.collect();
        Self {
            holds_some: roles.values().any(Role::holds),
            roles,
            server: bucket("server", spec.server, Whose::Everybodys),
            address: bucket("address", spec.address, Whose::Each),
            caller: bucket("caller", spec.caller, Whose::Each),
            state: state.clone(),
            local,
        }
    }

    /// Returns what stands at the door of an edge; `None` when nothing that the edge sees has a limit. `counted` says whether the
    /// edge lets each message arrive, or asks of those alone that it answers by itself.
    #[must_use]
    pub fn door(self: &Arc<Self>, counted: Counted) -> Option<Arc<dyn Door>> {
        match counted {
            Counted::AtTheDoor => {
                let has_one = self.address.is_some() || self.has_some(true);
                has_one.then(|| Arc::clone(self) as Arc<dyn Door>)
            }
            Counted::Here => self.has_some(true).then(|| Arc::new(Inside(Arc::clone(self))) as Arc<dyn Door>),
        }
    }

    /// Returns what a call of a tool has to pass: its limit, that of its connector, and what it costs beyond one request;
    /// `None` when there is nothing. `tool` and `connector` are their names in the file with what it says of them.
    #[must_use]
    pub fn check(
        self: &Arc<Self>,
        tool: Option<(&str, &ThingSpec)>,
        connector: Option<(&str, &ThingSpec)>,
    ) -> Option<Arc<dyn Check>> {
        let bucket = |kind: &str, (name, spec): (&str, &ThingSpec)| {
            let rate = spec.limit?;
            let (path, label) = (format!("{kind}s.{name}.limit"), format!("{kind} {name}"));
            Some(self.state.bucket(&path, &label, rate, Whose::Everybodys))
        };
        let cost = tool.and_then(|(_, spec)| spec.cost).map_or(1, |cost| cost.get());
        let tool = tool.and_then(|tool| bucket("tool", tool));
        let connector = connector.and_then(|connector| bucket("connector", connector));
        let has_cost = cost > 1 && (self.server.is_some() || self.caller.is_some() || !self.roles.is_empty());
        let is_needed = tool.is_some() || connector.is_some() || has_cost;
        is_needed
            .then(|| Arc::new(ThingCheck::new(Arc::clone(self), tool, connector, cost)) as Arc<dyn Check>)
    }

    /// Tells whether requests of callers are counted at all; `with_server`: those of everybody too.
    pub(super) fn has_some(&self, with_server: bool) -> bool {
        with_server && self.server.is_some() || self.caller.is_some() || !self.roles.is_empty()
    }

    /// Returns the caller with the roles that they have here.
    pub(super) fn known<'a>(&'a self, caller: &'a Arc<Caller>) -> &'a Arc<Caller> {
        if caller.is_local && caller.role_set == 0 { &self.local } else { caller }
    }

    /// Returns what holds for each role of a caller.
    pub(super) fn roles_of(&self, caller: &Caller) -> impl Iterator<Item = &Role> {
        let names = if self.roles.is_empty() { &[][..] } else { &caller.roles };
        names.iter().filter_map(|name| self.roles.get(name))
    }

    /// Returns what one request of a caller takes, with the limit of the server where nobody asked it before.
    pub(super) fn stage(&self, counted: Counted, key: u64, caller: &Caller, bytes: u64) -> Stage<'_> {
        let mut stage = Stage::new(key);
        self.add_caller(&mut stage, caller, bytes);
        if counted == Counted::Here {
            stage.take(self.server.as_ref(), 1);
        }
        stage
    }

    /// Counts one request that no service sees.
    fn count_one(&self, counted: Counted, caller: &Arc<Caller>) -> Arrival<'_> {
        let caller = self.known(caller);
        let stage = self.stage(counted, self.state.key(caller), caller, 0);
        arrival(self.state.settle(stage, Subject::Caller(caller), Instant::now()))
    }

    /// Adds what a request of a caller is counted under.
    pub(super) fn add_caller<'a>(&'a self, stage: &mut Stage<'a>, caller: &Caller, bytes: u64) {
        stage.take(self.caller.as_ref(), 1);
        for role in self.roles_of(caller) {
            stage.take(role.limit.as_ref(), 1);
            if let Some(budget) = &role.budget {
                stage.uses.push(Use { budget, calls: 1, bytes: Some(bytes) });
            }
        }
    }

    /// Adds what a request of a caller costs them beyond that.
    pub(super) fn add_cost<'a>(&'a self, stage: &mut Stage<'a>, caller: &Caller, more: u32) {
        stage.take_more(self.caller.as_ref(), more);
        for role in self.roles_of(caller) {
            stage.take_more(role.limit.as_ref(), more);
            if let Some((budget, most)) =
                role.budget.as_ref().and_then(|budget| Some((budget, budget.spec.calls?)))
            {
                let calls = u64::from(more).min(most.saturating_sub(1));
                stage.uses.push(Use { budget, calls, bytes: None });
            }
        }
    }
}

impl Door for Limits {
    fn arrive(&self, address: Option<IpAddr>) -> Arrival<'_> {
        let address = address.filter(|_| self.address.is_some());
        let mut stage = Stage::new(address.map_or(0, |address| self.state.key_of_address(address)));
        if address.is_some() {
            stage.take(self.address.as_ref(), 1);
        }
        stage.take(self.server.as_ref(), 1);
        arrival(self.state.settle(stage, address.map_or(Subject::Nobody, Subject::Address), Instant::now()))
    }

    fn count(&self, caller: &Arc<Caller>) -> Arrival<'_> {
        self.count_one(Counted::AtTheDoor, caller)
    }

    fn may_ask(&self) -> bool {
        self.state.is_shared()
    }
}

/// The door of an edge that lets every message in, and asks of those alone that it answers by itself: stdio.
#[derive(Debug)]
struct Inside(Arc<Limits>);

impl Door for Inside {
    fn arrive(&self, _: Option<IpAddr>) -> Arrival<'_> {
        Arrival::Admitted
    }

    fn count(&self, caller: &Arc<Caller>) -> Arrival<'_> {
        self.0.count_one(Counted::Here, caller)
    }

    fn may_ask(&self) -> bool {
        self.0.may_ask()
    }
}

fn arrival(settled: Settled<'_>) -> Arrival<'_> {
    let refuse = |refused: Refused<'_>| {
        refused.note(None);
        refused.failure()
    };
    match settled {
        Settled::Passed => Arrival::Admitted,
        Settled::Refused(refused) => Arrival::Refused(refuse(refused)),
        Settled::Waiting(waiting) => Arrival::Waiting(Box::pin(async move { waiting.await.map(refuse) })),
    }
}
