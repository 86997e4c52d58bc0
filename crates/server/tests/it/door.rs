//! What stands at the door of an edge: everything that the edge answers by itself is asked of it, and nobody is held up there for
//! what is served no longer.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use trunkline_service::endpoint::Live;
use trunkline_service::{Arrival, Caller, Door, Failure, FailureKind};

use crate::fixture::{call, endpoint_of, initialize, live, modern, options, serve_http_with, serve_stdio_of};
use crate::identity::guarded;
use crate::raw_http::{post, post_legacy, request};

const PING: &str = r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#;
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// Lets so many messages in, where somebody has to be asked as soon as that one has time.
#[derive(Debug)]
struct Doorkeeper {
    left: AtomicUsize,
    time: Option<Semaphore>,
}

impl Doorkeeper {
    fn new(left: usize) -> Arc<Self> {
        Arc::new(Self { left: left.into(), time: None })
    }

    fn busy(left: usize) -> Arc<Self> {
        Arc::new(Self { left: left.into(), time: Some(Semaphore::new(0)) })
    }

    fn decide(&self) -> Option<Failure> {
        let taken = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        let text = "one too many";
        taken.err().map(|_| {
            Failure::new(FailureKind::RateLimited, text).with_retry_after(Duration::from_millis(1500))
        })
    }

    fn ask(&self) -> Arrival<'_> {
        let Some(time) = &self.time else {
            return self.decide().map_or(Arrival::Admitted, Arrival::Refused);
        };
        Arrival::Waiting(Box::pin(async {
            time.acquire().await.unwrap().forget();
            self.decide()
        }))
    }
}

impl Door for Doorkeeper {
    fn arrive(&self, _: Option<IpAddr>) -> Arrival<'_> {
        if self.time.is_some() { self.ask() } else { Arrival::Admitted }
    }

    fn count(&self, _: &Arc<Caller>) -> Arrival<'_> {
        self.ask()
    }

    fn may_ask(&self) -> bool {
        self.time.is_some()
    }
}

/// The fixture behind a door.
fn behind(door: &Arc<Doorkeeper>) -> (Live, Arc<crate::fixture::Seen>) {
    let (live, seen) = live();
    live.store(endpoint_of(&live, 5).with_door(Arc::clone(door) as _));
    (live, seen)
}

fn is_refused(answer: &Value, id: Value) -> bool {
    let error = &answer["error"];
    answer["id"] == id && error["code"] == 429 && error["message"] == "one too many"
}

