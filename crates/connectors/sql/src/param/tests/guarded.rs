//! The guard that stands before a tool refuses nothing that is bound here, what it puts in binds to the same, and what it takes is
//! bound, but for what a schema cannot say.

use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};
use trunkline_guard::validate::{Options, Schema};

use super::*;
use crate::options::SchemaProfile;
use crate::{format, schema};

fn value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        (-4_i64..12).prop_map(Json::from),
        prop_oneof![
            Just(json!(1.5)),
            Just(json!(2.0)),
            Just(json!(1e300)),
            Just(json!(i64::MAX)),
            Just(json!(u64::MAX))
        ],
        prop::sample::select(TEXTS).prop_map(Json::from),
    ];
    leaf.prop_recursive(2, 12, 3, |inner| {
        let members =
            prop::collection::btree_map(prop::sample::select(vec!["n", "s", "z"]), inner.clone(), 0..3);
        prop_oneof![
            prop::collection::vec(inner, 0..3).prop_map(Json::from),
            members.prop_map(|members| {
                let members = members.into_iter().map(|(key, value)| (key.to_owned(), value));
                Json::Object(members.collect::<Map<_, _>>())
            }),
        ]
    })
}

/// What one database or the other reads in more than one way.
const TEXTS: &[&str] = &[
    "",
    "1",
    "2.0",
    "1e1",
    "1.5",
    " 1",
    "x",
    "ab",
    "\u{e9}\u{e9}",
    "a\0b",
    "NaN",
    "-Infinity",
    "[1,2]",
    "[\"1\"]",
    "{\"n\":1}",
    "(1,2)",
    "2026-02-28",
    "2026-02-30",
    "infinity",
    "0044-03-15 BC",
    "2026-02-28T10:00:00Z",
    "true",
    "\u{664}",
];

fn kind() -> impl Strategy<Value = JsonKind> {
    let plain = || {
        prop::sample::select(vec![
            JsonKind::String,
            JsonKind::Integer,
            JsonKind::Number,
            JsonKind::Boolean,
            JsonKind::Json,
        ])
    };
    prop_oneof![
        3 => plain(),
        1 => plain().prop_map(|items| JsonKind::Array(Box::new(items))),
        1 => plain().prop_map(|member| JsonKind::Object(vec![("n".into(), JsonKind::Integer), ("s".into(), member)])),
        1 => plain().prop_map(|values| JsonKind::Map(Box::new(values))),
    ]
}

/// What the file says of a parameter.
const WRITTEN: &[&str] = &[
    "params.a = {}",
    "params.a = { required = false }",
    "params.a = { nullable = true }",
    "params.a = { required = false, nullable = true }",
    "params.a = { type = 'integer', default = 3, minimum = 1, maximum = 10 }",
    "params.a = { type = 'integer', enum = [1, 2, 10], required = false }",
    "params.a = { type = 'number', minimum = 0.5, maximum = 9 }",
    "params.a = { type = 'number', default = 2.5, secret = true }",
    "params.a = { type = 'string', min-length = 1, max-length = 2 }",
    "params.a = { type = 'string', pattern = '^\\d+$' }",
    "params.a = { type = 'string', pattern = '^\\w*$', default = 'ab' }",
    "params.a = { type = 'string', format = 'date' }",
    "params.a = { type = 'string', enum = ['x', 'ab'], default = 'x' }",
    "params.a = { type = 'boolean', default = true }",
    "params.a = { type = 'json', default = { n = 1 } }",
    "params.a = { type = 'array', items = 'integer', required = false }",
];

/// What the database says of it, if anything.
fn known() -> impl Strategy<Value = Option<ParameterType>> {
    let labels = prop::option::of(Just(vec!["x".to_owned(), "ab".to_owned()]));
    let format = prop::option::of(prop::sample::select(vec!["date", "date-time", "uuid", "base64"]));
    let range = prop::option::of(Just((-32_768_i64, 32_767_i64)));
    let told = (kind(), labels, format, range);
    prop::option::of(told.prop_map(|(kind, labels, format, range)| ParameterType {
        labels,
        format,
        range,
        ..database(kind)
    }))
}

