//! The tasks extension, through two endpoints that share one state: whatever node is asked answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use trunkline_protocol::Revision;
use trunkline_server::sdk::task::{
    SharedTasks, StoreError, TaskId, TaskOptions, TaskRecord, TaskStore, Tasks,
};
use trunkline_server::sdk::{Context, DynTool, Server, TaskMode, ToolError};
use trunkline_service::router::TaskNotices as _;
use trunkline_service::seal::Sealer;
use trunkline_service::shared::{Change, Followed, InMemory, Later};
use trunkline_service::{Caller, Event, Failure, FailureKind, ReplyKind, Shared};

use crate::peer::{ALL, Peer, TASKS, accept, text};

#[derive(Debug, Deserialize, JsonSchema)]
struct Confirm {
    confirm: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Name {
    #[schemars(length(min = 1))]
    name: String,
}

/// What the tools of the test wait for and tell.
#[derive(Debug)]
struct World {
    /// Lets `slow` end, once for each permit.
    gate: Semaphore,
    /// How many calls of `slow` hold their guard.
    held: AtomicUsize,
}

impl Default for World {
    fn default() -> Self {
        Self { gate: Semaphore::new(0), held: AtomicUsize::new(0) }
    }
}

struct Held(Arc<World>);

impl Held {
    fn new(world: &Arc<World>) -> Self {
        world.held.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(world))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::SeqCst);
    }
}

