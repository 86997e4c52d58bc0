//! What a call knows, tells and leaves behind; and what becomes of one that panics.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use trunkline_server::sdk::{Context, DynTool, Server, Tool, ToolError, ToolFuture, ToolSpec};

use crate::peer::Peer;
use crate::support::{Lines, body, message, post, serve, streaming};

#[tokio::test]
async fn progress_log_messages_and_the_trace() {
    let tool = DynTool::new("t").handler(|ctx: Context| async move {
        ctx.progress(1.0, Some(2.0), Some("half"));
        ctx.debug("below what the client wants");
        ctx.info("one");
        ctx.log(trunkline_protocol::LogLevel::Error, json!({ "code": 7 }));
        ctx.trace().map(|trace| trace.parent).unwrap_or_default()
    });
    let service = Server::new("t", "1").tool(tool).into_service().unwrap();
    let (request, mut events) = streaming("tools/call", json!({ "name": "t" }), 16);
    let reply = service.call(request).await.unwrap();
    assert!(String::from_utf8_lossy(reply.members()).contains("0af7651916cd43dd8448eb211c80319c"));
    let progress = message(&events.recv().await.unwrap());
    assert_eq!(
        progress["params"],
        json!({ "progressToken": "p", "progress": 1, "total": 2, "message": "half" })
    );
    let info = message(&events.recv().await.unwrap());
    assert_eq!(info["params"], json!({ "level": "info", "logger": "t", "data": "one" }));
    assert_eq!(message(&events.recv().await.unwrap())["params"]["data"], json!({ "code": 7 }));
    assert!(events.try_recv().is_err());
}

#[tokio::test]
async fn a_dropped_call_cancels_its_token_and_an_ended_one_does_not() {
    type Seen = Mutex<Vec<(CancellationToken, Option<Instant>)>>;
    let seen: Arc<Seen> = Arc::default();
    let keep = Arc::clone(&seen);
    let tool = DynTool::new("t").handler(move |ctx: Context| {
        keep.lock().unwrap().push((ctx.cancellation(), ctx.deadline()));
        async move {
            if ctx.raw_arguments() != b"{}" {
                std::future::pending::<()>().await;
            }
        }
    });
    let server = Server::new("t", "1").deadline(Duration::from_secs(60));
    let peer = Peer::new(server.tool(DynTool::clone(&tool)));
    let tool = DynTool::new("open")
        .input_schema(json!({ "type": "object" }))
        .handler(move |ctx| tool.call(ctx).map(Result::unwrap));
    let open = Peer::new(Server::new("t", "1").tool(tool));
    peer.call("t", json!({})).await;
    let mut call = open.start("tools/call", json!({ "name": "open", "arguments": { "wait": true } }));
    assert!((&mut call).now_or_never().is_none());
    let [ended, dropped] = <[_; 2]>::try_from(std::mem::take(&mut *seen.lock().unwrap())).unwrap();
    assert!(ended.1.is_some());
    assert!(!dropped.0.is_cancelled());
    drop(call);
    assert!(dropped.0.is_cancelled());
    assert!(!ended.0.is_cancelled());
}

/// Panics where it is told to.
struct Panics(&'static str);

impl Tool for Panics {
    fn spec(&self) -> ToolSpec {
        ToolSpec::new(self.0)
    }

    #[expect(clippy::panic, reason = "that is what is tested")]
    fn call(&self, _: Context) -> ToolFuture {
        match self.0 {
            "at_once" => panic!("secret-path"),
            "before" => Box::pin(async { panic!("secret-path") }),
            "overflow" => Box::pin(async {
                let _ = Duration::MAX + Duration::from_secs(1);
                Err(trunkline_service::Failure::new(trunkline_service::FailureKind::Internal, "unreachable"))
            }),
            _ => Box::pin(async {
                tokio::time::sleep(Duration::from_millis(5)).await;
                panic!("secret-path")
            }),
        }
    }
}

#[tokio::test]
async fn sd_01_a_panic_over_stdio_fails_its_call_and_nothing_else() {
    let mut server = Server::new("t", "1").tool(DynTool::new("fine").handler(|_: Context| async { "fine" }));
    let names = ["at_once", "before", "after", "overflow", "fine"];
    for name in &names[..4] {
        server = server.tool(Panics(name));
    }
    let server = server.build().unwrap();
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let mut input = String::new();
    for (id, name) in names.iter().enumerate() {
        let params = json!({ "name": name, "_meta": meta });
        let call = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params });
        input.push_str(&format!("{call}\n"));
    }
    let (output, cancel) = (Lines::default(), CancellationToken::new());
    let (live, options) = (server.live().clone(), server.stdio_options());
    let input = std::io::Cursor::new(input);
    trunkline_server::stdio::serve_on(live, options, cancel, input, output.clone()).await.unwrap();
    let written = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
    assert!(!written.contains("secret-path"), "{written}");
    let mut answers: Vec<serde_json::Value> =
        written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    answers.sort_by_key(|answer| answer["id"].as_u64());
    assert_eq!(answers.len(), names.len(), "{written}");
    for answer in &answers[..4] {
        assert_eq!(answer["error"]["code"], -32603, "{answer}");
    }
    assert_eq!(answers[4]["result"]["content"][0]["text"], "fine");
}

