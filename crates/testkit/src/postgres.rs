//! A real PostgreSQL of a test's own: started in about a second, killed, frozen and brought back at will.
//!
//! Nothing is shared with a PostgreSQL that someone left running. Fresh databases for tests that do not hurt the server
//! come from [`database`], which uses the server named by `TRUNKLINE_TEST_POSTGRES_URL` when there is one.

#![expect(
    clippy::panic,
    reason = "used by tests only: a server that does not start ends the test with its log"
)]

use std::fmt;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_postgres::NoTls;

mod replica;
mod tls;

pub use tls::{Certificates, SecurePostgres};

/// A PostgreSQL server that belongs to one test. Ended, and its folder removed, when dropped.
#[derive(Debug)]
pub struct PrivatePostgres {
    folder: TempDir,
    port: u16,
    owner: Owner,
    postmaster: Option<u32>,
    /// Settings of this server's own, like `ssl=on`.
    extra: Vec<String>,
}

impl PrivatePostgres {
    /// Makes a data folder and starts a server on a free port of 127.0.0.1; every login is trusted.
    ///
    /// # Panics
    /// When PostgreSQL is not installed or does not start; the text holds its log.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Does so with more settings: `shared_preload_libraries=pg_stat_statements`.
    ///
    /// # Panics
    /// Like [`start`](Self::start).
    pub async fn start_with(settings: &[&str]) -> Self {
        let owner = Owner::of_this_process();
        let folder = tempfile::Builder::new()
            .prefix("trunkline-pg-")
            .tempdir()
            .unwrap_or_else(|error| panic!("no temporary folder for PostgreSQL: {error}"));
        owner.give(folder.path());
        let extra = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut server = Self { folder, port: free_port(), owner, postmaster: None, extra };
        server.initialize().await;
        for _ in 0..3 {
            if server.launch().await.is_ok() {
                return server;
            }
            // Someone took the port between looking and starting.
            server.port = free_port();
        }
        panic!("PostgreSQL did not start:\n{}", server.log());
    }

    /// Returns the address of a database on this server, for the superuser `postgres`.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Returns the port, which stays the same over [`restart`](Self::restart).
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills the server and all its backends at once, as a power cut would.
    pub fn kill(&mut self) {
        if let Some(postmaster) = self.postmaster.take() {
            // The postmaster first: it would otherwise start new children in place of killed ones.
            let children = children_of(postmaster);
            signal("KILL", &[postmaster]);
            signal("KILL", &children);
            wait_until_gone(postmaster);
            children.iter().for_each(|child| wait_until_gone(*child));
        }
    }

    /// Ends the server in order, cutting off whoever is connected.
    pub fn stop(&mut self) {
        if let Some(postmaster) = self.postmaster.take() {
            signal("INT", &[postmaster]);
            wait_until_gone(postmaster);
        }
    }

