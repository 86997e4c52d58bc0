//! Records that were changed in every way, and what is told of them.

use proptest::prelude::*;

use super::*;
use crate::record::chain::{Head, Mac};

const KEY: [u8; 32] = [3; 32];

/// Files of a record, each a list of lines with their line breaks, and the head of each line.
#[derive(Debug, Clone)]
struct Record {
    files: Vec<Vec<Vec<u8>>>,
    heads: Vec<Head>,
}

impl Record {
    /// A record of `count` lines, with a new file after every `per_file`.
    fn new(node: &str, count: usize, per_file: usize) -> Self {
        let prover = Prover::new(AuditKey::new(&KEY), node);
        let (mut files, mut heads) = (vec![Vec::new()], Vec::<Head>::new());
        let mut head = prover.genesis();
        for number in 0..count {
            let at = r#""at":"2026-11-26T05:10:11.123Z""#;
            let members = match number {
                0 => format!(r#""kind":"start",{at},"version":"1""#),
                _ if number % per_file == 0 => {
                    files.push(Vec::new());
                    format!(r#""kind":"file",{at},"prev":"{}""#, head.mac)
                }
                _ => format!(r#""kind":"call",{at},"tool":"t{number}","outcome":"ok""#),
            };
            let mut line = Vec::new();
            head = prover.seal(head, members.as_bytes(), &mut line);
            line.push(b'\n');
            files.last_mut().unwrap().push(line);
            heads.push(head);
        }
        Self { files, heads }
    }

    fn verify(&self, with_heads: bool, is_complete: bool) -> Report {
        let mut verifier = Verifier::new(AuditKey::new(&KEY), is_complete);
        if with_heads {
            let mut heads = Heads::default();
            self.heads.iter().for_each(|head| heads.add("n", head.seq, head.mac));
            verifier.expect(heads);
        }
        for (number, file) in self.files.iter().enumerate() {
            verifier.read(&format!("f{number}"), file.concat().as_slice()).unwrap();
        }
        verifier.finish()
    }

    /// All lines with the place each stands at.
    fn places(&self) -> Vec<(usize, usize)> {
        let files = self.files.iter().enumerate();
        files.flat_map(|(file, lines)| (0..lines.len()).map(move |line| (file, line))).collect()
    }
}

fn kinds(report: &Report) -> Vec<FindingKind> {
    report.problems.iter().map(|finding| finding.kind).collect()
}

#[test]
fn an_untouched_record_is_whole_and_tells_how_far_it_reaches() {
    let report = Record::new("n", 25, 10).verify(true, true);
    assert!(report.is_whole() && report.notes.is_empty(), "{report:?}");
    assert_eq!(report.lines, 25);
    let node = &report.nodes[0];
    assert_eq!((node.first, node.last, node.lines, node.chains), (1, 25, 25, 1));
}

#[test]
fn what_was_done_is_told_with_its_place() {
    let whole = Record::new("n", 9, 100);
    let text = |record: &Record| {
        let report = record.verify(false, true);
        report.problems.iter().map(|finding| format!("{finding}\n")).collect::<String>()
    };
    let mut edited = whole.clone();
    let at = edited.files[0][4].windows(2).position(|bytes| bytes == b"t4").unwrap();
    edited.files[0][4][at + 1] = b'9';
    assert_eq!(text(&edited), "f0:5: line 5 was edited (node n)\n");
    let mut removed = whole.clone();
    removed.files[0].remove(4);
    assert_eq!(text(&removed), "f0:5: line 5 is missing in front of line 6, or it was edited (node n)\n");
    let mut swapped = whole.clone();
    swapped.files[0].swap(4, 5);
    assert_eq!(
        text(&swapped),
        "f0:5: line 5 is missing in front of line 6, or it was edited (node n)\n\
         f0:6: line 5 stands where line 7 should: it was moved, repeated or edited (node n)\n"
    );
    let mut repeated = whole.clone();
    repeated.files[0].insert(6, whole.files[0][5].clone());
    assert_eq!(
        text(&repeated),
        "f0:7: line 6 stands where line 7 should: it was moved, repeated or edited (node n)\n"
    );
    let mut inserted = whole.clone();
    inserted.files[0].insert(3, b"{\"seq\":4}\n".to_vec());
    assert_eq!(
        text(&inserted),
        "f0:4: this is no line of a record: it was edited beyond recognition, or inserted\n"
    );
    // A MAC alone that was changed is one finding too.
    let mut edited = whole.clone();
    let end = edited.files[0][4].len() - 4;
    edited.files[0][4][end] ^= 1;
    assert_eq!(text(&edited), "f0:5: line 5 was edited (node n)\n");
    // So is a number.
    let mut edited = whole;
    edited.files[0][4][7] = b'8';
    assert_eq!(
        text(&edited),
        "f0:5: lines 5 to 7 are missing in front of line 8, or it was edited (node n)\n"
    );
}

#[test]
fn another_key_proves_nothing() {
    let record = Record::new("n", 5, 100);
    let mut verifier = Verifier::new(AuditKey::new(&[4; 32]), true);
    verifier.read("f", record.files.concat().concat().as_slice()).unwrap();
    assert!(!verifier.finish().is_whole());
}

#[test]
fn files_that_are_missing_at_the_beginning_are_told_unless_the_record_says_that_they_were_removed() {
    let mut record = Record::new("n", 25, 10);
    record.files.remove(0);
    assert_eq!(kinds(&record.verify(false, true)), [FindingKind::Missing]);
    let some = record.verify(false, false);
    assert!(some.is_whole());
    assert_eq!(some.notes[0].kind, FindingKind::Begins);
    // The same with a line that says so.
    let prover = Prover::new(AuditKey::new(&KEY), "n");
    let mut line = Vec::new();
    let members = r#""kind":"file","at":"2026-11-26T05:10:11.123Z","oldest":{"node":"n","seq":11}"#;
    prover.seal(record.heads[24], members.as_bytes(), &mut line);
    record.files.push(vec![line]);
    let report = record.verify(false, true);
    assert!(report.is_whole(), "{report:?}");
    // And not one more than it says.
    record.files.remove(0);
    assert_eq!(kinds(&record.verify(false, true)), [FindingKind::Missing]);
}

#[test]
fn a_line_cut_by_a_crash_is_told_from_one_that_was_cut_by_hand() {
    let record = Record::new("n", 3, 100);
    let prover = Prover::new(AuditKey::new(&KEY), "n");
    let torn = b"{\"seq\":4,\"node\":\"n\",\"ki\n".to_vec();
    let start = |bytes: u64| {
        let mut line = Vec::new();
        let members =
            format!(r#""kind":"start","at":"2026-11-26T05:10:11.123Z","torn":{{"bytes":{bytes},"lines":0}}"#);
        prover.seal(record.heads[2], members.as_bytes(), &mut line);
        line
    };
    let verify = |lines: &[Vec<u8>]| {
        let mut record = record.clone();
        record.files[0].extend_from_slice(lines);
        record.verify(false, true)
    };
    let report = verify(&[torn.clone(), start(23)]);
    assert!(report.is_whole(), "{report:?}");
    assert_eq!(report.notes[0].kind, FindingKind::Torn);
    assert_eq!(kinds(&verify(&[torn.clone(), start(30)])), [FindingKind::NotALine]);
    assert_eq!(kinds(&verify(&[start(23)])), [FindingKind::Missing]);
    let report = verify(&[torn[..10].to_vec()]);
    assert!(report.is_whole());
    assert_eq!(report.notes[0].kind, FindingKind::TornEnd);
}

#[test]
fn lines_of_a_syslog_daemon_are_read_behind_what_it_put_in_front() {
    let record = Record::new("n", 4, 100);
    let text: Vec<u8> = record.files[0]
        .iter()
        .flat_map(|line| {
            [b"Nov 26 05:10:11 n trunkline[7]: ", line.as_slice(), b"Nov 26 05:10:12 n cron[9]: x\n"].concat()
        })
        .collect();
    let verify = |text: &[u8]| {
        let mut verifier = Verifier::new(AuditKey::new(&KEY), false);
        verifier.pass_over_prefixes();
        verifier.read("f", text).unwrap();
        verifier.finish()
    };
    let report = verify(&text);
    assert!(report.is_whole() && report.lines == 4, "{report:?}");
    assert!(!verify(&text[200..]).is_whole());
}

#[test]
fn heads_are_read_from_a_log_of_either_form() {
    let record = Record::new("n", 4, 100);
    let [second, last] = [record.heads[1], record.heads[3]];
    let log = format!(
        "2026-11-26T05:10:11Z  INFO audit head node=\"n\" seq=2 mac={}\n\
         something else\n\
         {{\"timestamp\":\"x\",\"level\":\"INFO\",\"message\":\"audit head\",\"node\":\"n\",\"seq\":4,\"mac\":\"{}\"}}\n\
         \u{1b}[2mx\u{1b}[0m \u{1b}[32m INFO\u{1b}[0m audit head \u{1b}[3mnode\u{1b}[0m\u{1b}[2m=\u{1b}[0m\"n\" \u{1b}[3mseq\u{1b}[0m=4 \u{1b}[3mmac\u{1b}[0m={}\n",
        second.mac, last.mac, last.mac
    );
    let mut heads = Heads::default();
    heads.read(log.as_bytes()).unwrap();
    assert_eq!(heads.len(), 2);
    let mut verifier = Verifier::new(AuditKey::new(&KEY), true);
    verifier.expect(heads);
    verifier.read("f", record.files[0][..3].concat().as_slice()).unwrap();
    let report = verifier.finish();
    assert_eq!(kinds(&report), [FindingKind::TailCut]);
    assert_eq!(
        report.problems[0].to_string(),
        "the record ends with line 3, and the log tells of line 4: the end was cut (node n)"
    );
}

#[test]
fn a_record_that_was_begun_anew_is_found_by_its_heads() {
    let old = Record::new("n", 9, 100);
    let mut verifier = Verifier::new(AuditKey::new(&KEY), true);
    let mut heads = Heads::default();
    heads.add("n", 9, old.heads[8].mac);
    heads.add("n", 2, Mac::default());
    verifier.expect(heads);
    verifier.read("f", Record::new("n", 4, 100).files.concat().concat().as_slice()).unwrap();
    assert_eq!(kinds(&verifier.finish()), [FindingKind::HeadDiffers, FindingKind::TailCut]);
}

#[test]
fn chains_of_several_nodes_may_be_mixed_and_a_second_chain_of_one_is_only_told() {
    let (a, b) = (Record::new("a", 6, 100), Record::new("b", 6, 100));
    let mixed: Vec<u8> =
        a.files[0].iter().zip(&b.files[0]).flat_map(|(a, b)| [a.clone(), b.clone()].concat()).collect();
    let mut verifier = Verifier::new(AuditKey::new(&KEY), true);
    verifier.read("f", mixed.as_slice()).unwrap();
    let prover = Prover::new(AuditKey::new(&KEY), "a");
    let mut again = Vec::new();
    prover.seal(prover.genesis(), br#""kind":"start","at":"2027-11-26T05:10:11.123Z""#, &mut again);
    verifier.read("g", again.as_slice()).unwrap();
    let report = verifier.finish();
    assert!(report.is_whole(), "{report:?}");
    assert_eq!(report.notes[0].kind, FindingKind::NewChain);
    assert_eq!((report.nodes.len(), report.nodes[0].chains), (2, 2));
}

/// Every end there is, in a record of one file and of two.
#[test]
fn wherever_the_end_is_cut_all_that_went_with_it_is_found() {
    for per_file in [2, 100] {
        let whole = Record::new("n", 4, per_file);
        let all = whole.files.concat().concat();
        let ends: Vec<usize> =
            all.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
        for at in 0..=all.len() {
            let mut left = at;
            let cut = whole.files.iter().map(|lines| {
                let file = lines.concat();
                let here = left.min(file.len());
                left -= here;
                vec![file[..here].to_vec()]
            });
            let cut = Record { files: cut.collect(), heads: whole.heads.clone() };
            let (report, lines) = (cut.verify(true, true), ends.iter().filter(|end| **end <= at).count());
            assert_eq!(report.lines, lines as u64, "{at}");
            let expected: &[FindingKind] = if lines == 4 { &[] } else { &[FindingKind::TailCut] };
            assert_eq!(kinds(&report), expected, "{at}: {report:?}");
            // A piece of a line is told of even where no head is known.
            let is_between = at == 0 || ends.contains(&at) || ends.contains(&(at - 1));
            assert_eq!(cut.verify(false, true).notes.is_empty(), is_between, "{at}");
        }
    }
}

/// One thing that someone does to a record.
#[derive(Debug, Clone)]
enum Edit {
    Flip { place: prop::sample::Index, at: prop::sample::Index, xor: u8 },
    Remove(prop::sample::Index),
    Swap(prop::sample::Index, prop::sample::Index),
    Repeat(prop::sample::Index, prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    Cut(prop::sample::Index),
    RemoveFile(prop::sample::Index),
    SwapFiles(prop::sample::Index, prop::sample::Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    use prop::sample::Index;
    prop_oneof![
        4 => (any::<Index>(), any::<Index>(), 1..=255_u8).prop_map(|(place, at, xor)| Edit::Flip { place, at, xor }),
        1 => any::<Index>().prop_map(Edit::Remove),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Edit::Swap(a, b)),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Edit::Repeat(a, b)),
        1 => (any::<Index>(), prop::collection::vec(any::<u8>(), 1..40)).prop_map(|(a, bytes)| Edit::Insert(a, bytes)),
        1 => any::<Index>().prop_map(Edit::Cut),
        1 => any::<Index>().prop_map(Edit::RemoveFile),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Edit::SwapFiles(a, b)),
    ]
}

/// Does it; tells whether it is only found against a logged head, since nothing behind it is there to show it.
fn apply(record: &mut Record, edit: &Edit) -> bool {
    let places = record.places();
    let last = *places.last().unwrap();
    match edit {
        Edit::Flip { place, at, xor } => {
            let (file, line) = *place.get(&places);
            let bytes = &mut record.files[file][line];
            let at = at.index(bytes.len());
            bytes[at] ^= xor;
            // Without its line break the last line looks like one that is being written.
            (file, line) == last && at + 1 == bytes.len()
        }
        Edit::Remove(place) => {
            let (file, line) = *place.get(&places);
            record.files[file].remove(line);
            (file, line) == last
        }
        Edit::Swap(a, b) => {
            let ((file, line), (other, with)) = (*a.get(&places), *b.get(&places));
            let kept = record.files[file][line].clone();
            record.files[file][line] = std::mem::replace(&mut record.files[other][with], kept);
            false
        }
        Edit::Repeat(from, to) => {
            let ((file, line), (other, at)) = (*from.get(&places), *to.get(&places));
            let copy = record.files[file][line].clone();
            record.files[other].insert(at, copy);
            false
        }
        Edit::Insert(at, bytes) => {
            let (file, line) = *at.get(&places);
            record.files[file].insert(line, [bytes, &b"\n"[..]].concat());
            false
        }
        Edit::Cut(at) => {
            let all = record.files.concat().concat();
            let at = at.index(all.len());
            let mut cut = Record { files: vec![vec![all[..at].to_vec()]], heads: record.heads.clone() };
            std::mem::swap(record, &mut cut);
            true
        }
        Edit::RemoveFile(file) => {
            let number = file.index(record.files.len());
            record.files.remove(number);
            number == record.files.len()
        }
        Edit::SwapFiles(a, b) => {
            let (a, b) = (a.index(record.files.len()), b.index(record.files.len()));
            record.files.swap(a, b);
            false
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn whatever_is_done_to_a_record_is_found(count in 2_usize..40, per_file in 2_usize..20, edit in edit()) {
        let whole = Record::new("n", count, per_file);
        let mut record = whole.clone();
        let needs_head = apply(&mut record, &edit);
        let (before, after) = (whole.files.concat().concat(), record.files.concat().concat());
        // The last line is whole without its line break too: nothing is lost with it.
        if after == before || [&after[..], b"\n"].concat() == before {
            let report = record.verify(true, true);
            prop_assert!(report.is_whole() && report.lines == count as u64, "{:?}", report);
        } else {
            prop_assert!(!record.verify(true, true).is_whole(), "with heads");
            prop_assert!(needs_head || !record.verify(false, true).is_whole(), "without heads");
        }
    }
}
