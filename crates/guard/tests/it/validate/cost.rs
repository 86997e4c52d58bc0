//! What a check costs. The figures are for reading: `cargo nextest run --release -p trunkline-guard --no-capture -E 'test(cost)'`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use serde_json::json;
use trunkline_guard::validate::{Options, Schema};

/// The least of several rounds, which is the one that nothing disturbed.
fn least(mut once: impl FnMut()) -> Duration {
    let rounds = if cfg!(debug_assertions) { 200 } else { 20_000 };
    let round = |_| {
        let began = Instant::now();
        (0..rounds).for_each(|_| once());
        began.elapsed() / rounds
    };
    (0..7).map(round).min().unwrap_or_default()
}

#[test]
fn the_own_form_costs_a_fraction_of_the_tree() {
    let schema = json!({
        "type": "object",
        "properties": {
            "query": { "type": "string", "maxLength": 200 },
            "limit": { "type": "integer", "minimum": 1, "maximum": 100, "default": 10 },
            "order": { "enum": ["name", "price", "age"] },
        },
        "required": ["query"],
        "additionalProperties": false,
    });
    let own = Schema::compile(&schema, Options::default()).unwrap();
    let broad = Schema::compile_broad(&schema, Options::default()).unwrap();
    assert!(own.is_own());
    let whole = r#"{"query":"smith and sons","limit":25,"order":"price"}"#;
    let short = r#"{"query":"smith and sons","order":"price"}"#;
    let cost =
        |schema: &Schema, text: &str| least(|| assert!(black_box(schema).complete(black_box(text)).is_ok()));
    let (own_whole, own_short) = (cost(&own, whole), cost(&own, short));
    let (broad_whole, broad_short) = (cost(&broad, whole), cost(&broad, short));
    eprintln!(
        "three arguments: own form {own_whole:?}, with a default put in {own_short:?}; tree {broad_whole:?}, {broad_short:?}"
    );
    assert!(own_whole < broad_whole, "{own_whole:?} {broad_whole:?}");
}
