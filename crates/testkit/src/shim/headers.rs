//! What Streamable HTTP checks before a message reaches the program: who asks, and whether the headers say what the body says.

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderValue};
use trunkline_protocol::header::{Allowed, decode};
use trunkline_protocol::param_header::ParamHeader;
use trunkline_protocol::{Envelope, Method};

/// Lets in what comes from this machine. Spec: 2026-07-28 basic/transports/streamable-http#security-warning.
pub(super) fn check_host_and_origin(headers: &HeaderMap) -> Result<(), &'static str> {
    let allowed = Allowed::default();
    if !headers.get(HOST).is_some_and(|host| allowed.host(host.as_bytes())) {
        return Err("this `Host` is not served");
    }
    match headers.get(ORIGIN) {
        Some(origin) if !allowed.origin(origin.as_bytes()) => Err("this `Origin` is not served"),
        _ => Ok(()),
    }
}

/// Compares the mirrored headers with the body. Spec: 2026-07-28 basic/transports/streamable-http#server-validation.
pub(super) fn check_mirrored(
    headers: &HeaderMap,
    body: &[u8],
    envelope: &Envelope,
    params: &[ParamHeader],
) -> Result<(), String> {
    check(headers, "mcp-protocol-version", envelope.version.bytes(body).as_deref())?;
    let method = envelope.method.bytes(body);
    check(headers, "mcp-method", method.as_deref())?;
    let name = match method.map_or(Method::Unknown, |method| Method::parse(&method)) {
        Method::ToolsCall | Method::PromptsGet => envelope.name,
        Method::ResourcesRead => envelope.uri,
        Method::TasksGet | Method::TasksUpdate | Method::TasksCancel => envelope.task_id,
        _ => return Ok(()),
    };
    if let Some(name) = name.bytes(body) {
        check(headers, "mcp-name", Some(&name))?;
    }
    for param in params {
        let values = lines(headers, &param.header);
        param
            .check(&values, body, envelope.arguments)
            .map_err(|mismatch| format!("header `{}` {mismatch}", param.header))?;
    }
    Ok(())
}

fn check(headers: &HeaderMap, name: &str, expected: Option<&[u8]>) -> Result<(), String> {
    let found = match lines(headers, name).as_slice() {
        [] => return Err(format!("header `{name}` is missing")),
        [one] => decode(one).map_err(|error| format!("header `{name}`: {error}"))?,
        _ => return Err(format!("header `{name}` occurs more than once")),
    };
    if Some(found.as_bytes()) == expected {
        Ok(())
    } else {
        Err(format!("header `{name}` differs from the body"))
    }
}

fn lines<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a [u8]> {
    headers.get_all(name).iter().map(HeaderValue::as_bytes).map(<[u8]>::trim_ascii).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;
    use trunkline_protocol::scan;

    const CALL: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;

    fn outcome(headers: &[(&'static str, &'static str)]) -> Result<(), String> {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        check_mirrored(&headers, CALL, &scan(CALL).unwrap().1, &[])
    }

    #[test]
    fn headers_must_say_what_the_body_says() {
        let good =
            [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", " echo ")];
        assert_eq!(outcome(&good), Ok(()));
        for (at, wrong) in [(0, "2025-11-25"), (1, "TOOLS/CALL"), (2, "ping"), (2, "=?base64?!?=")] {
            let mut headers = good;
            headers[at].1 = wrong;
            assert!(outcome(&headers).unwrap_err().contains(good[at].0), "{wrong}");
        }
        for left_out in 0..3 {
            let headers: Vec<_> =
                good.iter().copied().filter(|(name, _)| *name != good[left_out].0).collect();
            assert!(outcome(&headers).unwrap_err().ends_with("is missing"));
        }
    }
}
