//! The rules of Streamable HTTP headers, over borrowed bytes: no HTTP library, so that stdio needs none.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Which answer types a client takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepts {
    /// `application/json`.
    pub json: bool,
    /// `text/event-stream`.
    pub event_stream: bool,
}

/// Reads one `Accept` value; several header lines are joined with [`Accepts::or`]. A missing header accepts all.
///
/// Quality zero takes a type out. Spec: 2026-07-28 basic/transports/streamable-http; RFC 9110 section 12.5.1.
#[must_use]
pub fn accepts(value: &[u8]) -> Accepts {
    if value == b"application/json, text/event-stream" {
        return Accepts { json: true, event_stream: true };
    }
    value
        .split(|byte| *byte == b',')
        .fold(Accepts { json: false, event_stream: false }, |all, range| all.or(range_of(range)))
}

impl Accepts {
    /// Joins what two header lines accept.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { json: self.json || other.json, event_stream: self.event_stream || other.event_stream }
    }
}

fn range_of(range: &[u8]) -> Accepts {
    let mut parts = range.split(|byte| *byte == b';');
    let kind = parts.next().unwrap_or_default().trim_ascii();
    let refused = parts.any(|parameter| {
        let parameter = parameter.trim_ascii();
        let quality = parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q="));
        quality.is_some_and(|quality| {
            quality.starts_with(b"0") && quality.iter().all(|byte| matches!(byte, b'0' | b'.'))
        })
    });
    let is = |other: &[u8]| !refused && kind.eq_ignore_ascii_case(other);
    Accepts {
        json: is(b"application/json") || is(b"application/*") || is(b"*/*"),
        event_stream: is(b"text/event-stream") || is(b"text/*") || is(b"*/*"),
    }
}

/// Tells whether a `Content-Type` value names `application/json`, with any parameters.
#[must_use]
pub fn is_json(value: &[u8]) -> bool {
    let kind = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    kind.eq_ignore_ascii_case(b"application/json")
}

/// Why a mirrored header value cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the value is neither plain ASCII nor valid `=?base64?...?=`")]
pub struct UnreadableValue;

/// Reads the value of `Mcp-Name` or `Mcp-Param-*`: plain, or wrapped as `=?base64?...?=`.
///
/// # Errors
/// [`UnreadableValue`] for bytes outside visible ASCII, space and tab, and for a wrapper whose inside is not base64 of
/// UTF-8. Spec: 2026-07-28 basic/transports/streamable-http#value-encoding.
pub fn decode(value: &[u8]) -> Result<Cow<'_, str>, UnreadableValue> {
    let value = value.trim_ascii();
    if let Some(inner) = value.strip_prefix(b"=?base64?").and_then(|rest| rest.strip_suffix(b"?=")) {
        let bytes = STANDARD.decode(inner).map_err(|_| UnreadableValue)?;
        return String::from_utf8(bytes).map(Cow::Owned).map_err(|_| UnreadableValue);
    }
    let text = std::str::from_utf8(value).map_err(|_| UnreadableValue)?;
    let plain = text.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    if plain { Ok(Cow::Borrowed(text)) } else { Err(UnreadableValue) }
}

/// Writes a value for `Mcp-Name` or `Mcp-Param-*`, wrapped when plain text would not survive.
#[must_use]
pub fn encode(value: &str) -> Cow<'_, str> {
    let looks_wrapped = value.starts_with("=?base64?") && value.ends_with("?=");
    let plain = value.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && value.trim_matches(' ') == value
        && !looks_wrapped;
    if plain { Cow::Borrowed(value) } else { Cow::Owned(format!("=?base64?{}?=", STANDARD.encode(value))) }
}

/// The host part of a `Host` value or authority, in lower case, without port and brackets.
///
/// `None` when it is no host: empty, with user information, or with a port that is no number.
#[must_use]
pub fn host_name(authority: &str) -> Option<String> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            (host, after)
        }
        None => match authority.find(':') {
            Some(at) => authority.split_at(at),
            None => (authority, ""),
        },
    };
    let port_ok = port.is_empty()
        || port.strip_prefix(':').is_some_and(|digits| {
            digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok()
        });
    let host_ok = !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':'));
    (port_ok && host_ok).then(|| host.to_ascii_lowercase())
}

