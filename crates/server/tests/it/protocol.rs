//! The protocol cases, over stdio and HTTP alike.

use serde_json::Value;

use crate::fixture::{
    META, Piped, Served, call, check, initialize, live_with, modern, options, serve_http, serve_http_with,
    serve_stdio,
};
use crate::raw_http::{Answer, post, post_legacy};

/// One modern request over HTTP, one over stdio; both answers, checked against the schema.
async fn both(http: &Served, piped: &mut Piped, body: &str) -> (Answer, Value) {
    let answer = post(http.address, body, &[]).await;
    let line = piped.ask(body);
    let method = method_of(body);
    check("2026-07-28", &method, &answer.json());
    check("2026-07-28", &method, &line);
    (answer, line)
}

/// The same request in a session of 2025-11-25, over HTTP and over stdio; the raw texts of both answers, checked.
async fn legacy(http: &Served, body: &str) -> [String; 2] {
    let session = initialized(http, "2025-11-25").await;
    let body = body.replace(&format!(",{META}"), "").replace(META, "");
    let answer = post_legacy(http.address, &body, Some(&session), &[]).await;
    let mut piped = serve_stdio();
    piped.ask(&initialize("2025-11-25"));
    piped.send(&body);
    let line = piped.line();
    for message in [&answer.body, &line] {
        check("2025-11-25", &method_of(&body), &serde_json::from_str(message).unwrap());
    }
    [answer.body, line]
}

fn method_of(body: &str) -> String {
    let message = serde_json::from_str::<Value>(body).unwrap_or_default();
    message["method"].as_str().unwrap_or_default().to_owned()
}

async fn initialized(http: &Served, version: &str) -> String {
    let answer = post_legacy(http.address, &initialize(version), None, &[]).await;
    answer.header("mcp-session-id").unwrap().to_owned()
}

/// The raw text of the id in an answer.
fn id_text(message: &str) -> &str {
    let rest = message.split_once("\"id\":").unwrap().1;
    rest.split_once([',', '}']).unwrap().0
}

