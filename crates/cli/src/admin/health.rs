//! `/readyz`: whether the process can serve, and of every connector why not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use futures_util::future::join_all;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use serde::Serialize;
use tokio::sync::Mutex;
use trunkline_guard::record::Recorder;
use trunkline_postgres::NodeState;

use super::Admin;
use crate::assemble::Served;

/// How long the state of the connectors is told without a new look.
const FRESH: Duration = Duration::from_secs(1);
/// How long a database may take to be looked at.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// When the connectors were last looked at, and what was found.
pub(crate) type Looked = Mutex<Option<(Instant, Arc<[Found]>)>>;

/// What was found of one connector.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Found {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    ready: bool,
    /// Why it cannot serve.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// What is not well of one that can.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

/// The page as JSON.
#[derive(Serialize)]
struct Told<'a> {
    ready: bool,
    /// What of the process itself stands in the way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<&'static str>,
    connectors: &'a [Found],
}

const STOPPING: &str = "stopping: requests in flight may finish, new ones should go elsewhere";
const AUDIT: &str = "audit: the record cannot be written, and without it nothing is served";

pub(super) async fn ready(State(admin): State<Arc<Admin>>, uri: Uri, headers: HeaderMap) -> Response {
    let mut reasons = Vec::new();
    if admin.stopping.is_cancelled() {
        reasons.push(STOPPING);
    }
    if admin.recorder.as_ref().is_some_and(Recorder::stops_serving) {
        reasons.push(AUDIT);
    }
    let found = admin.look().await;
    let is_ready = reasons.is_empty() && found.iter().all(|found| found.ready);
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut response = if wants_json(&headers) {
        let told = Told { ready: is_ready, reasons, connectors: &found };
        // Texts and booleans always serialize.
        let body = serde_json::to_string(&told).unwrap_or_default() + "\n";
        (status, [(CONTENT_TYPE, "application/json")], body).into_response()
    } else {
        (status, text(is_ready, &reasons, &found, is_verbose(&uri))).into_response()
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Tells whether JSON is asked for by name.
fn wants_json(headers: &HeaderMap) -> bool {
    let types = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types = types.flat_map(|value| value.split(',')).filter_map(|one| one.split(';').next());
    types.any(|one| one.trim().eq_ignore_ascii_case("application/json"))
}

/// Tells whether every connector is to be told of, also those that are well: `?verbose`, whatever its value.
fn is_verbose(uri: &Uri) -> bool {
    let mut keys = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split('=').next());
    keys.any(|key| key == "verbose")
}

fn text(is_ready: bool, reasons: &[&str], found: &[Found], is_verbose: bool) -> String {
    let mut text = String::from(if is_ready { "ok\n" } else { "not ready\n" });
    let mut add = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    reasons.iter().for_each(|reason| add((*reason).to_owned()));
    for one in found {
        match one.reason {
            Some(reason) => add(format!("connector {}: {reason}", one.name)),
            None if is_verbose => add(format!("connector {}: ready", one.name)),
            None => {}
        }
    }
    for one in found {
        one.notes.iter().for_each(|note| add(format!("connector {}: {note}", one.name)));
    }
    text
}

impl Admin {
    /// Looks at every connector, or tells what was found a moment ago. One look at a time: who asks meanwhile gets what it
    /// finds.
    async fn look(&self) -> Arc<[Found]> {
        let mut looked = self.looked.lock().await;
        match &*looked {
            Some((at, found)) if at.elapsed() < FRESH => Arc::clone(found),
            _ => {
                let served = self.served.load_full();
                let found: Arc<[Found]> = join_all(served.iter().cloned().map(look)).await.into();
                *looked = Some((Instant::now(), Arc::clone(&found)));
                found
            }
        }
    }
}

async fn look(served: Served) -> Found {
    let reason = if served.source.is_ready() {
        let answered = tokio::time::timeout(ANSWER_WITHIN, served.source.ping()).await;
        (!matches!(answered, Ok(Ok(())))).then_some("the database does not answer")
    } else {
        Some("not every statement is prepared")
    };
    let notes = if reason.is_none() { notes(&served) } else { Vec::new() };
    Found { name: served.name, kind: served.kind, ready: reason.is_none(), reason, notes }
}

/// Tells which servers of a database that answers are not well.
fn notes(served: &Served) -> Vec<String> {
    let nodes = served.source.nodes();
    let unwell = nodes.iter().filter(|node| !matches!(node.state, NodeState::Healthy | NodeState::Unseen));
    unwell.map(ToString::to_string).collect()
}
