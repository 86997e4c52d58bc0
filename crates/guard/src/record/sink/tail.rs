//! Reading the end of a record: the last line that is proven, and what a crash left behind it.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};

use super::{Head, Prover, Torn};
use crate::record::chain::{Mac, Sealed};

/// How much of the end is looked at: many of the longest lines.
const WINDOW: u64 = 1024 * 1024;
/// The most bytes that crashes can have left in a file without any whole line.
const MAX_TORN: usize = 256 * 1024;

/// What stands at the end of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    /// Nothing, or only what crashes left of first lines.
    Empty(Option<Torn>),
    /// A line that is proven, and what is behind it. The head is `None` when it is a line of another node.
    Line(Option<Head>, Option<Torn>),
    /// Something else, none of it proven.
    Foreign,
}

/// Looks at the end of a record; tells also whether it ends with a line break, as nothing does.
///
/// # Errors
/// The file cannot be read.
pub(super) fn of(file: &mut File, prover: &Prover) -> io::Result<(Tail, bool)> {
    let length = file.metadata()?.len();
    let start = length.saturating_sub(WINDOW);
    file.seek(SeekFrom::Start(start))?;
    let mut text = Vec::new();
    Read::by_ref(file).take(WINDOW).read_to_end(&mut text)?;
    Ok((read(&text, start == 0, prover), text.last().is_none_or(|byte| *byte == b'\n')))
}

/// The same of the bytes; `is_whole` tells that they begin with the first line of the file.
pub(super) fn read(text: &[u8], is_whole: bool, prover: &Prover) -> Tail {
    // The end counts as one: only the line break of the last line may be missing.
    let open = text.last().filter(|byte| **byte != b'\n').map(|_| text.len());
    let mut ends: Vec<usize> = line_breaks(text).chain(open).collect();
    // From the last line to the first, which may begin in the middle.
    while let Some(end) = ends.pop() {
        let start = ends.last().map_or(0, |before| before + 1);
        let is_first = ends.is_empty();
        let line = text.get(start..end).and_then(Sealed::parse);
        if let Some(line) = line.filter(|_| is_whole || !is_first) {
            let before = before(text, &ends, &line, prover);
            if before.is_some_and(|before| prover.proves(before, &line)) {
                let head = (line.node == prover.node()).then_some(Head { seq: line.seq, mac: line.mac });
                return Tail::Line(head, torn(text.get(end + 1..).unwrap_or_default()));
            }
        }
    }
    if is_whole && text.len() <= MAX_TORN && text.split(|byte| *byte == b'\n').all(may_be_torn) {
        Tail::Empty(torn(text))
    } else {
        Tail::Foreign
    }
}

/// Measures what is no line, the line break at its end aside.
fn torn(text: &[u8]) -> Option<Torn> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let torn = Torn { bytes: text.len() as u64, lines: line_breaks(text).count() as u64 };
    (torn.bytes > 0).then_some(torn)
}

/// Tells whether it may be the beginning of a line.
fn may_be_torn(piece: &[u8]) -> bool {
    const HEAD: &[u8] = br#"{"seq":"#;
    (piece.starts_with(HEAD) || HEAD.starts_with(piece)) && Sealed::parse(piece).is_none()
}

/// The MAC that the line before says it has.
fn before(text: &[u8], ends: &[usize], line: &Sealed<'_>, prover: &Prover) -> Option<Mac> {
    if line.seq == 1 {
        return Some(prover.named(line.node).genesis().mac);
    }
    if let Some(mac) = line.before() {
        return Some(mac);
    }
    // What crashes left in between has none.
    let macs = ends.iter().enumerate().rev().map(|(number, end)| {
        let start = number.checked_sub(1).and_then(|before| ends.get(before)).map_or(0, |before| before + 1);
        mac_of(text.get(start..*end)?)
    });
    macs.flatten().next()
}

/// The MAC at the end of a line, which one cut at its beginning has too.
fn mac_of(line: &[u8]) -> Option<Mac> {
    let digits = line.strip_suffix(b"\"}")?;
    let (head, digits) = digits.split_at_checked(digits.len().checked_sub(64)?)?;
    head.ends_with(b",\"mac\":\"").then(|| Mac::parse(digits))?
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

    #[test]
    fn what_several_crashes_left_is_told_from_a_file_of_something_else() {
        let prover = Prover::new(AuditKey::new(&[1; 32]), "n");
        let (mut text, heads) = record(&prover, 1);
        let behind = b"{\"seq\":2,\"no\n{\"se\n";
        let torn = Some(Torn { bytes: behind.len() as u64 - 1, lines: 1 });
        assert_eq!(read(behind, true, &prover), Tail::Empty(torn));
        text.extend_from_slice(behind);
        assert_eq!(read(&text, true, &prover), Tail::Line(Some(heads[1]), torn));
        assert_eq!(read(&text[..text.len() - 1], true, &prover), Tail::Line(Some(heads[1]), torn));
        // A line behind it is proven all the same.
        let head = prover.seal(heads[1], br#""kind":"start""#, &mut text);
        assert_eq!(read(&text, true, &prover), Tail::Line(Some(head), None));
        assert_eq!(read(b"host = 1\n", true, &prover), Tail::Foreign);
        assert_eq!(read(b"", true, &prover), Tail::Empty(None));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn a_record_cut_anywhere_goes_on_after_its_last_whole_line(count in 0_u64..6, cut in 0_usize..2000) {
            let prover = Prover::new(AuditKey::new(&[1; 32]), "n");
            let (text, heads) = record(&prover, count);
            let cut = cut.min(text.len());
            let mut whole = text[..cut].iter().filter(|byte| **byte == b'\n').count();
            let mut rest = text[..cut].rsplit(|byte| *byte == b'\n').next().unwrap().len() as u64;
            // A line is whole without its line break too.
            if rest > 0 && text.get(cut) == Some(&b'\n') {
                (whole, rest) = (whole + 1, 0);
            }
            let expected = match whole {
                0 => Tail::Empty((rest > 0).then_some(Torn { bytes: rest, lines: 0 })),
                _ => Tail::Line(Some(heads[whole]), (rest > 0).then_some(Torn { bytes: rest, lines: 0 })),
            };
            prop_assert_eq!(read(&text[..cut], true, &prover), expected);
        }
    }
}
