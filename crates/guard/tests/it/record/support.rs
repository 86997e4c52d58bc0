//! A folder with a record, a service that does what its test says, and requests for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use trunkline_guard::record::sink::file::{FileSink, files};
use trunkline_guard::record::{Audit, AuditKey, Recorded, Recorder, SinkChoice};
use trunkline_protocol::{Method, Revision, scan};
use trunkline_service::catalog::{PAGE_SIZE, Parts};
use trunkline_service::seal::Sealer;
use trunkline_service::{
    Annotations, Answer, Caller, Catalog, Decided, Outcome, Reply, Request, Service, ToolDefinition, ToolName,
};

/// The longest any test waits for something that should happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const KEY: [u8; 32] = [7; 32];

/// A record in a folder of its own.
pub(crate) struct Folder(pub(crate) tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("audit.jsonl")
    }

    pub(crate) fn audit(&self) -> Audit {
        audit(&self.path())
    }

    pub(crate) fn lines(&self) -> Vec<Value> {
        lines(&self.path())
    }
}

pub(crate) fn audit(path: &Path) -> Audit {
    Audit::new(SinkChoice::File(path.to_owned()), AuditKey::new(&KEY), "n1")
}

/// All lines of a record in order, those of files that were put aside included.
pub(crate) fn lines(path: &Path) -> Vec<Value> {
    let text = files(path).iter().map(|file| std::fs::read_to_string(file).unwrap()).collect::<String>();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

pub(crate) async fn start(audit: &Audit) -> Recorder {
    let SinkChoice::File(path) = &audit.sink else { panic!("{audit:?}") };
    Recorder::start(audit, Box::new(FileSink::new(path.clone(), audit.rotation))).await.unwrap()
}

/// What a request comes to; `None` for never.
pub(crate) type Ends = dyn Fn(&Request) -> Option<Outcome> + Send + Sync;

/// Answers after noting a decision, or never.
pub(crate) struct Tool {
    pub(crate) outcome: Box<Ends>,
}

impl Tool {
    pub(crate) fn ok() -> Self {
        Self { outcome: Box::new(|_| Some(Ok(Reply::text("fine")))) }
    }

    pub(crate) fn never() -> Self {
        Self { outcome: Box::new(|_| None) }
    }
}

impl Service for Tool {
    fn call(&self, request: Request) -> Answer<'_> {
        let decided =
            Decided { allowed: Some(true), rule: "roles.support.allow[0]".into(), ..Decided::default() };
        request.notes().unwrap().decide(decided);
        match (self.outcome)(&request) {
            Some(outcome) => trunkline_service::ready(outcome),
            None => Answer::later(std::future::pending()),
        }
    }
}

/// A catalog with the tool `search`, which takes `id`, `q`, `filter` and `tags`.
pub(crate) fn catalog() -> Catalog {
    let definition = ToolDefinition {
        name: ToolName::new("search").unwrap(),
        title: None,
        description: "Searches".to_owned(),
        input_schema: json!({ "type": "object", "properties": { "id": {}, "q": {}, "filter": {}, "tags": {} } }),
        output_schema: None,
        annotations: Annotations::READ_ONLY,
        icons: Vec::new(),
        meta: None,
    };
    let entry = trunkline_service::catalog::Entry::new(definition, Arc::new(Tool::ok()), 0);
    let parts = Parts { tools: vec![entry], ..Parts::default() };
    Catalog::of(parts, PAGE_SIZE, &Arc::new(Sealer::random().unwrap())).unwrap()
}

pub(crate) fn recorded(tool: Tool, recorder: &Recorder) -> Recorded<Tool> {
    Recorded::new(tool, recorder.clone(), &catalog())
}

pub(crate) fn request(method: &str, params: Value, caller: Arc<Caller>, log_id: u64) -> Request {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
    let body = Bytes::from(body);
    let (_, envelope) = scan(&body).unwrap();
    Request::new(body, &envelope, Method::parse(method.as_bytes()), Revision::LATEST, caller, log_id)
}

pub(crate) fn search(log_id: u64) -> Request {
    let params = json!({ "name": "search", "arguments": { "id": 5, "q": "abc" } });
    request("tools/call", params, Caller::local(), log_id)
}

/// Waits until something is so.
pub(crate) async fn eventually(what: &str, is: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
