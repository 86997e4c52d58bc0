//! The catalogue as resources: `postgres://shop/` for the schemas, `postgres://shop/public/customers` for a table.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value as Json, json};
use trunkline_protocol::{member, write};
use trunkline_service::catalog::{Facts, Parts, Served};
use trunkline_service::{
    CacheScope, Failure, FailureKind, Hints, Outcome, Reply, Request, ResourceDefinition, Service,
    TemplateDefinition,
};
use trunkline_sql::Value;

use super::answer::{Fault, bounded, who};
use super::{Asked, RESOURCES, schema};

/// Up to so many tables, each is listed as a resource; with more, only the template tells of them.
pub(super) const MOST_LISTED: usize = 100;

/// Returns the template of the tables' URIs.
pub(super) fn template(connector: &str) -> String {
    format!("postgres://{connector}/{{schema}}/{{table}}")
}

/// Adds the index, the tables that are listed, and the template.
pub(super) fn add(
    parts: &mut Parts,
    service: &Arc<dyn Service>,
    connector: &str,
    tables: &[(String, String)],
    facts: &Facts,
) {
    let served = |definition| {
        let served = Served::new(definition, Arc::clone(service), RESOURCES);
        Served { facts: facts.clone(), ..served }
    };
    parts.resources.push(served(ResourceDefinition {
        uri: format!("postgres://{connector}/"),
        name: connector.to_owned(),
        title: Some(format!("Schemas of {connector}")),
        description: Some(format!(
            "The schemas of the PostgreSQL database `{connector}`, with how many tables each has"
        )),
        mime_type: Some(JSON.to_owned()),
        ..ResourceDefinition::default()
    }));
    parts.resources.extend(tables.iter().map(|(schema, table)| {
        served(ResourceDefinition {
            uri: format!("postgres://{connector}/{}/{}", encoded(schema), encoded(table)),
            name: format!("{schema}.{table}"),
            mime_type: Some(JSON.to_owned()),
            ..ResourceDefinition::default()
        })
    }));
    parts.templates.push(Served {
        definition: TemplateDefinition {
            uri_template: template(connector),
            name: format!("{connector} table"),
            title: Some(format!("A table of {connector}")),
            description: Some(format!(
                "Columns, keys, indexes and comments of one table or view of `{connector}`"
            )),
            mime_type: Some(JSON.to_owned()),
            ..TemplateDefinition::default()
        },
        service: Arc::clone(service),
        target: RESOURCES,
        facts: facts.clone(),
        checks: Default::default(),
        completes: true,
    });
}

/// Reads what a URI names.
///
/// # Errors
/// [`Failure`].
pub(super) async fn read(asked: &Asked<'_>, request: &Request) -> Outcome {
    let connector = &*asked.assistant.name;
    let uri = request.uri().unwrap_or_default().into_owned();
    let read = if uri == format!("postgres://{connector}/") {
        index(asked).await
    } else {
        match table_of(asked, &uri) {
            Some((schema, table)) => schema::full(asked, &schema, &table).await,
            None => Ok(None),
        }
    };
    match read {
        Ok(Some(json)) => Ok(contents(&uri, &json)),
        Ok(None) => Err(Failure::resource_not_found(&uri)),
        Err(fault) => Err(fault.told(&who(connector, "resources", request)).failure()),
    }
}

async fn index(asked: &Asked<'_>) -> Result<Option<Json>, Fault> {
    let schemas = schema::schemas(asked).await?;
    bounded(&json!({ "schemas": schemas }), asked.most_bytes()).map(Some)
}

fn table_of(asked: &Asked<'_>, uri: &str) -> Option<(String, String)> {
    let values = asked.assistant.template.as_ref()?.matches(uri)?;
    let value = |name: &str| values.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
    value("schema").zip(value("table"))
}

fn contents(uri: &str, json: &Json) -> Reply {
    let text = json.to_string();
    let mut members = br#""contents":[{"uri":"#.to_vec();
    write::string(&mut members, uri);
    members.extend_from_slice(br#","mimeType":"application/json","text":"#);
    write::string(&mut members, &text);
    members.extend_from_slice(b"}]");
    // What a login sees may differ from caller to caller.
    Reply::from_members(members).with_hints(Hints { ttl_ms: FRESH_MS, scope: CacheScope::Private })
}

#[derive(Debug, Deserialize)]
struct Fitting {
    total: u64,
    values: Vec<String>,
}

/// Completes `schema` or `table` of the template.
///
/// # Errors
/// [`Failure`].
pub(super) async fn complete(asked: &Asked<'_>, request: &Request) -> Outcome {
    let argument = request.param("argument").raw(request.body());
    let text = |name: &str| member(argument, name).text(argument).map(String::from);
    let (Some(name), Some(typed)) = (text("name"), text("value")) else {
        let text = "`argument` needs `name` and `value`, two strings";
        return Err(Failure::new(FailureKind::InvalidParams, text));
    };
    let context = request.param("context").raw(request.body());
    let others = member(context, "arguments").raw(context);
    let schema = match name.as_str() {
        "schema" => Value::Null,
        // Of what schema, is told by most clients; else it is that of most tables.
        "table" => {
            let schema = member(others, "schema").text(others);
            Value::Text(schema.map_or_else(|| "public".to_owned(), String::from))
        }
        _ => return Ok(completion(&Fitting { total: 0, values: Vec::new() })),
    };
    let values = vec![schema, Value::Text(typed)];
    let fitting = asked.fixed(|all| &all.completion, values).await.map_err(|error| {
        let connector = &*asked.assistant.name;
        Fault::Database(error).told(&who(connector, "completion", request)).failure()
    })?;
    Ok(completion(&fitting))
}

fn completion(fitting: &Fitting) -> Reply {
    let has_more = fitting.total > fitting.values.len() as u64;
    let told = json!({ "values": fitting.values, "total": fitting.total, "hasMore": has_more });
    Reply::from_members(format!("\"completion\":{told}").into_bytes())
}

/// Writes a name so that it is one segment of a URI.
fn encoded(name: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

const JSON: &str = "application/json";

/// How long a client may keep what it read.
const FRESH_MS: u64 = 60_000;
