//! Reaches the store: finds the primary, connects, logs in, and makes sure that it is a Redis that takes writes.

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::address::{Address, Host, Login, Place};
use super::error::Code;
use super::resp::{Command, Decoder, Reply, Value};

/// How long it may take to reach one host and log in there.
const REACH: Duration = Duration::from_secs(2);
/// How much room is made before each read, in bytes.
pub(super) const READ: usize = 16 * 1024;

/// A connection as bytes.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection to a server that answered.
pub(super) struct Wire {
    pub(super) stream: Box<dyn Duplex>,
    pub(super) input: BytesMut,
    pub(super) decoder: Decoder,
    /// Which server it is.
    pub(super) host: Host,
}

/// Why the store is not reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DialError {
    /// No connection.
    Unreachable(Host, io::ErrorKind),
    /// A connection, and no answer on it.
    Silent(Host),
    /// TLS did not come about.
    Tls(Host),
    /// What answers is no Redis.
    NotRedis(Host),
    /// It does not let us in, or is not ready.
    Refused(Host, Code),
    /// It follows another server, so it takes no writes.
    NotPrimary(Host),
    /// No sentinel knows the primary.
    Unknown,
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(host, kind) => write!(f, "`{host}` does not take a connection: {kind}"),
            Self::Silent(host) => write!(f, "`{host}` takes a connection and does not answer"),
            Self::Tls(host) => {
                write!(f, "`{host}` and this node do not agree on TLS, or its certificate is not trusted")
            }
            Self::NotRedis(host) => write!(f, "what answers at `{host}` is not Redis"),
            Self::Refused(host, code) => match code.as_str() {
                "WRONGPASS" => write!(f, "`{host}` does not take the user and password of `[store] redis`"),
                "NOAUTH" => write!(f, "`{host}` wants a password and `[store] redis` has none"),
                "NOPERM" => write!(f, "`{host}` does not allow the user of `[store] redis` what is needed"),
                "LOADING" => write!(f, "`{host}` is still loading its data"),
                _ => write!(f, "`{host}` refused with `{code}`"),
            },
            Self::NotPrimary(host) => write!(f, "`{host}` follows another server and takes no writes"),
            Self::Unknown => f.write_str("no sentinel names a primary"),
        }
    }
}

