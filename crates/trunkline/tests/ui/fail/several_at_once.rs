//! All mistakes of one item are shown together.

#![allow(unused, reason = "the errors are what counts")]

use trunkline::tool;

/// All mistakes of one item are shown together.
#[tool(name = "my tool", readonly)]
unsafe fn many<T>(name: &str, #[arg(rnage = 1..)] count: u8, #[arg(range = 1..)] text: String) -> String {
    String::new()
}

fn main() {}
