//! What a statement's words alone decide: that it is one statement, of a kind that reads, of a size that can be looked at,
//! and which functions, types and operators it names.

use std::collections::BTreeMap;

use trunkline_sql::scan::{Token, tokens, unterminated};
use trunkline_sql::{DatabaseError, Dialect};

use super::refusal::Refusal;
use crate::nature::Nature;

/// A caller's statement, its words looked at.
#[derive(Debug)]
pub(crate) struct Words<'a> {
    /// All of it.
    pub(crate) sql: &'a str,
    /// The kind of statement.
    pub(crate) form: Form,
    /// The byte at which the query begins: behind `explain` and its options, else 0.
    pub(crate) query_at: usize,
    /// Where something stands that is not understood here.
    pub(crate) unclear: Option<usize>,
    /// Where a name stands that may be a function's and is written so that it cannot be compared with the lists.
    pub(crate) hidden: Option<usize>,
    /// What it names, and the byte at which each stands first.
    pub(crate) names: Names,
}

/// Which of the kinds that read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `select`, `values`, `table`, `with`.
    Query,
    /// `show`.
    Show,
    /// `explain` of a query, which is only planned.
    ExplainQuery,
    /// `explain analyze` of a query, which is run.
    AnalyzeQuery,
    /// `explain` of a change, which is only planned.
    ExplainChange,
    /// A first word that is not known here.
    Unknown,
}

impl<'a> Words<'a> {
    /// Looks at a statement's words.
    ///
    /// # Errors
    /// [`DatabaseError::Refused`], naming the rule, the place and a form that passes.
    pub(crate) fn read(sql: &'a str) -> Result<Self, DatabaseError> {
        check_size(sql)?;
        let all: Vec<Token<'a>> = tokens(sql, Dialect::Postgres).collect();
        check_nesting(sql, &all)?;
        check_single(sql, &all)?;
        let (form, query_at) = kind(sql, &all)?;
        let nature = Nature::of(sql);
        if let Some(found) = nature.writes {
            let refusal = Refusal::new("read-only", format!("has `{found}`, which writes or locks"));
            return Err(refusal.at(sql, nature.writes_at).passes("write a query that only reads"));
        }
        let mut names = Names::default();
        let hidden = names.collect(sql, &all, None);
        let unknown = all.first().filter(|_| form == Form::Unknown).map(Token::at);
        let unclear = unknown.or(unterminated(sql, Dialect::Postgres));
        let words = Words { sql, form, query_at, unclear, hidden, names };
        words.check_constants(&all)?;
        Ok(words)
    }

