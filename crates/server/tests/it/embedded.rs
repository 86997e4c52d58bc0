//! The HTTP edge within a server that brings its own connections.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;
use trunkline_server::http::Http;

use crate::fixture::{call, check, live, modern, options};
use crate::raw_http::modern_headers;
use crate::rich;

fn request(body: &str) -> Request<Full<Bytes>> {
    let mut request = Request::post("/anywhere").header("host", "127.0.0.1");
    for (name, value) in modern_headers(body, &[]) {
        request = request.header(name, value);
    }
    request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap()
}

#[tokio::test]
async fn an_edge_answers_requests_of_a_foreign_server() {
    let edge = Arc::new(Http::new(live().0, options()));
    let answer = edge.respond(request(&call("1", "echo", r#"{"text":"hello"}"#))).await;
    assert_eq!(answer.status(), 200);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).contains("hello"));
    let mut foreign = request(&call("1", "noargs", "{}"));
    foreign.headers_mut().insert("host", "evil.example".parse().unwrap());
    assert_eq!(edge.respond(foreign).await.status(), 403);
    let large = "x".repeat(options().max_body + 1);
    assert_eq!(edge.respond(request(&large)).await.status(), 413);
}

#[tokio::test]
async fn stopping_an_edge_ends_its_streams() {
    let edge = Arc::new(Http::new(live().0, options()));
    let listen = modern("1", "subscriptions/listen", r#""notifications":{"toolsListChanged":true}"#);
    let mut body = edge.respond(request(&listen)).await.into_body();
    let ack = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(String::from_utf8_lossy(&ack).contains("acknowledged"));
    edge.stop().await;
    let rest = tokio::time::timeout(Duration::from_secs(1), body.collect()).await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&rest.to_bytes()).contains("\"resultType\":\"complete\""));
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_says_every_fifteen_seconds_that_it_is_there() {
    let edge = Http::new(live().0, options());
    let listen = modern("1", "subscriptions/listen", r#""notifications":{"toolsListChanged":true}"#);
    let mut body = edge.respond(request(&listen)).await.into_body();
    let mut frame = async || body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(String::from_utf8_lossy(&frame().await).starts_with("data: "));
    let started = tokio::time::Instant::now();
    for _ in 0..4 {
        assert_eq!(&frame().await[..], b":\n\n");
    }
    let waited = started.elapsed().as_secs();
    assert!((60..=75).contains(&waited), "{waited} s");
}

#[tokio::test(start_paused = true)]
async fn a_question_that_nobody_answers_is_taken_back_after_ten_minutes() {
    let edge = Http::new(rich::live().0, options());
    let legacy = |body: String, session: Option<&str>| {
        let mut request =
            Request::post("/").header("host", "localhost").header("content-type", "application/json");
        if let Some(session) = session {
            request = request.header("mcp-session-id", session);
        }
        request.body(Full::new(Bytes::from(body))).unwrap()
    };
    let answer = edge.respond(legacy(rich::initialize("2025-11-25"), None)).await;
    let session = answer.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    let started = tokio::time::Instant::now();
    let answer = edge.respond(legacy(rich::call("1", "ask", "{}"), Some(&session))).await;
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let messages: Vec<Value> = String::from_utf8_lossy(&body)
        .lines()
        .filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
        .collect();
    assert_eq!(started.elapsed().as_secs(), 600);
    let [question, taken_back, said] = &messages[..] else { panic!("{messages:?}") };
    for message in &messages {
        check("2025-11-25", "tools/call", message);
    }
    assert_eq!(taken_back["method"], "notifications/cancelled");
    assert_eq!(taken_back["params"]["requestId"], question["id"]);
    assert!(rich::text(said).contains("within 10 minutes"), "{said}");
}
