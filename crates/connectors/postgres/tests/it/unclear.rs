//! Statements that the server knows and this program does not, as a later PostgreSQL may have them: who may run one, and
//! what holds it even then. A real server is taught two of them by a relay that puts a known statement in their place.

use std::net::SocketAddr;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use trunkline_testkit::postgres::{Client, PrivatePostgres};

use crate::bypass::{ask, connector, with_user};

/// What this program does not know, and of the same length what the server is sent for it.
const TAUGHT: [(&str, &str); 2] = [("frobnicate t", "table      t"), ("evaporate   t", "delete from t")];

/// A server that knows more than this program, and logins on it.
struct Later {
    server: PrivatePostgres,
    outside: Client,
    relay: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Later {
    async fn start() -> Self {
        let server = PrivatePostgres::start().await;
        let outside = Client::connect(&server.url("postgres")).await;
        outside.run("create table t (id int); insert into t values (7)").await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, server.port()));
        Self { server, outside, relay, _tasks: tasks }
    }

    /// Makes a login with all rights on the table and whatever else is granted to it; returns its address.
    async fn login(&self, name: &str, grants: &str) -> String {
        let make = format!("create role {name} login; grant all on t to {name}; {grants}");
        self.outside.run(&make).await;
        with_user(&format!("postgres://{}/postgres", self.relay), name)
    }

    async fn rows(&self) -> String {
        self.outside.value("select count(*) from t").await.unwrap()
    }
}

async fn serve(listener: TcpListener, server: u16) {
    let mut links = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        links.spawn(async move {
            let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            let teach = async move {
                let mut chunk = vec![0; 64 * 1024];
                while let Ok(length @ 1..) = from_client.read(&mut chunk).await {
                    let mut sent = chunk[..length].to_vec();
                    for (unknown, known) in TAUGHT {
                        let places = sent.windows(unknown.len()).enumerate();
                        let found: Vec<usize> = places
                            .filter(|(_, window)| *window == unknown.as_bytes())
                            .map(|(at, _)| at)
                            .collect();
                        for at in found {
                            sent[at..at + known.len()].copy_from_slice(known.as_bytes());
                        }
                    }
                    if to_server.write_all(&sent).await.is_err() {
                        return;
                    }
                }
                drop(to_server.shutdown().await);
            };
            let answer = async move { drop(tokio::io::copy(&mut from_server, &mut to_client).await) };
            tokio::join!(teach, answer);
        });
    }
}

#[tokio::test]
async fn a_login_that_can_do_no_harm_runs_what_only_the_server_knows() {
    let later = Later::start().await;
    let url = later.login("plain", "").await;
    let plain = connector(&url, "pool = 1");
    for sql in ["frobnicate t", "\n  frobnicate t", "frobnicate t; -- all of it"] {
        assert_eq!(ask(&plain, sql).await, (false, json!([{ "id": 7 }])), "{sql}");
    }
    // The transaction only reads, whatever the words mean, and the login may delete.
    let (failed, told) = ask(&plain, "evaporate   t").await;
    assert!(failed && told.as_str().unwrap().contains("read-only"), "{told}");
    assert_eq!(later.rows().await, "1");
    // What could hide a function is not run for anybody.
    let (failed, told) = ask(&plain, "select U&\"lower\"('A')").await;
    let told = told.as_str().unwrap();
    assert!(failed && told.starts_with("not understood: "), "{told}");
    assert!(told.contains("at line 1, column 8: `U&\"lower\"('A')`"), "{told}");
    // What the server does not know either is a mistake of its author's.
    let straight = connector(&with_user(&later.server.url("postgres"), "plain"), "");
    let (failed, told) = ask(&straight, "frobnicate t").await;
    let told = told.as_str().unwrap();
    assert!(failed && told.contains("(42601)") && !told.contains("not understood"), "{told}");
    let (failed, told) = ask(&straight, "selec 1").await;
    assert!(failed && told.as_str().unwrap().contains("did you mean `select`?"), "{told}");
}

#[tokio::test]
async fn a_login_that_could_do_harm_is_told_where_it_is_not_understood_and_why_that_matters() {
    let later = Later::start().await;
    for (name, grants, why) in [
        ("super", "alter role super superuser", "is a superuser"),
        ("copying", "alter role copying replication", "may replicate"),
        ("making", "alter role making createrole", "may create roles"),
        ("passing", "alter role passing bypassrls", "passes row-level rules"),
        ("files", "grant pg_read_server_files to files", "is in the role pg_read_server_files"),
        ("writing", "grant pg_write_server_files to writing", "is in the role pg_write_server_files"),
        ("running", "grant pg_execute_server_program to running", "is in the role pg_execute_server_program"),
        ("ending", "grant pg_signal_backend to ending", "is in the role pg_signal_backend"),
        (
            "reading",
            "grant execute on function pg_read_file(text) to reading",
            "may execute pg_read_file(text)",
        ),
        (
            "far",
            "create role between; grant pg_read_server_files to between; grant between to far",
            "is in the role pg_read_server_files",
        ),
    ] {
        let connector = connector(&later.login(name, grants).await, "");
        for (sql, place) in [
            ("frobnicate t", "line 1, column 1: `frobnicate t`"),
            ("-- now\n  frobnicate t", "line 2, column 3: `frobnicate t`"),
        ] {
            let (failed, told) = ask(&connector, sql).await;
            let expected = format!(
                "not understood: the database accepts the statement, but what stands at {place} is not known here, \
                 and the connector's login {why}; write it with plain names and words"
            );
            assert_eq!((failed, told.as_str().unwrap()), (true, expected.as_str()), "{name}");
        }
        // What is understood runs for them, too.
        assert_eq!(ask(&connector, "table t").await, (false, json!([{ "id": 7 }])), "{name}");
    }
    assert_eq!(later.rows().await, "1");
}
