//! One request in the terms of 2026-07-28, its payload raw.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use trunkline_protocol::{Envelope, Kind, Method, Revision, Span, Token, member_at, meta, write};

use crate::caller::Caller;
use crate::notes::Notes;
use crate::outlet::{Attached, Log, Outlet, Progress, Veil};
use crate::trace::{Mark, TraceContext, TraceParent, TraceState};

/// A request on its way to the tool that answers it. It owns the body once; parts of it are spans.
///
/// One pointer: a request passes through every layer by value. What may be sent a second time is shared until one of the two is changed.
#[derive(Debug)]
pub struct Request(Arc<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    body: Bytes,
    parts: Parts,
    method: Method,
    revision: Revision,
    caller: Arc<Caller>,
    client: Option<Arc<LegacyClient>>,
    time: TimeAllowed,
    attached: Option<Box<Attached>>,
    input: Option<Box<Input>>,
    headers: ParamHeaders,
    notes: Option<Arc<Notes>>,
    trace: Option<Box<SentTrace>>,
    target: u32,
    tool: Option<Found>,
    log_id: u64,
    arrived: Instant,
}

/// The number of the tool that a request names, in one catalog and all restrictions of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) catalog: u64,
    pub(crate) number: u32,
}

/// The spans that are still of use once the envelope is classified.
#[derive(Debug, Clone, Copy, Default)]
struct Parts {
    params: Token,
    name: Token,
    uri: Token,
    arguments: Token,
    cursor: Token,
    meta: Token,
    capabilities: Token,
    traceparent: Token,
}

/// What the client adds to a request that it sends again after `input_required`.
///
/// Spec: 2026-07-28 basic/patterns/mrtr.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Input {
    /// `inputResponses` as raw JSON of whatever kind it is; empty when there are none.
    pub responses: Bytes,
    /// `requestState` as it came back; attacker-controlled until it is opened.
    pub state: Option<Box<str>>,
}

/// The `Mcp-Param-*` headers of a request. Spec: 2026-07-28 basic/transports/streamable-http#custom-headers.
#[derive(Debug, Clone, Default)]
pub enum ParamHeaders {
    /// It did not come over HTTP, or in a revision without them: nothing is mirrored.
    #[default]
    NotUsed,
    /// It came over HTTP with none.
    None,
    /// Each with its name after `Mcp-Param-` in lower case and its value as it stood; a repeated one occurs twice.
    Some(Box<[(Box<str>, Bytes)]>),
}

/// What the transport of a request says of its trace: the headers `traceparent` and `tracestate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentTrace {
    /// Where the request stands.
    pub parent: TraceParent,
    /// What vendors added.
    pub state: Option<TraceState>,
}

/// How long an answer is of use. A span is counted from the arrival of its request: [`Request::ends`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeAllowed {
    /// For ever.
    #[default]
    Unlimited,
    /// For so long from when the request arrived.
    Within(Duration),
    /// Until then.
    Until(Instant),
}

/// What a legacy session says of its client, in place of the members of `_meta`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LegacyClient {
    /// The capabilities of `initialize`, as raw JSON.
    pub capabilities: Bytes,
    /// The client's name, at most 64 bytes.
    pub name: Box<str>,
}

impl Request {
    /// Makes a request from a scanned body. `log_id` is shown to the caller and written to the log.
    #[must_use]
    pub fn new(
        body: Bytes,
        envelope: &Envelope,
        method: Method,
        revision: Revision,
        caller: Arc<Caller>,
        log_id: u64,
    ) -> Self {
        let parts = Parts {
            params: envelope.params,
            name: envelope.name,
            uri: envelope.uri,
            arguments: envelope.arguments,
            cursor: envelope.cursor,
            meta: envelope.meta,
            capabilities: envelope.capabilities,
            traceparent: envelope.traceparent,
        };
        Self(Arc::new(Inner {
            body,
            parts,
            method,
            revision,
            caller,
            client: None,
            time: TimeAllowed::Unlimited,
            attached: None,
            input: None,
            headers: ParamHeaders::NotUsed,
            notes: None,
            trace: None,
            target: 0,
            tool: None,
            log_id,
            arrived: Instant::now(),
        }))
    }

