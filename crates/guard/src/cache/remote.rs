//! What nodes share in the store: kept answers, and the generations of tags, which decide whether an answer holds.
//!
//! Generations there rise with the store's own clock, so that one which was lost (the store was emptied, or another took over that had
//! not heard of the last change) comes back higher than all before it. Whoever reads tells which ones it knows, and a store that knows
//! less learns them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use tokio::sync::{Notify, Semaphore};
use trunkline_service::seal::{Sealer, random};
use trunkline_service::store::{Event, Script, Store, StoreError, Subscription, Value};

use super::key::Key;
use super::tags::{Stamps, Tag, Tags};

/// Most answers on their way to the store.
const MOST_WRITES: usize = 64;
/// Tags in one question to the store.
const AT_ONCE: usize = 256;
/// The pause before the store is asked again for what it could not tell.
const PAUSE: Duration = Duration::from_millis(200);
/// The channel on which nodes tell each other of changes.
const CHANNEL: &str = "cache:changes";

/// The store as a node uses it for what it keeps.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) store: Store,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) writes: Arc<Semaphore>,
    /// Tells this node's messages from those of others.
    node: Box<str>,
    /// All generations are known as they are in the store, and changes are heard since.
    is_synced: AtomicBool,
    retry: Notify,
}

/// What the store has under a key.
pub(crate) struct Read {
    /// The sealed answer, and how much time is left.
    pub(crate) value: Option<(Bytes, Duration)>,
    /// The generations as they were at the same moment.
    pub(crate) stamps: Stamps,
}

// Each generation is the larger one of what the store has and what the node knows; where the store has none, it begins anew above all
// that was. Numbers are microseconds since 1970, which Lua's doubles hold exactly until the year 2255.
static READ: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local time = redis.call('TIME')\n\
         local clock = time[1] * 1000000 + time[2]\n\
         local answer = {redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])}\n\
         for i = 2, #KEYS do\n\
         local kept = tonumber(redis.call('GET', KEYS[i]) or '0')\n\
         local known = tonumber(ARGV[i - 1])\n\
         local now = math.max(kept, known)\n\
         if kept == 0 then now = math.max(clock, known + 1) end\n\
         if now ~= kept then redis.call('SET', KEYS[i], string.format('%.0f', now), 'PX', 604800000) end\n\
         answer[i + 1] = string.format('%.0f', now)\n\
         end\n\
         return answer",
    )
});

// Written only if every generation is the one that the answer was fetched under.
static KEEP: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "for i = 2, #KEYS do\n\
         if redis.call('GET', KEYS[i]) ~= ARGV[i + 1] then return 0 end\n\
         end\n\
         redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])\n\
         return 1",
    )
});

// The first key is the channel; the names follow the known generations.
static CHANGE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local time = redis.call('TIME')\n\
         local clock = time[1] * 1000000 + time[2]\n\
         local answer = {}\n\
         local told = ARGV[1]\n\
         local count = #KEYS - 1\n\
         for i = 1, count do\n\
         local kept = tonumber(redis.call('GET', KEYS[i + 1]) or '0')\n\
         local now = string.format('%.0f', math.max(kept + 1, clock, tonumber(ARGV[i + 1]) + 1))\n\
         redis.call('SET', KEYS[i + 1], now, 'PX', 604800000)\n\
         answer[i] = now\n\
         told = told .. '\\n' .. now .. ' ' .. ARGV[i + 1 + count]\n\
         end\n\
         redis.call('PUBLISH', KEYS[1], told)\n\
         return answer",
    )
});

impl Remote {
    pub(crate) fn new(store: Store, sealer: Arc<Sealer>) -> Self {
        let mut node = [0; 8];
        // Without randomness a node takes what others tell for its own, and counts it so.
        let _ = random(&mut node);
        Self {
            store,
            sealer,
            writes: Arc::new(Semaphore::new(MOST_WRITES)),
            node: u64::from_be_bytes(node).to_string().into(),
            is_synced: AtomicBool::new(false),
            retry: Notify::new(),
        }
    }

