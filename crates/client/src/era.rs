//! Choosing the era: what an answer to the opening `server/discover` says about the server.
//!
//! Only a proof of the modern era counts as modern; everything else a server may say to an unknown method, silence
//! included, means the handshake. The choice is made once per client. Spec: 2026-07-28 basic/transports, "Backward
//! Compatibility" of stdio and Streamable HTTP.

use std::fmt;

use serde::Deserialize;
use trunkline_protocol::{Code, Revision};

use crate::message::{Answer, RpcError};

/// Which of the two shapes of the protocol a server is spoken to in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Era {
    /// 2026-07-28 and later: each request carries its own version and capabilities.
    Modern,
    /// 2025-11-25 and earlier: `initialize` first, then a session.
    Legacy,
}

impl fmt::Display for Era {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Modern => "modern",
            Self::Legacy => "legacy",
        })
    }
}

/// What an answer to `server/discover` means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Go on with stateless requests.
    Modern,
    /// Go on with `initialize`.
    Legacy,
    /// A modern server that speaks no revision of ours, with what it offers.
    NothingInCommon(Vec<String>),
}

/// A revision before the first that Trunkline serves; as a client it differs in nothing that tools need.
const OLDEST: &str = "2024-11-05";

/// Tells whether an `initialize` answered with `version` can go on.
pub(crate) fn speaks_legacy(version: &str) -> bool {
    version == OLDEST || Revision::parse(version.as_bytes()).is_some_and(|revision| !revision.is_modern())
}

/// Judges the answer to `server/discover`.
pub(crate) fn judge(answer: &Answer) -> Verdict {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Discovered {
        supported_versions: Vec<String>,
    }
    #[derive(Deserialize)]
    struct Unsupported {
        supported: Vec<String>,
    }
    match answer {
        Ok(result) => match serde_json::from_str::<Discovered>(result.get()) {
            Ok(discovered) => choose(discovered.supported_versions),
            // Some handshake-era servers answer anything with an empty result.
            Err(_) => Verdict::Legacy,
        },
        Err(error) if is(error, Code::UNSUPPORTED_VERSION) => {
            let data =
                error.data.as_ref().and_then(|data| serde_json::from_str::<Unsupported>(data.get()).ok());
            choose(data.map(|data| data.supported).unwrap_or_default())
        }
        Err(error) if is(error, Code::HEADER_MISMATCH) || is(error, Code::MISSING_CAPABILITY) => {
            Verdict::Modern
        }
        Err(_) => Verdict::Legacy,
    }
}

/// A list with only handshake revisions is a wish for the handshake: they have no other form.
fn choose(versions: Vec<String>) -> Verdict {
    if versions.iter().any(|version| version == Revision::LATEST.as_str()) {
        Verdict::Modern
    } else if versions.iter().any(|version| speaks_legacy(version)) {
        Verdict::Legacy
    } else {
        Verdict::NothingInCommon(versions)
    }
}

fn is(error: &RpcError, code: Code) -> bool {
    error.code == i64::from(code.0)
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    fn error(code: i64, data: &str) -> Answer {
        Err(RpcError { code, message: String::new(), data: RawValue::from_string(data.to_owned()).ok() })
    }

    #[test]
    fn cl_05_the_answer_to_discover_decides() {
        for code in [-32601, -32602, -32000, -32600, -32001, 0] {
            assert_eq!(judge(&error(code, "null")), Verdict::Legacy, "{code}");
        }
        assert_eq!(judge(&error(-32022, r#"{"supported":["2026-07-28"],"requested":"x"}"#)), Verdict::Modern);
        let future = Verdict::NothingInCommon(vec!["2030-01-01".to_owned()]);
        assert_eq!(judge(&error(-32022, r#"{"supported":["2030-01-01"]}"#)), future);
        assert_eq!(judge(&error(-32022, "null")), Verdict::NothingInCommon(Vec::new()));
        assert_eq!(judge(&error(-32022, r#"{"supported":["2025-06-18"]}"#)), Verdict::Legacy);
        assert_eq!(judge(&error(-32020, "null")), Verdict::Modern);
        let result = |text: &str| Ok(RawValue::from_string(text.to_owned()).unwrap());
        assert_eq!(judge(&result(r#"{"supportedVersions":["2030-01-01","2026-07-28"]}"#)), Verdict::Modern);
        assert_eq!(judge(&result(r#"{"supportedVersions":["2030-01-01"]}"#)), future);
        assert_eq!(judge(&result("{}")), Verdict::Legacy);
    }
}
