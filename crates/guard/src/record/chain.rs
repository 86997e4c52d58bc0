//! What ties the lines of a record together: each ends with an HMAC over the one before and itself.
//!
//! A line is `{"seq":N,"node":"...",...,"mac":"64 hex digits"}`. The MAC is HMAC-SHA256 under the audit key over the 32 bytes
//! of the MAC before and all bytes of the line up to the comma in front of `"mac"`. Before the first line of a node stands a
//! MAC over the node's name, so that no chain passes for one of another node.

use std::fmt;

use aws_lc_rs::{constant_time, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// What a line ends with, in front of the digits and behind them.
const MAC_HEAD: &[u8] = br#","mac":""#;
const MAC_TAIL: &[u8] = br#""}"#;
/// The bytes from the comma in front of `"mac"` to the closing brace.
const MAC_MEMBER: usize = MAC_HEAD.len() + 64 + MAC_TAIL.len();
/// The length of a time.
const TIME: usize = "2026-11-26T05:10:11.123Z".len();
/// What the MAC before the first line is made of, with the node's name behind.
const GENESIS: &[u8] = b"trunkline audit record 1\0";

/// The key of a record. It is shown nowhere.
#[derive(Clone)]
pub struct AuditKey(hmac::Key);

impl AuditKey {
    /// Makes a key of 32 bytes.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// Reads a key of 32 bytes in hex or base64; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = match unhex(text.as_bytes()) {
            Some(bytes) => return Some(Self::new(&bytes)),
            None => {
                STANDARD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text.trim_end_matches('='))).ok()?
            }
        };
        Some(Self::new(&bytes.try_into().ok()?))
    }
}

impl fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditKey")
    }
}

/// The MAC of a line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Mac([u8; 32]);

impl Mac {
    /// Reads 64 hex digits in lower case; `None` for anything else.
    #[must_use]
    pub fn parse(digits: &[u8]) -> Option<Self> {
        if digits.iter().any(u8::is_ascii_uppercase) {
            return None;
        }
        unhex(digits).map(Self)
    }

    fn write(self, out: &mut Vec<u8>) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        for byte in self.0 {
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
        }
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

fn unhex(digits: &[u8]) -> Option<[u8; 32]> {
    let digits: &[u8; 64] = digits.try_into().ok()?;
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// The last line of a chain: how far it reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// The number of the line; 0 before the first.
    pub seq: u64,
    /// The MAC of the line.
    pub mac: Mac,
}

/// Makes and proves the lines of one node.
#[derive(Debug, Clone)]
pub struct Prover {
    key: AuditKey,
    node: Box<str>,
}

impl Prover {
    /// Makes a prover; `node` is 1 to 64 of the characters a-z, A-Z, 0-9, `.`, `_` and `-`.
    #[must_use]
    pub fn new(key: AuditKey, node: &str) -> Self {
        Self { key, node: node.into() }
    }

    /// Returns the name of the node.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Returns the prover of another node under the same key.
    #[must_use]
    pub fn named(&self, node: &str) -> Self {
        Self { key: self.key.clone(), node: node.into() }
    }

    /// Returns the head before the first line.
    #[must_use]
    pub fn genesis(&self) -> Head {
        Head { seq: 0, mac: self.mac(&[GENESIS, self.node.as_bytes()]) }
    }

