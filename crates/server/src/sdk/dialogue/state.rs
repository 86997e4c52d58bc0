//! What one call remembers of its conversation: earlier rounds, open questions, steps, and how the round is to end.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{self, Poll, Waker};

use serde_json::value::RawValue;
use tokio::sync::{Notify, OnceCell};
use trunkline_service::{Failure, FailureKind, Request};

use super::capability::Capabilities;
use super::question::Question;
use super::saved::{Saved, SavedQuestion, SavedStep};
use crate::sdk::task::{NoTask, Prepared};

/// The conversation of one call. Made when the call first asks, runs a step or becomes a task, or is sent again with answers.
#[derive(Debug)]
pub(crate) struct Dialogue {
    capabilities: Capabilities,
    inner: Mutex<Inner>,
    /// The request was answered with a task; questions go into its record from now on.
    in_task: AtomicBool,
    /// Whether the call could become a task, found out once.
    pub(crate) task: OnceCell<Result<(), NoTask>>,
    /// Told in a task that questions or the status text are others.
    pub(crate) changed: Notify,
    /// Told once when the call goes on as a task.
    entered: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// Questions of earlier rounds that were not asked again yet.
    past: Vec<SavedQuestion>,
    /// There was a `requestState`: only what it shows as asked can be answered.
    has_past: bool,
    /// What this request brought, by key.
    responses: BTreeMap<String, Box<RawValue>>,
    /// The questions of this run, in the order they were asked.
    asked: Vec<Asked>,
    /// Every key given out in this run.
    keys: HashSet<String>,
    /// Step results of earlier rounds.
    past_steps: Vec<SavedStep>,
    /// Step results of this run.
    steps: Vec<SavedStep>,
    step_names: HashSet<String>,
    /// Steps that run now.
    running: usize,
    end: Option<End>,
    status: Option<String>,
}

/// Bytes of a status text that are kept.
const MAX_STATUS: usize = 1024;
/// Answers to one question that may be of no use before the call ends.
const MAX_UNUSABLE: u32 = 32;

/// One question of this run.
#[derive(Debug)]
struct Asked {
    key: String,
    request: Box<RawValue>,
    fingerprint: u64,
    phase: Phase,
    waker: Option<Waker>,
    /// Answers that did not fit.
    unusable: u32,
}

#[derive(Debug)]
enum Phase {
    /// Waits for an answer.
    Open,
    /// An answer came; nobody looked at it yet.
    Given(Box<RawValue>),
    /// The answer is being looked at.
    Read,
    /// The answer was of use, and travels with the client.
    Answered(Box<RawValue>),
    /// The answer was of use, in a task, where nothing travels.
    Done,
    /// Whoever asked went on without it.
    Withdrawn,
}

/// How a call ends other than by its own result.
#[derive(Debug)]
pub(crate) enum End {
    /// The request is refused.
    Failure(Failure),
    /// It goes on as a task.
    Task(Box<Prepared>),
}

/// What is to be done with a call that waits.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Wait: something of its own is going on.
    Wait,
    /// End it.
    End(End),
    /// End the round: the client is asked.
    Round(Round),
}

/// What leaves with the end of a round.
#[derive(Debug)]
pub(crate) struct Round {
    /// `inputRequests`, written.
    pub(crate) requests: String,
    /// What the state remembers.
    pub(crate) saved: Saved,
}

impl Dialogue {
    /// Begins a conversation.
    pub(super) fn new(request: &Request) -> Self {
        Self::resume(request, None, BTreeMap::new())
    }

