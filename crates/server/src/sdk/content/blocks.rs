//! The kinds of content blocks. Spec: 2026-07-28 schema#contentblock.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::{Map, Value, json};

/// Who speaks, or whom content is for. Spec: 2026-07-28 schema#role
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The person in front of the client.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// Returns the word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// Hints on how content is to be used. Spec: 2026-07-28 schema#annotations.
#[derive(Debug, Clone, Default, PartialEq)]
#[must_use]
pub struct ContentAnnotations {
    audience: Vec<Role>,
    priority: Option<f64>,
    last_modified: Option<Cow<'static, str>>,
}

impl ContentAnnotations {
    /// Starts without any hint.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a reader the content is meant for. Everyone, if never said.
    pub fn audience(mut self, role: Role) -> Self {
        self.audience.push(role);
        self
    }

    /// Says how important it is, from 0 (optional) to 1 (required); kept to that range.
    pub fn priority(mut self, priority: f64) -> Self {
        self.priority = Some(priority.clamp(0.0, 1.0));
        self
    }

    /// Says when it last changed, in the form of ISO 8601.
    pub fn last_modified(mut self, time: impl Into<Cow<'static, str>>) -> Self {
        self.last_modified = Some(time.into());
        self
    }

    /// Returns the hints as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut hints = Map::new();
        if !self.audience.is_empty() {
            hints.insert(
                "audience".into(),
                self.audience.iter().map(|role| Value::from(role.as_str())).collect(),
            );
        }
        hints.extend(self.priority.map(|priority| ("priority".to_owned(), json!(priority))));
        hints.extend(self.last_modified.as_ref().map(|time| ("lastModified".to_owned(), json!(time))));
        Value::Object(hints)
    }
}

/// What every block may carry besides its content. Boxed: most carry nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Extras {
    pub(super) annotations: Option<ContentAnnotations>,
    pub(super) meta: Option<Value>,
}

/// Gives a block the setters of its extras.
macro_rules! extras {
    ($block:ident) => {
        impl $block {
            /// Adds hints on how it is to be used.
            pub fn annotations(mut self, annotations: ContentAnnotations) -> Self {
                self.extras.get_or_insert_default().annotations = Some(annotations);
                self
            }

            /// Sets its `_meta` object.
            pub fn meta(mut self, meta: Value) -> Self {
                self.extras.get_or_insert_default().meta = Some(meta);
                self
            }
        }
    };
}

/// A block of text. Spec: 2026-07-28 schema#textcontent
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Text {
    pub(super) text: Cow<'static, str>,
    pub(super) extras: Option<Box<Extras>>,
}

impl Text {
    /// Makes a block of a text.
    pub fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.into(), extras: None }
    }
}

extras!(Text);

/// A picture. Spec: 2026-07-28 schema#imagecontent
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Image {
    pub(super) data: Bytes,
    pub(super) mime_type: Cow<'static, str>,
    pub(super) extras: Option<Box<Extras>>,
}

impl Image {
    /// Makes a block of the bytes of a picture, such as `image/png`. They are encoded when the result is written.
    pub fn new(data: impl Into<Bytes>, mime_type: impl Into<Cow<'static, str>>) -> Self {
        Self { data: data.into(), mime_type: mime_type.into(), extras: None }
    }
}

extras!(Image);

/// A sound. Spec: 2026-07-28 schema#audiocontent
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Audio {
    pub(super) data: Bytes,
    pub(super) mime_type: Cow<'static, str>,
    pub(super) extras: Option<Box<Extras>>,
}

impl Audio {
    /// Makes a block of the bytes of a sound, such as `audio/wav`. They are encoded when the result is written.
    pub fn new(data: impl Into<Bytes>, mime_type: impl Into<Cow<'static, str>>) -> Self {
        Self { data: data.into(), mime_type: mime_type.into(), extras: None }
    }
}

extras!(Audio);

/// What a resource holds, within a result.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Held {
    /// Text.
    Text(Cow<'static, str>),
    /// Anything else.
    Blob(Bytes),
}

/// The contents of a resource as part of a result. Spec: 2026-07-28 schema#embeddedresource
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct EmbeddedResource {
    pub(super) uri: Cow<'static, str>,
    pub(super) mime_type: Option<Cow<'static, str>>,
    pub(super) held: Held,
    pub(super) extras: Option<Box<Extras>>,
}

impl EmbeddedResource {
    /// Makes a block of a resource that is text.
    pub fn text(uri: impl Into<Cow<'static, str>>, text: impl Into<Cow<'static, str>>) -> Self {
        Self { uri: uri.into(), mime_type: None, held: Held::Text(text.into()), extras: None }
    }

    /// Makes a block of a resource that is bytes.
    pub fn blob(uri: impl Into<Cow<'static, str>>, data: impl Into<Bytes>) -> Self {
        Self { uri: uri.into(), mime_type: None, held: Held::Blob(data.into()), extras: None }
    }

    /// Says what kind of data it is.
    pub fn mime_type(mut self, mime_type: impl Into<Cow<'static, str>>) -> Self {
        self.mime_type = Some(mime_type.into());
        self
    }
}

extras!(EmbeddedResource);

/// A link to a resource that the client may read. Clients of 2025-03-26, which know no links, get it as text.
/// Spec: 2026-07-28 schema#resourcelink
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct ResourceLink {
    pub(super) uri: Cow<'static, str>,
    pub(super) name: Cow<'static, str>,
    pub(super) title: Option<Cow<'static, str>>,
    pub(super) description: Option<Cow<'static, str>>,
    pub(super) mime_type: Option<Cow<'static, str>>,
    pub(super) size: Option<u64>,
    pub(super) extras: Option<Box<Extras>>,
}

impl ResourceLink {
    /// Makes a link.
    pub fn new(uri: impl Into<Cow<'static, str>>, name: impl Into<Cow<'static, str>>) -> Self {
        Self {
            uri: uri.into(),
            name: name.into(),
            title: None,
            description: None,
            mime_type: None,
            size: None,
            extras: None,
        }
    }

    /// Gives a name for people.
    pub fn title(mut self, title: impl Into<Cow<'static, str>>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Says what is there.
    pub fn description(mut self, description: impl Into<Cow<'static, str>>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Says what kind of data it is.
    pub fn mime_type(mut self, mime_type: impl Into<Cow<'static, str>>) -> Self {
        self.mime_type = Some(mime_type.into());
        self
    }

    /// Says how many bytes there are.
    pub fn size(mut self, bytes: u64) -> Self {
        self.size = Some(bytes);
        self
    }
}

extras!(ResourceLink);

/// A block of any kind. Spec: 2026-07-28 schema#contentblock
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Content {
    /// Text.
    Text(Text),
    /// A picture.
    Image(Image),
    /// A sound.
    Audio(Audio),
    /// The contents of a resource.
    Resource(EmbeddedResource),
    /// A link to a resource.
    Link(ResourceLink),
}

impl Content {
    /// Makes a block of a text.
    #[must_use]
    pub fn text(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Text(Text::new(text))
    }
}

/// Makes each kind of block a `Content`.
macro_rules! content_from {
    ($($kind:ident($block:ident)),*) => {$(
        impl From<$block> for Content {
            fn from(block: $block) -> Self {
                Self::$kind(block)
            }
        }
    )*};
}

content_from!(Text(Text), Image(Image), Audio(Audio), Resource(EmbeddedResource), Link(ResourceLink));

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<&'static str> for Content {
    fn from(text: &'static str) -> Self {
        Self::text(text)
    }
}
