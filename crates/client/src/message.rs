//! Telling apart what a server writes: answers, requests of its own and notifications, with their payloads raw.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// What a request was answered with.
pub(crate) type Answer = Result<Box<RawValue>, RpcError>;

/// The `error` of an answer.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RpcError {
    pub(crate) code: i64,
    #[serde(default)]
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) data: Option<Box<RawValue>>,
}

/// One message of a server.
#[derive(Debug)]
pub(crate) enum Incoming<'a> {
    /// Answers the request whose id is written like `id`; an answer without an id cannot be told to belong to any.
    Response { id: Option<&'a RawValue>, answer: Answer },
    /// A request of the handshake era.
    Request { id: &'a RawValue, method: Cow<'a, str> },
    /// Wants no answer.
    Notification { method: Cow<'a, str>, params: Option<&'a RawValue> },
}

/// The text is no JSON-RPC message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotAMessage;

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<RpcError>,
}

/// Reads one message, or a batch of them as 2025-03-26 allows.
pub(crate) fn read(text: &[u8]) -> Result<Vec<Incoming<'_>>, NotAMessage> {
    let wires: Vec<Wire<'_>> = match text.trim_ascii_start().first() {
        Some(b'{') => vec![serde_json::from_slice(text).map_err(|_| NotAMessage)?],
        Some(b'[') => serde_json::from_slice(text).map_err(|_| NotAMessage)?,
        _ => return Err(NotAMessage),
    };
    wires.into_iter().map(classify).collect()
}

/// A message is told by the members it has.
fn classify(wire: Wire<'_>) -> Result<Incoming<'_>, NotAMessage> {
    match wire {
        Wire { method: Some(method), id: Some(id), .. } => Ok(Incoming::Request { id, method }),
        Wire { method: Some(method), id: None, params, .. } => Ok(Incoming::Notification { method, params }),
        Wire { id, result: Some(result), error: None, .. } => {
            Ok(Incoming::Response { id, answer: Ok(result.to_owned()) })
        }
        Wire { id, result: None, error: Some(error), .. } => {
            Ok(Incoming::Response { id, answer: Err(error) })
        }
        _ => Err(NotAMessage),
    }
}

/// Returns our id that `raw` spells, in type and value; the client numbers its requests.
pub(crate) fn own_id(raw: &RawValue) -> Option<u64> {
    raw.get().parse().ok()
}

/// Writes what a request of a handshake-era server is answered with: `ping` is fulfilled, nothing else was offered.
pub(crate) fn reply_to(id: &RawValue, method: &str) -> Vec<u8> {
    if method == "ping" {
        return format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#, id.get()).into_bytes();
    }
    let mut out = Vec::new();
    let code = trunkline_protocol::Code::METHOD_NOT_FOUND;
    trunkline_protocol::write::error(
        &mut out,
        Some(id.get().as_bytes()),
        code,
        "this client offers no such method",
        None,
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_decide_what_a_message_is() {
        let is = |text: &str| match read(text.as_bytes()).as_deref() {
            Ok([Incoming::Response { answer: Ok(_), .. }]) => "result",
            Ok([Incoming::Response { answer: Err(_), .. }]) => "error",
            Ok([Incoming::Request { .. }]) => "request",
            Ok([Incoming::Notification { .. }]) => "notification",
            Ok(_) => "batch",
            Err(NotAMessage) => "noise",
        };
        assert_eq!(is(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#), "result");
        assert_eq!(is(r#"{"jsonrpc":"2.0","error":{"code":-1,"message":"x"}}"#), "error");
        assert_eq!(is(r#"{"jsonrpc":"2.0","id":"a","method":"ping"}"#), "request");
        assert_eq!(is(r#"{"jsonrpc":"2.0","method":"notifications/x"}"#), "notification");
        assert_eq!(is(r#"[{"id":1,"result":1},{"method":"m"}]"#), "batch");
        for noise in [
            "",
            "Loading...",
            "{}",
            r#"{"level":"info"}"#,
            r#"{"id":1,"result":{},"error":{"code":1}}"#,
            "{\"id\":1",
            "17",
        ] {
            assert_eq!(is(noise), "noise", "{noise}");
        }
    }

    #[test]
    fn results_keep_every_byte() {
        let messages = read(br#"{"id":1,"result":{"b":1.00,"a": 12345678901234567890123}}"#).unwrap();
        let [Incoming::Response { answer: Ok(result), .. }] = messages.as_slice() else {
            panic!("no result")
        };
        assert_eq!(result.get(), r#"{"b":1.00,"a": 12345678901234567890123}"#);
    }

    #[test]
    fn cl_03_an_id_of_another_type_is_not_ours() {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        assert_eq!(own_id(&raw("1")), Some(1));
        assert_eq!(own_id(&raw("\"1\"")), None);
        assert_eq!(own_id(&raw("1.0")), None);
        assert_eq!(own_id(&raw("null")), None);
    }

    #[test]
    fn a_ping_is_answered_and_anything_else_refused() {
        let id = RawValue::from_string("\"s1\"".to_owned()).unwrap();
        assert_eq!(reply_to(&id, "ping"), br#"{"jsonrpc":"2.0","id":"s1","result":{}}"#);
        assert!(
            String::from_utf8(reply_to(&id, "roots/list"))
                .unwrap()
                .contains(r#""id":"s1","error":{"code":-32601"#)
        );
    }
}
