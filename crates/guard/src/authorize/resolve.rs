//! From the file to the policy: everything decided, everything that is wrong told at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use trunkline_service::expression::MAX_SOURCE;
use trunkline_service::file::Problem;
use trunkline_service::nearest;

use crate::digest::sha256;
use crate::scope::is_scope;

use super::claim::{Path, Wanted};
use super::file::{MatchFile, RoleFile, ScopesFile, WhenFile};
use super::pattern::Pattern;
use super::policy::{ConditionText, Match, Policy, Role, Rule, Whom};

/// Most roles of one file.
const MAX_ROLES: usize = 10_000;
/// Most patterns of one list of a role.
const MAX_RULES: usize = 1000;
/// Most conditions of one role.
const MAX_CONDITIONS: usize = 32;
/// The longest message of a role, in bytes.
const MAX_MESSAGE: usize = 1024;
/// Most scopes of one tool.
const MAX_SCOPES: usize = 64;

/// All that the file says of who may do what.
#[derive(Debug, Clone, Default)]
pub struct PolicyFile {
    /// `[roles.R]`, in the order of the file; `None` without any, when everybody may use everything.
    pub roles: Option<Vec<(String, RoleFile)>>,
    /// `scopes` of `[tools.X]`, by the tool's name.
    pub tool_scopes: Vec<(String, Vec<String>)>,
    /// `[auth.scopes]`: which scope implies which.
    pub implied: ScopesFile,
}

/// What the rest of the file says that the policy depends on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Surroundings<'a> {
    /// The issuers whose tokens are accepted, as they name themselves.
    pub issuers: &'a [&'a str],
    /// Whether there is an `[auth]`, so that callers are not the local user only.
    pub auth: bool,
    /// Whether API keys are accepted.
    pub keys: bool,
}

impl PolicyFile {
    /// Decides everything.
    ///
    /// Returns the policy with what is wrong; where something is wrong, the policy is not to be served.
    #[must_use]
    pub fn resolve(self, around: Surroundings<'_>) -> (Policy, Vec<Problem>) {
        let mut problems = Vec::new();
        let print = self.print();
        let implied = implied(&self.implied, &mut problems);
        let tool_scopes = tool_scopes(self.tool_scopes, &mut problems);
        let roles = self.roles.map(|roles| read_roles(roles, around, &mut problems));
        let named = named(roles.as_deref().unwrap_or_default());
        (Policy { roles, tool_scopes, implied, named, digest: print }, problems)
    }

    /// A digest of all that is written, by names and values, so that two meanings never have one.
    fn print(&self) -> [u8; 32] {
        let text = format!("{:?}", (&self.roles, &self.tool_scopes, &self.implied));
        sha256(text.as_bytes())
    }
}

// ---- scopes ----

/// The longest scope, in bytes.
const MAX_SCOPE: usize = 256;

fn no_scope(text: &str, path: &[&str]) -> Problem {
    let help = "a scope is 1 to 256 printable ASCII characters without space, `\"` and `\\`";
    Problem::new(path, format!("`{text}` is no scope")).help(help)
}

fn implied(file: &ScopesFile, problems: &mut Vec<Problem>) -> FxHashMap<Box<str>, Box<[Box<str>]>> {
    for (broad, narrow) in file {
        if !is_scope(broad, MAX_SCOPE) {
            problems.push(no_scope(broad, &["auth", "scopes", broad]));
        }
        for (number, scope) in narrow.iter().enumerate().filter(|(_, scope)| !is_scope(scope, MAX_SCOPE)) {
            problems.push(no_scope(scope, &["auth", "scopes", broad, &number.to_string()]));
        }
    }
    file.keys().map(|broad| (broad.as_str().into(), closure(file, broad))).collect()
}

/// All that a scope implies, those that implied ones imply too.
fn closure(file: &ScopesFile, broad: &str) -> Box<[Box<str>]> {
    let mut found: Vec<Box<str>> = Vec::new();
    let mut open = vec![broad];
    while let Some(scope) = open.pop() {
        for narrow in file.get(scope).into_iter().flatten() {
            if narrow != broad && !found.iter().any(|known| **known == **narrow) {
                found.push(narrow.as_str().into());
                open.push(narrow);
            }
        }
    }
    found.into()
}

