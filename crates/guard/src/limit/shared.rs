//! Limits that hold for all nodes together: what one request takes at one stage is taken by one script in the store, or spent
//! from units that were leased before.
//!
//! Every answer tells how much is owed, and this node keeps that in mind: what is refused anyhow is refused without asking, and a
//! store that forgot or whose clock was set is told. While the store does not answer no request waits for it.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio_util::task::TaskTracker;
use trunkline_service::Caller;
use trunkline_service::meter::{Counter, Page};
use trunkline_service::store::file::OnStoreFailure;
use trunkline_service::store::{Script, Store, StoreError, Value};

use super::bucket::{Bucket, Leased, Whose};
use super::budget::{Account, Budget, Part, UsedUp, wait};
use super::cell;
use super::lease::{Lease, Spent};
use super::refusal::{By, Refused};
use super::stage::{Stage, Take, Use, used_up_of};
use super::state::network;
use crate::digest::sha256;

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("shared.lua")));

/// How long nobody asks again after the store failed, in nanoseconds: about as long as it may take to answer.
const REST: u64 = 250_000_000;
/// When to try again where nobody can tell.
const UNKNOWN: Duration = Duration::from_secs(1);
/// How often somebody whose leased units were spent by others asks again.
const TRIES: usize = 4;

/// The limits of all nodes.
#[derive(Debug)]
pub(super) struct Shared {
    store: Store,
    on_failure: OnStoreFailure,
    /// Until when nobody asks, since the store failed.
    resting: AtomicU64,
    tasks: TaskTracker,
    pub(super) asked: Counter,
    pub(super) leased: Counter,
    pub(super) failed: Counter,
    pub(super) without: Counter,
}

/// Whose request it is, for limits that tell callers or addresses apart.
#[derive(Debug, Clone, Copy)]
pub(super) enum Subject<'r> {
    /// The limits are everybody's.
    Nobody,
    Caller(&'r Caller),
    Address(IpAddr),
}

/// What became of a stage.
pub(super) enum Settled<'a> {
    Passed,
    Refused(Refused<'a>),
    /// The store is asked: for `None` it passed.
    Waiting(Pin<Box<dyn Future<Output = Option<Refused<'a>>> + Send + 'a>>),
}

impl Subject<'_> {
    fn bytes(self) -> Vec<u8> {
        match self {
            Self::Nobody => Vec::new(),
            Self::Caller(caller) => caller.identity(),
            Self::Address(address) => {
                let (is_six, number) = network(address);
                [&[u8::from(is_six)][..], &number.to_be_bytes()].concat()
            }
        }
    }
}

impl Shared {
    pub(super) fn new(store: Store, on_failure: OnStoreFailure) -> Self {
        Self {
            store,
            on_failure,
            resting: AtomicU64::new(0),
            tasks: TaskTracker::new(),
            asked: Counter::default(),
            leased: Counter::default(),
            failed: Counter::default(),
            without: Counter::default(),
        }
    }

