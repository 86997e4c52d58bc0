//! Checks and evaluations of whole expressions.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn scope(expected: Option<Expected>) -> Scope {
    let args = [
        ("query", ArgType::String),
        ("limit", ArgType::Integer),
        ("price", ArgType::Number),
        ("open", ArgType::Boolean),
        ("extra", ArgType::Any),
        ("tags", ArgType::List(Box::new(ArgType::String))),
    ];
    Scope { args: args.into_iter().map(|(name, of)| (name.to_owned(), of)).collect(), expected }
}

fn args() -> Map<String, Value> {
    let args = json!({
        "query": "50%_off\\", "limit": 7, "price": "0.50", "open": true, "extra": {"deep": [1, 2.5]}, "tags": ["a", "b"],
    });
    args.as_object().cloned().unwrap()
}

fn caller() -> Caller {
    let claims = json!({ "tenant": "acme", "address": { "city": "Bern" }, "a.b": 1, "groups": ["x", "support"], "level": 3 });
    Caller {
        issuer: Some("https://login.example.com".into()),
        subject: "ada".into(),
        claims: claims.as_object().cloned().unwrap(),
        scopes: vec!["read".into()],
        roles: vec!["support".into(), "staff".into()],
        is_local: false,
        ..Caller::default()
    }
}

fn run(source: &str) -> Result<Value, EvaluationError> {
    let expression =
        Expression::compile(source, &scope(None)).unwrap_or_else(|error| panic!("{source}: {error:?}"));
    expression.evaluate(&args(), &caller())
}

fn refused(source: &str, expected: Option<Expected>) -> String {
    let error = Expression::compile(source, &scope(expected)).expect_err(source);
    let help = error.help.map(|help| format!(" ({help})")).unwrap_or_default();
    format!("{}: {}{help}", error.offset, error.message)
}

#[test]
fn expressions_come_to_what_they_say() {
    let table = [
        ("'%' + like_escape(args.query) + '%'", json!("%50\\%\\_off\\\\%")),
        ("args.limit * 2 + 1", json!(15)),
        ("args.price * 2.0", json!(1.0)),
        ("args.price > 0", json!(true)),
        ("args.open ? 'yes' : 'no'", json!("yes")),
        ("args.open ? null : 'no'", json!(null)),
        ("args.extra.deep[1]", json!(2.5)),
        ("args.extra.deep", json!([1, 2.5])),
        ("args.tags.map(tag, tag + '!')", json!(["a!", "b!"])),
        ("args.tags.filter(tag, tag != 'a').size()", json!(1)),
        ("args.tags.exists(tag, tag in caller.claims.groups)", json!(false)),
        ("args.tags.all(one, args.tags.exists(other, one == other))", json!(true)),
        ("'support' in caller.roles && 'read' in caller.scopes", json!(true)),
        ("caller.subject + '@' + safe_name(caller.claims.tenant)", json!("ada@acme")),
        ("caller.claims.address.city", json!("Bern")),
        ("caller.claims['a.b']", json!(1)),
        ("has(caller.claims.tenant) && !has(caller.claims.absent)", json!(true)),
        ("has(args.query)", json!(true)),
        ("caller.claims.level >= 2.5", json!(true)),
        ("string(args.limit) + 'x'", json!("7x")),
        ("args.query.startsWith('50') && args.query.matches('^[0-9]+%')", json!(true)),
        ("{'a': args.limit}", json!({ "a": 7 })),
        ("[].map(x, x)", json!([])),
    ];
    for (source, wanted) in table {
        assert_eq!(run(source), Ok(wanted), "{source}");
    }
}

#[test]
fn an_argument_not_given_is_null() {
    for (source, wanted) in [
        ("args.query == null ? '%' : args.query + '%'", json!("%")),
        ("has(args.query) ? 'given' : 'not given'", json!("not given")),
        ("args.query", json!(null)),
    ] {
        let expression = Expression::compile(source, &scope(Some(Expected::String))).expect(source);
        assert_eq!(expression.evaluate(&Map::new(), &Caller::local()), Ok(wanted), "{source}");
        assert_eq!(expression.uses_args().collect::<Vec<_>>(), ["query"]);
    }
}

