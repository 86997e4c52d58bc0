//! One thing a service asks of the client, as a request that a revision with a handshake knows.
//!
//! 2025-03-26 has no elicitation; 2025-06-18 has forms without multiple choice, whose titled choices are written as
//! `enumNames`; 2025-11-25 has all of it. Spec: client/elicitation and client/sampling of each.

use bytes::Bytes;
use serde_json::{Map, Value, json};
use trunkline_protocol::Revision;

/// What the client is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// `elicitation/create` with a form.
    Form,
    /// `elicitation/create` with this URL.
    Url(String),
    /// `sampling/createMessage`.
    Sampling,
    /// `roots/list`.
    Roots,
}

/// A request for the client, but for its id.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Question {
    pub(super) wanted: Wanted,
    method: String,
    params: Map<String, Value>,
}

/// Why a client cannot be asked; a text for the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CannotAsk(pub(super) String);

impl Question {
    /// Reads one entry of `inputRequests` as a client of `revision` can be asked.
    ///
    /// # Errors
    /// [`CannotAsk`] when that revision has no words for it.
    pub(super) fn read(entry: &Value, revision: Revision) -> Result<Self, CannotAsk> {
        let method = entry.get("method").and_then(Value::as_str).unwrap_or_default().to_owned();
        let params = entry.get("params").and_then(Value::as_object).cloned().unwrap_or_default();
        let (wanted, params) = match method.as_str() {
            "elicitation/create" => elicitation(params, revision)?,
            "sampling/createMessage" => (Wanted::Sampling, sampling(params, revision)?),
            "roots/list" => (Wanted::Roots, params),
            _ => return Err(cannot("something that clients of this revision do not know", revision)),
        };
        Ok(Self { wanted, method, params })
    }

    /// Returns the whole request under the id, which also names the elicitation of a URL; its params are not kept.
    pub(super) fn take_message(&mut self, id: &str) -> Bytes {
        let mut params = std::mem::take(&mut self.params);
        if matches!(self.wanted, Wanted::Url(_)) {
            params.insert("elicitationId".to_owned(), id.into());
        }
        let mut message = json!({ "jsonrpc": "2.0", "id": id, "method": self.method });
        if !(params.is_empty() && self.wanted == Wanted::Roots) {
            message["params"] = Value::Object(params);
        }
        message.to_string().into()
    }

    /// Returns what it asks for, in a sentence of its own for the model.
    pub(super) fn what(&self) -> &'static str {
        match self.wanted {
            Wanted::Form | Wanted::Url(_) => "an answer of the user",
            Wanted::Sampling => "a completion by the client's model",
            Wanted::Roots => "the client's roots",
        }
    }
}

fn cannot(what: &str, revision: Revision) -> CannotAsk {
    CannotAsk(format!(
        "this needs to ask for {what}; the client speaks {revision}, which has no way to ask it"
    ))
}

fn elicitation(
    mut params: Map<String, Value>,
    revision: Revision,
) -> Result<(Wanted, Map<String, Value>), CannotAsk> {
    if revision < Revision::V2025_06_18 {
        return Err(cannot("an answer of the user", revision));
    }
    if params.get("mode").and_then(Value::as_str) == Some("url") {
        if revision < Revision::V2025_11_25 {
            return Err(cannot("a visit of the user to a web page", revision));
        }
        let url = params.get("url").and_then(Value::as_str).unwrap_or_default().to_owned();
        return Ok((Wanted::Url(url), params));
    }
    if revision < Revision::V2025_11_25 {
        params.remove("mode");
        if let Some(schema) = params.get_mut("requestedSchema") {
            simplify(schema, revision)?;
        }
    }
    Ok((Wanted::Form, params))
}

/// Writes the schema of a form with what 2025-06-18 has.
fn simplify(schema: &mut Value, revision: Revision) -> Result<(), CannotAsk> {
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("$schema");
    }
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    for property in properties.into_iter().flat_map(|properties| properties.values_mut()) {
        if property.get("type").and_then(Value::as_str) == Some("array") {
            return Err(cannot("a choice of several values", revision));
        }
        let Some(property) = property.as_object_mut() else { continue };
        if let Some(Value::Array(choices)) = property.remove("oneOf") {
            let value = |choice: &Value| choice.get("const").cloned().unwrap_or_default();
            // A name must be a text; a choice without one is shown as what it is.
            let name = |choice: &Value| match choice.get("title") {
                Some(Value::String(title)) => Value::from(title.as_str()),
                _ => value(choice),
            };
            property.insert("enum".to_owned(), choices.iter().map(value).collect());
            property.insert("enumNames".to_owned(), choices.iter().map(name).collect());
        }
    }
    Ok(())
}

