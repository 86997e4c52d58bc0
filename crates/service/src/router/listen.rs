//! `subscriptions/listen`: what the client agreed to hear of, from the log of changes onto its stream.
//!
//! Spec: 2026-07-28 basic/patterns/subscriptions. For a client of the handshake era the same runs behind its stand-alone
//! stream: without acknowledgement and subscription id, which that era does not know.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use trunkline_protocol::{Revision, member, meta, write};

use super::{Router, invalid};
use crate::caller::Caller;
use crate::failure::{Failure, FailureKind};
use crate::outlet::{Event, Outlet};
use crate::reply::Reply;
use crate::request::Request;
use crate::shared::{Change, Follow, Followed, Later};
use crate::{Outcome, catalog::Catalog};

/// The extension that lets subscriptions follow tasks.
const TASKS: &str = "io.modelcontextprotocol/tasks";
/// Most resources, and most tasks, of one subscription.
const MAX_NAMES: usize = 256;
/// The longest URI, task id and request id of a subscription, in bytes: they are kept as long as it lasts.
const MAX_NAME: usize = 2048;

/// Tells of tasks that subscriptions follow.
pub trait TaskNotices: Send + Sync + 'static {
    /// Returns a task in full as a JSON object, as `notifications/tasks` carries it, without `_meta`; `None` when the caller
    /// knows no such task.
    fn detailed<'a>(&'a self, id: &'a str, caller: &'a Caller) -> Later<'a, Option<Vec<u8>>>;
}

/// `SubscriptionFilter` with the member of the tasks extension.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Filter {
    tools_list_changed: bool,
    prompts_list_changed: bool,
    resources_list_changed: bool,
    resource_subscriptions: BTreeSet<Box<str>>,
    task_ids: BTreeSet<Box<str>>,
}

/// One subscription that goes on. It does not keep the request: thousands of these may wait.
struct Subscription<'a> {
    router: &'a Router,
    filter: Filter,
    caller: Arc<Caller>,
    outlet: Outlet,
    /// The id of the request as raw JSON; empty for a client of the handshake era.
    id: Bytes,
}

impl Router {
    pub(super) async fn listen(&self, request: Request) -> Outcome {
        // Boxed, and gone with the request once it is agreed on what to tell: thousands of these may wait.
        let (subscription, mut changes) = Box::pin(self.subscribe(request)).await?;
        if !subscription.id.is_empty() && !subscription.acknowledge().await {
            return Ok(subscription.end());
        }
        let closing = subscription.outlet.closing().clone();
        let mut tasks =
            (!subscription.filter.task_ids.is_empty()).then(|| self.options.shared.task_changes());
        loop {
            let followed = tokio::select! {
                () = closing.cancelled() => return Ok(subscription.end()),
                followed = changes.next() => followed,
                followed = next_of(&mut tasks) => followed,
            };
            let goes_on = match followed {
                Followed::Message(position, change) => match Change::from_bytes(&change) {
                    Some(change) => subscription.tell(&change, position).await,
                    None => true,
                },
                Followed::Lagged(position) => subscription.tell_all(position).await,
                Followed::Closed => false,
            };
            if !goes_on {
                return Ok(subscription.end());
            }
        }
    }

    /// Agrees with the client on what it is told.
    async fn subscribe(&self, request: Request) -> Result<(Subscription<'_>, Box<dyn Follow>), Failure> {
        let Some(outlet) = request.outlet().cloned() else {
            let text = "a subscription is a stream; let `Accept` allow text/event-stream";
            return Err(Failure::new(FailureKind::InvalidRequest, text));
        };
        let filter = read_filter(&request)?;
        // From before the acknowledgement on, so that nothing falls in between.
        let changes = self.options.shared.changes(request.after());
        let filter = self.agree(filter, request.caller()).await;
        let id = match request.revision() == Revision::LATEST {
            true => Bytes::copy_from_slice(member(request.body(), "id").raw(request.body())),
            false => Bytes::new(),
        };
        let caller = Arc::clone(request.caller());
        Ok((Subscription { router: self, filter, caller, outlet, id }, changes))
    }

    /// Keeps of a filter what can be told to that caller.
    async fn agree(&self, mut filter: Filter, caller: &Caller) -> Filter {
        let catalog: &Catalog = &self.catalog;
        filter.tools_list_changed &= self.declares("tools");
        filter.prompts_list_changed &= self.declares("prompts");
        filter.resources_list_changed &= self.declares("resources");
        filter.resource_subscriptions.retain(|uri| catalog.can_subscribe(uri, caller));
        let mut known = BTreeSet::new();
        for id in std::mem::take(&mut filter.task_ids) {
            if self.task(&id, caller).await.is_some() {
                known.insert(id);
            }
        }
        filter.task_ids = known;
        filter
    }

    async fn task(&self, id: &str, caller: &Caller) -> Option<Vec<u8>> {
        self.options.tasks.as_ref()?.detailed(id, caller).await
    }
}

/// Waits for the next message of a log; for ever where there is none.
async fn next_of(log: &mut Option<Box<dyn Follow>>) -> Followed {
    match log {
        Some(log) => log.next().await,
        None => std::future::pending().await,
    }
}

