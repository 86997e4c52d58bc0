//! The smallest server: one tool, whose description and arguments come from a function.
//!
//! ```sh
//! cargo run -p trunkline-example-calculator                  # HTTP, http://127.0.0.1:3000/mcp
//! cargo run -p trunkline-example-calculator -- --stdio       # one client over stdin and stdout
//! ```
//!
//! You will see one tool, `calculate`. Ask it for 5 plus 3 and it answers `5 + 3 = 8`. Divide by zero and the answer is a
//! result marked as an error, with a text that tells a model what to do about it; an operation that does not exist is one too,
//! and names those that do.

use clap::Parser;
use schemars::JsonSchema;
use serde::Deserialize;
use trunkline::{ServeError, Server, ToolError, tool};

/// What to do with the two numbers.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Operation {
    /// `a` and `b` together.
    Add,
    /// `a` less `b`.
    Subtract,
    /// `a` times `b`.
    Multiply,
    /// `a` parted by `b`, which must not be zero.
    Divide,
}

/// Performs basic arithmetic.
#[tool(read_only, title = "Calculator")]
async fn calculate(operation: Operation, a: f64, b: f64) -> Result<String, ToolError> {
    let (sign, result) = match operation {
        Operation::Add => ("+", a + b),
        Operation::Subtract => ("-", a - b),
        Operation::Multiply => ("*", a * b),
        Operation::Divide if b == 0.0 => return Err("division by zero: choose a `b` other than 0".into()),
        Operation::Divide => ("/", a / b),
    };
    if result.is_finite() {
        Ok(format!("{a} {sign} {b} = {result}"))
    } else {
        Err(format!("`{a} {sign} {b}` is too large: numbers reach to about 1.8e308").into())
    }
}

#[derive(Parser)]
struct Cli {
    /// Where to serve HTTP.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3000")]
    listen: String,
    /// Serve one client over stdin and stdout instead.
    #[arg(long)]
    stdio: bool,
}

#[tokio::main]
async fn main() -> Result<(), ServeError> {
    // Over stdio stdout belongs to the protocol, so the log goes to stderr.
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let cli = Cli::parse();
    let server = Server::new("calculator-server", "1.0.0").tool(calculate);
    if cli.stdio { server.run_stdio().await } else { server.run(&cli.listen).await }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_tool_is_tested_as_the_function_it_is() {
        let sum = calculate::call(Operation::Add, 5.0, 3.0).await;
        assert!(sum.is_ok_and(|text| text == "5 + 3 = 8"));
        let error = calculate::call(Operation::Divide, 1.0, 0.0).await;
        assert!(error.is_err_and(|error| error.text().contains("division by zero")));
    }
}