#[tokio::test]
async fn sd_01_a_panic_is_answered_without_its_text_and_logged_with_the_tools_name() {
    let slow = DynTool::new("slow").handler(|_: Context| async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        "fine"
    });
    let lines = Lines::default();
    let written = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || written.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let mut server = Server::new("t", "1").tool(slow);
    let names = ["at_once", "before", "after", "overflow"];
    for name in names {
        server = server.tool(Panics(name));
    }
    let served = serve(server.build().unwrap()).await;
    let call = |name: &'static str| post(served.address, "tools/call", Some(name), json!({ "name": name }));
    let others = futures_util::future::join_all((0..5).map(|_| call("slow")));
    let panics = futures_util::future::join_all(names.map(call));
    let (others, panics) = tokio::join!(others, panics);
    for answer in panics {
        assert!(!answer.contains("secret-path"), "{answer}");
        let answer = body(&answer);
        assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(-32603), &json!(1)), "{answer}");
    }
    for answer in others {
        assert_eq!(body(&answer)["result"]["content"][0]["text"], "fine");
    }
    assert_eq!(body(&call("slow").await)["result"]["isError"], false, "still alive");
    let log = String::from_utf8_lossy(&lines.0.lock().unwrap()).into_owned();
    for name in names {
        assert!(log.contains(&format!("`{name}` panicked")), "{name}\n{log}");
    }
    assert!(!log.contains("secret-path"), "{log}");
}

#[tokio::test]
async fn errors_of_tools_and_of_requests_stay_apart() {
    let tool =
        DynTool::new("t").input_schema(json!({ "type": "object" })).handler(|ctx: Context| async move {
            match ctx.raw_arguments() {
                b"{\"k\":1}" => Err(ToolError::from_error(std::io::Error::other("disk is full"))),
                b"{\"k\":2}" => {
                    Err(trunkline_service::Failure::new(trunkline_service::FailureKind::InvalidParams, "no")
                        .into())
                }
                _ => Ok(()),
            }
        });
    let peer = Peer::new(Server::new("t", "1").tool(tool));
    assert_eq!(peer.call("t", json!({ "k": 1 })).await["content"][0]["text"], "disk is full");
    let error =
        peer.request("tools/call", json!({ "name": "t", "arguments": { "k": 2 } })).await.unwrap_err();
    assert_eq!(error["code"], -32602);
}

#[tokio::test]
async fn a_tester_calls_a_server_and_answers_what_it_asks() {
    let tool = DynTool::new("greet").handler(|ctx: Context| async move {
        let roots = ctx.roots().await;
        vec![format!("{} roots", roots.len()), "bye".to_owned()]
    });
    let tester = Server::new("t", "1").tool(tool).tester().unwrap();
    let tester = tester.answering(|method, _| {
        (method == "roots/list").then(|| json!({ "roots": [{ "uri": "file:///a" }] }))
    });
    let called = tester.call("greet", json!({})).await.unwrap();
    assert_eq!((&*called.text(), called.is_error(), called.structured()), ("1 roots\nbye", false, None));
    assert!(tester.call("nothing", json!({})).await.is_err());
}
