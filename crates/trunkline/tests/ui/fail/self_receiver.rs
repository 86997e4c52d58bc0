//! A method.

#![allow(unused, reason = "the errors are what counts")]

use trunkline::tool;

struct Calculator {
    factor: f64,
}

impl Calculator {
    /// Multiplies.
    #[tool]
    async fn multiply(&self, #[arg(range = 0.0..)] a: f64) -> String {
        (self.factor * a).to_string()
    }
}

fn main() {}
