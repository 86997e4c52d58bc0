//! Topics in the store: lists of sealed messages, read by whoever follows them, who is woken by what is published.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{sleep, timeout};

use super::super::{Away, Follow, Followed, Keep, Later, NoRoom, Topic};
use super::{Core, SEAL, scripts};
use crate::store::{Subscription, Value};

/// Most topics at a time.
const MAX_TOPICS: usize = 16_384;
/// Most bytes of all of them: over it a topic keeps its last message only, and none is opened.
const MAX_BYTES: usize = 64 << 20;
/// Most topics of one legacy session at a time, so that one client does not take the room of all.
const MAX_OF_SESSION: usize = 128;
/// Most topics of all sessions of one caller at a time.
const MAX_OF_CALLER: usize = MAX_TOPICS / 4;
/// Most bytes of those: over it they keep their last messages only, and none is opened.
const MAX_BYTES_OF_CALLER: usize = MAX_BYTES / 4;
/// What callers have of the topics.
const OWNERS: &[u8] = b"topics:owners";
/// Most messages read at a time.
const BATCH: usize = 32;
/// Of so many bytes none further is read at that time.
const BATCH_BYTES: usize = 1 << 20;
/// How long nothing is heard before a topic is looked at all the same: while news come, and while none do.
const LOOK: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(1));
/// How long a topic is left alone after the store did not answer.
const REST: Duration = Duration::from_millis(200);

/// The names that belong to one topic.
struct Names {
    topic: Vec<u8>,
    list: Vec<u8>,
    session: Vec<u8>,
    channel: String,
    has_session: bool,
}

impl Names {
    fn new(topic: Topic) -> Self {
        let name = match topic {
            Topic::Stream(session, stream) => format!("topic:s:{session:032x}:{stream:032x}"),
            Topic::Answer(session, question) => format!("topic:a:{session:032x}:{question:032x}"),
            Topic::Task(task) => format!("topic:t:{task:032x}"),
        };
        let session = topic.session();
        Self {
            list: format!("{name}:list").into_bytes(),
            topic: name.clone().into_bytes(),
            session: session
                .map_or_else(|| "topics:of".to_owned(), |session| format!("topics:of:{session:032x}"))
                .into_bytes(),
            channel: name,
            has_session: session.is_some(),
        }
    }
}

impl Core {
    pub(super) async fn open_topic(&self, topic: Topic, keep: Keep) -> Result<(), NoRoom> {
        let names = Names::new(topic);
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX).min(1 << 40);
        let numbers = [
            keep.messages as u64,
            keep.bytes as u64,
            millis(keep.closed_for),
            millis(keep.at_most),
            MAX_TOPICS as u64,
            MAX_BYTES as u64,
            MAX_OF_SESSION as u64,
            u64::from(names.has_session),
            MAX_OF_CALLER as u64,
            MAX_BYTES_OF_CALLER as u64,
        ]
        .map(|number| number.to_string());
        let keys: [&[u8]; 6] =
            [&names.topic, b"topics", b"topics:size", b"topics:bytes", &names.session, OWNERS];
        let args: Vec<&[u8]> =
            std::iter::once(&*names.topic).chain(numbers.iter().map(String::as_bytes)).collect();
        let answer = self.store.run(&scripts::OPEN, &keys, &args).await;
        match answer.map_err(Away::from).map(|answer| answer.as_int()) {
            Ok(Some(1)) => Ok(()),
            Ok(Some(-2)) => Err(NoRoom::OfCaller),
            _ => Err(NoRoom::OfAll),
        }
    }

    pub(super) async fn append(&self, topic: Topic, message: &[u8]) -> Result<Option<u64>, Away> {
        let names = Names::new(topic);
        let sealed = self.seal(&names.topic, message)?;
        let channel = names.channel.as_bytes();
        let keys: [&[u8]; 6] = [&names.topic, &names.list, b"topics:size", b"topics:bytes", channel, OWNERS];
        let numbers = [SEAL, MAX_BYTES, MAX_BYTES_OF_CALLER].map(|number| number.to_string());
        let [seal, most, of_caller] = numbers.each_ref().map(String::as_bytes);
        let args = [&*names.topic, &sealed, seal, most, of_caller];
        let answer = self.store.run(&scripts::APPEND, &keys, &args).await?;
        let position = answer.as_int().and_then(|position| u64::try_from(position).ok()).ok_or(Away)?;
        Ok(Some(position).filter(|position| *position > 0))
    }

    pub(super) async fn close_topic(&self, topic: Topic) -> Result<(), Away> {
        let names = Names::new(topic);
        let keys: [&[u8]; 8] = [
            &names.topic,
            &names.list,
            b"topics",
            b"topics:size",
            b"topics:bytes",
            &names.session,
            names.channel.as_bytes(),
            OWNERS,
        ];
        self.store.run(&scripts::CLOSE, &keys, &[&names.topic]).await?;
        Ok(())
    }

    /// Reads what a topic has after a position; `None` when it does not exist (any more).
    async fn read(&self, names: &Names, after: Option<u64>) -> Result<Option<Batch>, Away> {
        let after = after.map_or_else(|| "-1".to_owned(), |after| after.min(1 << 52).to_string());
        let (batch, bytes) = (BATCH.to_string(), BATCH_BYTES.to_string());
        let keys: [&[u8]; 2] = [&names.topic, &names.list];
        let args = [after.as_bytes(), batch.as_bytes(), bytes.as_bytes()];
        let answer = self.store.run(&scripts::READ, &keys, &args).await?;
        if answer.is_nil() {
            return Ok(None);
        }
        let Some([last, closed, before, messages @ ..]) = answer.as_array() else { return Err(Away) };
        let number = |value: &Value| value.as_int().and_then(|number| u64::try_from(number).ok()).ok_or(Away);
        Ok(Some(Batch {
            last: number(last)?,
            is_closed: number(closed)? == 1,
            before: number(before)?,
            messages: messages.iter().filter_map(Value::as_bytes).cloned().collect(),
        }))
    }
}

