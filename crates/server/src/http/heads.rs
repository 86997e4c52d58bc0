//! The headers of one request that the protocol looks at, gathered in one pass.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use trunkline_protocol::header::{Accepts, accepts};
use trunkline_service::request::SentTrace;
use trunkline_service::trace::{TraceParent, TraceState};
use trunkline_service::{Credentials, ParamHeaders};

/// Most `Mcp-Param-*` headers of one request; all headers together are bounded before.
const MAX_PARAMS: usize = 64;

/// Borrowed header values. What the protocol mirrors from the body is marked when it is repeated.
#[derive(Debug, Default)]
pub(super) struct Heads<'a> {
    pub(super) content_type: Option<&'a [u8]>,
    pub(super) content_length: Option<u64>,
    pub(super) host: Option<&'a [u8]>,
    pub(super) origin: Option<&'a [u8]>,
    pub(super) version: Mirrored<'a>,
    pub(super) method: Mirrored<'a>,
    pub(super) name: Mirrored<'a>,
    pub(super) session: Option<&'a [u8]>,
    pub(super) authorization: Option<&'a [u8]>,
    pub(super) api_key: Option<&'a [u8]>,
    /// Where a stream is taken up again.
    pub(super) last_event_id: Option<&'a [u8]>,
    /// Where the request stands in a trace.
    pub(super) traceparent: Mirrored<'a>,
    /// A header mirrors an argument: `Mcp-Param-*` occurs.
    pub(super) has_params: bool,
    accept: Option<Accepts>,
    /// The body is compressed, or otherwise not what it says it is.
    pub(super) is_encoded: bool,
    /// A proxy is in front: `Forwarded` or `X-Forwarded-*` occurs.
    pub(super) forwarded: bool,
    /// A header that has one value occurs twice: no reader could tell which one counts.
    pub(super) repeated: Option<&'static str>,
}

/// A header that mirrors a part of the body.
#[derive(Debug, Default, Clone, Copy)]
pub(super) enum Mirrored<'a> {
    #[default]
    Absent,
    Once(&'a [u8]),
    /// Two lines of it: no reader could tell which one counts.
    Repeated,
}

impl<'a> Mirrored<'a> {
    fn add(&mut self, value: &'a [u8]) {
        *self = if matches!(self, Self::Absent) { Self::Once(value.trim_ascii()) } else { Self::Repeated };
    }

    pub(super) fn once(self) -> Option<&'a [u8]> {
        match self {
            Self::Once(value) => Some(value),
            _ => None,
        }
    }
}

impl<'a> Heads<'a> {
    pub(super) fn read(headers: &'a HeaderMap) -> Self {
        let mut heads = Self::default();
        for (name, value) in headers {
            heads.add(name.as_str(), value.as_bytes());
        }
        heads
    }

    fn add(&mut self, name: &str, value: &'a [u8]) {
        // The length first, which tells nearly all names apart.
        match (name.len(), name) {
            (4, "host") => self.once("Host", value, |heads| &mut heads.host),
            (12, "content-type") => self.once("Content-Type", value, |heads| &mut heads.content_type),
            (6, "accept") => {
                let these = accepts(value);
                self.accept = Some(self.accept.map_or(these, |those| those.or(these)));
            }
            (20, "mcp-protocol-version") => self.version.add(value),
            (10, "mcp-method") => self.method.add(value),
            (8, "mcp-name") => self.name.add(value),
            (14, "content-length") => {
                self.content_length = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
            }
            (14, "mcp-session-id") => {
                self.once("Mcp-Session-Id", value.trim_ascii(), |heads| &mut heads.session)
            }
            (13, "authorization") => {
                self.once("Authorization", value.trim_ascii(), |heads| &mut heads.authorization);
            }
            (9, "x-api-key") => self.once("X-API-Key", value.trim_ascii(), |heads| &mut heads.api_key),
            (11, "traceparent") => self.traceparent.add(value),
            (6, "origin") => self.once("Origin", value, |heads| &mut heads.origin),
            (13, "last-event-id") => {
                self.once("Last-Event-ID", value.trim_ascii(), |heads| &mut heads.last_event_id);
            }
            (16, "content-encoding") => self.is_encoded |= !value.eq_ignore_ascii_case(b"identity"),
            (17, "transfer-encoding") => self.is_encoded |= !value.eq_ignore_ascii_case(b"chunked"),
            (9, "forwarded") => self.forwarded = true,
            _ if name.starts_with("mcp-param-") => self.has_params = true,
            _ if name.starts_with("x-forwarded-") => self.forwarded = true,
            _ => {}
        }
    }

    fn once(
        &mut self,
        name: &'static str,
        value: &'a [u8],
        place: impl Fn(&mut Self) -> &mut Option<&'a [u8]>,
    ) {
        if place(self).replace(value).is_some() {
            self.repeated = Some(name);
        }
    }

    /// Returns the headers that mirror arguments; `None` when there are more than can be looked at.
    pub(super) fn params(&self, headers: &HeaderMap) -> Option<ParamHeaders> {
        if !self.has_params {
            return Some(ParamHeaders::None);
        }
        let named = headers.iter().filter_map(|(name, value)| {
            let name = name.as_str().strip_prefix("mcp-param-")?;
            // A copy: the values must not keep the buffer of the connection.
            Some((name.into(), Bytes::copy_from_slice(value.as_bytes())))
        });
        let found: Vec<(Box<str>, Bytes)> = named.take(MAX_PARAMS + 1).collect();
        (found.len() <= MAX_PARAMS).then(|| ParamHeaders::Some(found.into()))
    }

    /// Returns what the headers say of a trace: nothing where they say nothing that holds, or say it twice.
    pub(super) fn trace(&self, headers: &HeaderMap) -> Option<Box<SentTrace>> {
        let parent = TraceParent::parse(self.traceparent.once()?)?;
        let state = TraceState::parse(headers.get_all("tracestate").iter().map(HeaderValue::as_bytes));
        Some(Box::new(SentTrace { parent, state }))
    }

    /// Returns what the request says to prove who asks.
    pub(super) fn credentials(&self) -> Credentials<'a> {
        Credentials { authorization: self.authorization, api_key: self.api_key }
    }

    /// Returns what the client takes; all, when it does not say.
    pub(super) fn accepts(&self) -> Accepts {
        self.accept.unwrap_or(Accepts { json: true, event_stream: true })
    }

    /// Returns the one host that is asked for; `authority` is that of an HTTP/2 or absolute-form request.
    pub(super) fn one_host(&self, authority: Option<&'a str>) -> Option<&'a [u8]> {
        match (self.host, authority) {
            (Some(host), Some(authority)) if host != authority.as_bytes() => None,
            (Some(host), _) => Some(host),
            (None, authority) => authority.map(str::as_bytes),
        }
    }

    /// Returns the version header as legacy clients send it: values of one header, or of a doubled one, that are all equal
    /// count as one. `Err` when they differ.
    pub(super) fn legacy_version(&self, headers: &'a HeaderMap) -> Result<Option<&'a [u8]>, ()> {
        let mut values = headers
            .get_all("mcp-protocol-version")
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii);
        let Some(first) = values.next() else { return Ok(None) };
        if values.all(|other| other == first) { Ok(Some(first)) } else { Err(()) }
    }
}
