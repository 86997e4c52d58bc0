//! Resources: what clients read by URI, at one address or at all that fit a template.

use std::any::TypeId;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use trunkline_service::{CacheScope, Failure, FailureKind, Hints, Outcome, Reply};

use super::completion::nothing;
use super::content::{Held, resource_contents};
use super::markers::given_as_value_or_function;
use super::{
    CompletionContext, CompletionFuture, ContentAnnotations, Context, Icon, Json, ResourceError, ToolFuture,
};

/// Something clients can read by URI. Written by `#[resource]`, or made from a closure with
/// [`DynResource`](super::DynResource). Spec: 2026-07-28 server/resources.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no resource",
    label = "not a resource",
    note = "put `#[resource(\"uri\")]` above the function, or make one from a closure with `DynResource::new(\"uri\", \"name\").handler(..)`"
)]
pub trait Resource: Send + Sync + 'static {
    /// Describes the resource. Asked for once, when the server is built.
    fn spec(&self) -> ResourceSpec;

    /// Reads it.
    fn read(&self, ctx: Context) -> ToolFuture;

    /// Suggests values of a variable. Nothing, if not said.
    fn complete(&self, variable: &str, ctx: CompletionContext) -> CompletionFuture {
        let _ = (variable, ctx);
        nothing()
    }
}

/// What a server takes as a resource: a [`Resource`], or a function without arguments that returns one, which is what `#[resource]`
/// leaves under the function's name.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no resource",
    label = "not a resource",
    note = "put `#[resource(\"uri\")]` above the function, or make one from a closure with `DynResource::new(\"uri\", \"name\").handler(..)`"
)]
pub trait IntoResource<M> {
    /// The resource.
    type Resource: Resource;

    /// Makes it.
    fn into_resource(self) -> Self::Resource;
}

given_as_value_or_function!(IntoResource, Resource, into_resource);

impl Resource for Arc<dyn Resource> {
    fn spec(&self) -> ResourceSpec {
        (**self).spec()
    }

    fn read(&self, ctx: Context) -> ToolFuture {
        (**self).read(ctx)
    }

    fn complete(&self, variable: &str, ctx: CompletionContext) -> CompletionFuture {
        (**self).complete(variable, ctx)
    }
}

/// Describes a resource, or, when the URI has variables in braces, all resources of a template.
/// Spec: 2026-07-28 schema#resource, schema#resourcetemplate
#[derive(Debug, Clone)]
#[must_use]
pub struct ResourceSpec {
    pub(crate) uri: Cow<'static, str>,
    pub(crate) name: Cow<'static, str>,
    pub(crate) title: Option<Cow<'static, str>>,
    pub(crate) description: Cow<'static, str>,
    pub(crate) mime_type: Option<Cow<'static, str>>,
    pub(crate) size: Option<u64>,
    pub(crate) annotations: Option<ContentAnnotations>,
    pub(crate) subscribe: bool,
    pub(crate) completes: Vec<Cow<'static, str>>,
    pub(crate) icons: Vec<Icon>,
    pub(crate) meta: Option<Value>,
    pub(crate) hints: Hints,
    pub(crate) states: Vec<(TypeId, &'static str)>,
}

impl ResourceSpec {
    /// Describes what is at `uri`: an address, or a template such as `note://{id}` (RFC 6570, up to what
    /// [`UriTemplate`](trunkline_protocol::uri_template::UriTemplate) knows).
    pub fn new(uri: impl Into<Cow<'static, str>>, name: impl Into<Cow<'static, str>>) -> Self {
        Self {
            uri: uri.into(),
            name: name.into(),
            title: None,
            description: Cow::Borrowed(""),
            mime_type: None,
            size: None,
            annotations: None,
            subscribe: false,
            completes: Vec::new(),
            icons: Vec::new(),
            meta: None,
            hints: NOT_CACHED,
            states: Vec::new(),
        }
    }

