//! A recorded day under another policy: what would be decided otherwise, from what the record holds and nothing else.
//!
//! A record has no argument values. A condition whose place and text are unchanged comes out as it did then; of another one it
//! is not known, and a call that rests on it is told as undecided. So is one that rests on a claim which the record would
//! not have shown.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use trunkline_service::{Caller, Proof};

use super::condition::compile;
use super::explain::{Explainer, Thing, Verdict};
use super::gate::missing;
use super::policy::{ConditionText, Match, Role, Whom};
use super::rules::Said;
use crate::record::read::Entry;

/// What becomes of one line of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Replayed {
    /// It is no request for a thing by its name.
    NoDecision,
    /// It comes out as it did.
    Same,
    /// It comes out otherwise.
    Differs {
        /// As it was recorded.
        before: Verdict,
        /// As the policy would have it.
        after: Verdict,
        /// The rule that decided then.
        rule_before: String,
        /// The rule that would decide; empty when none does.
        rule_after: String,
    },
    /// The record does not hold what it would take to tell.
    Undecided {
        /// As it was recorded.
        before: Verdict,
        /// What is not known.
        why: String,
    },
}

/// Decides recorded requests again.
#[derive(Debug)]
pub struct Replay<'e> {
    explainer: &'e Explainer,
    /// The claims that the record shows of somebody: whoever lacks one of them in it does not have it.
    shown: BTreeSet<String>,
}

/// How something comes out, as far as it can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Known(Verdict, String),
    Unknown(String),
}

impl<'e> Replay<'e> {
    /// Begins a replay under the explainer's policy. Every line of the record must be [seen](Self::see) before the first one
    /// is decided.
    #[must_use]
    pub fn new(explainer: &'e Explainer) -> Self {
        Self { explainer, shown: BTreeSet::new() }
    }

    /// Learns which claims the record shows.
    pub fn see(&mut self, entry: &Entry) {
        for path in entry.evidence.keys() {
            if !self.shown.contains(path) {
                self.shown.insert(path.clone());
            }
        }
    }

    /// Decides a recorded request again.
    #[must_use]
    pub fn decide(&self, entry: &Entry) -> Replayed {
        let Some(thing) = thing(entry) else { return Replayed::NoDecision };
        let before = recorded(entry);
        let undecided = |why: String| Replayed::Undecided { before, why };
        let needed = ["evidence", "scopes", "roles", "conditions", "resource", "tool", "prompt", "template"];
        if let Some(cut) = entry.cut.iter().find(|cut| needed.contains(&cut.as_str())) {
            return undecided(format!("`{cut}` was too long for the record"));
        }
        match self.outcome(entry, thing) {
            Outcome::Unknown(why) => undecided(why),
            Outcome::Known(after, _) if after == before => Replayed::Same,
            // To its caller an unlisted name is an unknown one.
            Outcome::Known(Verdict::Unlisted, _) if before == Verdict::Unknown => Replayed::Same,
            Outcome::Known(..) if before == Verdict::Unknown => {
                undecided("it was refused before anything was decided".to_owned())
            }
            Outcome::Known(after, rule_after) => Replayed::Differs {
                before,
                after,
                rule_before: entry.rule.clone().unwrap_or_default(),
                rule_after,
            },
        }
    }

    fn outcome(&self, entry: &Entry, thing: Thing<'_>) -> Outcome {
        let policy = self.explainer.policy();
        let caller = caller(entry);
        let unsure: Vec<(&Role, &str)> =
            policy.roles().iter().filter_map(|role| self.unsure(role, &caller)).collect();
        let caller = policy.assigned(caller);
        let sure: Vec<&Role> = policy.roles_of(&caller);
        let known = self.with(&sure, entry, &caller, thing);
        // Each role that cannot be told might be had or not: where none of them changes anything, it does not matter.
        for (role, claim) in &unsure {
            let more: Vec<&Role> = policy
                .roles()
                .iter()
                .filter(|one| sure.iter().any(|held| held.name == one.name) || one.name == role.name)
                .collect();
            if self.with(&more, entry, &caller, thing) != known {
                return Outcome::Unknown(format!(
                    "role `{}` rests on claim `{claim}`, which the record does not hold",
                    role.name
                ));
            }
        }
        known
    }

