//! How answers and failures of the assistant's tools are written: structured, with a text twin, within the bytes allowed.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use trunkline_protocol::write;
use trunkline_service::{FailureKind, Reply, Request};
use trunkline_sql::{Access, Asked as Who, DatabaseError, Refusal};

/// Why a call came to nothing.
#[derive(Debug)]
pub(super) enum Fault {
    /// The caller can do something about it, and this says what.
    Said(String),
    /// One of our own statements failed.
    Database(DatabaseError),
    /// The caller's statement was refused or failed; places are those in `sql`.
    Statement { error: DatabaseError, sql: String },
}

impl From<DatabaseError> for Fault {
    fn from(error: DatabaseError) -> Self {
        Self::Database(error)
    }
}

/// Returns the JSON Schema of what a tool answers.
pub(super) fn schema_of<T: JsonSchema>() -> Json {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.remove("title");
    schema.remove("description");
    schema.to_value()
}

/// Reads the arguments of a call.
///
/// # Errors
/// [`Fault::Said`].
pub(super) fn arguments<T: DeserializeOwned>(raw: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(raw).map_err(|error| {
        let text = error.to_string();
        let text = text.split(" at line ").next().unwrap_or_default();
        Fault::Said(format!("the arguments do not fit: {text}"))
    })
}

/// Makes an answer fit: what is too long of the longest lists is cut, and `truncated` says so.
///
/// # Errors
/// [`Fault::Said`] when it cannot be made to fit.
pub(super) fn bounded<T: Serialize>(answer: &T, most: usize) -> Result<Json, Fault> {
    let mut json = serde_json::to_value(answer).unwrap_or_default();
    for _ in 0..MOST_CUTS {
        if size(&json) <= most {
            return Ok(json);
        }
        if let Some(object) = json.as_object_mut() {
            object.insert("truncated".to_owned(), true.into());
        }
        // A list of one is only emptied when nothing else is left to cut.
        let Some((_, place)) = heaviest(&json, 2).or_else(|| heaviest(&json, 1)) else { break };
        let Some(list) = json.pointer_mut(&place).and_then(Json::as_array_mut) else { break };
        let keep = list.len() - list.len().div_ceil(8);
        list.truncate(keep);
    }
    Err(Fault::Said(format!(
        "the answer is larger than the {most} bytes a result may have; ask for less, or have the operator raise `max-bytes`"
    )))
}

fn size(json: &Json) -> usize {
    serde_json::to_vec(json).map_or(usize::MAX, |bytes| bytes.len())
}

/// Returns the bytes and the place of the heaviest list of at least so many members; one within it that has most of its bytes stands for it.
fn heaviest(json: &Json, least: usize) -> Option<(usize, String)> {
    let members: Vec<(String, &Json)> = match json {
        Json::Array(list) => list.iter().enumerate().map(|(at, one)| (at.to_string(), one)).collect(),
        Json::Object(object) => {
            object.iter().map(|(key, one)| (key.replace('~', "~0").replace('/', "~1"), one)).collect()
        }
        _ => return None,
    };
    let within = members
        .into_iter()
        .filter_map(|(key, one)| heaviest(one, least).map(|(bytes, path)| (bytes, format!("/{key}{path}"))))
        .max_by_key(|(bytes, _)| *bytes);
    match json.as_array().filter(|list| list.len() >= least) {
        Some(_) => {
            let own = size(json);
            match within {
                Some((bytes, path)) if bytes * 2 > own => Some((bytes, path)),
                _ => Some((own, String::new())),
            }
        }
        None => within,
    }
}

/// Writes the result: the structured content, and the same as text.
pub(super) fn reply(answer: &Json) -> Reply {
    let json = serde_json::to_vec(answer).unwrap_or_default();
    let mut members = Vec::with_capacity(json.len() * 2 + json.len() / 4 + 128);
    members.extend_from_slice(br#""content":[{"type":"text","text":""#);
    write::escaped(&mut members, &json);
    members.extend_from_slice(br#""}]"#);
    let start = members.len();
    members.extend_from_slice(br#","structuredContent":"#);
    members.extend_from_slice(&json);
    let end = members.len();
    members.extend_from_slice(br#","isError":false"#);
    Reply::from_members(members).with_structured(start..end)
}

/// Says which call it is of a tool, or of what else is named.
pub(super) fn who<'a>(connector: &'a str, tool: &'a str, request: &Request) -> Who<'a> {
    Who { connector, tool, access: Access::ReadOnly, log_id: request.log_id() }
}

impl Fault {
    /// Words it for the caller, and tells the operator.
    pub(super) fn told(&self, who: &Who<'_>) -> Refusal {
        match self {
            Self::Said(text) => Refusal::new(FailureKind::InvalidParams, text.clone()),
            Self::Statement { error, sql } => who.ad_hoc_failed(error, sql),
            Self::Database(error) => of_catalogue(who, error),
        }
    }
}

/// Words why one of our own statements failed.
fn of_catalogue(who: &Who<'_>, error: &DatabaseError) -> Refusal {
    let text = match error {
        DatabaseError::Data { code: Some(code), .. } | DatabaseError::Statement { code: Some(code), .. }
            if code == "42501" =>
        {
            "the database user of this connector lacks a right that this needs (42501)"
        }
        DatabaseError::Statement { .. } | DatabaseError::Data { .. } | DatabaseError::Encoding { .. } => {
            "the catalogue of this database could not be read; its operator finds why in the log"
        }
        other => return who.failed(other),
    };
    who.warn(error);
    Refusal::new(FailureKind::UpstreamUnavailable, text.to_owned()).logged(who.log_id)
}

/// Each cut takes an eighth of one list, so that this many make any answer small.
const MOST_CUTS: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_too_long_is_cut_where_it_is_longest() {
        let answer =
            json!({ "name": "t", "few": [1, 2], "tables": [{ "columns": (0..500).collect::<Vec<_>>() }] });
        let cut = bounded(&answer, 300).unwrap();
        assert!(size(&cut) <= 300, "{cut}");
        assert_eq!((&cut["few"], &cut["truncated"]), (&json!([1, 2]), &json!(true)));
        assert!(cut["tables"][0]["columns"].as_array().is_some_and(|columns| columns.len() > 20), "{cut}");
        assert_eq!(bounded(&json!({ "few": [1] }), 300).unwrap(), json!({ "few": [1] }));
        assert!(bounded(&json!({ "text": "x".repeat(400) }), 300).is_err());
    }
}
