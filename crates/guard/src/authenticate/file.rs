//! `[auth]` as written in the file, and what it is decided to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::HeaderValue;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use trunkline_service::file::{DurationText, Problem};

use super::algorithm::Algorithm;
use super::audience::Audience;
use super::fetch::may_be_asked;
use super::introspection::form_encoded;
use super::issuer::Source;
use super::keys::KeysFile;
use super::token::plain_type;
use crate::scope::is_scope;

/// `[auth]`: who may come in. With it, only those who prove who they are.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct AuthFile {
    /// Issuers of signed tokens (JWT), each under a name of its own.
    pub jwt: BTreeMap<String, JwtFile>,
    /// Authorization servers that are asked about tokens which say nothing by themselves (RFC 7662), each under a name of its own.
    pub introspection: BTreeMap<String, IntrospectionFile>,
    /// API keys, which `trunkline keys` makes. Default: none are accepted.
    pub keys: Option<KeysFile>,
    /// Scopes that are broader than others: `files = ["files:read", "files:write"]` gives whoever has `files` both. Default: none.
    pub scopes: BTreeMap<String, Vec<String>>,
    /// The scopes a client is told to ask for at its first login. Default: none, so that it asks for what it finds.
    pub login_scopes: Vec<String>,
}

/// `[auth.jwt.NAME]`: an issuer of signed tokens.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct JwtFile {
    /// The issuer, exactly as its tokens have it in `iss`: an `https` address, or `http` on this machine. Its keys are found through
    /// its metadata.
    pub issuer: Option<String>,
    /// What tokens must have in `aud`. Default: `server.url`.
    pub audience: Option<String>,
    /// How far clocks may disagree, from `"0s"` to `"10m"`. Default: `"30s"`.
    pub leeway: Option<Leeway>,
    /// Where the issuer's keys are, when its metadata does not say so or should not be asked.
    pub jwks_url: Option<String>,
    /// How long fetched keys are good for, from `"1s"` to `"1d"`: a key that the issuer withdrew is refused after that. Default: `"5m"`.
    pub jwks_ttl: Option<DurationText>,
    /// The only signature algorithms to accept. Default: all of them, each with keys made for it.
    pub algorithms: Vec<Algorithm>,
    /// The only `typ` of tokens to accept, like `"at+jwt"`. Default: `JWT`, `at+jwt` and none.
    pub typ: Option<String>,
}

/// `[auth.introspection.NAME]`: an authorization server that is asked about tokens.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct IntrospectionFile {
    /// Its introspection endpoint: an `https` address, or `http` on this machine.
    pub url: Option<String>,
    /// The name this server is registered under there.
    pub client_id: Option<String>,
    /// The secret that goes with it.
    pub client_secret: Option<ClientSecret>,
    /// How long an answer counts, from `"1s"` to `"1h"`: a token that was revoked goes on for so long. Default: `"30s"`.
    pub cache: Option<DurationText>,
    /// The issuer of these tokens, which answers must name where they name one; clients are sent there to log in. Default: none.
    pub issuer: Option<String>,
    /// What answers must have in `aud`. Default: `server.url`.
    pub audience: Option<String>,
    /// How far clocks may disagree, from `"0s"` to `"10m"`. Default: `"30s"`.
    pub leeway: Option<Leeway>,
}

/// A secret that is shown nowhere.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ClientSecret(String);

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret")
    }
}

/// A length of time that may be zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Leeway(Duration);

impl<'de> Deserialize<'de> for Leeway {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "0s" {
            return Ok(Self(Duration::ZERO));
        }
        let text = serde::de::value::StringDeserializer::<D::Error>::new(text);
        DurationText::deserialize(text).map(|text| Self(text.0))
    }
}

impl JsonSchema for Leeway {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Leeway".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+ *(ms|s|m|h|d)$", "description": "a length of time like \"30s\", or \"0s\" for none" })
    }
}

/// `[auth]`, decided.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Auth {
    /// Issuers of signed tokens.
    pub jwt: Vec<Jwt>,
    /// Servers that are asked.
    pub introspection: Vec<Introspection>,
    /// The scopes of a first login.
    pub login_scopes: Vec<Box<str>>,
}

