//! Showing a tool's result to a person: rows as a table, anything else as the text the tool gave.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::commands::tools::table;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolResult<'a> {
    #[serde(borrow, default)]
    content: Vec<Block<'a>>,
    #[serde(borrow, default)]
    structured_content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Block<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    uri: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    mime_type: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    data: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    resource: Option<Resource<'a>>,
}

#[derive(Deserialize)]
struct Resource<'a> {
    #[serde(borrow)]
    uri: Cow<'a, str>,
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
}

/// The shapes of `structuredContent` that are shown better than as JSON.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Structured<'a> {
    #[serde(borrow, default)]
    rows: Option<Vec<Row<'a>>>,
    #[serde(borrow, default)]
    row: Option<Row<'a>>,
    #[serde(borrow, default)]
    value: Option<&'a RawValue>,
    #[serde(default)]
    affected: Option<u64>,
    #[serde(default)]
    truncated: bool,
    #[serde(default)]
    next_cursor: Option<String>,
}

/// An object in the order and with the spelling it has.
struct Row<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Row<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Members).map(Row)
    }
}

/// Returns the text for a result that is no error.
pub(crate) fn result(raw: &RawValue) -> String {
    let Ok(result) = serde_json::from_str::<ToolResult<'_>>(raw.get()) else {
        return table::printable(raw.get());
    };
    if let Some(shown) = result.structured_content.and_then(structured) {
        return shown;
    }
    let text = blocks(&result.content);
    match result.structured_content {
        Some(structured) if text.is_empty() => table::printable(structured.get()),
        _ => text,
    }
}

/// Returns the text blocks of a result, and a word about each other block.
pub(crate) fn content(raw: &RawValue) -> String {
    serde_json::from_str::<ToolResult<'_>>(raw.get())
        .map(|result| blocks(&result.content))
        .ok()
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| table::printable(raw.get()))
}

fn blocks(content: &[Block<'_>]) -> String {
    content.iter().map(|block| table::printable(&describe(block))).collect::<Vec<_>>().join("\n")
}

fn describe<'b>(block: &'b Block<'_>) -> Cow<'b, str> {
    let kind = block.mime_type.as_deref().unwrap_or(&block.kind);
    match (block.text.as_deref(), &block.resource, block.uri.as_deref(), block.data.as_deref()) {
        (Some(text), ..) => Cow::Borrowed(text),
        (_, Some(Resource { text: Some(text), .. }), ..) => Cow::Borrowed(text),
        (_, Some(Resource { uri, .. }), ..) => Cow::Owned(format!("[{kind}: {uri}]")),
        (_, _, Some(uri), _) => Cow::Owned(format!("[{kind}: {uri}]")),
        // Base64 holds three bytes in four characters; `--output json` has them.
        (.., Some(data)) => Cow::Owned(format!("[{kind}, {} bytes]", data.len() / 4 * 3)),
        _ => Cow::Owned(format!("[{kind}]")),
    }
}

/// Returns `None` for shapes that have no better form than their text.
fn structured(raw: &RawValue) -> Option<String> {
    let shape: Structured<'_> = serde_json::from_str(raw.get()).ok()?;
    let mut parts = Vec::new();
    parts.extend(shape.affected.map(|affected| format!("{affected} affected")));
    if let Some(rows) = &shape.rows
        && !(rows.is_empty() && shape.affected.is_some())
    {
        parts.push(rows_text(rows));
    }
    if let Some(row) = shape.row {
        parts.push(rows_text(&[row]));
    } else if let Some(value) = shape.value {
        parts.push(cell(value));
    } else if parts.is_empty() {
        return is_empty_row(raw).then(|| "no row".to_owned());
    }
    if shape.truncated {
        parts.push(match shape.next_cursor {
            Some(cursor) => format!("truncated: there is more, from cursor `{}`", table::printable(&cursor)),
            None => "truncated: there is more".to_owned(),
        });
    }
    Some(parts.join("\n"))
}

/// Tells `{"row": null}` from a result of some other shape.
fn is_empty_row(raw: &RawValue) -> bool {
    serde_json::from_str::<Row<'_>>(raw.get())
        .is_ok_and(|Row(members)| members.iter().any(|(key, value)| key == "row" && value.get() == "null"))
}

fn rows_text(rows: &[Row<'_>]) -> String {
    let mut columns: Vec<String> = Vec::new();
    for (key, _) in rows.iter().flat_map(|Row(members)| members) {
        if !columns.contains(key) {
            columns.push(key.clone());
        }
    }
    if rows.is_empty() || columns.is_empty() {
        return "no rows".to_owned();
    }
    let line = |Row(members): &Row<'_>| {
        let value = |column: &String| {
            members.iter().find(|(key, _)| key == column).map(|(_, value)| cell(value)).unwrap_or_default()
        };
        columns.iter().map(value).collect()
    };
    let count = if rows.len() == 1 { "1 row".to_owned() } else { format!("{} rows", rows.len()) };
    format!("{}\n({count})", table::draw_any(columns.clone(), rows.iter().map(line)))
}

/// Text without its quotes, everything else as it is written.
fn cell(raw: &RawValue) -> String {
    serde_json::from_str::<String>(raw.get())
        .map_or_else(|_| table::printable(raw.get()), |text| table::printable(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        result(&RawValue::from_string(text.to_owned()).unwrap())
    }

    #[test]
    fn rows_become_a_table_with_digits_as_they_came() {
        let text = shown(
            r#"{"content":[{"type":"text","text":"twin"}],"structuredContent":{"rows":[{"id":9007199254740993,"name":"Ann"},{"id":2,"name":null,"more":1.10}],"rowCount":2,"truncated":true,"nextCursor":"c1"}}"#,
        );
        assert!(text.contains("9007199254740993") && text.contains("1.10") && text.contains("Ann"), "{text}");
        assert!(text.ends_with("(2 rows)\ntruncated: there is more, from cursor `c1`"), "{text}");
        assert!(!text.contains("twin"), "{text}");
        let columns: Vec<&str> = text.lines().next().unwrap().split('|').map(str::trim).collect();
        assert_eq!(columns, ["id", "name", "more"]);
    }

    #[test]
    fn other_shapes_have_their_own_form() {
        assert_eq!(shown(r#"{"content":[],"structuredContent":{"rows":[],"rowCount":0}}"#), "no rows");
        assert_eq!(shown(r#"{"content":[],"structuredContent":{"value":"a\nb"}}"#), "a\nb");
        assert_eq!(shown(r#"{"content":[],"structuredContent":{"row":null}}"#), "no row");
        assert_eq!(shown(r#"{"content":[],"structuredContent":{"affected":3,"rows":[]}}"#), "3 affected");
        assert_eq!(shown(r#"{"content":[],"structuredContent":{"n":1.0}}"#), r#"{"n":1.0}"#);
        assert_eq!(shown(r#"{"content":[],"structuredContent":[1]}"#), "[1]");
        assert_eq!(
            shown(r#"{"content":[{"type":"text","text":"one"}],"structuredContent":{"rows":"x"}}"#),
            "one"
        );
    }

    #[test]
    fn content_is_text_and_a_word_about_the_rest() {
        let text = shown(
            r#"{"content":[{"type":"text","text":"a\u001b[2Jb"},{"type":"image","mimeType":"image/png","data":"AAAA"},
               {"type":"resource_link","uri":"file:///x","name":"x"},{"type":"resource","resource":{"uri":"u:1","text":"inside"}}]}"#,
        );
        assert_eq!(text, "a[2Jb\n[image/png, 3 bytes]\n[resource_link: file:///x]\ninside");
    }
}
