//! Reads the conditions of a plan, which PostgreSQL writes with every comparison in parentheses: which columns are compared
//! how. What is not understood is passed over.

use std::borrow::Cow;

/// A column as a plan names it: its table's alias and its name.
pub(super) type Named = (String, String);

/// A comparison with at least one side that is a plain column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Comparison {
    pub(super) how: How,
    pub(super) left: Option<Named>,
    pub(super) right: Option<Named>,
}

/// What an index can do for a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// `=`, also with any of a list.
    Equal,
    /// `<`, `<=`, `>`, `>=`.
    Range,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token<'a> {
    Open,
    Close,
    Dot,
    Cast,
    /// A name or key word; a quoted one is never a key word.
    Word(Cow<'a, str>, bool),
    Operator(&'a str),
    /// A string, a number, a comma, a bracket.
    Other,
}

/// Returns the comparisons that all have to hold.
pub(super) fn comparisons(condition: &str) -> Vec<Comparison> {
    let tokens = tokens(condition);
    let mut found = Vec::new();
    collect(&tokens, 0, &mut found);
    found
}

/// Reads a sort key: the column, and whether it is descending.
pub(super) fn sort_key(key: &str) -> Option<(Named, bool)> {
    let tokens = tokens(key);
    let is_word = |token: &Token<'_>, word: &str| matches!(token, Token::Word(text, false) if text == word);
    let descends = tokens.iter().any(|token| is_word(token, "DESC"));
    // Where nulls go differs from the default of an index: it would not serve.
    if tokens.iter().any(|token| is_word(token, "NULLS") || is_word(token, "COLLATE")) {
        return None;
    }
    let end = tokens.len() - usize::from(descends);
    Some((column(tokens.get(..end)?)?, descends))
}

fn collect(tokens: &[Token<'_>], depth: u32, found: &mut Vec<Comparison>) {
    if depth > MOST_DEPTH {
        return;
    }
    if let Some(inner) = unwrapped(tokens) {
        return collect(inner, depth + 1, found);
    }
    let top = top_level(tokens);
    let is_word =
        |at: &usize, word: &str| matches!(tokens.get(*at), Some(Token::Word(text, false)) if text == word);
    if top.iter().any(|at| is_word(at, "OR") || is_word(at, "NOT") || is_word(at, "CASE")) {
        return;
    }
    let ands: Vec<usize> = top.iter().copied().filter(|at| is_word(at, "AND")).collect();
    if !ands.is_empty() {
        let mut from = 0;
        for end in ands.into_iter().chain([tokens.len()]) {
            collect(tokens.get(from..end).unwrap_or_default(), depth + 1, found);
            from = end + 1;
        }
        return;
    }
    let operators: Vec<(usize, &str)> = top
        .iter()
        .filter_map(|at| match tokens.get(*at) {
            Some(Token::Operator(operator)) => Some((*at, *operator)),
            _ => None,
        })
        .collect();
    let [(at, operator)] = operators.as_slice() else { return };
    let how = match *operator {
        "=" => How::Equal,
        "<" | "<=" | ">" | ">=" => How::Range,
        _ => return,
    };
    let left = tokens.get(..*at).and_then(column);
    let right = tokens.get(at + 1..).and_then(column);
    // A column compared with itself, or with another of its own table, is no use of an index.
    let is_own = matches!((&left, &right), (Some(left), Some(right)) if left.0 == right.0);
    if (left.is_some() || right.is_some()) && !is_own {
        found.push(Comparison { how, left, right });
    }
}

/// Returns what one pair of parentheses around everything holds.
fn unwrapped<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<&'t [Token<'a>]> {
    let (Some(Token::Open), Some(Token::Close)) = (tokens.first(), tokens.last()) else { return None };
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Open => depth += 1,
            Token::Close => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && at + 1 < tokens.len() {
            return None;
        }
    }
    tokens.get(1..tokens.len() - 1)
}

/// Returns the places of the tokens that are in no parentheses.
fn top_level(tokens: &[Token<'_>]) -> Vec<usize> {
    let mut depth = 0_usize;
    let mut top = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Open => depth += 1,
            Token::Close => depth = depth.saturating_sub(1),
            _ if depth == 0 => top.push(at),
            _ => {}
        }
    }
    top
}

