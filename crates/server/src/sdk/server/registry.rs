//! What a server offers, each thing compiled once and kept from change to change.

use std::any::TypeId;
use std::sync::Arc;

use trunkline_protocol::param_header;
use trunkline_protocol::uri_template::UriTemplate;
use trunkline_service::catalog::{
    self, Annotations, PromptDefinition, ResourceDefinition, TemplateDefinition,
};
use trunkline_service::{ToolDefinition, ToolName};

use super::error::BuildProblem;
use crate::sdk::arguments::Plan;
use crate::sdk::schema::{self, Need, Origin, Schema};
use crate::sdk::unit::{OutputCheck, PromptUnit, ResourceUnit, States, ToolUnit};
use crate::sdk::{Icon, Prompt, Resource, ResourceSpec, SchemaProfile, Tool, ToolSpec};

/// Something that is called, and how it is listed.
pub(super) struct Made<U, D> {
    pub(super) unit: Arc<U>,
    pub(super) definition: D,
    pub(super) completes: bool,
}

impl<U, D: Clone> Clone for Made<U, D> {
    fn clone(&self) -> Self {
        Self { unit: Arc::clone(&self.unit), definition: self.definition.clone(), completes: self.completes }
    }
}

/// How a resource is listed.
#[derive(Clone)]
pub(super) enum ResourceListing {
    One(ResourceDefinition),
    Template(TemplateDefinition),
}

impl ResourceListing {
    pub(super) fn uri(&self) -> &str {
        match self {
            Self::One(definition) => &definition.uri,
            Self::Template(definition) => &definition.uri_template,
        }
    }
}

/// All that there is, in list order.
#[derive(Clone, Default)]
pub(super) struct Registry {
    pub(super) tools: Vec<Made<ToolUnit, ToolDefinition>>,
    pub(super) prompts: Vec<Made<PromptUnit, PromptDefinition>>,
    pub(super) resources: Vec<Made<ResourceUnit, ResourceListing>>,
}

/// Makes things ready to be called, and gathers what is wrong with them.
pub(super) struct Maker<'a> {
    pub(super) states: &'a States,
    pub(super) profile: SchemaProfile,
    pub(super) problems: Vec<BuildProblem>,
}

