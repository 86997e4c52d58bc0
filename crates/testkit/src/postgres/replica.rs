//! A streaming replica of a private PostgreSQL: a server of its own that follows another.

use super::{Client, Owner, PrivatePostgres, binary, free_port};

impl PrivatePostgres {
    /// Copies the running server and starts the copy as a streaming replica on a port of its own. It is killed, frozen and
    /// started again like any other server.
    ///
    /// # Panics
    /// When it cannot be copied or the copy does not start.
    pub async fn replica(&self) -> Self {
        let owner = Owner::of_this_process();
        let folder = tempfile::Builder::new()
            .prefix("trunkline-pg-")
            .tempdir()
            .unwrap_or_else(|error| panic!("no temporary folder for a replica: {error}"));
        owner.give(folder.path());
        let mut replica = Self { folder, port: free_port(), owner, postmaster: None, extra: Vec::new() };
        replica.copy(self.port).await;
        for _ in 0..3 {
            if replica.launch().await.is_ok() {
                return replica;
            }
            // Someone took the port between looking and starting.
            replica.port = free_port();
        }
        panic!("the replica did not start:\n{}", replica.log());
    }

    /// Stops a replica from applying what it receives.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn pause_replay(&self) {
        let client = Client::connect(&self.url("postgres")).await;
        client.run("select pg_wal_replay_pause()").await;
        while client.value("select pg_get_wal_replay_pause_state()").await.as_deref() != Some("paused") {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// Lets a replica apply again what it receives.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn resume_replay(&self) {
        Client::connect(&self.url("postgres")).await.run("select pg_wal_replay_resume()").await;
    }

    /// Makes a replica the primary of its own data, and waits until it is.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn promote(&self) {
        Client::connect(&self.url("postgres")).await.run("select pg_promote()").await;
    }

    /// `-R` has the copy follow the server it came from.
    async fn copy(&self, port: u16) {
        let mut copy = self.owner.command(&binary("pg_basebackup"));
        copy.args(["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"]);
        copy.args(["--host=127.0.0.1", "--username=postgres", "--no-password"]);
        copy.arg(format!("--port={port}")).arg("--pgdata").arg(self.data());
        match tokio::process::Command::from(copy).output().await {
            Ok(output) if output.status.success() => {}
            Ok(output) => panic!("pg_basebackup failed:\n{}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => panic!("pg_basebackup was not run: {error}"),
        }
    }
}
