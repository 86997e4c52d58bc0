//! `[connectors.X]` with `type = "postgres"` as written in the file, and what it is resolved to.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use tokio_postgres::Config;
use trunkline_sql::file::{DurationText, SizeText};
use trunkline_sql::{Access, AdHoc, Options, Problem, SessionPlan, SharedKeys};

use crate::Postgres;
use crate::assistant::AssistantTool;
use crate::nodes::MOST_REPLICAS;
use crate::postgres::Replicas;

/// `[connectors.X]` with `type = "postgres"`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PostgresFile {
    /// Where the database is and who logs in: `postgres://user:password@host:5432/database`. Shown nowhere once read.
    pub url: DatabaseUrl,
    /// Servers that follow the one of `url` and are read from: their addresses, at most 16. Default: none.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub replicas: Vec<DatabaseUrl>,
    /// How far behind a replica may be and still be read from. Default: `"2s"`.
    #[serde(default)]
    pub max_lag: Option<DurationText>,
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
    /// Whether callers may bring their own SQL. Default: `off`, the only one in this version.
    #[serde(default)]
    pub ad_hoc_sql: AdHoc,
    /// How long a call may take in all. Default: what the server says.
    #[serde(default)]
    pub deadline: Option<DurationText>,
    /// What stands before the names of tools that the connector makes by itself. Default: its name and `_`.
    #[serde(default)]
    pub prefix: Option<String>,
    /// Tools that the connector makes by itself for whoever looks after the database: `schema`, `explain`, `indexes`,
    /// `health`. Default: none.
    #[serde(default)]
    #[schemars(with = "Vec<AssistantTool>")]
    pub tools: Vec<String>,
    /// Settings of the database's own that policies read, like `app.tenant`, each computed for the transaction of a call from
    /// its verified caller by an expression, like `"caller.claims.tenant"`. A call it cannot be computed for is refused.
    #[serde(default)]
    pub session: BTreeMap<String, String>,
    /// The role that statements run as, computed for each call from its verified caller by an expression, like
    /// `"caller.claims.db_role"`. The login must be a member of it. A call it cannot be computed for is refused.
    #[serde(default)]
    pub role: Option<String>,
}

impl PostgresFile {
    /// Decides everything that can be decided without the database.
    ///
    /// # Errors
    /// All problems at once, none of which shows the address.
    pub fn resolve(self, name: &str) -> Result<(Postgres, Options), Vec<Problem>> {
        let at = |key: &'static str| ["connectors", name, key];
        let mut problems = Vec::new();
        if self.ad_hoc_sql != AdHoc::Off {
            let message = "not available in this version for type postgres (comes with a later version)";
            problems.push(Problem::new(&at("ad-hoc-sql"), message).help("remove the key, or write \"off\""));
        }
        let config = self.url.config().map_err(|(message, help)| {
            problems.push(Problem::new(&at("url"), message).help(help));
        });
        let replicas = self.replicas(name, &mut problems);
        let shared = SharedKeys {
            access: self.access,
            statement_timeout: self.statement_timeout,
            max_rows: self.max_rows,
            max_bytes: self.max_bytes,
            ad_hoc: self.ad_hoc_sql,
            deadline: self.deadline,
            prefix: self.prefix,
        };
        let mut options = shared.resolve(name, &mut problems);
        let tools = AssistantTool::resolve(&self.tools, name, &mut problems);
        options.session = SessionPlan::resolve(name, &self.session, self.role.as_deref(), &mut problems);
        let (Ok(config), true) = (config, problems.is_empty()) else { return Err(problems) };
        let pool = self.pool.map_or(DEFAULT_POOL, |pool| usize::try_from(pool.get()).unwrap_or(DEFAULT_POOL));
        let connect_timeout = self.connect_timeout.map_or(DEFAULT_CONNECT_TIMEOUT, |text| text.0);
        let postgres = Postgres::new(&config, &replicas, pool, connect_timeout, options.statement_timeout);
        Ok((postgres.with_tools(tools), options))
    }

