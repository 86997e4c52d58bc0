//! Tells from a statement's words what it is: whether it reads, whether its columns may be null.
//!
//! This is no parser and no boundary: the server itself holds a read-only statement to reading. What is found here only
//! chooses a lane, loosens a schema, and refuses early what the server would refuse at every call.

use trunkline_sql::scan::{Token, tokens};
use trunkline_sql::{DatabaseError, Dialect};

/// What the words of a statement say of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Nature {
    /// How it begins.
    pub(crate) kind: Kind,
    /// What in it certainly writes or locks, in its own words: `delete from`.
    pub(crate) writes: Option<&'static str>,
    /// The byte at which that stands.
    pub(crate) writes_at: usize,
    /// Whether a word in it could belong to a write or a row lock. Never wrongly false.
    pub(crate) may_write: bool,
    /// Whether a NOT NULL column can still come out null: outer joins, grouping sets, set operations.
    pub(crate) adds_nulls: bool,
}

/// How a statement begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Kind {
    /// `select`, `values`, `table`, `with`, or a parenthesis before one of them.
    Query,
    /// `insert`, `update`, `delete`, `merge`.
    Change,
    /// `show` or `explain`.
    Inspect,
    /// Anything else.
    #[default]
    Other,
}

impl Nature {
    /// Reads a statement's words.
    pub(crate) fn of(sql: &str) -> Self {
        let tokens: Vec<_> = tokens(sql, Dialect::Postgres).collect();
        let mut nature = Self { kind: kind(&tokens), ..Self::default() };
        for (at, token) in tokens.iter().enumerate() {
            let before = at.checked_sub(1).and_then(|before| tokens.get(before));
            let after = tokens.get(at + 1..).unwrap_or_default();
            if nature.writes.is_none() {
                nature.writes = certain_write(before, token, after);
                nature.writes_at = token.at();
            }
            nature.may_write |= is_any(token, &["insert", "update", "delete", "merge", "into", "share"]);
            // `left(` is the function, `left join` the join.
            nature.adds_nulls |= is_any(token, &["left", "right", "full"]) && !is_called(token)
                || is_any(token, &["grouping", "rollup", "cube", "union", "intersect", "except"])
                // What `returning old.x` says of an inserted row is null.
                || is_any(token, &["old", "new"]) && after.first().is_some_and(|next| next.is_punctuation("."));
        }
        if nature.writes.is_none() {
            nature.writes = analyzed_write(&tokens);
            nature.writes_at = tokens.first().map_or(0, Token::at);
        }
        nature
    }

    /// Refuses what a read-only tool could never run, so that `check` says it and not a customer's call.
    ///
    /// # Errors
    /// [`DatabaseError::Refused`], naming the words.
    pub(crate) fn admit_reading(&self, sql: &str) -> Result<(), DatabaseError> {
        let found = match (self.kind, self.writes) {
            (_, Some(words)) => words.to_owned(),
            (Kind::Query | Kind::Inspect, None) => return Ok(()),
            (Kind::Change | Kind::Other, None) => match tokens(sql, Dialect::Postgres).next() {
                Some(Token::Word { text, .. }) => text.to_ascii_lowercase(),
                // The server words the syntax error better.
                _ => return Ok(()),
            },
        };
        let message = format!(
            "the tool is read-only and the statement has `{found}`; write a statement that only reads, \
             or set `access = \"read-write\"` on the connector and on the tool"
        );
        Err(DatabaseError::Refused { message })
    }
}

