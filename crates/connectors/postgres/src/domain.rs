//! The checks of a domain that JSON Schema can say: bounds, lengths, lists, simple patterns. All others are left out, since a
//! schema may be wider than the truth but never narrower.
//!
//! That a domain is not null is left out too: the server itself lets null through as a value of such a domain, from an outer
//! join or an empty subquery.

use postgres_types::Type;
use serde_json::{Map, Value as Json};
use trunkline_sql::ParameterType;

/// What is known of the values of a domain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    /// The length or precision of the type below, as the server tells it; -1 for none.
    pub(crate) modifier: i32,
    least: Option<Bound>,
    most: Option<Bound>,
    min_length: Option<i64>,
    max_length: Option<i64>,
    pattern: Option<String>,
    numbers: Option<Vec<i64>>,
    texts: Option<Vec<String>>,
    /// A check turns the value into an integer first, which for a float is another number.
    is_rounded: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bound {
    value: i64,
    inclusive: bool,
}

impl Rules {
    /// Reads checks as `pg_get_constraintdef` writes them. `is_exact` says that equal texts have equal characters.
    pub(crate) fn of(modifier: i32, is_exact: bool, checks: &[String]) -> Self {
        let mut rules = Self { modifier, ..Self::default() };
        for check in checks {
            let condition = check.strip_prefix("CHECK ").unwrap_or_default();
            for conjunct in split(within_parentheses(condition), " AND ") {
                // What is not understood says nothing.
                let _ = rules.add(within_parentheses(conjunct), is_exact);
            }
        }
        rules
    }

    /// Adds `VALUE >= 0` and its like; `None` when it is something else.
    fn add(&mut self, comparison: &str, is_exact: bool) -> Option<()> {
        let (left, rest) = comparison.split_once(' ')?;
        let (operator, right) = rest.split_once(' ')?;
        // A domain of a domain casts to the type below.
        let is_rounded = matches!(left, "(VALUE)::integer" | "(VALUE)::bigint" | "(VALUE)::smallint");
        let is_value = is_rounded || matches!(left, "VALUE" | "(VALUE)::text");
        self.is_rounded |= is_rounded;
        let is_length = ["char_length", "character_length", "length"].iter().any(|function| {
            left.strip_prefix(function)
                .is_some_and(|argument| matches!(argument, "(VALUE)" | "((VALUE)::text)"))
        });
        match operator {
            "=" if is_value && is_exact => self.add_list(right),
            "~" if is_value => {
                self.pattern = self.pattern.take().or(Some(shared_pattern(&text(right)?)?));
                Some(())
            }
            _ if is_value => self.add_bound(operator, number(right)?),
            _ if is_length => self.add_length(operator, number(right)?),
            _ => None,
        }
    }

    fn add_list(&mut self, right: &str) -> Option<()> {
        let items = match right.strip_prefix("ANY ") {
            Some(list) => array(list)?,
            None => vec![right],
        };
        if let Some(numbers) = items.iter().map(|item| number(item)).collect::<Option<Vec<_>>>() {
            self.numbers.get_or_insert(numbers);
        } else {
            let texts = items.iter().map(|item| text(item)).collect::<Option<Vec<_>>>()?;
            self.texts.get_or_insert(texts);
        }
        Some(())
    }

    fn add_bound(&mut self, operator: &str, value: i64) -> Option<()> {
        let bound = Some(Bound { value, inclusive: operator.ends_with('=') });
        match operator {
            ">" | ">=" if self.least.is_none_or(|known| known.value < value) => self.least = bound,
            "<" | "<=" if self.most.is_none_or(|known| known.value > value) => self.most = bound,
            _ => {}
        }
        Some(())
    }

    fn add_length(&mut self, operator: &str, length: i64) -> Option<()> {
        let (least, most) = match operator {
            ">=" => (Some(length), None),
            ">" => (Some(length.checked_add(1)?), None),
            "<=" => (None, Some(length)),
            "<" => (None, Some(length.checked_sub(1)?)),
            "=" => (Some(length), Some(length)),
            _ => return None,
        };
        let sensible = |length: &i64| *length >= 0;
        self.min_length = self.min_length.max(least.filter(sensible));
        self.max_length = match (self.max_length, most.filter(sensible)) {
            (Some(known), Some(new)) => Some(known.min(new)),
            (known, new) => known.or(new),
        };
        Some(())
    }

