//! The sections `[server]`, `[log]` and `[admin]`: as written, and as decided.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use schemars::JsonSchema;
use serde::Deserialize;
use trunkline_guard::redact::file::DetectorsFile;
use trunkline_server::http::Network;
use trunkline_sql::SchemaProfile;
use trunkline_sql::file::{DurationText, SizeText};

use super::diagnostic::Diagnostic;
use super::document::Document;

/// `[server]` as written in the file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ServerFile {
    /// The name clients know the server by. Default: `trunkline`.
    pub(crate) name: Option<String>,
    /// The address to listen on; `/mcp` is served there. Default: `127.0.0.1:3000`. Other than loopback needs `[auth]` and `trusted-proxies`.
    pub(crate) listen: Option<String>,
    /// The public address of the endpoint, as clients write it: the OAuth resource. Its path is served besides `/mcp`. Needs `[auth]`. Default: none.
    pub(crate) url: Option<String>,
    /// Hosts that are served besides loopback and the host of `url`. Default: none.
    pub(crate) allowed_hosts: Vec<String>,
    /// Origins of web pages that are served besides loopback and the host of `url`. Default: none.
    pub(crate) allowed_origins: Vec<String>,
    /// Addresses or networks of the proxies in front that bring TLS. An address to listen on that is not loopback needs one, and then only they and this machine are served. Needs `[auth]`. Default: none.
    pub(crate) trusted_proxies: Vec<String>,
    /// Most bytes of one message, over HTTP and over stdio. Default: `4MiB`.
    pub(crate) max_body: Option<SizeText>,
    /// Most bytes of answers that are kept in memory, where tools or connectors have a `cache`. Default: `64MiB`.
    pub(crate) cache_size: Option<SizeText>,
    /// Most requests at a time; further ones are told to try again. Default: 1024.
    pub(crate) max_in_flight: Option<NonZeroUsize>,
    /// How long one request may take. Default: `30s`.
    pub(crate) deadline: Option<DurationText>,
    /// How long requests in flight may go on once the server was told to stop. Default: `10s`.
    pub(crate) shutdown_grace: Option<DurationText>,
    /// Keys of 32 bytes, in base64 or hex, that seal session ids and cursors: the first seals, all open. Default: a random key at each start.
    pub(crate) seal_keys: Vec<String>,
    /// How input schemas are sent: `portable` in the form every known host takes, `full` as they are. Default: `portable`.
    pub(crate) schema: SchemaForm,
    /// Takes requests of 2026-07-28 whose version header names an older revision, as some hosts send. Departs from the specification. Default: false.
    pub(crate) tolerate_version_header: bool,
}

/// How input schemas are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SchemaForm {
    /// In the form every known host takes.
    #[default]
    Portable,
    /// As they are.
    Full,
}

impl From<SchemaForm> for SchemaProfile {
    fn from(form: SchemaForm) -> Self {
        match form {
            SchemaForm::Portable => Self::Portable,
            SchemaForm::Full => Self::Full,
        }
    }
}

/// `[log]` as written in the file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct LogFile {
    /// The least level that is written. Default: `info`, with `--stdio` `warn`. The variable `TRUNKLINE_LOG` goes before it.
    pub(crate) level: Option<LogLevel>,
    /// The form of the lines. Default: `text`.
    pub(crate) format: LogFormat,
    /// What is hidden in log lines beside credentials and what has the name of a secret: `email`, `card`, `iban`, `phone`. Default: nothing more.
    pub(crate) redact: DetectorsFile,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogLevel {
    /// Nothing.
    Off,
    /// Only what is broken.
    Error,
    /// Also what may break.
    Warn,
    /// Also what happens.
    Info,
    /// Also every refused request.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For people, each over several lines.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// `[admin]` as written in the file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct AdminFile {
    /// The address of `/livez`, `/readyz`, `/metrics` and `/cache/purge`. Default: `127.0.0.1:9464`, with `--stdio` none. Other than loopback needs `token`.
    pub(crate) listen: Option<String>,
    /// What must be sent as `Authorization: Bearer` where the listener is not on loopback, and everywhere for `/cache/purge`, which nobody may use without one. Default: none.
    pub(crate) token: Option<String>,
}

