//! The tools that exist, in a stable order, with the answers to `tools/list` written once for every revision.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};
use trunkline_protocol::Revision;

use crate::Service;
use crate::seal::{Purpose, Sealer};

/// A tool's name: 1 to 64 characters of `[A-Za-z0-9_-]`, the form every known host takes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ToolName(Box<str>);

/// A name that is no tool name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no tool name; use 1 to 64 of the characters a-z, A-Z, 0-9, `_` and `-`")]
pub struct BadToolName(String);

impl ToolName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`BadToolName`] when it is empty, longer than 64 characters, or has other characters than `[A-Za-z0-9_-]`.
    pub fn new(name: &str) -> Result<Self, BadToolName> {
        let fits = (1..=64).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if fits { Ok(Self(name.into())) } else { Err(BadToolName(name.to_owned())) }
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ToolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a tool does to the world, as hints for hosts. Spec: 2026-07-28 schema#toolannotations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Annotations {
    /// It changes nothing.
    pub read_only: bool,
    /// It may destroy something; meaningless when `read_only`.
    pub destructive: bool,
    /// Calling it twice does no more than calling it once.
    pub idempotent: bool,
    /// It reaches beyond a closed set of data.
    pub open_world: bool,
}

impl Annotations {
    /// A tool that only reads from a source of its own.
    pub const READ_ONLY: Self =
        Self { read_only: true, destructive: false, idempotent: true, open_world: false };
    /// A tool that writes to a source of its own.
    pub const WRITES: Self =
        Self { read_only: false, destructive: true, idempotent: false, open_world: false };
}

/// One tool as clients see it.
#[derive(Debug, Clone)]
pub struct ToolDefinition {
    /// The name it is called by.
    pub name: ToolName,
    /// A name for people.
    pub title: Option<String>,
    /// What it is for; the model chooses by it. Empty is replaced by the title or the name.
    pub description: String,
    /// The JSON Schema of the arguments; an object schema.
    pub input_schema: Value,
    /// The JSON Schema of `structuredContent`, when it is known; an object schema.
    pub output_schema: Option<Value>,
    /// What it does to the world.
    pub annotations: Annotations,
}

impl ToolDefinition {
    /// Returns the tool as a client of `revision` sees it.
    fn to_json(&self, revision: Revision) -> Value {
        let mut tool = Map::new();
        let title = self.title.clone().unwrap_or_else(|| title_of(self.name.as_str()));
        let description =
            if self.description.trim().is_empty() { title.clone() } else { self.description.clone() };
        tool.insert("name".into(), self.name.as_str().into());
        if revision >= Revision::V2025_06_18 {
            tool.insert("title".into(), title.clone().into());
        }
        tool.insert("description".into(), description.into());
        tool.insert("inputSchema".into(), self.input_schema.clone());
        if let Some(schema) = self.output_schema.as_ref().filter(|_| revision >= Revision::V2025_06_18) {
            tool.insert("outputSchema".into(), schema.clone());
        }
        let hints = &self.annotations;
        tool.insert(
            "annotations".into(),
            serde_json::json!({
                "title": title,
                "readOnlyHint": hints.read_only,
                "destructiveHint": hints.destructive,
                "idempotentHint": hints.idempotent,
                "openWorldHint": hints.open_world,
            }),
        );
        Value::Object(tool)
    }
}

/// Makes a title from a name: `search_customers` becomes `Search customers`.
fn title_of(name: &str) -> String {
    let mut title = name.replace(['_', '-'], " ");
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    title
}

