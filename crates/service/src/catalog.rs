//! What exists at an endpoint, in a stable order: tools, prompts, resources and their templates, with the answers to the list
//! methods written once for every revision.

mod common;
mod pages;
mod prompt;
mod resource;
mod restrict;
mod tool;

use std::borrow::Cow;
use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use rustc_hash::FxHashMap;
use trunkline_protocol::param_header::{self, ParamHeader};
use trunkline_protocol::uri_template::{BadTemplate, UriTemplate};
use trunkline_protocol::{Method, Revision};

use crate::Service;
use crate::caller::Caller;
use crate::check::Check;
use crate::request::{Found, Request};
use crate::seal::Sealer;

pub use common::Icon;
pub use prompt::{PromptArgument, PromptDefinition};
pub use resource::{ResourceDefinition, TemplateDefinition};
pub use restrict::{Admission, Gate, Readable, Restriction, Uris};
pub use tool::{Annotations, BadToolName, Binding, Entry, Facts, Forms, ToolDefinition, ToolName};

use pages::{Listed, Pages, Source};

/// What a request for one thing has to pass, in this order, after its name was authorized and before its arguments are.
pub type Checks = Arc<[Arc<dyn Check>]>;

/// A prompt, resource or template and the service that answers it.
#[derive(Clone)]
pub struct Served<D> {
    /// What clients see.
    pub definition: D,
    /// What guards know beside.
    pub facts: Facts,
    /// What a request has to pass before its arguments are authorized.
    pub checks: Checks,
    /// Who answers.
    pub service: Arc<dyn Service>,
    /// Its number within that service.
    pub target: u32,
    /// Whether the service completes its arguments or variables.
    pub completes: bool,
}