/// A tool with that parameter, and the guards that stand before it: once its database was asked, and before.
fn guarded(written: &str, known: Option<ParameterType>, dialect: Dialect) -> Option<(Bound, [Schema; 2])> {
    let file = toml::from_str(&format!("connector = 'c'\nsql = 'select :a'\n{written}")).unwrap();
    let tool = Tool::resolve("t", file, &crate::Options::default(), dialect).ok()?;
    let database: Vec<ParameterType> = known.into_iter().collect();
    let plan = Plan::new("t", &tool.params, &database, 1, dialect).ok()?;
    let forms = Some(format::forms(dialect));
    let options = Options { loose: true, formats: false, forms, ..Options::default() };
    let guard = |plan| {
        let schema = schema::input(&tool.params, plan, SchemaProfile::Full, dialect);
        Schema::compile(&schema, options).unwrap()
    };
    let guards = [guard(Some(&plan)), guard(None)];
    Some((Bound { tool, plan }, guards))
}

fn dialect() -> impl Strategy<Value = Dialect> {
    prop::sample::select(vec![Dialect::Postgres, Dialect::Sqlite])
}

fn values() -> impl Strategy<Value = Vec<(&'static str, Json)>> {
    prop::collection::vec((prop::sample::select(vec!["a", "a", "a", "b", "toolCallId"]), value()), 12)
}

fn arguments(values: Vec<(&str, Json)>) -> impl Iterator<Item = String> {
    let arguments = values.into_iter().map(|(name, value)| json!({ name: value }).to_string());
    arguments.chain(["{}".to_owned()])
}

/// Sees that what binds passes both guards and binds to the same then, and that what passes binds, but for what a schema cannot say.
fn judge_alike(bound: &Bound, guards: &[Schema; 2], dialect: Dialect, arguments: &str) -> Result<(), String> {
    let expected = bound.bind(arguments);
    if let Ok(expected) = &expected {
        for guard in guards {
            let completed = guard.complete(arguments).map_err(|text| format!("it binds, and {text}"))?;
            let found = bound.bind(&completed);
            if found.as_ref() != Ok(expected) {
                return Err(format!("{completed} binds to {found:?} in place of {expected:?}"));
            }
        }
        return Ok(());
    }
    let [guard, _] = guards;
    let Ok(completed) = guard.complete(arguments) else { return Ok(()) };
    let Err(text) = bound.bind(&completed) else { return Ok(()) };
    let value = serde_json::from_str::<Json>(&completed).unwrap()["a"].take();
    if is_left_to_binding(bound, dialect, &value, &text) {
        Ok(())
    } else {
        Err(format!("it passes, and {text}"))
    }
}

/// Tells whether it is for the binding alone to find out that a value does not fit.
fn is_left_to_binding(bound: &Bound, dialect: Dialect, value: &Json, text: &str) -> bool {
    let Some(accept) = bound.plan.args().first().map(|arg| &arg.accept) else { return false };
    match (&accept.kind, value) {
        // What a text has to hold for the type behind it; bytes have no form in a schema; and of a form that is written in the file
        // PostgreSQL would take more.
        (JsonKind::String, _) => {
            let form = accept.format.as_deref();
            let is_taken = |text| form.is_some_and(|form| format::is_taken(form, text));
            text.contains("must hold")
                || text.contains("U+0000")
                || form == Some("base64")
                || value.as_str().is_some_and(is_taken)
        }
        // The text of one, and lists in lists: how deep they may be is found when they are read.
        (JsonKind::Array(_), Json::Array(items)) => {
            items.iter().any(|item| item.is_string() || item.is_array() || item.is_object())
        }
        (JsonKind::Array(_) | JsonKind::Object(_) | JsonKind::Map(_), _) => !value.is_number(),
        (JsonKind::Json, _) => value.is_null(),
        // What is no number has a name in some types alone.
        (JsonKind::Number, Json::String(text)) if matches!(&**text, "NaN" | "Infinity" | "-Infinity") => true,
        // The digits that SQLite's numbers have no room for.
        (JsonKind::Number, _) => dialect == Dialect::Sqlite && text.contains("without loss"),
        _ => false,
    }
}

