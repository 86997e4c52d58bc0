//! Names that a server would refuse.

#![allow(unused, reason = "the errors are what counts")]

use trunkline::{Server, prompt, tool};

#[tool(name = "add numbers")]
fn add() -> String {
    String::new()
}

#[tool]
fn größe() -> String {
    String::new()
}

#[prompt(name = " ")]
fn ask() -> String {
    String::new()
}

fn main() {
    let _ = Server::new("a", "1").tool(add).tool(größe).prompt(ask);
}
