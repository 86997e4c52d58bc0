//! The exclusive lane: connections that run one caller's statement at a time, cancelled in the server when it is dropped.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};
use tokio_postgres::Statement;
use tokio_util::task::TaskTracker;
use trunkline_service::Caller;
use trunkline_service::queue::{self, LineBounds, OwnedPlace, Places};
use trunkline_sql::DatabaseError;

use crate::dial::{Dialer, Lane, Session};
use crate::fault::is_timeout;
use crate::line::Line;
use crate::parked::{PARKED_FOR, Parked};
use crate::statement::PostgresStatement;
use crate::transaction::{Extent, clean};
use crate::wait::{PoolStatus, PoolWait, Waits};

/// The connections of the lane: so many, opened as they are needed, given out to callers in turn, to each in the order of
/// asking.
#[derive(Debug)]
pub(crate) struct Pool {
    dialer: Arc<Dialer>,
    size: u32,
    places: Arc<Places>,
    idle: Mutex<Vec<Owned>>,
    parked: Parked,
    parked_for: Duration,
    waits: Waits,
    /// Those who wait for a connection of others, since the server takes no more.
    line: Line,
    /// Held by each connection that there is, so that they can be counted.
    alive: Arc<()>,
    /// Whether the server gave no answer at all when it was last looked at.
    is_silent: AtomicBool,
}

/// A connection and the place in the pool that it fills.
pub(crate) type Held = (Owned, OwnedPlace);

/// A connection with the statements prepared on it.
#[derive(Debug)]
pub(crate) struct Owned {
    session: Session,
    _alive: Arc<()>,
    /// By the number of the statement. An entry whose statement is gone is removed with the next one added.
    prepared: HashMap<u64, Kept>,
    /// The statement that sets what the database is to know of a caller.
    setter: Option<(Extent, Statement)>,
}

#[derive(Debug)]
struct Kept {
    owner: Weak<()>,
    epoch: u64,
    statement: Statement,
}

impl Pool {
    /// Makes a pool of at most `size` connections.
    pub(crate) fn new(dialer: Arc<Dialer>, size: usize) -> Arc<Self> {
        let bounds = LineBounds { waiting: MOST_WAITING, longest: dialer.connect_timeout() };
        let places = Arc::new(Places::new(size, bounds));
        let parked = Parked::new(size);
        let parked_for = PARKED_FOR.min(dialer.idle_timeout() / 2);
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        Arc::new(Self {
            dialer,
            size,
            places,
            idle: Mutex::default(),
            parked,
            parked_for,
            waits: Waits::default(),
            line: Line::default(),
            alive: Arc::default(),
            is_silent: AtomicBool::new(false),
        })
    }

    /// Says whether the server gives no answer at all. As long as it does not, nothing is waited for that a dropped call left
    /// behind.
    pub(crate) fn set_silent(&self, is_silent: bool) {
        self.is_silent.store(is_silent, Ordering::Relaxed);
    }

    /// Whether the server gave no answer at all when it was last looked at.
    pub(crate) fn is_silent(&self) -> bool {
        self.is_silent.load(Ordering::Relaxed)
    }

    /// Returns the open cursors that wait for their callers.
    pub(crate) fn parked(&self) -> &Parked {
        &self.parked
    }

    /// Returns how long one of them may wait: well before the server ends its transaction.
    pub(crate) fn parked_for(&self) -> Duration {
        self.parked_for
    }

