//! An explanation for people.

use trunkline_guard::authorize::{Explanation, HeldRole, Looked, Scopes, Thing, Verdict};

use crate::commands::tools::table::printable;

/// Writes an explanation.
pub(super) fn text(explanation: &Explanation, thing: Thing<'_>, scopes: Scopes) -> String {
    let mut lines = vec![headline(explanation, thing), String::new()];
    if explanation.roles.is_empty() {
        lines.push("roles: none".to_owned());
    }
    for role in &explanation.roles {
        tell_role(role, &mut lines);
    }
    tell_scopes(explanation, scopes, &mut lines);
    if !explanation.changes.is_empty() {
        let headline = match explanation.verdict {
            Verdict::Unknown => "near it",
            _ => "what would change the answer",
        };
        lines.extend([String::new(), format!("{headline}:")]);
        lines.extend(explanation.changes.iter().map(|change| format!("  - {change}")));
    }
    printable(&lines.join("\n"))
}

fn headline(explanation: &Explanation, thing: Thing<'_>) -> String {
    let (kind, name) = match thing {
        Thing::Tool(name) => ("tool", name),
        Thing::Prompt(name) => ("prompt", name),
        Thing::Resource(uri) => ("resource", uri),
    };
    let by = match explanation.rule.is_empty() {
        true => String::new(),
        false => format!(" by `{}`", explanation.rule),
    };
    match explanation.verdict {
        Verdict::Allowed if explanation.rule.is_empty() => {
            format!("allowed: {kind} `{name}`; the file declares no roles")
        }
        Verdict::Allowed => format!("allowed: {kind} `{name}`{by}"),
        Verdict::Challenged => format!("denied: {kind} `{name}` is there{by}, and the token lacks scopes"),
        Verdict::Refused => {
            format!("denied: {kind} `{name}` is there{by}, and no condition lets this call pass")
        }
        Verdict::Unlisted if explanation.rule.is_empty() => {
            format!("denied: {kind} `{name}` is not there for this caller; no rule allows it")
        }
        Verdict::Unlisted => {
            format!("denied: {kind} `{name}` is not there for this caller: `{}` denies it", explanation.rule)
        }
        Verdict::Unknown => format!("denied: there is no {kind} `{name}`"),
    }
}

fn tell_role(role: &HeldRole, lines: &mut Vec<String>) {
    lines.push(format!("role `{}`: {}", role.name, role.from));
    if let Some(rule) = &role.deny {
        lines.push(format!("  denies it by `{}` (`{}`)", rule.id, rule.pattern));
    }
    match &role.allow {
        Some(rule) => lines.push(format!("  allows it by `{}` (`{}`)", rule.id, rule.pattern)),
        None if role.deny.is_none() => lines.push("  says nothing of it".to_owned()),
        None => {}
    }
    lines.extend(role.conditions.iter().map(tell_condition));
}

fn tell_condition(condition: &Looked) -> String {
    let outcome = match (condition.outcome, &condition.error) {
        (Some(true), _) => "holds".to_owned(),
        (Some(false), _) => "does not hold".to_owned(),
        (None, Some(error)) => format!("cannot be evaluated ({error})"),
        (None, None) => "cannot be evaluated".to_owned(),
    };
    format!("  `{}` {outcome}: {}", condition.id, condition.text)
}

fn tell_scopes(explanation: &Explanation, scopes: Scopes, lines: &mut Vec<String>) {
    if explanation.scopes.is_empty() {
        return;
    }
    let needed = explanation.scopes.join(" ");
    let missing = explanation.missing_scopes.join(" ");
    lines.push(match (scopes, missing.is_empty()) {
        (Scopes::Assumed, _) => format!("scopes: `{needed}`, taken for granted; a token must have them"),
        (Scopes::Known, true) => format!("scopes: `{needed}`, all there"),
        (Scopes::Known, false) => format!("scopes: `{needed}`, of which `{missing}` are missing"),
    });
}
