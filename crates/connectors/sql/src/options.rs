//! The keys every SQL connector shares: as written, and once decided.

use std::sync::Arc;
use std::time::Duration;

use trunkline_service::{Caller, ToolName};

use crate::Problem;
use crate::behalf::{SessionPlan, Unidentified};
use crate::database::{Access, Behalf};
use crate::file::{DurationText, SizeText};

/// What a connector allows and bounds, whatever its database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The ceiling no tool exceeds. Default: [`Access::ReadOnly`].
    pub access: Access,
    /// How long one statement may run. Default: 30 seconds.
    pub statement_timeout: Duration,
    /// Most rows in one result; what is beyond is left out and said to be. Default: 1,000.
    pub max_rows: u32,
    /// Most bytes of one `structuredContent`. Default: 40,000.
    pub max_bytes: usize,
    /// Whether callers may bring their own SQL. Default: [`AdHoc::Off`].
    pub ad_hoc: AdHoc,
    /// How long a call may take, waiting for a connection included; `None` leaves it to the server's own bound.
    pub deadline: Option<Duration>,
    /// What stands before the names of the tools that the connector makes by itself; `None` for `<connector>_`.
    pub prefix: Option<String>,
    /// How input schemas are told. What is sent is checked against all rules either way. Default:
    /// [`SchemaProfile::Portable`].
    pub schema: SchemaProfile,
    /// What the database is to know of each caller; `None` when it sees nobody but the connector's own login.
    pub session: Option<Arc<SessionPlan>>,
    /// What works and should be looked at all the same, told with what else is found when the connector is examined.
    pub warnings: Vec<Problem>,
}

impl Options {
    /// Returns as whom a statement runs for this caller.
    ///
    /// # Errors
    /// [`Unidentified`]; the call must not run then.
    pub fn behalf(&self, caller: &Arc<Caller>) -> Result<Behalf, Unidentified> {
        match &self.session {
            Some(session) => session.behalf(caller),
            None => Ok(Behalf::of(caller)),
        }
    }
}

impl Options {
    /// Tells, in words, each thing by which answers of every tool differ from caller to caller.
    #[must_use]
    pub fn bindings(&self) -> Vec<String> {
        let session = self.session.as_deref().map(SessionPlan::keys).unwrap_or_default();
        session.iter().map(|key| format!("`{key}` of the connector is computed from the caller")).collect()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            access: Access::default(),
            statement_timeout: Duration::from_secs(30),
            max_rows: 1000,
            max_bytes: 40_000,
            ad_hoc: AdHoc::default(),
            deadline: None,
            prefix: None,
            schema: SchemaProfile::default(),
            session: None,
            warnings: Vec::new(),
        }
    }
}

/// Most rows that `max-rows` may ask for.
pub const MOST_ROWS: u32 = 100_000;

/// Most bytes of one `structuredContent` that `max-bytes` may ask for: hosts take no more characters of one result.
pub const MOST_BYTES: usize = 150_000;

/// The shared keys of `[connectors.X]` as a connector's own file type read them.
///
/// Each of those types repeats the keys, because a flattened part would cost the place of a mistake in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SharedKeys {
    /// `access`.
    pub access: Access,
    /// `statement-timeout`.
    pub statement_timeout: Option<DurationText>,
    /// `max-rows`.
    pub max_rows: Option<u32>,
    /// `max-bytes`.
    pub max_bytes: Option<SizeText>,
    /// `ad-hoc-sql`.
    pub ad_hoc: AdHoc,
    /// `deadline`.
    pub deadline: Option<DurationText>,
    /// `prefix`.
    pub prefix: Option<String>,
}

impl SharedKeys {
    /// Puts in the defaults and adds what is wrong to `problems`, with paths that begin with `connectors` and the name.
    pub fn resolve(self, connector: &str, problems: &mut Vec<Problem>) -> Options {
        let defaults = Options::default();
        let mut wrong = |key: &str, message: String, help: String| {
            problems.push(Problem::new(&["connectors", connector, key], message).help(help));
        };
        let max_rows = self.max_rows.unwrap_or(defaults.max_rows);
        if !(1..=MOST_ROWS).contains(&max_rows) {
            let message = format!("`max-rows` is {max_rows}; allowed is 1 to {MOST_ROWS}");
            wrong("max-rows", message, "write a number in that range, or leave it out for 1000".to_owned());
        }
        let max_bytes = self.max_bytes.map_or(defaults.max_bytes, |text| text.0);
        if max_bytes > MOST_BYTES {
            let message = format!(
                "`max-bytes` is {max_bytes} bytes; at most {MOST_BYTES} are allowed, because hosts refuse larger results"
            );
            wrong("max-bytes", message, "write \"150KB\" or less, or leave it out for \"40KB\"".to_owned());
        }
        if let Some(prefix) = &self.prefix
            && let Err(error) = ToolName::new(&format!("{prefix}query"))
        {
            wrong(
                "prefix",
                error.to_string(),
                "use letters, digits and `_`, or \"\" for no prefix".to_owned(),
            );
        }
        Options {
            access: self.access,
            statement_timeout: self.statement_timeout.map_or(defaults.statement_timeout, |text| text.0),
            max_rows,
            max_bytes,
            ad_hoc: self.ad_hoc,
            deadline: self.deadline.map(|text| text.0),
            prefix: self.prefix,
            schema: defaults.schema,
            session: None,
            warnings: Vec::new(),
        }
    }
}

/// How the input schemas of tools are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SchemaProfile {
    /// In the form that every known host takes: one type each, and the rest in the description.
    #[default]
    Portable,
    /// With all that is checked, in the words of JSON Schema.
    Full,
}

/// Whether there is a tool that runs the caller's own SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AdHoc {
    /// There is none.
    #[default]
    Off,
    /// There is one, and the database holds it to reading.
    ReadOnly,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(keys: SharedKeys) -> (Options, Vec<(String, String)>) {
        let mut problems = Vec::new();
        let options = keys.resolve("shop", &mut problems);
        (options, problems.into_iter().map(|problem| (problem.path.join("."), problem.message)).collect())
    }

    #[test]
    fn keys_that_are_not_written_have_the_defaults() {
        assert_eq!(found(SharedKeys::default()), (Options::default(), Vec::new()));
    }

    #[test]
    fn a_result_stays_within_what_hosts_take() {
        let rows = |rows| found(SharedKeys { max_rows: Some(rows), ..SharedKeys::default() }).1;
        assert!(rows(1).is_empty() && rows(MOST_ROWS).is_empty());
        for bad in [0, MOST_ROWS + 1] {
            let problems = rows(bad);
            assert_eq!(problems.len(), 1, "{bad}");
            assert_eq!(problems[0].0, "connectors.shop.max-rows");
            assert!(problems[0].1.contains(&format!("`max-rows` is {bad}")), "{problems:?}");
        }
        let bytes = |bytes| found(SharedKeys { max_bytes: Some(SizeText(bytes)), ..SharedKeys::default() }).1;
        assert!(bytes(MOST_BYTES).is_empty());
        let problems = bytes(900_000_000);
        assert_eq!(problems[0].0, "connectors.shop.max-bytes");
        assert!(problems[0].1.contains("150000"), "{problems:?}");
    }

    #[test]
    fn a_prefix_that_makes_no_tool_name_is_told_at_its_key() {
        let prefix = |text: &str| found(SharedKeys { prefix: Some(text.into()), ..SharedKeys::default() }).1;
        assert!(prefix("").is_empty() && prefix("my_").is_empty());
        assert_eq!(prefix("a b")[0].0, "connectors.shop.prefix");
    }
}
