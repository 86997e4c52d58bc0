//! `[auth.keys]` as written in the file, and what it is decided to.

use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use trunkline_service::file::{DurationText, Problem};
use trunkline_service::nearest;

/// `[auth.keys]`: API keys, sent as `Authorization: Bearer` or as `X-API-Key`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct KeysFile {
    /// Where keys are kept, of which only hashes are: a file like `"./keys.db"`, which is made when it is not there, or
    /// `"postgres:CONNECTOR"` for several nodes that share a database. No default: it has to be written.
    pub store: Option<String>,
    /// How long the keys that are known go on when the store does not answer; then all are refused until it does. From `"1s"` to
    /// `"1d"`. Default: `"5m"`.
    pub stale: Option<DurationText>,
}

/// `[auth.keys]`, decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// Where keys are kept.
    pub store: StoreChoice,
    /// How long they go on when the store does not answer.
    pub stale: Duration,
}

/// Where keys are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreChoice {
    /// In a file of this machine.
    File(PathBuf),
    /// In the database of the connector of that name.
    Postgres(Box<str>),
}

impl KeysFile {
    /// Decides everything. `folder` is that of the config file; `postgres` has the names of its connectors with
    /// `type = "postgres"`.
    ///
    /// # Errors
    /// All problems at once.
    pub fn resolve(self, folder: &Path, postgres: &[&str]) -> Result<Keys, Vec<Problem>> {
        let mut problems = Vec::new();
        let stale = self.stale.map_or(DEFAULT_STALE, |text| text.0);
        if !(SHORTEST_STALE..=LONGEST_STALE).contains(&stale) {
            let message = format!("`stale` is {stale:?}; it is between 1s and 1d");
            let help = "a revoked key may go on for so long when the store does not answer; \"5m\" is usual";
            problems.push(Problem::new(&["auth", "keys", "stale"], message).help(help));
        }
        let store = choose(self.store.as_deref(), folder, postgres).map_err(|problem| problems.push(problem));
        match store {
            Ok(store) if problems.is_empty() => Ok(Keys { store, stale }),
            _ => Err(problems),
        }
    }
}

fn choose(store: Option<&str>, folder: &Path, postgres: &[&str]) -> Result<StoreChoice, Problem> {
    let Some(store) = store else {
        let help = "write `store = \"./keys.db\"`, or `store = \"postgres:CONNECTOR\"` for several nodes";
        return Err(
            Problem::new(&["auth", "keys"], "`[auth.keys]` does not say where keys are kept").help(help)
        );
    };
    let wrong = |message: String, help: String| Problem::new(&["auth", "keys", "store"], message).help(help);
    // An address is no name, and its password is not shown.
    if let Some(connector) = store.strip_prefix("postgres:").filter(|name| !name.starts_with("//")) {
        if postgres.contains(&connector) {
            return Ok(StoreChoice::Postgres(connector.into()));
        }
        let help = match nearest(connector, postgres.iter().copied()) {
            Some(near) => format!("did you mean `postgres:{near}`?"),
            None if postgres.is_empty() => {
                "declare one with `[connectors.NAME]` and `type = \"postgres\"`, or name a file".to_owned()
            }
            None => format!(
                "there is {}",
                postgres.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
            ),
        };
        return Err(wrong(format!("no connector with `type = \"postgres\"` is named `{connector}`"), help));
    }
    if store.is_empty() || store.ends_with('/') || store.contains("://") {
        let help = "name a file like \"./keys.db\", or write \"postgres:CONNECTOR\"".to_owned();
        return Err(wrong("`store` names no file".to_owned(), help));
    }
    Ok(StoreChoice::File(folder.join(store)))
}

const DEFAULT_STALE: Duration = Duration::from_secs(5 * 60);
const SHORTEST_STALE: Duration = Duration::from_secs(1);
const LONGEST_STALE: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(toml: &str) -> Result<Keys, Vec<Problem>> {
        let file: KeysFile = toml::from_str(toml).unwrap();
        file.resolve(Path::new("/etc/trunkline"), &["shop", "central"])
    }

    #[test]
    fn a_store_is_a_file_beside_the_config_or_a_connector_of_it() {
        let keys = resolve("store = './keys.db'").unwrap();
        assert_eq!(keys.store, StoreChoice::File("/etc/trunkline/./keys.db".into()));
        assert_eq!(keys.stale, Duration::from_secs(300));
        let keys = resolve("store = 'postgres:central'\nstale = '30s'").unwrap();
        assert_eq!(keys.store, StoreChoice::Postgres("central".into()));
        assert_eq!(keys.stale, Duration::from_secs(30));
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let found = resolve("store = 'postgres:centrl'\nstale = '2d'").unwrap_err();
        let told: Vec<_> = found.iter().map(|problem| problem.path.join(".")).collect();
        assert_eq!(told, ["auth.keys.stale", "auth.keys.store"]);
        assert!(found[1].help.as_deref().unwrap().contains("`postgres:central`"), "{found:?}");
        for (text, key) in [
            ("", "auth.keys"),
            ("store = ''", "auth.keys.store"),
            ("store = 'redis://h'", "auth.keys.store"),
            ("store = 'postgres://u:hunter2@h/d'", "auth.keys.store"),
        ] {
            let found = resolve(text).unwrap_err();
            assert_eq!(found[0].path.join("."), key, "{text}");
            assert!(found[0].help.is_some());
            assert!(!format!("{found:?}").contains("hunter2"));
        }
    }
}
