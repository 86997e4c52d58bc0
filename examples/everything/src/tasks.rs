//! Tools that go on after their request was answered, as tasks that the client asks about.
//!
//! `#[tool(task)]` makes a task of every call whose client can follow tasks; `task = "required"` refuses the others. Nothing
//! else changes: the function is the same, and so are its questions, which wait in the task until they are answered.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::sleep;
use trunkline::{Context, Failure, FailureKind, ToolError, tool};

/// Greets. It is too quick to be a task, whatever the client can follow.
#[tool(read_only)]
pub(crate) async fn greet(
    /// Whom to greet.
    name: String,
) -> String {
    format!("Hello, {name}!")
}

/// Computes for a while.
#[tool(read_only, task)]
pub(crate) async fn slow_compute(
    ctx: Context,
    /// How long it takes.
    #[arg(range = 0.0..=3600.0)]
    seconds: f64,
    /// What the result is called.
    label: Option<String>,
) -> String {
    let label = label.as_deref().unwrap_or("unnamed");
    ctx.task_status(format!("computing {label} for {seconds} s"));
    sleep(Duration::from_secs_f64(seconds)).await;
    format!("Computed {label} in {seconds} s.")
}

/// Fails after a second. The task completes, with an error result: the tool did what it could.
#[tool(task = "required")]
pub(crate) async fn failing_job() -> Result<String, ToolError> {
    sleep(Duration::from_secs(1)).await;
    Err("The job failed, as it always does.".into())
}

/// Ends in a protocol error. The task fails: there is no result at all.
#[tool(task)]
pub(crate) async fn protocol_error_job() -> Result<String, Failure> {
    sleep(Duration::from_millis(200)).await;
    Err(Failure::new(FailureKind::Internal, "the job broke the protocol, as it always does"))
}

/// Whether to go on.
#[derive(Debug, Deserialize, JsonSchema)]
struct Confirmation {
    /// Go on with it.
    confirm: bool,
}

/// Deletes a file once the user has confirmed it. (There is no file.)
#[tool(destructive, task)]
pub(crate) async fn confirm_delete(
    ctx: Context,
    /// The file to delete.
    filename: String,
) -> Result<String, ToolError> {
    let question = ctx.elicit::<Confirmation>(format!("Delete {filename}?")).key("confirm");
    let answer = question.await.accepted()?;
    Ok(if answer.confirm { format!("Deleted {filename}.") } else { format!("Kept {filename}.") })
}

/// A name.
#[derive(Debug, Deserialize, JsonSchema)]
struct Name {
    /// What to call it.
    name: String,
}

/// Asks two things at once; they may be answered together or one by one.
#[tool(task)]
pub(crate) async fn multi_input(ctx: Context) -> Result<String, ToolError> {
    let (name, confirmation) = tokio::join!(
        ctx.elicit::<Name>("What is it called?").key("name"),
        ctx.elicit::<Confirmation>("Is that final?").key("confirmation"),
    );
    let (name, confirmation) = (name.accepted()?.name, confirmation.accepted()?.confirm);
    Ok(format!("It is called {name}, and that is {}.", if confirmation { "final" } else { "not final" }))
}

/// Asks first, and becomes a task only when it knows what to do.
#[tool]
pub(crate) async fn test_tool_with_task(ctx: Context) -> Result<String, ToolError> {
    let name = ctx.elicit::<Name>("What is your name?").key("user_name").await.accepted()?.name;
    ctx.become_task().await;
    sleep(Duration::from_millis(200)).await;
    Ok(format!("Hello, {name}, this took a while."))
}
