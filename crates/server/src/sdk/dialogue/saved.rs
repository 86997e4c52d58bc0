//! What a call carries from round to round, sealed in `requestState`: answers and step results, and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use trunkline_service::request::Input;
use trunkline_service::seal::{Purpose, Sealer, now};
use trunkline_service::{Failure, FailureKind, Reply, Request};

use super::binding::binding;
use super::state::{Dialogue, Round};

/// Most bytes of answers and step results of one call, before sealing.
pub const MAX_STATE: usize = 16 * 1024;
/// For how long a client may take to answer.
pub const STATE_TTL: Duration = Duration::from_secs(600);

/// The content of a `requestState`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Saved {
    #[serde(rename = "q", default)]
    pub(super) questions: Vec<SavedQuestion>,
    #[serde(rename = "s", default)]
    pub(super) steps: Vec<SavedStep>,
}

/// A question of an earlier round.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SavedQuestion {
    #[serde(rename = "k")]
    pub(super) key: String,
    /// Tells whether the same question is asked again.
    #[serde(rename = "f")]
    pub(super) fingerprint: u64,
    /// The answer as it came; absent while there is none.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub(super) answer: Option<Box<RawValue>>,
}

/// A step of an earlier round.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SavedStep {
    #[serde(rename = "n")]
    pub(super) name: String,
    #[serde(rename = "r")]
    pub(super) result: Box<RawValue>,
}

impl Round {
    /// Writes the result that asks the client.
    ///
    /// # Errors
    /// [`FailureKind::Internal`] when there is too much to remember.
    pub(super) fn into_reply(self, request: &Request, sealer: &Sealer) -> Result<Reply, Failure> {
        let internal = |text| Failure::new(FailureKind::Internal, text);
        let payload = serde_json::to_vec(&self.saved)
            .map_err(|error| internal("the state of this call cannot be written").with_source(error))?;
        if payload.len() > MAX_STATE {
            let text = format!(
                "the answers and step results of this call take {} bytes, and {MAX_STATE} can travel with the client; keep large results elsewhere and let the step return where they are",
                payload.len()
            );
            tracing::error!(bytes = payload.len(), "the state of a call is too large");
            return Err(Failure::new(FailureKind::Internal, text));
        }
        let expires = now().saturating_add(STATE_TTL.as_secs());
        let sealed = sealer
            .seal(Purpose::State, &binding(request)?, Some(expires), &payload)
            .map_err(|error| internal("the state of this call cannot be sealed").with_source(error))?;
        Ok(Reply::input_required(self.requests.as_bytes(), Some(&sealed)))
    }
}

/// Takes a conversation up again with what came with the request.
///
/// # Errors
/// [`FailureKind::InvalidParams`]: a state that was altered, has expired, or belongs to another caller, method, name or
/// arguments; answers that are no object of objects. Spec: 2026-07-28 basic/patterns/mrtr.
pub(super) fn resume(request: &Request, input: &Input, sealer: &Sealer) -> Result<Dialogue, Failure> {
    let saved = match &input.state {
        None => None,
        Some(state) => Some(open(request, state, sealer)?),
    };
    Ok(Dialogue::resume(request, saved, answers(&input.responses)?))
}

fn open(request: &Request, state: &str, sealer: &Sealer) -> Result<Saved, Failure> {
    let refused = || {
        let text = "`requestState` is altered, expired, or of another request; send the request without it to begin again";
        Failure::new(FailureKind::InvalidParams, text)
    };
    let payload = sealer
        .open(Purpose::State, &binding(request)?, state.as_bytes())
        .map_err(|error| refused().with_source(error))?;
    serde_json::from_slice(&payload).map_err(|error| refused().with_source(error))
}

/// Reads `inputResponses`: an object of objects.
///
/// # Errors
/// [`FailureKind::InvalidParams`] for anything else.
pub(crate) fn answers(raw: &[u8]) -> Result<BTreeMap<String, Box<RawValue>>, Failure> {
    if raw.is_empty() {
        return Ok(BTreeMap::new());
    }
    let refused = |what: &str| {
        let text =
            format!("`inputResponses` must be an object that holds one object for each question; {what}");
        Failure::new(FailureKind::InvalidParams, text)
    };
    let answers: BTreeMap<String, Box<RawValue>> =
        serde_json::from_slice(raw).map_err(|error| refused("it is none").with_source(error))?;
    match answers.iter().find(|(_, answer)| !answer.get().starts_with('{')) {
        None => Ok(answers),
        Some((key, _)) => {
            let key: String = key.chars().take(64).collect();
            Err(refused(&format!("the answer to `{key}` is no object")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::sync::Arc;
    use trunkline_protocol::{Method, Revision, scan};
    use trunkline_service::Caller;

    fn request(subject: &str, name: &str, arguments: &str) -> Request {
        let body = Bytes::from(format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{name}","arguments":{arguments}}}}}"#
        ));
        let (_, envelope) = scan(&body).unwrap();
        let caller = Arc::new(Caller { subject: subject.into(), ..Caller::default() });
        Request::new(body, &envelope, Method::ToolsCall, Revision::LATEST, caller, 0)
    }

    fn sealed(request: &Request, sealer: &Sealer, expires: u64) -> Input {
        let state = sealer.seal(Purpose::State, &binding(request).unwrap(), Some(expires), b"{}").unwrap();
        Input { responses: Bytes::new(), state: Some(state.into()) }
    }

    fn kind(request: &Request, input: &Input, sealer: &Sealer) -> Option<FailureKind> {
        resume(request, input, sealer).err().map(|failure| failure.kind())
    }

    #[test]
    fn a_state_opens_for_its_own_request_only_and_not_for_ever() {
        let sealer = Sealer::random().unwrap();
        let asked = request("ann", "t", r#"{"a":1,"b":[2.0]}"#);
        let input = sealed(&asked, &sealer, now() + 600);
        let refused = Some(FailureKind::InvalidParams);
        assert_eq!(kind(&asked, &input, &sealer), None);
        assert_eq!(
            kind(&request("ann", "t", r#"{ "b" : [2], "a" : 1 }"#), &input, &sealer),
            None,
            "as rewritten"
        );
        assert_eq!(kind(&request("bob", "t", r#"{"a":1,"b":[2.0]}"#), &input, &sealer), refused);
        assert_eq!(kind(&request("ann", "u", r#"{"a":1,"b":[2.0]}"#), &input, &sealer), refused);
        assert_eq!(kind(&request("ann", "t", r#"{"a":1,"b":[2.5]}"#), &input, &sealer), refused);
        assert_eq!(kind(&asked, &input, &Sealer::random().unwrap()), refused);
        assert_eq!(kind(&asked, &sealed(&asked, &sealer, now() - 1), &sealer), refused);
        let mut altered = input.clone();
        altered.state = altered.state.map(|state| format!("{state}-TAMPERED").into());
        assert_eq!(kind(&asked, &altered, &sealer), refused);
    }

    #[test]
    fn answers_are_an_object_of_objects() {
        for good in ["", "{}", r#"{"a":{}}"#, " {\"a\" : {\"b\":1} } "] {
            assert!(answers(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in ["null", "[]", "1", r#"{"user_name":12345}"#, r#"{"a":null}"#, r#"{"a":[]}"#] {
            assert_eq!(answers(bad.as_bytes()).unwrap_err().kind(), FailureKind::InvalidParams, "{bad}");
        }
    }
}