    /// Takes a conversation up again with what the client sent.
    pub(super) fn resume(
        request: &Request,
        saved: Option<Saved>,
        responses: BTreeMap<String, Box<RawValue>>,
    ) -> Self {
        let has_past = saved.is_some();
        let Saved { questions, steps } = saved.unwrap_or_default();
        let inner = Inner { past: questions, has_past, responses, past_steps: steps, ..Inner::default() };
        Self {
            capabilities: Capabilities::of(request),
            inner: Mutex::new(inner),
            in_task: AtomicBool::new(false),
            task: OnceCell::new(),
            changed: Notify::new(),
            entered: Notify::new(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics half way.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    pub(crate) fn in_task(&self) -> bool {
        self.in_task.load(Ordering::Acquire)
    }

    pub(crate) fn enter_task(&self) {
        self.in_task.store(true, Ordering::Release);
        self.entered.notify_waiters();
    }

    /// Waits until the call goes on as a task.
    pub(crate) async fn entered(&self) {
        loop {
            let entered = self.entered.notified();
            if self.in_task() {
                return;
            }
            entered.await;
        }
    }

    /// Says how the call ends; the first to say so is heard.
    pub(crate) fn fail(&self, failure: Failure) {
        self.inner().end.get_or_insert(End::Failure(failure));
        self.changed.notify_one();
    }

    /// Says that the call goes on as a task.
    pub(crate) fn become_task(&self, prepared: Box<Prepared>) {
        self.inner().end.get_or_insert(End::Task(prepared));
    }

    pub(crate) fn take_end(&self) -> Option<End> {
        self.inner().end.take()
    }

    // --- Questions ---

    /// Takes a question in and returns its number.
    pub(super) fn register(&self, question: &Question) -> Result<usize, Failure> {
        let request = question.to_json();
        let fingerprint = fingerprint(request.as_bytes());
        let mut inner = self.inner();
        let key = inner.key_for(question.key.as_deref(), fingerprint);
        let given = inner.earlier_answer(&key, fingerprint)?;
        let request = RawValue::from_string(request).map_err(unwritable)?;
        let phase = given.map_or(Phase::Open, Phase::Given);
        if matches!(phase, Phase::Open) {
            self.changed.notify_one();
        }
        inner.keys.insert(key.clone());
        inner.asked.push(Asked { key, request, fingerprint, phase, waker: None, unusable: 0 });
        Ok(inner.asked.len() - 1)
    }

    pub(super) fn poll_answer(&self, number: usize, cx: &mut task::Context<'_>) -> Poll<Box<RawValue>> {
        let mut inner = self.inner();
        let Some(asked) = inner.asked.get_mut(number) else { return Poll::Pending };
        match std::mem::replace(&mut asked.phase, Phase::Read) {
            Phase::Given(answer) => Poll::Ready(answer),
            phase => {
                asked.phase = phase;
                asked.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Keeps an answer that was of use.
    pub(super) fn accept(&self, number: usize, answer: Box<RawValue>) {
        let in_task = self.in_task();
        if let Some(asked) = self.inner().asked.get_mut(number) {
            asked.phase = if in_task { Phase::Done } else { Phase::Answered(answer) };
            if in_task {
                // It is never asked again: a task may ask for as long as it lives.
                asked.request = RawValue::NULL.to_owned();
            }
        }
    }

    /// Asks again, as the answer did not fit. In a task a key is never used twice, so the question gets another. `false` when it
    /// was asked too often.
    pub(super) fn ask_again(&self, number: usize) -> bool {
        let in_task = self.in_task();
        let mut inner = self.inner();
        let Inner { asked, keys, .. } = &mut *inner;
        let Some(asked) = asked.get_mut(number) else { return false };
        if asked.unusable == MAX_UNUSABLE {
            return false;
        }
        if in_task {
            let first = match asked.unusable {
                0 => asked.key.as_str(),
                _ => asked.key.rsplit_once('-').map_or(asked.key.as_str(), |(first, _)| first),
            };
            asked.key = unused(first, |key| keys.contains(key));
        }
        asked.unusable += 1;
        asked.phase = Phase::Open;
        keys.insert(asked.key.clone());
        self.changed.notify_one();
        true
    }

    /// Takes a question back that nobody waits for any more; `false` when it was answered.
    pub(super) fn withdraw(&self, number: usize) -> bool {
        let mut inner = self.inner();
        let Some(asked) = inner.asked.get_mut(number) else { return false };
        if matches!(asked.phase, Phase::Answered(_) | Phase::Done) {
            return false;
        }
        asked.phase = Phase::Withdrawn;
        self.changed.notify_one();
        true
    }

    /// Hands an answer of `tasks/update` to its question, if that is still open.
    pub(crate) fn deliver(&self, key: &str, answer: &RawValue) {
        let mut inner = self.inner();
        let open = |asked: &&mut Asked| asked.key == key && matches!(asked.phase, Phase::Open);
        if let Some(asked) = inner.asked.iter_mut().find(open) {
            asked.phase = Phase::Given(answer.to_owned());
            if let Some(waker) = asked.waker.take() {
                waker.wake();
            }
        }
    }

    /// Returns the open questions of a task, by key.
    pub(crate) fn open_questions(&self) -> BTreeMap<String, Box<RawValue>> {
        let inner = self.inner();
        let open = inner.asked.iter().filter(|asked| matches!(asked.phase, Phase::Open));
        open.map(|asked| (asked.key.clone(), asked.request.clone())).collect()
    }

    /// Tells whether an answer of that key is still to be looked at, or its question still open.
    pub(crate) fn awaits(&self, key: &str) -> bool {
        let waits = |asked: &Asked| {
            asked.key == key && matches!(asked.phase, Phase::Open | Phase::Given(_) | Phase::Read)
        };
        self.inner().asked.iter().any(waits)
    }

    // --- Steps ---

    /// Begins a step: its result if it ran in an earlier round, else the name under which its result is kept.
    pub(super) fn begin_step(&self, name: &str) -> Result<Box<RawValue>, String> {
        let mut inner = self.inner();
        let name = unused(name, |name| inner.step_names.contains(name));
        inner.step_names.insert(name.clone());
        match inner.past_steps.iter().find(|step| step.name == name) {
            Some(step) => Ok(step.result.clone()),
            None => {
                inner.running += 1;
                Err(name)
            }
        }
    }

    /// Ends a step that ran, with its result if there is one.
    pub(super) fn end_step(&self, step: Option<SavedStep>) {
        let mut inner = self.inner();
        inner.running = inner.running.saturating_sub(1);
        // In a task the function goes on where it is: nothing has to be remembered.
        if !self.in_task() {
            inner.steps.extend(step);
        }
    }

    // --- The status of a task ---

    pub(crate) fn set_status(&self, mut text: String) {
        text.truncate(text.floor_char_boundary(MAX_STATUS));
        self.inner().status = Some(text);
        self.changed.notify_one();
    }

    pub(crate) fn status(&self) -> Option<String> {
        self.inner().status.clone()
    }

    // --- The end of a round ---

    /// Says what to do with a call that waits. A round ends when a question is open and no step runs.
    pub(crate) fn verdict(&self) -> Verdict {
        let mut inner = self.inner();
        if let Some(end) = inner.end.take() {
            return Verdict::End(end);
        }
        let is_given = |asked: &Asked| matches!(asked.phase, Phase::Given(_) | Phase::Read);
        let is_open = |asked: &Asked| matches!(asked.phase, Phase::Open);
        if inner.running > 0 || inner.asked.iter().any(is_given) || !inner.asked.iter().any(is_open) {
            return Verdict::Wait;
        }
        if let Some(missing) = inner.past.first() {
            return Verdict::End(End::Failure(other_order(&missing.key)));
        }
        Verdict::Round(inner.round())
    }
}

impl Inner {
    /// The key of the next question: the author's, made unique; or that of an earlier round for the same question; or the
    /// next of `q1`, `q2` and so on.
    fn key_for(&self, wanted: Option<&str>, fingerprint: u64) -> String {
        if let Some(wanted) = wanted {
            return unused(wanted, |key| self.keys.contains(key));
        }
        if let Some(past) = self.past.iter().find(|past| past.fingerprint == fingerprint) {
            return past.key.clone();
        }
        let taken = |key: &str| self.keys.contains(key) || self.past.iter().any(|past| past.key == key);
        let mut number = self.asked.len();
        loop {
            number += 1;
            let key = format!("q{number}");
            if !taken(&key) {
                return key;
            }
        }
    }

    /// What is known as the answer to a question, taken out of where it was.
    fn earlier_answer(&mut self, key: &str, fingerprint: u64) -> Result<Option<Box<RawValue>>, Failure> {
        let Some(at) = self.past.iter().position(|past| past.key == key) else {
            return Ok(if self.has_past { None } else { self.responses.remove(key) });
        };
        if self.past.get(at).is_some_and(|past| past.fingerprint != fingerprint) {
            return Err(other_order(key));
        }
        let past = self.past.remove(at);
        Ok(past.answer.or_else(|| self.responses.remove(key)))
    }

    fn round(&self) -> Round {
        let mut requests = String::from("{");
        let mut questions = Vec::with_capacity(self.asked.len());
        for asked in &self.asked {
            let answer = match &asked.phase {
                Phase::Answered(answer) => Some(answer.clone()),
                Phase::Open => {
                    let comma = if requests.len() > 1 { "," } else { "" };
                    let key = serde_json::Value::from(asked.key.as_str());
                    requests.push_str(&format!("{comma}{key}:{}", asked.request.get()));
                    None
                }
                _ => continue,
            };
            questions.push(SavedQuestion { key: asked.key.clone(), fingerprint: asked.fingerprint, answer });
        }
        requests.push('}');
        let steps = self.past_steps.iter().chain(&self.steps).cloned().collect();
        Round { requests, saved: Saved { questions, steps } }
    }
}

/// Returns `wanted`, or `wanted-2` and so on when it is taken.
fn unused(wanted: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut key = wanted.to_owned();
    let mut number = 1_u32;
    while taken(&key) {
        number += 1;
        key = format!("{wanted}-{number}");
    }
    key
}

/// FNV-1a: the same on every node and in every build. It only tells questions apart; nobody gains by a collision.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn other_order(key: &str) -> Failure {
    tracing::error!(key, "a function asked other questions when it ran again");
    let text = format!(
        "the questions differ from those of an earlier round, beginning with `{key}`; the same arguments and answers must lead to the same questions, and what may differ between rounds belongs in a step"
    );
    Failure::new(FailureKind::Internal, text)
}

fn unwritable(error: serde_json::Error) -> Failure {
    Failure::new(FailureKind::Internal, "a question cannot be written as JSON").with_source(error)
}
