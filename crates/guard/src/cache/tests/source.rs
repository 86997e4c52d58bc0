//! A service that counts how often it is asked, and callers who ask.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use trunkline_protocol::{Method, Revision, scan};
use trunkline_service::catalog::{Entry, Facts};
use trunkline_service::{
    Annotations, Answer, Caller, Failure, FailureKind, Fault, Outcome, Reply, Request, Service,
    ToolDefinition, ToolName,
};

use crate::cache::{Plan, Scope};

/// What a source answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answers {
    /// How often it was asked.
    Counted,
    /// The same, once it is let.
    Held,
    /// What it was asked with.
    Arguments,
    /// How often it was asked, sealed for its caller.
    Bound,
    InputRequired,
    Failure,
    /// There is no room for the call.
    Crowded,
    /// It cannot be reached, as is found once it is let.
    Down,
    Error,
}

pub(super) struct Source {
    answers: Answers,
    asked: AtomicU64,
    dropped: AtomicU64,
    doors: Semaphore,
    fault: Mutex<Option<Fault>>,
}

/// Counts an answer that nobody waited for.
struct Under<'a>(&'a Source, bool);

impl Drop for Under<'_> {
    fn drop(&mut self) {
        if !self.1 {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Source {
    pub(super) fn new(answers: Answers) -> Arc<Self> {
        let doors = Semaphore::new(0);
        let (asked, dropped, fault) = Default::default();
        Arc::new(Self { answers, asked, dropped, doors, fault })
    }

    /// Lets every question be answered from now on.
    pub(super) fn release(&self) {
        self.doors.add_permits(100_000);
    }

    pub(super) fn fail(&self, fault: Option<Fault>) {
        *self.fault.lock().unwrap() = fault;
    }

    pub(super) fn count(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(super) fn entry(self: &Arc<Self>, name: &str) -> Entry {
        let definition = ToolDefinition {
            name: ToolName::new(name).unwrap(),
            title: None,
            description: String::new(),
            input_schema: json!({ "type": "object", "properties": {
                "q": { "type": "string" }, "limit": { "type": "integer", "default": 10 },
            } }),
            output_schema: None,
            annotations: Annotations::READ_ONLY,
            icons: Vec::new(),
            meta: None,
        };
        let facts = Facts { definition: b"select :q".to_vec().into(), ..Facts::default() };
        Entry { facts, ..Entry::new(definition, self.clone(), 0) }
    }

    async fn answer(&self, request: Request) -> Outcome {
        let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        if matches!(self.answers, Answers::Held | Answers::Down) {
            let mut under = Under(self, false);
            self.doors.acquire().await.unwrap().forget();
            under.1 = true;
        }
        if let Some(fault) = *self.fault.lock().unwrap() {
            return Ok(Reply::logged_error("it failed", request.log_id()).with_fault(fault));
        }
        let counted = Reply::text(&number.to_string());
        match self.answers {
            Answers::Counted | Answers::Held => Ok(counted),
            Answers::Arguments => Ok(Reply::text(&String::from_utf8_lossy(request.arguments()))),
            Answers::Bound => Ok(counted.with_bound()),
            Answers::InputRequired => Ok(Reply::input_required(b"{}", Some("state"))),
            Answers::Failure => Err(Failure::new(FailureKind::Internal, "internal error")),
            Answers::Crowded => Err(Failure::new(FailureKind::Overloaded, "the server is busy")),
            Answers::Down => Err(Failure::new(FailureKind::UpstreamUnavailable, "it is down")
                .with_fault(Fault::NotDone)
                .with_retry_after(std::time::Duration::from_secs(2))),
            Answers::Error => Ok(Reply::tool_error("no")),
        }
    }
}

impl Service for Source {
    fn call(&self, request: Request) -> Answer<'_> {
        Answer::later(self.answer(request))
    }
}

/// Makes a call of `search`.
pub(super) fn call(caller: &Arc<Caller>, arguments: &str) -> Request {
    numbered(caller, arguments, 7)
}

/// Makes a call that the log knows under a number.
pub(super) fn numbered(caller: &Arc<Caller>, arguments: &str, log_id: u64) -> Request {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"search","arguments":{arguments}}}}}"#
    );
    let body = Bytes::from(body);
    let (_, envelope) = scan(&body).unwrap();
    Request::new(body, &envelope, Method::ToolsCall, Revision::LATEST, Arc::clone(caller), log_id)
}

pub(super) fn caller(subject: &str, roles: &[&str]) -> Arc<Caller> {
    let roles = roles.iter().map(|role| (*role).into()).collect();
    Arc::new(Caller { issuer: Some("https://i".into()), subject: subject.into(), roles, ..Caller::default() })
}

pub(super) fn local() -> Arc<Caller> {
    Caller::local()
}

pub(super) fn plan(ttl: &str) -> Plan {
    let file: crate::cache::CacheTable = toml::from_str(&format!("ttl = {ttl:?}")).unwrap();
    Plan {
        ttl: file.ttl.unwrap().0,
        stale: std::time::Duration::ZERO,
        scope: Scope::Caller,
        tags: Vec::new(),
        warm: Vec::new(),
    }
}

/// Returns the text of a result.
pub(super) fn text(reply: &Reply) -> String {
    let members: Value =
        serde_json::from_str(&format!("{{{}}}", String::from_utf8_lossy(reply.members()))).unwrap();
    members["content"][0]["text"].as_str().unwrap_or_default().to_owned()
}

/// Returns what a result says of where it comes from.
pub(super) fn status(reply: &Reply) -> (String, u64) {
    let meta: Value =
        serde_json::from_str(&format!("{{{}}}", String::from_utf8_lossy(reply.meta()))).unwrap();
    let cache = &meta["io.trunkline/cache"];
    (cache["status"].as_str().unwrap_or_default().to_owned(), cache["ageMs"].as_u64().unwrap_or_default())
}
