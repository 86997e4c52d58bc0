//! A batch of 2025-03-26, taken apart and put together again by the same rules on every edge.
//!
//! Spec: 2025-03-26 basic/index#batching. Later revisions have none.

use std::sync::Arc;

use bytes::Bytes;
use trunkline_protocol::{Code, Message, Method, Refusal, Revision, envelope, scan, write};
use trunkline_service::shared::Shared;
use trunkline_service::{Caller, Endpoint};

use crate::admit;
use crate::legacy::{Call, Session};

/// One message of a batch.
pub(crate) enum Part {
    /// Wants nothing.
    Nothing,
    /// Cancels the request of that id (raw JSON).
    Cancel(Bytes),
    /// Answers a request of ours.
    Answered(Bytes),
    /// Is answered already.
    Answer(Vec<u8>),
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
    let mut out = Vec::new();
    let (kind, envelope) = match scan(&body) {
        Ok(scanned) => scanned,
        Err(refused) if refused.notification => return Part::Nothing,
        Err(refused) => {
            write::error(&mut out, refused.id.map(|id| id.of(&body)), refused.code, refused.message, None);
            return Part::Answer(out);
        }
    };
    let method = admit::method_of(&body, &envelope);
    if kind != Message::Request {
        return match kind {
            Message::Response => Part::Answered(body),
            _ if method == Method::Cancelled && envelope.request_id.is_present() => {
                Part::Cancel(admit::slice(&body, envelope.request_id.span))
            }
            _ => Part::Nothing,
        };
    }
    let id = admit::slice(&body, envelope.id.span);
    if method == Method::Initialize {
        let text = "`initialize` must not be in a batch";
        write::error(&mut out, Some(&id), Code::INVALID_REQUEST, text, None);
        return Part::Answer(out);
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

/// Puts the answers of a batch together; `None` when nothing is owed.
pub(crate) fn join(answers: &[Vec<u8>]) -> Option<Vec<u8>> {
    (!answers.is_empty()).then(|| [&b"["[..], &answers.join(&b','), b"]"].concat())
}
