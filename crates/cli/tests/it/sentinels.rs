//! Secrets go in by every door of a real server with the most verbose logging of every crate, and are looked for behind every other:
//! log, record, metrics, and what other callers are answered.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Value, json};
use trunkline_testkit::postgres;

use crate::support::{Folder, Server, free_port, http, raw, trunkline};

/// Everything of every crate. A bare level would be ours alone.
const EVERYTHING: &str = "trace,trunkline=trace";

/// Makes secrets that nothing else looks like, and keeps them.
#[derive(Default)]
struct Mint {
    drawn: u64,
    /// By the way each went in.
    made: BTreeMap<String, String>,
}

impl Mint {
    /// Makes the next secret of a kind: 32 letters and digits.
    fn next(&mut self, kind: &str) -> String {
        let number = self.made.len();
        let secret: String =
            (0..32).map(|_| char::from(LETTERS[usize::try_from(self.draw() % 62).unwrap()])).collect();
        self.made.insert(format!("{kind} {number}"), secret.clone());
        secret
    }

    /// Keeps a secret that was made elsewhere.
    fn keep(&mut self, kind: &str, secret: &str) {
        let number = self.made.len();
        self.made.insert(format!("{kind} {number}"), secret.to_owned());
    }

    fn draw(&mut self) -> u64 {
        // SplitMix64: the same secrets each time, so that what is found can be found again.
        self.drawn = self.drawn.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.drawn;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Tells which secrets a text has in any spelling, but for those with a kind that is let through.
    fn found(&self, place: &str, text: &str, but: &[&str]) -> Vec<String> {
        let secrets = self.made.iter().filter(|(kind, _)| !but.iter().any(|but| kind.starts_with(but)));
        let found = secrets.filter_map(|(kind, secret)| {
            let spelling = spellings(secret).into_iter().find(|(_, spelling)| text.contains(spelling))?;
            let at = text.find(&spelling.1)?;
            let from = text.get(..at)?.char_indices().rev().nth(160).map_or(0, |(at, _)| at);
            Some(format!(
                "{kind} in {place} as {}: {}",
                spelling.0,
                text.get(from..)?.chars().take(260).collect::<String>()
            ))
        });
        found.collect()
    }
}

const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The ways in which a secret may be written: as text and its beginning, hex, base64 wherever it stands in what is encoded, and the
/// numbers of its bytes.
fn spellings(secret: &str) -> Vec<(&'static str, String)> {
    let hex = secret.bytes().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let numbers = secret.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
    let mut all = vec![
        ("text", secret.to_owned()),
        ("its first 20 characters", secret.chars().take(20).collect()),
        ("HEX", hex.to_ascii_uppercase()),
        ("hex", hex),
        ("numbers", numbers),
    ];
    for shift in 0..3 {
        let padded = [&b"\0\0"[..shift], secret.as_bytes()].concat();
        for engine in [&STANDARD, &URL_SAFE] {
            let encoded = engine.encode(&padded);
            // What stands beside it changes the characters at both ends.
            all.push(("base64", encoded[4..encoded.len() - 6].to_owned()));
        }
    }
    all
}

/// A server that answers everything with 500, and keeps nothing.
fn broken_upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let _ = stream.write_all(
                b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
            );
        }
    });
    address
}

/// A server and what went into it.
struct World {
    folder: Folder,
    server: Server,
    admin: SocketAddr,
    admin_token: String,
    key: String,
    mint: Mint,
    /// Every answer, with the secrets that its own request had.
    answers: Vec<(Vec<String>, String)>,
}

const TOOLS: &str = r#"
[tools.person]
connector = "shop"
sql = "select id, name, note from people where name = :name"
params.name = { type = "string" }
[tools.secret_argument]
connector = "shop"
sql = "select length(:pin) as n"
params.pin = { type = "string", secret = true, max-length = 40 }
[tools.number]
connector = "main"
sql = "select :text::int as n"
params.text = { type = "string" }
[tools.add]
connector = "main"
access = "read-write"
sql = "insert into people (name) values (:name)"
params.name = { type = "string" }
[tools.json]
connector = "shop"
sql = "select json_extract(:text, '$.a') as a"
params.text = { type = "string" }
[tools.notes]
connector = "main"
sql = "select note from people where note is not null"
[tools.away]
connector = "away"
sql = "select :text::text as t"
params.text = { type = "string" }
"#;

