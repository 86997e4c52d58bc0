//! What is wrong with a policy over a catalog: conditions that do not fit what they are asked about, and patterns that fit
//! nothing.

use std::collections::BTreeMap;

use trunkline_service::expression::{ArgType, ExpressionError};
use trunkline_service::file::Problem;
use trunkline_service::{Catalog, nearest};

use super::arguments::Taken;
use super::condition::compile;
use super::pattern::{Kind, Pattern};
use super::policy::{ConditionText, Policy, Role, Rule};
use super::{overlap, uri};

impl Policy {
    /// Tells what is wrong with the policy over that catalog. Conditions are checked against each thing that their role
    /// allows; a pattern that fits nothing is a warning, as what it means may come with a database that was not reached.
    #[must_use]
    pub fn problems(&self, catalog: &Catalog) -> Vec<Problem> {
        let mut problems = Vec::new();
        for role in self.roles() {
            conditions(role, catalog, &mut problems);
            for (list, rules) in [("allow", &role.allow), ("deny", &role.deny)] {
                for (number, rule) in rules.iter().enumerate() {
                    let place = ["roles", &role.name, list, &number.to_string()];
                    problems.extend(fits_nothing(rule, catalog, &place));
                }
            }
        }
        if self.has_roles() {
            problems.extend(unspeakable(catalog));
        }
        problems
    }
}

/// Something that a condition is asked about.
struct Asked {
    /// As people call it: `tool \`refund\``.
    what: String,
    types: BTreeMap<String, ArgType>,
}

fn conditions(role: &Role, catalog: &Catalog, problems: &mut Vec<Problem>) {
    if role.conditions.is_empty() {
        return;
    }
    let asked = asked(role, catalog);
    for condition in &role.conditions {
        // One slip is told once, with the first thing that it is wrong for.
        let mut told: Vec<(ExpressionError, &str, usize)> = Vec::new();
        let mut last: Option<(&BTreeMap<String, ArgType>, Option<ExpressionError>)> = None;
        for asked in &asked {
            let wrong = match &last {
                Some((types, wrong)) if **types == asked.types => wrong.clone(),
                _ => compile(&condition.text, &asked.types).err(),
            };
            if let Some(wrong) = &wrong {
                match told
                    .iter_mut()
                    .find(|(known, ..)| known.offset == wrong.offset && known.message == wrong.message)
                {
                    Some((.., others)) => *others += 1,
                    None => told.push((wrong.clone(), &asked.what, 0)),
                }
            }
            last = Some((&asked.types, wrong));
        }
        problems.extend(told.into_iter().map(|(wrong, what, others)| tell(condition, wrong, what, others)));
    }
}

fn tell(condition: &ConditionText, wrong: ExpressionError, what: &str, others: usize) -> Problem {
    let path: Vec<&str> = condition.path.iter().map(String::as_str).collect();
    let whom = match (what, others) {
        ("", _) => String::new(),
        (what, 0) => format!("for {what}: "),
        (what, 1) => format!("for {what} and another one: "),
        (what, others) => format!("for {what} and {others} others: "),
    };
    let problem = Problem::new(&path, format!("{whom}{}", wrong.message)).at(wrong.offset);
    match wrong.help {
        Some(help) => problem.help(help),
        None => problem,
    }
}

