//! `trunkline call`: calls one tool of any MCP server and shows what it answers.

pub(super) mod arguments;
mod show;

use std::process::ExitCode;

use clap::Args;
use serde_json::value::RawValue;
use trunkline_client::{CallOutcome, Client};

use super::Output;
use super::tools::failure::Failure;
use super::tools::target::{self, Parts, Reach, Server};
use super::tools::values::Values;
use crate::output;

/// Call a tool of an MCP server.
#[derive(Debug, Args)]
#[command(
    override_usage = "trunkline call [OPTIONS] TARGET TOOL [K=V]...\n       trunkline call [OPTIONS] TOOL [K=V]... -- COMMAND [ARGS]..."
)]
pub(crate) struct CallArgs {
    /// The server (a URL or a config file, none before `-- COMMAND`), the tool and its arguments. `k=v` is read by the
    /// tool's schema; `k=@FILE` and `k=@-` read a file or the standard input, `k=@@x` is a literal `@x`.
    #[arg(value_name = "TARGET TOOL [K=V]")]
    words: Vec<String>,
    /// All arguments as one JSON object; `@FILE` and `@-` read it. Not together with `k=v`.
    #[arg(long = "json", value_name = "ARGS")]
    json: Option<String>,
    #[command(flatten)]
    reach: Reach,
    /// The form of what is printed; `json` is the CallToolResult as the server wrote it.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

/// Runs the command; what went wrong is on stderr when it returns.
pub(crate) async fn run(args: CallArgs) -> ExitCode {
    match call(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn call(args: CallArgs) -> Result<(), Failure> {
    let CallArgs { words, json, reach: Reach { headers, timeout, command }, output: form } = args;
    let Parts { server, rest } = Parts::split(words, command)?;
    let mut rest = rest.into_iter();
    let tool =
        rest.next().ok_or_else(|| Failure::usage("name the tool to call; `trunkline tools` lists them"))?;
    let mut values = Values::default();
    let given = match json {
        Some(_) if rest.len() > 0 => {
            return Err(Failure::usage("give the arguments as `k=v` or with `--json`, not both"));
        }
        Some(json) => Given::Json(arguments::whole(&values.read(&json)?)?),
        None => Given::Pairs(arguments::pairs(rest, &mut values)?),
    };
    let headers = target::headers(&headers, &server, &mut values)?;
    let client = server.connect(headers, timeout).await?;
    let outcome = ask(&client, &server, &tool, &given).await;
    client.close().await;
    show(&outcome?, form)
}

/// The arguments of the command line.
enum Given {
    Json(Box<RawValue>),
    Pairs(Vec<(String, String)>),
}

async fn ask(client: &Client, server: &Server, tool: &str, given: &Given) -> Result<CallOutcome, Failure> {
    let failed = |error| server.failed(error);
    let typed = match given {
        Given::Json(whole) => return client.call(tool, whole).await.map_err(failed),
        Given::Pairs(pairs) if pairs.is_empty() => arguments::typed(pairs, None)?,
        Given::Pairs(pairs) => {
            let list = client.tools().await.map_err(failed)?;
            // An unknown tool and an unknown argument are told best by the server.
            let known = list.tools.iter().find(|known| known.name == tool);
            arguments::typed(pairs, known.map(|known| &known.input_schema))?
        }
    };
    client.call(tool, &typed).await.map_err(failed)
}

fn show(outcome: &CallOutcome, form: Output) -> Result<(), Failure> {
    match form {
        Output::Json => output::result(outcome.result.get()),
        Output::Text if outcome.is_error => {
            output::line(&format!("error: {}", show::content(&outcome.result)))
        }
        Output::Text => output::result(&show::result(&outcome.result)),
    }
    if outcome.is_error { Err(Failure::Tool) } else { Ok(()) }
}
