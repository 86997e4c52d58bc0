//! Words a refusal: the rule, the place with the words that stand there, and a form that passes.

use trunkline_sql::DatabaseError;

/// A refusal on its way to be worded.
#[derive(Debug)]
pub(crate) struct Refusal {
    rule: &'static str,
    found: String,
    place: String,
}

impl Refusal {
    /// Begins one: `found` goes on after "the statement".
    pub(crate) fn new(rule: &'static str, found: impl Into<String>) -> Self {
        Self { rule, found: found.into(), place: String::new() }
    }

    /// Says where, and shows the words that stand there.
    pub(crate) fn at(mut self, sql: &str, at: usize) -> Self {
        self.place = format!(" at {}", place(sql, at));
        self
    }

    /// Ends it with what to do.
    pub(crate) fn passes(self, advice: &str) -> DatabaseError {
        let Self { rule, found, place } = self;
        DatabaseError::Refused {
            message: format!("refused by the rule `{rule}`: the statement {found}{place}; {advice}"),
        }
    }
}

/// Says where a byte stands as a person counts, and what stands there: ``line 1, column 8: `pg_sleep(1)` ``.
pub(crate) fn place(sql: &str, at: usize) -> String {
    let before = sql.get(..at).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let rest = sql.get(at..).unwrap_or_default().lines().next().unwrap_or_default();
    let shown: String = rest.chars().filter(|character| !character.is_control()).take(SHOWN).collect();
    let more = if shown.len() < rest.trim_end().len() { "..." } else { "" };
    format!("line {line}, column {column}: `{}{more}`", shown.trim_end())
}

/// Enough words to recognize the place by.
const SHOWN: usize = 40;
