//! What the stdio edge answers by itself, without asking a service: it counts under the limits of its caller as any other request
//! does.
//!
//! Whoever counts may have to ask the store. The dialogue waits for that, so that `initialize` comes before what is sent after it and
//! a flood fills the pipe and not the memory; the store is never waited for longer than one of its commands may take.

use bytes::Bytes;
use trunkline_protocol::Envelope;
use trunkline_service::trace::Mark;
use trunkline_service::{Endpoint, Failure};

use super::Dialogue;
use crate::admit;
use crate::batch::{self, Part};

/// A message that no service sees.
pub(super) enum Own {
    /// A notification: nothing is owed for it, and what it cancels is cancelled already, since that ends work.
    Notification,
    /// `initialize`.
    Handshake(Box<Handshake>),
    /// One whose answer is there, unless it is one too many: the raw JSON of its id if it has one, and the answer.
    Answered(Option<Bytes>, Vec<u8>),
    /// A batch, of which some parts may be such messages.
    Batch(Bytes),
}

/// An `initialize` that was not agreed on yet.
pub(super) struct Handshake {
    pub(super) body: Bytes,
    pub(super) envelope: Envelope,
}

impl Dialogue {
    /// Counts a message and does what it asks for, or says why not. A notification is never answered.
    pub(super) async fn settle(&mut self, own: Own) {
        if let Own::Batch(body) = own {
            return self.batch(&body).await;
        }
        let endpoint = self.live.load_full();
        let refused = admit::count(&endpoint, &endpoint.local()).await;
        match (own, refused) {
            (Own::Notification | Own::Batch(_), _) => {}
            (Own::Answered(_, answer), None) => self.gather_event(&answer),
            (Own::Answered(id, _), Some(failure)) => {
                self.gather_event(&batch::refusal(id.as_deref(), &failure))
            }
            (Own::Handshake(handshake), refused) => self.begin(&endpoint, &handshake, refused),
        }
    }

    fn begin(&mut self, endpoint: &Endpoint, handshake: &Handshake, refused: Option<Failure>) {
        let Handshake { body, envelope } = handshake;
        let id = admit::slice(body, envelope.id.span);
        let agreed = refused.map_or_else(|| self.initialize(endpoint, body, envelope, &id), Err);
        if let Err(failure) = agreed {
            let answer = self.failed(endpoint, &id, failure);
            self.gather_event(&answer);
        }
    }

    /// Writes why a request was refused before it reached a service.
    pub(super) fn failed(&self, endpoint: &Endpoint, id: &[u8], failure: Failure) -> Vec<u8> {
        let mark = Mark::of(admit::next_log_id());
        let mut answer = Vec::new();
        admit::write_outcome(&mut answer, id, self.revision(), endpoint, &Err(failure), mark);
        answer
    }

    /// Runs a batch as one piece of work, answered by one line.
    async fn batch(&mut self, body: &Bytes) {
        let endpoint = self.live.load_full();
        let Some(session) = self.session.clone() else { return };
        let caller = endpoint.local();
        let parts = match batch::parts(body, &session, &endpoint, self.live.shared(), &caller) {
            Ok(parts) => parts,
            Err(refused) => {
                let answer = batch::error(None, refused.code, refused.message);
                return Box::pin(self.settle(Own::Answered(None, answer))).await;
            }
        };
        let (mut answers, mut calls) = (Vec::new(), Vec::new());
        for part in parts {
            match part {
                Part::Call(call) => calls.push(super::legacy_call(*call)),
                Part::Response(body) => self.take_answer(body),
                Part::Cancel(id) => {
                    self.cancel(&id);
                    // Nothing is owed for it.
                    let _ = admit::count(&endpoint, &caller).await;
                }
                Part::Nothing => {
                    let _ = admit::count(&endpoint, &caller).await;
                }
                Part::Answered(id, answer) => {
                    answers.push(batch::counted(&endpoint, &caller, id.as_deref(), answer).await);
                }
            }
        }
        self.start(None, async move {
            answers.extend(futures_util::future::join_all(calls).await);
            batch::join(&answers).unwrap_or_default()
        });
    }
}
