//! The trace that a request is part of, from where it came or of its own, and which request this thread works for now.
//!
//! Nothing is drawn or stored for a request that brought no trace: its ids follow from its number, and are worked out when
//! somebody wants to see them. Spec: W3C Trace Context, level 1; 2026-07-28 basic/index#meta.

mod state;

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::LazyLock;

pub use state::TraceState;

/// Where a request stands in a trace that began elsewhere: the value of `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    trace_id: Id<16>,
    parent_id: Id<8>,
    flags: u8,
}

/// An id of a trace, or of one step in it; shown in hexadecimal. Never all zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id<const N: usize>([u8; N]);

/// A request as far as a log knows it: its number, and the trace that it came with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The number under which log and caller know the request.
    pub log_id: u64,
    /// Where the client said it stands; `None` when it said nothing, or nothing that holds.
    pub sent: Option<TraceParent>,
}

/// What a request that is sent on for another one has to say of its trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// The value of `traceparent`: the same trace, with a step of our own as the parent of what follows.
    pub parent: TraceParent,
    /// The value of `tracestate`, when it came with one.
    pub state: Option<TraceState>,
}

/// The bits of the flags that are known: sampled, and a random trace id.
const FLAGS: u8 = 0b11;
/// The bytes of a `traceparent` of version 00.
const LENGTH: usize = 55;

impl TraceParent {
    /// Reads the value of a `traceparent`; `None` for what does not hold, which the specification says to ignore. A later
    /// version may have more at its end. Spec: W3C Trace Context sections 3.2.2 and 4.3.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (head, rest) = value.split_at_checked(LENGTH)?;
        let version = hex::<1>(head.get(..2)?)?;
        let fits = match version {
            [0xff] => false,
            [0] => rest.is_empty(),
            _ => rest.is_empty() || rest.first() == Some(&b'-'),
        };
        let dashes = [2, 35, 52].into_iter().all(|at| head.get(at) == Some(&b'-'));
        if !fits || !dashes {
            return None;
        }
        let (trace_id, parent_id) = (Id::parse(head.get(3..35)?)?, Id::parse(head.get(36..52)?)?);
        let [flags] = hex::<1>(head.get(53..55)?)?;
        Some(Self { trace_id, parent_id, flags: flags & FLAGS })
    }

    /// Returns the id of the trace.
    #[must_use]
    pub fn trace_id(&self) -> Id<16> {
        self.trace_id
    }

    /// Returns the id of the step that this one is a part of.
    #[must_use]
    pub fn parent_id(&self) -> Id<8> {
        self.parent_id
    }

    /// Tells whether somebody before us keeps this trace.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }
}

/// The value of a `traceparent`.
impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace_id, self.parent_id, self.flags)
    }
}

// ---- Ids ----

impl<const N: usize> Id<N> {
    /// Reads an id of lower-case hexadecimal digits; `None` when it is none, or all zeros.
    fn parse(text: &[u8]) -> Option<Self> {
        let bytes = hex(text)?;
        (bytes != [0; N]).then_some(Self(bytes))
    }

    /// Makes an id that is not all zeros.
    fn new(mut bytes: [u8; N]) -> Self {
        if bytes == [0; N]
            && let Some(last) = bytes.last_mut()
        {
            *last = 1;
        }
        Self(bytes)
    }
}

