//! The answers to a list method, written once for every revision and page, with cursors that hold on every node.

use std::sync::Arc;

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

/// Every page of one list.
#[derive(Debug)]
pub(crate) struct Pages {
    /// The members of each page's result, by revision in the order of [`Revision::ALL`].
    pages: [Vec<Bytes>; 4],
    digest: [u8; 32],
    sealer: Arc<Sealer>,
}

impl Pages {
    /// Writes the pages of a list, `page_size` on each (at least 1).
    pub(crate) fn new<'a, D: Listed + 'a>(
        list: impl Iterator<Item = &'a D>,
        page_size: usize,
        sealer: &Arc<Sealer>,
    ) -> Self {
        let page_size = page_size.max(1);
        let list: Vec<&D> = list.collect();
        let chunks: Vec<&[&D]> = if list.is_empty() { vec![&[]] } else { list.chunks(page_size).collect() };
        let digest = digest(&list, page_size);
        let cursor = |page: u64| [&digest[..], &page.to_be_bytes()].concat();
        // Without randomness there is no cursor, and the pages after it are out of reach; nothing else is.
        let cursors: Vec<Option<String>> = (1..chunks.len() as u64)
            .map(|page| sealer.seal(Purpose::Cursor, &[], None, &cursor(page)).ok())
            .collect();
        let pages = Revision::ALL.map(|revision| {
            let next = |page: usize| cursors.get(page).and_then(Option::as_deref);
            chunks.iter().enumerate().map(|(page, chunk)| page_members(chunk, next(page), revision)).collect()
        });
        Self { pages, digest, sealer: Arc::clone(sealer) }
    }

    /// Returns a digest of what clients see: equal for equal lists.
    pub(crate) fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Returns the members of one page: the first without a cursor, `None` for a cursor that is not ours or belongs to
    /// another list. A cursor holds on every node that has the same keys and the same list.
    pub(crate) fn page(&self, cursor: Option<&str>, revision: Revision) -> Option<Bytes> {
        let page = match cursor {
            None => 0,
            Some(cursor) => self.page_of(cursor)?,
        };
        let revision = Revision::ALL.iter().position(|known| *known == revision)?;
        self.pages.get(revision)?.get(page).cloned()
    }

    fn page_of(&self, cursor: &str) -> Option<usize> {
        let payload = self.sealer.open(Purpose::Cursor, &[], cursor.as_bytes()).ok()?;
        let page = payload.strip_prefix(&self.digest[..])?;
        usize::try_from(u64::from_be_bytes(page.try_into().ok()?)).ok()
    }
}

fn page_members<D: Listed>(chunk: &[&D], next: Option<&str>, revision: Revision) -> Bytes {
    let list: Vec<Value> = chunk.iter().map(|one| one.to_json(revision)).collect();
    let mut members = format!("\"{}\":{}", D::KEY, Value::Array(list));
    if let Some(cursor) = next {
        members.push_str(&format!(",\"nextCursor\":{}", Value::from(cursor)));
    }
    members.into()
}

/// A digest of what clients see, so that a cursor of another list is told apart.
fn digest<D: Listed>(list: &[&D], page_size: usize) -> [u8; 32] {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    context.update(D::KEY.as_bytes());
    context.update(&(page_size as u64).to_be_bytes());
    for one in list {
        context.update(one.to_json(Revision::LATEST).to_string().as_bytes());
    }
    context.finish().as_ref().try_into().unwrap_or_default()
}
