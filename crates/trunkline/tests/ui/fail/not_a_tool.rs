//! A function without `#[tool]`, and a tool where a prompt is expected.

#![allow(unused, reason = "the errors are what counts")]

use trunkline::{Server, tool};

async fn forgotten(a: f64) -> String {
    a.to_string()
}

fn without_arguments() -> String {
    String::new()
}

#[tool]
fn good() -> String {
    String::new()
}

fn main() {
    let _ = Server::new("a", "1").tool(forgotten).tool(without_arguments).tool("text").prompt(good);
}
