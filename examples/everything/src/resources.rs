//! Resources: a text, bytes, and all addresses of a template.

use schemars::JsonSchema;
use serde::Serialize;
use trunkline::{Completion, CompletionContext, Json, resource};

use crate::media;

/// A text that never changes.
#[resource("test://static-text", name = "static-text", mime = "text/plain")]
pub(crate) async fn test_static_text() -> &'static str {
    "This is the content of the static text resource."
}

/// Bytes that never change.
#[resource("test://static-binary", name = "static-binary", mime = "image/png")]
pub(crate) async fn test_static_binary() -> &'static [u8] {
    media::PNG
}

/// What the template's resources hold.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Templated {
    id: String,
    template_test: bool,
    data: String,
}

/// One resource for each id.
#[resource("test://template/{id}/data", name = "template", mime = "application/json")]
pub(crate) async fn test_template(#[arg(complete = ids)] id: String) -> Json<Templated> {
    Json(Templated { data: format!("Data for ID: {id}"), template_test: true, id })
}

/// Suggests ids that begin with, or hold, what was typed.
fn ids(ctx: CompletionContext) -> Completion {
    Completion::ranked((100..200).map(|id| id.to_string()), ctx.value())
}