    /// Returns the owner of this database's tasks.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        self.dialer.tasks()
    }

    /// Makes a lease of a connection that was detached from one.
    pub(crate) fn adopt(self: &Arc<Self>, held: Held) -> Lease {
        Lease { pool: Arc::clone(self), held: Some(held), state: State::Draining, undo: None }
    }

    /// Has a detached connection cleaned and given to whoever waits, by a task.
    pub(crate) fn undo(self: &Arc<Self>, held: Held) {
        drop(self.adopt(held));
    }

    /// Waits until nothing is left of calls that were dropped, at most for `within`: while the last of them are cancelled in
    /// the server, the process must not end.
    pub(crate) async fn settle(self: &Arc<Self>, within: Duration) {
        self.parked.clear(self);
        // Late or not, the process ends next.
        let _ = timeout(within, self.take_all()).await;
    }

    async fn take_all(self: &Arc<Self>) {
        let mut all = Vec::new();
        while all.len() < self.places.places() {
            match self.places.take_owned(OPERATOR).await {
                Ok(place) => all.push(place),
                Err(_) => sleep(LOOK_AGAIN).await,
            }
        }
    }

    /// Waits for a connection, at most as long as connecting may take, for work of the operator's own.
    ///
    /// # Errors
    /// As [`lease_for`](Self::lease_for).
    pub(crate) async fn lease(self: &Arc<Self>) -> Result<Lease, DatabaseError> {
        self.lease_as(|| OPERATOR).await
    }

    /// Waits for a connection, at most as long as connecting may take. Callers have their turns.
    ///
    /// # Errors
    /// [`DatabaseError::PoolExhausted`] when all are in use all the time, and at once while more callers come than can be
    /// served, [`DatabaseError::Full`] when there are fewer than may be, since the server takes no more, and none of them came
    /// back; [`DatabaseError::Unreachable`].
    pub(crate) async fn lease_for(self: &Arc<Self>, caller: &Caller) -> Result<Lease, DatabaseError> {
        self.lease_as(|| queue::who(caller)).await
    }

    async fn lease_as(self: &Arc<Self>, who: impl FnOnce() -> u64) -> Result<Lease, DatabaseError> {
        let place = self.place(who).await?;
        let idle = if self.line.is_empty() { self.take_idle() } else { None };
        let owned = match idle {
            Some(owned) => owned,
            None => Box::pin(self.open()).await?,
        };
        Ok(Lease { pool: Arc::clone(self), held: Some((owned, place)), state: State::Clean, undo: None })
    }

    /// Opens a connection, or waits for one of the others where the server takes no more.
    async fn open(self: &Arc<Self>) -> Result<Owned, DatabaseError> {
        if self.line.is_empty() {
            match self.dial().await {
                Err(DatabaseError::Full { .. }) if self.has_connections() => {}
                outcome => return outcome,
            }
        }
        let asked = Instant::now();
        let opened = self.stand_in_line().await;
        let waited = asked.elapsed();
        self.waits.note(waited);
        tracing::debug!(?waited, served = opened.is_ok(), "a call waited for a connection of a full server");
        opened
    }

    /// Waits until another gives its connection back or the server has room again, whichever comes first.
    async fn stand_in_line(self: &Arc<Self>) -> Result<Owned, DatabaseError> {
        let in_line = self.line.join();
        let _waiting = self.parked.make_way(self);
        let most = self.dialer.connect_timeout();
        let served = async {
            let _first = in_line.first().await;
            loop {
                let returned = in_line.returned();
                if let Some(owned) = self.take_idle() {
                    return Ok(owned);
                }
                // Most of the time this only tells what was found last.
                match self.dial().await {
                    Err(DatabaseError::Full { .. }) if self.has_connections() => {}
                    outcome => return outcome,
                }
                // In time or not, it is looked for again.
                let _ = timeout(LOOK_AGAIN, returned).await;
            }
        };
        match timeout(most, served).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.exhausted(most)),
        }
    }

    async fn dial(&self) -> Result<Owned, DatabaseError> {
        let session = self.dialer.dial(Lane::Exclusive).await?;
        Ok(Owned { session, _alive: Arc::clone(&self.alive), prepared: HashMap::new(), setter: None })
    }

    /// Whether there is a connection, in whoever's hands.
    fn has_connections(&self) -> bool {
        Arc::strong_count(&self.alive) > 1
    }

    /// Waits for a place, in turn with other callers.
    async fn place(self: &Arc<Self>, who: impl FnOnce() -> u64) -> Result<OwnedPlace, DatabaseError> {
        // One that is free while others wait is theirs already, so this overtakes nobody.
        if let Some(place) = self.places.try_take_owned() {
            return Ok(place);
        }
        let _waiting = self.parked.make_way(self);
        let asked = Instant::now();
        let place = self.places.take_owned(who()).await;
        let waited = asked.elapsed();
        self.waits.note(waited);
        self.waits.tell(waited, self.size, place.is_err());
        tracing::debug!(?waited, served = place.is_ok(), "a call waited for a connection");
        place.map_err(|_| self.exhausted(waited))
    }

    /// Says why no connection was had in all that time: all in use may also be because none of them can be opened.
    fn exhausted(&self, after: Duration) -> DatabaseError {
        let failed = self.dialer.failed_within(self.dialer.connect_timeout() * 2);
        failed.unwrap_or(DatabaseError::PoolExhausted { after })
    }

    /// Tells how long calls waited for a connection.
    pub(crate) fn waited(&self) -> PoolWait {
        self.waits.summary()
    }

    /// Returns how many connections there are and how many are in use.
    pub(crate) fn status(&self) -> PoolStatus {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        PoolStatus {
            size: self.size,
            // One is the pool's own.
            open: count(Arc::strong_count(&self.alive).saturating_sub(1)),
            in_use: count(self.places.in_use()),
            waited: self.waited(),
        }
    }

    fn take_idle(&self) -> Option<Owned> {
        let mut idle = self.idle();
        while let Some(owned) = idle.pop() {
            if owned.session.is_reusable() {
                return Some(owned);
            }
        }
        None
    }

    /// Takes a connection back, unless nobody should have it again.
    fn put_back(&self, owned: Owned) {
        if owned.session.is_reusable() {
            self.idle().push(owned);
            self.line.tell();
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Owned>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits out what a dropped call left behind; `true` when the connection is in a known state again.
    async fn recover(&self, owned: &Owned, state: State, undo: &str) -> bool {
        let client = owned.session.client();
        // All that was sent before is answered before this is.
        if state == State::Draining
            && let Ok(Ok(is_clean)) = timeout(DRAIN_WITHIN, clean(client)).await
        {
            return is_clean;
        }
        match self.end(&owned.session, undo).await {
            Some(Cancels::Taken) if state != State::Preparing => is_clean_again(&owned.session).await,
            Some(_) => false,
            None => {
                tracing::warn!(
                    "a statement that nobody waits for could not be cancelled; its own timeout will end it"
                );
                // The server may be gone, and the others with it.
                self.distrust_idle();
                false
            }
        }
    }

    /// Cancels what runs in a session until nothing does, and runs `undo`; `None` when that could not be done in time.
    ///
    /// Once is not always enough: a cancel that overtakes the statement on its way finds the session idle and is forgotten.
    async fn end(&self, session: &Session, undo: &str) -> Option<Cancels> {
        // Answered when the statement has ended, so that the place in the pool is given away only then: the database never
        // runs more statements than it has places.
        let mut ended = pin!(session.client().batch_execute(undo));
        let mut again = CANCEL_AGAIN;
        let cancelled = async {
            let mut cancels = Cancels::Taken;
            loop {
                if !matches!(timeout(self.dialer.connect_timeout(), session.cancel()).await, Ok(Ok(()))) {
                    tracing::debug!("a cancel may not have been delivered");
                    cancels = Cancels::Unknown;
                }
                if timeout(again, &mut ended).await.is_ok() {
                    return cancels;
                }
                again *= 2;
            }
        };
        timeout(END_WITHIN, cancelled).await.ok()
    }

    /// Closes all connections that wait for a caller, because one was found closed and the others may be too.
    pub(crate) fn distrust_idle(&self) {
        self.idle().clear();
    }
}

/// What is known of the cancels that were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cancels {
    /// The server has signalled the session for each of them.
    Taken,
    /// One of them may still arrive, and would then hit whatever runs.
    Unknown,
}

