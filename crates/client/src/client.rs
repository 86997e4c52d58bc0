//! The client: one server, whichever way it is reached and whichever era it speaks.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use trunkline_protocol::param_header::{self, ParamHeader};
use trunkline_protocol::{Code, Revision};

use crate::child::Child;
use crate::era::{self, Era, Verdict};
use crate::error::ClientError;
use crate::http::{Exchanged, Http, Session};
use crate::message::Answer;
use crate::options::{ConnectOptions, Target};
use crate::request::{self, Prepared, Request, quoted};
use crate::tool::{CallOutcome, Tool, ToolList};

/// Pages of one list; a server that has more repeats itself or never ends.
const MAX_PAGES: usize = 1000;
/// How often a call is sent again because the server asks for nothing but another try.
const MAX_ROUNDS: u32 = 5;
/// How long telling a server that something ended may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// One server in use.
///
/// Calls may run beside each other. [`Client::close`] ends the child process or the session in an orderly way; dropping
/// the client stops a child by force.
#[derive(Debug)]
pub struct Client {
    transport: Transport,
    era: Era,
    version: String,
    options: ConnectOptions,
    next_id: AtomicU64,
    /// The arguments to mirror, by tool, as far as definitions were seen.
    param_headers: Mutex<HashMap<String, Vec<ParamHeader>>>,
    /// Held while a lost session is replaced, so that calls that lost the same one replace it once.
    renewal: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
enum Transport {
    Http(Http),
    Child(Child),
}

// ---------------------------------------------------------------- connecting

impl Client {
    /// Reaches a server and finds out which era it speaks: `server/discover` first, the handshake if that is not known.
    ///
    /// # Errors
    /// Every [`ClientError`] except those about single tools.
    ///
    /// # Cancel safety
    /// A dropped attempt stops the child it started.
    pub async fn connect(target: Target, options: ConnectOptions) -> Result<Self, ClientError> {
        let transport = match target {
            Target::Http { url } => Transport::Http(Http::new(&url, &options)?),
            Target::Command { argv, stderr } => Transport::Child(Child::start(&argv, stderr, &options)?),
        };
        let mut client = Self {
            transport,
            era: Era::Modern,
            version: Revision::LATEST.as_str().to_owned(),
            options,
            next_id: AtomicU64::new(1),
            param_headers: Mutex::default(),
            renewal: tokio::sync::Mutex::default(),
        };
        let limit = client.options.opening;
        let opened = tokio::time::timeout(limit, client.probe()).await.unwrap_or_else(|_| {
            let target = client.shown().to_owned();
            Err(ClientError::TimedOut { target, method: "initialize", limit })
        });
        match opened {
            Ok(None) => {}
            Ok(Some(version)) => (client.era, client.version) = (Era::Legacy, version),
            Err(error) => {
                // Dropping it would leave the child to a task that may never run again.
                client.close().await;
                return Err(error);
            }
        }
        tracing::debug!(era = %client.era, version = client.version, "connected");
        Ok(client)
    }

    /// Returns the era that was found.
    #[must_use]
    pub fn era(&self) -> Era {
        self.era
    }

    /// Returns the revision in use, a date.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Returns the last lines on a child's standard output that were no messages, shortened; none over HTTP.
    #[must_use]
    pub fn noise(&self) -> Vec<String> {
        match &self.transport {
            Transport::Http(_) => Vec::new(),
            Transport::Child(child) => child.noise(),
        }
    }

    /// Finds the era; returns the version of the handshake, `None` when there is none to shake.
    async fn probe(&self) -> Result<Option<String>, ClientError> {
        let discover = Request { method: "server/discover", quiet: true, ..Request::default() };
        let discover = discover.prepare(self.id(), Era::Modern, &self.options.client_name, None);
        match &self.transport {
            Transport::Http(http) => {
                let verdict = match self.bounded(discover.method, http.exchange(&discover)).await {
                    Ok(Exchanged::Answer { answer, .. }) => era::judge(&answer),
                    // What is no JSON-RPC at all comes from a server that does not know the method.
                    Ok(Exchanged::SessionGone(_)) | Err(ClientError::Malformed { .. }) => Verdict::Legacy,
                    Err(ClientError::Refused { status: 400..=499, .. }) => Verdict::Legacy,
                    Err(error) => return Err(error),
                };
                self.follow(verdict).await
            }
            Transport::Child(child) => {
                let mut discovery = std::pin::pin!(child.exchange(&discover));
                match tokio::time::timeout(self.options.probe_wait, &mut discovery).await {
                    Ok(answer) => self.follow(era::judge(&answer?)).await,
                    Err(_) => self.hedge(discovery).await,
                }
            }
        }
    }

