//! What stands before a thing that some roles allow: its scopes, and the conditions of the roles that allow it.

use std::sync::Arc;

use trunkline_protocol::Method;
use trunkline_service::catalog::Gate;
use trunkline_service::{Caller, Decided, Failure, FailureKind, Outcome, Reply, Request};

use super::arguments::{Read, Taken};
use super::condition::{Conditions, Outcomes};

/// One rule that allows a thing.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    /// The rule: `roles.support.allow[0]`.
    pub(crate) rule: Arc<str>,
    /// What must hold besides.
    pub(crate) conditions: Option<Arc<Conditions>>,
    /// What a caller reads where it does not.
    pub(crate) message: Option<Arc<str>>,
}

/// Stands before one thing for one set of roles.
#[derive(Debug)]
pub(crate) struct RoleGate {
    /// The scopes that the thing needs.
    pub(crate) scopes: Option<Arc<[Box<str>]>>,
    /// The rules that allow it; none where the file declares no roles.
    pub(crate) ways: Box<[Way]>,
    /// What it takes, where conditions may have to be asked.
    pub(crate) taken: Option<Arc<Taken>>,
}

/// Returns the scopes that a caller lacks.
pub(crate) fn missing(scopes: &[Box<str>], caller: &Caller) -> Vec<Box<str>> {
    if caller.is_local {
        return Vec::new();
    }
    scopes.iter().filter(|scope| !caller.scopes.contains(scope)).cloned().collect()
}

/// What conditions came to.
enum Judged<'g> {
    /// This rule allows it.
    By(&'g Arc<str>),
    /// No rule does; an argument was not what the schema says.
    No(Option<String>),
}

impl RoleGate {
    /// The first rule that asks nothing besides.
    fn free(&self) -> Option<&Way> {
        self.ways.iter().find(|way| way.conditions.is_none())
    }

    fn judge(&self, request: &Request, outcomes: Option<&mut Outcomes>) -> Judged<'_> {
        if let Some(way) = self.free() {
            return Judged::By(&way.rule);
        }
        let read = self.taken.as_ref().map(|taken| taken.read(request)).unwrap_or_default();
        match self.held(&read, request.caller(), outcomes) {
            Some(way) => Judged::By(&way.rule),
            None => Judged::No(read.misfits.into_iter().next()),
        }
    }

    /// The first rule whose conditions hold.
    fn held(&self, read: &Read, caller: &Caller, mut outcomes: Option<&mut Outcomes>) -> Option<&Way> {
        self.ways.iter().find(|way| {
            way.conditions.as_ref().is_none_or(|all| all.hold(read, caller, outcomes.as_deref_mut()))
        })
    }

    fn note(&self, request: &Request, rule: Option<&Arc<str>>, outcomes: Outcomes, missing: Vec<Box<str>>) {
        let Some(notes) = request.notes() else { return };
        let first = || self.ways.first().map(|way| Arc::clone(&way.rule));
        notes.decide(Decided {
            allowed: Some(rule.is_some() && missing.is_empty()),
            rule: rule.map(Arc::clone).or_else(first).unwrap_or_default(),
            conditions: outcomes,
            missing_scopes: missing,
        });
    }

    /// What a caller reads whom conditions refused.
    fn refusal(&self, method: Method, misfit: Option<String>) -> Outcome {
        let text = match misfit {
            Some(name) => format!(
                "whether this is allowed depends on `{name}`, whose value is not of the kind that the schema says, or has too \
                 many digits; send it as the schema says"
            ),
            None => match self.ways.iter().find_map(|way| way.message.as_deref()) {
                Some(message) => message.to_owned(),
                None => self.unworded(),
            },
        };
        match method {
            Method::ToolsCall => Ok(Reply::tool_error(&text)),
            _ => Err(Failure::new(FailureKind::Forbidden, text)),
        }
    }

    fn unworded(&self) -> String {
        let rules: Vec<String> = self.ways.iter().map(|way| format!("`{}`", way.rule)).collect();
        format!(
            "the conditions of {} do not hold for this call; other arguments may be allowed",
            rules.join(" and of ")
        )
    }
}

impl Gate for RoleGate {
    fn admit(&self, request: &Request) -> Option<Outcome> {
        if let Some(scopes) = &self.scopes {
            let missing = missing(scopes, request.caller());
            if !missing.is_empty() {
                self.note(request, None, Vec::new(), missing);
                // All that it needs, those that are there too: some clients ask for just what a challenge names.
                return Some(Err(Failure::insufficient_scope(scopes.to_vec())));
            }
        }
        None
    }

    fn refuse(&self, request: &Request) -> Option<Outcome> {
        if self.ways.is_empty() {
            return None;
        }
        let mut outcomes = request.notes().map(|_| Outcomes::new());
        let judged = self.judge(request, outcomes.as_mut());
        let outcomes = outcomes.unwrap_or_default();
        match judged {
            Judged::By(rule) => {
                self.note(request, Some(rule), outcomes, Vec::new());
                None
            }
            Judged::No(misfit) => {
                self.note(request, None, outcomes, Vec::new());
                tracing::debug!(
                    request = %format_args!("{:016x}", request.log_id()),
                    rule = self.ways.first().map_or("", |way| &way.rule),
                    "refused by the conditions of a role"
                );
                Some(self.refusal(request.method(), misfit))
            }
        }
    }

    fn tells(&self, caller: &Caller) -> bool {
        let scoped = self.scopes.as_ref().is_none_or(|scopes| missing(scopes, caller).is_empty());
        scoped && (self.ways.is_empty() || self.held(&Read::default(), caller, None).is_some())
    }
}
