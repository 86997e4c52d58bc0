//! The policy over a catalog: what is there for a set of roles, and what stands before it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rustc_hash::FxHashMap;
use trunkline_service::Catalog;
use trunkline_service::catalog::{Admission, Restriction, Uris};
use trunkline_service::expression::ArgType;

use super::arguments::Taken;
use super::condition::Conditions;
use super::gate::{RoleGate, Way};
use super::overlap;
use super::pattern::Kind;
use super::policy::{Policy, Role, Rule};
use super::uri;

/// A policy and the catalog it is asked about, with the conditions that were compiled so far.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) policy: Arc<Policy>,
    pub(crate) catalog: Arc<Catalog>,
    compiled: Mutex<Compiled>,
}

/// Conditions by their role and the types of the arguments that they are compiled for.
type Compiled = FxHashMap<(Box<str>, Types), Arc<Conditions>>;

/// The types of arguments, as a key.
type Types = Vec<(String, String)>;

/// What the rules of some roles say of one name or canonical URI.
#[derive(Debug, Clone)]
pub(crate) enum Said<'r> {
    /// No rule allows it.
    Nothing,
    /// This rule denies it.
    Denied(&'r Rule),
    /// These rules allow it, each the first of its role.
    Allowed(Vec<(&'r Role, &'r Rule)>),
}

impl Rules {
    pub(crate) fn new(policy: Arc<Policy>, catalog: Arc<Catalog>) -> Arc<Self> {
        Arc::new(Self { policy, catalog, compiled: Mutex::default() })
    }

    /// Returns the roles of those names that the file declares, in its order.
    pub(crate) fn roles(&self, names: &[Box<str>]) -> Vec<&Role> {
        self.policy.roles().iter().filter(|role| names.contains(&role.name)).collect()
    }

    fn numbers(&self, names: &[Box<str>]) -> Box<[usize]> {
        let roles = self.policy.roles().iter().enumerate();
        roles.filter(|(_, role)| names.contains(&role.name)).map(|(number, _)| number).collect()
    }

    /// Returns what stands before each thing where the file declares no roles; `None` when nothing does.
    pub(crate) fn scopes_only(&self) -> Option<Restriction> {
        if self.policy.tool_scopes.is_empty() {
            return None;
        }
        let mut restriction = Restriction::open(self.catalog.parts());
        for (entry, admission) in self.catalog.entries().iter().zip(&mut restriction.tools) {
            if let Some(scopes) = self.policy.tool_scopes.get(entry.definition.name.as_str()) {
                let scopes = Some(Arc::clone(scopes));
                let gate = RoleGate { scopes, ways: Box::default(), taken: None };
                *admission = Admission::Guarded(Arc::new(gate));
            }
        }
        Some(restriction)
    }

    /// Returns what is there for a set of roles.
    pub(crate) fn restriction(self: &Arc<Self>, names: &[Box<str>]) -> Restriction {
        let roles = self.roles(names);
        let parts = self.catalog.parts();
        // Most things are allowed by one rule that asks nothing: they share what stands before them.
        let mut shared = FxHashMap::default();
        let tools = parts.tools.iter().map(|tool| {
            let name = tool.definition.name.as_str();
            let scopes = self.policy.tool_scopes.get(name).cloned();
            let taken = || Taken::by_schema(&tool.definition.input_schema);
            self.admission(&said(&roles, Kind::Tools, name), scopes, &taken, &mut shared)
        });
        let tools = tools.collect();
        let prompts = parts.prompts.iter().map(|prompt| {
            let taken = || Taken::by_prompt(&prompt.definition);
            self.admission(&said(&roles, Kind::Prompts, &prompt.definition.name), None, &taken, &mut shared)
        });
        let prompts = prompts.collect();
        let resources = parts.resources.iter().map(|resource| {
            let said = uri::canonical(&resource.definition.uri)
                .map_or(Said::Nothing, |uri| said_of_uri(&roles, &uri));
            self.admission(&said, None, &Taken::default, &mut shared)
        });
        let resources = resources.collect();
        let templates = (0..parts.templates.len()).map(|number| {
            let ways = self.ways_into(&roles, number);
            let said = if ways.is_empty() { Said::Nothing } else { Said::Allowed(ways) };
            self.admission(&said, None, &Taken::default, &mut shared)
        });
        let templates = templates.collect();
        let judge = UriJudge { rules: Arc::clone(self), roles: self.numbers(names) };
        Restriction { tools, prompts, resources, templates, uris: Some(Arc::new(judge)) }
    }