    /// Nobody shares a request while it is made and judged, so that nothing is copied.
    fn inner_mut(&mut self) -> &mut Inner {
        Arc::make_mut(&mut self.0)
    }

    /// Says what the session knows of the client, for requests of a legacy revision.
    #[must_use]
    pub fn with_legacy_client(mut self, client: Arc<LegacyClient>) -> Self {
        self.inner_mut().client = Some(client);
        self
    }

    /// Says how long an answer is of use.
    #[must_use]
    pub fn with_time(mut self, time: TimeAllowed) -> Self {
        self.inner_mut().time = time;
        self
    }

    /// Says where news of the request go; `None` when the client takes no stream.
    #[must_use]
    pub fn with_attached(mut self, attached: Option<Box<Attached>>) -> Self {
        self.inner_mut().attached = attached;
        self
    }

    /// Says what the client answered to an earlier `input_required`.
    #[must_use]
    pub fn with_input(mut self, input: Option<Box<Input>>) -> Self {
        self.inner_mut().input = input;
        self
    }

    /// Says which `Mcp-Param-*` headers came.
    #[must_use]
    pub fn with_param_headers(mut self, headers: ParamHeaders) -> Self {
        self.inner_mut().headers = headers;
        self
    }

    /// Says what the transport tells of the trace. What stands in `_meta` goes before it: that was written by whoever made the
    /// request, and headers may be those of a proxy on its way.
    #[must_use]
    pub fn with_trace(mut self, trace: Option<Box<SentTrace>>) -> Self {
        self.inner_mut().trace = trace;
        self
    }

    /// Returns the same question of the same caller for work that outlasts this request: without its stream, its headers, its notes
    /// and what its client answered, and with a time of its own.
    #[must_use]
    pub fn detached(&self, time: TimeAllowed) -> Self {
        let Inner { body, parts, method, revision, caller, client, target, log_id, .. } = &*self.0;
        Self(Arc::new(Inner {
            body: body.clone(),
            parts: *parts,
            method: *method,
            revision: *revision,
            caller: Arc::clone(caller),
            client: client.clone(),
            time,
            attached: None,
            input: None,
            headers: ParamHeaders::NotUsed,
            notes: None,
            target: *target,
            tool: None,
            trace: None,
            log_id: *log_id,
            arrived: Instant::now(),
        }))
    }

    /// Returns the same request, to be sent a second time should the first come to nothing. Both tell their news on one stream. Costs
    /// a reference.
    #[must_use]
    pub fn again(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    /// Asks the guards to note what they decide.
    pub fn note_on(&mut self, notes: Arc<Notes>) {
        self.inner_mut().notes = Some(notes);
    }

    /// Returns where the guards note what they decide; `None` when nobody keeps a record.
    #[must_use]
    pub fn notes(&self) -> Option<&Arc<Notes>> {
        self.0.notes.as_ref()
    }

    /// Lets the stream of this request end before its edge does: when `closing`, which should be a child of
    /// [`Outlet::closing`], is cancelled.
    pub fn end_stream_on(&mut self, closing: CancellationToken) {
        if let Some(attached) = &mut self.inner_mut().attached {
            attached.outlet = attached.outlet.closing_on(closing);
        }
    }

    /// Lets all that is told of this request beside its answer pass through a veil.
    pub fn veil(&mut self, veil: &Arc<dyn Veil>) {
        if let Some(attached) = &mut self.inner_mut().attached {
            attached.veil(veil);
        }
    }

    /// Returns the method.
    #[must_use]
    pub fn method(&self) -> Method {
        self.0.method
    }

    /// Returns the revision the client speaks.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.0.revision
    }

