//! Hides within a whole reply: structured content, its twins, blocks of content, embedded resources, contents of resources,
//! messages of prompts, `_meta`. And within what leaves beside a reply: failures, progress, log messages.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use trunkline_protocol::json::{Scanner, SyntaxError, Token};
use trunkline_service::{Failure, Reply};

use super::rewrite::{Edit, Rewriter, Stop, applied, quoted, range};

/// A reply could not be looked through, so that it must not leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

impl From<SyntaxError> for Unreadable {
    fn from(_: SyntaxError) -> Self {
        Self
    }
}

impl From<Stop> for Unreadable {
    fn from(_: Stop) -> Self {
        Self
    }
}

/// The members of an object, each with where its value stands.
pub(super) type Members = [(String, Token)];

/// Returns the members of an object, each with where its value stands.
pub(super) fn members(object: &str) -> Result<Vec<(String, Token)>, Unreadable> {
    let mut found = Vec::with_capacity(8);
    let mut scanner = Scanner::new(object)?;
    scanner.next_byte();
    scanner.members(|scanner, key| {
        let name = scanner.key(key).to_owned();
        let token = scanner.value()?;
        found.push((name, token));
        Ok(true)
    })?;
    scanner.end()?;
    if scanner.is_too_deep() { Err(Unreadable) } else { Ok(found) }
}

/// Returns the elements of a list.
pub(super) fn elements(list: &str) -> Result<Vec<Token>, Unreadable> {
    let mut found = Vec::with_capacity(8);
    let mut scanner = Scanner::new(list)?;
    scanner.next_byte();
    scanner.elements(|scanner| {
        found.push(scanner.value()?);
        Ok(true)
    })?;
    Ok(found)
}

/// What a member of a reply is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// A list of blocks, or one.
    Blocks,
    Contents,
    Messages,
    Structured,
    /// Left as it is.
    Kept,
    Other,
}

impl Part {
    fn of(name: &str) -> Self {
        match name {
            "content" => Self::Blocks,
            "contents" => Self::Contents,
            "messages" => Self::Messages,
            "structuredContent" => Self::Structured,
            // Sealed by whoever asks.
            "requestState" | "taskId" => Self::Kept,
            _ => Self::Other,
        }
    }
}

/// The structured content of a reply: as it came, and what it became, when that is something else.
struct Twin {
    was: String,
    is: Option<String>,
}