impl Maker<'_> {
    pub(super) fn tool(&mut self, registry: &mut Registry, tool: Arc<dyn Tool>) {
        let spec = tool.spec();
        self.states("tool", &spec.name, &spec.states);
        self.icons("tool", &spec.name, &spec.icons);
        let name = ToolName::new(&spec.name).map_err(|error| self.problems.push(error.into())).ok();
        if registry.tools.iter().any(|known| *known.unit.name == *spec.name) {
            self.problems.push(BuildProblem::NameClash { kind: "tools", name: spec.name.to_string() });
        }
        let input = spec.input.clone().unwrap_or_else(Schema::nothing);
        let shown = self.shown(&input);
        if let Err(reason) = param_header::find(&shown) {
            self.problems.push(BuildProblem::BadParamHeader { tool: spec.name.to_string(), reason });
        }
        let mut bad = |which: &'static str, reason: String| {
            self.problems.push(BuildProblem::BadSchema { tool: spec.name.to_string(), which, reason });
        };
        let plan = Plan::new(input, spec.checks_first).map_err(|reason| bad("input", reason)).ok();
        let output = spec.output.as_ref().and_then(|schema| Some((schema, output_check(schema)?)));
        let output = output.map(|(schema, when)| Ok((schema::compile(&schema.json)?, when))).transpose();
        let output = output.map_err(|reason| bad("output", reason)).ok();
        if let (Some(name), Some(plan), Some(output)) = (name, plan, output) {
            let unit = ToolUnit { name: (*spec.name).into(), tool, plan, output, task: spec.task };
            let definition = definition(name, shown, &spec);
            registry.tools.push(Made { unit: Arc::new(unit), definition, completes: false });
        }
    }

    /// A schema as clients see it. What was written by hand is shown as it stands.
    fn shown(&self, schema: &Schema) -> serde_json::Value {
        match (schema.origin, self.profile) {
            (Origin::Type, SchemaProfile::Portable) => schema::portable(&schema.json),
            _ => schema.json.clone(),
        }
    }

    pub(super) fn prompt(&mut self, registry: &mut Registry, prompt: Arc<dyn Prompt>) {
        let spec = prompt.spec();
        self.states("prompt", &spec.name, &spec.states);
        self.icons("prompt", &spec.name, &spec.icons);
        if registry.prompts.iter().any(|known| *known.unit.name == *spec.name) {
            self.problems.push(BuildProblem::NameClash { kind: "prompts", name: spec.name.to_string() });
        }
        let arguments = spec.arguments.iter().map(|one| ((*one.name).into(), one.required)).collect();
        let completes = spec.arguments.iter().any(|one| one.completes);
        let definition = PromptDefinition {
            name: spec.name.to_string(),
            title: text(spec.title.as_deref()),
            description: text(Some(&*spec.description)),
            arguments: spec
                .arguments
                .iter()
                .map(|one| catalog::PromptArgument {
                    name: one.name.to_string(),
                    title: text(one.title.as_deref()),
                    description: text(one.description.as_deref()),
                    required: one.required,
                })
                .collect(),
            icons: icons(&spec.icons),
            meta: spec.meta,
        };
        let unit = Arc::new(PromptUnit { name: (*spec.name).into(), prompt, arguments });
        registry.prompts.push(Made { unit, definition, completes });
    }

    pub(super) fn resource(&mut self, registry: &mut Registry, resource: Arc<dyn Resource>) {
        let spec = resource.spec();
        self.states("resource", &spec.uri, &spec.states);
        self.icons("resource", &spec.uri, &spec.icons);
        if registry.resources.iter().any(|known| known.definition.uri() == spec.uri) {
            self.problems.push(BuildProblem::NameClash { kind: "resources", name: spec.uri.to_string() });
        }
        let template = if spec.uri.contains(['{', '}']) {
            match UriTemplate::parse(&spec.uri) {
                Ok(template) => Some(template),
                Err(source) => {
                    let template = spec.uri.to_string();
                    return self.problems.push(BuildProblem::BadTemplate { template, source });
                }
            }
        } else {
            None
        };
        let unit = Arc::new(ResourceUnit {
            name: (*spec.name).into(),
            resource,
            mime_type: spec.mime_type.as_deref().map(Into::into),
            hints: spec.hints,
            template,
        });
        let (definition, completes) = (listing(&spec, unit.template.is_some()), !spec.completes.is_empty());
        registry.resources.push(Made { unit, definition, completes });
    }

    fn states(&mut self, kind: &str, name: &str, wanted: &[(TypeId, &'static str)]) {
        for (_, state) in wanted.iter().filter(|(id, _)| !self.states.has(*id)) {
            self.problems.push(BuildProblem::MissingState { what: format!("the {kind} `{name}`"), state });
        }
    }

    fn icons(&mut self, kind: &str, name: &str, icons: &[Icon]) {
        for reason in icons.iter().filter_map(Icon::problem) {
            self.problems.push(BuildProblem::BadIcon { what: format!("the {kind} `{name}`"), reason });
        }
    }
}

/// Tells when results have to be checked against a schema; `None` for never, as their type sees to it.
fn output_check(schema: &Schema) -> Option<OutputCheck> {
    // JSON has no word for NaN and infinity: they are written as `null`, which the schema of a number does not allow.
    let may_lie = || schema.json.to_string().contains(r#""number""#);
    match schema.need {
        Need::Always => Some(OutputCheck::Always),
        _ if may_lie() => Some(OutputCheck::WithNull),
        _ => None,
    }
}

fn definition(name: ToolName, input_schema: serde_json::Value, spec: &ToolSpec) -> ToolDefinition {
    let read_only = spec.read_only.unwrap_or(false);
    ToolDefinition {
        name,
        title: text(spec.title.as_deref()),
        description: spec.description.to_string(),
        input_schema,
        output_schema: spec.output.as_ref().map(|schema| schema.json.clone()),
        annotations: Annotations {
            read_only,
            destructive: spec.destructive.unwrap_or(!read_only),
            idempotent: spec.idempotent.unwrap_or(read_only),
            open_world: spec.open_world.unwrap_or(true),
        },
        icons: icons(&spec.icons),
        meta: spec.meta.clone(),
    }
}

fn listing(spec: &ResourceSpec, is_template: bool) -> ResourceListing {
    let annotations = spec.annotations.as_ref().map(crate::sdk::ContentAnnotations::to_json);
    if is_template {
        ResourceListing::Template(TemplateDefinition {
            uri_template: spec.uri.to_string(),
            name: spec.name.to_string(),
            title: text(spec.title.as_deref()),
            description: text(Some(&*spec.description)),
            mime_type: text(spec.mime_type.as_deref()),
            annotations,
            icons: icons(&spec.icons),
            meta: spec.meta.clone(),
            subscribe: spec.subscribe,
        })
    } else {
        ResourceListing::One(ResourceDefinition {
            uri: spec.uri.to_string(),
            name: spec.name.to_string(),
            title: text(spec.title.as_deref()),
            description: text(Some(&*spec.description)),
            mime_type: text(spec.mime_type.as_deref()),
            size: spec.size,
            annotations,
            icons: icons(&spec.icons),
            meta: spec.meta.clone(),
            subscribe: spec.subscribe,
        })
    }
}

fn text(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

fn icons(icons: &[Icon]) -> Vec<catalog::Icon> {
    icons.iter().cloned().map(Into::into).collect()
}