    /// Starts the server again on its port and data, ending it first when it still runs.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn restart(&mut self) {
        self.stop();
        if let Err(log) = self.launch().await {
            panic!("PostgreSQL did not start again:\n{log}");
        }
    }

    /// Starts the server again on another port.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn change_port(&mut self) {
        self.stop();
        self.port = free_port();
        self.restart().await;
    }

    /// Has the server follow nobody from its next start on: it is in recovery then, and takes no writes.
    ///
    /// # Panics
    /// When the file that says so cannot be written.
    pub fn make_standby(&mut self) {
        let path = self.data().join("standby.signal");
        if let Err(error) = std::fs::write(&path, "") {
            panic!("`{}` was not written: {error}", path.display());
        }
        self.owner.give(&path);
    }

    /// Freezes the server and all its backends: connections stay open and nothing answers.
    pub fn stop_process(&self) {
        if let Some(postmaster) = self.postmaster {
            signal("STOP", &[postmaster]);
            signal("STOP", &children_of(postmaster));
        }
    }

    /// Lets a frozen server go on.
    pub fn cont(&self) {
        if let Some(postmaster) = self.postmaster {
            signal("CONT", &children_of(postmaster));
            signal("CONT", &[postmaster]);
        }
    }

    /// Makes a fresh database on this server.
    ///
    /// # Panics
    /// When the server does not answer.
    pub async fn create_database(&self) -> TestDatabase {
        TestDatabase::create(&self.url("postgres"), None).await
    }

    async fn initialize(&self) {
        let mut initdb = self.owner.command(&binary("initdb"));
        initdb.args(["--no-sync", "--no-locale", "--encoding=UTF8", "--auth=trust", "--username=postgres"]);
        initdb.arg("--pgdata").arg(self.data());
        let output = tokio::process::Command::from(initdb).output().await;
        match output {
            Ok(output) if output.status.success() => {}
            Ok(output) => panic!("initdb failed:\n{}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => panic!("initdb was not run: {error}"),
        }
    }

    /// Starts the postmaster and waits until it takes connections.
    async fn launch(&mut self) -> Result<(), String> {
        let mut command = self.owner.command(&binary("postgres"));
        command.arg("-D").arg(self.data()).arg("-p").arg(self.port.to_string());
        command.arg("-k").arg(self.folder.path());
        for setting in SETTINGS.iter().copied().chain(self.extra.iter().map(String::as_str)) {
            command.args(["-c", setting]);
        }
        let log = std::fs::File::create(self.folder.path().join("log")).map_err(|error| error.to_string())?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = spawn_from_lasting_thread(command)?;
        let deadline = Instant::now() + START_WITHIN;
        loop {
            if self.is_ready(child) {
                self.postmaster = Some(child);
                return Ok(());
            }
            if !is_alive(child) || Instant::now() > deadline {
                signal("KILL", &[child]);
                return Err(self.log());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The last line of `postmaster.pid` says how far the server has come; its first is the process.
    fn is_ready(&self, child: u32) -> bool {
        let text = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let mut lines = text.lines();
        lines.next() == Some(&child.to_string())
            && lines.nth(6).is_some_and(|status| status.trim() == "ready")
    }

    /// The shared memory by which a server knows that another one has its data; `None` once it ended in order.
    fn segment(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        text.lines().nth(6)?.split_whitespace().nth(1).map(str::to_owned)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Returns what the server logged since its last start.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        self.kill();
        // One that was killed leaves it behind, and a machine has 4096 of them.
        if let Some(segment) = self.segment() {
            drop(Command::new("ipcrm").args(["-m", &segment]).stderr(Stdio::null()).status());
        }
    }
}

/// A database of a test's own. It goes with its server, which is thrown away after a run of tests.
#[derive(Debug)]
pub struct TestDatabase {
    /// Its address, for the superuser `postgres` or the one of `TRUNKLINE_TEST_POSTGRES_URL`.
    pub url: String,
    /// Holds the private server it is on, if it is on one.
    _server: Option<Arc<PrivatePostgres>>,
}

impl TestDatabase {
    async fn create(server: &str, owner: Option<Arc<PrivatePostgres>>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // Process ids come around again while a shared server lives.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros();
        let name = format!("test_{now}_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let client = Client::connect(server).await;
        client.run(&format!("create database {name} template template0")).await;
        Self { url: with_database(server, &name), _server: owner }
    }

    /// Connects to it, for looking at it from outside the code under test.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn client(&self) -> Client {
        Client::connect(&self.url).await
    }

    /// Runs statements on it.
    ///
    /// # Panics
    /// When one fails.
    pub async fn run(&self, sql: &str) {
        self.client().await.run(sql).await;
    }
}

/// A plain connection with its task, both gone when dropped.
pub struct Client {
    client: tokio_postgres::Client,
    /// Aborted when dropped.
    _tasks: JoinSet<()>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// Connects.
    ///
    /// # Panics
    /// When the server does not answer.
    pub async fn connect(url: &str) -> Self {
        let (client, connection) = tokio_postgres::connect(url, NoTls)
            .await
            .unwrap_or_else(|error| panic!("no connection to the test database: {error:?}"));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // How the connection ended is seen by whoever uses the client.
            drop(connection.await);
        });
        Self { client, _tasks: tasks }
    }

    /// Runs statements.
    ///
    /// # Panics
    /// When one fails.
    pub async fn run(&self, sql: &str) {
        if let Err(error) = self.client.batch_execute(sql).await {
            panic!("`{sql}` failed: {error:?}");
        }
    }

    /// Returns the first cell of the first row as text, if it is there and not null.
    ///
    /// # Panics
    /// When the statement fails.
    pub async fn value(&self, sql: &str) -> Option<String> {
        let messages = match self.client.simple_query(sql).await {
            Ok(messages) => messages,
            Err(error) => panic!("`{sql}` failed: {error:?}"),
        };
        messages.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        })
    }
}

