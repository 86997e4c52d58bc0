//! Why the store did not do what it was asked, and whether it may have done it all the same.

use std::fmt;

/// Why a command was not answered. Nothing in it comes from a key, a value or an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store is not reached, or too much waits for it already: nothing was done.
    #[error("the store is not reached: {0}; nothing was done")]
    Down(&'static str),
    /// No answer came in the time a command may take: it may have been done, now or later.
    #[error("the store did not answer in time; the command may have been done")]
    Late,
    /// The connection ended after the command had left and before its answer came: it may have been done.
    #[error("the connection to the store ended before the answer came; the command may have been done")]
    Unknown,
    /// The store answered that it does not do that.
    #[error("the store refused the command with `{0}`")]
    Refused(Code),
    /// The store answered something that the command cannot have as its answer.
    #[error("the store gave an answer of another kind than the command has")]
    Unexpected,
}

/// The code of a server that follows another one.
const READ_ONLY: &[u8] = b"READONLY";

/// The word an error of the store begins with, such as `NOPERM`. What follows it is never kept: it may repeat what was sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code {
    text: [u8; Self::MAX],
    length: u8,
}

impl Code {
    /// The longest code that is kept, in bytes.
    const MAX: usize = 24;

    /// Reads the code at the beginning of an error's line; `ERR` when there is none.
    #[must_use]
    pub fn read(line: &[u8]) -> Self {
        let word = line.split(|byte| *byte == b' ').next().unwrap_or_default();
        // Redis 6 has the code of what a script ran into somewhere inside; this one says that another server is the primary.
        let is_read_only = line.windows(READ_ONLY.len()).any(|part| part == READ_ONLY);
        let word = if is_read_only { READ_ONLY } else { word };
        let is_code = !word.is_empty()
            && word.len() <= Self::MAX
            && word.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'_');
        let word = if is_code { word } else { b"ERR" };
        let mut text = [0; Self::MAX];
        text.iter_mut().zip(word).for_each(|(to, from)| *to = *from);
        Self { text, length: u8::try_from(word.len()).unwrap_or(0) }
    }

    /// Returns the code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let text = self.text.get(..usize::from(self.length)).unwrap_or_default();
        std::str::from_utf8(text).unwrap_or_default()
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_error_only_its_code_is_kept() {
        let code = |line: &str| Code::read(line.as_bytes()).to_string();
        assert_eq!(code("NOSCRIPT No matching script."), "NOSCRIPT");
        assert_eq!(code("ERR unknown command 'x', with args beginning with: 'secret'"), "ERR");
        assert_eq!(code("secret"), "ERR");
        assert_eq!(
            code("ERR Error running script (call to f_1): @user_script:1: -READONLY You can't"),
            "READONLY"
        );
        assert_eq!(code(&"A".repeat(25)), "ERR");
        assert_eq!(code(""), "ERR");
    }
}
