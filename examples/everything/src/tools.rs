//! Tools that answer at once: what they take, and every kind of content they can return.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use trunkline::{
    Audio, Context, DynTool, EmbeddedResource, Image, Json, ResourceLink, Text, Tool, ToolError, tool,
};

use crate::media;

/// Returns one text.
#[tool(read_only)]
pub(crate) async fn test_simple_text() -> &'static str {
    "This is a simple text response for testing."
}

/// Returns a picture.
#[tool(read_only)]
pub(crate) async fn test_image_content() -> Image {
    Image::new(media::PNG, "image/png")
}

/// Returns a sound.
#[tool(read_only)]
pub(crate) async fn test_audio_content() -> Audio {
    Audio::new(media::WAV, "audio/wav")
}

/// Returns a resource as part of the result.
#[tool(read_only)]
pub(crate) async fn test_embedded_resource() -> EmbeddedResource {
    EmbeddedResource::text("test://embedded-resource", "This is an embedded resource content.")
        .mime_type("text/plain")
}

/// Returns a text, a picture and a resource: a tuple of content is content.
#[tool(read_only)]
pub(crate) async fn test_multiple_content_types() -> (Text, Image, EmbeddedResource) {
    let resource = EmbeddedResource::text(
        "test://mixed-content-resource",
        json!({ "test": "data", "value": 123 }).to_string(),
    );
    (
        Text::new("Multiple content types test:"),
        Image::new(media::PNG, "image/png"),
        resource.mime_type("application/json"),
    )
}

/// Returns a link to a resource that the client may read.
#[tool(read_only)]
pub(crate) async fn test_resource_link() -> ResourceLink {
    ResourceLink::new("test://static-text", "static-text")
        .description("A text that never changes.")
        .mime_type("text/plain")
}

/// The weather, as [`test_structured_content`] returns it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Weather {
    /// Degrees Celsius.
    temperature: f64,
    /// What the sky looks like.
    conditions: &'static str,
}

/// Returns data. `Json` also writes the output schema, from the type.
#[tool(read_only)]
pub(crate) async fn test_structured_content() -> Json<Weather> {
    Json(Weather { temperature: 22.5, conditions: "partly cloudy" })
}

/// Returns an error result: the model reads the text, the request itself succeeds.
#[tool(read_only)]
pub(crate) async fn test_error_handling() -> Result<String, ToolError> {
    Err("This tool intentionally returns an error for testing".into())
}

/// Returns the message it is given.
#[tool(read_only)]
pub(crate) async fn echo(
    /// What to say back.
    message: String,
) -> String {
    message
}

/// A sum.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Sum {
    /// What both are together.
    sum: f64,
}

/// Adds two numbers.
#[tool(read_only)]
pub(crate) async fn sum(
    /// One of them.
    a: f64,
    /// The other.
    b: f64,
) -> Json<Sum> {
    Json(Sum { sum: a + b })
}

/// Returns its value, which clients also send in the header `Mcp-Param-Value`, so that a router can see it without reading
/// the body.
#[tool(read_only)]
pub(crate) async fn test_custom_header(
    /// Any text.
    #[arg(header = "Value")]
    value: String,
) -> String {
    format!("The header and the body both say: {value}")
}

/// A tool made from a closure and a schema written by hand, which reaches clients as it is.
pub(crate) fn json_schema_2020_12_tool() -> impl Tool {
    DynTool::new("json_schema_2020_12_tool")
        .description("Takes what a schema of JSON Schema 2020-12 allows, with references, conditions and combinations.")
        .read_only(true)
        .input_schema(contact_schema())
        .handler(|ctx: Context| async move {
            let contact: Value = ctx.arguments()?;
            Ok::<_, ToolError>(format!("A contact that fits the schema: {contact}"))
        })
}

fn contact_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": { "street": { "type": "string" }, "city": { "type": "string" } },
            },
        },
        "properties": {
            "name": { "type": "string" },
            "address": { "$ref": "#/$defs/address" },
            "contactMethod": { "type": "string", "enum": ["phone", "email"] },
            "phone": { "type": "string" },
            "email": { "type": "string" },
        },
        "allOf": [{ "anyOf": [{ "required": ["phone"] }, { "required": ["email"] }] }],
        "if": { "properties": { "contactMethod": { "const": "phone" } }, "required": ["contactMethod"] },
        "then": { "required": ["phone"] },
        "else": { "required": ["email"] },
        "additionalProperties": false,
    })
}
