//! What the HTTP edge counts of connections, answers and refusals.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::json;
use trunkline_server::http::Http;
use trunkline_service::meter::{Meter as _, Page};
use trunkline_testkit::metrics::Metrics;

use crate::fixture::{live, options};

fn page(edge: &Http) -> Metrics {
    let mut page = Page::new();
    edge.counts().read(&mut page);
    Metrics::parse(&page.into_text()).unwrap()
}

fn request(host: &str, origin: Option<&str>, content_type: &str, body: String) -> Request<Full<Bytes>> {
    let mut request = Request::post("/mcp").header("host", host).header("content-type", content_type);
    if let Some(origin) = origin {
        request = request.header("origin", origin);
    }
    request.body(Full::new(body.into())).unwrap()
}

#[tokio::test]
async fn refusals_are_counted_by_their_reason_and_answers_by_their_status() {
    let edge = Arc::new(Http::new(live().0, options()));
    let (json, host) = ("application/json", "localhost");
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }).to_string();
    let long = "x".repeat(options().max_body + 1);
    for (sent, status, reason) in [
        (request("evil.example", None, json, message.clone()), 403, "host"),
        (request(host, Some("http://evil.example"), json, message.clone()), 403, "origin"),
        (request(host, None, "text/plain", message.clone()), 415, "media-type"),
        (request(host, None, json, "{".to_owned()), 400, "message"),
        (request(host, None, json, long), 413, "too-large"),
    ] {
        let before = page(&edge).sum("trunkline_http_refused_total", &[]);
        let answer = edge.respond(sent).await;
        assert_eq!(answer.status(), status, "{reason}");
        let page = page(&edge);
        let label = format!("reason={reason:?}");
        assert_eq!(page.sum("trunkline_http_refused_total", &[&label]), 1.0, "{reason}");
        assert_eq!(page.sum("trunkline_http_refused_total", &[]), before + 1.0, "{reason}: no other");
    }
    let page = page(&edge);
    assert_eq!(page.value(r#"trunkline_http_responses_total{status="403"}"#), Some(2.0));
    assert_eq!(page.sum("trunkline_http_responses_total", &[]), 5.0);
}
