//! How often a served file may be asked: who is counted, what a refusal looks like on both edges, and that nodes share.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;

use serde_json::{Value, json};
use trunkline_testkit::redis;

use crate::stdio::Host;
use crate::support::{COUNT, Folder, Server, config, eventually, raw, trunkline};

const KEYS: &str = "[auth.keys]\nstore = \"./keys.db\"\n[roles.all]\nallow = [\"tools:*\"]\n";

/// A file whose callers have keys, and a key for each name.
fn folder(rest: &str, names: &[&str]) -> (Folder, Vec<String>) {
    let folder = Folder::new();
    folder.write(&config(&format!("{COUNT}{KEYS}{rest}")));
    let keys = names.iter().map(|name| {
        let made = folder.run(&["keys", "create", name, "--role", "all", "--output", "json"]);
        let made: Value = serde_json::from_slice(&made.stdout).unwrap();
        made["key"].as_str().unwrap().to_owned()
    });
    let keys = keys.collect();
    (folder, keys)
}

/// An answer with its head.
struct Got {
    status: u16,
    head: String,
    body: Value,
}

impl Got {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

fn send(server: &Server, head: &str, body: &Value) -> Got {
    let fixed = "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n";
    let answer = raw(server.address, "POST /mcp", &format!("{fixed}{head}"), &body.to_string());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let body = body.trim().trim_start_matches("event: message").trim().trim_start_matches("data:").trim();
    Got {
        status: head[9..12].parse().unwrap(),
        body: serde_json::from_str(body).unwrap_or_default(),
        head: head.to_owned(),
    }
}

/// Calls the tool that counts, as the modern era does.
fn call(server: &Server, key: &str, head: &str, id: u32) -> Got {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let params = json!({ "name": "count_customers", "arguments": {}, "_meta": meta });
    let head = format!(
        "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: count_customers\r\n\
         Authorization: Bearer {key}\r\n{head}"
    );
    send(server, &head, &json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params }))
}

#[test]
fn li_01_an_address_is_that_of_the_connection_unless_a_trusted_proxy_names_another() {
    let limit = "[limits]\naddress = \"5/hour\"\n";
    let (untrusting, keys) = folder(limit, &["a"]);
    let server = Server::start(&untrusting);
    let claims = |number: u32| {
        let other = format!("198.51.{}.{}", number / 250, number % 250 + 1);
        format!("X-Forwarded-For: {other}\r\nX-Real-IP: {other}\r\nForwarded: for={other}\r\n")
    };
    let passed = |got: Vec<Got>| got.into_iter().filter(|got| got.status == 200).count();
    assert_eq!(passed((0..20).map(|number| call(&server, &keys[0], &claims(number), number)).collect()), 5);
    let refused = call(&server, &keys[0], "", 99);
    // Before the body was read: without an id.
    assert_eq!(
        (refused.status, &refused.body["error"]["code"], refused.body.get("id")),
        (429, &json!(429), None)
    );
    assert_eq!(refused.header("Retry-After"), Some("720"));
    // And before anybody looked at who asks.
    assert_eq!(call(&server, "no-key", "", 1).status, 429);
    drop(server);

    let (trusting, keys) = folder(limit, &["a"]);
    let text = std::fs::read_to_string(trusting.config()).unwrap();
    trusting.write(&text.replace("[server]\n", "[server]\ntrusted-proxies = [\"127.0.0.1\"]\n"));
    let server = Server::start(&trusting);
    let behind = |number: u32, address: &str| format!("X-Forwarded-For: 198.51.100.{number}, {address}\r\n");
    let ask = |number: u32| call(&server, &keys[0], &behind(number, "203.0.113.9"), number);
    assert_eq!(passed((0..20).map(ask).collect()), 5);
    assert_eq!(call(&server, &keys[0], &behind(1, "203.0.113.10"), 1).status, 200);
}

