//! Each feature by its name: what the server does for a client that uses it as the SDK offers it.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResponse, CancelTaskParams, ClientRequest,
    ElicitationAction, GetPromptRequestParams, GetTaskParams, InputRequests, JsonObject, LoggingLevel,
    ReadResourceDirectoryRequestParams, ReadResourceRequestParams, RequestMetaObject, ResourceContents,
    ServerNotification, SetLevelRequestParams, Skill, SkillResources, SubscribeRequestParams,
    SubscriptionFilter, TaskPayload, UnsubscribeRequestParams, UpdateTaskParams,
};
use rmcp::service::{PeerRequestOptions, RoleClient, RunningService, ServiceError};
use serde_json::{Map, Value, json};
use tokio::time::{sleep, timeout};

use crate::handler::Handler;
use crate::{Era, Found, NotOffered};

type Client = RunningService<RoleClient, Handler>;

/// Waits for what must happen soon.
const SOON: Duration = Duration::from_secs(10);

pub(crate) async fn run(name: &str, client: &Client) -> Found {
    match name {
        "tools" => Ok(json!(client.list_all_tools().await?)),
        "resources" => Ok(json!(client.list_all_resources().await?)),
        "templates" => Ok(json!(client.list_all_resource_templates().await?)),
        "prompts" => Ok(json!(client.list_all_prompts().await?)),
        "calls" => calls(client).await,
        "refusals" => refusals(client).await,
        "reads" => reads(client).await,
        "gets" => gets(client).await,
        "completions" => completions(client).await,
        "elicitation" => each_action(client, "test_elicitation", json!({ "message": "Who are you?" })).await,
        "addresses" => each_action(client, "test_url_elicitation", json!({})).await,
        "sampling" => sampling(client).await,
        "roots" => call(client, "test_input_required_result_list_roots", json!({})).await,
        "updates" if modern(client) => modern_updates(client).await,
        "updates" => legacy_updates(client).await,
        "list_changes" if modern(client) => modern_list_changes(client).await,
        "list_changes" => legacy_list_changes(client).await,
        "progress" => progress(client).await,
        "logging" => logging(client).await,
        "cancel" => cancel(client).await,
        "tasks" => tasks(client).await,
        "skills" => skills(client).await,
        "resumption" => resumption(client).await,
        "ping" if modern(client) => Err(NotOffered("2026-07-28 has no ping").into()),
        "ping" => Err(NotOffered("this SDK has no way for a client to ping").into()),
        _ => Err(format!("no feature is called `{name}`").into()),
    }
}

fn modern(client: &Client) -> bool {
    client.service().plan.era == Era::Modern
}

fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(members) => members,
        _ => JsonObject::new(),
    }
}

fn params(tool: &str, arguments: Value) -> CallToolRequestParams {
    CallToolRequestParams::new(tool.to_owned()).with_arguments(object(arguments))
}

async fn call(client: &Client, tool: &str, arguments: Value) -> Found {
    Ok(json!(client.call_tool(params(tool, arguments)).await?))
}

/// Waits until `look` returns something.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> Result<T, String> {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, found).await.map_err(|_| format!("{what}: not within {SOON:?}"))
}

// ---- what a server has ----

async fn calls(client: &Client) -> Found {
    let mut found = Map::new();
    for (name, one) in &client.service().plan.calls {
        let tool = one["tool"].as_str().unwrap_or_default();
        found.insert(name.clone(), call(client, tool, one["arguments"].clone()).await?);
    }
    Ok(found.into())
}

async fn refusals(client: &Client) -> Found {
    let tool = client.call_tool(params("no_such_tool", json!({}))).await;
    let resource = client.read_resource(ReadResourceRequestParams::new("test://no-such-resource")).await;
    let prompt = client.get_prompt(GetPromptRequestParams::new("no_such_prompt")).await;
    Ok(json!({ "tool": refusal(tool)?, "resource": refusal(resource)?, "prompt": refusal(prompt)? }))
}

fn refusal<T: serde::Serialize>(outcome: Result<T, ServiceError>) -> Result<Value, ServiceError> {
    match outcome {
        Ok(result) => Ok(json!(result)),
        Err(ServiceError::McpError(error)) => Ok(json!(error)),
        Err(other) => Err(other),
    }
}

async fn reads(client: &Client) -> Found {
    let mut found = Map::new();
    for uri in &client.service().plan.reads {
        let read = client.read_resource(ReadResourceRequestParams::new(uri.clone())).await?;
        found.insert(uri.clone(), json!(read));
    }
    Ok(found.into())
}

async fn gets(client: &Client) -> Found {
    let mut found = Map::new();
    for (name, arguments) in &client.service().plan.gets {
        let params = GetPromptRequestParams::new(name.clone()).with_arguments(object(arguments.clone()));
        found.insert(name.clone(), json!(client.get_prompt(params).await?));
    }
    Ok(found.into())
}

