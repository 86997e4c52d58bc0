//! Why something is allowed or denied: the roles of a caller and where each came from, the rules and conditions that decided, and
//! what would change the answer.

use std::sync::Arc;

use serde::Serialize;
use trunkline_service::catalog::{PromptDefinition, ToolDefinition};
use trunkline_service::{Caller, Catalog, Proof, nearest};

use super::arguments::{Read, Taken};
use super::condition::{compile, evaluate};
use super::gate::missing;
use super::pattern::Kind;
use super::policy::{Match, Policy, Role, Rule};
use super::rules::{Rules, Said, said, said_of_uri};
use super::uri;

/// Most changes that are told.
const MAX_CHANGES: usize = 12;

/// Explains decisions of a policy over a catalog. It decides by the same rules as the guard, without calling anything.
#[derive(Debug, Clone)]
pub struct Explainer(pub(super) Arc<Rules>);

/// What somebody wants to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thing<'a> {
    /// The tool of that name.
    Tool(&'a str),
    /// The prompt of that name.
    Prompt(&'a str),
    /// The resource of that URI, or the template that it is an instance of.
    Resource(&'a str),
}

/// Whether the caller's scopes are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scopes {
    /// They are those of the caller.
    Known,
    /// Nobody said: all that are needed are taken for granted, and told.
    Assumed,
}

/// How it comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It runs.
    Allowed,
    /// It is listed, and the token lacks scopes: HTTP 403 with a challenge.
    Challenged,
    /// It is listed, and no condition lets this call pass.
    Refused,
    /// It is not there for this caller: the answer is that of something that does not exist.
    Unlisted,
    /// It does not exist at all.
    Unknown,
}

impl Verdict {
    /// Tells whether lists show it.
    #[must_use]
    pub fn is_listed(self) -> bool {
        matches!(self, Self::Allowed | Self::Challenged | Self::Refused)
    }
}

/// Why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// How it comes out.
    pub verdict: Verdict,
    /// The rule that decided, as `roles.support.allow[0]`; empty when none did.
    pub rule: String,
    /// The roles of the caller.
    pub roles: Vec<HeldRole>,
    /// The scopes that it needs.
    pub scopes: Vec<String>,
    /// Those of them that the caller lacks.
    pub missing_scopes: Vec<String>,
    /// What would change the answer, each a sentence.
    pub changes: Vec<String>,
}

/// One role of a caller, and what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeldRole {
    /// Its name.
    pub name: String,
    /// Where it came from: the `match` that fitted, or that the key was created with it.
    pub from: String,
    /// Its first rule that allows the thing, with its pattern.
    pub allow: Option<NamedRule>,
    /// Its first rule that denies the thing, with its pattern.
    pub deny: Option<NamedRule>,
    /// Its conditions, where it allows the thing.
    pub conditions: Vec<Looked>,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamedRule {
    /// Where it stands: `roles.support.allow[0]`.
    pub id: String,
    /// What it says: `tools:search_*`.
    pub pattern: String,
}

/// A condition that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Looked {
    /// Where it stands, with a digest of its text: `roles.support.when.small@1a2b3c4d`.
    pub id: String,
    /// Its text.
    pub text: String,
    /// How it came out; `None` when it could not be evaluated, which refuses too.
    pub outcome: Option<bool>,
    /// Why it could not.
    pub error: Option<String>,
}

impl Explainer {
    /// Makes one for a policy over a catalog.
    #[must_use]
    pub fn new(policy: Arc<Policy>, catalog: Arc<Catalog>) -> Self {
        Self(Rules::new(policy, catalog))
    }

    /// Returns the policy.
    #[must_use]
    pub fn policy(&self) -> &Arc<Policy> {
        &self.0.policy
    }