impl World {
    async fn start(format: &str) -> Self {
        let mut mint = Mint::default();
        let folder = Folder::new();
        let database = postgres::database().await;
        database.run("create table people (name text primary key, note text)").await;
        let shop = rusqlite::Connection::open(folder.path().join("shop.db")).unwrap();
        shop.execute_batch(
            "create table people (id integer primary key, name text not null, note text) strict",
        )
        .unwrap();
        for _ in 0..20 {
            let secret = mint.next("row of sqlite");
            shop.execute("insert into people (name, note) values ('known', ?1)", [&secret]).unwrap();
        }
        for number in 0..20 {
            let secret = mint.next("row of postgres");
            database.run(&format!("insert into people values ('p{number}', '{secret}')")).await;
        }
        let [admin_port, endpoint, dead] = [free_port(), free_port(), free_port()];
        let upstream = broken_upstream();
        let admin_token = mint.next("admin token");
        let password = mint.next("password of a database that answers");
        let away = mint.next("password of a database that does not");
        let client_secret = mint.next("client secret");
        let seal_key: String = mint.next("seal key");
        let audit_key: String = mint.next("audit key");
        std::fs::write(folder.path().join("client-secret"), &client_secret).unwrap();
        let sealed = sealed(&folder, &away);
        let user = database.url.split_once("://").unwrap().1.split_once('@').unwrap();
        let url = format!("postgres://{}:{password}@{}", user.0.split(':').next().unwrap(), user.1);
        let (seal_key, audit_key) = (STANDARD.encode(seal_key), STANDARD.encode(audit_key));
        folder.write(&format!(
            "[server]\nlisten = \"127.0.0.1:{endpoint}\"\nurl = \"http://127.0.0.1:{endpoint}/mcp\"\nseal-keys = [\"{seal_key}\"]\n\
             [log]\nformat = \"{format}\"\n[admin]\nlisten = \"127.0.0.1:{admin_port}\"\ntoken = \"{admin_token}\"\n\
             [connectors.shop]\ntype = \"sqlite\"\npath = \"shop.db\"\nad-hoc-sql = \"read-only\"\n\
             [connectors.main]\ntype = \"postgres\"\nurl = \"{url}\"\naccess = \"read-write\"\n\
             [connectors.away]\ntype = \"postgres\"\nurl = \"postgres://ann:{sealed}@127.0.0.1:{dead}/shop\"\n\
             [auth.keys]\nstore = \"./keys.db\"\n\
             [auth.introspection.corp]\nurl = \"http://{upstream}/introspect\"\nclient-id = \"us\"\nclient-secret = \"${{file:client-secret}}\"\n\
             [audit]\nsink = \"file:audit.jsonl\"\nkey = \"{audit_key}\"\n{TOOLS}"
        ));
        let made = folder.run(&["keys", "create", "robot", "--output", "json"]);
        let made: Value =
            serde_json::from_slice(&made.stdout).unwrap_or_else(|error| panic!("{error}: {made:?}"));
        let key = made["key"].as_str().unwrap().to_owned();
        mint.keep("valid key", &key[17..]);
        let mut command = trunkline();
        command.env("TRUNKLINE_LOG", EVERYTHING).args(["serve", "-c"]).arg(folder.config());
        let server = Server::spawn(command);
        let admin = ([127, 0, 0, 1], admin_port).into();
        let world = Self { folder, server, admin, admin_token, key, mint, answers: Vec::new() };
        world.server.wait_for(|said| {
            said.contains("`away` does not answer")
                .then_some(())
                .or_else(|| said.contains("away").then_some(()))
        });
        world
    }

