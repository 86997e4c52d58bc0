//! What `initialize` agreed on, and the session id in which it rides with the client.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use trunkline_protocol::{Envelope, Kind, Revision, member};
use trunkline_service::request::LegacyClient;
use trunkline_service::seal::{Purpose, Sealer, Unsealable, now};
use trunkline_service::shared::session_number;
use trunkline_service::{Caller, Endpoint, Failure, FailureKind, Reply};

/// How long a session id is good, in seconds: 24 hours.
const LIFETIME: u64 = 24 * 60 * 60;
/// The longest client name that is kept, in bytes.
const MAX_NAME: usize = 64;
/// The longest capabilities that are kept as they came; larger ones are cut to what revisions define.
const MAX_CAPABILITIES: usize = 1024;
/// The longest session id that is looked at.
const MAX_ID: usize = 2048;

/// What `initialize` agreed on.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// A number of its own, to end it by; its first half is its caller's.
    pub(crate) number: u128,
    /// The revision agreed on.
    pub(crate) revision: Revision,
    /// What the client said of itself.
    pub(crate) client: Arc<LegacyClient>,
    /// When its id expires, in seconds since 1970.
    pub(crate) expires: u64,
}

/// Why a session id is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown, ended or expired session; send `initialize` without a session id")]
pub(crate) struct UnknownSession;

impl Session {
    /// When it began, in seconds since 1970.
    pub(crate) fn began(&self) -> u64 {
        self.expires.saturating_sub(LIFETIME)
    }

    /// Agrees with the client of an `initialize` request, who is that caller.
    ///
    /// # Errors
    /// `InvalidParams` when `protocolVersion` is no string.
    pub(crate) fn agree(body: &[u8], envelope: &Envelope, caller: &Caller) -> Result<Self, Failure> {
        let Some(wanted) = envelope.asked_version.text(body) else {
            let text = format!("`protocolVersion` must be a string; served with a handshake: {}", served());
            return Err(Failure::new(FailureKind::InvalidParams, text));
        };
        let mut number = [0; 8];
        trunkline_service::seal::random(&mut number).map_err(|error| {
            Failure::new(FailureKind::Internal, "no session can be made now").with_source(error)
        })?;
        Ok(Self {
            number: session_number(caller, u64::from_be_bytes(number)),
            revision: Revision::negotiate(wanted.as_bytes()),
            client: Arc::new(LegacyClient {
                capabilities: capabilities(body, envelope),
                name: client_name_in(envelope.asked_client.raw(body)),
            }),
            expires: now() + LIFETIME,
        })
    }

    /// Returns the session id to give the client.
    ///
    /// # Errors
    /// [`Unsealable`] when the system gives no randomness.
    pub(crate) fn seal(&self, sealer: &Sealer, caller: &Caller) -> Result<String, Unsealable> {
        let mut payload = Vec::with_capacity(128);
        payload.extend_from_slice(&self.number.to_be_bytes());
        payload.extend_from_slice(self.revision.as_str().as_bytes());
        payload.extend_from_slice(&self.expires.to_be_bytes());
        payload.extend_from_slice(&u16::try_from(self.client.name.len()).unwrap_or(0).to_be_bytes());
        payload.extend_from_slice(self.client.name.as_bytes());
        payload.extend_from_slice(&self.client.capabilities);
        sealer.seal(Purpose::Session, &caller.identity(), Some(self.expires), &payload)
    }

    /// Opens a session id.
    ///
    /// # Errors
    /// [`UnknownSession`] when it is not ours, altered, expired or another caller's.
    pub(crate) fn open(sealer: &Sealer, caller: &Caller, id: &[u8]) -> Result<Self, UnknownSession> {
        if id.len() > MAX_ID {
            return Err(UnknownSession);
        }
        let payload = sealer.open(Purpose::Session, &caller.identity(), id).map_err(|_| UnknownSession)?;
        Self::read(payload).ok_or(UnknownSession)
    }

    fn read(payload: Vec<u8>) -> Option<Self> {
        let payload = Bytes::from(payload);
        let (number, rest) = payload.split_first_chunk::<16>()?;
        let (date, rest) = rest.split_first_chunk::<10>()?;
        let (expires, rest) = rest.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let name = rest.get(..usize::from(u16::from_be_bytes(*length)))?;
        let capabilities = payload.slice(36 + name.len()..);
        Some(Self {
            number: u128::from_be_bytes(*number),
            revision: Revision::parse(date)?,
            client: Arc::new(LegacyClient { capabilities, name: std::str::from_utf8(name).ok()?.into() }),
            expires: u64::from_be_bytes(*expires),
        })
    }