fn tool_scopes(
    file: Vec<(String, Vec<String>)>,
    problems: &mut Vec<Problem>,
) -> FxHashMap<Box<str>, Arc<[Box<str>]>> {
    let mut all = FxHashMap::default();
    for (tool, scopes) in file {
        if scopes.len() > MAX_SCOPES {
            let message = format!("{} scopes; at most {MAX_SCOPES} are allowed", scopes.len());
            problems.push(Problem::new(&["tools", &tool, "scopes"], message));
        }
        let mut unique: Vec<Box<str>> = Vec::new();
        for (number, scope) in scopes.iter().enumerate() {
            if !is_scope(scope, MAX_SCOPE) {
                problems.push(no_scope(scope, &["tools", &tool, "scopes", &number.to_string()]));
            }
            if !unique.iter().any(|known| **known == **scope) {
                unique.push(scope.as_str().into());
            }
        }
        if !unique.is_empty() {
            all.insert(tool.into(), unique.into());
        }
    }
    all
}

// ---- roles ----

fn read_roles(
    file: Vec<(String, RoleFile)>,
    around: Surroundings<'_>,
    problems: &mut Vec<Problem>,
) -> Box<[Role]> {
    if file.len() > MAX_ROLES {
        problems
            .push(Problem::new(&["roles"], format!("{} roles; at most {MAX_ROLES} are allowed", file.len())));
    }
    let roles = file.into_iter().map(|(name, role)| read_role(name, role, around, problems));
    roles.collect()
}

fn read_role(name: String, file: RoleFile, around: Surroundings<'_>, problems: &mut Vec<Problem>) -> Role {
    let path = ["roles", name.as_str()];
    let fits = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.' | ':' | '/');
    if !(1..=64).contains(&name.len()) || !name.chars().all(fits) {
        let help = "use 1 to 64 of the characters a-z, A-Z, 0-9, `_`, `-`, `.`, `:` and `/`";
        problems.push(Problem::new(&path, format!("`{name}` is no name for a role")).help(help));
    }
    let is_list = file.matches.as_ref().is_some_and(|matches| matches.0.len() != 1);
    let mut matches = Vec::new();
    for (number, one) in file.matches.unwrap_or_default().0.into_iter().enumerate() {
        let number = number.to_string();
        let keys: Vec<&str> = match is_list {
            true => ["roles", &name, "match", &number].into(),
            false => ["roles", &name, "match"].into(),
        };
        match read_match(one, &keys, around) {
            Ok((whom, issuer, warning)) => {
                problems.extend(warning);
                matches.push(Match { id: id_of(&keys), whom, issuer });
            }
            Err(problem) => problems.push(*problem),
        }
    }
    let conditions = read_conditions(&name, file.when, problems);
    if let Some(message) =
        file.message.as_ref().filter(|text| text.trim().is_empty() || text.len() > MAX_MESSAGE)
    {
        let found = format!("a message has 1 to {MAX_MESSAGE} bytes, this one {}", message.len());
        problems.push(Problem::new(&["roles", &name, "message"], found));
    }
    if file.message.is_some() && conditions.is_empty() {
        let message = "`message` is what a caller reads whose call `when` refuses, and there is no `when`";
        problems.push(Problem::new(&["roles", &name, "message"], message).help("remove it, or add `when`"));
    }
    Role {
        matches: matches.into(),
        allow: read_rules(&name, "allow", &file.allow, problems),
        deny: read_rules(&name, "deny", &file.deny, problems),
        conditions,
        message: file.message.map(Into::into),
        name: name.into(),
    }
}

/// Writes a path as people do: `roles.support.allow[0]`.
pub(crate) fn id_of(keys: &[&str]) -> Box<str> {
    let mut id = String::new();
    for key in keys {
        match key.parse::<usize>() {
            Ok(number) => id.push_str(&format!("[{number}]")),
            Err(_) if id.is_empty() => id.push_str(key),
            Err(_) => {
                id.push('.');
                id.push_str(key);
            }
        }
    }
    id.into()
}

fn read_rules(role: &str, list: &str, patterns: &[String], problems: &mut Vec<Problem>) -> Box<[Rule]> {
    if patterns.len() > MAX_RULES {
        let message = format!("{} patterns; at most {MAX_RULES} are allowed", patterns.len());
        problems.push(Problem::new(&["roles", role, list], message).help("put some together with `*`"));
    }
    let mut rules = Vec::new();
    for (number, text) in patterns.iter().enumerate() {
        let id = format!("roles.{role}.{list}[{number}]").into();
        match Pattern::read(text, &["roles", role, list, &number.to_string()]) {
            Ok(pattern) => rules.push(Rule { id, pattern }),
            Err(problem) => problems.push(problem),
        }
    }
    rules.into()
}

