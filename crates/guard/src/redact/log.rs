//! Hides in lines of a log: first what has the name of a secret, whatever it looks like, then credentials of known forms, and what
//! else is asked for.
//!
//! It works on whole lines, as they are about to be written, so that it does not matter who wrote them: our own events, a library's
//! at its most verbose level, or a panic. A line of JSON is walked and stays JSON.

use std::borrow::Cow;
use std::ops::Range;

use super::detect::{Detector, Detectors, Tally, is_secret_name};
use super::rewrite::{HIDDEN, Rewriter, Rules, looks_like_json};

/// What is hidden in a log.
#[derive(Debug, Clone)]
pub struct LogVeil {
    rules: Rules,
}

impl LogVeil {
    /// Makes a veil that hides secrets by their names and credentials, and what else is looked for.
    #[must_use]
    pub fn new(more: Detectors) -> Self {
        let detectors = more.with(Detector::Token);
        Self { rules: Rules { detectors, hides_names: true, ..Rules::default() } }
    }

    /// Returns the line as it may be written; borrowed when nothing in it is hidden.
    #[must_use]
    pub fn clean<'l>(&self, line: &'l str) -> Cow<'l, str> {
        let mut rewriter = Rewriter::new(&self.rules);
        if looks_like_json(line)
            && let Ok(other) = rewriter.json(line, self.rules.paths.top(), 0)
        {
            return other.map_or(Cow::Borrowed(line), Cow::Owned);
        }
        let named = hide_named(line);
        match self.rules.detectors.clean(&named, "", &mut Tally::default()) {
            Cow::Owned(cleaned) => Cow::Owned(cleaned),
            Cow::Borrowed(_) => named,
        }
    }
}

/// Hides the values behind names of secrets: `password=x`, `token: "x"`, `secret: Some("x")`, `authorization: any thing`.
///
/// What stands behind a colon without quotes may be prose (`token: expired`), and stays when it is a plain word.
pub(super) fn hide_named(line: &str) -> Cow<'_, str> {
    let bytes = line.as_bytes();
    let mut out: Option<String> = None;
    let (mut from, mut copied) = (0, 0);
    while let Some(sign) = bytes.get(from..).and_then(|rest| memchr::memchr2(b'=', b':', rest)) {
        let sign = from + sign;
        from = sign + 1;
        let name = name_before(bytes, sign);
        if name.is_empty() || !is_secret_name(name) {
            continue;
        }
        let value = value_behind(bytes, from, is_header(name));
        let text = bytes.get(value.clone()).unwrap_or_default();
        let is_quoted = value
            .start
            .checked_sub(1)
            .and_then(|at| bytes.get(at))
            .is_some_and(|byte| matches!(byte, b'"' | b'\''));
        let is_prose = bytes.get(sign) == Some(&b':')
            && !is_quoted
            && (text.is_empty() || text.iter().all(u8::is_ascii_lowercase));
        if text.is_empty() || text == HIDDEN.as_bytes() || is_prose {
            continue;
        }
        let out = out.get_or_insert_default();
        out.push_str(line.get(copied..value.start).unwrap_or_default());
        out.push_str(HIDDEN);
        (from, copied) = (value.end, value.end);
    }
    match out {
        None => Cow::Borrowed(line),
        Some(mut out) => {
            out.push_str(line.get(copied..).unwrap_or_default());
            Cow::Owned(out)
        }
    }
}

/// Returns the name right before a sign, past quotes and the colours of a terminal.
fn name_before(bytes: &[u8], sign: usize) -> &[u8] {
    const LONGEST: usize = 96;
    let mut head = bytes.get(sign.saturating_sub(LONGEST)..sign).unwrap_or_default();
    loop {
        let before = head.len();
        head = head.trim_ascii_end();
        head = head
            .strip_suffix(b"\"")
            .or_else(|| head.strip_suffix(b"'"))
            .or_else(|| head.strip_suffix(b"\\"))
            .unwrap_or(head);
        if head.ends_with(b"m")
            && let Some(escape) = head.iter().rposition(|byte| *byte == 0x1b)
            && head
                .get(escape + 1..head.len() - 1)
                .is_some_and(|code| code.iter().all(|byte| byte.is_ascii_digit() || b"[;".contains(byte)))
        {
            head = head.get(..escape).unwrap_or_default();
        }
        if head.len() == before {
            break;
        }
    }
    let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let length = head.iter().rev().take_while(is_part).count();
    let (before, name) = head.split_at_checked(head.len() - length).unwrap_or_default();
    // The end of a colour looks like the beginning of the name: `ESC[3m`.
    match before.ends_with(b"\x1b[") {
        true => {
            name.iter().position(|byte| *byte == b'm').and_then(|at| name.get(at + 1..)).unwrap_or_default()
        }
        false => name,
    }
}

