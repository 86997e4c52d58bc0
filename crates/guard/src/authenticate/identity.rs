//! Who asks, put together: a credential goes to the keys, to the section of its issuer, or to those who can be asked about it.
//!
//! What held is remembered, so that nearly every call is a digest and a look into a table. A credential is judged by one kind
//! of judge only: a token that names an issuer of `[auth.jwt]` is never shown to an introspection endpoint.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use trunkline_service::authenticate::{Authenticator, Credentials, Denied};
use trunkline_service::caller::{Caller, Proof};
use trunkline_service::seal::now;
use trunkline_service::shared::Later;

use super::contract::{Assign, KeyCheck, Verified};
use super::fault::Fault;
use super::file::Auth;
use super::generation::Generation;
use super::memory::{Digest, Held, Memory, digest_of};
use super::presented::{Located, Presented};
use super::sections::{Introspected, Signed, introspected_sections, signed_sections};
use super::token::SignedToken;

/// Most tokens that others are asked about at once.
const AT_ONCE: usize = 1024;
/// The longest that a clock is not looked at again while waiting for a proof to end.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Judges credentials by `[auth]`.
///
/// It holds tasks that keep keys fresh; they end with it.
#[derive(Debug)]
pub struct Identity {
    signed: Vec<Signed>,
    introspected: Vec<Introspected>,
    keys: Option<Arc<dyn KeyCheck>>,
    assign: ArcSwap<Arc<dyn Assign>>,
    memory: Memory,
    generation: Generation,
    /// Raised when callers have to be looked at again: roles changed, or this is not the authenticator any more.
    renewed: watch::Sender<u64>,
    places: Semaphore,
    _stop: DropGuard,
}

/// What judging brought: a caller without roles, and who has to be asked again.
struct Judged {
    verified: Verified,
    token: Option<Box<str>>,
}

/// A refusal before it is worded: what was wrong and the section that found it.
pub(crate) type Refusal<'i> = (Fault, Option<&'i str>);