    /// Refuses numbers that make a constant of many megabytes while the statement is only planned.
    fn check_constants(&self, all: &[Token<'_>]) -> Result<(), DatabaseError> {
        let (mut product, mut sum) = (1_u64, 0_u64);
        for (number, token) in all.iter().enumerate() {
            let after = all.get(number + 1..).unwrap_or_default();
            match name_of(self.sql, token) {
                Some((name, _)) if MAKE_LONG.contains(&name.as_str()) => {
                    product = product.saturating_mul(arguments(after).max(1));
                }
                // Types that are filled up to their length.
                Some((name, _)) if FILLED.contains(&name.as_str()) => {
                    sum = sum.saturating_add(arguments(after));
                }
                Some(_) => continue,
                None => sum = sum.saturating_add(exponent(token)),
            }
            if product.max(sum) > LARGEST_CONSTANT {
                let refusal = Refusal::new("constant size", "makes a value too large to plan with");
                return Err(refusal
                    .at(self.sql, token.at())
                    .passes(&format!("ask for at most {LARGEST_CONSTANT} characters or elements")));
            }
        }
        Ok(())
    }
}

/// Returns the largest whole number directly within the parentheses that follow.
fn arguments(after: &[Token<'_>]) -> u64 {
    let mut depth = 0_u32;
    let mut largest = 0;
    for token in after {
        match token {
            Token::Punctuation { text: "(" | "[", .. } => depth += 1,
            Token::Punctuation { text: ")" | "]", .. } => depth = depth.saturating_sub(1),
            Token::Literal { text, .. } => {
                let number = text.trim_matches('\'').replace('_', "").parse::<f64>().unwrap_or(0.0);
                if number.is_finite() && number > 0.0 {
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "a cast of a float to an integer ends at the largest integer"
                    )]
                    let number = number as u64;
                    largest = largest.max(number);
                }
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    largest
}

/// Returns how many digits the exponent of a number stands for: the server writes all of them.
fn exponent(token: &Token<'_>) -> u64 {
    let Token::Literal { text, .. } = token else { return 0 };
    let text = text.trim_matches('\'');
    match text.split_once(['e', 'E']) {
        Some((_, power)) if text.starts_with(|first: char| first.is_ascii_digit() || first == '.') => {
            power.parse::<i64>().map_or(0, i64::unsigned_abs)
        }
        _ => 0,
    }
}

/// The names in a text, each with a number that says where: the byte, or the number of the text.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// The names before a parenthesis, as the server folds and cuts them.
    pub(crate) calls: BTreeMap<String, usize>,
    /// The names behind a dot and not before a parenthesis: `t.f` also calls `f(t)`.
    pub(crate) members: BTreeMap<String, usize>,
    /// The operators, as runs of their characters.
    pub(crate) operators: BTreeMap<String, usize>,
    /// Every word and quoted name: types may be among them.
    pub(crate) words: BTreeMap<String, usize>,
}

impl Names {
    /// Adds what a text names, with `number` for the place if it is given; returns the byte of a name before a parenthesis or
    /// behind a dot that is written in a way that cannot be compared.
    pub(crate) fn collect(&mut self, sql: &str, all: &[Token<'_>], number: Option<usize>) -> Option<usize> {
        let mut previous: Option<&Token<'_>> = None;
        let mut run = Operator::default();
        let mut obscure = None;
        for (index, token) in all.iter().enumerate() {
            run.take(token, number, &mut self.operators);
            let Some((name, is_plain)) = name_of(sql, token) else {
                previous = Some(token);
                continue;
            };
            let at = number.unwrap_or(token.at());
            let is_member = previous.is_some_and(|before| before.is_punctuation("."));
            let next = all.get(index + 1);
            if !is_plain && next.is_some_and(|next| next.is_word("uescape")) {
                // `U&"..." uescape '!' (...)` is a call, too; whatever it is, nobody needs it.
                obscure = obscure.or(Some(token.at()));
            } else if next.is_some_and(|next| next.is_punctuation("(")) {
                obscure = obscure.or((!is_plain).then_some(token.at()));
                self.calls.entry(name.clone()).or_insert(at);
            } else if is_member {
                obscure = obscure.or((!is_plain).then_some(token.at()));
                self.members.entry(name.clone()).or_insert(at);
            }
            self.words.entry(name).or_insert(at);
            previous = Some(token);
        }
        run.end(number, &mut self.operators);
        obscure
    }
}

/// Returns a name as the server folds and cuts it, and whether it is written in a way that says so for certain.
fn name_of(sql: &str, token: &Token<'_>) -> Option<(String, bool)> {
    match token {
        Token::Word { text, .. } => Some((cut(&text.to_ascii_lowercase()), text.is_ascii())),
        // `U&"..."` keeps its escapes here.
        Token::Name { text, at, .. } => Some((cut(text), sql.as_bytes().get(*at) == Some(&b'"'))),
        // In `a[1 :f(2)]` the colon is no part of the name.
        Token::Parameter { text, .. } => {
            text.strip_prefix(':').map(|name| (cut(&name.to_ascii_lowercase()), name.is_ascii()))
        }
        _ => None,
    }
}

/// A run of operator characters without anything between.
#[derive(Debug, Default)]
struct Operator {
    text: String,
    at: usize,
}

impl Operator {
    fn take(&mut self, token: &Token<'_>, number: Option<usize>, operators: &mut BTreeMap<String, usize>) {
        match token {
            Token::Punctuation { text, at } if text.chars().all(|mark| OPERATORS.contains(mark)) => {
                if self.at + self.text.len() != *at {
                    self.end(number, operators);
                }
                if self.text.is_empty() {
                    self.at = *at;
                }
                self.text.push_str(text);
            }
            // `?` before a comma or a parenthesis counts as a placeholder elsewhere.
            Token::Parameter { text: "?", at } => {
                self.end(number, operators);
                operators.entry("?".to_owned()).or_insert(number.unwrap_or(*at));
            }
            _ => self.end(number, operators),
        }
    }

    fn end(&mut self, number: Option<usize>, operators: &mut BTreeMap<String, usize>) {
        if !self.text.is_empty() {
            operators.entry(std::mem::take(&mut self.text)).or_insert(number.unwrap_or(self.at));
        }
    }
}

fn check_size(sql: &str) -> Result<(), DatabaseError> {
    if sql.len() > LONGEST {
        let found = format!("has {} bytes", sql.len());
        return Err(Refusal::new("length", found).passes(&format!("send at most {LONGEST} bytes")));
    }
    if let Some(at) = sql.find('\0') {
        let refusal = Refusal::new("text", "has the character U+0000, which the database cannot take");
        return Err(refusal.at(sql, at).passes("leave it out"));
    }
    Ok(())
}

fn check_nesting(sql: &str, all: &[Token<'_>]) -> Result<(), DatabaseError> {
    let mut depth = 0_usize;
    for token in all {
        if token.is_punctuation("(") || token.is_punctuation("[") {
            depth += 1;
        } else if token.is_punctuation(")") || token.is_punctuation("]") {
            depth = depth.saturating_sub(1);
        }
        if depth > DEEPEST {
            let refusal = Refusal::new("nesting", format!("opens more than {DEEPEST} parentheses"));
            return Err(refusal.at(sql, token.at()).passes("use `with` to take it apart"));
        }
    }
    Ok(())
}

fn check_single(sql: &str, all: &[Token<'_>]) -> Result<(), DatabaseError> {
    let Some(first) = all.iter().find(|token| !token.is_punctuation(";")) else {
        if unterminated(sql, Dialect::Postgres).is_some() {
            return Ok(());
        }
        return Err(Refusal::new("one statement", "holds no statement").passes("send one, like `select 1`"));
    };
    let ends = all.iter().position(|token| token.is_punctuation(";") && token.at() > first.at());
    let second = ends
        .and_then(|ends| all.get(ends..).unwrap_or_default().iter().find(|token| !token.is_punctuation(";")));
    if let Some(second) = second {
        let refusal = Refusal::new("one statement", "begins a second statement");
        return Err(refusal.at(sql, second.at()).passes("send each statement in a call of its own"));
    }
    if let Some(empty) = all.first().filter(|token| token.is_punctuation(";")) {
        let refusal = Refusal::new("one statement", "ends an empty statement");
        return Err(refusal.at(sql, empty.at()).passes("leave out the first `;`"));
    }
    Ok(())
}

fn kind(sql: &str, all: &[Token<'_>]) -> Result<(Form, usize), DatabaseError> {
    let Some(first) = all.iter().find(|token| !token.is_punctuation("(")) else {
        return Ok((Form::Unknown, 0));
    };
    if is_any(first, READING) {
        return Ok((Form::Query, 0));
    }
    if first.is_word("show") {
        return Ok((Form::Show, 0));
    }
    if first.is_word("explain") {
        return explained(sql, all);
    }
    if is_any(first, CHANGING) || is_any(first, OTHERS) {
        return Err(not_reading(sql, first));
    }
    Ok((Form::Unknown, 0))
}

/// Finds what an `explain` explains, and whether it also runs it.
fn explained(sql: &str, all: &[Token<'_>]) -> Result<(Form, usize), DatabaseError> {
    let behind = |number: usize| all.get(number);
    let mut number = 1;
    let mut analyzes = false;
    if behind(1).is_some_and(|token| token.is_punctuation("("))
        && !behind(2).is_some_and(|token| token.is_punctuation("(") || is_any(token, READING))
    {
        // Whatever its value is: `analyze off` is asked for by nobody.
        while let Some(token) = behind(number).filter(|token| !token.is_punctuation(")")) {
            analyzes |= token.is_word("analyze") || token.is_word("analyse");
            number += 1;
        }
        number += 1;
    } else {
        while let Some(token) =
            behind(number).filter(|token| is_any(token, &["analyze", "analyse", "verbose"]))
        {
            analyzes |= !token.is_word("verbose");
            number += 1;
        }
    }
    let begins = behind(number);
    let at = begins.map_or(sql.len(), Token::at);
    let rest = all.get(number..).unwrap_or_default();
    match rest.iter().find(|token| !token.is_punctuation("(")) {
        Some(first) if is_any(first, READING) => {
            Ok((if analyzes { Form::AnalyzeQuery } else { Form::ExplainQuery }, at))
        }
        Some(first) if is_any(first, CHANGING) && !analyzes => Ok((Form::ExplainChange, at)),
        Some(first) if is_any(first, CHANGING) || is_any(first, OTHERS) => Err(not_reading(sql, first)),
        _ => Ok((Form::Unknown, 0)),
    }
}

fn not_reading(sql: &str, first: &Token<'_>) -> DatabaseError {
    let refusal = Refusal::new("read-only", "does more than read");
    refusal.at(sql, first.at()).passes("write `select`, `with`, `values`, `table`, `show` or `explain`")
}

fn is_any(token: &Token<'_>, keywords: &[&str]) -> bool {
    keywords.iter().any(|keyword| token.is_word(keyword))
}

/// Cuts a name as the server does: at 63 bytes, between characters.
fn cut(name: &str) -> String {
    let mut end = name.len().min(63);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.get(..end).unwrap_or_default().to_owned()
}

/// Functions whose value may be far longer than what they are given.
const MAKE_LONG: &[&str] = &["repeat", "lpad", "rpad", "array_fill", "replace"];

const FILLED: &[&str] = &["bit", "char", "character", "nchar", "bpchar"];

const READING: &[&str] = &["select", "values", "table", "with"];

const CHANGING: &[&str] = &["insert", "update", "delete", "merge"];

/// The first words of all other statements of PostgreSQL 18.
const OTHERS: &[&str] = &[
    "abort",
    "alter",
    "analyse",
    "analyze",
    "begin",
    "call",
    "checkpoint",
    "close",
    "cluster",
    "comment",
    "commit",
    "copy",
    "create",
    "deallocate",
    "declare",
    "discard",
    "do",
    "drop",
    "end",
    "execute",
    "fetch",
    "grant",
    "import",
    "listen",
    "load",
    "lock",
    "move",
    "notify",
    "prepare",
    "reassign",
    "refresh",
    "reindex",
    "release",
    "reset",
    "revoke",
    "rollback",
    "savepoint",
    "security",
    "set",
    "start",
    "truncate",
    "unlisten",
    "vacuum",
];

const OPERATORS: &str = "+-*/<>=~!@#%^&|`?";

/// Planning takes time and memory with the length of a statement, and the planner is not asked to stop as often.
const LONGEST: usize = 100_000;

const DEEPEST: usize = 200;

const LARGEST_CONSTANT: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(sql: &str) -> String {
        Words::read(sql).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_is_refused_is_told_by_rule_place_and_words() {
        for (sql, parts) in [
            ("select 1; delete from t", ["`one statement`", "line 1, column 11", "`delete from t`"]),
            ("select 1;\n\n commit ;", ["`one statement`", "line 3, column 2", "`commit"]),
            ("; select 1", ["`one statement`", "column 1", "leave out"]),
            ("set transaction read write", ["`read-only`", "column 1", "`set transaction read write`"]),
            ("explain analyze execute x", ["`read-only`", "column 17", "`execute x`"]),
            ("explain (analyze, buffers) delete from t", ["`read-only`", "column 28", "delete from"]),
            ("explain analyze create table u as select 1", ["`read-only`", "column 17", "create"]),
            ("select *\nfrom t\nfor update", ["`read-only`", "line 3, column 1", "`for update`"]),
            ("with x as (delete from t returning *) select 1", ["`read-only`", "column 12", "delete from"]),
            ("select repeat('x', 1_000_000_000)", ["`constant size`", "column 8", "1000000"]),
            ("select repeat(repeat('x', 100000), 100000)", ["`constant size`", "column 15", "1000000"]),
            ("select \"repeat\"('x', '1000000000')", ["`constant size`", "column 8", "1000000"]),
            ("select 0::bit(83886080)", ["`constant size`", "column 11", "1000000"]),
            ("select ''::char(900000), ''::\"bpchar\"(900000)", ["`constant size`", "column 30", "1000000"]),
            ("select array[1e99999, 1e999999, '1E9999999']", ["`constant size`", "column 23", "1000000"]),
            ("select 'a\0b'", ["`text`", "column 10", "U+0000"]),
            ("  ", ["`one statement`", "no statement", "select 1"]),
        ] {
            let message = refused(sql);
            assert!(parts.iter().all(|part| message.contains(part)), "{sql}: {message}");
        }
        assert!(refused(&"(".repeat(300)).contains("`nesting`"));
        assert!(refused(&format!("select '{}'", "x".repeat(LONGEST))).contains("`length`"));
    }

    #[test]
    fn what_reads_passes_and_its_names_are_known() {
        for (sql, form) in [
            ("select ';' ;", Form::Query),
            ("select $a$;drop table t;$a$", Form::Query),
            ("/* ; */ values (1) -- ;", Form::Query),
            ("(select 1)", Form::Query),
            ("table t", Form::Query),
            ("show server_version", Form::Show),
            ("explain select 1", Form::ExplainQuery),
            ("explain (select 1)", Form::ExplainQuery),
            ("explain (analyze, format json) (select 1)", Form::AnalyzeQuery),
            ("explain verbose delete from t", Form::ExplainChange),
            ("select x::char(10), y::bit(8), 'e1', '12e9', 1e3, z::bit varying(9) from t", Form::Query),
            ("selec 1", Form::Unknown),
        ] {
            match Words::read(sql) {
                Ok(words) => assert_eq!(words.form, form, "{sql}"),
                Err(error) => panic!("{sql}: {error}"),
            }
        }
        let words =
            Words::read("select a.\"F\" (1), t.g, x <-> y, -1, a[1 :h(2)] from t where b::c = '(i(1))'").ok();
        let words = words.as_ref();
        let keys =
            |map: Option<&BTreeMap<String, usize>>| map.map(|map| map.keys().cloned().collect::<Vec<_>>());
        assert_eq!(keys(words.map(|words| &words.names.calls)), Some(vec!["F".to_owned(), "h".to_owned()]));
        assert_eq!(keys(words.map(|words| &words.names.members)), Some(vec!["g".to_owned()]));
        let operators = Some(["-", "<->", "="].map(str::to_owned).to_vec());
        assert_eq!(keys(words.map(|words| &words.names.operators)), operators);
        assert!(words.is_some_and(|words| words.names.words.contains_key("c")));
    }

    #[test]
    fn what_explain_explains_begins_behind_its_options() {
        let at =
            |sql: &str| Words::read(sql).map(|words| sql.get(words.query_at..).unwrap_or("").to_owned()).ok();
        assert_eq!(at("explain (analyze, costs off) select 1").as_deref(), Some("select 1"));
        assert_eq!(at("explain analyze verbose (select 1)").as_deref(), Some("(select 1)"));
        assert_eq!(at("explain (select 1)").as_deref(), Some("(select 1)"));
    }

    #[test]
    fn names_that_cannot_be_compared_are_not_understood() {
        let hidden = |sql: &str| Words::read(sql).ok().and_then(|words| words.hidden);
        assert_eq!(hidden("select U&\"\\0066\"(1)"), Some(7));
        assert_eq!(hidden("select t.U&\"\\0066\" from t"), Some(9));
        assert_eq!(hidden("select Ä(1)"), Some(7));
        assert_eq!(hidden("select \"Ä\"(1), U&'\\0066'"), None);
        assert_eq!(hidden("select 1 limit U&\"!0066\" /* x */ UESCAPE '!' (1)"), Some(15));
        assert_eq!(hidden("select U&'!0066' uescape '!', \"f\" from t"), None);
        let unclear = |sql: &str| Words::read(sql).ok().and_then(|words| words.unclear);
        assert_eq!(unclear("select 'a"), Some(7));
        assert_eq!(unclear("frobnicate t"), Some(0));
        assert_eq!(unclear("select lower('Ä')"), None);
    }

    #[test]
    fn long_names_are_cut_where_the_server_cuts_them() {
        let name = "ä".repeat(40);
        assert_eq!(cut(&name).len(), 62);
        assert_eq!(cut("abc"), "abc");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_looked_at_without_panic(sql in ".*") {
            Words::read(&sql).ok();
        }
    }
}