/// Returns a fresh database on the server of `TRUNKLINE_TEST_POSTGRES_URL`, else on a private one that all tests of this
/// process share and the last of them ends.
///
/// # Panics
/// When there is no PostgreSQL.
pub async fn database() -> TestDatabase {
    static SHARED: Mutex<Weak<PrivatePostgres>> = Mutex::const_new(Weak::new());
    if let Ok(url) = std::env::var("TRUNKLINE_TEST_POSTGRES_URL") {
        return TestDatabase::create(&url, None).await;
    }
    let mut shared = SHARED.lock().await;
    let server = match shared.upgrade() {
        Some(server) => server,
        None => {
            let server = Arc::new(PrivatePostgres::start().await);
            *shared = Arc::downgrade(&server);
            server
        }
    };
    let url = server.url("postgres");
    TestDatabase::create(&url, Some(server)).await
}

/// Whose the server's files and processes are: PostgreSQL refuses to run as root.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner {
    user: Option<(u32, u32)>,
}

impl Owner {
    pub(crate) fn of_this_process() -> Self {
        if id(&["-u"]) != Some(0) {
            return Self { user: None };
        }
        let user = id(&["-u", "postgres"]).zip(id(&["-g", "postgres"]));
        match user {
            Some(user) => Self { user: Some(user) },
            None => {
                panic!("there is no user `postgres` to run PostgreSQL as; install the package `postgresql`")
            }
        }
    }

    pub(crate) fn give(self, folder: &Path) {
        if let Some((user, group)) = self.user
            && let Err(error) = std::os::unix::fs::chown(folder, Some(user), Some(group))
        {
            panic!("`{}` could not be given to postgres: {error}", folder.display());
        }
    }

    /// Runs a program as that user, and has the kernel end it when the thread that started it ends.
    pub(crate) fn command(self, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let Some((user, group)) = self.user {
            command.args([
                format!("--reuid={user}"),
                format!("--regid={group}"),
                "--clear-groups".to_owned(),
            ]);
        }
        command.arg("--").arg(program).current_dir("/");
        command
    }
}

fn id(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).output().ok()?;
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}

/// Returns the path of a program of PostgreSQL: of the one in the folder `TRUNKLINE_TEST_POSTGRES_BIN` if that has it, else of
/// the newest installed, else of the one in `PATH`.
fn binary(name: &str) -> PathBuf {
    let chosen = std::env::var_os("TRUNKLINE_TEST_POSTGRES_BIN").map(|folder| Path::new(&folder).join(name));
    if let Some(path) = chosen.filter(|path| path.exists()) {
        return path;
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| {
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            let path = entry.path().join("bin").join(name);
            path.exists().then_some((version, path))
        })
        .max();
    newest.map_or_else(|| PathBuf::from(name), |(_, path)| path)
}

/// Starts a child from a thread that outlives every test, because the kernel counts the end of the starting *thread* as
/// the parent's death. The thread ends with the child.
pub(crate) fn spawn_from_lasting_thread(mut command: Command) -> Result<u32, String> {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || match command.spawn() {
        Ok(mut child) => {
            drop(sender.send(Ok(child.id())));
            drop(child.wait());
        }
        Err(error) => drop(sender.send(Err(error.to_string()))),
    });
    receiver.recv().unwrap_or_else(|error| Err(error.to_string()))
}

/// Returns a port of 127.0.0.1 that was free a moment ago.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map_or_else(|error| panic!("no free port: {error}"), |address| address.port())
}