    async fn follow(&self, verdict: Verdict) -> Result<Option<String>, ClientError> {
        match verdict {
            Verdict::Modern => Ok(None),
            Verdict::Legacy => self.handshake().await.map(Some),
            Verdict::NothingInCommon(offered) => {
                Err(ClientError::NoCommonVersion { target: self.shown().to_owned(), offered })
            }
        }
    }

    /// Tries the handshake with a silent child, which may also be a modern one that is slow to start.
    async fn hedge(
        &self,
        mut discovery: impl Future<Output = Result<Answer, ClientError>> + Unpin,
    ) -> Result<Option<String>, ClientError> {
        let mut handshake = Box::pin(self.handshake());
        let verdict = tokio::select! {
            version = &mut handshake => match version {
                Err(ClientError::Rpc { .. } | ClientError::NoCommonVersion { .. }) => {
                    era::judge(&self.bounded("server/discover", discovery).await?)
                }
                version => return version.map(Some),
            },
            answer = &mut discovery => match era::judge(&answer?) {
                Verdict::Legacy => return handshake.await.map(Some),
                verdict => verdict,
            },
        };
        match verdict {
            Verdict::Legacy => self.handshake().await.map(Some),
            verdict => self.follow(verdict).await,
        }
    }

    /// Spec: 2025-11-25 basic/lifecycle#initialization.
    async fn handshake(&self) -> Result<String, ClientError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Initialized {
            protocol_version: String,
        }
        let params = vec![
            ("protocolVersion", quoted(Revision::LATEST_LEGACY.as_str())),
            ("capabilities", "{}".to_owned()),
            ("clientInfo", request::client_info(&self.options.client_name)),
        ];
        let initialize = Request { method: "initialize", params, quiet: true, ..Request::default() };
        let initialize = initialize.prepare(self.id(), Era::Legacy, &self.options.client_name, None);
        let method = initialize.method;
        let (answer, session) = match &self.transport {
            Transport::Http(http) => {
                http.set_session(None);
                match self.bounded(method, http.exchange(&initialize)).await? {
                    Exchanged::Answer { answer, session } => (answer, session),
                    Exchanged::SessionGone(_) => {
                        return Err(self.malformed(method, "a lost session".to_owned()));
                    }
                }
            }
            Transport::Child(child) => {
                child.expect_legacy();
                (self.bounded(method, child.exchange(&initialize)).await?, None)
            }
        };
        let result = Prepared::result(method, answer)?;
        let Initialized { protocol_version: version } = serde_json::from_str(result.get())
            .map_err(|_| self.malformed(method, "a result without `protocolVersion`".to_owned()))?;
        if !era::speaks_legacy(&version) {
            return Err(ClientError::NoCommonVersion {
                target: self.shown().to_owned(),
                offered: vec![version],
            });
        }
        if let Transport::Http(http) = &self.transport {
            // The header came with 2025-06-18; the dates compare as text.
            let header = Some(&version).filter(|version| version.as_str() >= Revision::V2025_06_18.as_str());
            let header = header.and_then(|version| HeaderValue::from_str(version).ok());
            http.set_session(Some(Session { id: session, version: header }));
        }
        self.notify("notifications/initialized", request::notification("notifications/initialized", None))
            .await?;
        Ok(version)
    }

    /// Replaces the session `lost`, unless another call already did.
    async fn renew(&self, http: &Http, lost: &HeaderValue) -> Result<(), ClientError> {
        let _one_at_a_time = self.renewal.lock().await;
        if http.session().and_then(|session| session.id).as_ref() != Some(lost) {
            return Ok(());
        }
        tracing::debug!("the server forgot the session, making another");
        self.handshake().await.map(drop)
    }

    /// Ends the session, or closes the child's input and waits until it has ended: at most a few seconds.
    pub async fn close(self) {
        match self.transport {
            Transport::Http(http) => {
                if tokio::time::timeout(FAREWELL, http.end_session()).await.is_err() {
                    tracing::debug!("the end of the session could not be told in time");
                }
            }
            Transport::Child(child) => child.close().await,
        }
    }
}

// ---------------------------------------------------------------- using

