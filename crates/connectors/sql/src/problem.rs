//! A fault in a declaration, told by the key it is in, so that whoever read the file can point at it.

/// Something wrong with a declared connector or tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The path of keys below the root of the file: `["tools", "search", "params", "limit", "default"]`.
    pub path: Vec<String>,
    /// The byte within the value of that key, for a place inside a statement or an expression.
    pub offset: Option<usize>,
    /// What was found, and why it is wrong: lower case, no final stop.
    pub message: String,
    /// What to write instead, when that can be said.
    pub help: Option<String>,
    /// Nothing is wrong with the file: something did not answer. Makes exit code 69 instead of 78.
    pub unavailable: bool,
}

impl Problem {
    /// Makes a problem of the file at that path.
    #[must_use]
    pub fn new(path: &[&str], message: impl Into<String>) -> Self {
        let path = path.iter().map(|key| (*key).to_owned()).collect();
        Self { path, offset: None, message: message.into(), help: None, unavailable: false }
    }

    /// Points at a byte within the value.
    #[must_use]
    pub fn at(mut self, offset: usize) -> Self {
        self.offset = Some(offset);
        self
    }

    /// Says what to write instead.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
