//! The servers of a database, and which of them a statement goes to: writes to the primary, reads to a replica that is
//! well, has what the caller wrote, and is not busier than the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use trunkline_service::Caller;

use crate::node::{Node, NodeState, NodeStatus};
use crate::probe::{Watch, Watcher};
use crate::writes::{Pending, Writes};

/// The primary and its replicas.
#[derive(Debug)]
pub(crate) struct Nodes {
    primary: Arc<Node>,
    replicas: Box<[Arc<Node>]>,
    watch: Arc<Watch>,
    writes: Writes,
    is_watched: AtomicBool,
    cancel: CancellationToken,
    /// Ends those who look at the nodes.
    _end: DropGuard,
}

/// Where a read went so far and where it may still go.
#[derive(Debug, Clone, Default)]
pub(crate) struct Route {
    /// What a replica must have replayed, once that was looked up.
    floor: Option<u64>,
    /// Nodes that are of no use to this read.
    spent: Set,
    /// Nodes whose connection broke once: the last to be tried, as that may have been the connection only.
    shaken: Set,
    /// No replica can do what the statement asks for.
    primary_only: bool,
}

/// Node numbers.
#[derive(Debug, Default, Clone, Copy)]
struct Set(u32);

/// Why a read leaves a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// Its connection broke.
    Lost,
    /// It does not answer, or takes no connection.
    Silent,
    /// All its connections were in use all the time.
    Busy,
    /// A replica cannot do it, and the primary may.
    NotThere,
}

impl Nodes {
    /// Returns how far behind the newest change a read may be; zero without replicas.
    pub(crate) fn lag(&self) -> Duration {
        if self.replicas.is_empty() { Duration::ZERO } else { self.watch.lag() }
    }

    /// Puts the nodes together. `max_lag` is how far a replica may be behind.
    pub(crate) fn new(primary: Node, replicas: Vec<Node>, max_lag: Duration) -> Self {
        let cancel = CancellationToken::new();
        Self {
            primary: Arc::new(primary),
            replicas: replicas.into_iter().map(Arc::new).collect(),
            watch: Arc::new(Watch::new(max_lag)),
            writes: Writes::new(),
            is_watched: AtomicBool::new(false),
            _end: cancel.clone().drop_guard(),
            cancel,
        }
    }

    /// Returns the primary.
    pub(crate) fn primary(&self) -> &Node {
        &self.primary
    }

