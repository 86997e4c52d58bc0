//! Generics and `where`: clients call with JSON.

#![allow(unused, reason = "the errors are what counts")]

use trunkline::tool;

#[tool]
async fn show<T: ToString>(value: T) -> String {
    value.to_string()
}

#[tool]
fn bounded(value: u8) -> String
where
    u8: Copy,
{
    value.to_string()
}

fn main() {}
