//! Asking an authorization server what a token is: for tokens that say nothing by themselves. RFC 7662.
//!
//! However many requests show one token at once, one question is asked, and it goes on when they leave. A no is believed for a
//! few seconds, so that a client that tries again and again asks nobody; a yes is remembered by whoever asked here.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::Url;
use reqwest::header::HeaderValue;
use rustc_hash::FxHashMap;
use serde_json::{Map, Value};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use super::fault::Fault;
use super::fetch::{Fetch, FetchError, PATIENCE};
use super::memory::Digest;
use super::token::object;

/// How long a no is believed, at most. It must be short: a token that is not valid yet may be soon.
const NO_LASTS: Duration = Duration::from_secs(5);
/// How far apart complaints about an endpoint are.
const COMPLAINTS_APART: Duration = Duration::from_secs(10);
/// Most refused tokens remembered.
const MAX_NOES: usize = 10_000;
/// Most questions asked at once.
const AT_ONCE: usize = 32;
/// Most questions that are asked or wait for it. They outlast whoever brought them about, so that nobody can pile them up by
/// leaving at once.
const MAX_ASKED: usize = 1024;

/// What an answer of an active token says.
pub(crate) type Answer = Arc<Map<String, Value>>;
type Outcome = Result<Answer, Fault>;

/// An introspection endpoint.
pub(crate) struct Introspector {
    url: Url,
    authorization: HeaderValue,
    /// How long a yes counts, which a no does not outlast.
    cache: Duration,
    fetch: Fetch,
    permits: Semaphore,
    asked: Mutex<FxHashMap<Digest, watch::Receiver<Option<Outcome>>>>,
    noes: Mutex<FxHashMap<Digest, (Instant, Fault)>>,
    /// When it was last told that no answer came.
    complained: Mutex<Option<Instant>>,
    tasks: TaskTracker,
}

impl fmt::Debug for Introspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Introspector").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

impl Introspector {
    /// Prepares to ask; questions are tasks of `tasks`.
    pub(crate) fn new(url: Url, authorization: HeaderValue, cache: Duration, tasks: TaskTracker) -> Self {
        Self {
            url,
            authorization,
            cache,
            fetch: Fetch::default(),
            permits: Semaphore::new(AT_ONCE),
            asked: Mutex::default(),
            noes: Mutex::default(),
            complained: Mutex::default(),
            tasks,
        }
    }

    /// Asks about a token, or joins those who wait for the answer already.
    ///
    /// # Errors
    /// [`Fault::Inactive`] and [`Fault::NoAnswer`], those of an answer that is no JSON object, and [`Fault::Busy`] when too many
    /// questions wait.
    ///
    /// # Cancel safety
    /// The question is asked all the same.
    pub(crate) async fn ask(self: &Arc<Self>, token: &str, digest: Digest) -> Outcome {
        if let Some(fault) = self.said_no(&digest) {
            return Err(fault);
        }
        let mut answer = self.join(token, digest).ok_or(Fault::Busy)?;
        let waiting = answer.wait_for(Option::is_some);
        match waiting.await {
            Ok(outcome) => outcome.clone().unwrap_or(Err(Fault::NoAnswer)),
            Err(_) => Err(Fault::NoAnswer),
        }
    }

