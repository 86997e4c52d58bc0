//! Prompts and resources that return nothing, and a future in place of `async fn`.

#![allow(unused, reason = "the errors are what counts")]

use trunkline::{prompt, resource, tool};

#[prompt]
fn ask(name: String) {}

#[resource("x://y")]
async fn read() {}

#[tool]
fn later() -> impl Future<Output = String> {
    async { String::new() }
}

fn main() {}
