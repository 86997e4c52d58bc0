//! One server of a database with its own connections: the primary or a replica, and what is known of how well it is.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use trunkline_sql::PlanMode;

use crate::dial::{Dialer, Lane};
use crate::exclusive::Pool;
use crate::shared::{CONNECTIONS, SharedLane};
use crate::wait::PoolStatus;

/// A server, its two lanes, and its state as last seen.
#[derive(Debug)]
pub(crate) struct Node {
    /// 0 is the primary; replicas count from 1, in the order of the file.
    number: usize,
    pub(crate) dialer: Arc<Dialer>,
    pub(crate) shared: SharedLane,
    /// The shared lane of statements that are planned once. They use the same places: a statement runs on one of the two.
    generic: SharedLane,
    pub(crate) pool: Arc<Pool>,
    state: AtomicU8,
    /// Up to where a replica has replayed what the primary wrote; 0 while that is not known.
    replayed: AtomicU64,
    /// How far behind, in microseconds; `UNKNOWN_LAG` while that is not known.
    lag: AtomicU64,
    /// Reads that run on it now; counted for replicas only.
    in_flight: AtomicUsize,
}

/// How well a node is, as last seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeState {
    /// It was not looked at since the database was last used.
    Unseen,
    /// It answers, and a replica is no further behind than it may be.
    Healthy,
    /// It answers and is too far behind, or nobody can tell how far.
    Lagging,
    /// It answers and is not what the file says: a replica that takes writes, a primary that takes none.
    Detached,
    /// It does not answer.
    Down,
}

/// What is known of a node, for the operator. Holds no address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    /// `primary`, or `replica 1` and so on in the order of the file.
    pub label: String,
    /// How well it is, as last seen.
    pub state: NodeState,
    /// How far a replica is behind; `None` for the primary and while that is not known.
    pub lag: Option<Duration>,
    /// Its connections for statements that need one of their own.
    pub pool: PoolStatus,
}

impl Node {
    /// Makes a node without connections.
    pub(crate) fn new(number: usize, dialer: Arc<Dialer>, pool: usize, stalled_after: Duration) -> Self {
        let first_place = number * CONNECTIONS;
        Self {
            number,
            shared: SharedLane::new(Arc::clone(&dialer), Lane::Shared, first_place, stalled_after),
            generic: SharedLane::new(Arc::clone(&dialer), Lane::Generic, first_place, stalled_after),
            pool: Pool::new(Arc::clone(&dialer), pool),
            dialer,
            state: AtomicU8::new(code(NodeState::Unseen)),
            replayed: AtomicU64::new(0),
            lag: AtomicU64::new(UNKNOWN_LAG),
            in_flight: AtomicUsize::new(0),
        }
    }

    /// Returns the shared lane of statements planned like this.
    pub(crate) fn shared_lane(&self, plan: PlanMode) -> &SharedLane {
        match plan {
            PlanMode::Auto => &self.shared,
            PlanMode::Generic => &self.generic,
        }
    }

    /// Returns 0 for the primary, else the place of the replica in the file, from 1.
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// Whether it is the primary.
    pub(crate) fn is_primary(&self) -> bool {
        self.number == 0
    }

    /// Returns its name in logs and states.
    pub(crate) fn label(&self) -> String {
        if self.is_primary() { PRIMARY.to_owned() } else { format!("replica {}", self.number) }
    }

    /// Returns how well it is, as last seen.
    pub(crate) fn state(&self) -> NodeState {
        match self.state.load(Ordering::Relaxed) {
            HEALTHY => NodeState::Healthy,
            LAGGING => NodeState::Lagging,
            DETACHED => NodeState::Detached,
            DOWN => NodeState::Down,
            _ => NodeState::Unseen,
        }
    }

    /// Keeps what was seen of it. The position goes first: whoever sees it healthy sees that too.
    pub(crate) fn note(&self, state: NodeState, replayed: u64, lag: Option<Duration>) {
        self.replayed.store(replayed, Ordering::Relaxed);
        let lag = lag.map_or(UNKNOWN_LAG, |lag| u64::try_from(lag.as_micros()).unwrap_or(UNKNOWN_LAG));
        self.lag.store(lag, Ordering::Relaxed);
        self.pool.set_silent(false);
        self.state.store(code(state), Ordering::Release);
    }

