//! The SDK: a server is a builder with tools, prompts and resources in it, and each of them is an async function.
//!
//! ```no_run
//! use trunkline_server::sdk::{DynTool, Context, Server, ToolError};
//!
//! # #[tokio::main] async fn main() -> Result<(), trunkline_server::sdk::ServeError> {
//! let greet = DynTool::new("greet").description("Greets someone.").handler(|ctx: Context| async move {
//!     Ok::<_, ToolError>(format!("hello, {} bytes of arguments", ctx.raw_arguments().len()))
//! });
//! Server::new("greeter", "1.0.0").tool(greet).run("127.0.0.1:3000").await
//! # }
//! ```
//!
//! Three traits carry everything: [`Tool`], [`Prompt`] and [`Resource`]. The macros write them, [`DynTool`], [`DynPrompt`] and
//! [`DynResource`] make them from closures at run time. What they hand back becomes content through [`IntoToolResult`],
//! [`IntoPromptResult`] and [`IntoResourceResult`].

mod address;
mod arguments;
mod completion;
mod content;
mod context;
pub mod dialogue;
mod dynamic;
pub mod elicitation;
mod error;
mod icon;
#[doc(hidden)]
pub mod markers;
mod prompt;
mod resource;
mod result;
pub mod sampling;
mod schema;
mod server;
mod service;
#[cfg(feature = "skills")]
pub mod skills;
pub mod task;
mod tool;
mod unit;

pub use arguments::{Args, State};
pub use completion::{Completion, CompletionContext, CompletionFuture, IntoCompletion};
pub use content::{
    Audio, Content, ContentAnnotations, EmbeddedResource, Image, IntoPart, PartWriter, ResourceLink, Role,
    Text,
};
pub use context::{Context, TraceContext};
pub use dialogue::{MAX_STATE, Root, STATE_TTL};
pub use dynamic::{DynPrompt, DynResource, DynTool, PromptBuilder, ResourceBuilder, ToolBuilder};
pub use elicitation::{Consent, Elicit, Elicitation, Elicited, NotAForm, UrlElicitation, form_schema};
pub use error::{PromptError, ResourceError, ToolError};
pub use icon::{Icon, Theme};
pub use prompt::{
    IntoPrompt, IntoPromptResult, Prompt, PromptArgument, PromptMessage, PromptMessages, PromptSpec,
};
pub use resource::{Contents, IntoResource, IntoResourceResult, Resource, ResourceSpec};
pub use result::{IntoStreamPart, IntoToolResult, Json, Parts, ToolResult};
pub use sampling::{
    CreateMessage, ModelPreferences, Sampling, SamplingBlock, SamplingMessage, SamplingResult, SamplingTool,
    StopReason, ToolChoice,
};
pub use schema::SchemaProfile;
pub use server::{
    BuildError, BuildProblem, BuiltServer, Called, ChangeError, Extension, ExtensionParts, ServeError,
    Server, ServerHandle, TaskSource, Tester,
};
#[cfg(feature = "skills")]
pub use skills::{Skills, SkillsChange, SkillsError};
pub use task::{
    EXTENSION as TASKS_EXTENSION, NoTask, SharedTasks, StoreError, TaskId, TaskOptions, TaskRecord,
    TaskStatus, TaskStore, Tasks,
};
pub use tool::{IntoTool, TaskMode, Tool, ToolFuture, ToolSpec};
pub use trunkline_service::CacheScope;
