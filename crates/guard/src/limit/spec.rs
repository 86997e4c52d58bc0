//! What the file decided: which limits there are. Made by [`LimitsFile::resolve`](super::LimitsFile::resolve), or by hand.

use std::num::NonZeroU32;

use super::rate::{Rate, Unit};

/// The limits of a server, of every caller, and of the roles. None at all unless set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LimitsSpec {
    /// Requests of the whole server.
    pub server: Option<Rate>,
    /// Requests of each client address.
    pub address: Option<Rate>,
    /// Requests of each caller.
    pub caller: Option<Rate>,
    /// Requests of the whole server that are worked on at a time.
    pub concurrent: Option<NonZeroU32>,
    /// What holds for each caller of a role, by the role's name.
    pub roles: Vec<(Box<str>, RoleSpec)>,
}

/// What holds for each caller of a role. Nothing unless set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RoleSpec {
    /// How many requests.
    pub limit: Option<Rate>,
    /// How many requests and bytes in a longer time.
    pub budget: Option<BudgetSpec>,
    /// How many requests at a time.
    pub concurrent: Option<NonZeroU32>,
}

/// How many requests and bytes in a time that begins with the first request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetSpec {
    /// Requests; `None` for any number.
    pub calls: Option<u64>,
    /// Bytes of requests and results; `None` for any number.
    pub bytes: Option<u64>,
    /// The time.
    pub per: Unit,
}

/// What holds for a tool or for all of a connector. Nothing unless set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ThingSpec {
    /// How many calls, of all callers together.
    pub limit: Option<Rate>,
    /// How many calls at a time, of all callers together.
    pub concurrent: Option<NonZeroU32>,
    /// How many requests one call counts as, for the limits of callers, roles, the connector and the server; 1 unless set. Only
    /// tools have one.
    pub cost: Option<NonZeroU32>,
}