/// Tools in sampling came with 2025-11-25, and with them messages of several blocks.
fn sampling(mut params: Map<String, Value>, revision: Revision) -> Result<Map<String, Value>, CannotAsk> {
    if revision >= Revision::V2025_11_25 {
        return Ok(params);
    }
    if params.contains_key("tools") || params.contains_key("toolChoice") {
        return Err(cannot("a completion that may use tools", revision));
    }
    if let Some(Value::Array(messages)) = params.remove("messages") {
        params.insert("messages".to_owned(), messages.into_iter().flat_map(one_block_each).collect());
    }
    Ok(params)
}

fn one_block_each(mut message: Value) -> Vec<Value> {
    match message.get_mut("content").map(Value::take) {
        Some(Value::Array(blocks)) => blocks
            .into_iter()
            .map(|block| {
                let mut one = message.clone();
                one["content"] = block;
                one
            })
            .collect(),
        Some(content) => {
            message["content"] = content;
            vec![message]
        }
        None => vec![message],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: &str, params: Value, revision: Revision) -> Result<Value, CannotAsk> {
        let mut question = Question::read(&json!({ "method": method, "params": params }), revision)?;
        let message: Value = serde_json::from_slice(&question.take_message("q")).unwrap();
        assert_eq!((&message["id"], &message["method"]), (&"q".into(), &method.into()));
        Ok(message["params"].clone())
    }

    fn form(property: Value) -> Value {
        json!({ "mode": "form", "message": "m", "requestedSchema": { "type": "object", "properties": { "p": property } } })
    }

    #[test]
    fn titled_choices_have_names_of_their_own_in_2025_06_18() {
        let titled = json!({ "type": "string", "oneOf": [{ "const": "a", "title": "A" }, { "const": "b", "title": "B" }] });
        let old = read("elicitation/create", form(titled.clone()), Revision::V2025_06_18).unwrap();
        assert_eq!(
            old["requestedSchema"]["properties"]["p"],
            json!({ "type": "string", "enum": ["a", "b"], "enumNames": ["A", "B"] })
        );
        assert!(old.get("mode").is_none());
        let new = read("elicitation/create", form(titled.clone()), Revision::V2025_11_25).unwrap();
        assert_eq!(new["requestedSchema"]["properties"]["p"], titled);
    }

    #[test]
    fn a_choice_without_a_title_is_named_by_its_value() {
        let mixed = json!({ "type": "string", "oneOf": [{ "const": "a" }, { "const": "b", "title": "B" }] });
        let old = read("elicitation/create", form(mixed), Revision::V2025_06_18).unwrap();
        assert_eq!(old["requestedSchema"]["properties"]["p"]["enumNames"], json!(["a", "B"]));
    }

    #[test]
    fn what_a_revision_cannot_ask_is_refused() {
        let several = form(json!({ "type": "array", "items": { "type": "string", "enum": ["a"] } }));
        let url = json!({ "mode": "url", "message": "m", "url": "https://x.example/" });
        for (method, params, since) in [
            ("elicitation/create", form(json!({ "type": "string" })), Revision::V2025_06_18),
            ("elicitation/create", several, Revision::V2025_11_25),
            ("elicitation/create", url, Revision::V2025_11_25),
            ("sampling/createMessage", json!({ "tools": [] }), Revision::V2025_11_25),
            ("roots/list", json!({}), Revision::V2025_03_26),
        ] {
            for revision in Revision::ALL.into_iter().filter(|revision| !revision.is_modern()) {
                let asked = read(method, params.clone(), revision);
                assert_eq!(asked.is_ok(), revision >= since, "{method} {revision} {asked:?}");
            }
        }
        assert!(read("tools/call", json!({}), Revision::V2025_11_25).is_err());
    }

    #[test]
    fn a_url_gets_the_id_of_its_question() {
        let url = json!({ "mode": "url", "message": "m", "url": "https://x.example/" });
        let asked = read("elicitation/create", url, Revision::V2025_11_25).unwrap();
        assert_eq!(asked["elicitationId"], "q");
    }

    #[test]
    fn messages_of_several_blocks_become_several_messages() {
        let message = json!({ "role": "user", "content": [{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }] });
        let asked = read(
            "sampling/createMessage",
            json!({ "messages": [message], "maxTokens": 1 }),
            Revision::V2025_06_18,
        )
        .unwrap();
        assert_eq!(asked["messages"].as_array().unwrap().len(), 2);
        assert_eq!(asked["messages"][1]["content"]["text"], "b");
    }
}
