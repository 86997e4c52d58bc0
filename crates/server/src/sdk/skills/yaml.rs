//! YAML as JSON, by the core schema of YAML 1.2 and by nothing else, so that every reader of a frontmatter sees the same values.
//!
//! What JSON cannot say, or what readers of older YAML would see otherwise, is refused instead of guessed: keys that are no
//! text, `<<`, tags beyond the core schema, `.inf` and `.nan`. Aliases are written out, within a budget.

use std::borrow::Cow;
use std::collections::HashMap;

use granit_parser::{Event, Options, Parser, ScalarStyle, Tag};
use serde_json::{Map, Number, Value};

/// How deep sequences and mappings may be in each other.
const MAX_DEPTH: usize = 32;
/// What all values may weigh, aliases written out: one for each value and each byte of its text.
const MAX_WEIGHT: usize = 256 * 1024;

/// Why a text is not the YAML that is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct YamlFault {
    /// The line, from 1.
    pub(super) line: usize,
    /// What is wrong there.
    pub(super) reason: Cow<'static, str>,
}

/// Reads one YAML document.
pub(super) fn to_json(text: &str) -> Result<Value, YamlFault> {
    let mut options = Options::default();
    // What only lenient readers take, a host might not.
    options.strict_indentation = true;
    options.flow_nesting_limit = MAX_DEPTH;
    options.block_nesting_limit = MAX_DEPTH;
    options.disallow_directives = true;
    // Allowed in a few places, but readers do not agree on which.
    if let Some(line) = text.lines().position(|line| line.starts_with('\t')) {
        return Err(YamlFault { line: line + 1, reason: "a tab at the start; use spaces".into() });
    }
    let mut builder = Builder::default();
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = next.map_err(|error| YamlFault {
            line: error.marker().line(),
            reason: error.info().to_string().into(),
        })?;
        builder.take(event).map_err(|reason| YamlFault { line: span.start.line(), reason })?;
    }
    Ok(builder.root.unwrap_or(Value::Null))
}

type Reason = Cow<'static, str>;

/// A sequence or mapping that is not complete yet.
enum Open {
    Sequence(Vec<Value>),
    /// With the key whose value comes next.
    Mapping(Map<String, Value>, Option<String>),
}

/// A value that aliases may stand for.
struct Anchored {
    value: Value,
    weight: usize,
    depth: usize,
}

#[derive(Default)]
struct Builder {
    /// Each with the number of its anchor, 0 for none.
    open: Vec<(Open, usize)>,
    anchors: HashMap<usize, Anchored>,
    weight: usize,
    root: Option<Value>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>) -> Result<(), Reason> {
        match event {
            Event::DocumentStart(..) if self.root.is_some() => Err("a second document".into()),
            Event::Scalar(text, style, anchor, tag) => {
                let is_merge = style == ScalarStyle::Plain && text == "<<";
                let value = scalar(&text, style, tag.as_deref())?;
                self.weigh(1 + text.len())?;
                self.remember(anchor, &value);
                self.place(value, is_merge)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.enter(Open::Sequence(Vec::new()), anchor, tag.as_deref(), "seq")
            }
            Event::MappingStart(_, anchor, tag) => {
                self.enter(Open::Mapping(Map::new(), None), anchor, tag.as_deref(), "map")
            }
            Event::SequenceEnd | Event::MappingEnd => self.leave(),
            Event::Alias(anchor) => self.alias(anchor),
            _ => Ok(()),
        }
    }

    fn enter(&mut self, open: Open, anchor: usize, tag: Option<&Tag>, own: &str) -> Result<(), Reason> {
        if let Some(tag) = tag.filter(|tag| tag.core_suffix() != Some(own)) {
            return Err(unknown_tag(tag));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep());
        }
        self.weigh(1)?;
        self.open.push((open, anchor));
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Reason> {
        let Some((open, anchor)) = self.open.pop() else { return Ok(()) };
        let value = match open {
            Open::Sequence(values) => Value::Array(values),
            Open::Mapping(members, _) => Value::Object(members),
        };
        self.remember(anchor, &value);
        self.place(value, false)
    }

    fn alias(&mut self, anchor: usize) -> Result<(), Reason> {
        let Some(Anchored { value, weight, depth }) = self.anchors.get(&anchor) else {
            return Err("an alias within what it stands for".into());
        };
        if self.open.len() + depth > MAX_DEPTH {
            return Err(too_deep());
        }
        let (value, weight) = (value.clone(), *weight);
        self.weigh(weight)?;
        self.place(value, false)
    }

    /// Puts a complete value where it belongs.
    fn place(&mut self, value: Value, is_merge: bool) -> Result<(), Reason> {
        match self.open.last_mut() {
            None => self.root = Some(value),
            Some((Open::Sequence(values), _)) => values.push(value),
            Some((Open::Mapping(members, key), _)) => match key.take() {
                Some(key) => {
                    members.insert(key, value);
                }
                None => *key = Some(key_of(value, is_merge, members)?),
            },
        }
        Ok(())
    }

    fn remember(&mut self, anchor: usize, value: &Value) {
        if anchor != 0 {
            let (weight, depth) = measure(value);
            self.anchors.insert(anchor, Anchored { value: value.clone(), weight, depth });
        }
    }

    fn weigh(&mut self, weight: usize) -> Result<(), Reason> {
        self.weight = self.weight.saturating_add(weight);
        if self.weight > MAX_WEIGHT {
            Err("too much once the aliases are written out".into())
        } else {
            Ok(())
        }
    }
}

