//! The lines of one write, sealed, each ended by a line break.

use super::Head;

/// The lines of one write.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    text: Vec<u8>,
    lines: Vec<(usize, Head)>,
}

/// One line of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// The line without its line break.
    pub text: &'a [u8],
    /// Its number and MAC.
    pub head: Head,
}

impl Batch {
    /// Returns all lines, each with its line break.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Returns how many lines there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Tells whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Returns the lines in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Line<'_>> {
        self.lines.iter().enumerate().map(|(number, (end, head))| {
            let start =
                number.checked_sub(1).and_then(|before| self.lines.get(before)).map_or(0, |(end, _)| *end);
            let text = self.text.get(start..end.saturating_sub(1)).unwrap_or_default();
            Line { text, head: *head }
        })
    }

    /// Adds a line that `seal` appends to the text.
    pub(crate) fn push(&mut self, seal: impl FnOnce(&mut Vec<u8>) -> Head) -> Head {
        let head = seal(&mut self.text);
        self.text.push(b'\n');
        self.lines.push((self.text.len(), head));
        head
    }

    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.lines.clear();
    }
}
