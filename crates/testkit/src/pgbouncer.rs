//! A real PgBouncer of a test's own, in transaction mode: two sessions of the server for however many clients.

#![expect(
    clippy::panic,
    reason = "used by tests only: a pooler that does not start ends the test with its log"
)]

use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::postgres::{Owner, free_port, is_alive, signal, spawn_from_lasting_thread, wait_until_gone};

/// A PgBouncer in front of one server. Ended when dropped.
#[derive(Debug)]
pub struct PgBouncer {
    folder: TempDir,
    port: u16,
    process: u32,
}

impl PgBouncer {
    /// Starts one in front of the server on that port of 127.0.0.1, with two sessions for each database. `settings` are
    /// lines of its configuration beside those that it needs.
    ///
    /// # Panics
    /// When PgBouncer is not installed or does not start; the text holds its log.
    pub async fn start(server: u16, settings: &str) -> Self {
        Self::start_on(free_port, server, settings).await
    }

    /// The same on a port that is given.
    ///
    /// # Panics
    /// Like [`start`](Self::start).
    pub async fn start_at(port: u16, server: u16, settings: &str) -> Self {
        Self::start_on(|| port, server, settings).await
    }

    async fn start_on(port: impl Fn() -> u16, server: u16, settings: &str) -> Self {
        let owner = Owner::of_this_process();
        let folder = tempfile::Builder::new()
            .prefix("trunkline-bouncer-")
            .tempdir()
            .unwrap_or_else(|error| panic!("no temporary folder for PgBouncer: {error}"));
        owner.give(folder.path());
        for _ in 0..3 {
            let port = port();
            let process = launch(folder.path(), owner, port, server, settings);
            if is_up(process, port).await {
                return Self { folder, port, process };
            }
            signal("KILL", &[process]);
        }
        let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        panic!("PgBouncer did not start:\n{log}");
    }

    /// Returns the address of a database behind it, for the superuser `postgres`.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Returns what it logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        signal("KILL", &[self.process]);
        wait_until_gone(self.process);
    }
}

fn launch(folder: &Path, owner: Owner, port: u16, server: u16, settings: &str) -> u32 {
    let (config, users) = (folder.join("pgbouncer.ini"), folder.join("users"));
    let text = format!(
        "[databases]\n* = host=127.0.0.1 port={server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
         unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = transaction\ndefault_pool_size = 2\n\
         max_client_conn = 500\nlog_connections = 0\nlog_disconnections = 0\n{settings}\n",
        users.display()
    );
    for (path, text) in [(&config, text.as_str()), (&users, "\"postgres\" \"\"\n")] {
        if let Err(error) = std::fs::write(path, text) {
            panic!("`{}` was not written: {error}", path.display());
        }
        owner.give(path);
    }
    let log = match std::fs::File::create(folder.join("log")) {
        Ok(log) => log,
        Err(error) => panic!("no log for PgBouncer: {error}"),
    };
    let mut command = owner.command(Path::new("/usr/sbin/pgbouncer"));
    command.arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    spawn_from_lasting_thread(command)
        .unwrap_or_else(|error| panic!("PgBouncer was not started, install the package `pgbouncer`: {error}"))
}

/// Waits until it takes connections; `false` when it ended before.
async fn is_up(process: u32, port: u16) -> bool {
    let deadline = Instant::now() + START_WITHIN;
    while is_alive(process) && Instant::now() < deadline {
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

const START_WITHIN: Duration = Duration::from_secs(10);