/// `[server]`, decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) listen: SocketAddr,
    pub(crate) url: Option<PublicUrl>,
    pub(crate) allowed_hosts: Vec<String>,
    pub(crate) allowed_origins: Vec<String>,
    pub(crate) trusted_proxies: Vec<Network>,
    pub(crate) max_body: usize,
    pub(crate) cache_size: usize,
    pub(crate) max_in_flight: usize,
    pub(crate) deadline: Duration,
    pub(crate) shutdown_grace: Duration,
    pub(crate) seal_keys: SealKeys,
    pub(crate) tolerate_version_header: bool,
}

/// The keys of `seal-keys`, shown nowhere.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct SealKeys(pub(crate) Vec<[u8; 32]>);

impl std::fmt::Debug for SealKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealKeys({})", self.0.len())
    }
}

/// `[admin]`, decided.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Admin {
    /// `None` leaves it to the command.
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) token: Option<String>,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").field("listen", &self.listen).field("token", &self.token.is_some()).finish()
    }
}

/// Where `serve` and `demo` listen when nothing else is said.
pub(crate) const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3000);

impl Default for Server {
    fn default() -> Self {
        Self {
            name: "trunkline".to_owned(),
            listen: DEFAULT_LISTEN,
            url: None,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            max_body: 4 * 1024 * 1024,
            cache_size: trunkline_guard::cache::DEFAULT_SIZE,
            max_in_flight: 1024,
            deadline: Duration::from_secs(30),
            shutdown_grace: Duration::from_secs(10),
            seal_keys: SealKeys::default(),
            tolerate_version_header: false,
        }
    }
}

/// What carries the protocol, as far as the file has rules about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edge {
    /// HTTP, on this address if the command line names one.
    Http(Option<SocketAddr>),
    /// stdio: `listen` and `url` are not looked at.
    Stdio,
}

/// What to do about an endpoint that others could reach.
const NEEDS_AUTH: &str = "say who may come in with `[auth.keys]` (then `trunkline keys create`) or `[auth.jwt.NAME]`, or listen on 127.0.0.1";
/// What to do about tokens that would travel in the clear.
const NEEDS_TLS: &str = "name the addresses of the proxy in front that brings TLS, like `trusted-proxies = [\"10.0.0.7\"]`, or listen on 127.0.0.1";

/// Tells why an address may not be listened on without `[auth]`.
pub(crate) fn refuse_listen(listen: SocketAddr) -> Option<(String, &'static str)> {
    let message = || (format!("listening on `{listen}`, which is not loopback, needs `[auth]`"), NEEDS_AUTH);
    (!listen.ip().is_loopback()).then(message)
}

