//! The names of arguments that an endpoint declares: those alone stand in a record, as any other is text of the caller.

use std::fmt;

use rustc_hash::FxHashMap;
use serde_json::Value;
use trunkline_service::Catalog;

/// The declared arguments of all tools and prompts, looked up by name.
#[derive(Default)]
pub(crate) struct Names {
    tools: FxHashMap<Box<str>, Declared>,
    prompts: FxHashMap<Box<str>, Declared>,
}

/// The declared arguments of one tool or prompt, sorted.
#[derive(Debug, Default)]
pub(crate) struct Declared(Vec<Box<str>>);

/// What has no declared arguments.
pub(crate) static NOTHING: Declared = Declared(Vec::new());

impl Declared {
    fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut names: Vec<Box<str>> = names.map(Into::into).collect();
        names.sort_unstable();
        Self(names)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.binary_search_by(|known| (**known).cmp(name)).is_ok()
    }
}

impl Names {
    /// Gathers what a catalog declares.
    pub(crate) fn of(catalog: &Catalog) -> Self {
        let tools = catalog.entries().iter().map(|entry| {
            let definition = &entry.definition;
            let properties = definition.input_schema.get("properties").and_then(Value::as_object);
            let names = properties.into_iter().flatten().map(|(name, _)| name.as_str());
            (definition.name.as_str().into(), Declared::new(names))
        });
        let prompts = catalog.parts().prompts.iter().map(|served| {
            let names = served.definition.arguments.iter().map(|argument| argument.name.as_str());
            (served.definition.name.as_str().into(), Declared::new(names))
        });
        Self { tools: tools.collect(), prompts: prompts.collect() }
    }

    /// The names of one tool.
    #[cfg(test)]
    pub(crate) fn of_test(tool: &str, names: &[&str]) -> Self {
        let declared = Declared::new(names.iter().copied());
        Self { tools: [(tool.into(), declared)].into_iter().collect(), ..Self::default() }
    }

    pub(crate) fn of_tool(&self, name: &str) -> &Declared {
        self.tools.get(name).unwrap_or(&NOTHING)
    }

    pub(crate) fn of_prompt(&self, name: &str) -> &Declared {
        self.prompts.get(name).unwrap_or(&NOTHING)
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names")
            .field("tools", &self.tools.len())
            .field("prompts", &self.prompts.len())
            .finish()
    }
}
