//! Finds what a person or a machine must not read in plain text: one scanner with its own check for each kind, over bytes, in one
//! pass each. No kind is a guess by length alone: a card number has a known prefix and passes Luhn, an IBAN has the length of its
//! country and passes mod 97, and so on.
//!
//! All scanners read a `View`: the text itself where it is ASCII, else a copy in which other digits, dashes and spaces are
//! written in ASCII and what has no width is left out, so that `４１１１…` and a number with zero-width spaces in it are found too.
//! What is encoded (base64, percent signs but for `%40`) is not taken apart.

mod card;
mod email;
mod iban;
mod name;
mod phone;
mod token;
mod view;

use std::borrow::Cow;
use std::ops::Range;

pub use name::is_secret as is_secret_name;
use view::View;

/// What can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Detector {
    /// An address of electronic mail.
    Email,
    /// The number of a payment card.
    Card,
    /// An international bank account number.
    Iban,
    /// A telephone number.
    Phone,
    /// A credential: tokens and keys of known forms, and what stands behind a name like `password`.
    Token,
}

impl Detector {
    /// All of them, in the order in which they are counted.
    pub const ALL: [Self; 5] = [Self::Email, Self::Card, Self::Iban, Self::Phone, Self::Token];

    /// Returns the name it has in the config file and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Card => "card",
            Self::Iban => "iban",
            Self::Phone => "phone",
            Self::Token => "token",
        }
    }

    /// Returns what stands in the place of what it found.
    #[must_use]
    pub const fn mark(self) -> &'static str {
        match self {
            Self::Email => "[email]",
            Self::Card => "[card]",
            Self::Iban => "[iban]",
            Self::Phone => "[phone]",
            Self::Token => "[token]",
        }
    }

    /// Returns the detector of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|detector| detector.as_str() == name)
    }
}

/// A set of detectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Detectors([bool; 5]);

impl Detectors {
    /// Tells whether nothing is looked for.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// Tells whether the detector is one of them.
    #[must_use]
    pub fn has(self, detector: Detector) -> bool {
        self.0.get(detector as usize).copied().unwrap_or_default()
    }

    /// Returns the set with one more.
    #[must_use]
    pub fn with(mut self, detector: Detector) -> Self {
        if let Some(slot) = self.0.get_mut(detector as usize) {
            *slot = true;
        }
        self
    }
}

impl FromIterator<Detector> for Detectors {
    fn from_iter<I: IntoIterator<Item = Detector>>(all: I) -> Self {
        all.into_iter().fold(Self::default(), Self::with)
    }
}

/// How much was hidden of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    found: [u64; 5],
    /// Values hidden since their field is named.
    pub fields: u64,
    /// Values sealed for somebody's key.
    pub sealed: u64,
}

impl Tally {
    /// Returns how often a detector found something.
    #[must_use]
    pub fn found(&self, detector: Detector) -> u64 {
        self.found.get(detector as usize).copied().unwrap_or_default()
    }

    fn count(&mut self, detector: Detector) {
        if let Some(number) = self.found.get_mut(detector as usize) {
            *number += 1;
        }
    }
}

/// A stretch of text that is to be hidden, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    range: Range<usize>,
    detector: Detector,
}

impl Detectors {
    /// Puts a mark like `[email]` in the place of all that is found in `text`; borrowed when that is nothing.
    ///
    /// `key` is the name of what holds the text, empty for none: behind `phone` any number that could be one is taken for one, and
    /// behind `password` whatever looks random.
    pub fn clean<'t>(self, text: &'t str, key: &str, tally: &mut Tally) -> Cow<'t, str> {
        let found = self.find(text, key);
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        for Found { range, detector } in found {
            out.push_str(text.get(at..range.start).unwrap_or_default());
            out.push_str(detector.mark());
            tally.count(detector);
            at = range.end;
        }
        out.push_str(text.get(at..).unwrap_or_default());
        Cow::Owned(out)
    }

    /// Returns what is found, in order and without overlaps.
    fn find(self, text: &str, key: &str) -> Vec<Found> {
        // The shortest there is, a number behind `phone`.
        if self.is_empty() || text.len() < SHORTEST {
            return Vec::new();
        }
        let view = View::of(text);
        let bytes = view.bytes();
        let mut found = Vec::new();
        for detector in Detector::ALL.into_iter().filter(|detector| self.has(*detector)) {
            let each = &mut |range| found.push(Found { range: view.original(range), detector });
            match detector {
                Detector::Token => token::find(bytes, key, each),
                Detector::Email => email::find(bytes, each),
                Detector::Iban => iban::find(bytes, each),
                Detector::Card => card::find(bytes, each),
                Detector::Phone => phone::find(bytes, key, each),
            }
        }
        merged(found)
    }
}

const SHORTEST: usize = 6;

/// Makes one of those that overlap, of the kind of the longer; of equals, the first goes before: a key before an address, an
/// account before a card, a card before a telephone.
fn merged(mut found: Vec<Found>) -> Vec<Found> {
    if found.len() < 2 {
        return found;
    }
    found.sort_by_key(|one| (one.range.start, std::cmp::Reverse(one.range.end), rank(one.detector)));
    let mut out: Vec<Found> = Vec::with_capacity(found.len());
    for next in found {
        match out.last_mut() {
            Some(last) if next.range.start < last.range.end => {
                if next.range.len() > last.range.len() {
                    last.detector = next.detector;
                }
                last.range.end = last.range.end.max(next.range.end);
            }
            _ => out.push(next),
        }
    }
    out
}

/// Which of two kinds a stretch of the same length is of.
const fn rank(detector: Detector) -> u8 {
    match detector {
        Detector::Token => 0,
        Detector::Email => 1,
        Detector::Iban => 2,
        Detector::Card => 3,
        Detector::Phone => 4,
    }
}

/// Tells whether a byte belongs to a word, as letters and digits of any script do.
fn is_word(byte: Option<&u8>) -> bool {
    byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte >= 0x80)
}

/// Returns the byte before `at`.
fn before(bytes: &[u8], at: usize) -> Option<&u8> {
    at.checked_sub(1).and_then(|at| bytes.get(at))
}

#[cfg(test)]
mod tests;
