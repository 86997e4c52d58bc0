//! The command line: one subcommand each, with its arguments.

mod audit;
mod cache;
pub(crate) mod call;
mod check;
mod demo;
mod explain;
mod init;
mod keys;
pub(crate) mod policy;
mod schema;
mod secret;
mod serve;
pub(crate) mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// Databases behind one MCP endpoint, from one config file.
#[derive(Debug, Parser)]
#[command(name = "trunkline", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve what the config file says, over HTTP or stdio.
    Serve(serve::ServeArgs),
    /// Look at a database and write a config file for it, with tools for its tables.
    Init(init::InitArgs),
    /// Check the config file and every statement in it against its database.
    Check(check::CheckArgs),
    /// Print the JSON Schema of the config file.
    Schema,
    /// Serve a shop with 10,000 customers that needs nothing set up, with a call to copy and paste.
    Demo(demo::DemoArgs),
    /// Make, list, replace and revoke API keys.
    Keys(keys::KeysArgs),
    /// Make keys, and seal, open and renew secrets of the config file.
    Secret(secret::SecretArgs),
    /// Tell which rule of the config file allows or denies something, and what would change the answer.
    Explain(explain::ExplainArgs),
    /// Try the roles of the config file on a table of expectations, or on a recorded day.
    Policy(policy::PolicyArgs),
    /// Prove that the audit record is as it was written.
    Audit(audit::AuditArgs),
    /// Throw away what a running server keeps of answers.
    Cache(cache::CacheArgs),
    /// List the tools of an MCP server.
    Tools(tools::ToolsArgs),
    /// Call a tool of an MCP server.
    Call(call::CallArgs),
}

/// The form of what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Runs the command.
///
/// # Errors
/// What kept it from doing its work, with the exit code that leads to.
pub(crate) async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Serve(args) => serve::run(args).await,
        Command::Init(args) => init::run(args).await,
        Command::Check(args) => check::run(args).await,
        Command::Schema => Ok(schema::run()),
        Command::Demo(args) => demo::run(args).await,
        Command::Keys(args) => keys::run(args).await,
        Command::Secret(args) => secret::run(args),
        Command::Explain(args) => explain::run(args).await,
        Command::Policy(args) => policy::run(args).await,
        Command::Audit(args) => audit::run(args).await,
        Command::Cache(args) => cache::run(args).await,
        Command::Tools(args) => Ok(tools::run(args).await),
        Command::Call(args) => Ok(call::run(args).await),
    }
}
