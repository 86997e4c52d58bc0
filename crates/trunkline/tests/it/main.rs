//! Functions under the macros, served and called: what clients see of them, and what they are given.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod prompts;
mod resources;
mod tools;
