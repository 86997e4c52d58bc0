//! The arguments of a call from the words of a command line, typed by the tool's schema; digits stay as they are written.

use serde_json::Value;
use serde_json::value::RawValue;
use trunkline_protocol::write;

use crate::commands::tools::failure::Failure;
use crate::commands::tools::values::Values;

/// Reads the whole arguments of `--json`.
pub(crate) fn whole(text: &str) -> Result<Box<RawValue>, Failure> {
    let wrong = |found: &str| {
        Failure::usage(format!("`--json` wants one JSON object such as '{{\"limit\": 5}}'; {found}"))
    };
    let raw: Box<RawValue> =
        serde_json::from_str(text).map_err(|error| wrong(&format!("found no JSON: {error}")))?;
    if raw.get().starts_with('{') { Ok(raw) } else { Err(wrong("found another kind of value")) }
}

/// Splits `k=v` words and reads the values that are to be read.
pub(crate) fn pairs(
    words: impl Iterator<Item = String>,
    values: &mut Values,
) -> Result<Vec<(String, String)>, Failure> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for word in words {
        let Some((key, value)) = word.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(Failure::usage(format!(
                "`{word}` is no argument; arguments are written `name=value`"
            )));
        };
        if pairs.iter().any(|(known, _)| known == key) {
            return Err(Failure::usage(format!(
                "argument `{key}` is given twice; several values of one are written as a JSON array"
            )));
        }
        pairs.push((key.to_owned(), values.read(value)?));
    }
    Ok(pairs)
}

/// Joins the pairs to one object, each value of the kind that the tool's schema names.
pub(crate) fn typed(pairs: &[(String, String)], schema: Option<&Value>) -> Result<Box<RawValue>, Failure> {
    let mut out = Vec::from(*b"{");
    for (at, (key, value)) in pairs.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write::string(&mut out, key);
        out.push(b':');
        let property = schema.and_then(|schema| schema.get("properties")?.get(key));
        out.extend_from_slice(json(key, value, property)?.as_bytes());
    }
    out.push(b'}');
    let text = String::from_utf8(out).unwrap_or_default();
    RawValue::from_string(text)
        .map_err(|error| Failure::usage(format!("the arguments make no JSON object: {error}")))
}

/// The JSON text for one value: the first kind that the schema names and the text spells, else a string, which the
/// server refuses in its own words where it wants something else.
fn json(key: &str, text: &str, schema: Option<&Value>) -> Result<String, Failure> {
    let kinds = schema.map(kinds).unwrap_or_default();
    let wants = |kind: &str| kinds.iter().any(|wanted| wanted == kind);
    let spelled = serde_json::from_str::<&RawValue>(text).ok().map(RawValue::get);
    let kind = spelled.map(kind_of);
    match (kind, spelled) {
        (Some("integer"), Some(spelled)) if wants("integer") || wants("number") => {
            return Ok(spelled.to_owned());
        }
        (Some(kind @ ("number" | "boolean" | "array" | "object")), Some(spelled)) if wants(kind) => {
            return Ok(spelled.to_owned());
        }
        // Where text is welcome, `null` is a text like any other.
        (Some("null"), Some(spelled)) if wants("null") && !wants("string") => return Ok(spelled.to_owned()),
        _ => {}
    }
    if spelled.is_none() && !wants("string") && (wants("array") || wants("object")) {
        let kind = if wants("array") { "array" } else { "object" };
        return Err(Failure::usage(format!(
            "argument `{key}` wants a JSON {kind}, which this is not; quote it for the shell"
        )));
    }
    let mut out = Vec::new();
    write::string(&mut out, text);
    Ok(String::from_utf8(out).unwrap_or_default())
}

fn kind_of(spelled: &str) -> &'static str {
    match spelled.as_bytes().first() {
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b'"') => "string",
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "null",
        _ if spelled.contains(['.', 'e', 'E']) => "number",
        _ => "integer",
    }
}

