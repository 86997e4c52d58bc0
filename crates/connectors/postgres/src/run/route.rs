//! Moves a read to another node when the one it is on cannot do it, and notes up to where a write of its caller went.

use futures_util::join;
use tokio_postgres::{Client, Error, SimpleQueryMessage};
use trunkline_service::Caller;
use trunkline_sql::{Access, DatabaseError, Rows};

use crate::fault::{is_lost, is_of_a_replica, is_of_recovery};
use crate::node::{Node, Place};
use crate::nodes::{Leaving, Nodes};
use crate::run::{Call, Fault};
use crate::transaction;
use crate::writes::position;

impl<W: Rows> Call<'_, W> {
    /// Returns the node that the statement runs on now.
    pub(crate) fn node(&self) -> &Node {
        self.place.node()
    }

    /// Moves a read to another node if one may do better, with no row left of what was read; `may_retry` tells whether it
    /// could be tried again here.
    pub(super) fn move_on(&mut self, fault: &Fault, may_retry: bool) -> bool {
        let nodes = &self.postgres.nodes;
        if !nodes.has_replicas() || self.statement.access != Access::ReadOnly {
            return false;
        }
        let Some((why, clean)) = self.leaving(fault) else { return false };
        // The primary's connections break when they are ended one by one, too: a new one tells more.
        if self.node().is_primary() && why == Leaving::Lost && may_retry {
            return false;
        }
        if !clean && !self.rows.restart() {
            return false;
        }
        let left = self.place.node();
        nodes.leave(left, &mut self.route, why);
        self.failed_in_recovery |= matches!(fault, Fault::Reported { error, .. } if is_of_recovery(error));
        let Some(node) = nodes.next(&mut self.route, &self.behalf.caller) else { return false };
        tracing::debug!(from = left.label(), to = node.label(), ?why, "a read goes on elsewhere");
        self.place = Place::on(node);
        true
    }

    /// Notes that a statement needs the primary, when it failed on a replica and ran there.
    pub(super) fn note_route(&self) {
        if self.failed_in_recovery {
            self.statement.keep_to_primary();
        }
    }

    fn leaving(&self, fault: &Fault) -> Option<(Leaving, bool)> {
        let on_replica = !self.node().is_primary();
        match fault {
            Fault::Reported { error, clean } if is_lost(error) => Some((Leaving::Lost, *clean)),
            Fault::Reported { error, clean } if on_replica && is_of_a_replica(error) => {
                Some((Leaving::NotThere, *clean))
            }
            Fault::Stalled { clean } => Some((Leaving::Silent, *clean)),
            // No connection was made, so there is no row of this try; one before it may have left some.
            Fault::Final(DatabaseError::Unreachable { sent: false, .. } | DatabaseError::Rejected { .. }) => {
                Some((Leaving::Silent, false))
            }
            // It answers, so nothing is said against it.
            Fault::Final(DatabaseError::Full { .. }) => Some((Leaving::Busy, false)),
            // Whoever holds its connections gets no answer either, or it has more to do than the others.
            Fault::Final(DatabaseError::PoolExhausted { .. }) if on_replica => Some((Leaving::Busy, false)),
            // The columns are not those that were learned: a replica may not have heard of the change.
            Fault::Final(DatabaseError::Statement { .. }) if on_replica => Some((Leaving::NotThere, false)),
            Fault::Reported { .. } | Fault::Elsewhere | Fault::Final(_) => None,
        }
    }
}

/// Commits, and where there are replicas keeps up to where the log went, asked in one go with it.
///
/// Returns whether the connection is as it was.
///
/// # Errors
/// What the database reports of the commit.
pub(super) async fn commit(nodes: &Nodes, caller: &Caller, client: &Client) -> Result<bool, Error> {
    let Some(pending) = nodes.begin_commit(caller) else {
        return transaction::commit(client).await;
    };
    let (committed, reached) = join!(transaction::commit(client), reached(client));
    match &committed {
        Ok(_) => pending.settle(reached),
        // Nobody knows whether it was made.
        Err(error) if is_lost(error) => drop(pending),
        Err(_) => pending.dismiss(),
    }
    nodes.urge();
    committed
}

/// Returns up to where the primary's log was written.
async fn reached(client: &Client) -> Option<u64> {
    let answer = client.simple_query("select pg_catalog.pg_current_wal_insert_lsn()").await.ok()?;
    answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.try_get(0).ok().flatten().and_then(position),
        _ => None,
    })
}
