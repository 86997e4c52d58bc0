//! Any text as a signed token, and any two texts as its header and claims: no panic, and what is taken apart was written in the
//! one way there is to write it, without a member that stands twice.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use trunkline_guard::authenticate::{Algorithm, Audience, MAX_TOKEN, SignedToken};

fuzz_target!(|text: &str| {
    check(text);
    // As header and claims, which by chance would never be base64url of JSON.
    let (header, claims) = text.split_once('\n').unwrap_or((text, "{}"));
    check(&format!("{}.{}.c2ln", encoded(header), encoded(claims)));
    let audience = Audience::new(header);
    assert!(audience.is(header));
    assert_eq!(audience.is(claims), Audience::new(claims).is(header), "one is the other, and not the other way round");
});

fn check(token: &str) {
    let Ok(Some(read)) = SignedToken::read(token) else { return };
    assert!(token.len() <= MAX_TOKEN);
    assert!(!format!("{read:?}").contains(token), "it is shown");
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("not three parts") };
    let [header, claims, _] = [header, claims, signature].map(|part| {
        let bytes = decoded(part).expect("a part that is no base64url");
        assert_eq!(encoded(&bytes), part, "a second spelling of the same bytes");
        bytes
    });
    let header: Value = serde_json::from_slice(&header).expect("a header that is no JSON");
    assert!(serde_json::from_slice::<Value>(&claims).expect("claims that are no JSON").is_object());
    let algorithm = header["alg"].as_str().and_then(Algorithm::named);
    assert!(algorithm.is_some(), "an algorithm that nobody named");
    for extension in ["crit", "b64", "enc", "zip", "cty"] {
        assert!(header.get(extension).is_none(), "`{extension}` was overlooked");
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    let mut text = String::new();
    for chunk in bytes.as_ref().chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(bits >> (18 - 6 * at)) as usize & 63]));
        }
    }
    text
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for chunk in text.as_bytes().chunks(4) {
        let mut bits = 0;
        for at in 0..4 {
            let value = match chunk.get(at) {
                Some(byte) => ALPHABET.iter().position(|known| known == byte)?,
                None => 0,
            };
            bits = bits << 6 | value as u32;
        }
        bytes.extend_from_slice(&bits.to_be_bytes()[1..chunk.len()]);
    }
    Some(bytes)
}
