//! Cells in the store: sealed values with a version that no two writes share.

use bytes::Bytes;

use super::super::{Away, Cell, NoRoom, PutError, Space};
use super::{Core, scripts};

/// Most cells.
const MAX_CELLS: usize = 65_536;
/// Most bytes of all values together, sealed.
const MAX_BYTES: usize = 256 << 20;
/// The longest name of a cell, in bytes.
const MAX_ID: usize = 64;
/// The latest time that is given to the store, in milliseconds since 1970: one that every server can take.
const LATEST_MS: u64 = 1 << 52;

/// Returns the key a cell is kept under.
pub(super) fn name(cell: &Cell) -> Vec<u8> {
    let space = match cell.space {
        Space::Task => b't',
    };
    let id = cell.id.get(..MAX_ID).unwrap_or(&cell.id);
    [b"cell:", &[space, b':'][..], id].concat()
}

impl Core {
    pub(super) async fn get_cell(&self, name: &[u8]) -> Result<Option<(u64, Bytes)>, Away> {
        let Some(value) = self.store.get(name).await? else { return Ok(None) };
        let Some((version, value)) =
            split(&value).and_then(|(version, sealed)| Some((version, self.open(name, sealed)?)))
        else {
            tracing::warn!(
                "a value in the store cannot be opened: do all nodes have the same `[server] seal-keys`?"
            );
            return Err(Away);
        };
        Ok(Some((version, value.into())))
    }

    pub(super) async fn put_cell(
        &self,
        name: &[u8],
        expected: u64,
        value: &[u8],
        expires_ms: u64,
    ) -> Result<u64, PutError> {
        let sealed = self.seal(name, value)?;
        let keys: [&[u8]; 5] = [name, b"cells", b"cells:size", b"cells:bytes", b"cells:version"];
        let numbers = [expected, expires_ms.min(LATEST_MS), MAX_CELLS as u64, MAX_BYTES as u64]
            .map(|number| number.to_string());
        let [expected, expires, cells, bytes] = numbers.each_ref().map(String::as_bytes);
        let args = [name, expected, &sealed, expires, cells, bytes];
        let answer = self.store.run(&scripts::PUT, &keys, &args).await.map_err(Away::from)?;
        match answer.as_int() {
            Some(0) => Err(PutError::Conflict),
            Some(-1) => Err(NoRoom::OfAll.into()),
            version => Ok(version.and_then(|version| u64::try_from(version).ok()).ok_or(Away)?),
        }
    }

    pub(super) async fn remove_cell(&self, name: &[u8]) -> Result<(), Away> {
        let keys: [&[u8]; 4] = [name, b"cells", b"cells:size", b"cells:bytes"];
        self.store.run(&scripts::REMOVE, &keys, &[name]).await?;
        Ok(())
    }
}

/// Splits a value into its version and what was sealed.
fn split(value: &[u8]) -> Option<(u64, &[u8])> {
    let colon = value.iter().take(20).position(|byte| *byte == b':')?;
    let (version, sealed) = value.split_at_checked(colon)?;
    Some((std::str::from_utf8(version).ok()?.parse().ok()?, sealed.get(1..)?))
}
