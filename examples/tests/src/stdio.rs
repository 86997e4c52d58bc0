//! An example over stdio: one message a line.

use std::process::{ExitStatus, Stdio as Pipe};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::{patiently, with_meta};

/// A running example and the pipes to it; ends with the test.
#[derive(Debug)]
pub struct Stdio {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    next_id: u64,
    capabilities: Value,
}

impl Stdio {
    /// Starts `binary` with `--stdio`, as a client of these capabilities.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(binary: &str, capabilities: Value) -> Self {
        let mut child = Command::new(binary)
            .arg("--stdio")
            .stdin(Pipe::piped())
            .stdout(Pipe::piped())
            .stderr(Pipe::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary was built with the test");
        let stdin = child.stdin.take().expect("stdin is piped");
        let lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        Self { child, stdin, lines, next_id: 1, capabilities }
    }

    /// Sends a notification.
    pub async fn notify(&mut self, method: &str, params: Value) {
        self.write(&json!({ "jsonrpc": "2.0", "method": method, "params": params })).await;
    }

    async fn write(&mut self, message: &Value) {
        let line = format!("{message}\n");
        self.stdin.write_all(line.as_bytes()).await.expect("the example reads");
    }

    /// Sends a request of the modern era and returns its id.
    ///
    /// # Panics
    /// When the example is gone.
    pub async fn send(&mut self, method: &str, params: Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let params = with_meta(params, &self.capabilities);
        self.write(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })).await;
        id
    }

    /// Waits for the next message, whichever it is.
    ///
    /// # Panics
    /// When the example ends, or writes what is no message.
    pub async fn next(&mut self) -> Value {
        let line =
            patiently("a line", self.lines.next_line()).await.expect("UTF-8").expect("a line before the end");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Sends a request and returns its answer; what comes before is left aside.
    pub async fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params).await;
        loop {
            let message = self.next().await;
            if message["id"] == id && message.get("method").is_none() {
                return message;
            }
        }
    }

    /// Returns the names of the tools, in the order they are listed.
    pub async fn tools(&mut self) -> Vec<String> {
        let list = self.ask("tools/list", json!({})).await;
        let tools = list["result"]["tools"].as_array().cloned().unwrap_or_default();
        tools.iter().filter_map(|tool| tool["name"].as_str()).map(str::to_owned).collect()
    }

    /// Closes the example's input and waits for its end.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn end(self) -> ExitStatus {
        let Self { mut child, stdin, .. } = self;
        drop(stdin);
        patiently("the end of the example", child.wait()).await.expect("a status")
    }
}