    /// Takes what a stage asks for.
    pub(super) fn settle<'a>(self: &'a Arc<Self>, stage: Stage<'a>, subject: Subject<'_>) -> Settled<'a> {
        let now = cell::now();
        if self.is_down(now) {
            return self.do_without(&stage, now);
        }
        // What this node knows to be refused is not asked for.
        let is_told = |one: &Use<'_>| !one.budget.has_untold(stage.key);
        if let Err(refused) = stage.look_at(|take| !take.is_leased(), is_told, now) {
            return Settled::Refused(refused);
        }
        let (mut spent, mut is_short) = (0, false);
        for take in stage.leased() {
            let lease = take.bucket.lease(stage.key, now);
            match lease.spend(take.units(), now) {
                Spent::Yes { is_low } => {
                    spent += 1;
                    if is_low {
                        self.ask_ahead(take.bucket, stage.key, &lease, subject);
                    }
                }
                Spent::Empty(nanoseconds) => {
                    give_back(&stage, spent);
                    return Settled::Refused(Refused { by: By::Limit(take.bucket), wait: wait(nanoseconds) });
                }
                Spent::No => {
                    is_short = true;
                    break;
                }
            }
        }
        if is_short || !stage.is_all_leased() {
            return Settled::Waiting(Box::pin(self.ask(stage, spent, subject.bytes())));
        }
        stage.count();
        Settled::Passed
    }

    /// Tells whether nobody asks the store now. One that was never reached yet is asked: it is just being connected to.
    fn is_down(&self, now: u64) -> bool {
        let never_was_up = self.store.generation() == 0;
        now < self.resting.load(Ordering::Relaxed) || !self.store.is_up() && !never_was_up
    }

    /// Decides as the file says for a store that does not answer.
    fn do_without<'a>(&self, stage: &Stage<'a>, now: u64) -> Settled<'a> {
        self.without.add_one();
        match self.on_failure {
            OnStoreFailure::Allow => stage.count(),
            OnStoreFailure::Deny => return Settled::Refused(Refused { by: By::Store, wait: UNKNOWN }),
            OnStoreFailure::Local => match stage.take_here(now) {
                Ok(()) => stage.count(),
                Err(refused) => return Settled::Refused(refused),
            },
        }
        Settled::Passed
    }

    async fn ask<'a>(&self, stage: Stage<'a>, spent: usize, identity: Vec<u8>) -> Option<Refused<'a>> {
        let mut spent = spent;
        for take in stage.leased().skip(spent) {
            let lease = take.bucket.lease(stage.key, cell::now());
            match self.spend(take, &lease, stage.key, &identity).await {
                Ok(None) => spent += 1,
                Ok(Some(refused)) => {
                    give_back(&stage, spent);
                    return Some(refused);
                }
                Err(Down) => return self.fall_back(&stage, spent),
            }
        }
        let taken = match stage.is_all_leased() {
            true => Ok(None),
            false => self.take(&stage, &identity).await,
        };
        match taken {
            Ok(None) => {
                stage.count();
                None
            }
            Ok(Some(refused)) => {
                give_back(&stage, spent);
                Some(refused)
            }
            Err(Down) => self.fall_back(&stage, spent),
        }
    }

    /// Settles by the rule for a store that failed what was not settled by it.
    fn fall_back<'a>(&self, stage: &Stage<'a>, spent: usize) -> Option<Refused<'a>> {
        give_back(stage, spent);
        match self.do_without(stage, cell::now()) {
            Settled::Refused(refused) => Some(refused),
            _ => None,
        }
    }

    /// Spends leased units, taking more of them first where there are not enough. One asks at a time; all who wait for it spend
    /// of what it brings.
    async fn spend<'a>(
        &self,
        take: Take<'a>,
        lease: &Lease,
        key: u64,
        identity: &[u8],
    ) -> Result<Option<Refused<'a>>, Down> {
        let refused = |nanoseconds| Some(Refused { by: By::Limit(take.bucket), wait: wait(nanoseconds) });
        let _asking = lease.asking.lock().await;
        for _ in 0..TRIES {
            match lease.spend(take.units(), cell::now()) {
                Spent::Yes { .. } => return Ok(None),
                Spent::Empty(nanoseconds) => return Ok(refused(nanoseconds)),
                Spent::No => self.renew(take.bucket, lease, key, take.units(), identity).await?,
            }
        }
        // Others were faster each time.
        Ok(refused(take.bucket.pace.interval))
    }

    /// Takes units ahead of time where there are few left, without anybody waiting for it.
    fn ask_ahead(self: &Arc<Self>, bucket: &Arc<Bucket>, key: u64, lease: &Leased<'_>, subject: Subject<'_>) {
        // Somebody asks already, or was just told that there is nothing.
        if lease.asking.try_lock().is_err() || lease.is_paused(cell::now()) {
            return;
        }
        let (shared, bucket, lease) = (Arc::clone(self), Arc::clone(bucket), lease.owned());
        let identity = subject.bytes();
        self.tasks.spawn(async move {
            let Ok(_asking) = lease.asking.try_lock() else { return };
            if lease.is_low(cell::now()) {
                // Who needs them meets what went wrong.
                let _ = shared.renew(&bucket, &lease, key, 1, &identity).await;
            }
        });
    }

    /// Takes units for a lease. Called by the one who holds its lock.
    async fn renew(
        &self,
        bucket: &Bucket,
        lease: &Lease,
        key: u64,
        least: u32,
        identity: &[u8],
    ) -> Result<(), Down> {
        let sent = cell::now();
        if self.is_down(sent) {
            return Err(Down);
        }
        let most = lease.size(&bucket.rate, least, sent);
        let mut question = Question::new(None);
        question.limit(bucket, identity, (least, most), bucket.owed(key, sent));
        self.leased.add_one();
        let answer = self.run(&question).await?;
        let [_, granted, owed, cost] = answer[..] else { return Err(self.failed(&StoreError::Unexpected)) };
        bucket.learn(key, nanoseconds(owed.saturating_add(cost)), sent);
        match u32::try_from(granted) {
            Ok(granted) if granted >= least => lease.add(granted, sent),
            _ => {
                let missing = nanoseconds(owed) + bucket.pace.cost(least);
                lease.is_empty_for(missing.saturating_sub(bucket.pace.room), &bucket.rate, cell::now());
            }
        }
        Ok(())
    }

    /// Takes all that is not leased.
    async fn take<'a>(&self, stage: &Stage<'a>, identity: &[u8]) -> Result<Option<Refused<'a>>, Down> {
        let (key, sent) = (stage.key, cell::now());
        if self.is_down(sent) {
            return Err(Down);
        }
        let mut question = Question::new(None);
        for take in stage.exact() {
            let units = take.units();
            question.limit(take.bucket, identity, (units, units), take.bucket.owed(key, sent));
        }
        let told: Vec<Account> = stage.uses.iter().map(|one| one.budget.tell(key, sent)).collect();
        for (one, known) in stage.uses.iter().zip(&told) {
            question.budget(one.budget, identity, (one.calls, one.bytes), *known);
        }
        let forget_nothing = Untold { stage, told: Some(told), at: sent };
        self.asked.add_one();
        let answer = self.run(&question).await?;
        let refused = learn(stage, &answer, sent);
        let refused = refused.map_err(|Malformed| self.failed(&StoreError::Unexpected))?;
        forget_nothing.was_told();
        Ok(refused)
    }

    async fn run(&self, question: &Question) -> Result<Vec<i64>, Down> {
        let keys: Vec<&[u8]> = question.keys.iter().map(String::as_bytes).collect();
        let args: Vec<&[u8]> = question.args.iter().map(String::as_bytes).collect();
        let answer = self.store.run(&SCRIPT, &keys, &args).await.map_err(|error| self.failed(&error))?;
        let numbers = answer.as_array().and_then(|all| all.iter().map(Value::as_int).collect());
        numbers.ok_or_else(|| self.failed(&StoreError::Unexpected))
    }

    /// Notes that the store failed, so that nobody else waits for it now.
    fn failed(&self, error: &StoreError) -> Down {
        let now = cell::now();
        let before = self.resting.swap(now + REST, Ordering::Relaxed);
        self.failed.add_one();
        if before < now {
            let rule = self.on_failure;
            tracing::warn!(
                "limits that nodes share cannot be asked; until they can, the rule is `{rule}`: {error}"
            );
        }
        Down
    }

    /// Writes what was counted.
    pub(super) fn read(&self, page: &mut Page) {
        let help = "Questions to the store about limits: one for each request, or one for many where units are leased.";
        let name = "trunkline_limit_store_asked_total";
        page.counter(name, help, &[("what", "request")], self.asked.sum());
        page.counter(name, help, &[("what", "lease")], self.leased.sum());
        let help = "Questions about limits that the store did not answer.";
        page.counter("trunkline_limit_store_failed_total", help, &[], self.failed.sum());
        let help = "Requests whose limits were decided by the rule for a store that does not answer.";
        let rule = self.on_failure.to_string();
        page.counter("trunkline_limit_store_without_total", help, &[("rule", &rule)], self.without.sum());
    }
}