/// A tool and the service that answers it.
#[derive(Clone)]
pub struct Entry {
    /// What clients see.
    pub definition: ToolDefinition,
    /// Who answers.
    pub service: Arc<dyn Service>,
    /// The tool's number within that service.
    pub target: u32,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("definition", &self.definition)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// Two tools of one name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("two tools are named `{0}`; rename one of them")]
pub struct NameClash(pub ToolName);

/// Every tool of an endpoint, fixed once made: a change makes a new catalog.
#[derive(Debug)]
pub struct Catalog {
    entries: Vec<Entry>,
    by_name: HashMap<Box<str>, u32>,
    /// The members of each page's result, by revision in the order of [`Revision::ALL`].
    pages: [Vec<Bytes>; 4],
    digest: [u8; 32],
    sealer: Arc<Sealer>,
}

/// Tools on one page of `tools/list`. Not every host asks for a second page.
pub const PAGE_SIZE: usize = 250;

impl Catalog {
    /// Puts tools together in the order given, `page_size` on a page (at least 1).
    ///
    /// # Errors
    /// [`NameClash`] when two tools have one name.
    pub fn new(entries: Vec<Entry>, page_size: usize, sealer: &Arc<Sealer>) -> Result<Self, NameClash> {
        let mut by_name = HashMap::with_capacity(entries.len());
        for (number, entry) in (0..).zip(&entries) {
            let name = entry.definition.name.clone();
            if by_name.insert(name.as_str().into(), number).is_some() {
                return Err(NameClash(name));
            }
        }
        let page_size = page_size.max(1);
        let chunks: Vec<&[Entry]> =
            if entries.is_empty() { vec![&[]] } else { entries.chunks(page_size).collect() };
        let digest = digest(&entries, page_size);
        let cursor = |page: u64| [&digest[..], &page.to_be_bytes()].concat();
        // Without randomness there is no cursor, and the pages after it are out of reach; nothing else is.
        let cursors: Vec<Option<String>> = (1..chunks.len() as u64)
            .map(|page| sealer.seal(Purpose::Cursor, &[], None, &cursor(page)).ok())
            .collect();
        let pages = Revision::ALL.map(|revision| {
            let next = |page: usize| cursors.get(page).and_then(Option::as_deref);
            chunks.iter().enumerate().map(|(page, chunk)| page_members(chunk, next(page), revision)).collect()
        });
        Ok(Self { entries, by_name, pages, digest, sealer: Arc::clone(sealer) })
    }

    /// Returns the number of the tool of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// Returns a tool by its number.
    #[must_use]
    pub fn entry(&self, number: u32) -> Option<&Entry> {
        self.entries.get(number as usize)
    }

    /// Returns a digest of what clients see: equal for equal lists.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Returns every tool, in list order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns the members of one page of `tools/list`: the first without a cursor, `None` for a cursor that is not ours
    /// or belongs to another list. A cursor holds on every node that has the same keys and the same tools.
    #[must_use]
    pub fn page(&self, cursor: Option<&str>, revision: Revision) -> Option<Bytes> {
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

fn page_members(chunk: &[Entry], next: Option<&str>, revision: Revision) -> Bytes {
    let tools: Vec<Value> = chunk.iter().map(|entry| entry.definition.to_json(revision)).collect();
    let mut members = format!("\"tools\":{}", Value::Array(tools));
    if let Some(cursor) = next {
        members.push_str(&format!(",\"nextCursor\":{}", Value::from(cursor)));
    }
    members.into()
}

/// A digest of what clients see, so that a cursor of another catalog is told apart.
fn digest(entries: &[Entry], page_size: usize) -> [u8; 32] {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    context.update(&(page_size as u64).to_be_bytes());
    for entry in entries {
        context.update(entry.definition.to_json(Revision::LATEST).to_string().as_bytes());
    }
    context.finish().as_ref().try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    impl Service for Nobody {
        fn call(&self, _: crate::Request) -> crate::Answer<'_> {
            crate::ready(Ok(crate::Reply::text("")))
        }
    }

    fn catalog(tools: u32, sealer: &Arc<Sealer>) -> Catalog {
        let entry = |target: u32| Entry {
            definition: ToolDefinition {
                name: ToolName::new(&format!("t{target}")).unwrap(),
                title: None,
                description: String::new(),
                input_schema: serde_json::json!({ "type": "object" }),
                output_schema: None,
                annotations: Annotations::READ_ONLY,
            },
            service: Arc::new(Nobody),
            target,
        };
        Catalog::new((0..tools).map(entry).collect(), 2, sealer).unwrap()
    }

    fn next(catalog: &Catalog, cursor: Option<&str>) -> Option<String> {
        let page = catalog.page(cursor, Revision::LATEST).unwrap();
        let page: Value =
            serde_json::from_str(&format!("{{{}}}", std::str::from_utf8(&page).unwrap())).unwrap();
        page["nextCursor"].as_str().map(str::to_owned)
    }

    #[test]
    fn a_cursor_holds_on_every_node_with_the_same_keys_and_tools_and_on_no_other() {
        let keys = [[7; 32]];
        let (here, there) = (Arc::new(Sealer::new(&keys).unwrap()), Arc::new(Sealer::new(&keys).unwrap()));
        let second = next(&catalog(5, &here), None).unwrap();
        let third = next(&catalog(5, &there), Some(&second)).unwrap();
        assert_eq!(next(&catalog(5, &here), Some(&third)), None);
        assert!(catalog(6, &here).page(Some(&second), Revision::LATEST).is_none(), "another list");
        let other = Arc::new(Sealer::random().unwrap());
        assert!(catalog(5, &other).page(Some(&second), Revision::LATEST).is_none(), "other keys");
    }
}
