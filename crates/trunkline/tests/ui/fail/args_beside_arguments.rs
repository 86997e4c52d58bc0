//! `Args` is all arguments at once: nothing stands beside it, and only tools have it.

#![allow(unused, reason = "the errors are what counts")]

use trunkline::{Args, prompt, tool};

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Point {
    x: u8,
}

#[tool]
fn both(Args(point): Args<Point>, scale: u8) -> String {
    String::new()
}

#[tool]
fn twice(Args(from): Args<Point>, Args(to): Args<Point>) -> String {
    String::new()
}

#[prompt]
fn ask(Args(point): Args<Point>) -> String {
    String::new()
}

fn main() {}
