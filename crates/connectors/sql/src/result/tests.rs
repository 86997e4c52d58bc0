//! Rows of every kind: the text is the same object, and the schema is true of it.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::database::Column;
use crate::shape;

/// A cell on its way into a writer.
#[derive(Debug, Clone)]
enum Cell {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Float4(f32),
    Decimal(&'static str),
    Text(String),
    Binary(Vec<u8>),
    Json(&'static str),
    List(Vec<Cell>),
    Object(Vec<(String, Cell)>),
}

impl Cell {
    fn write(&self, rows: &mut RowWriter) {
        match self {
            Self::Null => rows.null(),
            Self::Boolean(value) => rows.boolean(*value),
            Self::Integer(value) => rows.integer(*value),
            Self::Float(value) => rows.float(*value),
            Self::Float4(value) => rows.float4(*value),
            Self::Decimal(value) => rows.decimal(value),
            Self::Text(value) => rows.text(value),
            Self::Binary(value) => rows.binary(value),
            Self::Json(value) => rows.json(value),
            Self::List(cells) => {
                rows.begin_list();
                cells.iter().for_each(|cell| cell.write(rows));
                rows.end_list();
            }
            Self::Object(members) => {
                rows.begin_object();
                for (name, cell) in members {
                    rows.key(name);
                    cell.write(rows);
                }
                rows.end_object();
            }
        }
    }
}

fn columns(names: &[&str]) -> Vec<Column> {
    names.iter().map(|name| Column { name: (*name).to_owned(), schema: None, nullable: true }).collect()
}

fn kinds(kinds: &[(&str, ColumnKind)]) -> BTreeMap<String, ColumnKind> {
    kinds.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect()
}

const LIMITS: Limits = Limits { max_rows: 1000, max_bytes: 40_000, text: TextForm::Json };

struct Table {
    columns: Vec<Column>,
    kinds: BTreeMap<String, ColumnKind>,
    form: Form,
    limits: Limits,
}

impl Table {
    fn new(names: &[&str]) -> Self {
        Self { columns: columns(names), kinds: BTreeMap::new(), form: Form::Rows, limits: LIMITS }
    }

    fn reply(&self, rows: &[Vec<Cell>]) -> Reply {
        let mut writer =
            RowWriter::new(Arc::new(Shape::new(&self.columns, &self.kinds, self.form, self.limits)));
        for row in rows {
            writer.begin_row();
            row.iter().for_each(|cell| cell.write(&mut writer));
            if writer.end_row().is_break() {
                break;
            }
        }
        writer.finish(Some(7))
    }

    /// Returns `structuredContent` as it is written, after checking everything that must hold of every result.
    fn raw(&self, rows: &[Vec<Cell>]) -> String {
        let reply = self.reply(rows);
        let members = String::from_utf8(reply.members().to_vec()).unwrap();
        assert!(!members.contains(['\n', '\r']));
        let result: Json = serde_json::from_str(&format!("{{{members}}}"))
            .unwrap_or_else(|error| panic!("{error}: {members}"));
        assert_eq!(result["isError"], false, "{members}");
        let (_, rest) = members.split_once(r#","structuredContent":"#).unwrap();
        let raw = rest.strip_suffix(r#","isError":false"#).unwrap();
        if self.limits.text == TextForm::Json {
            assert_eq!(result["content"][0]["text"].as_str().unwrap(), raw, "the twin is the same bytes");
        }
        let schema = shape::output_schema(&self.columns, &self.kinds, self.form);
        jsonschema::validate(&schema, &result["structuredContent"])
            .unwrap_or_else(|error| panic!("{error}: {raw}"));
        assert!(raw.len() <= self.limits.max_bytes);
        raw.to_owned()
    }

    fn error(&self, rows: &[Vec<Cell>]) -> String {
        let reply = self.reply(rows);
        let members = String::from_utf8(reply.members().to_vec()).unwrap();
        assert!(reply.is_error() && !members.contains("structuredContent"), "{members}");
        members
    }
}

#[test]
fn each_form_has_its_shape() {
    let row = || vec![Cell::Integer(1), Cell::Text("x\"y".into())];
    let mut table = Table::new(&["a", "b\"c"]);
    assert_eq!(table.raw(&[]), r#"{"rows":[],"rowCount":0}"#);
    assert_eq!(
        table.raw(&[row(), row()]),
        r#"{"rows":[{"a":1,"b\"c":"x\"y"},{"a":1,"b\"c":"x\"y"}],"rowCount":2}"#
    );
    table.form = Form::Row;
    assert_eq!(table.raw(&[]), r#"{"row":null}"#);
    assert_eq!(table.raw(&[row()]), r#"{"row":{"a":1,"b\"c":"x\"y"}}"#);
    assert!(table.error(&[row(), row()]).contains("more than one row"));
    table.form = Form::Written;
    assert_eq!(table.raw(&[row()]), r#"{"affected":7,"rows":[{"a":1,"b\"c":"x\"y"}]}"#);
    let mut value = Table::new(&["a"]);
    value.form = Form::Value;
    assert_eq!(value.raw(&[]), r#"{"value":null}"#);
    assert_eq!(value.raw(&[vec![Cell::Text("\u{1}".into())]]), r#"{"value":"\u0001"}"#);
    assert!(value.error(&[vec![Cell::Null], vec![Cell::Null]]).contains("more than one row"));
    assert_eq!(Table::new(&[]).raw(&[vec![]]), r#"{"rows":[{}],"rowCount":1}"#);
}

#[test]
fn pg_01_integers_and_decimals_are_exact() {
    let row = vec![
        Cell::Integer(9_007_199_254_740_993),
        Cell::Integer(i64::MIN),
        Cell::Integer(9_007_199_254_740_991),
        Cell::Decimal("0.10"),
        Cell::Decimal("123456789012345678901234567890.5"),
        Cell::List(vec![Cell::Integer(9_007_199_254_740_993), Cell::Null, Cell::List(vec![])]),
    ];
    assert_eq!(
        Table::new(&["a", "b", "s", "c", "d", "e"]).raw(&[row]),
        r#"{"rows":[{"a":"9007199254740993","b":"-9223372036854775808","s":9007199254740991,"c":"0.10","d":"123456789012345678901234567890.5","e":["9007199254740993",null,[]]}],"rowCount":1}"#
    );
}

#[test]
fn what_is_written_of_a_column_does_not_go_for_members_of_its_objects() {
    let object = Cell::Object(vec![
        ("a \"b\"".into(), Cell::Text("x".into())),
        ("n".into(), Cell::List(vec![Cell::Integer(1), Cell::Object(vec![]), Cell::Null])),
    ]);
    let mut table = Table::new(&["a", "b"]);
    table.kinds = kinds(&[("a", ColumnKind::Json), ("b", ColumnKind::Number)]);
    assert_eq!(
        table.raw(&[vec![object, Cell::Integer(1)]]),
        r#"{"rows":[{"a":{"a \"b\"":"x","n":[1,{},null]},"b":1}],"rowCount":1}"#
    );
}

#[test]
fn pg_03_what_json_has_no_number_for_is_a_string() {
    let row = vec![
        Cell::Float(f64::NAN),
        Cell::Float(f64::INFINITY),
        Cell::Float4(f32::NEG_INFINITY),
        Cell::Decimal("NaN"),
        Cell::Float(9.223_372_036_854_776e18),
        Cell::Float4(0.1),
        Cell::Binary(vec![0, 255, 16]),
    ];
    assert_eq!(
        Table::new(&["a", "b", "c", "d", "e", "f", "g"]).raw(&[row]),
        r#"{"rows":[{"a":"NaN","b":"Infinity","c":"-Infinity","d":"NaN","e":9.223372036854776e18,"f":0.1,"g":"AP8Q"}],"rowCount":1}"#
    );
}

#[test]
fn written_types_shape_the_cells_that_fit() {
    use ColumnKind::{Boolean, Integer, Json as JsonColumn, Number, String as StringColumn};
    let mut table = Table::new(&["n", "j", "b", "i", "s", "k"]);
    table.kinds = kinds(&[
        ("n", Number),
        ("j", JsonColumn),
        ("b", Boolean),
        ("i", Integer),
        ("s", StringColumn),
        ("k", JsonColumn),
    ]);
    let row = vec![
        Cell::Decimal("0.10"),
        Cell::Text("{\"a\":\n [1.50, \"x\\n\"]}".into()),
        Cell::Integer(1),
        Cell::Float(5.0),
        Cell::Decimal("1.0"),
        Cell::Integer(3),
    ];
    assert_eq!(
        table.raw(&[row]),
        r#"{"rows":[{"n":0.10,"j":{"a": [1.50, "x\n"]},"b":true,"i":5,"s":"1.0","k":3}],"rowCount":1}"#
    );
}

#[test]
fn a_cell_that_does_not_fit_is_told_by_row_and_column() {
    use ColumnKind::{Boolean, Integer, Json as JsonColumn, Number, String as StringColumn};
    for (kind, cell, text) in [
        (Number, Cell::Text("12.50".into()), "holds text, and `columns.a.type` is `number`"),
        (Number, Cell::Float(f64::NAN), "holds the number NaN"),
        (Number, Cell::Decimal("NaN"), "no digits for"),
        (Integer, Cell::Float(1.5), "holds a floating-point number"),
        (Integer, Cell::Decimal("1.5"), "a number with a fraction"),
        (Boolean, Cell::Integer(2), "holds an integer"),
        (StringColumn, Cell::Integer(2), "holds an integer"),
        (JsonColumn, Cell::Text("{\"a\":".into()), "is to hold JSON, and does not"),
        (JsonColumn, Cell::Text(format!("{}{}", "[".repeat(70), "]".repeat(70))), "nested deeper"),
        (JsonColumn, Cell::Binary(vec![1]), "holds binary data"),
    ] {
        let mut table = Table::new(&["a"]);
        table.kinds = kinds(&[("a", kind)]);
        let text_found = table.error(&[vec![Cell::Null], vec![cell.clone()]]);
        assert!(
            text_found.contains("row 2: column `a`") && text_found.contains(text),
            "{kind:?} {cell:?}: {text_found}"
        );
    }
}

#[test]
fn a_failed_cell_of_a_writing_tool_says_that_the_change_was_made() {
    let mut table = Table::new(&["a"]);
    table.form = Form::Written;
    table.kinds = kinds(&[("a", ColumnKind::Number)]);
    assert!(
        table.error(&[vec![Cell::Text("x".into())]]).contains("the statement itself ran and changed 7 rows")
    );
}

#[test]
fn a_cut_result_says_so() {
    let rows: Vec<Vec<Cell>> = (0..10).map(|number| vec![Cell::Integer(number)]).collect();
    let mut table = Table::new(&["a"]);
    table.limits.max_rows = 3;
    assert_eq!(table.raw(&rows), r#"{"rows":[{"a":0},{"a":1},{"a":2}],"rowCount":3,"truncated":true}"#);
    assert_eq!(table.raw(&rows[..3]), r#"{"rows":[{"a":0},{"a":1},{"a":2}],"rowCount":3}"#);
    table.limits = Limits { max_bytes: 75, ..LIMITS };
    assert_eq!(table.raw(&rows), r#"{"rows":[{"a":0},{"a":1}],"rowCount":2,"truncated":true}"#);
    let huge = vec![Cell::Text("x".repeat(100))];
    assert!(table.error(std::slice::from_ref(&huge)).contains("one row is larger than the 75 bytes"));
    assert_eq!(
        table.raw(&[rows[0].clone(), huge.clone()]),
        r#"{"rows":[{"a":0}],"rowCount":1,"truncated":true}"#
    );
    table.form = Form::Written;
    assert_eq!(table.raw(&[huge]), r#"{"affected":7,"rows":[],"truncated":true}"#);
}

#[test]
fn a_writer_that_starts_again_forgets_what_it_wrote() {
    let table = Table::new(&["a"]);
    let mut writer =
        RowWriter::new(Arc::new(Shape::new(&table.columns, &table.kinds, table.form, table.limits)));
    for number in [1, 2] {
        writer.begin_row();
        writer.integer(number);
        assert!(writer.end_row().is_continue());
    }
    writer.begin_row();
    assert!(writer.restart());
    writer.begin_row();
    writer.integer(3);
    assert!(writer.end_row().is_continue());
    let members = String::from_utf8(writer.finish(None).members().to_vec()).unwrap();
    assert!(members.contains(r#""structuredContent":{"rows":[{"a":3}],"rowCount":1}"#), "{members}");
    assert!(members.contains(r#""text":"{\"rows\":[{\"a\":3}],\"rowCount\":1}""#), "{members}");
}

#[test]
fn a_row_of_another_width_is_no_result() {
    assert!(Table::new(&["a", "b"]).error(&[vec![Cell::Null]]).contains("the table has changed"));
}

#[test]
fn text_can_be_a_table() {
    let rows = [
        vec![Cell::Text("x, \"y\"".into()), Cell::Decimal("0.10")],
        vec![Cell::Null, Cell::List(vec![Cell::Integer(1)])],
        vec![Cell::Text(String::new()), Cell::Text("a|b\nc".into())],
    ];
    let text = |form, text, rows: &[Vec<Cell>]| {
        let mut table = Table::new(&["a", "b"]);
        table.limits = Limits { text, max_rows: 2, ..LIMITS };
        table.form = form;
        let members = String::from_utf8(table.reply(rows).members().to_vec()).unwrap();
        let result: Json = serde_json::from_str(&format!("{{{members}}}")).unwrap();
        result["content"][0]["text"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        text(Form::Rows, TextForm::Csv, &rows),
        "a,b\n\"x, \"\"y\"\"\",0.10\n,[1]\n\nmore rows were left out; shown are 2\n"
    );
    assert_eq!(
        text(Form::Rows, TextForm::Markdown, &rows[2..]),
        "| a | b |\n| --- | --- |\n|  | a\\|b<br>c |\n"
    );
    assert_eq!(text(Form::Row, TextForm::Csv, &rows[2..]), "a,b\n\"\",\"a|b\nc\"\n");
    assert_eq!(text(Form::Written, TextForm::Csv, &[]), "a,b\n\nrows changed: 7\n");
}

#[test]
fn the_schema_is_as_narrow_as_what_is_known() {
    let columns = [
        Column { name: "id".into(), schema: Some(json!({ "type": "integer" })), nullable: false },
        Column {
            name: "name".into(),
            schema: Some(json!({ "type": ["integer", "string"] })),
            nullable: true,
        },
        Column {
            name: "state".into(),
            schema: Some(json!({ "type": "string", "enum": ["a"] })),
            nullable: true,
        },
        Column { name: "any".into(), schema: None, nullable: true },
    ];
    let row = json!({
        "type": "object",
        "properties": {
            "id": { "type": "integer" },
            "name": { "type": ["integer", "string", "null"] },
            "state": { "type": ["string", "null"], "enum": ["a", null] },
            "any": {},
        },
        "required": ["id", "name", "state", "any"],
        "additionalProperties": false,
    });
    let schema = shape::output_schema(&columns, &BTreeMap::new(), Form::Rows);
    assert_eq!(schema["properties"]["rows"]["items"], row);
    assert_eq!(schema["required"], json!(["rows", "rowCount"]));
    let schema = shape::output_schema(&columns[..1], &BTreeMap::new(), Form::Value);
    assert_eq!(schema["properties"]["value"], json!({ "type": ["integer", "null"] }));
    for form in [Form::Rows, Form::Row, Form::Value, Form::Written] {
        assert_eq!(shape::output_schema(&columns, &BTreeMap::new(), form)["type"], "object");
    }
}

#[test]
fn columns_of_one_name_are_told_apart_or_refused() {
    let mut twice = columns(&["a", "a_2", "a", "a"]);
    let problems = shape::check("t", &twice, &kinds(&[("b", ColumnKind::Json)]), Form::Value);
    let paths: Vec<String> = problems.iter().map(|problem| problem.path.join(".")).collect();
    assert_eq!(paths, ["tools.t.sql", "tools.t.sql", "tools.t.returns", "tools.t.columns.b"]);
    shape::distinct(&mut twice);
    let names: Vec<&str> = twice.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["a", "a_2", "a_3", "a_4"]);
}

fn cell() -> impl Strategy<Value = Cell> {
    let leaf = prop_oneof![
        Just(Cell::Null),
        any::<bool>().prop_map(Cell::Boolean),
        any::<i64>().prop_map(Cell::Integer),
        any::<f64>().prop_map(Cell::Float),
        any::<f32>().prop_map(Cell::Float4),
        prop::sample::select(vec!["0.10", "-7", "NaN", "1e5"]).prop_map(Cell::Decimal),
        any::<String>().prop_map(Cell::Text),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Cell::Binary),
        prop::sample::select(vec!["{\"a\":[1,\"\\n\"]}", "[\n1,\r\n2]", "null"]).prop_map(Cell::Json),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let members = prop::collection::btree_map(any::<String>(), inner.clone(), 0..4);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Cell::List),
            members.prop_map(|members| Cell::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_text_is_the_same_object_whatever_the_cells_hold(
        rows in prop::collection::vec(prop::collection::vec(cell(), 3), 0..6),
        max_bytes in 100_usize..3000,
        max_rows in 1_u32..6,
        written: bool,
        names in prop::array::uniform3(any::<String>()),
    ) {
        prop_assume!(names[0] != names[1] && names[1] != names[2] && names[0] != names[2]);
        let mut table = Table::new(&names.each_ref().map(String::as_str));
        table.limits = Limits { max_rows, max_bytes, text: TextForm::Json };
        table.form = if written { Form::Written } else { Form::Rows };
        if table.reply(&rows).is_error() {
            return Ok(());
        }
        let raw = table.raw(&rows);
        let result: Json = serde_json::from_str(&raw).unwrap();
        let kept = result["rows"].as_array().unwrap().len();
        prop_assert_eq!(result.get("truncated").is_some(), kept < rows.len());
    }
}