    /// The claim on which it rests whether the caller has a role, where the record does not tell.
    fn unsure<'r>(&self, role: &'r Role, caller: &Caller) -> Option<(&'r Role, &'r str)> {
        if role.matches.iter().any(|one| one.fits(caller)) {
            return None;
        }
        let claim = |one: &'r Match| match &one.whom {
            Whom::Claim(path, _) => {
                let vouched = one.issuer.is_none() || one.issuer == caller.issuer;
                let is_token = matches!(caller.proof, Proof::Token { .. });
                let unseen = is_token && vouched && !self.shown.contains(path.as_str());
                unseen.then(|| path.as_str())
            }
            _ => None,
        };
        role.matches.iter().find_map(claim).map(|claim| (role, claim))
    }

    /// How it comes out for a caller with those roles.
    fn with(&self, roles: &[&Role], entry: &Entry, caller: &Caller, thing: Thing<'_>) -> Outcome {
        let Some(found) = self.explainer.find(thing) else {
            return Outcome::Known(Verdict::Unknown, String::new());
        };
        let policy = self.explainer.policy();
        let lacks_scopes = match thing {
            Thing::Tool(name) => !missing(policy.scopes_of(name), caller).is_empty(),
            _ => false,
        };
        let scoped = |verdict, rule: &str| {
            let verdict = if lacks_scopes { Verdict::Challenged } else { verdict };
            Outcome::Known(verdict, rule.to_owned())
        };
        if !policy.has_roles() {
            return scoped(Verdict::Allowed, "");
        }
        let ways = match found.said(&self.explainer.0, roles) {
            None | Some(Said::Nothing) => return Outcome::Known(Verdict::Unlisted, String::new()),
            Some(Said::Denied(rule)) => return Outcome::Known(Verdict::Unlisted, rule.id.to_string()),
            Some(Said::Allowed(ways)) => ways,
        };
        let first = ways.first().map_or("", |(_, rule)| &*rule.id);
        if lacks_scopes {
            return scoped(Verdict::Challenged, first);
        }
        let mut unknown = None;
        for (role, rule) in &ways {
            match held(role, entry, caller) {
                Ok(true) => return Outcome::Known(Verdict::Allowed, rule.id.to_string()),
                Ok(false) => {}
                Err(condition) => unknown = unknown.or(Some(condition)),
            }
        }
        match unknown {
            Some(condition) => Outcome::Unknown(format!("condition `{condition}` is not in the record")),
            None => Outcome::Known(Verdict::Refused, first.to_owned()),
        }
    }
}

/// Whether the conditions of a role hold, by what the record says of them; the first one of which it says nothing otherwise.
fn held(role: &Role, entry: &Entry, caller: &Caller) -> Result<bool, String> {
    let mut unknown = None;
    for condition in &role.conditions {
        match entry.conditions.get(&*condition.id) {
            Some(outcome) if *outcome == Some(true) => {}
            Some(_) => return Ok(false),
            None => match by_caller(condition, caller) {
                Some(true) => {}
                Some(false) => return Ok(false),
                None => unknown = unknown.or(Some(condition.id.to_string())),
            },
        }
    }
    match unknown {
        Some(condition) => Err(condition),
        None => Ok(true),
    }
}

/// A condition that rests on nothing but what the record holds of a caller can be asked again.
fn by_caller(condition: &ConditionText, caller: &Caller) -> Option<bool> {
    let expression = compile(&condition.text, &Default::default()).ok()?;
    // Of claims the record holds only those that rules match.
    if condition.text.contains("claims") {
        return None;
    }
    expression.evaluate(&Map::new(), caller).ok().and_then(|value| value.as_bool())
}

/// What a recorded request named.
fn thing(entry: &Entry) -> Option<Thing<'_>> {
    if entry.kind != "call" || entry.outcome.as_deref() == Some("ended") {
        return None;
    }
    if let Some(tool) = &entry.tool {
        return Some(Thing::Tool(tool));
    }
    if let Some(prompt) = &entry.prompt {
        return Some(Thing::Prompt(prompt));
    }
    entry.resource.as_deref().or(entry.template.as_deref()).map(Thing::Resource)
}

/// The caller as far as the record tells.
fn caller(entry: &Entry) -> Caller {
    let texts = |list: &[String]| list.iter().map(|one| one.as_str().into()).collect();
    let Some(known) = &entry.caller else { return Caller::default() };
    let claims: Map<String, Value> = entry.evidence.clone();
    let proof = match known.by.as_str() {
        "local" => Proof::Local,
        "key" => Proof::Key {
            id: known.key.as_deref().unwrap_or_default().into(),
            name: known.name.as_deref().unwrap_or_default().into(),
        },
        _ => Proof::Token { section: known.section.as_deref().unwrap_or_default().into() },
    };
    Caller {
        issuer: known.issuer.as_deref().map(Into::into),
        subject: known.subject.as_str().into(),
        claims,
        scopes: texts(&entry.scopes),
        // Those of a key, which is taken to have been made with them; a token brings none.
        roles: texts(&entry.roles),
        is_local: known.by == "local",
        proof,
        ..Caller::default()
    }
}

/// How it came out then.
fn recorded(entry: &Entry) -> Verdict {
    let by_allow = entry.rule.as_deref().is_some_and(|rule| rule.contains(".allow["));
    match entry.allowed {
        Some(true) => Verdict::Allowed,
        Some(false) if !entry.missing.is_empty() => Verdict::Challenged,
        Some(false) if by_allow => Verdict::Refused,
        Some(false) => Verdict::Unlisted,
        None => match entry.outcome.as_deref() {
            Some("invalid-params" | "resource-not-found" | "method-not-found") => Verdict::Unknown,
            Some("forbidden") if !entry.missing.is_empty() => Verdict::Challenged,
            _ => Verdict::Allowed,
        },
    }
}
