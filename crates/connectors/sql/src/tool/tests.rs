//! Declarations, good and bad, as the file has them.

use super::*;
use crate::options::SchemaProfile;
use crate::param::Plan;
use crate::schema;
use serde_json::json;

fn resolve(toml: &str, dialect: Dialect) -> Result<Tool, Vec<Problem>> {
    let file: ToolFile = toml::from_str(toml).unwrap_or_else(|error| panic!("{error}"));
    Tool::resolve("search", file, &Options::default(), dialect)
}

fn problem(toml: &str, dialect: Dialect) -> Problem {
    let problems = resolve(toml, dialect).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.into_iter().next().unwrap()
}

fn sqlite_with(params: &str) -> Problem {
    problem(&format!("connector = 'shop'\nsql = 'select :a'\n{params}"), Dialect::Sqlite)
}

const SEARCH: &str = r#"
connector = "shop"
description = "Search for customers"
sql = "select id from customers where name ilike :pattern or id = :query limit :limit"
params.query = { description = "Name, email or ID", type = "string", min-length = 1 }
params.pattern = { from = "'%' + args.query + '%'" }
params.limit = { description = "Maximum number of results", default = 10, minimum = 1, maximum = 100 }
"#;

#[test]
fn the_schema_shows_what_a_client_may_send_in_the_order_of_first_use() {
    let tool = resolve(SEARCH, Dialect::Sqlite).unwrap();
    let plan = Plan::new("search", &tool.params, &[], tool.scanned.names.len(), Dialect::Sqlite).unwrap();
    assert_eq!(
        schema::input(&tool.params, Some(&plan), SchemaProfile::Portable, Dialect::Sqlite).to_string(),
        json!({
            "type": "object",
            "properties": {
                "query": { "type": "string", "description": "Name, email or ID", "minLength": 1 },
                "limit": { "type": "integer", "description": "Maximum number of results", "default": 10, "minimum": 1, "maximum": 100 },
            },
            "required": ["query"],
            "additionalProperties": false,
        })
        .to_string()
    );
}

#[test]
fn what_the_profile_has_no_word_for_is_in_the_description() {
    let tool = resolve(
        r#"
        connector = "shop"
        sql = "select :a, :day, :at, :n, :tags, :doc, :state"
        params.a = { type = "string", pattern = "^x", nullable = true, required = false }
        params.day = { type = "string", format = "date", description = "The day" }
        params.at = { type = "string", format = "date-time" }
        params.n = { type = "integer", enum = [1, 2] }
        params.tags = { type = "array", items = "string" }
        params.doc = { type = "json" }
        params.state = { default = "open", enum = ["open", "closed"], secret = true }
        "#,
        Dialect::Sqlite,
    )
    .unwrap();
    let plan = Plan::new("t", &tool.params, &[], tool.scanned.names.len(), Dialect::Sqlite).unwrap();
    let schema = schema::input(&tool.params, Some(&plan), SchemaProfile::Portable, Dialect::Sqlite);
    assert_eq!(
        schema["properties"],
        json!({
            "a": { "type": "string", "description": "a, a string (must match `^x`, may be null)" },
            "day": { "type": "string", "description": "The day (in the form date)" },
            "at": { "type": "string", "description": "at, a string", "format": "date-time" },
            "n": { "type": "integer", "description": "n, an integer (one of `1`, `2`)" },
            "tags": { "type": "array", "items": { "type": "string" }, "description": "tags, a list" },
            "doc": { "type": "object", "description": "doc (any JSON value)" },
            "state": { "type": "string", "description": "state, a string", "enum": ["open", "closed"] },
        })
    );
    assert_eq!(schema["required"], json!(["day", "at", "n", "tags", "doc"]));
}

#[test]
fn a_tool_without_arguments_has_properties_all_the_same() {
    let tool = resolve("connector = 'shop'\nsql = 'select 1'", Dialect::Sqlite).unwrap();
    assert_eq!(
        schema::input(&tool.params, None, SchemaProfile::Portable, Dialect::Postgres).to_string(),
        r#"{"type":"object","properties":{},"additionalProperties":false}"#
    );
    assert_eq!(tool.description, "search");
}

#[test]
fn descriptions_are_cut_to_what_every_host_takes() {
    let long = "é".repeat(2000);
    assert_eq!(description(Some(&long), None, "t").chars().count(), 1024);
    assert_eq!(description(Some("  "), Some("Title"), "t"), "Title");
}

#[test]
fn sqlite_asks_for_a_type_and_says_so() {
    let problem = problem("connector = 'shop'\nsql = 'select :id'", Dialect::Sqlite);
    assert_eq!(problem.path, ["tools", "search", "sql"]);
    assert_eq!(problem.offset, Some(7));
    assert!(problem.message.contains("SQLite has no parameter types"));
    let problem = sqlite_with("params.a = { description = 'x' }");
    assert_eq!(problem.path, ["tools", "search", "params", "a"]);
    assert!(problem.help.unwrap().contains("default"));
}

