//! Subscriptions of 2026-07-28 over both edges, across nodes, and at the end of the server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use trunkline_service::endpoint::Live;
use trunkline_service::shared::InMemory;
use trunkline_service::{Change, Shared};

use crate::fixture::{Served, call, check, modern, options, serve_http, serve_http_with, serve_stdio_of};
use crate::raw_http::{Stream, post, post_legacy};
use crate::rich;

fn listen(id: &str, filter: &str) -> String {
    modern(id, "subscriptions/listen", &format!(r#""notifications":{filter}"#))
}

const ALL: &str = r#"{"toolsListChanged":true,"promptsListChanged":true,"resourceSubscriptions":["test://watched","test://still"]}"#;

fn checked(message: Option<Value>) -> Value {
    let message = message.expect("the stream ended");
    check("2026-07-28", "subscriptions/listen", &message);
    message
}

fn subscription(message: &Value) -> &Value {
    let meta = message.get("params").or(message.get("result")).map(|part| &part["_meta"]).unwrap();
    &meta["io.modelcontextprotocol/subscriptionId"]
}

async fn rich() -> (Served, Live) {
    let (live, seen) = rich::live();
    (serve_http_with((live.clone(), seen), options()).await, live)
}

#[tokio::test]
async fn a_subscription_tells_what_was_agreed_on_and_nothing_else() {
    let (http, live) = rich().await;
    let id = "1764097200123";
    let mut stream = Stream::post(http.address, &listen(id, ALL)).await;
    assert_eq!((stream.head.status, stream.head.header("content-type")), (200, Some("text/event-stream")));
    let ack = checked(stream.message().await);
    assert_eq!(ack["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(
        ack["params"]["notifications"],
        json!({ "toolsListChanged": true, "promptsListChanged": true, "resourceSubscriptions": ["test://watched"] })
    );
    for change in [
        Change::Resources,
        Change::Resource("test://still".into()),
        Change::Tools,
        Change::Resource("test://watched".into()),
    ] {
        live.announce(change);
    }
    let told = [checked(stream.message().await), checked(stream.message().await)];
    assert_eq!(told[0]["method"], "notifications/tools/list_changed");
    assert_eq!(
        (&told[1]["method"], &told[1]["params"]["uri"]),
        (&"notifications/resources/updated".into(), &"test://watched".into())
    );
    for message in told.iter().chain([&ack]) {
        assert_eq!(subscription(message).to_string(), id);
    }
}

#[tokio::test]
async fn a_subscription_is_a_stream_or_nothing() {
    let (http, _) = rich().await;
    let only_json = post(http.address, &listen("1", ALL), &[("Accept", "application/json")]).await;
    assert_eq!((only_json.status, only_json.code()), (400, -32600));
    let refused = post(http.address, &listen("1", "7"), &[]).await;
    assert_eq!((refused.status, refused.code(), refused.is_stream()), (400, -32602, false));
    let headers = crate::raw_http::modern_headers(&listen("1", ALL), &[("Accept", "text/event-stream")]);
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut stream = Stream::open(http.address, "POST", &headers, &listen("1", ALL)).await;
    assert_eq!(checked(stream.message().await)["method"], "notifications/subscriptions/acknowledged");
}

#[tokio::test]
async fn what_changes_on_one_node_is_told_on_the_other() {
    let shared: Arc<dyn Shared> = Arc::new(InMemory::default());
    let sealer = options().sealer;
    let node = || Live::with_shared(rich::endpoint(&shared, &sealer), Arc::clone(&shared));
    let (here, there) = (node(), node());
    let http = serve_http_with((here, Arc::default()), options()).await;
    let mut stream = Stream::post(http.address, &listen("1", ALL)).await;
    stream.message().await.unwrap();
    there.announce(Change::Prompts);
    assert_eq!(checked(stream.message().await)["method"], "notifications/prompts/list_changed");
}

#[tokio::test]
async fn a_client_that_leaves_gives_its_place_back() {
    let (http, _) = rich().await;
    let session = post_legacy(http.address, &rich::initialize("2025-11-25"), None, &[]).await;
    let session = session.header("mcp-session-id").unwrap();
    for round in 0..40 {
        let mut modern = Stream::post(http.address, &listen(&round.to_string(), ALL)).await;
        modern.message().await.unwrap();
        let legacy = Stream::get(http.address, session, None).await;
        assert_eq!(legacy.head.status, 200);
    }
}

#[test]
fn on_stdio_subscriptions_share_the_channel_and_end_by_a_cancellation() {
    let (live, seen) = rich::live();
    let mut piped = serve_stdio_of(live.clone(), seen);
    let checked = |line: &str| checked(Some(serde_json::from_str(line).unwrap()));
    for id in ["\"a\"", "7"] {
        let ack = checked(&piped.ask(&listen(id, ALL)).to_string());
        assert_eq!(subscription(&ack).to_string(), id);
    }
    live.announce(Change::Tools);
    let mut told: Vec<String> =
        [piped.line(), piped.line()].iter().map(|line| subscription(&checked(line)).to_string()).collect();
    told.sort();
    assert_eq!(told, ["\"a\"", "7"]);
    piped.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"a"}}"#);
    // Answered after the cancellation was read.
    piped.ask(&modern("9", "tools/list", ""));
    live.announce(Change::Tools);
    assert_eq!(subscription(&checked(&piped.line())), 7);
    // At the end of the server: the result, then the cancellation, of what is open still.
    let rest = piped.finish();
    let rest: Vec<Value> = rest.iter().map(|line| checked(line)).collect();
    assert_eq!(rest.len(), 2, "{rest:?}");
    assert_eq!((&rest[0]["id"], &rest[0]["result"]["resultType"]), (&7.into(), &"complete".into()));
    assert_eq!(subscription(&rest[0]), 7);
    assert_eq!(
        (&rest[1]["method"], &rest[1]["params"]["requestId"]),
        (&"notifications/cancelled".into(), &7.into())
    );
}

#[tokio::test]
async fn ci_02_stopping_with_open_streams() {
    let mut grace = options();
    grace.shutdown_grace = Duration::from_secs(3);
    let (live, _) = rich::live();
    let mut http = serve_http_with((live, Arc::default()), grace).await;
    let address = http.address;
    let session = post_legacy(address, &rich::initialize("2025-11-25"), None, &[]).await;
    let session = session.header("mcp-session-id").unwrap().to_owned();
    let mut listening = Stream::post(address, &listen("1", ALL)).await;
    listening.message().await.unwrap();
    let mut standing = Stream::get(address, &session, None).await;
    let progress = |body: String| body.replace("\"_meta\":{", "\"_meta\":{\"progressToken\":1,");
    let mut second = Stream::post(address, &progress(call("2", "steps", r#"{"steps":10,"ms":100}"#))).await;
    let mut minute = Stream::post(address, &progress(call("3", "steps", r#"{"steps":600,"ms":100}"#))).await;
    let body = rich::call("4", "steps", r#"{"steps":600,"ms":100}"#);
    let body = body.replace("\"name\"", "\"_meta\":{\"progressToken\":2},\"name\"");
    let mut legacy_minute = Stream::post_legacy(address, &session, &body).await;
    let started = Instant::now();
    http.stop.cancel();
    // Streams without end are over at once, the one with its result.
    let last = checked(listening.message().await);
    assert_eq!((&last["id"], &last["result"]["resultType"]), (&1.into(), &"complete".into()));
    assert_eq!(listening.message().await, None);
    assert_eq!(standing.event().await, None);
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    while let Some(message) = second.message().await {
        check("2026-07-28", "tools/call", &message);
        if message["id"] == 2 {
            assert_eq!(rich::text(&message), "all steps");
        }
    }
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    // Whole messages to the last, which is no result.
    while let Some(message) = minute.message().await {
        assert_eq!(message["method"], "notifications/progress");
    }
    while let Some(message) = legacy_minute.message().await {
        assert_eq!(message["method"], "notifications/progress");
    }
    http.ended.take().unwrap().await.unwrap();
    let took = started.elapsed();
    assert!(took > Duration::from_millis(2800) && took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test]
async fn the_plain_fixture_still_answers_beside_a_subscription() {
    let http = serve_http().await;
    let mut stream = Stream::post(http.address, &listen("1", r#"{"toolsListChanged":true}"#)).await;
    stream.message().await.unwrap();
    assert_eq!(post(http.address, &call("2", "noargs", "{}"), &[]).await.status, 200);
}
