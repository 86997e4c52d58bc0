//! Prompts and resources, with completions of every kind.

#![deny(warnings)]

use trunkline::{
    Completion, CompletionContext, Failure, Prompt, PromptError, PromptMessages, Resource, ResourceError,
    Server, prompt, resource,
};

fn cities(typed: CompletionContext) -> Vec<String> {
    vec![typed.value().to_owned()]
}

async fn users(typed: CompletionContext) -> Result<Completion, Failure> {
    Ok(Completion::ranked(["ann", "bob"], typed.value()))
}

const LANGUAGE: &str = "rust";

/// Reviews code.
#[prompt(title = "Review", icon = "https://example.org/i.png")]
async fn review(
    /// The code.
    code: String,
    #[arg(complete = ["de", "en", LANGUAGE])] language: Option<String>,
    #[arg(complete = cities, default = "Berlin")] city: String,
    #[arg(complete = users, rename = "userName")] user: Option<String>,
    #[arg(default)] depth: u8,
    #[arg(default = 7)] width: u16,
    #[arg(default = Some(8))] height: Option<u16>,
) -> Result<PromptMessages, PromptError> {
    Ok(PromptMessages::new().user(format!("{code}{language:?}{city}{user:?}{depth}{width}{height:?}")))
}

#[prompt(name = "short one", description = "Says hello.")]
fn short() -> String {
    "hello".into()
}

/// Today.
#[resource("notes://today", name = "today's note", mime = "text/plain", title = "Today", subscribe)]
fn today() -> &'static str {
    "nothing"
}

/// A note.
#[resource("notes://{user}/{id}{?page,userName}", mime = "text/markdown")]
async fn note(
    id: u64,
    #[arg(complete = users)] user: String,
    page: Option<u32>,
    #[arg(rename = "userName")] name: Option<String>,
) -> Result<Vec<u8>, ResourceError> {
    if id == 0 {
        Err(ResourceError::NotFound)
    } else {
        Ok(format!("{id}{user}{page:?}{name:?}").into_bytes())
    }
}

fn main() {
    let _ = Server::new("a", "1").prompt(review).prompt(short).resource(today).resource(note);
    let spec = format!("{:?}", review().spec());
    assert!(
        spec.contains("userName") && spec.contains("The code.") && spec.contains("Reviews code."),
        "{spec}"
    );
    let spec = format!("{:?}", note().spec());
    assert!(spec.contains("notes://{user}/{id}{?page,userName}") && spec.contains("text/markdown"), "{spec}");
}
