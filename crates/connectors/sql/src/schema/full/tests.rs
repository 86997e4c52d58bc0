//! Full schemas, and that they say what the plan checks.

use serde_json::{Value as Json, json};
use trunkline_service::Caller;

use crate::database::{Dialect, ParameterType};
use crate::file::ToolFile;
use crate::options::{Options, SchemaProfile};
use crate::param::Plan;
use crate::schema;
use crate::tool::Tool;
use crate::value::JsonKind;

fn tool(dialect: Dialect, sql: &str, params: &str) -> Tool {
    let file: ToolFile = toml::from_str(&format!("connector = 'c'\nsql = '{sql}'\n{params}")).unwrap();
    Tool::resolve("t", file, &Options::default(), dialect).unwrap()
}

fn plan(tool: &Tool, database: &[ParameterType], dialect: Dialect) -> Plan {
    Plan::new("t", &tool.params, database, tool.scanned.names.len(), dialect).unwrap()
}

fn typed(kind: JsonKind, range: Option<(i64, i64)>) -> ParameterType {
    ParameterType { kind, labels: None, format: None, range, name: Some("t".into()) }
}

#[test]
fn everything_that_is_checked_has_a_word() {
    let tool = tool(
        Dialect::Sqlite,
        "select :a, :p, :day, :n, :r, :tags, :doc, :state, :b",
        r#"
        params.a = { type = "string", pattern = "^x", nullable = true, required = false, max-length = 9 }
        params.p = { type = "string", pattern = "(?i)^x" }
        params.day = { type = "string", format = "date", description = "The day" }
        params.n = { type = "integer", enum = [1, 2], nullable = true }
        params.r = { type = "number", maximum = 0.5 }
        params.tags = { type = "array", items = "string" }
        params.doc = { type = "json", description = "Any" }
        params.state = { default = "open", enum = ["open", "closed"], secret = true }
        params.b = { type = "blob" }
        "#,
    );
    let plan = plan(&tool, &[], Dialect::Sqlite);
    let expected = json!({
        "a": { "type": ["string", "null"], "description": "a, a string", "pattern": "^x", "maxLength": 9 },
        "p": { "type": "string", "description": "p, a string (must match `(?i)^x`)" },
        "day": { "type": "string", "description": "The day", "format": "date" },
        "n": { "type": ["integer", "null"], "description": "n, an integer", "enum": [1, 2, null], "minimum": i64::MIN, "maximum": i64::MAX },
        "r": { "type": "number", "description": "r, a number", "maximum": 0.5 },
        "tags": { "type": "array", "items": { "type": ["string", "null"] }, "description": "tags, a list" },
        "doc": { "description": "Any" },
        "state": { "type": "string", "description": "state, a string", "enum": ["open", "closed"] },
        "b": { "type": "string", "description": "b, a string", "contentEncoding": "base64" },
    });
    for plan in [Some(&plan), None] {
        let schema = schema::input(&tool.params, plan, SchemaProfile::Full, Dialect::Sqlite);
        assert_eq!(schema["properties"], expected);
        jsonschema::draft202012::meta::validate(&schema).unwrap();
    }
}

#[test]
fn a_database_type_gives_its_exact_bounds_also_to_the_elements_of_a_list() {
    let tool = tool(Dialect::Postgres, "select :small, :list, :at", "");
    let at = ParameterType { format: Some("date-time"), ..typed(JsonKind::String, None) };
    let int4 = Some((i64::from(i32::MIN), i64::from(i32::MAX)));
    let list = typed(JsonKind::Array(Box::new(JsonKind::Integer)), int4);
    let plan = plan(&tool, &[typed(JsonKind::Integer, Some((-32768, 32767))), list, at], Dialect::Postgres);
    let schema = schema::input(&tool.params, Some(&plan), SchemaProfile::Full, Dialect::Postgres);
    let properties = &schema["properties"];
    assert_eq!(
        (&properties["small"]["minimum"], &properties["small"]["maximum"]),
        (&json!(-32768), &json!(32767))
    );
    let items = json!({ "type": ["integer", "null", "array"], "minimum": i32::MIN, "maximum": i32::MAX });
    assert_eq!(properties["list"]["items"], items);
    assert_eq!(properties["at"]["format"], "date-time");
    let unknown = schema::input(&tool.params, None, SchemaProfile::Full, Dialect::Postgres);
    assert_eq!(unknown["properties"]["small"], json!({ "description": "small" }));
}

#[test]
fn the_schema_and_the_plan_agree_on_plain_values() {
    let values = [
        json!("x"),
        json!("xyz"),
        json!("y"),
        json!(null),
        json!(true),
        json!(1),
        json!(2),
        json!(3),
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!(i64::MAX),
        json!([]),
        json!(["x"]),
        json!([1, null]),
        json!([[1]]),
        json!({ "a": 1 }),
        json!("2024-02-30"),
        json!("2024-02-29"),
    ];
    for params in [
        "type = 'string', pattern = '^x', max-length = 2",
        "type = 'string', format = 'date', nullable = true",
        "type = 'string', enum = ['x', 'y']",
        "type = 'integer', minimum = 2",
        "type = 'integer', enum = [1, 3], nullable = true",
        "type = 'number', maximum = 1.5",
        "type = 'boolean', enum = [true]",
        "type = 'json'",
        "type = 'array', items = 'integer'",
    ] {
        let tool = tool(Dialect::Sqlite, "select :a", &format!("params.a = {{ {params} }}"));
        let plan = plan(&tool, &[], Dialect::Sqlite);
        let schema = schema::input(&tool.params, Some(&plan), SchemaProfile::Full, Dialect::Sqlite);
        let options = jsonschema::options().should_validate_formats(true);
        let validator = options.build(&schema).unwrap();
        for value in &values {
            // A string that holds a number is taken for one, which the schema does not tell.
            let sent: Json = json!({ "a": value });
            let taken = plan.bind(&tool.params, sent.to_string().as_bytes(), &Caller::local()).is_ok();
            // Null for JSON of any kind has to be allowed by `nullable`, for which there is no word beside "anything".
            if params == "type = 'json'" && value.is_null() {
                continue;
            }
            assert_eq!(validator.is_valid(&sent), taken, "{params}: {value}");
        }
    }
}
