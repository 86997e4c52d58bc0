//! How answers and failures of the assistant's tools are written: structured, with a text twin, within the bytes allowed.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use trunkline_protocol::write;
use trunkline_service::{Failure, FailureKind, Reply};
use trunkline_sql::{DatabaseError, Unidentified};

/// Why a call came to nothing.
#[derive(Debug)]
pub(super) enum Fault {
    /// The caller can do something about it, and this says what.
    Said(String),
    /// One of our own statements failed.
    Database(DatabaseError),
    /// The caller's statement was refused or failed; places are those in `sql`.
    Statement { error: DatabaseError, sql: String },
    /// What the database is to know of the caller could not be computed.
    Unidentified(Unidentified),
    /// Its time was over.
    Late,
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

/// Which call it was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Who<'a> {
    pub(super) connector: &'a str,
    pub(super) tool: &'a str,
    pub(super) log_id: u64,
}

impl Who<'_> {
    /// The result of a tool that failed.
    pub(super) fn failed(&self, fault: &Fault) -> Reply {
        Reply::tool_error(&self.text(fault))
    }

    /// The failure of a request that has no error results.
    pub(super) fn failure(&self, fault: &Fault) -> Failure {
        let kind = match fault {
            Fault::Said(_) | Fault::Statement { .. } => FailureKind::InvalidParams,
            Fault::Unidentified(_) | Fault::Database(DatabaseError::Identity { .. }) => {
                FailureKind::Forbidden
            }
            Fault::Database(_) => FailureKind::UpstreamUnavailable,
            Fault::Late => FailureKind::DeadlinePassed,
        };
        Failure::new(kind, self.text(fault))
    }

    fn text(&self, fault: &Fault) -> String {
        let id = self.log_id;
        match fault {
            Fault::Said(text) => text.clone(),
            Fault::Unidentified(Unidentified { key, cause }) => {
                let request = format!("{id:016x}");
                tracing::warn!(
                    request,
                    connector = self.connector,
                    tool = self.tool,
                    key,
                    "not computed: {cause}"
                );
                format!(
                    "`{key}` is set by the server, and could not be for this call: {cause} (request {request})"
                )
            }
            Fault::Late => {
                tracing::warn!(
                    request = format!("{id:016x}"),
                    connector = self.connector,
                    tool = self.tool,
                    "the deadline passed"
                );
                format!(
                    "the database did not answer in time; ask for less, or try again later (request {id:016x})"
                )
            }
            Fault::Statement { error: DatabaseError::Reported(report), sql } => {
                let place = report.position.map(|at| place_of(sql, at)).unwrap_or_default();
                let code = report.code.as_deref().map(|code| format!(" ({code})")).unwrap_or_default();
                let near = report.nearest.as_deref().map(|near| format!("; did you mean `{near}`?"));
                let more = [&report.detail, &report.hint].into_iter().flatten();
                let more: String = more.map(|text| format!("; {text}")).collect();
                let near = near.unwrap_or_default();
                let is_wrong = report.code.as_deref().is_none_or(|code| code.starts_with("42"));
                let what = if is_wrong {
                    "the database does not accept the statement"
                } else {
                    "the statement failed"
                };
                let retry = if report.may_retry { "; try again in a moment" } else { "" };
                format!("{what}: {}{code}{place}{near}{more}{retry}", report.message)
            }
            Fault::Statement { error: DatabaseError::Refused { message }, .. } => message.clone(),
            Fault::Database(error) | Fault::Statement { error, .. } => self.database(error),
        }
    }

    fn database(&self, error: &DatabaseError) -> String {
        let id = self.log_id;
        tracing::warn!(
            request = format!("{id:016x}"),
            connector = self.connector,
            tool = self.tool,
            "{}",
            trunkline_service::Chain(error)
        );
        match error {
            DatabaseError::TimedOut { after } => {
                format!(
                    "it was stopped after {after:.1?}; ask for less, or try again later (request {id:016x})"
                )
            }
            DatabaseError::PoolExhausted { after } => {
                format!(
                    "all connections to the database were busy for {after:.1?}; try again in a moment (request {id:016x})"
                )
            }
            DatabaseError::Data { code: Some(code), .. }
            | DatabaseError::Statement { code: Some(code), .. }
                if code == "42501" =>
            {
                format!(
                    "the database user of this connector lacks a right that this needs (42501, request {id:016x})"
                )
            }
            DatabaseError::Statement { .. } | DatabaseError::Data { .. } | DatabaseError::Encoding { .. } => {
                format!(
                    "the catalogue of this database could not be read; its operator finds why in the log (request {id:016x})"
                )
            }
            DatabaseError::Identity { .. } => {
                format!(
                    "the database does not take this caller; its operator finds why in the log (request {id:016x})"
                )
            }
            _ => format!("the database does not answer; try again later (request {id:016x})"),
        }
    }
}

/// Says where a byte stands, as a person counts.
fn place_of(sql: &str, position: usize) -> String {
    let before = sql.get(..position.min(sql.len())).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!(" at line {line}, column {column}")
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
