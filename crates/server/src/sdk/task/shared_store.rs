//! Tasks kept in the cells that all nodes share.

use std::sync::Arc;

use bytes::Bytes;
use trunkline_service::shared::{Cell, Later, PutError, Shared, Space};

use super::record::{TaskId, TaskRecord};
use super::store::{StoreError, TaskStore};

/// Keeps tasks in [`Shared`]: as long and as widely as that keeps its cells.
#[derive(Debug, Clone)]
pub struct SharedTasks(Arc<dyn Shared>);

impl SharedTasks {
    /// Keeps tasks in `shared`.
    #[must_use]
    pub fn new(shared: Arc<dyn Shared>) -> Self {
        Self(shared)
    }

    async fn put(&self, record: &TaskRecord, expected: u64) -> Result<u64, StoreError> {
        let value = serde_json::to_vec(record).map_err(|error| StoreError::Failed(error.into()))?;
        let put = self.0.put(&cell(record.id), expected, Bytes::from(value), record.expires_ms()).await;
        put.map_err(|error| match error {
            PutError::Conflict => StoreError::Conflict,
            PutError::NoRoom(_) => StoreError::NoRoom,
            other => StoreError::Failed(other.into()),
        })
    }
}

fn cell(id: TaskId) -> Cell {
    Cell { space: Space::Task, id: id.number().to_be_bytes().into() }
}

impl TaskStore for SharedTasks {
    fn create<'a>(&'a self, record: &'a TaskRecord) -> Later<'a, Result<u64, StoreError>> {
        Box::pin(self.put(record, 0))
    }

    fn read(&self, id: TaskId) -> Later<'_, Result<Option<(u64, TaskRecord)>, StoreError>> {
        Box::pin(async move {
            let found = self.0.get(&cell(id)).await.map_err(|away| StoreError::Failed(away.into()))?;
            let Some((version, value)) = found else { return Ok(None) };
            let record = serde_json::from_slice(&value).map_err(|error| StoreError::Failed(error.into()))?;
            Ok(Some((version, record)))
        })
    }

    fn update<'a>(&'a self, record: &'a TaskRecord, expected: u64) -> Later<'a, Result<u64, StoreError>> {
        Box::pin(async move {
            // Zero would make a record anew that is gone.
            if expected == 0 { Err(StoreError::Conflict) } else { self.put(record, expected).await }
        })
    }

    fn remove(&self, id: TaskId) -> Later<'_, Result<(), StoreError>> {
        Box::pin(
            async move { self.0.remove(&cell(id)).await.map_err(|away| StoreError::Failed(away.into())) },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdk::task::record::TaskStatus;
    use trunkline_service::shared::InMemory;

    #[tokio::test]
    async fn a_record_is_written_only_from_its_last_version() {
        let store = SharedTasks::new(Arc::new(InMemory::default()));
        let mut record = TaskRecord::new(TaskId::draw().unwrap(), "me".to_owned(), 60_000, 1);
        let first = store.create(&record).await.unwrap();
        assert!(matches!(store.create(&record).await, Err(StoreError::Conflict)));
        record.status = TaskStatus::Cancelled;
        let second = store.update(&record, first).await.unwrap();
        assert!(matches!(store.update(&record, first).await, Err(StoreError::Conflict)));
        let (version, read) = store.read(record.id).await.unwrap().unwrap();
        assert_eq!((version, read.status), (second, TaskStatus::Cancelled));
        store.remove(record.id).await.unwrap();
        assert!(store.read(record.id).await.unwrap().is_none());
        assert!(matches!(store.update(&record, 0).await, Err(StoreError::Conflict)));
    }

    #[tokio::test]
    async fn an_expired_record_is_gone() {
        let store = SharedTasks::new(Arc::new(InMemory::default()));
        let record = TaskRecord::new(TaskId::draw().unwrap(), "me".to_owned(), 0, 1);
        store.create(&record).await.unwrap();
        assert!(store.read(record.id).await.unwrap().is_none());
    }
}
