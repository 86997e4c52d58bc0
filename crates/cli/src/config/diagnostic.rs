//! A problem of the config file, and the forms it is shown in: a marked excerpt for people, members for programs.

use std::fmt::Write as _;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use trunkline_sql::{Problem, Severity};

use super::document::Document;
use super::secret::secret_at;

/// Something wrong in a config file, at a place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Diagnostic {
    /// The path of keys, joined by dots.
    pub(crate) key: String,
    /// The bytes of the file it is about.
    pub(crate) span: Range<usize>,
    /// What was found and why it is wrong.
    pub(crate) message: String,
    /// What to do.
    pub(crate) help: Option<String>,
    /// What it means for the file.
    pub(crate) severity: Severity,
}

impl Diagnostic {
    /// Places a problem that a connector or tool has with its part of the file.
    pub(crate) fn from_problem(problem: Problem, document: &Document) -> Self {
        let span = match problem.offset {
            Some(offset) => document.span_within(&problem.path, offset),
            None => document.span(&problem.path),
        };
        let Problem { path, message, help, severity, .. } = problem;
        let (message, help) = (document.clean(message), help.map(|help| document.clean(help)));
        Self { key: key_of(&path), span, message, help, severity }
    }

    /// Makes a problem of the key at `path`.
    pub(crate) fn at<S: AsRef<str>>(document: &Document, path: &[S], message: impl Into<String>) -> Self {
        let (span, message) = (document.span(path), message.into());
        Self { key: key_of(path), span, message, help: None, severity: Severity::Wrong }
    }

    /// Says what to do.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Returns the members of `check --output json`.
    pub(crate) fn to_json(&self, document: &Document) -> serde_json::Value {
        let (line, column) = document.position(self.span.start);
        let message = match &self.help {
            Some(help) => format!("{}; {help}", self.message),
            None => self.message.clone(),
        };
        let file = document.path().to_string_lossy();
        serde_json::json!({ "file": file, "line": line, "column": column, "key": self.key, "message": message })
    }

    /// Returns it on one line: `trunkline.toml:3:1: unknown key`.
    pub(crate) fn one_line(&self, document: &Document) -> String {
        let (line, column) = document.position(self.span.start);
        let mut text = format!("{}:{line}:{column}: {}", document.path().display(), self.message);
        if let Some(help) = &self.help {
            // Writing to a string cannot fail.
            let _ = write!(text, "; {help}");
        }
        text
    }
}

/// How a terminal or a file shows diagnostics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// With colours, for lines of that many columns.
    Terminal(usize),
    /// Text alone.
    Plain,
}

/// Writes every diagnostic with the marked lines of the file. Literal secrets in the excerpts are asterisks.
pub(crate) fn render(diagnostics: &[Diagnostic], document: &Document, style: Style) -> String {
    let renderer = match style {
        Style::Terminal(width) => Renderer::styled().term_width(width),
        Style::Plain => Renderer::plain(),
    };
    let source = document.masked(&secret_at);
    let path = document.path().to_string_lossy();
    let mut sorted: Vec<&Diagnostic> = diagnostics.iter().collect();
    sorted.sort_by_key(|diagnostic| diagnostic.span.start);
    let mut out = String::new();
    for diagnostic in sorted {
        let span = within(&source, &diagnostic.span);
        let mark = AnnotationKind::Primary
            .span(span)
            .label((!diagnostic.key.is_empty()).then(|| format!("in `{}`", diagnostic.key)));
        let level = match diagnostic.severity {
            Severity::Wrong | Severity::Unavailable => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = level
            .primary_title(diagnostic.message.as_str())
            .element(Snippet::source(source.as_str()).path(path.as_ref()).annotation(mark));
        if let Some(help) = &diagnostic.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        out.push_str(&renderer.render(&[group]));
        out.push_str("\n\n");
    }
    out
}

/// Keeps a span inside the text, on character borders and on one line.
fn within(text: &str, span: &Range<usize>) -> Range<usize> {
    let mut start = span.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = span.end.clamp(start, text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    let line = text.get(start..end).and_then(|marked| marked.find('\n'));
    start..line.map_or(end, |line| start + line)
}

/// Joins keys with dots, quoting those that are not bare.
pub(crate) fn key_of<S: AsRef<str>>(path: &[S]) -> String {
    let mut out = String::new();
    for key in path {
        let key = key.as_ref();
        if !out.is_empty() {
            out.push('.');
        }
        let bare = !key.is_empty()
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if bare {
            out.push_str(key);
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "{key:?}");
        }
    }
    out
}
