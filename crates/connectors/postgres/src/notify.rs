//! `notify`: hears on a connection of its own what the database tells of its changes, and says when it cannot.
//!
//! `LISTEN` belongs to a session of the primary: behind a pooler that gives each transaction another session nothing would come, so that
//! there it is never said to be heard.

use std::fmt;
use std::time::Duration;

use futures_util::future::poll_fn;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_postgres::{AsyncMessage, Connection, Error};
use trunkline_service::notices::{FollowNotices, Notice, Notices};
use trunkline_service::shared::Later;

use crate::dial::{Dialer, Lane, Session, chain};
use crate::file::PreparedMode;
use crate::url::{Address, Role};

/// Most notices that wait to be looked at; then the database keeps them.
const QUEUE: usize = 1024;
/// How often a connection on which nothing comes is asked whether it still is one.
const LOOK: Duration = Duration::from_secs(10);
/// How long it may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// The first and the longest pause before another try to connect.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What a database tells of its changes on a channel.
#[derive(Clone)]
pub struct Channel {
    name: Box<str>,
    address: Address,
    connect_timeout: Duration,
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Channel {
    /// Takes the channel of that name in the database at `address`, of whose servers the primary is meant.
    pub(crate) fn new(name: &str, address: &Address, connect_timeout: Duration) -> Self {
        let mut address = address.clone();
        if address.targets.len() > 1 {
            address.role = Some(Role::Primary);
        }
        Self { name: name.into(), address, connect_timeout }
    }

    /// Tells whether PostgreSQL could have a channel of that name.
    pub(crate) fn is_name(name: &str) -> bool {
        (1..=63).contains(&name.len()) && !name.contains('\0')
    }
}

impl Notices for Channel {
    fn follow(&self) -> Box<dyn FollowNotices> {
        let (state, pause, next_try) = (State::New, PAUSES.0, Instant::now());
        Box::new(Following { channel: self.clone(), state, pause, next_try })
    }
}

/// A reader of what a database tells.
struct Following {
    channel: Channel,
    state: State,
    pause: Duration,
    next_try: Instant,
}

/// Where a reader stands.
enum State {
    /// Nothing was said yet.
    New,
    /// It was said that nothing is heard.
    Lost,
    Heard(Box<Listening>),
}

/// A session that listens, and what came in it. The notices end with its connection.
struct Listening {
    session: Session,
    notices: mpsc::Receiver<Box<str>>,
}

impl FollowNotices for Following {
    fn next(&mut self) -> Later<'_, Notice> {
        Box::pin(async move {
            loop {
                match &mut self.state {
                    State::New => match self.channel.listen().await {
                        Some(listening) => return self.heard(listening),
                        None => return self.lost(),
                    },
                    State::Lost => {
                        sleep_until(self.next_try).await;
                        if let Some(listening) = self.channel.listen().await {
                            return self.heard(listening);
                        }
                        self.put_off();
                    }
                    State::Heard(listening) => match listening.next().await {
                        Some(payload) => return Notice::Changed((!payload.is_empty()).then_some(payload)),
                        None => return self.lost(),
                    },
                }
            }
        })
    }
}

impl Following {
    fn heard(&mut self, listening: Listening) -> Notice {
        self.pause = PAUSES.0;
        self.state = State::Heard(Box::new(listening));
        Notice::Heard
    }

    fn lost(&mut self) -> Notice {
        self.state = State::Lost;
        self.put_off();
        Notice::Lost
    }

    fn put_off(&mut self) {
        self.next_try = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(PAUSES.1);
    }
}

impl Channel {
    /// Opens a session and has it listen.
    async fn listen(&self) -> Option<Listening> {
        let (sender, notices) = mpsc::channel(QUEUE);
        let dialer =
            Dialer::new(self.address.clone(), ANSWER_WITHIN, self.connect_timeout, PreparedMode::Auto);
        let dialer = dialer.hearing(sender);
        let session = match dialer.dial(Lane::Exclusive).await {
            Ok(session) => session,
            Err(error) => {
                tracing::debug!(%error, "cannot connect to hear of changes");
                return None;
            }
        };
        let host = dialer.address();
        if session.is_pooled() {
            tracing::warn!(%host, "a pooler stands before the database, and `notify` hears nothing through it");
            return None;
        }
        let listen = format!("listen \"{}\"", self.name.replace('"', "\"\""));
        match timeout(ANSWER_WITHIN, session.client().batch_execute(&listen)).await {
            Ok(Ok(())) => Some(Listening { session, notices }),
            Ok(Err(error)) => {
                tracing::warn!(%host, error = chain(&error), "the database does not let `notify` listen");
                None
            }
            Err(_) => None,
        }
    }
}

impl Listening {
    /// Waits for the next notice, and now and then looks whether the connection still is one; `None` when it is none any more.
    async fn next(&mut self) -> Option<Box<str>> {
        loop {
            if let Ok(notice) = timeout(LOOK, self.notices.recv()).await {
                return notice;
            }
            match timeout(ANSWER_WITHIN, self.session.client().simple_query("")).await {
                Ok(Ok(_)) => {}
                _ => return None,
            }
        }
    }
}

/// Drives a connection and passes on what the database tells of its changes. When there is no room it waits, and with it the
/// connection: the database keeps what it has to tell.
pub(crate) async fn drive<S, T>(
    mut connection: Connection<S, T>,
    notices: mpsc::Sender<Box<str>>,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        match poll_fn(|context| connection.poll_message(context)).await {
            Some(Ok(AsyncMessage::Notification(notice))) => {
                if notices.send(notice.payload().into()).await.is_err() {
                    return Ok(());
                }
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error),
            None => return Ok(()),
        }
    }
}
