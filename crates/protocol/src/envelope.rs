//! The one pass over a JSON-RPC message: which kind it is, and where the parts stand that guards and edges look at.
//!
//! A message is classified by the members it has, never by trying shapes: with a `method` it is a request or, without an
//! `id`, a notification; without a `method` it is a response. Everything else stays raw.

use crate::code::Code;
use crate::json::{Key, Kind, Scanner, Span, SyntaxError, Token};
use crate::meta;

/// Where the parts of one message stand. Absent members have [`Kind::Absent`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Envelope {
    /// `id`.
    pub id: Token,
    /// `method`.
    pub method: Token,
    /// `params`.
    pub params: Token,
    /// `params.name`.
    pub name: Token,
    /// `params.uri`.
    pub uri: Token,
    /// `params.arguments`.
    pub arguments: Token,
    /// `params.cursor`.
    pub cursor: Token,
    /// `params.taskId`.
    pub task_id: Token,
    /// `params.inputResponses` of a request that is sent again.
    pub input_responses: Token,
    /// `params.requestState` of a request that is sent again.
    pub request_state: Token,
    /// `params.requestId` of a cancellation.
    pub request_id: Token,
    /// `params.protocolVersion` of `initialize`.
    pub asked_version: Token,
    /// `params.capabilities` of `initialize`.
    pub asked_capabilities: Token,
    /// `params.clientInfo` of `initialize`.
    pub asked_client: Token,
    /// `params._meta`.
    pub meta: Token,
    /// The revision in `_meta`.
    pub version: Token,
    /// The client's capabilities in `_meta`.
    pub capabilities: Token,
    /// The client's name in `_meta`.
    pub client: Token,
    /// `_meta.progressToken`.
    pub progress_token: Token,
    /// The lowest level of log messages wanted, in `_meta`.
    pub log_level: Token,
    /// Where the request stands in a trace, in `_meta`.
    pub traceparent: Token,
    /// `result` or `error` occurs.
    pub is_answer: bool,
    jsonrpc_ok: bool,
    id_repeated: bool,
    repeated: bool,
    too_deep: bool,
}

/// What kind of message it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// Wants an answer.
    Request,
    /// Wants none, and never gets one.
    Notification,
    /// Answers a request of ours.
    Response,
}

/// Why a message is not acceptable, with the id to answer with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The code of the answer.
    pub code: Code,
    /// What was wrong, for the sender.
    pub message: &'static str,
    /// Where the request's id stands, `None` when there is none to echo.
    pub id: Option<Span>,
    /// The message was a notification, which is never answered on stdio.
    pub notification: bool,
}

impl Refusal {
    fn new(code: Code, message: &'static str, id: Option<Span>) -> Self {
        Self { code, message, id, notification: false }
    }
}

/// Walks `body` and classifies it.
///
/// # Errors
/// [`Refusal`]: not UTF-8 or not JSON (-32700), no JSON-RPC object, an `id` that is neither string nor integer, or nested
/// deeper than 64 levels (-32600), a repeated key (-32602). Spec: 2026-07-28 basic/index; RFC 8259.
pub fn scan(body: &[u8]) -> Result<(Message, Envelope), Refusal> {
    let Ok(text) = std::str::from_utf8(body) else {
        return Err(Refusal::new(Code::PARSE_ERROR, "the message is not UTF-8", None));
    };
    let mut envelope = Envelope::default();
    match walk(text, &mut envelope) {
        Ok(true) => Ok((classify(&envelope)?, envelope)),
        Ok(false) => Err(Refusal::new(Code::INVALID_REQUEST, "a message is one JSON object", None)),
        Err(error) => Err(Refusal::new(Code::PARSE_ERROR, syntax_message(error), None)),
    }
}

/// The reason, without the place: messages of a fixed number of texts need no allocation and tell no content.
fn syntax_message(error: SyntaxError) -> &'static str {
    match error.what {
        "unexpected end" | "unexpected end of a string" => "the message is not complete JSON",
        _ => "the message is not valid JSON",
    }
}

/// Walks the message into `envelope`; `false` when it is JSON but no object.
fn walk(text: &str, envelope: &mut Envelope) -> Result<bool, SyntaxError> {
    let mut scanner = Scanner::new(text)?;
    if scanner.next_byte() != b'{' {
        scanner.value()?;
        scanner.end()?;
        return Ok(false);
    }
    scanner.members(|scanner, key| top(scanner, key, envelope))?;
    scanner.end()?;
    envelope.repeated = scanner.repeated_key().is_some();
    envelope.too_deep = scanner.is_too_deep();
    Ok(true)
}

