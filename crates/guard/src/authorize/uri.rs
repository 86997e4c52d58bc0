//! The one spelling under which a URI is judged and read, and the other ways in which a reader behind may take it.
//!
//! RFC 3986 section 6.2.2: the scheme in lower case, percent-escapes in upper case and only where they say something, as
//! RFC 3987 section 3.1 has it for characters outside ASCII. What section 5.2.4 would take out of a path is refused instead:
//! who sends `..` to a server of names means nothing good by it.

use std::borrow::Cow;

/// The longest URI that is judged, in bytes.
const MAX_URI: usize = 2048;
/// How often an escape may be escaped itself.
const MAX_LEVELS: usize = 4;

/// Returns the canonical spelling of a URI; `None` for one without a scheme, with a broken escape, with a control character,
/// with a dot segment however it is escaped, or longer than 2048 bytes.
pub(crate) fn canonical(uri: &str) -> Option<Cow<'_, str>> {
    if uri.len() > MAX_URI {
        return None;
    }
    let scheme = scheme(uri)?;
    if is_canonical(uri, scheme) {
        return (!has_dot_segments(uri)).then_some(Cow::Borrowed(uri));
    }
    let mut out = uri.get(..scheme)?.to_ascii_lowercase();
    spell(uri.get(scheme..)?, &mut out)?;
    (!has_dot_segments(&out)).then_some(Cow::Owned(out))
}

/// Returns the length of the scheme. RFC 3986 section 3.1.
fn scheme(uri: &str) -> Option<usize> {
    let (scheme, _) = uri.split_once(':')?;
    let fits = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    fits.then_some(scheme.len())
}

/// Most URIs are: nothing in them has to be looked at twice.
fn is_canonical(uri: &str, scheme: usize) -> bool {
    let bytes = uri.as_bytes();
    bytes.iter().take(scheme).all(|byte| !byte.is_ascii_uppercase())
        && bytes.iter().all(|byte| is_allowed(*byte))
}

/// Spells what stands behind a scheme; `*` is left alone, so that globs can be spelled too.
pub(crate) fn spell(text: &str, out: &mut String) -> Option<()> {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
                let (high, low) = (digit()?, digit()?);
                match u8::try_from(high * 16 + low).ok()? {
                    0 => return None,
                    byte if is_unreserved(byte) => out.push(char::from(byte)),
                    byte => escape(byte, out),
                }
            }
            0..=0x1f | 0x7f => return None,
            byte if is_allowed(byte) => out.push(char::from(byte)),
            byte => escape(byte, out),
        }
    }
    Some(())
}

fn escape(byte: u8, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    for digit in [byte >> 4, byte & 15] {
        out.push(char::from(DIGITS.get(usize::from(digit)).copied().unwrap_or(b'0')));
    }
}

/// RFC 3986 section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// What stands in a URI as itself: RFC 3986 section 2.2 and 2.3, not the `%`.
pub(crate) fn is_allowed(byte: u8) -> bool {
    is_unreserved(byte) || b":/?#[]@!$&'()*+,;=".contains(&byte)
}

/// Returns what stands before query and fragment.
fn before_query(uri: &str) -> &str {
    uri.split(['?', '#']).next().unwrap_or_default()
}

/// Tells whether a segment is `.` or `..` for a reader who decodes once, twice or more, and takes `\` for `/`.
pub(crate) fn has_dot_segments(uri: &str) -> bool {
    let path = before_query(uri);
    let path = path.split_once(':').map_or(path, |(_, path)| path);
    let is_dots = |text: &str| text.split(['/', '\\']).any(|segment| matches!(segment, "." | ".."));
    let mut text = Cow::Borrowed(path);
    for _ in 0..MAX_LEVELS {
        if is_dots(&text) {
            return true;
        }
        if !text.contains('%') {
            return false;
        }
        let decoded = decode_once(&text);
        if decoded == text {
            return false;
        }
        text = Cow::Owned(decoded);
    }
    true
}

