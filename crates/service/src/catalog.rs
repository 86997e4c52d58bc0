//! What exists at an endpoint, in a stable order: tools, prompts, resources and their templates, with the answers to the list
//! methods written once for every revision.

mod common;
mod pages;
mod prompt;
mod resource;
mod tool;

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use bytes::Bytes;
use rustc_hash::FxHashMap;
use trunkline_protocol::param_header::{self, ParamHeader};
use trunkline_protocol::uri_template::{BadTemplate, UriTemplate};
use trunkline_protocol::{Method, Revision};

use crate::Service;
use crate::seal::Sealer;

pub use common::Icon;
pub use prompt::{PromptArgument, PromptDefinition};
pub use resource::{ResourceDefinition, TemplateDefinition};
pub use tool::{Annotations, BadToolName, Entry, ToolDefinition, ToolName};

use pages::Pages;

/// A prompt, resource or template and the service that answers it.
#[derive(Clone)]
pub struct Served<D> {
    /// What clients see.
    pub definition: D,
    /// Who answers.
    pub service: Arc<dyn Service>,
    /// Its number within that service.
    pub target: u32,
    /// Whether the service completes its arguments or variables.
    pub completes: bool,
}

impl<D: fmt::Debug> fmt::Debug for Served<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served")
            .field("definition", &self.definition)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// All that an endpoint has, in the order in which it is listed.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// The tools.
    pub tools: Vec<Entry>,
    /// The prompts.
    pub prompts: Vec<Served<PromptDefinition>>,
    /// The resources.
    pub resources: Vec<Served<ResourceDefinition>>,
    /// The templates of resources; a URI belongs to the first that it is an instance of.
    pub templates: Vec<Served<TemplateDefinition>>,
}

/// Why parts do not make a catalog.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// Two things of one kind have one name.
    #[error("two {kind} are named `{name}`; rename one of them")]
    NameClash {
        /// What they are: `tools`, `prompts`, `resources` or `resource templates`.
        kind: &'static str,
        /// The name or URI.
        name: String,
    },
    /// A URI template cannot be read.
    #[error("the resource template `{template}` cannot be read")]
    BadTemplate {
        /// The template.
        template: String,
        /// What is wrong with it.
        source: BadTemplate,
    },
    /// A tool wants arguments mirrored in a way that clients refuse.
    #[error("the tool `{tool}` would be dropped by clients: {reason}")]
    BadParamHeader {
        /// The tool's name.
        tool: String,
        /// What is wrong with its schema.
        reason: String,
    },
}

/// Everything an endpoint has, fixed once made: a change makes a new catalog.
#[derive(Debug)]
pub struct Catalog {
    parts: Parts,
    /// The arguments each tool wants mirrored in headers, by number.
    param_headers: Vec<Box<[ParamHeader]>>,
    uri_templates: Vec<UriTemplate>,
    /// A cheap hash: the names are the server's own, so that nobody can choose them to collide.
    tools: FxHashMap<Box<[u8]>, u32>,
    prompts: FxHashMap<Box<str>, u32>,
    resources: FxHashMap<Box<str>, u32>,
    lists: [Pages; 4],
}

/// Tools on one page of `tools/list`. Not every host asks for a second page.
pub const PAGE_SIZE: usize = 250;

impl Catalog {
    /// Puts tools together in the order given, `page_size` on a page (at least 1).
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn new(tools: Vec<Entry>, page_size: usize, sealer: &Arc<Sealer>) -> Result<Self, CatalogError> {
        Self::of(Parts { tools, ..Parts::default() }, page_size, sealer)
    }

    /// Puts everything together in the order given, `page_size` on a page of each list (at least 1).
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn of(parts: Parts, page_size: usize, sealer: &Arc<Sealer>) -> Result<Self, CatalogError> {
        let names = parts.tools.iter().map(|entry| entry.definition.name.as_str());
        let tools = index::<Box<str>>("tools", names)?;
        let tools = tools.into_iter().map(|(name, number)| (name.into_boxed_bytes(), number)).collect();
        let prompts = index("prompts", parts.prompts.iter().map(|one| one.definition.name.as_str()))?;
        let resources = index("resources", parts.resources.iter().map(|one| one.definition.uri.as_str()))?;
        let templates = parts.templates.iter().map(|one| one.definition.uri_template.as_str());
        index::<Box<str>>("resource templates", templates.clone())?;
        let uri_templates = templates
            .map(|template| {
                UriTemplate::parse(template)
                    .map_err(|source| CatalogError::BadTemplate { template: template.to_owned(), source })
            })
            .collect::<Result<_, _>>()?;
        let param_headers = parts.tools.iter().map(param_headers).collect::<Result<_, _>>()?;
        let lists = [
            Pages::new(parts.tools.iter().map(|one| &one.definition), page_size, sealer),
            Pages::new(parts.prompts.iter().map(|one| &one.definition), page_size, sealer),
            Pages::new(parts.resources.iter().map(|one| &one.definition), page_size, sealer),
            Pages::new(parts.templates.iter().map(|one| &one.definition), page_size, sealer),
        ];
        Ok(Self { parts, param_headers, uri_templates, tools, prompts, resources, lists })
    }

