//! The local syslog daemon, in the form of RFC 5424 over its datagram socket: a line is one message.
//!
//! A line is never split or cut here: it has at most some 30 KiB and nearly always less than 2, and a socket takes messages of
//! 200 KiB. A daemon may cut what is longer than it is set up for (rsyslog: `$MaxMessageSize`, 8 KiB unless set), which shows as
//! an edited line.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use trunkline_service::shared::Later;

use super::{Batch, Found, Sink, SinkError, WriteError};
use crate::record::chain::Prover;
use crate::record::time;

/// Where daemons listen.
const SOCKET: &str = "/dev/log";
/// Facility 13 (log audit), severity 6 (informational). RFC 5424 section 6.2.1.
const PRIORITY: &str = "<110>1 ";
/// How long a daemon may take for one message.
const PATIENCE: Duration = Duration::from_secs(2);

/// Sends lines to a datagram socket.
#[derive(Debug)]
pub struct Syslog {
    path: PathBuf,
    open: Option<(UnixDatagram, Box<str>)>,
    message: Vec<u8>,
}

impl Default for Syslog {
    /// The socket of the machine's daemon.
    fn default() -> Self {
        Self::new(PathBuf::from(SOCKET))
    }
}

impl Syslog {
    /// Makes a sink for a socket; nothing is opened yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, open: None, message: Vec::new() }
    }

    fn connect(&mut self, node: &str) -> Result<Found, SinkError> {
        self.open = None;
        let failed = |error: std::io::Error| unreachable(&self.path, error);
        let socket = UnixDatagram::unbound().map_err(failed)?;
        socket.connect(&self.path).map_err(failed)?;
        // A daemon that takes nothing must not hold the record up for ever.
        socket.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
        let head = format!(" {node} trunkline {} audit - ", std::process::id());
        self.open = Some((socket, head.into()));
        // What arrived there cannot be read back: the chain goes on, or begins anew with the process.
        Ok(Found::default())
    }

    fn send(&mut self, batch: &Batch) -> Result<(), WriteError> {
        let Some((socket, head)) = &self.open else {
            return Err(SinkError::unavailable("the syslog socket is not open").into());
        };
        for (sure, line) in batch.iter().enumerate() {
            self.message.clear();
            self.message.extend_from_slice(PRIORITY.as_bytes());
            time::write(&mut self.message, SystemTime::now());
            self.message.extend_from_slice(head.as_bytes());
            self.message.extend_from_slice(line.text);
            if let Err(error) = socket.send(&self.message) {
                return Err(WriteError { sure, error: unreachable(&self.path, error) });
            }
        }
        Ok(())
    }
}

fn unreachable(path: &Path, error: std::io::Error) -> SinkError {
    let what = match fs::exists(path) {
        Ok(false) => "does not exist; start a syslog daemon, or write the record to a file",
        _ => "takes no messages",
    };
    SinkError::unavailable(format!("the syslog socket `{}` {what}", path.display())).with_source(error)
}

impl Sink for Syslog {
    fn open<'a>(&'a mut self, prover: &'a Prover) -> Later<'a, Result<Found, SinkError>> {
        Box::pin(std::future::ready(self.connect(prover.node())))
    }

    fn write<'a>(&'a mut self, batch: &'a Batch) -> Later<'a, Result<(), WriteError>> {
        Box::pin(std::future::ready(self.send(batch)))
    }
}