    /// Returns the catalog.
    #[must_use]
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.0.catalog
    }

    /// Explains what becomes of a request of that caller for a thing. `arguments` is a JSON object, or empty for none.
    #[must_use]
    pub fn explain(
        &self,
        caller: &Caller,
        scopes: Scopes,
        thing: Thing<'_>,
        arguments: &[u8],
    ) -> Explanation {
        let Some(found) = self.find(thing) else { return self.unknown(caller, thing) };
        let needed: Vec<Box<str>> = match thing {
            Thing::Tool(name) => self.policy().scopes_of(name).to_vec(),
            _ => Vec::new(),
        };
        let missing = match scopes {
            Scopes::Known => missing(&needed, caller),
            Scopes::Assumed => Vec::new(),
        };
        let roles = self.policy().roles_of(caller);
        let said = if self.policy().has_roles() { found.said(&self.0, &roles) } else { None };
        let args = found.taken.read_raw(arguments);
        let held: Vec<HeldRole> =
            roles.iter().map(|role| held(&self.0, role, caller, &found, &args)).collect();
        let (verdict, rule) = match said {
            None => (Verdict::Allowed, String::new()),
            Some(Said::Nothing) => (Verdict::Unlisted, String::new()),
            Some(Said::Denied(rule)) => (Verdict::Unlisted, rule.id.to_string()),
            Some(Said::Allowed(ways)) => allowed(&ways, &held),
        };
        let verdict = if verdict.is_listed() && !missing.is_empty() { Verdict::Challenged } else { verdict };
        let texts = |scopes: &[Box<str>]| scopes.iter().map(|scope| scope.to_string()).collect();
        let mut explanation = Explanation {
            verdict,
            rule,
            roles: held,
            scopes: texts(&needed),
            missing_scopes: texts(&missing),
            changes: Vec::new(),
        };
        explanation.changes = self.changes(&explanation, caller, &found);
        explanation
    }

    pub(super) fn find<'t>(&self, thing: Thing<'t>) -> Option<Found<'t>> {
        let catalog = self.catalog();
        let parts = catalog.parts();
        match thing {
            Thing::Tool(name) => {
                let tool = catalog.entry(catalog.find(name.as_bytes())?)?;
                Some(Found { kind: Kind::Tools, name, template: None, taken: taken_by(&tool.definition) })
            }
            Thing::Prompt(name) => {
                let (prompt, _) = catalog.prompt(name)?;
                Some(Found {
                    kind: Kind::Prompts,
                    name,
                    template: None,
                    taken: taken_by_prompt(&prompt.definition),
                })
            }
            Thing::Resource(name) => {
                let found =
                    |template| Found { kind: Kind::Resources, name, template, taken: Taken::default() };
                let canonical = uri::canonical(name);
                let spellings = [Some(name), canonical.as_deref()];
                if spellings.into_iter().flatten().any(|spelling| catalog.resource(spelling).is_some()) {
                    return Some(found(None));
                }
                let written = |number: &usize| {
                    parts.templates.get(*number).is_some_and(|one| one.definition.uri_template == name)
                };
                let fits = |number: &usize| {
                    let template = catalog.uri_template(*number);
                    let instance = template.zip(canonical.as_deref());
                    instance.is_some_and(|(template, uri)| template.matches(uri).is_some())
                };
                let numbers = || 0..parts.templates.len();
                numbers().find(written).or_else(|| numbers().find(fits)).map(|number| found(Some(number)))
            }
        }
    }

    fn unknown(&self, caller: &Caller, thing: Thing<'_>) -> Explanation {
        let parts = self.catalog().parts();
        let names: Vec<&str> = match thing {
            Thing::Tool(_) => parts.tools.iter().map(|one| one.definition.name.as_str()).collect(),
            Thing::Prompt(_) => parts.prompts.iter().map(|one| one.definition.name.as_str()).collect(),
            Thing::Resource(_) => parts.resources.iter().map(|one| one.definition.uri.as_str()).collect(),
        };
        let (Thing::Tool(name) | Thing::Prompt(name) | Thing::Resource(name)) = thing;
        let near = nearest(name, names).map(|near| format!("`{near}` exists; did you mean that?"));
        let roles = self.policy().roles_of(caller);
        let found = Found { kind: thing.kind(), name, template: None, taken: Taken::default() };
        let args = Read::default();
        Explanation {
            verdict: Verdict::Unknown,
            rule: String::new(),
            roles: roles.iter().map(|role| held(&self.0, role, caller, &found, &args)).collect(),
            scopes: Vec::new(),
            missing_scopes: Vec::new(),
            changes: near.into_iter().collect(),
        }
    }

    fn changes(&self, explanation: &Explanation, caller: &Caller, found: &Found<'_>) -> Vec<String> {
        let mut changes = Vec::new();
        match explanation.verdict {
            Verdict::Challenged => {
                changes.push(format!(
                    "a token with the scopes `{}` besides",
                    explanation.missing_scopes.join(" ")
                ));
            }
            Verdict::Refused => changes.extend(refusing(explanation)),
            Verdict::Unlisted => {
                let denying =
                    explanation.roles.iter().filter_map(|role| Some((&role.name, role.deny.as_ref()?)));
                for (name, rule) in denying {
                    changes.push(format!(
                        "without role `{name}`, whose rule `{}` (`{}`) denies it",
                        rule.id, rule.pattern
                    ));
                }
                if explanation.roles.iter().all(|role| role.allow.is_none()) {
                    changes.extend(self.others(caller, found));
                }
            }
            Verdict::Allowed => {
                let mut allowing = explanation.roles.iter().filter(|role| role.allow.is_some());
                if let (Some(only), None) = (allowing.next(), allowing.next()) {
                    changes
                        .push(format!("without role `{}` it would not be there for this caller", only.name));
                }
            }
            Verdict::Unknown => {}
        }
        changes.truncate(MAX_CHANGES);
        changes
    }

    /// The roles that would allow it, and how a caller comes to have them.
    fn others(&self, caller: &Caller, found: &Found<'_>) -> Vec<String> {
        let mut told = Vec::new();
        for role in self.policy().roles().iter().filter(|role| !caller.roles.contains(&role.name)) {
            let Some(Said::Allowed(ways)) = found.said(&self.0, &[role]) else { continue };
            let rule = ways.first().map_or("", |(_, rule)| &*rule.id);
            let ways: Vec<String> = role.matches.iter().map(Match::describe).collect();
            let whom = match ways.is_empty() {
                true => "only API keys created with it have it".to_owned(),
                false => format!("a caller has it by {}", ways.join(", or by ")),
            };
            told.push(format!("with role `{}`, whose rule `{rule}` allows it: {whom}", role.name));
        }
        if told.is_empty() {
            told.push(format!(
                "a rule `{}:{}` in `allow` of one of the roles",
                found.kind.as_str(),
                found.name
            ));
        }
        told
    }
}