fn top(scanner: &mut Scanner<'_>, key: Key, envelope: &mut Envelope) -> Result<bool, SyntaxError> {
    match scanner.key_bytes(key) {
        b"jsonrpc" => {
            let token = scanner.value()?;
            envelope.jsonrpc_ok = token.text(scanner.source().as_bytes()).as_deref() == Some("2.0");
        }
        b"id" => {
            envelope.id_repeated |= envelope.id.is_present();
            envelope.id = scanner.value()?;
        }
        b"method" => envelope.method = scanner.value()?,
        b"params" if scanner.ahead() == b'{' => {
            let start = scanner.position();
            scanner.members(|scanner, key| params(scanner, key, envelope))?;
            envelope.params = Token { span: Span { start, end: scanner.position() }, kind: Kind::Object };
        }
        b"params" => envelope.params = scanner.value()?,
        b"result" | b"error" => {
            envelope.is_answer = true;
            scanner.value()?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn params(scanner: &mut Scanner<'_>, key: Key, envelope: &mut Envelope) -> Result<bool, SyntaxError> {
    let place = match scanner.key_bytes(key) {
        b"name" => &mut envelope.name,
        b"arguments" => &mut envelope.arguments,
        b"uri" => &mut envelope.uri,
        b"cursor" => &mut envelope.cursor,
        b"taskId" => &mut envelope.task_id,
        b"inputResponses" => &mut envelope.input_responses,
        b"requestState" => &mut envelope.request_state,
        b"requestId" => &mut envelope.request_id,
        b"protocolVersion" => &mut envelope.asked_version,
        b"capabilities" => &mut envelope.asked_capabilities,
        b"clientInfo" => &mut envelope.asked_client,
        b"_meta" if scanner.ahead() == b'{' => {
            let start = scanner.position();
            scanner.members(|scanner, key| meta(scanner, key, envelope))?;
            envelope.meta = Token { span: Span { start, end: scanner.position() }, kind: Kind::Object };
            return Ok(true);
        }
        b"_meta" => &mut envelope.meta,
        _ => return Ok(false),
    };
    *place = scanner.value()?;
    Ok(true)
}

fn meta(scanner: &mut Scanner<'_>, key: Key, envelope: &mut Envelope) -> Result<bool, SyntaxError> {
    let place = match scanner.key_bytes(key) {
        key if key == meta::PROTOCOL_VERSION.as_bytes() => &mut envelope.version,
        key if key == meta::CLIENT_CAPABILITIES.as_bytes() => &mut envelope.capabilities,
        key if key == meta::CLIENT_INFO.as_bytes() => &mut envelope.client,
        key if key == meta::PROGRESS_TOKEN.as_bytes() => &mut envelope.progress_token,
        key if key == meta::LOG_LEVEL.as_bytes() => &mut envelope.log_level,
        key if key == meta::TRACEPARENT.as_bytes() => &mut envelope.traceparent,
        _ => return Ok(false),
    };
    *place = scanner.value()?;
    Ok(true)
}

fn classify(envelope: &Envelope) -> Result<Message, Refusal> {
    let id_ok = envelope.id.is_string() || envelope.id.kind == Kind::Integer;
    let id = (id_ok && !envelope.id_repeated).then_some(envelope.id.span);
    let notification = envelope.method.is_string() && !envelope.id.is_present();
    let refuse = |code, message| Err(Refusal { notification, ..Refusal::new(code, message, id) });
    if envelope.too_deep {
        return refuse(Code::INVALID_REQUEST, "the message is nested deeper than 64 levels");
    }
    if envelope.repeated {
        return refuse(Code::INVALID_PARAMS, "an object in the message repeats a key");
    }
    if !envelope.jsonrpc_ok {
        return refuse(Code::INVALID_REQUEST, "`jsonrpc` must be \"2.0\"");
    }
    if envelope.id.is_present() && !id_ok && !(envelope.is_answer && envelope.id.kind == Kind::Null) {
        return refuse(Code::INVALID_REQUEST, "`id` must be a string or an integer");
    }
    match (envelope.method.is_present(), envelope.id.is_present()) {
        (true, _) if !envelope.method.is_string() => {
            refuse(Code::INVALID_REQUEST, "`method` must be a string")
        }
        (true, _) if envelope.is_answer => {
            refuse(Code::INVALID_REQUEST, "a message has a `method` or an answer, not both")
        }
        (true, _) if !matches!(envelope.params.kind, Kind::Absent | Kind::Null | Kind::Object) => {
            refuse(Code::INVALID_PARAMS, "`params` must be an object")
        }
        (true, true) => Ok(Message::Request),
        (true, false) => Ok(Message::Notification),
        (false, _) if envelope.is_answer => Ok(Message::Response),
        (false, _) => refuse(Code::INVALID_REQUEST, "a message needs a `method`"),
    }
}

/// Most messages of a batch.
pub const MAX_BATCH: usize = 100;

/// Splits a batch of 2025-03-26 into the places of its messages: one at least, [`MAX_BATCH`] at most, none of them a batch.
///
/// # Errors
/// [`Refusal`] of the whole batch. Spec: 2025-03-26 basic/index#batching.
pub fn batch(body: &[u8]) -> Result<Vec<Span>, Refusal> {
    let Ok(text) = std::str::from_utf8(body) else {
        return Err(Refusal::new(Code::PARSE_ERROR, "the message is not UTF-8", None));
    };
    let (mut spans, mut has_batch) = (Vec::new(), false);
    let mut walk = || -> Result<(), SyntaxError> {
        let mut scanner = Scanner::new(text)?;
        if scanner.next_byte() != b'[' {
            scanner.value()?;
            return scanner.end();
        }
        scanner.elements(|scanner| {
            let token = scanner.value()?;
            has_batch |= token.kind == Kind::Array;
            if spans.len() <= MAX_BATCH {
                spans.push(token.span);
            }
            Ok(true)
        })?;
        scanner.end()
    };
    walk().map_err(|error| Refusal::new(Code::PARSE_ERROR, syntax_message(error), None))?;
    if spans.is_empty() || spans.len() > MAX_BATCH || has_batch {
        return Err(Refusal::new(
            Code::INVALID_REQUEST,
            "a batch holds 1 to 100 messages, none of them a batch",
            None,
        ));
    }
    Ok(spans)
}

#[cfg(test)]
mod tests;
