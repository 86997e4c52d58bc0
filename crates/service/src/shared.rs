//! What changes and every node must know, behind one trait; [`InMemory`] keeps it for the nodes of one process, `InRedis` (with
//! the feature `redis`) for those that share a store.
//!
//! Four kinds of things: what became of a legacy session, the log of changes that subscriptions follow, topics (bounded logs
//! that exist while somebody needs them: replay buffers, answers to parked requests), and cells (small values written by
//! compare-and-set: tasks). Everything is bounded and expires.

mod cells;
mod log;
mod memory;
#[cfg(feature = "redis")]
mod redis;
mod sessions;

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::num::NonZeroU64;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use trunkline_protocol::LogLevel;

use crate::caller::Caller;
use crate::seal::fingerprint;

pub use memory::InMemory;
#[cfg(feature = "redis")]
pub use redis::InRedis;

/// A boxed future of something shared.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// State that all nodes of an endpoint share.
///
/// # Cancel safety
/// A dropped future may or may not have done its work.
pub trait Shared: Send + Sync + fmt::Debug + 'static {
    /// Remembers that a session was ended, until its id would have expired anyway (seconds since 1970).
    ///
    /// Comes to `false` when it already was. Fails with [`NoRoom`] when too many are remembered already, or nothing can be
    /// remembered now: the session goes on.
    fn end_session(&self, session: u128, expires: u64) -> Later<'_, Result<bool, NoRoom>>;

    /// Tells whether a session was ended. Asked for every call of a session: answered from this node's memory.
    fn is_ended(&self, session: u128) -> bool;

    /// Tells whether this node would know by now if a session that began then (seconds since 1970) had been ended elsewhere; not
    /// when it has heard nothing of the other nodes for too long since.
    fn vouches_for(&self, began: u64) -> bool {
        let _ = began;
        true
    }

    /// Returns what a session set, if it set anything. Asked for every call of a session: answered from this node's memory.
    fn settings(&self, session: u128) -> Option<Arc<Settings>>;

    /// Changes what a session set, until its id expires (seconds since 1970), and announces [`Change::Session`].
    ///
    /// Fails with [`NoRoom`] when too much is set already.
    fn change_settings(
        &self,
        session: u128,
        expires: u64,
        change: SettingsChange,
    ) -> Later<'_, Result<(), NoRoom>>;

    /// Tells everybody on every node who follows changes of that kind, soon and without a promise.
    fn announce(&self, change: Change);

    /// Follows the changes of lists and resources, each message one [`Change`] as JSON: what comes after the position
    /// `after`, or from now on.
    fn changes(&self, after: Option<u64>) -> Box<dyn Follow>;

    /// Follows, from now on, the changes of legacy sessions, of this one at least.
    fn session_changes(&self, session: u128) -> Box<dyn Follow>;

    /// Follows the changes of tasks from now on.
    fn task_changes(&self) -> Box<dyn Follow>;

    /// Opens a topic, so that it takes messages; nothing when it is open already. Fails with [`NoRoom`] when too many are.
    fn open(&self, topic: Topic, keep: Keep) -> Later<'_, Result<(), NoRoom>>;

    /// Appends to a topic and returns the position; `None` when nobody opened it, or it was closed. After [`Away`] it may have
    /// been appended all the same.
    fn append(&self, topic: Topic, message: Bytes) -> Later<'_, Result<Option<u64>, Away>>;

    /// Follows a topic: what comes after the position `after` (zero for all that is kept), or from now on. `None` when it does
    /// not exist (any more).
    fn follow(&self, topic: Topic, after: Option<u64>) -> Later<'_, Result<Option<Box<dyn Follow>>, Away>>;

    /// Closes a topic: no message is taken any more, what is kept can be read until its time is over.
    fn close(&self, topic: Topic);

    /// Reads a cell: its version and value.
    fn get(&self, cell: &Cell) -> Later<'_, Result<Option<(u64, Bytes)>, Away>>;

    /// Writes a cell if its version is `expected` (zero: it must not exist), to be forgotten at `expires_ms` (milliseconds since
    /// 1970). Returns the new version. After [`PutError::Away`] it may have been written all the same.
    fn put(
        &self,
        cell: &Cell,
        expected: u64,
        value: Bytes,
        expires_ms: u64,
    ) -> Later<'_, Result<u64, PutError>>;

    /// Removes a cell.
    fn remove(&self, cell: &Cell) -> Later<'_, Result<(), Away>>;
}

