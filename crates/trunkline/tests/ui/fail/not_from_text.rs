//! Arguments of prompts and variables of templates that cannot be read from text.

#![allow(unused, reason = "the errors are what counts")]

use trunkline::{Server, prompt, resource};

struct Day;

#[prompt]
fn plan(day: Day, other: Option<Day>) -> String {
    String::new()
}

#[resource("plan://{day}")]
fn planned(day: Vec<u8>) -> String {
    String::new()
}

fn main() {
    let _ = Server::new("a", "1").prompt(plan).resource(planned);
}