impl ServerFile {
    /// Decides everything, telling all that is wrong.
    pub(crate) fn resolve(
        self,
        edge: Edge,
        guarded: bool,
        document: &Document,
        problems: &mut Vec<Diagnostic>,
    ) -> Server {
        let mut wrong = Wrong { document, problems };
        let listen = self.listen(edge, guarded, &mut wrong);
        let url = self.url(edge, guarded, &mut wrong);
        check_each(&self.allowed_hosts, "allowed-hosts", HOST, &mut wrong, |host| {
            trunkline_protocol::header::host_name(host).is_some()
        });
        check_each(&self.allowed_origins, "allowed-origins", ORIGIN, &mut wrong, |origin| {
            origin.contains("://")
        });
        check_each(&self.trusted_proxies, "trusted-proxies", NETWORK, &mut wrong, |network| {
            Network::parse(network).is_some()
        });
        let seal_keys = keys(&self.seal_keys, &mut wrong);
        if !guarded && !self.trusted_proxies.is_empty() {
            let message = "trusting a proxy needs `[auth]`: the local user is not behind one";
            wrong.tell(&["server", "trusted-proxies"], message, NEEDS_AUTH);
        }
        let defaults = Server::default();
        let name = self.name.unwrap_or(defaults.name);
        if name.trim().is_empty() || name.len() > 64 {
            let message = format!("a name has 1 to 64 bytes, this one {}", name.len());
            wrong.tell(&["server", "name"], message, "shorten it");
        }
        Server {
            name,
            listen,
            allowed_hosts: self
                .allowed_hosts
                .into_iter()
                .chain(url.iter().map(|url| url.host.clone()))
                .collect(),
            url,
            allowed_origins: self.allowed_origins,
            trusted_proxies: self.trusted_proxies.iter().filter_map(|text| Network::parse(text)).collect(),
            max_body: self.max_body.map_or(defaults.max_body, |size| size.0),
            cache_size: self.cache_size.map_or(defaults.cache_size, |size| size.0),
            max_in_flight: self.max_in_flight.map_or(defaults.max_in_flight, NonZeroUsize::get),
            deadline: self.deadline.map_or(defaults.deadline, |deadline| deadline.0),
            shutdown_grace: self.shutdown_grace.map_or(defaults.shutdown_grace, |grace| grace.0),
            seal_keys,
            tolerate_version_header: self.tolerate_version_header,
        }
    }

    /// Decides the address. Others must not be able to reach it unless they prove who they are, and not in the clear.
    fn listen(&self, edge: Edge, guarded: bool, wrong: &mut Wrong<'_>) -> SocketAddr {
        let Edge::Http(from_command) = edge else { return DEFAULT_LISTEN };
        let from_file = self.listen.as_deref().map(address);
        if from_file == Some(None) {
            wrong.tell(&["server", "listen"], "this is no address", ADDRESS);
        }
        let listen = from_command.or(from_file.flatten()).unwrap_or(DEFAULT_LISTEN);
        match refuse_listen(listen) {
            Some((message, help)) if !guarded => wrong.tell(&["server", "listen"], message, help),
            Some(_) if self.trusted_proxies.is_empty() => {
                let message =
                    format!("tokens would reach `{listen}`, which is not loopback, without encryption");
                wrong.tell(&["server", "listen"], message, NEEDS_TLS);
            }
            _ => {}
        }
        listen
    }

    /// Decides the public name: an address of HTTPS, or of loopback, without anything but host, port and path.
    fn url(&self, edge: Edge, guarded: bool, wrong: &mut Wrong<'_>) -> Option<PublicUrl> {
        let text = self.url.as_deref().filter(|_| matches!(edge, Edge::Http(_)))?;
        if !guarded {
            wrong.tell(&["server", "url"], "a public `url` needs `[auth]`", NEEDS_AUTH);
        }
        let url = PublicUrl::parse(text);
        if let Err(what) = &url {
            wrong.tell(&["server", "url"], *what, "write it like \"https://mcp.example.com/mcp\"");
        }
        url.ok()
    }
}

/// The public address of the endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublicUrl {
    /// As it was written: the name of the OAuth resource.
    pub(crate) text: String,
    /// Host and port, as `Host` has them.
    pub(crate) host: String,
    /// The path, with a slash at its beginning.
    pub(crate) path: String,
}

impl PublicUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// What is wrong with it.
    fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or("this is no address")?;
        if text.bytes().any(|byte| !byte.is_ascii_graphic() || matches!(byte, b'"' | b'\\' | b'<' | b'>')) {
            return Err("an address has no spaces, quotes or control characters");
        }
        if text.contains(['#', '?']) {
            return Err("the name of a resource has no query and no fragment");
        }
        let (host, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, "/"),
        };
        if host.contains('@') {
            return Err("a public address holds no user and no password");
        }
        let name =
            trunkline_protocol::header::host_name(host).ok_or("the host of this address cannot be read")?;
        let is_local = matches!(&*name, "localhost" | "127.0.0.1" | "[::1]" | "::1");
        if !(scheme == "https" || scheme == "http" && is_local) {
            return Err("tokens for it would travel without encryption: it must begin with `https://`");
        }
        Ok(Self { text: text.to_owned(), host: host.to_owned(), path: path.to_owned() })
    }
}

