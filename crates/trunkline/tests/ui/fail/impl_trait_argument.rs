//! An `impl Trait` argument has no schema.

#![allow(unused, reason = "the errors are what counts")]

use trunkline::{Server, tool};

#[tool]
async fn shout(text: impl Into<String>) -> String {
    text.into().to_uppercase()
}

#[tool]
fn all(texts: Vec<impl Into<String>>) -> String {
    String::new()
}

fn main() {
    let _ = Server::new("a", "1").tool(shout).tool(all);
}
