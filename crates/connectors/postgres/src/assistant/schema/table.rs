//! What is told of a table: from its name to all there is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A table or view.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::assistant) struct Table {
    /// Its number, for the statements that follow.
    #[serde(skip_serializing)]
    #[schemars(skip)]
    pub(super) oid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) schema: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    /// table, partitioned table, view, materialized view or foreign table
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    /// Where a search found its words, besides the name
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) matched: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    /// About how many rows; absent when never counted
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<i64>,
    /// Its size on disk with its indexes
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    columns: Option<Vec<Column>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    primary_key: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unique: Option<Vec<Vec<String>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    foreign_keys: Option<Vec<ForeignKey>>,
    /// Foreign keys of other tables that point here
    #[serde(skip_serializing_if = "Option::is_none")]
    referenced_by: Option<Vec<Reference>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    indexes: Option<Vec<Index>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partitions: Option<Partitions>,
    /// The query of a view
    #[serde(skip_serializing_if = "Option::is_none")]
    definition: Option<String>,
    /// Rows are seen by policies only
    #[serde(skip_serializing_if = "Option::is_none")]
    row_security: Option<RowSecurity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<bool>,
}

#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
struct Column {
    name: String,
    #[serde(rename = "type")]
    ty: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nullable: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default: Option<String>,
    /// The expression it is computed by
    #[serde(default, skip_serializing_if = "Option::is_none")]
    generated: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    /// The labels of an enum
    #[serde(default, skip_serializing_if = "Option::is_none")]
    values: Option<Vec<String>>,
}

#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ForeignKey {
    name: String,
    columns: Vec<String>,
    references: Target,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on_delete: Option<String>,
}

#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
struct Target {
    schema: String,
    table: String,
    columns: Vec<String>,
}

#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
struct Reference {
    schema: String,
    table: String,
    columns: Vec<String>,
    /// The columns of this table
    references: Vec<String>,
}

#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
struct Index {
    name: String,
    definition: String,
    unique: bool,
    /// It is not used while this is false
    valid: bool,
    bytes: i64,
}

#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
struct Partitions {
    by: String,
    count: i64,
    /// A few of their names
    #[serde(default, skip_serializing_if = "Option::is_none")]
    some: Option<Vec<String>>,
}

#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
struct RowSecurity {
    /// The owner is held to it, too
    forced: bool,
    policies: Vec<String>,
}

impl Table {
    /// Makes a table of which only the name is told.
    pub(super) fn of(schema: &str, name: &str) -> Self {
        Self { schema: Some(schema.to_owned()), name: Some(name.to_owned()), ..Self::default() }
    }

    /// Returns where a list goes on after this table.
    pub(super) fn cursor(&self) -> String {
        serde_json::to_string(&(&self.schema, &self.name)).unwrap_or_default()
    }

    /// Puts in the words that people write.
    pub(super) fn tidy(&mut self) {
        for column in self.columns.iter_mut().flatten() {
            column.ty = as_written(&column.ty);
        }
    }
}

/// Returns a type as people write it: `varchar(20)` for `character varying(20)`.
fn as_written(ty: &str) -> String {
    for (long, short) in [("timestamp", "timestamptz"), ("time", "timetz")] {
        if let Some((before, after)) = ty.split_once(" with time zone")
            && let Some(precision) = before.strip_prefix(long)
            && (precision.is_empty() || precision.starts_with('('))
        {
            return format!("{short}{precision}{after}");
        }
    }
    ty.replace(" without time zone", "")
        .replace("character varying", "varchar")
        .replace("character(", "char(")
}

#[cfg(test)]
mod tests {
    use super::as_written;

    #[test]
    fn types_are_told_as_people_write_them() {
        for (long, short) in [
            ("character varying(20)[]", "varchar(20)[]"),
            ("timestamp(3) with time zone", "timestamptz(3)"),
            ("timestamp without time zone", "timestamp"),
            ("time with time zone[]", "timetz[]"),
            ("numeric(10,2)", "numeric(10,2)"),
            ("character(3)", "char(3)"),
        ] {
            assert_eq!(as_written(long), short);
        }
    }
}
