//! A response body that is a stream of events, and the comments that keep it open while there is nothing to say.

use std::fmt;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::BoxStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};
use trunkline_service::Event;

use super::answer::Work;
use crate::legacy::replay;
use crate::outgoing::{Leaving, Outgoing, Watch};

/// How often a silent stream says that it is still there: before proxies that close after 60 seconds of silence, or 30.
const BEAT: Duration = Duration::from_secs(15);
const COMMENT: &[u8] = b":\n\n";

/// A stream of events.
pub struct Events {
    source: Source,
    beat: Beat,
    watch: Watch,
}

/// Where the events come from.
enum Source {
    /// One request: what `receiver` brings, then what `work` comes to. Dropping it cancels the request.
    Call {
        first: Option<Bytes>,
        receiver: mpsc::Receiver<Event>,
        work: Work,
    },
    /// Whole events, already written.
    Written(BoxStream<'static, Bytes>),
    /// The last one, which is large.
    Last(Leaving),
    Ended,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("ended", &self.is_ended()).finish_non_exhaustive()
    }
}

impl Events {
    /// Streams one request that runs as the stream is read.
    pub(super) fn of_call(first: Bytes, receiver: mpsc::Receiver<Event>, work: Work) -> Self {
        Self {
            source: Source::Call { first: Some(first), receiver, work },
            beat: Beat::default(),
            watch: Watch::default(),
        }
    }

    /// Streams events that are already written. None of them is empty.
    pub(super) fn written(events: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        Self::watched(events, Watch::default())
    }

    /// The same, with what tells how much of a large one waits for its reader.
    pub(super) fn watched(events: impl Stream<Item = Bytes> + Send + 'static, watch: Watch) -> Self {
        Self { source: Source::Written(Box::pin(events)), beat: Beat::default(), watch }
    }

    /// Returns what tells how much waits for its reader.
    pub(super) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Tells whether nothing comes any more.
    pub(super) fn is_ended(&self) -> bool {
        matches!(self.source, Source::Ended)
    }

    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match self.source.poll_next(context, &self.watch) {
            Poll::Ready(next) => {
                self.beat.told = true;
                Poll::Ready(next)
            }
            Poll::Pending => {
                ready!(self.beat.poll(context));
                Poll::Ready(Some(Bytes::from_static(COMMENT)))
            }
        }
    }
}

impl Source {
    fn poll_next(&mut self, context: &mut Context<'_>, watch: &Watch) -> Poll<Option<Bytes>> {
        let (last, mut receiver) = match self {
            Self::Ended => return Poll::Ready(None),
            Self::Last(leaving) => {
                let next = leaving.next();
                if leaving.left() == 0 {
                    *self = Self::Ended;
                }
                return Poll::Ready(next);
            }
            Self::Written(events) => {
                let next = ready!(events.as_mut().poll_next(context));
                if next.is_none() {
                    *self = Self::Ended;
                }
                return Poll::Ready(next);
            }
            Self::Call { first, receiver, work } => {
                if let Some(first) = first.take() {
                    return Poll::Ready(Some(replay::event(None, &first).into()));
                }
                while let Poll::Ready(Some(event)) = receiver.poll_recv(context) {
                    if let Some(message) = message_of(event) {
                        return Poll::Ready(Some(replay::event(None, &message).into()));
                    }
                }
                let last = ready!(work.as_mut().poll(context));
                let Self::Call { receiver, .. } = std::mem::replace(self, Self::Ended) else {
                    return Poll::Ready(None);
                };
                (last, receiver)
            }
        };
        // What was reported while the work ended goes out before its result, and nothing after it.
        let mut out = Vec::new();
        while let Ok(event) = receiver.try_recv() {
            if let Some(message) = message_of(event) {
                out.extend_from_slice(&replay::event(None, &message));
            }
        }
        match last.message {
            message if message.is_empty() => {}
            Outgoing::Whole(message) => out.extend_from_slice(&replay::event(None, &message)),
            large => {
                let mut leaving = replay::leaving(None, large);
                watch.begin(leaving.left());
                let next = if out.is_empty() { leaving.next() } else { Some(out.into()) };
                *self = Self::Last(leaving);
                return Poll::Ready(next);
            }
        }
        Poll::Ready((!out.is_empty()).then(|| out.into()))
    }
}

/// The message in an event, if it has one.
pub(super) fn message_of(event: Event) -> Option<Bytes> {
    match event {
        Event::Message(message) | Event::Positioned(message, _) => Some(message),
        _ => None,
    }
}

/// One timer a stream, set anew when it fires and not for every event: thousands of streams cost nothing but its memory.
#[derive(Default)]
struct Beat {
    timer: Option<Pin<Box<Sleep>>>,
    /// Something was said since the timer was set.
    told: bool,
}

impl Beat {
    /// Becomes ready after a beat, or nearly two, in which nothing was said.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(BEAT)));
        loop {
            ready!(timer.as_mut().poll(context));
            timer.as_mut().reset(Instant::now() + BEAT);
            if !std::mem::take(&mut self.told) {
                return Poll::Ready(());
            }
        }
    }
}
