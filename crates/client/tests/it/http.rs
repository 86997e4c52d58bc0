//! Streamable HTTP: the era, every shape of answer, sessions, paging and refusals.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;
use trunkline_client::{Client, ClientError, ConnectOptions, Era, Kind, Progress, Target};

use crate::peer::{Peer, Portions, Seen, error, events, legacy, modern, plain, result, with};

/// How a peer answers.
type Answering = fn(&Seen) -> Portions;

async fn connect(peer: &Peer) -> Result<Client, ClientError> {
    connect_with(peer, ConnectOptions::default()).await
}

async fn connect_with(peer: &Peer, options: ConnectOptions) -> Result<Client, ClientError> {
    Client::connect(Target::Http { url: peer.url.clone() }, options).await
}

fn arguments(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

const NO_TOOLS: &str = r#"{"resultType":"complete","tools":[],"ttlMs":0,"cacheScope":"private"}"#;

#[tokio::test]
async fn cl_05_what_is_not_modern_gets_the_handshake() {
    let openings: Vec<Answering> = vec![
        |seen| error(seen, "200 OK", -32601, "null"),
        |seen| error(seen, "404 Not Found", -32601, "null"),
        |seen| error(seen, "200 OK", -32602, "null"),
        |seen| error(seen, "400 Bad Request", -32602, "null"),
        |seen| error(seen, "400 Bad Request", -32000, "null"),
        |_| plain("400 Bad Request", "text/plain", ""),
        |_| plain("404 Not Found", "text/html", "<html>not here</html>"),
        |_| plain("405 Method Not Allowed", "application/json", r#"{"detail":"no"}"#),
        |_| {
            plain(
                "400 Bad Request",
                "application/json",
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"no session"}}"#,
            )
        },
        |seen| result(seen, "{}"),
        |_| with("202 Accepted", &[], ""),
    ];
    for (at, opening) in openings.into_iter().enumerate() {
        let peer = Peer::start(move |seen| match seen.method() {
            "server/discover" => opening(seen),
            _ => legacy(seen, |seen| result(seen, r#"{"tools":[]}"#)),
        })
        .await;
        let client = connect(&peer).await.unwrap_or_else(|error| panic!("opening {at}: {error}"));
        assert_eq!((client.era(), client.version()), (Era::Legacy, "2025-11-25"), "opening {at}");
        client.tools().await.unwrap();
        client.tools().await.unwrap();
        let methods =
            ["server/discover", "initialize", "notifications/initialized", "tools/list", "tools/list"];
        assert_eq!(peer.methods(), methods, "opening {at}: one decision per server");
    }
}

#[tokio::test]
async fn cl_05_a_fallback_handshake_is_clean_and_later_messages_carry_the_session() {
    let peer = Peer::start(|seen| legacy(seen, |seen| result(seen, r#"{"tools":[]}"#))).await;
    let client = connect(&peer).await.unwrap();
    client.tools().await.unwrap();
    client.close().await;
    let seen = peer.seen();
    let initialize = &seen[1];
    assert_eq!(initialize.body["params"]["protocolVersion"], "2025-11-25");
    assert_eq!(initialize.body["params"]["_meta"], Value::Null);
    assert!(!initialize.head.iter().any(|line| line.starts_with("mcp-")), "{:?}", initialize.head);
    for later in &seen[2..] {
        assert_eq!(later.header("mcp-session-id"), Some("s1"));
        assert_eq!(later.header("mcp-protocol-version"), Some("2025-11-25"));
        assert_eq!(later.header("mcp-method"), None);
    }
    assert!(seen[4].head[0].starts_with("DELETE /mcp"));
}

#[tokio::test]
async fn cl_05_an_unsupported_version_never_leads_to_the_handshake() {
    let peer = Peer::start(|seen| match seen.method() {
        "server/discover" => {
            error(seen, "400 Bad Request", -32022, r#"{"supported":["2026-07-28"],"requested":"x"}"#)
        }
        _ => result(seen, NO_TOOLS),
    })
    .await;
    let client = connect(&peer).await.unwrap();
    assert_eq!(client.era(), Era::Modern);
    client.tools().await.unwrap();
    assert_eq!(peer.methods(), ["server/discover", "tools/list"]);

    let peer = Peer::start(|seen| {
        error(seen, "400 Bad Request", -32022, r#"{"supported":["2030-01-01"],"requested":"x"}"#)
    })
    .await;
    let error = connect(&peer).await.unwrap_err();
    assert!(
        matches!(&error, ClientError::NoCommonVersion { offered, .. } if offered == &["2030-01-01"]),
        "{error}"
    );
    assert_eq!(error.kind(), Kind::Protocol);
    assert_eq!(peer.methods(), ["server/discover"]);
}

#[tokio::test]
async fn cl_05_access_and_availability_say_nothing_about_the_era() {
    let table: [(&str, Kind); 6] = [
        ("401 Unauthorized", Kind::Denied),
        ("403 Forbidden", Kind::Denied),
        ("429 Too Many Requests", Kind::Unavailable),
        ("500 Internal Server Error", Kind::Unavailable),
        ("503 Service Unavailable", Kind::Unavailable),
        ("307 Temporary Redirect", Kind::Protocol),
    ];
    for (status, kind) in table {
        let peer = Peer::start(move |_| {
            let headers = [
                ("WWW-Authenticate", "Bearer scope=\"a\""),
                ("Retry-After", "7"),
                ("Location", "http://other.example/"),
            ];
            with(status, &headers, "<html>")
        })
        .await;
        let error = connect(&peer).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{status}: {error}");
        assert_eq!(peer.methods(), ["server/discover"], "{status}");
        let text = error.to_string();
        assert!(text.contains(status.split(' ').next().unwrap()), "{text}");
        match kind {
            Kind::Denied => assert!(text.contains("Bearer scope="), "{text}"),
            Kind::Unavailable => assert!(text.contains("in 7 s"), "{text}"),
            _ => assert!(text.contains("other.example"), "{text}"),
        }
    }
}

#[tokio::test]
async fn nothing_listening_and_no_endpoint_are_told_apart() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let target = Target::Http { url: format!("http://{closed}/mcp") };
    let error = Client::connect(target, ConnectOptions::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    assert_eq!(error.kind(), Kind::Unavailable);

    let peer = Peer::start(|_| plain("404 Not Found", "text/html", "<html>")).await;
    let error = connect(&peer).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Protocol);
    assert!(error.to_string().contains("404") && error.to_string().contains("text/html"), "{error}");
}

#[tokio::test]
async fn cl_01_a_result_arrives_in_every_shape_of_event_stream() {
    let shapes: Vec<Vec<String>> = vec![
        vec!["data: JSON\n\n".to_owned()],
        vec!["data: JSON\r\n\r\n".to_owned()],
        vec!["data: JSON\r\r".to_owned()],
        vec!["data: JSON\r".to_owned(), "\n\r".to_owned(), "\n".to_owned()],
        vec!["data: {\"jsonrpc\":\"2.0\",\ndata: \"id\":ID,\"result\":RESULT}\n\n".to_owned()],
        vec!["data:JSON\n\n".to_owned()],
        vec![
            ":\n\n: ping\n\n".to_owned(),
            "id: 5\n\n".to_owned(),
            "event: message\nid: 6\ndata: JSON\n\n".to_owned(),
        ],
        vec!["\u{feff}data: JSON\n\n".to_owned()],
        vec!["data: not json\n\ndata: JSON\n\n".to_owned()],
    ];
    let expected = r#"{"resultType":"complete","content":[],"x":1.0}"#;
    for shape in shapes {
        let portions = shape.clone();
        let peer = Peer::start(move |seen| {
            modern(seen, |seen| {
                let id = seen.id().to_string();
                let json = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{expected}}}"#);
                let fill = |text: &String| {
                    text.replace("JSON", &json).replace("ID", &id).replace("RESULT", expected)
                };
                let portions: Vec<String> = portions.iter().map(fill).collect();
                events(&portions.iter().map(String::as_str).collect::<Vec<_>>())
            })
        })
        .await;
        let client = connect(&peer).await.unwrap();
        let outcome =
            client.call("t", &arguments("{}")).await.unwrap_or_else(|error| panic!("{shape:?}: {error}"));
        assert_eq!(outcome.result.get(), expected);
        assert!(!outcome.is_error);
    }
}

#[tokio::test]
async fn cl_03_an_answer_with_another_id_is_passed_over() {
    let peer = Peer::start(|seen| {
        modern(seen, |seen| {
            let id = seen.id();
            let wrong = |id: &str| {
                format!("data: {{\"jsonrpc\":\"2.0\",{id}\"result\":{{\"content\":[],\"wrong\":1}}}}\n\n")
            };
            let strings = [
                wrong(&format!("\"id\":\"{id}\",")),
                wrong("\"id\":9999,"),
                wrong(""),
                wrong("\"id\":null,"),
            ];
            let right = format!(
                "data: {{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"content\":[],\"right\":1}}}}\n\n"
            );
            events(&[&strings.concat(), &right])
        })
    })
    .await;
    let client = connect(&peer).await.unwrap();
    let outcome = client.call("t", &arguments("{}")).await.unwrap();
    assert!(outcome.result.get().contains("right"), "{}", outcome.result);

    let peer = Peer::start(|seen| {
        modern(seen, |seen| {
            plain(
                "200 OK",
                "application/json",
                &format!(r#"{{"jsonrpc":"2.0","id":"{}","result":{{"content":[]}}}}"#, seen.id()),
            )
        })
    })
    .await;
    let error = connect(&peer).await.unwrap().call("t", &arguments("{}")).await.unwrap_err();
    assert!(matches!(error, ClientError::Malformed { .. }), "{error}");
}

fn tools_of(list: &trunkline_client::ToolList) -> Vec<&str> {
    list.tools.iter().map(|tool| tool.name.as_str()).collect()
}

/// Serves `tools/list`, telling the page by its cursor.
async fn paged(page: fn(Option<&str>) -> String) -> Peer {
    Peer::start(move |seen| modern(seen, |seen| result(seen, &page(seen.body["params"]["cursor"].as_str()))))
        .await
}

fn page(name: &str, next: &str) -> String {
    format!(
        r#"{{"resultType":"complete","tools":[{{"name":"{name}","inputSchema":{{"type":"object"}}}}]{next}}}"#
    )
}

#[tokio::test]
async fn cl_04_cursors_are_opaque_even_empty_ones() {
    let peer = paged(|cursor| match cursor {
        None => page("a", r#","nextCursor":"""#),
        Some(_) => page("b", ""),
    })
    .await;
    let list = connect(&peer).await.unwrap().tools().await.unwrap();
    assert_eq!(tools_of(&list), ["a", "b"]);
    let seen = peer.seen();
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[2].body["params"]["cursor"], "");

    let peer = paged(|_| page("a", r#","nextCursor":null"#)).await;
    assert_eq!(tools_of(&connect(&peer).await.unwrap().tools().await.unwrap()), ["a"]);
    assert_eq!(peer.seen().len(), 2);

    let peer = paged(|_| page("a", r#","nextCursor":"x""#)).await;
    let list = connect(&peer).await.unwrap().tools().await.unwrap();
    assert_eq!(tools_of(&list), ["a"]);
    assert!(list.warnings.iter().any(|warning| warning.contains("repeats a cursor")), "{:?}", list.warnings);
    assert!(peer.seen().len() < 6);
}

#[tokio::test]
async fn every_modern_message_carries_its_headers_and_annotated_arguments() {
    let tools = r#"{"resultType":"complete","tools":[
        {"name":"größe","inputSchema":{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"}}}},
        {"name":"bad","inputSchema":{"type":"object","properties":{"n":{"type":"number","x-mcp-header":"N"}}}}]}"#;
    let peer = Peer::start(move |seen| {
        modern(seen, |seen| match (seen.method(), seen.header("mcp-param-region")) {
            ("tools/list", _) => result(seen, tools),
            (_, None) => error(seen, "400 Bad Request", -32020, "null"),
            (_, Some(_)) => result(seen, r#"{"content":[]}"#),
        })
    })
    .await;
    let client = connect(&peer).await.unwrap();
    // The definition was not seen yet: the server says so, the client looks and calls once more.
    client.call("größe", &arguments(r#"{ "region": "eü" }"#)).await.unwrap();
    assert_eq!(peer.methods(), ["server/discover", "tools/call", "tools/list", "tools/call"]);
    for seen in peer.seen() {
        assert_eq!(seen.header("accept"), Some("application/json, text/event-stream"));
        assert_eq!(seen.header("content-type"), Some("application/json"));
        assert_eq!(seen.header("mcp-protocol-version"), Some("2026-07-28"));
        assert_eq!(seen.header("mcp-method"), Some(seen.method()));
        let meta = &seen.body["params"]["_meta"];
        assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
        assert_eq!(meta["io.modelcontextprotocol/clientCapabilities"], serde_json::json!({}));
        assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "trunkline");
    }
    let last = &peer.seen()[3];
    assert_eq!(last.header("mcp-name"), Some("=?base64?Z3LDtsOfZQ==?="));
    assert_eq!(last.header("mcp-param-region"), Some("=?base64?ZcO8?="));
    let list = client.tools().await.unwrap();
    assert_eq!(tools_of(&list), ["größe"]);
    assert!(list.warnings[0].contains("`bad` was left out"), "{:?}", list.warnings);
}

#[tokio::test]
async fn a_lost_session_is_replaced_once() {
    let lost = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&lost);
    let peer = Peer::start(move |seen| {
        legacy(seen, |seen| match count.fetch_add(1, Ordering::SeqCst) {
            0 => plain(
                "404 Not Found",
                "application/json",
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"gone"}}"#,
            ),
            _ => result(seen, r#"{"tools":[]}"#),
        })
    })
    .await;
    connect(&peer).await.unwrap().tools().await.unwrap();
    let methods = peer.methods();
    assert_eq!(methods[3..], ["tools/list", "initialize", "notifications/initialized", "tools/list"]);
    assert_eq!(peer.seen()[4].header("mcp-session-id"), None);

    let peer = Peer::start(|seen| legacy(seen, |_| plain("404 Not Found", "text/plain", ""))).await;
    let error = connect(&peer).await.unwrap().tools().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Protocol);
    assert_eq!(peer.methods().iter().filter(|method| *method == "initialize").count(), 2);
}

#[tokio::test]
async fn a_handshake_era_server_may_ask_during_a_call_and_is_answered() {
    let peer = Peer::start(|seen| {
        legacy(seen, |seen| match seen.method() {
            "tools/call" => events(&[
                "data: {\"jsonrpc\":\"2.0\",\"id\":\"q1\",\"method\":\"ping\"}\n\n",
                "data: {\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"sampling/createMessage\",\"params\":{}}\n\n",
                &format!("data: {{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{{\"content\":[],\"isError\":true}}}}\n\n", seen.id()),
            ]),
            _ => with("202 Accepted", &[], ""),
        })
    })
    .await;
    let outcome = connect(&peer).await.unwrap().call("t", &arguments("{}")).await.unwrap();
    assert!(outcome.is_error);
    let replies: Vec<Value> = peer.seen()[4..].iter().map(|seen| seen.body.clone()).collect();
    assert_eq!(replies[0], serde_json::json!({"jsonrpc": "2.0", "id": "q1", "result": {}}));
    assert_eq!((&replies[1]["id"], &replies[1]["error"]["code"]), (&Value::from(7), &Value::from(-32601)));
}

#[tokio::test]
async fn progress_of_a_call_reaches_the_callback_and_no_other() {
    let peer = Peer::start(|seen| {
        modern(seen, |seen| {
            let progress = |token: &Value, at: u8| {
                format!("data: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{{\"progressToken\":{token},\"progress\":{at},\"total\":2}}}}\n\n")
            };
            let token = &seen.body["params"]["_meta"]["progressToken"];
            let answer = format!("data: {{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{{\"content\":[]}}}}\n\n", seen.id());
            events(&[&progress(token, 1), &progress(&Value::from("other"), 9), &progress(token, 2), &answer])
        })
    })
    .await;
    let told: Arc<Mutex<Vec<f64>>> = Arc::default();
    let record = Arc::clone(&told);
    let callback = move |progress: &Progress| record.lock().unwrap().push(progress.progress);
    let options = ConnectOptions { on_progress: Some(Arc::new(callback)), ..ConnectOptions::default() };
    connect_with(&peer, options).await.unwrap().call("t", &arguments("{}")).await.unwrap();
    assert_eq!(*told.lock().unwrap(), [1.0, 2.0]);
}

#[tokio::test]
async fn a_call_may_have_to_be_sent_again_with_the_servers_state() {
    let peer = Peer::start(|seen| {
        modern(seen, |seen| match seen.body["params"]["requestState"].as_str() {
            None => result(seen, r#"{"resultType":"input_required","requestState":"a\/b"}"#),
            Some(_) => result(seen, r#"{"resultType":"complete","content":[]}"#),
        })
    })
    .await;
    connect(&peer).await.unwrap().call("t", &arguments("{}")).await.unwrap();
    assert_eq!(peer.seen()[2].body["params"]["requestState"], "a/b");
    assert_ne!(peer.seen()[1].id(), peer.seen()[2].id());

    let asks = r#"{"resultType":"input_required","inputRequests":{"k":{"method":"elicitation/create","params":{}}}}"#;
    let peer = Peer::start(move |seen| modern(seen, |seen| result(seen, asks))).await;
    let error = connect(&peer).await.unwrap().call("t", &arguments("{}")).await.unwrap_err();
    assert!(error.to_string().contains("elicitation/create"), "{error}");
    assert_eq!(peer.seen().len(), 2);
}

#[tokio::test]
async fn answers_that_are_none_are_told_as_such() {
    let table: Vec<(Answering, &str)> = vec![
        (|_| plain("200 OK", "text/html", "<html>"), "text/html"),
        (|_| plain("200 OK", "application/json", "{\"jsonrpc\""), "no JSON-RPC message"),
        (|_| plain("200 OK", "application/json", ""), "no body"),
        (|_| with("202 Accepted", &[], ""), "no body"),
        (|_| events(&[": nothing\n\n"]), "broke before the answer"),
        (|seen| result(seen, "{\"resultType\":\"task\"}"), "not asked for"),
        (|seen| result(seen, "17"), "no tool result"),
        (|seen| error(seen, "400 Bad Request", -32602, "null"), "error -32602: no"),
        (
            |_| {
                plain(
                    "400 Bad Request",
                    "application/json",
                    r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"bad"}}"#,
                )
            },
            "error -32600: bad",
        ),
        (|_| plain("413 Payload Too Large", "text/plain", "no"), "413"),
        (
            |seen| {
                events(&[&format!("data: {{\"id\":{},\"result\":\"{}\"}}\n\n", seen.id(), "x".repeat(5000))])
            },
            "larger than 4096 bytes",
        ),
        (|seen| result(seen, &format!("\"{}\"", "x".repeat(5000))), "larger than 4096 bytes"),
    ];
    for (answer, expected) in table {
        let peer = Peer::start(move |seen| modern(seen, answer)).await;
        let options = ConnectOptions { max_answer: 4096, ..ConnectOptions::default() };
        let error =
            connect_with(&peer, options).await.unwrap().call("t", &arguments("{}")).await.unwrap_err();
        assert!(error.to_string().contains(expected), "expected {expected}: {error}");
    }
}

#[tokio::test]
async fn a_batch_of_the_oldest_revisions_is_read() {
    let peer = Peer::start(|seen| {
        legacy(seen, |seen| {
            let id = seen.id();
            plain("200 OK", "application/json", &format!(r#"[{{"jsonrpc":"2.0","method":"notifications/message","params":{{}}}},{{"jsonrpc":"2.0","id":{id},"result":{{"tools":[]}}}}]"#))
        })
    })
    .await;
    connect(&peer).await.unwrap().tools().await.unwrap();
}

#[tokio::test]
async fn a_silent_server_is_given_up_after_the_timeout() {
    let peer = Peer::start(|seen| {
        legacy(seen, |seen| match seen.method() {
            // An event stream without an end: the connection stays open for a while.
            "tools/call" => events(&[": wait\n\n"; 100]),
            _ => with("202 Accepted", &[], ""),
        })
    })
    .await;
    let options = ConnectOptions { timeout: Duration::from_millis(150), ..ConnectOptions::default() };
    let error = connect_with(&peer, options).await.unwrap().call("t", &arguments("{}")).await.unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { .. }), "{error}");
    assert_eq!(error.kind(), Kind::Unavailable);
    let last = peer.seen().pop().unwrap();
    assert_eq!(last.method(), "notifications/cancelled");
    assert_eq!(last.body["params"]["requestId"], *peer.seen()[3].id());
}

#[tokio::test]
async fn own_headers_are_sent_and_arguments_must_be_an_object() {
    let peer = Peer::start(|seen| modern(seen, |seen| result(seen, NO_TOOLS))).await;
    let headers = vec![("X-Key".to_owned(), "secret".to_owned())];
    let options = ConnectOptions { headers, ..ConnectOptions::default() };
    assert!(!format!("{options:?}").contains("secret"));
    let client = connect_with(&peer, options).await.unwrap();
    assert_eq!(peer.seen()[0].header("x-key"), Some("secret"));
    assert!(!format!("{client:?}").contains("\"secret\""), "{client:?}");
    let error = client.call("t", &arguments("[1]")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    assert_eq!(peer.seen().len(), 1);
}
