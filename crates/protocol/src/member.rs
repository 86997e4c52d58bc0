//! Finding one member of an object without building anything, for the rare looks past the envelope.

use crate::json::{Kind, Scanner, Span, Token};

/// Returns where the member `wanted` of the object in `object` stands; [`Kind::Absent`] when `object` is no JSON object or
/// has no such member. The span counts from the start of `object`. Keys are compared after unescaping.
#[must_use]
pub fn member(object: &[u8], wanted: &str) -> Token {
    let mut found = Token::default();
    each(object, |key, token| {
        if key == wanted {
            found = token;
        }
    });
    found
}

/// Returns where the member `wanted` of the object at `object` within `body` stands, its span counted from the start of
/// `body`.
#[must_use]
pub fn member_at(body: &[u8], object: Token, wanted: &str) -> Token {
    if object.kind != Kind::Object {
        return Token::default();
    }
    let Token { span, kind } = member(object.raw(body), wanted);
    let start = object.span.start;
    Token { span: Span { start: span.start + start, end: span.end + start }, kind }
}

/// Offers each member of the object in `object` to `visit`, its span counted from the start of `object`. Stops silently at
/// the first fault; `object` is expected to be a value that was scanned before.
pub fn each(object: &[u8], mut visit: impl FnMut(&str, Token)) {
    let Ok(text) = std::str::from_utf8(object) else { return };
    let Ok(mut scanner) = Scanner::new(text) else { return };
    if scanner.next_byte() != b'{' {
        return;
    }
    // What is wrong was told when the whole message was scanned.
    let _ = scanner.members(|scanner, key| {
        let token = scanner.value()?;
        visit(scanner.key(key), token);
        Ok(true)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_members_by_their_unescaped_key_and_says_where_they_stand() {
        let body = br#"{"a":{"b" : "x","c":[1]},"n\u0061me":null}"#;
        let object = member(body, "a");
        assert_eq!((object.kind, object.raw(body)), (Kind::Object, &br#"{"b" : "x","c":[1]}"#[..]));
        assert_eq!(member_at(body, object, "c").raw(body), b"[1]");
        assert_eq!(member(body, "name").kind, Kind::Null);
        assert_eq!(member(body, "b").kind, Kind::Absent);
        assert_eq!(member(b"[1]", "b").kind, Kind::Absent);
        assert_eq!(member_at(body, member(body, "name"), "b").kind, Kind::Absent);
    }
}
