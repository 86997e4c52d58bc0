//! The text of a result as CSV or as a Markdown table, made from the finished JSON.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;

use crate::file::TextForm;
use crate::shape::{Form, Shape};

/// An object whose values keep their digits.
type Raw<'a> = HashMap<Cow<'a, str>, &'a RawValue>;

/// Writes the text. What the table itself cannot say, like a cut result, stands on a line below it.
pub(crate) fn text(json: &[u8], shape: &Shape, truncated: bool, cursor: Option<&str>) -> String {
    let result: Raw<'_> = serde_json::from_slice(json).unwrap_or_default();
    let member = |name: &str| result.get(name).map_or("", |value| value.get());
    let rows: Vec<Raw<'_>> = match shape.form {
        Form::Rows | Form::Written => serde_json::from_str(member("rows")).unwrap_or_default(),
        Form::Row => serde_json::from_str(member("row")).into_iter().collect(),
        Form::Value => vec![result.clone()],
    };
    let names: Vec<&str> = match shape.form {
        Form::Value => vec!["value"],
        _ => shape.columns.iter().map(|cell| &*cell.name).collect(),
    };
    let mut text = String::with_capacity(json.len());
    if !names.is_empty() {
        let write = if shape.text == TextForm::Markdown { markdown } else { csv };
        write(&mut text, &names, &rows);
    }
    if shape.form == Form::Written {
        text.push_str(&format!("\nrows changed: {}\n", member("affected")));
    }
    if truncated {
        text.push_str(&format!("\nmore rows were left out; shown are {}\n", rows.len()));
    }
    if let Some(cursor) = cursor {
        text.push_str(&format!("nextCursor: {cursor}\n"));
    }
    text
}

/// Writes rows that stand one on a line each as CSV, with a header line.
pub(crate) fn csv_of_lines(lines: &[u8], shape: &Shape) -> String {
    let names: Vec<&str> = shape.columns.iter().map(|cell| &*cell.name).collect();
    let mut text = String::with_capacity(lines.len());
    csv_line(&mut text, names.iter().map(|name| Some(Cow::Borrowed(*name))));
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let row: Raw<'_> = serde_json::from_slice(line).unwrap_or_default();
        csv_line(&mut text, names.iter().map(|name| cell_text(row.get(*name).copied())));
    }
    text
}

/// RFC 4180, with lines ended by `\n` as models and tools read them. Null is nothing, an empty string is `""`.
fn csv(text: &mut String, names: &[&str], rows: &[Raw<'_>]) {
    csv_line(text, names.iter().map(|name| Some(Cow::Borrowed(*name))));
    for row in rows {
        csv_line(text, names.iter().map(|name| cell_text(row.get(*name).copied())));
    }
}

fn csv_line<'a>(text: &mut String, cells: impl Iterator<Item = Option<Cow<'a, str>>>) {
    for (at, cell) in cells.enumerate() {
        if at > 0 {
            text.push(',');
        }
        match cell.as_deref() {
            None => {}
            Some(cell) if cell.is_empty() || cell.contains(['"', ',', '\n', '\r']) => {
                text.push_str(&format!("\"{}\"", cell.replace('"', "\"\"")));
            }
            Some(cell) => text.push_str(cell),
        }
    }
    text.push('\n');
}

fn markdown(text: &mut String, names: &[&str], rows: &[Raw<'_>]) {
    let mut line = |cells: Vec<Cow<'_, str>>| {
        text.push('|');
        for cell in cells {
            let cell = cell
                .replace('\\', "\\\\")
                .replace('|', "\\|")
                .replace("\r\n", "<br>")
                .replace(['\n', '\r'], "<br>");
            text.push_str(&format!(" {cell} |"));
        }
        text.push('\n');
    };
    line(names.iter().map(|name| Cow::Borrowed(*name)).collect());
    line(names.iter().map(|_| Cow::Borrowed("---")).collect());
    for row in rows {
        let cells =
            names.iter().map(|name| cell_text(row.get(*name).copied()).unwrap_or(Cow::Borrowed("null")));
        line(cells.collect());
    }
}

/// Returns a cell without the quotes of a string; `None` for null.
fn cell_text(cell: Option<&RawValue>) -> Option<Cow<'_, str>> {
    match cell?.get() {
        "null" => None,
        raw if raw.starts_with('"') => serde_json::from_str::<String>(raw).ok().map(Cow::Owned),
        raw => Some(Cow::Borrowed(raw)),
    }
}
