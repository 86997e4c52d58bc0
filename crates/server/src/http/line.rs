//! The way from a call of a session to its connection: straight while there is one, and kept aside all the while so that a
//! client that lost the connection takes the stream up again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::mpsc;
use trunkline_protocol::Revision;
use trunkline_service::Event;
use trunkline_service::seal::random;
use trunkline_service::shared::{Shared, Topic};

use super::answer::Done;
use super::events::message_of;
use crate::legacy::Session;
use crate::legacy::replay::{self, KEEP, Place};
use crate::outgoing::{LARGE, Leaving, Watch};

/// How long a reader may keep a call waiting before its connection is given up, where it can take the stream up again.
const STALL: Duration = Duration::from_secs(30);
/// Pieces that wait for the connection.
const QUEUE: usize = 4;

/// What goes to the connection.
#[derive(Debug)]
pub(super) enum Piece {
    /// The stream begins although there is nothing to say yet.
    Begin(Bytes),
    /// An event.
    Event(Bytes),
    /// The end of the call, with the place of its message in the stream.
    End(Option<Place>, Done),
}

/// The sending side.
pub(super) struct Line {
    shared: Arc<dyn Shared>,
    session: u128,
    revision: Revision,
    kind: Kind,
    connection: Option<mpsc::Sender<Piece>>,
}

/// What a client can do about a lost stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It did not begin.
    Unbegun,
    /// What is said is kept under that number.
    Kept(u128),
    /// Nothing: it is not kept.
    Plain,
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Kind::Kept(stream) = self.kind {
            self.shared.close(Topic::Stream(self.session, stream));
        }
    }
}

impl Line {
    /// Makes both ends of a line.
    pub(super) fn new(shared: &Arc<dyn Shared>, session: &Session) -> (Self, mpsc::Receiver<Piece>) {
        let (sender, pieces) = mpsc::channel(QUEUE);
        let line = Self {
            shared: Arc::clone(shared),
            session: session.number,
            revision: session.revision,
            kind: Kind::Unbegun,
            connection: Some(sender),
        };
        (line, pieces)
    }

    /// Tells whether the stream began.
    pub(super) fn has_begun(&self) -> bool {
        self.kind != Kind::Unbegun
    }

    /// Begins the stream, if it did not yet.
    pub(super) async fn begin(&mut self) {
        if self.has_begun() {
            return;
        }
        self.kind = self.keep().await;
        let first = match self.kind {
            // An id to come back with from the start. Spec: 2025-11-25 basic/transports#sending-messages-to-the-server.
            Kind::Kept(stream) if self.revision >= Revision::V2025_11_25 => {
                replay::priming(Place::Call(stream, 0)).into()
            }
            _ => Bytes::from_static(b":\n\n"),
        };
        self.send(Piece::Begin(first)).await;
    }

    /// Keeps the stream from now on, unless nobody could come back to it.
    async fn keep(&self) -> Kind {
        let is_connected = self.connection.as_ref().is_some_and(|connection| !connection.is_closed());
        let mut number = [0; 16];
        if !is_connected || random(&mut number).is_err() {
            return Kind::Plain;
        }
        let stream = u128::from_be_bytes(number);
        match self.shared.open(Topic::Stream(self.session, stream), KEEP).await {
            Ok(()) => Kind::Kept(stream),
            Err(_) => Kind::Plain,
        }
    }

    /// Says what the call tells.
    pub(super) async fn tell(&mut self, event: Event) {
        self.begin().await;
        if matches!(event, Event::CloseStream) {
            if self.revision >= Revision::V2025_11_25 && matches!(self.kind, Kind::Kept(_)) {
                self.connection = None;
            }
            return;
        }
        let Some(message) = message_of(event) else { return };
        let place = self.append(&message).await;
        self.send(Piece::Event(replay::event(place, &message).into())).await;
    }

    /// Says what the call came to.
    pub(super) async fn end(mut self, mut done: Done) {
        let place = if done.message.is_empty() || self.kind == Kind::Unbegun {
            None
        } else {
            self.append(&done.message.share()).await
        };
        self.send(Piece::End(place, done)).await;
    }

    async fn append(&mut self, message: &Bytes) -> Option<Place> {
        let Kind::Kept(stream) = self.kind else { return None };
        let topic = Topic::Stream(self.session, stream);
        match self.shared.append(topic, message.clone()).await {
            Ok(position) => Some(Place::Call(stream, position?)),
            // Who came back to it would miss this message without a word: it is kept no longer.
            Err(_) => {
                self.shared.close(topic);
                self.kind = Kind::Plain;
                None
            }
        }
    }

    /// Hands a piece to the connection, waiting for its reader; a lost connection is forgotten.
    async fn send(&mut self, piece: Piece) {
        let Some(connection) = &self.connection else { return };
        let is_open = match self.kind {
            Kind::Kept(_) => matches!(tokio::time::timeout(STALL, connection.send(piece)).await, Ok(Ok(()))),
            _ => connection.send(piece).await.is_ok(),
        };
        if !is_open {
            self.connection = None;
        }
    }
}

/// The stream of events that the pieces are, `first` being the first of them. `watch` is told of a large one.
pub(super) fn stream(
    first: Piece,
    pieces: mpsc::Receiver<Piece>,
    watch: Watch,
) -> impl Stream<Item = Bytes> + Send + 'static {
    let state = (Some(first), Leaving::default(), pieces);
    futures_util::stream::unfold((state, watch), |((first, mut leaving, mut pieces), watch)| async move {
        if let Some(next) = leaving.next() {
            return Some((next, ((first, leaving, pieces), watch)));
        }
        let piece = match first {
            Some(first) => first,
            None => pieces.recv().await?,
        };
        match piece {
            Piece::Begin(bytes) | Piece::Event(bytes) => Some((bytes, ((None, leaving, pieces), watch))),
            Piece::End(_, done) if done.message.is_empty() => None,
            Piece::End(place, done) if done.message.len() <= LARGE => {
                let event = replay::event(place, &done.message.into_whole());
                Some((event.into(), ((None, leaving, pieces), watch)))
            }
            Piece::End(place, done) => {
                leaving = replay::leaving(place, done.message);
                watch.begin(leaving.left());
                leaving.next().map(|next| (next, ((None, leaving, pieces), watch)))
            }
        }
    })
}