pub(crate) fn signal(name: &str, processes: &[u32]) {
    if processes.is_empty() {
        return;
    }
    let list: Vec<String> = processes.iter().map(u32::to_string).collect();
    // The shell's own `kill`; one that is gone already is what is wanted.
    drop(Command::new("sh").arg("-c").arg(format!("kill -{name} {} 2>/dev/null", list.join(" "))).status());
}

/// Returns state and parent of a process, or `None` when there is none of that id.
fn stat(process: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name, in parentheses, may itself hold spaces and parentheses.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

pub(crate) fn is_alive(process: u32) -> bool {
    stat(process).is_some_and(|(state, _)| state != 'Z')
}

fn children_of(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|process| stat(*process).is_some_and(|(_, found)| found == parent))
        .collect()
}

/// Waits until a process has ended; blocks, as it is used from `Drop`.
pub(crate) fn wait_until_gone(process: u32) {
    let deadline = Instant::now() + STOP_WITHIN;
    let (_keep, never) = std::sync::mpsc::channel::<()>();
    while is_alive(process) && Instant::now() < deadline {
        let _ = never.recv_timeout(Duration::from_millis(5));
    }
}

fn with_database(url: &str, name: &str) -> String {
    let (base, query) = url.split_once('?').map_or((url, None), |(base, query)| (base, Some(query)));
    let authority = base.find("://").map_or(0, |at| at + 3);
    let end = base[authority..].find('/').map_or(base.len(), |at| authority + at);
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{}/{name}{query}", &base[..end])
}

/// Safe for nothing but tests: a crash of the machine may lose data; a killed server loses none that was committed.
const SETTINGS: &[&str] = &[
    "fsync=off",
    "full_page_writes=off",
    "listen_addresses=127.0.0.1",
    "max_connections=100",
    "shared_buffers=32MB",
    "logging_collector=off",
    // A replica looks for its primary again this soon.
    "wal_retrieve_retry_interval=100ms",
];

const START_WITHIN: Duration = Duration::from_secs(30);

const STOP_WITHIN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_is_killed_and_comes_back_with_its_data() {
        let mut server = PrivatePostgres::start().await;
        let database = server.create_database().await;
        database.run("create table t as select 7 as a").await;
        server.kill();
        assert!(tokio_postgres::connect(&database.url, NoTls).await.is_err());
        server.restart().await;
        assert_eq!(database.client().await.value("select a from t").await.as_deref(), Some("7"));
    }

    #[tokio::test]
    async fn a_server_that_is_gone_leaves_no_shared_memory_behind() {
        let has = |segment: &str| {
            let all = std::fs::read_to_string("/proc/sysvipc/shm").unwrap();
            all.lines().any(|line| line.split_whitespace().nth(1) == Some(segment))
        };
        let mut server = PrivatePostgres::start().await;
        let killed = server.segment().unwrap();
        server.kill();
        assert!(has(&killed), "killed, it can remove nothing");
        server.restart().await;
        let segment = server.segment().unwrap();
        assert!(has(&segment));
        drop(server);
        assert!(!has(&killed) && !has(&segment), "{killed} {segment}");
    }

    #[tokio::test]
    async fn a_frozen_server_goes_on_where_it_was() {
        let server = PrivatePostgres::start().await;
        let client = Client::connect(&server.url("postgres")).await;
        server.stop_process();
        let frozen = tokio::time::timeout(Duration::from_millis(100), client.value("select 1")).await;
        assert!(frozen.is_err(), "a frozen server answered");
        server.cont();
        assert_eq!(client.value("select 2").await.as_deref(), Some("2"));
    }

    #[tokio::test]
    async fn databases_of_one_server_are_separate() {
        let (one, other) = (database().await, database().await);
        one.run("create table t (a int)").await;
        other.run("create table t (a int)").await;
    }

    #[test]
    fn only_the_database_of_an_address_is_changed() {
        assert_eq!(with_database("postgres://u:p@h:5/old?x=/1", "new"), "postgres://u:p@h:5/new?x=/1");
        assert_eq!(with_database("postgres://u@h", "new"), "postgres://u@h/new");
    }
}
