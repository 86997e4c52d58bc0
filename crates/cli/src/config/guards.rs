//! The sections `[auth]`, `[roles]` and `[audit]`: who may come in, what they may do, and the record of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use trunkline_guard::authenticate::file::{Auth, AuthFile};
use trunkline_guard::authenticate::keys::Keys;
use trunkline_guard::authorize::{Policy, PolicyFile, RoleFile, Surroundings};
use trunkline_guard::limit::{LimitsFile, LimitsSpec};
use trunkline_guard::record::{Audit, AuditFile, SinkChoice};
use trunkline_service::store::StoreConfig;
use trunkline_service::store::file::{OnStoreFailure, StoreFile};
use trunkline_sql::Problem;

use super::connectors::{Connector, Fingerprint};
use super::diagnostic::Diagnostic;
use super::{Edge, Reader, Section};

/// What the file says of who may do what.
#[derive(Debug, Default)]
pub(crate) struct Guards {
    /// `None` without `[auth]`: the local user alone may come in.
    pub(crate) auth: Option<Authentication>,
    pub(crate) policy: Arc<Policy>,
    /// Every scope that a tool needs, sorted.
    pub(crate) scopes: Vec<Box<str>>,
    /// `None` without `[audit]`: nothing is recorded.
    pub(crate) audit: Option<Recording>,
    /// How often the server, addresses, callers and roles may ask.
    pub(crate) limits: LimitsSpec,
}

/// `[auth]`, decided.
#[derive(Debug, Clone)]
pub(crate) struct Authentication {
    pub(crate) auth: Auth,
    pub(crate) keys: Option<Keys>,
    pub(crate) print: Fingerprint,
}

/// `[audit]`, decided.
#[derive(Debug, Clone)]
pub(crate) struct Recording {
    pub(crate) audit: Audit,
    pub(crate) print: Fingerprint,
}

/// `[store]`, decided.
#[derive(Debug, Clone)]
pub(crate) struct StoreSection {
    /// `None` when it names no store.
    pub(crate) config: Option<StoreConfig>,
    pub(crate) on_failure: OnStoreFailure,
    pub(crate) print: Fingerprint,
}

/// The sections as they stand in the file.
#[derive(Debug, Default)]
pub(super) struct Sections<'i> {
    pub(super) auth: Option<Section<'i>>,
    pub(super) limits: Option<Section<'i>>,
    pub(super) store: Option<Section<'i>>,
    pub(super) roles: Option<Section<'i>>,
    pub(super) audit: Option<Section<'i>>,
}

/// What the rest of the file says that guards depend on.
pub(super) struct Around<'a> {
    pub(super) edge: Edge,
    pub(super) url: Option<&'a str>,
    pub(super) connectors: &'a [Connector],
    /// The scopes that tools need, by their names.
    pub(super) tool_scopes: Vec<(String, Vec<String>)>,
}

