//! Small values by name, written by compare-and-set, bounded in number and bytes, forgotten when their time is over.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{Cell, NoRoom, PutError};
use crate::seal::now_ms;

/// Most cells.
const MAX_CELLS: usize = 65_536;
/// Most bytes of all values together.
const MAX_BYTES: usize = 256 << 20;

#[derive(Debug, Default)]
pub(super) struct Cells(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    cells: HashMap<Cell, Value>,
    bytes: usize,
    /// The last version given; versions are never used twice, so that a cell that was removed and made anew conflicts.
    version: u64,
}

#[derive(Debug)]
struct Value {
    version: u64,
    bytes: Bytes,
    expires_ms: u64,
}

impl Cells {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing in here panics half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, cell: &Cell) -> Option<(u64, Bytes)> {
        let table = self.table();
        let value = table.cells.get(cell).filter(|value| value.expires_ms > now_ms())?;
        Some((value.version, value.bytes.clone()))
    }

    pub(super) fn put(
        &self,
        cell: &Cell,
        expected: u64,
        bytes: Bytes,
        expires_ms: u64,
    ) -> Result<u64, PutError> {
        let mut table = self.table();
        let known = table.cells.get(cell).filter(|value| value.expires_ms > now_ms());
        if known.map_or(0, |value| value.version) != expected {
            return Err(PutError::Conflict);
        }
        let before = table.cells.get(cell).map_or(0, |value| value.bytes.len());
        if !table.has_room(before, bytes.len(), expected == 0) {
            table.forget_expired();
            if !table.has_room(before, bytes.len(), expected == 0) {
                return Err(NoRoom::OfAll.into());
            }
        }
        table.version += 1;
        let version = table.version;
        let length = bytes.len();
        let old = table.cells.insert(cell.clone(), Value { version, bytes, expires_ms });
        table.bytes = table.bytes + length - old.map_or(0, |value| value.bytes.len());
        Ok(version)
    }

    pub(super) fn remove(&self, cell: &Cell) {
        let mut table = self.table();
        if let Some(value) = table.cells.remove(cell) {
            table.bytes -= value.bytes.len();
        }
    }
}

impl Table {
    fn has_room(&self, before: usize, after: usize, is_new: bool) -> bool {
        self.bytes + after <= MAX_BYTES + before && (!is_new || self.cells.len() < MAX_CELLS)
    }

    fn forget_expired(&mut self) {
        let now = now_ms();
        self.cells.retain(|_, value| value.expires_ms > now);
        self.bytes = self.cells.values().map(|value| value.bytes.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::Space;

    fn cell(id: u8) -> Cell {
        Cell { space: Space::Task, id: [id].into() }
    }

    #[test]
    fn the_first_writer_wins_and_the_second_reads_again() {
        let cells = Cells::default();
        let first = cells.put(&cell(1), 0, Bytes::from_static(b"a"), u64::MAX).unwrap();
        assert_eq!(cells.put(&cell(1), 0, Bytes::new(), u64::MAX), Err(PutError::Conflict));
        let second = cells.put(&cell(1), first, Bytes::from_static(b"b"), u64::MAX).unwrap();
        assert_eq!(cells.put(&cell(1), first, Bytes::new(), u64::MAX), Err(PutError::Conflict));
        assert_eq!(cells.get(&cell(1)), Some((second, Bytes::from_static(b"b"))));
        cells.remove(&cell(1));
        assert_eq!(cells.put(&cell(1), second, Bytes::new(), u64::MAX), Err(PutError::Conflict));
    }

    #[test]
    fn what_expired_is_not_there_and_makes_room() {
        let cells = Cells::default();
        cells.put(&cell(1), 0, Bytes::from_static(b"a"), 1).unwrap();
        assert_eq!(cells.get(&cell(1)), None);
        assert!(cells.put(&cell(1), 0, Bytes::from_static(b"b"), u64::MAX).is_ok());
        let big = Bytes::from(vec![0; MAX_BYTES - 1]);
        cells.put(&cell(2), 0, big, 1).unwrap();
        assert!(cells.put(&cell(3), 0, Bytes::from_static(b"cc"), u64::MAX).is_ok());
        assert_eq!(cells.table().bytes, 3);
    }
}
