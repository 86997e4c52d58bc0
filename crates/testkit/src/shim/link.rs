//! The pipes of the program, shared by all requests: numbers of our own on them, and each message back to whom it belongs.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::mpsc;
use trunkline_protocol::meta;

/// Lines that wait for the program to read them; more are dropped, which a test notices by a missing answer.
const LINES: usize = 1024;
/// Messages that wait for one client; a client further behind loses its stream.
const MESSAGES: usize = 1024;

/// The way to the program and back.
#[derive(Debug)]
pub(super) struct Link {
    lines: mpsc::Sender<String>,
    routes: Mutex<Routes>,
}

#[derive(Debug, Default)]
struct Routes {
    last: u64,
    open: BTreeMap<u64, Route>,
}

/// Where the messages of one request go, and what its client called things.
#[derive(Debug)]
struct Route {
    id: Value,
    token: Option<Value>,
    wants_log: bool,
    out: mpsc::Sender<Value>,
}

impl Link {
    /// Makes a link and the end of its lines, for [`write()`].
    pub(super) fn new() -> (Arc<Self>, mpsc::Receiver<String>) {
        let (lines, end) = mpsc::channel(LINES);
        (Arc::new(Self { lines, routes: Mutex::default() }), end)
    }

    /// Sends a request under a number of our own.
    pub(super) fn call(self: &Arc<Self>, mut request: Value) -> Call {
        let (out, messages) = mpsc::channel(MESSAGES);
        let mut routes = self.routes();
        routes.last += 1;
        let number = routes.last;
        let id = std::mem::replace(&mut request["id"], number.into());
        let request_meta = request.pointer_mut("/params/_meta").and_then(Value::as_object_mut);
        let (token, wants_log) = request_meta.map_or((None, false), |members| {
            let token = members.get_mut("progressToken").map(|token| std::mem::replace(token, number.into()));
            (token, members.contains_key(meta::LOG_LEVEL))
        });
        routes.open.insert(number, Route { id, token, wants_log, out });
        drop(routes);
        self.send(&request);
        Call { link: Arc::clone(self), number, messages }
    }

    /// Sends a message as it is.
    pub(super) fn send(&self, message: &Value) {
        // Full: the program does not read. Whoever waits for an answer finds out.
        let _ = self.lines.try_send(format!("{message}\n"));
    }

    fn routes(&self) -> MutexGuard<'_, Routes> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings a message of the program to the requests it belongs to.
    fn deliver(&self, mut message: Value) {
        let mut routes = self.routes();
        let number = number_of(&message);
        if message.get("method").is_none() {
            if let Some(route) = number.and_then(|number| routes.open.remove(&number)) {
                message["id"] = route.id.clone();
                name_subscription(message.pointer_mut("/result/_meta"), &route.id);
                let _ = route.out.try_send(message);
            }
        } else if message["method"] == "notifications/message" && number.is_none() {
            // A log message names no request on a shared channel.
            routes.open.values().filter(|route| route.wants_log).for_each(|route| {
                let _ = route.out.try_send(message.clone());
            });
        } else if let Some((number, route)) =
            number.and_then(|number| routes.open.get(&number).map(|route| (number, route)))
        {
            name_subscription(message.pointer_mut("/params/_meta"), &route.id);
            if let (Some(token), Some(place)) = (&route.token, message.pointer_mut("/params/progressToken")) {
                *place = token.clone();
            }
            if route.out.try_send(message).is_err() {
                routes.open.remove(&number);
            }
        }
    }
}

/// Our number of the request a message belongs to.
fn number_of(message: &Value) -> Option<u64> {
    let subscription = |place: &str| message.pointer(place)?.get(meta::SUBSCRIPTION_ID);
    let number = match message.get("method") {
        None => message.get("id"),
        Some(_) => message.pointer("/params/progressToken").or_else(|| subscription("/params/_meta")),
    };
    number.and_then(Value::as_u64)
}

/// Gives a subscription the id that its client chose.
fn name_subscription(members: Option<&mut Value>, id: &Value) {
    let members = members.and_then(Value::as_object_mut);
    if let Some(place) = members.and_then(|members: &mut Map<_, _>| members.get_mut(meta::SUBSCRIPTION_ID)) {
        *place = id.clone();
    }
}

