//! A table of expectations: who may what, as it is written, and as it is tried.
//!
//! ```toml
//! [callers.ann]
//! claims = { groups = ["support"], region = "eu" }
//! scopes = ["orders:read"]
//!
//! [[expect]]
//! caller = "ann"                                  # or `caller = { roles = ["support"] }`
//! tool = "refund"                                 # or a list; or `prompt`, or `resource`
//! args = { amount = 5, region = "eu" }
//! is = "allowed"                                  # or listed, unlisted, refused, challenged, denied
//! ```

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use trunkline_guard::authorize::{Explainer, Explanation, Scopes, Thing, Verdict};
use trunkline_service::{Caller, Proof};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ExpectFile {
    /// Callers by a name of the file's own.
    #[serde(default)]
    pub(super) callers: BTreeMap<String, CallerFile>,
    /// What is expected.
    #[serde(default)]
    pub(super) expect: Vec<Expectation>,
}

/// A caller.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct CallerFile {
    /// The local user; nothing else is said then.
    local: bool,
    /// The name of an API key.
    key: Option<String>,
    /// Roles the caller has whatever `match` says, as a key that was created with them.
    roles: Vec<String>,
    /// What a token says.
    claims: Map<String, Value>,
    /// What a token or key may be used for.
    scopes: Vec<String>,
    issuer: Option<String>,
    subject: Option<String>,
}

/// One expectation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Expectation {
    caller: CallerRef,
    #[serde(default)]
    tool: Names,
    #[serde(default)]
    prompt: Names,
    #[serde(default)]
    resource: Names,
    #[serde(default)]
    args: Map<String, Value>,
    is: Expected,
}

/// What is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Expected {
    /// It runs.
    Allowed,
    /// Lists show it, whatever a call comes to.
    Listed,
    /// Lists do not show it, and it answers as what does not exist.
    Unlisted,
    /// It is listed, and conditions refuse this call.
    Refused,
    /// It is listed, and scopes are missing.
    Challenged,
    /// It does not run, for whatever reason.
    Denied,
}

impl Expected {
    fn fits(self, verdict: Verdict) -> bool {
        match self {
            Self::Allowed => verdict == Verdict::Allowed,
            Self::Listed => verdict.is_listed(),
            Self::Unlisted => verdict == Verdict::Unlisted,
            Self::Refused => verdict == Verdict::Refused,
            Self::Challenged => verdict == Verdict::Challenged,
            // What does not exist is a slip of the table, not a denial.
            Self::Denied => !matches!(verdict, Verdict::Allowed | Verdict::Unknown),
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Listed => "listed",
            Self::Unlisted => "unlisted",
            Self::Refused => "refused",
            Self::Challenged => "challenged",
            Self::Denied => "denied",
        }
    }
}

/// A caller by name, or written out.
#[derive(Debug)]
enum CallerRef {
    Named(String),
    Here(Box<CallerFile>),
}

/// One name or several.
#[derive(Debug, Default)]
struct Names(Vec<String>);

/// One thing that was tried.
#[derive(Debug)]
pub(super) struct Tried {
    /// The number of the expectation in the file, from 1 on.
    pub(super) number: usize,
    pub(super) caller: String,
    pub(super) thing: String,
    pub(super) expected: Expected,
    pub(super) found: Explanation,
    pub(super) passed: bool,
}

impl ExpectFile {
    /// Tries all expectations.
    ///
    /// # Errors
    /// Which expectation cannot be tried, and why.
    pub(super) fn try_all(&self, explainer: &Explainer) -> Result<Vec<Tried>, String> {
        if self.expect.is_empty() {
            return Err("it expects nothing; write `[[expect]]` with `caller`, `tool` and `is`".to_owned());
        }
        let mut tried = Vec::new();
        for (number, expectation) in (1..).zip(&self.expect) {
            let wrong = |why: String| format!("expectation {number}: {why}");
            let (name, caller) = self.caller(&expectation.caller, explainer).map_err(wrong)?;
            let things = expectation.things().map_err(wrong)?;
            let arguments = Value::Object(expectation.args.clone()).to_string();
            for thing in things {
                let found = explainer.explain(&caller, Scopes::Known, thing, arguments.as_bytes());
                let passed = expectation.is.fits(found.verdict);
                let thing = expectation.describe(thing);
                tried.push(Tried {
                    number,
                    caller: name.clone(),
                    thing,
                    expected: expectation.is,
                    found,
                    passed,
                });
            }
        }
        Ok(tried)
    }

