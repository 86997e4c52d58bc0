//! The streams of sessions: the stand-alone one, those of calls, and how a client takes up what it lost.

use std::time::Duration;

use serde_json::json;
use trunkline_service::Change;
use trunkline_service::endpoint::Live;

use crate::fixture::{Served, check, options, serve_http_with};
use crate::raw_http::{Stream, post_legacy, request};
use crate::rich::{self, call, initialize, text};

async fn rich() -> (Served, Live) {
    let (live, seen) = rich::live();
    (serve_http_with((live.clone(), seen), options()).await, live)
}

async fn session(http: &Served, version: &str) -> String {
    let answer = post_legacy(http.address, &initialize(version), None, &[]).await;
    answer.header("mcp-session-id").unwrap().to_owned()
}

fn with_progress(body: String) -> String {
    body.replace("\"name\"", "\"_meta\":{\"progressToken\":\"p\"},\"name\"")
}

#[tokio::test]
async fn who_may_open_a_stand_alone_stream() {
    let (http, _) = rich().await;
    let id = session(&http, "2025-11-25").await;
    let get =
        async |headers: &[(&str, &str)]| request(http.address, "GET", "/mcp", headers, b"").await.status;
    assert_eq!(get(&[("Accept", "text/event-stream")]).await, 400);
    assert_eq!(get(&[("Accept", "text/event-stream"), ("Mcp-Session-Id", "x")]).await, 404);
    assert_eq!(get(&[("Accept", "application/json"), ("Mcp-Session-Id", &id)]).await, 406);
    let bad = [("Accept", "text/event-stream"), ("Mcp-Session-Id", &id), ("Last-Event-ID", "x-1")];
    assert_eq!(get(&bad).await, 400);
    let gone = format!("{:032x}-3", 5);
    let bad = [("Accept", "text/event-stream"), ("Mcp-Session-Id", &id), ("Last-Event-ID", &gone)];
    assert_eq!(get(&bad).await, 410);
    let old = [("Mcp-Session-Id", id.as_str()), ("MCP-Protocol-Version", "1999-01-01")];
    assert_eq!(get(&old).await, 400);
    request(http.address, "DELETE", "/mcp", &[("Mcp-Session-Id", &id)], b"").await;
    assert_eq!(get(&[("Accept", "text/event-stream"), ("Mcp-Session-Id", &id)]).await, 404);
}