    fn join(self: &Arc<Self>, token: &str, digest: Digest) -> Option<watch::Receiver<Option<Outcome>>> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = asked.get(&digest).filter(|running| running.has_changed().is_ok()) {
            return Some(running.clone());
        }
        if asked.len() >= MAX_ASKED {
            return None;
        }
        let (sender, receiver) = watch::channel(None);
        asked.insert(digest, receiver.clone());
        drop(asked);
        let (asker, token) = (Arc::clone(self), token.to_owned());
        self.tasks.spawn(async move {
            let outcome = timeout(PATIENCE, asker.question(&token)).await.unwrap_or(Err(Fault::NoAnswer));
            if matches!(outcome, Err(Fault::Inactive)) {
                asker.refuse(digest, Fault::Inactive);
            }
            asker.asked.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest);
            sender.send_replace(Some(outcome));
        });
        Some(receiver)
    }

    async fn question(&self, token: &str) -> Outcome {
        let _permit = self.permits.acquire().await.map_err(|_| Fault::NoAnswer)?;
        let answer = self.fetch.post_form(&self.url, self.authorization.clone(), form(token)).await;
        let answer = answer.map_err(|error| {
            // Some refuse to talk about a token of a kind that they do not look up, and anybody can send one.
            if matches!(error, FetchError::Status { status: 400, .. }) {
                return Fault::Inactive;
            }
            self.complain(&error);
            Fault::NoAnswer
        })?;
        let mut answer = object(&answer)?;
        match answer.remove("active") {
            Some(Value::Bool(true)) => Ok(Arc::new(answer)),
            Some(Value::Bool(false)) => Err(Fault::Inactive),
            _ => Err(Fault::NoAnswer),
        }
    }

    fn said_no(&self, digest: &Digest) -> Option<Fault> {
        let noes = self.noes.lock().unwrap_or_else(PoisonError::into_inner);
        noes.get(digest).filter(|(until, _)| Instant::now() < *until).map(|(_, fault)| *fault)
    }

    /// Has nobody asked about a token for a while that was refused for that reason.
    pub(crate) fn refuse(&self, digest: Digest, fault: Fault) {
        let now = Instant::now();
        let mut noes = self.noes.lock().unwrap_or_else(PoisonError::into_inner);
        if noes.len() >= MAX_NOES {
            noes.retain(|_, (until, _)| now < *until);
        }
        if noes.len() < MAX_NOES {
            noes.insert(digest, (now + self.cache.min(NO_LASTS), fault));
        }
    }

    /// Tells the operator, but not for every token that comes meanwhile.
    fn complain(&self, error: &FetchError) {
        let (chain, now) = (trunkline_service::Chain(error), Instant::now());
        let mut complained = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
        if complained.is_some_and(|last| now < last + COMPLAINTS_APART) {
            tracing::debug!(error = %chain, "the introspection endpoint gave no answer");
        } else {
            *complained = Some(now);
            tracing::warn!(error = %chain, "the introspection endpoint gave no answer");
        }
    }
}

/// Writes the body of a question.
pub(crate) fn form(token: &str) -> String {
    format!("token={}&token_type_hint=access_token", form_encoded(token))
}

/// Encodes a value of `application/x-www-form-urlencoded`, as credentials of a client are before they go into a `Basic` header
/// too (RFC 6749 section 2.3.1).
pub(crate) fn form_encoded(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => {
                encoded.push(char::from(byte))
            }
            b' ' => encoded.push('+'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::super::memory::digest_of;
    use super::*;

    #[tokio::test]
    async fn whoever_leaves_at_once_cannot_pile_up_questions() {
        // Somebody who accepts and never answers.
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/introspect", silent.local_addr().unwrap()).parse().unwrap();
        let (authorization, tasks) = (HeaderValue::from_static("Basic x"), TaskTracker::new());
        let asker = Arc::new(Introspector::new(url, authorization, Duration::from_secs(60), tasks.clone()));
        let mut refused = 0;
        for number in 0..MAX_ASKED + 10 {
            let token = format!("token-{number}");
            let asked = timeout(Duration::ZERO, asker.ask(&token, digest_of(&token))).await;
            refused += usize::from(matches!(asked, Ok(Err(Fault::Busy))));
        }
        assert_eq!((refused, tasks.len()), (10, MAX_ASKED));
        // Whoever asks the same as somebody before adds nothing.
        let again = timeout(Duration::ZERO, asker.ask("token-0", digest_of("token-0"))).await;
        assert!(again.is_err());
    }

    #[test]
    fn a_question_holds_the_token_as_one_value_whatever_is_in_it() {
        assert_eq!(form("a+b/c=&x=1 é"), "token=a%2Bb%2Fc%3D%26x%3D1+%C3%A9&token_type_hint=access_token");
    }
}
