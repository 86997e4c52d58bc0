//! The smallest honest Trunkline server: one `echo` tool behind the whole edge, for the bare rows of the speed table.
//!
//! `PORT` chooses the port, `TRANSPORT=stdio` serves stdin and stdout, `WORKERS` bounds the runtime's threads.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;
use trunkline_protocol::header::Allowed;
use trunkline_protocol::json::{Scanner, Token};
use trunkline_server::http::{Http, HttpOptions};
use trunkline_server::stdio::{StdioOptions, serve};
use trunkline_service::catalog::{Entry, PAGE_SIZE};
use trunkline_service::endpoint::Live;
use trunkline_service::layers::Bounded;
use trunkline_service::router::LIST_TTL;
use trunkline_service::seal::Sealer;
use trunkline_service::shared::InMemory;
use trunkline_service::{
    Annotations, Answer, Catalog, Endpoint, Reply, Request, Router, ServerInfo, Service, ToolDefinition,
    ToolName, ready,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Echo;

impl Service for Echo {
    fn call(&self, request: Request) -> Answer<'_> {
        let arguments = request.arguments();
        ready(Ok(match message(arguments) {
            Some(token) => {
                // A JSON string goes out as it came in: there is nothing to unescape and escape again.
                let raw = token.raw(arguments);
                let mut members = Vec::with_capacity(raw.len() + 64);
                members.extend_from_slice(br#""content":[{"type":"text","text":"#);
                members.extend_from_slice(raw);
                members.extend_from_slice(br#"}],"isError":false"#);
                Reply::from_members(members)
            }
            None => Reply::tool_error("`message` is required: a string"),
        }))
    }
}

fn message(arguments: &[u8]) -> Option<Token> {
    let mut scanner = Scanner::new(std::str::from_utf8(arguments).ok()?).ok()?;
    let mut found = None;
    scanner
        .members(|scanner, key| {
            if scanner.key(key) != "message" {
                return Ok(false);
            }
            found = Some(scanner.value()?);
            Ok(true)
        })
        .ok()?;
    found.filter(|token| token.is_string())
}

fn live() -> anyhow::Result<Live> {
    let schema = json!({
        "type": "object",
        "properties": { "message": { "type": "string", "description": "What to say." } },
        "required": ["message"],
        "additionalProperties": false,
    });
    let definition = ToolDefinition {
        name: ToolName::new("echo")?,
        title: None,
        description: "Echo the message.".to_owned(),
        input_schema: schema,
        output_schema: None,
        annotations: Annotations::READ_ONLY,
    };
    let entry = Entry { definition, service: Arc::new(Echo), target: 0 };
    let catalog = Arc::new(Catalog::new(vec![entry], PAGE_SIZE, &Arc::new(Sealer::random()?))?);
    let info = ServerInfo { name: "echo".to_owned(), version: "1".to_owned(), instructions: None };
    let service =
        Arc::new(Bounded::new(Router::new(Arc::clone(&catalog), &info, LIST_TTL), 1024, Arc::default()));
    Ok(Live::new(Endpoint::new(service, catalog, info, Some(Duration::from_secs(30)))))
}

async fn run() -> anyhow::Result<()> {
    let live = live()?;
    if std::env::var("TRANSPORT").as_deref() == Ok("stdio") {
        return Ok(serve(
            live,
            StdioOptions { max_line: 4 << 20, grace: Duration::from_secs(1) },
            CancellationToken::new(),
        )
        .await?);
    }
    let port: u16 = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(8936);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let options = HttpOptions {
        path: "/mcp".to_owned(),
        max_body: 4 << 20,
        allowed: Allowed::default(),
        tolerate_version_header: false,
        sealer: Arc::new(Sealer::random()?),
        shared: Arc::new(InMemory::default()),
        head_timeout: trunkline_server::http::HEAD_TIMEOUT,
        ends_sessions: true,
        shutdown_grace: Duration::from_secs(1),
    };
    Ok(Http::new(live, options).serve(listener, CancellationToken::new()).await?)
}

fn main() -> anyhow::Result<()> {
    let workers = std::env::var("WORKERS").ok().and_then(|count| count.parse().ok());
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(workers) = workers {
        builder.worker_threads(workers);
    }
    builder.enable_all().build()?.block_on(run())
}