impl<D> Served<D> {
    /// Makes an entry of a thing that completes nothing and is asked for without checks.
    #[must_use]
    pub fn new(definition: D, service: Arc<dyn Service>, target: u32) -> Self {
        let (facts, checks) = (Facts::default(), Checks::default());
        Self { definition, facts, checks, service, target, completes: false }
    }
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

/// Everything an endpoint has, fixed once made: a change makes a new catalog. A [restriction](Catalog::restricted) of it shares
/// all that both have.
#[derive(Debug)]
pub struct Catalog {
    whole: Arc<Whole>,
    /// `None`: all of it is there.
    restriction: Option<Restriction>,
    lists: [Pages; 4],
}

/// What a catalog and its restrictions share.
#[derive(Debug)]
struct Whole {
    /// Tells it from every other of the process.
    id: u64,
    parts: Parts,
    page_size: usize,
    sealer: Arc<Sealer>,
    /// The arguments each tool wants mirrored in headers, by number.
    param_headers: Vec<Box<[ParamHeader]>>,
    uri_templates: Vec<UriTemplate>,
    /// A cheap hash: the names are the server's own, so that nobody can choose them to collide.
    tools: FxHashMap<Box<[u8]>, u32>,
    prompts: FxHashMap<Box<str>, u32>,
    resources: FxHashMap<Box<str>, u32>,
    /// What restrictions write their lists from: the texts of each list, by revision.
    texts: [Texts; 4],
}

/// The texts of one list, by revision in the order of [`Revision::ALL`].
type Texts = [OnceLock<Box<[Box<str>]>>; 4];

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
        static IDS: AtomicU64 = AtomicU64::new(0);
        let whole = Whole {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            parts,
            page_size: page_size.max(1),
            sealer: Arc::clone(sealer),
            param_headers,
            uri_templates,
            tools,
            prompts,
            resources,
            texts: Default::default(),
        };
        Ok(Self { whole: Arc::new(whole), restriction: None, lists: Default::default() })
    }

    /// Returns the part of the whole catalog that the restriction lets be there. Nothing is copied.
    #[must_use]
    pub fn restricted(&self, restriction: Restriction) -> Self {
        Self { whole: Arc::clone(&self.whole), restriction: Some(restriction), lists: Default::default() }
    }

    fn admission(&self, kind: fn(&Restriction) -> &[Admission], number: u32) -> &Admission {
        match &self.restriction {
            None => &Admission::Open,
            Some(restriction) => kind(restriction).get(number as usize).unwrap_or(&Admission::Absent),
        }
    }

    /// Returns the number of the tool of that name.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<u32> {
        let number = self.whole.tools.get(name).copied()?;
        self.admission(|kinds| &kinds.tools, number).is_there().then_some(number)
    }

    /// Returns the number of the tool that a request names, and has the request remember it for whoever looks next.
    pub fn find_named(&self, request: &mut Request) -> Option<u32> {
        let found = request.found().filter(|found| found.catalog == self.whole.id);
        let number = match found {
            Some(found) => found.number,
            None => {
                let number = self.whole.tools.get(&*request.name_bytes()?).copied()?;
                request.set_found(Found { catalog: self.whole.id, number });
                number
            }
        };
        self.admission(|kinds| &kinds.tools, number).is_there().then_some(number)
    }

    /// Returns a tool by its number.
    #[must_use]
    pub fn entry(&self, number: u32) -> Option<&Entry> {
        self.whole.parts.tools.get(number as usize).filter(|_| self.tool_admission(number).is_there())
    }

    /// Tells whether a tool is there, and what is asked before it is called.
    #[must_use]
    pub fn tool_admission(&self, number: u32) -> &Admission {
        self.admission(|kinds| &kinds.tools, number)
    }

    /// Returns the arguments that a tool wants mirrored in headers.
    #[must_use]
    pub fn param_headers(&self, number: u32) -> &[ParamHeader] {
        self.whole.param_headers.get(number as usize).map_or(&[], |headers| headers)
    }

    /// Returns the prompt of that name, and what is asked before.
    #[must_use]
    pub fn prompt(&self, name: &str) -> Option<(&Served<PromptDefinition>, &Admission)> {
        let number = *self.whole.prompts.get(name)?;
        let admission = self.admission(|kinds| &kinds.prompts, number);
        let prompt = self.whole.parts.prompts.get(number as usize)?;
        admission.is_there().then_some((prompt, admission))
    }

    /// Returns the resource of exactly that URI.
    #[must_use]
    pub fn resource(&self, uri: &str) -> Option<&Served<ResourceDefinition>> {
        let number = *self.whole.resources.get(uri)?;
        let resource = self.whole.parts.resources.get(number as usize)?;
        self.admission(|kinds| &kinds.resources, number).is_there().then_some(resource)
    }

    /// Returns the template that is written so, and what is asked before.
    #[must_use]
    pub fn template(&self, uri_template: &str) -> Option<(&Served<TemplateDefinition>, &Admission)> {
        let templates = (0..).zip(&self.whole.parts.templates);
        let (number, template) =
            templates.into_iter().find(|(_, one)| one.definition.uri_template == uri_template)?;
        let admission = self.admission(|kinds| &kinds.templates, number);
        admission.is_there().then_some((template, admission))
    }

    /// Returns who reads that URI: the resource of exactly that URI, else the first template that it is an instance of.
    #[must_use]
    pub fn readable(&self, uri: &str) -> Option<Readable<'_>> {
        let uris = self.restriction.as_ref().and_then(|restriction| restriction.uris.as_ref());
        let Some(uris) = uris else {
            let resource = self.whole.resources.get(uri).and_then(|number| self.known(*number, None));
            return resource.or_else(|| self.instance(uri, Admission::Open, None));
        };
        let canonical = uris.canonical(uri)?;
        let spelling = || (canonical != uri).then(|| canonical.clone().into_owned());
        let as_sent = self.whole.resources.get(uri).and_then(|number| self.known(*number, None));
        let known = as_sent.or_else(|| {
            let number = self.whole.resources.get(&*canonical)?;
            self.known(*number, spelling())
        });
        // Asked of every URI: what takes longer for one that is denied would tell it from one that does not exist.
        known.or_else(|| self.instance(&canonical, uris.admission(&canonical), spelling()))
    }

    fn known(&self, number: u32, spelling: Option<String>) -> Option<Readable<'_>> {
        let resource = self.whole.parts.resources.get(number as usize)?;
        let admission = self.admission(|kinds| &kinds.resources, number).clone();
        let (subscribe, service) = (resource.definition.subscribe, &resource.service);
        admission.is_there().then_some(Readable {
            service,
            target: resource.target,
            checks: &resource.checks,
            subscribe,
            admission,
            spelling,
        })
    }

    fn instance(&self, uri: &str, admission: Admission, spelling: Option<String>) -> Option<Readable<'_>> {
        let number = self.whole.uri_templates.iter().position(|template| template.matches(uri).is_some())?;
        let template = self.whole.parts.templates.get(number)?;
        let is_there = self.admission(|kinds| &kinds.templates, u32::try_from(number).ok()?).is_there();
        (is_there && admission.is_there()).then_some(Readable {
            service: &template.service,
            target: template.target,
            checks: &template.checks,
            subscribe: template.definition.subscribe,
            admission,
            spelling,
        })
    }

    /// Tells whether the caller may subscribe to changes of that URI.
    #[must_use]
    pub fn can_subscribe(&self, uri: &str, caller: &Caller) -> bool {
        self.readable(uri).is_some_and(|found| found.subscribe && found.tells(caller))
    }

    /// Tells whether the caller may be told of that URI, which something of the server announced. One that is no resource of
    /// the whole catalog is told: who announces it knows why.
    #[must_use]
    pub fn may_tell(&self, uri: &str, caller: &Caller) -> bool {
        let Some(uris) = self.restriction.as_ref().and_then(|restriction| restriction.uris.as_ref()) else {
            return true;
        };
        match self.readable(uri) {
            Some(found) => found.tells(caller),
            None => uris.canonical(uri).is_some_and(|canonical| match uris.admission(&canonical) {
                Admission::Absent => false,
                Admission::Open => true,
                Admission::Guarded(gate) => gate.tells(caller),
            }),
        }
    }

    /// Returns digests of what clients see of tools, prompts and resources (with their templates): equal for equal lists.
    #[must_use]
    pub fn digests(&self) -> [[u8; 32]; 3] {
        let digest = |method| self.with_list(method, |list, source| list.digest(source)).unwrap_or_default();
        let mut both = digest(Method::ResourcesList);
        both.iter_mut().zip(digest(Method::ResourcesTemplatesList)).for_each(|(byte, other)| *byte ^= other);
        [digest(Method::ToolsList), digest(Method::PromptsList), both]
    }

    /// Returns every tool of the whole catalog, in list order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.whole.parts.tools
    }

    /// Returns all that the whole catalog has, in list order, restriction or not.
    #[must_use]
    pub fn parts(&self) -> &Parts {
        &self.whole.parts
    }

    /// Returns how the template of that number is read.
    #[must_use]
    pub fn uri_template(&self, number: usize) -> Option<&UriTemplate> {
        self.whole.uri_templates.get(number)
    }

    /// Tells what is there of prompts, resources and templates, with what they can.
    pub(crate) fn has(&self) -> Has {
        let is_there = |kind, number: usize| {
            u32::try_from(number).is_ok_and(|number| self.admission(kind, number).is_there())
        };
        let mut has = Has::default();
        let parts = &self.whole.parts;
        has.tools = (0..parts.tools.len()).any(|number| is_there(|kinds| &kinds.tools, number));
        for (number, prompt) in parts.prompts.iter().enumerate() {
            if is_there(|kinds| &kinds.prompts, number) {
                has.prompts = true;
                has.completions |= prompt.completes;
            }
        }
        for (number, resource) in parts.resources.iter().enumerate() {
            if is_there(|kinds| &kinds.resources, number) {
                has.resources = true;
                has.subscribe |= resource.definition.subscribe;
            }
        }
        for (number, template) in parts.templates.iter().enumerate() {
            if is_there(|kinds| &kinds.templates, number) {
                has.resources = true;
                has.subscribe |= template.definition.subscribe;
                has.completions |= template.completes;
            }
        }
        has
    }

    /// Returns the members of one page of what a list method answers: the first without a cursor; `None` for a cursor that is
    /// not ours or belongs to another list, and for a method that lists nothing. A cursor holds on every node that has the
    /// same keys and the same list.
    #[must_use]
    pub fn page(&self, method: Method, cursor: Option<&str>, revision: Revision) -> Option<Bytes> {
        self.with_list(method, |list, source| list.page(source, cursor, revision))?
    }

    /// Gives `look` the list of a method and what it is written from; `None` for a method that lists nothing.
    fn with_list<T>(&self, method: Method, look: impl FnOnce(&Pages, &Source<'_>) -> T) -> Option<T> {
        let (at, key) = list_of(method)?;
        let list = self.lists.get(at)?;
        let Whole { page_size, sealer, .. } = &*self.whole;
        let Some(restriction) = &self.restriction else {
            let text = |item: usize, revision| Cow::Owned(self.whole.write(at, item, revision));
            let source =
                Source { key, length: self.whole.length(at), text: &text, page_size: *page_size, sealer };
            return Some(look(list, &source));
        };
        let admissions =
            [&restriction.tools, &restriction.prompts, &restriction.resources, &restriction.templates];
        let there: Vec<usize> = admissions
            .get(at)?
            .iter()
            .enumerate()
            .filter(|(_, admission)| admission.is_there())
            .map(|(number, _)| number)
            .collect();
        let text = |item: usize, revision| {
            let number = there.get(item).copied().unwrap_or(usize::MAX);
            Cow::Borrowed(self.whole.text(at, number, revision))
        };
        let source = Source { key, length: there.len(), text: &text, page_size: *page_size, sealer };
        Some(look(list, &source))
    }
}

