//! Tools and prompts that are not listed since a schema of theirs cannot be used: the list goes on without them.

use std::sync::Arc;

use trunkline_service::PromptDefinition;
use trunkline_service::catalog::{Entry, Parts, Served};
use trunkline_service::file::Problem;
use trunkline_service::meter::{Gauge, Meter, Page};

use super::{ResultsChecked, ResultsMode, SchemaError, Validate, ValidatePrompt};

/// How many tools and prompts of one connector are left out.
#[derive(Debug)]
pub struct Quarantined {
    connector: Box<str>,
    tools: Gauge,
    prompts: Gauge,
}

impl Quarantined {
    /// Makes a count of none.
    #[must_use]
    pub fn of(connector: &str) -> Arc<Self> {
        Arc::new(Self { connector: connector.into(), tools: Gauge::default(), prompts: Gauge::default() })
    }

    /// Counts a tool, and tells the log why.
    pub fn add(&self, tool: &str, error: &SchemaError) {
        self.tools.add(1);
        tracing::warn!(tool, connector = &*self.connector, "the tool is not listed: {error}");
    }

    /// Counts a prompt, and tells the log why.
    pub fn add_prompt(&self, prompt: &str, error: &SchemaError) {
        self.prompts.add(1);
        tracing::warn!(prompt, connector = &*self.connector, "the prompt is not listed: {error}");
    }
}

impl Meter for Quarantined {
    fn read(&self, page: &mut Page) {
        let value = |gauge: &Gauge| f64::from(i32::try_from(gauge.value()).unwrap_or(i32::MAX));
        let labels = [("connector", &*self.connector)];
        page.gauge(
            "trunkline_validate_quarantined_tools",
            "Tools not listed since a schema cannot be used.",
            &labels,
            value(&self.tools),
        );
        page.gauge(
            "trunkline_validate_quarantined_prompts",
            "Prompts not listed since what they take cannot be checked.",
            &labels,
            value(&self.prompts),
        );
    }
}

/// Returns the problem of each tool and prompt that would not be listed.
#[must_use]
pub fn problems(parts: &Parts) -> Vec<Problem> {
    let tools = parts.tools.iter().filter_map(of_tool);
    tools.chain(parts.prompts.iter().filter_map(of_prompt)).collect()
}

fn of_tool(entry: &Entry) -> Option<Problem> {
    let error = match Validate::of(entry) {
        Ok(_) => ResultsChecked::new((), &entry.definition, ResultsMode::Enforce).err()?,
        Err(error) => error,
    };
    let name = entry.definition.name.as_str();
    let message = format!("the tool `{name}` cannot be listed: {error}");
    Some(Problem::new(&["tools", name], message))
}

fn of_prompt(prompt: &Served<PromptDefinition>) -> Option<Problem> {
    let error = ValidatePrompt::of(&prompt.definition).err()?;
    let name = prompt.definition.name.as_str();
    let message = format!("the prompt `{name}` cannot be listed: {error}");
    Some(Problem::new(&["prompts", name], message))
}
