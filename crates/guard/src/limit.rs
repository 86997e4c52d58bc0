//! How often callers, roles, tools, connectors, addresses and the whole server may be asked, and how much at a time.
//!
//! A request passes three stages, and in each all limits grant or none is charged: at the [door](Limits::door) of the edge the
//! server's and its address's; once it is known who asks, in [`Limited`], the caller's, those of each of their roles, and
//! budgets; once its name was admitted, in the [check](Limits::check) of its tool, the tool's and the connector's, and what the tool
//! costs beyond one request. What is counted outlives the file that says it: [`LimitState`].

mod bucket;
mod budget;
mod cell;
mod concurrent;
mod cost;
mod file;
mod keyed;
mod lease;
mod limited;
mod limits;
mod list;
mod presence;
mod rate;
mod refusal;
mod sharded;
mod shared;
mod spec;
mod stage;
mod state;
mod thing;

pub use concurrent::{Concurrent, Running};
pub use file::{BudgetFile, LimitFile, LimitsFile, PerFile};
pub use limited::{Counted, Limited};
pub use limits::Limits;
pub use rate::{BadRate, MOST_A_SECOND, Rate, Unit};
pub use spec::{BudgetSpec, LimitsSpec, RoleSpec, ThingSpec};
pub use state::LimitState;