fn taken_by(tool: &ToolDefinition) -> Taken {
    Taken::by_schema(&tool.input_schema)
}

fn taken_by_prompt(prompt: &PromptDefinition) -> Taken {
    Taken::by_prompt(prompt)
}

impl Thing<'_> {
    fn kind(&self) -> Kind {
        match self {
            Self::Tool(_) => Kind::Tools,
            Self::Prompt(_) => Kind::Prompts,
            Self::Resource(_) => Kind::Resources,
        }
    }
}

/// A thing of the catalog.
pub(super) struct Found<'t> {
    kind: Kind,
    name: &'t str,
    /// The template, of a resource that is not listed by itself.
    template: Option<usize>,
    taken: Taken,
}

impl Found<'_> {
    /// What the rules of some roles say of it.
    pub(super) fn said<'r>(&self, rules: &Rules, roles: &[&'r Role]) -> Option<Said<'r>> {
        if self.kind != Kind::Resources {
            return Some(said(roles, self.kind, self.name));
        }
        if let Some(number) = self.template {
            let ways = rules.ways_into(roles, number);
            if ways.is_empty() {
                return Some(Said::Nothing);
            }
            // The template itself, as it stands in the list.
            if rules.catalog.uri_template(number).is_some_and(|template| template.as_str() == self.name) {
                return Some(Said::Allowed(ways));
            }
        }
        Some(uri::canonical(self.name).map_or(Said::Nothing, |uri| said_of_uri(roles, &uri)))
    }

    /// The first rules of a role that allow and deny it.
    fn first<'r>(&self, rules: &Rules, role: &'r Role) -> (Option<&'r Rule>, Option<&'r Rule>) {
        let is_template = self.template.filter(|number| {
            rules.catalog.uri_template(*number).is_some_and(|template| template.as_str() == self.name)
        });
        if let Some(number) = is_template {
            return (rules.ways_into(&[role], number).first().map(|(_, rule)| *rule), None);
        }
        if self.kind != Kind::Resources {
            return (
                Role::first(&role.allow, self.kind, self.name),
                Role::first(&role.deny, self.kind, self.name),
            );
        }
        let Some(canonical) = uri::canonical(self.name) else { return (None, None) };
        let deny = match said_of_uri(&[role], &canonical) {
            Said::Denied(rule) => Some(rule),
            _ => None,
        };
        (Role::first(&role.allow, self.kind, &canonical), deny)
    }
}