impl Rewriter<'_> {
    /// Hides within a reply.
    pub(super) fn reply(&mut self, reply: Reply) -> Result<Reply, Unreadable> {
        let reply = self.meta(reply)?;
        let text = std::str::from_utf8(reply.members()).map_err(|_| Unreadable)?;
        let object = format!("{{{text}}}");
        let members = members(&object)?;
        // First, since texts repeat what it has.
        let mut twin = None;
        for (name, token) in &members {
            if Part::of(name) == Part::Structured {
                let was = token.span.of_str(&object).to_owned();
                self.keeps_cursor = reply.is_bound();
                let is = self.json(&was, self.rules.paths.top(), 0);
                self.keeps_cursor = false;
                twin = Some(Twin { was, is: is? });
            }
        }
        let mut changed = twin.as_ref().is_some_and(|twin| twin.is.is_some());
        let mut values = Vec::with_capacity(members.len());
        for (name, token) in &members {
            let raw = token.span.of_str(&object);
            let other = match Part::of(name) {
                Part::Structured => twin.as_ref().and_then(|twin| twin.is.clone()),
                part => self.part(part, raw, twin.as_ref())?,
            };
            changed |= other.is_some();
            values.push(other);
        }
        if !changed {
            return Ok(reply);
        }
        Ok(composed(reply, &object, &members, values))
    }

    fn part(&mut self, part: Part, raw: &str, twin: Option<&Twin>) -> Result<Option<String>, Unreadable> {
        match part {
            Part::Blocks => self.each(raw, |this, block| this.block(block, twin)),
            Part::Contents => self.each(raw, |this, content| this.resource(content, twin)),
            Part::Messages => self.each(raw, |this, message| this.message(message, twin)),
            Part::Kept | Part::Structured => Ok(None),
            Part::Other => Ok(self.json(raw, self.rules.paths.top(), 0)?),
        }
    }

    /// Rewrites the elements of a list; one that is no list is its own element.
    fn each(
        &mut self,
        raw: &str,
        mut rewrite: impl FnMut(&mut Self, &str) -> Result<Option<String>, Unreadable>,
    ) -> Result<Option<String>, Unreadable> {
        if !raw.starts_with('[') {
            return rewrite(self, raw);
        }
        let mut edits: Vec<Edit> = Vec::new();
        for token in elements(raw)? {
            if let Some(other) = rewrite(self, token.span.of_str(raw))? {
                edits.push((range(token), other));
            }
        }
        Ok(applied(raw, edits))
    }

    fn message(&mut self, raw: &str, twin: Option<&Twin>) -> Result<Option<String>, Unreadable> {
        self.fields(raw, |this, name, value| match name {
            "content" => this.each(value, |this, block| this.block(block, twin)),
            _ => Ok(this.json(value, this.rules.paths.top(), 0)?),
        })
    }

    /// Rewrites one block of content.
    fn block(&mut self, raw: &str, twin: Option<&Twin>) -> Result<Option<String>, Unreadable> {
        if !raw.starts_with('{') {
            return Ok(self.json(raw, self.rules.paths.top(), 0)?);
        }
        self.fields(raw, |this, name, value| match name {
            "text" => Ok(this.string_of(value, twin)),
            "resource" if value.starts_with('{') => this.resource(value, twin),
            // What is on them is not read, and an address has to stay one.
            "data" | "type" | "mimeType" | "uri" => Ok(None),
            "_meta" => this.meta_value(value),
            // A block of a message that asks a model, which holds blocks.
            "content" => this.each(value, |this, block| this.block(block, twin)),
            _ => Ok(this.json(value, this.rules.paths.top(), 0)?),
        })
    }

    /// Rewrites what a resource holds.
    fn resource(&mut self, raw: &str, twin: Option<&Twin>) -> Result<Option<String>, Unreadable> {
        if !raw.starts_with('{') {
            return Ok(self.json(raw, self.rules.paths.top(), 0)?);
        }
        let mime = members(raw)?
            .iter()
            .find(|(name, _)| name == "mimeType")
            .and_then(|(_, token)| token.text(raw.as_bytes()).map(|text| text.into_owned()));
        self.fields(raw, |this, name, value| match name {
            "text" => Ok(this.string_of(value, twin)),
            "blob" if mime.as_deref().is_some_and(is_text) => Ok(this.blob(value)),
            "uri" | "mimeType" | "blob" => Ok(None),
            "_meta" => this.meta_value(value),
            _ => Ok(this.json(value, this.rules.paths.top(), 0)?),
        })
    }

    /// Rewrites the text in a JSON string; a twin of the structured content becomes what that became.
    fn string_of(&mut self, raw: &str, twin: Option<&Twin>) -> Option<String> {
        let text: String = serde_json::from_str(raw).ok()?;
        match twin {
            Some(twin) if twin.was == text => twin.is.as_deref().map(quoted),
            _ => self.text(&text).as_deref().map(quoted),
        }
    }

    /// Rewrites text that travels as base64.
    fn blob(&mut self, raw: &str) -> Option<String> {
        let encoded: String = serde_json::from_str(raw).ok()?;
        let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
        self.text(&text).map(|text| quoted(&STANDARD.encode(text)))
    }

    /// Rewrites the values of an object's members.
    fn fields(
        &mut self,
        raw: &str,
        mut rewrite: impl FnMut(&mut Self, &str, &str) -> Result<Option<String>, Unreadable>,
    ) -> Result<Option<String>, Unreadable> {
        if !raw.starts_with('{') {
            return Ok(self.json(raw, self.rules.paths.top(), 0)?);
        }
        let mut edits: Vec<Edit> = Vec::new();
        for (name, token) in members(raw)? {
            if let Some(other) = rewrite(self, &name, token.span.of_str(raw))? {
                edits.push((range(token), other));
            }
        }
        Ok(applied(raw, edits))
    }

    /// Rewrites `_meta` but for what the protocol and this server put there.
    fn meta_value(&mut self, raw: &str) -> Result<Option<String>, Unreadable> {
        self.fields(raw, |this, name, value| {
            let is_ours = name.starts_with("io.modelcontextprotocol/") || name.starts_with("io.trunkline/");
            if is_ours { Ok(None) } else { Ok(this.json(value, this.rules.paths.top(), 0)?) }
        })
    }

    fn meta(&mut self, reply: Reply) -> Result<Reply, Unreadable> {
        if reply.meta().is_empty() {
            return Ok(reply);
        }
        let object = format!("{{{}}}", std::str::from_utf8(reply.meta()).map_err(|_| Unreadable)?);
        let other = self.meta_value(&object)?;
        let inner = other.as_deref().and_then(|other| other.strip_prefix('{')?.strip_suffix('}'));
        Ok(match inner {
            Some(inner) => {
                let inner = inner.as_bytes().to_vec();
                reply.with_meta(inner)
            }
            None => reply,
        })
    }

    /// Hides within what is said of a failure.
    pub(super) fn failure(&mut self, failure: Failure) -> Failure {
        let failure = match self.prose(failure.public()) {
            Some(text) => failure.with_public(text),
            None => failure,
        };
        let Some(data) = failure.data().map(|data| String::from_utf8_lossy(data).into_owned()) else {
            return failure;
        };
        // The address that was asked for comes back as it was sent.
        let other = self.fields(&data, |this, name, value| match name {
            "uri" => Ok(None),
            _ => Ok(this.json(value, this.rules.paths.top(), 0)?),
        });
        match other {
            Ok(None) => failure,
            Ok(Some(other)) => failure.with_data(other.into_bytes()),
            Err(Unreadable) => failure.with_data(b"null".to_vec()),
        }
    }

    /// Hides within a notification of progress or of the log; every other message is left as it is.
    pub(super) fn notification(&mut self, message: &str) -> Result<Option<String>, Unreadable> {
        let is_news = members(message)?.iter().any(|(name, token)| {
            let text = || token.text(message.as_bytes());
            name == "method"
                && text().is_some_and(|method| {
                    matches!(&*method, "notifications/progress" | "notifications/message")
                })
        });
        if !is_news {
            return Ok(None);
        }
        self.fields(message, |this, name, value| match name {
            "params" => this.fields(value, |this, name, value| match name {
                "message" => Ok(this.string_of(value, None)),
                "data" => Ok(this.json(value, this.rules.paths.top(), 0)?),
                _ => Ok(None),
            }),
            _ => Ok(None),
        })
    }
}

/// Tells whether a blob of that type is text.
fn is_text(mime: &str) -> bool {
    let mime = mime.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    mime.starts_with("text/")
        || ["json", "xml", "yaml", "csv", "x-ndjson", "jsonl"].iter().any(|kind| mime.ends_with(kind))
}

/// Writes the members anew, with the place of the structured content among them.
pub(super) fn composed(reply: Reply, object: &str, members: &Members, values: Vec<Option<String>>) -> Reply {
    let mut out = String::with_capacity(object.len() + 256);
    let mut structured = None;
    for ((name, token), other) in members.iter().zip(&values) {
        let start = out.len();
        if start > 0 {
            out.push(',');
        }
        out.push_str(&quoted(name));
        out.push(':');
        out.push_str(other.as_deref().unwrap_or_else(|| token.span.of_str(object)));
        if start > 0 && reply.structured().is_some() && name == "structuredContent" {
            structured = Some(start..out.len());
        }
    }
    reply.with_members(out.into_bytes(), structured)
}
