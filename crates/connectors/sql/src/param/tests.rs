//! Arguments of every kind, good and bad.

mod guarded;

use super::*;
use crate::file::ToolFile;
use crate::options::Options;
use crate::tool::Tool;

struct Bound {
    tool: Tool,
    plan: Plan,
}

impl Bound {
    fn new(dialect: Dialect, toml: &str, database: &[ParameterType]) -> Self {
        let file: ToolFile = toml::from_str(toml).unwrap();
        let tool = Tool::resolve("t", file, &Options::default(), dialect)
            .unwrap_or_else(|problems| panic!("{problems:?}"));
        let plan = Plan::new("t", &tool.params, database, tool.scanned.names.len(), dialect);
        Self { plan: plan.unwrap_or_else(|problems| panic!("{problems:?}")), tool }
    }

    fn sqlite(params: &str) -> Self {
        Self::new(Dialect::Sqlite, &format!("connector = 'c'\nsql = 'select :a'\n{params}"), &[])
    }

    /// One parameter `:a` of that type.
    fn postgres(params: &str, database: ParameterType) -> Self {
        Self::new(Dialect::Postgres, &format!("connector = 'c'\nsql = 'select :a'\n{params}"), &[database])
    }

    fn bind(&self, arguments: &str) -> Result<Vec<Value>, String> {
        self.plan.bind(&self.tool.params, arguments.as_bytes(), &Caller::local()).map_err(|error| match error
        {
            BindError::Arguments(text) => text,
            BindError::Computed { name, source } => format!("{name}: {source:?}"),
        })
    }
}

fn database(kind: JsonKind) -> ParameterType {
    ParameterType { kind, labels: None, format: None, range: None, name: Some("some type".into()) }
}

