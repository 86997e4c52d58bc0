//! What is kept, behind all guards of a file: real databases, a real store, callers with roles.

mod made;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use futures_util::future::join_all;
use serde_json::{Value, json};
use trunkline_protocol::{Method, Revision, scan};
use trunkline_service::{Caller, Reply, Request};
use trunkline_sql::Severity;
use trunkline_testkit::postgres::{self, TestDatabase};
use trunkline_testkit::redis;
use trunkline_testkit::within;

use super::*;
use crate::config::{self, Edge, Loaded};

/// An endpoint as a file makes it, without an edge.
struct Node {
    endpoint: Arc<Endpoint>,
    lasting: Lasting,
    guards: Guards,
}

const KEYS: &str =
    "[server]\nseal-keys = [\"0101010101010101010101010101010101010101010101010101010101010101\"]\n";

impl Node {
    async fn start(text: &str) -> Self {
        Self::with(text, Vec::new()).await
    }

    /// An endpoint with connectors that no file has.
    async fn with(text: &str, more: Vec<Served>) -> Self {
        let Loaded { problems, mut config, .. } =
            config::load_text(Path::new("trunkline.toml"), text, Edge::Http(None), &|_| None);
        let problems: Vec<_> = problems.iter().map(|problem| &problem.message).collect();
        assert!(problems.is_empty(), "{problems:?}");
        let sealer = sealer(&config.server).unwrap();
        let mut served = connectors(&mut config, &[], &sealer);
        served.extend(more);
        for served in &served {
            let problems = served.source.learn().await;
            assert!(problems.iter().all(|problem| problem.severity == Severity::Warning), "{problems:?}");
        }
        let Config { server, tools, guards: said, things, store, .. } = config;
        let store = store.and_then(|store| Some((store.config?, store.on_failure)));
        let lasting = Lasting::new(sealer, store, server.cache_size).unwrap();
        let guards = Guards::local(said, &lasting.limits);
        let endpoint = Arc::new(endpoint(&server, &tools, &served, &things, &guards, &lasting).unwrap());
        Self { endpoint, lasting, guards }
    }

    /// Puts another endpoint together, as a file that is read anew does.
    fn reload(&self, text: &str) {
        let mut config =
            config::load_text(Path::new("trunkline.toml"), text, Edge::Http(None), &|_| None).config;
        let served = connectors(&mut config, &[], &self.lasting.sealer);
        let Config { server, tools, guards: said, things, .. } = config;
        let guards = Guards::local(said, &self.lasting.limits);
        endpoint(&server, &tools, &served, &things, &guards, &self.lasting).unwrap();
    }

    /// A caller who proved to have those groups.
    fn caller(&self, subject: &str, group: &str) -> Arc<Caller> {
        let mut caller =
            Caller { issuer: Some("https://i.example".into()), subject: subject.into(), ..Caller::default() };
        caller.claims.insert("group".into(), group.into());
        Arc::new(self.guards.policy.assigned(caller))
    }

    async fn ask(&self, caller: &Arc<Caller>, method: Method, params: Value) -> Result<Reply, String> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method.as_str(), "params": params });
        let body = Bytes::from(body.to_string());
        let (_, envelope) = scan(&body).unwrap();
        let request = Request::new(body, &envelope, method, Revision::LATEST, Arc::clone(caller), 1);
        self.endpoint.service.call(request).await.map_err(|failure| failure.public().to_owned())
    }

    async fn call(&self, caller: &Arc<Caller>, tool: &str, arguments: Value) -> Result<Value, String> {
        let reply =
            self.ask(caller, Method::ToolsCall, json!({ "name": tool, "arguments": arguments })).await?;
        Ok(json(&reply))
    }

    /// Returns the first cell of a tool's first row, which is text.
    async fn cell(&self, tool: &str, arguments: Value) -> String {
        let result = self.call(&Caller::local(), tool, arguments).await.unwrap();
        let row = &result["structuredContent"]["rows"][0];
        row.as_object().unwrap_or_else(|| panic!("{result}")).values().next().unwrap().to_string()
    }

    async fn tools(&self, caller: &Arc<Caller>) -> Vec<String> {
        let list = json(&self.ask(caller, Method::ToolsList, json!({})).await.unwrap());
        let tools = list["tools"].as_array().unwrap().iter();
        tools.map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }

    async fn end(self) {
        self.lasting.end().await;
    }
}

