//! How a refusal is told: which limit, how much it lets through, and when to try again. Never whose it is.
//!
//! Spec: design 4 (code 429, `data.retryAfterMs`), RFC 9110 section 10.2.3 (`Retry-After`), draft-ietf-httpapi-ratelimit-headers-10
//! sections 3 and 4 (`RateLimit-Policy`, `RateLimit`).

use std::fmt::Write as _;
use std::time::Duration;

use trunkline_service::failure::RateLimit;
use trunkline_service::{Decided, Failure, FailureKind, Notes};

use super::bucket::Bucket;
use super::budget::{Budget, Part};
use super::presence::Presence;
use super::rate::Wait;

/// Why a request was refused.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused<'a> {
    pub(super) by: By<'a>,
    /// How long until it would be let through, if nobody else came.
    pub(super) wait: Duration,
}

/// What refused it.
#[derive(Debug, Clone, Copy)]
pub(super) enum By<'a> {
    Limit(&'a Bucket),
    Budget(&'a Budget, Part),
    Presence(&'a Presence),
    /// Nobody can tell: the store does not answer, and the file says to refuse then.
    Store,
}

/// When to try again where a place has to become free.
const SOON: Duration = Duration::from_secs(1);

impl<'a> Refused<'a> {
    pub(super) fn present(presence: &'a Presence) -> Self {
        Self { by: By::Presence(presence), wait: SOON }
    }

    /// Counts it, and notes for the record which key of the file decided.
    pub(super) fn note(&self, notes: Option<&Notes>) {
        match self.by {
            By::Limit(bucket) => bucket.refused.add_one(),
            By::Budget(budget, _) => budget.refused.add_one(),
            By::Presence(presence) => presence.refused.add_one(),
            By::Store => {}
        }
        if let Some(notes) = notes {
            notes.decide(Decided { allowed: Some(false), rule: self.path().into(), ..Decided::default() });
        }
    }

    /// The key of the file that decided.
    pub(super) fn path(&self) -> &'a str {
        match self.by {
            By::Limit(bucket) => &bucket.path,
            By::Budget(budget, _) => &budget.path,
            By::Presence(presence) => &presence.path,
            By::Store => "store.on-store-failure",
        }
    }

    /// Returns the answer.
    pub(super) fn failure(&self) -> Failure {
        let kind =
            if matches!(self.by, By::Store) { FailureKind::Overloaded } else { FailureKind::RateLimited };
        // Rounded up: whoever comes that soon comes not too soon.
        let millis = self.wait.as_nanos().div_ceil(1_000_000).max(1);
        let failure = Failure::new(kind, self.text())
            .with_data(format!("{{\"retryAfterMs\":{millis}}}").into_bytes())
            .with_retry_after(self.wait);
        match self.headers() {
            Some(headers) => failure.with_rate_limit(headers),
            None => failure,
        }
    }

    fn text(&self) -> String {
        let (path, wait) = (self.path(), Wait(self.wait));
        match self.by {
            By::Limit(bucket) => {
                let rate = bucket.rate;
                let mut text = format!("too many requests: `{path}` lets through {rate}");
                if rate.burst() != rate.count() {
                    // Writing to a text does not fail.
                    let _ = write!(text, ", {} at once", rate.burst());
                }
                let _ = write!(text, "; try again in {wait}");
                text
            }
            By::Budget(budget, part) => {
                let (most, what) = match part {
                    Part::Calls => (budget.spec.calls, "requests"),
                    Part::Bytes => (budget.spec.bytes, "bytes"),
                };
                let (most, per) = (most.unwrap_or_default(), budget.spec.per.as_str());
                format!("`{path}` is used up: {most} {what} in a {per}; it is renewed in {wait}")
            }
            By::Presence(presence) => format!(
                "too many requests at a time: `{path}` lets through {}; wait for the answer of one, and try again",
                presence.most
            ),
            By::Store => {
                "limits cannot be looked at now, and nothing is let through meanwhile; try again in a second"
                    .to_owned()
            }
        }
    }

    fn headers(&self) -> Option<RateLimit> {
        let (quota, seconds, unit) = match self.by {
            By::Limit(bucket) => (u64::from(bucket.rate.count()), bucket.rate.unit().seconds(), ""),
            By::Budget(budget, Part::Calls) => (budget.spec.calls?, budget.spec.per.seconds(), ""),
            By::Budget(budget, Part::Bytes) => {
                (budget.spec.bytes?, budget.spec.per.seconds(), ";qu=\"content-bytes\"")
            }
            By::Presence(presence) => {
                let policy =
                    format!("{};q={};qu=\"concurrent-requests\"", Quoted(self.path()), presence.most);
                return Some(RateLimit {
                    policy: policy.into(),
                    state: format!("{};r=0", Quoted(self.path())).into(),
                });
            }
            By::Store => return None,
        };
        let name = Quoted(self.path());
        let reset = self.wait.as_secs() + u64::from(self.wait.subsec_nanos() > 0);
        Some(RateLimit {
            policy: format!("{name};q={quota}{unit};w={seconds}").into(),
            state: format!("{name};r=0;t={}", reset.max(1)).into(),
        })
    }
}

/// A text as a string of a structured field: printable ASCII, `"` and `\` escaped. RFC 9651 section 3.3.3.
struct Quoted<'a>(&'a str);

