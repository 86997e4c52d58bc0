//! What those get who waited for somebody else's question.

use std::sync::Arc;
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
    /// A result that tells why it is none, with nobody's number.
    Error(Box<Reply>),
    /// A request that could not be answered. Whoever sends it ends its text with the number of the request.
    Refused {
        kind: FailureKind,
        public: Box<str>,
        data: Option<Box<[u8]>>,
        retry_after: Option<Duration>,
        fault: Option<Fault>,
    },
}

impl Landing {
    /// Returns what an error result means for the others; `None` when each has to try: the time that was over was the leader's own.
    pub(crate) fn of_error(reply: &Reply) -> Option<Self> {
        if reply.fault() == Some(Fault::Late) {
            return None;
        }
        Some(Self::Failed(Failed::Error(Box::new(reply.again(0)))))
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
                fault: failure.fault(),
            })
        })
    }
}

impl Failed {
    /// Returns the failure again, for the request of that number.
    pub(crate) fn outcome(&self, log_id: u64) -> Outcome {
        match self {
            Self::Error(reply) => Ok(reply.again(log_id)),
            Self::Refused { kind, public, data, retry_after, fault } => {
                let mut failure = Failure::new(*kind, public.to_string());
                if let Some(data) = data {
                    failure = failure.with_data(data.to_vec());
                }
                if let Some(wait) = retry_after {
                    failure = failure.with_retry_after(*wait);
                }
                if let Some(fault) = fault {
                    failure = failure.with_fault(*fault);
                }
                Err(failure)
            }
        }
    }
}
