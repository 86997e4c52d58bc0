//! API keys: how one looks, where they are kept, and which hold now.
//!
//! A key is shown once, when it is made; what is kept of it is a hash. All keys of a store are in memory ([`Ring`]), and a task
//! follows the store, so that judging one waits for nothing and a revoked one stops on every node that shares the store.

mod entry;
mod file;
mod format;
mod issue;
mod keeper;
mod ring;
mod sqlite;
mod store;

pub use entry::{Entry, State};
pub use file::{Keys, KeysFile, StoreChoice};
pub use format::{Key, KeyHash, KeyId, NotAKey};
pub use issue::{IssueError, Issued, Order, find, issue, renew, revoke};
pub use ring::Ring;
pub use sqlite::{Absent, SqliteKeys};
pub use store::{Changes, KeyStore, NewKey, StoreError, Version};
pub use trunkline_service::seal::now;