impl Reader<'_> {
    /// Decides the three sections together, since what a role may name depends on who may come in.
    pub(super) fn guards(&mut self, sections: Sections<'_>, around: Around<'_>) -> Guards {
        let scopes: BTreeSet<&str> =
            around.tool_scopes.iter().flat_map(|(_, scopes)| scopes).map(String::as_str).collect();
        let scopes = scopes.into_iter().map(Box::from).collect();
        let mut policy = PolicyFile { tool_scopes: around.tool_scopes, ..PolicyFile::default() };
        policy.roles = sections.roles.map(|section| self.roles(section));
        let limits = sections.limits.and_then(|section| self.strict(section, &["limits"]));
        let limits: LimitsFile = limits.unwrap_or_default();
        let (limits, problems) = limits.resolve(policy.roles.as_deref().unwrap_or_default());
        self.tell(problems);
        let postgres: Vec<&str> = around
            .connectors
            .iter()
            .filter(|connector| connector.database.kind() == "postgres")
            .map(|connector| connector.name.as_str())
            .collect();
        let auth = sections.auth.and_then(|section| {
            let (authentication, scopes) = self.auth(section, around.url, &postgres)?;
            policy.implied = scopes;
            Some(authentication)
        });
        let issuers = auth.as_ref().map(|known| known.auth.issuers()).unwrap_or_default();
        let issuers: Vec<&str> = issuers.iter().map(|issuer| &**issuer).collect();
        let keys = auth.as_ref().is_some_and(|known| known.keys.is_some());
        let (policy, problems) =
            policy.resolve(Surroundings { issuers: &issuers, auth: auth.is_some(), keys });
        self.tell(problems);
        let audit = sections.audit.and_then(|section| self.audit(section, around.edge, &postgres));
        Guards { auth, policy: Arc::new(policy), scopes, audit, limits }
    }

    fn auth(
        &mut self,
        (table, span): Section<'_>,
        url: Option<&str>,
        postgres: &[&str],
    ) -> Option<(Authentication, BTreeMap<String, Vec<String>>)> {
        let print = Fingerprint::of(&table);
        let before = self.problems.len();
        let mut file: AuthFile = self.strict((table, span), &["auth"])?;
        let is_whole = self.problems.len() == before;
        let keys = file.keys.take().map(|keys| keys.resolve(self.folder, postgres));
        let (auth, problems) = file.resolve(url);
        // Where keys were wrong, what others lack follows from that.
        self.tell(problems.into_iter().filter(|_| is_whole));
        let has_keys = keys.is_some();
        let keys = match keys {
            Some(Ok(keys)) => Some(keys),
            Some(Err(problems)) => {
                self.tell(problems.into_iter().filter(|_| is_whole));
                None
            }
            None => None,
        };
        if is_whole && !has_keys && file.jwt.is_empty() && file.introspection.is_empty() {
            let message = "`[auth]` lets nobody in";
            let help = "write `[auth.keys]`, `[auth.jwt.NAME]` or `[auth.introspection.NAME]`; without `[auth]` only this machine is served";
            self.tell([Problem::new(&["auth"], message).help(help)]);
        }
        Some((Authentication { auth, keys, print }, file.scopes))
    }

    /// Decides where the nodes share what they share.
    pub(super) fn store(
        &mut self,
        (table, span): Section<'_>,
        seal_keys: &[[u8; 32]],
    ) -> Option<StoreSection> {
        let print = Fingerprint::of(&table);
        let file: StoreFile = self.strict((table, span), &["store"])?;
        self.tell(file.warnings(seal_keys));
        match file.resolve(seal_keys) {
            Ok(config) => Some(StoreSection { config, on_failure: file.on_store_failure, print }),
            Err(problems) => {
                self.tell(problems);
                None
            }
        }
    }

    /// Reads the roles in the order of the file, which is the order they are told in.
    fn roles(&mut self, (table, _): Section<'_>) -> Vec<(String, RoleFile)> {
        let mut roles = Vec::new();
        for named in self.named(table, "roles") {
            let path = ["roles", named.name.as_str()];
            let (name, table) = (named.name.clone(), named.table);
            if let Some(role) = self.strict((table, named.span), &path) {
                roles.push((name, role));
            }
        }
        roles
    }

    fn audit(&mut self, (table, span): Section<'_>, edge: Edge, postgres: &[&str]) -> Option<Recording> {
        let print = Fingerprint::of(&table);
        let before = self.problems.len();
        let file: AuditFile = self.strict((table, span), &["audit"])?;
        let is_whole = self.problems.len() == before;
        let audit = match file.resolve(self.folder) {
            Ok(audit) => audit,
            Err(problems) => {
                self.tell(problems.into_iter().filter(|_| is_whole));
                return None;
            }
        };
        let sink = ["audit", "sink"];
        match &audit.sink {
            SinkChoice::Stdout if edge == Edge::Stdio => {
                let message = "with `--stdio` the standard output carries the protocol alone";
                self.tell([Problem::new(&sink, message).help("write `sink = \"file:PATH\"`")]);
            }
            SinkChoice::Postgres(name) if !postgres.contains(&name.as_str()) => {
                let message = format!("there is no connector `{name}` of type `postgres`");
                let help = match trunkline_service::nearest(name, postgres.iter().copied()) {
                    Some(near) => format!("did you mean `postgres:{near}`?"),
                    None => "declare it under `[connectors]`, or write `sink = \"file:PATH\"`".to_owned(),
                };
                self.tell([Problem::new(&sink, message).help(help)]);
            }
            _ => {}
        }
        Some(Recording { audit, print })
    }

    pub(super) fn tell(&mut self, problems: impl IntoIterator<Item = Problem>) {
        let document = self.document;
        self.problems.extend(problems.into_iter().map(|problem| Diagnostic::from_problem(problem, document)));
    }
}