    /// Sends what it is told to, with these secrets in it.
    fn send(&mut self, secrets: &[&str], what: &str, head: &str, body: &str) -> String {
        let answer = raw(self.server.address, what, head, body);
        self.answers.push((secrets.iter().map(|secret| (*secret).to_owned()).collect(), answer.clone()));
        answer
    }

    fn head(&self, method: &str, name: &str) -> String {
        let name = if name.is_empty() { String::new() } else { format!("Mcp-Name: {name}\r\n") };
        format!(
            "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\n\
             Mcp-Method: {method}\r\n{name}"
        )
    }

    fn ask(&mut self, secrets: &[&str], method: &str, mut params: Value) -> String {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let name = params["name"].as_str().or(params["uri"].as_str()).unwrap_or_default().to_owned();
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let head = format!("{}Authorization: Bearer {}\r\n", self.head(method, &name), self.key);
        self.send(secrets, "POST /mcp", &head, &body)
    }

    fn call(&mut self, secrets: &[&str], tool: &str, arguments: Value) -> String {
        self.ask(secrets, "tools/call", json!({ "name": tool, "arguments": arguments }))
    }

    /// What went in and must not come out, wherever one looks.
    fn leaks(&mut self) -> Vec<String> {
        let authorization = format!("Authorization: Bearer {}\r\n", self.admin_token);
        let pages = ["/metrics", "/readyz", "/livez"]
            .map(|page| http(self.admin, &format!("GET {page}"), &authorization, "").1);
        assert!(pages[0].contains("trunkline_"), "{}", pages[0]);
        self.server.signal("TERM");
        self.server.wait();
        let record = std::fs::read_to_string(self.folder.path().join("audit.jsonl")).unwrap();
        assert!(record.lines().count() > 100, "{record}");
        let mut leaks = self.mint.found("the log", &self.server.said(), &[]);
        leaks.extend(self.mint.found("the record", &record, &[]));
        for page in pages {
            leaks.extend(self.mint.found("a page for the operator", &page, &[]));
        }
        for (own, answer) in &self.answers {
            // A caller may be told what it sent itself, and the rows it asked for.
            let found = self.mint.found("the answer to another", answer, &["row of"]);
            leaks.extend(found.into_iter().filter(|leak| {
                let kind = leak.split(" in ").next().unwrap();
                !own.contains(&self.mint.made[kind])
            }));
        }
        leaks
    }
}

/// A reference that holds the secret, sealed by the program itself.
fn sealed(folder: &Folder, secret: &str) -> String {
    let made = folder.run(&["secret", "keygen"]);
    assert!(made.status.success(), "{made:?}");
    std::fs::write(folder.path().join("plain"), secret).unwrap();
    let sealed = folder.run(&["secret", "seal", "@plain"]);
    std::fs::remove_file(folder.path().join("plain")).unwrap();
    String::from_utf8(sealed.stdout).unwrap().trim().to_owned()
}

