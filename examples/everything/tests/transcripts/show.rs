//! Lays a message out for people: on one line where it fits, else one member a line.

use serde_json::Value;

const WIDTH: usize = 120;
/// As wide as `>> `.
const INDENT: usize = 3;

/// The message as it stands behind its mark; every line after the first begins with at least three spaces.
pub(crate) fn message(value: &Value) -> String {
    laid_out(value, INDENT)
}

fn laid_out(value: &Value, column: usize) -> String {
    let flat = on_one_line(value);
    if column + flat.chars().count() <= WIDTH {
        return flat;
    }
    let (open, close, items): (_, _, Vec<String>) = match value {
        Value::Object(members) => {
            let lines = members.iter().map(|(name, value)| {
                let name = Value::from(name.as_str()).to_string();
                // The name stands before the value, which has that much less room.
                let room = laid_out(value, column + 2 + name.chars().count() + 2);
                let value = if room.contains('\n') { laid_out(value, column + 2) } else { room };
                format!("{name}: {value}")
            });
            ('{', '}', lines.collect())
        }
        Value::Array(items) => ('[', ']', items.iter().map(|item| laid_out(item, column + 2)).collect()),
        _ => return flat,
    };
    let (inner, outer) = (" ".repeat(column + 2), " ".repeat(column));
    format!("{open}\n{inner}{}\n{outer}{close}", items.join(&format!(",\n{inner}")))
}

fn on_one_line(value: &Value) -> String {
    match value {
        Value::Object(members) if !members.is_empty() => {
            let members: Vec<String> = members
                .iter()
                .map(|(name, value)| format!("{}: {}", Value::from(name.as_str()), on_one_line(value)))
                .collect();
            format!("{{{}}}", members.join(", "))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(on_one_line).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}

#[test]
fn long_messages_are_broken_at_their_members() {
    let long = "x".repeat(110);
    let value = serde_json::json!({ "a": 1, "b": { "c": [1, 2], "d": long } });
    let expected = format!(
        "{{\n     \"a\": 1,\n     \"b\": {{\n       \"c\": [1, 2],\n       \"d\": \"{long}\"\n     }}\n   }}"
    );
    assert_eq!(message(&value), expected);
}