    /// Appends the line after `head` to `out`, without a line break, and returns the new head. `members` are those of the
    /// line but for `seq`, `node` and `mac`, without braces.
    pub(crate) fn seal(&self, head: Head, members: &[u8], out: &mut Vec<u8>) -> Head {
        let seq = head.seq + 1;
        let from = out.len();
        out.reserve(members.len() + self.node.len() + MAC_MEMBER + 48);
        out.extend_from_slice(br#"{"seq":"#);
        super::line::decimal(out, seq);
        out.extend_from_slice(br#","node":""#);
        out.extend_from_slice(self.node.as_bytes());
        out.extend_from_slice(br#"","#);
        out.extend_from_slice(members);
        let mac = self.mac(&[&head.mac.0, out.get(from..).unwrap_or_default()]);
        out.extend_from_slice(MAC_HEAD);
        mac.write(out);
        out.extend_from_slice(MAC_TAIL);
        Head { seq, mac }
    }

    /// Tells whether a line follows the one whose MAC is `before`.
    #[must_use]
    pub fn proves(&self, before: Mac, line: &Sealed<'_>) -> bool {
        constant_time::verify_slices_are_equal(&self.follow(before, line).0, &line.mac.0).is_ok()
    }

    /// Returns the MAC that a line would have behind the one whose MAC is `before`.
    pub(super) fn follow(&self, before: Mac, line: &Sealed<'_>) -> Mac {
        self.mac(&[&before.0, line.text])
    }

    fn mac(&self, parts: &[&[u8]]) -> Mac {
        let mut context = hmac::Context::with_key(&self.key.0);
        parts.iter().for_each(|part| context.update(part));
        let mut mac = Mac::default();
        let tag = context.sign();
        mac.0.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        mac
    }
}

/// A line taken apart, nothing of it proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed<'a> {
    /// What the MAC is over.
    text: &'a [u8],
    /// The number it says it has.
    pub seq: u64,
    /// The node it says it is of.
    pub node: &'a str,
    /// The MAC it says it has.
    pub mac: Mac,
}

impl<'a> Sealed<'a> {
    /// Takes a line without its line break apart; `None` when it has not the form of one.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let (text, member) = line.split_at_checked(line.len().checked_sub(MAC_MEMBER)?)?;
        let mac = Mac::parse(member.strip_prefix(MAC_HEAD)?.strip_suffix(MAC_TAIL)?)?;
        let rest = text.strip_prefix(br#"{"seq":"#)?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let seq = std::str::from_utf8(rest.get(..digits)?).ok()?.parse().ok()?;
        let rest = rest.get(digits..)?.strip_prefix(br#","node":""#)?;
        let end = rest.iter().position(|byte| *byte == b'"')?;
        let node = std::str::from_utf8(rest.get(..end)?).ok().filter(|node| is_node(node))?;
        Some(Self { text, seq, node, mac })
    }

    /// Returns the MAC that the first line of a file says the line before it has. It stands right behind kind and time, in
    /// front of anything that others chose.
    #[must_use]
    pub fn before(&self) -> Option<Mac> {
        let rest = self.members()?.strip_prefix(br#""kind":""#)?;
        let kinds = [&br#"start""#[..], br#"file""#, br#"gap""#];
        let rest = kinds.iter().find_map(|kind| rest.strip_prefix(*kind))?;
        let rest = rest.strip_prefix(br#","at":""#)?.get(TIME..)?.strip_prefix(br#"","prev":""#)?;
        Mac::parse(rest.get(..64)?)
    }

    /// Returns the members behind `node`, without the closing brace.
    fn members(&self) -> Option<&'a [u8]> {
        let rest = self.text.strip_prefix(br#"{"seq":"#)?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        rest.get(digits + br#","node":"""#.len() + self.node.len() + 1..)
    }
}

/// Tells whether a text is the name of a node: 1 to 64 of the characters a-z, A-Z, 0-9, `.`, `_` and `-`.
pub(super) fn is_node(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=64).contains(&text.len()) && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_proven_by_the_one_before_and_by_no_other() {
        let prover = Prover::new(AuditKey::new(&[7; 32]), "web-1");
        let mut first = Vec::new();
        let head = prover.seal(prover.genesis(), br#""kind":"start""#, &mut first);
        let mut second = Vec::new();
        let last = prover.seal(head, br#""kind":"call""#, &mut second);
        assert!(first.starts_with(br#"{"seq":1,"node":"web-1","kind":"start","mac":""#));
        let line = Sealed::parse(&second).unwrap();
        assert_eq!((line.seq, line.node, line.mac), (2, "web-1", last.mac));
        assert!(prover.proves(head.mac, &line));
        assert!(!prover.proves(prover.genesis().mac, &line));
        let other = Prover::new(AuditKey::new(&[8; 32]), "web-1");
        assert!(!other.proves(head.mac, &line));
        let other = Prover::new(AuditKey::new(&[7; 32]), "web-2");
        assert_ne!(other.genesis(), prover.genesis());
        assert_eq!(Mac::parse(last.mac.to_string().as_bytes()), Some(last.mac));
    }

    #[test]
    fn keys_are_read_from_hex_and_base64_and_never_shown() {
        assert!(AuditKey::parse(&"ab".repeat(32)).is_some());
        assert!(AuditKey::parse(&STANDARD.encode([7; 32])).is_some());
        assert!(AuditKey::parse(&URL_SAFE_NO_PAD.encode([0xff; 32])).is_some());
        for bad in ["", "ab", &"ab".repeat(33), &STANDARD.encode([7; 31]), &"é".repeat(32)] {
            assert!(AuditKey::parse(bad).is_none(), "{bad}");
        }
        assert_eq!(format!("{:?}", AuditKey::new(&[7; 32])), "AuditKey");
    }
}