impl Auth {
    /// Returns the issuers where clients can get tokens, each once.
    #[must_use]
    pub fn issuers(&self) -> Vec<Box<str>> {
        let signed = self.jwt.iter().map(|section| &section.source.issuer);
        let asked = self.introspection.iter().filter_map(|section| section.issuer.as_ref());
        let mut issuers: Vec<Box<str>> = Vec::new();
        for issuer in signed.chain(asked) {
            if !issuers.contains(issuer) {
                issuers.push(issuer.clone());
            }
        }
        issuers
    }
}

/// `[auth.jwt.NAME]`, decided.
#[derive(Debug, Clone)]
pub struct Jwt {
    pub(crate) name: Box<str>,
    pub(crate) source: Source,
    pub(crate) audience: Audience,
    pub(crate) leeway: Duration,
    /// None for all.
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) typ: Option<Box<str>>,
}

/// `[auth.introspection.NAME]`, decided.
#[derive(Debug, Clone)]
pub struct Introspection {
    pub(crate) name: Box<str>,
    pub(crate) url: Url,
    pub(crate) authorization: HeaderValue,
    pub(crate) issuer: Option<Box<str>>,
    pub(crate) audience: Audience,
    pub(crate) leeway: Duration,
    pub(crate) cache: Duration,
}

impl AuthFile {
    /// Decides everything. `server_url` is `server.url`, for which tokens are meant unless a section says otherwise.
    ///
    /// What is wrong is told by its keys; what can be decided is decided all the same.
    #[must_use]
    pub fn resolve(&self, server_url: Option<&str>) -> (Auth, Vec<Problem>) {
        let mut decide = Decide { server_url, problems: Vec::new(), section: ["jwt", ""] };
        let mut auth = Auth { login_scopes: decide.scopes(&self.login_scopes), ..Auth::default() };
        for (name, file) in &self.jwt {
            decide.section = ["jwt", name];
            auth.jwt.extend(decide.jwt(name, file));
        }
        for (name, file) in &self.introspection {
            decide.section = ["introspection", name];
            if self.jwt.contains_key(name) {
                let help = "give one of them another name: a caller is known by the name of the section";
                decide.problem(None, format!("`[auth.jwt.{name}]` has the same name"), help);
            }
            auth.introspection.extend(decide.introspection(name, file));
        }
        (auth, decide.problems)
    }
}

/// Decides sections, gathering what is wrong.
struct Decide<'f> {
    server_url: Option<&'f str>,
    problems: Vec<Problem>,
    section: [&'f str; 2],
}