    fn caller(&self, wanted: &CallerRef, explainer: &Explainer) -> Result<(String, Caller), String> {
        let (name, file) = match wanted {
            CallerRef::Here(file) => (file.describe(), &**file),
            CallerRef::Named(name) => {
                let known = self.callers.get(name).ok_or_else(|| {
                    let names = self.callers.keys().map(String::as_str);
                    match trunkline_service::nearest(name, names) {
                        Some(near) => format!("there is no `[callers.{name}]`; did you mean `{near}`?"),
                        None => format!("there is no `[callers.{name}]` in the file"),
                    }
                })?;
                (name.clone(), known)
            }
        };
        Ok((name, file.caller(explainer)?))
    }
}

impl CallerFile {
    fn caller(&self, explainer: &Explainer) -> Result<Caller, String> {
        let policy = explainer.policy();
        if self.local {
            let says_more = self.key.is_some()
                || !(self.roles.is_empty() && self.claims.is_empty() && self.scopes.is_empty());
            return match says_more {
                true => Err("the local user has no key, roles, claims or scopes of their own".to_owned()),
                false => Ok((*policy.local()).clone()),
            };
        }
        let unknown = self.roles.iter().find(|role| !policy.role_names().any(|known| known == role.as_str()));
        if let Some(role) = unknown {
            return Err(format!("there is no role `{role}`"));
        }
        let texts = |list: &[String]| list.iter().map(|one| one.as_str().into()).collect();
        let is_key = self.key.is_some() || !self.roles.is_empty();
        let proof = match is_key {
            true => Proof::Key { id: "".into(), name: self.key.as_deref().unwrap_or_default().into() },
            false => Proof::Token { section: "".into() },
        };
        Ok(policy.assigned(Caller {
            issuer: self.issuer.as_deref().map(Into::into),
            subject: self.subject.as_deref().or(self.key.as_deref()).unwrap_or("somebody").into(),
            claims: self.claims.clone(),
            scopes: texts(&self.scopes),
            roles: texts(&self.roles),
            proof,
            ..Caller::default()
        }))
    }

    fn describe(&self) -> String {
        let mut parts = Vec::new();
        if self.local {
            parts.push("local".to_owned());
        }
        parts.extend(self.key.iter().map(|key| format!("key {key}")));
        if !self.roles.is_empty() {
            parts.push(self.roles.join("+"));
        }
        if !self.claims.is_empty() {
            parts.push(Value::Object(self.claims.clone()).to_string());
        }
        if !self.scopes.is_empty() {
            parts.push(format!("scopes {}", self.scopes.join(" ")));
        }
        if parts.is_empty() { "anybody".to_owned() } else { parts.join(", ") }
    }
}

impl Expectation {
    fn things(&self) -> Result<Vec<Thing<'_>>, String> {
        let tools = self.tool.0.iter().map(|name| Thing::Tool(name));
        let prompts = self.prompt.0.iter().map(|name| Thing::Prompt(name));
        let resources = self.resource.0.iter().map(|uri| Thing::Resource(uri));
        let things: Vec<Thing<'_>> = tools.chain(prompts).chain(resources).collect();
        if things.is_empty() {
            return Err("it names nothing; write `tool`, `prompt` or `resource`".to_owned());
        }
        if !self.args.is_empty() && !self.resource.0.is_empty() {
            return Err("a resource takes no `args`".to_owned());
        }
        Ok(things)
    }

    fn describe(&self, thing: Thing<'_>) -> String {
        let (kind, name) = match thing {
            Thing::Tool(name) => ("tool", name),
            Thing::Prompt(name) => ("prompt", name),
            Thing::Resource(uri) => ("resource", uri),
        };
        let args: Vec<String> = self.args.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        format!("{kind} `{name}`{}", args.concat())
    }
}

// ---- one or several ----

impl<'de> Deserialize<'de> for CallerRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = CallerRef;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a caller, or a table such as { roles = [\"support\"] }")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<CallerRef, E> {
                Ok(CallerRef::Named(name.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<CallerRef, A::Error> {
                let here = CallerFile::deserialize(MapAccessDeserializer::new(map))?;
                Ok(CallerRef::Here(Box::new(here)))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;

        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name, or a list of names")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Names, E> {
                Ok(Names(vec![name.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Names, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Names)
            }
        }

        deserializer.deserialize_any(OneOrMany)
    }
}
