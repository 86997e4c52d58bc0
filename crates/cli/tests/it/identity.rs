//! Who may come in at a served file, and what they find: keys, roles, scopes, conditions, and what a reload changes.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{COUNT, Folder, Server, config, eventually, free_port, http, raw, trunkline};

const TOOLS: &str = r#"
[tools.search]
connector = "shop"
sql = "select name from customers where name like :q"
params.q = { type = "string" }
[tools.refund]
connector = "shop"
sql = "select :amount as amount, :who as who"
params.amount = { type = "integer", default = 5 }
params.who = { from = "caller.subject" }
scopes = ["shop:read", "shop:write"]
"#;

const ROLES: &str = r#"
[auth.keys]
store = "./keys.db"
[auth.scopes]
shop = ["shop:read", "shop:write"]
[roles.support]
allow = ["tools:*"]
deny = ["tools:count_*"]
[roles.small]
allow = ["tools:refund"]
when = "args.amount < 1000"
message = "refunds of 1000 and more need a supervisor"
"#;

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write(&config(&format!("{COUNT}{TOOLS}{ROLES}")));
    folder
}

/// Makes a key and returns it with its id.
fn key(folder: &Folder, words: &[&str]) -> (String, String) {
    let output = folder.run(&[&["keys", "create"], words, &["--output", "json"]].concat());
    let made: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (made["key"].as_str().unwrap().to_owned(), made["id"].as_str().unwrap().to_owned())
}

/// Sends one request of 2026-07-28 with a key; the status and the whole answer.
fn ask(server: &Server, key: &str, method: &str, mut params: Value) -> (u16, String) {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let name = params["name"].as_str().map(|name| format!("Mcp-Name: {name}\r\n")).unwrap_or_default();
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
    let head = format!(
        "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\n\
         Mcp-Method: {method}\r\n{name}Authorization: Bearer {key}\r\n"
    );
    let answer = raw(server.address, "POST /mcp", &head, &body);
    (answer[9..12].parse().unwrap(), answer)
}

fn call(server: &Server, key: &str, tool: &str, arguments: Value) -> (u16, String) {
    ask(server, key, "tools/call", json!({ "name": tool, "arguments": arguments }))
}

