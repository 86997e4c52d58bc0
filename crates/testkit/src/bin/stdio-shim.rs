//! Serves a program that speaks MCP over stdio at an HTTP address: `stdio-shim LISTEN COMMAND [ARGUMENT...]`.
//! Port 0 takes a free one. The URL goes to stderr.
#![expect(clippy::print_stderr, reason = "the only way this program speaks")]

use std::io;
use std::process::ExitCode;

use tokio::net::TcpListener;
use tokio::process::Command;
use trunkline_testkit::shim;

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(listen), Some(program)) =
        (arguments.next().and_then(|listen| listen.into_string().ok()), arguments.next())
    else {
        eprintln!("usage: stdio-shim HOST:PORT COMMAND [ARGUMENT...]");
        return ExitCode::from(2);
    };
    let mut command = Command::new(program);
    command.args(arguments);
    match serve(&listen, command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stdio-shim: cannot serve {listen}: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(listen: &str, command: Command) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    eprintln!("http://{}/mcp", listener.local_addr()?);
    shim::serve(listener, command).await
}