#[test]
fn a_misspelt_parameter_is_matched_with_what_it_should_be() {
    let toml = "connector = 'shop'\nsql = 'select :patern'\nparams.pattern = { type = 'string' }";
    let problem = problem(toml, Dialect::Postgres);
    assert_eq!(problem.path, ["tools", "search", "params", "pattern"]);
    assert_eq!(problem.help.as_deref(), Some("the statement has `:patern`; is that what is meant?"));
}

#[test]
fn writing_needs_the_connectors_consent_and_the_problem_names_both_keys() {
    let toml = "connector = 'shop'\nsql = 'delete from t'\naccess = 'read-write'";
    let problem = problem(toml, Dialect::Sqlite);
    assert_eq!(problem.path, ["tools", "search", "access"]);
    assert!(
        problem.message.contains("tools.search.access") && problem.message.contains("connectors.shop.access")
    );
    let options = Options { access: Access::ReadWrite, ..Options::default() };
    assert!(Tool::resolve("t", toml::from_str(toml).unwrap(), &options, Dialect::Sqlite).is_ok());
}

#[test]
fn rules_that_cannot_hold_are_found_without_a_database() {
    for (params, key, text) in [
        ("params.a = { type = 'integer', default = 'x' }", "default", "is not an integer"),
        ("params.a = { type = 'integer', default = 200, maximum = 100 }", "default", "at most 100"),
        ("params.a = { type = 'integer', minimum = 5, maximum = 1 }", "minimum", "no value would pass"),
        ("params.a = { type = 'string', minimum = 5 }", "minimum", "rule for numbers"),
        ("params.a = { type = 'integer', min-length = 5 }", "min-length", "rule for strings"),
        ("params.a = { type = 'string', min-length = 5, max-length = 1 }", "min-length", "greater than"),
        ("params.a = { type = 'string', enum = [] }", "enum", "no value"),
        ("params.a = { type = 'string', enum = [1] }", "enum", "`1` is not a string"),
        ("params.a = { type = 'string', pattern = '(' }", "pattern", "regular expression"),
        ("params.a = { type = 'uuid' }", "type", "no type of a parameter"),
        ("params.a = { type = 'array' }", "type", "type of its elements"),
        ("params.a = { type = 'string', items = 'string' }", "items", "goes with"),
        ("params.a = { default = 1, required = true }", "required", "contradict"),
        ("params.a = { from = \"'x'\", value = \"'y'\" }", "value", "both"),
        ("params.a = { from = \"'x'\", default = 1 }", "default", "hides"),
        ("params.a = { value = \"'x'\", minimum = 1 }", "minimum", "hides"),
    ] {
        let problem = sqlite_with(params);
        assert_eq!(problem.path, ["tools", "search", "params", "a", key], "{params}");
        assert!(problem.message.contains(text), "{params}: {}", problem.message);
    }
}

#[test]
fn a_mistake_in_an_expression_is_told_where_it_is() {
    let problem = sqlite_with("params.a = { from = \"'%' + args.nope\" }");
    assert_eq!(problem.path, ["tools", "search", "params", "a", "from"]);
    assert!(problem.offset.is_some());
    let problem = sqlite_with("params.b = { type = 'string' }\nparams.a = { value = \"args.b\" }");
    assert_eq!(problem.path, ["tools", "search", "params", "a", "value"], "a value sees no arguments");
}

#[test]
fn a_date_without_quotes_is_a_string() {
    let tool = resolve(
        "connector = 'shop'\nsql = 'select :a'\nparams.a = { default = 2026-01-02 }",
        Dialect::Sqlite,
    )
    .unwrap();
    assert_eq!(tool.params[0].default, Some(json!("2026-01-02")));
    assert_eq!(tool.params[0].kind, Some(crate::value::JsonKind::String));
}

#[test]
fn bad_names_and_empty_statements_are_problems() {
    let file: ToolFile = toml::from_str("connector = 'shop'\nsql = '-- nothing'\nparams.'a b' = {}").unwrap();
    let problems = Tool::resolve("a tool", file, &Options::default(), Dialect::Sqlite).unwrap_err();
    let paths: Vec<String> = problems.iter().map(|problem| problem.path.join(".")).collect();
    assert_eq!(paths, ["tools.a tool", "tools.a tool.sql", "tools.a tool.params.a b"]);
}

#[test]
fn sqlite_knows_its_own_types_in_any_case() {
    for word in ["INTEGER", "integer", "INT", "Real", "TEXT", "blob", "NUMERIC"] {
        let params = format!("params.a = {{ type = '{word}' }}");
        resolve(&format!("connector = 'shop'\nsql = 'select :a'\n{params}"), Dialect::Sqlite)
            .unwrap_or_else(|problems| panic!("{word}: {problems:?}"));
    }
    let problem = sqlite_with("params.a = { type = 'uuid' }");
    assert!(problem.help.unwrap().contains("`integer`, `real`, `text`, `blob`"));
}
