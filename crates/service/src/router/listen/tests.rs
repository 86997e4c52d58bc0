//! Subscriptions of both eras over a router, with the changes of a shared log.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use trunkline_protocol::{Method, scan};

use super::*;
use crate::catalog::{Parts, ResourceDefinition, Served};
use crate::endpoint::ServerInfo;
use crate::outlet::Attached;
use crate::router::RouterOptions;
use crate::seal::Sealer;
use crate::shared::{InMemory, Shared};
use crate::{Answer, Service, ready};

struct Nobody;

impl Service for Nobody {
    fn call(&self, _: Request) -> Answer<'_> {
        ready(Ok(Reply::text("")))
    }
}

fn router(shared: &Arc<InMemory>) -> Router {
    let resource = |uri: &str, subscribe| Served {
        definition: ResourceDefinition { uri: uri.into(), name: uri.into(), subscribe, ..Default::default() },
        service: Arc::new(Nobody) as Arc<dyn Service>,
        target: 0,
        facts: Default::default(),
        checks: Default::default(),
        completes: false,
    };
    let parts = Parts {
        resources: vec![resource("x://a", true), resource("x://dir/", true), resource("x://still", false)],
        ..Parts::default()
    };
    let catalog = Catalog::of(parts, 10, &Arc::new(Sealer::random().unwrap())).unwrap();
    let options = RouterOptions::new(Arc::clone(shared) as Arc<dyn Shared>);
    Router::new(Arc::new(catalog), &ServerInfo::new("t", "1"), options)
}

struct Listening {
    events: mpsc::Receiver<Event>,
    closing: CancellationToken,
    request: Option<Request>,
}

fn listening(revision: Revision, filter: &str, room: usize, after: Option<u64>) -> Listening {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":"L1","method":"subscriptions/listen","params":{{"notifications":{filter}}}}}"#
    );
    let body = Bytes::from(body);
    let (_, envelope) = scan(&body).unwrap();
    let (sender, events) = mpsc::channel(room);
    let closing = CancellationToken::new();
    let attached = Attached { after, ..Attached::new(Outlet::new(sender, closing.clone())) };
    let request = Request::new(body, &envelope, Method::SubscriptionsListen, revision, Caller::local(), 1)
        .with_attached(Some(Box::new(attached)));
    Listening { events, closing, request: Some(request) }
}

impl Listening {
    async fn next(&mut self) -> (Value, Option<u64>) {
        let event = tokio::time::timeout(Duration::from_secs(5), self.events.recv()).await.unwrap().unwrap();
        match event {
            Event::Message(message) => (serde_json::from_slice(&message).unwrap(), None),
            Event::Positioned(message, position) => {
                (serde_json::from_slice(&message).unwrap(), Some(position))
            }
            Event::CloseStream => panic!("closed"),
        }
    }
}

#[tokio::test]
async fn only_what_was_agreed_is_told_each_with_the_subscription_id_and_the_end_is_a_result() {
    let shared = Arc::new(InMemory::default());
    let router = router(&shared);
    let filter = r#"{"toolsListChanged":true,"resourcesListChanged":true,"resourceSubscriptions":["x://a","x://dir/","x://still","x://none"]}"#;
    let mut stream = listening(Revision::LATEST, filter, 16, None);
    let request = stream.request.take().unwrap();
    let closing = stream.closing.clone();
    let client = async {
        let (ack, _) = stream.next().await;
        assert_eq!(ack["method"], "notifications/subscriptions/acknowledged");
        assert_eq!(
            ack["params"],
            json!({ "notifications": { "resourcesListChanged": true, "resourceSubscriptions": ["x://a", "x://dir/"] },
                    "_meta": { "io.modelcontextprotocol/subscriptionId": "L1" } })
        );
        for change in [
            Change::Tools,
            Change::Resource("x://still".into()),
            Change::Resource("x://dir/b".into()),
            Change::Resources,
        ] {
            shared.announce(change);
        }
        let (updated, _) = stream.next().await;
        assert_eq!(updated["method"], "notifications/resources/updated");
        assert_eq!(updated["params"]["uri"], "x://dir/b");
        assert_eq!(updated["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], "L1");
        assert_eq!(stream.next().await.0["method"], "notifications/resources/list_changed");
        closing.cancel();
    };
    let (outcome, ()) = tokio::join!(router.listen(request), client);
    let mut message = Vec::new();
    outcome.unwrap().write(&mut message, b"\"L1\"", Revision::LATEST, br#","_meta":{"s":1}"#);
    assert_eq!(
        String::from_utf8(message).unwrap(),
        r#"{"jsonrpc":"2.0","id":"L1","result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/subscriptionId":"L1","s":1}}}"#
    );
}

#[tokio::test]
async fn an_older_client_hears_of_changes_without_ids_and_takes_up_where_it_left() {
    let shared = Arc::new(InMemory::default());
    let router = router(&shared);
    shared.announce(Change::Resource("x://a".into()));
    shared.announce(Change::Resources);
    let mut stream = listening(
        Revision::V2025_11_25,
        r#"{"resourcesListChanged":true,"resourceSubscriptions":["x://a"]}"#,
        16,
        Some(1),
    );
    let request = stream.request.take().unwrap();
    let closing = stream.closing.clone();
    let client = async {
        let (message, position) = stream.next().await;
        assert_eq!(message, json!({ "jsonrpc": "2.0", "method": "notifications/resources/list_changed" }));
        assert_eq!(position, Some(2));
        shared.announce(Change::Resource("x://a".into()));
        let (message, _) = stream.next().await;
        assert_eq!(message["params"], json!({ "uri": "x://a" }));
        closing.cancel();
    };
    let (outcome, ()) = tokio::join!(router.listen(request), client);
    assert!(outcome.is_ok());
}

#[tokio::test]
async fn a_reader_too_slow_for_the_log_is_told_that_everything_may_have_changed() {
    let shared = Arc::new(InMemory::default());
    let router = router(&shared);
    let mut stream = listening(Revision::LATEST, r#"{"resourceSubscriptions":["x://a"]}"#, 1, None);
    let request = stream.request.take().unwrap();
    let closing = stream.closing.clone();
    let client = async {
        stream.next().await;
        for _ in 0..3000 {
            shared.announce(Change::Tools);
        }
        let (message, _) = stream.next().await;
        assert_eq!(message["params"]["uri"], "x://a");
        closing.cancel();
    };
    let (outcome, ()) = tokio::join!(router.listen(request), client);
    assert!(outcome.is_ok());
}

#[tokio::test]
async fn what_is_no_filter_is_refused() {
    let shared = Arc::new(InMemory::default());
    let router = router(&shared);
    for (filter, code) in [
        ("[]", -32602),
        ("null", -32602),
        (r#"{"toolsListChanged":1}"#, -32602),
        (r#"{"taskIds":["a"]}"#, -32021),
        (&format!(r#"{{"resourceSubscriptions":["x://{}"]}}"#, "a".repeat(2048)), -32602),
    ] {
        let request = listening(Revision::LATEST, filter, 1, None).request.unwrap();
        let failure = router.listen(request).await.unwrap_err();
        assert_eq!(failure.kind().row().code.0, code, "{filter}");
    }
}
