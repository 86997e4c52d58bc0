//! A list that is answered in pages, each item written once. A page ends after so many items or so many bytes, since one skill
//! may have 512 files and cannot be parted.

use trunkline_protocol::write;
use trunkline_service::seal::{Purpose, Sealer, Unsealable};

/// The bytes after which a page takes no further item.
const PAGE_BYTES: usize = 512 * 1024;

/// The items of a list as raw JSON.
#[derive(Debug)]
pub(super) struct Listing {
    /// The member of the result that holds them.
    key: &'static str,
    items: Vec<Vec<u8>>,
    /// Equal for equal lists, so that a cursor of another list is told apart.
    digest: [u8; 32],
}

impl Listing {
    pub(super) fn new(key: &'static str, items: Vec<Vec<u8>>) -> Self {
        let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        context.update(key.as_bytes());
        for item in &items {
            context.update(&(item.len() as u64).to_be_bytes());
            context.update(item);
        }
        let digest = context.finish().as_ref().try_into().unwrap_or_default();
        Self { key, items, digest }
    }

    /// Returns an item.
    pub(super) fn item(&self, number: usize) -> Option<&[u8]> {
        self.items.get(number).map(Vec::as_slice)
    }

    /// Returns the members of one page, the first without a cursor; `None` for a cursor that is not ours or of another list.
    /// A cursor holds on every node that has the same keys and the same list.
    pub(super) fn page(
        &self,
        cursor: Option<&str>,
        page_size: usize,
        sealer: &Sealer,
    ) -> Result<Option<Vec<u8>>, Unsealable> {
        let start = match cursor {
            None => 0,
            Some(cursor) => match self.start_of(cursor, sealer) {
                Some(start) => start,
                None => return Ok(None),
            },
        };
        let rest = self.items.get(start..).unwrap_or_default();
        let taken = fitting(rest, page_size);
        let page = rest.get(..taken).unwrap_or_default();
        let mut out = Vec::with_capacity(page.iter().map(|item| item.len() + 1).sum::<usize>() + 200);
        write::string(&mut out, self.key);
        out.extend_from_slice(b":[");
        for (number, item) in page.iter().enumerate() {
            if number > 0 {
                out.push(b',');
            }
            out.extend_from_slice(item);
        }
        out.push(b']');
        if taken < rest.len() {
            let next = [&self.digest[..], &((start + taken) as u64).to_be_bytes()].concat();
            out.extend_from_slice(b",\"nextCursor\":");
            write::string(&mut out, &sealer.seal(Purpose::Cursor, &[], None, &next)?);
        }
        Ok(Some(out))
    }

    fn start_of(&self, cursor: &str, sealer: &Sealer) -> Option<usize> {
        let payload = sealer.open(Purpose::Cursor, &[], cursor.as_bytes()).ok()?;
        let start = payload.strip_prefix(&self.digest[..])?;
        usize::try_from(u64::from_be_bytes(start.try_into().ok()?)).ok()
    }
}

/// Returns how many items go on a page: at least one, if there is one.
fn fitting(items: &[Vec<u8>], page_size: usize) -> usize {
    let mut bytes = 0;
    let fits = items.iter().take(page_size.max(1)).take_while(|item| {
        let is_first = bytes == 0;
        bytes += item.len();
        is_first || bytes <= PAGE_BYTES
    });
    fits.count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pages(listing: &Listing, page_size: usize, sealer: &Sealer) -> Vec<Value> {
        let (mut pages, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let page = listing.page(cursor.as_deref(), page_size, sealer).unwrap().unwrap();
            let page: Value = serde_json::from_slice(&[b"{", &*page, b"}"].concat()).unwrap();
            cursor = page.get("nextCursor").and_then(Value::as_str).map(str::to_owned);
            pages.push(page.get("things").unwrap().clone());
            if cursor.is_none() {
                return pages;
            }
        }
    }

    #[test]
    fn every_item_is_on_one_page() {
        let sealer = Sealer::random().unwrap();
        let of =
            |count: usize| Listing::new("things", (0..count).map(|n| n.to_string().into_bytes()).collect());
        assert_eq!(pages(&of(5), 2, &sealer), [json!([0, 1]), json!([2, 3]), json!([4])]);
        assert_eq!(pages(&of(4), 2, &sealer), [json!([0, 1]), json!([2, 3])]);
        assert_eq!(pages(&of(0), 2, &sealer), [json!([])]);
        let large = Listing::new("things", vec![format!("\"{}\"", "x".repeat(400_000)).into_bytes(); 3]);
        assert_eq!(pages(&large, 50, &sealer).len(), 3, "a page is bounded in bytes too");
    }

    #[test]
    fn a_cursor_of_another_list_or_key_is_not_taken() {
        let sealer = Sealer::random().unwrap();
        let list = |last: &[u8]| Listing::new("things", vec![b"1".to_vec(), last.to_vec()]);
        let first = list(b"2").page(None, 1, &sealer).unwrap().unwrap();
        let first: Value = serde_json::from_slice(&[b"{", &*first, b"}"].concat()).unwrap();
        let cursor = first["nextCursor"].as_str();
        assert!(list(b"2").page(cursor, 1, &sealer).unwrap().is_some());
        assert!(list(b"3").page(cursor, 1, &sealer).unwrap().is_none(), "the list has changed");
        assert!(list(b"2").page(cursor, 1, &Sealer::random().unwrap()).unwrap().is_none(), "other keys");
        assert!(list(b"2").page(Some("garbage"), 1, &sealer).unwrap().is_none());
    }
}
