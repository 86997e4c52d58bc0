//! A server with everything the protocol has, by the names the official conformance suite calls for.
//!
//! ```sh
//! cargo run -p trunkline-example-everything                  # http://127.0.0.1:3000/mcp
//! cargo run -p trunkline-example-everything -- --stdio
//! cargo run -p trunkline-example-everything -- --nodes 2     # two nodes of one endpoint, on ports 3000 and 3001
//! ```
//!
//! Two processes are one endpoint too, if they share a store and a key:
//!
//! ```sh
//! export SEAL_KEY=$(openssl rand -hex 32)
//! cargo run -p trunkline-example-everything -- --store redis://127.0.0.1 --listen 127.0.0.1:3000 &
//! cargo run -p trunkline-example-everything -- --store redis://127.0.0.1 --listen 127.0.0.1:3001
//! ```
//!
//! Each file shows one side of the SDK:
//!
//! | file | what it shows |
//! |---|---|
//! | `tools.rs` | arguments in, every kind of content out, errors, schemas written by hand |
//! | `telling.rs` | progress, log messages, streams of parts, streams that end early |
//! | `asking.rs` | forms, addresses, the client's model and its folders, over several rounds |
//! | `tasks.rs` | work that outlives its request |
//! | `changing.rs` | lists that change at run time, and resources that others watch |
//! | `prompts.rs` | messages from arguments, completions |
//! | `resources.rs` | texts, bytes, templates |
//! | `skills/` | a folder of skills, served as it is |
//! | `nodes.rs` | several listeners that are one server |

#![expect(clippy::print_stderr, reason = "the URLs are for whoever starts the program")]

mod asking;
mod changing;
mod media;
mod nodes;
mod prompts;
mod resources;
mod tasks;
mod telling;
mod tools;

use std::error::Error;
use std::net::SocketAddr;

use clap::Parser;

/// A server with everything the protocol has.
#[derive(Debug, Parser)]
struct Options {
    /// Where to listen for HTTP; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:3000", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Speaks over stdin and stdout instead.
    #[arg(long, conflicts_with_all = ["listen", "nodes"])]
    stdio: bool,
    /// Serves from that many nodes, on as many ports in a row, which share what they must remember.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=16))]
    nodes: u16,
    /// Shares what nodes must remember with other processes, in this Redis or Valkey. Needs the variable `SEAL_KEY`, 64
    /// hexadecimal digits, which is the same in all of them.
    #[arg(long, value_name = "URL", conflicts_with = "stdio")]
    store: Option<String>,
    /// How many tools, prompts or resources one page of a list has.
    #[arg(long, default_value_t = 250)]
    page_size: usize,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    // The program's own log goes to stderr: stdout belongs to the protocol.
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .init();
    let common = match options.store {
        Some(url) => nodes::Common::in_store(options.page_size, url)?,
        None => nodes::Common::new(options.page_size)?,
    };
    if options.stdio {
        return Ok(common.node()?.run_stdio().await?);
    }
    nodes::serve(&common, options.listen, options.nodes).await
}
