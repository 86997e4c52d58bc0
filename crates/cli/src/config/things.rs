//! The keys of guards in `[tools.X]` and `[connectors.X]`: taken out of their tables, and decided once all tools are known.

use std::collections::BTreeMap;

use toml::de::DeTable;
use trunkline_guard::cache::{self, Plan, Subject};
use trunkline_guard::limit::ThingSpec;
use trunkline_guard::redact::Shape;
use trunkline_guard::resilience::{self, SourceConfig};
use trunkline_guard::thing::{ConnectorGuardsFile, ToolGuardsFile};
use trunkline_guard::validate::ResultsMode;
use trunkline_sql::options::AdHoc;
use trunkline_sql::{Access, Problem, Tool};

use super::Reader;
use super::connectors::Connector;
use super::guards::Guards;

/// The keys as they stand in the file.
#[derive(Debug, Default)]
pub(super) struct ThingFiles {
    pub(super) connectors: Vec<(String, ConnectorGuardsFile)>,
    pub(super) tools: Vec<(String, ToolGuardsFile)>,
}

/// What guards do around connectors and tools, by their names.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Things {
    pub(crate) connectors: BTreeMap<String, Thing>,
    pub(crate) tools: BTreeMap<String, Thing>,
}

/// What guards do around one tool, or around all of a connector.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Thing {
    pub(crate) limit: ThingSpec,
    /// What is kept of answers; of a connector: for its resources, and tools that are not in the file.
    pub(crate) cache: Option<Plan>,
    /// The tags whose answers a call makes wrong.
    pub(crate) invalidates: Vec<Box<str>>,
    pub(crate) results: Option<ResultsMode>,
    /// How results are shaped before they leave.
    pub(crate) shape: Shape,
    /// How the source is dealt with; of connectors alone.
    pub(crate) source: Option<SourceConfig>,
}

/// Takes those keys out of a table into one of their own.
pub(super) fn take<'i>(table: &mut DeTable<'i>, keys: &[&str]) -> DeTable<'i> {
    let mut taken = DeTable::new();
    for key in keys {
        if let Some((key, value)) = table.remove_entry(*key) {
            taken.insert(key, value);
        }
    }
    taken
}

/// What a cursor and a link to the rest take, twice.
const ROOM_FOR_REST: usize = 1024;

/// Lets databases end results before `max-result` has to: they know where the next page begins. Structured content and its twin
/// together are up to two and a half times what `max-bytes` bounds, beside the way to the rest; fields that are sealed grow.
pub(super) fn bound_results(connectors: &mut [Connector], things: &Things) {
    for connector in connectors {
        let of_connector = things.connectors.get(&connector.name);
        let of_tools = connector.tools.iter().filter_map(|tool| things.tools.get(tool.name().as_str()));
        let shapes = of_connector.into_iter().chain(of_tools).map(|thing| &thing.shape);
        let room = |shape: &Shape| {
            let room = shape.max_result()?.saturating_sub(ROOM_FOR_REST).max(ROOM_FOR_REST) / 5 * 2;
            Some(if shape.seals() { room / 3 } else { room })
        };
        let most = shapes.filter_map(room).min().filter(|most| *most < connector.options.max_bytes);
        if let Some(most) = most {
            connector.options.max_bytes = most;
            connector.own.note(&format!("max-bytes {most}"));
        }
    }
}