impl Readable<'_> {
    fn tells(&self, caller: &Caller) -> bool {
        self.admission.gate().is_none_or(|gate| gate.tells(caller))
    }
}

/// What is there, as far as capabilities tell it.
#[derive(Debug, Default)]
pub(crate) struct Has {
    pub(crate) tools: bool,
    pub(crate) prompts: bool,
    pub(crate) resources: bool,
    pub(crate) subscribe: bool,
    pub(crate) completions: bool,
}

/// Which list a method answers with, and the member that holds it.
fn list_of(method: Method) -> Option<(usize, &'static str)> {
    Some(match method {
        Method::ToolsList => (0, ToolDefinition::KEY),
        Method::PromptsList => (1, PromptDefinition::KEY),
        Method::ResourcesList => (2, ResourceDefinition::KEY),
        Method::ResourcesTemplatesList => (3, TemplateDefinition::KEY),
        _ => return None,
    })
}

impl Whole {
    fn length(&self, list: usize) -> usize {
        match list {
            0 => self.parts.tools.len(),
            1 => self.parts.prompts.len(),
            2 => self.parts.resources.len(),
            _ => self.parts.templates.len(),
        }
    }

    fn write(&self, list: usize, item: usize, revision: Revision) -> String {
        fn text<D: Listed>(definition: Option<&D>, revision: Revision) -> String {
            definition.map(|one| one.to_json(revision).to_string()).unwrap_or_default()
        }
        let Parts { tools, prompts, resources, templates } = &self.parts;
        match list {
            0 => text(tools.get(item).map(|one| &one.definition), revision),
            1 => text(prompts.get(item).map(|one| &one.definition), revision),
            2 => text(resources.get(item).map(|one| &one.definition), revision),
            _ => text(templates.get(item).map(|one| &one.definition), revision),
        }
    }

    /// Returns a text of a list, written once for all restrictions.
    fn text(&self, list: usize, item: usize, revision: Revision) -> &str {
        let number = Revision::ALL.iter().position(|known| *known == revision);
        let texts = self.texts.get(list).zip(number).and_then(|(list, number)| list.get(number));
        let written = || (0..self.length(list)).map(|item| self.write(list, item, revision).into()).collect();
        texts.and_then(|texts| texts.get_or_init(written).get(item)).map_or("", |text| text)
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
        fn call(&self, _: Request) -> crate::Answer<'_> {
            crate::ready(Ok(crate::Reply::text("")))
        }
    }

    fn catalog(tools: u32, sealer: &Arc<Sealer>) -> Catalog {
        let entry = |target: u32| {
            let definition = ToolDefinition {
                name: ToolName::new(&format!("t{target}")).unwrap(),
                title: None,
                description: String::new(),
                input_schema: serde_json::json!({ "type": "object" }),
                output_schema: None,
                annotations: Annotations::READ_ONLY,
                icons: Vec::new(),
                meta: None,
            };
            Entry::new(definition, Arc::new(Nobody), target)
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
