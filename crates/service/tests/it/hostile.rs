//! Servers that are no Redis, or one that says what no Redis says: nothing of it hangs, grows or ends the node.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use trunkline_service::store::{Store, StoreError};
use trunkline_testkit::within;

use crate::support::open;

/// What a server says: to who connects, and to each further piece of bytes that comes.
struct Script {
    first: &'static [u8],
    then: &'static [u8],
    /// Repeats the last one for as long as it is taken.
    for_ever: bool,
}

/// The answers to what is said before a connection is used: a name, a question, the role.
const WELCOME: [&[u8]; 3] = [b"+OK\r\n", b"+PONG\r\n", b"*1\r\n$6\r\nmaster\r\n"];

/// Serves connections; the welcome is said first where it is wanted.
async fn serve(script: Script, with_welcome: bool) -> (Store, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = open(&format!("redis://{}", listener.local_addr().unwrap()));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut clients = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            clients.spawn(play(stream, script.first, script.then, script.for_ever, with_welcome));
        }
    });
    (store, tasks)
}

async fn play(
    mut stream: TcpStream,
    first: &'static [u8],
    then: &'static [u8],
    for_ever: bool,
    with_welcome: bool,
) -> std::io::Result<()> {
    let mut heard = [0; 4096];
    stream.write_all(first).await?;
    for answer in WELCOME.into_iter().filter(|_| with_welcome) {
        if stream.read(&mut heard).await? == 0 {
            return Ok(());
        }
        stream.write_all(answer).await?;
    }
    while stream.read(&mut heard).await? > 0 {
        stream.write_all(then).await?;
        if for_ever {
            loop {
                stream.write_all(then).await?;
            }
        }
    }
    Ok(())
}

/// Memory of this process, in bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test]
async fn what_is_no_redis_is_down_and_never_more_than_that() {
    let http = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    for (first, then) in
        [(&b""[..], &http[..]), (b"SSH-2.0-OpenSSH_9.2\r\n", b""), (b"\x15\x03\x01\x00\x02\x02\x16", b"")]
    {
        let (store, _server) = serve(Script { first, then, for_ever: false }, false).await;
        let error = store.get(b"a").await.unwrap_err();
        assert!(matches!(error, StoreError::Down(_)), "{error}");
        assert!(!store.is_up());
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_down_after_the_time_of_one_command() {
    let (store, _server) = serve(Script { first: b"", then: b"", for_ever: false }, false).await;
    let began = Instant::now();
    assert!(matches!(store.get(b"a").await, Err(StoreError::Down(_))));
    assert!(began.elapsed() < within(Duration::from_secs(1)));
}

#[tokio::test]
async fn answers_that_no_command_has_end_the_connection_and_nothing_else() {
    let answers: [&[u8]; 8] = [
        b"$1073741824\r\n",
        b"*1073741824\r\n",
        b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
        b":12x\r\n",
        b"%1\r\n+a\r\n+b\r\n",
        b"\0\0\0\0\0\0\0\0",
        b"+OK\r\n+OK\r\n+OK\r\n",
        b"$5\r\nabcdefgh\r\n",
    ];
    for then in answers {
        let (store, _server) = serve(Script { first: b"", then, for_ever: false }, true).await;
        let error = store.get(b"a").await;
        // The first of several answers is still the command's own.
        assert!(
            matches!(error, Err(StoreError::Unknown | StoreError::Late)) || then.starts_with(b"+OK"),
            "{error:?}"
        );
        store.close().await;
    }
}

#[tokio::test]
async fn a_server_that_talks_without_end_takes_no_memory() {
    for then in [&b"+"[..], b"xxxxxxxxxxxxxxxx"] {
        let before = resident();
        let (store, _server) = serve(Script { first: b"$16000000\r\n", then, for_ever: true }, false).await;
        for _ in 0..3 {
            assert!(store.get(b"a").await.is_err());
        }
        assert!(resident() < before + (64 << 20));
        store.close().await;
    }
}

#[tokio::test]
async fn an_answer_of_another_kind_is_told_and_not_taken() {
    let (store, _server) = serve(Script { first: b"", then: b":1\r\n", for_ever: false }, true).await;
    assert_eq!(store.get(b"a").await, Err(StoreError::Unexpected));
}