/// Every kind that a schema admits, as far as it says so by name; `enum` and `const` say it by example.
fn kinds(schema: &Value) -> Vec<String> {
    let mut kinds = Vec::new();
    match schema.get("type") {
        Some(Value::String(kind)) => kinds.push(kind.clone()),
        Some(Value::Array(all)) => kinds.extend(all.iter().filter_map(Value::as_str).map(str::to_owned)),
        _ => {
            for branch in ["anyOf", "oneOf"].iter().filter_map(|key| schema.get(key)?.as_array()).flatten() {
                kinds.extend(self::kinds(branch));
            }
            let examples =
                schema.get("enum").and_then(Value::as_array).into_iter().flatten().chain(schema.get("const"));
            kinds.extend(examples.map(|example| kind_of(&example.to_string()).to_owned()));
        }
    }
    kinds
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn typed_as(schema: &Value, text: &str) -> String {
        json("k", text, Some(schema)).unwrap()
    }

    #[test]
    fn a_value_is_read_by_the_kind_the_schema_names() {
        let of = |kind: &str| json!({"type": kind});
        assert_eq!(typed_as(&of("integer"), "9007199254740993"), "9007199254740993");
        assert_eq!(typed_as(&of("integer"), "-5"), "-5");
        assert_eq!(typed_as(&of("number"), "0.10"), "0.10");
        assert_eq!(typed_as(&of("number"), "3"), "3");
        assert_eq!(typed_as(&of("boolean"), "true"), "true");
        assert_eq!(typed_as(&of("string"), "true"), "\"true\"");
        assert_eq!(typed_as(&of("string"), "\"a\""), "\"\\\"a\\\"\"");
        assert_eq!(typed_as(&of("array"), "[1, 2]"), "[1, 2]");
        assert_eq!(typed_as(&of("object"), "{\"a\":1.0}"), "{\"a\":1.0}");
        assert_eq!(typed_as(&json!({}), "5"), "\"5\"");
        assert_eq!(json("k", "5", None).unwrap(), "\"5\"");
    }

    #[test]
    fn several_kinds_are_tried_before_text() {
        let either = json!({"type": ["integer", "string", "null"]});
        assert_eq!(typed_as(&either, "12"), "12");
        assert_eq!(typed_as(&either, "12a"), "\"12a\"");
        assert_eq!(typed_as(&either, "null"), "\"null\"");
        assert_eq!(typed_as(&json!({"type": ["integer", "null"]}), "null"), "null");
        assert_eq!(typed_as(&json!({"anyOf": [{"type": "boolean"}, {"type": "string"}]}), "false"), "false");
        assert_eq!(typed_as(&json!({"enum": [1, 2]}), "2"), "2");
        assert_eq!(typed_as(&json!({"enum": ["1", "2"]}), "2"), "\"2\"");
    }

    #[test]
    fn what_does_not_spell_the_kind_is_left_to_the_server_except_broken_json() {
        assert_eq!(typed_as(&json!({"type": "integer"}), "five"), "\"five\"");
        assert_eq!(typed_as(&json!({"type": "integer"}), "1.5"), "\"1.5\"");
        assert_eq!(typed_as(&json!({"type": "integer"}), "007"), "\"007\"");
        assert!(json("k", "[1,", Some(&json!({"type": "array"}))).is_err());
    }

    #[test]
    fn pairs_make_one_object_in_their_order() {
        let words = ["b=1", "a=x=y", "ü\"=", "c=@@d"].map(str::to_owned);
        let pairs = pairs(words.into_iter(), &mut Values::default()).unwrap();
        let schema = json!({"properties": {"b": {"type": "integer"}}});
        assert_eq!(typed(&pairs, Some(&schema)).unwrap().get(), r#"{"b":1,"a":"x=y","ü\"":"","c":"@d"}"#);
        assert_eq!(typed(&[], None).unwrap().get(), "{}");
    }

    #[test]
    fn words_that_are_no_pairs_are_refused() {
        for words in [vec!["a"], vec!["=a"], vec!["a=1", "a=2"]] {
            let words = words.into_iter().map(str::to_owned);
            assert!(matches!(pairs(words, &mut Values::default()), Err(Failure::Usage(_))));
        }
        for text in ["[1]", "5", "{", ""] {
            assert!(matches!(whole(text), Err(Failure::Usage(_))), "{text}");
        }
        assert_eq!(whole(" {\"a\": 1.0} ").unwrap().get(), "{\"a\": 1.0}");
    }
}