fn key_of(value: Value, is_merge: bool, members: &Map<String, Value>) -> Result<String, Reason> {
    let Value::String(key) = value else {
        return Err(format!("the key `{value}` is no text, as JSON has it; put it in quotes").into());
    };
    if is_merge {
        return Err("`<<` merges in YAML 1.1 only; write the members out".into());
    }
    if members.contains_key(&key) { Err(format!("the key `{key}` is there twice").into()) } else { Ok(key) }
}

fn too_deep() -> Reason {
    format!("more than {MAX_DEPTH} sequences and mappings in each other").into()
}

fn unknown_tag(tag: &Tag) -> Reason {
    format!("the tag `{}{}` is not of YAML's core schema; leave it out", tag.original_handle(), tag.suffix())
        .into()
}

/// Returns what a value weighs and how deep it is.
fn measure(value: &Value) -> (usize, usize) {
    let below = |(weight, depth): (usize, usize), value: &Value| {
        let (more, deep) = measure(value);
        (weight + more, depth.max(deep + 1))
    };
    match value {
        Value::String(text) => (1 + text.len(), 0),
        Value::Array(values) => values.iter().fold((1, 1), below),
        Value::Object(members) => {
            let (weight, depth) = members.values().fold((1, 1), below);
            (weight + members.keys().map(|key| 1 + key.len()).sum::<usize>(), depth)
        }
        _ => (1, 0),
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, Reason> {
    let Some(tag) = tag else {
        return if style == ScalarStyle::Plain { plain(text) } else { Ok(text.into()) };
    };
    let core = tag.core_suffix();
    if core == Some("str") {
        return Ok(text.into());
    }
    let value = plain(text)?;
    match (core, &value) {
        (Some("null"), Value::Null) | (Some("bool"), Value::Bool(_)) => Ok(value),
        (Some("int"), Value::Number(number)) if !number.is_f64() => Ok(value),
        // `!!float 1` is read as a text by some.
        (Some("float"), Value::Number(number)) if number.is_f64() => Ok(value),
        (Some("null" | "bool" | "int" | "float"), _) => {
            Err(format!("`{text}` is not what its tag `{}` says", tag.suffix()).into())
        }
        _ => Err(unknown_tag(tag)),
    }
}

/// Says what a scalar without quotes and tag is. YAML 1.2.2, section 10.3.2.
fn plain(text: &str) -> Result<Value, Reason> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ if is_special(text) => return Err(format!("`{text}` has no form in JSON; put it in quotes").into()),
        _ => number(text)?.map_or_else(|| text.into(), Value::Number),
    })
}