/// Where problems of this file's sections go.
struct Wrong<'a> {
    document: &'a Document,
    problems: &'a mut Vec<Diagnostic>,
}

impl Wrong<'_> {
    fn tell(&mut self, path: &[&str], message: impl Into<String>, help: &str) {
        self.problems.push(Diagnostic::at(self.document, path, message).help(help));
    }
}

/// What the elements of a list are, and what one looks like.
type Kind = (&'static str, &'static str);

const HOST: Kind = ("host name", "write it like \"mcp.example.com\"");
const ORIGIN: Kind = ("origin", "write it like \"https://app.example.com\"");
const NETWORK: Kind = ("address or network", "write it like \"10.0.0.7\" or \"10.0.0.0/8\"");

/// Tells every element of a list of `[server]` that is none of its kind.
fn check_each(
    elements: &[String],
    key: &str,
    (kind, help): Kind,
    wrong: &mut Wrong<'_>,
    fits: impl Fn(&str) -> bool,
) {
    for (number, element) in elements.iter().enumerate().filter(|(_, element)| !fits(element)) {
        wrong.tell(&["server", key, &number.to_string()], format!("`{element}` is no {kind}"), help);
    }
}

/// Reads the keys, telling those that are none; the text of one is never told.
fn keys(texts: &[String], wrong: &mut Wrong<'_>) -> SealKeys {
    let mut keys = Vec::new();
    for (number, text) in texts.iter().enumerate() {
        match seal_key(text) {
            Some(key) => keys.push(key),
            None => {
                let message = "this is no key of 32 bytes in base64 or hex";
                let help = "make one with `openssl rand -hex 32`";
                wrong.tell(&["server", "seal-keys", &number.to_string()], message, help);
            }
        }
    }
    SealKeys(keys)
}

impl AdminFile {
    /// Decides everything, telling all that is wrong.
    pub(crate) fn resolve(self, document: &Document, problems: &mut Vec<Diagnostic>) -> Admin {
        let listen = self.listen.as_deref().map(address);
        if listen == Some(None) {
            problems.push(Diagnostic::at(document, &["admin", "listen"], "this is no address").help(ADDRESS));
        }
        let listen = listen.flatten();
        let token = self.token.filter(|token| !token.is_empty());
        if let Some(open) = listen.filter(|listen| !listen.ip().is_loopback() && token.is_none()) {
            let message = format!("an admin listener on `{open}`, which is not loopback, needs a `token`");
            let help = "set `token` under `[admin]`, or listen on 127.0.0.1";
            problems.push(Diagnostic::at(document, &["admin", "listen"], message).help(help));
        }
        Admin { listen, token }
    }
}

const ADDRESS: &str = "write an IP address and a port, like \"127.0.0.1:3000\" or \"[::1]:3000\"";

/// Reads an address to listen on; `localhost` is 127.0.0.1.
pub(crate) fn address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => port.parse().ok().map(|port| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)),
        None => text.parse().ok(),
    }
}

fn seal_key(text: &str) -> Option<[u8; 32]> {
    let hex = || -> Option<Vec<u8>> {
        let pair = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
        (0..32).map(|number| pair(number * 2)).collect()
    };
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return hex()?.try_into().ok();
    }
    let bytes = STANDARD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text.trim_end_matches('='))).ok()?;
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_from_hex_and_base64() {
        assert_eq!(seal_key(&"ab".repeat(32)), Some([0xab; 32]));
        assert_eq!(seal_key(&STANDARD.encode([7; 32])), Some([7; 32]));
        assert_eq!(seal_key(&URL_SAFE_NO_PAD.encode([0xff; 32])), Some([0xff; 32]));
        for bad in ["", "ab", &"ab".repeat(33), &STANDARD.encode([7; 31]), &"é".repeat(32)] {
            assert_eq!(seal_key(bad), None, "{bad}");
        }
    }
}
