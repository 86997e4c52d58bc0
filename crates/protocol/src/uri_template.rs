//! URI templates (RFC 6570), read the other way round: which template a URI is an instance of, and with which values.
//!
//! Simple (`{id}`), reserved (`{+path}`), fragment (`{#part}`), path (`{/part}`), dot (`{.ext}`) and query (`{?a,b}`,
//! `{&a,b}`) expressions are matched; prefix lengths and `*` are taken as if they were not there. A simple variable stops at
//! the next `/`, `?` or `#`; a reserved one takes as much as fits.

use std::borrow::Cow;
use std::fmt;

/// The longest template, in bytes.
const MAX_TEMPLATE: usize = 2048;
/// What is wrong with an end that has no beginning.
const STRAY: &str = "a `}` without its `{`";
/// Most variables of one template.
const MAX_VARIABLES: usize = 32;

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UriTemplate {
    text: Box<str>,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(Box<str>),
    /// One variable that takes what stands there.
    Variable {
        name: Box<str>,
        lead: Option<char>,
        reserved: bool,
    },
    /// Variables in a query, in any order, each may be missing.
    Query {
        names: Vec<Box<str>>,
        lead: char,
    },
}

/// One part of a template, for those who ask which URIs are instances of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape<'t> {
    /// Exactly this.
    Literal(&'t str),
    /// At least one character behind `lead`, if there is one; none of `/`, `?` and `#` unless `reserved`.
    Variable {
        /// What stands before it.
        lead: Option<char>,
        /// It takes everything.
        reserved: bool,
    },
    /// Nothing, or `lead` and pairs of the query's names and values with `&` between, each name at most once. What follows
    /// it is never reached.
    Query {
        /// What stands before it.
        lead: char,
        /// The names.
        names: &'t [Box<str>],
    },
}

/// Why a text is no template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{what}` at byte {at} of the URI template; write literal text and expressions such as `{{id}}`, `{{+path}}` or `{{?q}}`"
)]
pub struct BadTemplate {
    /// The offset in bytes.
    pub at: usize,
    /// What is wrong there.
    pub what: &'static str,
}

impl UriTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// [`BadTemplate`] for an unclosed or empty expression, a variable name that is not `[A-Za-z0-9_.]+`, an operator that
    /// RFC 6570 reserves, or a template longer than 2048 bytes or of more than 32 variables.
    pub fn parse(text: &str) -> Result<Self, BadTemplate> {
        if text.len() > MAX_TEMPLATE {
            return Err(BadTemplate { at: MAX_TEMPLATE, what: "longer than 2048 bytes" });
        }
        let (mut parts, mut rest, mut at) = (Vec::new(), text, 0);
        while let Some((literal, after)) = rest.split_once('{') {
            if let Some(stray) = literal.find('}') {
                return Err(BadTemplate { at: at + stray, what: STRAY });
            }
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.into()));
            }
            at += literal.len() + 1;
            let (inner, behind) =
                after.split_once('}').ok_or(BadTemplate { at, what: "an expression that does not end" })?;
            expression(inner, at, &mut parts)?;
            at += inner.len() + 1;
            rest = behind;
        }
        if let Some(stray) = rest.find('}') {
            return Err(BadTemplate { at: at + stray, what: STRAY });
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.into()));
        }
        let template = Self { text: text.into(), parts };
        let names: Vec<&str> = template.variables().collect();
        if names.len() > MAX_VARIABLES {
            return Err(BadTemplate { at: 0, what: "more than 32 variables" });
        }
        if names.iter().enumerate().any(|(number, name)| names.iter().take(number).any(|other| other == name))
        {
            return Err(BadTemplate { at: 0, what: "a variable that occurs twice" });
        }
        Ok(template)
    }

    /// Returns the template as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the names of its variables, in their order.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.parts
            .iter()
            .flat_map(|part| match part {
                Part::Literal(_) => &[][..],
                Part::Variable { name, .. } => std::slice::from_ref(name),
                Part::Query { names, .. } => names,
            })
            .map(|name| &**name)
    }

    /// Returns its parts, in their order.
    pub fn shapes(&self) -> impl Iterator<Item = Shape<'_>> {
        self.parts.iter().map(|part| match part {
            Part::Literal(text) => Shape::Literal(text),
            Part::Variable { lead, reserved, .. } => Shape::Variable { lead: *lead, reserved: *reserved },
            Part::Query { names, lead } => Shape::Query { lead: *lead, names },
        })
    }

    /// Returns the values of the variables when `uri` is an instance of the template, percent-decoded; `None` when it is
    /// not, or when a value is not UTF-8 once decoded. A query variable that is missing is not among them.
    #[must_use]
    pub fn matches<'t>(&'t self, uri: &str) -> Option<Vec<(&'t str, String)>> {
        let mut values = Vec::new();
        // Bounded: each reserved variable tries each end once, and a template has few of them.
        let mut steps = 10_000;
        walk(&self.parts, uri, &mut values, &mut steps).then_some(values)
    }
}

