//! `[store]` as written in the file.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{StoreConfig, StoreUrl};
use crate::file::{DurationText, Problem};
use crate::seal::fingerprint;

/// The longest prefix, in bytes.
const MAX_PREFIX: usize = 64;
/// The shortest and the longest time a command may take.
const TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(10);

/// `[store]` as written in the file: a Redis (6 and later) or Valkey that all nodes of an endpoint share.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct StoreFile {
    /// Where it is: `redis://USER:PASSWORD@HOST:PORT/DB`, `rediss://` for TLS, or `redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/NAME/DB`. Default: none, each node is on its own.
    pub redis: Option<StoreUrl>,
    /// What limits do while it does not answer: `allow` everything, `deny` everything, or count in this node alone (`local`). Default: local.
    pub on_store_failure: OnStoreFailure,
    /// What keys begin with, between `trunkline:{` and `}:`; nodes with the same one share. Default: a digest of the last of `[server] seal-keys`, or `shared` without any.
    pub prefix: Option<String>,
    /// How long one command may take, from 10 ms to 10 s. Default: 250 ms.
    pub timeout: Option<DurationText>,
    /// A file with the certificates of the authorities that may sign the store's certificate, in PEM form. Default: those of the system.
    pub ca: Option<String>,
}

/// What limits do while the store does not answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnStoreFailure {
    /// Everything is let through.
    Allow,
    /// Nothing is let through.
    Deny,
    /// Each node counts by itself.
    #[default]
    Local,
}

impl fmt::Display for OnStoreFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Local => "local",
        })
    }
}

impl StoreFile {
    /// Decides how the store is used; `None` when there is none. `seal_keys` are those of `[server]`.
    ///
    /// # Errors
    /// Everything that is wrong with the section. An address that does not answer is not.
    pub fn resolve(&self, seal_keys: &[[u8; 32]]) -> Result<Option<StoreConfig>, Vec<Problem>> {
        let mut problems = Vec::new();
        let Some(url) = &self.redis else {
            if self.prefix.is_some() || self.timeout.is_some() || self.ca.is_some() {
                problems.push(
                    Problem::new(&["store"], "`[store]` says how a store is used and not where it is")
                        .help("add `redis = \"redis://HOST:PORT\"`"),
                );
            }
            return if problems.is_empty() { Ok(None) } else { Err(problems) };
        };
        let mut config = match StoreConfig::new(url) {
            Ok(config) => Some(config),
            Err(error) => {
                problems.push(Problem::new(&["store", "redis"], error.message).help(error.help));
                None
            }
        };
        match self.namespace(seal_keys) {
            Ok(namespace) => config = config.map(|config| config.namespace(namespace)),
            Err(problem) => problems.push(problem),
        }
        if let Some(DurationText(timeout)) = self.timeout {
            if TIMEOUTS.contains(&timeout) {
                config = config.map(|config| config.timeout(timeout));
            } else {
                problems.push(
                    Problem::new(&["store", "timeout"], format!("`timeout` is {timeout:?}"))
                        .help("write a time from `\"10ms\"` to `\"10s\"`"),
                );
            }
        }
        if let Some(path) = &self.ca {
            match self.read_ca(path, config.take()) {
                Ok(trusting) => config = trusting,
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    /// Returns what someone should know of a section that is not wrong.
    #[must_use]
    pub fn warnings(&self, seal_keys: &[[u8; 32]]) -> Vec<Problem> {
        if self.redis.is_none() || !seal_keys.is_empty() {
            return Vec::new();
        }
        let message = "without `[server] seal-keys` the nodes share limits only: sessions, tasks and cached answers are sealed with keys that each node makes for itself";
        vec![
            Problem::new(&["store", "redis"], message)
                .help("give all nodes the same `[server] seal-keys`")
                .warning(),
        ]
    }

    fn namespace(&self, seal_keys: &[[u8; 32]]) -> Result<String, Problem> {
        match (&self.prefix, seal_keys.last()) {
            (Some(prefix), _) => {
                let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
                if prefix.is_empty() || prefix.len() > MAX_PREFIX || !prefix.bytes().all(is_word) {
                    let message =
                        format!("`prefix` is `{}`", prefix.chars().take(MAX_PREFIX).collect::<String>());
                    return Err(Problem::new(&["store", "prefix"], message)
                        .help(format!("write 1 to {MAX_PREFIX} letters, digits, `-`, `_` and `.`")));
                }
                Ok(prefix.clone())
            }
            // The last one stays while keys are changed: a new one is put before it.
            (None, Some(key)) => {
                let digest = fingerprint([&b"store"[..], key]);
                Ok(digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect())
            }
            (None, None) => Ok("shared".to_owned()),
        }
    }

    fn read_ca(&self, path: &str, config: Option<StoreConfig>) -> Result<Option<StoreConfig>, Problem> {
        let wrong = |message: String| {
            Problem::new(&["store", "ca"], message).help("name a file with certificates in PEM form")
        };
        let pem = std::fs::read(path)
            .map_err(|error| wrong(format!("`{path}` cannot be read: {}", error.kind())))?;
        config
            .map(|config| config.trust(&pem))
            .transpose()
            .map_err(|error| wrong(format!("`{path}` is not used: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(redis: &str) -> StoreFile {
        StoreFile { redis: Some(StoreUrl::new(redis)), ..StoreFile::default() }
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once_and_without_the_password() {
        let wrong = StoreFile {
            prefix: Some("a b".into()),
            timeout: Some(DurationText(Duration::from_secs(60))),
            ..file("redis://:hunter2@h:0")
        };
        let problems = wrong.resolve(&[]).unwrap_err();
        let paths: Vec<_> = problems.iter().map(|problem| problem.path.join(".")).collect();
        assert_eq!(paths, ["store.redis", "store.prefix", "store.timeout"]);
        assert!(!format!("{problems:?} {wrong:?}").contains("hunter2"));
        let lost = StoreFile { prefix: Some("a".into()), ..StoreFile::default() };
        assert_eq!(lost.resolve(&[]).unwrap_err().len(), 1);
        assert!(StoreFile::default().resolve(&[]).unwrap().is_none());
    }

    #[test]
    fn nodes_with_the_same_seal_keys_share_and_go_on_sharing_while_keys_are_changed() {
        let prefix = |file: &StoreFile, keys: &[[u8; 32]]| file.resolve(keys).unwrap().unwrap().prefix();
        let plain = file("redis://h");
        assert_eq!(prefix(&plain, &[]), "trunkline:{shared}:");
        assert_eq!(prefix(&plain, &[[1; 32]]), prefix(&plain, &[[2; 32], [1; 32]]));
        assert_ne!(prefix(&plain, &[[1; 32]]), prefix(&plain, &[[2; 32]]));
        let named = StoreFile { prefix: Some("shop".into()), ..plain };
        assert_eq!(prefix(&named, &[[1; 32]]), "trunkline:{shop}:");
        assert_eq!(named.warnings(&[]).len(), 1);
        assert!(named.warnings(&[[1; 32]]).is_empty());
    }
}
