//! A JSON Schema, compiled.

use std::borrow::Cow;

use serde_json::Value;
use trunkline_service::catalog::Forms;

use super::own::{Edit, Faults, Node, Path, Walk, Wording};
use super::{bounds, broad, own};

/// A dialect of JSON Schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the dialects")]
pub enum Dialect {
    Draft4,
    Draft6,
    Draft7,
    V2019_09,
    V2020_12,
}

/// How a schema is read.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The dialect of a schema without `$schema`; 2020-12 unless set.
    pub dialect: Dialect,
    /// Whether `format` is checked; else it is a remark, as 2020-12 has it. On unless set.
    pub formats: bool,
    /// Who tells whether a text is in a form, in place of what JSON Schema says of it, where values are checked in one pass over their
    /// bytes. Nobody unless set.
    pub forms: Option<Forms>,
    /// Whether a value is completed: defaults stand for what is missing, even where it is required, and null for a member that may be
    /// missing says the same as leaving it out, which some hosts do with every optional argument. On unless set.
    pub completes: bool,
    /// Whether the service also takes what has one reading: a number written as a string for that number, a list or an object as
    /// text (which it reads itself). Off unless set.
    pub loose: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { dialect: Dialect::V2020_12, formats: true, forms: None, completes: true, loose: false }
    }
}

/// Why a schema is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// It is not one, or refers to what is not in it.
    #[error("the schema is wrong: {0}")]
    Wrong(String),
    /// It is beyond a bound.
    #[error("the schema has {found} {what}, allowed are at most {most}")]
    Beyond {
        /// What of it.
        what: &'static str,
        /// How much there is.
        found: usize,
        /// How much there may be.
        most: usize,
    },
    /// A pattern needs an engine that backtracks.
    #[error(
        "the pattern `{0}` is wrong, or too large, or has look-around or back references, which are not run on what callers send"
    )]
    Pattern(String),
    /// It is written for another dialect.
    #[error("`$schema` is `{0}`, known are drafts 4, 6, 7, 2019-09 and 2020-12 of JSON Schema")]
    Dialect(String),
    /// It refers to another document.
    #[error("`$ref` is `{0}`, and other documents are never fetched; put what it refers to into `$defs`")]
    Elsewhere(String),
}

/// A JSON Schema, compiled once and asked for every value.
#[derive(Debug)]
pub struct Schema {
    form: Form,
    options: Options,
}

#[derive(Debug)]
enum Form {
    Own(Node),
    Broad(Box<broad::Broad>),
}

impl Schema {
    /// Compiles a schema. Other documents are never fetched.
    ///
    /// # Errors
    /// Why it is not used: [`SchemaError`].
    pub fn compile(schema: &Value, options: Options) -> Result<Self, SchemaError> {
        bounds::check(schema, &options)?;
        let dialect = bounds::dialect(schema, options.dialect)?;
        let options = Options { dialect, ..options };
        let is_own = !matches!(dialect, Dialect::Draft4 | Dialect::Draft6);
        let form = match own::compile(schema, &options).filter(|_| is_own) {
            Some(node) => Form::Own(node),
            None => Form::Broad(Box::new(broad::Broad::compile(schema, &options)?)),
        };
        Ok(Self { form, options })
    }

    /// Compiles a schema for the crate alone, whatever its shape.
    ///
    /// # Errors
    /// As [`compile`](Self::compile).
    #[doc(hidden)]
    pub fn compile_broad(schema: &Value, options: Options) -> Result<Self, SchemaError> {
        bounds::check(schema, &options)?;
        let options = Options { dialect: bounds::dialect(schema, options.dialect)?, ..options };
        Ok(Self { form: Form::Broad(Box::new(broad::Broad::compile(schema, &options)?)), options })
    }

    /// Tells whether values are checked in one pass over their bytes.
    #[must_use]
    pub fn is_own(&self) -> bool {
        matches!(self.form, Form::Own(_))
    }

    /// Tells whether a value fits as it is, or with its defaults.
    #[must_use]
    pub fn is_valid(&self, text: &str) -> bool {
        let path = Path::root("value", true);
        match &self.form {
            Form::Own(node) => Walk::new(text, &self.options, None).run(node, &path).is_ok(),
            Form::Broad(broad) => broad.is_valid(text),
        }
    }

    /// Checks arguments. Returns them with what they lack, or as they are when they lack nothing.
    ///
    /// # Errors
    /// What does not fit, for a model.
    pub fn complete<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, String> {
        self.check(text, &Path::root("args", false), super::arguments::WORDING)
    }

    /// Checks a value. Returns it with the defaults that it lacks, or as it is when it lacks none.
    ///
    /// # Errors
    /// What does not fit, for a model: every place, at most ten.
    pub(super) fn check<'t>(
        &self,
        text: &'t str,
        path: &Path<'_>,
        wording: Wording,
    ) -> Result<Cow<'t, str>, String> {
        match &self.form {
            Form::Own(node) => match Walk::new(text, &self.options, None).run(node, path) {
                Ok(edits) if edits.is_empty() => Ok(Cow::Borrowed(text)),
                Ok(edits) => Ok(Cow::Owned(edited(text, &edits))),
                Err(_) => Err(explain(node, text, &self.options, path, wording)),
            },
            Form::Broad(broad) => broad.check(text, path, wording),
        }
    }
}

#[cold]
fn explain(node: &Node, text: &str, options: &Options, path: &Path<'_>, wording: Wording) -> String {
    let mut faults = Faults::default();
    match Walk::new(text, options, Some(&mut faults)).run(node, path) {
        Err(error) => format!("{}: it is no JSON: {error}", wording.refused),
        Ok(_) => faults.into_text(wording),
    }
}

/// Applies changes, which are in order and do not overlap.
pub(super) fn edited(text: &str, edits: &[Edit<'_>]) -> String {
    let more: usize = edits.iter().map(|edit| edit.text.len() + 1).sum();
    let mut out = String::with_capacity(text.len() + more);
    let mut at = 0;
    for edit in edits {
        out.push_str(text.get(at..edit.span.start as usize).unwrap_or_default());
        if edit.comma {
            out.push(',');
        }
        out.push_str(edit.text);
        at = edit.span.end as usize;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}
