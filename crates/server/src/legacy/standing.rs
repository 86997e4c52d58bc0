//! The stand-alone stream of a session: one subscription of its own, made from what the session set, and made anew when
//! that changes.
//!
//! The new subscription begins where the change stands in the log; the old one goes on until it has told all before that.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use trunkline_protocol::{Method, scan};
use trunkline_service::endpoint::Live;
use trunkline_service::shared::{Follow, Followed};
use trunkline_service::{Attached, Caller, Change, Endpoint, Event, Failure, FailureKind, Outlet};

use super::session::Session;
use crate::admit;

/// Notices that wait for a slow reader before the subscription waits with them.
const QUEUE: usize = 4;
/// How long a subscription that was replaced, or is not to be replaced, may take to tell what stands before its end.
const FADE: Duration = Duration::from_secs(2);

/// A stand-alone stream.
pub(crate) struct Standing {
    live: Live,
    session: Session,
    caller: Arc<Caller>,
    closing: CancellationToken,
    /// What else everybody is told of.
    lists: Box<dyn Follow>,
    /// What became of the session.
    changes: Box<dyn Follow>,
    now: Listen,
    /// The subscription before, the position it goes on to, and the time until which it may.
    fading: Option<(Listen, u64, Instant)>,
    /// When it ends at the latest, since something else is served now.
    ending: Option<Instant>,
}

impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Standing").field("session", &self.session).finish_non_exhaustive()
    }
}

/// What a stand-alone stream comes upon.
enum Next {
    Notice(u64, Bytes),
    List(Followed),
    Session(Followed),
    Faded,
    Ended,
}

impl Standing {
    /// Opens the stream of a session: what comes after the position `after` in the log of changes, or from now on. It ends
    /// with the session, or when `closing` is cancelled.
    ///
    /// # Errors
    /// Why the service takes no subscription.
    pub(crate) fn open(
        live: &Live,
        session: Session,
        caller: Arc<Caller>,
        closing: CancellationToken,
        after: Option<u64>,
    ) -> Result<Self, Failure> {
        // From before the settings are read, so that no change of them falls in between.
        let (lists, changes) = (live.shared().changes(None), live.shared().session_changes(session.number));
        let now = Listen::open(live, &session, &caller, &closing, after)?;
        Ok(Self {
            live: live.clone(),
            session,
            caller,
            closing,
            lists,
            changes,
            now,
            fading: None,
            ending: None,
        })
    }

