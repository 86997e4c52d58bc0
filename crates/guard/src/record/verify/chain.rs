//! Following one node's chain: what each line is, seen from the one before.

use super::report::{Finding, FindingKind};
use super::{Place, Prover, Sealed};
use crate::record::chain::Mac;

/// Where a chain stands.
#[derive(Debug, Default)]
pub(super) struct ChainState {
    last: Option<Last>,
    /// The first lines of all chains of this node, which never occur twice.
    begun: Vec<Mac>,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    seq: u64,
    mac: Mac,
    /// What the MAC should have been, where the line was not what it should have been.
    should: Option<Mac>,
}

/// Most chains of one node whose beginnings are remembered.
const MAX_CHAINS: usize = 100_000;

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The next one.
    Next,
    /// The first that is read of this node; it is proven by what it says of the line before.
    Begins,
    /// The first of a chain that comes after another one of the same node, which ended with that line.
    BeginsAnew(u64),
    /// A proven one behind lines that are missing, from that number on.
    After(u64),
    /// One that is not proven, behind lines that are missing, from that number on.
    Unproven(u64),
    /// The one that should come, and it was edited.
    Edited,
    /// One that came before, or should have; the next one has that number.
    OutOfOrder(u64),
    /// A chain that was read before.
    Repeated,
}

impl ChainState {
    /// Looks at the next line, and goes on behind it.
    pub(super) fn follow(&mut self, prover: &Prover, line: &Sealed<'_>) -> Found {
        let found = self.look(prover, line);
        let goes_on = !matches!(found, Found::OutOfOrder(_) | Found::Repeated);
        if goes_on {
            let before = self.last.map(|last| last.should.unwrap_or(last.mac));
            let should = before.filter(|_| found == Found::Edited).map(|before| prover.follow(before, line));
            self.last = Some(Last { seq: line.seq, mac: line.mac, should });
        }
        found
    }

    fn look(&mut self, prover: &Prover, line: &Sealed<'_>) -> Found {
        if let Some(last) = self.last
            && (prover.proves(last.mac, line) || last.should.is_some_and(|mac| prover.proves(mac, line)))
        {
            return Found::Next;
        }
        if line.seq == 1 && prover.proves(prover.genesis().mac, line) {
            return self.begin(line);
        }
        let is_proven = line.before().is_some_and(|before| prover.proves(before, line));
        match self.last {
            None if is_proven => Found::Begins,
            None if line.seq == 1 => Found::Edited,
            None => Found::Unproven(1),
            Some(last) if line.seq == last.seq + 1 => Found::Edited,
            Some(last) if line.seq <= last.seq => Found::OutOfOrder(last.seq + 1),
            Some(last) if is_proven => Found::After(last.seq + 1),
            Some(last) => Found::Unproven(last.seq + 1),
        }
    }

    fn begin(&mut self, line: &Sealed<'_>) -> Found {
        if self.begun.contains(&line.mac) {
            return Found::Repeated;
        }
        if self.begun.len() < MAX_CHAINS {
            self.begun.push(line.mac);
        }
        self.last.map_or(Found::Begins, |last| Found::BeginsAnew(last.seq))
    }
}

impl Found {
    /// Tells whether the line is what its node wrote.
    pub(super) fn is_proven(self) -> bool {
        matches!(self, Self::Next | Self::Begins | Self::BeginsAnew(_) | Self::After(_))
    }

    /// Tells what is wrong with a line, or worth knowing.
    pub(super) fn tell(self, at: Place<'_>, line: &Sealed<'_>) -> Option<Finding> {
        let seq = line.seq;
        let lines = |from: u64| match seq.checked_sub(1) {
            Some(to) if to > from => format!("lines {from} to {to} are missing"),
            _ => format!("line {from} is missing"),
        };
        let (kind, what) = match self {
            Self::Next | Self::Begins => return None,
            Self::BeginsAnew(last) => {
                let what = format!("a new record begins here; the one before ended with line {last}");
                (FindingKind::NewChain, what)
            }
            Self::After(from) => (FindingKind::Missing, format!("{} in front of line {seq}", lines(from))),
            Self::Unproven(1) => {
                let what = format!(
                    "{} in front of line {seq}, or it was edited, or the key is another one",
                    lines(1)
                );
                (FindingKind::Missing, what)
            }
            Self::Unproven(from) => {
                (FindingKind::Missing, format!("{} in front of line {seq}, or it was edited", lines(from)))
            }
            Self::Edited => (FindingKind::Edited, format!("line {seq} was edited")),
            Self::OutOfOrder(next) => {
                let what =
                    format!("line {seq} stands where line {next} should: it was moved, repeated or edited");
                (FindingKind::OutOfOrder, what)
            }
            Self::Repeated => {
                (FindingKind::OutOfOrder, "the record begins a second time: it was repeated".to_owned())
            }
        };
        Some(Finding::at(at, kind, what).of(line.node, seq))
    }
}
