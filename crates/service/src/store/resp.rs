//! The protocol of Redis, version 2: commands written, replies read piece by piece and within bounds.
//!
//! What a reply claims to be is never believed: room is made for what has come, not for what is promised, and a reply over the
//! bounds ends the connection. Source: redis.io, "Redis serialization protocol specification".

use bytes::{Buf as _, Bytes, BytesMut};

use super::error::Code;

/// Most bytes of one reply, with all that is in it.
pub(super) const MAX_REPLY: usize = 16 << 20;
/// Most bytes of one command.
pub(super) const MAX_COMMAND: usize = 16 << 20;
/// The longest line, which a simple string or an error is, in bytes.
const MAX_LINE: usize = 4096;
/// Most values of one array.
const MAX_ELEMENTS: usize = 1 << 20;
/// What a value costs beside its bytes, in bytes, so that many small ones are bounded too.
const OVERHEAD: usize = 40;
/// How deep arrays stand in each other.
const MAX_DEPTH: usize = 8;
/// Strings that are shorter are copied, so that they do not hold the whole buffer they came in.
const COPY_BELOW: usize = 4096;

/// What the store answered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Value {
    /// Nothing: no such key, or `false` of a script.
    Nil,
    /// A whole number.
    Int(i64),
    /// A string of bytes.
    Text(Bytes),
    /// Values in order.
    Array(Vec<Value>),
}

impl Value {
    /// Returns the number, also where it came as text.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Text(text) => std::str::from_utf8(text).ok()?.parse().ok(),
            Self::Nil | Self::Array(_) => None,
        }
    }

    /// Returns the bytes of a string.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Text(text) => Some(text),
            Self::Nil | Self::Int(_) | Self::Array(_) => None,
        }
    }

    /// Returns the values of an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(values) => Some(values),
            Self::Nil | Self::Int(_) | Self::Text(_) => None,
        }
    }

    /// Tells whether it is nothing.
    #[must_use]
    pub fn is_nil(&self) -> bool {
        matches!(self, Self::Nil)
    }
}

/// A command as it is sent.
#[derive(Debug)]
pub(super) struct Command(Vec<u8>);

impl Command {
    /// Begins a command of so many parts.
    pub(super) fn new(parts: usize) -> Self {
        let mut command = Self(Vec::with_capacity(128));
        command.head(b'*', parts);
        command
    }

    /// Makes a command of these parts.
    pub(super) fn of(parts: &[&[u8]]) -> Self {
        parts.iter().fold(Self::new(parts.len()), |command, part| command.arg(part))
    }

    /// Adds a part.
    pub(super) fn arg(self, part: &[u8]) -> Self {
        self.joined(b"", part)
    }

    /// Adds a part that two pieces make.
    pub(super) fn joined(mut self, first: &[u8], second: &[u8]) -> Self {
        self.head(b'$', first.len() + second.len());
        self.0.extend_from_slice(first);
        self.0.extend_from_slice(second);
        self.0.extend_from_slice(b"\r\n");
        self
    }

    /// Adds a number.
    pub(super) fn number(self, number: u64) -> Self {
        self.arg(number.to_string().as_bytes())
    }

    /// Returns the bytes to send.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn head(&mut self, kind: u8, count: usize) {
        self.0.push(kind);
        self.0.extend_from_slice(count.to_string().as_bytes());
        self.0.extend_from_slice(b"\r\n");
    }
}

/// Who answers does not speak the protocol, or says more than is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer is not one of Redis, or is over {MAX_REPLY} bytes")]
pub(super) struct Malformed;

/// A whole reply: a value, or the code of an error.
pub(super) type Reply = Result<Value, Code>;

/// Reads replies out of the bytes that come.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// Arrays that are not complete yet, the outermost first.
    open: Vec<Open>,
    /// What the reply took until now.
    size: usize,
    /// An error that stood inside of an array: all of it counts as that error.
    error: Option<Code>,
}

#[derive(Debug)]
struct Open {
    missing: usize,
    values: Vec<Value>,
}

/// One piece of a reply.
enum Token {
    Value(Value),
    Error(Code),
    Array(usize),
}

