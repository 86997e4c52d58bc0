//! Reads where a database is and how it is reached: both forms of libpq's address, and those of its options that the driver
//! does not know.
//!
//! Nothing that is said of an address shows any part of it: a mistake may have put the password anywhere.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, LoadBalanceHosts, SslMode, SslNegotiation};

use crate::cancel::Peer;
use crate::tls::{Mode, Tls, TlsFiles};

/// The address of a database with its password; `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// Takes an address as it is; it is read by [`PostgresFile::resolve`](crate::PostgresFile::resolve).
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// Reads the address and the files that it names.
    ///
    /// # Errors
    /// [`Refusal`], which shows nothing of it.
    pub(crate) fn address(&self) -> Result<Address, Refusal> {
        let (rest, own) = split(&self.0)?;
        let mut config: Config = rest.parse().map_err(|error| unreadable(&error))?;
        let targets = targets(&config)?;
        let role = own.get("target_session_attrs").map(|text| Role::read(text)).transpose()?;
        let (mode, files) = tls_options(&own)?;
        let is_direct = config.get_ssl_negotiation() == SslNegotiation::Direct;
        if is_direct && matches!(mode, None | Some(Mode::Disable | Mode::Allow | Mode::Prefer)) {
            return Err(Refusal::new(
                "`sslnegotiation=direct` needs a mode that insists on TLS",
                "write `sslmode=verify-full` beside it",
            ));
        }
        let tls = Tls::new(mode, files, is_direct)?;
        let is_shuffled = config.get_load_balance_hosts() == LoadBalanceHosts::Random;
        if let (None, Some(name)) = (config.get_application_name(), own.get("fallback_application_name")) {
            config.application_name(name);
        }
        Ok(Address { targets, base: base(&config), tls, role, is_shuffled })
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseUrl(..)")
    }
}

/// Where a database is and how it is reached, all decided.
#[derive(Clone)]
pub(crate) struct Address {
    /// The hosts in the order of the address; at least one.
    pub(crate) targets: Vec<Target>,
    /// All that is the same for every host.
    base: Config,
    pub(crate) tls: Tls,
    /// Which of the hosts are wanted; `None` when the address does not say.
    pub(crate) role: Option<Role>,
    /// Whether the hosts are tried in a random order.
    pub(crate) is_shuffled: bool,
}

/// One host of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    host: Host,
    /// Where the host is, when its name need not be looked up.
    at: Option<IpAddr>,
    port: u16,
}

/// Which server of several is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Any.
    Any,
    /// One that takes writes: `read-write` and `primary`.
    Primary,
    /// One that follows another: `read-only` and `standby`.
    Standby,
    /// One that follows another, or if there is none, any.
    PreferStandby,
}

/// What is wrong with an address, and what to write. Neither shows any of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) message: String,
    pub(crate) help: String,
}

impl Refusal {
    pub(crate) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into() }
    }
}

impl Address {
    /// Returns what the driver needs for one address of a host.
    pub(crate) fn config(&self, target: &Target, peer: &Peer, mode: SslMode) -> Config {
        let mut config = self.base.clone();
        config.port(target.port);
        match (&target.host, peer) {
            // There is no TLS on a socket of this machine.
            (Host::Unix(folder), _) => config.host_path(folder).ssl_mode(SslMode::Disable),
            (Host::Tcp(name), Peer::Tcp(at, _)) => config.host(name).hostaddr(at.ip()).ssl_mode(mode),
            (Host::Tcp(name), Peer::Unix(_)) => config.host(name).ssl_mode(mode),
        };
        config
    }

