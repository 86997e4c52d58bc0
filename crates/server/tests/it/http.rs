//! The cases of Streamable HTTP, in both eras.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use crate::fixture::{MAX_BODY, call, initialize, live, modern, options, serve_http, serve_http_with};
use crate::raw_http::{Connection, modern_headers, post, post_legacy, request};

#[tokio::test]
async fn ht_01_accept_header_matrix() {
    let http = serve_http().await;
    let list = modern("1", "tools/list", "");
    for (accept, status, kind) in [
        ("application/json, text/event-stream", 200, "application/json"),
        ("*/*", 200, "application/json"),
        ("", 200, "application/json"),
        ("APPLICATION/JSON, Text/Event-Stream;q=0.5", 200, "application/json"),
        ("application/json", 200, "application/json"),
        ("text/event-stream", 200, "text/event-stream"),
        ("text/html", 406, "application/json"),
    ] {
        let answer = post(http.address, &list, &[("Accept", accept)]).await;
        assert_eq!((answer.status, answer.header("content-type")), (status, Some(kind)), "{accept}");
        if status == 200 {
            assert!(answer.json()["result"]["tools"].is_array());
        }
    }
    // Progress never turns into a type that was not accepted.
    let body = call("1", "slow", r#"{"ms":100}"#).replace("\"_meta\":{", "\"_meta\":{\"progressToken\":1,");
    assert!(!post(http.address, &body, &[("Accept", "application/json")]).await.is_stream());
    let initialize = post_legacy(http.address, &initialize("2025-11-25"), None, &[]).await;
    assert_eq!(initialize.status, 200);
}

#[tokio::test]
async fn ht_02_a_session_id_the_server_no_longer_knows() {
    let http = serve_http().await;
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let old = post_legacy(http.address, &initialize("2025-11-25"), None, &[])
        .await
        .header("mcp-session-id")
        .unwrap()
        .to_owned();
    assert_eq!(post_legacy(http.address, list, Some(&old), &[]).await.status, 200);
    // A restart: new keys.
    let http = serve_http().await;
    let answer = post_legacy(http.address, list, Some(&old), &[]).await;
    assert_eq!((answer.status, answer.json()["id"].clone()), (404, 1.into()));
    let session = [("Mcp-Session-Id", old.as_str())];
    assert_eq!(request(http.address, "DELETE", "/mcp", &session, b"").await.status, 404);
    assert!(matches!(request(http.address, "GET", "/mcp", &session, b"").await.status, 404 | 405));
    assert_eq!(post_legacy(http.address, list, None, &[]).await.status, 400);
    let answer = post_legacy(http.address, &initialize("2025-11-25"), None, &[]).await;
    assert_eq!(answer.status, 200);
    // Ended by the client: 204 once, then unknown.
    let new = answer.header("mcp-session-id").unwrap();
    let session = [("Mcp-Session-Id", new)];
    assert_eq!(request(http.address, "DELETE", "/mcp", &session, b"").await.status, 204);
    assert_eq!(request(http.address, "DELETE", "/mcp", &session, b"").await.status, 404);
    assert_eq!(post_legacy(http.address, list, Some(new), &[]).await.status, 404);
}

#[tokio::test]
async fn a_session_is_not_ended_where_other_nodes_would_not_hear_of_it() {
    let mut shared_keys = options();
    shared_keys.ends_sessions = false;
    let http = serve_http_with(live(), shared_keys).await;
    let answer = post_legacy(http.address, &initialize("2025-11-25"), None, &[]).await;
    let session = [("Mcp-Session-Id", answer.header("mcp-session-id").unwrap())];
    let answer = request(http.address, "DELETE", "/mcp", &session, b"").await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, POST, OPTIONS")));
}

#[tokio::test]
async fn ht_03_host_header_spellings() {
    let http = serve_http().await;
    let port = http.address.port();
    let list = modern("1", "tools/list", "");
    for host in [
        format!("127.0.0.1:{port}"),
        format!("localhost:{port}"),
        format!("[::1]:{port}"),
        "127.0.0.1".to_owned(),
        format!("LOCALHOST:{port}"),
        "mcp.example.com".to_owned(),
        "mcp.example.com:8443".to_owned(),
    ] {
        assert_eq!(post(http.address, &list, &[("Host", &host)]).await.status, 200, "{host}");
    }
    for host in [
        "evil.example".to_owned(),
        format!("127.0.0.1.evil.example:{port}"),
        "localhost.evil.example".to_owned(),
    ] {
        assert_eq!(
            post(http.address, &call("1", "noargs", "{}"), &[("Host", &host)]).await.status,
            403,
            "{host}"
        );
    }
    assert_eq!(http.seen.started.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn ht_04_origin_is_three_valued() {
    let http = serve_http().await;
    let own = format!("http://127.0.0.1:{}", http.address.port());
    let list = modern("1", "tools/list", "");
    assert_eq!(post(http.address, &list, &[]).await.status, 200);
    for origin in [own.as_str(), "https://claude.AI"] {
        let answer = post(http.address, &list, &[("Origin", origin)]).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some(origin)));
        assert!(answer.header("access-control-expose-headers").unwrap().contains("Mcp-Session-Id"));
        let preflight = request(
            http.address,
            "OPTIONS",
            "/mcp",
            &[("Origin", origin), ("Access-Control-Request-Headers", "mcp-param-x")],
            b"",
        )
        .await;
        assert_eq!(
            (preflight.status, preflight.header("access-control-allow-headers")),
            (204, Some("mcp-param-x"))
        );
    }
    let twice = post(http.address, &list, &[("Origin", "http://evil.example"), ("origin", &own)]).await;
    assert_eq!((twice.status, twice.header("access-control-allow-origin")), (400, None));
    for origin in ["http://evil.example", "null", "http://localhost.evil.example"] {
        let answer = post(http.address, &list, &[("Origin", origin)]).await;
        assert_eq!((answer.status, answer.json().get("id")), (403, None), "{origin}");
        for method in ["OPTIONS", "GET"] {
            assert_eq!(request(http.address, method, "/mcp", &[("Origin", origin)], b"").await.status, 403);
        }
    }
}

#[tokio::test]
async fn ht_05_mcp_with_and_without_a_slash_and_no_redirects() {
    let http = serve_http().await;
    let body = modern("1", "tools/list", "");
    let headers = modern_headers(&body, &[]);
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for path in ["/mcp", "/mcp/"] {
        assert_eq!(request(http.address, "POST", path, &headers, body.as_bytes()).await.status, 200);
        // The local user is not behind a proxy.
        let forwarded = [&headers[..], &[("X-Forwarded-Proto", "https")]].concat();
        assert_eq!(request(http.address, "POST", path, &forwarded, body.as_bytes()).await.status, 403);
    }
    for path in ["/", "/mcp/x", "/mcpx", "/.well-known/oauth-protected-resource", "/register"] {
        assert_eq!(
            request(http.address, "POST", path, &headers, body.as_bytes()).await.status,
            404,
            "{path}"
        );
    }
    // A stand-alone stream needs its session; a revision that has none, or that method, says so.
    assert_eq!(request(http.address, "GET", "/mcp", &[], b"").await.status, 400);
    for (method, headers) in
        [("GET", &[("MCP-Protocol-Version", "2026-07-28")][..]), ("HEAD", &[]), ("PUT", &[])]
    {
        let answer = request(http.address, method, "/mcp", headers, b"").await;
        assert!(answer.status == 405 && answer.header("allow").is_some_and(|allow| allow.contains("POST")));
    }
}

#[tokio::test]
async fn ht_07_header_and_body_disagree() {
    let http = serve_http().await;
    let echo = call("1", "echo", r#"{"text":"x"}"#);
    for change in [
        ("Mcp-Method", ""),
        ("Mcp-Method", "Tools/Call"),
        ("Mcp-Name", "other"),
        ("Mcp-Name", ""),
        ("MCP-Protocol-Version", "2025-11-25"),
        ("MCP-Protocol-Version", ""),
        ("Mcp-Name", "=?base64?%%%?="),
        ("Mcp-Name", "=?base64?b3RoZXI=?="),
    ] {
        let answer = post(http.address, &echo, &[change]).await;
        assert_eq!(
            (answer.status, answer.code(), answer.json()["id"].clone()),
            (400, -32020, 1.into()),
            "{change:?}"
        );
    }
    assert_eq!(http.seen.started.load(Ordering::SeqCst), 0);
    assert_eq!(post(http.address, &echo, &[("mcp-NAME", "echo")]).await.status, 200);
    assert_eq!(post(http.address, &echo, &[("Mcp-Name", "=?base64?ZWNobw==?=")]).await.status, 200);
    let twice = post(http.address, &echo, &[("Mcp-Name", "echo"), ("mcp-name", "echo")]).await;
    assert_eq!((twice.status, twice.code()), (400, -32020));
    let future = echo.replace("2026-07-28", "2030-01-01");
    let answer = post(http.address, &future, &[("MCP-Protocol-Version", "2030-01-01")]).await;
    assert_eq!((answer.status, answer.code(), answer.json()["id"].clone()), (400, -32022, 1.into()));
    assert_eq!(
        answer.json()["error"]["data"],
        json!({ "supported": ["2026-07-28"], "requested": "2030-01-01" })
    );
    // Named as it was sent, or not at all.
    for (length, code) in [(256, -32022), (257, -32602)] {
        let long = "9".repeat(length);
        let body = echo.replace("2026-07-28", &long);
        let answer = post(http.address, &body, &[("MCP-Protocol-Version", &long)]).await;
        assert_eq!((answer.status, answer.code()), (400, code), "{answer:?}");
        if code == -32022 {
            assert_eq!(answer.json()["error"]["data"]["requested"], long);
        }
    }
    let answer = post(http.address, &future, &[]).await;
    assert_eq!((answer.status, answer.code()), (400, -32020), "known header, unknown body");
    let answer = post(http.address, &modern("1", "no/such", ""), &[]).await;
    assert_eq!((answer.status, answer.code(), answer.json()["id"].clone()), (404, -32601, 1.into()));
}

#[tokio::test]
async fn a_mixed_version_header_is_taken_only_by_switch_and_known_clients() {
    let body = call("1", "noargs", "{}").replace(
        "\"_meta\":{",
        r#""_meta":{"io.modelcontextprotocol/clientInfo":{"name":"claude-code","version":"2"},"#,
    );
    let mixed = [("MCP-Protocol-Version", "2025-11-25")];
    assert_eq!(post(serve_http().await.address, &body, &mixed).await.code(), -32020);
    let mut tolerant = options();
    tolerant.tolerate_version_header = true;
    let http = serve_http_with(live(), tolerant).await;
    assert_eq!(post(http.address, &body, &mixed).await.status, 200);
    assert_eq!(post(http.address, &body.replace("claude-code", "other"), &mixed).await.code(), -32020);
    assert_eq!(post(http.address, &body, &[mixed[0], ("Mcp-Name", "echo")]).await.code(), -32020);
}

#[tokio::test]
async fn ht_08_two_clients_same_id_same_moment() {
    let http = serve_http().await;
    let ask = async |text: &str, delay: u64| {
        let body = call("1", "echo", &format!(r#"{{"text":"{text}","delay":{delay}}}"#));
        assert_eq!(post(http.address, &body, &[]).await.json()["result"]["content"][0]["text"], text);
    };
    futures_util::future::join_all((0..50).map(|_| async { tokio::join!(ask("A", 50), ask("B", 0)) })).await;
    // In sessions of the handshake era the id is all that tells two calls of one session apart from those of another.
    let legacy = async |text: &str, delay: u64| {
        let answer = post_legacy(http.address, &initialize("2025-11-25"), None, &[]).await;
        let session = answer.header("mcp-session-id").unwrap();
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo","arguments":{{"text":"{text}","delay":{delay}}}}}}}"#
        );
        let answer = post_legacy(http.address, &body, Some(session), &[]).await;
        assert_eq!(answer.json()["result"]["content"][0]["text"], text);
    };
    let pairs = (0..50).map(|_| async { tokio::join!(legacy("A", 50), legacy("B", 0)) });
    futures_util::future::join_all(pairs).await;
    // One keep-alive connection, requests sent before the answers come.
    let mut connection = Connection::open(http.address).await;
    for round in 0..50 {
        for (text, delay) in [("A", 5), ("B", 0)] {
            let body = call("1", "echo", &format!(r#"{{"text":"{text}{round}","delay":{delay}}}"#));
            let headers = modern_headers(&body, &[]);
            let headers: Vec<(&str, &str)> =
                headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            connection.send("POST", "/mcp", &headers, body.as_bytes()).await;
        }
        for text in ["A", "B"] {
            assert_eq!(
                connection.answer().await.json()["result"]["content"][0]["text"],
                format!("{text}{round}")
            );
        }
    }
}

#[tokio::test]
async fn legacy_version_headers_are_read_leniently() {
    let http = serve_http().await;
    let session = post_legacy(http.address, &initialize("2025-06-18"), None, &[])
        .await
        .header("mcp-session-id")
        .unwrap()
        .to_owned();
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    for (version, status) in [
        ("2025-06-18", 200),
        ("2025-11-25", 200),
        ("2025-11-25, 2025-11-25", 200),
        ("2025-11-25, 2025-06-18", 400),
        ("1999-01-01", 400),
        ("x", 400),
    ] {
        let answer =
            post_legacy(http.address, list, Some(&session), &[("MCP-Protocol-Version", version)]).await;
        assert_eq!(answer.status, status, "{version}");
    }
    assert_eq!(post_legacy(http.address, list, Some(&session), &[]).await.status, 200);
    assert_eq!(
        post_legacy(
            http.address,
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            Some(&session),
            &[]
        )
        .await
        .status,
        202
    );
    assert_eq!(
        post_legacy(http.address, r#"{"jsonrpc":"2.0","id":5,"result":{}}"#, Some(&session), &[])
            .await
            .status,
        202
    );
    // An error of a method keeps 200 in this era.
    let unknown =
        post_legacy(http.address, r#"{"jsonrpc":"2.0","id":1,"method":"no/such"}"#, Some(&session), &[])
            .await;
    assert_eq!((unknown.status, unknown.code()), (200, -32601));
}

#[tokio::test]
async fn a_closed_stream_cancels_a_modern_call_and_not_a_legacy_one() {
    let http = serve_http().await;
    let running = || http.seen.running.load(Ordering::SeqCst);
    let body = call("1", "slow", r#"{"ms":5000}"#);
    let headers = modern_headers(&body, &[]);
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut connection = Connection::open(http.address).await;
    connection.send("POST", "/mcp", &headers, body.as_bytes()).await;
    wait_for(|| running() == 1).await;
    drop(connection);
    wait_for(|| running() == 0).await;

    let session = post_legacy(http.address, &initialize("2025-11-25"), None, &[])
        .await
        .header("mcp-session-id")
        .unwrap()
        .to_owned();
    let headers = [("Content-Type", "application/json"), ("Mcp-Session-Id", session.as_str())];
    let mut connection = Connection::open(http.address).await;
    connection.send("POST", "/mcp", &headers, br#"{"jsonrpc":"2.0","id":11,"method":"tools/call","params":{"name":"slow","arguments":{"ms":5000}}}"#).await;
    wait_for(|| running() == 1).await;
    drop(connection);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(running(), 1);
    let cancel = |id: &str| {
        format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#)
    };
    post_legacy(http.address, &cancel("\"11\""), Some(&session), &[]).await;
    assert_eq!(running(), 1);
    assert_eq!(post_legacy(http.address, &cancel("11"), Some(&session), &[]).await.status, 202);
    wait_for(|| running() == 0).await;
}

async fn wait_for(condition: impl Fn() -> bool) {
    for _ in 0..200 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the condition did not come to hold");
}

#[tokio::test]
async fn bodies_are_bounded_and_malformed_ones_answered() {
    let http = serve_http().await;
    for (body, status, code) in [
        ("not json", 400, -32700),
        ("", 400, -32700),
        ("[]", 400, -32600),
        ("{}", 400, -32600),
        ("\"x\"", 400, -32600),
    ] {
        let answer = post(http.address, body, &[]).await;
        assert_eq!((answer.status, answer.code(), answer.json().get("id")), (status, code, None), "{body}");
    }
    assert_eq!(post(http.address, "{}", &[("Content-Type", "text/plain")]).await.status, 415);
    assert_eq!(post(http.address, "{}", &[("Content-Type", "")]).await.status, 415);
    assert_eq!(
        post(
            http.address,
            &modern("1", "tools/list", ""),
            &[("Content-Type", "application/json; charset=utf-8")]
        )
        .await
        .status,
        200
    );
    assert_eq!(
        post(http.address, &modern("1", "tools/list", ""), &[("Content-Encoding", "gzip")]).await.status,
        415
    );
    let large = call("1", "echo", &format!(r#"{{"text":"{}"}}"#, "x".repeat(MAX_BODY)));
    assert_eq!(post(http.address, &large, &[]).await.status, 413);
    let fits = call("1", "echo", &format!(r#"{{"text":"{}"}}"#, "x".repeat(MAX_BODY - 1000)));
    assert_eq!(post(http.address, &fits, &[]).await.status, 200);
}

#[tokio::test]
async fn stopping_lets_calls_finish_and_refuses_new_ones() {
    let mut http = serve_http().await;
    let address = http.address;
    let slow = async { post(address, &call("1", "slow", r#"{"ms":600}"#), &[]).await };
    let stop = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        http.stop.cancel();
        http.ended.take().unwrap().await.unwrap();
    };
    let (answer, ()) = tokio::join!(slow, stop);
    assert_eq!(answer.json()["result"]["content"][0]["text"], "done");
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn too_much_in_flight_is_refused_at_once() {
    let http = serve_http().await;
    let slow: Vec<_> = (0..200)
        .map(|_| async { post(http.address, &call("1", "slow", r#"{"ms":2500}"#), &[]).await.status })
        .collect();
    let over = async {
        wait_for(|| http.seen.running.load(Ordering::SeqCst) == 200).await;
        let answer = post(http.address, &call("2", "noargs", "{}"), &[]).await;
        assert_eq!((answer.status, answer.code(), answer.json()["id"].clone()), (503, 503, 2.into()));
        assert_eq!(answer.header("retry-after"), Some("1"));
    };
    let (statuses, ()) = tokio::join!(futures_util::future::join_all(slow), over);
    assert!(statuses.iter().all(|status| *status == 200));
}

#[tokio::test]
async fn a_client_that_is_slow_with_its_head_is_let_go() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut options = options();
    options.head_timeout = Duration::from_millis(300);
    let http = serve_http_with(live(), options).await;
    // A request under way is not a slow head, however long it takes.
    assert_eq!(post(http.address, &call("1", "slow", r#"{"ms":900}"#), &[]).await.status, 200);
    let mut stream = tokio::net::TcpStream::connect(http.address).await.unwrap();
    let started = std::time::Instant::now();
    let mut rest = Vec::new();
    let (mut read, mut write) = stream.split();
    tokio::select! {
        _ = async { loop { let _ = write.write_all(b"P").await; tokio::time::sleep(Duration::from_millis(20)).await; } } => {}
        _ = read.read_to_end(&mut rest) => {}
    }
    let waited = started.elapsed();
    assert!(waited > Duration::from_millis(200) && waited < Duration::from_secs(1), "{waited:?}");
}

#[tokio::test]
async fn the_version_of_http_is_told_by_the_first_bytes_however_they_come() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let http = serve_http().await;
    let body = call("1", "noargs", "{}");
    let head = modern_headers(&body, &[]);
    let head: String = head.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let first =
        format!("POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n{head}\r\n", body.len());
    let settings = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
    let mut answer = [0; 12];
    for cut in 1..5 {
        for (bytes, expected) in
            [([first.as_bytes(), body.as_bytes()].concat(), true), (settings.clone(), false)]
        {
            let mut stream = tokio::net::TcpStream::connect(http.address).await.unwrap();
            stream.write_all(&bytes[..cut]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(30)).await;
            stream.write_all(&bytes[cut..]).await.unwrap();
            stream.read_exact(&mut answer).await.unwrap();
            match expected {
                true => assert_eq!(&answer, b"HTTP/1.1 200"),
                // A frame of settings.
                false => assert_eq!(answer[3], 4, "{answer:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut_off() {
    let mut hasty = options();
    hasty.head_timeout = Duration::from_millis(600);
    let http = serve_http_with(live(), hasty).await;
    let body = call("1", "echo", &format!(r#"{{"text":"{}"}}"#, "x".repeat(MAX_BODY - 1000)));
    let headers = modern_headers(&body, &[]);
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut slow = Connection::open_narrow(http.address).await;
    let mut idle = Connection::open(http.address).await;
    // Both read nothing for a while; what the second leaves is so little that the system takes it.
    slow.send("POST", "/mcp", &headers, body.as_bytes()).await;
    let quick = call("2", "noargs", "{}");
    let quick_headers = modern_headers(&quick, &[]);
    let quick_headers: Vec<(&str, &str)> =
        quick_headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    idle.send("POST", "/mcp", &quick_headers, quick.as_bytes()).await;
    tokio::time::sleep(Duration::from_millis(2000)).await;
    assert!(slow.is_cut_short().await, "the whole answer was kept for it");
    assert_eq!(idle.answer().await.status, 200);
}