/// One request on its way. Dropped before its answer came, it is cancelled.
#[derive(Debug)]
pub(super) struct Call {
    link: Arc<Link>,
    number: u64,
    messages: mpsc::Receiver<Value>,
}

impl Call {
    /// Waits for the next message; `None` after the answer.
    pub(super) async fn next(&mut self) -> Option<Value> {
        self.messages.recv().await
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.link.routes().open.remove(&self.number).is_some() {
            let params = json!({ "requestId": self.number, "reason": "the client closed its stream" });
            self.link
                .send(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params }));
        }
    }
}

/// Writes lines to the program.
pub(super) async fn write(mut lines: mpsc::Receiver<String>, mut stdin: ChildStdin) -> io::Result<()> {
    while let Some(line) = lines.recv().await {
        stdin.write_all(line.as_bytes()).await?;
        stdin.flush().await?;
    }
    Ok(())
}

/// Reads lines of the program until it closes its stdout.
///
/// # Errors
/// `InvalidData` for a line that is no message: nothing else may be on stdout.
pub(super) async fn read(link: &Link, stdout: ChildStdout) -> io::Result<()> {
    let mut lines = BufReader::new(stdout).lines();
    while let Some(line) = lines.next_line().await? {
        match serde_json::from_str(&line) {
            Ok(message @ Value::Object(_)) => link.deliver(message),
            Ok(_) | Err(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("the program wrote a line that is no message: {line}"),
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(lines: &mut mpsc::Receiver<String>) -> Value {
        serde_json::from_str(&lines.try_recv().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn two_clients_with_the_same_ids_get_their_own_messages() {
        let (link, mut lines) = Link::new();
        let ask = json!({ "jsonrpc": "2.0", "id": "a", "method": "tools/call", "params": { "_meta": { "progressToken": "t" } } });
        let (mut first, mut second) = (link.call(ask.clone()), link.call(ask));
        let (one, two) = (sent(&mut lines), sent(&mut lines));
        assert_ne!(one["id"], two["id"]);
        let progress = |of: &Value, done: u64| json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": { "progressToken": of.pointer("/params/_meta/progressToken"), "progress": done } });
        link.deliver(progress(&two, 2));
        link.deliver(progress(&one, 1));
        link.deliver(json!({ "jsonrpc": "2.0", "id": two["id"], "result": { "of": 2 } }));
        let told = first.next().await.unwrap();
        assert_eq!((&told["params"]["progressToken"], &told["params"]["progress"]), (&json!("t"), &json!(1)));
        assert_eq!(second.next().await.unwrap()["params"]["progress"], 2);
        assert_eq!(
            second.next().await.unwrap(),
            json!({ "jsonrpc": "2.0", "id": "a", "result": { "of": 2 } })
        );
        assert_eq!(second.next().await, None);
    }

    #[tokio::test]
    async fn a_request_that_is_dropped_is_cancelled_unless_it_was_answered() {
        let (link, mut lines) = Link::new();
        let call = link.call(
            json!({ "jsonrpc": "2.0", "id": 7, "method": "subscriptions/listen", "params": { "_meta": {} } }),
        );
        let number = sent(&mut lines)["id"].clone();
        drop(call);
        let cancelled = sent(&mut lines);
        assert_eq!(
            (&cancelled["method"], &cancelled["params"]["requestId"]),
            (&json!("notifications/cancelled"), &number)
        );
        let mut answered =
            link.call(json!({ "jsonrpc": "2.0", "id": 8, "method": "tools/list", "params": {} }));
        let number = sent(&mut lines)["id"].clone();
        link.deliver(json!({ "jsonrpc": "2.0", "id": number, "result": {} }));
        assert_eq!(answered.next().await.unwrap()["id"], 8);
        drop(answered);
        assert!(lines.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_subscription_is_called_what_its_client_called_it() {
        let (link, mut lines) = Link::new();
        let mut call = link.call(json!({ "jsonrpc": "2.0", "id": "s", "method": "subscriptions/listen", "params": { "_meta": {} } }));
        let number = sent(&mut lines)["id"].clone();
        link.deliver(json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed", "params": { "_meta": { (meta::SUBSCRIPTION_ID): number } } }));
        assert_eq!(call.next().await.unwrap()["params"]["_meta"][meta::SUBSCRIPTION_ID], "s");
    }
}
