//! A client of one server in this process: sends requests as an edge would and reads the answers.

use std::sync::Arc;
use std::sync::LazyLock;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use trunkline_protocol::{Method, Revision, scan};
use trunkline_server::sdk::Server;
use trunkline_service::request::{Input, LegacyClient};
use trunkline_service::{Attached, Caller, Event, Failure, Outlet, Reply, ReplyKind, Request, Service};

/// Everything a client can be asked for.
pub(crate) static ALL: LazyLock<Value> =
    LazyLock::new(|| json!({ "elicitation": { "form": {}, "url": {} }, "sampling": {}, "roots": {} }));

/// A client that may follow tasks too.
pub(crate) static TASKS: LazyLock<Value> = LazyLock::new(
    || json!({ "elicitation": {}, "sampling": {}, "extensions": { "io.modelcontextprotocol/tasks": {} } }),
);

/// A client.
#[derive(Clone)]
pub(crate) struct Peer {
    service: Arc<dyn Service>,
    caller: Arc<Caller>,
    capabilities: Value,
    revision: Revision,
}

/// The questions and the state of a round.
pub(crate) type Round = (Value, String);

impl Peer {
    pub(crate) fn new(server: Server) -> Self {
        let service: Arc<dyn Service> = Arc::new(server.into_service().unwrap());
        let (caller, capabilities) = (Caller::local(), ALL.clone());
        Self { service, caller, capabilities, revision: Revision::LATEST }
    }

    /// The same server for another caller.
    pub(crate) fn as_caller(&self, subject: &str) -> Self {
        let caller = Arc::new(Caller { subject: subject.into(), ..Caller::default() });
        Self { caller, ..self.clone() }
    }

    /// The same server for a client that declares something else.
    pub(crate) fn declaring(&self, capabilities: Value) -> Self {
        Self { capabilities, ..self.clone() }
    }

    /// The same server for a client of another revision.
    pub(crate) fn speaking(&self, revision: Revision, capabilities: Value) -> Self {
        Self { revision, capabilities, ..self.clone() }
    }

    fn prepared(&self, method: &str, mut params: Value) -> Request {
        if self.revision.is_modern() {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": self.revision.as_str(),
                "io.modelcontextprotocol/clientCapabilities": self.capabilities,
            });
        }
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let body = Bytes::from(body.to_string());
        let (_, envelope) = scan(&body).unwrap();
        let method = Method::parse(method.as_bytes());
        let request = Request::new(body, &envelope, method, self.revision, Arc::clone(&self.caller), 1);
        if self.revision.is_modern() {
            let input = input_of(&request);
            return request.with_input(input);
        }
        let capabilities = self.capabilities.to_string().into();
        request.with_legacy_client(Arc::new(LegacyClient { capabilities, name: "test".into() }))
    }

    /// Sends a request and returns its result, or its error.
    pub(crate) async fn request(&self, method: &str, params: Value) -> Result<Value, Value> {
        match self.service.call(self.prepared(method, params)).await {
            Ok(reply) => Ok(result(&reply)),
            Err(failure) => Err(error(&failure)),
        }
    }

    /// Starts a request without waiting for it.
    pub(crate) fn start(&self, method: &str, params: Value) -> trunkline_service::Answer<'_> {
        self.service.call(self.prepared(method, params))
    }

    /// Listens: the answer, which runs as it is polled, and what comes before it.
    pub(crate) fn listen(
        &self,
        filter: Value,
    ) -> (trunkline_service::Answer<'_>, mpsc::Receiver<Event>, CancellationToken) {
        let (sender, events) = mpsc::channel(16);
        let closing = CancellationToken::new();
        let attached = Attached::new(Outlet::new(sender, closing.clone()));
        let request = self.prepared("subscriptions/listen", json!({ "notifications": filter }));
        (self.service.call(request.with_attached(Some(Box::new(attached)))), events, closing)
    }

    /// Calls a tool, with what an earlier round came to.
    pub(crate) async fn send(
        &self,
        tool: &str,
        arguments: Value,
        responses: Option<Value>,
        state: Option<String>,
    ) -> Result<Value, Value> {
        let mut params = json!({ "name": tool, "arguments": arguments });
        if let Some(responses) = responses {
            params["inputResponses"] = responses;
        }
        if let Some(state) = state {
            params["requestState"] = state.into();
        }
        self.request("tools/call", params).await
    }

    /// Calls a tool for the first time.
    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Value {
        self.send(tool, arguments, None, None).await.unwrap()
    }

    /// Calls a tool again with the answers to what it `asked`.
    pub(crate) async fn answer(&self, tool: &str, arguments: Value, asked: &Value, answers: Value) -> Value {
        let state = asked["requestState"].as_str().map(str::to_owned);
        self.send(tool, arguments, Some(answers), state).await.unwrap()
    }

    /// Calls a tool as the adapter of the handshake era does, which keeps the state to itself.
    pub(crate) async fn round(
        &self,
        tool: &str,
        arguments: Value,
        answers: Option<Round>,
    ) -> Result<Value, Round> {
        let request = self.prepared("tools/call", json!({ "name": tool, "arguments": arguments }));
        let input = answers.map(|(answers, state)| {
            Box::new(Input { responses: answers.to_string().into(), state: Some(state.into()) })
        });
        let reply = self.service.call(request.with_input(input)).await.unwrap();
        if reply.kind() == ReplyKind::Complete {
            return Ok(result(&reply));
        }
        let members = result(&reply);
        Err((members["inputRequests"].clone(), members["requestState"].as_str().unwrap().to_owned()))
    }
}

/// What the edge makes of the members of a request that is sent again.
fn input_of(request: &Request) -> Option<Box<Input>> {
    let (responses, state) = (request.param("inputResponses"), request.param("requestState"));
    if !responses.is_present() && !state.is_present() {
        return None;
    }
    let body = request.body();
    Some(Box::new(Input {
        responses: Bytes::copy_from_slice(responses.raw(body)),
        state: state.text(body).map(|state| state.into()),
    }))
}

fn result(reply: &Reply) -> Value {
    let mut message = Vec::new();
    reply.write(&mut message, b"1", Revision::LATEST, b"");
    let mut message: Map<String, Value> = serde_json::from_slice(&message).unwrap();
    message.remove("result").unwrap()
}

fn error(failure: &Failure) -> Value {
    let data = failure.data().map(|data| serde_json::from_slice::<Value>(data).unwrap());
    json!({ "code": failure.kind().row().code.0, "message": failure.public(), "data": data })
}

/// An accepted form.
pub(crate) fn accept(content: Value) -> Value {
    json!({ "action": "accept", "content": content })
}

/// The text of a tool result.
#[track_caller]
pub(crate) fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {result}"))
}
