//! What the config file says of keys: where they are kept, and which roles there are.

use std::path::Path;
use std::sync::Arc;

use trunkline_guard::authenticate::keys::{Absent, KeyStore, Keys, KeysFile};

use crate::config::{self, Connector, Diagnostic, Edge, Loaded};
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
    /// There is no such file.
    pub(super) fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        let unreadable =
            |error: config::Unreadable| Failed::new(Code::Configuration, crate::exit::chain(&error));
        let text = config::read(path).map_err(unreadable)?;
        let Loaded { document, config, problems } =
            config::load_text(path, &text, Edge::Stdio, &|name| std::env::var_os(name));
        let Ok(table) = text.parse::<toml::Table>() else {
            output::diagnostics(&problems, &document);
            return Ok(None);
        };
        let postgres: Vec<&str> = config
            .connectors
            .iter()
            .filter(|connector| connector.database.kind() == "postgres")
            .map(|connector| connector.name.as_str())
            .collect();
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        let section = table.get("auth").and_then(|auth| auth.get("keys"));
        let Some(section) = section else {
            let message = format!(
                "`{}` does not say where keys are kept; write `[auth.keys]` with `store = \"./keys.db\"` into it",
                path.display()
            );
            return Err(Failed::new(Code::Configuration, message).into());
        };
        let file: KeysFile = section.clone().try_into().map_err(|error: toml::de::Error| {
            Failed::new(Code::Configuration, format!("`[auth.keys]`: {}", error.message()))
        })?;
        match file.resolve(folder, &postgres) {
            Ok(keys) => {
                let roles = table.get("roles").and_then(toml::Value::as_table);
                let roles = roles.map(|roles| roles.keys().cloned().collect()).unwrap_or_default();
                Ok(Some(Self { keys, roles, connectors: config.connectors }))
            }
            Err(found) => {
                let place = |problem| Diagnostic::from_problem(problem, &document);
                output::diagnostics(&found.into_iter().map(place).collect::<Vec<_>>(), &document);
                Ok(None)
            }
        }
    }

    /// Opens the store; `None` when the connector that has it is wrong.
    pub(super) fn store(&self, absent: Absent) -> Option<Arc<dyn KeyStore>> {
        open_store(&self.keys, absent, |name, within| {
            self.connectors.iter().find(|connector| connector.name == name)?.database.writer(within)
        })
    }
}
