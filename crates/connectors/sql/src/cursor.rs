//! Where a page of a result ended, as it travels with the client: sealed for its caller, for ten minutes, and read back.
//!
//! A cursor does not hold the arguments, only a digest of what they came to: the client sends them again. A link to the rest
//! of a result holds them as they were sent, since it is read without any.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use trunkline_protocol::write;
use trunkline_service::Caller;
use trunkline_service::seal::{self, Purpose, Sealer, Unsealable};

use crate::database::{Dialect, Resume};
use crate::result::Ended;
use crate::value::Value;

/// The argument that takes a cursor.
pub(crate) const ARGUMENT: &str = "cursor";

/// How long a cursor holds, in seconds.
pub(crate) const HOLDS: u64 = 600;

/// Larger arguments do not travel in a link, so that there is none then.
const MOST_ARGUMENTS: usize = 4096;

const VERSION: u8 = 1;

/// A digest, cut: it tells what changed by chance, and what is sealed nobody can choose.
pub(crate) type Digest = [u8; 8];

/// Why a cursor is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadCursor {
    /// It was not sealed here for this caller, or too long ago.
    Unknown,
    /// It is of another tool, or of what this one was before.
    OtherTool,
    /// It belongs to other arguments.
    OtherArguments,
}

impl BadCursor {
    /// What the caller reads.
    pub(crate) fn public(self) -> &'static str {
        match self {
            Self::Unknown => "the cursor has expired or is not of this caller; call without it",
            Self::OtherTool => {
                "the cursor is of another tool, or this one has changed since; call without it"
            }
            Self::OtherArguments => {
                "the cursor belongs to other arguments; send those of the call that gave it, or call without it"
            }
        }
    }
}

/// Where a page ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Of connector, tool and statement.
    pub(crate) tool: Digest,
    /// Of the values that were bound.
    pub(crate) arguments: Digest,
    /// How many rows were sent, of this page and all before.
    pub(crate) sent: u64,
    /// Of the last of them.
    pub(crate) last: Digest,
    /// What the database keeps.
    pub(crate) kept: Option<u64>,
}

/// The rest of a result behind a link.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rest {
    pub(crate) place: Place,
    pub(crate) tool: String,
    pub(crate) arguments: Vec<u8>,
}

/// The form in which a link gives rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Csv,
    JsonLines,
}

impl Format {
    /// Reads the word of a URI.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::Csv, Self::JsonLines].into_iter().find(|format| format.word() == word)
    }

    fn word(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::JsonLines => "jsonl",
        }
    }

    /// Returns the media type.
    pub(crate) fn mime_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv",
            Self::JsonLines => "application/jsonl",
        }
    }
}

impl Place {
    /// Makes the place where a page of a tool of that digest ended; `before` rows were sent before the page.
    pub(crate) fn after(
        tool: Digest,
        values: &[Value],
        before: u64,
        ended: Ended,
        kept: Option<u64>,
    ) -> Self {
        let sent = before + u64::from(ended.rows);
        Self { tool, arguments: digest_values(values), sent, last: ended.last, kept }
    }

    /// Returns what the database is told of it.
    pub(crate) fn resume(&self) -> Resume {
        Resume { sent: self.sent, kept: self.kept }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(&self.tool);
        out.extend_from_slice(&self.arguments);
        out.extend_from_slice(&self.sent.to_be_bytes());
        out.extend_from_slice(&self.last);
        out.push(u8::from(self.kept.is_some()));
        out.extend_from_slice(&self.kept.unwrap_or_default().to_be_bytes());
    }

    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let rest = bytes.strip_prefix(&[VERSION])?;
        let (tool, rest) = rest.split_first_chunk()?;
        let (arguments, rest) = rest.split_first_chunk()?;
        let (sent, rest) = rest.split_first_chunk()?;
        let (last, rest) = rest.split_first_chunk()?;
        let (is_kept, rest) = rest.split_first()?;
        let (kept, rest) = rest.split_first_chunk()?;
        let place = Self {
            tool: *tool,
            arguments: *arguments,
            sent: u64::from_be_bytes(*sent),
            last: *last,
            kept: (*is_kept == 1).then(|| u64::from_be_bytes(*kept)),
        };
        Some((place, rest))
    }
}

