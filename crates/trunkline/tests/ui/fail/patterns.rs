//! Parameters without a name, and attributes where they have no place.

#![allow(unused, reason = "the errors are what counts")]

use trunkline::{Context, State, tool};

struct Db;
struct Point {
    x: u8,
    y: u8,
}

#[tool]
fn a(Point { x, y }: Point, (b, c): (u8, u8), _: u8, State(db): Db) -> String {
    String::new()
}

#[tool]
fn b(#[arg(default)] State(db): State<Db>, #[cfg(test)] x: u8, #[arg = "x"] y: u8) -> String {
    String::new()
}

fn main() {}