/// What stands at the edges of what is written above, and one step beyond.
fn edges() -> Vec<Json> {
    let numbers =
        ["0.4", "0.5", "0.6", "2.5", "8.9", "9.1", "1.0", "10.0", "-32769", "-32768", "32767", "32768"];
    let numbers =
        numbers.iter().map(|text| (*text).to_owned()).chain((-1..12).map(|number| number.to_string()));
    let numbers = numbers.flat_map(|text| [serde_json::from_str(&text).unwrap(), Json::from(text)]);
    let texts = ["abc", "b", "xx", "\u{e9}\u{e9}\u{e9}", "7", "12a"]
        .iter()
        .chain(TEXTS)
        .map(|text| Json::from(*text));
    let others = [
        json!(null),
        json!(true),
        json!(false),
        json!([]),
        json!([1]),
        json!(["x"]),
        json!([[1]]),
        json!({}),
    ];
    let others =
        others.into_iter().chain([json!({ "n": 1 }), json!({ "s": "x" }), json!({ "n": "x" }), json!([1.5])]);
    numbers.chain(texts).chain(others).collect()
}

#[test]
fn every_value_at_an_edge_is_judged_alike_before_and_at_the_binding() {
    let plain = [JsonKind::String, JsonKind::Integer, JsonKind::Number, JsonKind::Boolean, JsonKind::Json];
    let lists = plain.iter().map(|items| JsonKind::Array(Box::new(items.clone())));
    let kinds = plain.iter().cloned().chain(lists).map(database);
    let small = ParameterType { range: Some((-32_768, 32_767)), ..database(JsonKind::Integer) };
    let labels = Some(vec!["x".to_owned(), "ab".to_owned()]);
    let label = ParameterType { labels, ..database(JsonKind::String) };
    let formats = ["date", "date-time", "time", "uuid", "base64"];
    let forms = formats.map(|format| ParameterType { format: Some(format), ..database(JsonKind::String) });
    let known: Vec<ParameterType> = kinds.chain([small, label]).chain(forms).collect();
    let known: Vec<Option<ParameterType>> = known.into_iter().map(Some).chain([None]).collect();
    let edges = edges();
    let (mut judged, mut differing) = (0, Vec::new());
    for (written, known, dialect) in WRITTEN.iter().flat_map(|written| {
        let dialects = [Dialect::Postgres, Dialect::Sqlite];
        known.iter().flat_map(move |known| dialects.map(|dialect| (written, known, dialect)))
    }) {
        let Some((bound, guards)) = guarded(written, known.clone(), dialect) else { continue };
        for value in &edges {
            let arguments = json!({ "a": value }).to_string();
            if let Err(how) = judge_alike(&bound, &guards, dialect, &arguments) {
                differing.push(format!("{written} {known:?} {dialect:?} {arguments}: {how}"));
            }
        }
        judged += 1;
    }
    assert!(judged > 150, "{judged}");
    assert!(
        differing.is_empty(),
        "{} differ, as {:#?}",
        differing.len(),
        differing.iter().take(30).collect::<Vec<_>>()
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1_000, ..ProptestConfig::default() })]
    #[test]
    fn the_guard_refuses_nothing_that_is_bound_and_takes_nothing_that_is_not(
        dialect in dialect(),
        written in prop::sample::select(WRITTEN),
        known in known(),
        values in values(),
    ) {
        let Some((bound, guards)) = guarded(written, known, dialect) else { return Ok(()) };
        prop_assert!(guards.iter().all(Schema::is_own), "{written}");
        for arguments in arguments(values) {
            let judged = judge_alike(&bound, &guards, dialect, &arguments);
            prop_assert_eq!(judged, Ok(()), "{} {}", written, arguments);
        }
    }
}
