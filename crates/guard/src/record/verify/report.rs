//! What a look at a record found: per node how far it reaches, and everything that is wrong or worth knowing.

use std::fmt;

use serde::Serialize;

use super::chain::Found;
use super::{Place, Sealed};

/// Most findings that are kept; the rest is counted.
const MAX_FINDINGS: usize = 1000;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The nodes, by name.
    pub nodes: Vec<NodeReport>,
    /// How many lines were read.
    pub lines: u64,
    /// What is wrong.
    pub problems: Vec<Finding>,
    /// What is not wrong and worth knowing.
    pub notes: Vec<Finding>,
    /// Problems beyond those that are kept.
    pub more: u64,
}

/// How far the record of one node reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct NodeReport {
    /// The name of the node.
    pub node: String,
    /// The number of the first line.
    pub first: u64,
    /// The number of the last line.
    pub last: u64,
    /// How many lines there are.
    pub lines: u64,
    /// How many records it began.
    pub chains: u64,
    /// The highest number of any line, over all chains.
    #[serde(skip)]
    pub(super) highest: u64,
    /// Its last line says that it stopped; else it is running, or it crashed.
    pub is_stopped: bool,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// What kind of thing.
    pub kind: FindingKind,
    /// The file, when it is in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line of the file, from 1 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The number of the line in the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// What it is, in words.
    pub message: String,
}

/// What kind of thing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FindingKind {
    /// A line is not what its node wrote.
    Edited,
    /// Lines are missing.
    Missing,
    /// A line stands where another one should.
    OutOfOrder,
    /// Something is no line at all.
    NotALine,
    /// The end is missing, as a logged head shows.
    TailCut,
    /// A line is another one than a logged head shows.
    HeadDiffers,
    /// Not wrong: a crash cut a line short, and the next start told of it.
    Torn,
    /// Not wrong: the last line is not complete.
    TornEnd,
    /// Not wrong: a new record begins behind another one.
    NewChain,
    /// Not wrong: the record begins later than with its first line.
    Begins,
    /// Not wrong: the record could not be written for a while, and tells so.
    Gap,
    /// Not wrong: logged heads are older than what was read.
    OlderHeads,
}

impl FindingKind {
    /// Tells whether the record was tampered with.
    #[must_use]
    pub fn is_wrong(self) -> bool {
        match self {
            Self::Edited
            | Self::Missing
            | Self::OutOfOrder
            | Self::NotALine
            | Self::TailCut
            | Self::HeadDiffers => true,
            Self::Torn | Self::TornEnd | Self::NewChain | Self::Begins | Self::Gap | Self::OlderHeads => {
                false
            }
        }
    }
}

impl Report {
    /// Tells whether nothing is wrong.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.problems.is_empty()
    }

    pub(super) fn add(&mut self, finding: Finding) {
        let is_wrong = finding.kind.is_wrong();
        let list = if is_wrong { &mut self.problems } else { &mut self.notes };
        if list.len() < MAX_FINDINGS {
            list.push(finding);
        } else if is_wrong {
            self.more += 1;
        }
    }
}

impl NodeReport {
    pub(super) fn new(node: &str) -> Self {
        Self { node: node.to_owned(), first: 0, last: 0, lines: 0, chains: 0, highest: 0, is_stopped: false }
    }

    pub(super) fn count(&mut self, line: &Sealed<'_>, found: &Found) {
        if self.lines == 0 {
            self.first = line.seq;
        }
        self.lines += 1;
        self.chains += u64::from(self.chains == 0 || matches!(found, Found::BeginsAnew(_)));
        self.is_stopped = false;
        if found.is_proven() {
            self.last = line.seq;
            self.highest = self.highest.max(line.seq);
        }
    }
}

impl Finding {
    pub(super) fn new(kind: FindingKind, message: String) -> Self {
        Self { kind, file: None, line: None, node: None, seq: None, message }
    }

    pub(super) fn at(at: Place<'_>, kind: FindingKind, message: String) -> Self {
        Self { file: Some(at.file.to_owned()), line: Some(at.line), ..Self::new(kind, message) }
    }

    pub(super) fn of(mut self, node: &str, seq: u64) -> Self {
        self.node = Some(node.to_owned());
        self.seq = Some(seq);
        self
    }
}

impl fmt::Display for Finding {
    /// As `audit.jsonl:12: line 11 was edited (node web-1)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(file), Some(line)) = (&self.file, self.line) {
            write!(f, "{file}:{line}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.node {
            Some(node) => write!(f, " (node {node})"),
            None => Ok(()),
        }
    }
}
