//! The process of an example that serves HTTP on a free port.

use std::process::{ExitStatus, Stdio as Pipe};

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::patiently;

/// A running example; ends with the test.
#[derive(Debug)]
pub struct Example {
    child: Child,
    base: String,
    /// Reads what the example logs, so that it never waits for us.
    _log: JoinSet<()>,
}

impl Example {
    /// Starts `binary` on a free port and waits until it serves.
    ///
    /// # Panics
    /// When it does not start, or ends before it serves.
    pub async fn start(binary: &str) -> Self {
        Self::start_with(binary, &[], &[]).await
    }

    /// Does so with further arguments and variables.
    ///
    /// # Panics
    /// Like [`start`](Self::start).
    pub async fn start_with(binary: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(binary)
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .env("NO_COLOR", "1")
            .envs(variables.iter().copied())
            .stdin(Pipe::null())
            .stderr(Pipe::piped())
            .stdout(Pipe::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary was built with the test");
        let stderr = child.stderr.take().expect("stderr is piped");
        let mut lines = BufReader::new(stderr).lines();
        let mut seen = String::new();
        let base = patiently("the line with the address", async {
            loop {
                let line = lines.next_line().await.ok().flatten();
                let line = line.unwrap_or_else(|| panic!("{binary} ended before it served:\n{seen}"));
                if let Some(base) = base_in(&line) {
                    return base;
                }
                seen.push_str(&line);
                seen.push('\n');
            }
        })
        .await;
        let mut log = JoinSet::new();
        log.spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { child, base, _log: log }
    }

    /// Interrupts the example, as Ctrl-C does, and waits for its end.
    ///
    /// # Panics
    /// When it does not end.
    #[cfg(unix)]
    pub async fn interrupt(mut self) -> ExitStatus {
        let pid = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args(["-INT", &pid]).status().await;
        assert!(sent.is_ok_and(|status| status.success()), "the signal could not be sent");
        patiently("the end of the example", self.child.wait()).await.expect("a status")
    }

    /// Returns the address of a path, which begins with `/`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Returns the address of MCP.
    #[must_use]
    pub fn mcp(&self) -> String {
        self.url("/mcp")
    }
}

/// Finds `http://HOST:PORT` in a line of a log.
fn base_in(line: &str) -> Option<String> {
    let from = line.find("http://127.0.0.1:")?;
    let address = line.get(from..)?;
    let port = address.trim_start_matches("http://127.0.0.1:");
    let digits = port.len() - port.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    (digits > 0).then(|| format!("http://127.0.0.1:{}", &port[..digits]))
}
