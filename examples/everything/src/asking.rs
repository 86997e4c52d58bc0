//! Tools and a prompt that ask the client before they answer.
//!
//! A question reads like any other `.await`. What happens is that the request ends, the client asks its user, sends the request
//! again with the answer, and the function runs again up to the next question. Clients of older revisions are asked while the
//! request waits; the functions do not notice.

mod forms;

use serde_json::Value;
use trunkline::{Context, CreateMessage, Elicited, PromptError, PromptMessages, ToolError, prompt, tool};

use forms::{Color, Confirmed, Contact, Defaults, Name, choices};

// ---- one question ----

/// Asks the client's model.
#[tool(read_only, open_world)]
pub(crate) async fn test_sampling(
    ctx: Context,
    /// What to ask it.
    prompt: String,
) -> String {
    let answer = ctx.sample(CreateMessage::new(100).user(prompt)).await;
    format!("LLM response: {}", answer.text())
}

/// Asks the user for name and address, and tells apart the three things users do.
#[tool]
pub(crate) async fn test_elicitation(
    ctx: Context,
    /// What to ask.
    message: String,
) -> String {
    match ctx.elicit::<Contact>(message).await {
        Elicited::Accepted(Contact { username, email }) => {
            format!("accepted: username={username}, email={email}")
        }
        Elicited::Declined => "declined".to_owned(),
        Elicited::Cancelled => "cancelled".to_owned(),
    }
}

/// Asks with a form that is filled in already.
#[tool]
pub(crate) async fn test_elicitation_sep1034_defaults(ctx: Context) -> Result<String, ToolError> {
    let answer = ctx.elicit::<Defaults>("Please look these values over.").await.accepted()?;
    Ok(format!("The user sent {answer:?}."))
}

/// Asks with every kind of choice there is. The schema is written by hand, since no type describes the oldest kind.
#[tool]
pub(crate) async fn test_elicitation_sep1330_enums(ctx: Context) -> Result<String, ToolError> {
    let answer = ctx.elicit::<Value>("Please choose.").schema(choices()).await.accepted()?;
    Ok(format!("The user chose {answer}."))
}

/// Asks the user to open an address, for what must not pass through the client.
#[tool]
pub(crate) async fn test_url_elicitation(ctx: Context) -> Result<&'static str, ToolError> {
    ctx.elicit_url("Please sign in.", "https://example.com/sign-in").await.accepted()?;
    Ok("The user agreed to open the address.")
}

/// Asks the client's model, which a client without sampling is refused for, by name of what is missing.
#[tool(read_only)]
pub(crate) async fn test_missing_capability(ctx: Context) -> String {
    ctx.sample(CreateMessage::new(10).user("Say anything.")).await.text()
}

/// Asks the user. On the wire that is an answer, never a request of the server's own.
#[tool]
pub(crate) async fn test_streaming_elicitation(ctx: Context) -> Result<String, ToolError> {
    let name = ctx.elicit::<Name>("What is your name?").await.accepted()?.name;
    Ok(format!("Hello, {name}."))
}

// ---- several rounds ----

/// Asks for a name. The key is what the question is called on the wire.
#[tool]
pub(crate) async fn test_input_required_result_elicitation(ctx: Context) -> Result<String, ToolError> {
    let name = ctx.elicit::<Name>("What is your name?").key("user_name").await.accepted()?.name;
    Ok(format!("Hello, {name}!"))
}

/// Asks the client's model.
#[tool(read_only)]
pub(crate) async fn test_input_required_result_sampling(ctx: Context) -> String {
    let question = CreateMessage::new(100).user("What is the capital of France?");
    ctx.sample(question).key("capital_question").await.text()
}

/// Asks which folders the client works in.
#[tool(read_only)]
pub(crate) async fn test_input_required_result_list_roots(ctx: Context) -> String {
    let roots: Vec<String> = ctx.roots().await.into_iter().map(|root| root.uri).collect();
    format!("The client works in {}.", roots.join(", "))
}

/// Asks once. Nothing is kept here until the answer comes: it travels with the client, sealed.
#[tool]
pub(crate) async fn test_input_required_result_request_state(
    ctx: Context,
) -> Result<&'static str, ToolError> {
    let ok = ctx.elicit::<Confirmed>("Please confirm.").key("confirm").await.accepted()?.ok;
    Ok(if ok { "state-ok" } else { "not confirmed" })
}

/// Asks once. A client that alters what travels with it is refused.
#[tool]
pub(crate) async fn test_input_required_result_tampered_state(
    ctx: Context,
) -> Result<&'static str, ToolError> {
    let ok = ctx.elicit::<Confirmed>("Please confirm.").key("confirm").await.accepted()?.ok;
    Ok(if ok { "state-ok" } else { "not confirmed" })
}

/// Asks the user, the model and the client itself in one round: what is awaited together is asked together.
#[tool]
pub(crate) async fn test_input_required_result_multiple_inputs(ctx: Context) -> Result<String, ToolError> {
    let (name, greeting, roots) = tokio::join!(
        ctx.elicit::<Name>("What is your name?").key("user_name"),
        ctx.sample(CreateMessage::new(50).user("Write a greeting.")).key("greeting"),
        ctx.roots(),
    );
    let name = name.accepted()?.name;
    Ok(format!("{} {name}, with {} roots.", greeting.text(), roots.len()))
}

/// Asks two things one after the other: the second question depends on the first answer.
#[tool]
pub(crate) async fn test_input_required_result_multi_round(ctx: Context) -> Result<String, ToolError> {
    let name = ctx.elicit::<Name>("Step 1: What is your name?").key("step1").await.accepted()?.name;
    let question = format!("Step 2: What is your favourite colour, {name}?");
    let color = ctx.elicit::<Color>(question).key("step2").await.accepted()?.color;
    Ok(format!("{name} likes {color}."))
}

/// Asks whoever can be asked, and only them.
#[tool]
pub(crate) async fn test_input_required_result_capabilities(ctx: Context) -> Result<String, ToolError> {
    let greeting = async {
        let question = CreateMessage::new(50).user("Write a greeting.");
        if ctx.can_sample() { ctx.sample(question).key("greeting").await.text() } else { "Hello".to_owned() }
    };
    let name = async {
        if !ctx.can_elicit() {
            return Ok("stranger".to_owned());
        }
        ctx.elicit::<Name>("What is your name?").key("user_name").await.accepted().map(|answer| answer.name)
    };
    let (greeting, name) = tokio::join!(greeting, name);
    Ok(format!("{greeting}, {}!", name?))
}

/// Asks before it makes its messages: prompts ask as tools do.
#[prompt]
pub(crate) async fn test_input_required_result_prompt(ctx: Context) -> Result<PromptMessages, PromptError> {
    let answer = ctx.elicit::<forms::Background>("What should the prompt know?").key("user_context").await;
    match answer.ok() {
        Some(answer) => Ok(PromptMessages::new().user(format!("Keep in mind: {}", answer.context))),
        None => Err("the user did not say what the prompt should know".into()),
    }
}