impl Decide<'_> {
    fn problem(&mut self, key: Option<&str>, message: impl Into<String>, help: &str) {
        let path: Vec<&str> = ["auth"].into_iter().chain(self.section).chain(key).collect();
        self.problems.push(Problem::new(&path, message).help(help));
    }

    fn jwt(&mut self, name: &str, file: &JwtFile) -> Option<Jwt> {
        let issuer = file.issuer.as_deref();
        if issuer.is_none() {
            let help = "write `issuer = \"https://...\"`, as its tokens have it in `iss`";
            self.problem(None, "it does not say whose tokens to accept: `issuer` is missing", help);
        }
        let address = issuer.and_then(|issuer| self.address("issuer", issuer));
        let keys = file.jwks_url.as_deref().map(|url| self.address("jwks-url", url));
        let ttl = self.between("jwks-ttl", file.jwks_ttl, DEFAULT_TTL, LONGEST_TTL);
        let leeway = self.leeway(file.leeway);
        let audience = self.audience(file.audience.as_deref());
        if file.typ.as_deref() == Some("") {
            self.problem(Some("typ"), "`typ` is empty", "write one like \"at+jwt\", or leave it out");
        }
        Some(Jwt {
            name: name.into(),
            source: Source {
                issuer: issuer?.into(),
                address: address?,
                keys: match keys {
                    None => None,
                    Some(found) => Some(found?),
                },
                ttl,
            },
            audience: audience?,
            leeway,
            algorithms: file.algorithms.clone(),
            typ: file.typ.as_deref().map(plain_type),
        })
    }

    fn introspection(&mut self, name: &str, file: &IntrospectionFile) -> Option<Introspection> {
        if file.url.is_none() {
            let help =
                "write `url = \"https://...\"`: the introspection endpoint of the authorization server";
            self.problem(None, "it does not say whom to ask: `url` is missing", help);
        }
        let url = file.url.as_deref().and_then(|url| self.address("url", url));
        if let Some(issuer) = &file.issuer {
            self.address("issuer", issuer);
        }
        let authorization = match (&file.client_id, &file.client_secret) {
            (Some(id), Some(ClientSecret(secret))) if !id.is_empty() && !secret.is_empty() => {
                basic(id, secret)
            }
            _ => {
                let help = "register this server there and write both";
                self.problem(None, "`client-id` or `client-secret` is missing or empty", help);
                None
            }
        };
        let cache = self.between("cache", file.cache, DEFAULT_CACHE, LONGEST_CACHE);
        let leeway = self.leeway(file.leeway);
        let audience = self.audience(file.audience.as_deref());
        Some(Introspection {
            name: name.into(),
            url: url?,
            authorization: authorization?,
            issuer: file.issuer.as_deref().map(Into::into),
            audience: audience?,
            leeway,
            cache,
        })
    }

    /// Reads an address that secrets may be sent to or keys taken from.
    fn address(&mut self, key: &str, text: &str) -> Option<Url> {
        let Some(url) = Url::parse(text).ok().filter(Url::has_host) else {
            self.problem(
                Some(key),
                format!("`{key}` is no web address"),
                "write it as \"https://host/path\"",
            );
            return None;
        };
        let has_more = !url.username().is_empty() || url.password().is_some() || url.fragment().is_some();
        if has_more || (key == "issuer" && url.query().is_some()) {
            let message = format!("`{key}` has a user, a query or a fragment");
            self.problem(Some(key), message, "an issuer is known by scheme, host and path alone (RFC 8414)");
            return None;
        }
        if !may_be_asked(&url) {
            let message =
                format!("`{key}` is not encrypted: whoever stands in between could say who may come in");
            self.problem(Some(key), message, "write an `https` address; `http` is for this machine alone");
            return None;
        }
        Some(url)
    }

    fn audience(&mut self, written: Option<&str>) -> Option<Audience> {
        match (written, self.server_url) {
            (Some(""), _) => {
                let help = "write what this server is called in `aud`, or leave it out to have `server.url`";
                self.problem(Some("audience"), "`audience` is empty", help);
                None
            }
            (Some(text), _) | (None, Some(text)) => Some(Audience::new(text)),
            (None, None) => {
                let help = "set `server.url` to the public address of this server, or write `audience` here";
                self.problem(None, "nothing says for whom tokens must be meant", help);
                None
            }
        }
    }

    fn leeway(&mut self, written: Option<Leeway>) -> Duration {
        let Leeway(leeway) = written.unwrap_or(DEFAULT_LEEWAY);
        if leeway > LONGEST_LEEWAY {
            let help = "clocks that disagree by more need to be set; \"30s\" is usual";
            self.problem(Some("leeway"), format!("`leeway` is {leeway:?}; it is at most 10m"), help);
        }
        leeway
    }

    fn between(
        &mut self,
        key: &str,
        written: Option<DurationText>,
        usual: Duration,
        most: Duration,
    ) -> Duration {
        let length = written.map_or(usual, |text| text.0);
        if !(SHORTEST..=most).contains(&length) {
            let message = format!("`{key}` is {length:?}; it is between 1s and {most:?}");
            self.problem(
                Some(key),
                message,
                "what is withdrawn goes on for so long, and every node asks so often",
            );
        }
        length
    }

    fn scopes(&mut self, written: &[String]) -> Vec<Box<str>> {
        for (at, scope) in written.iter().enumerate() {
            if !is_scope(scope, usize::MAX) {
                let problem = Problem::new(
                    &["auth", "login-scopes", &at.to_string()],
                    "it is no scope: one word, without quotes",
                );
                self.problems.push(problem.help("write each scope as a text of its own"));
            }
        }
        written.iter().map(|scope| scope.as_str().into()).collect()
    }
}