#[tokio::test]
async fn pr_01_a_string_id_made_of_digits_stays_a_string() {
    let (http, mut piped) = (serve_http().await, serve_stdio());
    for id in ["\"7\"", "7", "\"007\""] {
        let (answer, _) = both(&http, &mut piped, &modern(id, "tools/list", "")).await;
        assert_eq!(id_text(&answer.body), id);
        piped.send(&modern(id, "tools/list", ""));
        assert_eq!(id_text(&piped.line()), id);
        for message in legacy(&http, &modern(id, "tools/list", "")).await {
            assert_eq!(id_text(&message), id);
        }
    }
    // In flight together: both get their own answer.
    piped.send(&call("\"7\"", "echo", r#"{"text":"string","delay":60}"#));
    piped.send(&call("7", "echo", r#"{"text":"number","delay":30}"#));
    let answers = [piped.line(), piped.line()];
    assert!(answers[0].contains("number") && id_text(&answers[0]) == "7", "{answers:?}");
    assert!(answers[1].contains("string") && id_text(&answers[1]) == "\"7\"", "{answers:?}");
}

#[tokio::test]
async fn pr_02_large_negative_and_zero_ids() {
    let (http, mut piped) = (serve_http().await, serve_stdio());
    for id in ["0", "-1", "1700000000123", "9007199254740993", "123456789012345678901234567890"] {
        let body = call(id, "noargs", "{}");
        assert_eq!(id_text(&post(http.address, &body, &[]).await.body), id);
        piped.send(&body);
        assert_eq!(id_text(&piped.line()), id);
        for message in legacy(&http, &body).await {
            assert_eq!(id_text(&message), id);
        }
    }
}

#[tokio::test]
async fn pr_03_null_fractional_and_structured_ids() {
    let (http, mut piped) = (serve_http().await, serve_stdio());
    for id in ["null", "1.5", r#"{"a":1}"#, "true"] {
        let (answer, line) = both(&http, &mut piped, &call(id, "echo", r#"{"text":"x"}"#)).await;
        assert_eq!((answer.status, answer.code()), (400, -32600), "{id}");
        assert_eq!(line["error"]["code"], -32600);
        assert!(answer.json().get("id").is_none() && line.get("id").is_none());
        for message in legacy(&http, &call(id, "echo", r#"{"text":"x"}"#)).await {
            let message: Value = serde_json::from_str(&message).unwrap();
            assert_eq!((&message["error"]["code"], message.get("id")), (&(-32600).into(), None), "{id}");
        }
    }
    assert_eq!(http.seen.started.load(std::sync::atomic::Ordering::SeqCst), 0);
    assert_eq!(piped.seen.started.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[tokio::test]
async fn pr_04_unknown_notifications_are_never_answered() {
    let (http, mut piped) = (serve_http().await, serve_stdio());
    for body in [
        r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#,
        r#"{"jsonrpc":"2.0","method":"vendor/x","params":{}}"#,
        r#"{"jsonrpc":"2.0","method":"x","params":[]}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/x","params":{"a":1,"a":2}}"#,
    ] {
        let answer = post(http.address, body, &[]).await;
        assert!(
            answer.status == 202 && answer.body.is_empty() || (400..500).contains(&answer.status),
            "{answer:?}"
        );
        let legacy = post_legacy(http.address, body, None, &[]).await;
        assert!(legacy.status == 202 || (400..500).contains(&legacy.status));
        piped.send(body);
    }
    assert_eq!(piped.ask(&modern("1", "tools/list", ""))["id"], 1);
    assert_eq!(post(http.address, &modern("1", "tools/list", ""), &[]).await.status, 200);
}

#[tokio::test]
async fn pr_05_a_notification_name_that_carries_an_id() {
    let (http, mut piped) = (serve_http().await, serve_stdio());
    piped.send(&call("99", "slow", r#"{"ms":200}"#));
    let body = modern("3", "notifications/cancelled", r#""requestId":99"#);
    let (answer, line) = both(&http, &mut piped, &body).await;
    assert_eq!((answer.status, answer.code(), answer.json()["id"].clone()), (404, -32601, 3.into()));
    assert_eq!((&line["error"]["code"], &line["id"]), (&(-32601).into(), &3.into()));
    for message in legacy(&http, &body).await {
        let message: Value = serde_json::from_str(&message).unwrap();
        assert_eq!((&message["error"]["code"], &message["id"]), (&(-32601).into(), &3.into()));
    }
    // Without `_meta` it is the same.
    let bare = body.replace(&format!(",{META}"), "");
    assert_eq!(post(http.address, &bare, &[]).await.code(), -32601);
    assert_eq!(serve_stdio().ask(&bare)["error"]["code"], -32601);
    // 99 was not cancelled by it.
    assert!(piped.line().contains("done"));
}

#[tokio::test]
async fn pr_06_arguments_omitted_null_array_scalar() {
    let (http, mut piped) = (serve_http().await, serve_stdio());
    for (arguments, noargs, echo) in [
        ("", 0, 1),
        (r#","arguments":null"#, 0, 1),
        (r#","arguments":[]"#, -32602, -32602),
        (r#","arguments":"x""#, -32602, -32602),
    ] {
        for (tool, expected) in [("noargs", noargs), ("echo", echo)] {
            let body = modern("1", "tools/call", &format!(r#""name":"{tool}"{arguments}"#));
            let (answer, line) = both(&http, &mut piped, &body).await;
            let mut messages = vec![answer.json(), line];
            messages
                .extend(legacy(&http, &body).await.map(|message| serde_json::from_str(&message).unwrap()));
            for message in messages {
                match expected {
                    0 => assert_eq!(message["result"]["isError"], false, "{body}"),
                    1 => {
                        assert_eq!(message["result"]["isError"], true, "{body}");
                        assert!(message["result"]["content"][0]["text"].as_str().unwrap().contains("text"));
                    }
                    code => assert_eq!(message["error"]["code"], code, "{body}"),
                }
            }
        }
    }
}

#[tokio::test]
async fn pr_07_progress_only_for_the_clients_token_and_token_0_is_a_token() {
    let (http, mut piped) = (serve_http().await, serve_stdio());
    for token in ["0", "\"\"", "\"7\""] {
        let body = call("1", "slow", r#"{"ms":200}"#)
            .replace("\"_meta\":{", &format!("\"_meta\":{{\"progressToken\":{token},"));
        let answer = post(http.address, &body, &[]).await;
        assert!(answer.is_stream(), "{answer:?}");
        assert_eq!(answer.header("x-accel-buffering"), Some("no"));
        let messages = answer.messages();
        piped.send(&body);
        let mut lines = vec![piped.line()];
        while !lines.last().unwrap().contains("\"result\"") {
            lines.push(piped.line());
        }
        let lines: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        for all in [messages, lines] {
            let (last, progress) = all.split_last().unwrap();
            assert!(!progress.is_empty() && last["result"]["isError"] == false);
            let mut before = 0.0;
            for message in progress {
                check("2026-07-28", "", message);
                assert_eq!(message["params"]["progressToken"].to_string(), token);
                assert!(message["params"]["progress"].as_f64().unwrap() > before);
                before = message["params"]["progress"].as_f64().unwrap();
            }
        }
    }
    let body = call("1", "slow", r#"{"ms":100}"#);
    let (answer, line) = both(&http, &mut piped, &body).await;
    assert!(!answer.is_stream() && line.get("result").is_some());
}

#[tokio::test]
async fn pr_08_cancelling_a_running_call() {
    let mut piped = serve_stdio();
    let seen = piped.seen.clone();
    let running = move || seen.running.load(std::sync::atomic::Ordering::SeqCst);
    for legacy in [false, true] {
        let slow = if legacy {
            assert!(piped.ask(&initialize("2025-11-25"))["result"].is_object());
            r#"{"jsonrpc":"2.0","id":11,"method":"tools/call","params":{"name":"slow","arguments":{"ms":5000}}}"#.to_owned()
        } else {
            call("11", "slow", r#"{"ms":5000}"#)
        };
        piped.send(&slow);
        wait_for(|| running() == 1).await;
        piped.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"11"}}"#);
        assert_eq!(piped.ask(&call("10", "echo", r#"{"text":"x"}"#))["id"], 10);
        assert_eq!(running(), 1, "a string id cancelled a number");
        piped.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":11}}"#);
        wait_for(|| running() == 0).await;
        piped.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":999}}"#);
        piped.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled"}"#);
        assert_eq!(piped.ask(&call("12", "echo", r#"{"text":"x"}"#))["id"], 12);
    }
    assert_eq!(piped.finish(), Vec::<String>::new());
}

/// Waits until the condition holds, at most half a second.
async fn wait_for(condition: impl Fn() -> bool) {
    for _ in 0..100 {
        if condition() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("the condition did not come to hold");
}

#[tokio::test]
async fn pr_09_both_doors_open() {
    let http = serve_http().await;
    let mut piped = serve_stdio();
    let (answer, line) = both(&http, &mut piped, &modern("1", "server/discover", "")).await;
    for message in [answer.json(), line] {
        let result = &message["result"];
        assert_eq!(result["resultType"], "complete");
        assert!(result["supportedVersions"].as_array().unwrap().contains(&"2026-07-28".into()));
        assert!(result["ttlMs"].is_u64() && result["capabilities"].is_object());
        assert_eq!(result["cacheScope"], "public");
    }
    for (asked, given) in [
        ("2026-07-28", "2025-11-25"),
        ("2025-06-18", "2025-06-18"),
        ("2025-03-26", "2025-03-26"),
        ("1999-01-01", "2025-11-25"),
    ] {
        let answer = post_legacy(http.address, &initialize(asked), None, &[]).await;
        let session = answer.header("mcp-session-id").unwrap().to_owned();
        // On stdio even after a discover, and again.
        for message in [answer.json(), piped.ask(&initialize(asked))] {
            check(given, "initialize", &message);
            assert_eq!(message["result"]["protocolVersion"], given);
        }
        let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
        let structured = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"structured"}}"#;
        for (method, body) in [
            ("tools/list", list),
            ("tools/call", structured),
            ("ping", r#"{"jsonrpc":"2.0","id":3,"method":"ping"}"#),
            ("prompts/list", r#"{"jsonrpc":"2.0","id":3,"method":"prompts/list"}"#),
        ] {
            check(
                given,
                method,
                &post_legacy(http.address, body, Some(&session), &[("MCP-Protocol-Version", given)])
                    .await
                    .json(),
            );
            check(given, method, &piped.ask(body));
        }
    }
    // A handshake does not close the other door.
    assert_eq!(piped.ask(&modern("9", "tools/list", ""))["result"]["resultType"], "complete");
}

#[tokio::test]
async fn pr_10_modern_request_with_a_hole_in_meta() {
    let (http, mut piped) = (serve_http().await, serve_stdio());
    let version = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28""#;
    for meta in [
        format!(r#","_meta":{{{version}}}"#),
        r#","_meta":{"io.modelcontextprotocol/clientCapabilities":{}}"#.to_owned(),
        String::new(),
        format!(r#","_meta":{{{version},"io.modelcontextprotocol/clientCapabilities":[]}}"#),
        r#","_meta":7"#.to_owned(),
    ] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":5,"method":"tools/list","params":{{"x":1{meta}}}}}"#);
        let (answer, line) = both(&http, &mut piped, &body).await;
        assert!(answer.status == 400 && matches!(answer.code(), -32602 | -32020), "{body} {answer:?}");
        assert_eq!(answer.json()["id"], 5);
        assert_eq!((&line["error"]["code"], &line["id"]), (&(-32602).into(), &5.into()));
    }
    let extra = modern("6", "tools/list", r#""unknown":[1]"#)
        .replacen("{\"jsonrpc\"", "{\"extra\":{},\"jsonrpc\"", 1)
        .replace("\"_meta\":{", "\"_meta\":{\"com.example/x\":1,");
    assert_eq!(both(&http, &mut piped, &extra).await.0.status, 200);
}

#[tokio::test]
async fn repeated_keys_and_depth_are_refused_with_the_requests_id() {
    let (http, mut piped) = (serve_http().await, serve_stdio());
    let repeated = call("7", "echo", r#"{"text":"a","\u0074ext":"b"}"#);
    let deep = call("8", "echo", &format!(r#"{{"text":{}{}}}"#, "[".repeat(80), "]".repeat(80)));
    for (body, code, id) in [(repeated, -32602, 7), (deep, -32600, 8)] {
        let (answer, line) = both(&http, &mut piped, &body).await;
        assert_eq!((answer.status, answer.code(), &answer.json()["id"]), (400, code, &id.into()));
        assert_eq!((&line["error"]["code"], &line["id"]), (&code.into(), &id.into()));
    }
}

#[tokio::test]
async fn a_list_comes_in_pages_with_opaque_cursors() {
    let http = serve_http_with(live_with(2), options()).await;
    let (mut names, mut cursor) = (Vec::new(), String::new());
    loop {
        let answer = post(http.address, &modern("1", "tools/list", &cursor), &[]).await;
        let result = &answer.json()["result"];
        check("2026-07-28", "tools/list", &answer.json());
        names.extend(
            result["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()),
        );
        match result["nextCursor"].as_str() {
            Some(next) => cursor = format!("\"cursor\":\"{next}\""),
            None => break,
        }
    }
    assert_eq!(names, ["echo", "slow", "noargs", "structured", "broken"]);
    for cursor in [r#""cursor":"x""#, r#""cursor":"""#, r#""cursor":7"#] {
        let answer = post(http.address, &modern("1", "tools/list", cursor), &[]).await;
        assert_eq!((answer.status, answer.code()), (400, -32602), "{cursor}");
    }
}

#[tokio::test]
async fn a_panic_is_an_answer_that_tells_nothing() {
    let (http, mut piped) = (serve_http().await, serve_stdio());
    let (answer, line) = both(&http, &mut piped, &call("1", "broken", "{}")).await;
    assert_eq!((answer.status, answer.code()), (200, -32603));
    assert!(!answer.body.contains("secret-path") && !line.to_string().contains("secret-path"));
    assert_eq!(both(&http, &mut piped, &call("2", "noargs", "{}")).await.0.status, 200);
}

#[tokio::test]
async fn unknown_tools_and_methods() {
    let (http, mut piped) = (serve_http().await, serve_stdio());
    for (body, status, code) in [
        (call("1", "nope", "{}"), 400, -32602),
        (modern("1", "tools/call", ""), 400, -32602),
        (modern("1", "no/such", ""), 404, -32601),
        (modern("1", "initialize", ""), 404, -32601),
        (modern("1", "ping", ""), 404, -32601),
        (modern("1", "logging/setLevel", ""), 404, -32601),
        (modern("1", "resources/subscribe", ""), 404, -32601),
    ] {
        let (answer, line) = both(&http, &mut piped, &body).await;
        assert_eq!((answer.status, answer.code(), &answer.json()["id"]), (status, code, &1.into()), "{body}");
        assert_eq!(line["error"]["code"], code);
    }
}

#[tokio::test]
async fn methods_of_the_other_era_do_not_exist_within_a_session() {
    let http = serve_http().await;
    for body in
        [modern("1", "server/discover", ""), modern("1", "subscriptions/listen", r#""notifications":{}"#)]
    {
        for message in legacy(&http, &body).await {
            assert!(message.contains("-32601"), "{message}");
        }
    }
}

#[tokio::test]
async fn a_batch_is_answered_for_2025_03_26_alone() {
    let http = serve_http().await;
    let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","method":"notifications/x"},{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"echo","arguments":{"text":"x","delay":20}}}]"#;
    for (version, answered) in [("2025-03-26", true), ("2025-06-18", false)] {
        let session = post_legacy(http.address, &initialize(version), None, &[])
            .await
            .header("mcp-session-id")
            .unwrap()
            .to_owned();
        let answer = post_legacy(http.address, batch, Some(&session), &[]).await;
        let mut piped = serve_stdio();
        piped.ask(&initialize(version));
        piped.send(batch);
        let line: Value = serde_json::from_str(&piped.line()).unwrap();
        if answered {
            assert_eq!(answer.json().as_array().unwrap().len(), 2, "{answer:?}");
            assert_eq!(line.as_array().unwrap().len(), 2);
        } else {
            assert_eq!((answer.status, answer.code()), (400, -32600));
            assert_eq!(line["error"]["code"], -32600);
        }
    }
}

#[tokio::test]
async fn a_hostile_batch_is_refused_whole() {
    let http = serve_http().await;
    let mut piped = serve_stdio();
    let session = initialized(&http, "2025-03-26").await;
    piped.ask(&initialize("2025-03-26"));
    let nested = format!("{}{}", "[".repeat(60_000), "]".repeat(60_000));
    let many = format!("[{}]", vec![r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#; 101].join(","));
    for batch in [nested.as_str(), many.as_str(), "[]", "[[1]]"] {
        assert_eq!(post_legacy(http.address, batch, Some(&session), &[]).await.code(), -32600);
        assert_eq!(piped.ask(batch)["error"]["code"], -32600);
    }
    // A handshake inside is refused on both, and what is no request is owed nothing.
    let inside = format!("[{},{{\"jsonrpc\":\"2.0\",\"method\":\"x\"}}]", initialize("2025-11-25"));
    assert_eq!(
        post_legacy(http.address, &inside, Some(&session), &[]).await.json()[0]["error"]["code"],
        -32600
    );
    assert_eq!(piped.ask(&inside)[0]["error"]["code"], -32600);
    assert_eq!(piped.ask(r#"{"jsonrpc":"2.0","id":5,"method":"ping"}"#)["id"], 5);
}
