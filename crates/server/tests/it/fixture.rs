//! A small server with the tools the field cases speak of, and the two ways to talk to it.

use std::io::{BufRead as _, BufReader, PipeReader, PipeWriter, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use trunkline_protocol::header::Allowed;
use trunkline_server::http::{Http, HttpOptions};
use trunkline_server::stdio::{StdioOptions, serve_on};
use trunkline_service::catalog::Entry;
use trunkline_service::endpoint::Live;
use trunkline_service::layers::Bounded;
use trunkline_service::seal::Sealer;
use trunkline_service::shared::InMemory;
use trunkline_service::{
    Annotations, Answer, Catalog, Endpoint, Failure, FailureKind, Reply, Request, Router, RouterOptions,
    ServerInfo, Service, Shared, ToolDefinition, ToolName, ready,
};
use trunkline_testkit::spec::Spec;

/// What the tools did.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) started: AtomicUsize,
    pub(crate) running: AtomicUsize,
}

struct Tools(Arc<Seen>);

struct Running(Arc<Seen>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

fn argument(request: &Request, name: &str) -> Option<Value> {
    serde_json::from_slice::<Value>(request.arguments()).ok()?.get(name).cloned()
}

impl Service for Tools {
    fn call(&self, request: Request) -> Answer<'_> {
        self.0.started.fetch_add(1, Ordering::SeqCst);
        match request.target() {
            0 => {
                let text = argument(&request, "text");
                let delay = argument(&request, "delay").and_then(|delay| delay.as_u64()).unwrap_or(0);
                Answer::later(async move {
                    if delay > 0 {
                        tokio::time::sleep(Duration::from_millis(delay)).await;
                    }
                    Ok(match text.as_ref().and_then(Value::as_str) {
                        Some(text) => Reply::text(text),
                        None => Reply::tool_error("`text` is required: a string"),
                    })
                })
            }
            1 => {
                let ms = argument(&request, "ms").and_then(|ms| ms.as_u64()).unwrap_or(0);
                self.0.running.fetch_add(1, Ordering::SeqCst);
                let running = Running(Arc::clone(&self.0));
                Answer::later(async move {
                    let _running = running;
                    for step in 0..ms / 20 {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        if let Some(progress) = request.progress() {
                            progress.report((step + 1) as f64, Some((ms / 20) as f64), Some("slowly"));
                        }
                    }
                    Ok(Reply::text("done"))
                })
            }
            2 => ready(Ok(Reply::text("ok"))),
            3 => {
                let members = b"\"content\":[{\"type\":\"text\",\"text\":\"{}\"}],\"structuredContent\":{\"rows\":\n [1,\r\n 2]},\"isError\":false".to_vec();
                let find =
                    |text: &[u8]| members.windows(text.len()).position(|window| window == text).unwrap();
                let (from, to) = (find(b",\"structured"), find(b",\"isError"));
                ready(Ok(Reply::from_members(members).with_structured(from..to)))
            }
            _ => panic!("secret-path"),
        }
    }
}

fn tool(name: &str, properties: Value, required: Value) -> ToolDefinition {
    ToolDefinition {
        name: ToolName::new(name).unwrap(),
        title: None,
        description: format!("The fixture {name}."),
        input_schema: json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false }),
        output_schema: (name == "structured").then(|| json!({ "type": "object" })),
        annotations: Annotations::READ_ONLY,
        icons: Vec::new(),
        meta: None,
    }
}

pub(crate) fn live() -> (Live, Arc<Seen>) {
    live_with(250)
}

pub(crate) fn live_with(page_size: usize) -> (Live, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let shared: Arc<dyn Shared> = Arc::new(InMemory::default());
    (Live::with_shared(endpoint(&seen, &shared, 5, page_size), shared), seen)
}

/// An endpoint with the first `tools` of the fixture's tools, in the place of the one that is served.
pub(crate) fn endpoint_of(live: &Live, tools: usize) -> Endpoint {
    endpoint(&Arc::default(), live.shared(), tools, 250)
}

/// The fixture's endpoint, for one of several nodes.
pub(crate) fn endpoint_with(seen: &Arc<Seen>, shared: &Arc<dyn Shared>) -> Endpoint {
    endpoint(seen, shared, 5, 250)
}

/// An endpoint that refuses every request.
pub(crate) fn deaf(live: &Live) -> Endpoint {
    struct Deaf;
    impl Service for Deaf {
        fn call(&self, _: Request) -> Answer<'_> {
            ready(Err(Failure::new(FailureKind::InvalidRequest, "nothing is heard here")))
        }
    }
    Endpoint { service: Arc::new(Deaf), ..endpoint_of(live, 1) }
}