impl Client {
    /// Returns all tools, page by page.
    ///
    /// Over modern HTTP, tools with invalid `x-mcp-header` annotations are left out with a warning, as the specification
    /// demands. A server that repeats a cursor, or a tool, is cut short with a warning.
    ///
    /// # Errors
    /// Every [`ClientError`] of a request.
    pub async fn tools(&self) -> Result<ToolList, ClientError> {
        let mut list = ToolList::default();
        let mut names = HashSet::new();
        let mut cursors = HashSet::new();
        let mut cursor = None;
        for _ in 0..MAX_PAGES {
            let page = self.tools_page(cursor.as_deref()).await?;
            for raw in page.tools {
                self.add_tool(&mut list, &mut names, &raw);
            }
            match page.next_cursor {
                None => return Ok(list),
                // Only an absent cursor ends the list; an empty one is as good as any other.
                Some(next) if !cursors.insert(next.clone()) => {
                    let warning = "the server repeats a cursor of its tool list; the list may be incomplete";
                    list.warnings.push(warning.to_owned());
                    return Ok(list);
                }
                next => cursor = next,
            }
        }
        list.warnings.push(format!("the tool list was cut after {MAX_PAGES} pages"));
        Ok(list)
    }

    /// Calls a tool with `arguments`, the text of one JSON object.
    ///
    /// A modern HTTP server that misses mirrored headers, because the tool's definition was not seen or has changed, is
    /// asked for its tools and called once more.
    ///
    /// # Errors
    /// [`ClientError::ArgumentsNotObject`] before anything is sent, [`ClientError::InputRequired`], and every other of a
    /// request. That the tool itself failed is no error: see [`CallOutcome::is_error`].
    ///
    /// # Cancel safety
    /// A dropped call is cancelled at the server, except over HTTP of the handshake era, where it just goes on.
    pub async fn call(&self, name: &str, arguments: &RawValue) -> Result<CallOutcome, ClientError> {
        let values: Value = serde_json::from_str(arguments.get())
            .ok()
            .filter(Value::is_object)
            .ok_or_else(|| ClientError::ArgumentsNotObject { tool: name.to_owned() })?;
        let mut call = Request {
            method: "tools/call",
            name: Some(name.to_owned()),
            params: vec![("name", quoted(name)), ("arguments", arguments.get().to_owned())],
            param_headers: self.param_headers(name, &values),
            progress: true,
            quiet: false,
        };
        let mut state = None;
        for round in 0..MAX_ROUNDS {
            if let Some(state) = state.take() {
                call.params.truncate(2);
                call.params.push(("requestState", state));
            }
            let result = match self.request(&call).await {
                Err(ClientError::Rpc { code, .. }) if round == 0 && self.mirrors(code) => {
                    self.tools().await?;
                    call.param_headers = self.param_headers(name, &values);
                    self.request(&call).await?
                }
                result => result?,
            };
            match self.read_call(name, &result)? {
                Round::Done { is_error } => return Ok(CallOutcome { result, is_error }),
                Round::Again(next) => state = next,
            }
            tokio::time::sleep(Duration::from_millis(200) * 2_u32.pow(round)).await;
        }
        Err(ClientError::InputRequired {
            tool: name.to_owned(),
            wanted: format!("nothing but another try, {MAX_ROUNDS} times"),
        })
    }

