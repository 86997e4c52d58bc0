//! Variables without a parameter, and parameters without a variable.

#![allow(unused, reason = "the errors are what counts")]

use trunkline::{Server, State, resource};

/// The template has a variable that is no parameter.
#[resource("notes://{user}/{id}")]
fn missing(id: u64) -> String {
    id.to_string()
}

/// The function has a parameter that is no variable.
#[resource("notes://{id}")]
fn unknown(id: u64, user: String) -> String {
    id.to_string() + &user
}

/// A misspelt one is both.
#[resource("notes://{user}")]
fn misspelt(State(db): State<u8>, usr: String) -> String {
    usr
}

/// No template at all.
#[resource("notes://today")]
fn fixed(id: u64) -> String {
    id.to_string()
}

/// What is in the query may be missing.
#[resource("notes://all{?page}")]
fn query(page: u32) -> String {
    page.to_string()
}

fn main() {
    let _ = Server::new("a", "1").resource(missing).resource(unknown).resource(misspelt).resource(fixed).resource(query);
}