async fn completions(client: &Client) -> Found {
    let prompt = client.complete_prompt_argument("test_prompt_with_arguments", "arg1", "test", None).await?;
    let template = client.complete_resource_argument("test://template/{id}/data", "id", "1", None).await?;
    Ok(json!({ "prompt": { "completion": prompt }, "template": { "completion": template } }))
}

// ---- what a server asks ----

/// Calls a tool that asks once for each thing a user can do.
async fn each_action(client: &Client, tool: &str, arguments: Value) -> Found {
    let mut found = Map::new();
    for (name, action) in [
        ("accept", ElicitationAction::Accept),
        ("decline", ElicitationAction::Decline),
        ("cancel", ElicitationAction::Cancel),
    ] {
        client.service().seen(|seen| seen.action = action);
        found.insert(name.to_owned(), asking(client, tool, arguments.clone()).await?);
    }
    Ok(found.into())
}

async fn sampling(client: &Client) -> Found {
    asking(client, "test_sampling", json!({ "prompt": "Say something" })).await
}

async fn asking(client: &Client, tool: &str, arguments: Value) -> Found {
    client.service().seen(|seen| seen.asked.clear());
    let result = call(client, tool, arguments).await?;
    let asked = client.service().seen(|seen| std::mem::take(&mut seen.asked));
    Ok(json!({ "asked": asked, "result": result }))
}

// ---- what a server tells ----

async fn touch(client: &Client, uri: &str) -> Found {
    call(client, "touch", json!({ "uri": uri })).await
}

async fn modern_updates(client: &Client) -> Found {
    let plan = &client.service().plan;
    let filter = SubscriptionFilter::builder().resource_subscription(plan.watched.clone()).build();
    let mut subscription = client.listen(filter).await?;
    touch(client, &plan.reads[0]).await?;
    touch(client, &plan.watched).await?;
    let updated = match timeout(SOON, subscription.next()).await?? {
        Some(ServerNotification::ResourceUpdatedNotification(updated)) => updated.params.uri,
        other => return Err(format!("the subscription told {other:?}").into()),
    };
    let honored = json!(subscription.acknowledged());
    subscription.cancel().await?;
    Ok(json!({ "updated": [updated], "honored": honored }))
}

async fn legacy_updates(client: &Client) -> Found {
    let plan = &client.service().plan;
    client.subscribe(SubscribeRequestParams::new(plan.watched.clone())).await?;
    touch(client, &plan.reads[0]).await?;
    touch(client, &plan.watched).await?;
    told(client, &plan.watched).await?;
    client.unsubscribe(UnsubscribeRequestParams::new(plan.watched.clone())).await?;
    touch(client, &plan.watched).await?;
    sleep(Duration::from_millis(200)).await;
    let told = client.service().seen(|seen| std::mem::take(&mut seen.told));
    Ok(json!({ "updated": told.into_iter().filter(|told| told.contains("://")).collect::<Vec<_>>() }))
}

async fn told(client: &Client, what: &str) -> Result<(), String> {
    let seen = async || client.service().seen(|seen| seen.told.iter().any(|told| told == what)).then_some(());
    until(&format!("word of {what}"), seen).await
}

async fn modern_list_changes(client: &Client) -> Found {
    let filter =
        SubscriptionFilter::builder().tools_list_changed().prompts_list_changed().resources_list_changed();
    let mut subscription = client.listen(filter.build()).await?;
    let mut found = Vec::new();
    for (list, tool) in &client.service().plan.triggers {
        call(client, tool.as_str().unwrap_or_default(), json!({})).await?;
        while found.last() != Some(list) {
            found.push(match timeout(SOON, subscription.next()).await?? {
                Some(ServerNotification::ToolListChangedNotification(_)) => "tools".to_owned(),
                Some(ServerNotification::PromptListChangedNotification(_)) => "prompts".to_owned(),
                Some(ServerNotification::ResourceListChangedNotification(_)) => "resources".to_owned(),
                other => return Err(format!("the subscription told {other:?}").into()),
            });
        }
    }
    subscription.cancel().await?;
    found.dedup();
    Ok(json!(found))
}

async fn legacy_list_changes(client: &Client) -> Found {
    for (list, tool) in &client.service().plan.triggers {
        call(client, tool.as_str().unwrap_or_default(), json!({})).await?;
        told(client, list).await?;
    }
    let mut told = client.service().seen(|seen| std::mem::take(&mut seen.told));
    told.retain(|told| !told.contains("://"));
    told.dedup();
    Ok(json!(told))
}

async fn progress(client: &Client) -> Found {
    client.service().seen(|seen| seen.progress.clear());
    // This SDK asks for progress with every request.
    call(client, "test_tool_with_progress", json!({})).await?;
    sleep(Duration::from_millis(200)).await;
    Ok(json!(client.service().seen(|seen| std::mem::take(&mut seen.progress))))
}

