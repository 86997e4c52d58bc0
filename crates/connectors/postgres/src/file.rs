//! `[connectors.X]` with `type = "postgres"` as written in the file, and what it is resolved to.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use tokio_postgres::Config;
use trunkline_sql::file::{DurationText, SizeText};
use trunkline_sql::{Access, AdHoc, Options, Problem, SharedKeys};

use crate::Postgres;
use crate::posture::{Guard, PostureRule};

/// `[connectors.X]` with `type = "postgres"`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PostgresFile {
    /// Where the database is and who logs in: `postgres://user:password@host:5432/database`. Shown nowhere once read.
    pub url: DatabaseUrl,
    /// Most connections for statements that cannot share one: writes, long ones, those with volatile functions. Default: 8.
    /// Short reads share four more.
    #[serde(default)]
    pub pool: Option<NonZeroU32>,
    /// How long connecting, or waiting for a free connection, may take. Default: `"3s"`.
    #[serde(default)]
    pub connect_timeout: Option<DurationText>,
    /// The most any tool on this connector may do. Default: `read-only`.
    #[serde(default)]
    pub access: Access,
    /// How long one statement may run; the database holds it to that. Default: `"30s"`.
    #[serde(default)]
    pub statement_timeout: Option<DurationText>,
    /// Most rows in one result, 1 to 100000. Default: 1000.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_rows: Option<u32>,
    /// Most bytes of one result, at most `"150KB"`. Default: `"40KB"`.
    #[serde(default)]
    pub max_bytes: Option<SizeText>,
    /// Whether there is a tool `<connector>_query` that runs one reading statement of the caller's own. Default: `off`.
    #[serde(default)]
    pub ad_hoc_sql: AdHoc,
    /// Most that such a statement may cost by the database's own estimate, in the unit of `explain`. Default: no bound.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub max_cost: Option<f64>,
    /// What happens when the login may do more than the connector needs: writes for a read-only one, or anything only a
    /// superuser should. Default: `warn`.
    #[serde(default)]
    pub posture: PostureRule,
    /// How long a call may take in all. Default: what the server says.
    #[serde(default)]
    pub deadline: Option<DurationText>,
    /// What stands before the names of tools that the connector makes by itself. Default: its name and `_`.
    #[serde(default)]
    pub prefix: Option<String>,
}

impl PostgresFile {
    /// Decides everything that can be decided without the database.
    ///
    /// # Errors
    /// All problems at once, none of which shows the address.
    pub fn resolve(self, name: &str) -> Result<(Postgres, Options), Vec<Problem>> {
        let at = |key: &'static str| ["connectors", name, key];
        let mut problems = Vec::new();
        if let Some(cost) = self.max_cost {
            if !(cost > 0.0 && cost.is_finite()) {
                let message = format!("`max-cost` is {cost}; it has to be a number above 0");
                let help = "write what `explain` says a dear but welcome statement costs, like 100000";
                problems.push(Problem::new(&at("max-cost"), message).help(help));
            } else if self.ad_hoc_sql == AdHoc::Off {
                let message = "`max-cost` bounds callers' own statements, and `ad-hoc-sql` is off";
                problems.push(Problem::new(&at("max-cost"), message).help("remove it, or write `ad-hoc-sql = \"read-only\"`"));
            }
        }
        let guard = Guard { access: self.access, posture: self.posture, max_cost: self.max_cost };
        let config = self.url.config().map_err(|(message, help)| {
            problems.push(Problem::new(&at("url"), message).help(help));
        });
        let shared = SharedKeys {
            access: self.access,
            statement_timeout: self.statement_timeout,
            max_rows: self.max_rows,
            max_bytes: self.max_bytes,
            ad_hoc: self.ad_hoc_sql,
            deadline: self.deadline,
            prefix: self.prefix,
        };
        let options = shared.resolve(name, &mut problems);
        let (Ok(config), true) = (config, problems.is_empty()) else { return Err(problems) };
        let pool = self.pool.map_or(DEFAULT_POOL, |pool| usize::try_from(pool.get()).unwrap_or(DEFAULT_POOL));
        let connect_timeout = self.connect_timeout.map_or(DEFAULT_CONNECT_TIMEOUT, |text| text.0);
        let postgres = Postgres::new(&config, pool, connect_timeout, options.statement_timeout).guarded(guard);
        Ok((postgres, options))
    }
}

