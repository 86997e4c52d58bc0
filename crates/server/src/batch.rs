//! A batch of 2025-03-26, taken apart and put together again by the same rules on every edge.
//!
//! Spec: 2025-03-26 basic/index#batching. Later revisions have none.

use std::sync::Arc;

use bytes::Bytes;
use trunkline_protocol::{Code, Message, Method, Refusal, Revision, envelope, scan, write};
use trunkline_service::shared::Shared;
use trunkline_service::{Caller, Endpoint, Failure};

use crate::admit;
use crate::legacy::{Call, Session};

/// One message of a batch.
pub(crate) enum Part {
    /// Wants nothing.
    Nothing,
    /// Cancels the request of that id (raw JSON).
    Cancel(Bytes),
    /// Answers a request of ours.
    Response(Bytes),
    /// Is answered already: the raw JSON of its id if it has one, and the answer.
    Answered(Option<Bytes>, Vec<u8>),
    /// Has to be called.
    Call(Box<Call>),
}

/// Tells whether a body may be a batch of this session.
pub(crate) fn is_batch(body: &[u8], session: Option<&Session>) -> bool {
    body.trim_ascii_start().first() == Some(&b'[')
        && session.is_some_and(|session| session.revision == Revision::V2025_03_26)
}

/// Takes a batch apart.
///
/// # Errors
/// The refusal of the batch as a whole.
pub(crate) fn parts(
    body: &Bytes,
    session: &Session,
    endpoint: &Arc<Endpoint>,
    shared: &Arc<dyn Shared>,
    caller: &Arc<Caller>,
) -> Result<Vec<Part>, Refusal> {
    let spans = envelope::batch(body)?;
    let messages = spans.iter().map(|span| body.slice(span.start as usize..span.end as usize));
    Ok(messages.map(|message| part(message, session, endpoint, shared, caller)).collect())
}

fn part(
    body: Bytes,
    session: &Session,
    endpoint: &Arc<Endpoint>,
    shared: &Arc<dyn Shared>,
    caller: &Arc<Caller>,
) -> Part {
    let (kind, envelope) = match scan(&body) {
        Ok(scanned) => scanned,
        Err(refused) if refused.notification => return Part::Nothing,
        Err(refused) => {
            let id = refused.id.map(|id| admit::slice(&body, id));
            let answer = error(id.as_deref(), refused.code, refused.message);
            return Part::Answered(id, answer);
        }
    };
    let method = admit::method_of(&body, &envelope);
    if kind != Message::Request {
        return match kind {
            Message::Response => Part::Response(body),
            _ if method == Method::Cancelled && envelope.request_id.is_present() => {
                Part::Cancel(admit::slice(&body, envelope.request_id.span))
            }
            _ => Part::Nothing,
        };
    }
    let id = admit::slice(&body, envelope.id.span);
    if method == Method::Initialize {
        let text = "`initialize` must not be in a batch";
        let answer = error(Some(&id), Code::INVALID_REQUEST, text);
        return Part::Answered(Some(id), answer);
    }
    // A batch is answered whole: there is no stream to ask the client on.
    let (session, caller) = (session.clone(), Arc::clone(caller));
    Part::Call(Box::new(Call::new(
        Arc::clone(endpoint),
        shared,
        session,
        caller,
        (body, envelope, method),
        None,
    )))
}

/// Counts a message that the edge answers by itself, and returns its answer, or why it has none.
pub(crate) async fn counted(
    endpoint: &Endpoint,
    caller: &Arc<Caller>,
    id: Option<&[u8]>,
    answer: Vec<u8>,
) -> Vec<u8> {
    match admit::count(endpoint, caller).await {
        None => answer,
        Some(failure) => refusal(id, &failure),
    }
}

/// Returns the message by which something is refused that the edge would have answered by itself.
pub(crate) fn refusal(id: Option<&[u8]>, failure: &Failure) -> Vec<u8> {
    tracing::debug!("a message was refused: {failure}");
    let mut message = Vec::new();
    write::error(&mut message, id, failure.kind().row().code, failure.public(), failure.data());
    message
}

/// Returns a message that says what is wrong.
pub(crate) fn error(id: Option<&[u8]>, code: Code, text: &str) -> Vec<u8> {
    let mut message = Vec::new();
    write::error(&mut message, id, code, text, None);
    message
}

/// Puts the answers of a batch together; `None` when nothing is owed.
pub(crate) fn join(answers: &[Vec<u8>]) -> Option<Vec<u8>> {
    (!answers.is_empty()).then(|| [&b"["[..], &answers.join(&b','), b"]"].concat())
}
