//! A plan as `explain (format json)` tells it: its nodes with what the readings and the advice need of them.

use serde::Deserialize;
use serde_json::Value as Json;

/// What `explain` answers.
#[derive(Debug, Deserialize)]
pub(super) struct Explained {
    #[serde(rename = "Plan")]
    pub(super) plan: Node,
    #[serde(rename = "Planning Time")]
    pub(super) planning_time: Option<f64>,
    #[serde(rename = "Execution Time")]
    pub(super) execution_time: Option<f64>,
}

/// One step of a plan.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Node {
    #[serde(rename = "Node Type")]
    pub(super) kind: String,
    #[serde(rename = "Parent Relationship")]
    pub(super) place: Option<String>,
    #[serde(rename = "Schema")]
    pub(super) schema: Option<String>,
    #[serde(rename = "Relation Name")]
    pub(super) relation: Option<String>,
    #[serde(rename = "Alias")]
    pub(super) alias: Option<String>,
    #[serde(rename = "Index Name")]
    pub(super) index: Option<String>,
    #[serde(rename = "Total Cost")]
    pub(super) cost: f64,
    #[serde(rename = "Plan Rows")]
    pub(super) plan_rows: f64,
    #[serde(rename = "Actual Rows")]
    pub(super) actual_rows: Option<f64>,
    #[serde(rename = "Actual Total Time")]
    pub(super) actual_time: Option<f64>,
    #[serde(rename = "Actual Loops")]
    pub(super) loops: Option<f64>,
    #[serde(rename = "Rows Removed by Filter")]
    pub(super) removed: Option<f64>,
    #[serde(rename = "Filter")]
    pub(super) filter: Option<String>,
    #[serde(rename = "Index Cond")]
    pub(super) index_condition: Option<String>,
    #[serde(rename = "Recheck Cond")]
    pub(super) recheck: Option<String>,
    #[serde(rename = "Hash Cond")]
    pub(super) hash_condition: Option<String>,
    #[serde(rename = "Merge Cond")]
    pub(super) merge_condition: Option<String>,
    #[serde(rename = "Join Filter")]
    pub(super) join_filter: Option<String>,
    #[serde(rename = "Sort Key")]
    pub(super) sort_key: Vec<String>,
    #[serde(rename = "Sort Space Type")]
    pub(super) sort_space: Option<String>,
    #[serde(rename = "Sort Space Used")]
    pub(super) sort_kilobytes: Option<f64>,
    #[serde(rename = "Hash Batches")]
    pub(super) hash_batches: Option<f64>,
    #[serde(rename = "Temp Written Blocks")]
    pub(super) temp_blocks: Option<f64>,
    #[serde(rename = "Plans")]
    pub(super) children: Vec<Node>,
}

impl Node {
    /// Returns the step and all below it, the step first.
    pub(super) fn all(&self) -> Vec<&Self> {
        let mut all = vec![self];
        let mut at = 0;
        while let Some(node) = all.get(at).copied() {
            all.extend(&node.children);
            at += 1;
        }
        all
    }

    /// Returns its cost without that of the steps below.
    pub(super) fn own_cost(&self) -> f64 {
        (self.cost - self.children.iter().map(|child| child.cost).sum::<f64>()).max(0.0)
    }

    /// Returns the milliseconds it took over all loops, without the steps below; `None` when it was not run.
    pub(super) fn own_time(&self) -> Option<f64> {
        let total = |node: &Self| Some(node.actual_time? * node.loops.unwrap_or(1.0));
        let below: f64 = self.children.iter().filter_map(total).sum();
        Some((total(self)? - below).max(0.0))
    }

    /// Names the step for people: `Seq Scan on public.orders`.
    pub(super) fn spoken(&self) -> String {
        match (&self.relation, &self.index) {
            (Some(relation), index) => {
                let index = index.as_deref().map(|index| format!(" using {index}")).unwrap_or_default();
                let schema = self.schema.as_deref().map(|schema| format!("{schema}.")).unwrap_or_default();
                format!("{}{index} on {schema}{relation}", self.kind)
            }
            (None, Some(index)) => format!("{} on {index}", self.kind),
            (None, None) => self.kind.clone(),
        }
    }
}

/// Reads what `explain` answered: the plan for people, and as steps.
pub(super) fn read(text: &str) -> Option<(Json, Explained)> {
    let json: Json = serde_json::from_str(text).ok()?;
    let mut answered = match json {
        Json::Array(mut list) if !list.is_empty() => list.swap_remove(0),
        _ => return None,
    };
    let explained = Explained::deserialize(&answered).ok()?;
    let mut plan = answered.get_mut("Plan").map(Json::take)?;
    strip(&mut plan);
    Some((plan, explained))
}

/// Leaves out what tells a reader nothing.
fn strip(plan: &mut Json) {
    let Some(node) = plan.as_object_mut() else { return };
    node.retain(|key, value| match key.as_str() {
        "Output" | "Plan Width" | "Async Capable" | "Disabled" | "Inner Unique" | "Parent Relationship" => {
            false
        }
        "Parallel Aware" => value.as_bool() == Some(true),
        _ => !key.ends_with("Blocks") || value.as_f64() != Some(0.0),
    });
    for child in node.get_mut("Plans").and_then(Json::as_array_mut).into_iter().flatten() {
        strip(child);
    }
}
