//! The buffer of a result in the making: blocks are written into it as JSON, and never exist as a tree.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;
use trunkline_protocol::write;
use trunkline_service::Reply;

use super::blocks::{Audio, Content, EmbeddedResource, Extras, Held, Image, ResourceLink, Text};
use crate::sdk::result::Json;

/// Something that becomes one block of content, or several, or none.
///
/// Implement it for a type of your own to return it from tools, alone or among others.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be part of a result",
    label = "not content",
    note = "use text, `Image`, `Audio`, `EmbeddedResource`, `ResourceLink`, `Content` or `Json<T>`; for your own struct `Json<{Self}>`"
)]
pub trait IntoPart: Send {
    /// Writes the blocks.
    fn write_to(self, parts: &mut PartWriter);

    /// Returns the schema of `structuredContent`, for what brings some.
    #[must_use]
    fn output_schema() -> Option<Value>
    where
        Self: Sized,
    {
        None
    }

    /// Makes a whole result at once, for what is one text and nothing else: the shortest way for the commonest result.
    ///
    /// # Errors
    /// The part itself, to be written.
    #[doc(hidden)]
    fn into_reply(self) -> Result<Reply, Self>
    where
        Self: Sized,
    {
        Err(self)
    }
}

/// Takes the blocks of a result, one after another.
#[derive(Debug, Default)]
pub struct PartWriter {
    /// The blocks so far, with commas between them, after [`PartWriter::HEAD`].
    out: Vec<u8>,
    blocks: usize,
    structured: Option<Vec<u8>>,
    links: bool,
    /// One past the first block.
    first_end: Option<usize>,
    /// The plain text of the blocks, where somebody listens to it.
    told: Option<String>,
    fault: Option<serde_json::Error>,
}

/// A result whose blocks are all there.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) reply: Reply,
    /// `structuredContent` as JSON, to be checked before it is sent.
    pub(crate) structured: Option<Vec<u8>>,
}

impl PartWriter {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Starts a writer that also keeps the plain text of what is written.
    pub(crate) fn telling() -> Self {
        Self { told: Some(String::new()), ..Self::default() }
    }

    /// Writes a block of text.
    pub fn text(&mut self, text: &str) {
        // Head, tail and the members around the list: with an unescaped text the buffer never grows.
        self.out.reserve(text.len() + 96);
        self.begin("text");
        self.member("text", text);
        self.end(None);
        self.tell(text);
    }

    /// Writes a value as compact JSON text, and as the result's `structuredContent` if there is none yet.
    pub fn json<T: Serialize + ?Sized>(&mut self, value: &T) {
        match serde_json::to_vec(value) {
            Ok(json) => self.structured(json),
            Err(error) => self.fault = Some(error),
        }
    }

    /// Keeps a value as the result's `structuredContent`, if there is none yet, without a text.
    pub(crate) fn structured_only<T: Serialize + ?Sized>(&mut self, value: &T) {
        match serde_json::to_vec(value) {
            Ok(json) => {
                self.structured.get_or_insert(json);
            }
            Err(error) => self.fault = Some(error),
        }
    }

    fn structured(&mut self, json: Vec<u8>) {
        self.out.reserve(json.len() + json.len() / 8 + 96);
        self.begin("text");
        self.out.extend_from_slice(b",\"text\":\"");
        write::escaped(&mut self.out, &json);
        self.out.push(b'"');
        self.end(None);
        if self.told.is_some() {
            self.tell(&String::from_utf8_lossy(&json));
        }
        self.structured.get_or_insert(json);
    }

    fn begin(&mut self, kind: &str) {
        if self.out.is_empty() {
            self.out.extend_from_slice(HEAD);
        }
        if self.blocks > 0 {
            self.out.push(b',');
        }
        self.blocks += 1;
        self.out.extend_from_slice(b"{\"type\":\"");
        self.out.extend_from_slice(kind.as_bytes());
        self.out.push(b'"');
    }

    fn member(&mut self, name: &str, text: &str) {
        self.name(name);
        write::string(&mut self.out, text);
    }

