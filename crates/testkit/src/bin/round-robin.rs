//! Serves one address from several nodes in turn: `round-robin LISTEN NODE...`, each `HOST:PORT`; port 0
//! takes a free one. The URL goes to stderr.
#![expect(clippy::print_stderr, reason = "the only way this program speaks")]

use std::io;
use std::process::ExitCode;

use http::uri::Authority;
use tokio::net::TcpListener;
use trunkline_testkit::front;

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let listen = arguments.next();
    let nodes: Result<Vec<_>, _> = arguments.map(|node| node.parse()).collect();
    let (Some(listen), Ok(nodes)) = (listen, nodes) else {
        eprintln!("usage: round-robin LISTEN NODE..., each HOST:PORT");
        return ExitCode::from(2);
    };
    match serve(&listen, nodes).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("round-robin: cannot serve {listen}: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(listen: &str, nodes: Vec<Authority>) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    eprintln!("http://{}/mcp", listener.local_addr()?);
    front::serve(listener, nodes).await
}