    /// Returns the answer to `initialize`.
    pub(crate) fn initialize_reply(&self, endpoint: &Endpoint, caller: &Caller) -> Reply {
        let mut members = format!(
            "\"protocolVersion\":\"{}\",\"capabilities\":{},\"serverInfo\":{}",
            self.revision,
            capabilities_of(endpoint, caller),
            endpoint.info.implementation(self.revision)
        );
        if let Some(instructions) = &endpoint.info.instructions {
            members.push_str(&format!(",\"instructions\":{}", json!(instructions)));
        }
        Reply::from_members(members.into_bytes())
    }
}

/// What the endpoint can do as revisions with a handshake know it: no extensions, and nothing they have no name for.
fn capabilities_of(endpoint: &Endpoint, caller: &Caller) -> Value {
    let known = |name: &str| {
        matches!(name, "tools" | "prompts" | "resources" | "completions" | "logging" | "experimental")
    };
    let all = endpoint.capabilities_for(caller);
    let all = all.as_object().into_iter().flatten();
    all.filter(|(name, _)| known(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn served() -> String {
    let dates: Vec<&str> = Revision::ALL
        .iter()
        .filter(|revision| !revision.is_modern())
        .map(|revision| revision.as_str())
        .collect();
    dates.join(", ")
}

/// Returns the name in the raw JSON of a `clientInfo`, cut to 64 bytes; empty when there is none.
pub(crate) fn client_name_in(info: &[u8]) -> Box<str> {
    let mut name = member(info, "name").text(info).map(std::borrow::Cow::into_owned).unwrap_or_default();
    while name.len() > MAX_NAME {
        name.pop();
    }
    name.into()
}

/// The client's capabilities as they came, or, when they are too long for a session id, those that revisions define.
fn capabilities(body: &[u8], envelope: &Envelope) -> Bytes {
    let raw = envelope.asked_capabilities.raw(body);
    if envelope.asked_capabilities.kind != Kind::Object {
        return Bytes::from_static(b"{}");
    }
    if raw.len() <= MAX_CAPABILITIES {
        return Bytes::copy_from_slice(raw);
    }
    let mut known = Map::new();
    for (name, details) in
        [("roots", &[][..]), ("sampling", &["tools", "context"]), ("elicitation", &["form", "url"])]
    {
        let value = member(raw, name);
        if value.kind != Kind::Object {
            continue;
        }
        let has = |detail: &&&str| member(value.raw(raw), detail).kind == Kind::Object;
        let details = details.iter().filter(has).map(|detail| ((*detail).to_owned(), json!({})));
        known.insert(name.to_owned(), Value::Object(details.collect()));
    }
    Value::Object(known).to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agree(params: &str) -> Session {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{params}}}"#);
        let (_, envelope) = trunkline_protocol::scan(body.as_bytes()).unwrap();
        Session::agree(body.as_bytes(), &envelope, &Caller::local()).unwrap()
    }

    #[test]
    fn a_session_comes_back_from_its_id_for_the_same_caller_only() {
        let sealer = Sealer::random().unwrap();
        let session = agree(
            r#"{"protocolVersion":"2025-06-18","capabilities":{"roots":{}},"clientInfo":{"name":"probe","version":"1"}}"#,
        );
        let id = session.seal(&sealer, &Caller::local()).unwrap();
        assert!(id.bytes().all(|byte| byte.is_ascii_graphic()));
        let opened = Session::open(&sealer, &Caller::local(), id.as_bytes()).unwrap();
        assert_eq!(
            (opened.number, opened.revision, opened.expires),
            (session.number, Revision::V2025_06_18, session.expires)
        );
        assert_eq!(&*opened.client.name, "probe");
        assert_eq!(&opened.client.capabilities[..], br#"{"roots":{}}"#);
        let other = Caller { subject: "ann".into(), ..Caller::default() };
        assert_eq!(Session::open(&sealer, &other, id.as_bytes()).unwrap_err(), UnknownSession);
    }

    #[test]
    fn a_hostile_client_cannot_make_the_id_long() {
        let sealer = Sealer::random().unwrap();
        let long = "\u{1f600}".repeat(100_000);
        let session = agree(&format!(
            r#"{{"protocolVersion":"x","capabilities":{{"elicitation":{{"x":"{long}"}}}},"clientInfo":{{"name":"{long}"}}}}"#
        ));
        let id = session.seal(&sealer, &Caller::local()).unwrap();
        assert!(id.len() <= MAX_ID, "{}", id.len());
        let opened = Session::open(&sealer, &Caller::local(), id.as_bytes()).unwrap();
        assert_eq!(&opened.client.capabilities[..], br#"{"elicitation":{}}"#);
        assert_eq!(opened.client.name.len(), 64);
    }
}
