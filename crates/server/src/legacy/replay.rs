//! The ids of events, by which a client that lost a stream takes it up again, on any node.
//!
//! Spec: 2025-11-25 basic/transports#resumability-and-redelivery.

use std::time::Duration;

use trunkline_service::shared::Keep;

use crate::outgoing::{Leaving, Outgoing};

/// How much of the stream of one call is kept, and for how long after its end. A call that takes longer than a day does so
/// unheard.
pub(crate) const KEEP: Keep = Keep {
    messages: 256,
    bytes: 1 << 20,
    closed_for: Duration::from_secs(60),
    at_most: Duration::from_secs(24 * 60 * 60),
};

const DATA: &[u8] = b"data: ";
const END: &[u8] = b"\n\n";

/// How long clients wait before they take up a stream that was closed, in milliseconds.
const RETRY_MS: u32 = 1000;

/// A place in a stream of a session: all before it was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the stand-alone stream: the position in the log of changes.
    Standing(u64),
    /// In the stream of one call: its number, and how many of its messages.
    Call(u128, u64),
}

impl Place {
    /// Reads an event id; `None` when it is none of ours.
    pub(crate) fn parse(id: &[u8]) -> Option<Self> {
        let (stream, position) = std::str::from_utf8(id).ok()?.split_once('-')?;
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_plain(position) {
            return None;
        }
        let position = position.parse().ok()?;
        match stream {
            "g" => Some(Self::Standing(position)),
            _ if stream.len() == 32 && is_plain(stream) => {
                Some(Self::Call(u128::from_str_radix(stream, 16).ok()?, position))
            }
            _ => None,
        }
    }

    /// Appends the line of an event that holds its id.
    fn write(self, out: &mut Vec<u8>) {
        let line = match self {
            Self::Standing(position) => format!("id: g-{position}\n"),
            Self::Call(stream, position) => format!("id: {stream:032x}-{position}\n"),
        };
        out.extend_from_slice(line.as_bytes());
    }
}

/// Returns an event of one message without line breaks; `place` is what a client comes back with after it.
pub(crate) fn event(place: Option<Place>, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 64);
    if let Some(place) = place {
        place.write(&mut out);
    }
    out.extend_from_slice(DATA);
    out.extend_from_slice(message);
    out.extend_from_slice(END);
    out
}

/// Returns the same event of a message that may be large, as it leaves.
pub(crate) fn leaving(place: Option<Place>, message: Outgoing) -> Leaving {
    let mut before = Vec::with_capacity(96);
    if let Some(place) = place {
        place.write(&mut before);
    }
    before.extend_from_slice(DATA);
    Leaving::new(before, message, END)
}

/// Returns the event that begins a stream: an id to come back with before anything was said.
pub(crate) fn priming(place: Place) -> Vec<u8> {
    let mut out = Vec::with_capacity(96);
    place.write(&mut out);
    out.extend_from_slice(format!("retry: {RETRY_MS}\ndata: \n\n").as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_and_others_are_refused() {
        for place in [Place::Standing(7), Place::Call(u128::MAX, 0), Place::Call(5, u64::MAX)] {
            let event = String::from_utf8(event(Some(place), b"{}")).unwrap();
            let id = event.strip_prefix("id: ").and_then(|rest| rest.split_once('\n')).unwrap().0;
            assert_eq!(Place::parse(id.as_bytes()), Some(place), "{id}");
        }
        for id in [
            "",
            "g",
            "g-",
            "g--1",
            "g-+1",
            "5-1",
            "x-1",
            "g-1-2",
            &format!("{}-1", "+".repeat(32)),
            "\u{e9}-1",
        ] {
            assert_eq!(Place::parse(id.as_bytes()), None, "{id}");
        }
    }

    #[test]
    fn a_priming_event_has_an_id_a_retry_and_empty_data() {
        let text = String::from_utf8(priming(Place::Call(1, 0))).unwrap();
        assert_eq!(text, "id: 00000000000000000000000000000001-0\nretry: 1000\ndata: \n\n");
    }
}
