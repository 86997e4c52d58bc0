//! Proving a record: that no line of it was edited, removed, swapped, inserted or repeated, and that its end is there.
//!
//! Files are read once, a line at a time, and each node's chain is followed through all of them. After a line that is not what
//! it should be the chain is taken up again there, so that all that is wrong is told. What is missing at the end shows only
//! against the heads that were logged meanwhile.

mod chain;
mod heads;
mod report;

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use super::chain::{AuditKey, Prover, Sealed};
use super::read::{BoundedLines, Entry};
use super::sink::Torn;
use chain::ChainState;

pub use heads::Heads;
pub use report::{Finding, FindingKind, NodeReport, Report};

/// Most nodes that are followed: more names than that are made up.
const MAX_NODES: usize = 10_000;

/// Follows the chains of a record through its files.
#[derive(Debug)]
pub struct Verifier {
    key: AuditKey,
    nodes: BTreeMap<Box<str>, Node>,
    heads: Heads,
    report: Report,
    is_complete: bool,
    /// The last line of all: its node and number.
    last: (String, u64),
    /// Lines have something in front, and other lines stand between them.
    has_prefixes: bool,
    /// The oldest line each node's record is said to begin with since older files were removed.
    oldest: BTreeMap<String, u64>,
}

#[derive(Debug)]
struct Node {
    prover: Prover,
    chain: ChainState,
    report: NodeReport,
}

/// Pieces in a row that are no lines: tampered with, unless the next line says that crashes left them.
#[derive(Debug, Default)]
struct Broken {
    /// The line of the file that the first of them is.
    line: u64,
    /// How they begin; of many only the first.
    heads: Vec<Vec<u8>>,
    count: u64,
    /// All of them, with the line breaks between.
    bytes: u64,
}

impl Broken {
    fn add(&mut self, line: u64, text: &[u8], length: u64) {
        if self.count == 0 {
            self.line = line;
        } else {
            self.bytes += 1;
        }
        if self.heads.len() < MAX_TORN {
            self.heads.push(text.get(..text.len().min(160)).unwrap_or_default().to_vec());
        }
        self.count += 1;
        self.bytes += length;
    }

