//! The heads that a server logged: each is a line the record must have.

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use serde::Deserialize;

use super::report::{Finding, FindingKind, NodeReport};
use crate::record::chain::Mac;
use crate::record::read::BoundedLines;

/// What the log says in front of a head.
const MESSAGE: &str = "audit head";
/// Most heads that are kept, of each node the latest: one a minute for two years.
const MAX_HEADS: usize = 1_000_000;

/// Lines that a record must have, as a log shows them.
#[derive(Debug, Default)]
pub struct Heads {
    nodes: BTreeMap<Box<str>, BTreeMap<u64, Vec<Expected>>>,
    count: usize,
}

#[derive(Debug)]
struct Expected {
    mac: Mac,
    is_there: bool,
}

/// A head as a log of JSON has it.
#[derive(Deserialize)]
struct Logged {
    message: String,
    node: String,
    seq: u64,
    mac: String,
}

impl Heads {
    /// Reads the heads of a log of either form; other lines are passed over.
    ///
    /// # Errors
    /// It cannot be read to its end.
    pub fn read(&mut self, log: impl BufRead) -> io::Result<()> {
        let mut lines = BoundedLines::new(log);
        let mut line = Vec::new();
        while lines.next(&mut line)?.is_some() {
            let Ok(text) = std::str::from_utf8(&line) else { continue };
            if !text.contains(MESSAGE) {
                continue;
            }
            if let Some((node, seq, mac)) = of_json(text).or_else(|| of_text(text)) {
                self.add(&node, seq, mac);
            }
        }
        Ok(())
    }

    /// Returns how many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Tells whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Expects that line.
    pub fn add(&mut self, node: &str, seq: u64, mac: Mac) {
        let heads = self.nodes.entry(node.into()).or_default();
        if self.count >= MAX_HEADS
            && let Some((_, oldest)) = heads.pop_first()
        {
            self.count -= oldest.len();
        }
        let expected = heads.entry(seq).or_default();
        if expected.iter().all(|known| known.mac != mac) {
            expected.push(Expected { mac, is_there: false });
            self.count += 1;
        }
    }

    /// Notes that a line is there.
    pub(super) fn seen(&mut self, node: &str, seq: u64, mac: Mac) {
        if self.count == 0 {
            return;
        }
        let expected = self.nodes.get_mut(node).and_then(|heads| heads.get_mut(&seq));
        for head in expected.into_iter().flatten().filter(|head| head.mac == mac) {
            head.is_there = true;
        }
    }

    /// Tells which lines are not there.
    pub(super) fn missing(&self, nodes: &[NodeReport]) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (node, heads) in &self.nodes {
            let absent = heads.iter().filter(|(_, all)| all.iter().any(|head| !head.is_there));
            let absent: Vec<u64> = absent.map(|(seq, _)| *seq).collect();
            let known = nodes.iter().find(|known| *known.node == **node);
            let (first, highest) = known.map_or((0, 0), |known| (known.first, known.highest));
            let is_only_one = known.is_none_or(|known| known.chains <= 1);
            let older = absent.iter().filter(|seq| is_only_one && **seq < first).count();
            if older > 0 {
                let what = format!("{older} logged heads are of lines in front of line {first}");
                findings.push(Finding::new(FindingKind::OlderHeads, what).of(node, first));
            }
            for seq in absent.iter().filter(|seq| **seq <= highest && (!is_only_one || **seq >= first)) {
                let what = format!(
                    "line {seq} is another one than the log tells, or belongs to files that were not given"
                );
                findings.push(Finding::new(FindingKind::HeadDiffers, what).of(node, *seq));
            }
            if let Some(last) = absent.last().filter(|last| **last > highest) {
                let what = match highest {
                    0 => format!("there is no line, and the log tells of line {last}"),
                    _ => format!(
                        "the record ends with line {highest}, and the log tells of line {last}: the end was cut"
                    ),
                };
                findings.push(Finding::new(FindingKind::TailCut, what).of(node, *last));
            }
        }
        findings
    }
}

fn of_json(text: &str) -> Option<(String, u64, Mac)> {
    let logged: Logged = serde_json::from_str(text.trim()).ok()?;
    (logged.message == MESSAGE).then_some(())?;
    Some((logged.node, logged.seq, Mac::parse(logged.mac.as_bytes())?))
}

/// Reads `... audit head node="n" seq=12 mac=...`.
fn of_text(text: &str) -> Option<(String, u64, Mac)> {
    let text = without_colours(text);
    let (_, rest) = text.split_once(MESSAGE)?;
    let value = |key: &str| {
        let (_, rest) = rest.split_once(key)?;
        Some(rest.split_whitespace().next()?.trim_matches('"'))
    };
    let mac = Mac::parse(value(" mac=")?.as_bytes())?;
    Some((value(" node=")?.to_owned(), value(" seq=")?.parse().ok()?, mac))
}

/// Takes the escape sequences out that a log on a terminal has.
fn without_colours(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(part.split_once('m').map_or("", |(_, rest)| rest));
    }
    out
}
