//! Any bytes as header values: no panic, encoding reads back, and no foreign host passes for loopback.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trunkline_protocol::header::{Allowed, accepts, decode, encode, host_name, is_json, is_loopback};

fuzz_target!(|value: &[u8]| {
    let _ = (accepts(value), is_json(value), decode(value));
    let allowed = Allowed::new(&["mcp.example.com".to_owned()], &["https://claude.ai".to_owned()]);
    if allowed.host(value) {
        let name = host_name(std::str::from_utf8(value).expect("a host is text")).expect("an allowed host has a name");
        assert!(is_loopback(&name) || name == "mcp.example.com");
    }
    let _ = allowed.origin(value);
    if let Ok(text) = std::str::from_utf8(value) {
        let encoded = encode(text);
        assert!(encoded.bytes().all(|byte| matches!(byte, b' '..=b'~')));
        assert_eq!(decode(encoded.as_bytes()).expect("what was encoded reads back"), text);
    }
});
