//! PostgreSQL as a [`Database`](trunkline_sql::Database): statements typed by the server, held to reading by the server,
//! their rows written from the wire form straight to where they go.
//!
//! There are two lanes. Short declared reads are pipelined over a few shared connections; everything else has a connection
//! of its own for the time it runs and is cancelled in the server when its caller goes away. `run` and `statement` choose,
//! `shared` and `exclusive` hold the connections, `dial` opens them.

mod bind;
mod decode;
mod dial;
mod exclusive;
mod fault;
pub mod file;
mod nature;
mod parked;
mod postgres;
mod prepare;
mod run;
mod shared;
mod statement;
mod types;

pub use file::PostgresFile;
pub use postgres::Postgres;
pub use statement::PostgresStatement;
