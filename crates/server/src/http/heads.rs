//! The headers of one request that the protocol looks at, gathered in one pass.

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, ORIGIN, TRANSFER_ENCODING};
use trunkline_protocol::header::{Accepts, accepts};

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
            let value = value.as_bytes();
            if name == CONTENT_TYPE {
                heads.once("Content-Type", value, |heads| &mut heads.content_type);
            } else if name == ACCEPT {
                let these = accepts(value);
                heads.accept = Some(heads.accept.map_or(these, |those| those.or(these)));
            } else if name == CONTENT_LENGTH {
                heads.content_length = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
            } else if name == CONTENT_ENCODING {
                heads.is_encoded |= !value.eq_ignore_ascii_case(b"identity");
            } else if name == TRANSFER_ENCODING {
                heads.is_encoded |= !value.eq_ignore_ascii_case(b"chunked");
            } else if name == HOST {
                heads.once("Host", value, |heads| &mut heads.host);
            } else if name == ORIGIN {
                heads.once("Origin", value, |heads| &mut heads.origin);
            } else {
                heads.read_own(name.as_str(), value);
            }
        }
        heads
    }

    fn read_own(&mut self, name: &str, value: &'a [u8]) {
        match name {
            "mcp-protocol-version" => self.version.add(value),
            "mcp-method" => self.method.add(value),
            "mcp-name" => self.name.add(value),
            "mcp-session-id" => self.once("Mcp-Session-Id", value.trim_ascii(), |heads| &mut heads.session),
            "forwarded" => self.forwarded = true,
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