/// The store does not answer.
#[derive(Debug, Clone, Copy)]
struct Down;

/// The store's answer is none.
#[derive(Debug, Clone, Copy)]
struct Malformed;

/// Keeps for the next time what was not told, if the question fails or is given up.
struct Untold<'s, 'a> {
    stage: &'s Stage<'a>,
    told: Option<Vec<Account>>,
    at: u64,
}

impl Untold<'_, '_> {
    fn was_told(mut self) {
        self.told = None;
    }
}

impl Drop for Untold<'_, '_> {
    fn drop(&mut self) {
        for (one, told) in self.stage.uses.iter().zip(self.told.iter().flatten()) {
            one.budget.keep(self.stage.key, told.untold, self.at);
        }
    }
}

fn give_back(stage: &Stage<'_>, spent: usize) {
    for take in stage.leased().take(spent) {
        take.bucket.lease(stage.key, cell::now()).give_back(take.units());
    }
}

/// Keeps in mind what the store says, and returns what made it refuse.
fn learn<'a>(stage: &Stage<'a>, answer: &[i64], sent: u64) -> Result<Option<Refused<'a>>, Malformed> {
    let mut numbers = answer.iter().copied();
    let mut next = || numbers.next().ok_or(Malformed);
    let is_refused = next()? != 0;
    let mut worst: Option<Refused<'a>> = None;
    let mut add = |refused: Refused<'a>| {
        if worst.is_none_or(|worst| worst.wait < refused.wait) {
            worst = Some(refused);
        }
    };
    for take in stage.exact() {
        let (granted, owed, cost) = (next()?, next()?, next()?);
        let owed = nanoseconds(if is_refused { owed } else { owed.saturating_add(cost) });
        take.bucket.learn(stage.key, owed, sent);
        if granted < i64::from(take.units()) {
            let missing = owed.saturating_add(take.bucket.pace.cost(take.units()));
            let missing = missing.saturating_sub(take.bucket.pace.room).max(1);
            add(Refused { by: By::Limit(take.bucket), wait: wait(missing) });
        }
    }
    for one in stage.uses.iter() {
        let (part, left, calls, bytes) = (next()?, next()?, next()?, next()?);
        let (left, calls, bytes) = (nanoseconds(left), unsigned(calls), unsigned(bytes));
        let (more_calls, more_bytes) = if is_refused { (0, 0) } else { (one.calls, one.bytes.unwrap_or(0)) };
        let known = Account { left, calls: calls + more_calls, bytes: bytes + more_bytes, untold: 0 };
        one.budget.learn(stage.key, known, sent);
        let part = match part {
            0 => continue,
            1 => Part::Calls,
            _ => Part::Bytes,
        };
        add(used_up_of(one.budget, UsedUp { part, wait: left }));
    }
    match (is_refused, worst) {
        (false, _) => Ok(None),
        (true, Some(refused)) => Ok(Some(refused)),
        (true, None) => Err(Malformed),
    }
}