    /// Tells every host, for the operator.
    pub(crate) fn shown(&self) -> String {
        self.targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    /// Whether no packet leaves this machine.
    pub(crate) fn is_local(&self) -> bool {
        self.targets.iter().all(|target| match (&target.host, target.at) {
            (Host::Unix(_), _) => true,
            (_, Some(at)) => at.is_loopback(),
            (Host::Tcp(name), None) => {
                name == "localhost" || name.parse().is_ok_and(|at: IpAddr| at.is_loopback())
            }
        })
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address")
            .field("targets", &self.targets)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

impl Target {
    /// Looks up where the host is, which may be in several places.
    ///
    /// # Errors
    /// That nobody knows.
    pub(crate) async fn peers(&self) -> io::Result<Vec<Peer>> {
        let name = match &self.host {
            Host::Unix(folder) => {
                return Ok(vec![Peer::Unix(folder.join(format!(".s.PGSQL.{}", self.port)))]);
            }
            Host::Tcp(name) => name,
        };
        if let Some(at) = self.at {
            return Ok(vec![Peer::Tcp(SocketAddr::new(at, self.port), name.clone())]);
        }
        let found = tokio::net::lookup_host((name.as_str(), self.port)).await?;
        Ok(found.map(|at| Peer::Tcp(at, name.clone())).collect())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Tcp(name) => write!(f, "{name}:{}", self.port),
            Host::Unix(folder) => write!(f, "{}:{}", folder.display(), self.port),
        }
    }
}

impl Role {
    fn read(text: &str) -> Result<Self, Refusal> {
        Ok(match text {
            "any" => Self::Any,
            "read-write" | "primary" => Self::Primary,
            "read-only" | "standby" => Self::Standby,
            "prefer-standby" => Self::PreferStandby,
            _ => {
                return Err(Refusal::new(
                    "`target_session_attrs` has no value that is allowed there",
                    "write `any`, `read-write`, `read-only`, `primary`, `standby` or `prefer-standby`",
                ));
            }
        })
    }
}

// ---- the options the driver does not know ----

/// Takes out of an address the options that are read here; what is left is for the driver.
fn split(url: &str) -> Result<(String, HashMap<&'static str, String>), Refusal> {
    let mut own = HashMap::new();
    let mut take = |key: &str, value: &str| -> Result<bool, Refusal> {
        if let Some(key) = REFUSED.iter().find(|refused| **refused == key) {
            return Err(Refusal::new(
                format!("the address's option `{key}` is not supported"),
                "remove it; docs/config.md lists what an address may say",
            ));
        }
        let Some(known) = OWN.iter().find(|known| **known == key) else { return Ok(false) };
        own.insert(*known, value.to_owned());
        Ok(true)
    };
    let rest = if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        split_url(url, &mut take)?
    } else if url.contains("://") {
        return Err(Refusal::new("the address does not parse", HOW_TO_WRITE));
    } else {
        split_pairs(url, &mut take)?
    };
    Ok((rest, own))
}

type Take<'a> = &'a mut dyn FnMut(&str, &str) -> Result<bool, Refusal>;

fn split_url(url: &str, take: Take<'_>) -> Result<String, Refusal> {
    // As the driver does it: what comes before the first `@` is the login, whatever it holds.
    let login = url.find('@').map_or(0, |at| at + 1);
    let Some(query) = url.get(login..).and_then(|rest| rest.find('?')).map(|at| login + at) else {
        return Ok(url.to_owned());
    };
    let (before, options) = (url.get(..query).unwrap_or_default(), url.get(query + 1..).unwrap_or_default());
    let mut kept = Vec::new();
    for option in options.split('&').filter(|option| !option.is_empty()) {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        let decoded = percent_decode_str(value).decode_utf8_lossy();
        // Written by habit of other drivers, and known to libpq.
        let taken = match (key, &*decoded) {
            ("ssl", "true") => take("sslmode", "require")?,
            _ => take(key, &decoded)?,
        };
        if !taken {
            kept.push(option);
        }
    }
    Ok(if kept.is_empty() { before.to_owned() } else { format!("{before}?{}", kept.join("&")) })
}

/// Reads `key = 'va\'lue'` pairs.
fn split_pairs(text: &str, take: Take<'_>) -> Result<String, Refusal> {
    let wrong = || Refusal::new("the address does not parse", HOW_TO_WRITE);
    let mut kept = String::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').ok_or_else(wrong)?;
        let after = after.trim_start();
        let (value, length) = pair_value(after).ok_or_else(wrong)?;
        let written = after.get(..length).unwrap_or_default();
        let key = key.trim();
        if !take(key, &value)? {
            kept.push_str(key);
            kept.push('=');
            kept.push_str(written);
            kept.push(' ');
        }
        rest = after.get(length..).unwrap_or_default().trim_start();
    }
    Ok(kept)
}

