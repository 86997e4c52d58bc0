//! The calculator of the README, with its function called as a test would.

#![deny(warnings)]

use trunkline::{Server, ToolError, tool};

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    Add,
    Divide,
}

/// Performs basic arithmetic.
#[tool]
async fn calculate(operation: Operation, a: f64, b: f64) -> Result<String, ToolError> {
    match operation {
        Operation::Add => Ok((a + b).to_string()),
        Operation::Divide if b == 0.0 => Err("division by zero".into()),
        Operation::Divide => Ok((a / b).to_string()),
    }
}

#[tokio::main]
async fn main() {
    let server = Server::new("calculator-server", "1.0.0").tool(calculate);
    drop(server);
    assert_eq!(calculate::call(Operation::Add, 1.0, 2.0).await.unwrap(), "3");
    assert!(calculate::call(Operation::Divide, 1.0, 0.0).await.is_err());
}