fn decode_once(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        if let (b'%', Some(high), Some(low)) = (first, digit(0), digit(1)) {
            out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
            rest = after.get(2..).unwrap_or_default();
        } else {
            out.push(*first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Returns a canonical URI as a reader may take it who decodes slashes and skips empty segments; `None` when that is the same.
pub(crate) fn loosely_read(canonical: &str) -> Option<String> {
    let path = before_query(canonical);
    let start = path_start(path);
    let (head, tail) = path.split_at_checked(start)?;
    if !(tail.contains("//") || path.contains("%2F") || path.contains("%5C")) {
        return None;
    }
    let mut out = head.replace("%2F", "/").replace("%5C", "/");
    let mut behind_slash = false;
    for letter in tail.replace("%2F", "/").replace("%5C", "/").chars() {
        if !(letter == '/' && behind_slash) {
            out.push(letter);
        }
        behind_slash = letter == '/';
    }
    out.push_str(canonical.get(path.len()..)?);
    Some(out)
}

/// Returns a URI, and what of it stands before its query and before its fragment.
pub(crate) fn parts_of(uri: &str) -> impl Iterator<Item = &str> {
    let fragment = uri.find('#');
    let before_fragment = fragment.map_or(uri, |at| uri.get(..at).unwrap_or_default());
    let query = before_fragment.find('?').and_then(|at| before_fragment.get(..at));
    [Some(uri), fragment.map(|_| before_fragment), query].into_iter().flatten()
}

/// Where the path begins: behind the authority, if there is one.
fn path_start(path: &str) -> usize {
    let Some((scheme, rest)) = path.split_once(':') else { return 0 };
    let behind = scheme.len() + 1;
    match rest.strip_prefix("//") {
        Some(authority) => behind + 2 + authority.find('/').unwrap_or(authority.len()),
        None => behind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_spelling_of_each_uri() {
        for (sent, wanted) in [
            ("files://docs/a.txt", "files://docs/a.txt"),
            ("FILES://docs/a.txt", "files://docs/a.txt"),
            ("files://DOCS/A.txt", "files://DOCS/A.txt"),
            ("files://docs/%61%2etxt", "files://docs/a.txt"),
            ("files://docs/%7Euser", "files://docs/~user"),
            ("files://docs/%c3%a9", "files://docs/%C3%A9"),
            ("files://docs/\u{e9}", "files://docs/%C3%A9"),
            ("files://docs/a%2fb", "files://docs/a%2Fb"),
            ("files://docs/a b", "files://docs/a%20b"),
            ("files://docs/a%20b", "files://docs/a%20b"),
            ("files://docs/a\\b", "files://docs/a%5Cb"),
            ("files://docs/{x}", "files://docs/%7Bx%7D"),
            ("files://docs//a", "files://docs//a"),
            ("files://docs/a%2Ab", "files://docs/a%2Ab"),
            ("files://docs/a?q=../x#..", "files://docs/a?q=../x#.."),
            ("files://docs/...", "files://docs/..."),
            ("files://docs/.hidden/..x", "files://docs/.hidden/..x"),
            ("files://docs/100%25", "files://docs/100%25"),
            ("files://docs/%FF", "files://docs/%FF"),
            ("urn:isbn:1", "urn:isbn:1"),
        ] {
            assert_eq!(canonical(sent).as_deref(), Some(wanted), "{sent}");
        }
    }

    #[test]
    fn what_means_no_good_has_no_spelling() {
        for bad in [
            "",
            "docs/a",
            "/etc/passwd",
            "1x://a",
            "files://docs/../secret",
            "files://docs/..",
            "files://docs/./a",
            "files://docs/%2e%2e/secret",
            "files://docs/%2E./secret",
            "files://docs/.%2e/secret",
            "files://docs/%252e%252e/secret",
            "files://docs/%25252e%25252e/secret",
            "files://docs/a%2F..%2Fb",
            "files://docs/a%5c..%5cb",
            "files://docs/a\\..\\b",
            "files://docs/..%2f",
            "files://docs/a%252F..%252Fb",
            "files://..",
            "files://../x",
            "urn:..",
            "files://docs/a%00.txt",
            "files://docs/a\0",
            "files://docs/a\n",
            "files://docs/%",
            "files://docs/%4",
            "files://docs/%zz",
            "files://docs/%u0041",
            "files://docs/%2525252525252e",
        ] {
            assert_eq!(canonical(bad), None, "{bad}");
        }
        assert_eq!(canonical(&format!("x://{}", "a".repeat(3000))), None);
    }

    #[test]
    fn a_spelling_is_its_own_spelling() {
        for uri in ["FILES://d/%7e%2f%c3\u{e9} {}", "x:%41//b//%2Fc?%3f#%23"] {
            let once = canonical(uri).unwrap().into_owned();
            assert_eq!(canonical(&once).as_deref(), Some(&*once), "{uri}");
        }
    }

    #[test]
    fn a_uri_is_looked_at_with_and_without_what_follows_its_path() {
        let parts = |uri| parts_of(uri).collect::<Vec<_>>().join(" ");
        assert_eq!(parts("x://a"), "x://a");
        assert_eq!(parts("x://a?b?c"), "x://a?b?c x://a");
        assert_eq!(parts("x://a#b?c#d"), "x://a#b?c#d x://a");
        assert_eq!(parts("x://a?b#c"), "x://a?b#c x://a?b x://a");
    }

    #[test]
    fn a_loose_reader_decodes_slashes_and_skips_empty_segments() {
        for (canonical, loose) in [
            ("files://docs/a", None),
            ("files:///docs/a", None),
            ("files://docs/secret%2Fa", Some("files://docs/secret/a")),
            ("files://docs/secret%5Ca", Some("files://docs/secret/a")),
            ("files://docs//secret///a", Some("files://docs/secret/a")),
            ("files:///docs//secret", Some("files:///docs/secret")),
            ("files:docs//a", Some("files:docs/a")),
            ("files://docs/%2Fsecret", Some("files://docs/secret")),
            ("files://docs/a?x=//%2F", None),
            ("files://docs%2Fsecret", Some("files://docs/secret")),
        ] {
            assert_eq!(loosely_read(canonical).as_deref(), loose, "{canonical}");
        }
    }
}
