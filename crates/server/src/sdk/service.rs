//! The services behind tools, prompts and resources: from a request to a context, and from a panic to an answer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{self, Poll};

use trunkline_protocol::{Method, each, member};
use trunkline_service::{Answer, Failure, FailureKind, Outcome, Request, Service, ready};

use super::completion::Completion;
use super::context::missing_argument;
use super::unit::{PromptUnit, Shards};
use super::{CompletionContext, CompletionFuture, Context, TaskMode, ToolFuture, dialogue};

/// Calls tools.
#[derive(Debug)]
pub(crate) struct Tools(pub(crate) Shards);

/// Makes prompts and completes their arguments.
#[derive(Debug)]
pub(crate) struct Prompts(pub(crate) Shards);

/// Reads resources and completes the variables of templates.
#[derive(Debug)]
pub(crate) struct Resources(pub(crate) Shards);

impl Service for Tools {
    fn call(&self, request: Request) -> Answer<'_> {
        let shard = self.0.mine();
        let Some(unit) = shard.0.tools.get(request.target() as usize) else { return ready(Err(nobody())) };
        let arguments = match unit.plan.check(request.arguments()) {
            Ok(arguments) => arguments,
            Err(error) => return ready(error.into_outcome()),
        };
        let ctx = Context::new(request, shard, arguments);
        start(ctx, unit.task, |ctx| unit.tool.call(ctx))
    }
}

impl Service for Prompts {
    fn call(&self, request: Request) -> Answer<'_> {
        let shard = self.0.mine();
        let Some(unit) = shard.0.prompts.get(request.target() as usize) else { return ready(Err(nobody())) };
        if request.method() == Method::CompletionComplete {
            let ctx = Context::new(request, shard, None);
            return complete(&ctx, |argument, asked| unit.prompt.complete(argument, asked));
        }
        if let Err(failure) = check_prompt(unit, request.arguments()) {
            return ready(Err(failure));
        }
        start(Context::new(request, shard, None), TaskMode::Never, |ctx| unit.prompt.get(ctx))
    }
}

impl Service for Resources {
    fn call(&self, request: Request) -> Answer<'_> {
        let shard = self.0.mine();
        let Some(unit) = shard.0.resources.get(request.target() as usize) else {
            return ready(Err(nobody()));
        };
        let ctx = Context::new(request, shard, None);
        if ctx.request().method() == Method::CompletionComplete {
            return complete(&ctx, |variable, asked| unit.resource.complete(variable, asked));
        }
        start(ctx, TaskMode::Never, |ctx| unit.resource.read(ctx))
    }
}

/// The router only sends what the catalog has.
fn nobody() -> Failure {
    Failure::new(FailureKind::Internal, "internal error").with_source("the target is of another generation")
}

/// Starts a call, which may panic before there is a future, and drives it.
fn start(ctx: Context, mode: TaskMode, call: impl FnOnce(Context) -> ToolFuture) -> Answer<'static> {
    match catch_unwind(AssertUnwindSafe(|| call(ctx.clone()))) {
        Ok(future) => dialogue::drive(ctx, mode, future),
        Err(_) => ready(panicked(&ctx)),
    }
}

/// Polls the future of a call; a panic in it is logged under the name of what was called, and becomes an answer.
pub(crate) fn poll_caught(
    ctx: &Context,
    future: &mut ToolFuture,
    cx: &mut task::Context<'_>,
) -> Poll<Outcome> {
    match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll,
        Err(_) => Poll::Ready(panicked(ctx)),
    }
}

/// The caller learns that it was our fault; the panic's own text, which may hold anything, is for the hook that printed it.
#[cold]
fn panicked(ctx: &Context) -> Outcome {
    let request = format_args!("{:016x}", ctx.request().log_id());
    let method = ctx.request().method().as_str();
    tracing::error!(%request, method, name = ctx.unit_name(), "`{}` panicked", ctx.unit_name());
    Err(Failure::new(FailureKind::Internal, "internal error"))
}

/// Prompts have no error results: what is wrong with their arguments is wrong with the request.
fn check_prompt(unit: &PromptUnit, raw: &[u8]) -> Result<(), Failure> {
    for (name, required) in &unit.arguments {
        let token = member(raw, name);
        if token.is_nothing() {
            if *required {
                return Err(missing_argument(name));
            }
        } else if !token.is_string() {
            let text = format!("argument `{name}` must be a string");
            return Err(Failure::new(FailureKind::InvalidParams, text));
        }
    }
    Ok(())
}

/// Reads what is to be completed and asks for it.
fn complete(ctx: &Context, ask: impl FnOnce(&str, CompletionContext) -> CompletionFuture) -> Answer<'static> {
    let request = ctx.request();
    let argument = request.param("argument").raw(request.body());
    let (name, value) = (member(argument, "name"), member(argument, "value"));
    let (Some(name), Some(value)) = (name.text(argument), value.text(argument)) else {
        let text = "`argument` needs `name` and `value`, two strings";
        return ready(Err(Failure::new(FailureKind::InvalidParams, text)));
    };
    let asked = CompletionContext::new(ctx.clone(), value.into_owned(), others(request));
    let asking = catch_unwind(AssertUnwindSafe(|| ask(&name, asked)));
    let ctx = ctx.clone();
    match asking {
        Ok(future) => {
            let future: ToolFuture = Box::pin(async move { future.await.map(Completion::into_reply) });
            Answer::later(Caught { ctx, future })
        }
        Err(_) => ready(panicked(&ctx)),
    }
}

/// The arguments that are filled in already: `context.arguments`.
fn others(request: &Request) -> Vec<(String, String)> {
    let context = request.param("context").raw(request.body());
    let arguments = member(context, "arguments").raw(context);
    let mut others = Vec::new();
    each(arguments, |name, token| {
        if let Some(text) = token.text(arguments) {
            others.push((name.to_owned(), text.into_owned()));
        }
    });
    others
}

/// A future whose panic is an answer.
struct Caught {
    ctx: Context,
    future: ToolFuture,
}

impl Future for Caught {
    type Output = Outcome;

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Outcome> {
        let this = &mut *self;
        poll_caught(&this.ctx, &mut this.future, cx)
    }
}

impl Drop for Caught {
    fn drop(&mut self) {
        self.ctx.dropped();
    }
}
