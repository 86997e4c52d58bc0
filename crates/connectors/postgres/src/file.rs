//! `[connectors.X]` with `type = "postgres"` as written in the file, and what it is resolved to.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use trunkline_sql::file::{DurationText, SizeText};
use trunkline_sql::{Access, AdHoc, Options, Problem, SessionPlan, SharedKeys};

use crate::Postgres;
use crate::assistant::AssistantTool;
use crate::nodes::MOST_REPLICAS;
use crate::notify::Channel;
use crate::postgres::Replicas;
use crate::posture::{Guard, PostureRule};
pub use crate::url::DatabaseUrl;
use crate::url::Role;

/// `[connectors.X]` with `type = "postgres"`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PostgresFile {
    /// Where the database is and who logs in: `postgres://user:password@host:5432/database?sslmode=verify-full`, or several
    /// hosts `host1,host2`; libpq's form `host=... user=...` is read, too. Shown nowhere once read.
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
    /// Whether statements are prepared in sessions that last: `auto` finds out, `off` is for a pooler that gives each
    /// transaction another session, like PgBouncer in transaction mode. Default: `auto`.
    #[serde(default)]
    pub prepared: PreparedMode,
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
    /// The channel on which the database tells that something has changed (`NOTIFY`), so that what is kept of it is not given out any
    /// more: the payload is a tag of `cache`; an empty one, or one that is no tag, means all of the connector. It takes one connection.
    /// Default: none.
    #[serde(default)]
    pub notify: Option<String>,
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
                problems.push(
                    Problem::new(&at("max-cost"), message)
                        .help("remove it, or write `ad-hoc-sql = \"read-only\"`"),
                );
            }
        }
        if let Some(channel) = self.notify.as_deref().filter(|channel| !Channel::is_name(channel)) {
            let message = format!("`notify` has {} bytes; a channel has a name of 1 to 63", channel.len());
            let help = "write the name that `NOTIFY` is used with in the database";
            problems.push(Problem::new(&at("notify"), message).help(help));
        }
        let guard =
            Guard { access: self.access, posture: self.posture, max_cost: self.max_cost, connections: 0 };
        let address = self.url.address().map_err(|refusal| {
            problems.push(Problem::new(&at("url"), refusal.message).help(refusal.help));
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
        let (Ok(mut address), true) = (address, problems.is_empty()) else { return Err(problems) };
        let pool = self.pool.map_or(DEFAULT_POOL, |pool| usize::try_from(pool.get()).unwrap_or(DEFAULT_POOL));
        let connect_timeout = self.connect_timeout.map_or(DEFAULT_CONNECT_TIMEOUT, |text| text.0);
        // Of several hosts usually one takes writes, and replicas are measured by that one.
        let has_replicas = !replicas.addresses.is_empty();
        if (self.access == Access::ReadWrite || has_replicas) && address.targets.len() > 1 {
            address.role.get_or_insert(Role::Primary);
        }
        if let Some(warning) = address.tls.warning(address.is_local()) {
            options.warnings.push(Problem::new(&at("url"), warning.message).help(warning.help).warning());
        }
        for (number, replica) in (1..).zip(&replicas.addresses) {
            if let Some(warning) = replica.tls.warning(replica.is_local()) {
                let message = format!("replica {number}: {}", warning.message);
                options.warnings.push(Problem::new(&at("replicas"), message).help(warning.help).warning());
            }
        }
        let channel = self.notify.as_deref().map(|channel| Channel::new(channel, &address, connect_timeout));
        let postgres =
            Postgres::new(address, replicas, pool, connect_timeout, options.statement_timeout, self.prepared);
        Ok((
            postgres
                .guarded(Guard { connections: pool + SPARE_CONNECTIONS, ..guard })
                .with_tools(tools)
                .hearing(channel),
            options,
        ))
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
        let mut addresses = Vec::with_capacity(self.replicas.len());
        for (number, url) in (1..).zip(&self.replicas) {
            match url.address() {
                Ok(address) => addresses.push(address),
                Err(refusal) => {
                    let message = format!("replica {number}: {}", refusal.message);
                    problems.push(Problem::new(&at("replicas"), message).help(refusal.help));
                }
            }
        }
        Replicas { addresses, max_lag: self.max_lag.map_or(DEFAULT_MAX_LAG, |text| text.0) }
    }
}

/// Whether statements are prepared by name in sessions that last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PreparedMode {
    /// They are, unless a pooler is found between that gives each transaction another session.
    #[default]
    Auto,
    /// They are not: every statement is sent whole, and every transaction brings its own settings.
    Off,
}

const DEFAULT_POOL: usize = 8;

/// The connections that short reads share on both lanes, and a few for those that are being replaced.
const SPARE_CONNECTIONS: usize = 12;

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
            "postgres://u:hunter2@h/db?sslmode=full",
            "host=h user=u password=hunter2 sslmode=verify-full sslrootcert=/none",
        ] {
            let found = problems(&format!("url = {url:?}"));
            assert_eq!(found.len(), 1, "{url}: {found:?}");
            assert_eq!(found[0].path, ["connectors", "shop", "url"]);
            assert!(!format!("{found:?}").contains("hunter2"), "{found:?}");
        }
        let file: PostgresFile = toml::from_str("url = 'postgres://u:hunter2@h/db?sslmode=disable'").unwrap();
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
        for wrong in [
            "max-cost = 0\nad-hoc-sql = 'read-only'",
            "max-cost = inf\nad-hoc-sql = 'read-only'",
            "max-cost = 5.0",
        ] {
            let found = max_cost(wrong);
            assert_eq!(found[0].path, ["connectors", "shop", "max-cost"], "{wrong}");
            assert!(found[0].help.is_some());
        }
        assert_eq!(max_cost("max-cost = 5.0\nad-hoc-sql = 'read-only'"), []);
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
    fn a_server_that_is_not_verified_is_a_warning() {
        let warnings = |url: &str| {
            let file: PostgresFile = toml::from_str(&format!("url = {url:?}")).unwrap();
            file.resolve("shop").unwrap().1.warnings
        };
        for url in [
            "postgres://u@h/db",
            "postgres://u@localhost/db?sslmode=require",
            "postgres://u@localhost/db?sslmode=prefer",
        ] {
            let found = warnings(url);
            assert_eq!(found.len(), 1, "{url}");
            assert_eq!(found[0].path, ["connectors", "shop", "url"]);
            assert_eq!(found[0].severity, trunkline_sql::Severity::Warning);
            assert!(found[0].help.as_ref().unwrap().contains("verify-full"));
        }
        for url in ["postgres://u@localhost/db", "postgres://u@h/db?sslmode=disable"] {
            assert_eq!(warnings(url), [], "{url}");
        }
    }
}