impl fmt::Display for UriTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn expression(inner: &str, at: usize, parts: &mut Vec<Part>) -> Result<(), BadTemplate> {
    let bad = |what| Err(BadTemplate { at, what });
    let (operator, list) = match inner.chars().next() {
        None => return bad("an empty expression"),
        Some(operator @ ('+' | '#' | '.' | '/' | ';' | '?' | '&')) => (Some(operator), &inner[1..]),
        Some('=' | ',' | '!' | '@' | '|') => return bad("a reserved operator"),
        Some(_) => (None, inner),
    };
    let mut names = Vec::new();
    for variable in list.split(',') {
        let name = variable.trim_end_matches('*');
        let name = name.split_once(':').map_or(name, |(name, _)| name);
        let fits = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'));
        if !fits {
            return bad("a variable name that is not of letters, digits, `_` and `.`");
        }
        names.push(Box::<str>::from(name));
    }
    if let Some(lead @ ('?' | '&')) = operator {
        parts.push(Part::Query { names, lead });
        return Ok(());
    }
    let reserved = matches!(operator, Some('+' | '#'));
    let (first, between) = match operator {
        Some('+') | None => (None, ','),
        Some(';') => return bad("the operator `;`, which is not served"),
        Some('#') => (Some('#'), ','),
        Some(lead) => (Some(lead), lead),
    };
    for (number, name) in names.into_iter().enumerate() {
        let lead = if number == 0 { first } else { Some(between) };
        parts.push(Part::Variable { name, lead, reserved });
    }
    Ok(())
}

fn walk<'t>(parts: &'t [Part], uri: &str, values: &mut Vec<(&'t str, String)>, steps: &mut u32) -> bool {
    let Some((part, rest)) = parts.split_first() else { return uri.is_empty() };
    match part {
        Part::Literal(literal) => {
            uri.strip_prefix(&**literal).is_some_and(|after| walk(rest, after, values, steps))
        }
        Part::Query { names, lead } => {
            let query = match uri.chars().next() {
                None => "",
                Some(first) if first == *lead => &uri[1..],
                Some(_) => return false,
            };
            rest.is_empty() && pairs(names, query, values)
        }
        Part::Variable { name, lead, reserved } => {
            let text = match lead {
                None => uri,
                Some(lead) => match uri.strip_prefix(*lead) {
                    Some(after) => after,
                    None => return false,
                },
            };
            variable(name, *reserved, text, rest, values, steps)
        }
    }
}

/// Tries each end of a variable, the longest first.
fn variable<'t>(
    name: &'t str,
    reserved: bool,
    text: &str,
    rest: &'t [Part],
    values: &mut Vec<(&'t str, String)>,
    steps: &mut u32,
) -> bool {
    let longest = if reserved { text.len() } else { text.find(['/', '?', '#']).unwrap_or(text.len()) };
    let known = values.len();
    for end in (1..=longest).rev().filter(|end| text.is_char_boundary(*end)) {
        *steps = steps.saturating_sub(1);
        if *steps == 0 {
            return false;
        }
        let (value, after) = text.split_at(end);
        let Some(value) = decode(value) else { continue };
        values.push((name, value.into_owned()));
        if walk(rest, after, values, steps) {
            return true;
        }
        values.truncate(known);
    }
    false
}

fn pairs<'t>(names: &'t [Box<str>], query: &str, values: &mut Vec<(&'t str, String)>) -> bool {
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(name) = names.iter().find(|name| &***name == key) else { return false };
        let Some(value) = decode(value) else { return false };
        if values.iter().any(|(known, _)| *known == &**name) {
            return false;
        }
        values.push((name, value.into_owned()));
    }
    true
}

/// Percent-decodes; `None` for a broken escape or bytes that are no UTF-8.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
        let (high, low) = (digit()?, digit()?);
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(template: &str, uri: &str, expected: Option<&[(&str, &str)]>) {
        let template = UriTemplate::parse(template).unwrap();
        let found = template.matches(uri);
        let expected: Option<Vec<(&str, String)>> =
            expected.map(|pairs| pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect());
        assert_eq!(found, expected, "{uri}");
    }

    #[test]
    fn a_uri_gives_the_values_of_its_template() {
        check("test://template/{id}/data", "test://template/42/data", Some(&[("id", "42")]));
        check("test://template/{id}/data", "test://template/4/2/data", None);
        check("test://template/{id}/data", "test://template//data", None);
        check("docs:///{+path}", "docs:///a/b%20c.txt", Some(&[("path", "a/b c.txt")]));
        check("x://{a}-{b}", "x://1-2-3", Some(&[("a", "1-2"), ("b", "3")]));
        check("x://s{?q,n}", "x://s?n=1&q=%C3%A9", Some(&[("n", "1"), ("q", "\u{e9}")]));
        check("x://s{?q}", "x://s", Some(&[]));
        check("x://s{?q}", "x://s?other=1", None);
        check("x://f{.ext}", "x://f.txt", Some(&[("ext", "txt")]));
        check("x:/{/a,b}", "x://1/2", Some(&[("a", "1"), ("b", "2")]));
        check("x://{a}", "x://%ff", None);
        check("x://{a}", "x://%4", None);
    }

    #[test]
    fn what_is_no_template_is_told() {
        for bad in
            ["x://{", "x://{}", "x://{a b}", "x://}", "x://}{a}", "x://{=a}", "x://{;a}", "x://{a}/{a}"]
        {
            assert!(UriTemplate::parse(bad).is_err(), "{bad}");
        }
        assert!(UriTemplate::parse(&"a".repeat(3000)).is_err());
    }

    #[test]
    fn a_hostile_uri_takes_bounded_time() {
        let template = UriTemplate::parse("x://{+a}z{+b}z{+c}z{+d}y").unwrap();
        assert_eq!(template.matches(&format!("x://{}", "z".repeat(4000))), None);
    }
}
