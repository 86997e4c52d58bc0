//! The own form and the crate mean the same: random schemas of the common shape, random values near them.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::validate::{Options, Schema};

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-6_i64..6).prop_map(Value::from),
        (-12_i64..12).prop_map(|half| json!(half as f64 / 2.0)),
        prop_oneof![Just(i64::MAX), Just(i64::MIN), Just(1 << 53)].prop_map(Value::from),
        "[ab\u{e9}]{0,4}".prop_map(Value::from),
        prop_oneof![
            Just("2026-02-28"),
            Just("2026-02-30"),
            Just("a@b.example"),
            Just("2026-02-28T10:00:00Z")
        ]
        .prop_map(Value::from),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-d]", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn kinds() -> impl Strategy<Value = Value> {
    let kind =
        prop::sample::select(vec!["null", "boolean", "integer", "number", "string", "array", "object"]);
    prop_oneof![
        4 => kind.clone().prop_map(Value::from),
        1 => prop::sample::subsequence(vec!["null", "boolean", "integer", "number", "string", "array", "object"], 1..4).prop_map(Value::from),
    ]
}

fn keyword() -> impl Strategy<Value = (&'static str, Value)> {
    prop_oneof![
        4 => kinds().prop_map(|kinds| ("type", kinds)),
        1 => prop::collection::hash_set("[ab]{0,2}", 1..3).prop_map(|labels| ("enum", labels.into_iter().collect())),
        1 => (-3_i64..4).prop_map(|number| ("enum", json!([number, "a", null]))),
        1 => scalar().prop_map(|value| ("const", value)),
        1 => (-4_i64..4).prop_map(|bound| ("minimum", bound.into())),
        1 => (-8_i64..8).prop_map(|half| ("maximum", json!(half as f64 / 2.0))),
        1 => (-4_i64..4).prop_map(|bound| ("exclusiveMinimum", bound.into())),
        1 => (-4_i64..4).prop_map(|bound| ("exclusiveMaximum", bound.into())),
        1 => (1_u64..4).prop_map(|of| ("multipleOf", of.into())),
        1 => (0_u64..4).prop_map(|bound| ("minLength", bound.into())),
        1 => (0_u64..4).prop_map(|bound| ("maxLength", bound.into())),
        1 => prop::sample::select(vec!["^a", "b$", "^[a-b]+$", "\\w", "\\d", "a|b", "^\\S*$"]).prop_map(|pattern| ("pattern", pattern.into())),
        1 => prop::sample::select(vec!["date", "date-time", "email", "uuid", "unknown"]).prop_map(|format| ("format", format.into())),
        1 => (0_u64..3).prop_map(|bound| ("minItems", bound.into())),
        1 => (0_u64..3).prop_map(|bound| ("maxItems", bound.into())),
        1 => any::<bool>().prop_map(|unique| ("uniqueItems", unique.into())),
        1 => (0_u64..3).prop_map(|bound| ("minProperties", bound.into())),
        1 => (0_u64..3).prop_map(|bound| ("maxProperties", bound.into())),
        1 => prop::collection::hash_set("[a-d]", 0..3).prop_map(|names| ("required", names.into_iter().collect())),
        1 => any::<bool>().prop_map(|others| ("additionalProperties", others.into())),
        2 => value().prop_map(|value| ("default", value)),
    ]
}

fn schema() -> impl Strategy<Value = Value> {
    let plain = || {
        prop::collection::vec(keyword(), 0..5).prop_map(|words| {
            words.into_iter().map(|(word, value)| (word.to_owned(), value)).collect::<Map<_, _>>()
        })
    };
    let leaf = prop_oneof![
        8 => plain().prop_map(Value::Object),
        1 => any::<bool>().prop_map(Value::Bool),
    ];
    leaf.prop_recursive(3, 24, 4, move |inner| {
        (
            plain(),
            prop::option::of(inner.clone()),
            prop::collection::btree_map("[a-d]", inner.clone(), 0..4),
            prop::option::of(inner),
        )
            .prop_map(|(mut words, items, properties, others)| {
                words.extend(items.map(|items| ("items".to_owned(), items)));
                words.extend(others.map(|others| ("additionalProperties".to_owned(), others)));
                words.insert("properties".into(), Value::Object(properties.into_iter().collect()));
                Value::Object(words)
            })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1_000, ..ProptestConfig::default() })]
    #[test]
    fn the_own_form_and_the_crate_agree(schema in schema(), values in prop::collection::vec(value(), 8)) {
        let options = Options { completes: false, ..Options::default() };
        let own = Schema::compile(&schema, options).unwrap();
        let broad = Schema::compile_broad(&schema, options).unwrap();
        for value in values {
            let text = value.to_string();
            prop_assert_eq!(own.is_valid(&text), broad.is_valid(&text), "{} {}", &schema, &text);
        }
    }

    #[test]
    fn what_is_completed_fits_and_lacks_nothing(schema in schema(), values in prop::collection::vec(value(), 8)) {
        let own = Schema::compile(&schema, Options::default()).unwrap();
        let broad = Schema::compile_broad(&schema, Options::default()).unwrap();
        let strict = Schema::compile(&schema, Options { completes: false, ..Options::default() }).unwrap();
        for value in values {
            let text = value.to_string();
            for form in [&own, &broad] {
                match form.complete(&text) {
                    Ok(completed) => {
                        prop_assert!(strict.is_valid(&completed), "{} {} {}", &schema, &text, &completed);
                        let again = form.complete(&completed);
                        prop_assert_eq!(again.as_deref(), Ok(&*completed), "{} {}", &schema, &text);
                    }
                    Err(told) => prop_assert!(told.starts_with("the arguments were not accepted: `args"), "{}", told),
                }
            }
            // The own form knows more ways to complete a value, never fewer.
            prop_assert!(own.complete(&text).is_ok() || broad.complete(&text).is_err(), "{} {}", &schema, &text);
        }
    }
}
