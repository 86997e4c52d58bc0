//! Prompts as clients see them.

use serde_json::{Map, Value};
use trunkline_protocol::Revision;

use super::common::{Icon, add_meta, add_text, add_title};
use super::pages::Listed;

/// One prompt. Spec: 2026-07-28 server/prompts#prompt.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PromptDefinition {
    /// The name it is asked for by.
    pub name: String,
    /// A name for people.
    pub title: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// What it takes, in order.
    pub arguments: Vec<PromptArgument>,
    /// Pictures of it.
    pub icons: Vec<Icon>,
    /// Its `_meta` object.
    pub meta: Option<Value>,
}

/// One argument of a prompt: a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PromptArgument {
    /// Its name.
    pub name: String,
    /// A name for people.
    pub title: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// Whether it must be given.
    pub required: bool,
}

impl Listed for PromptDefinition {
    const KEY: &'static str = "prompts";

    fn to_json(&self, revision: Revision) -> Value {
        let mut prompt = Map::new();
        prompt.insert("name".into(), self.name.as_str().into());
        add_title(self.title.as_ref(), revision, &mut prompt);
        add_text("description", self.description.as_ref(), &mut prompt);
        if !self.arguments.is_empty() {
            let arguments = self.arguments.iter().map(|argument| argument.to_json(revision));
            prompt.insert("arguments".into(), arguments.collect());
        }
        Icon::add(&self.icons, revision, &mut prompt);
        add_meta(self.meta.as_ref(), &mut prompt);
        Value::Object(prompt)
    }
}

impl PromptArgument {
    fn to_json(&self, revision: Revision) -> Value {
        let mut argument = Map::new();
        argument.insert("name".into(), self.name.as_str().into());
        add_title(self.title.as_ref(), revision, &mut argument);
        add_text("description", self.description.as_ref(), &mut argument);
        argument.insert("required".into(), self.required.into());
        Value::Object(argument)
    }
}
