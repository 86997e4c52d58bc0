//! A folder with a config file and a database, the server on it, and the smallest client that can ask it something.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The longest any test waits for something that should happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn trunkline() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
    command.env_remove("TRUNKLINE_LOG").env("NO_COLOR", "1");
    command
}

/// A folder with `shop.db` and room for `trunkline.toml`.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = rusqlite::Connection::open(folder.path().join("shop.db")).unwrap();
        database.execute_batch("create table customers (id integer primary key, name text not null) strict; insert into customers values (1, 'Ann Smith'), (2, 'Bob Jones');").unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path().join("trunkline.toml")
    }

    pub(crate) fn write(&self, text: &str) -> PathBuf {
        fs::write(self.config(), text).unwrap();
        self.config()
    }

    /// Puts another config in the place of the one there is, in one step: nobody sees half of it.
    pub(crate) fn replace(&self, text: &str) {
        let next = self.path().join("next.toml");
        fs::write(&next, text).unwrap();
        fs::rename(next, self.config()).unwrap();
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        trunkline().args(args).current_dir(self.path()).stdin(Stdio::null()).output().unwrap()
    }
}

/// The config of a server on a free port, with whatever follows.
pub(crate) fn config(rest: &str) -> String {
    // Both at once, so that they are two.
    let held = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [endpoint, admin] = held.each_ref().map(|held| held.local_addr().unwrap().port());
    format!(
        "[server]\nname = \"test\"\nlisten = \"127.0.0.1:{endpoint}\"\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n\
         [connectors.shop]\ntype = \"sqlite\"\npath = \"shop.db\"\n{rest}"
    )
}

pub(crate) const COUNT: &str =
    "[tools.count_customers]\nconnector = \"shop\"\nsql = \"select count(*) as n from customers\"\n";

/// Runs for about a second on any machine that tests run on.
pub(crate) const SLOW: &str = "[tools.slow]\nconnector = \"shop\"\nsql = \"with recursive c(x) as (select 1 union all select x + 1 from c where x < :n) select max(x) as x from c\"\nparams.n = { type = \"integer\" }\n";

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A running `trunkline`, killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    said: Arc<Mutex<String>>,
}

impl Server {
    /// Starts `serve` on the folder's config and waits until it says where it serves.
    pub(crate) fn start(folder: &Folder) -> Self {
        let mut command = trunkline();
        command.args(["serve", "-c"]).arg(folder.config());
        Self::spawn(command)
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        for stream in [
            Box::new(child.stderr.take().unwrap()) as Box<dyn std::io::Read + Send>,
            Box::new(child.stdout.take().unwrap()),
        ] {
            let (said, mut stream) = (Arc::clone(&said), stream);
            std::thread::spawn(move || {
                let mut chunk = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut chunk) {
                    said.lock().unwrap().push_str(&String::from_utf8_lossy(&chunk[..length]));
                }
            });
        }
        let mut server = Self { child, address: ([127, 0, 0, 1], 0).into(), said };
        let url = server.wait_for(|said| {
            said.split_once("http://")
                .and_then(|(_, rest)| rest.split_once("/mcp"))
                .map(|(address, _)| address.to_owned())
        });
        server.address = url.parse().unwrap();
        server
    }

    /// Returns everything it wrote so far.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until what it wrote has what is looked for.
    pub(crate) fn wait_for<T>(&self, find: impl Fn(&str) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = find(&self.said()) {
                return found;
            }
            assert!(Instant::now() < end, "it never came; it said:\n{}", self.said());
            pause();
        }
    }

    /// Waits until it wrote `text` one time more than in `before`.
    pub(crate) fn wait_for_more(&self, before: &str, text: &str) -> String {
        let times = before.matches(text).count();
        self.wait_for(|said| (said.matches(text).count() > times).then(|| said.to_owned()))
    }

    pub(crate) fn signal(&self, name: &str) {
        let status =
            Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait(&mut self.child)
    }

    pub(crate) fn call(&self, tool: &str, arguments: &Value) -> Value {
        call(self.address, tool, arguments)
    }

    pub(crate) fn tools(&self) -> Vec<String> {
        let answer = ask(self.address, "tools/list", None, json!({}));
        let tools = answer["result"]["tools"].as_array().unwrap_or_else(|| panic!("{answer}"));
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for the end of a process.
pub(crate) fn wait(child: &mut Child) -> ExitStatus {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < end, "it does not end");
        pause();
    }
}

/// Waits until something is so.
pub(crate) fn eventually(what: &str, is: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < end, "{what}");
        pause();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test process that waits for another process has nothing else to do"
)]
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}

/// Calls a tool; the JSON-RPC answer.
pub(crate) fn call(address: SocketAddr, tool: &str, arguments: &Value) -> Value {
    ask(address, "tools/call", Some(tool), json!({ "name": tool, "arguments": arguments }))
}

/// Sends one request of 2026-07-28 on a connection of its own.
pub(crate) fn ask(address: SocketAddr, method: &str, name: Option<&str>, mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
    let name = name.map(|name| format!("Mcp-Name: {name}\r\n")).unwrap_or_default();
    let head = format!(
        "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\n\
         Mcp-Method: {method}\r\n{name}"
    );
    let (_, answer) = http(address, "POST /mcp", &head, &body);
    serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// Sends one HTTP request; the status and the body.
pub(crate) fn http(address: SocketAddr, what: &str, head: &str, body: &str) -> (u16, String) {
    let answer = raw(address, what, head, body);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

/// Sends one HTTP request; the whole answer.
pub(crate) fn raw(address: SocketAddr, what: &str, head: &str, body: &str) -> String {
    let host = if head.to_ascii_lowercase().contains("host:") {
        String::new()
    } else {
        format!("Host: {address}\r\n")
    };
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "{what} HTTP/1.1\r\n{host}{head}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
