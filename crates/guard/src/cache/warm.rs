//! Answers that are fetched before somebody asks: at the start, and again before they grow old.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};
use trunkline_protocol::{Method, Revision, scan, write};
use trunkline_service::file::Problem;
use trunkline_service::seal::random;
use trunkline_service::{Caller, Request, TimeAllowed};

use super::layer::Core;
use super::{Cache, Plan, Scope};

/// Most answers that are fetched ahead at a time.
const AT_ONCE: usize = 4;
/// The part of its time from which on an answer is about to grow old.
const SOON: f64 = 0.2;
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The least pause before an answer that could not be fetched is asked for again.
const LEAST_PAUSE: Duration = Duration::from_secs(1);

/// A tool whose answers can be fetched before somebody asks.
#[derive(Debug, Clone)]
pub struct Warmable {
    pub(super) core: Arc<Core>,
    pub(super) name: Box<str>,
    pub(super) target: u32,
    pub(super) warm: Vec<Map<String, Value>>,
}

/// Fetches answers ahead until it is dropped.
#[derive(Debug)]
pub struct Warming {
    _ending: DropGuard,
}

impl Cache {
    /// Fetches the answers that the file wants to be there. `callers` stand for those who would ask, one for each set of roles; where
    /// answers are kept for everybody, or for the local user alone, they have no say.
    #[must_use]
    pub fn warm(self: &Arc<Self>, tools: Vec<Warmable>, callers: &[Arc<Caller>]) -> Warming {
        let ending = CancellationToken::new();
        let places = Arc::new(Semaphore::new(AT_ONCE));
        for tool in tools {
            let local = [Caller::local()];
            let callers = if tool.core.keys.scope() == Scope::Role { callers } else { &local };
            for arguments in &tool.warm {
                let arguments = Value::Object(arguments.clone()).to_string();
                for caller in callers {
                    let kept_warm =
                        keep_warm(tool.clone(), arguments.clone(), Arc::clone(caller), Arc::clone(&places));
                    let ending = ending.clone();
                    self.spawn(async move {
                        ending.run_until_cancelled(kept_warm).await;
                    });
                }
            }
        }
        Warming { _ending: ending.drop_guard() }
    }
}

async fn keep_warm(tool: Warmable, arguments: String, caller: Arc<Caller>, places: Arc<Semaphore>) {
    loop {
        let Some(question) = request(&tool, &arguments, &caller) else { return };
        // After a reload there may be one that is still good.
        let left = tool.core.fresh_for(&question);
        if left > tool.core.ttl.mul_f64(SOON) {
            tokio::time::sleep(left.saturating_sub(tool.core.ttl.mul_f64(SOON / 2.0))).await;
        }
        let Ok(place) = places.acquire().await else { return };
        let is_kept = tool.core.warm(question.detached(TimeAllowed::Within(PATIENCE))).await;
        drop(place);
        tokio::time::sleep(pause(tool.core.ttl, is_kept)).await;
    }
}

/// Returns when to fetch an answer again: a little before it is old, not all at the same time; sooner when there was none.
fn pause(ttl: Duration, is_kept: bool) -> Duration {
    let mut byte = [0];
    // Without randomness all come together.
    let _ = random(&mut byte);
    let jittered = 0.81 + 0.18 * f64::from(byte[0]) / 255.0;
    if is_kept { ttl.mul_f64(jittered) } else { ttl.mul_f64(jittered / 10.0).max(LEAST_PAUSE) }
}

fn request(tool: &Warmable, arguments: &str, caller: &Arc<Caller>) -> Option<Request> {
    let mut body = br#"{"jsonrpc":"2.0","id":0,"method":"tools/call","params":{"name":"#.to_vec();
    write::string(&mut body, &tool.name);
    body.extend_from_slice(br#","arguments":"#);
    body.extend_from_slice(arguments.as_bytes());
    body.extend_from_slice(b"}}");
    let body = Bytes::from(body);
    let (_, envelope) = scan(&body).ok()?;
    let caller = Arc::clone(caller);
    let mut request = Request::new(body, &envelope, Method::ToolsCall, Revision::LATEST, caller, 0);
    request.set_target(tool.target);
    Some(request)
}

impl Warmable {
    /// Tells whether the file lists calls of the tool.
    #[must_use]
    pub fn has_calls(&self) -> bool {
        !self.warm.is_empty()
    }
}

/// Tells which calls in `warm` of the tool at `path` do not fit its schema.
#[must_use]
pub fn warm_problems(path: &[&str], plan: &Plan, schema: &Value) -> Vec<Problem> {
    if plan.warm.is_empty() {
        return Vec::new();
    }
    let path: Vec<&str> = path.iter().copied().chain(["cache", "warm"]).collect();
    // A schema that cannot be used is told by whoever checks the tool.
    let Ok(schema) = jsonschema::validator_for(schema) else { return Vec::new() };
    let mut problems = Vec::new();
    for (number, arguments) in (1..).zip(&plan.warm) {
        if let Err(error) = schema.validate(&Value::Object(arguments.clone())) {
            let message = format!("call {number} of `warm` does not fit the tool: {error}");
            problems.push(Problem::new(&path, message).help("write arguments that the tool takes"));
        }
    }
    problems
}
