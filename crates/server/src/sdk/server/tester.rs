//! A client of one server in the same process, for tests of the tools of a server.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use trunkline_protocol::{Method, Revision, meta, scan};
use trunkline_service::request::Input;
use trunkline_service::{Caller, Failure, FailureKind, Reply, ReplyKind, Request, Service};

use super::{BuildError, Server};

/// Rounds of questions that one call may take.
const MAX_ROUNDS: usize = 32;

impl Server {
    /// Builds the server for a test, which calls it without any edge.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn tester(self) -> Result<Tester, BuildError> {
        let service = self.into_service()?;
        Ok(Tester { service, caller: Caller::local(), answer: Arc::new(|_, _| None) })
    }
}

/// Calls a server as a client of 2026-07-28 does, and answers what it asks.
///
/// ```
/// use serde_json::json;
/// use trunkline_server::sdk::{Context, DynTool, Server};
///
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hello = DynTool::new("hello").handler(|_: Context| async { "hello" });
/// let server = Server::new("greeter", "1.0.0").tool(hello).tester()?;
/// let called = server.call("hello", json!({})).await?;
/// assert_eq!((called.text().as_ref(), called.is_error()), ("hello", false));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Tester {
    service: Arc<dyn Service>,
    caller: Arc<Caller>,
    answer: Answers,
}

type Answers = Arc<dyn Fn(&str, &Value) -> Option<Value> + Send + Sync>;

impl fmt::Debug for Tester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tester").field("caller", &self.caller).finish_non_exhaustive()
    }
}

/// What a call came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Called(Value);

impl Called {
    /// Returns the texts of the result, one a line.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        let content = self.0.get("content").and_then(Value::as_array);
        let mut texts =
            content.into_iter().flatten().filter_map(|block| block.get("text").and_then(Value::as_str));
        let first = texts.next().unwrap_or_default();
        texts.fold(Cow::Borrowed(first), |all, text| Cow::Owned(format!("{all}\n{text}")))
    }

    /// Returns `structuredContent`.
    #[must_use]
    pub fn structured(&self) -> Option<&Value> {
        self.0.get("structuredContent")
    }

    /// Tells whether the tool could not do what was asked.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.0.get("isError") == Some(&Value::Bool(true))
    }

    /// Returns the whole result.
    #[must_use]
    pub fn json(&self) -> &Value {
        &self.0
    }
}

impl Tester {
    /// Calls as somebody else than the local user.
    #[must_use]
    pub fn as_caller(mut self, caller: Caller) -> Self {
        self.caller = Arc::new(caller);
        self
    }

    /// Answers what the server asks: `answer` gets the method (`elicitation/create`, `sampling/createMessage`, `roots/list`) and
    /// the parameters, and returns the result, or `None` to cancel what was asked. Without, everything is cancelled.
    #[must_use]
    pub fn answering(
        mut self,
        answer: impl Fn(&str, &Value) -> Option<Value> + Send + Sync + 'static,
    ) -> Self {
        self.answer = Arc::new(answer);
        self
    }

    /// Calls a tool.
    ///
    /// # Errors
    /// What the request failed with; a tool that reports an error is a [`Called`] with [`is_error`](Called::is_error).
    ///
    /// # Cancel safety
    /// Dropping the future cancels the request.
    pub async fn call(&self, tool: &str, arguments: Value) -> Result<Called, Failure> {
        self.request("tools/call", json!({ "name": tool, "arguments": arguments })).await.map(Called)
    }

    /// Gets a prompt.
    ///
    /// # Errors
    /// What the request failed with.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the request.
    pub async fn prompt(&self, name: &str, arguments: Value) -> Result<Value, Failure> {
        self.request("prompts/get", json!({ "name": name, "arguments": arguments })).await
    }

    /// Reads a resource.
    ///
    /// # Errors
    /// What the request failed with.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the request.
    pub async fn read(&self, uri: &str) -> Result<Value, Failure> {
        self.request("resources/read", json!({ "uri": uri })).await
    }

    /// Sends a request of any method and answers what the server asks meanwhile.
    ///
    /// # Errors
    /// What the request failed with; `InvalidParams` for parameters that are no object.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the request.
    pub async fn request(&self, method: &str, params: Value) -> Result<Value, Failure> {
        let mut input = None;
        for _ in 0..MAX_ROUNDS {
            let request = self.prepare(method, params.clone())?.with_input(input);
            let reply = self.service.call(request).await?;
            let result = result_of(&reply)?;
            if reply.kind() != ReplyKind::InputRequired {
                return Ok(result);
            }
            input = Some(Box::new(self.answers(&result)));
        }
        Err(Failure::new(FailureKind::Internal, "the server asks without end"))
    }

    fn answers(&self, asked: &Value) -> Input {
        let mut answers = Map::new();
        let requests = asked.get("inputRequests").and_then(Value::as_object);
        for (key, request) in requests.into_iter().flatten() {
            let method = request.get("method").and_then(Value::as_str).unwrap_or_default();
            let params = request.get("params").unwrap_or(&Value::Null);
            let answer = (self.answer)(method, params);
            answers.insert(key.clone(), answer.unwrap_or_else(|| json!({ "action": "cancel" })));
        }
        let state = asked.get("requestState").and_then(Value::as_str).map(Into::into);
        Input { responses: Value::Object(answers).to_string().into(), state }
    }

    fn prepare(&self, method: &str, mut params: Value) -> Result<Request, Failure> {
        let malformed = || Failure::new(FailureKind::InvalidParams, "the parameters must be an object");
        let members = params.as_object_mut().ok_or_else(malformed)?;
        members.insert(
            "_meta".into(),
            json!({
                meta::PROTOCOL_VERSION: Revision::LATEST.as_str(),
                meta::CLIENT_CAPABILITIES: { "elicitation": { "form": {}, "url": {} }, "sampling": { "tools": {} }, "roots": {} },
            }),
        );
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let body = Bytes::from(body.to_string());
        let (_, envelope) = scan(&body).map_err(|_| malformed())?;
        let method = Method::parse(method.as_bytes());
        let caller = Arc::clone(&self.caller);
        Ok(Request::new(body, &envelope, method, Revision::LATEST, caller, crate::next_log_id()))
    }
}

fn result_of(reply: &Reply) -> Result<Value, Failure> {
    let mut message = Vec::new();
    reply.write(&mut message, b"1", Revision::LATEST, b"");
    let unreadable = |error| Failure::new(FailureKind::Internal, "the result is no JSON").with_source(error);
    let mut message: Value = serde_json::from_slice(&message).map_err(unreadable)?;
    Ok(message.get_mut("result").map(Value::take).unwrap_or_default())
}