impl Wire {
    /// Sends a command and waits for its answer; for the time before a connection is shared.
    async fn ask(&mut self, command: Command) -> Result<Reply, DialError> {
        let gone = |host: &Host, error: &io::Error| DialError::Unreachable(host.clone(), error.kind());
        self.stream.write_all(&command.into_bytes()).await.map_err(|error| gone(&self.host, &error))?;
        self.stream.flush().await.map_err(|error| gone(&self.host, &error))?;
        loop {
            let reply = self.decoder.next(&mut self.input);
            if let Some(reply) = reply.map_err(|_| DialError::NotRedis(self.host.clone()))? {
                return Ok(reply);
            }
            self.input.reserve(READ);
            let count = self.stream.read_buf(&mut self.input).await;
            if count.map_err(|error| gone(&self.host, &error))? == 0 {
                return Err(gone(&self.host, &io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Sends a command that has to be taken.
    async fn demand(&mut self, command: Command) -> Result<Value, DialError> {
        let reply = self.ask(command).await?;
        reply.map_err(|code| DialError::Refused(self.host.clone(), code))
    }

    async fn log_in(&mut self, login: Option<&Login>, db: u32) -> Result<(), DialError> {
        if let Some(login) = login {
            let command = match &login.user {
                Some(user) => Command::new(3).arg(b"AUTH").arg(user.as_bytes()),
                None => Command::new(2).arg(b"AUTH"),
            };
            self.demand(command.arg(login.password.as_bytes())).await?;
        }
        if db != 0 {
            self.demand(Command::new(2).arg(b"SELECT").number(u64::from(db))).await?;
        }
        // A name for who looks at the list of clients; servers and rules without it do not matter.
        let _ = self.ask(Command::of(&[b"CLIENT", b"SETNAME", b"trunkline"])).await?;
        match self.demand(Command::of(&[b"PING"])).await? {
            Value::Text(pong) if pong.eq_ignore_ascii_case(b"PONG") => Ok(()),
            _ => Err(DialError::NotRedis(self.host.clone())),
        }
    }

    /// Makes sure that the server takes writes. One that does not tell is taken at its word later.
    async fn is_primary(&mut self) -> Result<(), DialError> {
        let Ok(role) = self.ask(Command::of(&[b"ROLE"])).await? else { return Ok(()) };
        let role = role.as_array().and_then(|role| role.first()?.as_bytes().cloned());
        match role.as_deref() {
            Some(b"master") => Ok(()),
            Some(b"slave") => Err(DialError::NotPrimary(self.host.clone())),
            _ => Err(DialError::NotRedis(self.host.clone())),
        }
    }
}

/// Connects to the primary and logs in.
///
/// # Errors
/// [`DialError`], which names the host and nothing else of the address.
pub(super) async fn reach(address: &Address, tls: Option<&Arc<ClientConfig>>) -> Result<Wire, DialError> {
    let host = primary(address, tls).await?;
    within(&host, async {
        let mut wire = connect(&host, tls).await?;
        wire.log_in(address.login.as_ref(), address.db).await?;
        wire.is_primary().await?;
        Ok(wire)
    })
    .await
}

/// Finds which server is the primary.
///
/// # Errors
/// [`DialError::Unknown`] when no sentinel tells.
pub(super) async fn primary(address: &Address, tls: Option<&Arc<ClientConfig>>) -> Result<Host, DialError> {
    let Place::Sentinels { hosts, name, login } = &address.place else {
        let Place::Server(host) = &address.place else { return Err(DialError::Unknown) };
        return Ok(host.clone());
    };
    let mut why = DialError::Unknown;
    for sentinel in hosts {
        let named = within(sentinel, async {
            let mut wire = connect(sentinel, tls).await?;
            wire.log_in(login.as_ref(), 0).await?;
            let question = Command::of(&[b"SENTINEL", b"get-master-addr-by-name", name.as_bytes()]);
            Ok(named(&wire.demand(question).await?))
        })
        .await;
        match named {
            Ok(Some(host)) => return Ok(host),
            Ok(None) => {}
            Err(error) => why = error,
        }
    }
    Err(why)
}

/// Reads a host and a port from a sentinel's answer.
fn named(answer: &Value) -> Option<Host> {
    let [name, port] = answer.as_array()? else { return None };
    let name = std::str::from_utf8(name.as_bytes()?).ok().filter(|name| name.len() <= 255)?;
    let port = u16::try_from(port.as_int()?).ok()?;
    Some(Host { name: name.to_owned(), port })
}

async fn within<T>(host: &Host, work: impl Future<Output = Result<T, DialError>>) -> Result<T, DialError> {
    timeout(REACH, work).await.unwrap_or_else(|_| Err(DialError::Silent(host.clone())))
}

async fn connect(host: &Host, tls: Option<&Arc<ClientConfig>>) -> Result<Wire, DialError> {
    let stream = TcpStream::connect((host.name.as_str(), host.port))
        .await
        .map_err(|error| DialError::Unreachable(host.clone(), error.kind()))?;
    // It only costs time when that is refused.
    let _ = stream.set_nodelay(true);
    let stream: Box<dyn Duplex> = match tls {
        None => Box::new(stream),
        Some(config) => {
            let refused = || DialError::Tls(host.clone());
            let name = ServerName::try_from(host.name.clone()).map_err(|_| refused())?;
            let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await;
            Box::new(stream.map_err(|_| refused())?)
        }
    };
    Ok(Wire { stream, input: BytesMut::new(), decoder: Decoder::default(), host: host.clone() })
}