impl Identity {
    /// Starts to judge. `keys` is what `[auth.keys]` became. It waits for nobody: keys of issuers are fetched meanwhile.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn new(auth: &Auth, keys: Option<Arc<dyn KeyCheck>>, assign: Arc<dyn Assign>) -> Arc<Self> {
        let (stop, tasks, generation) = (CancellationToken::new(), TaskTracker::new(), Generation::new());
        let signed = signed_sections(&auth.jwt, &generation);
        for (at, section) in signed.iter().enumerate() {
            let is_first = signed.iter().take(at).all(|other| !Arc::ptr_eq(&other.issuer, &section.issuer));
            if is_first {
                tasks.spawn(Arc::clone(&section.issuer).keep_fresh(stop.clone()));
            }
        }
        Arc::new(Self {
            signed,
            introspected: introspected_sections(&auth.introspection, &tasks),
            keys,
            assign: ArcSwap::from_pointee(assign),
            memory: Memory::new(),
            generation,
            renewed: watch::Sender::new(0),
            places: Semaphore::new(AT_ONCE),
            _stop: stop.drop_guard(),
        })
    }

    /// Has roles given by `assign` from now on: nothing is remembered, and streams without end are ended so that they come again.
    pub fn reassign(&self, assign: Arc<dyn Assign>) {
        self.assign.store(Arc::new(assign));
        self.retire();
    }

    /// Forgets everybody and ends their streams: after another authenticator took this one's place.
    pub fn retire(&self) {
        self.generation.rise();
        self.renewed.send_modify(|renewed| *renewed += 1);
    }

    fn recall(&self, credentials: &Credentials<'_>) -> Option<Arc<Caller>> {
        // What equals a credential that was accepted is made of the same characters.
        let located = Located::find(credentials).ok()?;
        let found = self.memory.find(&digest_of(located.bytes), self.generation(), now())?;
        let held = found.as_ref()?;
        // A token is none of the keys, whatever was shown elsewhere.
        let is_key = matches!(held.caller.proof, Proof::Key { .. });
        (is_key || !located.is_key_only).then(|| Arc::clone(&held.caller))
    }

    async fn judge(&self, credentials: Credentials<'_>) -> Result<Arc<Caller>, Denied> {
        let presented = Presented::read(&credentials).map_err(|fault| fault.denied(None))?;
        // Read before judging: what changes meanwhile makes the verdict one of the past.
        let (generation, digest) = (self.generation(), digest_of(presented.text));
        let length = presented.text.len();
        if let Some(keys) = self.keys.as_ref().filter(|keys| keys.looks_like_key(presented.text)) {
            let verified = keys.check(presented.text)?;
            return Ok(self.accept(Judged { verified, token: None }, digest, length, generation));
        }
        if presented.is_key_only {
            return Err(Fault::NoKey.denied(None));
        }
        let judged = self.judge_token(presented.text, digest).await;
        let judged = judged.map_err(|(fault, section)| fault.denied(section))?;
        Ok(self.accept(judged, digest, length, generation))
    }

    /// Has a token judged by those it is for.
    async fn judge_token(&self, text: &str, digest: Digest) -> Result<Judged, Refusal<'_>> {
        let token = SignedToken::read(text).map_err(|fault| (fault, None))?;
        let issuer = token.as_ref().and_then(SignedToken::issuer);
        if let (Some(token), Some(issuer)) = (&token, issuer)
            && self.signed.iter().any(|section| section.is_of(issuer))
        {
            let caller = self.judge_signed(token, issuer).await?;
            return Ok(Judged { verified: Verified { caller, last_use: None }, token: None });
        }
        let mut refusal = match &token {
            Some(_) => (Fault::Issuer, None),
            None => (Fault::Shape, None),
        };
        // Signed tokens take none of these places: others that wait for a slow server are not in their way.
        let _place = self.places.try_acquire().map_err(|_| (Fault::Busy, None))?;
        for section in self.introspected.iter().filter(|section| section.may_judge(issuer)) {
            match section.judge(text, digest, now()).await {
                Ok(caller) => {
                    let token = Some(text.into());
                    return Ok(Judged { verified: Verified { caller, last_use: None }, token });
                }
                // Whoever did not answer might have known it.
                Err(fault) if fault.kind() == Fault::NoAnswer.kind() => {
                    refusal = (fault, Some(section.name()))
                }
                Err(fault) if refusal.0.kind() != Fault::NoAnswer.kind() => {
                    refusal = (fault, Some(section.name()));
                }
                Err(_) => {}
            }
        }
        Err(refusal)
    }

    async fn judge_signed(&self, token: &SignedToken<'_>, issuer: &str) -> Result<Caller, Refusal<'_>> {
        let mut refusal = (Fault::Issuer, None);
        for section in self.signed.iter().filter(|section| section.is_of(issuer)) {
            match section.judge(token, now()).await {
                Ok(caller) => return Ok(caller),
                // Of two sections of one issuer, the one for this audience has more to say.
                Err(Fault::Audience) if refusal.1.is_some() => {}
                Err(fault) => refusal = (fault, Some(section.name())),
            }
        }
        Err(refusal)
    }

    fn accept(&self, judged: Judged, digest: Digest, length: usize, generation: u64) -> Arc<Caller> {
        let Verified { caller, last_use } = judged.verified;
        let caller = self.assign.load().assign(caller);
        let now = now();
        if let Some(last_use) = &last_use {
            last_use.store(now, std::sync::atomic::Ordering::Relaxed);
        }
        let held = Held {
            digest,
            caller: Arc::clone(&caller),
            generation,
            last_use,
            token: judged.token,
            used: AtomicU64::new(now),
            length,
        };
        self.memory.keep(held, now);
        caller
    }

    // ---------------------------------------------------------------------------------------------------------------
    // The end of a proof.

    async fn until_over(&self, caller: &Caller) {
        let origin = self.memory.origin(caller);
        if origin.as_ref().is_some_and(|held| held.generation != self.generation()) {
            // Something changed between the verdict and now.
            return;
        }
        match &caller.proof {
            Proof::Local => std::future::pending().await,
            Proof::Key { id, .. } => {
                // Without keys there is none that could hold.
                let Some(keys) = &self.keys else { return };
                tokio::select! {
                    () = keys.ended(id) => {}
                    () = until(caller.expires) => {}
                }
            }
            Proof::Token { section } => {
                let token = origin.as_ref().and_then(|held| held.token.as_deref());
                self.until_token_is_over(caller, section, token).await;
            }
            // Proofs that this one knows nothing of last as long as they say.
            _ => until(caller.expires).await,
        }
    }

    async fn until_token_is_over(&self, caller: &Caller, section: &str, token: Option<&str>) {
        if let Some(section) = self.introspected.iter().find(|other| other.is_named(section)) {
            return match token {
                Some(token) => self.until_inactive(section, caller, token).await,
                None => until(caller.expires).await,
            };
        }
        if let Some(section) = self.signed.iter().find(|other| other.is_named(section)) {
            let mut lost = section.issuer.lost();
            tokio::select! {
                _ = lost.changed() => {}
                () = until(caller.expires) => {}
            }
        }
    }

    /// Asks about a token again and again, for as long as the answer is the same.
    async fn until_inactive(&self, section: &Introspected, caller: &Caller, token: &str) {
        let digest = digest_of(token);
        let mut silent_since = None;
        loop {
            tokio::time::sleep(section.cache()).await;
            match section.judge(token, digest, now()).await {
                Ok(again) => {
                    let again = self.assign.load().assign(again);
                    let is_same = again.subject == caller.subject
                        && again.scopes == caller.scopes
                        && again.roles == caller.roles
                        && again.evidence == caller.evidence;
                    if !is_same {
                        return;
                    }
                    silent_since = None;
                }
                Err(Fault::NoAnswer | Fault::Busy) => {
                    // For as long as a token without an answer would be believed, and then no longer.
                    let since = *silent_since.get_or_insert_with(tokio::time::Instant::now);
                    if since.elapsed() > section.cache().max(LOOK_AGAIN) {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    }
}

impl Authenticator for Identity {
    fn remembered(&self, credentials: &Credentials<'_>) -> Option<Arc<Caller>> {
        self.recall(credentials)
    }

    fn authenticate<'a>(&'a self, credentials: Credentials<'a>) -> Later<'a, Result<Arc<Caller>, Denied>> {
        Box::pin(async move {
            match self.recall(&credentials) {
                Some(caller) => Ok(caller),
                None => self.judge(credentials).await,
            }
        })
    }

    fn generation(&self) -> u64 {
        let keys = self.keys.as_ref().map_or(0, |keys| keys.generation());
        (self.generation.now() << 32) | (keys & 0xFFFF_FFFF)
    }

    fn ended<'a>(&'a self, caller: &'a Caller) -> Later<'a, ()> {
        let mut renewed = self.renewed.subscribe();
        Box::pin(async move {
            tokio::select! {
                _ = renewed.changed() => {}
                () = self.until_over(caller) => {}
            }
        })
    }
}

/// Waits until a second of the clock, which may be set meanwhile.
async fn until(end: Option<u64>) {
    let Some(end) = end else { return std::future::pending().await };
    loop {
        let left = Duration::from_secs(end.saturating_sub(now()));
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(LOOK_AGAIN)).await;
    }
}