    /// Returns the least and the most integer.
    fn integers(&self) -> (Option<i64>, Option<i64>) {
        let end = |bound: Option<Bound>, step: i64| {
            let bound = bound?;
            if bound.inclusive { Some(bound.value) } else { bound.value.checked_add(step) }
        };
        (end(self.least, 1), end(self.most, -1))
    }

    /// Adds what is known to the schema of the type below.
    pub(crate) fn narrow(&self, schema: &mut Map<String, Json>, base: &Type) {
        match *base {
            Type::INT2 | Type::INT4 | Type::INT8 => {
                let (least, most) = self.integers();
                schema.extend(least.map(|value| ("minimum".to_owned(), value.into())));
                schema.extend(most.map(|value| ("maximum".to_owned(), value.into())));
                // Beyond them integers are strings.
                let safe = |value: &i64| value.unsigned_abs() < 1 << 53;
                let listed = self.numbers.as_ref().filter(|values| values.iter().all(safe));
                schema.extend(listed.map(|values| ("enum".to_owned(), values.clone().into())));
            }
            Type::FLOAT4 | Type::FLOAT8 if !self.is_rounded => {
                let ends =
                    [(self.least, "minimum", "exclusiveMinimum"), (self.most, "maximum", "exclusiveMaximum")];
                for (bound, inclusive, exclusive) in ends {
                    let Some(bound) = bound else { continue };
                    let key = if bound.inclusive { inclusive } else { exclusive };
                    schema.insert(key.to_owned(), bound.value.into());
                }
            }
            Type::TEXT | Type::VARCHAR => self.narrow_text(schema),
            _ => {}
        }
    }

    fn narrow_text(&self, schema: &mut Map<String, Json>) {
        schema.extend(self.min_length.map(|length| ("minLength".to_owned(), length.into())));
        let declared = schema.get("maxLength").and_then(Json::as_i64).unwrap_or(i64::MAX);
        let most = self.max_length.filter(|length| *length < declared);
        schema.extend(most.map(|length| ("maxLength".to_owned(), length.into())));
        schema.extend(self.pattern.clone().map(|pattern| ("pattern".to_owned(), pattern.into())));
        schema.extend(self.texts.clone().map(|texts| ("enum".to_owned(), texts.into())));
    }

    /// Adds what a parameter can say of it.
    pub(crate) fn narrow_parameter(&self, parameter: &mut ParameterType, base: &Type) {
        match *base {
            Type::INT2 | Type::INT4 | Type::INT8 => {
                let (least, most) = self.integers();
                if least.is_some() || most.is_some() {
                    let (from, to) = parameter.range.unwrap_or((i64::MIN, i64::MAX));
                    let range = (from.max(least.unwrap_or(from)), to.min(most.unwrap_or(to)));
                    parameter.range = Some(range);
                }
            }
            Type::TEXT | Type::VARCHAR if parameter.labels.is_none() => {
                parameter.labels.clone_from(&self.texts);
            }
            _ => {}
        }
    }
}

// ---- the server's way of writing expressions ----

/// Returns what is within the parentheses around the whole.
fn within_parentheses(mut text: &str) -> &str {
    while let Some(inner) = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        if !is_balanced(inner) {
            break;
        }
        text = inner;
    }
    text
}

/// Whether every parenthesis outside quotes has its other half.
fn is_balanced(text: &str) -> bool {
    let mut depth = 0_i32;
    for (_, byte) in outside_quotes(text) {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            return false;
        }
    }
    depth == 0
}

