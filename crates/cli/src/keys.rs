//! Where an endpoint's API keys are kept: a file, or the database of one of its connectors, which no guard knows.

mod postgres;

use std::sync::Arc;
use std::time::Duration;

use trunkline_guard::authenticate::keys::{Absent, KeyStore, Keys, SqliteKeys, StoreChoice};
use trunkline_postgres::Writer;

/// Opens the store that the file chose; nothing is reached yet. `writer` makes a connection to the database of the connector
/// of that name, and returns `None` when there is none.
///
/// Returns `None` when `writer` did.
pub(crate) fn open_store(
    keys: &Keys,
    absent: Absent,
    writer: impl Fn(&str, Duration) -> Option<Writer>,
) -> Option<Arc<dyn KeyStore>> {
    match &keys.store {
        StoreChoice::File(path) => Some(Arc::new(SqliteKeys::new(path, absent))),
        StoreChoice::Postgres(connector) => {
            let (reading, writing) = (writer(connector, LOOK_WITHIN)?, writer(connector, CHANGE_WITHIN)?);
            Some(Arc::new(postgres::PostgresKeys::new(connector, reading, writing, absent)))
        }
        _ => None,
    }
}

/// How long a look at the store may take.
const LOOK_WITHIN: Duration = Duration::from_secs(3);

/// How long a change may take, which waits for others that are being made.
const CHANGE_WITHIN: Duration = Duration::from_secs(10);
