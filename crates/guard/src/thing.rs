//! The keys of guards in `[tools.X]` and `[connectors.X]`, as written: each room gives the types of its own, here they stand together so
//! that a table is read once and a wrong key is told once.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::Deserialize;
use trunkline_service::file::SizeText;

use crate::cache::CacheFile;
use crate::limit::LimitFile;
use crate::redact::file::{EncryptFile, RedactFile};
use crate::resilience::file::{BreakerFile, RetryFile};
use crate::validate::ResultsMode;

/// The keys of guards in `[tools.X]`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ToolGuardsFile {
    /// How often the tool may be called, by all callers together: `"100/min"`, or `{ rate = "100/min", burst = 20 }`. Default: no limit.
    pub limit: Option<LimitFile>,
    /// How many requests one call counts as, for the limits of callers, roles, connectors and the server. Default: 1.
    pub cost: Option<NonZeroU32>,
    /// How many calls of the tool run at a time; more wait shortly. Default: any number.
    pub concurrent: Option<NonZeroU32>,
    /// Keeps answers of a tool that only reads: `{ ttl = "5m", stale = "1m", scope = "caller", tags = [] }`; `false` keeps none where the connector has a `cache`. Default: that of the connector, else nothing is kept.
    pub cache: Option<CacheFile>,
    /// The tags of caches whose answers a call of this tool, which writes, makes wrong. Default: none.
    pub invalidates: Vec<String>,
    /// What becomes of results that do not fit the output schema: `enforce` refuses them, `report` tells the log, `off` does not look. Default: that of the connector.
    pub results: Option<ResultsMode>,
    /// The most bytes of a result, as JSON: `"150KB"`. What is larger loses rows from its end, and says so. Default: that of the connector.
    pub max_result: Option<SizeText>,
    /// What is hidden in results: kinds of values (`email`, `card`, `iban`, `phone`, `token`), fields (`ssn`, at any depth) and paths (`rows.*.address.street`). Default: that of the connector; `[]` hides nothing.
    pub redact: Option<RedactFile>,
    /// Which fields of results are sealed for the key of a person: `{ fields = ["ssn"], to = "age1..." }`. Default: that of the connector; `{}` seals nothing.
    pub encrypt: Option<EncryptFile>,
}

/// The keys of guards in `[connectors.X]`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ConnectorGuardsFile {
    /// How often the tools and resources of the connector may be asked for, by all callers together: `"100/min"`, or `{ rate = "100/min", burst = 20 }`. Default: no limit.
    pub limit: Option<LimitFile>,
    /// How many calls the connector works on at a time; more wait shortly. Default: half of `max-in-flight`.
    pub concurrent: Option<NonZeroU32>,
    /// Keeps answers of the tools that only read, unless they have a `cache` of their own, and of the resources. Default: nothing is kept.
    pub cache: Option<CacheFile>,
    /// What becomes of results that do not fit their output schema: `enforce` refuses them, `report` tells the log, `off` does not look. Default: `off` for databases, which make both from the same types.
    pub results: Option<ResultsMode>,
    /// The most bytes of a result of a tool, prompt or resource, as JSON: `"150KB"`. What is larger loses rows from its end, and says so. Default: no bound beside those of the connector itself.
    pub max_result: Option<SizeText>,
    /// What is hidden in results of tools, prompts and resources: kinds of values (`email`, `card`, `iban`, `phone`, `token`), fields (`ssn`, at any depth) and paths (`rows.*.address.street`). Default: nothing.
    pub redact: Option<RedactFile>,
    /// Which fields of results are sealed for the key of a person: `{ fields = ["ssn"], to = "age1..." }`. Default: none.
    pub encrypt: Option<EncryptFile>,
    /// When a call that failed for no fault of its caller is tried again: `{ attempts = 3, wait = "100ms", budget = 10 }`, or `false`. Default: on, with these values.
    pub retry: Option<RetryFile>,
    /// When a source that fails is left alone for a while: `{ share = 50, calls = 10, window = "10s", pause = "2s" }`, or `false`. Default: on, with these values.
    pub breaker: Option<BreakerFile>,
}

impl ToolGuardsFile {
    /// The keys, as written.
    pub const KEYS: &[&str] = &[
        "limit",
        "cost",
        "concurrent",
        "cache",
        "invalidates",
        "results",
        "max-result",
        "redact",
        "encrypt",
    ];
}

impl ConnectorGuardsFile {
    /// The keys, as written.
    pub const KEYS: &[&str] =
        &["limit", "concurrent", "cache", "results", "max-result", "redact", "encrypt", "retry", "breaker"];
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys_of<T: JsonSchema>() -> Vec<String> {
        let schema = schemars::schema_for!(T);
        let properties = schema.get("properties").and_then(|properties| properties.as_object()).unwrap();
        properties.keys().cloned().collect()
    }

    #[test]
    fn the_keys_that_are_taken_out_of_a_table_are_those_that_are_read() {
        assert_eq!(keys_of::<ToolGuardsFile>(), ToolGuardsFile::KEYS);
        assert_eq!(keys_of::<ConnectorGuardsFile>(), ConnectorGuardsFile::KEYS);
    }
}
