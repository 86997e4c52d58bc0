//! The keys every SQL connector shares, once decided.

use std::time::Duration;

use crate::database::Access;

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
        }
    }
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
