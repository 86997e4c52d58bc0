//! Content that an old revision does not know, said in the words it has.

use serde_json::{Map, Value, json};

/// Rewrites the members of a tool result or prompt for 2025-03-26: a `resource_link` becomes a text that names the resource.
/// Members that cannot be read stay as they are.
pub(super) fn without_links(members: &[u8]) -> Vec<u8> {
    let text = [b"{", members, b"}"].concat();
    let Ok(mut result) = serde_json::from_slice::<Map<String, Value>>(&text) else { return members.to_vec() };
    if let Some(content) = result.get_mut("content").and_then(Value::as_array_mut) {
        content.iter_mut().for_each(replace);
    }
    if let Some(messages) = result.get_mut("messages").and_then(Value::as_array_mut) {
        messages.iter_mut().filter_map(|message| message.get_mut("content")).for_each(replace);
    }
    let text = Value::Object(result).to_string();
    text.get(1..text.len().saturating_sub(1)).unwrap_or_default().as_bytes().to_vec()
}

fn replace(block: &mut Value) {
    if block.get("type").and_then(Value::as_str) != Some("resource_link") {
        return;
    }
    let part = |name: &str| block.get(name).and_then(Value::as_str).unwrap_or_default();
    let name = if part("title").is_empty() { part("name") } else { part("title") };
    let text = format!("{name}: {}", part("uri"));
    *block = json!({ "type": "text", "text": text });
}
