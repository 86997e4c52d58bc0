//! Whether a token is meant for this server: the audience is compared as text, but for the two spellings of a root.
//!
//! RFC 3986 section 6.2.3 makes `https://a.example` and `https://a.example/` one address, and users who met a server that
//! told them apart went round in circles. Scheme and host are compared without regard to case there; nothing else is ever
//! brought into another form, since each rule added is one more way to look like somebody else.

use serde_json::Value;

/// Who a token must be meant for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audience {
    text: Box<str>,
    /// Scheme and authority in lower case, where the audience is the root of a web address.
    root: Option<Box<str>>,
}

impl Audience {
    /// Makes an audience of its text: the address of a protected resource, or any name an issuer uses.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self { text: text.into(), root: root(text) }
    }

    /// Returns the text it was made from.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Tells whether one `aud` means this audience.
    #[must_use]
    pub fn is(&self, named: &str) -> bool {
        *named == *self.text || (self.root.is_some() && root(named) == self.root)
    }

    /// Tells whether the claim `aud`, a text or a list of texts, names this audience. RFC 7519 section 4.1.3.
    pub(crate) fn is_in(&self, claim: Option<&Value>) -> bool {
        match claim {
            Some(Value::String(one)) => self.is(one),
            Some(Value::Array(all)) => {
                all.iter().all(Value::is_string)
                    && all.iter().filter_map(Value::as_str).any(|one| self.is(one))
            }
            _ => false,
        }
    }
}

/// Returns scheme and authority in lower case when the text is a web address without a path, or with `/` alone.
fn root(text: &str) -> Option<Box<str>> {
    let (scheme, rest) = text.split_once("://")?;
    let is_web = scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http");
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']' | b'_');
    let is_plain = !authority.is_empty() && authority.bytes().all(plain);
    (is_web && is_plain).then(|| format!("{scheme}://{authority}").to_ascii_lowercase().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn au_02_the_two_spellings_of_a_root_are_one_and_nothing_else_is() {
        let root = Audience::new("https://gw.example");
        for same in ["https://gw.example", "https://gw.example/", "HTTPS://GW.example"] {
            assert!(root.is(same), "{same}");
        }
        let others = [
            "",
            "https://gw.example.evil",
            "https://gw.example/x",
            "https://gw.example//",
            "https://gw.example.",
            "https://gw.example:443",
            "https://gw.example:443/",
            "http://gw.example",
            "https://gw.example@evil",
            "https://user@gw.example",
            "https://gw.example?x",
            "https://gw.example#",
            "https://gw%2eexample",
            "https://gw.example\\",
            " https://gw.example",
            "https://gw.example ",
            "//gw.example",
            "gw.example",
        ];
        for other in others {
            assert!(!root.is(other), "{other}");
        }
        assert!(Audience::new("https://gw.example/").is("https://gw.example"));
    }

    #[test]
    fn au_02_with_a_path_every_byte_counts() {
        let path = Audience::new("https://gw.example/mcp");
        let is_in = |claim: Value| path.is_in(Some(&claim));
        assert!(is_in("https://gw.example/mcp".into()));
        assert!(is_in(serde_json::json!(["x", "https://gw.example/mcp"])));
        for other in [
            "https://gw.example/mcp2",
            "https://gw.example",
            "https://gw.example/MCP",
            "https://gw.example/mcp/",
        ] {
            assert!(!is_in(other.into()), "{other}");
        }
        assert!(!is_in(serde_json::json!(["https://gw.example/mcp", 1])), "no list of texts");
        assert!(!is_in(serde_json::json!([["https://gw.example/mcp"]])));
        assert!(!is_in(serde_json::json!({ "https://gw.example/mcp": 1 })));
        assert!(!path.is_in(None));
    }

    #[test]
    fn a_name_that_is_no_address_is_compared_as_it_stands() {
        assert!(Audience::new("api://default").is("api://default"));
        assert!(!Audience::new("api://default").is("api://default/"));
        assert!(!Audience::new("orders").is("Orders"));
    }
}
