//! Reads where the store is from its URL: one server by name, or one that sentinels name.
//!
//! Nothing that is said of an address shows any part of it: a mistake may have put the password anywhere.

use std::fmt;

use percent_encoding::percent_decode_str;

/// The port of Redis.
const PORT: u16 = 6379;
/// The port of a sentinel.
const SENTINEL_PORT: u16 = 26379;
/// Most sentinels.
const MAX_SENTINELS: usize = 16;
/// The longest URL, in bytes.
const MAX_URL: usize = 4096;
/// What an address looks like.
const FORMS: &str = "write `redis://USER:PASSWORD@HOST:PORT/DB`, `rediss://...` for TLS, or `redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/NAME/DB`";

/// Where the store is, and who we are there.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) place: Place,
    pub(super) tls: bool,
    /// Who logs in at the server.
    pub(super) login: Option<Login>,
    /// The number of the database.
    pub(super) db: u32,
}

/// Which server is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// This one.
    Server(Host),
    /// The one that the sentinels name as the primary of that name.
    Sentinels {
        hosts: Vec<Host>,
        name: String,
        /// Who logs in at the sentinels.
        login: Option<Login>,
    },
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) port: u16,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}

/// A user, where one is named, and the password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: Option<String>,
    pub(super) password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(..)")
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Address(..)")
    }
}

/// Why an address cannot be used, and what to write. Neither shows any of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {help}")]
pub struct AddressError {
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

impl AddressError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: FORMS.to_owned() }
    }
}

impl Address {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`AddressError`], which shows nothing of it.
    pub(super) fn read(url: &str) -> Result<Self, AddressError> {
        if url.len() > MAX_URL || url.chars().any(|character| character.is_control() || character == ' ') {
            return Err(AddressError::new(format!(
                "the address has spaces or control characters, or is longer than {MAX_URL} bytes"
            )));
        }
        let (scheme, rest) =
            url.split_once("://").ok_or_else(|| AddressError::new("the address has no `://`"))?;
        let (is_sentinel, tls) = match scheme {
            "redis" | "valkey" => (false, false),
            "rediss" | "valkeys" => (false, true),
            "redis+sentinel" => (true, false),
            "rediss+sentinel" => (true, true),
            _ => {
                return Err(AddressError::new(
                    "the scheme is none of `redis`, `rediss`, `redis+sentinel` and `rediss+sentinel`",
                ));
            }
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (Some(user), hosts),
            None => (None, authority),
        };
        let login = user.map(login).transpose()?.flatten();
        let options = Options::read(query, is_sentinel)?;
        let (place, db) = if is_sentinel {
            sentinels(hosts, path, options.login)?
        } else {
            (Place::Server(host(hosts, PORT)?), path)
        };
        Ok(Self { place, tls, login, db: database(db)? })
    }
}

fn sentinels<'a>(hosts: &str, path: &'a str, login: Option<Login>) -> Result<(Place, &'a str), AddressError> {
    let (name, db) = path.split_once('/').unwrap_or((path, ""));
    let name = decoded(name)?;
    if name.is_empty() {
        return Err(AddressError::new(
            "the address does not say the name that the sentinels know the primary by",
        ));
    }
    let hosts: Vec<_> = hosts.split(',').map(|text| host(text, SENTINEL_PORT)).collect::<Result<_, _>>()?;
    if hosts.len() > MAX_SENTINELS {
        return Err(AddressError::new(format!(
            "the address names {} sentinels, more than {MAX_SENTINELS}",
            hosts.len()
        )));
    }
    Ok((Place::Sentinels { hosts, name, login }, db))
}

fn login(text: &str) -> Result<Option<Login>, AddressError> {
    let (user, password) = match text.split_once(':') {
        Some((user, password)) => (decoded(user)?, decoded(password)?),
        // Without a colon it would be sent as a name with no password, which no server takes.
        None if text.is_empty() => return Ok(None),
        None => return Err(AddressError::new("the address has a user without a password")),
    };
    let user = Some(user).filter(|user| !user.is_empty());
    if password.is_empty() && user.is_none() {
        return Ok(None);
    }
    Ok(Some(Login { user, password }))
}

