//! Lines of what is no ordinary call: subscriptions, and those who were turned away.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use trunkline_guard::record::{Audit, Mode, Recorded};
use trunkline_service::{
    AccessRecord as _, Answer, Caller, Decided, Denied, DeniedKind, HeadInfo, Reply, Request, Service,
};

use super::support::{Folder, catalog, eventually, request, start};

/// A subscription that goes on until it is told to end.
struct Listening(Mutex<Option<oneshot::Receiver<()>>>);

impl Service for Listening {
    fn call(&self, request: Request) -> Answer<'_> {
        request.notes().unwrap().decide(Decided { allowed: Some(true), ..Decided::default() });
        let end = self.0.lock().unwrap().take().unwrap();
        Answer::later(async move {
            end.await.unwrap();
            Ok(Reply::from_members(Vec::new()))
        })
    }
}

fn listen(id: u64) -> Request {
    let params = json!({ "notifications": { "resourceSubscriptions": ["db://a?key=1"] } });
    request("subscriptions/listen", params, Caller::local(), id)
}

#[tokio::test]
async fn a_subscription_has_a_line_when_it_begins_and_one_when_it_ends() {
    let folder = Folder::new();
    let recorder = start(&folder.audit()).await;
    let (end, ended) = oneshot::channel();
    let listening = Arc::new(Listening(Mutex::new(Some(ended))));
    let service = Recorded::new(Arc::clone(&listening), recorder.clone(), &catalog());
    let outcome = async {
        eventually("it begins", || folder.lines().len() == 2).await;
        end.send(()).unwrap();
    };
    let (answered, ()) = tokio::join!(service.call(listen(1)), outcome);
    answered.unwrap();
    let (_end, ended) = oneshot::channel();
    *listening.0.lock().unwrap() = Some(ended);
    let call = service.call(listen(2));
    assert!(tokio::time::timeout(Duration::from_millis(50), call).await.is_err());
    recorder.stop().await;
    let told: Vec<Value> = folder
        .lines()
        .iter()
        .filter(|line| line["kind"] == "call")
        .map(|line| json!([line["request"], line["outcome"], line["allowed"], line["resources"]]))
        .collect();
    let [one, two] = ["0000000000000001", "0000000000000002"];
    assert_eq!(
        told,
        [
            json!([one, "opened", true, ["db://a"]]),
            json!([one, "ended", null, ["db://a"]]),
            json!([two, "opened", true, ["db://a"]]),
            json!([two, "cancelled", null, ["db://a"]]),
        ]
    );
}

#[tokio::test]
async fn who_was_turned_away_is_recorded_and_a_flood_of_them_is_counted() {
    let folder = Folder::new();
    let audit = Audit { mode: Mode::Fast, ..folder.audit() };
    let recorder = start(&audit).await;
    let denied = Denied::new(DeniedKind::Invalid, "the token is not accepted").with_source("S3CRET");
    let head = HeadInfo {
        log_id: 5,
        method: Some(b"tools/call"),
        address: Some(IpAddr::from([192, 0, 2, 7])),
        traceparent: Some(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    };
    recorder.denied(&denied, head).await.unwrap();
    for _ in 0..5000 {
        recorder.denied(&denied, HeadInfo { method: Some(b"S3CRET"), ..HeadInfo::default() }).await.unwrap();
    }
    let all = || -> u64 {
        let lines = folder.lines();
        let denied = lines.iter().filter(|line| line["kind"] == "denied");
        denied.map(|line| line["count"].as_u64().unwrap_or(1)).sum()
    };
    eventually("all are recorded", || all() == 5001).await;
    recorder.stop().await;
    let lines = folder.lines();
    // Some seconds may have passed on a busy machine.
    assert!(lines.len() < 2000, "{}", lines.len());
    let mut line = lines[1].clone();
    let line = line.as_object_mut().unwrap();
    line.retain(|key, _| !["seq", "node", "at", "mac"].contains(&key.as_str()));
    let expected = json!({
        "kind": "denied", "request": "0000000000000005", "trace": "4bf92f3577b34da6a3ce929d0e0e4736",
        "address": "192.0.2.7", "method": "tools/call", "outcome": "invalid-credentials",
    });
    assert_eq!(Value::Object(line.clone()), expected);
    assert!(!std::fs::read_to_string(folder.path()).unwrap().contains("S3CRET"));
}