fn json(reply: &Reply) -> Value {
    let mut text = Vec::new();
    reply.write(&mut text, b"1", Revision::LATEST, br#","_meta":{"server":1}"#);
    serde_json::from_slice::<Value>(&text).unwrap()["result"].take()
}

fn status(result: &Value) -> &str {
    result["_meta"]["io.trunkline/cache"]["status"].as_str().unwrap_or("none")
}

fn file(database: &TestDatabase, rest: &str) -> String {
    format!(
        "{KEYS}\n[connectors.db]\ntype = \"postgres\"\nurl = \"{}\"\naccess = \"read-write\"\n{rest}",
        database.url
    )
}

async fn shop() -> TestDatabase {
    let database = postgres::database().await;
    database
        .client()
        .await
        .run("create table t (n int primary key, v text not null); insert into t values (1, 'a')")
        .await;
    database
}

const TOOLS: &str = r#"
[tools.read]
connector = "db"
sql = "select v from t where n = :n"
params.n = { default = 1 }
cache = { ttl = "10m", tags = ["rows"] }

[tools.write]
connector = "db"
access = "read-write"
sql = "update t set v = :v where n = 1"
invalidates = ["rows"]
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_equal_questions_are_one_query() {
    let database = shop().await;
    // Each run of the statement has a time of its own.
    let text = file(
        &database,
        "[tools.slow]\nconnector = \"db\"\nsql = \"select clock_timestamp() as t, pg_sleep(0.3)::text as s\"\n\
         cache = { ttl = \"10m\", scope = \"public\" }\n",
    );
    let node = Node::start(&text).await;
    let caller = Caller::local();
    let calls = (0..1000).map(|_| node.call(&caller, "slow", json!({})));
    let mut times: Vec<String> = join_all(calls)
        .await
        .into_iter()
        .map(|result| result.unwrap()["structuredContent"]["rows"][0]["t"].to_string())
        .collect();
    assert_eq!(times.len(), 1000);
    times.dedup();
    assert_eq!(times.len(), 1, "{times:?}");
    node.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_through_a_tool_is_seen_on_every_node_within_a_tenth_of_a_second() {
    let (database, store) = (shop().await, redis::Server::start().await);
    let text = format!("{}[store]\nredis = \"{}\"\n", file(&database, TOOLS), store.url());
    let nodes = [Node::start(&text).await, Node::start(&text).await];
    let local = Caller::local();
    let mut longest = Duration::ZERO;
    for round in 0..20_usize {
        for node in &nodes {
            node.cell("read", json!({})).await;
            let again = node.call(&local, "read", json!({ "n": 1 })).await.unwrap();
            assert!(round == 0 || status(&again) == "hit", "{again}");
        }
        let (writer, value) = (&nodes[round % 2], format!("\"v{round}\""));
        let written = writer.call(&local, "write", json!({ "v": format!("v{round}") })).await.unwrap();
        let answered = Instant::now();
        assert_eq!(written["structuredContent"]["affected"], 1, "{written}");
        assert_eq!(writer.cell("read", json!({})).await, value);
        while nodes[1 - round % 2].cell("read", json!({})).await != value {
            assert!(answered.elapsed() < Duration::from_secs(5));
        }
        longest = longest.max(answered.elapsed());
    }
    println!("a write was seen on the other node within {longest:?}");
    assert!(longest < within(Duration::from_millis(100)), "{longest:?}");
    for node in nodes {
        node.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_database_tells_of_is_seen_within_a_second() {
    let (database, store) = (shop().await, redis::Server::start().await);
    let text = format!(
        "{}[store]\nredis = \"{}\"\n",
        file(&database, &format!("notify = \"changes\"\n{TOOLS}")),
        store.url()
    );
    let nodes = [Node::start(&text).await, Node::start(&text).await];
    let client = database.client().await;
    let local = Caller::local();
    let kept = async |node: &Node| status(&node.call(&local, "read", json!({})).await.unwrap()) == "hit";
    let end = Instant::now() + within(Duration::from_secs(20));
    // Once the database is heard, answers are kept.
    while !(kept(&nodes[0]).await && kept(&nodes[1]).await) {
        assert!(Instant::now() < end);
    }
    let mut longest = Duration::ZERO;
    for (round, payload) in ["rows", "", "something else"].into_iter().enumerate() {
        for node in &nodes {
            node.cell("read", json!({})).await;
        }
        let value = format!("\"w{round}\"");
        client.run(&format!("update t set v = 'w{round}'; select pg_notify('changes', '{payload}')")).await;
        let told = Instant::now();
        for node in &nodes {
            while node.cell("read", json!({})).await != value {
                assert!(told.elapsed() < Duration::from_secs(10), "{payload}");
            }
        }
        longest = longest.max(told.elapsed());
    }
    println!("a change in the database was seen on both nodes within {longest:?}");
    assert!(longest < within(Duration::from_secs(1)), "{longest:?}");
    for node in nodes {
        node.end().await;
    }
}

const ROLES: &str = r#"
[auth.jwt.a]
issuer = "https://i.example"
audience = "x"
[roles.reader]
match = { claim = "group", has = "reader" }
allow = ["tools:read", "resources:*"]
[roles.admin]
match = { claim = "group", has = "admin" }
allow = ["tools:*"]
"#;

#[tokio::test]
async fn ca_01_lists_and_answers_are_those_of_the_callers_roles_in_any_order() {
    let database = shop().await;
    let tools = TOOLS.replace("ttl = \"10m\",", "ttl = \"10m\", scope = \"public\",");
    let text = file(&database, &format!("{tools}{ROLES}"));
    for admin_first in [true, false] {
        let node = Node::start(&text).await;
        let (reader, admin) = (node.caller("ann", "reader"), node.caller("bob", "admin"));
        let anonymous = node.caller("", "nobody");
        let mut order = vec![(&reader, vec!["read"]), (&admin, vec!["read", "write"])];
        if admin_first {
            order.reverse();
        }
        for (caller, expected) in &order {
            assert_eq!(node.tools(caller).await, *expected);
            // What one of them fetched, the other has.
            assert_eq!(node.call(caller, "read", json!({})).await.unwrap()["isError"], false);
        }
        let denied = node.call(&reader, "write", json!({ "v": "x" })).await.unwrap_err();
        let unknown = node.call(&reader, "wrote", json!({ "v": "x" })).await.unwrap_err();
        assert_eq!(denied.replace("write", ""), unknown.replace("wrote", ""));
        // The same user with a new token, which says other things of them.
        let demoted = node.caller("bob", "reader");
        assert_eq!(node.tools(&demoted).await, ["read"]);
        assert!(node.call(&demoted, "write", json!({ "v": "x" })).await.is_err());
        // Nobody in particular is told nothing, kept or not.
        assert!(node.tools(&anonymous).await.is_empty());
        assert!(node.call(&anonymous, "read", json!({})).await.is_err());
        node.end().await;
    }
}

#[tokio::test]
async fn ca_02_hints_are_true_and_calls_of_tools_have_none() {
    let database = shop().await;
    for (roles, scope) in [(ROLES, "private"), ("", "public")] {
        let node = Node::start(&file(&database, &format!("{TOOLS}{roles}"))).await;
        let caller = if roles.is_empty() { Caller::local() } else { node.caller("bob", "admin") };
        for method in [Method::ServerDiscover, Method::ToolsList] {
            let mut seen = Vec::new();
            for _ in 0..2 {
                let result = json(&node.ask(&caller, method, json!({})).await.unwrap());
                assert!(result["ttlMs"].is_u64(), "{result}");
                assert_eq!(result["cacheScope"], scope, "{result}");
                seen.push(result["tools"].clone());
            }
            assert_eq!(seen[0], seen[1]);
        }
        for _ in 0..2 {
            let result = node.call(&caller, "read", json!({})).await.unwrap();
            assert!(result.get("ttlMs").is_none() && result.get("cacheScope").is_none(), "{result}");
            assert!(result["_meta"]["server"] == 1 && status(&result) != "none", "{result}");
        }
        node.end().await;
    }
}

#[tokio::test]
async fn what_is_to_be_warm_is_there_before_the_first_call() {
    let database = shop().await;
    let tools = TOOLS.replace("tags = [\"rows\"]", "tags = [\"rows\"], warm = [{ n = 1 }]");
    let node = Node::start(&file(&database, &tools)).await;
    let end = Instant::now() + within(Duration::from_secs(20));
    loop {
        let mut page = trunkline_service::meter::Page::new();
        trunkline_service::meter::Meter::read(&*node.lasting.cache, &mut page);
        if page.into_text().contains("fate=\"kept\"} 1") || Instant::now() > end {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let result = node.call(&Caller::local(), "read", json!({})).await.unwrap();
    assert_eq!((status(&result), &result["structuredContent"]["rows"][0]["v"]), ("hit", &json!("a")));
    node.end().await;
}

#[tokio::test]
async fn a_caller_computed_into_the_statement_shares_with_nobody_else() {
    let database = shop().await;
    let text = file(
        &database,
        r#"
[tools.mine]
connector = "db"
sql = "select :who as who, clock_timestamp()::text as t"
params.who = { type = "string", from = "caller.claims.group" }
cache = { ttl = "10m", scope = "role" }
"#,
    );
    let roles = "[auth.jwt.a]\nissuer = \"https://i.example\"\naudience = \"x\"\n";
    let node = Node::start(&format!("{text}{roles}")).await;
    let (ann, bob, eve) = (node.caller("ann", "g"), node.caller("bob", "g"), node.caller("eve", "h"));
    let row = async |caller| {
        let result = node.call(caller, "mine", json!({})).await.unwrap();
        result["structuredContent"]["rows"][0].clone()
    };
    let (first, same, other) = (row(&ann).await, row(&bob).await, row(&eve).await);
    assert_eq!(first, same);
    assert_eq!((&first["who"], &other["who"]), (&json!("g"), &json!("h")));
    assert_ne!(first["t"], other["t"]);
    node.end().await;
}

#[tokio::test]
async fn what_left_the_file_is_forgotten_and_what_stays_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    rusqlite::Connection::open(folder.path().join("a.db"))
        .unwrap()
        .execute_batch("create table t (n)")
        .unwrap();
    let file = |connectors: &[&str], tools: &[(&str, &str)]| {
        let path = folder.path().join("a.db");
        let connector = |name: &&str| format!("[connectors.{name}]\ntype = \"sqlite\"\npath = {path:?}\n");
        let tool = |(name, keys): &(&str, &str)| {
            format!("[tools.{name}]\nconnector = \"a\"\nsql = \"select 1 as n\"\n{keys}\n")
        };
        connectors.iter().map(connector).chain(tools.iter().map(tool)).collect::<String>()
    };
    let bounded = "concurrent = 2";
    let node =
        Node::start(&file(&["a", "b"], &[("one", bounded), ("two", bounded), ("three", bounded)])).await;
    let known = || node.lasting.known.names();
    let before = known();
    let names = |all: &[(String, usize)]| all.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&before), ["a", "b", "one", "three", "two"]);
    node.reload(&file(&["a", "c"], &[("one", bounded), ("two", ""), ("four", bounded)]));
    assert_eq!(names(&known()), ["a", "c", "four", "one", "three", "two"]);
    node.reload(&file(&["a"], &[("one", bounded)]));
    // What the first endpoint still serves is known: should a file name it again, it goes on as it was.
    let after = known();
    assert_eq!(names(&after), ["a", "one", "three", "two"]);
    // The breaker and the places in use of what stays are the same.
    for name in ["a", "one"] {
        let of =
            |all: &[(String, usize)]| all.iter().find(|(known, _)| known == name).map(|(_, place)| *place);
        assert_eq!(of(&before), of(&after), "{name}");
    }
    node.end().await;
}