    /// Tells whether changes on other nodes may have gone unheard.
    pub(crate) fn is_deaf(&self) -> bool {
        !self.is_synced.load(Ordering::Acquire) || !self.store.hears()
    }

    /// Reads an answer and the generations of its tags at one moment, and takes note of these.
    ///
    /// # Errors
    /// [`StoreError`] of every kind.
    pub(crate) async fn read(&self, key: &Key, tags: &[Arc<Tag>]) -> Result<Read, StoreError> {
        let answer = self.ask_with_generations(&READ, value_key(key), tags).await?;
        let mut answer = answer.into_iter();
        let value = answer.next().and_then(|value| value.as_bytes().cloned());
        let left = answer.next().and_then(|left| left.as_int()).and_then(|left| u64::try_from(left).ok());
        let stamps = observe(tags, answer)?;
        let value = value.zip(left.map(Duration::from_millis));
        Ok(Read { value, stamps })
    }

    async fn ask_with_generations(
        &self,
        script: &Script,
        first: Vec<u8>,
        tags: &[Arc<Tag>],
    ) -> Result<Vec<Value>, StoreError> {
        let names: Vec<Vec<u8>> = tags.iter().map(|tag| generation_key(tag)).collect();
        let known: Vec<String> = tags.iter().map(|tag| tag.current().to_string()).collect();
        let keys: Vec<&[u8]> = [&*first].into_iter().chain(names.iter().map(Vec::as_slice)).collect();
        let args: Vec<&[u8]> = known.iter().map(String::as_bytes).collect();
        match self.store.run(script, &keys, &args).await? {
            Value::Array(answer) => Ok(answer),
            _ => Err(StoreError::Unexpected),
        }
    }

    /// Keeps a sealed answer for so long, if it was fetched under the generations of now: else `false`.
    ///
    /// # Errors
    /// [`StoreError`] of every kind.
    pub(crate) async fn keep(
        &self,
        key: &Key,
        sealed: &[u8],
        lasts: Duration,
        tags: &[Arc<Tag>],
        stamps: &[u64],
    ) -> Result<bool, StoreError> {
        let first = value_key(key);
        let names: Vec<Vec<u8>> = tags.iter().map(|tag| generation_key(tag)).collect();
        let keys: Vec<&[u8]> = [&*first].into_iter().chain(names.iter().map(Vec::as_slice)).collect();
        let lasts = lasts.as_millis().max(1).to_string();
        let stamps: Vec<String> = stamps.iter().map(u64::to_string).collect();
        let args = [sealed, lasts.as_bytes()].into_iter().chain(stamps.iter().map(String::as_bytes));
        let args: Vec<&[u8]> = args.collect();
        Ok(self.store.run(&KEEP, &keys, &args).await?.as_int() == Some(1))
    }

    /// Tells the store and all nodes of a change. What cannot be told now is told as soon as it can be, and until then this node knows
    /// that others do not.
    ///
    /// # Errors
    /// [`StoreError`] when others have not heard of it yet.
    pub(crate) async fn change(&self, tags: &[Arc<Tag>]) -> Result<(), StoreError> {
        let told = self.try_change(tags).await;
        if told.is_err() {
            tags.iter().for_each(|tag| tag.owe());
            self.is_synced.store(false, Ordering::Release);
            self.retry.notify_one();
        }
        told
    }

    async fn try_change(&self, tags: &[Arc<Tag>]) -> Result<(), StoreError> {
        let names: Vec<Vec<u8>> = tags.iter().map(|tag| generation_key(tag)).collect();
        let known: Vec<String> = tags.iter().map(|tag| tag.current().to_string()).collect();
        let keys: Vec<&[u8]> =
            [CHANNEL.as_bytes()].into_iter().chain(names.iter().map(Vec::as_slice)).collect();
        let args = [self.node.as_bytes()].into_iter().chain(known.iter().map(String::as_bytes));
        let args: Vec<&[u8]> = args.chain(tags.iter().map(|tag| tag.name().as_bytes())).collect();
        match self.store.run(&CHANGE, &keys, &args).await? {
            Value::Array(answer) => observe(tags, answer.into_iter()).map(|_| ()),
            _ => Err(StoreError::Unexpected),
        }
    }

