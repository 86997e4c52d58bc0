//! SQLite databases as tools.
//!
//! [`Sqlite`] implements [`trunkline_sql::Database`]. Every connection belongs to a thread of its own; a statement is sent
//! there and its rows are written there. What may only read is held to it several times over: the file is opened
//! read-only, an authorizer looks at every action while a statement is compiled, and SQLite's own judgement of the compiled
//! statement must agree. No statement outlives its deadline or its caller.

mod database;
mod describe;
mod error;
mod execute;
pub mod file;
mod gate;
mod guard;
mod hint;
mod link;
mod place;
mod pool;
mod survey;

pub use database::{Sqlite, Statement};
pub use file::SqliteFile;