/// Returns the column that an operand is, perhaps in parentheses and with a cast of text to text.
fn column(tokens: &[Token<'_>]) -> Option<Named> {
    if let Some(inner) = unwrapped(tokens) {
        return column(inner);
    }
    if let Some(cast) = top_level(tokens).into_iter().find(|at| tokens.get(*at) == Some(&Token::Cast)) {
        let is_text = matches!(tokens.get(cast + 1..), Some([Token::Word(ty, _)]) if ty == "text");
        return tokens.get(..cast).filter(|_| is_text).and_then(column);
    }
    match tokens {
        [Token::Word(alias, _), Token::Dot, Token::Word(name, _)] => {
            Some((alias.clone().into_owned(), name.clone().into_owned()))
        }
        _ => None,
    }
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '(' => (Some(Token::Open), 1),
            ')' => (Some(Token::Close), 1),
            '.' => (Some(Token::Dot), 1),
            ':' if rest.starts_with("::") => (Some(Token::Cast), 2),
            '\'' => (Some(Token::Other), quote_end(rest, '\'', false)),
            'E' if rest.starts_with("E'") => {
                (Some(Token::Other), 1 + quote_end(rest.get(1..).unwrap_or_default(), '\'', true))
            }
            '"' => {
                let end = quote_end(rest, '"', false);
                let name = rest.get(1..end.saturating_sub(1)).unwrap_or_default().replace("\"\"", "\"");
                (Some(Token::Word(Cow::Owned(name), true)), end)
            }
            _ if first.is_whitespace() => (None, first.len_utf8()),
            _ if first.is_alphabetic() || first == '_' => {
                let end =
                    rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(rest.len());
                (Some(Token::Word(Cow::Borrowed(rest.get(..end).unwrap_or_default()), false)), end)
            }
            _ if OPERATORS.contains(first) => {
                let end = rest.find(|c: char| !OPERATORS.contains(c)).unwrap_or(rest.len());
                (Some(Token::Operator(rest.get(..end).unwrap_or_default())), end)
            }
            _ => (Some(Token::Other), first.len_utf8()),
        };
        tokens.extend(token);
        rest = rest.get(length..).unwrap_or_default();
    }
    tokens
}

/// Returns where a quoted part ends, the quotes included; a doubled quote stands for itself.
fn quote_end(text: &str, quote: char, escapes: bool) -> usize {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if escapes && character == '\\' {
            characters.next();
        } else if character == quote {
            match characters.peek() {
                Some((_, next)) if *next == quote => {
                    characters.next();
                }
                _ => return at + 1,
            }
        }
    }
    text.len()
}

const OPERATORS: &str = "+-*/<>=~!@#%^&|`?";

/// Conditions nest, and one nested deeper is passed over.
const MOST_DEPTH: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn told(condition: &str) -> Vec<String> {
        let name = |named: &Option<Named>| {
            named.as_ref().map_or("?".to_owned(), |(table, column)| format!("{table}.{column}"))
        };
        comparisons(condition)
            .iter()
            .map(|one| format!("{} {:?} {}", name(&one.left), one.how, name(&one.right)))
            .collect()
    }

    #[test]
    fn comparisons_of_columns_are_found() {
        for (condition, expected) in [
            ("(o.id = 7)", vec!["o.id Equal ?"]),
            ("((o.status)::text = 'it''s (new)'::text)", vec!["o.status Equal ?"]),
            (
                "((o.a = 1) AND (o.\"B c\" >= '2020-01-01'::date) AND (o.t ~~ '%x%'::text))",
                vec!["o.a Equal ?", "o.B c Range ?"],
            ),
            ("(o.customer_id = c.id)", vec!["o.customer_id Equal c.id"]),
            ("(o.id = ANY ('{1,2}'::integer[]))", vec!["o.id Equal ?"]),
            ("((o.a = 1) OR (o.b = 2))", vec![]),
            ("(lower(o.a) = 'x'::text)", vec![]),
            ("((o.a + 1) = 2)", vec![]),
            ("((o.a)::date = '2020-01-01'::date)", vec![]),
            ("(o.a = o.b)", vec![]),
            ("(NOT o.a)", vec![]),
            ("(o.x = E'a\\'b OR (')", vec!["o.x Equal ?"]),
        ] {
            assert_eq!(told(condition), expected, "{condition}");
        }
    }

    #[test]
    fn sort_keys_are_read() {
        let named = |column: &str| ("o".to_owned(), column.to_owned());
        assert_eq!(sort_key("o.at DESC"), Some((named("at"), true)));
        assert_eq!(sort_key("o.at"), Some((named("at"), false)));
        assert_eq!(sort_key("o.at DESC NULLS LAST"), None);
        assert_eq!(sort_key("(count(*)) DESC"), None);
        assert_eq!(sort_key("DESC"), None);
    }

    proptest::proptest! {
        #[test]
        fn any_condition_is_read_without_panic(condition in ".*") {
            comparisons(&condition);
            sort_key(&condition);
        }

        #[test]
        fn any_mix_of_signs_is_read_without_panic(condition in "[()'\"E.:a= \\\\]{0,60}") {
            comparisons(&condition);
            sort_key(&condition);
        }
    }
}
