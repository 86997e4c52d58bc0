//! A future that cannot move between threads.

#![allow(unused, reason = "the errors are what counts")]

use std::rc::Rc;

use trunkline::{Server, tool};

async fn wait() {}

#[tool]
async fn shared(a: u8) -> String {
    let shared = Rc::new(a);
    wait().await;
    shared.to_string()
}

fn main() {
    let _ = Server::new("a", "1").tool(shared);
}