/// Seals and opens the places of one connector.
#[derive(Debug)]
pub(crate) struct Pager {
    sealer: Arc<Sealer>,
    connector: Box<str>,
    scheme: &'static str,
}

impl Pager {
    /// Makes the pager of a connector.
    pub(crate) fn new(connector: &str, sealer: &Arc<Sealer>, dialect: Dialect) -> Self {
        let scheme = match dialect {
            Dialect::Postgres => "postgres",
            Dialect::Sqlite => "sqlite",
        };
        Self { sealer: Arc::clone(sealer), connector: connector.into(), scheme }
    }

    /// Returns what tells a tool and its statement from every other.
    pub(crate) fn tool(&self, name: &str, sql: &str) -> Digest {
        cut(seal::fingerprint([self.connector.as_bytes(), name.as_bytes(), sql.as_bytes()]))
    }

    /// Seals a place as a cursor.
    pub(crate) fn cursor(&self, place: &Place, caller: &Caller) -> Result<String, Unsealable> {
        let mut payload = Vec::with_capacity(48);
        place.write(&mut payload);
        self.sealer.seal(Purpose::Page, &caller.identity(), Some(seal::now() + HOLDS), &payload)
    }

    /// Opens a cursor.
    pub(crate) fn open(
        &self,
        cursor: &str,
        tool: Digest,
        arguments: Digest,
        caller: &Caller,
    ) -> Result<Place, BadCursor> {
        let opened = self.sealer.open(Purpose::Page, &caller.identity(), cursor.trim().as_bytes());
        let place = match opened.as_deref().map(Place::read) {
            Ok(Some((place, []))) => place,
            _ => return Err(BadCursor::Unknown),
        };
        if place.tool != tool {
            return Err(BadCursor::OtherTool);
        }
        if place.arguments == arguments { Ok(place) } else { Err(BadCursor::OtherArguments) }
    }

    /// Returns the URI of the rest of a result; `None` when its arguments are too large to travel.
    pub(crate) fn uri(
        &self,
        format: Format,
        place: &Place,
        tool: &str,
        arguments: &[u8],
        caller: &Caller,
    ) -> Option<String> {
        if arguments.len() > MOST_ARGUMENTS {
            return None;
        }
        let mut payload = Vec::with_capacity(64 + tool.len() + arguments.len());
        place.write(&mut payload);
        payload.push(u8::try_from(tool.len()).ok()?);
        payload.extend_from_slice(tool.as_bytes());
        payload.extend_from_slice(arguments);
        let expires = Some(seal::now() + HOLDS);
        let sealed = self.sealer.seal(Purpose::Results, &caller.identity(), expires, &payload).ok()?;
        Some(format!("{}{}/{sealed}", self.root(), format.word()))
    }

    /// Opens a URI; `None` when it is none of this connector's, or not of this caller, or has expired.
    pub(crate) fn open_uri(&self, uri: &str, caller: &Caller) -> Option<(Format, Rest)> {
        let (format, sealed) = self.parts(uri)?;
        let payload = self.sealer.open(Purpose::Results, &caller.identity(), sealed.as_bytes()).ok()?;
        let (place, rest) = Place::read(&payload)?;
        let (length, rest) = rest.split_first()?;
        let (tool, arguments) = rest.split_at_checked(usize::from(*length))?;
        let tool = String::from_utf8(tool.to_vec()).ok()?;
        Some((format, Rest { place, tool, arguments: arguments.to_vec() }))
    }

    /// Tells whether a URI has the form of one of this connector's, whether or not it can be opened.
    pub(crate) fn is_link(&self, uri: &str) -> bool {
        self.parts(uri).is_some()
    }

