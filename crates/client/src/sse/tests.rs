//! The shapes an event stream may have (CL-01), cut at every place.

use proptest::prelude::*;

use super::*;

fn parse<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let mut parser = Parser::new(1024);
    let mut events = Vec::new();
    for chunk in chunks {
        parser.feed(chunk, &mut events).unwrap();
    }
    events.into_iter().map(|event| String::from_utf8(event).unwrap()).collect()
}

const SHAPES: &[(&str, &[&str])] = &[
    ("data: {\"a\":1}\n\n", &["{\"a\":1}"]),
    ("data: {\"a\":1}\r\n\r\n", &["{\"a\":1}"]),
    ("data: {\"a\":1}\r\r", &["{\"a\":1}"]),
    ("data: {\"a\":1}\r\n\n", &["{\"a\":1}"]),
    ("data: {\"a\":\ndata: 1}\n\n", &["{\"a\":\n1}"]),
    ("data:{\"a\":1}\n\n", &["{\"a\":1}"]),
    ("\u{feff}data: 1\n\n", &["1"]),
    ("\u{feff}data: 1\n\n\u{feff}data: 2\n\n", &["1"]),
    (":\n: ping\n\n:\n\ndata: 1\n: in between\ndata: 2\n\n", &["1\n2"]),
    ("id: 7\n\nevent: message\nid: 8\nretry: 10\ndata: 1\n\n", &["1"]),
    ("id: 7\ndata:\n\ndata: 1\n\n", &["1"]),
    ("data\ndata: x\n\n", &["\nx"]),
    ("data:  two spaces\n\n", &[" two spaces"]),
    ("data: cut off\n", &[]),
    ("data: 1\n\ndata: 2\n\n\n\n", &["1", "2"]),
    ("database: no\nDATA: no\n\n", &[]),
];

#[test]
fn cl_01_every_legal_shape_arrives_whole_and_byte_by_byte() {
    for (text, expected) in SHAPES {
        assert_eq!(parse([text.as_bytes()]), *expected, "{text:?}");
        assert_eq!(parse(text.as_bytes().chunks(1)), *expected, "{text:?} byte by byte");
    }
}

#[test]
fn cl_01_a_stream_cut_in_two_at_any_place_reads_the_same() {
    for (text, expected) in SHAPES {
        for at in 0..=text.len() {
            let (before, after) = text.as_bytes().split_at(at);
            assert_eq!(parse([before, after]), *expected, "{text:?} cut at {at}");
        }
    }
}

#[test]
fn lines_and_events_beyond_the_limit_are_refused() {
    let mut parser = Parser::new(8);
    assert_eq!(parser.feed(b"data: 12345678\n\n", &mut Vec::new()), Ok(()));
    assert_eq!(parser.feed(b"data: 1234\ndata: 5678\n\n", &mut Vec::new()), Err(TooLarge));
    assert_eq!(Parser::new(8).feed(&[b':'; 100], &mut Vec::new()), Err(TooLarge));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Data of several lines, written with any mix of line ends and comments and cut anywhere, reads back.
    #[test]
    fn written_events_read_back(
        events in prop::collection::vec(prop::collection::vec("[^\r\n]{0,12}", 1..4), 0..5),
        ends in prop::collection::vec(0usize..3, 64),
        cuts in prop::collection::vec(0usize..9, 0..64),
    ) {
        // A lone CR before a line that LF ends at once would read as one CRLF, so an end is never an empty line's LF.
        let mut text = Vec::new();
        let mut ends = ends.into_iter().cycle();
        for event in &events {
            for line in event {
                text.extend_from_slice(b": comment");
                text.extend_from_slice(["\n", "\r\n", "\r"][ends.next().unwrap()].as_bytes());
                text.extend_from_slice(b"data: ");
                text.extend_from_slice(line.as_bytes());
                text.extend_from_slice(["\n", "\r\n"][ends.next().unwrap() % 2].as_bytes());
            }
            text.extend_from_slice(["\n", "\r\n", "\r"][ends.next().unwrap()].as_bytes());
        }
        let mut chunks = Vec::new();
        let mut rest = text.as_slice();
        for cut in cuts {
            let (chunk, after) = rest.split_at(cut.min(rest.len()));
            chunks.push(chunk);
            rest = after;
        }
        chunks.push(rest);
        let expected: Vec<String> = events.iter().map(|lines| lines.join("\n")).filter(|data| !data.is_empty()).collect();
        prop_assert_eq!(parse(chunks), expected);
    }

    #[test]
    fn any_bytes_read_the_same_however_they_are_cut(bytes in prop::collection::vec(prop::sample::select(b"\n\r: dat\xEF\xBB\xBF{".to_vec()), 0..60), at in 0usize..60) {
        let (before, after) = bytes.split_at(at.min(bytes.len()));
        let mut whole = Vec::new();
        Parser::new(1024).feed(&bytes, &mut whole).unwrap();
        let mut parts = Vec::new();
        let mut parser = Parser::new(1024);
        parser.feed(before, &mut parts).unwrap();
        parser.feed(after, &mut parts).unwrap();
        prop_assert_eq!(whole, parts);
    }
}
