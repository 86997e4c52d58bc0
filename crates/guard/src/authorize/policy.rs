//! The policy: roles with their rules, the scopes of tools, and which scope implies which. Fixed once made.

use std::fmt;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use trunkline_service::caller::{Caller, Proof};

use super::claim::{self, Path, Wanted};
use super::pattern::{Kind, Pattern};
use super::sets;
use crate::authenticate::Assign;

/// Who may do what at an endpoint, compiled from the file by [`PolicyFile::resolve`](super::PolicyFile::resolve).
#[derive(Clone, Default)]
pub struct Policy {
    /// In the order of the file; `None` when the file declares none, and everybody may use everything.
    pub(crate) roles: Option<Box<[Role]>>,
    /// The scopes each tool needs, by its name.
    pub(crate) tool_scopes: FxHashMap<Box<str>, Arc<[Box<str>]>>,
    /// The scopes each scope implies, whatever the way.
    pub(crate) implied: FxHashMap<Box<str>, Box<[Box<str>]>>,
    /// Every claim that some `match` names, with what is asked of it.
    pub(crate) named: Box<[(Path, Box<[Wanted]>)]>,
    /// Equal for equal policies.
    pub(crate) digest: [u8; 32],
}

/// A role.
#[derive(Debug, Clone)]
pub(crate) struct Role {
    pub(crate) name: Box<str>,
    pub(crate) matches: Box<[Match]>,
    pub(crate) allow: Box<[Rule]>,
    pub(crate) deny: Box<[Rule]>,
    /// All of them must hold for what the role allows.
    pub(crate) conditions: Box<[ConditionText]>,
    /// What a caller reads whose call they refuse.
    pub(crate) message: Option<Arc<str>>,
}

/// One pattern of a role.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    /// Where it stands: `roles.support.allow[0]`.
    pub(crate) id: Arc<str>,
    pub(crate) pattern: Pattern,
}

/// A condition before it is compiled for a tool.
#[derive(Debug, Clone)]
pub(crate) struct ConditionText {
    /// Where it stands, and 8 hex digits of a digest of its text: `roles.support.when.small@1a2b3c4d`.
    pub(crate) id: Arc<str>,
    /// Where it stands, as keys of the file.
    pub(crate) path: Box<[String]>,
    pub(crate) text: Box<str>,
}

/// One way to have a role.
#[derive(Debug, Clone)]
pub(crate) struct Match {
    /// Where it stands: `roles.support.match[0]`.
    pub(crate) id: Box<str>,
    pub(crate) whom: Whom,
    /// The issuer that must vouch for it.
    pub(crate) issuer: Option<Box<str>>,
}

/// Who is meant.
#[derive(Debug, Clone)]
pub(crate) enum Whom {
    Claim(Path, Wanted),
    Scope(Box<str>),
    Key(Box<str>),
    Local,
}

impl Match {
    /// Tells whether the caller is meant.
    pub(crate) fn fits(&self, caller: &Caller) -> bool {
        let vouched = self.issuer.is_none() || caller.issuer == self.issuer;
        vouched
            && match &self.whom {
                Whom::Claim(path, wanted) => {
                    path.find(&caller.claims).is_some_and(|claim| wanted.fits(claim))
                }
                // The local user holds every scope, and yet is nobody until a role says so.
                Whom::Scope(scope) => !caller.is_local && caller.scopes.contains(scope),
                Whom::Key(name) => matches!(&caller.proof, Proof::Key { name: own, .. } if own == name),
                Whom::Local => caller.is_local,
            }
    }

    /// Says who is meant, for people.
    pub(crate) fn describe(&self) -> String {
        let who = match &self.whom {
            Whom::Claim(path, wanted) => format!("claim `{}` {}", path.as_str(), wanted.describe()),
            Whom::Scope(scope) => format!("scope `{scope}`"),
            Whom::Key(name) => format!("API key `{name}`"),
            Whom::Local => "the local user".to_owned(),
        };
        match &self.issuer {
            Some(issuer) => format!("{who} from `{issuer}`"),
            None => who,
        }
    }
}

