//! `trunkline serve`: starts, what it says, health pages, and ends.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use trunkline_testkit::within;

use crate::support::{
    COUNT, Folder, SLOW, Server, config, eventually, free_port, http, raw, trunkline, wait,
};

#[test]
fn serve_says_its_connectors_and_its_address_and_keeps_stdout_empty() {
    let folder = Folder::new();
    folder.write(&config(COUNT));
    let mut server = Server::start(&folder);
    assert_eq!(
        server.said(),
        format!("connector shop: sqlite, 1 tool, ready\nserving http://{}/mcp\n", server.address)
    );
    let answer = server.call("count_customers", &json!({}));
    assert_eq!(answer["result"]["structuredContent"]["rows"][0]["n"], 2, "{answer}");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_signal_lets_the_call_in_flight_finish() {
    let folder = Folder::new();
    folder.write(&config(SLOW));
    let mut server = Server::start(&folder);
    let address = server.address;
    let call = std::thread::spawn(move || crate::support::call(address, "slow", &json!({ "n": 1_000_000 })));
    eventually("the call never started", || std::net::TcpStream::connect(address).is_ok());
    // Long enough for the call to be read, much shorter than it takes.
    crate::support::pause();
    crate::support::pause();
    server.signal("INT");
    let answer = call.join().unwrap();
    assert_eq!(answer["result"]["structuredContent"]["rows"][0]["x"], 1_000_000, "{answer}");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_wrong_file_exits_78_with_an_empty_stdout_on_both_edges() {
    let folder = Folder::new();
    for text in [
        "[server\n",
        "",
        "[connectors.shop]\ntype = \"sqlite\"\npath = \"shop.db\"\nlimitt = 1\n",
        "[connectors.shop]\ntype = \"postgres\"\nurl = \"not an address\"\n",
        "[limits]\ncaller = \"many\"\n",
    ] {
        folder.write(text);
        for args in [&["serve"][..], &["serve", "--stdio"]] {
            let output = folder.run(args);
            assert_eq!((output.status.code(), output.stdout.len()), (Some(78), 0), "{text} {output:?}");
            assert!(String::from_utf8_lossy(&output.stderr).contains("trunkline.toml:"), "{output:?}");
        }
    }
}

#[test]
fn an_address_that_is_not_loopback_exits_78_and_names_auth() {
    let folder = Folder::new();
    folder.write(&config(COUNT).replace("listen = \"127.0.0.1:", "listen = \"0.0.0.0:"));
    let from_file = folder.run(&["serve"]);
    folder.write(&config(COUNT));
    for output in [
        from_file,
        folder.run(&["serve", "--listen", "0.0.0.0:0"]),
        folder.run(&["demo", "--listen", "0.0.0.0:0"]),
    ] {
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("`[auth]`"), "{output:?}");
    }
}

#[test]
fn a_taken_port_exits_69_and_a_taken_admin_port_only_warns() {
    let folder = Folder::new();
    let (taken, free) = (std::net::TcpListener::bind("127.0.0.1:0").unwrap(), free_port());
    let taken = taken.local_addr().unwrap();
    folder.write(&config(COUNT));
    let output = folder.run(&["serve", "--listen", &taken.to_string()]);
    assert_eq!(output.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&format!("`{taken}` is taken")), "{output:?}");
    let holder = std::net::TcpListener::bind(("127.0.0.1", free)).unwrap();
    folder.write(&format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:{free}\"\n[connectors.shop]\ntype = \"sqlite\"\npath = \"shop.db\"\n{COUNT}"
    ));
    let server = Server::start(&folder);
    assert!(
        server.said().contains(&format!("warning: no admin pages on 127.0.0.1:{free}")),
        "{}",
        server.said()
    );
    drop(holder);
}