#[test]
fn li_02_what_is_too_much_of_one_caller_is_told_in_both_eras_and_another_is_served() {
    let (folder, keys) = folder("[limits]\ncaller = { rate = \"1/s\", burst = 5 }\n", &["a", "b"]);
    let server = Server::start(&folder);
    let answers: Vec<Got> = (1..=9).map(|id| call(&server, &keys[0], "", id)).collect();
    let (passed, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|got| got.status == 200);
    assert!((5..=7).contains(&passed.len()), "{} passed", passed.len());
    let one = refused.last().unwrap();
    assert_eq!((one.status, &one.body["id"], &one.body["error"]["code"]), (429, &json!(9), &json!(429)));
    let text = one.body["error"]["message"].as_str().unwrap();
    assert!(text.contains("`limits.caller` lets through 1 request a second, 5 at once"), "{text}");
    assert_eq!(one.header("RateLimit-Policy"), Some("\"limits.caller\";q=1;w=1"));
    assert_eq!(one.header("RateLimit"), Some("\"limits.caller\";r=0;t=1"));
    assert_eq!(one.header("Retry-After"), Some("1"));
    let wait = one.body["error"]["data"]["retryAfterMs"].as_u64().unwrap();
    assert!((1..=1000).contains(&wait), "{wait}");
    assert_eq!(call(&server, &keys[1], "", 1).status, 200);
    // The era of sessions is told in the same way, and so is whoever asks for what does not exist.
    let bearer = format!("Authorization: Bearer {}\r\n", keys[1]);
    let initialize = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "it", "version": "1" } } });
    let session = send(&server, &bearer, &initialize);
    let head = format!("{bearer}Mcp-Session-Id: {}\r\n", session.header("Mcp-Session-Id").unwrap());
    let list = |id: u32| send(&server, &head, &json!({ "jsonrpc": "2.0", "id": id, "method": "tools/list" }));
    let refused = (1..20).map(list).find(|got| got.status != 200).unwrap();
    assert_eq!(
        (refused.status, &refused.body["error"]["code"], refused.header("Retry-After")),
        (429, &json!(429), Some("1"))
    );
    let unknown = |id: u32| send(&server, &head, &json!({ "jsonrpc": "2.0", "id": id, "method": "no/such" }));
    assert!((1..9).map(unknown).any(|got| got.status == 429));
    // Capacity returns after the time stated.
    eventually("one passes again", || call(&server, &keys[0], "", 1).status == 200);
}

#[test]
fn what_the_edge_answers_by_itself_counts_for_its_caller_too() {
    let (folder, keys) = folder("[limits]\ncaller = \"4/hour\"\n", &["a", "b"]);
    let server = Server::start(&folder);
    let bearer = |key: &str| format!("Authorization: Bearer {key}\r\n");
    let initialize = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "it", "version": "1" } } });
    let session = send(&server, &bearer(&keys[0]), &initialize);
    let head =
        format!("{}Mcp-Session-Id: {}\r\n", bearer(&keys[0]), session.header("Mcp-Session-Id").unwrap());
    let ping = json!({ "jsonrpc": "2.0", "id": 5, "method": "ping" });
    assert_eq!([(); 5].map(|()| send(&server, &head, &ping).status), [200, 200, 200, 429, 429]);
    let refused = send(&server, &bearer(&keys[0]), &initialize);
    assert_eq!(
        (refused.status, &refused.body["id"], refused.header("Mcp-Session-Id")),
        (429, &json!(0), None)
    );
    let notification = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    assert_eq!(send(&server, &head, &notification).status, 429);
    let delete = raw(server.address, "DELETE /mcp", &head, "");
    assert!(delete.starts_with("HTTP/1.1 429 "), "{delete}");
    // A session, its stream, a call: three. The stream counts once, and a message that is none as well.
    let session = send(&server, &bearer(&keys[1]), &initialize);
    let head =
        format!("{}Mcp-Session-Id: {}\r\n", bearer(&keys[1]), session.header("Mcp-Session-Id").unwrap());
    let mut stream = TcpStream::connect(server.address).unwrap();
    write!(
        stream,
        "GET /mcp HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n{head}\r\n",
        server.address
    )
    .unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    assert_eq!(call(&server, &keys[1], "", 1).status, 200);
    assert_eq!([(); 2].map(|()| send(&server, &head, &json!([])).status), [400, 429]);
}

#[test]
fn a_page_of_another_site_uses_up_no_limit() {
    let folder = Folder::new();
    folder.write(&config(&format!("{COUNT}[limits]\nserver = \"2/hour\"\naddress = \"2/hour\"\n")));
    let server = Server::start(&folder);
    for head in ["Origin: https://evil.example\r\n", "Host: evil.example\r\n"] {
        assert!((0..5).all(|_| send(&server, head, &json!({})).status == 403));
    }
    assert_eq!([(); 3].map(|()| call(&server, "", "", 1).status), [200, 200, 429]);
}