/// Nothing more can be remembered for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// Of anybody, or what is shared is not reached.
    #[error("too much is remembered already; try again later")]
    OfAll,
    /// Of this session or of its caller, who may have a part of the room alone.
    #[error(
        "as much is remembered of you as of one caller may be; try again when sessions of yours have expired"
    )]
    OfCaller,
}

/// Makes the number of a legacy session. Its first 64 bits are those of all sessions of one caller, by which what is remembered of
/// them is bounded together, on every node; `own`, which is random, tells them apart.
///
/// The local user is everybody where nobody proves who they are: zero, without a bound of their own.
#[must_use]
pub fn session_number(caller: &Caller, own: u64) -> u128 {
    let digest = fingerprint([&b"sessions of"[..], &caller.identity()]);
    let owner = digest.first_chunk().map_or(1, |first| u64::from_be_bytes(*first).max(1));
    let owner = if caller.is_local { 0 } else { owner };
    u128::from(owner) << 64 | u128::from(own)
}

/// The part of a session's number that all sessions of its caller have; `None` for the local user.
pub(crate) fn owner(session: u128) -> Option<NonZeroU64> {
    u64::try_from(session >> 64).ok().and_then(NonZeroU64::new)
}

/// Where nodes keep what they share is not reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what the nodes share is not reached; try again later")]
pub struct Away;

/// Why a cell was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// Somebody else wrote it first, or it is gone.
    #[error("the cell has another version")]
    Conflict,
    /// Nothing more can be remembered for now.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// It may have been written or not.
    #[error(transparent)]
    Away(#[from] Away),
}

/// Something that subscriptions may be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Change {
    /// The list of tools is another.
    Tools,
    /// The list of prompts is another.
    Prompts,
    /// The list of resources, or of their templates, is another.
    Resources,
    /// The resource of that URI reads differently now.
    Resource(Box<str>),
    /// The task of that id is in another state.
    Task(Box<str>),
    /// A legacy session changed its settings or was ended, when the log of [`changes`](Shared::changes) had come to that
    /// position.
    Session(u128, u64),
    /// The call of that id (raw JSON) in a legacy session was cancelled, at a node where it does not run.
    Cancel(u128, Box<str>),
}

impl Change {
    /// Returns the change as it stands in the log.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        // Names and strings: nothing here can fail to be written.
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// Reads a change from the log.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

/// A log that exists while somebody needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Topic {
    /// What left on one resumable stream of a legacy session: the session's number and the stream's.
    Stream(u128, u128),
    /// The answer to one request that was put to a legacy client: the session's number and the request's.
    Answer(u128, u128),
    /// Word to the node that runs a task.
    Task(u128),
}

impl Topic {
    /// The legacy session it belongs to, if it belongs to one.
    pub(crate) fn session(&self) -> Option<u128> {
        match self {
            Self::Stream(session, _) | Self::Answer(session, _) => Some(*session),
            Self::Task(_) => None,
        }
    }
}

/// How much of a topic is kept, and for how long after it was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Most messages; the oldest go first.
    pub messages: usize,
    /// Most bytes; the oldest go first, but the last one is always kept.
    pub bytes: usize,
    /// How long it can be read after it was closed.
    pub closed_for: Duration,
    /// How long it exists at most, closed or not.
    pub at_most: Duration,
}

/// The name of a cell.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cell {
    /// What kind of thing it holds.
    pub space: Space,
    /// Which one, at most 64 bytes.
    pub id: Box<[u8]>,
}

/// What kind of thing a cell holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Space {
    /// A task of the extension `io.modelcontextprotocol/tasks`.
    Task,
}

/// What a legacy session set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The lowest level of log messages it wants; `None`: it did not say.
    pub level: Option<LogLevel>,
    /// The resources it wants to hear of.
    pub subscriptions: BTreeSet<Box<str>>,
}

/// One change of what a legacy session set.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingsChange {
    /// `logging/setLevel`.
    Level(LogLevel),
    /// `resources/subscribe`.
    Subscribe(Box<str>),
    /// `resources/unsubscribe`.
    Unsubscribe(Box<str>),
}

/// A reader of a log.
pub trait Follow: Send {
    /// Waits for the next message.
    ///
    /// # Cancel safety
    /// Nothing is skipped when the future is dropped.
    fn next(&mut self) -> Later<'_, Followed>;
}

/// What a reader of a log comes upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// A message and its position.
    Message(u64, Bytes),
    /// Messages were dropped before they were read; reading goes on after this position.
    Lagged(u64),
    /// The log was closed and all of it is read.
    Closed,
}
