//! The attributes `#[tool]`, `#[prompt]` and `#[resource]`, which turn a function into what a server offers.
//!
//! Use them through the crate `trunkline`, which re-exports them beside the types that generated code names. Each attribute
//! leaves a type and a function under the name of the function it stands on:
//!
//! ```ignore
//! pub struct calculate {}                       // implements `Tool`
//! pub fn calculate() -> calculate;              // what `Server::tool(calculate)` is given
//! impl calculate { pub async fn call(..) .. }   // the function as it was written, for tests
//! ```
//!
//! The way through this crate: `item` and `arg` read attributes, `function` and `parameter` read the signature,
//! `expand` writes code, and `error` collects what was found wrong on the way, so that all of it is shown at once.

mod arg;
mod constraint;
mod docs;
mod error;
mod expand;
mod function;
mod hints;
mod item;
mod keys;
mod parameter;
mod pattern;
mod types;
mod uri;

use proc_macro::TokenStream;

use crate::arg::Owner;

/// Makes a tool of a function.
///
/// ```ignore
/// /// Performs basic arithmetic.
/// #[tool(read_only)]
/// async fn calculate(
///     /// What to do with the two numbers.
///     operation: Operation,
///     a: f64,
///     #[arg(default = 1.0, range = -1e9..=1e9)] b: f64,
/// ) -> Result<String, ToolError> { .. }
///
/// Server::new("calculator", "1.0.0").tool(calculate)
/// ```
///
/// The function may be `async` or not. In tests it is called as `calculate::call(..)`. The doc comment becomes the
/// description: lines are joined, a blank line begins a paragraph.
///
/// # Parameters
/// - `ctx: Context` or `ctx: &Context`: the call: its caller, progress, log, questions to the user.
/// - `State(db): State<Db>`: what was given to the server with `Server::state`.
/// - `Args(order): Args<Order>`: all arguments as one value; then no argument is declared beside it.
/// - Everything else is an argument of a type that is `Deserialize` and `JsonSchema`. `Option<T>` may be left out. Its doc
///   comment is its description. Underscores before its name, which mark it as unused, are not part of the name on the wire.
///
/// # `#[arg(..)]` on a parameter
/// | key | meaning |
/// |---|---|
/// | `description = ".."` | in place of a doc comment |
/// | `default`, `default = value` | what it is when left out: `Default::default()`, or the value |
/// | `range = a..=b` | least and greatest number; either end may be missing, `..` excludes the upper one |
/// | `min_length = n`, `max_length = n` | characters of a text |
/// | `pattern = ".."` | a regular expression (ECMA 262) that a text matches somewhere |
/// | `format = ".."` | what a text is: `email`, `uri`, `date`, `date-time` |
/// | `items(min = n, max = n)` | items of a list |
/// | `rename = ".."` | its name on the wire |
/// | `header = "Region"` | mirrored in the HTTP header `Mcp-Param-Region`; text, integer or flag |
///
/// A bare `#[arg]` makes an argument of a type of your own that is called `Context`.
///
/// # Keys
/// | key | meaning |
/// |---|---|
/// | `name = ".."` | in place of the function's name: 1 to 64 of `a-z`, `A-Z`, `0-9`, `_` and `-` |
/// | `title = ".."` | a name for people |
/// | `description = ".."` | in place of the doc comment |
/// | `read_only`, `destructive`, `idempotent`, `open_world` | what it does to the world; also `= true` and `= false` |
/// | `icon = ".."` | the address of a picture: `https:` or `data:` |
/// | `task`, `task = "required"` | may run as a task of the tasks extension, or always does |
/// | `crate = "path"` | where the `trunkline` crate is, when it has another name |
///
/// # Return types
/// Anything that is `IntoToolResult`: text, `Json<T>` (whose schema becomes the output schema), content, several of them, or
/// a `Result` of these. `impl Stream` and `Result<impl Stream, E>` send their items one by one.
///
/// Spec: 2026-07-28 server/tools
#[proc_macro_attribute]
pub fn tool(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(Owner::Tool, attribute.into(), item.into()).into()
}

/// Makes a prompt of a function: messages that a person chooses by name.
///
/// ```ignore
/// /// Asks for a review of a piece of code.
/// #[prompt(title = "Review code")]
/// fn review(
///     code: String,
///     /// Language of the code.
///     #[arg(complete = ["rust", "python"])] language: Option<String>,
/// ) -> PromptMessages { .. }
/// ```
///
/// `Context` and `State<T>` are taken as in [`macro@tool`]. Every other parameter is an argument: `String` or any other type
/// that is `FromStr`, as arguments of prompts are text. `Option<T>` and those with a default may be left out.
///
/// `#[arg(..)]` takes `description`, `default`, `default = value`, `rename`, and `complete`: a list of texts, of which those
/// that fit what was typed are suggested, or a function from `CompletionContext` to anything that is `IntoCompletion`, `async`
/// or not.
///
/// Keys: `name`, `title`, `description`, `icon` and `crate`, as in [`macro@tool`]; the name may be any that is not blank.
/// Returns anything that is `IntoPromptResult`: text (one message of the user), `PromptMessages`, or a `Result` of these.
///
/// Spec: 2026-07-28 server/prompts
#[proc_macro_attribute]
pub fn prompt(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(Owner::Prompt, attribute.into(), item.into()).into()
}

/// Makes a resource of a function: data that is read by its URI.
///
/// ```ignore
/// /// A note.
/// #[resource("notes://{id}", mime = "text/markdown", subscribe, ttl = "60s")]
/// async fn note(State(notes): State<Notes>, id: u64) -> Result<String, ResourceError> { .. }
/// ```
///
/// A URI with variables is a template. `Context` and `State<T>` are taken as in [`macro@tool`]; every other parameter is a
/// variable of the template, of a type that is `FromStr`, and every variable is a parameter. A variable of the query
/// (`{?page}`) may be missing and is an `Option<T>`. `#[arg(..)]` takes `rename` and `complete`, as in [`macro@prompt`].
///
/// # Keys
/// | key | meaning |
/// |---|---|
/// | `mime = ".."` | the kind of data |
/// | `subscribe` | its changes are announced |
/// | `ttl = "60s"` | clients may keep what they read for so long: a whole number of `ms`, `s`, `m` or `h`, at most a year; not at all unless said |
/// | `public` | with `ttl`: it is the same for every caller, so that a cache between may keep it too |
/// | `size = n` | bytes of the data; not for templates |
/// | `priority = 0.5` | from 0.0, what may be left out, to 1.0, what is needed |
/// | `audience = "user"` | whom it is for, `user` or `assistant`; both unless said |
/// | `name`, `title`, `description`, `icon`, `crate` | as in [`macro@tool`]; the name may be any that is not blank |
///
/// Returns anything that is `IntoResourceResult`: text, bytes, `Json<T>`, `Contents`, or a `Result` of these with
/// `ResourceError`.
///
/// Spec: 2026-07-28 server/resources
#[proc_macro_attribute]
pub fn resource(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(Owner::Resource, attribute.into(), item.into()).into()
}