fn tool<F, O>(name: &'static str, mode: TaskMode, handler: F) -> DynTool
where
    F: Fn(Context) -> O + Send + Sync + 'static,
    O: Future<Output = Result<String, ToolError>> + Send + 'static,
{
    DynTool::new(name).description("A tool of the test.").task(mode).handler(handler)
}

fn tools(server: Server, world: &Arc<World>) -> Server {
    let slow_world = Arc::clone(world);
    server
        .tool(tool("slow", TaskMode::Optional, move |ctx| {
            let world = Arc::clone(&slow_world);
            async move {
                let _held = Held::new(&world);
                ctx.task_status("waiting");
                world.gate.acquire().await.map_err(|_| "closed")?.forget();
                Ok("done".to_owned())
            }
        }))
        .tool(tool("failing", TaskMode::Required, |_| async { Err(ToolError::new("it did not work")) }))
        .tool(tool("broken", TaskMode::Required, |_| async {
            Err(Failure::new(FailureKind::InvalidParams, "no such thing").into())
        }))
        .tool(tool("panicking", TaskMode::Required, |_| async { panic!("a secret") }))
        .tool(tool("confirm", TaskMode::Required, |ctx| async move {
            let answer = ctx.elicit::<Confirm>("Delete it?").key("sure").await.accepted()?;
            Ok(if answer.confirm { "deleted" } else { "kept" }.to_owned())
        }))
        .tool(tool("both", TaskMode::Required, |ctx| async move {
            let (name, sure) = tokio::join!(ctx.elicit::<Name>("Name?"), ctx.elicit::<Confirm>("Sure?"),);
            Ok(format!("{} {}", name.accepted()?.name, sure.accepted()?.confirm))
        }))
        .tool(tool("asks-first", TaskMode::Never, |ctx| async move {
            let name = ctx.elicit::<Name>("Name?").await.accepted()?.name;
            let became = ctx.become_task().await;
            let twice = ctx.become_task().await;
            Ok(format!("{name} {became} {twice} {}", ctx.in_task()))
        }))
        .tool(tool("large", TaskMode::Required, |_| async { Ok("x".repeat(5000)) }))
}

/// Two nodes that share their state, and what they share.
struct Nodes {
    one: Peer,
    two: Peer,
    tasks: Arc<Tasks>,
    shared: Arc<dyn Shared>,
    world: Arc<World>,
}

fn nodes() -> Nodes {
    nodes_with(TaskOptions::default())
}

fn nodes_with(options: TaskOptions) -> Nodes {
    let shared: Arc<dyn Shared> = Arc::new(InMemory::default());
    let sealer = Arc::new(Sealer::random().unwrap());
    let world = Arc::<World>::default();
    let node = || {
        let tasks = Tasks::in_shared(options, Arc::clone(&shared));
        let server = Server::new("test", "1").shared(Arc::clone(&shared)).sealer(Arc::clone(&sealer));
        (Peer::new(tools(server.tasks(Arc::clone(&tasks)), &world)).declaring(TASKS.clone()), tasks)
    };
    let ((one, tasks), (two, _)) = (node(), node());
    Nodes { one, two, tasks, shared, world }
}

async fn create(peer: &Peer, name: &str) -> String {
    let created = peer.call(name, json!({})).await;
    assert_eq!(
        (&created["resultType"], &created["status"]),
        (&json!("task"), &json!("working")),
        "{created}"
    );
    for absent in ["task", "result", "error", "inputRequests", "requestState", "ttl", "pollInterval"] {
        assert!(created.get(absent).is_none(), "{created}");
    }
    assert!(created["ttlMs"].as_u64().unwrap() > 0 && created["pollIntervalMs"].as_u64().unwrap() > 0);
    assert!(created["createdAt"].as_str().unwrap().ends_with('Z'));
    created["taskId"].as_str().unwrap().to_owned()
}

async fn get(peer: &Peer, id: &str) -> Value {
    peer.request("tasks/get", json!({ "taskId": id })).await.unwrap()
}

/// Asks until the task stands as `wanted`.
async fn until(peer: &Peer, id: &str, wanted: &str) -> Value {
    let mut last = Value::Null;
    for _ in 0..500 {
        last = get(peer, id).await;
        if last["status"] == wanted {
            assert_eq!(last["resultType"], "complete");
            return last;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the task does not become {wanted}: {last}");
}

/// Waits until something holds.
async fn eventually(holds: impl Fn() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it never comes to that");
}

async fn update(peer: &Peer, id: &str, responses: Value) -> Value {
    peer.request("tasks/update", json!({ "taskId": id, "inputResponses": responses })).await.unwrap()
}

async fn cancel(peer: &Peer, id: &str) -> Value {
    peer.request("tasks/cancel", json!({ "taskId": id })).await.unwrap()
}

#[tokio::test]
async fn a_task_is_found_by_every_node_from_its_first_answer_to_its_result() {
    let nodes = nodes();
    let id = create(&nodes.one, "slow").await;
    let working = get(&nodes.two, &id).await;
    assert_eq!((&working["resultType"], &working["status"]), (&json!("complete"), &json!("working")));
    let told = until_status(&nodes.two, &id, "waiting").await;
    assert!(told["lastUpdatedAt"].as_str() >= working["lastUpdatedAt"].as_str());
    nodes.world.gate.add_permits(1);
    let done = until(&nodes.two, &id, "completed").await;
    assert_eq!(text(&done["result"]), "done");
    assert_eq!(done["result"]["isError"], false);
    assert_eq!(done["result"]["resultType"], "complete");
    assert_eq!(nodes.tasks.running(), 0);
}

async fn until_status(peer: &Peer, id: &str, wanted: &str) -> Value {
    for _ in 0..500 {
        let task = get(peer, id).await;
        if task["statusMessage"] == wanted {
            return task;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the task never says {wanted}");
}

#[tokio::test]
async fn a_client_that_does_not_follow_tasks_gets_its_result_at_once_or_is_told_what_is_missing() {
    let nodes = nodes();
    nodes.world.gate.add_permits(2);
    let plain = nodes.one.declaring(ALL.clone());
    assert_eq!(text(&plain.call("slow", json!({})).await), "done");
    let required = json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } });
    let mut failures = vec![plain.send("failing", json!({}), None, None).await.unwrap_err()];
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let params = json!({ "taskId": "gate-test", "inputResponses": {} });
        failures.push(plain.request(method, params).await.unwrap_err());
    }
    for failure in failures {
        assert_eq!(failure["code"], -32021);
        assert_eq!(failure["data"], json!({ "requiredCapabilities": required }));
    }
    // The extension is of 2026-07-28, whatever a session declares.
    let legacy = nodes.one.speaking(Revision::V2025_11_25, TASKS.clone());
    assert_eq!(text(&legacy.round("slow", json!({}), None).await.unwrap()), "done");
}

#[tokio::test]
async fn an_error_result_is_completed_and_only_a_failure_fails() {
    let nodes = nodes();
    let id = create(&nodes.one, "failing").await;
    let done = until(&nodes.one, &id, "completed").await;
    assert_eq!(done["result"]["isError"], true);
    let id = create(&nodes.one, "broken").await;
    let failed = until(&nodes.two, &id, "failed").await;
    assert_eq!(failed["error"], json!({ "code": -32602, "message": "no such thing" }));
    assert!(failed.get("result").is_none());
    let id = create(&nodes.one, "panicking").await;
    let failed = until(&nodes.two, &id, "failed").await;
    assert_eq!(failed["error"]["code"], -32603);
    assert!(!failed.to_string().contains("secret"));
}

#[tokio::test]
async fn a_task_cancelled_at_another_node_stops_where_it_runs() {
    let nodes = nodes();
    let id = create(&nodes.one, "slow").await;
    eventually(|| nodes.world.held.load(Ordering::SeqCst) == 1).await;
    assert_eq!(cancel(&nodes.two, &id).await, json!({ "resultType": "complete" }));
    assert_eq!(get(&nodes.one, &id).await["status"], "cancelled");
    eventually(|| nodes.world.held.load(Ordering::SeqCst) == 0 && nodes.tasks.running() == 0).await;
    // Again, and too late for anything else.
    assert_eq!(cancel(&nodes.one, &id).await, json!({ "resultType": "complete" }));
    assert_eq!(update(&nodes.one, &id, json!({ "x": {} })).await, json!({ "resultType": "complete" }));
    assert_eq!(get(&nodes.one, &id).await["status"], "cancelled");
}

#[tokio::test]
async fn a_question_of_a_task_waits_in_its_record_for_an_answer_at_any_node() {
    let nodes = nodes();
    let id = create(&nodes.one, "confirm").await;
    let asked = until(&nodes.two, &id, "input_required").await;
    assert_eq!(asked["inputRequests"]["sure"]["method"], "elicitation/create");
    assert!(asked.get("requestState").is_none());
    let ignored = json!({ "unknown-key": { "ignored": true } });
    assert_eq!(update(&nodes.two, &id, ignored).await, json!({ "resultType": "complete" }));
    let answer = json!({ "sure": accept(json!({ "confirm": true, "name": "also sent" })) });
    assert_eq!(update(&nodes.two, &id, answer).await, json!({ "resultType": "complete" }));
    assert_eq!(text(&until(&nodes.two, &id, "completed").await["result"]), "deleted");
}

#[tokio::test]
async fn the_questions_of_a_task_may_be_answered_one_by_one() {
    let nodes = nodes();
    let id = create(&nodes.one, "both").await;
    let asked = until(&nodes.two, &id, "input_required").await;
    assert_eq!(asked["inputRequests"].as_object().unwrap().len(), 2);
    update(&nodes.two, &id, json!({ "q1": accept(json!({ "name": "Ann", "confirm": true })) })).await;
    let partly = get(&nodes.one, &id).await;
    assert_eq!(partly["status"], "input_required");
    assert_eq!(partly["inputRequests"].as_object().unwrap().keys().collect::<Vec<_>>(), ["q2"]);
    update(&nodes.one, &id, json!({ "q2": accept(json!({ "name": "Ann", "confirm": true })) })).await;
    assert_eq!(text(&until(&nodes.one, &id, "completed").await["result"]), "Ann true");
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_asked_for_under_a_key_of_its_own() {
    let nodes = nodes();
    let id = create(&nodes.one, "confirm").await;
    until(&nodes.one, &id, "input_required").await;
    update(&nodes.one, &id, json!({ "sure": accept(json!({ "confirm": "yes" })) })).await;
    let asked = until(&nodes.one, &id, "input_required").await;
    assert_eq!(asked["inputRequests"].as_object().unwrap().keys().collect::<Vec<_>>(), ["sure-2"]);
    let params = json!({ "taskId": id, "inputResponses": { "sure-2": 12345 } });
    assert_eq!(nodes.one.request("tasks/update", params).await.unwrap_err()["code"], -32602);
    update(&nodes.one, &id, json!({ "sure-2": { "action": "decline" } })).await;
    assert_eq!(until(&nodes.one, &id, "completed").await["result"]["isError"], true);
}

#[tokio::test]
async fn a_question_whose_answers_never_fit_fails_its_task() {
    let nodes = nodes();
    let id = create(&nodes.one, "confirm").await;
    let mut last = until(&nodes.one, &id, "input_required").await;
    for round in 1..=40 {
        let key = last["inputRequests"].as_object().unwrap().keys().next().unwrap().clone();
        let expected = if round == 1 { "sure".to_owned() } else { format!("sure-{round}") };
        assert_eq!(key, expected);
        update(&nodes.one, &id, json!({ key.as_str(): { "action": "nonsense" } })).await;
        last = loop {
            let now = get(&nodes.one, &id).await;
            if now["status"] == "failed"
                || now["inputRequests"].as_object().is_some_and(|open| !open.contains_key(&key))
            {
                break now;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        };
        if last["status"] == "failed" {
            assert_eq!((round, &last["error"]["code"]), (33, &json!(-32602)), "{last}");
            return;
        }
    }
    panic!("it goes on: {last}");
}

#[tokio::test]
async fn a_long_status_is_cut() {
    let talker = tool("talker", TaskMode::Required, |ctx| async move {
        ctx.task_status("ä".repeat(4_000_000));
        Ok("done".to_owned())
    });
    let peer = Peer::new(Server::new("test", "1").tool(talker)).declaring(TASKS.clone());
    let id = create(&peer, "talker").await;
    let done = until(&peer, &id, "completed").await;
    assert_eq!(done["statusMessage"].as_str().map(str::len), Some(1024));
}

#[tokio::test]
async fn rounds_come_before_the_task_and_there_is_one_task_only() {
    let nodes = nodes();
    let asked = nodes.one.call("asks-first", json!({})).await;
    assert_eq!(asked["resultType"], "input_required");
    assert!(asked.get("taskId").is_none());
    let answers = json!({ "q1": accept(json!({ "name": "Alice" })) });
    let created = nodes.two.answer("asks-first", json!({}), &asked, answers).await;
    assert_eq!(created["resultType"], "task");
    assert!(created.get("requestState").is_none() && created.get("inputRequests").is_none());
    let id = created["taskId"].as_str().unwrap();
    assert_eq!(text(&until(&nodes.one, id, "completed").await["result"]), "Alice true true true");
}

#[tokio::test]
async fn a_task_is_unknown_to_everyone_but_its_caller() {
    let nodes = nodes();
    let id = create(&nodes.one, "slow").await;
    let stranger = nodes.one.as_caller("mallory");
    for (peer, id) in
        [(&stranger, id.as_str()), (&nodes.one, "tasks-conformance-nonexistent-12345"), (&nodes.one, "")]
    {
        for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
            let params = json!({ "taskId": id, "inputResponses": {} });
            assert_eq!(peer.request(method, params).await.unwrap_err()["code"], -32602);
        }
    }
    assert_eq!(nodes.one.request("tasks/get", json!({})).await.unwrap_err()["code"], -32602);
    let bad = json!({ "taskId": id, "inputResponses": [] });
    assert_eq!(nodes.one.request("tasks/update", bad).await.unwrap_err()["code"], -32602);
    assert!(nodes.tasks.detailed(&id, &Caller::local()).await.is_some());
    assert!(
        nodes.tasks.detailed(&id, &Caller { subject: "mallory".into(), ..Caller::default() }).await.is_none()
    );
    nodes.world.gate.add_permits(1);
    until(&nodes.one, &id, "completed").await;
}

#[tokio::test]
async fn every_change_is_announced_and_told_in_full() {
    let nodes = nodes();
    let mut changes = nodes.shared.task_changes();
    let id = create(&nodes.one, "confirm").await;
    let mut statuses = Vec::new();
    while statuses.last().map(String::as_str) != Some("completed") {
        let next = tokio::time::timeout(Duration::from_secs(5), changes.next()).await.unwrap();
        let Followed::Message(_, change) = next else { panic!("{next:?}") };
        if Change::from_bytes(&change) != Some(Change::Task(id.as_str().into())) {
            continue;
        }
        let object = nodes.tasks.detailed(&id, &Caller::local()).await.unwrap();
        let task: Value = serde_json::from_slice(&object).unwrap();
        assert_eq!(task["taskId"], id.as_str());
        let status = task["status"].as_str().unwrap().to_owned();
        if status == "input_required" {
            assert!(task["inputRequests"]["sure"].is_object());
            update(&nodes.two, &id, json!({ "sure": accept(json!({ "confirm": false })) })).await;
        }
        statuses.push(status);
    }
    assert_eq!(statuses.first().map(String::as_str), Some("input_required"));
}

#[tokio::test]
async fn a_task_is_gone_when_its_time_is_over() {
    let nodes = nodes_with(TaskOptions::default().ttl(Duration::from_millis(100)));
    let id = create(&nodes.one, "slow").await;
    eventually(|| nodes.world.held.load(Ordering::SeqCst) == 1).await;
    eventually(|| nodes.world.held.load(Ordering::SeqCst) == 0 && nodes.tasks.running() == 0).await;
    assert_eq!(nodes.one.request("tasks/get", json!({ "taskId": id })).await.unwrap_err()["code"], -32602);
}

#[tokio::test]
async fn over_the_bound_a_call_that_may_runs_within_its_request_and_one_that_must_is_refused() {
    for options in [TaskOptions::default().max_running(1), TaskOptions::default().max_per_caller(1)] {
        let nodes = nodes_with(options);
        let held = create(&nodes.one, "slow").await;
        let failure = nodes.one.send("failing", json!({}), None, None).await.unwrap_err();
        assert_eq!(failure["code"], 503);
        let mut within = nodes.one.start("tools/call", json!({ "name": "slow", "arguments": {} }));
        assert!((&mut within).now_or_never().is_none());
        nodes.world.gate.add_permits(2);
        assert_eq!(within.await.unwrap().kind(), ReplyKind::Complete);
        until(&nodes.one, &held, "completed").await;
        eventually(|| nodes.tasks.running() == 0).await;
        create(&nodes.one, "failing").await;
    }
    let nodes = nodes_with(TaskOptions::default().max_per_caller(1));
    create(&nodes.one, "slow").await;
    create(&nodes.one.as_caller("ann"), "slow").await;
}

#[tokio::test]
async fn a_shutdown_fails_what_runs_and_leaves_nothing_running() {
    let nodes = nodes();
    let id = create(&nodes.one, "slow").await;
    eventually(|| nodes.world.held.load(Ordering::SeqCst) == 1).await;
    nodes.tasks.shutdown(Duration::from_millis(50)).await;
    assert_eq!((nodes.world.held.load(Ordering::SeqCst), nodes.tasks.running()), (0, 0));
    let failed = get(&nodes.two, &id).await;
    assert_eq!((&failed["status"], &failed["error"]["code"]), (&json!("failed"), &json!(-32603)));
}

#[tokio::test]
async fn a_shutdown_lets_what_runs_end_within_the_grace_and_begins_nothing_new() {
    let nodes = nodes();
    let id = create(&nodes.one, "slow").await;
    eventually(|| nodes.world.held.load(Ordering::SeqCst) == 1).await;
    let mut shutdown = Box::pin(nodes.tasks.shutdown(Duration::from_secs(60)));
    assert!((&mut shutdown).now_or_never().is_none());
    assert_eq!(nodes.one.send("failing", json!({}), None, None).await.unwrap_err()["code"], 503);
    assert_eq!(get(&nodes.one, &id).await["status"], "working", "the rest of the server goes on");
    nodes.world.gate.add_permits(1);
    shutdown.await;
    assert_eq!(get(&nodes.two, &id).await["status"], "completed");
}

#[tokio::test]
async fn what_runs_ends_with_its_server_and_with_a_shutdown_nobody_waits_for() {
    let nodes = nodes();
    let dropped = create(&nodes.one, "slow").await;
    eventually(|| nodes.world.held.load(Ordering::SeqCst) == 1).await;
    drop(nodes.one);
    eventually(|| nodes.world.held.load(Ordering::SeqCst) == 0 && nodes.tasks.running() == 0).await;
    assert_eq!(get(&nodes.two, &dropped).await["status"], "failed");
    let nodes = nodes_with(TaskOptions::default());
    create(&nodes.one, "slow").await;
    eventually(|| nodes.world.held.load(Ordering::SeqCst) == 1).await;
    assert!(nodes.tasks.shutdown(Duration::from_secs(60)).now_or_never().is_none());
    eventually(|| nodes.world.held.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn of_the_ended_tasks_of_a_caller_the_first_are_forgotten_over_the_bound() {
    let nodes = nodes_with(TaskOptions::default().max_kept(2));
    let (ann, mut ids) = (nodes.one.as_caller("ann"), Vec::new());
    let hers = create(&ann, "failing").await;
    for _ in 0..3 {
        let id = create(&nodes.one, "failing").await;
        until(&nodes.one, &id, "completed").await;
        eventually(|| nodes.tasks.running() == 0).await;
        ids.push(id);
    }
    let gone = nodes.two.request("tasks/get", json!({ "taskId": ids[0] })).await.unwrap_err();
    assert_eq!(gone["code"], -32602);
    for kept in &ids[1..] {
        assert_eq!(get(&nodes.two, kept).await["status"], "completed");
    }
    until(&ann, &hers, "completed").await;
}

#[tokio::test]
async fn a_result_over_the_bound_fails_with_its_size() {
    let nodes = nodes_with(TaskOptions::default().max_result(1000));
    let id = create(&nodes.one, "large").await;
    let failed = until(&nodes.one, &id, "failed").await;
    assert!(failed["error"]["message"].as_str().unwrap().contains("may keep 1000"), "{failed}");
}

#[tokio::test]
async fn a_call_dropped_before_it_became_a_task_leaves_nothing_behind() {
    let nodes = nodes();
    let mut call = nodes.one.start("tools/call", json!({ "name": "slow", "arguments": {} }));
    // Polled once: the record is being made, and nobody waits for it any more.
    assert!((&mut call).now_or_never().is_none());
    drop(call);
    eventually(|| nodes.tasks.running() == 0).await;
    assert_eq!(nodes.world.held.load(Ordering::SeqCst), 0);
}

/// A store that refuses what it is told to refuse.
#[derive(Debug)]
struct Moody {
    inner: SharedTasks,
    takes_new: AtomicBool,
    answers: AtomicBool,
}

impl Moody {
    fn mood(mood: &AtomicBool) -> Result<(), StoreError> {
        if mood.load(Ordering::SeqCst) { Ok(()) } else { Err(StoreError::Failed("gone".into())) }
    }
}

impl TaskStore for Moody {
    fn create<'a>(&'a self, record: &'a TaskRecord) -> Later<'a, Result<u64, StoreError>> {
        Box::pin(async move {
            Self::mood(&self.takes_new)?;
            self.inner.create(record).await
        })
    }

    fn read(&self, id: TaskId) -> Later<'_, Result<Option<(u64, TaskRecord)>, StoreError>> {
        Box::pin(async move {
            Self::mood(&self.answers)?;
            self.inner.read(id).await
        })
    }

    fn update<'a>(&'a self, record: &'a TaskRecord, expected: u64) -> Later<'a, Result<u64, StoreError>> {
        self.inner.update(record, expected)
    }

    fn remove(&self, id: TaskId) -> Later<'_, Result<(), StoreError>> {
        self.inner.remove(id)
    }
}

#[tokio::test]
async fn a_store_that_fails_costs_the_task_and_not_the_call() {
    let shared: Arc<dyn Shared> = Arc::new(InMemory::default());
    let store = Arc::new(Moody {
        inner: SharedTasks::new(Arc::clone(&shared)),
        takes_new: AtomicBool::new(false),
        answers: AtomicBool::new(true),
    });
    let world = Arc::<World>::default();
    let tasks = Tasks::new(TaskOptions::default(), Arc::clone(&store) as _, Arc::clone(&shared));
    let server = Server::new("test", "1").shared(shared).tasks(Arc::clone(&tasks));
    let peer = Peer::new(tools(server, &world)).declaring(TASKS.clone());
    world.gate.add_permits(2);
    assert_eq!(text(&peer.call("slow", json!({})).await), "done");
    assert_eq!(peer.send("failing", json!({}), None, None).await.unwrap_err()["code"], 503);
    assert_eq!(tasks.running(), 0);
    store.takes_new.store(true, Ordering::SeqCst);
    let id = create(&peer, "slow").await;
    until(&peer, &id, "completed").await;
    store.answers.store(false, Ordering::SeqCst);
    let failure = peer.request("tasks/get", json!({ "taskId": id })).await.unwrap_err();
    assert_eq!(failure["code"], 502);
    assert!(!failure.to_string().contains("gone"));
}

#[tokio::test]
async fn a_subscription_at_another_node_hears_of_its_tasks_in_full() {
    let nodes = nodes();
    let id = create(&nodes.one, "confirm").await;
    let filter = json!({ "taskIds": [id, "00000000000000000000000000000000"] });
    let (mut ended, mut events, closing) = nodes.two.listen(filter.clone());
    let mut heard: Vec<Value> = Vec::new();
    while heard.last().is_none_or(|last| last["params"]["status"] != "completed") {
        let event = tokio::select! {
            event = events.recv() => event.unwrap(),
            ended = &mut ended => panic!("{ended:?}"),
            () = tokio::time::sleep(Duration::from_secs(5)) => panic!("nothing more after {heard:?}"),
        };
        let (Event::Message(message) | Event::Positioned(message, _)) = event else { panic!("{event:?}") };
        let message: Value = serde_json::from_slice(&message).unwrap();
        assert_eq!(message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], 1);
        if heard.is_empty() {
            assert_eq!(message["params"]["notifications"], json!({ "taskIds": [id] }), "no stranger's task");
            until(&nodes.one, &id, "input_required").await;
            update(&nodes.one, &id, json!({ "sure": accept(json!({ "confirm": true })) })).await;
        } else {
            assert_eq!(
                (&message["method"], &message["params"]["taskId"]),
                (&json!("notifications/tasks"), &json!(id))
            );
        }
        heard.push(message);
    }
    assert_eq!(text(&heard.last().unwrap()["params"]["result"]), "deleted");
    closing.cancel();
    assert!(ended.await.is_ok());
    let plain = nodes.two.declaring(ALL.clone());
    let failure = plain.listen(filter).0.await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::MissingCapability);
}

#[tokio::test]
async fn a_task_whose_node_is_silent_for_long_has_failed() {
    let nodes = nodes();
    let id = create(&nodes.one, "slow").await;
    eventually(|| nodes.world.held.load(Ordering::SeqCst) == 1).await;
    let store = SharedTasks::new(Arc::clone(&nodes.shared));
    until_status(&nodes.one, &id, "waiting").await;
    let (version, mut record) = store.read(id.parse().unwrap()).await.unwrap().unwrap();
    record.alive_ms -= 100_000;
    store.update(&record, version).await.unwrap();
    let failed = get(&nodes.two, &id).await;
    assert_eq!((&failed["status"], &failed["error"]["code"]), (&json!("failed"), &json!(-32603)));
    // Was it there after all, it stops.
    eventually(|| nodes.world.held.load(Ordering::SeqCst) == 0 && nodes.tasks.running() == 0).await;
}