fn admin_of(config: &str) -> std::net::SocketAddr {
    config.split("[admin]\nlisten = \"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap()
}

#[test]
fn health_pages_tell_which_connector_is_not_ready() {
    let folder = Folder::new();
    let text = config(COUNT);
    let late = "[connectors.late]\ntype = \"sqlite\"\npath = \"late.db\"\n[tools.later]\nconnector = \"late\"\nsql = \"select x from t\"\n";
    folder.write(&format!("{text}{late}"));
    let server = Server::start(&folder);
    let admin = admin_of(&text);
    assert_eq!(http(admin, "GET /livez", "", ""), (200, "ok\n".into()));
    let (status, body) = http(admin, "GET /readyz", "", "");
    assert_eq!(status, 503);
    assert!(body.contains("connector late") && !body.contains("connector shop"), "{body}");
    assert_eq!(http(admin, "GET /livez", "Host: evil.example\r\n", "").0, 403);
    assert_eq!(http(admin, "GET /livez", "Origin: http://evil.example\r\n", "").0, 403);
    // The file appears: the connector becomes ready by itself, and the list gets its types.
    assert!(server.call("later", &json!({}))["result"]["isError"].as_bool().unwrap());
    let making = rusqlite::Connection::open(folder.path().join("late.db.new")).unwrap();
    making.execute_batch("create table t (x integer not null) strict; insert into t values (7)").unwrap();
    drop(making);
    std::fs::rename(folder.path().join("late.db.new"), folder.path().join("late.db")).unwrap();
    eventually("it never got ready", || http(admin, "GET /readyz", "", "").0 == 200);
    assert_eq!(server.call("later", &json!({}))["result"]["structuredContent"]["rows"][0]["x"], 7);
    assert_eq!(server.tools(), ["count_customers", "later"]);
    // What was ready and is gone is not ready.
    std::fs::rename(folder.path().join("late.db"), folder.path().join("late.db.gone")).unwrap();
    eventually("it stays ready without its database", || {
        let (status, body) = http(admin, "GET /readyz", "", "");
        status == 503 && body.contains("connector late: the database does not answer")
    });
    std::fs::rename(folder.path().join("late.db.gone"), folder.path().join("late.db")).unwrap();
    eventually("it never got ready again", || http(admin, "GET /readyz", "", "").0 == 200);
}

#[test]
fn the_admin_listener_checks_hosts_as_the_endpoint_does_and_waits_for_nobody() {
    let folder = Folder::new();
    let text = config(COUNT);
    folder.write(&text);
    let _server = Server::start(&folder);
    let admin = admin_of(&text);
    assert_eq!(http(admin, "GET http://evil.example/livez", "Host: 127.0.0.1\r\n", "").0, 403);
    assert_eq!(http(admin, "GET http://127.0.0.1/livez", "Host: 127.0.0.1\r\n", "").0, 200);
    assert_eq!(http(admin, "GET /livez", "X-Forwarded-For: 10.0.0.1\r\n", "").0, 403);
    assert_eq!(http(admin, "GET /livez", "Host: 127.0.0.1\r\nHost: 127.0.0.1\r\n", "").0, 403);
    let mut slow = std::net::TcpStream::connect(admin).unwrap();
    slow.write_all(b"GET /livez HTTP/1.1\r\nHost: 127").unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let (started, mut rest) = (Instant::now(), Vec::new());
    // Closed, with or without a word about it.
    let _ = slow.read_to_end(&mut rest);
    assert!(started.elapsed() < Duration::from_secs(9), "half a head is waited for");
}

#[test]
fn a_session_is_ended_only_where_no_other_node_could_go_on_with_it() {
    let folder = Folder::new();
    for (keys, status) in [
        ("", 204),
        ("seal-keys = [\"0101010101010101010101010101010101010101010101010101010101010101\"]\n", 405),
    ] {
        folder.write(&config(COUNT).replace("[admin]", &format!("{keys}[admin]")));
        let server = Server::start(&folder);
        let initialize = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } } });
        let head = "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n";
        let answer = raw(server.address, "POST /mcp", head, &initialize.to_string());
        let session =
            answer.lines().find(|line| line.to_ascii_lowercase().starts_with("mcp-session-id:")).unwrap();
        let answer = raw(server.address, "DELETE /mcp", &format!("{session}\r\n"), "");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{keys}: {answer}");
    }
}

#[test]
fn st_05_end_of_input_ends_the_server() {
    let folder = Folder::new();
    folder.write(&config(COUNT));
    let started = Instant::now();
    let output = folder.run(&["serve", "--stdio"]);
    assert_eq!(
        (output.status.code(), output.stdout.len(), output.stderr.len()),
        (Some(0), 0, 0),
        "{output:?}"
    );
    assert!(started.elapsed() < within(Duration::from_secs(2)), "{:?}", started.elapsed());

    let mut child = trunkline()
        .args(["serve", "--stdio", "-c"])
        .arg(folder.config())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let initialize = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } } });
    let list = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" });
    let mut answers = Vec::new();
    for message in [initialize, list] {
        writeln!(stdin, "{message}").unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        answers.push(serde_json::from_str::<Value>(&line).unwrap());
    }
    let tool = &answers[1]["result"]["tools"][0];
    assert_eq!(tool["name"], "count_customers");
    assert!(tool["outputSchema"].is_object(), "the head start gives the first list its types: {tool}");
    let closed = Instant::now();
    drop(stdin);
    assert_eq!(wait(&mut child).code(), Some(0));
    assert!(closed.elapsed() < within(Duration::from_secs(2)), "{:?}", closed.elapsed());
}

#[test]
fn st_01_nothing_but_messages_on_stdout() {
    let folder = Folder::new();
    let down = format!(
        "[connectors.down]\ntype = \"postgres\"\nurl = \"postgres://127.0.0.1:{}/db\"\n",
        free_port()
    );
    let tool = "[tools.unreachable]\nconnector = \"down\"\nsql = \"select 1 as one\"\n";
    folder.write(&config(&format!("[log]\nlevel = \"trace\"\n{COUNT}{down}{tool}")));
    let mut child = trunkline()
        .args(["serve", "--stdio", "-c"])
        .arg(folder.config())
        .env("TRUNKLINE_LOG", "trace")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {} });
    let request = |id: u32, method: &str, mut params: Value| {
        params["_meta"] = meta.clone();
        json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
    };
    writeln!(stdin, "{}", request(1, "tools/list", json!({}))).unwrap();
    for (id, tool) in [(2, "count_customers"), (3, "unreachable"), (4, "nothing")] {
        writeln!(stdin, "{}", request(id, "tools/call", json!({ "name": tool }))).unwrap();
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let stdout = String::from_utf8(output.stdout).unwrap();
    let mut ids: Vec<i64> = Vec::new();
    for line in stdout.lines() {
        let message: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(message["jsonrpc"], "2.0");
        ids.push(message["id"].as_i64().unwrap());
    }
    ids.sort_unstable();
    assert_eq!(ids, [1, 2, 3, 4]);
    assert!(!stdout.contains('\u{1b}'));
}

#[test]
fn log_lines_are_json_when_asked_for() {
    let folder = Folder::new();
    folder.write(&config(&format!("[log]\nformat = \"json\"\n{COUNT}")));
    let server = Server::start(&folder);
    for line in server.said().lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(line["level"], "INFO");
    }
}