#[test]
fn every_kind_of_bad_argument_is_told_by_name_with_what_was_found_and_what_is_allowed() {
    for (params, arguments, text) in [
        ("params.a = { type = 'integer' }", "{}", "`a` is required: an integer in 64 bits"),
        (
            "params.a = { type = 'integer' }",
            r#"{"a":null}"#,
            "`a`: found null, allowed is an integer in 64 bits",
        ),
        (
            "params.a = { type = 'integer' }",
            r#"{"a":"x"}"#,
            "`a`: found the string `x`, allowed is an integer in 64 bits",
        ),
        (
            "params.a = { type = 'integer' }",
            r#"{"a":1.5}"#,
            "`a`: found the number 1.5, allowed is an integer in 64 bits",
        ),
        (
            "params.a = { type = 'integer' }",
            r#"{"a":9223372036854775808}"#,
            "found the number 9223372036854775808",
        ),
        ("params.a = { type = 'integer' }", r#"{"a":1e400}"#, "found the number 1e400"),
        ("params.a = { type = 'integer' }", r#"{"a":""}"#, "found an empty string"),
        ("params.a = { type = 'integer' }", r#"{"a":" 1"}"#, "found the string ` 1`"),
        ("params.a = { type = 'integer' }", r#"{"a":true}"#, "found `true`"),
        ("params.a = { type = 'integer' }", r#"{"a":[1]}"#, "found a list"),
        ("params.a = { type = 'integer' }", r#"{"a":{}}"#, "found an object"),
        (
            "params.a = { default = 10, minimum = 1, maximum = 100 }",
            r#"{"a":101}"#,
            "found the number 101, allowed is an integer from 1 to 100",
        ),
        (
            "params.a = { default = 10, minimum = 1, maximum = 100 }",
            r#"{"a":"0"}"#,
            "found the string `0`, allowed is an integer from 1 to 100",
        ),
        (
            "params.a = { type = 'number', minimum = 0.1 }",
            r#"{"a":0.09999999999999999999999}"#,
            "allowed is a number of at least 0.1",
        ),
        ("params.a = { type = 'integer', enum = [1, 2] }", r#"{"a":3}"#, "allowed is one of `1`, `2`"),
        (
            "params.a = { type = 'string', enum = ['x'] }",
            r#"{"a":"y"}"#,
            "found the string `y`, allowed is one of `x`",
        ),
        (
            "params.a = { type = 'string', min-length = 1 }",
            r#"{"a":""}"#,
            "found an empty string, allowed is a string that is not empty",
        ),
        (
            "params.a = { type = 'string', max-length = 2 }",
            r#"{"a":"äöü"}"#,
            "allowed is a string of at most 2 characters",
        ),
        (
            "params.a = { type = 'string', pattern = '^[a-z]+$' }",
            r#"{"a":"A"}"#,
            "allowed is a string matching `^[a-z]+$`",
        ),
        (
            "params.a = { type = 'string', format = 'date' }",
            r#"{"a":"2026-02-30"}"#,
            "allowed is a string in the form date",
        ),
        ("params.a = { type = 'string' }", r#"{"a":5}"#, "found the number 5, allowed is a string"),
        (
            "params.a = { type = 'boolean' }",
            r#"{"a":"true"}"#,
            "found the string `true`, allowed is `true` or `false`",
        ),
        (
            "params.a = { type = 'array', items = 'integer' }",
            r#"{"a":[1,"x"]}"#,
            "as element 2 of the list, allowed is a list, each element an integer",
        ),
        ("params.a = { type = 'array', items = 'integer' }", r#"{"a":"[1"}"#, "found the string `[1`"),
        (
            "params.a = { type = 'string', secret = true, max-length = 1 }",
            r#"{"a":"hunter2"}"#,
            "`a`: found a string, allowed",
        ),
        (
            "params.a = { type = 'string', required = false }",
            r#"{"b":1}"#,
            "`b` is no parameter of this tool; this tool takes `a`",
        ),
        ("params.a = { value = \"'x'\" }", r#"{"a":1}"#, "`a` is set by the server and cannot be given"),
        (
            "params.a = { value = \"'x'\" }",
            r#"{"b":1}"#,
            "`b` is no parameter of this tool; this tool takes no arguments",
        ),
    ] {
        let found = Bound::sqlite(params).bind(arguments).unwrap_err();
        assert!(found.contains(text), "{params} {arguments}: {found}");
        assert!(!found.contains("hunter2"), "{found}");
    }
}

#[test]
fn all_problems_come_in_one_message() {
    let toml = "connector = 'c'\nsql = 'select :a, :b'\nparams.a = { type = 'integer' }\nparams.b = { type = 'string' }";
    let text = Bound::new(Dialect::Sqlite, toml, &[]).bind(r#"{"a":"x","c":1,"d":2}"#).unwrap_err();
    assert_eq!(
        text,
        "the arguments were not accepted: `a`: found the string `x`, allowed is an integer in 64 bits; \
         `c` is no parameter of this tool; `d` is no parameter of this tool; `b` is required: a string; this tool takes `a`, `b`"
    );
    let many: Vec<String> = (0..50).map(|number| format!("\"x{number}\":1")).collect();
    let text = Bound::new(Dialect::Sqlite, toml, &[]).bind(&format!("{{{}}}", many.join(","))).unwrap_err();
    assert!(text.contains("and 32 more") && text.len() < 2000, "{text}");
}

#[test]
fn arguments_of_each_kind_arrive_exactly() {
    for (params, arguments, value) in [
        ("params.a = { type = 'integer' }", r#"{"a":-9223372036854775808}"#, Value::Integer(i64::MIN)),
        (
            "params.a = { type = 'integer' }",
            r#"{"a":"9007199254740993"}"#,
            Value::Integer(9_007_199_254_740_993),
        ),
        ("params.a = { type = 'integer' }", r#"{"a":10.0}"#, Value::Integer(10)),
        ("params.a = { type = 'number' }", r#"{"a":0.5}"#, Value::Decimal("0.5".into())),
        ("params.a = { type = 'number' }", r#"{"a":"3"}"#, Value::Decimal("3".into())),
        ("params.a = { type = 'boolean' }", r#"{"a":false}"#, Value::Boolean(false)),
        ("params.a = { type = 'string' }", r#"{"a":"\u0041\n"}"#, Value::Text("A\n".into())),
        ("params.a = { type = 'string' }", r#"{"\u0061":"null"}"#, Value::Text("null".into())),
        ("params.a = { type = 'json' }", r#"{"a": {"x":1.50} }"#, Value::Json(r#"{"x":1.50}"#.into())),
        ("params.a = { type = 'blob' }", r#"{"a":"AP8Q"}"#, Value::Text("AP8Q".into())),
        ("params.a = { type = 'real' }", r#"{"a":1.5}"#, Value::Decimal("1.5".into())),
        (
            "params.a = { type = 'array', items = 'integer' }",
            r#"{"a":[1,null]}"#,
            Value::List(vec![Value::Integer(1), Value::Null]),
        ),
        (
            "params.a = { type = 'array', items = 'integer' }",
            r#"{"a":"[1, 2]"}"#,
            Value::List(vec![Value::Integer(1), Value::Integer(2)]),
        ),
        ("params.a = { default = 10 }", "{}", Value::Integer(10)),
        ("params.a = { default = 10 }", "null", Value::Integer(10)),
        ("params.a = { default = 10 }", r#"{"a":null}"#, Value::Integer(10)),
        ("params.a = { type = 'string', required = false }", "{}", Value::Null),
        (
            "params.a = { type = 'string', required = false }",
            r#"{"toolCallId":"x","sessionId":1}"#,
            Value::Null,
        ),
        ("params.a = { type = 'string', required = false }", r#"{"a":null}"#, Value::Null),
        ("params.a = { type = 'string', nullable = true }", r#"{"a":null}"#, Value::Null),
        ("params.a = { default = 10, nullable = true }", r#"{"a":null}"#, Value::Null),
        ("params.a = { value = 'caller.subject' }", "{}", Value::Text("local".into())),
        ("params.a = { value = '1 + 1' }", "{}", Value::Integer(2)),
    ] {
        assert_eq!(
            Bound::sqlite(params).bind(arguments).as_deref(),
            Ok(&[value][..]),
            "{params} {arguments}"
        );
    }
}

#[test]
fn pg_08_missing_null_and_the_word_null() {
    let optional =
        Bound::postgres("params.a = { nullable = true, required = false }", database(JsonKind::String));
    assert_eq!(optional.bind("{}"), Ok(vec![Value::Null]));
    assert_eq!(optional.bind(r#"{"a":null}"#), Ok(vec![Value::Null]));
    assert_eq!(optional.bind(r#"{"a":"null"}"#), Ok(vec![Value::Text("null".into())]));
    assert_eq!(optional.bind(r#"{"a":""}"#), Ok(vec![Value::Text(String::new())]));
    let list = Bound::postgres("", database(JsonKind::Array(Box::new(JsonKind::Integer))));
    let integers = |values: &[Value]| Ok(vec![Value::List(values.to_vec())]);
    assert_eq!(list.bind(r#"{"a":[1,2]}"#), integers(&[Value::Integer(1), Value::Integer(2)]));
    assert_eq!(list.bind(r#"{"a":[]}"#), integers(&[]));
    assert_eq!(
        list.bind(r#"{"a":[[1],[2]]}"#),
        integers(&[1, 2].map(|value| Value::List(vec![Value::Integer(value)])))
    );
    assert!(list.bind(r#"{"a":[["x"]]}"#).is_err());
    assert_eq!(list.bind(r#"{"a":[1,null]}"#), integers(&[Value::Integer(1), Value::Null]));
}

#[test]
fn decimals_keep_the_digits_they_came_with() {
    let number = Bound::postgres("", database(JsonKind::Number));
    for (arguments, digits) in [
        (r#"{"a":0.10}"#, "0.10"),
        (r#"{"a":"0.10"}"#, "0.10"),
        (r#"{"a":123456789012345678901234567890.5}"#, "123456789012345678901234567890.5"),
    ] {
        assert_eq!(number.bind(arguments), Ok(vec![Value::Decimal(digits.into())]));
    }
}

#[test]
fn what_the_database_says_narrows_what_is_accepted() {
    let small = ParameterType { range: Some((-32768, 32767)), ..database(JsonKind::Integer) };
    let text = Bound::postgres("params.a = { minimum = 1, maximum = 99999 }", small)
        .bind(r#"{"a":40000}"#)
        .unwrap_err();
    assert!(text.contains("an integer from 1 to 32767"), "{text}");
    let labels =
        ParameterType { labels: Some(vec!["ok".into(), "bad".into()]), ..database(JsonKind::String) };
    let text = Bound::postgres("", labels).bind(r#"{"a":"x"}"#).unwrap_err();
    assert!(text.contains("one of `ok`, `bad`"), "{text}");
    let date = ParameterType { format: Some("date-time"), ..database(JsonKind::String) };
    let date = Bound::postgres("", date);
    assert!(date.bind(r#"{"a":"2026-01-02"}"#).is_ok(), "PostgreSQL takes a date for a time");
    assert!(date.bind(r#"{"a":"soon"}"#).is_err());
    assert!(Bound::postgres("", database(JsonKind::String)).bind(r#"{"a":"\u0000"}"#).is_err());
}

#[test]
fn what_comes_out_of_a_column_goes_into_a_parameter() {
    let form = |format| ParameterType { format: Some(format), ..database(JsonKind::String) };
    for (format, text) in [
        ("date", "infinity"),
        ("date", "0044-02-29 BC"),
        ("date", "5874897-12-31"),
        ("date-time", "294276-12-31T23:59:59.999999Z"),
        ("date-time", "4714-11-24 00:00:00+00 BC"),
        ("time", "04:05:06.5-15:59:59"),
        ("time", "24:00:00+00"),
        ("base64", "AP8="),
    ] {
        let bound = Bound::postgres("", form(format)).bind(&format!(r#"{{"a":"{text}"}}"#));
        assert_eq!(bound, Ok(vec![Value::Text(text.into())]), "{text}");
    }
    for (format, text) in [("date", "0044-13-01 BC"), ("date-time", "x BC"), ("time", "04:05:06:07")] {
        assert!(Bound::postgres("", form(format)).bind(&format!(r#"{{"a":"{text}"}}"#)).is_err(), "{text}");
    }
    let number = Bound::postgres("", database(JsonKind::Number));
    for text in ["NaN", "Infinity", "-Infinity"] {
        let bound = number.bind(&format!(r#"{{"a":"{text}"}}"#));
        assert_eq!(bound, Ok(vec![Value::Text(text.into())]));
    }
    assert!(number.bind(r#"{"a":"inf"}"#).is_err());
    let bounded = Bound::postgres("params.a = { minimum = 0 }", database(JsonKind::Number));
    assert!(bounded.bind(r#"{"a":"Infinity"}"#).is_err(), "numbers are wanted");
}

#[test]
fn an_object_is_taken_for_a_composite_type() {
    let kind = JsonKind::Object(vec![("n".into(), JsonKind::Number), ("s".into(), JsonKind::String)]);
    let object =
        Value::Object(vec![("n".into(), Value::Text("NaN".into())), ("s".into(), Value::Text("x".into()))]);
    let one = Bound::postgres("", database(kind.clone()));
    assert_eq!(one.bind(r#"{"a":{"n":"NaN","s":"x"}}"#), Ok(vec![object.clone()]));
    let many = Bound::postgres("", database(JsonKind::Array(Box::new(kind.clone()))));
    let list = Value::List(vec![object.clone(), Value::Null, Value::List(vec![object])]);
    assert_eq!(many.bind(r#"{"a":[{"n":"NaN","s":"x"},null,[{"n":"NaN","s":"x"}]]}"#), Ok(vec![list]));
    let text = one.bind(r#"{"a":{"m":1}}"#).unwrap_err();
    assert!(text.contains("an object with the members `n` (a number), `s` (a string)"), "{text}");
    let written = Bound::postgres("params.a = { type = \"string\" }", database(kind));
    assert_eq!(written.bind(r#"{"a":"(1,x)"}"#), Ok(vec![Value::Text("(1,x)".into())]));
}

#[test]
fn a_written_kind_is_turned_into_what_the_database_wants_or_refused_at_once() {
    let value = |written: &str, wanted, arguments: &str| {
        Bound::postgres(&format!("params.a = {{ type = '{written}' }}"), database(wanted)).bind(arguments)
    };
    assert_eq!(value("integer", JsonKind::String, r#"{"a":5}"#), Ok(vec![Value::Text("5".into())]));
    assert_eq!(value("integer", JsonKind::Number, r#"{"a":5}"#), Ok(vec![Value::Decimal("5".into())]));
    assert_eq!(value("string", JsonKind::Integer, r#"{"a":"5"}"#), Ok(vec![Value::Integer(5)]));
    assert_eq!(value("json", JsonKind::String, r#"{"a":[1]}"#), Ok(vec![Value::Text("[1]".into())]));
    assert!(
        value("string", JsonKind::Integer, r#"{"a":"x"}"#).unwrap_err().contains("`a` must hold an integer")
    );
    let file = toml::from_str("connector = 'c'\nsql = 'select :a'\nparams.a = { type = 'json' }").unwrap();
    let tool = Tool::resolve("t", file, &Options::default(), Dialect::Postgres).unwrap();
    let problems =
        Plan::new("t", &tool.params, &[database(JsonKind::Integer)], 1, Dialect::Postgres).unwrap_err();
    assert_eq!(problems[0].path, ["tools", "t", "params", "a", "type"]);
    assert!(problems[0].message.contains("the database wants `some type`"), "{}", problems[0].message);
}

#[test]
fn expressions_see_arguments_with_their_defaults_and_only_placeholders_are_bound() {
    let toml = r#"
        connector = "c"
        sql = "select :pattern, :limit"
        params.query = { type = "string" }
        params.suffix = { default = "%" }
        params.pattern = { from = "args.query + args.suffix" }
        params.limit = { default = 10 }
    "#;
    let bound = Bound::new(Dialect::Sqlite, toml, &[]);
    assert_eq!(bound.bind(r#"{"query":"a"}"#), Ok(vec![Value::Text("a%".into()), Value::Integer(10)]));
    assert!(
        bound.bind(r#"{"query":"a","pattern":"b"}"#).unwrap_err().contains("`pattern` is set by the server")
    );
    let error = bound.plan.bind(&bound.tool.params, br#"{"suffix":"x"}"#, &Caller::local()).unwrap_err();
    assert!(matches!(error, BindError::Arguments(text) if text.contains("`query` is required")));
}

#[test]
fn text_that_is_no_object_is_refused() {
    let bound = Bound::sqlite("params.a = { default = 1 }");
    for arguments in ["", "[", "[]", "5", r#"{"a":1"#, "{} x"] {
        assert!(bound.bind(arguments).unwrap_err().contains("no JSON object"), "{arguments}");
    }
}

#[test]
fn text_with_a_nul_character_is_refused_by_that_name_where_the_database_has_no_such_text() {
    let list = JsonKind::Array(Box::new(JsonKind::String));
    for (kind, arguments) in [
        (JsonKind::String, r#"{"a":"x\u0000y"}"#),
        (list.clone(), r#"{"a":["b","x\u0000y"]}"#),
        (list, r#"{"a":"[\"x\\u0000y\"]"}"#),
    ] {
        let bound = Bound::postgres("", database(kind));
        let text = bound.bind(arguments).unwrap_err();
        assert!(text.contains("`a`: found text with the character U+0000 (NUL)"), "{text}");
        assert!(!text.contains('\0') && !text.contains('y'), "{text}");
    }
    // A backslash before what only looks like the escape, and a database that takes it.
    let bound = Bound::postgres("", database(JsonKind::String));
    assert_eq!(bound.bind(r#"{"a":"\\u0000"}"#), Ok(vec![Value::Text("\\u0000".into())]));
    let bound = Bound::sqlite("params.a = { type = 'string' }");
    assert_eq!(bound.bind(r#"{"a":"\u0000"}"#), Ok(vec![Value::Text("\0".into())]));
}

#[test]
fn elements_of_a_list_keep_to_the_bounds_of_the_type_and_are_read_like_single_values() {
    let list = ParameterType {
        range: Some((i64::from(i32::MIN), i64::from(i32::MAX))),
        ..database(JsonKind::Array(Box::new(JsonKind::Integer)))
    };
    let bound = Bound::postgres("", list);
    let text = bound.bind(r#"{"a":[1,2147483648]}"#).unwrap_err();
    assert_eq!(
        text,
        "the arguments were not accepted: `a`: found the number 2147483648 as element 2 of the list, allowed is a list, \
         each element an integer from -2147483648 to 2147483647 or null"
    );
    for bound in [bound, Bound::sqlite("params.a = { type = 'array', items = 'integer' }")] {
        let expected = vec![Value::List(vec![Value::Integer(1), Value::Integer(2), Value::Null])];
        for arguments in [r#"{"a":["1",2,null]}"#, r#"{"a":"[1, \"2\", null]"}"#] {
            assert_eq!(bound.bind(arguments), Ok(expected.clone()), "{arguments}");
        }
    }
}

#[test]
fn a_number_that_would_become_zero_or_infinite_is_refused() {
    let bound = Bound::sqlite("params.a = { type = 'number' }");
    for bad in ["1e-400", "-1e400", "\"1e-400\"", "12345678901234567890.123"] {
        let text = bound.bind(&format!(r#"{{"a":{bad}}}"#)).unwrap_err();
        assert!(text.contains("allowed is a number that a 64-bit float holds without loss"), "{text}");
    }
    assert_eq!(bound.bind(r#"{"a":0.0e-400}"#), Ok(vec![Value::Decimal("0.0e-400".into())]));
    let bound = Bound::postgres("", database(JsonKind::Number));
    assert_eq!(bound.bind(r#"{"a":1e-400}"#), Ok(vec![Value::Decimal("1e-400".into())]));
}

#[test]
fn both_ends_of_an_integer_are_told() {
    let bound = Bound::sqlite("params.a = { type = 'integer', minimum = 1 }");
    let text = bound.bind(r#"{"a":9223372036854775808}"#).unwrap_err();
    assert!(text.contains("allowed is an integer of at least 1, in 64 bits"), "{text}");
}

#[test]
fn bytes_for_postgresql_are_checked_before_they_are_sent() {
    let bytes = ParameterType { format: Some("base64"), ..database(JsonKind::String) };
    let bound = Bound::postgres("", bytes);
    let text = bound.bind(r#"{"a":"@@@"}"#).unwrap_err();
    assert!(text.contains("`a`: found the string `@@@`, allowed is a string in the form base64"), "{text}");
    for good in ["AP8=", "", "\\\\x00ff"] {
        assert!(bound.bind(&format!(r#"{{"a":"{good}"}}"#)).is_ok(), "{good}");
    }
}