#[test]
fn mistakes_are_told_with_their_place() {
    let table = [
        ("args.qery", "4: there is no argument `qery` (did you mean `args.query`?)"),
        ("'é' + args.qery", "11: there is no argument `qery` (did you mean `args.query`?)"),
        ("query + 'x'", "0: there is no `query` (write `args.query`)"),
        ("subject", "0: there is no `subject` (write `caller.subject`)"),
        ("calller.subject", "0: there is no `calller` (did you mean `caller`?)"),
        ("wholly", "0: there is no `wholly` (the names are `args` and `caller`; text is written in quotes)"),
        (
            "caller.tenant",
            "6: `caller` has no `tenant` (`caller` has `claims`, `issuer`, `roles`, `scopes`, `subject`; what the token says is in `caller.claims`)",
        ),
        ("caller.role", "6: `caller` has no `role` (did you mean `caller.roles`?)"),
        ("args", "0: `args` is no value by itself (name the argument: `args.NAME`)"),
        ("args['query']", "0: `args` is no value by itself (name the argument: `args.NAME`)"),
        ("args.limit + args.query", "11: `+` does not fit int and string (make text of it: `string(...)`)"),
        (
            "args.limit + 1.5",
            "11: `+` does not fit int and double (convert one side: `double(...)` or `int(...)`)",
        ),
        ("args.query == 1", "11: `==` does not fit string and int"),
        ("args.query < null", "11: `<` does not fit string and null"),
        ("!args.query", "0: `!` does not fit string"),
        ("args.limit ? 1 : 2", "11: the condition of `? :` is int, not bool"),
        ("args.open ? 1 : 'a'", "10: the two results of `? :` are int and string; both must be of one type"),
        ("1 in args.tags", "2: `in` does not fit int and list of string"),
        ("like_escap(args.query)", "10: there is no function `like_escap()` (did you mean `like_escape`?)"),
        ("like_escape(args.limit)", "11: there is no `like_escape(int)` (write `like_escape(text)`)"),
        ("args.query.like_escape()", "22: there is no function `.like_escape()` (write `like_escape(text)`)"),
        (
            "now()",
            "3: there is no function `now()` (the functions are `bool`, `bytes`, `double`, `dyn`, `has`, `int`, `like_escape`, `matches`, `safe_name`, `size`, `string`, `uint`)",
        ),
        ("args.tags.map(x)", "13: there is no function `.map()` (write `list.map(x, value)`)"),
        ("args.query.contains(3)", "19: string has no `contains(int)` (write `text.contains(part)`)"),
        ("args.query.map(x, x)", "4: string cannot be looped over"),
        ("args.query.length", "10: string has no member `length`"),
        ("args.query.matches(args.query)", "23: the pattern of `matches` must be written in quotes"),
        ("args.query.matches('(')", "19: the pattern is no regular expression"),
        ("args.tags.map(args, 1)", "13: `args` cannot be the name of a loop variable"),
        ("Thing{a: 1}", "5: there is no type `Thing` (write a map: `{\"key\": value}`)"),
    ];
    for (source, wanted) in table {
        assert_eq!(refused(source, None), wanted, "{source}");
    }
}

#[test]
fn the_result_must_be_what_is_wanted() {
    assert_eq!(
        refused("args.limit", Some(Expected::String)),
        "4: the expression comes to int; a string is wanted (write `string(...)` around it)"
    );
    assert_eq!(
        refused("args.query", Some(Expected::Integer)),
        "4: the expression comes to string; an int is wanted (write `int(...)` around it)"
    );
    assert_eq!(
        refused("args.tags", Some(Expected::Boolean)),
        "4: the expression comes to list of string; a bool is wanted"
    );
    let level = Expression::compile("caller.claims.level", &scope(Some(Expected::String))).unwrap();
    assert_eq!(level.evaluate(&args(), &caller()).unwrap_err().to_string(), "the result is not a string");
}

