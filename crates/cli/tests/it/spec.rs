//! What `trunkline serve` writes for the shop: every message as the official schemas want it, every result as the tool's own
//! schema says, over both edges, in all four revisions.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};
use trunkline_example_shop::Shop;
use trunkline_testkit::spec::Spec;

use crate::support::{Folder, PATIENCE, Server, free_port, trunkline, wait};

const REVISIONS: [&str; 4] = ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"];
const CONFIG: &str = include_str!("../../../../examples/shop/trunkline.toml");

/// The folder of the example, with a database from its generator.
fn shop(config: &str) -> Folder {
    static DATABASE: OnceLock<Vec<u8>> = OnceLock::new();
    let folder = Folder::new();
    let database = folder.path().join("shop.db");
    let bytes = DATABASE.get_or_init(|| {
        std::fs::remove_file(&database).unwrap();
        let mut script = Vec::new();
        Shop::new().write_sqlite_sql(&mut script).unwrap();
        let connection = rusqlite::Connection::open(&database).unwrap();
        connection.execute_batch("pragma journal_mode = off; pragma synchronous = off;").unwrap();
        connection.execute_batch(&String::from_utf8(script).unwrap()).unwrap();
        drop(connection);
        std::fs::read(&database).unwrap()
    });
    std::fs::write(&database, bytes).unwrap();
    let (listen, admin) = (free_port(), free_port());
    let config = config.replace("127.0.0.1:3000", &format!("127.0.0.1:{listen}"));
    folder.write(&format!("{config}\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n"));
    folder
}

/// The shop as it stands in the repository.
fn plain() -> Folder {
    shop(CONFIG)
}

/// The shop with a tool for the caller's own statements, and with results that are soon too long.
fn with_ad_hoc() -> Folder {
    let line = "statement-timeout = \"5s\"";
    assert!(CONFIG.contains(line));
    shop(&CONFIG.replace(line, &format!("{line}\nad-hoc-sql = \"read-only\"\nmax-rows = 5")))
}

/// One way to the server, as a client of one revision.
trait Wire {
    /// Sends a message and returns all that was written for it.
    fn send(&mut self, message: &str) -> Vec<Value>;
    /// Sends a message that wants no answer.
    fn tell(&mut self, message: &str);
}

struct Piped {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Piped {
    fn start(folder: &Folder) -> Self {
        let mut command = trunkline();
        command.args(["serve", "--stdio", "-c"]).arg(folder.config());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        self.input = None;
        let code = wait(&mut self.child).code();
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        if !std::thread::panicking() {
            assert_eq!((code, rest.as_str()), (Some(0), ""), "nothing unasked was written");
        }
    }
}

impl Wire for Piped {
    fn send(&mut self, message: &str) -> Vec<Value> {
        self.tell(message);
        let count = if message.starts_with('[') { message.matches("\"jsonrpc\"").count() } else { 1 };
        let mut messages = Vec::new();
        while messages.len() < count {
            let mut line = String::new();
            self.output.read_line(&mut line).unwrap();
            match serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line} for {message}"))
            {
                Value::Array(batch) => messages.extend(batch),
                one => messages.push(one),
            }
        }
        messages
    }

    fn tell(&mut self, message: &str) {
        writeln!(self.input.as_mut().unwrap(), "{message}").unwrap();
    }
}

struct Posted {
    address: SocketAddr,
    revision: &'static str,
    session: Option<String>,
}

impl Posted {
    fn post(&self, message: &str) -> (String, String) {
        let mut head = String::new();
        let parsed: Value = serde_json::from_str(message).unwrap_or_default();
        if self.revision == "2026-07-28" {
            head.push_str("MCP-Protocol-Version: 2026-07-28\r\n");
            if let Some(method) = parsed["method"].as_str() {
                head.push_str(&format!("Mcp-Method: {method}\r\n"));
            }
            if let Some(name) = parsed["params"]["name"].as_str() {
                head.push_str(&format!("Mcp-Name: {name}\r\n"));
            }
        } else if let Some(session) = &self.session {
            head.push_str(&format!("Mcp-Session-Id: {session}\r\n"));
            if self.revision > "2025-03-26" {
                head.push_str(&format!("MCP-Protocol-Version: {}\r\n", self.revision));
            }
        }
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            stream,
            "POST /mcp HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
             {head}Content-Length: {}\r\nConnection: close\r\n\r\n{message}",
            self.address,
            message.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }
}

impl Wire for Posted {
    fn send(&mut self, message: &str) -> Vec<Value> {
        let (head, body) = self.post(message);
        let session = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("mcp-session-id").then(|| value.to_owned())
        });
        assert!(
            self.revision < "2026-07-28" || session.is_none(),
            "a modern answer starts no session: {head}"
        );
        self.session = session.or(self.session.take());
        match serde_json::from_str(&body)
            .unwrap_or_else(|error| panic!("{error}: {head} {body} for {message}"))
        {
            Value::Array(batch) => batch,
            one => vec![one],
        }
    }

    fn tell(&mut self, message: &str) {
        let (head, body) = self.post(message);
        assert!(head.starts_with("HTTP/1.1 202") && body.is_empty(), "{head} {body}");
    }
}