/// The address of a database with its password; `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// Takes an address as it is; it is read by [`PostgresFile::resolve`].
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// Reads the address, or says what is wrong with it and what to write, without showing any of it.
    fn config(&self) -> Result<Config, (String, &'static str)> {
        if let Some(mode) = self.tls_mode() {
            return Err((
                format!("`sslmode={mode}` asks for TLS, which comes with a later version"),
                "write `sslmode=prefer` where the network between is trusted, or connect through a local proxy that does TLS",
            ));
        }
        let mut config: Config = self.0.parse().map_err(|error| (unreadable(&error), HOW_TO_WRITE))?;
        // `prefer` falls back to no encryption, and there is none to prefer yet.
        config.ssl_mode(tokio_postgres::config::SslMode::Disable);
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(("the address names no host".to_owned(), HOW_TO_WRITE));
        }
        Ok(config)
    }

    /// Returns the mode when it is one that insists on TLS, as one of our own words.
    fn tls_mode(&self) -> Option<&'static str> {
        let (_, options) =
            if self.0.contains("://") { self.0.split_once('?')? } else { ("", self.0.as_str()) };
        let mut options = options.split(|character: char| character == '&' || character.is_whitespace());
        options.find_map(|option| {
            let mode = option.strip_prefix("sslmode=")?.trim_matches('\'');
            TLS_MODES.iter().copied().find(|known| *known == mode)
        })
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseUrl(..)")
    }
}

/// Names the option that is wrong when the driver does, and nothing else: its report may quote a part of the password.
fn unreadable(error: &tokio_postgres::Error) -> String {
    let report = crate::dial::chain(error);
    match OPTIONS.iter().find(|option| report.contains(&format!("`{option}`"))) {
        Some(option) => {
            format!("the address does not parse: its `{option}` has no value that is allowed there")
        }
        None => "the address does not parse".to_owned(),
    }
}

const HOW_TO_WRITE: &str = "write `postgres://user:password@host:5432/database`, with `@`, `:`, `/`, `?` and `%` in a name or \
     password written as `%40`, `%3A`, `%2F`, `%3F` and `%25`";

const TLS_MODES: &[&str] = &["require", "verify-ca", "verify-full"];

const OPTIONS: &[&str] = &[
    "port",
    "sslmode",
    "sslnegotiation",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "target_session_attrs",
    "channel_binding",
    "load_balance_hosts",
    "hostaddr",
];

const DEFAULT_POOL: usize = 8;

const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(toml: &str) -> Vec<Problem> {
        let file: PostgresFile = toml::from_str(toml).unwrap();
        file.resolve("shop").err().unwrap_or_default()
    }

    #[test]
    fn an_address_that_does_not_parse_is_a_problem_and_is_not_shown() {
        for url in [
            "postgres://u:hunter2@h:port/db",
            "postgres://u:hunter2@h/db?hunter2=1",
            "hunter2",
            "postgres://u:hunter2",
            "postgres://u:hunter2@h/db?sslmode=verify-full",
            "host=h user=u password=hunter2 sslmode=require",
        ] {
            let found = problems(&format!("url = {url:?}"));
            assert_eq!(found.len(), 1, "{url}: {found:?}");
            assert_eq!(found[0].path, ["connectors", "shop", "url"]);
            assert!(!format!("{found:?}").contains("hunter2"), "{found:?}");
        }
        let file: PostgresFile = toml::from_str("url = 'postgres://u:hunter2@h/db'").unwrap();
        assert!(!format!("{file:?}").contains("hunter2"));
        let (postgres, options) = file.resolve("shop").unwrap();
        assert!(!format!("{postgres:?}").contains("hunter2"));
        assert_eq!(options, Options::default());
    }

    #[test]
    fn a_result_larger_than_hosts_take_is_refused() {
        let found = problems("url = 'postgres://u@h/db'\nmax-rows = 0\nmax-bytes = '900MB'");
        let keys: Vec<_> = found.iter().map(|problem| problem.path.join(".")).collect();
        assert_eq!(keys, ["connectors.shop.max-rows", "connectors.shop.max-bytes"]);
    }

    #[test]
    fn a_bound_on_cost_is_a_number_and_bounds_something() {
        let max_cost = |rest: &str| problems(&format!("url = 'postgres://u@h/db'\n{rest}"));
        for wrong in ["max-cost = 0\nad-hoc-sql = 'read-only'", "max-cost = inf\nad-hoc-sql = 'read-only'", "max-cost = 5.0"] {
            let found = max_cost(wrong);
            assert_eq!(found[0].path, ["connectors", "shop", "max-cost"], "{wrong}");
            assert!(found[0].help.is_some());
        }
        assert_eq!(max_cost("max-cost = 5.0\nad-hoc-sql = 'read-only'"), []);
    }

    #[test]
    fn tls_that_is_only_preferred_is_done_without() {
        for mode in ["disable", "prefer"] {
            assert_eq!(problems(&format!("url = 'postgres://u@h/db?sslmode={mode}'")), []);
        }
    }
}