/// Headers whose value has more than one word.
fn is_header(name: &[u8]) -> bool {
    [&b"authorization"[..], b"cookie"].iter().any(|known| {
        name.len() >= known.len()
            && name.get(name.len() - known.len()..).is_some_and(|end| end.eq_ignore_ascii_case(known))
    })
}

/// Returns where a value stands: within its quotes, or up to what ends it; of a header, to the end of the line.
fn value_behind(bytes: &[u8], from: usize, is_header: bool) -> Range<usize> {
    let mut at = from;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        at += match rest {
            [b' ' | b'\t' | b'>' | b'\\', ..] => 1,
            // The colours of a terminal.
            [0x1b, ..] => rest.iter().position(|byte| *byte == b'm').map_or(1, |end| end + 1),
            _ if rest.starts_with(b"Some(") => 5,
            [b'b', b'"', ..] => 1,
            _ => break,
        };
    }
    let rest = bytes.get(at..).unwrap_or_default();
    match rest.first() {
        Some(quote @ (b'"' | b'\'' | b'`')) => {
            let text = rest.get(1..).unwrap_or_default();
            at + 1..at + 1 + quoted_end(text, *quote)
        }
        _ => {
            let ends = |byte: &u8| match is_header {
                true => matches!(byte, b'\n' | b'\r' | b'"' | b'}' | 0x1b),
                false => byte.is_ascii_whitespace() || b",;&\"'`)}]<>\x1b".contains(byte),
            };
            at..at + rest.iter().position(ends).unwrap_or(rest.len())
        }
    }
}

/// Returns where a quoted text ends; a quote behind a backslash does not end it.
fn quoted_end(text: &[u8], quote: u8) -> usize {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\'
                if text.get(at + 1) == Some(&quote)
                    && quote == b'"'
                    && text.get(at + 2).is_none_or(|next| b" ,}])\n".contains(next)) =>
            {
                return at;
            }
            b'\\' => at += 2,
            byte if *byte == quote => return at,
            _ => at += 1,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn clean(line: &str) -> String {
        LogVeil::new(Detectors::default()).clean(line).into_owned()
    }

    #[test]
    fn what_has_the_name_of_a_secret_is_hidden_whatever_it_looks_like() {
        for (line, expected) in [
            ("INFO x: login password=abc user=ann", "INFO x: login password=[redacted] user=ann"),
            ("login password=\"a b\\\"c\" user=ann", "login password=\"[redacted]\" user=ann"),
            ("Config { secret: Some(\"x y\"), port: 1 }", "Config { secret: Some(\"[redacted]\"), port: 1 }"),
            ("{\"authorization\": \"Digest a=b, c=d\"} and", "{\"authorization\": \"[redacted]\"} and"),
            (
                "Authorization: Digest username=ann, response=xyz\nHost: h",
                "Authorization: [redacted]\nHost: h",
            ),
            ("set-cookie: a=b; c=d", "set-cookie: [redacted]"),
            ("GET /x?access_token=abc&n=1", "GET /x?access_token=[redacted]&n=1"),
            (
                "\u{1b}[3mapi_key\u{1b}[0m\u{1b}[2m=\u{1b}[0mabc\u{1b}[0m x",
                "\u{1b}[3mapi_key\u{1b}[0m\u{1b}[2m=\u{1b}[0m[redacted]\u{1b}[0m x",
            ),
            ("token: expired, password: required", "token: expired, password: required"),
            ("key=connectors.shop line=3", "key=connectors.shop line=3"),
            ("url=postgres://ann:pw@db/x", "url=postgres://ann:[token]@db/x"),
            ("plain text: nothing=here", "plain text: nothing=here"),
        ] {
            assert_eq!(clean(line), expected, "{line}");
        }
    }

    #[test]
    fn a_line_of_json_stays_json() {
        let line = "{\"level\":\"INFO\",\"message\":\"got \\n password=abc x\",\"token\":\"a\\\"b\",\"span\":{\"api_key\":7,\"n\":1}}\n";
        assert_eq!(
            clean(line),
            "{\"level\":\"INFO\",\"message\":\"got \\n password=[redacted] x\",\"token\":\"[redacted]\",\"span\":{\"api_key\":\"[redacted]\",\"n\":1}}\n"
        );
        let more = LogVeil::new([Detector::Email].into_iter().collect());
        assert_eq!(more.clean("{\"m\":\"\\nann@example.com\"}"), "{\"m\":\"\\n[email]\"}");
        assert!(matches!(more.clean("nothing"), Cow::Borrowed("nothing")));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_value_behind_a_name_never_stays(
            name in "(password|client_secret|x-api-key|accessToken)",
            value in "[A-Za-z0-9+/_.!-]{6,40}",
            sign in "(=|: \"|=\"|\": \"|=Some\\(\")",
            before in "[ -~]{0,20}",
        ) {
            let quote = if sign.contains('"') { "\"" } else { "" };
            let line = format!("{before} {name}{sign}{value}{quote} end");
            prop_assert!(!clean(&line).contains(&value), "{}", clean(&line));
        }
    }
}
