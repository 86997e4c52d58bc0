//! The crate under another name, named by a text or by a path.

#![deny(warnings)]

mod vendor {
    pub use trunkline as mcp;
}

use vendor::mcp::{Server, prompt, resource, tool};

/// One.
#[tool(crate = "crate::vendor::mcp")]
async fn one(a: u8, #[arg(default = 2)] b: u8) -> String {
    (a + b).to_string()
}

#[prompt(crate = crate::vendor::mcp)]
fn two(#[arg(complete = ["a"])] a: String) -> String {
    a
}

#[resource("x://{a}", crate = crate::vendor::mcp)]
fn three(a: String) -> String {
    a
}

fn main() {
    let _ = Server::new("a", "1").tool(one).prompt(two).resource(three);
}
