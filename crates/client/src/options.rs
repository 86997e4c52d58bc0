//! Which server to use, and how: the target, extra headers and the limits of one connection.

use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::request::Progress;

/// Which server to use.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// A Streamable HTTP endpoint. Redirects are not followed, so that credentials reach only the server they were given for.
    Http {
        /// The whole address, with the path of the endpoint.
        url: String,
    },
    /// A program that speaks MCP on its standard input and output. It is started, and stopped with the client.
    Command {
        /// The program and its arguments.
        argv: Vec<OsString>,
        /// What happens to its standard error.
        stderr: ChildStderr,
    },
}

/// What happens to a child's standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChildStderr {
    /// It goes where the client's own goes.
    #[default]
    Inherit,
    /// Its last 64 KiB are kept for the error that tells about the child's end.
    Keep,
}

/// What the progress of a call is told to; it must not block.
pub type OnProgress = Arc<dyn Fn(&Progress) + Send + Sync>;

/// The choices of one connection.
#[derive(Clone)]
pub struct ConnectOptions {
    /// Headers sent with every HTTP request, such as `Authorization`; none by default, ignored for a command.
    pub headers: Vec<(String, String)>,
    /// How long one request may take, from sending to the last byte of its answer; 60 s by default.
    pub timeout: Duration,
    /// How long a server may take until it is known how to speak to it, the handshake included; 20 s by default.
    pub opening: Duration,
    /// How long a child may be silent when asked for its era before the handshake is tried; 3 s by default.
    pub probe_wait: Duration,
    /// The largest answer that is taken, in bytes; 64 MiB by default.
    pub max_answer: usize,
    /// The name sent as `clientInfo`; `trunkline` by default.
    pub client_name: String,
    /// Asks servers for the progress of calls and is told it; `None`, the default, asks for none.
    pub on_progress: Option<OnProgress>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            headers: Vec::new(),
            timeout: Duration::from_secs(60),
            opening: Duration::from_secs(20),
            probe_wait: Duration::from_secs(3),
            max_answer: 64 * 1024 * 1024,
            client_name: "trunkline".to_owned(),
            on_progress: None,
        }
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("ConnectOptions")
            .field("headers", &names)
            .field("timeout", &self.timeout)
            .field("opening", &self.opening)
            .field("probe_wait", &self.probe_wait)
            .field("max_answer", &self.max_answer)
            .field("client_name", &self.client_name)
            .finish_non_exhaustive()
    }
}
