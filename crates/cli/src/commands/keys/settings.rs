//! What the config file says of keys: where they are kept, and which roles there are.

use std::path::Path;
use std::sync::Arc;

use trunkline_guard::authenticate::keys::{Absent, KeyStore, Keys, StoreChoice};
use trunkline_sql::Severity;

use crate::config::{self, Config, Connector, Diagnostic, Edge, Loaded};
use crate::exit::{Code, Failed};
use crate::keys::open_store;
use crate::output;

/// What a file says of keys. The rest of the file may be wrong.
#[derive(Debug)]
pub(super) struct Settings {
    keys: Keys,
    /// The names under `[roles]`, in the order of the file.
    pub(super) roles: Vec<String>,
    connectors: Vec<Connector>,
}

impl Settings {
    /// Reads the file. What is wrong with it, as far as it concerns keys, is on stderr when this returns `None`.
    ///
    /// # Errors
    /// There is no such file, or it does not say where keys are kept.
    pub(super) fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        let loaded = config::load(path, Edge::Stdio)
            .map_err(|error| Failed::new(Code::Configuration, crate::exit::chain(&error)))?;
        let Loaded { document, config, mut problems } = loaded;
        let Config { guards, connectors, .. } = config;
        let keys = guards.auth.and_then(|auth| auth.keys);
        problems.retain(|problem| concerns(problem, keys.as_ref()));
        if !problems.is_empty() {
            output::diagnostics(&problems, &document);
            return Ok(None);
        }
        let Some(keys) = keys else {
            let message = format!(
                "`{}` does not say where keys are kept; write `[auth.keys]` with `store = \"./keys.db\"` into it",
                path.display()
            );
            return Err(Failed::new(Code::Configuration, message).into());
        };
        // As they stand there, whatever else is wrong with a role.
        let table: Option<toml::Table> = document.text().parse().ok();
        let roles = table.as_ref().and_then(|table| table.get("roles")).and_then(toml::Value::as_table);
        let roles = roles.map(|roles| roles.keys().cloned().collect()).unwrap_or_default();
        Ok(Some(Self { keys, roles, connectors }))
    }

    /// Opens the store; `None` when the connector that has it is wrong.
    pub(super) fn store(&self, absent: Absent) -> Option<Arc<dyn KeyStore>> {
        open_store(&self.keys, absent, |name, within| {
            self.connectors.iter().find(|connector| connector.name == name)?.database.writer(within)
        })
    }
}

/// Whether a problem keeps keys from being looked after: what is wrong with a tool does not.
fn concerns(problem: &Diagnostic, keys: Option<&Keys>) -> bool {
    let is_under = |section: &str| {
        problem.key.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let in_store = match keys.map(|keys| &keys.store) {
        Some(StoreChoice::Postgres(connector)) => is_under(&format!("connectors.{connector}")),
        Some(_) => false,
        // Nobody knows where they are; the reason is one of these, if there is one.
        None => is_under("auth"),
    };
    // What has no key is about the whole text.
    problem.severity == Severity::Wrong && (problem.key.is_empty() || is_under("auth.keys") || in_store)
}