    /// Gives a name for people.
    pub fn title(mut self, title: impl Into<Cow<'static, str>>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Says what is there.
    pub fn description(mut self, description: impl Into<Cow<'static, str>>) -> Self {
        self.description = description.into();
        self
    }

    /// Says what kind of data it is; contents that do not say so themselves are of that kind.
    pub fn mime_type(mut self, mime_type: impl Into<Cow<'static, str>>) -> Self {
        self.mime_type = Some(mime_type.into());
        self
    }

    /// Says how many bytes there are. Not for templates.
    pub fn size(mut self, bytes: u64) -> Self {
        self.size = Some(bytes);
        self
    }

    /// Adds hints on how it is to be used.
    pub fn annotations(mut self, annotations: ContentAnnotations) -> Self {
        self.annotations = Some(annotations);
        self
    }

    /// Says that clients are told of changes, which [`Context::resource_updated`] and
    /// [`ServerHandle::resource_updated`](super::ServerHandle::resource_updated) announce.
    pub fn subscribe(mut self, subscribe: bool) -> Self {
        self.subscribe = subscribe;
        self
    }

    /// Names the variables for which values are suggested.
    pub fn completes(mut self, variables: &[&'static str]) -> Self {
        self.completes.extend(variables.iter().map(|variable| Cow::Borrowed(*variable)));
        self
    }

    /// Adds an icon.
    pub fn icon(mut self, icon: Icon) -> Self {
        self.icons.push(icon);
        self
    }

    /// Sets the `_meta` object that is listed with the resource.
    pub fn meta(mut self, meta: Value) -> Self {
        self.meta = Some(meta);
        self
    }

    /// Says for how long clients may keep what they read, and whether it is the same for every caller. Default: not at all,
    /// private. Spec: 2026-07-28 basic/utilities/caching.
    pub fn cache(mut self, ttl: Duration, scope: CacheScope) -> Self {
        self.hints = Hints { ttl_ms: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX), scope };
        self
    }

    /// Names the types of state the resource asks for, so that a server without one of them is not built.
    pub fn states(mut self, states: &[(TypeId, &'static str)]) -> Self {
        self.states.extend_from_slice(states);
        self
    }
}

pub(crate) const NOT_CACHED: Hints = Hints { ttl_ms: 0, scope: CacheScope::Private };

/// What was read: one or several contents, each with its URI. Spec: 2026-07-28 schema#readresourceresult
#[derive(Debug, Default)]
#[must_use]
pub struct Contents {
    contents: Vec<One>,
    hints: Option<Hints>,
}

#[derive(Debug)]
struct One {
    /// `None` for the URI that was asked for.
    uri: Option<String>,
    mime_type: Option<Cow<'static, str>>,
    held: Held,
    meta: Option<Value>,
}

impl Contents {
    /// Starts with nothing: add at least one, as an empty list is no answer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts with a text at the URI that was asked for.
    pub fn text(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new().and(None, Held::Text(text.into()))
    }

    /// Starts with bytes at the URI that was asked for.
    pub fn blob(data: impl Into<Bytes>) -> Self {
        Self::new().and(None, Held::Blob(data.into()))
    }

    /// Adds a text at another URI, as in a folder.
    pub fn and_text(self, uri: impl Into<String>, text: impl Into<Cow<'static, str>>) -> Self {
        self.and(Some(uri.into()), Held::Text(text.into()))
    }

    /// Adds bytes at another URI, as in a folder.
    pub fn and_blob(self, uri: impl Into<String>, data: impl Into<Bytes>) -> Self {
        self.and(Some(uri.into()), Held::Blob(data.into()))
    }

    fn and(mut self, uri: Option<String>, held: Held) -> Self {
        self.contents.push(One { uri, mime_type: None, held, meta: None });
        self
    }

    /// Says what kind of data the one added last is.
    pub fn mime_type(mut self, mime_type: impl Into<Cow<'static, str>>) -> Self {
        if let Some(last) = self.contents.last_mut() {
            last.mime_type = Some(mime_type.into());
        }
        self
    }

    /// Sets the `_meta` object of the one added last.
    pub fn meta(mut self, meta: Value) -> Self {
        if let Some(last) = self.contents.last_mut() {
            last.meta = Some(meta);
        }
        self
    }

    /// Says for how long clients may keep this, and whether it is the same for every caller, in place of what the resource
    /// says of itself.
    pub fn cache(mut self, ttl: Duration, scope: CacheScope) -> Self {
        self.hints = Some(Hints { ttl_ms: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX), scope });
        self
    }
}

/// Something a resource may return.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be what a resource holds",
    label = "not contents",
    note = "return text, `Vec<u8>`, `Bytes`, `Json<T>`, `Contents`, or a `Result` of these with `ResourceError`"
)]
pub trait IntoResourceResult {
    /// Makes the result.
    ///
    /// # Errors
    /// Why the request failed.
    fn into_outcome(self, ctx: &Context) -> Outcome;
}

impl IntoResourceResult for Contents {
    fn into_outcome(self, ctx: &Context) -> Outcome {
        let asked = ctx.uri();
        if self.contents.is_empty() {
            return Err(Failure::resource_not_found(&asked));
        }
        let defaults = ctx.resource_defaults();
        let mut out = br#""contents":["#.to_vec();
        for (number, one) in self.contents.iter().enumerate() {
            if number > 0 {
                out.push(b',');
            }
            let uri = one.uri.as_deref().unwrap_or(&asked);
            let mime_type = one.mime_type.as_deref().or(defaults.0);
            resource_contents(&mut out, uri, mime_type, &one.held);
            if let Some(meta) = &one.meta {
                out.extend_from_slice(format!(",\"_meta\":{meta}").as_bytes());
            }
            out.push(b'}');
        }
        out.push(b']');
        Ok(Reply::from_members(out).with_hints(self.hints.unwrap_or(defaults.1)))
    }
}

/// A text at the URI that was asked for.
macro_rules! texts {
    ($($text:ty),*) => {$(
        impl IntoResourceResult for $text {
            fn into_outcome(self, ctx: &Context) -> Outcome {
                Contents::text(self).into_outcome(ctx)
            }
        }
    )*};
}

texts!(String, &'static str, Cow<'static, str>);

/// Bytes at the URI that was asked for.
macro_rules! blobs {
    ($($blob:ty),*) => {$(
        impl IntoResourceResult for $blob {
            fn into_outcome(self, ctx: &Context) -> Outcome {
                Contents::blob(self).into_outcome(ctx)
            }
        }
    )*};
}

blobs!(Vec<u8>, Bytes, &'static [u8]);

impl<T: Serialize> IntoResourceResult for Json<T> {
    fn into_outcome(self, ctx: &Context) -> Outcome {
        match serde_json::to_string(&self.0) {
            Ok(text) => Contents::text(text).mime_type("application/json").into_outcome(ctx),
            Err(error) => {
                Err(Failure::new(FailureKind::Internal, "the resource could not be written")
                    .with_source(error))
            }
        }
    }
}

impl<T: IntoResourceResult, E: Into<ResourceError>> IntoResourceResult for Result<T, E> {
    fn into_outcome(self, ctx: &Context) -> Outcome {
        match self.map_err(Into::into) {
            Ok(value) => value.into_outcome(ctx),
            Err(ResourceError::NotFound) => Err(Failure::resource_not_found(&ctx.uri())),
            Err(ResourceError::Failed(failure)) => Err(failure),
        }
    }
}
