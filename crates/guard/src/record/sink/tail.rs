//! Reading the end of a record: the last line that is proven, and what a crash left behind it.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};

use super::{Head, Prover, Torn};
use crate::record::chain::{Mac, Sealed};

/// How much of the end is looked at: many of the longest lines.
const WINDOW: u64 = 1024 * 1024;

/// What stands at the end of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    /// No whole line; so many bytes of something else.
    Empty(u64),
    /// A line that is proven, and what is behind it. The head is `None` when it is a line of another node.
    Line(Option<Head>, Option<Torn>),
    /// Whole lines, none of them proven.
    Foreign,
}

/// Looks at the end of a record.
///
/// # Errors
/// The file cannot be read.
pub(super) fn of(file: &mut File, prover: &Prover) -> io::Result<Tail> {
    let length = file.metadata()?.len();
    let start = length.saturating_sub(WINDOW);
    file.seek(SeekFrom::Start(start))?;
    let mut text = Vec::new();
    Read::by_ref(file).take(WINDOW).read_to_end(&mut text)?;
    Ok(read(&text, start == 0, prover))
}

/// The same of the bytes; `is_whole` tells that they begin with the first line of the file.
pub(super) fn read(text: &[u8], is_whole: bool, prover: &Prover) -> Tail {
    let mut ends: Vec<usize> = line_breaks(text).collect();
    if ends.is_empty() {
        return if is_whole { Tail::Empty(text.len() as u64) } else { Tail::Foreign };
    }
    // Each with its end, one past its line break; the first may begin in the middle.
    let mut behind = 0;
    while let Some(end) = ends.pop() {
        let start = ends.last().map_or(0, |before| before + 1);
        let is_first = ends.is_empty();
        let line = text.get(start..end).and_then(Sealed::parse);
        if let Some(line) = line.filter(|_| is_whole || !is_first) {
            let before = before(text, &ends, &line, prover);
            if before.is_some_and(|before| prover.proves(before, &line)) {
                let bytes = (text.len() - end - 1) as u64;
                let torn = (bytes > 0).then_some(Torn { bytes, lines: behind });
                let head = (line.node == prover.node()).then_some(Head { seq: line.seq, mac: line.mac });
                return Tail::Line(head, torn);
            }
        }
        behind += 1;
    }
    Tail::Foreign
}

/// The MAC that the line before says it has.
fn before(text: &[u8], ends: &[usize], line: &Sealed<'_>, prover: &Prover) -> Option<Mac> {
    if line.seq == 1 {
        return Some(prover.named(line.node).genesis().mac);
    }
    if let Some(mac) = line.before() {
        return Some(mac);
    }
    let (end, earlier) = ends.split_last()?;
    let start = earlier.last().map_or(0, |before| before + 1);
    // The MAC stands at the end, so that a line cut at its beginning tells it too.
    let digits = text.get(start..*end)?.strip_suffix(b"\"}")?;
    Mac::parse(digits.get(digits.len().checked_sub(64)?..)?)
}

fn line_breaks(text: &[u8]) -> impl Iterator<Item = usize> {
    text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::chain::AuditKey;
    use proptest::prelude::*;

    fn record(prover: &Prover, count: u64) -> (Vec<u8>, Vec<Head>) {
        let (mut text, mut heads) = (Vec::new(), vec![prover.genesis()]);
        for _ in 0..count {
            let head = prover.seal(heads[heads.len() - 1], br#""kind":"call""#, &mut text);
            text.push(b'\n');
            heads.push(head);
        }
        (text, heads)
    }

    #[test]
    fn a_line_that_begins_before_the_window_still_proves_the_next() {
        let prover = Prover::new(AuditKey::new(&[1; 32]), "n");
        let (text, heads) = record(&prover, 3);
        let cut = text.len() / 3 + 10;
        assert_eq!(read(&text[cut..], false, &prover), Tail::Line(Some(heads[3]), None));
        let other = Prover::new(AuditKey::new(&[2; 32]), "n");
        assert_eq!(read(&text, true, &other), Tail::Foreign);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn a_record_cut_anywhere_goes_on_after_its_last_whole_line(count in 0_u64..6, cut in 0_usize..2000) {
            let prover = Prover::new(AuditKey::new(&[1; 32]), "n");
            let (text, heads) = record(&prover, count);
            let cut = cut.min(text.len());
            let whole = text[..cut].iter().filter(|byte| **byte == b'\n').count();
            let rest = text[..cut].rsplit(|byte| *byte == b'\n').next().unwrap().len() as u64;
            let expected = match whole {
                0 => Tail::Empty(rest),
                _ => Tail::Line(Some(heads[whole]), (rest > 0).then_some(Torn { bytes: rest, lines: 0 })),
            };
            prop_assert_eq!(read(&text[..cut], true, &prover), expected);
        }
    }
}
