//! Where an endpoint's API keys are kept: a file, or the database of one of its connectors, which no guard knows.

mod postgres;

use std::sync::Arc;
use std::time::Duration;

use trunkline_guard::authenticate::keys::{Absent, KeyStore, Keys, SqliteKeys, StoreChoice, StoreError};
use trunkline_postgres::Writer;
use trunkline_service::Chain;
use trunkline_sql::Problem;

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

/// Tells what is wrong with the store that the file chose; nothing is made. One that is not there yet is fine where it can be
/// made.
pub(crate) async fn examine(
    keys: &Keys,
    writer: impl Fn(&str, Duration) -> Option<Writer>,
) -> Option<Problem> {
    let problem = |message: String| Problem::new(&["auth", "keys", "store"], message);
    // Without a connection the connector is what is wrong, which is told there.
    let store = open_store(keys, Absent::Refuse, writer)?;
    match store.changes(None).await {
        Ok(_) | Err(StoreError::Absent { .. }) => None,
        Err(StoreError::Refused { message, help, .. }) => Some(problem(message).help(help)),
        Err(error) => Some(problem(Chain(&error).to_string()).unavailable()),
    }
}

/// How long a look at the store may take.
const LOOK_WITHIN: Duration = Duration::from_secs(3);

/// How long a change may take, which waits for others that are being made.
const CHANGE_WITHIN: Duration = Duration::from_secs(10);