fn endpoint(seen: &Arc<Seen>, shared: &Arc<dyn Shared>, tools: usize, page_size: usize) -> Endpoint {
    let service: Arc<dyn Service> = Arc::new(Tools(Arc::clone(seen)));
    let text = json!({ "type": "string", "description": "What to say." });
    let number = json!({ "type": "integer", "description": "Milliseconds." });
    let definitions = [
        tool("echo", json!({ "text": text, "delay": number }), json!(["text"])),
        tool("slow", json!({ "ms": number }), json!(["ms"])),
        tool("noargs", json!({}), json!([])),
        tool("structured", json!({}), json!([])),
        tool("broken", json!({}), json!([])),
    ];
    let entries = (0..)
        .zip(definitions)
        .take(tools)
        .map(|(target, definition)| Entry::new(definition, Arc::clone(&service), target));
    let catalog =
        Arc::new(Catalog::new(entries.collect(), page_size, &Arc::new(Sealer::random().unwrap())).unwrap());
    let mut info = ServerInfo::new("fixture", "1");
    info.instructions = Some("Try echo.".to_owned());
    let router = Router::new(Arc::clone(&catalog), &info, RouterOptions::new(Arc::clone(shared)));
    let capabilities = router.capabilities().clone();
    Endpoint::new(
        Arc::new(Bounded::new(router, 200, Arc::default())),
        catalog,
        info,
        capabilities,
        Some(Duration::from_secs(30)),
    )
}

pub(crate) const MAX_BODY: usize = 4 * 1024 * 1024;

pub(crate) fn options() -> HttpOptions {
    HttpOptions {
        path: "/mcp".to_owned(),
        public_path: None,
        peers: None,
        proxies: Arc::default(),
        record: None,
        max_body: MAX_BODY,
        allowed: Allowed::new(&["mcp.example.com".to_owned()], &["https://Claude.ai".to_owned()]),
        tolerate_version_header: false,
        sealer: Arc::new(Sealer::random().unwrap()),
        head_timeout: trunkline_server::http::HEAD_TIMEOUT,
        ends_sessions: true,
        shutdown_grace: Duration::from_secs(2),
    }
}

/// A running HTTP edge, stopped when dropped.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Seen>,
    pub(crate) stop: CancellationToken,
    pub(crate) ended: Option<tokio::task::JoinHandle<()>>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) async fn serve_http() -> Served {
    serve_http_with(live(), options()).await
}

#[expect(clippy::disallowed_methods, reason = "the test owns the task through its handle and token")]
pub(crate) async fn serve_http_with((live, seen): (Live, Arc<Seen>), options: HttpOptions) -> Served {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let edge = Http::new(live, options);
    let token = stop.clone();
    let ended = Some(tokio::spawn(async move { edge.serve(listener, token).await.unwrap() }));
    Served { address, seen, stop, ended }
}

/// A running stdio edge over pipes, with the process's side in this process.
pub(crate) struct Piped {
    pub(crate) input: Option<PipeWriter>,
    pub(crate) lines: BufReader<PipeReader>,
    pub(crate) seen: Arc<Seen>,
    pub(crate) live: Live,
    pub(crate) thread: Option<std::thread::JoinHandle<std::io::Result<()>>>,
}

pub(crate) fn serve_stdio() -> Piped {
    serve_stdio_with(MAX_BODY)
}

pub(crate) fn serve_stdio_with(max_line: usize) -> Piped {
    let (live, seen) = live();
    serve_stdio_on(live, seen, max_line)
}

/// Serves another endpoint than the fixture's.
pub(crate) fn serve_stdio_of(live: Live, seen: Arc<Seen>) -> Piped {
    serve_stdio_on(live, seen, MAX_BODY)
}

fn serve_stdio_on(live: Live, seen: Arc<Seen>, max_line: usize) -> Piped {
    let served = live.clone();
    let (input_end, input) = std::io::pipe().unwrap();
    let (output, output_end) = std::io::pipe().unwrap();
    let thread = std::thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(serve_on(
            served,
            StdioOptions { max_line, grace: Duration::from_secs(10) },
            CancellationToken::new(),
            input_end,
            output_end,
        ))
    });
    Piped { input: Some(input), lines: BufReader::new(output), seen, live, thread: Some(thread) }
}

impl Piped {
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.input.as_mut().unwrap().write_all(bytes).unwrap();
    }

    pub(crate) fn send(&mut self, message: &str) {
        self.write(format!("{message}\n").as_bytes());
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line
    }

    pub(crate) fn ask(&mut self, message: &str) -> Value {
        self.send(message);
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?} for {message}"))
    }

    /// Closes the input and returns what is still written.
    pub(crate) fn finish(&mut self) -> Vec<String> {
        self.input = None;
        let rest = self.lines.by_ref().lines().map(Result::unwrap).collect();
        self.thread.take().unwrap().join().unwrap().unwrap();
        rest
    }
}

pub(crate) const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

/// A modern request. `params` are its members without braces, `_meta` left out.
pub(crate) fn modern(id: &str, method: &str, params: &str) -> String {
    let comma = if params.is_empty() { "" } else { "," };
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params}{comma}{META}}}}}"#)
}

/// A modern call of a tool.
pub(crate) fn call(id: &str, tool: &str, arguments: &str) -> String {
    modern(id, "tools/call", &format!(r#""name":"{tool}","arguments":{arguments}"#))
}

pub(crate) fn initialize(version: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"{version}","capabilities":{{}},"clientInfo":{{"name":"it","version":"1"}}}}}}"#
    )
}

/// Checks a message against the official schema, where that is at hand.
#[track_caller]
pub(crate) fn check(revision: &str, method: &str, message: &Value) {
    static SPEC: OnceLock<Option<Spec>> = OnceLock::new();
    if let Some(spec) = SPEC.get_or_init(Spec::find) {
        spec.check(revision, method, message).unwrap_or_else(|problem| panic!("{problem}\n{message}"));
    }
}
