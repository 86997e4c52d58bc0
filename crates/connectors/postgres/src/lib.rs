//! PostgreSQL as a [`Database`](trunkline_sql::Database): statements typed by the server, held to reading by the server,
//! their rows written from the wire form straight to where they go.
//!
//! There are two lanes. Short declared reads are pipelined over a few shared connections; everything else has a connection
//! of its own for the time it runs and is cancelled in the server when its caller goes away. `run` and `statement` choose,
//! `shared` and `exclusive` hold the connections, `dial` opens them.
//!
//! A database may have replicas: each server is a `node` with both lanes. `nodes` chooses, `probe` looks how well they are,
//! `writes` knows who wrote lately.

pub mod assistant;
mod bind;
mod cancel;
mod catalogue;
mod damper;
mod decode;
mod describe;
mod dial;
mod domain;
mod exclusive;
mod fault;
pub mod file;
mod framing;
mod gate;
mod lane;
mod line;
mod nature;
mod node;
mod nodes;
mod notify;
mod parked;
mod postgres;
mod posture;
mod prepare;
mod probe;
mod run;
mod setup;
mod shared;
mod socket;
mod statement;
mod survey;
mod tls;
mod transaction;
mod types;
mod url;
mod volatile;
mod wait;
mod warm;
pub mod writer;
mod writes;

pub use assistant::{Assistant, AssistantTool};
pub use file::PostgresFile;
pub use node::{NodeState, NodeStatus};
pub use notify::Channel;
pub use postgres::Postgres;
pub use posture::PostureRule;
pub use statement::PostgresStatement;
pub use wait::{PoolStatus, PoolWait};
pub use writer::Writer;
