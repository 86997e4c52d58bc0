//! Any schema and any value: no panic, compiling and checking end, the two forms agree, and what is completed fits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use trunkline_guard::validate::{Options, Schema};

fuzz_target!(|text: &str| {
    let Some((schema, value)) = text.split_once('\n') else { return };
    let Ok(schema) = serde_json::from_str::<Value>(schema) else { return };
    let strict = Options { completes: false, ..Options::default() };
    let Ok(own) = Schema::compile(&schema, strict) else { return };
    if own.is_own()
        && let Ok(tree) = serde_json::from_str::<Value>(value)
        && !is_inexact(&tree)
        && !is_inexact(&schema)
    {
        let broad = Schema::compile_broad(&schema, strict).expect("what the own form takes is a schema");
        let value = tree.to_string();
        assert_eq!(own.is_valid(&value), broad.is_valid(&value), "{schema} {value}");
    }
    let completing = Schema::compile(&schema, Options::default()).expect("it was compiled before");
    if let Ok(completed) = completing.complete(value) {
        let again = completing.complete(&completed).expect("what was completed fits");
        assert_eq!(again, completed, "nothing is left to complete");
    }
});

/// Whether a number in it is one that a tree does not hold as it was written.
fn is_inexact(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(is_inexact),
        Value::Object(members) => members.values().any(is_inexact),
        _ => false,
    }
}