    /// Says who asks, for a guard that knows more of the caller than the edge did.
    pub fn set_caller(&mut self, caller: Arc<Caller>) {
        self.inner_mut().caller = caller;
    }

    /// Returns who asks.
    #[must_use]
    pub fn caller(&self) -> &Arc<Caller> {
        &self.0.caller
    }

    /// Returns `params.name`; `None` when it is absent or no string.
    #[must_use]
    pub fn name(&self) -> Option<Cow<'_, str>> {
        self.0.parts.name.text(&self.0.body)
    }

    /// Returns `params.name` as bytes, cheaper to look up by; `None` when it is absent or no string.
    #[must_use]
    pub fn name_bytes(&self) -> Option<Cow<'_, [u8]>> {
        self.0.parts.name.bytes(&self.0.body)
    }

    /// Returns `params.uri`; `None` when it is absent or no string.
    #[must_use]
    pub fn uri(&self) -> Option<Cow<'_, str>> {
        self.0.parts.uri.text(&self.0.body)
    }

    /// Returns where `params.uri` stands, of whatever kind it is.
    #[must_use]
    pub fn uri_token(&self) -> Token {
        self.0.parts.uri
    }

    /// Puts another spelling of the URI in the place of `params.uri`, for everybody who reads it from here on.
    pub fn set_uri(&mut self, uri: &str) {
        let mut written = Vec::with_capacity(uri.len() + 2);
        write::string(&mut written, uri);
        let kind = if written.contains(&b'\\') { Kind::EscapedString } else { Kind::String };
        let old = self.0.parts.uri.span;
        if let Some(span) = self.splice(old, &written) {
            self.inner_mut().parts.uri = Token { span, kind };
        }
    }

    /// Puts other arguments, a JSON object, in the place of those that were sent, of `null`, or of none, for everybody who reads
    /// them from here on. Nothing changes where there is no place for them, or something else stands there: then `false`.
    pub fn set_arguments(&mut self, arguments: &[u8]) -> bool {
        let Parts { arguments: old, params, .. } = self.0.parts;
        let span = match old.kind {
            Kind::Object | Kind::Null => self.splice(old.span, arguments),
            Kind::Absent if params.kind == Kind::Object => self.insert_arguments(params.span, arguments),
            _ => None,
        };
        if let Some(span) = span {
            self.inner_mut().parts.arguments = Token { span, kind: Kind::Object };
        }
        span.is_some()
    }

    /// Puts a member `arguments` before those that `params` has.
    fn insert_arguments(&mut self, params: Span, arguments: &[u8]) -> Option<Span> {
        const KEY: &[u8] = br#""arguments":"#;
        let at = params.start + 1;
        let rest = self.0.body.get(at as usize..params.end as usize)?;
        let comma: &[u8] = if rest.trim_ascii_start().starts_with(b"}") { b"" } else { b"," };
        let span = self.splice(Span { start: at, end: at }, &[KEY, arguments, comma].concat())?;
        let start = span.start + u32::try_from(KEY.len()).ok()?;
        Some(Span { start, end: start + u32::try_from(arguments.len()).ok()? })
    }

    /// Puts other bytes in the place of a span of the body, and moves what stands behind.
    fn splice(&mut self, old: Span, written: &[u8]) -> Option<Span> {
        let Inner { body, parts, .. } = self.inner_mut();
        let (before, after) = (body.get(..old.start as usize)?, body.get(old.end as usize..)?);
        let length = u32::try_from(written.len()).ok()?;
        *body = [before, written, after].concat().into();
        let moved = |at: u32| at.wrapping_sub(old.end).wrapping_add(old.start + length);
        let Parts { params, name, uri, arguments, cursor, meta, capabilities, traceparent } = parts;
        let all = [params, name, uri, arguments, cursor, meta, capabilities, traceparent];
        for token in all.into_iter().filter(|token| token.is_present()) {
            if token.span.start >= old.end {
                token.span.start = moved(token.span.start);
            }
            if token.span.end >= old.end {
                token.span.end = moved(token.span.end);
            }
        }
        Some(Span { start: old.start, end: old.start + length })
    }

    /// Returns where a member of `params` stands, scanning for it: for the members that have no place of their own.
    #[must_use]
    pub fn param(&self, key: &str) -> Token {
        member_at(&self.0.body, self.0.parts.params, key)
    }

    /// Returns where a member of `params._meta` stands, scanning for it.
    #[must_use]
    pub fn meta(&self, key: &str) -> Token {
        member_at(&self.0.body, self.0.parts.meta, key)
    }

    /// Returns where `params.cursor` stands, of whatever kind it is.
    #[must_use]
    pub fn cursor(&self) -> Token {
        self.0.parts.cursor
    }

    /// Returns where `params.arguments` stands, of whatever kind it is.
    #[must_use]
    pub fn arguments_token(&self) -> Token {
        self.0.parts.arguments
    }

    /// Returns `params.arguments` as raw JSON, `{}` when absent or null.
    #[must_use]
    pub fn arguments(&self) -> &[u8] {
        if self.0.parts.arguments.is_nothing() { b"{}" } else { self.0.parts.arguments.raw(&self.0.body) }
    }

    /// Returns the client's capabilities as raw JSON; of this request, or of its session. Empty when unknown.
    #[must_use]
    pub fn client_capabilities(&self) -> &[u8] {
        match &self.0.client {
            Some(client) => &client.capabilities,
            None => self.0.parts.capabilities.raw(&self.0.body),
        }
    }

    /// Returns the whole message.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.0.body
    }

    /// Returns when the edge had read it, or when it was let in where it had to wait: one look at the clock for all who count and
    /// time it.
    #[must_use]
    pub fn arrived(&self) -> Instant {
        self.0.arrived
    }

    /// Begins its time now, as it was kept waiting until now.
    pub(crate) fn let_in(&mut self) {
        self.inner_mut().arrived = Instant::now();
    }

    /// Returns the tool that it names, where somebody looked for it before.
    pub(crate) fn found(&self) -> Option<Found> {
        self.0.tool
    }

    /// Remembers which tool it names.
    pub(crate) fn set_found(&mut self, found: Found) {
        self.inner_mut().tool = Some(found);
    }

    /// Returns how long an answer is of use.
    #[must_use]
    pub fn time(&self) -> TimeAllowed {
        self.0.time
    }

    /// Returns when the time of an answer is over; `None` for never.
    #[must_use]
    pub fn ends(&self) -> Option<Instant> {
        match self.0.time {
            TimeAllowed::Unlimited => None,
            TimeAllowed::Within(span) => self.0.arrived.checked_add(span),
            TimeAllowed::Until(end) => Some(end),
        }
    }

    /// Returns the stream of this request; `None` when the client takes none.
    #[must_use]
    pub fn outlet(&self) -> Option<&Outlet> {
        self.0.attached.as_ref().map(|attached| &attached.outlet)
    }

    /// Returns where progress goes; `None` when the client did not ask for any.
    #[must_use]
    pub fn progress(&self) -> Option<&Progress> {
        self.0.attached.as_ref()?.progress.as_ref()
    }

    /// Returns where log messages go; `None` when the client set no level.
    #[must_use]
    pub fn log(&self) -> Option<&Log> {
        self.0.attached.as_ref()?.log.as_ref()
    }

    /// Returns the position after which change notices are wanted; `None` for from now on.
    #[must_use]
    pub fn after(&self) -> Option<u64> {
        self.0.attached.as_ref()?.after
    }

    /// Returns what the client answered to an earlier `input_required`.
    #[must_use]
    pub fn input(&self) -> Option<&Input> {
        self.0.input.as_deref()
    }

    /// Returns the `Mcp-Param-*` headers.
    #[must_use]
    pub fn param_headers(&self) -> &ParamHeaders {
        &self.0.headers
    }

    /// Returns the number of the tool within the service that answers it, set by the router.
    #[must_use]
    pub fn target(&self) -> u32 {
        self.0.target
    }

    /// Sets the number of the tool within the service that answers it.
    pub fn set_target(&mut self, target: u32) {
        self.inner_mut().target = target;
    }

    /// Returns the number under which log and caller know this request.
    #[must_use]
    pub fn log_id(&self) -> u64 {
        self.0.log_id
    }

    /// Returns where the client says the request stands in a trace, in `_meta` or else in a header; `None` when it says
    /// nothing, or nothing that holds. Spec: 2026-07-28 basic/index#meta; W3C Trace Context.
    #[must_use]
    pub fn sent_trace(&self) -> Option<TraceParent> {
        self.meta_trace().or_else(|| self.0.trace.as_ref().map(|trace| trace.parent))
    }

    fn meta_trace(&self) -> Option<TraceParent> {
        let token = self.0.parts.traceparent;
        if !token.is_present() {
            return None;
        }
        TraceParent::parse(&token.bytes(&self.0.body)?)
    }

    /// Returns by what the log knows this request.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark { log_id: self.0.log_id, sent: self.sent_trace() }
    }

    /// Returns what a request that is sent on for this one has to say of the trace: the one this came with, or one that begins
    /// here.
    #[must_use]
    pub fn trace(&self) -> TraceContext {
        let mark = self.mark();
        let state = match (self.meta_trace(), &self.0.trace) {
            (Some(_), _) => {
                let value = self.meta(meta::TRACESTATE).text(&self.0.body).map(Cow::into_owned);
                TraceState::parse(value.as_deref().map(str::as_bytes))
            }
            (None, Some(trace)) => trace.state.clone(),
            (None, None) => None,
        };
        TraceContext { parent: mark.parent_of_next(), state }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunkline_protocol::scan;

    const META: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const HEADER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

    fn request(meta: &str) -> Request {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"arguments":{{}},"_meta":{{{meta}}}}}}}"#
        );
        let body = Bytes::from(body);
        let (_, envelope) = scan(&body).unwrap();
        Request::new(body, &envelope, Method::ToolsCall, Revision::LATEST, Caller::local(), 7)
    }

    fn header(state: &str) -> Option<Box<SentTrace>> {
        let parent = TraceParent::parse(HEADER.as_bytes()).unwrap();
        Some(Box::new(SentTrace { parent, state: TraceState::parse([state.as_bytes()]) }))
    }

    #[test]
    fn what_meta_says_of_a_trace_goes_before_the_headers() {
        let meta = format!(r#""traceparent":"{META}","tracestate":"a=1""#);
        let mut both = request(&meta).with_trace(header("b=2"));
        // Its place is kept when what stands before it changes.
        assert!(both.set_arguments(br#"{"a":"much longer than before"}"#));
        assert_eq!(both.sent_trace(), TraceParent::parse(META.as_bytes()));
        let trace = both.trace();
        assert_eq!(trace.state.unwrap().as_str(), "a=1");
        assert_eq!(trace.parent.trace_id(), both.mark().trace_id());
        let headers = request("").with_trace(header("b=2"));
        assert_eq!(headers.sent_trace(), TraceParent::parse(HEADER.as_bytes()));
        assert_eq!(headers.trace().state.unwrap().as_str(), "b=2");
    }

    #[test]
    fn what_does_not_hold_in_meta_is_as_if_it_was_not_there() {
        for bad in [r#""traceparent":"00-S3CRET""#, r#""traceparent":7"#, r#""tracestate":"a=1""#] {
            assert_eq!(request(bad).sent_trace(), None, "{bad}");
            assert_eq!(request(bad).trace().state, None, "{bad}");
            assert_eq!(
                request(bad).with_trace(header("b=2")).sent_trace(),
                TraceParent::parse(HEADER.as_bytes()),
                "{bad}"
            );
        }
    }
}