/// Splits at a separator that stands outside quotes and parentheses.
fn split<'a>(text: &'a str, separator: &str) -> Vec<&'a str> {
    let (mut parts, mut from, mut depth) = (Vec::new(), 0, 0_i32);
    for (at, byte) in outside_quotes(text) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            _ if depth == 0
                && at >= from
                && text.get(at..).is_some_and(|rest| rest.starts_with(separator)) =>
            {
                parts.extend(text.get(from..at));
                from = at + separator.len();
            }
            _ => {}
        }
    }
    parts.extend(text.get(from..));
    parts
}

/// The bytes that stand in no quotes. A quote within quotes is written twice, which ends them and begins them anew.
fn outside_quotes(text: &str) -> impl Iterator<Item = (usize, u8)> + '_ {
    let mut quoted = false;
    text.bytes().enumerate().filter(move |(_, byte)| {
        if *byte == b'\'' {
            quoted = !quoted;
        }
        !quoted && *byte != b'\''
    })
}

/// Reads `5`, `'-5'::integer`, `(5)::numeric`.
fn number(text: &str) -> Option<i64> {
    let (digits, cast) = match text.rsplit_once("::") {
        Some((digits, cast)) => (digits, cast),
        None => (text, "integer"),
    };
    let is_number =
        matches!(cast, "integer" | "bigint" | "smallint" | "numeric" | "double precision" | "real");
    let digits = within_parentheses(digits);
    let digits = digits.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')).unwrap_or(digits);
    digits.parse().ok().filter(|_| is_number)
}

/// Reads `'it''s'::text`.
fn text(written: &str) -> Option<String> {
    let (quoted, cast) = written.rsplit_once("::")?;
    let inner = within_parentheses(quoted).strip_prefix('\'')?.strip_suffix('\'')?;
    let plain = inner.replace("''", "");
    (matches!(cast, "text" | "character varying") && !plain.contains('\'')).then(|| inner.replace("''", "'"))
}

/// Reads the elements of `(ARRAY['a'::text, 'b'::text])`, which may be cast to an array of texts.
fn array(written: &str) -> Option<Vec<&str>> {
    let written = within_parentheses(written);
    let written = written.strip_suffix("::text[]").map_or(written, within_parentheses);
    Some(split(written.strip_prefix("ARRAY[")?.strip_suffix(']')?, ", "))
}

/// Returns a regular expression if it surely means the same in ECMA-262: letters, digits and a few signs, classes of them,
/// groups, alternatives, repetition and the two ends. `.` is not among it: there it is no line break.
fn shared_pattern(pattern: &str) -> Option<String> {
    let mut bytes = pattern.bytes().peekable();
    let (mut in_class, mut class_start) = (false, false);
    while let Some(byte) = bytes.next() {
        let starts_class = std::mem::take(&mut class_start);
        let fits = match byte {
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b'_'
            | b' '
            | b'@'
            | b'/'
            | b':'
            | b','
            | b'#'
            | b'%' => true,
            b'^' if in_class => starts_class,
            b'-' | b'.' | b'+' if in_class => true,
            b']' if in_class => {
                in_class = false;
                !starts_class
            }
            _ if in_class => false,
            b'[' => {
                (in_class, class_start) = (true, true);
                true
            }
            b'(' => bytes.peek() != Some(&b'?'),
            b'{' => repeats(&mut bytes),
            // A sign behind a backslash is that sign.
            b'\\' => {
                matches!(bytes.next(), Some(b'.' | b'+' | b'*' | b'?' | b'(' | b')' | b'[' | b']' | b'|'))
            }
            b'-' | b')' | b'|' | b'^' | b'$' | b'*' | b'+' | b'?' => true,
            _ => false,
        };
        if !fits {
            return None;
        }
    }
    (!in_class).then(|| pattern.to_owned())
}

