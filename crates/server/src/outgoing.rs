//! A response message on its way out: one buffer, or where it is large the pieces that it is made of, which leave one after
//! another as their reader takes them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// From how many bytes of members on a result is not put together in one buffer.
pub(crate) const LARGE: usize = 256 * 1024;

/// Most bytes that are handed on at a time: what is handed on is copied, and kept until the peer has taken it.
const PIECE: usize = 64 * 1024;

/// A response message without line breaks; empty when nothing is owed.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// In one buffer.
    Whole(Vec<u8>),
    /// In pieces that others may share.
    Pieces(Vec<Bytes>),
}

impl Default for Outgoing {
    fn default() -> Self {
        Self::Whole(Vec::new())
    }
}

impl From<Vec<u8>> for Outgoing {
    fn from(whole: Vec<u8>) -> Self {
        Self::Whole(whole)
    }
}

impl Outgoing {
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_empty(),
            Self::Pieces(pieces) => pieces.is_empty(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Whole(whole) => whole.len(),
            Self::Pieces(pieces) => pieces.iter().map(Bytes::len).sum(),
        }
    }

    /// Returns it in one buffer.
    pub(crate) fn into_whole(self) -> Vec<u8> {
        match self {
            Self::Whole(whole) => whole,
            Self::Pieces(pieces) => pieces.concat(),
        }
    }

    /// Returns it in one buffer that is shared with it from now on.
    pub(crate) fn share(&mut self) -> Bytes {
        let whole = match std::mem::take(self) {
            Self::Pieces(mut pieces) if pieces.len() == 1 => pieces.pop().unwrap_or_default(),
            other => other.into_whole().into(),
        };
        *self = Self::Pieces(vec![whole.clone()]);
        whole
    }

    fn into_pieces(self) -> Vec<Bytes> {
        match self {
            Self::Whole(whole) => vec![whole.into()],
            Self::Pieces(pieces) => pieces,
        }
    }
}

/// Bytes that leave in pieces of a bounded size.
#[derive(Debug, Default)]
pub struct Leaving {
    pieces: VecDeque<Bytes>,
    left: usize,
}

impl Leaving {
    /// Takes a message, with something before and after it.
    pub(crate) fn new(before: Vec<u8>, message: Outgoing, after: &'static [u8]) -> Self {
        let all =
            std::iter::once(before.into()).chain(message.into_pieces()).chain([Bytes::from_static(after)]);
        let pieces: VecDeque<Bytes> = all.filter(|piece: &Bytes| !piece.is_empty()).collect();
        let left = pieces.iter().map(Bytes::len).sum();
        Self { pieces, left }
    }

    /// Returns what leaves next; never empty.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        let first = self.pieces.front_mut()?;
        let piece = if first.len() > PIECE { first.split_to(PIECE) } else { self.pieces.pop_front()? };
        self.left -= piece.len();
        Some(piece)
    }

    /// Returns how many bytes are left.
    pub(crate) fn left(&self) -> usize {
        self.left
    }
}

/// Tells the owner of a connection how much of a large message waits for its reader; zero for nothing.
#[derive(Debug, Clone, Default)]
pub struct Watch(Arc<AtomicUsize>);

impl Watch {
    pub(crate) fn begin(&self, bytes: usize) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Whether nobody else holds it: what was watched is gone.
    pub(crate) fn is_over(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_is_the_whole_in_small_pieces_that_are_not_copied() {
        let large = Bytes::from(vec![7; 3 * PIECE + 1]);
        let at = large.as_ptr();
        let message =
            Outgoing::Pieces(vec![Bytes::from_static(b"{"), large.clone(), Bytes::from_static(b"}")]);
        let mut leaving = Leaving::new(b"data: ".to_vec(), message, b"\n\n");
        let expected = [b"data: {", &large[..], b"}\n\n"].concat();
        assert_eq!(leaving.left(), expected.len());
        let mut pieces = Vec::new();
        while let Some(piece) = leaving.next() {
            assert!((1..=PIECE).contains(&piece.len()));
            pieces.push(piece);
        }
        assert_eq!((pieces.concat(), leaving.left()), (expected, 0));
        assert_eq!(pieces[2].as_ptr(), at);
    }

    #[test]
    fn a_shared_message_is_one_buffer_for_both() {
        let mut message = Outgoing::Pieces(vec![Bytes::from_static(b"a"), Bytes::from_static(b"b")]);
        let kept = message.share();
        assert_eq!(kept, b"ab"[..]);
        let Outgoing::Pieces(pieces) = message else { panic!("it is shared") };
        assert_eq!(pieces[0].as_ptr(), kept.as_ptr());
        assert_eq!(Outgoing::Whole(b"x".to_vec()).share(), b"x"[..]);
    }
}
