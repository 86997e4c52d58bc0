//! Keys with values of the wrong kind.

#![allow(unused, reason = "the errors are what counts")]

use trunkline::tool;

#[tool(title = 5, read_only = "yes", task = "always", description = "", crate = 7)]
fn a() -> String {
    String::new()
}

#[tool(title, "b")]
fn b() -> String {
    String::new()
}

#[tool("c")]
fn c() -> String {
    String::new()
}

fn main() {}
