//! An endpoint whose services do what streams are for: they ask, log, tell of progress and of changes, and close their stream.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use trunkline_protocol::{LogLevel, member};
use trunkline_service::catalog::{Entry, Parts, Served};
use trunkline_service::endpoint::Live;
use trunkline_service::layers::Bounded;
use trunkline_service::seal::Sealer;
use trunkline_service::shared::InMemory;
use trunkline_service::{
    Annotations, Answer, Catalog, Endpoint, Event, Failure, PromptDefinition, Reply, Request,
    ResourceDefinition, Router, RouterOptions, ServerInfo, Service, Shared, ToolDefinition, ToolName, ready,
};

use crate::fixture::Seen;

struct Rich;

/// The tools, by number.
const TOOLS: [&str; 12] = [
    "ask",
    "ask_choice",
    "ask_url",
    "sample",
    "roots",
    "both",
    "state_only",
    "log",
    "close",
    "steps",
    "needs",
    "header",
];

const FORM: &str = r#"{"name":{"method":"elicitation/create","params":{"mode":"form","message":"Who?","requestedSchema":{"type":"object","properties":{"name":{"type":"string"}},"required":["name"]}}}}"#;
const CHOICE: &str = r#"{"one":{"method":"elicitation/create","params":{"message":"Which?","requestedSchema":{"type":"object","properties":{"one":{"type":"string","oneOf":[{"const":"a","title":"First"},{"const":"b","title":"Second"}]}}}}}}"#;
const URL: &str = r#"{"go":{"method":"elicitation/create","params":{"mode":"url","message":"Go there","url":"https://pay.example/1"}}}"#;
const SAMPLE: &str = r#"{"s":{"method":"sampling/createMessage","params":{"messages":[{"role":"user","content":{"type":"text","text":"hi"}}],"maxTokens":5}}}"#;
const ROOTS: &str = r#"{"r":{"method":"roots/list"}}"#;

/// Says back what the client answered, and under which state.
fn said_back(request: &Request) -> Option<Reply> {
    let input = request.input()?;
    let responses = String::from_utf8(input.responses.to_vec()).unwrap();
    Some(Reply::text(&format!("{responses} {}", input.state.as_deref().unwrap_or("-"))))
}

fn round(request: &Request) -> u32 {
    let state = request.input().and_then(|input| input.state.as_deref());
    state.and_then(|state| state.parse().ok()).unwrap_or(0)
}

fn number(request: &Request, name: &str) -> u64 {
    let arguments = request.arguments();
    let raw = member(arguments, name).raw(arguments);
    std::str::from_utf8(raw).unwrap().parse().unwrap_or(0)
}

fn asks(request: &Request, requests: &str) -> Answer<'static> {
    ready(
        Ok(said_back(request).unwrap_or_else(|| Reply::input_required(requests.as_bytes(), Some("sealed")))),
    )
}

impl Service for Rich {
    fn call(&self, request: Request) -> Answer<'_> {
        match TOOLS.get(request.target() as usize).copied().unwrap_or_default() {
            "ask" => asks(&request, FORM),
            "ask_choice" => asks(&request, CHOICE),
            // Done after the page was asked for three times.
            "ask_url" => ready(Ok(match round(&request) {
                3 => said_back(&request).unwrap(),
                round => Reply::input_required(URL.as_bytes(), Some(&(round + 1).to_string())),
            })),
            "sample" => asks(&request, SAMPLE),
            "roots" => asks(&request, ROOTS),
            "both" => {
                let (form, roots) = (FORM.strip_suffix('}').unwrap(), ROOTS.strip_prefix('{').unwrap());
                let both = format!("{form},{roots}");
                asks(&request, &both)
            }
            "state_only" => ready(Ok(match round(&request) {
                2 => said_back(&request).unwrap(),
                round => Reply::input_required(b"", Some(&(round + 1).to_string())),
            })),
            "log" => {
                if let Some(log) = request.log() {
                    log.message(LogLevel::Debug, None, b"\"low\"");
                    log.message(LogLevel::Info, Some("fixture"), br#"{"a":1}"#);
                    log.message(LogLevel::Error, None, b"\"high\"");
                }
                ready(Ok(Reply::text("logged")))
            }
            "close" => Answer::later(async move {
                let taken = request.outlet().is_some_and(|outlet| outlet.try_send(Event::CloseStream));
                tokio::time::sleep(Duration::from_millis(number(&request, "ms"))).await;
                if let Some(progress) = request.progress() {
                    progress.report(1.0, None, None);
                }
                Ok(Reply::text(&format!("closed {taken}")))
            }),
            "steps" => Answer::later(async move {
                let (steps, ms) = (number(&request, "steps"), number(&request, "ms"));
                for step in 1..=steps {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    if let Some(progress) = request.progress() {
                        progress.deliver(step as f64, Some(steps as f64), None).await;
                    }
                }
                Ok(Reply::text("all steps"))
            }),
            "needs" => ready(Err(Failure::missing_capability(&json!({ "sampling": {} })))),
            _ => ready(Ok(said_back(&request).unwrap_or_else(|| Reply::text("ok")))),
        }
    }
}