impl std::fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_char('"')?;
        for character in self.0.chars() {
            match character {
                '"' | '\\' => write!(f, "\\{character}")?,
                ' '..='~' => f.write_char(character)?,
                _ => f.write_char('?')?,
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::super::bucket::Whose;
    use super::super::rate::{Rate, Unit};
    use super::super::spec::BudgetSpec;
    use super::*;

    fn shown(refused: Refused<'_>) -> String {
        let failure = refused.failure();
        let row = failure.kind().row();
        let headers = failure.rate_limit().map(|limit| format!("{} | {}", limit.policy, limit.state));
        format!(
            "{} {} {} {}",
            row.code.0,
            failure.public(),
            String::from_utf8_lossy(failure.data().unwrap()),
            headers.unwrap_or_default()
        )
    }

    #[test]
    fn a_refusal_says_which_limit_how_much_and_when_to_try_again() {
        let rate = |burst| Rate::new(100, Unit::Minute, burst).unwrap();
        let bucket = Bucket::new("limits.caller", "caller", rate(None), Whose::Each);
        let wait = Duration::from_micros(11_200_100);
        assert_eq!(
            shown(Refused { by: By::Limit(&bucket), wait }),
            "429 too many requests: `limits.caller` lets through 100 requests a minute; try again in 12 s \
             {\"retryAfterMs\":11201} \"limits.caller\";q=100;w=60 | \"limits.caller\";r=0;t=12"
        );
        let bucket = Bucket::new("roles.a \"ü\".limit", "role a", rate(Some(20)), Whose::Each);
        assert_eq!(
            shown(Refused { by: By::Limit(&bucket), wait: Duration::from_nanos(1) }),
            "429 too many requests: `roles.a \"ü\".limit` lets through 100 requests a minute, 20 at once; \
             try again in 1 s {\"retryAfterMs\":1} \"roles.a \\\"?\\\".limit\";q=100;w=60 | \
             \"roles.a \\\"?\\\".limit\";r=0;t=1"
        );
    }

    #[test]
    fn a_budget_says_when_it_is_renewed() {
        let spec = BudgetSpec { calls: Some(10_000), bytes: Some(1 << 30), per: Unit::Day };
        let budget = Budget::new("roles.support.budget", "role support", spec);
        let wait = Duration::from_secs(7200);
        assert_eq!(
            shown(Refused { by: By::Budget(&budget, Part::Bytes), wait }),
            "429 `roles.support.budget` is used up: 1073741824 bytes in a day; it is renewed in 2 h \
             {\"retryAfterMs\":7200000} \"roles.support.budget\";q=1073741824;qu=\"content-bytes\";w=86400 | \
             \"roles.support.budget\";r=0;t=7200"
        );
    }
}
