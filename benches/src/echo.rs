//! The server of the bare rows of the speed table, written as the README shows: one `#[tool]`.
//!
//! `PORT` chooses the port, `TRANSPORT=stdio` serves stdin and stdout, `WORKERS` bounds the runtime's threads. `touch` is for
//! `bench-listen`: it announces that the list of tools has changed.

use trunkline::{Context, ServeError, Server, tool};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Echoes the message.
#[tool(read_only)]
async fn echo(
    /// What to say.
    message: String,
) -> String {
    message
}

/// Tells every subscription that the list of tools has changed.
#[tool(read_only)]
async fn touch(ctx: Context) -> &'static str {
    ctx.tools_changed();
    "told"
}

async fn run() -> Result<(), ServeError> {
    let server = Server::new("echo", "1").tool(echo).tool(touch);
    if std::env::var("TRANSPORT").as_deref() == Ok("stdio") {
        return server.run_stdio().await;
    }
    let port: u16 = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(8936);
    server.run(("127.0.0.1", port)).await
}

fn main() -> anyhow::Result<()> {
    let workers = std::env::var("WORKERS").ok().and_then(|count| count.parse().ok());
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(workers) = workers {
        builder.worker_threads(workers);
    }
    Ok(builder.enable_all().build()?.block_on(run())?)
}