/// Tells whether a host name means this machine, whatever its port: `localhost`, 127.0.0.0/8 or `::1`.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Which hosts and origins an endpoint serves. Loopback always counts. Spec: 2026-07-28 basic/transports/streamable-http#security.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    hosts: Vec<String>,
    origins: Vec<String>,
}

impl Allowed {
    /// Allows these host names (with or without a port, which is ignored) and these origins besides loopback.
    #[must_use]
    pub fn new(hosts: &[String], origins: &[String]) -> Self {
        Self {
            hosts: hosts.iter().filter_map(|host| host_name(host)).collect(),
            origins: origins.iter().map(|origin| origin.trim_end_matches('/').to_ascii_lowercase()).collect(),
        }
    }

    /// Tells whether a `Host` value may be served.
    #[must_use]
    pub fn host(&self, value: &[u8]) -> bool {
        // What nearly every request sends, without a lower-case copy.
        if let Some(port) = value.strip_prefix(b"127.0.0.1").or_else(|| value.strip_prefix(b"localhost"))
            && (port.is_empty()
                || port.first() == Some(&b':')
                    && port.len() <= 6
                    && port.iter().skip(1).all(u8::is_ascii_digit))
        {
            return true;
        }
        let name = std::str::from_utf8(value).ok().and_then(host_name);
        name.is_some_and(|name| is_loopback(&name) || self.hosts.contains(&name))
    }

    /// Tells whether an `Origin` value may be served. `null` may not.
    #[must_use]
    pub fn origin(&self, value: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(value) else { return false };
        let text = text.to_ascii_lowercase();
        let Some((scheme, authority)) = text.split_once("://") else { return false };
        let own = matches!(scheme, "http" | "https")
            && host_name(authority).is_some_and(|name| is_loopback(&name) || self.hosts.contains(&name));
        own || self.origins.contains(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_values() {
        let both = Accepts { json: true, event_stream: true };
        assert_eq!(accepts(b"*/*"), both);
        assert_eq!(accepts(b"APPLICATION/JSON, Text/Event-Stream;q=0.5"), both);
        assert_eq!(accepts(b"application/json"), Accepts { json: true, event_stream: false });
        assert_eq!(
            accepts(b"text/event-stream, application/json;q=0.0"),
            Accepts { json: false, event_stream: true }
        );
        assert_eq!(accepts(b"text/html"), Accepts { json: false, event_stream: false });
    }

    #[test]
    fn mirrored_values_round_trip() {
        for text in ["plain", "", " lead", "R\u{e9}sum\u{e9}", "a\tb", "=?base64?x?=", "tail "] {
            assert_eq!(decode(encode(text).as_bytes()).unwrap(), text);
        }
        assert_eq!(decode(b"=?base64?%%%?="), Err(UnreadableValue));
        assert_eq!(decode("é".as_bytes()), Err(UnreadableValue));
        assert_eq!(decode(b"  padded  ").unwrap(), "padded");
    }

    #[test]
    fn ht_03_host_spellings() {
        let allowed = Allowed::new(&["mcp.example.com:443".to_owned()], &[]);
        for host in [
            "127.0.0.1:80",
            "localhost:1",
            "[::1]:80",
            "127.0.0.1",
            "LOCALHOST:80",
            "mcp.example.com",
            "MCP.example.com:8443",
        ] {
            assert!(allowed.host(host.as_bytes()), "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example:80",
            "localhost.evil.example",
            "",
            "a@127.0.0.1",
            "127.0.0.1:x",
            "127.0.0.1:80:90",
        ] {
            assert!(!allowed.host(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn ht_04_origin_is_three_valued() {
        let allowed = Allowed::new(&[], &["https://Claude.ai".to_owned()]);
        for origin in ["http://127.0.0.1:3000", "http://localhost", "https://CLAUDE.ai"] {
            assert!(allowed.origin(origin.as_bytes()), "{origin}");
        }
        for origin in [
            "null",
            "http://evil.example",
            "http://localhost.evil.example",
            "file://localhost",
            "https://claude.ai.evil",
        ] {
            assert!(!allowed.origin(origin.as_bytes()), "{origin}");
        }
    }
}