    fn name(&mut self, name: &str) {
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn optional(&mut self, name: &str, text: Option<&Cow<'static, str>>) {
        if let Some(text) = text {
            self.member(name, text);
        }
    }

    fn base64(&mut self, name: &str, data: &[u8]) {
        self.name(name);
        self.out.push(b'"');
        base64_into(&mut self.out, data);
        self.out.push(b'"');
    }

    fn end(&mut self, extras: Option<&Extras>) {
        if let Some(extras) = extras {
            if let Some(annotations) = &extras.annotations {
                self.name("annotations");
                self.out.extend_from_slice(annotations.to_json().to_string().as_bytes());
            }
            if let Some(meta) = &extras.meta {
                self.name("_meta");
                self.out.extend_from_slice(meta.to_string().as_bytes());
            }
        }
        self.out.push(b'}');
        self.first_end.get_or_insert(self.out.len());
    }

    fn tell(&mut self, text: &str) {
        if let Some(told) = &mut self.told {
            if !told.is_empty() {
                told.push('\n');
            }
            told.push_str(text);
        }
    }

    fn media(&mut self, kind: &str, data: &[u8], mime_type: &str, extras: Option<&Extras>) {
        self.out.reserve(data.len() / 3 * 4 + 128);
        self.begin(kind);
        self.base64("data", data);
        self.member("mimeType", mime_type);
        self.end(extras);
        if self.told.is_some() {
            self.tell(&format!("[{kind}, {mime_type}, {} bytes]", data.len()));
        }
    }

    fn resource(&mut self, block: &EmbeddedResource) {
        self.begin("resource");
        self.name("resource");
        resource_contents(&mut self.out, &block.uri, block.mime_type.as_deref(), &block.held);
        self.out.push(b'}');
        self.end(block.extras.as_deref());
        if self.told.is_some() {
            self.tell(&format!("[resource {}]", block.uri));
        }
    }

    fn link(&mut self, link: &ResourceLink) {
        self.links = true;
        self.begin("resource_link");
        self.member("uri", &link.uri);
        self.member("name", &link.name);
        self.optional("title", link.title.as_ref());
        self.optional("description", link.description.as_ref());
        self.optional("mimeType", link.mime_type.as_ref());
        if let Some(size) = link.size {
            self.name("size");
            self.out.extend_from_slice(size.to_string().as_bytes());
        }
        self.end(link.extras.as_deref());
        if self.told.is_some() {
            self.tell(&format!("[{}]({})", link.name, link.uri));
        }
    }

    /// Appends the first block to `out` and tells whether it is a link. An empty text where there is none.
    pub(crate) fn write_one(self, out: &mut Vec<u8>) -> Result<bool, serde_json::Error> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let first = self.first_end.and_then(|end| self.out.get(HEAD.len()..end));
        out.extend_from_slice(first.unwrap_or(br#"{"type":"text","text":""}"#));
        Ok(self.links)
    }

    /// Bytes of the blocks so far.
    pub(crate) fn len(&self) -> usize {
        self.out.len().saturating_sub(HEAD.len())
    }

    /// The plain text of what was written, for those who listen.
    pub(crate) fn told(&self) -> Option<&str> {
        self.told.as_deref()
    }

    /// Appends the blocks of another writer.
    pub(crate) fn append(&mut self, other: Self) {
        let blocks = other.out.get(HEAD.len()..).unwrap_or_default();
        if !blocks.is_empty() {
            self.out.extend_from_slice(if self.out.is_empty() { HEAD } else { b"," });
            self.out.extend_from_slice(blocks);
        }
        self.blocks += other.blocks;
        // Only a writer that never gives a single block is appended to.
        self.first_end = None;
        self.links |= other.links;
        self.structured = self.structured.take().or(other.structured);
        self.fault = self.fault.take().or(other.fault);
    }

    /// Closes the result. `is_error` results have no `structuredContent`.
    ///
    /// # Errors
    /// What a value could not be written for.
    pub(crate) fn finish(
        mut self,
        is_error: bool,
        meta: Option<&Value>,
    ) -> Result<Finished, serde_json::Error> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if self.out.is_empty() {
            self.out.extend_from_slice(HEAD);
        }
        self.out.push(b']');
        let mut range = None;
        let structured = self.structured.filter(|_| !is_error);
        if let Some(json) = &structured {
            let from = self.out.len();
            self.out.reserve(json.len() + 48);
            self.out.extend_from_slice(br#","structuredContent":"#);
            self.out.extend_from_slice(json);
            range = Some(from..self.out.len());
        }
        self.out.extend_from_slice(if is_error { br#","isError":true"# } else { br#","isError":false"# });
        let mut reply = Reply::from_members(self.out);
        if let Some(range) = range {
            reply = reply.with_structured(range);
        }
        if self.links {
            reply = reply.with_links();
        }
        if is_error {
            reply = reply.with_error_mark();
        }
        if let Some(Value::Object(meta)) = meta {
            reply = reply.with_meta(members_of(meta));
        }
        Ok(Finished { reply, structured })
    }
}

/// An object without its braces.
fn members_of(object: &serde_json::Map<String, Value>) -> Vec<u8> {
    let text = serde_json::to_string(object).unwrap_or_default();
    text.get(1..text.len().saturating_sub(1)).unwrap_or_default().as_bytes().to_vec()
}

const HEAD: &[u8] = br#""content":["#;

/// Appends the members of a resource's contents after an opening brace, without the closing one.
pub(crate) fn resource_contents(out: &mut Vec<u8>, uri: &str, mime_type: Option<&str>, held: &Held) {
    out.extend_from_slice(br#"{"uri":"#);
    write::string(out, uri);
    if let Some(mime_type) = mime_type {
        out.extend_from_slice(br#","mimeType":"#);
        write::string(out, mime_type);
    }
    match held {
        Held::Text(text) => {
            out.extend_from_slice(br#","text":"#);
            write::string(out, text);
        }
        Held::Blob(data) => {
            out.extend_from_slice(br#","blob":""#);
            base64_into(out, data);
            out.push(b'"');
        }
    }
}

/// Appends `data` in base64, without a string in between.
fn base64_into(out: &mut Vec<u8>, data: &[u8]) {
    let from = out.len();
    let Some(length) = base64::encoded_len(data.len(), true) else { return };
    out.resize(from + length, 0);
    // The room is exact, so it cannot fail.
    if let Some(room) = out.get_mut(from..) {
        let _ = STANDARD.encode_slice(data, room);
    }
}

/// Texts, which may be a whole result.
macro_rules! texts {
    ($($text:ty),*) => {$(
        impl IntoPart for $text {
            fn write_to(self, parts: &mut PartWriter) {
                parts.text(&self);
            }

            fn into_reply(self) -> Result<Reply, Self> {
                Ok(Reply::text(&self))
            }
        }
    )*};
}

texts!(String, &str, Cow<'_, str>, Box<str>);

/// A call that only does something has to say so: hosts show an empty result as a failure.
impl IntoPart for () {
    fn write_to(self, parts: &mut PartWriter) {
        parts.text("done");
    }
}

/// Parts that are written as the text they display as.
macro_rules! displayed {
    ($($type:ty),*) => {$(
        impl IntoPart for $type {
            fn write_to(self, parts: &mut PartWriter) {
                parts.text(&self.to_string());
            }
        }
    )*};
}

displayed!(bool, char, i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize, f32, f64);

impl IntoPart for Text {
    fn write_to(self, parts: &mut PartWriter) {
        parts.out.reserve(self.text.len() + 96);
        parts.begin("text");
        parts.member("text", &self.text);
        parts.end(self.extras.as_deref());
        parts.tell(&self.text);
    }
}

impl IntoPart for Image {
    fn write_to(self, parts: &mut PartWriter) {
        parts.media("image", &self.data, &self.mime_type, self.extras.as_deref());
    }
}

impl IntoPart for Audio {
    fn write_to(self, parts: &mut PartWriter) {
        parts.media("audio", &self.data, &self.mime_type, self.extras.as_deref());
    }
}

impl IntoPart for EmbeddedResource {
    fn write_to(self, parts: &mut PartWriter) {
        parts.resource(&self);
    }
}

impl IntoPart for ResourceLink {
    fn write_to(self, parts: &mut PartWriter) {
        parts.link(&self);
    }
}

impl IntoPart for Content {
    fn write_to(self, parts: &mut PartWriter) {
        match self {
            Self::Text(block) => block.write_to(parts),
            Self::Image(block) => block.write_to(parts),
            Self::Audio(block) => block.write_to(parts),
            Self::Resource(block) => block.write_to(parts),
            Self::Link(block) => block.write_to(parts),
        }
    }
}

impl<T: Serialize + Send + schemars::JsonSchema> IntoPart for Json<T> {
    fn write_to(self, parts: &mut PartWriter) {
        parts.json(&self.0);
    }

    fn output_schema() -> Option<Value> {
        // A type that may be anything says nothing worth listing.
        Some(crate::sdk::schema::output_of::<T>())
            .filter(|schema| schema.as_object().is_some_and(|one| !one.is_empty()))
    }
}

impl<P: IntoPart> IntoPart for Vec<P> {
    fn write_to(self, parts: &mut PartWriter) {
        for part in self {
            part.write_to(parts);
        }
    }
}

/// Nothing is written for `None`.
impl<P: IntoPart> IntoPart for Option<P> {
    fn write_to(self, parts: &mut PartWriter) {
        if let Some(part) = self {
            part.write_to(parts);
        }
    }
}

/// Tuples are their parts in order; the first structured one gives the schema.
macro_rules! tuples {
    ($($name:ident)+) => {
        impl<$($name: IntoPart),+> IntoPart for ($($name,)+) {
            #[expect(non_snake_case, reason = "the variables are named as their types")]
            fn write_to(self, parts: &mut PartWriter) {
                let ($($name,)+) = self;
                $($name.write_to(parts);)+
            }

            fn output_schema() -> Option<Value> {
                None$(.or_else($name::output_schema))+
            }
        }
    };
}

tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