/// Takes the rest of `{2}`, `{2,}` or `{2,5}`.
fn repeats(bytes: &mut impl Iterator<Item = u8>) -> bool {
    let inner: Vec<u8> = bytes.take_while(|byte| *byte != b'}').collect();
    inner.first().is_some_and(u8::is_ascii_digit)
        && inner.iter().all(|byte| byte.is_ascii_digit() || *byte == b',')
        && inner.iter().filter(|byte| **byte == b',').count() <= 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn narrowed(base: &Type, checks: &[&str]) -> Json {
        let checks: Vec<String> = checks.iter().map(|check| (*check).to_owned()).collect();
        let mut schema = Map::new();
        Rules::of(-1, true, &checks).narrow(&mut schema, base);
        schema.into()
    }

    #[test]
    fn checks_that_json_schema_can_say_are_said() {
        let of = narrowed;
        assert_eq!(of(&Type::INT4, &["CHECK ((VALUE >= 0))"]), json!({ "minimum": 0 }));
        assert_eq!(of(&Type::INT4, &["CHECK ((VALUE > '-5'::integer))"]), json!({ "minimum": -4 }));
        assert_eq!(of(&Type::INT4, &["CHECK (((VALUE)::integer > 0))"]), json!({ "minimum": 1 }));
        let both = ["CHECK (((VALUE >= 1) AND (VALUE <= 100)))", "CHECK ((VALUE < 50))"];
        assert_eq!(of(&Type::INT8, &both), json!({ "minimum": 1, "maximum": 49 }));
        let positive = ["CHECK ((VALUE > (0)::double precision))"];
        assert_eq!(of(&Type::FLOAT8, &positive), json!({ "exclusiveMinimum": 0 }));
        assert_eq!(of(&Type::INT4, &["CHECK ((VALUE = ANY (ARRAY[1, 2])))"]), json!({ "enum": [1, 2] }));
        let list = ["CHECK ((VALUE = ANY (ARRAY['a'::text, 'it''s, (b)'::text])))"];
        assert_eq!(of(&Type::TEXT, &list), json!({ "enum": ["a", "it's, (b)"] }));
        let list = [
            "CHECK (((VALUE)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[])))",
        ];
        assert_eq!(of(&Type::VARCHAR, &list), json!({ "enum": ["a", "b"] }));
        let length = ["CHECK ((char_length(VALUE) <= 5))", "CHECK ((length((VALUE)::text) > 0))"];
        assert_eq!(of(&Type::TEXT, &length), json!({ "minLength": 1, "maxLength": 5 }));
        let pattern = ["CHECK ((VALUE ~ '^[a-z]+@[^@ ]+\\.[a-z]{2,5}$'::text))"];
        assert_eq!(of(&Type::TEXT, &pattern), json!({ "pattern": "^[a-z]+@[^@ ]+\\.[a-z]{2,5}$" }));
    }

    #[test]
    fn other_checks_are_left_out() {
        for (base, check) in [
            (Type::INT4, "CHECK (((VALUE > 0) OR (VALUE < '-10'::integer)))"),
            (Type::INT4, "CHECK (((VALUE % 2) = 0))"),
            (Type::FLOAT8, "CHECK (((VALUE)::integer > 0))"),
            (Type::NUMERIC, "CHECK ((VALUE >= (0)::numeric))"),
            (Type::TEXT, "CHECK ((VALUE ~ '^.+$'::text))"),
            (Type::TEXT, "CHECK ((VALUE ~ '\\d'::text))"),
            (Type::TEXT, "CHECK ((VALUE ~ '(?i)a'::text))"),
            (Type::TEXT, "CHECK ((VALUE ~ '[[:alpha:]]'::text))"),
            (Type::TEXT, "CHECK ((VALUE ~* '^a$'::text))"),
            (Type::TEXT, "CHECK ((VALUE <> ALL (ARRAY['a'::text])))"),
            (Type::TEXT, "CHECK ((lower(VALUE) = 'a'::text))"),
            (Type::BPCHAR, "CHECK ((VALUE = ANY (ARRAY['a'::bpchar])))"),
            (Type::INT4, "CHECK ((NOT (VALUE > 0)))"),
            (Type::INT4, "CHECK ((VALUE OPERATOR(public.>=) 0))"),
            (Type::INT4, ""),
        ] {
            assert_eq!(narrowed(&base, &[check]), json!({}), "{check}");
        }
        let inexact = Rules::of(-1, false, &["CHECK ((VALUE = 'a'::text))".to_owned()]);
        assert_eq!(inexact.texts, None);
    }
}