#[test]
fn a_syntax_error_points_at_its_place() {
    let error = Expression::compile("'é' +\n  args.query +", &scope(None)).unwrap_err();
    assert_eq!((error.offset, error.message.as_str()), (21, "mismatched input `end of the expression`"));
    assert!(Expression::compile("", &scope(None)).is_err());
    assert!(Expression::compile("args.?query", &scope(None)).is_err());
}

#[test]
fn length_depth_and_loops_are_bounded() {
    let long = format!("'{}'", "a".repeat(MAX_SOURCE));
    assert!(refused(&long, None).contains("at most 4096"));
    let chain = vec!["1"; 300].join("+");
    assert!(refused(&chain, None).contains("nested deeper"));
    let nested = format!("{}1{}", "(".repeat(500), ")".repeat(500));
    assert!(Expression::compile(&nested, &scope(None)).is_err());
    assert!(refused("args.tags.map(a, args.tags.map(b, args.tags.map(c, 1)))", None).contains("loops"));
    let expression = Expression::compile("args.tags.map(a, args.tags.map(b, a + b))", &scope(None)).unwrap();
    let many = json!({ "tags": vec!["x"; 1001] });
    let error = expression.evaluate(many.as_object().unwrap(), &caller()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`tags` has a list of more than 1000 elements, too many for a loop inside a loop"
    );
}

#[test]
fn a_failed_evaluation_names_no_value() {
    let table = [
        ("caller.claims.missing", "there is no `missing`"),
        ("caller.claims[args.query]", "a member that the expression looks up is not there"),
        ("safe_name(args.query)", "`safe_name` allows 1 to 64 of the characters a-z, A-Z, 0-9, `_` and `-`"),
        ("safe_name('')", "`safe_name` allows 1 to 64 of the characters a-z, A-Z, 0-9, `_` and `-`"),
        ("int(args.query)", "`int` does not accept its argument"),
        ("args.extra + 'x'", "an operator or function does not fit the values it is given"),
        ("args.limit / 0", "division by zero"),
        ("9223372036854775807 + args.limit", "the result of an operator is too large"),
        ("args.tags[5]", "an index is out of bounds"),
        ("args.price / 0.0", "the result cannot be told in JSON"),
        ("caller.claims.tenant && args.open", "an operator or function does not fit the values it is given"),
    ];
    for (source, wanted) in table {
        let error = run(source).expect_err(source);
        assert_eq!(error.to_string(), wanted, "{source}");
        assert!(!format!("{error:?}").contains("50%"));
    }
}

#[test]
fn expressions_are_shared_between_calls() {
    fn shared<T: Send + Sync + 'static>(_: &T) {}
    shared(&Arc::new(Expression::compile("1", &scope(None)).unwrap()));
}

/// Whether `text` matches `pattern` by the rules of LIKE with `\` as escape.
fn like(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['\\', literal, rest @ ..] => {
            text.split_first().is_some_and(|(first, text)| first == literal && like(rest, text))
        }
        ['%', rest @ ..] => (0..=text.len()).any(|skip| like(rest, &text[skip..])),
        ['_', rest @ ..] => text.split_first().is_some_and(|(_, text)| like(rest, text)),
        [literal, rest @ ..] => {
            text.split_first().is_some_and(|(first, text)| first == literal && like(rest, text))
        }
    }
}

proptest! {
    #[test]
    fn an_escaped_text_matches_itself_and_nothing_else(text in r"[a%_\\é]{0,12}", other in r"[a%_\\é]{0,12}") {
        let expression = Expression::compile("like_escape(args.query)", &scope(Some(Expected::String))).unwrap();
        let args = json!({ "query": text });
        let escaped = expression.evaluate(args.as_object().unwrap(), &caller()).unwrap();
        let pattern: Vec<char> = escaped.as_str().unwrap().chars().collect();
        prop_assert!(like(&pattern, &text.chars().collect::<Vec<_>>()));
        prop_assert_eq!(like(&pattern, &other.chars().collect::<Vec<_>>()), text == other);
    }

    #[test]
    fn compiling_never_panics(source in "[a-z.()'+ 0-9\\[\\]{}?:!&|é\\\\]{0,40}") {
        let _ = Expression::compile(&source, &scope(None));
    }
}