    fn replicas(&self, name: &str, problems: &mut Vec<Problem>) -> Replicas {
        let at = |key: &'static str| ["connectors", name, key];
        if self.replicas.len() > MOST_REPLICAS {
            let message = format!(
                "`replicas` has {} addresses; at most {MOST_REPLICAS} are allowed",
                self.replicas.len()
            );
            problems.push(Problem::new(&at("replicas"), message).help("name a balancer in front of them"));
        }
        if self.replicas.is_empty() && self.max_lag.is_some() {
            let message = "`max-lag` bounds replicas, and there are none";
            problems.push(Problem::new(&at("max-lag"), message).help("remove the key, or write `replicas`"));
        }
        let mut configs = Vec::with_capacity(self.replicas.len());
        for (number, url) in (1..).zip(&self.replicas) {
            match url.config() {
                Ok(config) => configs.push(config),
                Err((message, help)) => {
                    let message = format!("replica {number}: {message}");
                    problems.push(Problem::new(&at("replicas"), message).help(help));
                }
            }
        }
        Replicas { configs, max_lag: self.max_lag.map_or(DEFAULT_MAX_LAG, |text| text.0) }
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

const DEFAULT_MAX_LAG: Duration = Duration::from_secs(2);

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
    fn replicas_are_read_like_the_primary_and_told_by_their_number() {
        let found = problems(
            "url = 'postgres://u@h/db'\nreplicas = ['postgres://u@h/db', 'postgres://u:hunter2@h:port/db']",
        );
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].path, ["connectors", "shop", "replicas"]);
        assert!(found[0].message.starts_with("replica 2: "), "{found:?}");
        assert!(!format!("{found:?}").contains("hunter2"), "{found:?}");
        let found = problems("url = 'postgres://u@h/db'\nmax-lag = '1s'");
        assert_eq!(found[0].path, ["connectors", "shop", "max-lag"]);
        let many = vec!["'postgres://u@h/db'"; MOST_REPLICAS + 1].join(", ");
        let found = problems(&format!("url = 'postgres://u@h/db'\nreplicas = [{many}]"));
        assert_eq!(found[0].path, ["connectors", "shop", "replicas"]);
    }

    #[test]
    fn ad_hoc_sql_is_refused_by_name() {
        let found = problems("url = 'postgres://u@h/db'\nad-hoc-sql = 'read-only'");
        assert_eq!(found[0].path, ["connectors", "shop", "ad-hoc-sql"]);
        assert!(found[0].message.contains("later version"));
    }

    #[test]
    fn a_tool_that_is_unknown_is_told_with_the_nearest() {
        let found = problems("url = 'postgres://u@h/db'\ntools = ['schema', 'indexs', 'schema']");
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[0].path, ["connectors", "shop", "tools"]);
        assert!(found[0].help.as_deref().is_some_and(|help| help.contains("`indexes`")), "{found:?}");
        assert!(found[1].message.contains("twice"), "{found:?}");
    }

    #[test]
    fn what_is_told_of_callers_is_compiled_and_its_mistakes_have_a_place() {
        let file: PostgresFile = toml::from_str(
            "url = 'postgres://u@h/db'\nsession.'app.tenant' = 'caller.claims.tenant'\nrole = 'caller.claims.db_role'",
        )
        .unwrap();
        assert!(file.resolve("shop").unwrap().1.session.is_some());
        let found = problems(
            "url = 'postgres://u@h/db'\nsession = { 'app.tenant' = 'args.tenant', search_path = \"'x'\" }\nrole = 'caller.clams'",
        );
        let keys: Vec<_> = found.iter().map(|problem| problem.path.join("/")).collect();
        assert_eq!(
            keys,
            [
                "connectors/shop/session/app.tenant",
                "connectors/shop/session/search_path",
                "connectors/shop/role"
            ]
        );
        assert!(found.iter().all(|problem| problem.help.is_some()), "{found:?}");
    }

    #[test]
    fn tls_that_is_only_preferred_is_done_without() {
        for mode in ["disable", "prefer"] {
            assert_eq!(problems(&format!("url = 'postgres://u@h/db?sslmode={mode}'")), []);
        }
    }
}
