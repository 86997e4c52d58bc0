//! Tools that are not listed since a schema of theirs cannot be used: the list goes on without them.

use std::sync::Arc;

use trunkline_service::catalog::Entry;
use trunkline_service::file::Problem;
use trunkline_service::meter::{Gauge, Meter, Page};

use super::{ResultsChecked, ResultsMode, SchemaError, Validate};

/// How many tools of one connector are left out.
#[derive(Debug)]
pub struct Quarantined {
    connector: Box<str>,
    tools: Gauge,
}

impl Quarantined {
    /// Makes a count of none.
    #[must_use]
    pub fn of(connector: &str) -> Arc<Self> {
        Arc::new(Self { connector: connector.into(), tools: Gauge::default() })
    }

    /// Counts a tool, and tells the log why.
    pub fn add(&self, tool: &str, error: &SchemaError) {
        self.tools.add(1);
        tracing::warn!(tool, connector = &*self.connector, "the tool is not listed: {error}");
    }
}

impl Meter for Quarantined {
    fn read(&self, page: &mut Page) {
        let tools = f64::from(i32::try_from(self.tools.value()).unwrap_or(i32::MAX));
        let labels = [("connector", &*self.connector)];
        page.gauge(
            "trunkline_validate_quarantined_tools",
            "Tools not listed since a schema cannot be used.",
            &labels,
            tools,
        );
    }
}

/// Returns the problem of each tool that would not be listed.
#[must_use]
pub fn problems(entries: &[Entry]) -> Vec<Problem> {
    let problem = |entry: &Entry| {
        let error = match Validate::of(entry) {
            Ok(_) => ResultsChecked::new((), &entry.definition, ResultsMode::Enforce).err()?,
            Err(error) => error,
        };
        let name = entry.definition.name.as_str();
        let message = format!("the tool `{name}` cannot be listed: {error}");
        Some(Problem::new(&["tools", name], message))
    };
    entries.iter().filter_map(problem).collect()
}
