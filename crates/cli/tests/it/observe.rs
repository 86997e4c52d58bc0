//! What a running server tells of itself: metrics, whether it is ready, and lines of the log with their request and trace.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use base64::Engine as _;
use serde_json::{Value, json};
use trunkline_testkit::metrics::Metrics;

use crate::support::{COUNT, Folder, SLOW, Server, config, eventually, http, raw, trunkline};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn admin_of(config: &str) -> SocketAddr {
    config.split("[admin]\nlisten = \"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap()
}

fn scrape(admin: SocketAddr) -> Metrics {
    let (status, text) = http(admin, "GET /metrics", "", "");
    assert_eq!(status, 200);
    Metrics::parse(&text).unwrap_or_else(|wrong| panic!("{wrong}\nin\n{text}"))
}

/// Sends one request of 2026-07-28 with more headers and more of `_meta`.
fn send(address: SocketAddr, head: &str, method: &str, mut params: Value, meta: Value) -> (u16, String) {
    let mut whole = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    whole.as_object_mut().unwrap().extend(meta.as_object().cloned().unwrap_or_default());
    params["_meta"] = whole;
    let name = params["name"].as_str().map(|name| format!("Mcp-Name: {name}\r\n")).unwrap_or_default();
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
    let head = format!(
        "Content-Type: application/json\r\nAccept: application/json\r\nMCP-Protocol-Version: 2026-07-28\r\n\
         Mcp-Method: {method}\r\n{name}{head}"
    );
    http(address, "POST /mcp", &head, &body)
}

#[test]
fn a_page_of_metrics_tells_of_every_tool_and_what_its_calls_came_to() {
    let folder = Folder::new();
    let text = config(&format!("{COUNT}{SLOW}"));
    folder.write(&text);
    let server = Server::start(&folder);
    let admin = admin_of(&text);
    let before = scrape(admin);
    let calls = |outcome: &str| {
        format!(
            r#"trunkline_requests_total{{method="tools/call",name="count_customers",outcome="{outcome}"}}"#
        )
    };
    // Also those that nobody called yet are there.
    assert_eq!(before.value(&calls("ok")), Some(0.0));
    for _ in 0..3 {
        server.call("count_customers", &json!({}));
    }
    server.call("count_customers", &json!({ "n": 1 }));
    server.call("slow", &json!({ "n": "none" }));
    server.call("nothing", &json!({}));
    let page = scrape(admin);
    assert_eq!((page.value(&calls("ok")), page.value(&calls("tool-error"))), (Some(3.0), Some(1.0)));
    assert_eq!(page.sum("trunkline_requests_total", &[r#"name="slow""#, r#"outcome="tool-error""#]), 1.0);
    assert_eq!(
        page.sum("trunkline_requests_total", &[r#"name="(unknown)""#, r#"outcome="invalid-params""#]),
        1.0
    );
    let took = "trunkline_request_duration_seconds";
    assert_eq!(page.sum(&format!("{took}_count"), &[r#"name="count_customers""#]), 4.0);
    assert!(page.sum(&format!("{took}_sum"), &[r#"name="count_customers""#]) > 0.0);
    assert!(page.sum("trunkline_result_bytes_total", &[r#"name="count_customers""#]) > 60.0);
    assert_eq!(page.sum("trunkline_result_rows_total", &[r#"name="count_customers""#]), 3.0);
    assert_eq!(page.sum("trunkline_requests_in_flight", &[]), 0.0);
    assert_eq!(page.sum("trunkline_http_responses_total", &[r#"status="200""#]), 5.0);
    assert_eq!(page.value(r#"trunkline_connector_ready{connector="shop",type="sqlite"}"#), Some(1.0));
    for name in ["process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"] {
        // The seconds are told in steps of a hundredth, and a process as young as this may not have used one.
        let least = if name == "process_cpu_seconds_total" { -0.1 } else { 0.0 };
        assert!(page.value(name).is_some_and(|value| value > least) || !cfg!(target_os = "linux"), "{name}");
    }
    // The same in the other format, which says so.
    let answer = raw(admin, "GET /metrics", "Accept: application/openmetrics-text;version=1.0.0\r\n", "");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    let open = Metrics::parse(body).unwrap();
    assert_eq!(open.value(&calls("ok")), Some(3.0));
    assert!(body.ends_with("# EOF\n"));
    // Whatever can be seen there is explained.
    let docs = include_str!("../../../../docs/observe.md");
    let missing: Vec<&str> = page.names().filter(|name| !docs.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/observe.md does not tell of {missing:?}");
}

#[test]
fn a_request_under_way_is_in_flight_and_counts_go_on_after_a_reload() {
    let folder = Folder::new();
    let text = config(&format!("{COUNT}{SLOW}"));
    folder.write(&text);
    let server = Server::start(&folder);
    let (address, admin) = (server.address, admin_of(&text));
    server.call("count_customers", &json!({}));
    let call = std::thread::spawn(move || crate::support::call(address, "slow", &json!({ "n": 3_000_000 })));
    let in_flight = r#"trunkline_requests_in_flight{method="tools/call",name="slow"}"#;
    eventually("the call is not in flight", || scrape(admin).value(in_flight) == Some(1.0));
    // The tool goes, and another comes; what was counted stays.
    let more = "[tools.other]\nconnector = \"shop\"\nsql = \"select 1 as one\"\n";
    folder.write(&format!("{text}{more}"));
    let other = r#"trunkline_requests_total{method="tools/call",name="other",outcome="ok"}"#;
    eventually("the file is not taken up", || scrape(admin).value(other) == Some(0.0));
    let page = scrape(admin);
    assert_eq!(page.sum("trunkline_requests_total", &[r#"name="count_customers""#, r#"outcome="ok""#]), 1.0);
    call.join().unwrap();
    eventually("the call stays in flight", || scrape(admin).value(in_flight) == Some(0.0));
    assert_eq!(scrape(admin).sum("trunkline_requests_total", &[r#"name="slow""#, r#"outcome="ok""#]), 1.0);
}

#[test]
fn ob_01_callers_cannot_create_metric_series() {
    let folder = Folder::new();
    let text = config(&format!("{COUNT}[auth.keys]\nstore = \"./keys.db\"\n"));
    folder.write(&text);
    let output = folder.run(&["keys", "create", "ann", "--output", "json"]);
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    let bearer = format!("Authorization: Bearer {}\r\n", made["key"].as_str().unwrap());
    let server = Server::start(&folder);
    let (address, admin) = (server.address, admin_of(&text));
    let odd = ["a\"b", "a\\b", "\u{e4}\u{2028}", "%0a", "{x=\"y\"} 1"];
    let name = |number: usize| format!("{}-{number}", odd[number % odd.len()]);
    // Headers hold names as base64, as the protocol has it.
    let encoded =
        |name: &str| format!("=?base64?{}?=", base64::engine::general_purpose::STANDARD.encode(name));
    // A tool that is configured keeps its own series.
    let call_configured = || {
        let params = json!({ "name": "count_customers" });
        assert_eq!(send(address, &bearer, "tools/call", params, json!({})).0, 200);
    };
    call_configured();
    let before = scrape(admin);
    std::thread::scope(|scope| {
        for worker in 0..4_usize {
            let (bearer, name, encoded) = (&bearer, &name, &encoded);
            scope.spawn(move || {
                let head = if worker % 2 == 0 { bearer.as_str() } else { "" };
                for number in (worker..1000).step_by(4) {
                    let tool = name(number);
                    let mut body = json!({
                        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
                        "params": { "name": tool, "_meta": {
                            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                            "io.modelcontextprotocol/clientCapabilities": {},
                            "io.modelcontextprotocol/clientInfo": { "name": name(number), "version": "1" },
                        } },
                    });
                    let mut ask = |method: &str, path: &str| {
                        body["method"] = method.into();
                        let head = format!(
                            "{head}Content-Type: application/json\r\nMCP-Protocol-Version: 2026-07-28\r\n\
                             Mcp-Method: {method}\r\nMcp-Name: {}\r\nUser-Agent: agent-{number}\r\n",
                            encoded(&tool)
                        );
                        http(address, &format!("POST {path}"), &head, &body.to_string()).0
                    };
                    ask("tools/call", "/mcp");
                    if number < 500 {
                        ask(&format!("made/up-{number}"), "/mcp");
                    }
                    if number < 200 {
                        ask("tools/call", &format!("/path-{number}"));
                        ask("prompts/get", &format!("/mcp?x={number}"));
                    }
                }
            });
        }
    });
    call_configured();
    let after = scrape(admin);
    let keys = |page: &Metrics| page.series.keys().cloned().collect::<BTreeSet<_>>();
    let new: Vec<String> = keys(&after).difference(&keys(&before)).cloned().collect();
    assert!(new.len() < 50, "{} new series: {new:#?}", new.len());
    assert_eq!(
        after.sum("trunkline_requests_total", &[r#"name="(unknown)""#, r#"method="tools/call""#]),
        500.0
    );
    assert_eq!(after.sum("trunkline_requests_total", &[r#"method="unknown""#]), 250.0);
    assert_eq!(after.sum("trunkline_requests_total", &[r#"name="count_customers""#]), 2.0);
    assert!(after.sum("trunkline_http_refused_total", &[r#"reason="no-credentials""#]) >= 500.0);
    assert!(!after.series.keys().any(|series| series.contains("agent-") || series.contains("made/up")));
}

#[test]
fn ready_is_told_as_json_and_with_all_connectors_where_that_is_asked() {
    let folder = Folder::new();
    let text = config(COUNT);
    let late = "[connectors.late]\ntype = \"sqlite\"\npath = \"late.db\"\n[tools.later]\nconnector = \"late\"\nsql = \"select x from t\"\n";
    folder.write(&format!("{text}{late}"));
    let _server = Server::start(&folder);
    let admin = admin_of(&text);
    let (status, body) = http(admin, "GET /readyz", "Accept: application/json\r\n", "");
    let told: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &told["ready"]), (503, &json!(false)), "{body}");
    let connectors = told["connectors"].as_array().unwrap();
    let of = |name: &str| connectors.iter().find(|one| one["name"] == name).unwrap();
    assert_eq!(*of("shop"), json!({ "name": "shop", "type": "sqlite", "ready": true }));
    assert_eq!(of("late")["ready"], json!(false));
    assert!(of("late")["reason"].is_string(), "{body}");
    let (_, body) = http(admin, "GET /readyz?verbose", "", "");
    assert!(body.contains("connector shop: ready\n") && body.contains("connector late: "), "{body}");
}

#[test]
fn a_server_that_stops_is_not_ready_while_its_last_requests_finish() {
    let folder = Folder::new();
    let text = config(SLOW);
    folder.write(&text);
    let mut server = Server::start(&folder);
    let (address, admin) = (server.address, admin_of(&text));
    let call = std::thread::spawn(move || crate::support::call(address, "slow", &json!({ "n": 3_000_000 })));
    let in_flight = r#"trunkline_requests_in_flight{method="tools/call",name="slow"}"#;
    eventually("the call is not in flight", || scrape(admin).value(in_flight) == Some(1.0));
    assert_eq!(http(admin, "GET /readyz", "", "").0, 200);
    server.signal("TERM");
    eventually("it stays ready", || {
        let (status, body) = http(admin, "GET /readyz", "", "");
        status == 503 && body.contains("stopping")
    });
    assert_eq!(http(admin, "GET /livez", "", ""), (200, "ok\n".into()));
    let answer = call.join().unwrap();
    assert_eq!(answer["result"]["structuredContent"]["rows"][0]["x"], 3_000_000, "{answer}");
    assert_eq!(server.wait().code(), Some(0));
}

/// Starts a server that logs each request as JSON.
fn logging(folder: &Folder, level: &str) -> Server {
    let mut command = trunkline();
    command.args(["serve", "-c"]).arg(folder.config()).env("TRUNKLINE_LOG", level);
    Server::spawn(command)
}

#[test]
fn every_line_of_a_request_has_its_number_and_the_trace_it_came_with() {
    let folder = Folder::new();
    let text = config(&format!(
        "{COUNT}[log]\nformat = \"json\"\n[audit]\nsink = \"file:./audit.log\"\nkey = \"{}\"\n",
        "ab".repeat(32)
    ));
    folder.write(&text);
    let server = logging(&folder, "debug");
    let call = json!({ "name": "count_customers" });
    let header = format!("traceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\ntracestate: a=1\r\n");
    let other = "0af7651916cd43dd8448eb211c80319c";
    let meta = json!({ "traceparent": format!("00-{other}-b7ad6b7169203331-01") });
    send(server.address, &header, "tools/call", call.clone(), json!({}));
    send(server.address, &header, "tools/call", call.clone(), meta);
    send(server.address, "traceparent: 00-not-one-01\r\n", "tools/call", call.clone(), json!({}));
    send(server.address, &header, "tools/call", json!({ "name": "S3CRET" }), json!({}));
    let lines = || -> Vec<Value> {
        let said = server.said();
        said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    let access = || -> Vec<Value> {
        lines().into_iter().filter(|line| line["target"] == "trunkline_access").collect()
    };
    eventually("four requests have no lines", || access().len() == 4);
    let access = access();
    for line in &access {
        assert!(line["timestamp"].is_string() && line["us"].is_u64() && line["bytes_in"].is_u64(), "{line}");
        assert_eq!(
            (&line["level"], &line["method"], &line["by"]),
            (&json!("DEBUG"), &json!("tools/call"), &json!("local"))
        );
        assert_eq!(line["request"].as_str().unwrap().len(), 16, "{line}");
        assert_eq!(line["trace_id"].as_str().unwrap().len(), 32, "{line}");
    }
    assert_eq!(access[0]["trace_id"], TRACE);
    assert_eq!((&access[0]["name"], &access[0]["outcome"]), (&json!("count_customers"), &json!("ok")));
    assert_eq!(access[1]["trace_id"], other, "`_meta` goes before the header");
    assert!(access[2]["trace_id"] != TRACE && access[2]["trace_id"] != other);
    // What the caller made up stands in no line.
    assert_eq!((access[3].get("name"), &access[3]["outcome"]), (None, &json!("invalid-params")));
    // The edge's own line of the refusal belongs to the same request and trace.
    let refusal = lines().into_iter().find(|line| line["kind"] == "InvalidParams").unwrap();
    assert_eq!((&refusal["request"], &refusal["trace_id"]), (&access[3]["request"], &json!(TRACE)));
    // The head of the record is one series, however many lines there are.
    let head = |page: &Metrics| page.value("trunkline_audit_head_seq");
    let page = scrape(admin_of(&text));
    assert!(head(&page).is_some_and(|number| number >= 4.0), "{:?}", page.series.keys());
    // The record has the trace that came, from wherever it came.
    let record = std::fs::read_to_string(folder.path().join("audit.log")).unwrap();
    let traces: Vec<Option<String>> = record
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["kind"] == "call")
        .map(|line| line["trace"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(traces, [Some(TRACE.to_owned()), Some(other.to_owned()), None, Some(TRACE.to_owned())]);
}

#[test]
fn the_level_of_the_log_follows_the_file() {
    let folder = Folder::new();
    let text = config(COUNT);
    folder.write(&format!("{text}[log]\nlevel = \"info\"\n"));
    let server = Server::start(&folder);
    server.call("count_customers", &json!({}));
    assert!(!server.said().contains("answered"), "{}", server.said());
    folder.write(&format!("{text}[log]\nlevel = \"debug\"\n"));
    eventually("the level stays", || {
        server.call("count_customers", &json!({}));
        server.said().contains("name=\"count_customers\" outcome=\"ok\"")
    });
}