impl Role {
    /// Returns the first rule of a list that fits a name or canonical URI.
    pub(crate) fn first<'r>(rules: &'r [Rule], kind: Kind, name: &str) -> Option<&'r Rule> {
        rules.iter().find(|rule| rule.pattern.kind == kind && rule.pattern.glob.matches(name))
    }
}

impl Policy {
    /// Returns the policy of a file that declares no roles and no scopes: everybody may use everything.
    #[must_use]
    pub fn open() -> Self {
        Self::default()
    }

    /// Tells whether the file declares roles, so that nothing is allowed unless one says so.
    #[must_use]
    pub fn has_roles(&self) -> bool {
        self.roles.is_some()
    }

    /// Returns the names of the roles, in the order of the file.
    pub fn role_names(&self) -> impl Iterator<Item = &str> {
        self.roles().iter().map(|role| &*role.name)
    }

    /// Returns a digest: equal for equal policies.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Returns the scopes a tool needs.
    #[must_use]
    pub fn scopes_of(&self, tool: &str) -> &[Box<str>] {
        self.tool_scopes.get(tool).map_or(&[], |scopes| scopes)
    }

    /// Tells whether the role of that name, alone, lets its callers have a tool, whatever scopes and conditions it has.
    #[must_use]
    pub fn role_allows(&self, role: &str, tool: &str) -> bool {
        let role = self.roles().iter().find(|known| *known.name == *role);
        role.is_some_and(|role| {
            let first = |rules| Role::first(rules, Kind::Tools, tool);
            first(&role.allow).is_some() && first(&role.deny).is_none()
        })
    }

    pub(crate) fn roles(&self) -> &[Role] {
        self.roles.as_deref().unwrap_or_default()
    }

    /// Returns the roles of a caller that the file declares, in its order.
    pub(crate) fn roles_of(&self, caller: &Caller) -> Vec<&Role> {
        self.roles().iter().filter(|role| caller.roles.contains(&role.name)).collect()
    }

    /// Adds the scopes that others imply.
    fn imply(&self, scopes: &mut Vec<Box<str>>) {
        let granted = scopes.len();
        for at in 0..granted {
            let implied = scopes.get(at).and_then(|scope| self.implied.get(scope)).into_iter().flatten();
            for scope in implied {
                if !scopes.contains(scope) {
                    scopes.push(scope.clone());
                }
            }
        }
    }

    /// Gives a caller roles, scopes and evidence.
    #[must_use]
    pub fn assigned(&self, mut caller: Caller) -> Caller {
        self.imply(&mut caller.scopes);
        // Roles come from the file; only a key brings those it was created with.
        let own = match caller.proof {
            Proof::Key { .. } => std::mem::take(&mut caller.roles),
            _ => Vec::new(),
        };
        caller.roles = self
            .roles()
            .iter()
            .filter(|role| own.contains(&role.name) || role.matches.iter().any(|one| one.fits(&caller)))
            .map(|role| role.name.clone())
            .collect();
        caller.role_set = sets::number(&caller.roles);
        let named = self.named.iter().map(|(path, wanted)| (path, &**wanted));
        caller.evidence = claim::evidence(&caller.claims, named);
        caller
    }

    /// Returns the local user with the roles that the file gives them.
    #[must_use]
    pub fn local(&self) -> Arc<Caller> {
        if !self.has_roles() {
            return Caller::local();
        }
        self.assign((*Caller::local()).clone())
    }
}

impl Assign for Policy {
    fn assign(&self, caller: Caller) -> Arc<Caller> {
        Arc::new(self.assigned(caller))
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roles: Vec<&str> = self.role_names().collect();
        f.debug_struct("Policy").field("roles", &roles).finish_non_exhaustive()
    }
}