fn kind(tokens: &[Token<'_>]) -> Kind {
    match tokens.iter().find(|token| !token.is_punctuation("(")) {
        Some(word) if is_any(word, &["select", "values", "table", "with"]) => Kind::Query,
        Some(word) if is_any(word, &["insert", "update", "delete", "merge"]) => Kind::Change,
        Some(word) if is_any(word, &["show", "explain"]) => Kind::Inspect,
        _ => Kind::Other,
    }
}

/// Finds the write that `explain analyze` would carry out.
fn analyzed_write(tokens: &[Token<'_>]) -> Option<&'static str> {
    let (_, rest) = tokens.split_first().filter(|(first, _)| first.is_word("explain"))?;
    let is_option = |token: &&Token<'_>| {
        !is_any(token, &["select", "values", "table", "with", "insert", "update", "delete", "merge"])
    };
    let options = rest.iter().take_while(is_option).count();
    let begins = rest.get(options)?;
    let analyzes = rest.iter().take(options).any(|token| token.is_word("analyze"));
    let words = [
        ("insert", "explain analyze insert"),
        ("update", "explain analyze update"),
        ("delete", "explain analyze delete"),
        ("merge", "explain analyze merge"),
    ];
    words.into_iter().find(|(word, _)| analyzes && begins.is_word(word)).map(|(_, words)| words)
}

fn is_any(token: &Token<'_>, keywords: &[&str]) -> bool {
    keywords.iter().any(|keyword| token.is_word(keyword))
}

fn is_called(token: &Token<'_>) -> bool {
    matches!(token, Token::Word { called: true, .. } | Token::Name { called: true, .. })
}

/// Finds words that can only be a write or a row lock. `insert`, `update` and `delete` are also allowed as column names,
/// so they count only where a statement begins: after a parenthesis.
fn certain_write(before: Option<&Token<'_>>, token: &Token<'_>, after: &[Token<'_>]) -> Option<&'static str> {
    let next = |at: usize, word: &str| after.get(at).is_some_and(|token| token.is_word(word));
    let begins = before.is_some_and(|token| token.is_punctuation("(") || token.is_punctuation(")"));
    if token.is_word("for") {
        return if next(0, "update") || next(0, "no") && next(1, "key") && next(2, "update") {
            Some("for update")
        } else if next(0, "share") || next(0, "key") && next(1, "share") {
            Some("for share")
        } else {
            None
        };
    }
    if token.is_word("into") && !before.is_some_and(|token| is_any(token, &["insert", "merge"])) {
        return Some("select into");
    }
    if begins && token.is_word("insert") && next(0, "into") {
        return Some("insert into");
    }
    if begins && token.is_word("merge") && next(0, "into") {
        return Some("merge into");
    }
    if begins && token.is_word("delete") && next(0, "from") {
        return Some("delete from");
    }
    // `update only schema . table as alias set`.
    let sets = after.iter().take(7).any(|token| token.is_word("set"));
    (begins
        && token.is_word("update")
        && matches!(after.first(), Some(Token::Word { .. } | Token::Name { .. }))
        && sets)
        .then_some("update")
}

/// Returns the statement without the semicolons behind its last token and what follows them.
pub(crate) fn without_tail(sql: &str) -> &str {
    let mut end = None;
    for token in tokens(sql, Dialect::Postgres) {
        end = match token {
            Token::Punctuation { text: ";", at } => end.or(Some(at)),
            _ => None,
        };
    }
    sql.get(..end.unwrap_or(sql.len())).unwrap_or(sql)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_refused_by_name_and_columns_named_like_them_are_not() {
        let refused = |sql: &str| Nature::of(sql).admit_reading(sql).err().map(|error| error.to_string());
        for (sql, words) in [
            ("with x as (delete from t returning *) select * from x", "`delete from`"),
            ("WITH x AS (SELECT 1) UPDATE t SET a = 1", "`update`"),
            ("select * from t for no key update", "`for update`"),
            ("select * into u from t", "`select into`"),
            ("/* x */ DELETE FROM t", "`delete`"),
            ("explain (analyze, costs off) delete from t", "`delete from`"),
            ("explain analyze delete from t", "`explain analyze delete`"),
            ("explain analyze verbose update t set a = 1", "`explain analyze update`"),
            ("do $$begin delete from t; end$$", "`do`"),
            ("set transaction read write", "`set`"),
        ] {
            let message = refused(sql).unwrap_or_default();
            assert!(message.contains(words), "{sql}: {message}");
        }
        for sql in [
            "select delete, update, \"insert\" from t where (update is null)",
            "table t",
            "(select 1)",
            "explain select 1",
            "explain analyze select 1",
            "explain delete from t",
            "select ';delete from t'",
            "select substring(a from 1 for 2) from t",
        ] {
            assert_eq!(refused(sql), None, "{sql}");
        }
    }

    #[test]
    fn only_joins_that_add_nulls_are_counted() {
        assert!(Nature::of("select a from t left join u using (a)").adds_nulls);
        assert!(Nature::of("select a from t union all select a from u").adds_nulls);
        assert!(!Nature::of("select left(a, 1), right (a, 1) from t join u using (a)").adds_nulls);
    }

    #[test]
    fn the_tail_is_cut_before_its_first_semicolon() {
        assert_eq!(without_tail("select ';' -- a;\n ; ; /* b */"), "select ';' -- a;\n ");
        assert_eq!(without_tail("select 1"), "select 1");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_looked_at_without_panic(sql in ".*") {
            Nature::of(&sql).admit_reading(&sql).ok();
            without_tail(&sql);
        }
    }
}
