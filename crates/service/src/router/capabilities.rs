//! Which capabilities an endpoint has: exactly what its methods answer. Spec: 2026-07-28 schema#servercapabilities.

use serde_json::{Map, Value, json};

use super::RouterOptions;
use crate::catalog::Catalog;

/// Returns the capabilities of 2026-07-28. An endpoint without anything has tools, none for now.
pub(super) fn of(catalog: &Catalog, options: &RouterOptions) -> Value {
    let has = catalog.has();
    let mut capabilities = Map::new();
    if has.tools || !(has.prompts || has.resources) {
        capabilities.insert("tools".into(), json!({ "listChanged": true }));
    }
    if has.prompts {
        capabilities.insert("prompts".into(), json!({ "listChanged": true }));
    }
    if has.resources {
        let value = if has.subscribe {
            json!({ "subscribe": true, "listChanged": true })
        } else {
            json!({ "listChanged": true })
        };
        capabilities.insert("resources".into(), value);
    }
    if has.completions {
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
