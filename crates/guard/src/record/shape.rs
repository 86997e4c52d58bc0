//! The shape of arguments: which of the declared ones came, of which kind and size. Never a value, never a name of the caller's
//! own choice.

use trunkline_protocol::Kind;
use trunkline_protocol::json::Scanner;
use trunkline_protocol::write;

use super::line::decimal;
use super::names::Declared;

/// The most bytes of a shape; what comes then is counted with the undeclared.
const MAX_SHAPE: usize = 4096;

/// Appends the shape of `arguments`: an object of names and kinds, or the kind alone of what is no object. Returns how many
/// members are not named.
pub(crate) fn write(out: &mut Vec<u8>, arguments: &[u8], kind: Kind, declared: &Declared) -> u32 {
    let text = std::str::from_utf8(arguments).unwrap_or_default();
    let (Kind::Object, Ok(mut scanner)) = (kind, Scanner::new(text)) else {
        out.push(b'"');
        out.extend_from_slice(word(kind).as_bytes());
        out.push(b'"');
        return 0;
    };
    out.push(b'{');
    let from = out.len();
    let mut unlisted = 0;
    // What is wrong was told when the whole message was scanned.
    let _ = scanner.next_byte();
    let _ = scanner.members(|scanner, key| {
        let name = scanner.key(key);
        if !declared.has(name) || out.len() - from > MAX_SHAPE {
            unlisted += 1;
            return Ok(false);
        }
        if out.len() > from {
            out.push(b',');
        }
        write::string(out, name);
        out.push(b':');
        value(out, scanner)?;
        Ok(true)
    });
    out.push(b'}');
    unlisted
}

/// Walks a value and appends its kind, with its size where it has one.
fn value(out: &mut Vec<u8>, scanner: &mut Scanner<'_>) -> Result<(), trunkline_protocol::json::SyntaxError> {
    let mut count = 0_u64;
    let (kind, size) = match scanner.ahead() {
        b'{' => {
            let kind = scanner.members(|_, _| {
                count += 1;
                Ok(false)
            })?;
            (kind, Some(count))
        }
        b'[' => {
            let kind = scanner.elements(|_| {
                count += 1;
                Ok(false)
            })?;
            (kind, Some(count))
        }
        _ => {
            let token = scanner.value()?;
            let length = u64::from(token.span.len()).saturating_sub(2);
            (token.kind, token.is_string().then_some(length))
        }
    };
    let word = word(kind);
    match size {
        Some(size) => {
            out.extend_from_slice(br#"{""#);
            out.extend_from_slice(word.as_bytes());
            out.extend_from_slice(br#"":"#);
            decimal(out, size);
            out.push(b'}');
        }
        None => {
            out.push(b'"');
            out.extend_from_slice(word.as_bytes());
            out.push(b'"');
        }
    }
    Ok(())
}

/// Returns the word for a kind, as JSON Schema has it.
fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Absent => "absent",
        Kind::Null => "null",
        Kind::Bool => "boolean",
        Kind::Integer => "integer",
        Kind::Float => "number",
        Kind::String | Kind::EscapedString => "string",
        Kind::Array => "array",
        Kind::Object => "object",
    }
}
