//! The record of one task: what is stored, and how clients see it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use trunkline_protocol::write;
use trunkline_service::Caller;
use trunkline_service::seal::{Unsealable, random};

use trunkline_service::seal::now_ms;

use super::time::iso8601;

/// The id of a task: 128 random bits, written as 32 hexadecimal digits. Spec: SEP-2663
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(u128);

impl TaskId {
    /// Draws an id that nobody can guess.
    ///
    /// # Errors
    /// [`Unsealable`] when the system gives no randomness.
    pub fn draw() -> Result<Self, Unsealable> {
        let mut bytes = [0; 16];
        random(&mut bytes)?;
        Ok(Self(u128::from_be_bytes(bytes)))
    }

    /// Reads an id as it is written; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let plain = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() != 32 || !plain {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(Self)
    }

    /// Returns the id as a number.
    #[must_use]
    pub const fn number(self) -> u128 {
        self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A text that is no id of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no task id: 32 hexadecimal digits in lower case")]
pub struct BadTaskId;

impl FromStr for TaskId {
    type Err = BadTaskId;

    fn from_str(text: &str) -> Result<Self, BadTaskId> {
        Self::parse(text).ok_or(BadTaskId)
    }
}

impl Serialize for TaskId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TaskId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Where a task stands. The last three are final. Spec: SEP-2663 task-status
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// It runs.
    Working,
    /// It waits for answers of the client.
    InputRequired,
    /// It has a result, be it one with `isError`.
    Completed,
    /// It ended in a JSON-RPC error.
    Failed,
    /// The client, or the server on its behalf, gave it up.
    Cancelled,
}

impl TaskStatus {
    /// Returns the word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::InputRequired => "input_required",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Tells whether it never changes again.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// How often the node that runs a task vouches for it.
const VOUCH_MS: u64 = 15_000;
/// After how long a silent node counts as gone: clocks of nodes may differ by most of it.
const LOST_MS: u64 = 90_000;

/// Everything that is known of a task. Stores keep it whole; it is JSON for those that keep text. Spec: SEP-2663
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskRecord {
    /// Its id.
    pub id: TaskId,
    /// Tells its caller from every other; opaque.
    pub owner: String,
    /// Where it stands.
    pub status: TaskStatus,
    /// What it says of its progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_message: Option<String>,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// When it last changed, in milliseconds since 1970.
    pub updated_ms: u64,
    /// When the node that runs it last vouched for it, in milliseconds since 1970.
    pub alive_ms: u64,
    /// How long it exists, in milliseconds from when it was made.
    pub ttl_ms: u64,
    /// How often clients should ask, in milliseconds.
    pub poll_interval_ms: u64,
    /// Questions that wait for an answer, by key: entries of `inputRequests` as raw JSON.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<String, Box<RawValue>>,
    /// Answers that the node running the task did not pick up yet, by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub answers: BTreeMap<String, Box<RawValue>>,
    /// The result of a completed task, or the error of a failed one, as a raw JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Box<RawValue>>,
}

impl TaskRecord {
    /// Makes the record of a task that starts now.
    pub(super) fn new(id: TaskId, owner: String, ttl_ms: u64, poll_interval_ms: u64) -> Self {
        let now = now_ms();
        Self {
            id,
            owner,
            status: TaskStatus::Working,
            status_message: None,
            created_ms: now,
            updated_ms: now,
            alive_ms: now,
            ttl_ms,
            poll_interval_ms,
            requests: BTreeMap::new(),
            answers: BTreeMap::new(),
            outcome: None,
        }
    }

    /// Returns when it ceases to exist, in milliseconds since 1970.
    #[must_use]
    pub fn expires_ms(&self) -> u64 {
        self.created_ms.saturating_add(self.ttl_ms)
    }

    /// Tells whether the node that runs it did not vouch for it for so long that it must be gone.
    pub(super) fn is_lost(&self) -> bool {
        !self.status.is_final() && now_ms() > self.alive_ms.saturating_add(LOST_MS)
    }

