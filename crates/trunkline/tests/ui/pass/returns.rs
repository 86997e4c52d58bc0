//! Sync functions, streams, `impl Trait`, nothing at all.

#![deny(warnings)]

use std::borrow::Cow;

use futures_util::stream::{self, Stream};
use trunkline::{Json, Server, ToolError, tool};

#[tool]
fn text(name: String) -> String {
    name
}

#[tool]
fn nothing() {}

#[tool]
const fn constant() -> &'static str {
    "x"
}

#[tool]
fn borrowed() -> Cow<'static, str> {
    "x".into()
}

#[tool]
fn parts(count: u32) -> impl Stream<Item = String> {
    stream::iter((0..count).map(|number| number.to_string()))
}

#[tool]
async fn parts_or_not(count: u32) -> Result<impl Stream<Item = String> + Send, ToolError> {
    if count > 10 {
        return Err(ToolError::new("too many"));
    }
    Ok(stream::iter((0..count).map(|number| number.to_string())))
}

#[tool]
async fn unnamed() -> Json<impl serde::Serialize + schemars::JsonSchema> {
    Json(5)
}

fn main() {
    let _ = Server::new("a", "1")
        .tool(text)
        .tool(nothing)
        .tool(constant)
        .tool(borrowed)
        .tool(parts)
        .tool(parts_or_not)
        .tool(unnamed);
    assert_eq!(text::call("a".into()), "a");
}