/// Writes the `Authorization` of a client. RFC 6749 section 2.3.1.
fn basic(id: &str, secret: &str) -> Option<HeaderValue> {
    let pair = STANDARD.encode(format!("{}:{}", form_encoded(id), form_encoded(secret)));
    let mut value = HeaderValue::from_str(&format!("Basic {pair}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

const DEFAULT_LEEWAY: Leeway = Leeway(Duration::from_secs(30));
const LONGEST_LEEWAY: Duration = Duration::from_secs(600);
const SHORTEST: Duration = Duration::from_secs(1);
const DEFAULT_TTL: Duration = Duration::from_secs(300);
const LONGEST_TTL: Duration = Duration::from_secs(24 * 3600);
const DEFAULT_CACHE: Duration = Duration::from_secs(30);
const LONGEST_CACHE: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(toml: &str, url: Option<&str>) -> (Auth, Vec<String>) {
        let file: AuthFile = toml::from_str(toml).unwrap();
        let (auth, problems) = file.resolve(url);
        let told = |problem: &Problem| format!("{}: {}", problem.path.join("."), problem.message);
        assert!(problems.iter().all(|problem| problem.help.is_some()), "{problems:?}");
        (auth, problems.iter().map(told).collect())
    }

    #[test]
    fn the_least_that_is_written_is_enough() {
        let text = "[jwt.company]\nissuer = 'https://login.example.com'";
        let (auth, problems) = resolve(text, Some("https://mcp.example.com/mcp"));
        assert_eq!(problems, Vec::<String>::new());
        let section = auth.jwt.first().unwrap();
        assert_eq!(section.audience.text(), "https://mcp.example.com/mcp");
        assert_eq!((section.leeway.as_secs(), section.source.ttl.as_secs()), (30, 300));
        assert_eq!(auth.issuers(), ["https://login.example.com".into()]);
    }

    #[test]
    fn all_that_is_written_is_taken() {
        let text = "login-scopes = ['a']\n[scopes]\na = ['b']\n[jwt.x]\nissuer = 'http://127.0.0.1:9000'\naudience = 'y'\n\
                    leeway = '0s'\njwks-url = 'http://localhost/k'\njwks-ttl = '1s'\nalgorithms = ['ES256', 'EdDSA']\n\
                    typ = 'at+jwt'\n[introspection.z]\nurl = 'https://z.example/i'\nclient-id = 'a b'\n\
                    client-secret = 'hunter:2'\ncache = '1m'\nissuer = 'https://z.example'\naudience = 'q'";
        let (auth, problems) = resolve(text, None);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(auth.jwt.first().unwrap().leeway, Duration::ZERO);
        assert_eq!(auth.issuers(), ["http://127.0.0.1:9000".into(), "https://z.example".into()]);
        let section = auth.introspection.first().unwrap();
        assert_eq!(
            section.authorization.to_str().unwrap(),
            format!("Basic {}", STANDARD.encode("a+b:hunter%3A2"))
        );
        assert_eq!(section.cache.as_secs(), 60);
        assert!(!format!("{auth:?}").contains("hunter"), "{auth:?}");
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once_by_its_key() {
        let text = "login-scopes = ['a b']\n[jwt.a]\n[jwt.b]\nissuer = 'http://login.example'\naudience = 'x'\nleeway = '1h'\n\
                    jwks-ttl = '2d'\n[jwt.c]\nissuer = 'https://u:p@login.example/?x'\naudience = ''\n[introspection.a]\n\
                    url = 'file:///x'\nclient-id = 'x'";
        let (auth, problems) = resolve(text, None);
        let keys: Vec<&str> =
            problems.iter().map(|told| told.split(": ").next().unwrap_or_default()).collect();
        assert_eq!(
            keys,
            [
                "auth.login-scopes.0",
                "auth.jwt.a",
                "auth.jwt.a",
                "auth.jwt.b.issuer",
                "auth.jwt.b.jwks-ttl",
                "auth.jwt.b.leeway",
                "auth.jwt.c.issuer",
                "auth.jwt.c.audience",
                "auth.introspection.a",
                "auth.introspection.a.url",
                "auth.introspection.a",
                "auth.introspection.a",
            ]
        );
        assert!(auth.jwt.is_empty() && auth.introspection.is_empty());
    }

    #[test]
    fn algorithms_that_prove_nothing_cannot_be_written() {
        for name in ["none", "HS256", "HS512", "ES512", "ES256K", "RS1", "rs256"] {
            let text = format!("[jwt.x]\nissuer = 'https://a'\nalgorithms = ['{name}']");
            assert!(toml::from_str::<AuthFile>(&text).is_err(), "{name}");
        }
    }
}
