//! An error that is no `ToolError` and becomes none.

#![allow(unused, reason = "the errors are what counts")]

use trunkline::{Server, tool};

struct MyError;

#[tool]
async fn fails() -> Result<String, MyError> {
    Err(MyError)
}

fn main() {
    let _ = Server::new("a", "1").tool(fails);
}
