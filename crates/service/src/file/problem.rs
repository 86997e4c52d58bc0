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
    /// What it means for the file.
    pub severity: Severity,
}

/// What a problem means for the file it was found in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Severity {
    /// The file is wrong (exit code 78).
    #[default]
    Wrong,
    /// Nothing is wrong with the file: something did not answer (exit code 69).
    Unavailable,
    /// It works, and someone should know better: told by `check` and at the start, and changes no exit code.
    Warning,
}

impl Problem {
    /// Makes a problem of the file at that path.
    #[must_use]
    pub fn new(path: &[&str], message: impl Into<String>) -> Self {
        let path = path.iter().map(|key| (*key).to_owned()).collect();
        Self { path, offset: None, message: message.into(), help: None, severity: Severity::Wrong }
    }

    /// Points at a byte within the value.
    #[must_use]
    pub fn at(mut self, offset: usize) -> Self {
        self.offset = Some(offset);
        self
    }

    /// Makes it a warning.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Says that something did not answer.
    #[must_use]
    pub fn unavailable(mut self) -> Self {
        self.severity = Severity::Unavailable;
        self
    }

    /// Says what to write instead.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