fn read_filter(request: &Request) -> Result<Filter, Failure> {
    let raw = request.param("notifications").raw(request.body());
    if raw.first() != Some(&b'{') {
        return Err(invalid("`notifications` must be an object that says what to listen for"));
    }
    let filter: Filter = serde_json::from_slice(raw).map_err(|_| {
        invalid(
            "`notifications` holds `toolsListChanged`, `promptsListChanged` and `resourcesListChanged` (true or false) and \
             `resourceSubscriptions` and `taskIds` (lists of strings)",
        )
    })?;
    if filter.resource_subscriptions.len() > MAX_NAMES || filter.task_ids.len() > MAX_NAMES {
        return Err(invalid(
            "one subscription holds at most 256 resources and 256 tasks; open another one for more",
        ));
    }
    let names = filter.resource_subscriptions.iter().chain(&filter.task_ids);
    if names
        .map(|name| name.len())
        .chain([member(request.body(), "id").raw(request.body()).len()])
        .any(|length| length > MAX_NAME)
    {
        return Err(invalid("a URI, a task id or the `id` of a subscription is longer than 2048 bytes"));
    }
    let declares_tasks = || {
        let capabilities = request.client_capabilities();
        let extensions = member(capabilities, "extensions").raw(capabilities);
        member(extensions, TASKS).is_present()
    };
    if !filter.task_ids.is_empty() && !declares_tasks() {
        return Err(Failure::missing_capability(&json!({ "extensions": { TASKS: {} } })));
    }
    Ok(filter)
}

impl Filter {
    /// The part that was agreed on, as the acknowledgement tells it.
    fn to_json(&self) -> Value {
        let mut agreed = Map::new();
        let lists = [
            ("toolsListChanged", self.tools_list_changed),
            ("promptsListChanged", self.prompts_list_changed),
            ("resourcesListChanged", self.resources_list_changed),
        ];
        for (name, _) in lists.into_iter().filter(|(_, agreed)| *agreed) {
            agreed.insert(name.into(), true.into());
        }
        for (name, names) in
            [("resourceSubscriptions", &self.resource_subscriptions), ("taskIds", &self.task_ids)]
        {
            if !names.is_empty() {
                agreed.insert(name.into(), names.iter().map(|one| Value::from(&**one)).collect());
            }
        }
        Value::Object(agreed)
    }

    /// Tells whether a resource that changed is one of those, or stands under one that ends in `/`.
    fn has_resource(&self, uri: &str) -> bool {
        self.resource_subscriptions.contains(uri)
            || self.resource_subscriptions.iter().any(|one| one.ends_with('/') && uri.starts_with(&**one))
    }
}

impl Subscription<'_> {
    async fn acknowledge(&self) -> bool {
        let agreed = format!("\"notifications\":{},", self.filter.to_json());
        self.outlet.send(Event::Message(self.message("subscriptions/acknowledged", agreed.as_bytes()))).await
    }

    /// Tells of one change if it was asked for; `false` when the client has left.
    async fn tell(&self, change: &Change, position: u64) -> bool {
        let filter = &self.filter;
        let message = match change {
            Change::Tools if filter.tools_list_changed => self.message("tools/list_changed", b""),
            Change::Prompts if filter.prompts_list_changed => self.message("prompts/list_changed", b""),
            Change::Resources if filter.resources_list_changed => self.message("resources/list_changed", b""),
            // One that stands under what was subscribed to may still be none of this caller's.
            Change::Resource(uri)
                if filter.has_resource(uri) && self.router.catalog.may_tell(uri, &self.caller) =>
            {
                self.updated(uri)
            }
            Change::Task(id) if filter.task_ids.contains(id) => {
                let Some(task) = self.router.task(id, &self.caller).await else { return true };
                let Some(members) = task.strip_prefix(b"{").and_then(|task| task.strip_suffix(b"}")) else {
                    return true;
                };
                self.message("tasks", &[members, b","].concat())
            }
            _ => return true,
        };
        self.outlet.send(Event::Positioned(message, position)).await
    }

    /// Tells of everything that was asked for: changes were lost, so that each of them may have changed.
    async fn tell_all(&self, position: u64) -> bool {
        // A client that loses its stream among these comes back before all of them, and is told again.
        let position = position.saturating_sub(1);
        let resources = self.filter.resource_subscriptions.iter().cloned().map(Change::Resource);
        let tasks = self.filter.task_ids.iter().cloned().map(Change::Task);
        for change in
            [Change::Tools, Change::Prompts, Change::Resources].into_iter().chain(resources).chain(tasks)
        {
            if !self.tell(&change, position).await {
                return false;
            }
        }
        true
    }

    fn updated(&self, uri: &str) -> Bytes {
        let mut members = Vec::with_capacity(uri.len() + 16);
        members.extend_from_slice(b"\"uri\":");
        write::string(&mut members, uri);
        members.push(b',');
        self.message("resources/updated", &members)
    }

    /// Writes a notification; `members` are those of `params` with a comma behind each.
    fn message(&self, method: &str, members: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(160 + members.len() + self.id.len());
        out.extend_from_slice(br#"{"jsonrpc":"2.0","method":"notifications/"#);
        out.extend_from_slice(method.as_bytes());
        out.push(b'"');
        if self.id.is_empty() {
            if let Some(members) = members.strip_suffix(b",") {
                out.extend_from_slice(br#","params":{"#);
                out.extend_from_slice(members);
                out.push(b'}');
            }
        } else {
            out.extend_from_slice(br#","params":{"#);
            out.extend_from_slice(members);
            out.extend_from_slice(br#""_meta":{"#);
            self.write_id(&mut out);
            out.extend_from_slice(b"}}");
        }
        out.push(b'}');
        write::without_line_breaks(&mut out);
        out.into()
    }

    fn write_id(&self, out: &mut Vec<u8>) {
        write::string(out, meta::SUBSCRIPTION_ID);
        out.push(b':');
        out.extend_from_slice(&self.id);
    }

    /// The result that ends a subscription gracefully.
    fn end(&self) -> Reply {
        let mut meta = Vec::new();
        if !self.id.is_empty() {
            self.write_id(&mut meta);
        }
        Reply::from_members(Vec::new()).with_meta(meta)
    }
}

#[cfg(test)]
mod tests;
