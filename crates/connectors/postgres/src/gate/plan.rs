//! Reads the plan of a statement: what it costs, and the expressions in it as the server writes them, views opened.

use postgres_types::{FromSql, Type};
use serde_json::Value;
use trunkline_sql::Dialect;
use trunkline_sql::scan::{tokens, unterminated};

use super::words::Names;

/// What a plan says.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The planner's estimate for all of it, in its own unit.
    pub(crate) cost: Option<f64>,
    /// Its expressions.
    pub(crate) expressions: Vec<String>,
    /// Whether it reads what the program itself keeps in the database.
    pub(crate) reads_own: bool,
}

impl Plan {
    /// Reads what `explain (verbose, format json)` gives; `None` when it is not JSON or is nested too deep to be read.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let document: Value = serde_json::from_str(text).ok()?;
        let cost = document.pointer("/0/Plan/Total Cost").and_then(Value::as_f64);
        let (mut expressions, mut reads_own) = (Vec::new(), false);
        let mut open = vec![&document];
        while let Some(value) = open.pop() {
            match value {
                Value::String(text) => expressions.push(text.clone()),
                Value::Array(items) => open.extend(items),
                Value::Object(members) => {
                    reads_own |= members.get("Schema").and_then(Value::as_str) == Some(OWN_SCHEMA);
                    open.extend(members.iter().filter(|(key, _)| !is_name(key)).map(|(_, value)| value));
                }
                Value::Null | Value::Bool(_) | Value::Number(_) => {}
            }
        }
        Some(Self { cost, expressions, reads_own })
    }

    /// Returns what all expressions name, each with the number of its expression; `Err` with the number of one that cannot
    /// be read to its end.
    pub(crate) fn names(&self) -> Result<Names, usize> {
        let mut names = Names::default();
        for (number, text) in self.expressions.iter().enumerate() {
            if unterminated(text, Dialect::Postgres).is_some() {
                return Err(number);
            }
            let all: Vec<_> = tokens(text, Dialect::Postgres).collect();
            names.collect(text, &all, Some(number));
        }
        Ok(names)
    }
}

/// Where the program keeps its keys and its record.
const OWN_SCHEMA: &str = "trunkline";

/// Whether a key holds a bare name, which may look like anything.
fn is_name(key: &str) -> bool {
    matches!(
        key,
        "Alias"
            | "Relation Name"
            | "Schema"
            | "Function Name"
            | "Index Name"
            | "CTE Name"
            | "Tuplestore Name"
            | "Subplan Name"
            | "Node Type"
            | "Custom Plan Provider"
    )
}

/// The text of a `json` value.
#[derive(Debug)]
pub(crate) struct PlanText(pub(crate) String);

impl FromSql<'_> for PlanText {
    fn from_sql(_: &Type, raw: &[u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(std::str::from_utf8(raw)?.to_owned()))
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::JSON | Type::TEXT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_and_expressions_are_found_at_any_depth() {
        let plan = Plan::read(
            r#"[{"Plan": {"Node Type": "Limit", "Total Cost": 12.5, "Output": ["(f(a))"],
                "Plans": [{"Alias": "it's f(", "Filter": "(\"G\"(b) > 'h(')"}]}}]"#,
        );
        let plan = plan.as_ref();
        assert_eq!(plan.and_then(|plan| plan.cost), Some(12.5));
        let names = plan.and_then(|plan| plan.names().ok());
        let calls = names.map(|names| names.calls.into_keys().collect::<Vec<_>>());
        assert_eq!(calls, Some(vec!["G".to_owned(), "f".to_owned()]));
        assert!(Plan::read("no json").is_none());
    }
}