impl<const N: usize> fmt::Display for Id<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl<const N: usize> fmt::Debug for Id<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads bytes of two lower-case hexadecimal digits each.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    let mut bytes = [0; N];
    if pairs.len() != N {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// Returns the number that this process gives a request for one use: unlike those of other requests, uses and processes, as far
/// as chance goes. They are names, not secrets.
fn number(log_id: u64, of: usize) -> u64 {
    static KEYS: LazyLock<[u64; 3]> = LazyLock::new(|| {
        let mut bytes = [0; 24];
        // Without randomness the ids repeat from start to start, as the numbers of requests do.
        let _ = crate::seal::random(&mut bytes);
        let (keys, _) = bytes.as_chunks::<8>();
        let mut keys = keys.iter().map(|key| u64::from_le_bytes(*key));
        [(); 3].map(|()| keys.next().unwrap_or_default())
    });
    let key = KEYS.get(of).copied().unwrap_or_default();
    // The finalizer of SplitMix64: every bit of the result hangs on every bit of the number.
    let mut mixed = log_id.wrapping_add(key).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

// ---- Marks ----

impl Mark {
    /// Makes the mark of a request that came with no trace.
    #[must_use]
    pub const fn of(log_id: u64) -> Self {
        Self { log_id, sent: None }
    }

    /// Returns the id of the trace that the request is part of: the one it came with, or one of its own.
    #[must_use]
    pub fn trace_id(&self) -> Id<16> {
        self.sent.map_or_else(
            || {
                let halves = [number(self.log_id, 0), number(self.log_id, 1)].map(u64::to_be_bytes);
                let mut bytes = [0; 16];
                bytes.iter_mut().zip(halves.as_flattened()).for_each(|(byte, of)| *byte = *of);
                Id::new(bytes)
            },
            |sent| sent.trace_id,
        )
    }

    /// Returns the id of the step in that trace that this request is.
    #[must_use]
    pub fn span_id(&self) -> Id<8> {
        Id::new(number(self.log_id, 2).to_be_bytes())
    }

    /// Returns where what follows from this request stands: in the same trace, behind this step.
    #[must_use]
    pub fn parent_of_next(&self) -> TraceParent {
        // Nobody here keeps traces: one that begins with us is not kept by anyone.
        let flags = self.sent.map_or(0, |sent| sent.flags);
        TraceParent { trace_id: self.trace_id(), parent_id: self.span_id(), flags }
    }

    /// Makes this the request that this thread works for until the guard is dropped. Costs two writes to the thread's own
    /// memory: a service does it around every poll of a request, so that each line of the log can tell whose it is.
    #[must_use]
    pub fn enter(self) -> Entered {
        Entered { before: CURRENT.replace(Some(self)), stays: PhantomData }
    }
}

thread_local!(static CURRENT: Cell<Option<Mark>> = const { Cell::new(None) });

/// Returns the request that this thread works for now; `None` between requests, and in tasks that serve no single one.
#[must_use]
pub fn current() -> Option<Mark> {
    CURRENT.get()
}

/// While it lives, its thread works for one request. It cannot go to another thread.
#[derive(Debug)]
pub struct Entered {
    before: Option<Mark>,
    stays: PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_as_the_specification_says() {
        let parent = TraceParent::parse(SENT.as_bytes()).unwrap();
        assert_eq!(parent.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(parent.parent_id().to_string(), "00f067aa0ba902b7");
        assert!(parent.is_sampled());
        assert_eq!(parent.to_string(), SENT);
        // A later version may go on behind the parts that are known, and keeps no flags that are not.
        for later in [
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-fd-what-comes-then",
        ] {
            assert_eq!(TraceParent::parse(later.as_bytes()), Some(parent), "{later}");
        }
    }

    #[test]
    fn what_is_no_traceparent_is_none() {
        for bad in [
            "",
            "00",
            "00-S3CRET",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 ",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            "0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.x",
            "00-4bf92f3577b34da6a3ce929d0e0e47-3600f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceParent::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_request_without_a_trace_has_one_of_its_own_and_the_same_whenever_it_is_asked() {
        let (one, other) = (Mark::of(7), Mark::of(8));
        assert_eq!((one.trace_id(), one.span_id()), (Mark::of(7).trace_id(), Mark::of(7).span_id()));
        assert_ne!(one.trace_id(), other.trace_id());
        assert_ne!(one.span_id(), other.span_id());
        let next = one.parent_of_next();
        assert_eq!(
            (next.trace_id(), next.parent_id(), next.is_sampled()),
            (one.trace_id(), one.span_id(), false)
        );
        assert_eq!(TraceParent::parse(next.to_string().as_bytes()), Some(next), "what we send holds");
    }

    #[test]
    fn what_follows_stands_in_the_trace_that_came_behind_a_step_of_our_own() {
        let sent = TraceParent::parse(SENT.as_bytes());
        let next = Mark { log_id: 7, sent }.parent_of_next();
        assert_eq!(next.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(next.parent_id(), Mark::of(7).span_id());
        assert!(next.is_sampled());
    }

    #[test]
    fn a_thread_works_for_one_request_at_a_time_and_then_for_the_one_before() {
        assert_eq!(current(), None);
        let outer = Mark::of(1).enter();
        {
            let _inner = Mark::of(2).enter();
            assert_eq!(current(), Some(Mark::of(2)));
        }
        assert_eq!(current(), Some(Mark::of(1)));
        drop(outer);
        assert_eq!(current(), None);
    }
}
