//! Statements of both dialects, and any text at all.

use super::*;
use proptest::prelude::*;

fn postgres(sql: &str) -> Scanned {
    Scanned::parse(sql, Dialect::Postgres).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

fn sqlite(sql: &str) -> Scanned {
    Scanned::parse(sql, Dialect::Sqlite).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

#[test]
fn a_name_used_twice_is_one_parameter() {
    let scanned = postgres("select :a, :b where x = :a");
    assert_eq!(scanned.names, ["a", "b"]);
    assert_eq!(scanned.render(), "select $1, $2 where x = $1");
    assert_eq!(sqlite("select :a,:b,:a").render(), "select ?1,?2,?1");
}

#[test]
fn postgres_text_that_only_looks_like_a_parameter_is_none() {
    for sql in [
        "select ':a', ':it''s :b'",
        r"select E'\':a', e'\\', 1",
        "select U&':a', U&\":b\", B'1', X'0f', N':c'",
        "select \":a\", \"x\"\":b\"",
        "select $$:a$$, $tag$ :b $$ :c $tag$, $_1$:d$_1$",
        "select 1 -- :a\n, 2 /* :b /* :c */ :d */",
        "select a::text, '1'::int, (1)::numeric(10,2), b :: text",
        "select a[1:2], a[lo:hi], a[:2], a[1:], a[(f(x)):y], a[b[1]:c]",
        "select f(a := 1, b => 2)",
        "select json_object('k':v, 'l' : 2)",
        "select data ? 'a', data ?| array['a'], data ?& x from t",
        "select foo$1, a$b$c",
    ] {
        let scanned = postgres(sql);
        assert!(scanned.names.is_empty(), "{sql}: {:?}", scanned.names);
        assert_eq!(scanned.render(), sql);
    }
}

#[test]
fn sqlite_text_that_only_looks_like_a_parameter_is_none() {
    for sql in [
        "select ':a', \":b\", `:c`, [:d], x'00'",
        "select 1 -- :a\n, 2 /* /* :b */",
        "select a -> '$.x:y', 'it''s :a'",
        "select a$b from t",
    ] {
        let scanned = sqlite(sql);
        assert!(scanned.names.is_empty(), "{sql}: {:?}", scanned.names);
        assert_eq!(scanned.render(), sql);
    }
}

#[test]
fn parameters_are_found_next_to_everything_they_may_stand_next_to() {
    let names = |sql| postgres(sql).names.join(" ");
    assert_eq!(names("select :a::text, ( :b ), array[:c,:d], x[:e]"), "a b c d e");
    assert_eq!(names("select array[case when true then :a end], x[1: :b]"), "a b");
    assert_eq!(names("select ':x' || :a || $$:y$$ || :b"), "a b");
    assert_eq!(names("select *from t where a=:a and b<:b limit:c"), "a b c");
    assert_eq!(names("select d -> :a, d ? :b, -:c, 1/:d"), "a b c d");
    assert_eq!(names("/* /* */ :no */ select :a --:no"), "a");
    assert_eq!(names("select /*:no*/:a/*:no*/,E'\\'':b"), "a", "a colon right behind a string separates");
    assert_eq!(sqlite("select json_object('a',:a),:b||[c]:d").names.join(" "), "a b d");
    assert_eq!(sqlite("select 1/* /* */,:a").names.join(" "), "a", "comments do not nest in SQLite");
    assert_eq!(postgres("limit:n").render(), "limit $1", "a dollar would belong to the word");
}

#[test]
fn placeholders_of_the_database_are_refused_by_naming_ours() {
    for (sql, dialect, offset) in [
        ("select $1", Dialect::Postgres, 7),
        ("where a = ?", Dialect::Postgres, 10),
        ("in (?, ?)", Dialect::Postgres, 4),
        ("where a = ?1", Dialect::Postgres, 10),
        ("select ?", Dialect::Sqlite, 7),
        ("select ?12", Dialect::Sqlite, 7),
        ("select @a", Dialect::Sqlite, 7),
        ("select $a", Dialect::Sqlite, 7),
    ] {
        let error = Scanned::parse(sql, dialect).unwrap_err();
        assert_eq!(error.offset, offset, "{sql}");
        assert!(error.help.unwrap().contains("`:name`"), "{sql}");
    }
}

#[test]
fn what_has_no_end_is_told_where_it_begins() {
    for (sql, offset, what) in [
        ("select 'a", 7, "string"),
        ("select \"a", 7, "quoted name"),
        ("select 1 /* a /* */", 9, "comment"),
        ("select $x$ a $y$", 7, "dollar-quoted string"),
        (r"select E'\'", 8, "string"),
    ] {
        let error = Scanned::parse(sql, Dialect::Postgres).unwrap_err();
        assert_eq!((error.offset, error.message), (offset, format!("this {what} has no end")), "{sql}");
    }
}

#[test]
fn names_that_hosts_refuse_are_refused() {
    for sql in ["select :größe", "select :a$b", &format!("select :{}", "a".repeat(65))] {
        assert!(
            Scanned::parse(sql, Dialect::Postgres).unwrap_err().message.contains("no parameter name"),
            "{sql}"
        );
    }
    assert!(Scanned::parse("select :1", Dialect::Sqlite).is_err());
    let many: String = (0..=MAX_PARAMETERS).map(|number| format!(":p{number},")).collect();
    assert!(Scanned::parse(&many, Dialect::Postgres).unwrap_err().message.contains("more than 128"));
}

#[test]
fn a_place_in_the_rendered_text_is_found_in_the_source() {
    let scanned = postgres("select :customer, nmae from t where limit:n = x");
    let rendered = scanned.render();
    assert_eq!(rendered, "select $1, nmae from t where limit $2 = x");
    let source = |word: &str| scanned.source_offset(rendered.find(word).unwrap());
    assert_eq!(source("select"), 0);
    assert_eq!(source("$1"), 7);
    assert_eq!(source("nmae"), 18);
    assert_eq!(source("$2"), 41);
    assert_eq!(source("= x"), 44);
    assert_eq!(scanned.source_offset(rendered.len()), 47);
    assert_eq!(scanned.first_use("n"), Some(41));
}

#[test]
fn tokens_tell_calls_from_words() {
    let sql = "select now(), \"Odd\"\"Name\" (1), a from t for /* x */ update of t; -- end";
    let called: Vec<String> = tokens(sql, Dialect::Postgres)
        .filter_map(|token| match token {
            Token::Word { text, called: true, .. } => Some(text.to_owned()),
            Token::Name { text, called: true, .. } => Some(text.into_owned()),
            _ => None,
        })
        .collect();
    assert_eq!(called, ["now", "Odd\"Name"]);
    let all: Vec<Token<'_>> = tokens(sql, Dialect::Postgres).collect();
    assert!(all.windows(2).any(|pair| pair[0].is_word("FOR") && pair[1].is_word("update")));
    assert!(all.last().unwrap().is_punctuation(";"));
}

fn sql() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("'".to_owned()),
        Just("\"".to_owned()),
        Just("$$".to_owned()),
        Just("$a$".to_owned()),
        Just("/*".to_owned()),
        Just("*/".to_owned()),
        Just("--".to_owned()),
        Just("\n".to_owned()),
        Just("::".to_owned()),
        Just(":a".to_owned()),
        Just(":b ".to_owned()),
        Just("[1:2]".to_owned()),
        Just("E'\\".to_owned()),
        Just("`".to_owned()),
        Just(" x ".to_owned()),
        Just("1".to_owned()),
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 20_000, ..ProptestConfig::default() })]
    #[test]
    fn any_text_is_scanned_without_panic_and_kept_but_for_the_names(sql in sql(), is_postgres: bool) {
        let dialect = if is_postgres { Dialect::Postgres } else { Dialect::Sqlite };
        let count = tokens(&sql, dialect).count();
        prop_assert!(count <= sql.len());
        let Ok(scanned) = Scanned::parse(&sql, dialect) else { return Ok(()) };
        let rendered = scanned.render();
        // Putting the names back gives the source, but for the spaces put before placeholders.
        let mut back = String::new();
        let mut at = 0;
        for used in &scanned.uses {
            let between = &rendered[at..used.rendered.0];
            let source = &sql[back.len()..used.source.0];
            prop_assert!(between == source || between.strip_suffix(' ') == Some(source));
            back.push_str(source);
            back.push_str(&sql[used.source.0..used.source.1]);
            at = used.rendered.1;
        }
        back.push_str(&rendered[at..]);
        prop_assert_eq!(&back, &sql);
        for offset in 0..=rendered.len() {
            prop_assert!(scanned.source_offset(offset) <= sql.len());
        }
        // A text without parameters is its own rendering, and scanning is repeatable.
        if scanned.names.is_empty() {
            prop_assert_eq!(&rendered, &sql);
        }
        prop_assert_eq!(Scanned::parse(&sql, dialect).unwrap(), scanned);
    }
}