/// Whether the next caller may have a session in which a statement was cancelled.
///
/// The server had signalled the session before it closed the connection that the cancel came on. A signal that finds the
/// session waiting for a command is forgotten, and one that came late stops what is asked here and nothing after it.
/// Through a pooler nothing is known of when.
async fn is_clean_again(session: &Session) -> bool {
    if session.is_pooled() {
        return false;
    }
    for _ in 0..2 {
        match timeout(CLEAN_WITHIN, clean(session.client())).await {
            Ok(Ok(is_clean)) => return is_clean,
            Ok(Err(error)) if is_timeout(&error) => {}
            _ => return false,
        }
    }
    false
}

/// What a leased connection is left in if the lease is dropped now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was sent, or all was answered and undone.
    Clean,
    /// Something is being prepared; the driver may lose sight of it.
    Preparing,
    /// A statement may be running.
    Running,
    /// Rows that nobody wants may still come.
    Draining,
}

/// A connection in one caller's hands. Dropped in the middle of a statement, it has that cancelled by a task of the
/// database's own, which gives it back when no cancel can arrive any more, and else closes it.
#[derive(Debug)]
pub(crate) struct Lease {
    pool: Arc<Pool>,
    held: Option<Held>,
    state: State,
    /// What undoes a statement that is dropped; by itself its transaction is rolled back.
    undo: Option<Box<str>>,
}

impl Lease {
    /// Returns the connection; an error only after [`Lease::close`].
    ///
    /// # Errors
    /// [`DatabaseError::Unreachable`].
    pub(crate) fn session(&self) -> Result<&Session, DatabaseError> {
        match &self.held {
            Some((owned, _)) => Ok(&owned.session),
            None => Err(self.pool.dialer.unreachable("the connection was closed".to_owned())),
        }
    }