    /// The rules through which some URI of a template may be read.
    pub(crate) fn ways_into<'r>(&self, roles: &[&'r Role], template: usize) -> Vec<(&'r Role, &'r Rule)> {
        let Some(template) = self.catalog.uri_template(template) else { return Vec::new() };
        let deny: Vec<_> = of_kind(roles, |role| &role.deny).map(|(_, rule)| &rule.pattern.glob).collect();
        let reached = of_kind(roles, |role| &role.allow)
            .filter(|(_, rule)| overlap::exists(template, &rule.pattern.glob, &deny));
        reached.collect()
    }

    fn admission(
        &self,
        said: &Said<'_>,
        scopes: Option<Arc<[Box<str>]>>,
        taken: &dyn Fn() -> Taken,
        shared: &mut FxHashMap<Arc<str>, Admission>,
    ) -> Admission {
        let Said::Allowed(rules) = said else { return Admission::Absent };
        let needs_conditions = !rules.iter().any(|(role, _)| role.conditions.is_empty());
        let free = rules.iter().find(|(role, _)| role.conditions.is_empty());
        if let (Some((_, rule)), None) = (free, &scopes) {
            let gate = || {
                let ways = [Way { rule: Arc::clone(&rule.id), conditions: None, message: None }].into();
                Admission::Guarded(Arc::new(RoleGate { scopes: None, ways, taken: None }))
            };
            return shared.entry(Arc::clone(&rule.id)).or_insert_with(gate).clone();
        }
        let taken = needs_conditions.then(taken);
        let types = taken.as_ref().map(Taken::types).unwrap_or_default();
        let way = |(role, rule): &(&Role, &Rule)| Way {
            rule: Arc::clone(&rule.id),
            conditions: (needs_conditions && !role.conditions.is_empty())
                .then(|| self.compiled(role, &types)),
            message: role.message.clone(),
        };
        let ways: Box<[Way]> = match free {
            Some(free) => [way(free)].into(),
            None => rules.iter().map(way).collect(),
        };
        let read = |name: &str| {
            ways.iter().filter_map(|way| way.conditions.as_ref()).any(|conditions| conditions.read(name))
        };
        let taken = taken.map(|taken| Arc::new(taken.only(read)));
        Admission::Guarded(Arc::new(RoleGate { scopes, ways, taken }))
    }

    /// Returns the conditions of a role for arguments of those types, compiled once.
    pub(crate) fn compiled(&self, role: &Role, types: &BTreeMap<String, ArgType>) -> Arc<Conditions> {
        let key: Types = types.iter().map(|(name, kind)| (name.clone(), format!("{kind:?}"))).collect();
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        let conditions = compiled.entry((role.name.clone(), key));
        Arc::clone(conditions.or_insert_with(|| Arc::new(Conditions::new(&role.conditions, types))))
    }
}

fn of_kind<'r, 'a>(
    roles: &'a [&'r Role],
    list: fn(&Role) -> &[Rule],
) -> impl Iterator<Item = (&'r Role, &'r Rule)> + use<'r, 'a> {
    roles.iter().flat_map(move |role| {
        list(role).iter().filter(|rule| rule.pattern.kind == Kind::Resources).map(|rule| (*role, rule))
    })
}

/// Asks the rules of some roles about a name. One that denies wins over all that allow.
pub(crate) fn said<'r>(roles: &[&'r Role], kind: Kind, name: &str) -> Said<'r> {
    if let Some(rule) = roles.iter().find_map(|role| Role::first(&role.deny, kind, name)) {
        return Said::Denied(rule);
    }
    let allowed = roles.iter().filter_map(|role| Some((*role, Role::first(&role.allow, kind, name)?)));
    match allowed.collect::<Vec<_>>() {
        none if none.is_empty() => Said::Nothing,
        allowed => Said::Allowed(allowed),
    }
}

/// Asks them about a canonical URI. A rule denies it under every reading that somebody behind may have of it, and whatever
/// query or fragment follows what it denies.
pub(crate) fn said_of_uri<'r>(roles: &[&'r Role], canonical: &str) -> Said<'r> {
    let loose = uri::loosely_read(canonical);
    for reading in [Some(canonical), loose.as_deref()].into_iter().flatten() {
        for part in uri::parts_of(reading) {
            if let Some(rule) = roles.iter().find_map(|role| Role::first(&role.deny, Kind::Resources, part)) {
                return Said::Denied(rule);
            }
        }
    }
    said(roles, Kind::Resources, canonical)
}

/// Judges the URIs that callers with one set of roles read.
#[derive(Debug)]
struct UriJudge {
    rules: Arc<Rules>,
    /// By their numbers in the policy.
    roles: Box<[usize]>,
}

impl Uris for UriJudge {
    fn canonical<'u>(&self, uri: &'u str) -> Option<Cow<'u, str>> {
        uri::canonical(uri)
    }

    fn admission(&self, canonical: &str) -> Admission {
        let all = self.rules.policy.roles();
        let roles: Vec<&Role> = self.roles.iter().filter_map(|number| all.get(*number)).collect();
        let said = said_of_uri(&roles, canonical);
        self.rules.admission(&said, None, &Taken::default, &mut FxHashMap::default())
    }
}