fn read_conditions(role: &str, file: Option<WhenFile>, problems: &mut Vec<Problem>) -> Box<[ConditionText]> {
    let named: Vec<(Option<String>, String)> = match file {
        None => return Box::default(),
        Some(WhenFile::One(text)) => vec![(None, text)],
        Some(WhenFile::Named(named)) => named.into_iter().map(|(name, text)| (Some(name), text)).collect(),
    };
    if named.is_empty() || named.len() > MAX_CONDITIONS {
        let message = format!("{} conditions; 1 to {MAX_CONDITIONS} are allowed", named.len());
        problems.push(Problem::new(&["roles", role, "when"], message));
    }
    let mut conditions = Vec::new();
    for (name, text) in named {
        let mut path = vec!["roles".to_owned(), role.to_owned(), "when".to_owned()];
        let mut id = format!("roles.{role}.when");
        if let Some(name) = name {
            let fits = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
            path.push(name.clone());
            if !(1..=64).contains(&name.len()) || !name.chars().all(fits) {
                let keys: Vec<&str> = path.iter().map(String::as_str).collect();
                let help = "use 1 to 64 of the characters a-z, A-Z, 0-9, `_` and `-`";
                problems.push(Problem::new(&keys, format!("`{name}` is no name for a condition")).help(help));
            }
            id = format!("{id}.{name}");
        }
        if text.len() > MAX_SOURCE {
            let keys: Vec<&str> = path.iter().map(String::as_str).collect();
            let message = format!("the condition has {} bytes; at most {MAX_SOURCE} are allowed", text.len());
            problems.push(Problem::new(&keys, message).at(MAX_SOURCE));
        }
        let print: String =
            sha256(text.as_bytes()).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let id = format!("{id}@{print}").into();
        conditions.push(ConditionText { id, path: path.into(), text: text.into() });
    }
    conditions.into()
}

// ---- who is meant ----

type Meant = (Whom, Option<Box<str>>, Option<Problem>);

const MATCH_HELP: &str = "write one of `{ claim = \"...\", has = \"...\" }`, `{ claim = \"...\", equals = \"...\" }`, `{ scope = \"...\" }`, `{ key = \"...\" }` and `{ local = true }`";

/// Where a table of `match` stands, for what is wrong with it.
struct Place<'a>(&'a [&'a str]);

impl Place<'_> {
    fn wrong(&self, key: Option<&str>, message: impl Into<String>, help: &str) -> Box<Problem> {
        let path: Vec<&str> = self.0.iter().copied().chain(key).collect();
        Box::new(Problem::new(&path, message).help(help))
    }
}

fn read_match(file: MatchFile, keys: &[&str], around: Surroundings<'_>) -> Result<Meant, Box<Problem>> {
    let place = Place(keys);
    let key = meant_by(&file, &place)?;
    let issuer = read_issuer(&file, key, around)
        .map_err(|(message, help)| place.wrong(Some("issuer"), message, &help))?;
    if matches!(key, "claim" | "scope") && issuer.is_none() && around.issuers.len() > 1 {
        let count = around.issuers.len();
        let message = format!("{count} issuers are accepted, and this does not say whose {key} counts");
        let help = format!("add `issuer`, one of `{}`", around.issuers.join("`, `"));
        return Err(place.wrong(None, message, &help));
    }
    let whom = whom(file, &place)?;
    let warning = match whom {
        Whom::Claim(..) | Whom::Scope(_) if !around.auth => {
            let message = format!("without `[auth]` there are no tokens, so that this {key} is nobody's");
            Some(place.wrong(Some(key), message, "add `[auth]`, or match `{ local = true }`"))
        }
        Whom::Key(_) if !around.keys => {
            Some(place.wrong(Some(key), "no API key is accepted without `[auth.keys]`", "add it"))
        }
        _ => None,
    };
    Ok((whom, issuer, warning.map(|warning| warning.warning())))
}

