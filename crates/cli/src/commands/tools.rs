//! `trunkline tools`: lists the tools of any MCP server, and what every command that uses one shares.

pub(crate) mod failure;
pub(crate) mod table;
pub(crate) mod target;
pub(crate) mod values;

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;
use trunkline_client::{Tool, ToolList};

use super::Output;
use crate::output;
use failure::Failure;
use target::{Parts, Reach};
use values::Values;

/// List the tools of an MCP server.
#[derive(Debug, Args)]
#[command(
    override_usage = "trunkline tools [OPTIONS] TARGET\n       trunkline tools [OPTIONS] -- COMMAND [ARGS]..."
)]
pub(crate) struct ToolsArgs {
    /// The server: a URL such as `http://127.0.0.1:3000/mcp`, or a config file.
    #[arg(value_name = "TARGET")]
    words: Vec<String>,
    #[command(flatten)]
    reach: Reach,
    /// The form of what is printed; `json` is `{"tools":[...]}` with all pages, as the server wrote them.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

/// Runs the command; what went wrong is on stderr when it returns.
pub(crate) async fn run(args: ToolsArgs) -> ExitCode {
    match list(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn list(args: ToolsArgs) -> Result<(), Failure> {
    let ToolsArgs { words, reach: Reach { headers, timeout, command }, output: form } = args;
    let Parts { server, rest } = Parts::split(words, command)?;
    if let Some(extra) = rest.first() {
        return Err(Failure::usage(format!("`tools` takes one target, found also `{extra}`")));
    }
    let headers = target::headers(&headers, &server, &mut Values::default())?;
    let client = server.connect(headers, timeout).await?;
    let listed = client.tools().await;
    client.close().await;
    let list = listed.map_err(|error| server.failed(error))?;
    for warning in &list.warnings {
        output::line(&format!("warning: {}", table::printable(warning)));
    }
    match form {
        Output::Json => output::result(&json(&list)),
        Output::Text if list.tools.is_empty() => output::result("no tools"),
        Output::Text => output::result(&text(&list)),
    }
    Ok(())
}

/// All definitions as they came.
fn json(list: &ToolList) -> String {
    let tools: Vec<&str> = list.tools.iter().map(|tool| tool.raw.get()).collect();
    format!(r#"{{"tools":[{}]}}"#, tools.join(","))
}

fn text(list: &ToolList) -> String {
    let rows = list.tools.iter().map(|tool| {
        let description = tool.description.as_deref().or(tool.title.as_deref()).unwrap_or_default();
        [tool.name.clone(), parameters(tool), description.trim().to_owned()]
    });
    table::draw(["name", "parameters", "description"], rows)
}

/// The parameters in the order of the schema, one a line; `?` marks those that may be left out.
fn parameters(tool: &Tool) -> String {
    let Some(properties) = tool.input_schema.get("properties").and_then(Value::as_object) else {
        return String::new();
    };
    let required = tool.input_schema.get("required").and_then(Value::as_array);
    let line = |(name, schema): (&String, &Value)| {
        let needed = required.is_some_and(|required| required.iter().any(|one| one == name));
        format!("{name}{}{}", if needed { "" } else { "?" }, kinds(schema))
    };
    properties.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn kinds(schema: &Value) -> String {
    let kinds: Vec<&str> = match schema.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if kinds.is_empty() { String::new() } else { format!(": {}", kinds.join(" | ")) }
}