/// What is asked of a tool, and what must come of it.
enum Comes {
    /// A result, whole.
    Whole,
    /// A result that says it was cut short.
    Truncated,
    /// A result that says what is wrong.
    ToolError,
    /// A JSON-RPC error of this code.
    Error(i64),
}

/// Speaks one revision and checks whatever comes.
struct Client<'w> {
    wire: &'w mut dyn Wire,
    revision: &'static str,
    spec: Option<&'static Spec>,
    next_id: u64,
}

impl Client<'_> {
    fn check(&self, method: &str, message: &Value) {
        if let Some(spec) = self.spec {
            spec.check(self.revision, method, message)
                .unwrap_or_else(|problem| panic!("{}, {method}: {problem}\n{message}", self.revision));
        }
    }

    fn request(&mut self, method: &str, mut params: Value) -> String {
        self.next_id += 1;
        if self.revision == "2026-07-28" {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": self.revision,
                "io.modelcontextprotocol/clientInfo": { "name": "it", "version": "1" },
                "io.modelcontextprotocol/clientCapabilities": {},
            });
        }
        json!({ "jsonrpc": "2.0", "id": self.next_id, "method": method, "params": params }).to_string()
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        let request = self.request(method, params);
        let answers = self.wire.send(&request);
        let [answer] = answers.as_slice() else { panic!("{answers:?} for {request}") };
        assert_eq!(answer["id"], self.next_id, "{answer} for {request}");
        self.check(method, answer);
        answer.clone()
    }

    fn refused(&mut self, method: &str, params: Value, code: i64) {
        let answer = self.ask(method, params);
        assert_eq!(answer["error"]["code"], code, "{} {method}: {answer}", self.revision);
    }

    /// What is no request of its revision.
    fn malformed(&mut self, message: &str, code: i64) {
        let answers = self.wire.send(message);
        answers.iter().for_each(|answer| self.check("", answer));
        assert_eq!(answers[0]["error"]["code"], code, "{} {message}: {answers:?}", self.revision);
    }

    fn open(&mut self) {
        if self.revision == "2026-07-28" {
            let answer = self.ask("server/discover", json!({}));
            assert_eq!(answer["result"]["supportedVersions"][0], self.revision, "{answer}");
            return;
        }
        let answer = self.ask(
            "initialize",
            json!({ "protocolVersion": self.revision, "capabilities": {}, "clientInfo": { "name": "it", "version": "1" } }),
        );
        assert_eq!(answer["result"]["protocolVersion"], self.revision, "{answer}");
        self.wire.tell(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        self.ask("ping", json!({}));
    }

    /// Asks what every server is asked, and what none can answer.
    fn ask_around(&mut self) {
        for list in ["resources/list", "resources/templates/list", "prompts/list"] {
            self.ask(list, json!({}));
        }
        self.refused("nothing/here", json!({}), -32601);
        self.refused("tools/list", json!({ "cursor": "made up" }), -32602);
        self.malformed("{\"jsonrpc\":\"2.0\",", -32700);
        self.malformed(r#"{"jsonrpc":"1.0","id":1,"method":"tools/list"}"#, -32600);
        self.malformed(r#"{"jsonrpc":"2.0","id":null,"method":"tools/list"}"#, -32600);
        if self.revision == "2025-03-26" {
            let batch = r#"[{"jsonrpc":"2.0","id":"a","method":"ping"},{"jsonrpc":"2.0","id":"b","method":"nothing"}]"#;
            let answers = self.wire.send(batch);
            assert_eq!(answers.len(), 2, "{answers:?}");
            answers.iter().for_each(|answer| self.check("ping", answer));
        } else {
            self.refused_unless_modern("ping");
        }
    }

    /// `ping` is gone from the newest revision.
    fn refused_unless_modern(&mut self, method: &str) {
        let answer = self.ask(method, json!({}));
        assert_eq!(answer.get("error").is_some(), self.revision == "2026-07-28", "{answer}");
    }

    fn tools(&mut self) -> HashMap<String, Value> {
        let answer = self.ask("tools/list", json!({}));
        let tools = answer["result"]["tools"].as_array().unwrap();
        tools.iter().map(|tool| (tool["name"].as_str().unwrap().to_owned(), tool.clone())).collect()
    }

    /// Calls a tool and returns its structured content, read from the text where the revision has no other.
    fn call(
        &mut self,
        tool: &str,
        arguments: &Value,
        comes: &Comes,
        output: Option<&Value>,
    ) -> Option<Value> {
        let answer = self.ask("tools/call", json!({ "name": tool, "arguments": arguments }));
        let what = || format!("{} {tool} {arguments}: {answer}", self.revision);
        let result = &answer["result"];
        if let Comes::Error(code) = comes {
            assert_eq!(answer["error"]["code"], *code, "{}", what());
            return None;
        }
        let text = result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{}", what()));
        let is_error = matches!(comes, Comes::ToolError);
        assert_eq!(result["isError"].as_bool().unwrap_or(false), is_error, "{}", what());
        if is_error {
            assert!(!text.is_empty() && result.get("structuredContent").is_none(), "{}", what());
            return None;
        }
        let twin: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {}", what()));
        match result.get("structuredContent") {
            Some(structured) => assert_eq!(*structured, twin, "{}", what()),
            None => assert_eq!(self.revision, "2025-03-26", "{}", what()),
        }
        assert_eq!(
            twin["truncated"].as_bool().unwrap_or(false),
            matches!(comes, Comes::Truncated),
            "{}",
            what()
        );
        let schema = output.unwrap_or_else(|| panic!("`{tool}` has no outputSchema"));
        let validator = jsonschema::validator_for(schema).unwrap();
        if let Some(error) = validator.iter_errors(&twin).next() {
            panic!("{error} at {}: {}", error.instance_path(), what());
        }
        Some(twin)
    }
}

/// The calls of a config file.
fn calls(ad_hoc: bool) -> Vec<(&'static str, Value, Comes)> {
    use Comes::{Error, ToolError, Truncated, Whole};
    let mut calls = vec![
        ("search_customers", json!({ "query": "Smith", "limit": 3 }), Whole),
        ("search_customers", json!({ "query": "nobody has this name" }), Whole),
        ("get_customer_orders", json!({ "customer_id": 1_000_000 }), Whole),
        ("top_customers", json!({ "limit": 5 }), Whole),
        ("search_customers", json!({}), ToolError),
        ("search_customers", json!({ "query": 17 }), ToolError),
        ("search_customers", json!({ "query": "x", "pattern": "%" }), ToolError),
        ("get_customer_orders", json!({ "customer_id": 0 }), ToolError),
        ("get_customer_orders", json!({ "customer_id": "one" }), ToolError),
        ("top_customers", json!({ "limit": 5, "colour": "red" }), ToolError),
        ("top_customers", json!([5]), Error(-32602)),
        ("no_such_tool", json!({}), Error(-32602)),
    ];
    if ad_hoc {
        calls.extend([
            ("search_customers", json!({ "query": "Smith" }), Truncated),
            ("top_customers", json!({}), Truncated),
            (
                "shop_query",
                json!({ "sql": "select id, name, null as gap, 1.5 as half from customers limit 3" }),
                Whole,
            ),
            ("shop_query", json!({ "sql": "select * from orders" }), Truncated),
            ("shop_query", json!({ "sql": "select nothing from customers" }), ToolError),
            ("shop_query", json!({ "sql": "delete from customers" }), ToolError),
            ("shop_query", json!({}), ToolError),
        ]);
    } else {
        calls.push(("search_customers", json!({ "query": "Smith", "limit": 100 }), Whole));
        calls.push(("get_customer_orders", json!({ "customer_id": 1 }), Whole));
        calls.push(("shop_query", json!({ "sql": "select 1 as one" }), Error(-32602)));
    }
    calls
}

/// Plays the whole dialogue in every revision; what tools give must be the same in each.
fn converse(ad_hoc: bool, mut wire: impl FnMut(&'static str) -> Box<dyn Wire>) {
    static SPEC: OnceLock<Option<Spec>> = OnceLock::new();
    let spec = SPEC.get_or_init(Spec::find).as_ref();
    let mut outputs: HashMap<String, Value> = HashMap::new();
    let mut first: Option<Vec<Option<Value>>> = None;
    for revision in REVISIONS {
        let mut wire = wire(revision);
        let mut client = Client { wire: &mut *wire, revision, spec, next_id: 0 };
        client.open();
        let tools = client.tools();
        assert_eq!(tools.len(), if ad_hoc { 4 } else { 3 }, "{tools:?}");
        if outputs.is_empty() {
            // The newest revision comes first, and its schemas hold for the oldest, which has none.
            outputs.extend(tools.iter().map(|(name, tool)| (name.clone(), tool["outputSchema"].clone())));
        }
        client.ask_around();
        let results: Vec<_> = calls(ad_hoc)
            .iter()
            .map(|(tool, arguments, comes)| client.call(tool, arguments, comes, outputs.get(*tool)))
            .map(|result| result.map(without_cursor))
            .collect();
        assert_eq!(*first.get_or_insert(results.clone()), results, "{revision}");
    }
}

/// A cursor is sealed anew each time.
fn without_cursor(mut result: Value) -> Value {
    if let Some(result) = result.as_object_mut() {
        result.remove("nextCursor");
    }
    result
}

#[test]
fn every_message_over_stdio_is_valid_in_every_revision() {
    for (ad_hoc, folder) in [(false, plain()), (true, with_ad_hoc())] {
        converse(ad_hoc, |_| Box::new(Piped::start(&folder)));
    }
}

#[test]
fn every_message_over_http_is_valid_in_every_revision() {
    for (ad_hoc, folder) in [(false, plain()), (true, with_ad_hoc())] {
        let server = Server::start(&folder);
        converse(ad_hoc, |revision| Box::new(Posted { address: server.address, revision, session: None }));
    }
}