fn is_special(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN")
}

/// Returns the number that a text is; `None` when it is none.
fn number(text: &str) -> Result<Option<Number>, Reason> {
    let value = match form(text) {
        None => return Ok(None),
        Some(Form::Octal(digits)) => u64::from_str_radix(digits, 8).ok().map(Number::from),
        Some(Form::Hexadecimal(digits)) => u64::from_str_radix(digits, 16).ok().map(Number::from),
        Some(Form::Integer) => {
            let exact = text.parse::<i64>().map(Number::from);
            exact.or_else(|_| text.parse::<u64>().map(Number::from)).ok().or_else(|| float(text))
        }
        Some(Form::Float) => float(text),
    };
    value.map(Some).ok_or_else(|| format!("`{text}` is out of range; put it in quotes").into())
}

fn float(text: &str) -> Option<Number> {
    text.parse::<f64>().ok().and_then(Number::from_f64)
}

/// How a number is written.
enum Form<'a> {
    /// With its digits.
    Octal(&'a str),
    /// With its digits.
    Hexadecimal(&'a str),
    Integer,
    Float,
}

fn form(text: &str) -> Option<Form<'_>> {
    let all = |text: &str, fits: fn(u8) -> bool| !text.is_empty() && text.bytes().all(fits);
    let decimal = |byte: u8| byte.is_ascii_digit();
    if let Some(digits) = text.strip_prefix("0o") {
        return all(digits, |byte| matches!(byte, b'0'..=b'7')).then_some(Form::Octal(digits));
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return all(digits, |byte| byte.is_ascii_hexdigit()).then_some(Form::Hexadecimal(digits));
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if all(unsigned, decimal) {
        return Some(Form::Integer);
    }
    let (mantissa, exponent) =
        unsigned.split_once(['e', 'E']).map_or((unsigned, None), |(m, e)| (m, Some(e)));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let has_digits = all(&[whole, fraction].concat(), decimal);
    let fits =
        exponent.is_none_or(|exponent| all(exponent.strip_prefix(['-', '+']).unwrap_or(exponent), decimal));
    (has_digits && fits).then_some(Form::Float)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    proptest! {
        #[test]
        fn no_text_brings_it_down_and_nothing_grows(text in "[a-c0-9 :,\\[\\]{}&*!|>'\"\n\t#%@?.~<-]{0,200}") {
            if let Ok(value) = to_json(&text) {
                prop_assert!(measure(&value).0 <= MAX_WEIGHT && measure(&value).1 <= MAX_DEPTH);
            }
        }
    }

    fn reason(text: &str) -> String {
        let fault = to_json(text).expect_err(text);
        format!("{}: {}", fault.line, fault.reason)
    }

    #[test]
    fn plain_scalars_are_what_the_core_schema_says() {
        let text = "
            nulls: [null, Null, NULL, ~, ]
            empty:
            bools: [true, True, TRUE, false, False, FALSE]
            ints: [0, -7, +7, 010, 0o17, 0xfF, 18446744073709551615]
            floats: [1.0, -0.5, .5, 5., 1e3, 6.8523015e+5, 12345678901234567890123]
            texts: [yes, no, on, off, y, tRUE, 2026-07-28, 1_000, 12:30:45, 0b1, 0o8, 0xg, 1e, ., +, -a, '1', \"true\", 1.2.3, e5]
            tagged: [!!str 5, !!int 5, !!float 5.0, !!null ~, !!bool true]
        ";
        assert_eq!(
            to_json(text).unwrap(),
            json!({
                "nulls": [null, null, null, null],
                "empty": null,
                "bools": [true, true, true, false, false, false],
                "ints": [0, -7, 7, 10, 15, 255, 18_446_744_073_709_551_615_u64],
                "floats": [1.0, -0.5, 0.5, 5.0, 1000.0, 685_230.15, 12_345_678_901_234_567_890_123.0],
                "texts": [
                    "yes", "no", "on", "off", "y", "tRUE", "2026-07-28", "1_000", "12:30:45", "0b1", "0o8", "0xg", "1e", ".",
                    "+", "-a", "1", "true", "1.2.3", "e5"
                ],
                "tagged": ["5", 5, 5.0, null, true],
            })
        );
    }

    #[test]
    fn block_texts_keep_and_fold_their_lines() {
        let text = "kept: |\n  one\n  two\nfolded: >-\n  one\n  two\n\n  three\n";
        assert_eq!(to_json(text).unwrap(), json!({ "kept": "one\ntwo\n", "folded": "one two\nthree" }));
        let text = text.replace('\n', "\r\n");
        assert_eq!(to_json(&text).unwrap(), json!({ "kept": "one\ntwo\n", "folded": "one two\nthree" }));
    }

    #[test]
    fn aliases_are_written_out() {
        let value = to_json("base: &base {a: [1]}\nagain: *base\ntwice: [*base, *base]\n").unwrap();
        assert_eq!(
            value,
            json!({ "base": {"a": [1]}, "again": {"a": [1]}, "twice": [{"a": [1]}, {"a": [1]}] })
        );
    }

    #[test]
    fn bombs_are_refused() {
        let mut laughs = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
        for level in 1..12 {
            let below = vec![format!("*a{}", level - 1); 10].join(", ");
            laughs.push_str(&format!("a{level}: &a{level} [{below}]\n"));
        }
        assert!(
            reason(&laughs).ends_with("too much once the aliases are written out"),
            "{}",
            reason(&laughs)
        );
        let mut deep = String::from("a0: &a0 [[[[[[[[x]]]]]]]]\n");
        for level in 1..2000 {
            deep.push_str(&format!("a{level}: &a{level} [[[[*a{}]]]]\n", level - 1));
        }
        assert!(
            reason(&deep).ends_with("more than 32 sequences and mappings in each other"),
            "{}",
            reason(&deep)
        );
        assert!(to_json(&format!("a: {}{}", "[".repeat(5000), "]".repeat(5000))).is_err());
        assert!(to_json("a: &a [*a]").is_err());
    }

    #[test]
    fn what_readers_would_see_differently_is_refused_with_its_line() {
        assert_eq!(reason("a: 1\na: 2\n"), "2: the key `a` is there twice");
        assert_eq!(reason("a: {}\n1: x\n"), "2: the key `1` is no text, as JSON has it; put it in quotes");
        assert_eq!(
            reason("? [a]\n: x\n"),
            "1: the key `[\"a\"]` is no text, as JSON has it; put it in quotes"
        );
        assert_eq!(
            reason("a: &a {b: 1}\nc:\n  <<: *a\n"),
            "3: `<<` merges in YAML 1.1 only; write the members out"
        );
        assert_eq!(reason("a: !thing x\n"), "1: the tag `!thing` is not of YAML's core schema; leave it out");
        assert_eq!(reason("a: !!int x\n"), "1: `x` is not what its tag `int` says");
        assert_eq!(reason("a: !!float 1\n"), "1: `1` is not what its tag `float` says");
        assert_eq!(reason("a: 1\n\t\n"), "2: a tab at the start; use spaces");
        assert_eq!(reason("a: .inf\n"), "1: `.inf` has no form in JSON; put it in quotes");
        assert_eq!(reason("a: 1e999\n"), "1: `1e999` is out of range; put it in quotes");
        assert_eq!(reason("a: 1\n...\n---\nb: 2\n"), "3: a second document");
        assert!(reason("b: 1\na: [1\n").starts_with("2: "), "{}", reason("b: 1\na: [1\n"));
        assert!(reason("a: *nobody\n").starts_with('1'));
        assert_eq!(to_json("").unwrap(), Value::Null);
    }
}
