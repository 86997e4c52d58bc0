//! Defaults of another type than the argument.

#![allow(unused, reason = "the errors are what counts")]

use trunkline::tool;

#[tool]
fn a(#[arg(default = 1)] a: f64, #[arg(default = 1)] c: Option<u8>) -> String {
    String::new()
}

fn main() {}