/// The one key that says who is meant.
fn meant_by(file: &MatchFile, place: &Place<'_>) -> Result<&'static str, Box<Problem>> {
    for (key, value) in [("spiffe", &file.spiffe), ("subject", &file.subject)] {
        if value.is_some() {
            let message = format!("`{key}` names a client certificate, which this version does not ask for");
            let help = "remove it; the subject of a token is `{ claim = \"sub\", equals = \"...\" }`";
            return Err(place.wrong(Some(key), message, help));
        }
    }
    let named = [
        ("claim", file.claim.is_some()),
        ("scope", file.scope.is_some()),
        ("key", file.key.is_some()),
        ("local", file.local.is_some()),
    ];
    let given: Vec<&'static str> = named.iter().filter(|(_, given)| *given).map(|(key, _)| *key).collect();
    let key = match given[..] {
        [key] => key,
        [] => return Err(place.wrong(None, "this says of nobody that they are meant", MATCH_HELP)),
        _ => {
            let both = given.join("` and `");
            let message = format!("`{both}` cannot stand together; one of them says who is meant");
            return Err(place.wrong(None, message, "write a list of tables for one or the other"));
        }
    };
    if key != "claim" && (file.has.is_some() || file.equals.is_some()) {
        let stray = if file.has.is_some() { "has" } else { "equals" };
        return Err(place.wrong(Some(stray), format!("`{stray}` belongs to a `claim`"), MATCH_HELP));
    }
    Ok(key)
}

fn whom(file: MatchFile, place: &Place<'_>) -> Result<Whom, Box<Problem>> {
    match (file.claim, file.scope, file.key) {
        (Some(claim), ..) => {
            if claim.is_empty() || claim.len() > 256 {
                let message = format!("a claim has a name of 1 to 256 bytes, this one {}", claim.len());
                return Err(place.wrong(Some("claim"), message, MATCH_HELP));
            }
            let wanted = match (file.has, file.equals) {
                (Some(has), None) => Wanted::Has(has),
                (None, Some(equals)) => Wanted::Equals(equals),
                (None, None) => {
                    let message = format!("nothing is asked of claim `{claim}`");
                    return Err(place.wrong(Some("claim"), message, "add `has` or `equals`"));
                }
                (Some(_), Some(_)) => {
                    let message = "`has` and `equals` cannot stand together";
                    return Err(place.wrong(Some("equals"), message, "`equals` alone is the stricter one"));
                }
            };
            Ok(Whom::Claim(Path::new(&claim), wanted))
        }
        (_, Some(scope), _) if !is_scope(&scope, MAX_SCOPE) => {
            let path: Vec<&str> = place.0.iter().copied().chain(["scope"]).collect();
            Err(Box::new(no_scope(&scope, &path)))
        }
        (_, Some(scope), _) => Ok(Whom::Scope(scope.into())),
        (.., Some(key)) => Ok(Whom::Key(key.into())),
        _ if file.local == Some(true) => Ok(Whom::Local),
        _ => {
            let help = "only `local = true` says who is meant";
            Err(place.wrong(Some("local"), "`local = false` means nobody", help))
        }
    }
}

fn read_issuer(
    file: &MatchFile,
    key: &str,
    around: Surroundings<'_>,
) -> Result<Option<Box<str>>, (String, String)> {
    let Some(issuer) = &file.issuer else { return Ok(None) };
    if !matches!(key, "claim" | "scope") {
        let message = format!("`issuer` says nothing of `{key}`, which no issuer vouches for");
        return Err((message, "remove it".to_owned()));
    }
    if !around.issuers.contains(&issuer.as_str()) {
        let help = match nearest(issuer, around.issuers.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if around.issuers.is_empty() => "add `[auth.jwt.NAME]` with that issuer".to_owned(),
            None => format!("the issuers are `{}`", around.issuers.join("`, `")),
        };
        return Err((format!("no token of `{issuer}` is accepted"), help));
    }
    Ok(Some(issuer.as_str().into()))
}

/// Every claim that is named, each once, with all that is asked of it.
fn named(roles: &[Role]) -> Box<[(Path, Box<[Wanted]>)]> {
    let mut named: BTreeMap<Path, Vec<Wanted>> = BTreeMap::new();
    for one in roles.iter().flat_map(|role| &role.matches) {
        if let Whom::Claim(path, wanted) = &one.whom {
            let asked = named.entry(path.clone()).or_default();
            if !asked.contains(wanted) {
                asked.push(wanted.clone());
            }
        }
    }
    named.into_iter().map(|(path, wanted)| (path, wanted.into())).collect()
}
