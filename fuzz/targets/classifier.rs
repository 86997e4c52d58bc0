//! Any bytes as a message: no panic, the verdict `serde_json` gives on the grammar, and spans that read back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use trunkline_protocol::{Code, envelope, scan};

fuzz_target!(|body: &[u8]| {
    let ours = scan(body);
    let grammar_ok = serde_json::from_slice::<&RawValue>(body).is_ok();
    match ours {
        Ok((_, envelope)) => {
            assert!(grammar_ok, "accepted what serde_json refuses");
            for token in [envelope.id, envelope.method, envelope.params, envelope.arguments, envelope.meta, envelope.name] {
                if token.is_present() {
                    serde_json::from_slice::<&RawValue>(token.raw(body)).expect("a span is not a value");
                }
            }
            let message: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
            if let (Some(ours), Some(theirs)) = (envelope.method.text(body), message["method"].as_str()) {
                assert_eq!(ours, theirs);
            }
        }
        // Only an unpaired surrogate, or what lies deeper than serde_json's own bound, is told apart.
        Err(refused) if refused.code == Code::PARSE_ERROR && grammar_ok => {
            let text = std::str::from_utf8(body).expect("serde_json accepts UTF-8 only").to_ascii_lowercase();
            assert!(text.contains("\\ud"), "refused what serde_json accepts");
        }
        Err(refused) => {
            if let Some(id) = refused.id {
                serde_json::from_slice::<&RawValue>(id.of(body)).expect("an id is not a value");
            }
        }
    }
    if let Ok(spans) = envelope::batch(body) {
        assert!(!spans.is_empty() && spans.len() <= envelope::MAX_BATCH);
    }
});
