//! The answers to a list method, written once for every revision and page when they are first asked for, with cursors that
//! hold on every node.

use std::borrow::Cow;
use std::sync::OnceLock;

use bytes::Bytes;
use serde_json::Value;
use trunkline_protocol::Revision;

use crate::seal::{Purpose, Sealer};

/// Something a list method tells of.
pub(crate) trait Listed {
    /// The member of the result that holds the list.
    const KEY: &'static str;

    /// Returns the thing as a client of `revision` sees it.
    fn to_json(&self, revision: Revision) -> Value;
}

/// What a list is written from.
pub(crate) struct Source<'a> {
    /// The member of the result that holds the list.
    pub(crate) key: &'static str,
    /// How many things are in it.
    pub(crate) length: usize,
    /// Returns the text of one of them as a client of a revision sees it.
    pub(crate) text: &'a dyn Fn(usize, Revision) -> Cow<'a, str>,
    /// How many of them are on a page, at least 1.
    pub(crate) page_size: usize,
    /// Seals cursors.
    pub(crate) sealer: &'a Sealer,
}

/// Every page of one list, as far as it was asked for.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    /// The members of each page's result, by revision in the order of [`Revision::ALL`].
    pages: [OnceLock<Box<[Bytes]>>; 4],
    digest: OnceLock<[u8; 32]>,
}

impl Pages {
    /// Returns a digest of what clients see: equal for equal lists.
    pub(crate) fn digest(&self, source: &Source<'_>) -> [u8; 32] {
        *self.digest.get_or_init(|| source.digest())
    }

    /// Returns the members of one page: the first without a cursor, `None` for a cursor that is not ours or belongs to
    /// another list. A cursor holds on every node that has the same keys and the same list.
    pub(crate) fn page(
        &self,
        source: &Source<'_>,
        cursor: Option<&str>,
        revision: Revision,
    ) -> Option<Bytes> {
        let page = match cursor {
            None => 0,
            Some(cursor) => self.page_of(source, cursor)?,
        };
        let number = Revision::ALL.iter().position(|known| *known == revision)?;
        let pages = self.pages.get(number)?.get_or_init(|| source.pages(revision, || self.digest(source)));
        pages.get(page).cloned()
    }

    fn page_of(&self, source: &Source<'_>, cursor: &str) -> Option<usize> {
        let payload = source.sealer.open(Purpose::Cursor, &[], cursor.as_bytes()).ok()?;
        let page = payload.strip_prefix(&self.digest(source)[..])?;
        usize::try_from(u64::from_be_bytes(page.try_into().ok()?)).ok()
    }
}

impl Source<'_> {
    /// Writes every page; the digest is asked for only where there is a second one.
    fn pages(&self, revision: Revision, digest: impl Fn() -> [u8; 32]) -> Box<[Bytes]> {
        let count = self.length.div_ceil(self.page_size).max(1);
        let page = |number: usize| {
            let first = number * self.page_size;
            let mut members = format!("\"{}\":[", self.key);
            for item in first..(first + self.page_size).min(self.length) {
                if item > first {
                    members.push(',');
                }
                members.push_str(&(self.text)(item, revision));
            }
            members.push(']');
            // Without randomness there is no cursor, and the pages after it are out of reach; nothing else is.
            if number + 1 < count
                && let Some(cursor) = self.cursor(&digest(), number as u64 + 1)
            {
                members.push_str(&format!(",\"nextCursor\":{}", Value::from(cursor)));
            }
            members.into()
        };
        (0..count).map(page).collect()
    }

    fn cursor(&self, digest: &[u8; 32], page: u64) -> Option<String> {
        let payload = [&digest[..], &page.to_be_bytes()].concat();
        self.sealer.seal(Purpose::Cursor, &[], None, &payload).ok()
    }

    /// A digest of what clients see, so that a cursor of another list is told apart.
    fn digest(&self) -> [u8; 32] {
        let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        context.update(self.key.as_bytes());
        context.update(&(self.page_size as u64).to_be_bytes());
        for item in 0..self.length {
            context.update((self.text)(item, Revision::LATEST).as_bytes());
        }
        context.finish().as_ref().try_into().unwrap_or_default()
    }
}
