//! Addresses of resources that are no URI, or no template.

#![allow(unused, reason = "the errors are what counts")]

use trunkline::resource;

#[resource]
fn none() -> String {
    String::new()
}

#[resource("today")]
fn relative() -> String {
    String::new()
}

#[resource("notes://{id")]
fn open(id: String) -> String {
    id
}

#[resource("notes://{;id}")]
fn operator(id: String) -> String {
    id
}

#[resource("notes://{my id}")]
fn spaced(id: String) -> String {
    id
}

#[resource(uri = "notes://today")]
fn key() -> String {
    String::new()
}

fn main() {}
