//! Reading a record back: its lines one by one, as what they say.
//!
//! Nothing is proven here, see [`verify`](super::verify). A line that is none is told and the next one read.

mod bounded;

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::sink::{Oldest, Torn};

pub(super) use bounded::BoundedLines;

/// One line of a record. What a line does not say is `None` or empty; members that are not known here are left out.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Entry {
    /// Its number in the chain of its node.
    pub seq: u64,
    /// The node that wrote it.
    pub node: String,
    /// `call`, `denied`, `start`, `stop`, `file`, `gap` or `lost`.
    pub kind: String,
    /// When the request came, or when the line was written; RFC 3339 in UTC.
    pub at: String,
    /// The number under which log and caller know the request.
    #[serde(default)]
    pub request: Option<String>,
    /// The W3C trace id.
    #[serde(default)]
    pub trace: Option<String>,
    /// Who asked.
    #[serde(default)]
    pub caller: Option<EntryCaller>,
    /// The roles the caller had.
    #[serde(default)]
    pub roles: Vec<String>,
    /// The scopes the caller had.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// The claims that rules looked at, by path.
    #[serde(default)]
    pub evidence: Map<String, Value>,
    /// The revision the client spoke.
    #[serde(default)]
    pub revision: Option<String>,
    /// The method.
    #[serde(default)]
    pub method: Option<String>,
    /// The tool that was called.
    #[serde(default)]
    pub tool: Option<String>,
    /// The prompt that was asked for or completed.
    #[serde(default)]
    pub prompt: Option<String>,
    /// The resource that was read, without query, fragment and user information.
    #[serde(default)]
    pub resource: Option<String>,
    /// The resource template that was completed.
    #[serde(default)]
    pub template: Option<String>,
    /// The resources a subscription follows.
    #[serde(default)]
    pub resources: Vec<String>,
    /// The shape of the arguments, by name.
    #[serde(default)]
    pub args: Option<Value>,
    /// How many arguments were not declared.
    #[serde(default)]
    pub unlisted: u64,
    /// What was decided.
    #[serde(default)]
    pub allowed: Option<bool>,
    /// The rule that decided.
    #[serde(default)]
    pub rule: Option<String>,
    /// Each named condition with its outcome.
    #[serde(default)]
    pub conditions: BTreeMap<String, Option<bool>>,
    /// The scopes that were missing.
    #[serde(default)]
    pub missing: Vec<String>,
    /// How it ended.
    #[serde(default)]
    pub outcome: Option<String>,
    /// How long it took, in microseconds.
    #[serde(default)]
    pub us: Option<u64>,
    /// The size of the request in bytes.
    #[serde(default, rename = "in")]
    pub received: Option<u64>,
    /// The size of the result in bytes.
    #[serde(default, rename = "out")]
    pub sent: Option<u64>,
    /// How many rows the result has.
    #[serde(default)]
    pub rows: Option<u64>,
    /// What was shortened since it was too long: a member named here does not say all.
    #[serde(default)]
    pub cut: Vec<String>,
    /// How many lines or refusals a line of the kind `lost` or `denied` stands for.
    #[serde(default)]
    pub count: Option<u64>,
    /// What a crash left behind the line before this one.
    #[serde(default)]
    pub torn: Option<Torn>,
    /// The oldest line that is kept since older files were removed.
    #[serde(default)]
    pub oldest: Option<Oldest>,
    /// How many requests were refused since the record could not be written.
    #[serde(default)]
    pub refused: u64,
    /// How many lines were lost since the record could not be written.
    #[serde(default)]
    pub lost: u64,
}

/// Who asked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct EntryCaller {
    /// Who vouches for the subject.
    #[serde(default)]
    pub issuer: Option<String>,
    /// The caller's name there.
    pub subject: String,
    /// How it was proven: `local`, `token` or `key`.
    pub by: String,
    /// The section that accepted the token.
    #[serde(default)]
    pub section: Option<String>,
    /// The public id of the key.
    #[serde(default)]
    pub key: Option<String>,
    /// The name of the key.
    #[serde(default)]
    pub name: Option<String>,
}

/// Why a line cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It is no line of a record: a crash cut it short, or it was changed.
    #[error("line {line} is no line of an audit record; see `trunkline audit verify`")]
    NotALine {
        /// Which line, from 1 on.
        line: u64,
    },
    /// The input cannot be read any further.
    #[error("the audit record cannot be read after line {line}")]
    Io {
        /// The last line that was read.
        line: u64,
        /// What is wrong.
        #[source]
        source: io::Error,
    },
}

/// The lines of one file, in order.
#[derive(Debug)]
pub struct Lines<R> {
    input: BoundedLines<R>,
    line: Vec<u8>,
    has_failed: bool,
}

impl<R: BufRead> Lines<R> {
    /// Reads from `input`, a line at a time.
    #[must_use]
    pub fn new(input: R) -> Self {
        Self { input: BoundedLines::new(input), line: Vec::new(), has_failed: false }
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<Entry, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_failed {
            return None;
        }
        match self.input.next(&mut self.line) {
            Ok(piece) => {
                piece?;
                let line = self.input.number();
                Some(serde_json::from_slice(&self.line).map_err(|_| ReadError::NotALine { line }))
            }
            Err(source) => {
                self.has_failed = true;
                Some(Err(ReadError::Io { line: self.input.number(), source }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_what_is_none_is_told_and_passed() {
        let text = concat!(
            r#"{"seq":1,"node":"n","kind":"start","at":"2026-11-26T05:10:11.123Z","torn":{"bytes":3,"lines":0},"mac":"00"}"#,
            "\n{\"seq\":2,\"no\n",
            r#"{"seq":3,"node":"n","kind":"call","at":"x","caller":{"subject":"ann","by":"key","key":"k1","name":"ci"},"evidence":{"groups":["a"]},"conditions":{"a":true,"b":null},"in":5,"later":1,"mac":"00"}"#,
            "\n",
        );
        let mut lines = Lines::new(text.as_bytes());
        assert_eq!(lines.next().unwrap().unwrap().torn, Some(Torn { bytes: 3, lines: 0 }));
        assert!(matches!(lines.next(), Some(Err(ReadError::NotALine { line: 2 }))));
        let entry = lines.next().unwrap().unwrap();
        assert_eq!(entry.caller.unwrap().name.as_deref(), Some("ci"));
        assert_eq!(entry.conditions, BTreeMap::from([("a".to_owned(), Some(true)), ("b".to_owned(), None)]));
        assert_eq!((entry.received, entry.evidence.len()), (Some(5), 1));
        assert!(lines.next().is_none());
    }
}
