//! The attributes on what is no function.

#![allow(unused, reason = "the errors are what counts")]

use trunkline::{prompt, resource, tool};

#[tool]
struct Calculator;

#[tool(read_only)]
impl Calculator {
    fn add(&self) {}
}

#[prompt]
enum Choice {
    A,
}

#[resource("x://y")]
const X: u8 = 1;

fn main() {}