#[test]
fn li_02_on_stdio_the_error_alone_is_told_and_a_refused_call_did_not_run() {
    const ADD: &str = "[tools.add]\nconnector = \"shop\"\nsql = \"insert into customers (name) values ('x')\"\naccess = \"read-write\"\ncost = 2\n";
    let folder = Folder::new();
    let text = config(&format!("{COUNT}{ADD}[limits]\nserver = \"8/hour\"\n"));
    folder.write(&text.replace("type = \"sqlite\"\n", "type = \"sqlite\"\naccess = \"read-write\"\n"));
    let mut command = trunkline();
    command
        .args(["serve", "--stdio", "-c"])
        .arg(folder.config())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let (mut input, mut output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    let mut ask = |id: u32, tool: &str| -> Value {
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let params = json!({ "name": tool, "arguments": {}, "_meta": meta });
        writeln!(
            input,
            "{}",
            json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params })
        )
        .unwrap();
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    };
    let before = ask(1, "count_customers");
    let n = |answer: &Value| answer["result"]["structuredContent"]["rows"][0]["n"].as_u64().unwrap();
    // Seven are left: three calls that cost two, one more for a call that is refused for the second of its two, and none.
    let added: Vec<Value> = (2..=5).map(|id| ask(id, "add")).collect();
    let refused: Vec<&Value> = added.iter().filter(|answer| answer.get("error").is_some()).collect();
    assert_eq!(refused.len(), 1, "{added:?}");
    assert_eq!((&refused[0]["id"], &refused[0]["error"]["code"]), (&json!(5), &json!(429)));
    assert!(refused[0]["error"]["data"]["retryAfterMs"].as_u64().unwrap() > 1000);
    assert_eq!(ask(6, "count_customers")["error"]["code"], 429);
    drop(input);
    child.wait().unwrap();
    // Counted by another process, which counts anew.
    let counted = folder.run(&["call", "trunkline.toml", "count_customers", "--output", "json"]);
    let counted: Value = serde_json::from_slice(&counted.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&counted.stderr)));
    assert_eq!(counted["structuredContent"]["rows"][0]["n"], n(&before) + 3);
}

#[test]
fn on_stdio_every_method_counts_for_server_caller_and_role_those_that_no_service_sees_too() {
    for limit in [
        "[limits]\nserver = \"6/hour\"\n",
        "[limits]\ncaller = \"6/hour\"\n",
        "[roles.me]\nmatch = { local = true }\nallow = [\"tools:*\"]\nlimit = \"6/hour\"\n",
    ] {
        let folder = Folder::new();
        folder.write(&config(&format!("{COUNT}{limit}")));
        let mut host = Host::start(&folder);
        // With its notification.
        assert!(host.initialize()["result"].is_object());
        let mut ask = |id: u32, method: &str| {
            let answer = host.ask(id, method, json!({}));
            answer["error"]["code"].as_i64().unwrap_or_else(|| i64::from(answer["result"].is_object()))
        };
        assert_eq!([1, 2].map(|id| ask(id, "ping")), [1, 1], "{limit}");
        assert_eq!((ask(3, "tools/list"), ask(4, "no/such")), (1, -32601), "{limit}");
        assert_eq!([5, 6, 7].map(|id| ask(id, "ping")), [429; 3], "{limit}");
        assert_eq!((ask(8, "tools/list"), ask(9, "initialize")), (429, 429), "{limit}");
    }
}

#[tokio::test]
async fn two_processes_share_one_limit_through_a_redis_and_each_counts_by_itself_without_it() {
    let mut store = redis::Server::start().await;
    let rest = format!("[limits]\ncaller = \"10/hour\"\n[store]\nredis = \"{}\"\n", store.url());
    let (first, keys) = folder(&rest, &["a"]);
    let one = Server::start(&first);
    let text = std::fs::read_to_string(first.config()).unwrap();
    let listen = text.lines().filter(|line| line.starts_with("listen")).collect::<Vec<_>>();
    let fresh = config("");
    let ports = fresh.lines().filter(|line| line.starts_with("listen")).collect::<Vec<_>>();
    let second = text.replacen(listen[0], ports[0], 1).replacen(listen[1], ports[1], 1);
    let path = first.path().join("second.toml");
    std::fs::write(&path, second).unwrap();
    let mut command = trunkline();
    command.args(["serve", "-c"]).arg(&path).current_dir(first.path());
    let two = Server::spawn(command);
    let count = |server: &Server, tries: u32| {
        (0..tries).filter(|id| call(server, &keys[0], "", *id).status == 200).count()
    };
    assert_eq!((count(&one, 6), count(&two, 9)), (6, 4));
    store.kill();
    // What each node knows to be owed holds on: `local` is the rule unless the file says another.
    assert_eq!((count(&one, 20), count(&two, 20)), (4, 0));
    store.restart().await;
    assert_eq!((count(&one, 20), count(&two, 20)), (0, 0));
}
