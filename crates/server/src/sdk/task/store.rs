//! Where records of tasks are kept: one trait, so that a database can hold them.

use std::error::Error;
use std::fmt;

use trunkline_service::shared::Later;

use super::record::{TaskId, TaskRecord};

/// Keeps records of tasks for every node of an endpoint.
///
/// A record has a version that changes with every write; a write names the version it was made from, so that two nodes never
/// undo each other. A record may be forgotten once [`TaskRecord::expires_ms`] has passed, and must be kept until then: what
/// `create` took is found by every node from then on. Spec: SEP-2663
///
/// # Cancel safety
/// A dropped future may or may not have done its work.
pub trait TaskStore: Send + Sync + fmt::Debug + 'static {
    /// Keeps a new record and returns its version.
    ///
    /// Fails with [`StoreError::NoRoom`] when there are too many.
    fn create<'a>(&'a self, record: &'a TaskRecord) -> Later<'a, Result<u64, StoreError>>;

    /// Reads a record with its version; `None` when there is none of that id.
    fn read(&self, id: TaskId) -> Later<'_, Result<Option<(u64, TaskRecord)>, StoreError>>;

    /// Writes a record if its version is still `expected`, and returns the new one.
    ///
    /// Fails with [`StoreError::Conflict`] when it has another version or is gone, with [`StoreError::NoRoom`] when it has
    /// become too large.
    fn update<'a>(&'a self, record: &'a TaskRecord, expected: u64) -> Later<'a, Result<u64, StoreError>>;

    /// Forgets a record; nothing when there is none.
    fn remove(&self, id: TaskId) -> Later<'_, Result<(), StoreError>>;
}

/// Why a store did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Somebody else wrote the record first, or it is gone.
    #[error("the task has another version")]
    Conflict,
    /// Too much is kept already.
    #[error("there is no room for more tasks; try again later")]
    NoRoom,
    /// The store does not answer, or keeps something that is no record.
    #[error("the store of tasks failed")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
}
