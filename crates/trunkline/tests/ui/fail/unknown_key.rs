//! Keys the attributes do not know.

#![allow(unused, reason = "the errors are what counts")]

use trunkline::{prompt, resource, tool};

#[tool(readonly, titel = "A")]
fn a() -> String {
    String::new()
}

#[prompt(read_only)]
fn b() -> String {
    String::new()
}

#[resource("x://y", mime_type = "text/plain")]
fn c() -> String {
    String::new()
}

fn main() {}