#[tokio::test]
async fn a_stand_alone_stream_tells_of_changes_and_is_taken_up_where_it_was_lost() {
    let (http, live) = rich().await;
    for version in ["2025-11-25", "2025-06-18", "2025-03-26"] {
        let id = session(&http, version).await;
        let mut stream = Stream::get(http.address, &id, None).await;
        assert_eq!(
            (stream.head.status, stream.head.header("content-type")),
            (200, Some("text/event-stream"))
        );
        live.announce(Change::Tools);
        let event = stream.event().await.unwrap();
        let message = event.message().unwrap();
        check(version, "", &message);
        assert_eq!(message, json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" }));
        drop(stream);
        live.announce(Change::Prompts);
        live.announce(Change::Resources);
        let mut stream = Stream::get(http.address, &id, event.id.as_deref()).await;
        for list in ["prompts", "resources"] {
            let method = format!("notifications/{list}/list_changed");
            assert_eq!(stream.message().await.unwrap()["method"], method);
        }
    }
}

#[tokio::test]
async fn a_second_stand_alone_stream_takes_the_place_of_the_first() {
    let (http, live) = rich().await;
    let (id, other) = (session(&http, "2025-11-25").await, session(&http, "2025-11-25").await);
    let mut first = Stream::get(http.address, &id, None).await;
    let mut others = Stream::get(http.address, &other, None).await;
    let mut second = Stream::get(http.address, &id, None).await;
    assert_eq!(first.event().await, None);
    live.announce(Change::Tools);
    assert!(second.message().await.is_some() && others.message().await.is_some());
    request(http.address, "DELETE", "/mcp", &[("Mcp-Session-Id", &id)], b"").await;
    assert_eq!(second.event().await, None);
    live.announce(Change::Tools);
    assert!(others.message().await.is_some());
}

#[tokio::test]
async fn a_change_of_subscriptions_loses_and_doubles_nothing() {
    let (http, live) = rich().await;
    let id = session(&http, "2025-11-25").await;
    let mut stream = Stream::get(http.address, &id, None).await;
    let set = async |method: &str| {
        let body = rich::plain("1", &format!("resources/{method}"), r#""uri":"test://watched""#);
        assert_eq!(post_legacy(http.address, &body, Some(&id), &[]).await.status, 200);
    };
    for _ in 0..20 {
        live.announce(Change::Tools);
        set("subscribe").await;
        live.announce(Change::Resource("test://watched".into()));
        set("unsubscribe").await;
        live.announce(Change::Resource("test://watched".into()));
    }
    live.announce(Change::Prompts);
    let mut methods = Vec::new();
    loop {
        let method = stream.message().await.unwrap()["method"].as_str().unwrap().to_owned();
        if method.contains("prompts") {
            break;
        }
        methods.push(method);
    }
    let count = |part: &str| methods.iter().filter(|method| method.contains(part)).count();
    assert_eq!((count("tools"), count("updated")), (20, 20), "{methods:?}");
}

#[tokio::test]
async fn a_stream_of_2025_11_25_begins_with_an_id_to_come_back_with() {
    let (http, _) = rich().await;
    let id = session(&http, "2025-11-25").await;
    let body = with_progress(call("1", "steps", r#"{"steps":4,"ms":20}"#));
    let mut stream = Stream::post_legacy(http.address, &id, &body).await;
    let priming = stream.event().await.unwrap();
    assert_eq!((priming.data.as_deref(), priming.retry), (Some(""), Some(1000)));
    let number = priming.id.unwrap().strip_suffix("-0").unwrap().to_owned();
    let mut events = Vec::new();
    while let Some(event) = stream.event().await {
        check("2025-11-25", "tools/call", &event.message().unwrap());
        events.push(event);
    }
    assert_eq!(events.len(), 5);
    for (at, event) in (1..).zip(&events) {
        assert_eq!(event.id.as_deref(), Some(format!("{number}-{at}").as_str()));
    }
    // After its end it is read again from any place.
    for from in 0..5 {
        let after = format!("{number}-{from}");
        let mut again = Stream::get(http.address, &id, Some(&after)).await;
        for event in &events[from..] {
            assert_eq!(again.event().await.as_ref(), Some(event));
        }
        assert_eq!(again.event().await, None);
    }
    // By its own session alone.
    let other = session(&http, "2025-11-25").await;
    let foreign = Stream::get(http.address, &other, Some(&format!("{number}-0"))).await;
    assert_eq!(foreign.head.status, 410);
}

#[tokio::test]
async fn older_revisions_come_back_by_the_id_of_an_event() {
    let (http, _) = rich().await;
    let id = session(&http, "2025-06-18").await;
    let body = with_progress(call("1", "steps", r#"{"steps":20,"ms":20}"#));
    let mut stream = Stream::post_legacy(http.address, &id, &body).await;
    let first = loop {
        let event = stream.event().await.unwrap();
        if event.data.is_some() {
            break event;
        }
    };
    assert_eq!((first.retry, first.message().unwrap()["params"]["progress"].as_f64()), (None, Some(1.0)));
    drop(stream);
    let mut resumed = Stream::get(http.address, &id, first.id.as_deref()).await;
    for step in 2..=20 {
        assert_eq!(resumed.message().await.unwrap()["params"]["progress"].as_f64(), Some(f64::from(step)));
    }
    assert_eq!(text(&resumed.message().await.unwrap()), "all steps");
    assert_eq!(resumed.event().await, None);
}

#[tokio::test]
async fn a_server_closes_a_stream_and_the_client_comes_back_for_the_rest() {
    let (http, _) = rich().await;
    let id = session(&http, "2025-11-25").await;
    // As another stream of the session is open.
    let _standing = Stream::get(http.address, &id, None).await;
    let body = with_progress(call("1", "close", r#"{"ms":300}"#));
    let mut stream = Stream::post_legacy(http.address, &id, &body).await;
    let priming = stream.event().await.unwrap();
    assert_eq!(stream.event().await, None, "closed before the result");
    let mut resumed = Stream::get(http.address, &id, priming.id.as_deref()).await;
    assert_eq!(resumed.message().await.unwrap()["method"], "notifications/progress");
    let said = resumed.message().await.unwrap();
    assert_eq!((&said["id"], text(&said)), (&1.into(), "closed true"));
    // Nobody else is closed: not a session that cannot come back, nor a modern request.
    let id = session(&http, "2025-06-18").await;
    let said = post_legacy(http.address, &call("1", "close", r#"{"ms":30}"#), Some(&id), &[]).await;
    assert_eq!(text(&said.json()), "closed true");
    let modern = crate::fixture::call("1", "close", r#"{"ms":30}"#)
        .replace("\"_meta\":{", "\"_meta\":{\"progressToken\":1,");
    let said = crate::raw_http::post(http.address, &modern, &[]).await;
    assert_eq!(text(&said.json()), "closed true");
}

#[tokio::test]
async fn a_long_silent_call_begins_its_stream_so_that_it_can_be_lost() {
    let (http, _) = rich().await;
    let id = session(&http, "2025-11-25").await;
    let quick =
        post_legacy(http.address, &call("1", "steps", r#"{"steps":1,"ms":300}"#), Some(&id), &[]).await;
    assert!(!quick.is_stream());
    let mut slow =
        Stream::post_legacy(http.address, &id, &call("2", "steps", r#"{"steps":1,"ms":4000}"#)).await;
    let priming = slow.event().await.unwrap();
    assert_eq!(priming.data.as_deref(), Some(""));
    drop(slow);
    let mut resumed = Stream::get(http.address, &id, priming.id.as_deref()).await;
    assert_eq!(text(&resumed.message().await.unwrap()), "all steps");
}

#[tokio::test]
async fn a_slow_reader_slows_the_call_and_loses_nothing() {
    let (http, _) = rich().await;
    let id = session(&http, "2025-11-25").await;
    let body = with_progress(call("1", "steps", r#"{"steps":3000,"ms":0}"#));
    let mut stream = Stream::post_legacy(http.address, &id, &body).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (mut last, mut steps) = (0.0, 0);
    while let Some(message) = stream.message().await {
        let Some(progress) = message["params"]["progress"].as_f64() else { continue };
        assert!(progress > last, "{progress} after {last}");
        last = progress;
        // On a busy machine it may take so long that the server says between two steps that the call goes on.
        if message["params"]["total"].is_number() {
            steps += 1;
            assert!((progress - f64::from(steps)).abs() < 1e-3, "{progress} is step {steps}");
        }
    }
    assert_eq!(steps, 3000);
}

#[tokio::test]
async fn a_stream_that_was_open_before_a_reload_tells_of_what_came_with_it() {
    let (live, seen) = crate::fixture::live();
    let http = serve_http_with((live.clone(), seen), options()).await;
    let id = session(&http, "2025-11-25").await;
    let mut stream = Stream::get(http.address, &id, None).await;
    live.announce(Change::Prompts);
    live.store(rich::endpoint(live.shared(), &options().sealer));
    for list in ["tools", "prompts", "resources"] {
        let method = format!("notifications/{list}/list_changed");
        assert_eq!(stream.message().await.unwrap()["method"], method);
    }
}