    /// Says that a statement is about to be prepared.
    pub(crate) fn begin(&mut self) {
        self.state = State::Preparing;
    }

    /// Says that only prepared statements are sent from now on.
    pub(crate) fn run(&mut self) {
        self.state = State::Running;
    }

    /// Says that everything sent was answered and undone or committed.
    pub(crate) fn finish(&mut self) {
        self.state = State::Clean;
    }

    /// Says that no further row is wanted, though some may come.
    pub(crate) fn drain(&mut self) {
        self.state = State::Draining;
    }

    /// Says what undoes the statements of this lease should it be dropped in the middle of one, to be sent as one simple
    /// query; the rollback is part of it.
    pub(crate) fn undo_with(&mut self, undo: String) {
        self.undo = Some(undo.into());
    }

    /// Closes the connection, whose state nobody knows.
    pub(crate) fn close(&mut self) {
        if let Some((owned, _)) = self.held.take() {
            owned.session.sever();
        }
    }

    /// Takes the connection out as it is, to be adopted later; `None` after [`Lease::close`].
    pub(crate) fn detach(&mut self) -> Option<Held> {
        self.held.take()
    }

    /// Returns the statement as prepared on this connection.
    pub(crate) fn prepared(&self, statement: &PostgresStatement) -> Option<Statement> {
        let (owned, _) = self.held.as_ref()?;
        let kept = owned.prepared.get(&statement.id).filter(|kept| kept.epoch == statement.epoch())?;
        Some(kept.statement.clone())
    }

    /// Returns the statement that sets what the database is to know of a caller, if this connection has one for that much.
    pub(crate) fn setter(&self, extent: Extent) -> Option<Statement> {
        let (owned, _) = self.held.as_ref()?;
        let (_, statement) = owned.setter.as_ref().filter(|(kept, _)| *kept == extent)?;
        Some(statement.clone())
    }

    /// Keeps that statement.
    pub(crate) fn keep_setter(&mut self, extent: Extent, statement: Statement) {
        if let Some((owned, _)) = &mut self.held {
            owned.setter = Some((extent, statement));
        }
    }

    /// Keeps a prepared form as long as the statement lives.
    pub(crate) fn keep(&mut self, of: &PostgresStatement, epoch: u64, statement: Statement) {
        if let Some((owned, _)) = &mut self.held {
            owned.prepared.retain(|_, kept| kept.owner.strong_count() > 0);
            owned.prepared.insert(of.id, Kept { owner: Arc::downgrade(&of.owner), epoch, statement });
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some((owned, place)) = self.held.take() else { return };
        if !owned.session.is_open() {
            return;
        }
        let pool = Arc::clone(&self.pool);
        let undo = self.undo.take();
        match (self.state, Handle::try_current()) {
            (State::Clean, _) => pool.put_back(owned),
            // Outside a runtime nothing can be waited for: the server ends the session with the connection.
            (_, Err(_)) => owned.session.sever(),
            (_, Ok(handle)) if pool.is_silent() => {
                // Nobody knows when it would answer, and others need the place. The cancel is read once it goes on.
                owned.session.sever();
                let cancel = timeout(pool.dialer.connect_timeout(), owned.session.cancel());
                pool.dialer.tasks().spawn_on(cancel, &handle);
            }
            (state, Ok(handle)) => {
                let tasks = pool.dialer.tasks().clone();
                tasks.spawn_on(
                    async move {
                        let undo = undo.as_deref().unwrap_or("rollback");
                        if pool.recover(&owned, state, undo).await {
                            pool.put_back(owned);
                        } else {
                            owned.session.sever();
                        }
                        drop(place);
                    },
                    &handle,
                );
            }
        }
    }
}

/// How long a result that is not wanted to its end may still come before it is cancelled, which costs the connection.
const DRAIN_WITHIN: Duration = Duration::from_millis(20);

/// How long the first cancel has to work before another is sent; doubled each time.
const CANCEL_AGAIN: Duration = Duration::from_millis(100);

/// How long a session in which a statement was cancelled may take to be as it was.
const CLEAN_WITHIN: Duration = Duration::from_millis(500);

/// Most callers who wait for a place: as many as a whole server has in hand by default. While more come than can be served it
/// is far fewer.
const MOST_WAITING: usize = 1024;

/// Whose turn it is when nobody called.
const OPERATOR: u64 = 0;

/// How often the first in line looks whether the server has room again. Most of these looks ask nobody.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How long a cancelled statement may take to end before its place in the pool is given away all the same.
const END_WITHIN: Duration = Duration::from_secs(5);