    fn read_call(&self, name: &str, result: &RawValue) -> Result<Round, ClientError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Head<'a> {
            #[serde(default)]
            result_type: Option<String>,
            #[serde(default)]
            is_error: bool,
            #[serde(default)]
            input_requests: HashMap<String, Value>,
            #[serde(borrow, default)]
            request_state: Option<&'a RawValue>,
        }
        let malformed = |what: &str| self.malformed("tools/call", what.to_owned());
        let head: Head<'_> =
            serde_json::from_str(result.get()).map_err(|_| malformed("a result that is no tool result"))?;
        match head.result_type.as_deref() {
            None | Some("complete") => Ok(Round::Done { is_error: head.is_error }),
            Some("input_required") if head.input_requests.is_empty() => {
                Ok(Round::Again(head.request_state.map(|state| state.get().to_owned())))
            }
            Some("input_required") => {
                let mut wanted: Vec<String> = head
                    .input_requests
                    .values()
                    .filter_map(|asked| Some(format!("`{}`", asked.get("method")?.as_str()?)))
                    .collect();
                wanted.sort();
                wanted.dedup();
                Err(ClientError::InputRequired { tool: name.to_owned(), wanted: wanted.join(", ") })
            }
            Some(_) => Err(malformed("a result of a type that was not asked for")),
        }
    }

    async fn tools_page(&self, cursor: Option<&str>) -> Result<Page, ClientError> {
        let params = cursor.map(|cursor| ("cursor", quoted(cursor))).into_iter().collect();
        let result = self.request(&Request { method: "tools/list", params, ..Request::default() }).await?;
        serde_json::from_str(result.get())
            .map_err(|_| self.malformed("tools/list", "a result without `tools`".to_owned()))
    }

    fn add_tool(&self, list: &mut ToolList, names: &mut HashSet<String>, raw: &RawValue) {
        let tool = match Tool::read(raw) {
            Ok(tool) => tool,
            Err(reason) => {
                return list
                    .warnings
                    .push(format!("a tool was left out because its definition is not valid: {reason}"));
            }
        };
        if names.contains(&tool.name) {
            return list
                .warnings
                .push(format!("tool `{}` is listed more than once; the first counts", tool.name));
        }
        if self.is_modern_http() {
            match param_header::find(&tool.input_schema) {
                Ok(headers) => drop(self.known_headers().insert(tool.name.clone(), headers)),
                Err(reason) => {
                    return list.warnings.push(format!("tool `{}` was left out because {reason}", tool.name));
                }
            }
        }
        names.insert(tool.name.clone());
        list.tools.push(tool);
    }

    fn param_headers(&self, name: &str, arguments: &Value) -> Vec<(HeaderName, HeaderValue)> {
        self.known_headers()
            .get(name)
            .map(|wanted| wanted.iter().filter_map(|one| header(one, arguments)).collect())
            .unwrap_or_default()
    }

    fn known_headers(&self) -> MutexGuard<'_, HashMap<String, Vec<ParamHeader>>> {
        self.param_headers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whether `code` may come from mirrored headers that are missing or differ.
    fn mirrors(&self, code: i64) -> bool {
        self.is_modern_http() && code == i64::from(Code::HEADER_MISMATCH.0)
    }

    fn is_modern_http(&self) -> bool {
        self.era == Era::Modern && matches!(self.transport, Transport::Http(_))
    }

    async fn request(&self, request: &Request) -> Result<Box<RawValue>, ClientError> {
        let prepare = || {
            request.prepare(self.id(), self.era, &self.options.client_name, self.options.on_progress.as_ref())
        };
        let answer = match &self.transport {
            Transport::Child(child) => self.bounded(request.method, child.exchange(&prepare())).await?,
            Transport::Http(http) => match self.exchange(http, &prepare()).await? {
                Exchanged::Answer { answer, .. } => answer,
                Exchanged::SessionGone(lost) => {
                    self.renew(http, &lost).await?;
                    match self.exchange(http, &prepare()).await? {
                        Exchanged::Answer { answer, .. } => answer,
                        Exchanged::SessionGone(_) => {
                            return Err(
                                self.malformed(request.method, "404 for a session it just made".to_owned())
                            );
                        }
                    }
                }
            },
        };
        Prepared::result(request.method, answer)
    }

    /// One HTTP exchange. In the handshake era a connection that closes cancels nothing, so a late call is cancelled by name.
    async fn exchange(&self, http: &Http, request: &Prepared) -> Result<Exchanged, ClientError> {
        let exchanged = self.bounded(request.method, http.exchange(request)).await;
        if matches!(exchanged, Err(ClientError::TimedOut { .. }))
            && self.era == Era::Legacy
            && request.cancels
        {
            let told = http.notify("notifications/cancelled", request::cancelled(request.id));
            if !matches!(tokio::time::timeout(FAREWELL, told).await, Ok(Ok(()))) {
                tracing::debug!("a cancellation could not be sent");
            }
        }
        exchanged
    }

    async fn notify(&self, method: &'static str, body: Vec<u8>) -> Result<(), ClientError> {
        match &self.transport {
            Transport::Http(http) => self.bounded(method, http.notify(method, body)).await,
            Transport::Child(child) => self.bounded(method, child.notify(method, body)).await,
        }
    }

    async fn bounded<T>(
        &self,
        method: &'static str,
        work: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        let limit = self.options.timeout;
        match tokio::time::timeout(limit, work).await {
            Ok(done) => done,
            Err(_) => Err(ClientError::TimedOut { target: self.shown().to_owned(), method, limit }),
        }
    }

    fn id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    fn shown(&self) -> &str {
        match &self.transport {
            Transport::Http(http) => http.shown(),
            Transport::Child(child) => child.shown(),
        }
    }

    fn malformed(&self, method: &'static str, what: String) -> ClientError {
        ClientError::Malformed { target: self.shown().to_owned(), method, what }
    }
}

/// What an answer to a call means.
enum Round {
    Done {
        is_error: bool,
    },
    /// Ask again, with the state the server gave.
    Again(Option<String>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    tools: Vec<Box<RawValue>>,
    #[serde(default)]
    next_cursor: Option<String>,
}

/// Returns the header of one mirrored argument; `None` when there is nothing to mirror.
fn header(wanted: &ParamHeader, arguments: &Value) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::from_bytes(wanted.header.as_bytes()).ok()?;
    Some((name, HeaderValue::from_str(&wanted.value(arguments)?).ok()?))
}
