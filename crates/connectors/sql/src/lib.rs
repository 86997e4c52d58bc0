//! What PostgreSQL and SQLite share: statements with named parameters, typed arguments, one encoding of results.
//!
//! A database implements [`Database`]; `SqlConnector` makes a service of it. The sections `[tools.X]` are read by types of
//! this crate, and the keys both databases share are decided here; how a database is reached and guarded is not known.

mod accept;
mod ad_hoc;
pub mod behalf;
pub mod connector;
mod cursor;
pub mod database;
mod decimal;
mod explain;
mod facts;
pub mod file;
mod format;
mod learn;
mod lex;
pub mod options;
mod param;
pub mod result;
mod results;
pub mod scan;
mod schema;
mod shape;
mod spec;
mod sqlite_type;
pub mod survey;
mod table;
pub mod tool;
pub mod value;

pub use behalf::{SessionPlan, Unidentified};
pub use connector::SqlConnector;
pub use database::{
    Access, Behalf, BoxFuture, Column, Database, DatabaseError, Description, Dialect, Page, ParameterType,
    PlanMode, Ran, Report, Resume, Rows, Run, StatementSource, WrittenType,
};
pub use explain::{Asked, Refusal};
pub use options::{AdHoc, Options, SchemaProfile, SharedKeys};

pub use scan::Scanned;
pub use sqlite_type::SqliteType;
pub use tool::Tool;
pub use trunkline_service::file::{Problem, Severity};
pub use trunkline_service::nearest;
pub use value::{JsonKind, Value};