fn tools(server: &Server, key: &str) -> Vec<String> {
    let (_, answer) = ask(server, key, "tools/list", json!({}));
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["result"]["cacheScope"], "private");
    let tools = body["result"]["tools"].as_array().unwrap();
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_role_sees_its_own_tools_and_calls_no_others() {
    let folder = folder();
    let (ann, _) = key(&folder, &["ann", "--role", "support", "--scope", "shop"]);
    let (bob, _) = key(&folder, &["bob", "--role", "small", "--scope", "shop:read"]);
    let (eve, _) = key(&folder, &["eve"]);
    let server = Server::start(&folder);
    assert_eq!(tools(&server, &ann), ["search", "refund"]);
    assert_eq!(tools(&server, &bob), ["refund"]);
    assert_eq!(tools(&server, &eve), Vec::<String>::new());
    let (status, answer) = call(&server, &ann, "refund", json!({ "amount": 5000 }));
    assert!(status == 200 && answer.contains(r#""amount":5000,"who":"ann""#), "{answer}");
    let (status, answer) = call(&server, &ann, "refund", json!({ "amount": 1, "who": "root" }));
    assert!(status == 200 && answer.contains(r#""isError":true"#), "{answer}");
    // All scopes that are needed are asked for at once.
    let (status, answer) = call(&server, &bob, "refund", json!({}));
    assert_eq!(status, 403);
    assert!(
        answer.contains(
            "www-authenticate: Bearer error=\"insufficient_scope\", scope=\"shop:read shop:write\""
        ),
        "{answer}"
    );
}

#[test]
fn what_is_not_for_a_caller_answers_as_what_does_not_exist() {
    let folder = folder();
    let (ann, _) = key(&folder, &["ann", "--role", "support"]);
    let (eve, _) = key(&folder, &["eve"]);
    let server = Server::start(&folder);
    let without_date = |(status, answer): (u16, String)| {
        let kept = answer.lines().filter(|line| !line.starts_with("date:"));
        (status, kept.collect::<Vec<_>>().join("\n"))
    };
    for (key, hidden, unknown) in [(&ann, "count_customers", "count_zustomers"), (&eve, "search", "zearch")] {
        let (status, there) = without_date(call(&server, key, hidden, json!({})));
        let (_, not_there) = without_date(call(&server, key, unknown, json!({})));
        assert_eq!(status, 400);
        assert_eq!(there.replace(hidden, "X"), not_there.replace(unknown, "X"));
    }
}

#[test]
fn a_condition_refuses_with_its_own_words_and_counts_defaults() {
    let folder = folder();
    let (bob, _) = key(&folder, &["bob", "--role", "small", "--scope", "shop"]);
    let server = Server::start(&folder);
    for (arguments, passes) in [
        (json!({ "amount": 999 }), true),
        (json!({}), true),
        (json!({ "amount": 1000 }), false),
        (json!({ "amount": "1000" }), false),
        // It is no value of this parameter, and stands for the default: for the condition as for the database.
        (json!({ "amount": null }), true),
        (json!({ "amount": 9_007_199_254_740_993_u64 }), false),
    ] {
        let (status, answer) = call(&server, &bob, "refund", arguments.clone());
        assert_eq!((status, answer.contains(r#""isError":true"#)), (200, !passes), "{arguments}: {answer}");
        if !passes {
            assert!(answer.contains("refunds of 1000 and more need a supervisor"), "{answer}");
        }
    }
}

#[test]
fn a_role_that_is_taken_away_by_a_reload_is_gone_for_callers_who_are_connected() {
    let folder = folder();
    let (ann, _) = key(&folder, &["ann", "--role", "support"]);
    let server = Server::start(&folder);
    assert_eq!(tools(&server, &ann), ["search", "refund"]);
    let text = fs::read_to_string(folder.config()).unwrap();
    folder.write(&text.replace("allow = [\"tools:*\"]", "allow = [\"tools:search\"]"));
    server.wait_for(|said| said.contains("the configuration was reloaded").then_some(()));
    assert_eq!(tools(&server, &ann), ["search"]);
    folder.write(&text.replace("[roles.support]", "[roles.helpers]"));
    eventually("the role is gone", || tools(&server, &ann).is_empty());
}

#[test]
fn a_key_that_is_revoked_is_refused_within_a_second() {
    let folder = folder();
    let (ann, id) = key(&folder, &["ann", "--role", "support"]);
    let server = Server::start(&folder);
    assert_eq!(ask(&server, &ann, "tools/list", json!({})).0, 200);
    assert!(folder.run(&["keys", "revoke", &id]).status.success());
    let revoked = std::time::Instant::now();
    eventually("the key is refused", || ask(&server, &ann, "tools/list", json!({})).0 == 401);
    assert!(revoked.elapsed().as_secs_f64() < 1.0, "{:?}", revoked.elapsed());
}

#[test]
fn an_address_that_others_reach_needs_someone_to_judge_and_encryption() {
    let folder = Folder::new();
    let start = |text: &str| {
        folder.write(text);
        let output = folder.run(&["serve"]);
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let listen = format!("[server]\nlisten = \"0.0.0.0:{}\"\n", free_port());
    let shop = format!("[connectors.shop]\ntype = \"sqlite\"\npath = \"shop.db\"\n{COUNT}");
    let (code, said) = start(&format!("{listen}{shop}"));
    assert!(code == 78 && said.contains("[auth.keys]"), "{code} {said}");
    let keys = "[auth.keys]\nstore = \"keys.db\"\n";
    let (code, said) = start(&format!("{listen}{shop}{keys}"));
    assert!(code == 78 && said.contains("trusted-proxies"), "{code} {said}");
    let url = "[server]\nurl = \"https://mcp.example.com/mcp\"\n";
    let (code, said) = start(&format!("{url}{shop}"));
    assert!(code == 78 && said.contains("a public `url` needs `[auth]`"), "{code} {said}");
    let output = folder.run(&["serve", "--listen", "0.0.0.0:1"]);
    assert_eq!(output.status.code(), Some(78));
}

#[test]
fn the_public_name_is_served_with_its_metadata_and_without_local_users() {
    let folder = Folder::new();
    let port = free_port();
    let text = config(&format!(
        "{COUNT}[auth.jwt.company]\nissuer = \"http://127.0.0.1:{port}\"\n[auth.keys]\nstore = \"keys.db\"\n"
    ));
    folder.write(&text.replace("[server]\n", "[server]\nurl = \"https://gw.example/tenant-a/mcp\"\n"));
    let server = Server::start(&folder);
    let path = "/.well-known/oauth-protected-resource/tenant-a/mcp";
    let (status, body) = http(server.address, &format!("GET {path}"), "Host: attacker.example\r\n", "");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["resource"]), (200, &json!("https://gw.example/tenant-a/mcp")));
    assert_eq!(body["authorization_servers"], json!([format!("http://127.0.0.1:{port}")]));
    let answer = raw(server.address, "POST /tenant-a/mcp", "Host: attacker.example\r\n", "{}");
    let challenge = format!("www-authenticate: Bearer resource_metadata=\"https://gw.example{path}\"");
    assert!(answer.starts_with("HTTP/1.1 401") && answer.contains(&challenge), "{answer}");
    // A token of an issuer that does not answer: nobody can tell.
    let token = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.eyJpc3MiOiJodHRwOi8vMTI3LjAuMC4xOjEifQ.c2ln";
    let (status, _) = ask(&server, token, "tools/list", json!({}));
    assert_eq!(status, 401, "an issuer that is none of ours");
}

#[test]
fn over_stdio_the_local_user_has_the_roles_that_say_so() {
    let folder = folder();
    let ask = |folder: &Folder| -> Value {
        let mut child = trunkline()
            .args(["serve", "--stdio", "-c"])
            .arg(folder.config())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {} });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": { "_meta": meta } });
        writeln!(child.stdin.take().unwrap(), "{body}").unwrap();
        let output = child.wait_with_output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    };
    // Nothing is allowed unless a role says so, here too: without any tool there is no method to list them.
    let none = ask(&folder);
    assert!(none["result"]["tools"].as_array().is_none_or(Vec::is_empty), "{none}");
    let text = fs::read_to_string(folder.config()).unwrap();
    folder.write(&format!("{text}[roles.me]\nmatch = {{ local = true }}\nallow = [\"tools:refund\"]\n"));
    let listed = ask(&folder);
    assert_eq!(listed["result"]["tools"][0]["name"], "refund", "{listed}");
}

#[test]
fn a_reload_opens_no_endpoint_and_takes_no_judge_that_cannot_judge() {
    let folder = folder();
    let (ann, _) = key(&folder, &["ann", "--role", "support"]);
    let server = Server::start(&folder);
    let text = fs::read_to_string(folder.config()).unwrap();
    let without = text
        .replace("[auth.keys]\nstore = \"./keys.db\"\n", "")
        .replace("[auth.scopes]\nshop = [\"shop:read\", \"shop:write\"]\n", "");
    assert!(!without.contains("[auth"), "{without}");
    let before = server.said();
    folder.write(&without);
    let said = server.wait_for_more(&before, "the configuration stays as it was");
    assert!(said.contains("`[auth]` is gone"), "{said}");
    let answer = raw(server.address, "POST /mcp", "Content-Type: application/json\r\n", "{}");
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    // A store that is none, and an issuer that does not answer.
    fs::write(
        folder.path().join("other.db"),
        "this is no database, and longer than a header of one has to be",
    )
    .unwrap();
    let before = server.said();
    folder.write(&text.replace("./keys.db", "./other.db"));
    server.wait_for_more(&before, "the configuration stays as it was");
    let issuer =
        format!("[auth.jwt.company]\nissuer = \"http://127.0.0.1:{}\"\naudience = \"a\"\n", free_port());
    let before = server.said();
    folder.write(&format!("{text}{issuer}"));
    server.wait_for_more(&before, "the configuration stays as it was");
    assert_eq!(tools(&server, &ann), ["search", "refund"]);
}

#[test]
fn a_reload_without_roles_does_not_open_everything_to_every_caller() {
    let folder = folder();
    let (ann, _) = key(&folder, &["ann", "--role", "support"]);
    let server = Server::start(&folder);
    let text = fs::read_to_string(folder.config()).unwrap();
    let without: Vec<&str> = text.split("\n[").filter(|section| !section.starts_with("roles")).collect();
    let before = server.said();
    folder.write(&without.join("\n["));
    let said = server.wait_for_more(&before, "the configuration stays as it was");
    assert!(said.contains("`[roles]` are gone"), "{said}");
    assert_eq!(tools(&server, &ann), ["search", "refund"]);
}

#[test]
fn over_stdio_a_file_for_the_network_serves_as_it_is() {
    let folder = Folder::new();
    let text = config(&format!("{COUNT}[auth.jwt.company]\nissuer = \"https://login.example.com\"\n"));
    folder.write(&text.replace("[server]\n", "[server]\nurl = \"https://mcp.example.com/mcp\"\n"));
    let output = folder.run(&["tools", folder.config().to_str().unwrap()]);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && printed.contains("count_customers"), "{output:?}");
}
