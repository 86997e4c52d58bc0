//! How a request came to its end: one set of words for the lines of the record, the log and the metrics.

use trunkline_service::{FailureKind, Outcome, ReplyKind};

/// How a request came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was answered.
    Answered,
    /// Its client is asked for something.
    InputRequired,
    /// It goes on as a task.
    Task,
    /// The tool could not do what was asked.
    ToolError,
    /// It was a subscription, and the server ended it.
    Closed,
    /// It was a subscription that goes on.
    Opened,
    /// Its future was dropped.
    Cancelled,
    /// It came to nothing when its time was over.
    DeadlinePassed,
    /// A handler panicked.
    Panicked,
    /// It failed.
    Failed(FailureKind),
}

/// The ends that are no failures, in the order of their numbers.
const PLAIN: [Ended; 9] = [
    Ended::Answered,
    Ended::ToolError,
    Ended::InputRequired,
    Ended::Task,
    Ended::Closed,
    Ended::Opened,
    Ended::Cancelled,
    Ended::DeadlinePassed,
    Ended::Panicked,
];

impl Ended {
    /// How many numbers there are. The last is that of failures whose kind has none.
    pub(crate) const COUNT: usize = PLAIN.len() + FailureKind::ALL.len() + 1;

    /// Returns the end of an outcome.
    pub(crate) fn of(outcome: &Outcome, was_open: bool) -> Self {
        match outcome {
            Ok(_) if was_open => Self::Closed,
            Ok(reply) if reply.is_error() => Self::ToolError,
            Ok(reply) => match reply.kind() {
                ReplyKind::Complete => Self::Answered,
                ReplyKind::InputRequired => Self::InputRequired,
                ReplyKind::Task => Self::Task,
            },
            Err(failure) => Self::Failed(failure.kind()),
        }
    }

    /// Returns the end of a request whose future was dropped.
    pub(crate) fn of_dropped() -> Self {
        if std::thread::panicking() { Self::Panicked } else { Self::Cancelled }
    }

    /// Returns its number, for tables that have a place for each.
    pub(crate) fn number(self) -> usize {
        match self {
            // First of all: nearly every request.
            Self::Answered => 0,
            // One number, as it is one word.
            Self::Failed(FailureKind::DeadlinePassed) => Self::DeadlinePassed.number(),
            Self::Failed(kind) => {
                let known = FailureKind::ALL.iter().position(|known| *known == kind);
                known.map_or(Self::COUNT - 1, |number| PLAIN.len() + number)
            }
            plain => PLAIN.iter().position(|known| *known == plain).unwrap_or(Self::COUNT - 1),
        }
    }

    /// Returns the words of all numbers, in their order.
    pub(crate) fn words() -> impl Iterator<Item = &'static str> {
        let failures = FailureKind::ALL.into_iter().map(Self::Failed);
        PLAIN.into_iter().chain(failures).map(Self::word).chain(["failed"])
    }

    /// Returns the word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Answered => "ok",
            Self::InputRequired => "input-required",
            Self::Task => "task",
            Self::ToolError => "tool-error",
            Self::Closed => "ended",
            Self::Opened => "opened",
            Self::Cancelled => "cancelled",
            // Whether the tool's answer or a failure tells it.
            Self::DeadlinePassed | Self::Failed(FailureKind::DeadlinePassed) => "deadline-passed",
            Self::Panicked => "panicked",
            Self::Failed(kind) => failure_word(kind),
        }
    }
}

fn failure_word(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Parse => "parse",
        FailureKind::InvalidRequest => "invalid-request",
        FailureKind::MethodNotFound => "method-not-found",
        FailureKind::InvalidParams => "invalid-params",
        FailureKind::ResourceNotFound => "resource-not-found",
        FailureKind::HeaderMismatch => "header-mismatch",
        FailureKind::MissingCapability => "missing-capability",
        FailureKind::UnsupportedVersion => "unsupported-version",
        FailureKind::Unauthenticated => "unauthenticated",
        FailureKind::Forbidden => "forbidden",
        FailureKind::RateLimited => "rate-limited",
        FailureKind::Overloaded => "overloaded",
        FailureKind::UpstreamUnavailable => "upstream-unavailable",
        FailureKind::DeadlinePassed => "deadline-passed",
        FailureKind::Configuration => "configuration",
        FailureKind::Internal => "internal",
        _ => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_end_has_a_number_of_its_own_and_its_word_stands_there() {
        let all: Vec<Ended> = PLAIN.into_iter().chain(FailureKind::ALL.map(Ended::Failed)).collect();
        let words: Vec<&str> = Ended::words().collect();
        assert_eq!(words.len(), Ended::COUNT);
        for ended in &all {
            assert_eq!(words[ended.number()], ended.word(), "{ended:?}");
        }
        let numbers: HashSet<usize> = all.iter().map(|ended| ended.number()).collect();
        let different: HashSet<&str> = numbers.iter().map(|number| words[*number]).collect();
        assert_eq!(numbers.len(), all.len() - 1, "the two that are late share one");
        assert_eq!(different.len(), numbers.len(), "no word has two numbers that are used");
    }
}