    /// Returns the number of the tool of that name.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<u32> {
        self.tools.get(name).copied()
    }

    /// Returns a tool by its number.
    #[must_use]
    pub fn entry(&self, number: u32) -> Option<&Entry> {
        self.parts.tools.get(number as usize)
    }

    /// Returns the arguments that a tool wants mirrored in headers.
    #[must_use]
    pub fn param_headers(&self, number: u32) -> &[ParamHeader] {
        self.param_headers.get(number as usize).map_or(&[], |headers| headers)
    }

    /// Returns the prompt of that name.
    #[must_use]
    pub fn prompt(&self, name: &str) -> Option<&Served<PromptDefinition>> {
        self.parts.prompts.get(*self.prompts.get(name)? as usize)
    }

    /// Returns the resource of exactly that URI.
    #[must_use]
    pub fn resource(&self, uri: &str) -> Option<&Served<ResourceDefinition>> {
        self.parts.resources.get(*self.resources.get(uri)? as usize)
    }

    /// Returns the first template that `uri` is an instance of.
    #[must_use]
    pub fn template_for(&self, uri: &str) -> Option<&Served<TemplateDefinition>> {
        let number = self.uri_templates.iter().position(|template| template.matches(uri).is_some())?;
        self.parts.templates.get(number)
    }

    /// Returns the template that is written so.
    #[must_use]
    pub fn template(&self, uri_template: &str) -> Option<&Served<TemplateDefinition>> {
        self.parts.templates.iter().find(|one| one.definition.uri_template == uri_template)
    }

    /// Tells whether subscriptions hear of changes of that URI.
    #[must_use]
    pub fn can_subscribe(&self, uri: &str) -> bool {
        match self.resource(uri) {
            Some(resource) => resource.definition.subscribe,
            None => self.template_for(uri).is_some_and(|template| template.definition.subscribe),
        }
    }

    /// Returns digests of what clients see of tools, prompts and resources (with their templates): equal for equal lists.
    #[must_use]
    pub fn digests(&self) -> [[u8; 32]; 3] {
        let [tools, prompts, resources, templates] = &self.lists;
        let mut both = resources.digest();
        both.iter_mut().zip(templates.digest()).for_each(|(byte, other)| *byte ^= other);
        [tools.digest(), prompts.digest(), both]
    }

    /// Returns every tool, in list order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.parts.tools
    }

    /// Returns all that there is, in list order.
    #[must_use]
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Returns the members of one page of what a list method answers: the first without a cursor; `None` for a cursor that is
    /// not ours or belongs to another list, and for a method that lists nothing. A cursor holds on every node that has the
    /// same keys and the same list.
    #[must_use]
    pub fn page(&self, method: Method, cursor: Option<&str>, revision: Revision) -> Option<Bytes> {
        let [tools, prompts, resources, templates] = &self.lists;
        let list = match method {
            Method::ToolsList => tools,
            Method::PromptsList => prompts,
            Method::ResourcesList => resources,
            Method::ResourcesTemplatesList => templates,
            _ => return None,
        };
        list.page(cursor, revision)
    }
}

fn index<'a, K: From<&'a str> + Eq + Hash>(
    kind: &'static str,
    names: impl Iterator<Item = &'a str>,
) -> Result<FxHashMap<K, u32>, CatalogError> {
    let mut index = FxHashMap::default();
    for (number, name) in (0..).zip(names) {
        if index.insert(K::from(name), number).is_some() {
            return Err(CatalogError::NameClash { kind, name: name.to_owned() });
        }
    }
    Ok(index)
}

fn param_headers(entry: &Entry) -> Result<Box<[ParamHeader]>, CatalogError> {
    let found = param_header::find(&entry.definition.input_schema);
    found.map(Vec::into_boxed_slice).map_err(|reason| {
        let tool = entry.definition.name.as_str().to_owned();
        CatalogError::BadParamHeader { tool, reason }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    struct Nobody;

    impl Service for Nobody {
        fn call(&self, _: crate::Request) -> crate::Answer<'_> {
            crate::ready(Ok(crate::Reply::text("")))
        }
    }

    fn catalog(tools: u32, sealer: &Arc<Sealer>) -> Catalog {
        let entry = |target: u32| Entry {
            definition: ToolDefinition {
                name: ToolName::new(&format!("t{target}")).unwrap(),
                title: None,
                description: String::new(),
                input_schema: serde_json::json!({ "type": "object" }),
                output_schema: None,
                annotations: Annotations::READ_ONLY,
                icons: Vec::new(),
                meta: None,
            },
            service: Arc::new(Nobody),
            target,
        };
        Catalog::new((0..tools).map(entry).collect(), 2, sealer).unwrap()
    }

    fn next(catalog: &Catalog, cursor: Option<&str>) -> Option<String> {
        let page = catalog.page(Method::ToolsList, cursor, Revision::LATEST).unwrap();
        let page: Value =
            serde_json::from_str(&format!("{{{}}}", std::str::from_utf8(&page).unwrap())).unwrap();
        page["nextCursor"].as_str().map(str::to_owned)
    }

    #[test]
    fn a_cursor_holds_on_every_node_with_the_same_keys_and_tools_and_on_no_other() {
        let keys = [[7; 32]];
        let (here, there) = (Arc::new(Sealer::new(&keys).unwrap()), Arc::new(Sealer::new(&keys).unwrap()));
        let second = next(&catalog(5, &here), None).unwrap();
        let third = next(&catalog(5, &there), Some(&second)).unwrap();
        assert_eq!(next(&catalog(5, &here), Some(&third)), None);
        assert!(
            catalog(6, &here).page(Method::ToolsList, Some(&second), Revision::LATEST).is_none(),
            "another list"
        );
        let other = Arc::new(Sealer::random().unwrap());
        assert!(
            catalog(5, &other).page(Method::ToolsList, Some(&second), Revision::LATEST).is_none(),
            "other keys"
        );
    }
}
