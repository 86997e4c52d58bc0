//! `Context`, `State` and `Args`, by value, by reference and taken apart.

#![deny(warnings)]

use std::sync::Arc;

use trunkline::{Args, Context, Json, Prompt, PromptMessages, Server, State, Tool, prompt, resource, tool};

#[derive(Clone)]
pub struct Db(Arc<str>);

#[derive(serde::Deserialize, schemars::JsonSchema)]
pub struct Point {
    x: i64,
    y: i64,
}

#[derive(serde::Serialize, schemars::JsonSchema)]
pub struct Sum {
    sum: i64,
}

/// By value, beside an argument.
#[tool]
pub async fn by_value(ctx: Context, State(db): State<Db>, name: String) -> String {
    drop(ctx);
    format!("{} {name}", db.0)
}

/// By reference.
#[tool]
pub async fn by_reference(ctx: &Context, state: State<Db>) -> Result<String, trunkline::ToolError> {
    let _ = ctx.caller();
    Ok(state.0.0.to_string())
}

/// All arguments at once.
#[tool(
    title = "Sum",
    read_only,
    destructive = false,
    idempotent,
    open_world = false,
    icon = "https://example.org/i.png",
    task
)]
pub fn sum(Args(Point { x, y }): Args<Point>, _: trunkline::State<Db>) -> Json<Sum> {
    Json(Sum { sum: x + y })
}

#[prompt]
pub fn greet(_ctx: &trunkline::Context, State(_): State<Db>, name: String) -> PromptMessages {
    PromptMessages::new().user(name)
}

#[resource("db://name")]
pub async fn db_name(State(db): State<Db>, ctx: Context) -> String {
    drop(ctx);
    db.0.to_string()
}

#[tokio::main]
async fn main() {
    let _ = Server::new("a", "1")
        .state(Db("main".into()))
        .tool(by_value)
        .tool(by_reference)
        .tool(sum)
        .prompt(greet)
        .resource(db_name);
    assert_eq!(sum::call(Args(Point { x: 1, y: 2 }), State(Db("a".into()))).0.sum, 3);
    let spec = format!("{:?}", sum().spec());
    assert!(spec.contains("Optional") && spec.contains("i.png") && spec.contains("Db"), "{spec}");
    assert!(format!("{:?}", greet().spec()).contains("name"));
}
