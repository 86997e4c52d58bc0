//! Limits that are written wrong, and names that are there twice.

#![allow(unused, reason = "the errors are what counts")]

use trunkline::tool;

#[tool]
fn a(
    #[arg(range = 10..=1)] a: u8,
    #[arg(range = 5)] b: u8,
    #[arg(range = ..)] c: u8,
    #[arg(min_length = -1)] d: String,
    #[arg(items = 5)] e: Vec<u8>,
    #[arg(items(least = 5))] f: Vec<u8>,
    #[arg(pattern = "[a-z")] g: String,
    #[arg(header = "My Region")] h: String,
    #[arg(header = "my-region")] i: String,
    #[arg(header = "My-Region")] j: String,
    #[arg(rename = "a")] k: u8,
) -> String {
    String::new()
}

fn main() {}