impl Decoder {
    /// Takes the next whole reply off the buffer; `None` when more has to come.
    pub(super) fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Reply>, Malformed> {
        loop {
            let left = MAX_REPLY.saturating_sub(self.size);
            let before = buffer.len();
            let Some(token) = token(buffer, left)? else { return Ok(None) };
            self.size += before - buffer.len() + OVERHEAD;
            let mut value = match token {
                Token::Value(value) => value,
                Token::Error(code) => {
                    self.error.get_or_insert(code);
                    Value::Nil
                }
                Token::Array(0) => Value::Array(Vec::new()),
                Token::Array(missing) => {
                    if self.open.len() >= MAX_DEPTH {
                        return Err(Malformed);
                    }
                    self.open.push(Open { missing, values: Vec::new() });
                    continue;
                }
            };
            loop {
                let Some(open) = self.open.last_mut() else {
                    self.size = 0;
                    return Ok(Some(self.error.take().map_or(Ok(value), Err)));
                };
                open.values.push(value);
                open.missing -= 1;
                if open.missing > 0 {
                    break;
                }
                value = Value::Array(self.open.pop().map(|open| open.values).unwrap_or_default());
            }
        }
    }
}

/// Takes one piece off the buffer, of at most `left` bytes; `None` when more has to come.
fn token(buffer: &mut BytesMut, left: usize) -> Result<Option<Token>, Malformed> {
    // What does not begin like a reply is seen at once, not when its line ends.
    let Some(kind) = buffer.first().copied() else { return Ok(None) };
    if !matches!(kind, b'+' | b'-' | b':' | b'$' | b'*') {
        return Err(Malformed);
    }
    let window = buffer.get(..buffer.len().min(MAX_LINE)).unwrap_or_default();
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return if buffer.len() < MAX_LINE && left > 0 { Ok(None) } else { Err(Malformed) };
    };
    let line = buffer.get(1..end).unwrap_or_default();
    let token = match kind {
        b'+' => Token::Value(Value::Text(Bytes::copy_from_slice(line))),
        b'-' => Token::Error(Code::read(line)),
        b':' => Token::Value(Value::Int(number(line)?)),
        b'$' => return string(buffer, end, left),
        _ => match number(line)? {
            -1 => Token::Value(Value::Nil),
            count => match usize::try_from(count) {
                Ok(count) if count <= MAX_ELEMENTS && count <= left => Token::Array(count),
                _ => return Err(Malformed),
            },
        },
    };
    buffer.advance(end + 2);
    if left == 0 { Err(Malformed) } else { Ok(Some(token)) }
}

/// Takes a string off the buffer, whose head ends at `end`.
fn string(buffer: &mut BytesMut, end: usize, left: usize) -> Result<Option<Token>, Malformed> {
    let length = number(buffer.get(1..end).unwrap_or_default())?;
    if length == -1 {
        buffer.advance(end + 2);
        return Ok(Some(Token::Value(Value::Nil)));
    }
    let length = usize::try_from(length).ok().filter(|length| *length < left).ok_or(Malformed)?;
    let start = end + 2;
    if buffer.len() < start + length + 2 {
        return Ok(None);
    }
    if buffer.get(start + length..start + length + 2) != Some(b"\r\n") {
        return Err(Malformed);
    }
    buffer.advance(start);
    let text = if length < COPY_BELOW {
        let text = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
        buffer.advance(length);
        text
    } else {
        buffer.split_to(length).freeze()
    };
    buffer.advance(2);
    Ok(Some(Token::Value(Value::Text(text))))
}

