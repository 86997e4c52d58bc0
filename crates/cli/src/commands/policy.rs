//! `trunkline policy`: tries the roles of a file on a table of expectations, and on a recorded day.

mod expect;
pub(crate) mod ground;
mod replay;
mod test;

use std::process::ExitCode;

use clap::{Args, Subcommand};

/// The arguments of `policy`.
#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check who may do what against a table of expectations.
    Test(test::TestArgs),
    /// Decide the calls of an audit record again under the roles of the file, and list what would differ.
    Replay(replay::ReplayArgs),
}

/// Runs the command.
///
/// # Errors
/// What kept it from doing its work, with the exit code that leads to.
pub(crate) async fn run(args: PolicyArgs) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Test(args) => test::run(args).await,
        Action::Replay(args) => replay::run(args).await,
    }
}