/// Returns a value without its quotes, and how many bytes it took.
fn pair_value(text: &str) -> Option<(String, usize)> {
    let is_quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut characters = text.char_indices().skip(usize::from(is_quoted));
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            '\'' if is_quoted => return Some((value, at + 1)),
            space if !is_quoted && space.is_whitespace() => return Some((value, at)),
            other => value.push(other),
        }
    }
    (!is_quoted).then_some((value, text.len()))
}

fn tls_options(own: &HashMap<&'static str, String>) -> Result<(Option<Mode>, TlsFiles), Refusal> {
    let mode = own.get("sslmode").map(|text| Mode::read(text)).transpose()?;
    // libpq takes an empty one for none.
    let file = |key: &str| own.get(key).filter(|text| !text.is_empty()).cloned();
    Ok((mode, TlsFiles { roots: file("sslrootcert"), certificate: file("sslcert"), key: file("sslkey") }))
}

fn targets(config: &Config) -> Result<Vec<Target>, Refusal> {
    let (hosts, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let count = hosts.len().max(addresses.len());
    if count == 0 {
        return Err(Refusal::new("the address names no host", HOW_TO_WRITE));
    }
    if !hosts.is_empty() && !addresses.is_empty() && hosts.len() != addresses.len() {
        return Err(Refusal::new(
            "the address has not as many `hostaddr` as hosts",
            "write one for each host, or none",
        ));
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(Refusal::new(
            "the address has not as many ports as hosts",
            "write one port for all hosts, or one for each",
        ));
    }
    let targets = (0..count).filter_map(|at| {
        let address = addresses.get(at).copied();
        let named = hosts.get(at).cloned();
        let host = named.or_else(|| address.map(|address| Host::Tcp(address.to_string())))?;
        let port = ports.get(at).or(ports.first()).copied().unwrap_or(5432);
        Some(Target { host, at: address, port })
    });
    Ok(targets.collect())
}

/// Copies all but the hosts, which the driver gives no way to take out.
fn base(from: &Config) -> Config {
    let mut config = Config::new();
    if let Some(user) = from.get_user() {
        config.user(user);
    }
    if let Some(password) = from.get_password() {
        config.password(password);
    }
    if let Some(database) = from.get_dbname() {
        config.dbname(database);
    }
    if let Some(options) = from.get_options() {
        config.options(options);
    }
    config.application_name(from.get_application_name().unwrap_or("trunkline"));
    // What the network drops without a word must be found before a call waits for it.
    config.tcp_user_timeout(from.get_tcp_user_timeout().copied().unwrap_or(UNACKNOWLEDGED));
    let idle = from.get_keepalives_idle();
    let idle = if idle == DRIVERS_KEEPALIVE { KEEPALIVE } else { idle };
    config.keepalives(from.get_keepalives()).keepalives_idle(idle);
    config.keepalives_interval(from.get_keepalives_interval().unwrap_or(KEEPALIVE_INTERVAL));
    config.keepalives_retries(from.get_keepalives_retries().unwrap_or(KEEPALIVE_RETRIES));
    config.channel_binding(from.get_channel_binding()).ssl_negotiation(from.get_ssl_negotiation());
    config
}

/// Names the option that is wrong when the driver does, and nothing else: its report may quote a part of the password.
fn unreadable(error: &tokio_postgres::Error) -> Refusal {
    let report = crate::dial::chain(error);
    let message = match OPTIONS.iter().find(|option| report.contains(&format!("`{option}`"))) {
        Some(option) => {
            format!("the address does not parse: its `{option}` has no value that is allowed there")
        }
        None => "the address does not parse".to_owned(),
    };
    Refusal::new(message, HOW_TO_WRITE)
}

const HOW_TO_WRITE: &str = "write `postgres://user:password@host:5432/database`, with `@`, `:`, `/`, `?` and `%` in a name or \
     password written as `%40`, `%3A`, `%2F`, `%3F` and `%25`";

/// Read here and kept from the driver. Those without a use here change nothing about what this program does.
const OWN: &[&str] = &[
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "target_session_attrs",
    "fallback_application_name",
    "client_encoding",
    "gssencmode",
    "sslcompression",
    "sslsni",
];

/// Known to libpq, and wrong to pass over: each would change who is trusted or who logs in.
const REFUSED: &[&str] = &[
    "sslpassword",
    "sslcrl",
    "sslcrldir",
    "sslcertmode",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "requirepeer",
    "require_auth",
    "krbsrvname",
    "gsslib",
    "gssdelegation",
    "passfile",
    "service",
    "servicefile",
    "replication",
];

/// Those of the driver's own whose value can be wrong.
const OPTIONS: &[&str] = &[
    "port",
    "sslnegotiation",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "channel_binding",
    "load_balance_hosts",
    "hostaddr",
];

/// What the driver has where the address says nothing: longer than firewalls and balancers remember a flow.
const DRIVERS_KEEPALIVE: Duration = Duration::from_secs(2 * 60 * 60);

const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;

/// How long what was sent may stay without an acknowledgement.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Address {
        match DatabaseUrl::new(url).address() {
            Ok(address) => address,
            Err(refusal) => panic!("{url}: {refusal:?}"),
        }
    }

    fn refused(url: &str) -> Refusal {
        let refusal = DatabaseUrl::new(url).address().unwrap_err();
        assert!(!format!("{refusal:?}").contains("hunter2"), "{refusal:?}");
        refusal
    }

    #[test]
    fn both_forms_say_the_same() {
        let url = read(
            "postgres://u:p%40%27%2F%20w@h1:1,h2:2/d?target_session_attrs=primary&application_name=a&sslmode=disable",
        );
        let pairs = read(
            r"host=h1,h2 port=1,2 user = u password='p@\'/ w' sslmode=disable dbname=d target_session_attrs='primary' application_name=a",
        );
        for address in [&url, &pairs] {
            assert_eq!(address.shown(), "h1:1, h2:2");
            assert_eq!(address.role, Some(Role::Primary));
            let peer = Peer::Tcp(([127, 0, 0, 1], 2).into(), "h2".into());
            let config = address.config(&address.targets[1], &peer, SslMode::Require);
            assert_eq!(config.get_password(), Some(&b"p@'/ w"[..]));
            assert_eq!((config.get_user(), config.get_dbname()), (Some("u"), Some("d")));
            assert_eq!(config.get_application_name(), Some("a"));
            assert_eq!((config.get_hosts(), config.get_ports()), (&[Host::Tcp("h2".into())][..], &[2][..]));
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_nothing_is_shown() {
        for (url, names) in [
            ("postgres://u:hunter2@h/db?sslmode=hunter2", "sslmode"),
            ("postgres://u:hunter2@h/db?target_session_attrs=hunter2", "target_session_attrs"),
            ("postgres://u:hunter2@h/db?sslpassword=hunter2", "sslpassword"),
            ("postgres://u:hunter2@h/db?sslmode=verify-full&sslrootcert=/none/hunter2", "sslrootcert"),
            ("postgres://u:hunter2@h/db?sslcert=/none/hunter2", "sslkey"),
            ("postgres://u:hunter2@h/db?sslcert=/none/hunter2&sslkey=/none/hunter2", "sslcert"),
            ("postgres://u:hunter2@h/db?sslmode=require&sslrootcert=system", "verify-full"),
            ("postgres://u:hunter2@h/db?sslnegotiation=direct", "sslnegotiation"),
            ("postgres://u:hunter2@h1,h2,h3:1/db?port=5", "ports"),
            ("user=u password='hunter2", "parse"),
            ("mysql://u:hunter2@h/db", "parse"),
            ("user=u password=hunter2", "no host"),
        ] {
            let refusal = refused(url);
            assert!(format!("{refusal:?}").contains(names), "{url}: {refusal:?}");
        }
    }

    #[test]
    fn a_question_mark_in_a_password_begins_no_options() {
        let address = read("postgres://u:a?sslmode=x@h/db?sslmode=disable");
        let peer = Peer::Tcp(([127, 0, 0, 1], 2).into(), "h".into());
        let config = address.config(&address.targets[0], &peer, SslMode::Disable);
        assert_eq!(config.get_password(), Some(&b"a?sslmode=x"[..]));
    }

    #[test]
    fn what_stays_on_this_machine_is_known() {
        for url in
            ["postgres://u@localhost/d", "postgres://u@127.0.0.1,[::1]/d", "host=/run/postgresql user=u"]
        {
            assert!(read(url).is_local(), "{url}");
        }
        assert!(!read("postgres://u@localhost,db/d").is_local());
    }
}
