//! Keys `#[arg]` does not know, or not here.

#![allow(unused, reason = "the errors are what counts")]

use trunkline::{prompt, resource, tool};

#[tool]
fn numbers(#[arg(rnage = 1..=5)] a: u8, #[arg(desc = "x")] b: u8, #[arg(wobble)] c: u8) -> String {
    String::new()
}

#[tool]
fn completed(#[arg(complete = ["a"])] a: String) -> String {
    a
}

#[prompt]
fn limited(#[arg(max_length = 5)] a: String) -> String {
    a
}

#[resource("x://{a}")]
fn described(#[arg(description = "the a")] a: String) -> String {
    a
}

fn main() {}
