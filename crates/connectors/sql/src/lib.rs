//! What PostgreSQL and SQLite share: statements with named parameters, typed arguments, one encoding of results.
//!
//! A database implements [`Database`]; `SqlConnector` makes a service of it. No guard and no configuration file is
//! known here; the sections `[tools.X]` and the keys both databases share are read by types of this crate.

pub mod database;
pub mod problem;
pub mod value;

pub use database::{
    Access, BoxFuture, Column, Database, DatabaseError, Description, Dialect, ParameterType, Ran, Rows, Run, StatementSource, WrittenType,
};
pub use problem::Problem;
pub use value::{JsonKind, Value};
