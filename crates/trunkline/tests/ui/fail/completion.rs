//! Completions that are no list and no function, and functions that return none.

#![allow(unused, reason = "the errors are what counts")]

use trunkline::{CompletionContext, Server, prompt};

fn number(_: CompletionContext) -> u8 {
    5
}

fn no_parameter() -> Vec<String> {
    Vec::new()
}

#[prompt]
fn a(
    #[arg(complete = "x")] a: String,
) -> String {
    a
}

#[prompt]
fn b(
    #[arg(complete = number)] b: String,
    #[arg(complete = no_parameter)] c: String,
    #[arg(complete = [1, 2])] d: String,
) -> String {
    b + &c + &d
}

fn main() {
    let _ = Server::new("a", "1").prompt(a).prompt(b);
}
