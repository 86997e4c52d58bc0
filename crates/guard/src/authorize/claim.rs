//! Claims: where a path leads, and whether what stands there is what a role asks for.

use serde_json::{Map, Value};

use super::file::Scalar;

/// The largest claim that goes into the evidence whole, in bytes as JSON.
const MAX_EVIDENCE: usize = 4096;

/// A path of names with dots between them. A claim whose own name has dots is found too, before what its parts lead to.
/// A list on the way ends it: which of its elements would be meant is not said.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Path(Box<str>);

/// What must stand at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// An element of a list, a word of a text, or the whole of something else.
    Has(Scalar),
    /// Exactly this.
    Equals(Scalar),
}

impl Path {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns what stands there.
    pub(crate) fn find<'c>(&self, claims: &'c Map<String, Value>) -> Option<&'c Value> {
        find(claims, &self.0)
    }
}

/// Tries the longest name first.
fn find<'c>(claims: &'c Map<String, Value>, path: &str) -> Option<&'c Value> {
    if let Some(found) = claims.get(path) {
        return Some(found);
    }
    path.rmatch_indices('.').find_map(|(at, _)| {
        let (name, rest) = (path.get(..at)?, path.get(at + 1..)?);
        find(claims.get(name)?.as_object()?, rest)
    })
}

impl Wanted {
    /// Tells whether a claim is as wanted.
    pub(crate) fn fits(&self, claim: &Value) -> bool {
        match self {
            Self::Equals(wanted) => is(claim, wanted),
            Self::Has(wanted) => match (claim, wanted) {
                (Value::Array(elements), _) => elements.iter().any(|element| is(element, wanted)),
                (Value::String(words), Scalar::Text(word)) => {
                    words == word || words.split_ascii_whitespace().any(|one| one == word)
                }
                _ => is(claim, wanted),
            },
        }
    }

    /// Returns what is asked for, as the file says it.
    pub(crate) fn describe(&self) -> String {
        let (verb, scalar) = match self {
            Self::Has(scalar) => ("has", scalar),
            Self::Equals(scalar) => ("equals", scalar),
        };
        match scalar {
            Scalar::Text(text) => format!("{verb} \"{text}\""),
            Scalar::Integer(number) => format!("{verb} {number}"),
            Scalar::Boolean(truth) => format!("{verb} {truth}"),
        }
    }

    fn scalar(&self) -> &Scalar {
        match self {
            Self::Has(scalar) | Self::Equals(scalar) => scalar,
        }
    }
}

/// A text is no number and a number no text, whatever they look like.
fn is(value: &Value, wanted: &Scalar) -> bool {
    match wanted {
        Scalar::Text(text) => value.as_str() == Some(text),
        Scalar::Integer(number) => value.as_i64() == Some(*number),
        Scalar::Boolean(truth) => value.as_bool() == Some(*truth),
    }
}

/// Writes the claims at those paths as one JSON object by path; empty when there are none. A claim too large for a record is
/// cut to what rules ask of it.
pub(crate) fn evidence<'r>(
    claims: &Map<String, Value>,
    named: impl Iterator<Item = (&'r Path, &'r [Wanted])>,
) -> Box<str> {
    let mut found = Map::new();
    for (path, wanted) in named {
        let Some(value) = path.find(claims) else { continue };
        let value = if value.to_string().len() <= MAX_EVIDENCE { value.clone() } else { cut(value, wanted) };
        found.insert(path.as_str().to_owned(), value);
    }
    if found.is_empty() { Box::default() } else { Value::Object(found).to_string().into() }
}

fn cut(value: &Value, wanted: &[Wanted]) -> Value {
    let held = wanted.iter().filter(|wanted| wanted.fits(value)).map(|wanted| match wanted.scalar() {
        Scalar::Text(text) => Value::from(text.as_str()),
        Scalar::Integer(number) => Value::from(*number),
        Scalar::Boolean(truth) => Value::from(*truth),
    });
    Value::Array(held.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(claims: &Value, path: &str) -> Option<Value> {
        Path::new(path).find(claims.as_object().unwrap()).cloned()
    }

    #[test]
    fn dots_lead_into_objects_and_stand_in_names() {
        let claims = json!({
            "groups": ["a"],
            "realm_access": { "roles": ["x"] },
            "https://a.example/roles": ["y"],
            "a.b": { "c": 1 },
            "a": { "b": { "c": 2, "d": 3 }, "b.d": 4 },
            "teams": [{ "name": "t" }],
        });
        assert_eq!(at(&claims, "groups"), Some(json!(["a"])));
        assert_eq!(at(&claims, "realm_access.roles"), Some(json!(["x"])));
        assert_eq!(at(&claims, "https://a.example/roles"), Some(json!(["y"])));
        assert_eq!(at(&claims, "a.b.c"), Some(json!(1)));
        assert_eq!(at(&claims, "a.b.d"), Some(json!(4)));
        for nowhere in ["", ".", "groups.a", "teams.name", "realm_access.", "x", "a..b"] {
            assert_eq!(at(&claims, nowhere), None, "{nowhere}");
        }
    }

    #[test]
    fn has_looks_into_lists_and_words_and_equals_at_the_whole() {
        let has = |claim: Value, text: &str| Wanted::Has(Scalar::Text(text.into())).fits(&claim);
        assert!(has(json!(["a", "support"]), "support"));
        assert!(has(json!("a support b"), "support"));
        assert!(has(json!("support"), "support"));
        assert!(has(json!("two words"), "two words"));
        assert!(!has(json!("supporters"), "support"));
        assert!(!has(json!(["Support", ["support"], { "support": 1 }]), "support"));
        assert!(!has(json!({ "support": true }), "support"));
        assert!(!has(json!([5]), "5"));
        let equals = |claim: Value, scalar: Scalar| Wanted::Equals(scalar).fits(&claim);
        assert!(equals(json!(true), Scalar::Boolean(true)));
        assert!(!equals(json!("true"), Scalar::Boolean(true)));
        assert!(equals(json!(3), Scalar::Integer(3)));
        assert!(!equals(json!(3.0), Scalar::Integer(3)));
        assert!(!equals(json!(["a"]), Scalar::Text("a".into())));
        assert!(!equals(json!("a b"), Scalar::Text("a".into())));
    }

    #[test]
    fn evidence_holds_what_rules_name_and_is_bounded() {
        let many: Vec<String> = (0..1000).map(|number| format!("group-{number}")).collect();
        let claims = json!({ "groups": many, "region": "eu", "email": "ann@a.example" });
        let (groups, region, other) = (Path::new("groups"), Path::new("region"), Path::new("other"));
        let wanted = [Wanted::Has(Scalar::Text("group-7".into())), Wanted::Has(Scalar::Text("x".into()))];
        let named = [(&groups, &wanted[..]), (&region, &[][..]), (&other, &[][..])];
        let evidence = evidence(claims.as_object().unwrap(), named.into_iter());
        assert_eq!(&*evidence, r#"{"groups":["group-7"],"region":"eu"}"#);
    }
}