    /// Waits for the next notice, with its position; `None` when the stream ended.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Option<(u64, Bytes)> {
        loop {
            match self.step().await {
                Next::Notice(position, message) => return Some((position, message)),
                Next::Faded => self.fading = None,
                Next::Ended | Next::List(Followed::Closed) | Next::Session(Followed::Closed) => return None,
                // Since when is not known any more; from here on is right again.
                Next::Session(Followed::Lagged(_)) => self.renew(None)?,
                Next::Session(Followed::Message(_, change)) => match Change::from_bytes(&change) {
                    Some(Change::Session(number, at)) if number == self.session.number => {
                        self.renew(Some(at))?;
                    }
                    _ => {}
                },
                Next::List(Followed::Lagged(position)) if !self.now.is_of(&self.live) => {
                    self.renew(Some(position))?;
                }
                Next::List(Followed::Lagged(_)) => {}
                Next::List(Followed::Message(position, change)) => match Change::from_bytes(&change) {
                    // A list that changes may be the sign of a reload: what was agreed on before holds no longer.
                    Some(Change::Tools | Change::Prompts | Change::Resources)
                        if !self.now.is_of(&self.live) =>
                    {
                        self.renew(Some(position))?;
                    }
                    _ => {}
                },
            }
        }
    }

    async fn step(&mut self) -> Next {
        let Self { lists, changes, now, fading, ending, .. } = self;
        let faded = async {
            match fading {
                Some((listen, upto, until)) => match tokio::time::timeout_at(*until, listen.next()).await {
                    Ok(Some((position, message))) if position <= *upto => Next::Notice(position, message),
                    _ => Next::Faded,
                },
                None => std::future::pending().await,
            }
        };
        let over = async {
            match ending {
                Some(until) => tokio::time::sleep_until(*until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            next = faded => next,
            followed = changes.next() => Next::Session(followed),
            followed = lists.next() => Next::List(followed),
            notice = now.next() => match notice {
                Some((position, message)) => Next::Notice(position, message),
                None => Next::Ended,
            },
            () = over => Next::Ended,
        }
    }

    /// Takes up what the session set up to that position in the log, or now; `None` when it was ended.
    fn renew(&mut self, position: Option<u64>) -> Option<()> {
        if self.live.shared().is_ended(self.session.number) {
            return None;
        }
        if !self.caller.is_local && !self.now.is_of(&self.live) {
            // What this caller may see was decided by what was served before, and maybe not by what is served now: they
            // come again and are judged again. What is told already is a matter of the old subscription, which ends as well.
            self.ending.get_or_insert_with(|| Instant::now() + FADE);
            return Some(());
        }
        // Where there is no room for another one, the old one goes on.
        let new = Listen::open(&self.live, &self.session, &self.caller, &self.closing, position);
        if let Ok(new) = new {
            let old = std::mem::replace(&mut self.now, new);
            self.fading = position.map(|position| (old, position, Instant::now() + FADE));
        }
        Some(())
    }
}

// ---- one subscription ----

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A `subscriptions/listen` of our own, driven by whoever waits for its notices.
struct Listen {
    /// What is listened to; it goes when the work does.
    endpoint: Weak<Endpoint>,
    work: Option<Work>,
    notices: mpsc::Receiver<Event>,
}

impl Listen {
    fn open(
        live: &Live,
        session: &Session,
        caller: &Arc<Caller>,
        closing: &CancellationToken,
        after: Option<u64>,
    ) -> Result<Self, Failure> {
        let settings = live.shared().settings(session.number).unwrap_or_default();
        let filter = json!({
            "toolsListChanged": true,
            "promptsListChanged": true,
            "resourcesListChanged": true,
            "resourceSubscriptions": settings.subscriptions,
        });
        let method = Method::SubscriptionsListen;
        let body = json!({ "jsonrpc": "2.0", "id": 0, "method": method.as_str(), "params": { "notifications": filter } });
        let body = Bytes::from(body.to_string());
        let (_, envelope) =
            scan(&body).map_err(|refusal| Failure::new(FailureKind::Internal, refusal.message))?;
        let (sender, notices) = mpsc::channel(QUEUE);
        let attached = Attached { after, ..Attached::new(Outlet::new(sender, closing.clone())) };
        let request = admit::legacy(body, &envelope, method, session, Arc::clone(caller))
            .with_attached(Some(Box::new(attached)));
        let endpoint = live.load_full();
        let weak = Arc::downgrade(&endpoint);
        let mut call = Box::pin(async move { endpoint.service.call(request).await });
        // Refused at once, or never.
        let work: Option<Work> = match (&mut call).now_or_never() {
            Some(Err(failure)) => return Err(failure),
            Some(Ok(_)) => None,
            None => Some(Box::pin(call.map(drop))),
        };
        Ok(Self { endpoint: weak, work, notices })
    }

    /// Tells whether it listens to what is served now.
    fn is_of(&self, live: &Live) -> bool {
        self.endpoint.as_ptr() == Arc::as_ptr(&live.load())
    }

    /// Waits for the next notice; `None` when the subscription ended.
    async fn next(&mut self) -> Option<(u64, Bytes)> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<(u64, Bytes)>> {
        loop {
            if let Poll::Ready(event) = self.notices.poll_recv(context) {
                match event {
                    Some(Event::Positioned(message, position)) => {
                        return Poll::Ready(Some((position, message)));
                    }
                    Some(_) => continue,
                    None => return Poll::Ready(None),
                }
            }
            let ended = self.work.as_mut().is_none_or(|work| work.as_mut().poll(context).is_ready());
            if ended {
                self.work = None;
                self.notices.close();
            }
            match self.notices.try_recv() {
                Ok(Event::Positioned(message, position)) => return Poll::Ready(Some((position, message))),
                Ok(_) => {}
                Err(_) if ended => return Poll::Ready(None),
                Err(_) => return Poll::Pending,
            }
        }
    }
}
