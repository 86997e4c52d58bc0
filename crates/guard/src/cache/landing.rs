//! What those get who waited for somebody else's question.

use std::sync::Arc;

use bytes::Bytes;
use std::time::Duration;
use trunkline_service::{Failure, FailureKind, Fault, Outcome, Reply};

use super::held::Held;

/// What becomes of a question that several asked.
#[derive(Debug)]
pub(crate) enum Landing {
    /// This answer.
    Kept(Arc<Held>),
    /// The same failure, which each would have met.
    Failed(Failed),
    /// Its answers are nobody else's: each asks alone.
    Alone,
}

/// A failure that each of those who wait would have met.
#[derive(Debug)]
pub(crate) enum Failed {
    /// A result that tells why it is none.
    Error { members: Bytes, fault: Option<Fault> },
    /// A request that could not be answered.
    Refused { kind: FailureKind, public: Box<str>, data: Option<Box<[u8]>>, retry_after: Option<Duration> },
}

impl Landing {
    /// Returns what an error result means for the others; `None` when each has to try: the time that was over was the leader's own.
    pub(crate) fn of_error(reply: &Reply) -> Option<Self> {
        let fault = reply.fault();
        if fault == Some(Fault::Late) {
            return None;
        }
        let members = Bytes::copy_from_slice(reply.members());
        Some(Self::Failed(Failed::Error { members, fault }))
    }

    /// Returns what a failure means for the others: a source that is down or has no room is so for each of them.
    pub(crate) fn of_failure(failure: &Failure) -> Option<Self> {
        let kind = failure.kind();
        matches!(kind, FailureKind::UpstreamUnavailable | FailureKind::Overloaded).then(|| {
            Self::Failed(Failed::Refused {
                kind,
                public: failure.public().into(),
                data: failure.data().map(Into::into),
                retry_after: failure.retry_after(),
            })
        })
    }
}

impl Failed {
    /// Returns the failure again.
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Error { members, fault } => {
                let reply = Reply::from_shared(members.clone()).with_error_mark();
                Ok(match fault {
                    Some(fault) => reply.with_fault(*fault),
                    None => reply,
                })
            }
            Self::Refused { kind, public, data, retry_after } => {
                let mut failure = Failure::new(*kind, public.to_string());
                if let Some(data) = data {
                    failure = failure.with_data(data.to_vec());
                }
                if let Some(wait) = retry_after {
                    failure = failure.with_retry_after(*wait);
                }
                Err(failure)
            }
        }
    }
}