impl Reader<'_> {
    /// Decides the keys. `guarded`: callers have to prove who they are.
    pub(super) fn things(&mut self, files: ThingFiles, connectors: &[Connector], guarded: bool) -> Things {
        let mut things = Things::default();
        for (name, file) in &files.connectors {
            let thing = self.connector_thing(name, file, connectors, guarded);
            things.connectors.insert(name.clone(), thing);
        }
        let declared = connectors.iter().flat_map(|connector| {
            connector.tools.iter().map(move |tool| (tool.name().as_str(), (connector, tool)))
        });
        let declared: BTreeMap<&str, (&Connector, &Tool)> = declared.collect();
        for (name, file) in &files.tools {
            if let Some((connector, tool)) = declared.get(name.as_str()) {
                let above = files.connectors.iter().find(|(above, _)| *above == connector.name);
                let shape = things.connectors.get(&connector.name).map(|thing| thing.shape.clone());
                let above = (above.map(|(_, file)| file), &shape.unwrap_or_default());
                let thing = self.tool_thing(file, above, connector, tool, guarded);
                things.tools.insert(name.clone(), thing);
            }
        }
        self.tell_unknown_tags(&things);
        self.tell_renamable(&things, connectors);
        things
    }

    fn connector_thing(
        &mut self,
        name: &str,
        file: &ConnectorGuardsFile,
        connectors: &[Connector],
        guarded: bool,
    ) -> Thing {
        let path = ["connectors", name];
        let session = connectors.iter().find(|connector| connector.name == name);
        let bindings = session.map(|connector| connector.options.bindings()).unwrap_or_default();
        let what = format!("connector `{name}`");
        let subject = Subject {
            path: &path,
            what: &what,
            read_only: true,
            inherited: true,
            bindings: &bindings,
            guarded,
        };
        let shape = Shape::resolve(&path, file.max_result, file.redact.as_ref(), file.encrypt.as_ref());
        Thing {
            shape: self.shape(shape),
            limit: ThingSpec {
                limit: file.limit.map(|limit| limit.0),
                concurrent: file.concurrent,
                cost: None,
            },
            cache: self.plan(file.cache.as_ref(), &subject),
            invalidates: Vec::new(),
            results: file.results,
            source: Some(self.source(name, file, &path)),
        }
    }

    fn tool_thing(
        &mut self,
        file: &ToolGuardsFile,
        (above, above_shape): (Option<&ConnectorGuardsFile>, &Shape),
        connector: &Connector,
        tool: &Tool,
        guarded: bool,
    ) -> Thing {
        let path = ["tools", tool.name().as_str()];
        let connector_path = ["connectors", connector.name.as_str()];
        let mut bindings = connector.options.bindings();
        bindings.extend(tool.bindings());
        let inherited = file.cache.is_none();
        let what = format!("tool `{}`", tool.name());
        let subject = Subject {
            path: if inherited { &connector_path } else { &path },
            what: &what,
            read_only: tool.access() == Access::ReadOnly,
            inherited,
            bindings: &bindings,
            guarded,
        };
        let cache = file.cache.as_ref().or_else(|| above?.cache.as_ref());
        let (invalidates, problems) =
            cache::resolve_invalidates(&file.invalidates, &Subject { path: &path, ..subject });
        self.tell(problems);
        let shape = Shape::resolve(&path, file.max_result, file.redact.as_ref(), file.encrypt.as_ref());
        Thing {
            shape: self.shape(shape).or(above_shape),
            limit: ThingSpec {
                limit: file.limit.map(|limit| limit.0),
                concurrent: file.concurrent,
                cost: file.cost,
            },
            cache: self.plan(cache, &subject),
            invalidates,
            results: file.results.or_else(|| above?.results),
            source: None,
        }
    }

    /// Decides how the source of a connector is dealt with.
    fn source(&mut self, name: &str, file: &ConnectorGuardsFile, path: &[&str]) -> SourceConfig {
        let mut config = SourceConfig::new(name, usize::MAX);
        let mut problems = Vec::new();
        match resilience::file::retry(file.retry.as_ref(), path) {
            Ok(retry) => config.retry = retry,
            Err(found) => problems.extend(found),
        }
        match resilience::file::breaker(file.breaker.as_ref(), path) {
            Ok(breaker) => config.breaker = breaker,
            Err(found) => problems.extend(found),
        }
        self.tell(problems);
        config
    }

    fn plan(&mut self, file: Option<&cache::CacheFile>, subject: &Subject<'_>) -> Option<Plan> {
        let (plan, problems) = file?.resolve(subject);
        self.tell(problems);
        plan
    }

    /// Tells of fields that are hidden by their names where callers write their own SQL, and so name the columns.
    fn tell_renamable(&mut self, things: &Things, connectors: &[Connector]) {
        for connector in connectors.iter().filter(|connector| connector.options.ad_hoc != AdHoc::Off) {
            let name = connector.name.as_str();
            let names = |thing: Option<&Thing>| thing.is_some_and(|thing| thing.shape.names_fields());
            let of_tools = connector.tools.iter().any(|tool| names(things.tools.get(tool.name().as_str())));
            if names(things.connectors.get(name)) || of_tools {
                let message = "callers write SQL of their own here, and a field that is hidden or sealed by its name is seen under another (`select ssn as x`)";
                let help = "take the column from the rights of the login, or set `ad-hoc-sql = \"off\"`; kinds like `email` are found under any name";
                let problem = Problem::new(&["connectors", name, "ad-hoc-sql"], message).help(help).warning();
                self.tell(vec![problem]);
            }
        }
    }

    /// Tells of tools that cost more than there ever is at once of a limit.
    pub(super) fn tell_too_dear(&mut self, things: &Things, connectors: &[Connector], guards: &Guards) {
        let nothing = ThingSpec::default();
        for connector in connectors {
            let name = connector.name.as_str();
            let of_connector = things.connectors.get(name).map_or(&nothing, |thing| &thing.limit);
            for tool in connector.tools.iter().map(|tool| tool.name().as_str()) {
                let Some(thing) = things.tools.get(tool) else { continue };
                let (tool, connector) = ((tool, &thing.limit), (name, of_connector));
                self.tell(guards.limits.too_dear(tool, connector, &guards.policy));
            }
        }
    }

    fn shape(&mut self, shape: Result<Shape, Vec<Problem>>) -> Shape {
        shape.unwrap_or_else(|problems| {
            self.tell(problems);
            Shape::default()
        })
    }

    fn tell_unknown_tags(&mut self, things: &Things) {
        let all = things.connectors.values().chain(things.tools.values());
        let known: Vec<Box<str>> =
            all.filter_map(|thing| thing.cache.as_ref()).flat_map(|plan| plan.tags.iter().cloned()).collect();
        for (name, thing) in &things.tools {
            self.tell(cache::unknown_tags(&["tools", name], &thing.invalidates, &known));
        }
    }
}