/// Some messages of a topic.
struct Batch {
    /// The position of the last message there is.
    last: u64,
    is_closed: bool,
    /// The position before the first one here.
    before: u64,
    messages: Vec<Bytes>,
}

/// Follows a topic, on whatever node it is written.
pub(super) async fn follow(
    core: &Arc<Core>,
    topic: Topic,
    after: Option<u64>,
) -> Result<Option<Box<dyn Follow>>, Away> {
    let names = Names::new(topic);
    // From before it is read, so that nothing falls in between.
    let news = core.store.subscribe(&names.channel);
    let Some(batch) = core.read(&names, after).await? else { return Ok(None) };
    let read = match after {
        None => batch.last,
        // A position that was never reached belongs to another topic: begin with what is there.
        Some(after) => {
            if after > batch.last {
                0
            } else {
                after
            }
        }
    };
    let mut reader =
        TopicReader { core: Arc::clone(core), names, news, read, ready: VecDeque::new(), is_over: false };
    reader.take(batch);
    Ok(Some(Box::new(reader)))
}

/// A place in a topic.
struct TopicReader {
    core: Arc<Core>,
    names: Names,
    news: Subscription,
    /// The position of the last message that was read from the store.
    read: u64,
    /// What was read and not told yet.
    ready: VecDeque<Followed>,
    /// Whether nothing comes after what is ready.
    is_over: bool,
}

impl TopicReader {
    fn take(&mut self, batch: Batch) {
        if batch.before > self.read {
            self.ready.push_back(Followed::Lagged(batch.before));
            self.read = batch.before;
        }
        for sealed in batch.messages {
            self.read += 1;
            self.ready.push_back(match self.core.open(&self.names.topic, &sealed) {
                Some(message) => Followed::Message(self.read, message.into()),
                // One that is not ours to read is as good as dropped.
                None => Followed::Lagged(self.read),
            });
        }
        self.is_over = batch.is_closed && self.read >= batch.last;
    }
}

impl Follow for TopicReader {
    fn next(&mut self) -> Later<'_, Followed> {
        Box::pin(async move {
            loop {
                if let Some(ready) = self.ready.pop_front() {
                    return ready;
                }
                if self.is_over {
                    return Followed::Closed;
                }
                match self.core.read(&self.names, Some(self.read)).await {
                    Ok(Some(batch)) => self.take(batch),
                    Ok(None) => self.is_over = true,
                    Err(Away) => sleep(REST).await,
                }
                if self.ready.is_empty() && !self.is_over {
                    let look = if self.news.is_live() { LOOK.0 } else { LOOK.1 };
                    // Whatever is heard, or nothing for long enough, is a reason to look.
                    let _ = timeout(look, self.news.next()).await;
                }
            }
        })
    }
}