/// Everything that the role allows, with what it takes; what is denied to it is never asked about.
fn asked(role: &Role, catalog: &Catalog) -> Vec<Asked> {
    let allows = |kind, name: &str| {
        Role::first(&role.allow, kind, name).is_some() && Role::first(&role.deny, kind, name).is_none()
    };
    let parts = catalog.parts();
    let mut all = Vec::new();
    for tool in &parts.tools {
        let name = tool.definition.name.as_str();
        if allows(Kind::Tools, name) {
            let types = Taken::by_schema(&tool.definition.input_schema).types();
            all.push(Asked { what: format!("tool `{name}`"), types });
        }
    }
    for prompt in &parts.prompts {
        let name = prompt.definition.name.as_str();
        if allows(Kind::Prompts, name) {
            all.push(Asked {
                what: format!("prompt `{name}`"),
                types: Taken::by_prompt(&prompt.definition).types(),
            });
        }
    }
    if let Some(rule) = role.allow.iter().find(|rule| rule.pattern.kind == Kind::Resources) {
        let what = format!("`resources:{}`, which takes no arguments", rule.pattern.glob.as_str());
        all.push(Asked { what, types: BTreeMap::new() });
    }
    if all.is_empty() {
        // Nothing to ask about yet: it is to be an expression at least.
        let text = role.conditions.iter().map(|condition| &*condition.text).collect::<Vec<_>>().join(" ");
        let types = named_arguments(&text).map(|name| (name.to_owned(), ArgType::Any)).collect();
        all.push(Asked { what: String::new(), types });
    }
    all
}

fn named_arguments(text: &str) -> impl Iterator<Item = &str> {
    text.split("args.").skip(1).filter_map(|rest| {
        let end =
            rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(rest.len());
        rest.get(..end)
    })
}

// ---- patterns ----

fn fits_nothing(rule: &Rule, catalog: &Catalog, place: &[&str]) -> Option<Problem> {
    let Pattern { kind, glob } = &rule.pattern;
    let parts = catalog.parts();
    let names: Vec<&str> = match kind {
        Kind::Tools => parts.tools.iter().map(|one| one.definition.name.as_str()).collect(),
        Kind::Prompts => parts.prompts.iter().map(|one| one.definition.name.as_str()).collect(),
        Kind::Resources => parts.resources.iter().map(|one| one.definition.uri.as_str()).collect(),
    };
    // What is written for everything is no slip where there is nothing yet.
    let fits = |name: &&str| match kind {
        Kind::Resources => uri::canonical(name).is_some_and(|uri| glob.matches(&uri)),
        _ => glob.matches(name),
    };
    let reaches = || (0..parts.templates.len()).filter_map(|number| catalog.uri_template(number));
    if glob.as_str() == "*"
        || names.iter().any(fits)
        || (*kind == Kind::Resources && reaches().any(|template| overlap::exists(template, glob, &[])))
    {
        return None;
    }
    let thing = match kind {
        Kind::Tools => "tool",
        Kind::Prompts => "prompt",
        Kind::Resources => "resource or template",
    };
    let problem =
        Problem::new(place, format!("no {thing} fits `{}:{}`", kind.as_str(), glob.as_str())).warning();
    let plain = glob.as_str().replace('*', "");
    let templates = parts.templates.iter().map(|one| one.definition.uri_template.as_str());
    let known = names.iter().copied().chain(templates.filter(|_| *kind == Kind::Resources));
    // A name may be misspelt before its star too.
    let near = nearest(&plain, known.clone()).or_else(|| {
        let starts = known.clone().filter_map(|name| name.get(..plain.len()).map(|start| (start, name)));
        let start = nearest(&plain, starts.clone().map(|(start, _)| start))?;
        starts.into_iter().find(|(known, _)| *known == start).map(|(_, name)| name)
    });
    Some(match near {
        Some(near) => problem.help(format!("did you mean `{}:{near}`?", kind.as_str())),
        None => problem.help(format!("`trunkline check` lists the tools; remove it, or correct the {thing}")),
    })
}

/// Things that no pattern can name.
fn unspeakable(catalog: &Catalog) -> Vec<Problem> {
    let parts = catalog.parts();
    let resources =
        parts.resources.iter().map(|one| &one.definition.uri).filter(|uri| uri::canonical(uri).is_none());
    let told = resources.map(|uri| {
        let message = format!("no role can allow the resource `{uri}`, which is no URI of one spelling");
        Problem::new(&["roles"], message).warning()
    });
    told.collect()
}
