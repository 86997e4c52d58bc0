//! Any text as a URI template and any as a URI: no panic, and the values of a match put into the template make the URI again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trunkline_protocol::uri_template::UriTemplate;

fuzz_target!(|text: &str| {
    let (template, uri) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(parsed) = UriTemplate::parse(template) else { return };
    assert_eq!(parsed.as_str(), template);
    let Some(values) = parsed.matches(uri) else { return };
    for (name, _) in &values {
        assert!(parsed.variables().any(|known| known == *name), "a value of no variable");
    }
    // An escape of the template's own could stand for what is one of the URI's.
    if !template.contains('%') {
        let (made, has_query) = expanded(template, &values);
        let decoded = decoded(uri);
        let rest = decoded.strip_prefix(made.as_bytes()).expect("the values do not make the URI");
        assert!(rest.is_empty() || has_query, "the URI goes on");
    }
});

/// Puts the values in, percent-decoded as they are, up to a query, whose variables may come in any order.
fn expanded(template: &str, values: &[(&str, String)]) -> (String, bool) {
    let mut out = String::new();
    let mut rest = template;
    while let Some((literal, after)) = rest.split_once('{') {
        let (inner, behind) = after.split_once('}').expect("it was parsed");
        let (lead, between, names) = match inner.as_bytes()[0] {
            b'?' | b'&' => return (out + literal, true),
            b'+' => ("", ",", &inner[1..]),
            b'#' => ("#", ",", &inner[1..]),
            b'.' => (".", ".", &inner[1..]),
            b'/' => ("/", "/", &inner[1..]),
            _ => ("", ",", inner),
        };
        let names =
            names.split(',').map(|name| name.trim_end_matches('*').split(':').next().unwrap_or_default());
        let texts: Vec<&str> = names
            .map(|name| &*values.iter().find(|(known, _)| *known == name).expect("a value is missing").1)
            .collect();
        out = out + literal + lead + &texts.join(between);
        rest = behind;
    }
    (out + rest, false)
}

fn decoded(uri: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = uri.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escape = after.get(..2).filter(|_| *first == b'%').and_then(|two| std::str::from_utf8(two).ok());
        match escape.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &after[2..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}
