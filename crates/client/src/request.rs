//! Writing requests: the body in the form of the server's era and the headers that mirror it.

use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::value::RawValue;
use trunkline_protocol::{Revision, header, meta, write};

use crate::era::Era;
use crate::error::ClientError;
use crate::message::{Answer, RpcError};
use crate::options::OnProgress;

/// How far a call has come, as the server tells it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Progress {
    /// How much is done; rises with every message.
    pub progress: f64,
    /// How much there is to do, when the server knows.
    #[serde(default)]
    pub total: Option<f64>,
    /// What is being done, for people.
    #[serde(default)]
    pub message: Option<String>,
}

/// A request before it has an id.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    /// What `Mcp-Name` mirrors.
    pub(crate) name: Option<String>,
    /// The members of `params` in order, as raw JSON, without `_meta`.
    pub(crate) params: Vec<(&'static str, String)>,
    /// `Mcp-Param-*` headers.
    pub(crate) param_headers: Vec<(HeaderName, HeaderValue)>,
    /// Asks for progress.
    pub(crate) progress: bool,
    /// Never cancelled: a probe, or the handshake, which the specification exempts.
    pub(crate) quiet: bool,
}

/// A request ready to be sent.
pub(crate) struct Prepared {
    pub(crate) id: u64,
    pub(crate) method: &'static str,
    pub(crate) body: Vec<u8>,
    /// The headers beside the common ones; empty in the handshake era, where the session adds its own.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) cancels: bool,
    pub(crate) on_progress: Option<OnProgress>,
}

/// Returns `text` as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    write::string(&mut out, text);
    String::from_utf8(out).unwrap_or_default()
}

/// Returns the `clientInfo` of a client of that name.
pub(crate) fn client_info(name: &str) -> String {
    format!(r#"{{"name":{},"version":"{}"}}"#, quoted(name), env!("CARGO_PKG_VERSION"))
}

impl Request {
    /// Writes the request under `id` for a server of `era`.
    pub(crate) fn prepare(
        &self,
        id: u64,
        era: Era,
        client_name: &str,
        on_progress: Option<&OnProgress>,
    ) -> Prepared {
        let on_progress = on_progress.filter(|_| self.progress);
        let mut members: Vec<String> =
            self.params.iter().map(|(key, raw)| format!("\"{key}\":{raw}")).collect();
        let mut own: Vec<String> = Vec::new();
        if era == Era::Modern {
            own.push(format!("\"{}\":\"{}\"", meta::PROTOCOL_VERSION, Revision::LATEST));
            own.push(format!("\"{}\":{}", meta::CLIENT_INFO, client_info(client_name)));
            own.push(format!("\"{}\":{{}}", meta::CLIENT_CAPABILITIES));
        }
        if on_progress.is_some() {
            own.push(format!("\"{}\":{id}", meta::PROGRESS_TOKEN));
        }
        if !own.is_empty() {
            members.push(format!("\"_meta\":{{{}}}", own.join(",")));
        }
        let params = members.join(",");
        let body =
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{}","params":{{{params}}}}}"#, self.method);
        let headers = if era == Era::Modern { self.headers() } else { Vec::new() };
        let on_progress = on_progress.cloned();
        Prepared {
            id,
            method: self.method,
            body: body.into_bytes(),
            headers,
            cancels: !self.quiet,
            on_progress,
        }
    }

    /// Spec: 2026-07-28 basic/transports/streamable-http#standard-headers.
    fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let version = HeaderValue::from_static(Revision::LATEST.as_str());
        let mut headers = vec![
            (HeaderName::from_static("mcp-protocol-version"), version),
            (HeaderName::from_static("mcp-method"), HeaderValue::from_static(self.method)),
        ];
        if let Some(name) = &self.name
            && let Ok(value) = HeaderValue::from_str(&header::encode(name))
        {
            headers.push((HeaderName::from_static("mcp-name"), value));
        }
        headers.extend(self.param_headers.iter().cloned());
        headers
    }
}

impl Prepared {
    /// Turns an answer into the result it carries.
    pub(crate) fn result(method: &'static str, answer: Answer) -> Result<Box<RawValue>, ClientError> {
        answer.map_err(|RpcError { code, message, data }| ClientError::Rpc { method, code, message, data })
    }

    /// Tells the caller about progress if the notification belongs to this request.
    pub(crate) fn tell_progress(&self, params: Option<&RawValue>) {
        tell_progress(self.on_progress.as_ref(), params, |token| token == self.id);
    }
}

/// Reads `params` of `notifications/progress` and passes them on if `wanted` knows the token.
pub(crate) fn tell_progress(
    callback: Option<&OnProgress>,
    params: Option<&RawValue>,
    wanted: impl FnOnce(u64) -> bool,
) {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Params {
        // A token of another type is some other client's mistake; the whole notification is then ignored.
        progress_token: u64,
    }
    let (Some(callback), Some(params)) = (callback, params) else { return };
    let Ok(Params { progress_token }) = serde_json::from_str(params.get()) else { return };
    if wanted(progress_token)
        && let Ok(progress) = serde_json::from_str::<Progress>(params.get())
    {
        callback(&progress);
    }
}

/// Writes a notification with raw `params`.
pub(crate) fn notification(method: &str, params: Option<&str>) -> Vec<u8> {
    let params = params.map(|params| format!(",\"params\":{params}")).unwrap_or_default();
    format!(r#"{{"jsonrpc":"2.0","method":"{method}"{params}}}"#).into_bytes()
}

/// Writes `notifications/cancelled` for the request `id`.
pub(crate) fn cancelled(id: u64) -> Vec<u8> {
    notification("notifications/cancelled", Some(&format!(r#"{{"requestId":{id}}}"#)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_modern_request_says_everything_twice() {
        let request = Request {
            method: "tools/call",
            name: Some("größe".to_owned()),
            params: vec![("name", quoted("größe")), ("arguments", "{\"a\": 1.0}".to_owned())],
            progress: true,
            ..Request::default()
        };
        let callback: OnProgress = Arc::new(|_: &Progress| {});
        let prepared = request.prepare(7, Era::Modern, "me", Some(&callback));
        let body = String::from_utf8(prepared.body).unwrap();
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            body,
            format!(
                r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"größe","arguments":{{"a": 1.0}},"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{{"name":"me","version":"{version}"}},"io.modelcontextprotocol/clientCapabilities":{{}},"progressToken":7}}}}}}"#
            )
        );
        let headers: Vec<String> = prepared
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        assert_eq!(
            headers,
            [
                "mcp-protocol-version: 2026-07-28",
                "mcp-method: tools/call",
                "mcp-name: =?base64?Z3LDtsOfZQ==?="
            ]
        );
    }

    #[test]
    fn a_handshake_era_request_is_clean() {
        let prepared =
            Request { method: "tools/list", ..Request::default() }.prepare(2, Era::Legacy, "me", None);
        assert_eq!(prepared.body, br#"{"jsonrpc":"2.0","id":2,"method":"tools/list","params":{}}"#);
        assert!(prepared.headers.is_empty());
    }
}
