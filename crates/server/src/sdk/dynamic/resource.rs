//! Resources from closures.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use trunkline_service::CacheScope;

use super::{Completers, Handler};
use crate::sdk::{
    CompletionContext, CompletionFuture, ContentAnnotations, Context, Icon, IntoCompletion,
    IntoResourceResult, Resource, ResourceSpec, ToolFuture,
};

/// A resource, or all resources of a template, made from a description and a closure; may be added and removed while the
/// server runs.
///
/// ```
/// use trunkline_server::sdk::{Context, DynResource, ResourceError};
///
/// let note = DynResource::new("note://{id}", "note")
///     .mime_type("text/plain")
///     .handler(|ctx: Context| async move {
///         let id: u32 = ctx.variable("id")?;
///         if id > 99 { Err(ResourceError::NotFound) } else { Ok(format!("note {id}")) }
///     });
/// ```
#[derive(Clone)]
pub struct DynResource {
    spec: ResourceSpec,
    handler: Handler,
    completers: Arc<Completers>,
}

impl DynResource {
    /// Starts the description of a resource, or of a template when the URI has variables in braces;
    /// [`ResourceBuilder::handler`] ends it.
    #[expect(clippy::new_ret_no_self, reason = "a resource is whole only with its handler")]
    pub fn new(uri: impl Into<Cow<'static, str>>, name: impl Into<Cow<'static, str>>) -> ResourceBuilder {
        ResourceBuilder { spec: ResourceSpec::new(uri, name), completers: Completers::default() }
    }
}

impl fmt::Debug for DynResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynResource").field("spec", &self.spec).finish_non_exhaustive()
    }
}

impl Resource for DynResource {
    fn spec(&self) -> ResourceSpec {
        self.spec.clone()
    }

    fn read(&self, ctx: Context) -> ToolFuture {
        (self.handler)(ctx)
    }

    fn complete(&self, variable: &str, ctx: CompletionContext) -> CompletionFuture {
        self.completers.complete(variable, ctx)
    }
}

/// A resource without its handler.
#[derive(Debug)]
#[must_use = "a resource needs a handler"]
pub struct ResourceBuilder {
    spec: ResourceSpec,
    completers: Completers,
}

impl ResourceBuilder {
    fn with(mut self, change: impl FnOnce(ResourceSpec) -> ResourceSpec) -> Self {
        self.spec = change(self.spec);
        self
    }

    /// See [`ResourceSpec::title`].
    pub fn title(self, title: impl Into<Cow<'static, str>>) -> Self {
        self.with(|spec| spec.title(title))
    }

    /// See [`ResourceSpec::description`].
    pub fn description(self, description: impl Into<Cow<'static, str>>) -> Self {
        self.with(|spec| spec.description(description))
    }

    /// See [`ResourceSpec::mime_type`].
    pub fn mime_type(self, mime_type: impl Into<Cow<'static, str>>) -> Self {
        self.with(|spec| spec.mime_type(mime_type))
    }

    /// See [`ResourceSpec::size`].
    pub fn size(self, bytes: u64) -> Self {
        self.with(|spec| spec.size(bytes))
    }

    /// See [`ResourceSpec::annotations`].
    pub fn annotations(self, annotations: ContentAnnotations) -> Self {
        self.with(|spec| spec.annotations(annotations))
    }

    /// See [`ResourceSpec::subscribe`].
    pub fn subscribe(self, subscribe: bool) -> Self {
        self.with(|spec| spec.subscribe(subscribe))
    }

    /// See [`ResourceSpec::cache`].
    pub fn cache(self, ttl: Duration, scope: CacheScope) -> Self {
        self.with(|spec| spec.cache(ttl, scope))
    }

    /// See [`ResourceSpec::icon`].
    pub fn icon(self, icon: Icon) -> Self {
        self.with(|spec| spec.icon(icon))
    }

    /// See [`ResourceSpec::meta`].
    pub fn meta(self, meta: Value) -> Self {
        self.with(|spec| spec.meta(meta))
    }

    /// Suggests values of a variable.
    pub fn complete<F, Fut, C>(mut self, variable: impl Into<String>, complete: F) -> Self
    where
        F: Fn(CompletionContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = C> + Send + 'static,
        C: IntoCompletion,
    {
        let name = variable.into();
        self.spec.completes.push(Cow::Owned(name.clone()));
        self.completers.add(name, complete);
        self
    }

    /// Says how it is read; [`Context::variable`] gives the variables of a template.
    pub fn handler<F, Fut, R>(self, handler: F) -> DynResource
    where
        F: Fn(Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: IntoResourceResult,
    {
        let handler: Handler = Arc::new(move |ctx: Context| {
            let result = handler(ctx.clone());
            Box::pin(async move { result.await.into_outcome(&ctx) })
        });
        DynResource { spec: self.spec, handler, completers: Arc::new(self.completers) }
    }
}
