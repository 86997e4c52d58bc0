//! Return types that are no content.

#![allow(unused, reason = "the errors are what counts")]

use trunkline::{Server, prompt, resource, tool};

#[derive(serde::Serialize, schemars::JsonSchema)]
struct Weather {
    degrees: f64,
}

#[tool]
async fn weather(city: String) -> Weather {
    Weather { degrees: 1.0 }
}

#[tool]
fn maybe(city: String) -> Result<Weather, trunkline::ToolError> {
    Ok(Weather { degrees: 1.0 })
}

#[prompt]
fn ask() -> Weather {
    Weather { degrees: 1.0 }
}

#[resource("weather://today")]
fn today() -> Weather {
    Weather { degrees: 1.0 }
}

fn main() {
    let _ = Server::new("a", "1").tool(weather).tool(maybe).prompt(ask).resource(today);
}
