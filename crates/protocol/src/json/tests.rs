//! The walker against `serde_json`, and what it reports beyond it.

use super::*;
use proptest::prelude::*;

fn walk(text: &str) -> Result<(Token, Option<Span>, bool), SyntaxError> {
    let mut scanner = Scanner::new(text)?;
    let token = scanner.value()?;
    scanner.end()?;
    Ok((token, scanner.repeated_key(), scanner.is_too_deep()))
}

#[test]
fn agrees_with_serde_on_corner_cases() {
    for text in [
        "",
        " ",
        "nul",
        "null",
        "tru",
        "-",
        "-0",
        "01",
        "1.",
        "1.5",
        "1e",
        "1e+",
        "1e+5",
        ".5",
        "+1",
        "\"",
        "\"\\",
        "\"\\u12\"",
        "\"\\ud83d\\ude00\"",
        "\"\\x\"",
        "\"a\nb\"",
        "\"\u{7f}é\"",
        "[",
        "[]",
        "[,]",
        "[1,]",
        "[1 2]",
        "{",
        "{}",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{\"a\":1}x",
        "\u{feff}{}",
        "[1e999]",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
        "\"\u{0}\"",
    ] {
        let ours = walk(text).is_ok();
        let theirs = serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok();
        assert_eq!(ours, theirs, "{text:?}");
    }
}

#[test]
fn a_repeated_key_is_found_after_unescaping() {
    assert!(walk(r#"{"a":1,"\u0061":2}"#).is_ok_and(|(_, repeated, _)| repeated.is_some()));
    assert!(walk(r#"{"x":[{"a":1,"b":{"a":1},"a":3}]}"#).is_ok_and(|(_, repeated, _)| repeated.is_some()));
    assert!(walk(r#"{"a":{"a":1},"b":{"a":1}}"#).is_ok_and(|(_, repeated, _)| repeated.is_none()));
    let many: Vec<String> = (0..1000).map(|n| format!("\"k{n}\":0")).collect();
    assert!(walk(&format!("{{{}}}", many.join(","))).is_ok_and(|(_, repeated, _)| repeated.is_none()));
    assert!(
        walk(&format!("{{{},\"k\\u0037\":1}}", many.join(",")))
            .is_ok_and(|(_, repeated, _)| repeated.is_some())
    );
}

#[test]
fn depth_is_bounded_and_the_rest_is_still_walked() {
    let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    assert!(walk(&nested(64)).is_ok_and(|(_, _, deep)| !deep));
    assert!(walk(&nested(65)).is_ok_and(|(_, _, deep)| deep));
    assert!(walk(&nested(1_000_000)).is_ok_and(|(_, _, deep)| deep));
    assert!(walk(&"[".repeat(1_000_000)).is_err());
}

#[test]
fn unescapes_as_serde_does() {
    for text in [r#""a\n\u00e9\ud83d\ude00\\\"""#, r#""\/""#, r#""plain""#, r#""\u0000""#] {
        let token = walk(text).unwrap().0;
        assert_eq!(token.text(text.as_bytes()).unwrap(), serde_json::from_str::<String>(text).unwrap());
    }
}

#[test]
fn an_unpaired_surrogate_is_refused_as_reading_it_would_fail() {
    for text in [r#""\ud800""#, r#""\udc00""#, r#""\ud800\u0041""#, r#""\ud800\ud800""#, r#""\ud800x""#] {
        assert!(walk(text).is_err() && serde_json::from_str::<String>(text).is_err(), "{text}");
    }
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            proptest::collection::vec((any::<String>(), inner), 0..6)
                .prop_map(|pairs| serde_json::Value::Object(pairs.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn accepts_what_serde_writes(value in value()) {
        let text = value.to_string();
        let (token, repeated, deep) = walk(&text).unwrap();
        prop_assert_eq!(token.span, Span { start: 0, end: u32::try_from(text.len()).unwrap() });
        prop_assert!(repeated.is_none() && !deep);
    }

    #[test]
    fn gives_the_verdict_serde_gives(value in value(), at in any::<proptest::sample::Index>(), byte in any::<char>()) {
        let mut text: Vec<char> = value.to_string().chars().collect();
        let at = at.index(text.len());
        text[at] = byte;
        let text: String = text.into_iter().collect();
        let theirs = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
        prop_assert_eq!(walk(&text).is_ok(), theirs, "{}", text);
    }
}