    /// Says that it does not answer, as a call found out.
    pub(crate) fn mark_down(&self) {
        self.state.store(DOWN, Ordering::Relaxed);
    }

    /// Says that it gave no answer at all when it was looked at: reads that wait there leave, and what they leave behind is
    /// cut off.
    pub(crate) fn mark_silent(&self) {
        self.mark_down();
        self.pool.set_silent(true);
    }

    /// Says that nobody looks at it any more. One that does not answer stays known as such.
    pub(crate) fn forget(&self) {
        if self.state() != NodeState::Down {
            self.state.store(UNSEEN, Ordering::Relaxed);
        }
    }

    /// Returns up to where it had replayed when last seen. It only grows while the node follows its primary, so the truth
    /// may be further.
    pub(crate) fn replayed(&self) -> u64 {
        self.replayed.load(Ordering::Relaxed)
    }

    /// Returns how many reads run on it now.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Returns what is known of it.
    pub(crate) fn status(&self) -> NodeStatus {
        let lag = Some(self.lag.load(Ordering::Relaxed)).filter(|lag| *lag != UNKNOWN_LAG);
        let lag = lag.filter(|_| !self.is_primary()).map(Duration::from_micros);
        NodeStatus { label: self.label(), state: self.state(), lag, pool: self.pool.status() }
    }
}

impl fmt::Display for NodeStatus {
    /// One line for the operator: `replica 1 is 3.2s behind`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)?;
        match (self.state, self.lag) {
            (NodeState::Healthy, _) => f.write_str(" is well"),
            (NodeState::Lagging, Some(lag)) => write!(f, " is {lag:.1?} behind"),
            (NodeState::Lagging, None) => f.write_str(" is behind, and nobody can tell how far"),
            (NodeState::Detached, _) if self.label == PRIMARY => f.write_str(" takes no writes"),
            (NodeState::Detached, _) => f.write_str(" takes writes and is not the primary"),
            (NodeState::Down, _) => f.write_str(" does not answer"),
            (NodeState::Unseen, _) => f.write_str(" was not looked at"),
        }
    }
}

/// A call's place on a node, counted as long as it is held.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    node: &'a Node,
}

impl<'a> Place<'a> {
    /// Takes a place.
    pub(crate) fn on(node: &'a Node) -> Self {
        // Nobody chooses by how busy the primary is.
        if !node.is_primary() {
            node.in_flight.fetch_add(1, Ordering::Relaxed);
        }
        Self { node }
    }

    /// Returns the node.
    pub(crate) fn node(&self) -> &'a Node {
        self.node
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.node.is_primary() {
            self.node.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// What the primary is called.
const PRIMARY: &str = "primary";

const fn code(state: NodeState) -> u8 {
    match state {
        NodeState::Unseen => UNSEEN,
        NodeState::Healthy => HEALTHY,
        NodeState::Lagging => LAGGING,
        NodeState::Detached => DETACHED,
        NodeState::Down => DOWN,
    }
}

const UNSEEN: u8 = 0;
const HEALTHY: u8 = 1;
const LAGGING: u8 = 2;
const DETACHED: u8 = 3;
const DOWN: u8 = 4;

const UNKNOWN_LAG: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_told_in_words() {
        let pool = PoolStatus::default();
        let status =
            |label: &str, state, lag| NodeStatus { label: label.to_owned(), state, lag, pool }.to_string();
        let lag = Some(Duration::from_millis(3210));
        assert_eq!(status("replica 1", NodeState::Lagging, lag), "replica 1 is 3.2s behind");
        assert_eq!(status("primary", NodeState::Down, None), "primary does not answer");
        assert_eq!(status("primary", NodeState::Detached, None), "primary takes no writes");
        assert!(status("replica 2", NodeState::Detached, None).contains("takes writes"));
    }
}