    /// Has the running node vouch for it; `false` when that was not due.
    pub(super) fn vouch(&mut self) -> bool {
        let now = now_ms();
        let is_due = now > self.alive_ms.saturating_add(VOUCH_MS);
        if is_due {
            self.alive_ms = now;
        }
        is_due
    }

    /// Notes that it changes now.
    pub(super) fn touch(&mut self) {
        self.updated_ms = now_ms().max(self.updated_ms);
    }

    /// Ends it: a final status leaves nothing to be asked.
    pub(super) fn end(&mut self, status: TaskStatus, outcome: Option<Box<RawValue>>) {
        self.status = status;
        self.outcome = outcome;
        self.requests.clear();
        self.answers.clear();
        self.touch();
    }

    /// Appends the members of a `CreateTaskResult` without braces and `resultType`.
    pub(super) fn write_task(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(
            format!(r#""taskId":"{}","status":"{}""#, self.id, self.status.as_str()).as_bytes(),
        );
        if let Some(text) = &self.status_message {
            out.extend_from_slice(br#","statusMessage":"#);
            write::string(out, text);
        }
        let times = format!(
            r#","createdAt":"{}","lastUpdatedAt":"{}","ttlMs":{},"pollIntervalMs":{}"#,
            iso8601(self.created_ms),
            iso8601(self.updated_ms),
            self.ttl_ms,
            self.poll_interval_ms
        );
        out.extend_from_slice(times.as_bytes());
    }

    /// Appends the members of a `DetailedTask` without braces.
    pub(super) fn write_detailed(&self, out: &mut Vec<u8>) {
        self.write_task(out);
        let name = match self.status {
            TaskStatus::Completed => "result",
            TaskStatus::Failed => "error",
            TaskStatus::InputRequired => {
                out.extend_from_slice(br#","inputRequests":{"#);
                for (number, (key, request)) in self.requests.iter().enumerate() {
                    if number > 0 {
                        out.push(b',');
                    }
                    write::string(out, key);
                    out.push(b':');
                    out.extend_from_slice(request.get().as_bytes());
                }
                out.push(b'}');
                return;
            }
            TaskStatus::Working | TaskStatus::Cancelled => return,
        };
        if let Some(outcome) = &self.outcome {
            out.extend_from_slice(format!(r#","{name}":"#).as_bytes());
            out.extend_from_slice(outcome.get().as_bytes());
        }
    }
}

/// Returns the text that tells a caller from every other.
pub(super) fn owner_of(caller: &Caller) -> String {
    URL_SAFE_NO_PAD.encode(caller.identity())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_and_nothing_else_is_one() {
        let id = TaskId::draw().unwrap();
        assert_eq!(TaskId::parse(&id.to_string()), Some(id));
        for text in
            ["", "1", "gate-test", "+0000000000000000000000000000001", "000000000000000000000000000000AB"]
        {
            assert_eq!(TaskId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_record_reads_back_with_its_raw_parts() {
        let mut record = TaskRecord::new(TaskId(7), "me".to_owned(), 5, 6);
        record
            .requests
            .insert("a\"b".to_owned(), RawValue::from_string(r#"{"method": 1.50}"#.to_owned()).unwrap());
        record.status = TaskStatus::InputRequired;
        let bytes = serde_json::to_vec(&record).unwrap();
        let again: TaskRecord = serde_json::from_slice(&bytes).unwrap();
        let mut out = Vec::new();
        again.write_detailed(&mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.ends_with(r#""ttlMs":5,"pollIntervalMs":6,"inputRequests":{"a\"b":{"method": 1.50}}"#),
            "{text}"
        );
        assert!(text.starts_with(
            r#""taskId":"00000000000000000000000000000007","status":"input_required","createdAt":""#
        ));
    }
}