fn host(text: &str, port: u16) -> Result<Host, AddressError> {
    let (name, written) = match text.strip_prefix('[') {
        Some(rest) => {
            let (name, rest) = rest
                .split_once(']')
                .ok_or_else(|| AddressError::new("the address has a `[` that is not closed"))?;
            (name, rest.strip_prefix(':').or_else(|| rest.is_empty().then_some("")))
        }
        None => match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, Some("")),
        },
    };
    let port = match written {
        Some("") => port,
        Some(digits) => digits.parse().ok().filter(|port| *port != 0).ok_or_else(no_port)?,
        None => return Err(no_port()),
    };
    let name = decoded(name)?;
    if name.is_empty() || name.contains([',', '/', '@']) {
        return Err(AddressError::new("the address has no host, or one that is no name"));
    }
    Ok(Host { name, port })
}

fn no_port() -> AddressError {
    AddressError::new("what stands after a host is no port from 1 to 65535")
}

fn database(text: &str) -> Result<u32, AddressError> {
    match text.trim_end_matches('/') {
        "" => Ok(0),
        digits => digits.parse().map_err(|_| {
            AddressError::new("what stands where the number of the database is expected is no number")
        }),
    }
}

fn decoded(text: &str) -> Result<String, AddressError> {
    percent_decode_str(text)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| AddressError::new("the address has a `%` escape that is no UTF-8"))
}

/// What stands after `?`.
#[derive(Default)]
struct Options {
    login: Option<Login>,
}

impl Options {
    fn read(query: &str, is_sentinel: bool) -> Result<Self, AddressError> {
        let (mut user, mut password) = (None, None);
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            match name {
                "sentinel-user" if is_sentinel => user = Some(decoded(value)?),
                "sentinel-password" if is_sentinel => password = Some(decoded(value)?),
                _ => {
                    return Err(AddressError::new(
                        "the address has an option that is not known; `sentinel-user` and `sentinel-password` are, with sentinels",
                    ));
                }
            }
        }
        match (user, password) {
            (user, Some(password)) => Ok(Self { login: Some(Login { user, password }) }),
            (None, None) => Ok(Self::default()),
            (Some(_), None) => Err(AddressError::new("`sentinel-user` stands without `sentinel-password`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str, port: u16) -> Place {
        Place::Server(Host { name: name.into(), port })
    }

    #[test]
    fn a_server_is_read_with_user_password_and_database() {
        let address = Address::read("rediss://ann:p%40ss:w@db.example:6380/3").unwrap();
        assert_eq!(address.place, server("db.example", 6380));
        assert!(address.tls && address.db == 3);
        assert_eq!(address.login, Some(Login { user: Some("ann".into()), password: "p@ss:w".into() }));
        let short = Address::read("redis://:secret@[::1]").unwrap();
        assert_eq!(short.place, server("::1", 6379));
        assert_eq!(short.login, Some(Login { user: None, password: "secret".into() }));
        assert_eq!(Address::read("redis://localhost").unwrap().login, None);
        assert_eq!(Address::read("redis://localhost/").unwrap().db, 0);
    }

    #[test]
    fn sentinels_are_read_with_the_name_of_the_primary() {
        let url = "redis+sentinel://:p@a:1,b/main/2?sentinel-password=q";
        let address = Address::read(url).unwrap();
        let hosts = vec![Host { name: "a".into(), port: 1 }, Host { name: "b".into(), port: 26379 }];
        let login = Some(Login { user: None, password: "q".into() });
        assert_eq!(address.place, Place::Sentinels { hosts, name: "main".into(), login });
        assert_eq!(address.db, 2);
    }

    #[test]
    fn what_is_wrong_is_told_without_the_address() {
        for wrong in [
            "hunter2",
            "http://hunter2",
            "redis://hunter2@h",
            "redis://:hunter2@",
            "redis://:hunter2@h:0",
            "redis://:hunter2@h:99999",
            "redis://:hunter2@[::1",
            "redis://:hunter2@h/x",
            "redis://:hunter2@h?db=1",
            "redis://:hunter2@h hunter2",
            "redis://:hunter2%ff@h",
            "redis+sentinel://:hunter2@h",
            "redis+sentinel://h/n?sentinel-user=hunter2",
        ] {
            let error = Address::read(wrong).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
        let address = Address::read("redis://u:hunter2@h").unwrap();
        assert!(!format!("{address:?} {:?}", address.login).contains("hunter2"));
    }
}