/// Puts secrets through every door.
fn plant(world: &mut World) {
    let mut drawn = std::mem::take(&mut world.mint);
    let mut next = |kind: &str| drawn.next(kind);
    for _ in 0..10 {
        let secret = next("opaque bearer");
        let head = format!("{}Authorization: Bearer {secret}\r\n", world.head("tools/list", ""));
        world.send(&[&secret], "POST /mcp", &head, "{}");
        let secret = next("wrong key");
        let head = format!("{}X-API-Key: tlk_{secret}\r\n", world.head("tools/list", ""));
        world.send(&[&secret], "POST /mcp", &head, "{}");
        let secret = next("signature of a token");
        let head = format!(
            "{}Authorization: Bearer eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJ4In0.{secret}\r\n",
            world.head("tools/list", "")
        );
        world.send(&[&secret], "POST /mcp", &head, "{}");
    }
    for _ in 0..5 {
        let (cookie, custom, session, user) =
            (next("cookie"), next("header"), next("session"), next("basic"));
        let basic = STANDARD.encode(format!("ann:{user}"));
        let head = format!(
            "Cookie: sid={cookie}\r\nX-Custom: {custom}\r\nMcp-Session-Id: {session}\r\nAuthorization: Basic {basic}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
        );
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        world.send(&[&cookie, &custom, &session, &user], "POST /mcp", &head, body);
        let (query, path) = (next("query"), next("path"));
        world.send(&[&query], &format!("GET /mcp?access_token={query}"), "Accept: text/event-stream\r\n", "");
        world.send(&[&path], &format!("GET /{path}"), "", "");
        let admin = next("query of the admin page");
        http(world.admin, &format!("GET /metrics?token={admin}"), "", "");
    }
    for _ in 0..12 {
        let name = next("argument");
        world.call(&[&name], "person", json!({ "name": name }));
        let pin = next("secret argument");
        world.call(&[&pin], "secret_argument", json!({ "pin": pin }));
        world.call(&[&pin], "secret_argument", json!({ "pin": format!("{pin}{pin}") }));
        let text = next("argument the database refuses");
        let answer = world.call(&[&text], "number", json!({ "text": text }));
        assert!(answer.contains("isError"), "{answer}");
        let name = next("argument that is there twice");
        world.call(&[&name], "add", json!({ "name": name }));
        world.call(&[&name], "add", json!({ "name": name }));
        let text = next("argument of broken JSON");
        world.call(&[&text], "json", json!({ "text": format!("{{\"a\": {text}") }));
        let text = next("argument to a database that is away");
        world.call(&[&text], "away", json!({ "text": text }));
    }
    for _ in 0..5 {
        let unknown = next("name of an argument");
        world.call(&[&unknown], "person", json!({ "name": "x", unknown.as_str(): 1 }));
        let (password, token) = (next("password of an address"), next("token of an address"));
        let uri = format!("x://ann:{password}@h/p?access_token={token}");
        world.ask(&[&password, &token], "resources/read", json!({ "uri": uri }));
        let sql = next("statement of a caller");
        world.call(&[&sql], "shop_query", json!({ "sql": format!("select '{sql}' from nowhere") }));
        let broken = next("body that is no JSON");
        let head = format!("{}Authorization: Bearer {}\r\n", world.head("tools/call", "person"), world.key);
        world.send(&[&broken], "POST /mcp", &head, &format!("{{\"jsonrpc\":\"2.0\",\"id\":1,{broken}"));
    }
    world.mint = drawn;
    world.call(&[], "person", json!({ "name": "known" }));
    world.call(&[], "notes", json!({}));
    world.ask(&[], "tools/list", json!({}));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_secrets_leave_by_no_door_of_a_server_that_logs_everything() {
    let mut world = World::start("text").await;
    plant(&mut world);
    assert!(world.mint.made.len() >= 200, "{}", world.mint.made.len());
    // It did log everything, or nothing would be shown by this.
    let said = world.server.said();
    assert!(said.contains("TRACE") && said.lines().count() > 300, "{said}");
    let leaks = world.leaks();
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ob_02_secrets_stay_out_of_logs() {
    let mut world = World::start("json").await;
    let (token, pin) = (world.mint.next("invalid token"), world.mint.next("secret argument"));
    let head = format!("{}Authorization: Bearer {token}\r\n", world.head("tools/list", ""));
    // The endpoint that is asked about it has our client secret, and answers 500.
    world.send(
        &[&token],
        "POST /mcp",
        &head,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#,
    );
    let key = world.key.clone();
    let head = format!("{}X-API-Key: {key}\r\n", world.head("tools/list", ""));
    world.send(&[&key], "POST /mcp", &head, r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#);
    for _ in 0..100 {
        world.call(&[&pin], "secret_argument", json!({ "pin": pin }));
    }
    let answer = world.call(&[], "away", json!({ "text": "x" }));
    assert!(answer.contains("isError"), "{answer}");
    let said = world.server.said();
    for line in said.lines().filter(|line| line.starts_with('{')) {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}");
    }
    assert!(said.contains("introspection endpoint"), "{said}");
    let leaks = world.leaks();
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n\n"));
}
