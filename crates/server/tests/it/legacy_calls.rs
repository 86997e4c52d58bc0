//! Calls of sessions: one id one call, cancelled on whatever node, and gone with the edge.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use serde_json::json;
use trunkline_server::http::Http;
use trunkline_service::endpoint::Live;
use trunkline_service::shared::InMemory;
use trunkline_service::{Change, Shared};

use crate::fixture::{
    Seen, Served, endpoint_with, initialize, live, modern, options, serve_http, serve_http_with, serve_stdio,
};
use crate::raw_http::{Stream, post_legacy, request};

fn slow(id: &str, ms: u32) -> String {
    let params = json!({ "name": "slow", "arguments": { "ms": ms }, "_meta": { "progressToken": 1 } });
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{params}}}"#)
}

fn cancel(id: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#)
}

async fn session(http: &Served) -> String {
    let answer = post_legacy(http.address, &initialize("2025-11-25"), None, &[]).await;
    answer.header("mcp-session-id").unwrap().to_owned()
}

async fn until_none_runs(seen: &Seen) -> Duration {
    let started = Instant::now();
    while seen.running.load(Ordering::SeqCst) > 0 {
        assert!(started.elapsed() < Duration::from_secs(10), "a call runs still");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    started.elapsed()
}

#[tokio::test]
async fn an_id_in_flight_is_refused_and_both_end_with_the_edge() {
    let mut http = serve_http().await;
    let id = session(&http).await;
    let mut first = Stream::post_legacy(http.address, &id, &slow("1", 60_000)).await;
    first.message().await.unwrap();
    let second = post_legacy(http.address, &slow("1", 60_000), Some(&id), &[]).await;
    assert_eq!((second.status, second.code()), (400, -32600), "{second:?}");
    assert!(second.body.contains("`id` is still running"), "{second:?}");
    assert_eq!(http.seen.started.load(Ordering::SeqCst), 1, "what was refused had begun");
    // Another session may use the same id, and so may this one, once the first call is over.
    let other = session(&http).await;
    let mut others = Stream::post_legacy(http.address, &other, &slow("1", 60_000)).await;
    others.message().await.unwrap();
    post_legacy(http.address, &cancel("1"), Some(&id), &[]).await;
    while first.event().await.is_some() {}
    assert_eq!(post_legacy(http.address, &slow("1", 20), Some(&id), &[]).await.status, 200);
    let started = Instant::now();
    http.stop.cancel();
    http.ended.take().unwrap().await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert_eq!(until_none_runs(&http.seen).await.as_secs(), 0);
}

#[test]
fn on_stdio_too_an_id_in_flight_is_refused() {
    let mut piped = serve_stdio();
    for handshake in [false, true] {
        let call = match handshake {
            true => {
                piped.ask(&initialize("2025-11-25"));
                slow("5", 1000).replace(r#""_meta":{"progressToken":1},"#, "")
            }
            false => crate::fixture::call("5", "slow", r#"{"ms":1000}"#),
        };
        piped.send(&call);
        let refused = piped.ask(&call);
        assert_eq!((&refused["id"], &refused["error"]["code"]), (&5.into(), &(-32600).into()), "{refused}");
        piped.send(&cancel("5"));
        assert_eq!(piped.ask(&modern("6", "tools/list", ""))["id"], 6);
    }
}

#[tokio::test]
async fn a_batch_answers_a_repeated_id_once_with_a_result() {
    let http = serve_http().await;
    let answer = post_legacy(http.address, &initialize("2025-03-26"), None, &[]).await;
    let id = answer.header("mcp-session-id").unwrap().to_owned();
    let batch = format!("[{},{}]", slow("1", 200), slow("1", 200));
    let answer = post_legacy(http.address, &batch, Some(&id), &[]).await.json();
    let (one, other) = (&answer[0], &answer[1]);
    assert!(one["result"].is_object() && other["error"]["code"] == -32600, "{answer}");
}

#[tokio::test]
async fn cancelling_and_ending_a_session_reach_calls_on_other_nodes() {
    let shared: Arc<dyn Shared> = Arc::new(InMemory::default());
    let seen = Arc::new(Seen::default());
    let options = options();
    let node = || Live::with_shared(endpoint_with(&seen, &shared), Arc::clone(&shared));
    let here = serve_http_with((node(), Arc::clone(&seen)), options.clone()).await;
    let there = serve_http_with((node(), Arc::clone(&seen)), options.clone()).await;
    let (id, other) = (session(&here).await, session(&here).await);
    for request_id in ["1", "\"a\\n\""] {
        let mut call = Stream::post_legacy(here.address, &id, &slow(request_id, 30_000)).await;
        call.message().await.unwrap();
        // Of another session, and of another id: nothing happens.
        for (session, cancelled) in [(&other, request_id), (&id, "77")] {
            assert_eq!(post_legacy(there.address, &cancel(cancelled), Some(session), &[]).await.status, 202);
        }
        call.message().await.unwrap();
        post_legacy(there.address, &cancel(request_id), Some(&id), &[]).await;
        assert!(until_none_runs(&seen).await < Duration::from_secs(2));
        while let Some(message) = call.message().await {
            assert_eq!(message["method"], "notifications/progress");
        }
    }
    let mut call = Stream::post_legacy(here.address, &id, &slow("3", 30_000)).await;
    call.message().await.unwrap();
    let ended = request(there.address, "DELETE", "/mcp", &[("Mcp-Session-Id", &id)], b"").await;
    assert_eq!(ended.status, 204);
    assert!(until_none_runs(&seen).await < Duration::from_secs(2));
    while let Some(message) = call.message().await {
        assert_eq!(message["method"], "notifications/progress");
    }
}

fn foreign(body: String, session: Option<&str>) -> http::Request<Full<Bytes>> {
    let mut request =
        http::Request::post("/").header("host", "localhost").header("content-type", "application/json");
    if let Some(session) = session {
        request = request.header("mcp-session-id", session);
    }
    request.body(Full::new(Bytes::from(body))).unwrap()
}

/// An edge behind a foreign server, with one call of a session that takes a minute; its request was given up by the client.
async fn with_a_long_call() -> (Arc<Http>, Arc<Seen>, String) {
    let (live, seen) = live();
    let edge = Arc::new(Http::new(live, options()));
    let answer = edge.respond(foreign(initialize("2025-11-25"), None)).await;
    let session = answer.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    let call = edge.respond(foreign(slow("1", 60_000), Some(&session)));
    drop(tokio::time::timeout(Duration::from_millis(100), call).await);
    assert_eq!(seen.running.load(Ordering::SeqCst), 1);
    (edge, seen, session)
}

#[tokio::test]
async fn an_edge_that_was_stopped_takes_no_calls() {
    let (edge, seen, session) = with_a_long_call().await;
    let started = Instant::now();
    edge.stop().await;
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert_eq!(seen.running.load(Ordering::SeqCst), 0);
    let answer = edge.respond(foreign(slow("2", 60_000), Some(&session))).await;
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).contains("stopping"), "{body:?}");
}

#[tokio::test]
async fn calls_go_with_an_edge_that_is_dropped() {
    let (edge, seen, _) = with_a_long_call().await;
    drop(edge);
    assert!(until_none_runs(&seen).await < Duration::from_secs(1));
}

#[tokio::test]
async fn a_stand_alone_stream_that_cannot_be_opened_leaves_the_one_before() {
    let (live, seen) = crate::rich::live();
    let http = serve_http_with((live.clone(), seen), options()).await;
    let id = session(&http).await;
    let mut first = Stream::get(http.address, &id, None).await;
    // Nothing is left to listen to: the endpoint in its place takes no subscriptions.
    live.store(crate::fixture::deaf(&live));
    while first.message().await.unwrap()["method"] != "notifications/resources/list_changed" {}
    let refused = Stream::get(http.address, &id, None).await;
    assert_eq!(refused.head.status, 400);
    live.announce(Change::Tools);
    assert!(first.message().await.is_some());
}