    fn parts<'a>(&self, uri: &'a str) -> Option<(Format, &'a str)> {
        let (format, sealed) = uri.strip_prefix(&self.root())?.split_once('/')?;
        Some((Format::parse(format)?, sealed))
    }

    /// Returns the template of such URIs.
    pub(crate) fn template(&self) -> String {
        format!("{}{{format}}/{{page}}", self.root())
    }

    fn root(&self) -> String {
        format!("{}://{}/results/", self.scheme, self.connector)
    }
}

/// Writes the `resource_link` block that tells where the rest of a tool's result is.
pub(crate) fn link(uri: &str, tool: &str) -> Vec<u8> {
    let mut block = br#"{"type":"resource_link","uri":"#.to_vec();
    write::string(&mut block, uri);
    block.extend_from_slice(br#","name":"#);
    write::string(&mut block, &format!("{tool}.csv"));
    block.extend_from_slice(br#","description":"The rows after these, in large pages (`jsonl` in place of `csv` for JSON lines)","mimeType":"text/csv"}"#);
    block
}

/// Adds the argument to an input schema.
pub(crate) fn describe_argument(schema: &mut Json) {
    if let Some(Json::Object(properties)) = schema.get_mut("properties") {
        // Every tool of rows has it and every model pays for it, so it says no more than it must.
        let text = "nextCursor of the last result";
        properties.insert(ARGUMENT.to_owned(), json!({ "type": "string", "description": text }));
    }
}

/// Adds `nextCursor` to an output schema.
pub(crate) fn describe_result(schema: &mut Json) {
    if let Some(Json::Object(properties)) = schema.get_mut("properties") {
        properties.insert("nextCursor".to_owned(), json!({ "type": "string" }));
    }
}

/// Returns what tells a row from another.
pub(crate) fn digest_row(json: &[u8]) -> Digest {
    cut(seal::fingerprint([json]))
}

/// Returns what tells these values from others.
pub(crate) fn digest_values(values: &[Value]) -> Digest {
    let mut bytes = Vec::with_capacity(64);
    write_values(&mut bytes, values);
    cut(seal::fingerprint([&*bytes]))
}

/// Appends these values in a form that no others have.
pub(crate) fn write_values(out: &mut Vec<u8>, values: &[Value]) {
    values.iter().for_each(|value| write_value(out, value));
}

fn write_value(out: &mut Vec<u8>, value: &Value) {
    let mut put = |kind: u8, bytes: &[u8]| {
        out.push(kind);
        out.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        out.extend_from_slice(bytes);
    };
    match value {
        Value::Null => put(0, b""),
        Value::Boolean(truth) => put(1, &[u8::from(*truth)]),
        Value::Integer(integer) => put(2, &integer.to_be_bytes()),
        Value::Float(number) => put(3, &number.to_bits().to_be_bytes()),
        Value::Decimal(digits) => put(4, digits.as_bytes()),
        Value::Text(text) => put(5, text.as_bytes()),
        Value::Json(text) => put(6, text.as_bytes()),
        Value::List(values) => {
            put(7, &(values.len() as u64).to_be_bytes());
            values.iter().for_each(|value| write_value(out, value));
        }
        Value::Object(members) => {
            put(8, &(members.len() as u64).to_be_bytes());
            for (name, value) in members {
                write_value(out, &Value::Null);
                out.extend_from_slice(&(name.len() as u64).to_be_bytes());
                out.extend_from_slice(name.as_bytes());
                write_value(out, value);
            }
        }
    }
}

fn cut(digest: [u8; 32]) -> Digest {
    digest.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pager() -> Pager {
        Pager::new("shop", &Arc::new(Sealer::new(&[[7; 32]]).unwrap()), Dialect::Postgres)
    }

    fn caller(subject: &str) -> Caller {
        Caller { subject: subject.into(), ..Caller::default() }
    }

    const PLACE: Place = Place { tool: [1; 8], arguments: [2; 8], sent: 7, last: [3; 8], kept: Some(9) };

    #[test]
    fn a_cursor_is_of_one_caller_one_tool_and_its_arguments() {
        let (pager, ann) = (pager(), caller("ann"));
        let cursor = pager.cursor(&PLACE, &ann).unwrap();
        assert!(cursor.len() < 128, "a model has to repeat all {} characters", cursor.len());
        assert_eq!(pager.open(&cursor, [1; 8], [2; 8], &ann), Ok(PLACE));
        assert_eq!(pager.open(&cursor, [9; 8], [2; 8], &ann), Err(BadCursor::OtherTool));
        assert_eq!(pager.open(&cursor, [1; 8], [9; 8], &ann), Err(BadCursor::OtherArguments));
        assert_eq!(pager.open(&cursor, [1; 8], [2; 8], &caller("bob")), Err(BadCursor::Unknown));
        assert_eq!(pager.open("nonsense", [1; 8], [2; 8], &ann), Err(BadCursor::Unknown));
        let list = pager.sealer.seal(Purpose::Cursor, &ann.identity(), None, b"x").unwrap();
        assert_eq!(pager.open(&list, [1; 8], [2; 8], &ann), Err(BadCursor::Unknown));
    }

    #[test]
    fn an_expired_cursor_is_unknown() {
        let (pager, ann) = (pager(), caller("ann"));
        let mut payload = Vec::new();
        PLACE.write(&mut payload);
        let past = Some(seal::now() - 1);
        let cursor = pager.sealer.seal(Purpose::Page, &ann.identity(), past, &payload).unwrap();
        assert_eq!(pager.open(&cursor, [1; 8], [2; 8], &ann), Err(BadCursor::Unknown));
    }

    #[test]
    fn a_link_holds_the_arguments_and_is_of_one_caller() {
        let (pager, ann) = (pager(), caller("ann"));
        let place = Place { kept: None, ..PLACE };
        let uri = pager.uri(Format::JsonLines, &place, "list", br#"{"a":1}"#, &ann).unwrap();
        assert!(uri.starts_with("postgres://shop/results/jsonl/"), "{uri}");
        let rest = Rest { place, tool: "list".into(), arguments: br#"{"a":1}"#.to_vec() };
        assert_eq!(pager.open_uri(&uri, &ann), Some((Format::JsonLines, rest)));
        assert_eq!(pager.open_uri(&uri, &caller("bob")), None);
        assert_eq!(pager.open_uri(&uri.replace("jsonl", "xml"), &ann), None);
        assert_eq!(pager.open_uri(&uri.replace("shop", "barn"), &ann), None);
        assert_eq!(pager.uri(Format::Csv, &place, "list", &[b' '; MOST_ARGUMENTS + 1], &ann), None);
        assert!(pager.is_link(&uri) && pager.is_link("postgres://shop/results/csv/x"));
        assert!(!pager.is_link("postgres://shop/results/xml/x") && !pager.is_link("postgres://shop/results"));
        let template = trunkline_protocol::uri_template::UriTemplate::parse(&pager.template()).unwrap();
        assert_eq!(template.matches(&uri).unwrap()[0], ("format", "jsonl".to_owned()));
    }

    #[test]
    fn values_that_differ_have_other_digests() {
        let text = |text: &str| Value::Text(text.to_owned());
        let all = [
            vec![],
            vec![Value::Null],
            vec![text("")],
            vec![text("1")],
            vec![Value::Integer(1)],
            vec![Value::Boolean(true)],
            vec![Value::Float(1.0)],
            vec![Value::Decimal("1".into())],
            vec![Value::Json("1".into())],
            vec![text("a"), text("b")],
            vec![text("ab")],
            vec![Value::List(vec![text("a"), text("b")])],
            vec![Value::List(vec![text("a")]), text("b")],
        ];
        let digests: std::collections::BTreeSet<Digest> = all.iter().map(|one| digest_values(one)).collect();
        assert_eq!(digests.len(), all.len());
    }
}
