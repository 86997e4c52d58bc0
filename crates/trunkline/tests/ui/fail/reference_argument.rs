//! Borrowed arguments.

#![allow(unused, reason = "the errors are what counts")]

use trunkline::{Context, State, tool};

struct Point;

#[tool]
async fn borrowed(name: &str, words: &[String], point: &Point, maybe: Option<&str>) -> String {
    String::new()
}

#[tool]
async fn context(ctx: &mut Context, state: &State<Point>) -> String {
    String::new()
}

fn main() {}