fn number(line: &[u8]) -> Result<i64, Malformed> {
    // `parse` takes a sign that the protocol does not know.
    if line.first() == Some(&b'+') {
        return Err(Malformed);
    }
    std::str::from_utf8(line).ok().and_then(|text| text.parse().ok()).ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<Option<Reply>, Malformed> {
        Decoder::default().next(&mut BytesMut::from(bytes))
    }

    fn text(text: &'static str) -> Value {
        Value::Text(Bytes::from_static(text.as_bytes()))
    }

    fn write(value: &Value, to: &mut Vec<u8>) {
        match value {
            Value::Nil => to.extend_from_slice(b"$-1\r\n"),
            Value::Int(number) => to.extend_from_slice(format!(":{number}\r\n").as_bytes()),
            Value::Text(text) => {
                to.extend_from_slice(format!("${}\r\n", text.len()).as_bytes());
                to.extend_from_slice(text);
                to.extend_from_slice(b"\r\n");
            }
            Value::Array(values) => {
                to.extend_from_slice(format!("*{}\r\n", values.len()).as_bytes());
                values.iter().for_each(|value| write(value, to));
            }
        }
    }

    #[test]
    fn every_kind_of_reply_is_read() {
        assert_eq!(read(b"+OK\r\n"), Ok(Some(Ok(text("OK")))));
        assert_eq!(read(b":-7\r\n"), Ok(Some(Ok(Value::Int(-7)))));
        assert_eq!(read(b"$-1\r\n"), Ok(Some(Ok(Value::Nil))));
        assert_eq!(read(b"*-1\r\n"), Ok(Some(Ok(Value::Nil))));
        assert_eq!(read(b"$0\r\n\r\n"), Ok(Some(Ok(text("")))));
        assert_eq!(read(b"*0\r\n"), Ok(Some(Ok(Value::Array(Vec::new())))));
        assert_eq!(read(b"-WRONGTYPE no\r\n"), Ok(Some(Err(Code::read(b"WRONGTYPE")))));
        assert_eq!(read(b"*2\r\n:1\r\n-ERR no\r\n"), Ok(Some(Err(Code::read(b"ERR")))));
    }

    #[test]
    fn what_is_no_reply_is_refused_as_soon_as_it_is_seen() {
        for wrong in [
            &b"H"[..],
            b"HTTP/1.1 400 Bad Request\r\n",
            b"$x\r\n",
            b":+1\r\n",
            b"$-2\r\n",
            b"$1\r\nabc",
            b"%1\r\n",
        ] {
            assert_eq!(read(wrong), Err(Malformed), "{}", String::from_utf8_lossy(wrong));
        }
    }

    #[test]
    fn what_is_promised_over_the_bounds_is_refused_before_it_comes() {
        assert_eq!(read(b"$1073741824\r\n"), Err(Malformed));
        assert_eq!(read(b"*1073741824\r\n"), Err(Malformed));
        assert_eq!(read(&b"*1\r\n".repeat(MAX_DEPTH + 1)), Err(Malformed));
        assert_eq!(read(&[b'+'; MAX_LINE]), Err(Malformed));
        let mut many = b"*1000000\r\n".to_vec();
        many.extend(b":1\r\n".repeat(1_000_000));
        assert_eq!(read(&many), Err(Malformed), "many small ones take room too");
        let half = MAX_REPLY / 2;
        let mut two = format!("*2\r\n${half}\r\n").into_bytes();
        two.extend(vec![b'x'; half]);
        two.extend(format!("\r\n${half}\r\n").into_bytes());
        assert_eq!(read(&two), Err(Malformed), "together they are over the bound");
    }

    #[test]
    fn a_command_is_an_array_of_strings() {
        let command = Command::new(3).arg(b"GET").joined(b"a:", b"b").number(12);
        assert_eq!(command.into_bytes(), b"*3\r\n$3\r\nGET\r\n$3\r\na:b\r\n$2\r\n12\r\n");
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<i64>().prop_map(Value::Int),
            prop::collection::vec(any::<u8>(), 0..6000).prop_map(|bytes| Value::Text(bytes.into())),
        ];
        leaf.prop_recursive(4, 24, 6, |inner| prop::collection::vec(inner, 0..6).prop_map(Value::Array))
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_however_it_is_cut(value in values(), cut in 1_usize..700) {
            let mut bytes = Vec::new();
            write(&value, &mut bytes);
            write(&Value::Int(5), &mut bytes);
            let (mut decoder, mut buffer, mut found) = (Decoder::default(), BytesMut::new(), Vec::new());
            for piece in bytes.chunks(cut) {
                buffer.extend_from_slice(piece);
                while let Some(reply) = decoder.next(&mut buffer).unwrap() {
                    found.push(reply.unwrap());
                }
            }
            prop_assert_eq!(found, [value, Value::Int(5)]);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let (mut decoder, mut buffer) = (Decoder::default(), BytesMut::from(&bytes[..]));
            while let Ok(Some(_)) = decoder.next(&mut buffer) {}
        }
    }
}