    /// Returns all nodes, the primary first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Node> {
        std::iter::once(&*self.primary).chain(self.replicas.iter().map(|node| &**node))
    }

    /// Returns how many nodes there are.
    pub(crate) fn count(&self) -> usize {
        1 + self.replicas.len()
    }

    /// Whether there is more than the primary.
    pub(crate) fn has_replicas(&self) -> bool {
        !self.replicas.is_empty()
    }

    /// Returns what is known of the nodes.
    pub(crate) fn status(&self) -> Vec<NodeStatus> {
        self.all().map(Node::status).collect()
    }

    /// Follows a commit that is about to be sent for a caller; `None` where nobody reads from replicas.
    pub(crate) fn begin_commit<'a>(&'a self, caller: &'a Caller) -> Option<Pending<'a>> {
        self.has_replicas().then(|| self.writes.begin(caller))
    }

    /// Has the nodes looked at soon: a write was committed, or a call found one down.
    pub(crate) fn urge(&self) {
        if self.has_replicas() {
            self.ensure_watched();
            self.watch.urge();
        }
    }

    /// Returns where a read begins.
    ///
    /// # Cancel safety
    /// Nothing is left behind.
    pub(crate) async fn first(&self, route: &mut Route, caller: &Caller) -> &Node {
        if !self.has_replicas() {
            return &self.primary;
        }
        self.ensure_watched();
        self.watch.note_use();
        if let Some(node) = self.healthy(route, caller) {
            return node;
        }
        Box::pin(self.look(route, caller)).await;
        self.next(route, caller).unwrap_or(&self.primary)
    }

    /// Returns the best node that is left for a read, if one is.
    ///
    /// Where the primary does not answer, a replica that is too far behind, or that nobody can tell of, is better than
    /// nothing. One without what the caller itself wrote is not: the caller would take its write for lost.
    pub(crate) fn next(&self, route: &mut Route, caller: &Caller) -> Option<&Node> {
        let primary_left = !route.spent.has(&self.primary) && !route.shaken.has(&self.primary);
        if route.primary_only {
            return Some(&*self.primary).filter(|_| primary_left);
        }
        if let Some(node) = self.healthy(route, caller) {
            return Some(node);
        }
        if primary_left && self.primary.state() != NodeState::Down {
            return Some(&self.primary);
        }
        let answering =
            |node: &Node, route: &Route| node.state() != NodeState::Down && !route.shaken.has(node);
        if let Some(node) = self.replica(route, caller, answering) {
            return Some(node);
        }
        if primary_left {
            return Some(&self.primary);
        }
        self.replica(route, caller, |_, _| true)
    }

    /// Waits until a node on which a read runs was found to give no answer at all, and there is another that answers and may
    /// have the read; without end where that never comes.
    ///
    /// # Cancel safety
    /// Nothing is left behind.
    pub(crate) async fn silent(&self, node: &Node, route: &Route, caller: &Caller) {
        // Most reads have ended by then, and cost nobody anything.
        tokio::time::sleep(UNWATCHED).await;
        let _waiting = self.watch.wait();
        loop {
            let seen = self.watch.seen();
            if node.pool.is_silent() && self.has_other(node, route, caller) {
                return;
            }
            seen.await;
        }
    }

    fn has_other(&self, node: &Node, route: &Route, caller: &Caller) -> bool {
        let mut route = route.clone();
        route.spent.add(node);
        self.next(&mut route, caller).is_some_and(|other| other.state() != NodeState::Down)
    }

    /// Takes note of why a read leaves a node.
    pub(crate) fn leave(&self, node: &Node, route: &mut Route, why: Leaving) {
        match why {
            Leaving::Lost if !route.shaken.has(node) => route.shaken.add(node),
            Leaving::Lost | Leaving::Silent => route.spent.add(node),
            Leaving::Busy => {
                route.spent.add(node);
                return;
            }
            Leaving::NotThere => {
                route.primary_only = true;
                return;
            }
        }
        node.mark_down();
        self.urge();
    }

    /// Replicas take turns, and of the next two the less busy one is chosen: turns alone would let callers pile up on a
    /// replica that is slower than the others, and counts alone would send all of a moment to the same one.
    fn healthy(&self, route: &mut Route, caller: &Caller) -> Option<&Node> {
        let well = |node: &Node, route: &Route| node.state() == NodeState::Healthy && !route.shaken.has(node);
        self.replica(route, caller, well)
    }

    fn replica(
        &self,
        route: &mut Route,
        caller: &Caller,
        admits: impl Fn(&Node, &Route) -> bool,
    ) -> Option<&Node> {
        let furthest = self.writes.furthest();
        let start = self.watch.turn() % self.replicas.len().max(1);
        let (before, after) = self.replicas.split_at_checked(start).unwrap_or_default();
        let mut found = after.iter().chain(before).map(|node| &**node).filter(|node| {
            !route.spent.has(node) && admits(node, route) && {
                let replayed = node.replayed();
                // Who wrote, and what, matters only where not all that anybody wrote is there.
                replayed >= furthest || replayed >= *route.floor.get_or_insert_with(|| self.writes.of(caller))
            }
        });
        let first = found.next()?;
        Some(found.next().filter(|second| second.in_flight() < first.in_flight()).unwrap_or(first))
    }

    /// Waits a moment for the first look at the replicas after a while without use, so that rare reads do not all go to
    /// the primary.
    async fn look(&self, route: &mut Route, caller: &Caller) {
        let until = Instant::now() + FIRST_LOOK;
        loop {
            let seen = self.watch.seen();
            if self.healthy(route, caller).is_some()
                || self.replicas.iter().all(|node| node.state() != NodeState::Unseen)
                || tokio::time::timeout_at(until, seen).await.is_err()
            {
                return;
            }
        }
    }

    /// Starts looking at the nodes, once.
    fn ensure_watched(&self) {
        if self.is_watched.load(Ordering::Relaxed) || self.is_watched.swap(true, Ordering::Relaxed) {
            return;
        }
        for node in std::iter::once(&self.primary).chain(&self.replicas) {
            let watcher = Watcher::new(Arc::clone(node), Arc::clone(&self.watch));
            let cancel = self.cancel.clone();
            node.dialer.tasks().spawn(async move { cancel.run_until_cancelled(watcher.run()).await });
        }
    }
}

impl Set {
    fn has(self, node: &Node) -> bool {
        self.0 & bit(node) != 0
    }

    fn add(&mut self, node: &Node) {
        self.0 |= bit(node);
    }
}

fn bit(node: &Node) -> u32 {
    1_u32.checked_shl(u32::try_from(node.number()).unwrap_or(u32::MAX)).unwrap_or(0)
}

/// Most replicas one database may have.
pub(crate) const MOST_REPLICAS: usize = 16;

/// How long a read runs before it asks whether its node still answers.
const UNWATCHED: Duration = Duration::from_millis(100);

/// How long a read waits for a look at the replicas, where nobody looked for a while.
const FIRST_LOOK: Duration = Duration::from_millis(500);
