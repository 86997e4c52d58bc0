//! The command `trunkline`: reads the command line, runs one command, and ends with its exit code.

mod admin;
mod assemble;
mod audit;
mod commands;
mod config;
mod exit;
mod guards;
mod identity;
mod keys;
mod logging;
mod output;
mod shutdown;
mod sources;
mod supervise;
mod watch;

use std::process::ExitCode;

use clap::Parser as _;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let command = commands::Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return exit::report(&anyhow::Error::new(error).context("the runtime cannot be started"));
        }
    };
    let code = runtime.block_on(commands::run(command)).unwrap_or_else(|error| exit::report(&error));
    // A read of stdin that nobody waits for any more must not keep the process.
    runtime.shutdown_background();
    if output::lost() && code == ExitCode::SUCCESS { exit::Code::Unavailable.into() } else { code }
}
