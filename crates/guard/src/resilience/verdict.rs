//! What an outcome says of the source it came from.

use trunkline_service::{FailureKind, Fault, Outcome};

/// What one call showed of its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It works.
    Works,
    /// It failed.
    Failed(Fault),
    /// Nothing: the caller was wrong, or went away.
    Nothing,
}

impl Verdict {
    pub(super) fn of(outcome: &Outcome) -> Self {
        match outcome {
            Ok(reply) => match reply.fault() {
                Some(fault) => Self::Failed(fault),
                // It may have been refused before the source was asked.
                None if reply.is_error() => Self::Nothing,
                None => Self::Works,
            },
            Err(failure) => match (failure.fault(), failure.kind()) {
                (Some(fault), _) => Self::Failed(fault),
                (None, FailureKind::UpstreamUnavailable) => Self::Failed(Fault::Unknown),
                (None, FailureKind::DeadlinePassed) => Self::Failed(Fault::Late),
                (None, _) => Self::Nothing,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunkline_service::{Failure, Reply};

    #[test]
    fn a_mistake_of_the_caller_says_nothing_of_the_source() {
        let failure = |kind| Err(Failure::new(kind, "x"));
        for (outcome, verdict) in [
            (Ok(Reply::text("x")), Verdict::Works),
            (Ok(Reply::tool_error("x")), Verdict::Nothing),
            (Ok(Reply::tool_error("x").with_fault(Fault::Late)), Verdict::Failed(Fault::Late)),
            (failure(FailureKind::UpstreamUnavailable), Verdict::Failed(Fault::Unknown)),
            (failure(FailureKind::InvalidParams), Verdict::Nothing),
            // What is read has no result that could be an error.
            (
                Err(Failure::new(FailureKind::Overloaded, "x").with_fault(Fault::Busy)),
                Verdict::Failed(Fault::Busy),
            ),
            (
                Err(Failure::new(FailureKind::UpstreamUnavailable, "x").with_fault(Fault::NotDone)),
                Verdict::Failed(Fault::NotDone),
            ),
        ] {
            assert_eq!(Verdict::of(&outcome), verdict);
        }
    }
}