async fn logging(client: &Client) -> Found {
    let mut params = params("test_tool_with_logging", json!({}));
    if modern(client) {
        let mut meta = RequestMetaObject::default();
        meta.set_log_level(LoggingLevel::Debug);
        params.meta = Some(meta);
    } else {
        client.set_level(SetLevelRequestParams::new(LoggingLevel::Debug)).await?;
    }
    client.service().seen(|seen| seen.logged.clear());
    client.call_tool(params).await?;
    sleep(Duration::from_millis(200)).await;
    Ok(json!(client.service().seen(|seen| std::mem::take(&mut seen.logged))))
}

async fn resumption(client: &Client) -> Found {
    if modern(client) {
        return Err(NotOffered("2026-07-28 has no resumable streams").into());
    }
    if client.service().plan.url.is_none() {
        return Err(NotOffered("a pipe has nothing to resume").into());
    }
    call(client, "test_reconnection", json!({})).await
}

// ---- work that ends early, or late ----

async fn counts(client: &Client) -> Found {
    Ok(call(client, "slow_calls", json!({})).await?["structuredContent"].clone())
}

async fn cancel(client: &Client) -> Found {
    let before = counts(client).await?;
    let more = async |count: &str| {
        let now = counts(client).await.ok()?;
        (now[count].as_u64() > before[count].as_u64()).then_some(now)
    };
    let request = CallToolRequest::new(params("slow", json!({ "ms": 60_000 })));
    let running = client
        .send_cancellable_request(ClientRequest::CallToolRequest(request), PeerRequestOptions::no_options())
        .await?;
    until("the start of the call", async || more("started").await).await?;
    running.cancel(Some("enough".to_owned())).await?;
    let after = until("the end of the cancelled call", async || more("cancelled").await).await?;
    Ok(json!({ "before": before, "after": after }))
}

async fn tasks(client: &Client) -> Found {
    if !modern(client) {
        return Err(NotOffered("the extension is of 2026-07-28").into());
    }
    let running = create(client, "slow_compute", json!({ "seconds": 60, "label": "x" })).await?;
    client.cancel_task(CancelTaskParams::new(running.as_str())).await?;
    let failing = create(client, "protocol_error_job", json!({})).await?;
    let quick = create(client, "slow_compute", json!({ "seconds": 1, "label": "x" })).await?;
    let asking = create(client, "confirm_delete", json!({ "filename": "a.txt" })).await?;
    Ok(json!({
        "completed": settled(client, &quick).await?["result"],
        "answered": settled(client, &asking).await?["result"],
        "cancelled": settled(client, &running).await?["status"],
        "failed": settled(client, &failing).await?["error"],
    }))
}

async fn create(client: &Client, tool: &str, arguments: Value) -> Result<String, Box<dyn std::error::Error>> {
    match client.call_tool_once(params(tool, arguments)).await? {
        CallToolResponse::Task(created) => Ok(created.task.task_id),
        other => Err(format!("{tool} is no task: {other:?}").into()),
    }
}

/// Waits for the end of a task, and says yes to its questions.
async fn settled(client: &Client, id: &str) -> Found {
    loop {
        let task = client.get_task(GetTaskParams::new(id)).await?.task;
        match &task.payload {
            TaskPayload::Working => sleep(Duration::from_millis(50)).await,
            TaskPayload::InputRequired { input_requests } => confirm(client, id, input_requests).await?,
            _ => return Ok(json!(task)),
        }
    }
}

async fn confirm(client: &Client, id: &str, questions: &InputRequests) -> Result<(), ServiceError> {
    let yes = json!({ "action": "accept", "content": { "confirm": true } });
    let answers = questions.keys().map(|key| (key.clone(), yes.clone())).collect();
    client.update_task(UpdateTaskParams::new(id, answers)).await
}

// ---- skills ----

async fn skills(client: &Client) -> Found {
    if !modern(client) {
        return Err(NotOffered("the extension is of 2026-07-28").into());
    }
    let mut found = Map::new();
    for skill in client.list_all_skills().await? {
        skill.validate()?;
        let folder = skill.uri.trim_end_matches("/SKILL.md");
        let children =
            client.read_resource_directory(ReadResourceDirectoryRequestParams::new(folder)).await?.resources;
        found.insert(
            skill.uri.clone(),
            json!({ "files": files(client, &skill).await?, "children": children }),
        );
    }
    Ok(found.into())
}

/// Reads each file of a skill, and holds its bytes to size and digest.
async fn files(client: &Client, skill: &Skill) -> Found {
    let SkillResources::Files(files) = &skill.resources else {
        return Err(format!("{} lists no files", skill.uri).into());
    };
    let mut found = Map::new();
    for file in files {
        let read = client.read_resource(ReadResourceRequestParams::new(file.uri.clone())).await?;
        let bytes = match read.contents.first() {
            Some(ResourceContents::TextResourceContents { text, .. }) => text.clone().into_bytes(),
            Some(ResourceContents::BlobResourceContents { blob, .. }) => BASE64_STANDARD.decode(blob)?,
            _ => return Err(format!("{} is empty", file.uri).into()),
        };
        found.insert(file.uri.clone(), file.verify(&bytes).is_ok().into());
    }
    Ok(found.into())
}
