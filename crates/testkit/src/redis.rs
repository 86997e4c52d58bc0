//! A real Redis or Valkey of a test's own: started in a few milliseconds, killed, frozen and brought back at will; also one with a
//! replica and a sentinel that makes the replica the primary.

#![expect(
    clippy::panic,
    reason = "used by tests only: a server that does not start ends the test with its log"
)]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::postgres::{is_alive, signal, spawn_from_lasting_thread, wait_until_gone};

mod sentinel;

pub use crate::postgres::free_port;
pub use sentinel::Watched;

/// How long a start may take.
const START_WITHIN: Duration = Duration::from_secs(10);
/// How long an answer of a server that runs may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A Redis server that belongs to one test and keeps nothing on disk. Ended, and its folder removed, when dropped.
#[derive(Debug)]
pub struct Server {
    folder: TempDir,
    port: u16,
    process: Option<u32>,
    /// Settings of this server's own.
    settings: Vec<String>,
    /// What tests say first when they ask it something.
    login: Option<String>,
}

impl Server {
    /// Starts a server on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When neither Redis nor Valkey is installed, or it does not start; the text holds its log.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Does so with more settings, as on the command line: `["--requirepass", "x"]`.
    ///
    /// # Panics
    /// Like [`start`](Self::start).
    pub async fn start_with(settings: &[&str]) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("trunkline-redis-")
            .tempdir()
            .unwrap_or_else(|error| panic!("no temporary folder for Redis: {error}"));
        let settings: Vec<_> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let password = settings.iter().position(|setting| setting == "--requirepass");
        let login = password.and_then(|at| settings.get(at + 1)).cloned();
        let mut server = Self { folder, port: free_port(), process: None, settings, login };
        for _ in 0..3 {
            if server.launch().await {
                return server;
            }
            // Someone took the port between looking and starting.
            server.kill();
            server.port = free_port();
        }
        panic!("Redis did not start:\n{}", server.log());
    }

    /// Returns its URL, with the password where it has one.
    #[must_use]
    pub fn url(&self) -> String {
        match &self.login {
            Some(password) => format!("redis://:{password}@127.0.0.1:{}", self.port),
            None => format!("redis://127.0.0.1:{}", self.port),
        }
    }

    /// Returns the port, which stays the same over [`restart`](Self::restart).
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills it at once, and all that it kept is gone.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            signal("KILL", &[process]);
            wait_until_gone(process);
        }
    }

    /// Starts it again on its port, empty, killing it first when it still runs.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn restart(&mut self) {
        self.kill();
        if !self.launch().await {
            panic!("Redis did not start again:\n{}", self.log());
        }
    }

    /// Freezes it: connections stay open and nothing answers.
    pub fn pause(&self) {
        if let Some(process) = self.process {
            signal("STOP", &[process]);
        }
    }

    /// Lets a frozen server go on.
    pub fn resume(&self) {
        if let Some(process) = self.process {
            signal("CONT", &[process]);
        }
    }

    /// Sends one command on a connection of its own and returns the answer as it came.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn ask(&self, command: &[&str]) -> String {
        ask(self.port, self.login.as_deref(), command)
            .unwrap_or_else(|error| panic!("Redis did not answer `{command:?}`: {error}"))
    }

    /// Returns what it logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    async fn launch(&mut self) -> bool {
        let mut command = command(self.folder.path(), None, self.port);
        command.args(["--save", "", "--appendonly", "no"]).args(&self.settings);
        let process = spawn_from_lasting_thread(command).unwrap_or_else(|error| {
            panic!("Redis was not started, install the package `redis-server`: {error}")
        });
        self.process = Some(process);
        answers(process, self.port).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Returns the command that starts a server in that folder, with the settings of a file where there is one.
fn command(folder: &Path, file: Option<&Path>, port: u16) -> Command {
    let program = ["redis-server", "valkey-server"].into_iter().find(|name| is_installed(name));
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", program.unwrap_or("redis-server")]);
    command.args(file).args([
        "--port",
        &port.to_string(),
        "--bind",
        "127.0.0.1",
        "--logfile",
        "log",
        "--daemonize",
        "no",
    ]);
    command.arg("--dir").arg(folder).current_dir(folder);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn is_installed(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

/// Waits until a server answers; `false` when it ended before.
async fn answers(process: u32, port: u16) -> bool {
    let deadline = Instant::now() + START_WITHIN;
    while is_alive(process) && Instant::now() < deadline {
        // Any answer will do: one that wants a password says so.
        if ask(port, None, &["PING"]).is_ok_and(|answer| !answer.is_empty()) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    false
}

fn ask(port: u16, login: Option<&str>, command: &[&str]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    let mut text = String::new();
    let login = login.map(|password| vec!["AUTH", password]);
    let commands = login.iter().map(Vec::as_slice).chain([command]);
    for parts in commands {
        text.push_str(&format!("*{}\r\n", parts.len()));
        parts.iter().for_each(|part| text.push_str(&format!("${}\r\n{part}\r\n", part.len())));
    }
    stream.write_all(text.as_bytes())?;
    // It answers what came before, and closes the connection.
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    match login {
        Some(_) => Ok(answer.strip_prefix("+OK\r\n").unwrap_or(&answer).to_owned()),
        None => Ok(answer),
    }
}