/// Microseconds of the store in nanoseconds.
fn nanoseconds(microseconds: i64) -> u64 {
    unsigned(microseconds).saturating_mul(1000)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// What the script is asked.
#[derive(Debug)]
struct Question {
    keys: Vec<String>,
    args: Vec<String>,
}

impl Question {
    /// Begins a question; `time` in microseconds stands in for the store's, in tests.
    fn new(time: Option<u64>) -> Self {
        Self { keys: Vec::new(), args: vec![time.map(|time| time.to_string()).unwrap_or_default()] }
    }

    fn limit(&mut self, bucket: &Bucket, identity: &[u8], (least, most): (u32, u32), owed: u64) {
        let identity = if bucket.whose() == Whose::Each { identity } else { &[] };
        self.key(&bucket.path, &format!("{:?}", bucket.rate), identity);
        let room = bucket.pace.room.div_ceil(1000);
        let floor = (owed / 1000).min(room);
        self.args.push("g".to_owned());
        let numbers = [bucket.pace.interval, room, least.into(), most.into(), floor];
        self.args.extend(numbers.map(|number| number.to_string()));
    }

    fn budget(
        &mut self,
        budget: &Budget,
        identity: &[u8],
        (calls, bytes): (u64, Option<u64>),
        known: Account,
    ) {
        self.key(&budget.path, &format!("{:?}", budget.spec), identity);
        let any = |number: Option<u64>| number.map_or_else(|| "-1".to_owned(), |number| number.to_string());
        let most_bytes = budget.spec.bytes.filter(|_| bytes.is_some());
        self.args.extend(["b".to_owned(), any(budget.spec.calls), any(most_bytes)]);
        let Account { left, calls: known_calls, bytes: known_bytes, untold } = known;
        let window = budget.window() / 1000;
        let numbers = [window, calls, bytes.unwrap_or(0), untold, known_calls, known_bytes, left / 1000];
        self.args.extend(numbers.map(|number| number.to_string()));
    }

    /// The key of a bucket: a digest, so that the store holds the name of nobody. What says something else is another one.
    fn key(&mut self, path: &str, says: &str, identity: &[u8]) {
        let digest = sha256(&[path.as_bytes(), &[0], says.as_bytes(), &[0], identity].concat());
        let mut key = String::with_capacity(38);
        key.push_str("limit:");
        for byte in digest.iter().take(16) {
            for digit in [byte >> 4, byte & 15] {
                key.push(char::from_digit(digit.into(), 16).unwrap_or_default());
            }
        }
        self.keys.push(key);
    }
}

#[cfg(test)]
mod tests;
