//! Results of many megabytes: whole in every form of answer, and not kept for a reader that does not take them.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use trunkline_service::{Answer, Endpoint, Reply, Request, Service};

use crate::fixture::{Served, call, endpoint_of, initialize, live, options, serve_http_with, serve_stdio_of};
use crate::raw_http::{Connection, Stream, modern_headers, post, post_legacy};

const SIZE: usize = 3 << 20;

/// The members of a result with a long text and a list.
static MEMBERS: LazyLock<Bytes> = LazyLock::new(|| {
    let text = "0123456789abcdef".repeat(SIZE / 16);
    format!(r#""content":[{{"type":"text","text":"{text}"}}],"structuredContent":[1],"isError":false"#).into()
});

/// Tells of progress if it is asked to, and answers after a moment.
struct Big;

impl Service for Big {
    fn call(&self, request: Request) -> Answer<'_> {
        let at = MEMBERS.len() - br#","structuredContent":[1],"isError":false"#.len();
        let reply = Reply::from_shared(MEMBERS.clone()).with_structured(at..at + 24);
        Answer::later(async move {
            if let Some(progress) = request.progress() {
                progress.report(1.0, None, None);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Ok(reply)
        })
    }
}

async fn serve(head_timeout: Duration) -> Served {
    let (live, seen) = live();
    let endpoint = Endpoint { service: Arc::new(Big), ..endpoint_of(&live, 3) };
    live.store(endpoint);
    let mut options = options();
    options.head_timeout = head_timeout;
    serve_http_with((live, seen), options).await
}

const USUAL: Duration = Duration::from_secs(30);

fn assert_whole(result: &Value, has_list: bool) {
    assert_eq!(result["content"][0]["text"].as_str().unwrap().len(), SIZE);
    assert_eq!(result["structuredContent"] == json!([1]), has_list, "a list is for clients of now alone");
    assert_eq!(result["isError"], false);
}

#[tokio::test]
async fn a_large_result_is_whole_as_json_with_a_length_and_as_an_event() {
    let http = serve(USUAL).await;
    let answer = post(http.address, &call("1", "noargs", "{}"), &[]).await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("content-length").unwrap().parse::<usize>().unwrap(), answer.body.len());
    assert_whole(&answer.json()["result"], true);
    let answer = post(http.address, &call("1", "noargs", "{}"), &[("Accept", "text/event-stream")]).await;
    assert!(answer.is_stream());
    assert_whole(&answer.json()["result"], true);
    for header in ["cache-control", "x-accel-buffering"] {
        assert!(matches!(answer.header(header), Some("no-store, no-transform" | "no")), "{header}");
    }
}

#[tokio::test]
async fn a_large_result_is_whole_after_progress_in_both_eras_and_over_stdio() {
    let http = serve(USUAL).await;
    let with_progress = |body: String| body.replace("\"_meta\":{", "\"_meta\":{\"progressToken\":1,");
    let mut stream = Stream::post(http.address, &with_progress(call("1", "noargs", "{}"))).await;
    assert_eq!(stream.message().await.unwrap()["method"], "notifications/progress");
    assert_whole(&stream.message().await.unwrap()["result"], true);
    assert!(stream.message().await.is_none());

    let opened = post_legacy(http.address, &initialize("2025-11-25"), None, &[]).await;
    let session = opened.header("mcp-session-id").unwrap().to_owned();
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": "noargs", "arguments": {}, "_meta": { "progressToken": 1 } } });
    let mut stream = Stream::post_legacy(http.address, &session, &body.to_string()).await;
    assert_eq!(stream.message().await.unwrap()["method"], "notifications/progress");
    let answer = stream.message().await.unwrap();
    assert_whole(&answer["result"], false);
    let plain = body.to_string().replace("\"progressToken\":1", "");
    let answer = post_legacy(http.address, &plain, Some(&session), &[]).await;
    assert_whole(&answer.json()["result"], false);

    let (live, seen) = live();
    live.store(Endpoint { service: Arc::new(Big), ..endpoint_of(&live, 3) });
    let answer = serve_stdio_of(live, seen).ask(&call("1", "noargs", "{}"));
    assert_whole(&answer["result"], true);
}

/// Sends a call on a connection whose end here takes little that nobody reads.
async fn narrow(http: &Served) -> Connection {
    let body = call("1", "noargs", "{}");
    let headers = modern_headers(&body, &[]);
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut connection = Connection::open_narrow(http.address).await;
    connection.send("POST", "/mcp", &headers, body.as_bytes()).await;
    connection
}

#[tokio::test]
async fn a_reader_that_takes_a_little_now_and_then_is_let_go_and_one_that_reads_on_is_not() {
    let http = serve(Duration::from_millis(300)).await;
    let mut slow = narrow(&http).await;
    // Something is taken well within the time for a head, every time.
    let taken = slow.trickle(Duration::from_secs(4)).await;
    assert!(taken < SIZE, "all of it was kept for the reader");
    let mut quick = narrow(&http).await;
    assert_whole(&quick.answer().await.json()["result"], true);
}

/// A frame of HTTP/2. Spec: RFC 9113 section 4.1.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

#[tokio::test]
async fn a_stream_of_http_2_that_is_never_given_room_is_not_kept_for_ever() {
    let http = serve(Duration::from_millis(300)).await;
    let body = call("1", "noargs", "{}");
    let mut head = Vec::new();
    let pseudo = [(":method", "POST"), (":scheme", "http"), (":path", "/mcp"), (":authority", "localhost")];
    let pseudo = pseudo.map(|(name, value)| (name.to_owned(), value.to_owned()));
    for (name, value) in pseudo.into_iter().chain(modern_headers(&body, &[])) {
        // A literal that is not indexed. Spec: RFC 7541 section 6.2.2.
        head.push(0);
        for text in [name.to_ascii_lowercase(), value] {
            head.push(u8::try_from(text.len()).unwrap());
            head.extend_from_slice(text.as_bytes());
        }
    }
    let mut stream = TcpStream::connect(http.address).await.unwrap();
    let parts = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &[]),
        frame(1, 4, 1, &head),
        frame(0, 1, 1, body.as_bytes()),
    ];
    stream.write_all(&parts.concat()).await.unwrap();
    let started = Instant::now();
    let (mut came, mut data) = (Vec::new(), 0);
    loop {
        while let Some((length, kind, flags)) = next_frame(&came) {
            let payload: Vec<u8> = came.drain(..9 + length).skip(9).collect();
            match kind {
                0 => data += length,
                // A ping is answered, so that the connection looks alive.
                6 if flags & 1 == 0 => stream.write_all(&frame(6, 1, 0, &payload)).await.unwrap(),
                _ => {}
            }
        }
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read_buf(&mut came)).await;
        match read.expect("it was kept") {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    assert_eq!(data, 65_535, "what a client takes that says nothing");
    assert!(started.elapsed() > Duration::from_millis(900), "{:?}", started.elapsed());
}

fn next_frame(came: &[u8]) -> Option<(usize, u8, u8)> {
    let [a, b, c, kind, flags, ..] = *came else { return None };
    let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
    (came.len() >= 9 + length).then_some((length, kind, flags))
}
