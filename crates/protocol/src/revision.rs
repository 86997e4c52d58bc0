//! The dated revisions of the specification that Trunkline serves, and how a client's wish is answered.

use std::fmt;

/// A revision of the specification. Later revisions compare greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revision {
    /// 2025-03-26: handshake, batches, no structured output.
    V2025_03_26,
    /// 2025-06-18: handshake, structured output, version header.
    V2025_06_18,
    /// 2025-11-25: the last revision with a handshake.
    V2025_11_25,
    /// 2026-07-28: stateless, `_meta` on every request.
    V2026_07_28,
}

impl Revision {
    /// Every revision served, oldest first.
    pub const ALL: [Self; 4] = [Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25, Self::V2026_07_28];
    /// The revision spoken inside Trunkline.
    pub const LATEST: Self = Self::V2026_07_28;
    /// What an `initialize` that asks for something else is answered with.
    pub const LATEST_LEGACY: Self = Self::V2025_11_25;
    /// What a legacy HTTP request without a version header speaks. Spec: 2025-11-25 basic/transports.
    pub const ASSUMED: Self = Self::V2025_03_26;

    /// A date that some clients send in the version header whatever they agreed on; it says nothing.
    pub const STRAY_HEADER: &'static str = "2024-11-05";

    /// Returns the date as it stands on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// Returns the revision with that date, or `None` for one that is not served.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|revision| revision.as_str().as_bytes() == text)
    }

    /// Tells whether requests carry their own `_meta` instead of belonging to a session.
    #[must_use]
    pub const fn is_modern(self) -> bool {
        matches!(self, Self::V2026_07_28)
    }

    /// Returns the revision an `initialize` asking for `wanted` is answered with: the same if it has a handshake and is
    /// served, else the latest that has one. Spec: 2025-11-25 basic/lifecycle#version-negotiation.
    #[must_use]
    pub fn negotiate(wanted: &[u8]) -> Self {
        Self::parse(wanted).filter(|revision| !revision.is_modern()).unwrap_or(Self::LATEST_LEGACY)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Tells whether `text` is a date of the modern era (2026-07-28 or later), served or not.
#[must_use]
pub fn is_modern_date(text: &[u8]) -> bool {
    is_date(text) && text >= Revision::V2026_07_28.as_str().as_bytes()
}

fn is_date(text: &[u8]) -> bool {
    text.len() == 10
        && text
            .iter()
            .enumerate()
            .all(|(at, byte)| if at == 4 || at == 7 { *byte == b'-' } else { byte.is_ascii_digit() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_echoed_when_it_has_a_handshake() {
        assert_eq!(Revision::negotiate(b"2025-06-18"), Revision::V2025_06_18);
        assert_eq!(Revision::negotiate(b"2026-07-28"), Revision::V2025_11_25);
        assert_eq!(Revision::negotiate(b"1999-01-01"), Revision::V2025_11_25);
    }

    #[test]
    fn dates_of_the_modern_era() {
        assert!(is_modern_date(b"2026-07-28") && is_modern_date(b"2030-01-01"));
        assert!(!is_modern_date(b"2025-11-25") && !is_modern_date(b"zzzz-zz-zz") && !is_modern_date(b""));
    }
}