    /// Tells whether all of it is what crashes leave of that line: its beginnings. Without a name it may be of any node.
    fn begins(&self, node: &str, seq: u64) -> bool {
        let mut head = format!(r#"{{"seq":{seq},"node":""#);
        if !node.is_empty() {
            head.push_str(node);
            head.push_str(r#"","kind":""#);
        }
        let begins = |piece: &Vec<u8>| {
            (piece.starts_with(head.as_bytes()) && Sealed::parse(piece).is_none())
                || head.as_bytes().starts_with(piece)
        };
        self.heads.len() as u64 == self.count && self.heads.iter().all(begins)
    }

    /// Tells whether it is what a line says of what is in front of it.
    fn is_torn(&self, torn: Torn, entry: &Entry) -> bool {
        torn.bytes == self.bytes && torn.lines + 1 == self.count && self.begins(&entry.node, entry.seq)
    }
}

/// Most pieces in a row that crashes may leave.
const MAX_TORN: usize = 1000;

impl Verifier {
    /// Begins with nothing read. `is_complete` tells that all files there are will be read: what is missing at the beginning
    /// is then told too.
    #[must_use]
    pub fn new(key: AuditKey, is_complete: bool) -> Self {
        Self {
            key,
            nodes: BTreeMap::new(),
            heads: Heads::default(),
            report: Report::default(),
            is_complete,
            last: (String::new(), 0),
            has_prefixes: false,
            oldest: BTreeMap::new(),
        }
    }

    /// Takes lines as a syslog daemon wrote them: what it put in front is passed over, and so are lines of others.
    pub fn pass_over_prefixes(&mut self) {
        self.has_prefixes = true;
    }

    /// Expects the lines whose heads were logged.
    pub fn expect(&mut self, heads: Heads) {
        self.heads = heads;
    }

    /// Reads a file, in the order in which the record was written.
    ///
    /// # Errors
    /// It cannot be read to its end.
    pub fn read(&mut self, file: &str, input: impl BufRead) -> io::Result<()> {
        let mut lines = BoundedLines::new(input);
        let (mut text, mut broken, mut is_ended) = (Vec::new(), None::<Broken>, true);
        while let Some(piece) = lines.next(&mut text)? {
            let at = Place { file, line: lines.number() };
            if self.has_prefixes && !drop_prefix(&mut text) {
                continue;
            }
            match Sealed::parse(&text).filter(|_| self.has_prefixes || piece.length == text.len() as u64) {
                Some(line) => {
                    let before = broken.take();
                    self.line(at, &line, &text, before);
                }
                None => {
                    let broken = broken.get_or_insert_default();
                    broken.add(at.line, &text, piece.length);
                }
            }
            is_ended = piece.is_ended;
        }
        match broken {
            Some(broken) if !is_ended && broken.begins(&self.last.0, self.last.1 + 1) => {
                self.torn_end(file, &broken);
            }
            broken => self.not_lines(file, broken),
        }
        Ok(())
    }

    fn torn_end(&mut self, file: &str, broken: &Broken) {
        let what = "the last line is not complete: a crash cut it short, or it is being written".to_owned();
        let at = Place { file, line: broken.line };
        self.report.add(Finding::at(at, FindingKind::TornEnd, what));
    }

    fn not_lines(&mut self, file: &str, broken: Option<Broken>) {
        let Some(Broken { line, count, .. }) = broken else { return };
        for line in line..line.saturating_add(count).min(line + MAX_TORN as u64) {
            let what =
                "this is no line of a record: it was edited beyond recognition, or inserted".to_owned();
            self.report.add(Finding::at(Place { file, line }, FindingKind::NotALine, what));
        }
    }

    fn line(&mut self, at: Place<'_>, line: &Sealed<'_>, text: &[u8], broken: Option<Broken>) {
        self.report.lines += 1;
        if !self.nodes.contains_key(line.node) {
            if self.nodes.len() >= MAX_NODES {
                return self
                    .not_lines(at.file, Some(Broken { line: at.line, count: 1, ..Broken::default() }));
            }
            let prover = Prover::new(self.key.clone(), line.node);
            let node = Node { prover, chain: ChainState::default(), report: NodeReport::new(line.node) };
            self.nodes.insert(line.node.into(), node);
        }
        let Some(node) = self.nodes.get_mut(line.node) else { return };
        let found = node.chain.follow(&node.prover, line);
        if self.last.0 != line.node {
            line.node.clone_into(&mut self.last.0);
        }
        self.last.1 = line.seq;
        node.report.count(line, &found);
        if found.is_proven() {
            self.heads.seen(line.node, line.seq, line.mac);
        }
        if let Some(finding) = found.tell(at, line) {
            self.report.add(finding);
        }
        let entry =
            (found.is_proven() && is_of_record(text)).then(|| serde_json::from_slice::<Entry>(text).ok());
        self.about_record(at, entry.flatten(), broken);
    }

    /// Looks at what a proven line says of the record itself.
    fn about_record(&mut self, at: Place<'_>, entry: Option<Entry>, broken: Option<Broken>) {
        let torn = entry.as_ref().and_then(|entry| Some((entry, entry.torn?)));
        match (broken, torn) {
            (Some(broken), Some((entry, torn))) if broken.is_torn(torn, entry) => {
                let what = format!(
                    "a crash cut a line short after {} bytes, as line {} tells",
                    torn.bytes, entry.seq
                );
                let at = Place { line: broken.line, ..at };
                self.report.add(Finding::at(at, FindingKind::Torn, what));
            }
            (Some(broken), _) => self.not_lines(at.file, Some(broken)),
            (None, Some(_)) => {
                let what = "this line tells of one that a crash cut short, and there is none".to_owned();
                self.report.add(Finding::at(at, FindingKind::Missing, what));
            }
            (None, None) => {}
        }
        let Some(entry) = entry else { return };
        let lost = entry.lost + if entry.kind == "lost" { entry.count.unwrap_or(0) } else { 0 };
        if lost + entry.refused > 0 {
            let what = format!(
                "{lost} lines were lost and {} requests refused while it could not be written",
                entry.refused
            );
            self.report.add(Finding::at(at, FindingKind::Gap, what).of(&entry.node, entry.seq));
        }
        if let Some(node) = self.nodes.get_mut(entry.node.as_str()) {
            node.report.is_stopped = entry.kind == "stop";
        }
        if let Some(oldest) = entry.oldest {
            let told = self.oldest.entry(oldest.node.into()).or_default();
            *told = oldest.seq.max(*told);
        }
    }

    /// Tells what was found.
    #[must_use]
    pub fn finish(mut self) -> Report {
        for node in self.nodes.values() {
            let NodeReport { node, first, .. } = &node.report;
            if *first > 1 {
                let removed = self.oldest.get(node).is_some_and(|oldest| first <= oldest);
                let (kind, what) = match (removed, self.is_complete) {
                    (true, _) => (FindingKind::Begins, "as older files were removed by `rotate-keep`"),
                    (false, false) => (FindingKind::Begins, "in the files that were given"),
                    (false, true) => {
                        (FindingKind::Missing, "and nothing tells that older lines were removed")
                    }
                };
                let what = format!("the record begins with line {first}, {what}");
                self.report.add(Finding::new(kind, what).of(node, *first));
            }
        }
        let reports: Vec<NodeReport> = self.nodes.into_values().map(|node| node.report).collect();
        for finding in self.heads.missing(&reports) {
            self.report.add(finding);
        }
        self.report.nodes = reports;
        self.report
    }
}

/// Drops what stands in front of a line; `false` when there is no line in it.
fn drop_prefix(text: &mut Vec<u8>) -> bool {
    const HEAD: &[u8] = br#"{"seq":"#;
    let Some(at) = text.windows(HEAD.len()).position(|bytes| bytes == HEAD) else { return false };
    text.drain(..at);
    true
}

/// Where a line stands.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    file: &'a str,
    line: u64,
}

/// Tells whether a line is about the record itself: those alone are read in full.
fn is_of_record(text: &[u8]) -> bool {
    let head = text.get(..text.len().min(160)).unwrap_or_default();
    let Some(at) = head.windows(KIND.len()).position(|bytes| bytes == KIND) else { return false };
    let rest = head.get(at + KIND.len()..).unwrap_or_default();
    !rest.starts_with(br#"call""#) && !rest.starts_with(br#"denied""#)
}

const KIND: &[u8] = br#","kind":""#;

#[cfg(test)]
mod tests;