fn tool(name: &str) -> ToolDefinition {
    let header =
        (name == "header").then(|| json!({ "region": { "type": "string", "x-mcp-header": "Region" } }));
    ToolDefinition {
        name: ToolName::new(name).unwrap(),
        title: None,
        description: format!("The fixture {name}."),
        input_schema: json!({ "type": "object", "properties": header.unwrap_or_else(|| json!({})) }),
        output_schema: None,
        annotations: Annotations::READ_ONLY,
        icons: Vec::new(),
        meta: None,
    }
}

/// Reads resources and gets prompts; one of them asks first.
struct Others;

impl Service for Others {
    fn call(&self, request: Request) -> Answer<'_> {
        if request.target() == 9 {
            return match request.input() {
                None => asks(&request, FORM),
                Some(input) => {
                    let text = String::from_utf8(input.responses.to_vec()).unwrap();
                    let messages = json!([{ "role": "user", "content": { "type": "text", "text": text } }]);
                    ready(Ok(Reply::from_members(format!("\"messages\":{messages}").into_bytes())))
                }
            };
        }
        let contents = json!([{ "uri": request.uri().unwrap(), "text": "content" }]);
        let hints = trunkline_service::Hints { ttl_ms: 0, scope: trunkline_service::CacheScope::Private };
        ready(Ok(Reply::from_members(format!("\"contents\":{contents}").into_bytes()).with_hints(hints)))
    }
}

fn resource(uri: &str, subscribe: bool) -> ResourceDefinition {
    ResourceDefinition {
        uri: uri.to_owned(),
        name: uri.to_owned(),
        title: None,
        description: None,
        mime_type: None,
        size: None,
        annotations: None,
        icons: Vec::new(),
        meta: None,
        subscribe,
    }
}

/// A document of the case HT-06.
pub(crate) const ACCENTED: &str = "docs:///R\u{e9}sum\u{e9}.txt";

/// The endpoint, on a node that shares `shared`.
pub(crate) fn endpoint(shared: &Arc<dyn Shared>, sealer: &Arc<Sealer>) -> Endpoint {
    let service: Arc<dyn Service> = Arc::new(Rich);
    let tools = (0..).zip(TOOLS).map(|(target, name)| Entry::new(tool(name), Arc::clone(&service), target));
    let others: Arc<dyn Service> = Arc::new(Others);
    let resources =
        [resource("test://watched", true), resource("test://still", false), resource(ACCENTED, false)];
    let prompt = PromptDefinition {
        name: "ask_first".to_owned(),
        title: None,
        description: None,
        arguments: Vec::new(),
        icons: Vec::new(),
        meta: None,
    };
    let parts = Parts {
        tools: tools.collect(),
        prompts: vec![Served {
            definition: prompt,
            service: Arc::clone(&others),
            target: 9,
            facts: Default::default(),
            checks: Default::default(),
            completes: false,
        }],
        resources: resources
            .into_iter()
            .map(|definition| Served {
                definition,
                service: Arc::clone(&others),
                target: 0,
                facts: Default::default(),
                checks: Default::default(),
                completes: false,
            })
            .collect(),
        templates: Vec::new(),
    };
    let catalog = Arc::new(Catalog::of(parts, 250, sealer).unwrap());
    let info = ServerInfo::new("rich", "1");
    let mut options = RouterOptions::new(Arc::clone(shared));
    options.logging = true;
    options.extensions.insert("com.example/x".to_owned(), json!({}));
    let router = Router::new(Arc::clone(&catalog), &info, options);
    let capabilities = router.capabilities().clone();
    let bounded = Bounded::new(router, 200, Arc::default());
    Endpoint::new(Arc::new(bounded), catalog, info, capabilities, Some(Duration::from_secs(30)))
}

pub(crate) fn live() -> (Live, Arc<Seen>) {
    let shared: Arc<dyn Shared> = Arc::new(InMemory::default());
    let endpoint = endpoint(&shared, &Arc::new(Sealer::random().unwrap()));
    (Live::with_shared(endpoint, shared), Arc::default())
}

/// The capabilities of a client that can be asked for anything.
pub(crate) const ABLE: &str = r#"{"elicitation":{"form":{},"url":{}},"sampling":{},"roots":{}}"#;

/// A handshake of such a client.
pub(crate) fn initialize(version: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"{version}","capabilities":{ABLE},"clientInfo":{{"name":"it","version":"1"}}}}}}"#
    )
}

/// A request without `_meta`, as sessions send it. `params` are the members, without braces.
pub(crate) fn plain(id: &str, method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params}}}}}"#)
}

/// A call in a session.
pub(crate) fn call(id: &str, tool: &str, arguments: &str) -> String {
    plain(id, "tools/call", &format!(r#""name":"{tool}","arguments":{arguments}"#))
}

/// The answer to a request of the server's.
pub(crate) fn answer(question: &Value, result: Value) -> String {
    json!({ "jsonrpc": "2.0", "id": question["id"], "result": result }).to_string()
}

/// The text of a tool result.
pub(crate) fn text(message: &Value) -> &str {
    message["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {message}"))
}
