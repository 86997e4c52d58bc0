//! `trunkline demo`: the shop example on a SQLite database of its own, in a folder that is gone afterwards.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use rusqlite::Connection;
use trunkline_example_shop::Shop;

use super::serve::{Site, allow, bind, listen_address};
use crate::config::{self, DEFAULT_LISTEN, Edge};
use crate::output;

/// The config file of the shop, as the example has it; its database is `shop.db` beside it.
const CONFIG: &str = include_str!("../../../../examples/shop/trunkline.toml");

/// The arguments of `demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Listen on this address.
    #[arg(long, value_name = "ADDR", value_parser = listen_address, default_value_t = DEFAULT_LISTEN)]
    listen: SocketAddr,
}

/// Serves the shop until a signal.
///
/// # Errors
/// The address is taken or not loopback, or there is no room for the database.
pub(crate) async fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    allow(Some(args.listen))?;
    let listener = bind(args.listen).await?;
    let folder = tempfile::Builder::new()
        .prefix("trunkline-demo-")
        .tempdir()
        .context("there is no temporary folder")?;
    let (file, database) = (folder.path().join("trunkline.toml"), folder.path().join("shop.db"));
    std::fs::write(&file, CONFIG).context("the temporary folder cannot be written")?;
    tokio::task::spawn_blocking(move || fill(&database))
        .await
        .context("the shop was not made")?
        .context("the shop was not made")?;
    let edge = Edge::Http(Some(args.listen));
    // The environment is left out: nothing in it should change what the demo is.
    let loaded = config::load_text(&file, CONFIG, edge, &|_| None);
    if !loaded.problems.is_empty() {
        output::diagnostics(&loaded.problems, &loaded.document);
        anyhow::bail!("the config file of the demo is wrong");
    }
    let announce = Box::new(|address: SocketAddr| output::result(&greeting(address)));
    let site = Site { watched: false, admin: None, announce: Some(announce) };
    let code = site.serve_http(loaded, edge, listener).await;
    folder.close().context("the temporary folder cannot be removed")?;
    code
}

/// Makes the database. It can be made again at any time, so it is not written with care.
fn fill(path: &Path) -> anyhow::Result<()> {
    let mut script = Vec::with_capacity(8 * 1024 * 1024);
    Shop::new().write_sqlite_sql(&mut script)?;
    let script = String::from_utf8(script)?;
    let connection = Connection::open(path)?;
    connection.execute_batch("pragma journal_mode = off; pragma synchronous = off;")?;
    connection.execute_batch(&script)?;
    Ok(())
}

/// What to do with it, ready to be copied.
fn greeting(address: SocketAddr) -> String {
    format!(
        r#"A shop with 10,000 customers is served on http://{address}/mcp until you press Ctrl-C.

Call a tool from another terminal:

trunkline call http://{address}/mcp search_customers query=Smith limit=3

The same call as it goes over the wire:

curl -s http://{address}/mcp \
  -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' \
  -H 'MCP-Protocol-Version: 2026-07-28' -H 'Mcp-Method: tools/call' -H 'Mcp-Name: search_customers' \
  -d '{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"search_customers","arguments":{{"query":"Smith","limit":3}},"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{{"name":"curl","version":"1"}},"io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}'

Add it to Claude Code:

claude mcp add --transport http shop http://{address}/mcp
"#
    )
}