#[test]
fn what_the_stdio_edge_answers_by_itself_is_counted_and_a_ping_too_many_is_still_answered() {
    let door = Doorkeeper::new(6);
    let (live, seen) = behind(&door);
    let mut piped = serve_stdio_of(live, seen);
    let left = || door.left.load(Ordering::SeqCst);
    assert!(piped.ask(&initialize("2025-11-25"))["result"].is_object());
    piped.send(INITIALIZED);
    assert_eq!(piped.ask(PING), json!({ "jsonrpc": "2.0", "id": 7, "result": {} }));
    assert_eq!(left(), 3);
    for (line, code) in
        [("not json", -32700), (r#"{"jsonrpc":"2.0","id":1,"method":"notifications/x"}"#, -32601)]
    {
        assert_eq!(piped.ask(line)["error"]["code"], code);
    }
    // What a service answers is counted there.
    assert!(piped.ask(r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#)["result"].is_object());
    assert_eq!(left(), 1);
    assert_eq!(piped.ask(PING)["result"], json!({}));
    for _ in 0..3 {
        assert!(is_refused(&piped.ask(PING), json!(7)));
    }
    assert!(is_refused(&piped.ask("not json"), Value::Null));
    // A second handshake too many leaves the first one as it was.
    assert!(is_refused(&piped.ask(&initialize("2025-03-26")), json!(0)));
    assert_eq!(piped.ask("[]")["error"]["code"], 429);
    assert!(piped.ask(r#"{"jsonrpc":"2.0","id":3,"method":"tools/list"}"#)["result"].is_object());
    assert!(piped.finish().is_empty());
}

#[test]
fn a_cancel_too_many_still_ends_its_call() {
    let door = Doorkeeper::new(1);
    let (live, seen) = behind(&door);
    let mut piped = serve_stdio_of(live, seen);
    piped.ask(&initialize("2025-11-25"));
    piped.send(
        r#"{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"slow","arguments":{"ms":60000}}}"#,
    );
    piped.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":4}}"#);
    assert!(is_refused(&piped.ask(PING), json!(7)));
    assert_eq!(piped.seen.running.load(Ordering::SeqCst), 0);
    assert!(piped.finish().is_empty());
}

#[test]
fn what_is_sent_after_a_handshake_waits_while_the_door_is_asked() {
    let door = Doorkeeper::busy(2);
    let (live, seen) = behind(&door);
    let mut piped = serve_stdio_of(live, seen);
    piped.send(&initialize("2025-11-25"));
    piped.send(INITIALIZED);
    piped.send(r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#);
    piped.send(PING);
    door.time.as_ref().unwrap().add_permits(3);
    let rest = piped.finish().join("\n");
    let answers: Vec<Value> = rest.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 3, "{rest}");
    assert!(
        answers[0]["result"]["serverInfo"].is_object() && answers[1]["result"]["tools"].is_array(),
        "{rest}"
    );
    assert!(is_refused(&answers[2], json!(7)), "{rest}");
}

#[tokio::test]
async fn every_part_of_a_batch_that_the_edge_answers_is_counted_on_both_edges() {
    // Two pings, a notification, a handshake where none may be, and what is no message: five; the handshake before is the sixth.
    let batch =
        format!(r#"[{PING},{INITIALIZED},{},1,{}]"#, initialize("2025-03-26"), PING.replace('7', "8"));
    for left in [6, 4] {
        let door = Doorkeeper::new(left);
        let (live, seen) = behind(&door);
        let http = serve_http_with((live, seen), options()).await;
        let begun = post_legacy(http.address, &initialize("2025-03-26"), None, &[]).await;
        let session = begun.header("mcp-session-id").unwrap();
        let answers = post_legacy(http.address, &batch, Some(session), &[]).await.json();
        let on_stdio = Doorkeeper::new(left);
        let (live, seen) = behind(&on_stdio);
        let mut piped = serve_stdio_of(live, seen);
        piped.ask(&initialize("2025-03-26"));
        for answers in [answers, piped.ask(&batch)] {
            let codes = answers.as_array().unwrap().iter().map(|answer| answer["error"]["code"].as_i64());
            let limited = codes.filter(|code| *code == Some(429)).count();
            assert_eq!(limited, if left == 6 { 0 } else { 2 }, "{answers}");
        }
        for door in [door, on_stdio] {
            assert_eq!(door.left.load(Ordering::SeqCst), 0);
        }
    }
}

#[tokio::test]
async fn a_message_that_the_http_edge_refuses_is_counted_once() {
    let door = Doorkeeper::new(5);
    let http = serve_http_with(behind(&door), options()).await;
    let lacking = call("1", "noargs", "{}");
    assert_eq!(post(http.address, &lacking, &[("Mcp-Name", "other")]).await.code(), -32020);
    assert_eq!(post(http.address, "not json", &[]).await.code(), -32700);
    assert_eq!(post_legacy(http.address, PING, Some("none"), &[]).await.status, 404);
    assert_eq!(post_legacy(http.address, INITIALIZED, Some("none"), &[]).await.status, 404);
    assert_eq!(post_legacy(http.address, PING, None, &[]).await.status, 400);
    assert_eq!(door.left.load(Ordering::SeqCst), 0);
    let refused = post(http.address, "not json", &[]).await;
    assert_eq!((refused.status, refused.code(), refused.header("retry-after")), (429, 429, Some("2")));
    // What is refused for its head is not looked at so far.
    assert_eq!(
        request(http.address, "POST", "/mcp", &[("Content-Type", "text/plain")], b"").await.status,
        415
    );
    assert_eq!(post(http.address, &modern("1", "tools/list", ""), &[]).await.status, 200);
}

#[tokio::test]
async fn who_waits_at_the_door_keeps_nothing_that_is_served_no_longer_and_is_judged_by_what_is() {
    let door = Doorkeeper::busy(9);
    let (live, seen) = behind(&door);
    let before = Arc::downgrade(&live.load_full());
    let http = serve_http_with((live.clone(), seen), options()).await;
    let body = call("1", "noargs", "{}");
    let asking = post(http.address, &body, &[]);
    tokio::pin!(asking);
    // It stands at the door.
    let stands = async {
        while Arc::strong_count(&door) < 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        biased;
        answer = &mut asking => panic!("{answer:?}"),
        () = stands => {}
    }
    let (access, _) = guarded();
    live.store(endpoint_of(&live, 5).with_access(access));
    assert!(before.upgrade().is_none(), "a request at the door keeps the endpoint");
    door.time.as_ref().unwrap().add_permits(1);
    assert_eq!(asking.await.status, 401);
    assert_eq!(http.seen.started.load(Ordering::SeqCst), 0);
}
