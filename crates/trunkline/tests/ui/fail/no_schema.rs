//! An argument whose type lacks `Deserialize` and `JsonSchema`.

#![allow(unused, reason = "the errors are what counts")]

use trunkline::{Server, tool};

struct Point;

#[tool]
fn draw(point: Point) -> String {
    String::new()
}

fn main() {
    let _ = Server::new("a", "1").tool(draw);
}
