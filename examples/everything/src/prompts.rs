//! Prompts: messages that a person chooses by name.

use trunkline::{EmbeddedResource, Image, PromptMessages, prompt};

use crate::media;

/// A prompt without arguments; a text is one message of the user.
#[prompt]
pub(crate) async fn test_simple_prompt() -> &'static str {
    "This is a simple prompt for testing."
}

/// A prompt with two arguments, one of which completes itself.
#[prompt(title = "Two arguments")]
pub(crate) async fn test_prompt_with_arguments(
    /// Any text; a few are suggested.
    #[arg(complete = ["testValue1", "testValue2", "another value"])]
    arg1: String,
    /// Any text.
    arg2: String,
) -> String {
    format!("Prompt with arguments: arg1='{arg1}', arg2='{arg2}'")
}

/// A prompt that brings a resource along.
#[prompt]
pub(crate) async fn test_prompt_with_embedded_resource(
    /// The URI the resource is shown under.
    #[arg(rename = "resourceUri")]
    resource_uri: String,
) -> PromptMessages {
    let resource = EmbeddedResource::text(resource_uri, "Embedded resource content for testing.");
    PromptMessages::new()
        .user(resource.mime_type("text/plain"))
        .user("Please process the embedded resource above.")
}

/// A prompt that brings a picture along.
#[prompt]
pub(crate) async fn test_prompt_with_image() -> PromptMessages {
    PromptMessages::new().user(Image::new(media::PNG, "image/png")).user("Please analyze the image above.")
}