    /// Begins to hear of changes.
    pub(crate) fn subscribe(&self) -> Subscription {
        self.store.subscribe(CHANNEL)
    }

    /// Follows what other nodes tell, for ever; `heard` is called for each of their changes.
    pub(crate) async fn follow(&self, mut changes: Subscription, tags: &Tags, heard: impl Fn()) {
        loop {
            let event = tokio::select! {
                event = changes.next() => event,
                () = self.retry.notified() => Event::Gap,
            };
            match event {
                Event::Message(message) => {
                    if self.hear(&message, tags) {
                        heard();
                    }
                }
                Event::Gap => self.sync(tags).await,
            }
        }
    }

    /// Takes note of what a node tells; `true` when it was another one.
    fn hear(&self, message: &[u8], tags: &Tags) -> bool {
        let Ok(message) = std::str::from_utf8(message) else { return false };
        let mut lines = message.split('\n');
        let is_other = lines.next() != Some(&*self.node);
        for (generation, name) in lines.filter_map(|line| line.split_once(' ')) {
            if let (Ok(generation), Some(tag)) = (generation.parse(), tags.by_name(name)) {
                tag.observe(generation);
            }
        }
        is_other
    }

    /// Reads all generations anew, and tells what could not be told, until both are done.
    async fn sync(&self, tags: &Tags) {
        self.is_synced.store(false, Ordering::Release);
        while let Err(error) = self.try_sync(&tags.all()).await {
            tracing::debug!(%error, "cannot read from the store what changed in the meantime; trying again");
            tokio::time::sleep(PAUSE).await;
        }
        self.is_synced.store(true, Ordering::Release);
    }

    async fn try_sync(&self, tags: &[Arc<Tag>]) -> Result<(), StoreError> {
        let owed: Vec<(Arc<Tag>, u64)> =
            tags.iter().map(|tag| (Arc::clone(tag), tag.owed())).filter(|(_, owed)| *owed > 0).collect();
        for some in owed.chunks(AT_ONCE) {
            let tags: Vec<Arc<Tag>> = some.iter().map(|(tag, _)| Arc::clone(tag)).collect();
            self.try_change(&tags).await?;
            some.iter().for_each(|(tag, owed)| tag.settle(*owed));
        }
        for some in tags.chunks(AT_ONCE) {
            // No answer is kept under the name.
            let answer = self.ask_with_generations(&READ, b"cache:nothing".to_vec(), some).await?;
            observe(some, answer.into_iter().skip(2))?;
        }
        Ok(())
    }
}

/// Takes note of generations that the store told, in the order of the tags.
fn observe(tags: &[Arc<Tag>], told: impl Iterator<Item = Value>) -> Result<Stamps, StoreError> {
    let stamps: Stamps = told.filter_map(|value| number(&value)).collect();
    if stamps.len() != tags.len() {
        return Err(StoreError::Unexpected);
    }
    tags.iter().zip(&stamps).for_each(|(tag, stamp)| tag.observe(*stamp));
    Ok(stamps)
}

fn number(value: &Value) -> Option<u64> {
    std::str::from_utf8(value.as_bytes()?).ok()?.parse().ok()
}

fn value_key(key: &Key) -> Vec<u8> {
    format!("cache:v:{}", URL_SAFE_NO_PAD.encode(key.bytes())).into_bytes()
}

fn generation_key(tag: &Tag) -> Vec<u8> {
    [b"cache:g:", tag.name().as_bytes()].concat()
}