fn held(rules: &Rules, role: &Role, caller: &Caller, found: &Found<'_>, args: &Read) -> HeldRole {
    let (allow, deny) = found.first(rules, role);
    let (allow, deny) = (allow.map(named), deny.map(named));
    let conditions = match &allow {
        Some(_) => role
            .conditions
            .iter()
            .map(|condition| {
                let (outcome, error) = look(&condition.text, caller, found, args);
                Looked { id: condition.id.to_string(), text: condition.text.to_string(), outcome, error }
            })
            .collect(),
        None => Vec::new(),
    };
    HeldRole { name: role.name.to_string(), from: from(role, caller), allow, deny, conditions }
}

fn look(text: &str, caller: &Caller, found: &Found<'_>, args: &Read) -> (Option<bool>, Option<String>) {
    let expression = match compile(text, &found.taken.types()) {
        Ok(expression) => expression,
        Err(error) => return (None, Some(error.message)),
    };
    match evaluate(&expression, args, caller) {
        Ok(truth) => (Some(truth), None),
        Err(error) => (None, Some(error)),
    }
}

fn named(rule: &Rule) -> NamedRule {
    let pattern = format!("{}:{}", rule.pattern.kind.as_str(), rule.pattern.glob.as_str());
    NamedRule { id: rule.id.to_string(), pattern }
}

fn from(role: &Role, caller: &Caller) -> String {
    match role.matches.iter().find(|one| one.fits(caller)) {
        Some(one) => format!("{} ({})", one.describe(), one.id),
        None if matches!(&caller.proof, Proof::Key { id, .. } if !id.is_empty()) => {
            "the key was created with it".to_owned()
        }
        // Nobody presented a key: the role was only named.
        None => "taken for granted".to_owned(),
    }
}

/// Which of the rules that allow it hold, by what is known of their conditions.
fn allowed(ways: &[(&Role, &Rule)], held: &[HeldRole]) -> (Verdict, String) {
    let holds = |role: &Role| {
        let held = held.iter().find(|held| *held.name == *role.name);
        held.is_some_and(|held| held.conditions.iter().all(|condition| condition.outcome == Some(true)))
    };
    let free = ways.iter().find(|(role, _)| role.conditions.is_empty());
    match free.or_else(|| ways.iter().find(|(role, _)| holds(role))) {
        Some((_, rule)) => (Verdict::Allowed, rule.id.to_string()),
        None => (Verdict::Refused, ways.first().map(|(_, rule)| rule.id.to_string()).unwrap_or_default()),
    }
}

/// The conditions that would have to come out otherwise.
fn refusing(explanation: &Explanation) -> Vec<String> {
    let failed = explanation.roles.iter().flat_map(|role| &role.conditions);
    let failed = failed.filter(|condition| condition.outcome != Some(true));
    failed
        .map(|condition| format!("a call for which `{}` holds (`{}`)", condition.text, condition.id))
        .collect()
}
