//! The JSON Schema of the config file, for editors: the sections' own schemas, joined.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};
use trunkline_guard::authenticate::file::AuthFile;
use trunkline_guard::authorize::RoleFile;
use trunkline_guard::limit::LimitsFile;
use trunkline_guard::record::AuditFile;
use trunkline_guard::thing::{ConnectorGuardsFile, ToolGuardsFile};
use trunkline_postgres::file::PostgresFile;
use trunkline_service::store::file::StoreFile;
use trunkline_sql::file::ToolFile;
use trunkline_sqlite::file::SqliteFile;

use super::sections::{AdminFile, LogFile, ServerFile};

/// The whole file.
#[derive(JsonSchema)]
#[schemars(title = "trunkline.toml", deny_unknown_fields, rename_all = "kebab-case")]
#[expect(dead_code, reason = "only its schema is used: the file is read section by section")]
struct File {
    /// How the endpoint is served.
    #[schemars(default)]
    server: ServerFile,
    /// What is logged, to stderr.
    #[schemars(default)]
    log: LogFile,
    /// The listener for health checks.
    #[schemars(default)]
    admin: AdminFile,
    /// The systems behind the endpoint, by name: a lower case letter, then at most 31 lower case letters or digits.
    #[schemars(default, schema_with = "connectors")]
    connectors: BTreeMap<String, Value>,
    /// The tools, by the name they are called by.
    #[schemars(default, schema_with = "tools")]
    tools: BTreeMap<String, Value>,
    /// Who may come in. Without it, only this machine is served.
    #[schemars(default)]
    auth: AuthFile,
    /// How often the endpoint may be asked.
    #[schemars(default)]
    limits: LimitsFile,
    /// What callers may do, by the name of the role. Without any, whoever may come in may use everything.
    #[schemars(default)]
    roles: BTreeMap<String, RoleFile>,
    /// What the nodes of one endpoint share. Without it, each node has it for itself.
    #[schemars(default)]
    store: StoreFile,
    /// The record of every decision and call. Without it, none is kept.
    #[schemars(default)]
    audit: AuditFile,
}

/// Returns the schema, draft 2020-12.
pub(crate) fn of_the_file() -> Value {
    let mut schema =
        SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<File>().to_value();
    for (definition, kind) in [("SqliteFile", "sqlite"), ("PostgresFile", "postgres")] {
        add_type(&mut schema, definition, kind);
    }
    for (definition, guards) in [
        ("ToolFile", "ToolGuardsFile"),
        ("SqliteFile", "ConnectorGuardsFile"),
        ("PostgresFile", "ConnectorGuardsFile"),
    ] {
        add_keys(&mut schema, definition, guards);
    }
    remove(&mut schema, &["ToolGuardsFile", "ConnectorGuardsFile"]);
    for definition in ["Duration", "Size", "Leeway"] {
        allow_references(&mut schema, definition);
    }
    for_toml(&mut schema);
    schema
}

/// A text of a certain form may also come from a reference, and is checked when that is replaced.
fn allow_references(schema: &mut Value, definition: &str) {
    if let Some(Value::String(pattern)) = schema.pointer_mut(&format!("/$defs/{definition}/pattern")) {
        pattern.push_str(r"|\$\{");
    }
}

/// TOML has no null and one kind of integer: an optional key is one that is not written.
fn for_toml(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.retain(|key, value| match (key.as_str(), &*value) {
                ("default", Value::Null) => false,
                ("format", Value::String(form)) => !form.starts_with("uint"),
                _ => true,
            });
            if let Some(Value::Array(types)) = members.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [only] = &types[..] {
                    let only = only.clone();
                    members.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(choices)) = members.get_mut("anyOf") {
                choices.retain(|choice| choice != &json!({ "type": "null" }));
                if let [Value::Object(only)] = &choices[..] {
                    let only = only.clone();
                    members.shift_remove("anyOf");
                    members.extend(only);
                }
            }
            members.values_mut().for_each(for_toml);
        }
        Value::Array(items) => items.iter_mut().for_each(for_toml),
        _ => {}
    }
}

fn connectors(generator: &mut SchemaGenerator) -> Schema {
    let (sqlite, postgres) =
        (generator.subschema_for::<SqliteFile>(), generator.subschema_for::<PostgresFile>());
    json_schema!({
        "type": "object",
        "propertyNames": { "pattern": "^[a-z][a-z0-9]{0,31}$" },
        "additionalProperties": { "oneOf": [sqlite, postgres] },
    })
}

fn tools(generator: &mut SchemaGenerator) -> Schema {
    // Their keys are put into the types of tables below.
    generator.subschema_for::<ToolGuardsFile>();
    generator.subschema_for::<ConnectorGuardsFile>();
    let tool = generator.subschema_for::<ToolFile>();
    json_schema!({ "type": "object", "additionalProperties": tool })
}

/// The keys of guards stand in the tables of others.
fn add_keys(schema: &mut Value, definition: &str, guards: &str) {
    let keys = schema.pointer(&format!("/$defs/{guards}/properties")).cloned();
    let properties = schema.pointer_mut(&format!("/$defs/{definition}/properties"));
    if let (Some(Value::Object(keys)), Some(Value::Object(properties))) = (keys, properties) {
        properties.extend(keys);
    }
}

fn remove(schema: &mut Value, definitions: &[&str]) {
    if let Some(Value::Object(known)) = schema.get_mut("$defs") {
        known.retain(|name, _| !definitions.contains(&name.as_str()));
    }
}

/// The key `type` chooses the strict type before that is read, so the type itself does not have it.
fn add_type(schema: &mut Value, definition: &str, kind: &str) {
    let Some(definition) = schema.pointer_mut(&format!("/$defs/{definition}")).and_then(Value::as_object_mut)
    else {
        return;
    };
    let key = json!({ "const": kind, "description": "What kind of system the connector reaches." });
    if let Some(properties) = definition.entry("properties").or_insert_with(|| json!({})).as_object_mut() {
        properties.shift_insert(0, "type".to_owned(), key);
    }
    if let Some(required) = definition.entry("required").or_insert_with(|| json!([])).as_array_mut() {
        required.insert(0, "type".into());
    }
}
