//! Which capabilities an endpoint has: exactly what its methods answer. Spec: 2026-07-28 schema#servercapabilities.

use serde_json::{Map, Value, json};

use super::RouterOptions;
use crate::catalog::Catalog;

/// Returns the capabilities of 2026-07-28. An endpoint without anything has tools, none for now.
pub(super) fn of(catalog: &Catalog, options: &RouterOptions) -> Value {
    let parts = catalog.parts();
    let has_prompts = !parts.prompts.is_empty();
    let has_resources = !parts.resources.is_empty() || !parts.templates.is_empty();
    let mut capabilities = Map::new();
    if !parts.tools.is_empty() || !(has_prompts || has_resources) {
        capabilities.insert("tools".into(), json!({ "listChanged": true }));
    }
    if has_prompts {
        capabilities.insert("prompts".into(), json!({ "listChanged": true }));
    }
    if has_resources {
        let subscribe = parts.resources.iter().any(|one| one.definition.subscribe)
            || parts.templates.iter().any(|one| one.definition.subscribe);
        let value = if subscribe {
            json!({ "subscribe": true, "listChanged": true })
        } else {
            json!({ "listChanged": true })
        };
        capabilities.insert("resources".into(), value);
    }
    let completes =
        parts.prompts.iter().any(|one| one.completes) || parts.templates.iter().any(|one| one.completes);
    if completes {
        capabilities.insert("completions".into(), json!({}));
    }
    if options.logging {
        capabilities.insert("logging".into(), json!({}));
    }
    if !options.extensions.is_empty() {
        capabilities.insert("extensions".into(), Value::Object(options.extensions.clone()));
    }
    Value::Object(capabilities)
}
