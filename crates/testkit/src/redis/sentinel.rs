//! A primary with a replica, and a sentinel that watches them and makes the replica the primary when the first one is gone.

use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{START_WITHIN, Server, answers, ask, command};
use crate::postgres::{free_port, signal, spawn_from_lasting_thread, wait_until_gone};

/// The name the sentinel knows the primary by.
const NAME: &str = "main";

/// Two servers and a sentinel. Ended when dropped.
#[derive(Debug)]
pub struct Watched {
    /// The primary at the beginning.
    pub first: Server,
    /// Its replica.
    pub second: Server,
    _folder: TempDir,
    port: u16,
    process: u32,
}

impl Watched {
    /// Starts all three and waits until the replica has what the primary has, and the sentinel knows of it.
    ///
    /// # Panics
    /// When one does not start.
    pub async fn start() -> Self {
        let first = Server::start().await;
        let port = first.port().to_string();
        let second = Server::start_with(&[
            "--replicaof",
            &format!("127.0.0.1 {port}"),
            "--repl-diskless-sync-delay",
            "0",
        ])
        .await;
        let folder = tempfile::Builder::new()
            .prefix("trunkline-sentinel-")
            .tempdir()
            .unwrap_or_else(|error| panic!("no temporary folder for a sentinel: {error}"));
        let file = folder.path().join("sentinel.conf");
        let port = free_port();
        let text = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor {NAME} 127.0.0.1 {} 1\nsentinel down-after-milliseconds {NAME} 300\n\
             sentinel failover-timeout {NAME} 3000\n",
            first.port()
        );
        if let Err(error) = std::fs::write(&file, text) {
            panic!("the file of the sentinel was not written: {error}");
        }
        let mut command = command(folder.path(), Some(&file), port);
        command.arg("--sentinel");
        let process = spawn_from_lasting_thread(command)
            .unwrap_or_else(|error| panic!("the sentinel was not started: {error}"));
        if !answers(process, port).await {
            let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            panic!("the sentinel did not start:\n{log}");
        }
        let watched = Self { first, second, _folder: folder, port, process };
        watched
            .until("the sentinel knows the replica", || {
                watched.sentinel(&["SENTINEL", "replicas", NAME]).contains(&watched.second.port().to_string())
            })
            .await;
        watched
            .until("the replica follows", || {
                watched.second.ask(&["INFO", "replication"]).contains("master_link_status:up")
            })
            .await;
        watched
    }

    /// Returns the URL that names the sentinel, after one at which nobody answers.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis+sentinel://127.0.0.1:1,127.0.0.1:{}/{NAME}", self.port)
    }

    /// Kills the first primary and waits until the sentinel names the other one.
    ///
    /// # Panics
    /// When it does not.
    pub async fn fail_over(&mut self) {
        self.first.kill();
        let port = self.second.port().to_string();
        self.until("the sentinel names the other server", || {
            self.sentinel(&["SENTINEL", "get-master-addr-by-name", NAME]).contains(&port)
        })
        .await;
    }

    fn sentinel(&self, command: &[&str]) -> String {
        ask(self.port, None, command).unwrap_or_default()
    }

    async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + START_WITHIN * 3;
        while !holds() {
            if Instant::now() > deadline {
                panic!("not in time: {what}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        signal("KILL", &[self.process]);
        wait_until_gone(self.process);
    }
}
