//! Limits on types they cannot hold for.

#![allow(unused, reason = "the errors are what counts")]

use trunkline::tool;

#[tool]
fn a(
    #[arg(range = 1..=5)] name: String,
    #[arg(max_length = 5)] age: u8,
    #[arg(pattern = "x")] on: bool,
    #[arg(max_length = 5)] tags: Vec<String>,
    #[arg(items(min = 1))] one: Option<String>,
    #[arg(header = "Price")] price: f64,
) -> String {
    String::new()
}

fn main() {}
