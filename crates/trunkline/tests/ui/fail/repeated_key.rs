//! Keys given twice.

#![allow(unused, reason = "the errors are what counts")]

use trunkline::tool;

#[tool(title = "A", read_only, title = "B")]
fn a(#[arg(default = 1, default)] a: u8, #[arg(rename = "x")] #[arg(rename = "y")] b: u8) -> String {
    String::new()
}

fn main() {}
