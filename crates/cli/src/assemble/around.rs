//! What guards put around each thing of a connector: checks before its arguments are authorized, layers around who answers it.
//!
//! ```text
//! checks: limits of tool and connector -> arguments fit the schema, defaults put in
//! layers: Shaped (Invalidating (Cached (Concurrent (ResultsChecked (Resilient (connector))))))
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use trunkline_guard::cache::{Cache, Origin, Reads, Warmable};
use trunkline_guard::limit::{Concurrent, Limits, Running, ThingSpec};
use trunkline_guard::redact::{Shaped, ShapedReads, Shaper, ToolShapers};
use trunkline_guard::resilience::{Repeatable, Resilient, Source, SourceConfig};
use trunkline_guard::validate::{
    Quarantined, ResultsChecked, ResultsMode, SchemaError, Validate, ValidatePrompt,
};
use trunkline_service::catalog::{Checks, Entry, Parts, Served as Entered};
use trunkline_service::meter::Meter;
use trunkline_service::seal::fingerprint;
use trunkline_service::{Check, Service};

use super::Served;
use crate::config::{Thing, Things};

/// What guards know of connectors and tools from one file to the next.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// How sources fare, by connector.
    sources: BTreeMap<String, Arc<Source>>,
    /// What runs, by tool.
    running: BTreeMap<String, Arc<Running>>,
}

impl Known {
    fn source(&self, config: SourceConfig) -> Arc<Source> {
        let sources = &mut self.0.lock().unwrap_or_else(PoisonError::into_inner).sources;
        let known = sources.get(&*config.name).filter(|source| *source.config() == config);
        let source = known.map_or_else(|| Source::new(config), Arc::clone);
        sources.insert(source.config().name.to_string(), Arc::clone(&source));
        source
    }

    fn running(&self, tool: &str, spec: &ThingSpec) -> Option<Arc<Running>> {
        let most = spec.concurrent?;
        let all = &mut self.0.lock().unwrap_or_else(PoisonError::into_inner).running;
        let known = all.get(tool).filter(|running| running.most() == most);
        let running = known.map_or_else(|| Running::new(tool, most), Arc::clone);
        all.insert(tool.to_owned(), Arc::clone(&running));
        Some(running)
    }

    /// The names of what is known, each with where it is kept.
    #[cfg(test)]
    pub(super) fn names(&self) -> Vec<(String, usize)> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sources = kept.sources.iter().map(|(name, source)| (name.clone(), Arc::as_ptr(source).addr()));
        let running = kept.running.iter().map(|(name, running)| (name.clone(), Arc::as_ptr(running).addr()));
        sources.chain(running).collect()
    }

    /// Forgets what the file names no longer, unless it still serves: should the file name it again, it goes on as it was.
    pub(super) fn keep(&self, served: &[Served], things: &Things) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.sources.retain(|name, source| {
            served.iter().any(|served| served.name == *name) || Arc::strong_count(source) > 1
        });
        let is_bounded =
            |tool: &str| things.tools.get(tool).is_some_and(|tool| tool.limit.concurrent.is_some());
        kept.running.retain(|tool, running| is_bounded(tool) || Arc::strong_count(running) > 1);
    }
}

/// What lasts while files come and go, and what the file says now.
#[derive(Debug)]
pub(super) struct Around<'a> {
    pub(super) things: &'a Things,
    pub(super) limits: &'a Arc<Limits>,
    pub(super) cache: &'a Arc<Cache>,
    pub(super) known: &'a Known,
    pub(super) max_in_flight: usize,
    /// Whether everybody who reaches the endpoint may use all of it.
    pub(super) open: bool,
    /// Tools whose answers are fetched ahead.
    pub(super) warm: Vec<Warmable>,
    /// Who counts for what is put together.
    pub(super) meters: Vec<Arc<dyn Meter>>,
}

/// Says where the answers of a connector come from; what its file says is in the definitions of its tools.
fn origin(served: &Served) -> Origin<'_> {
    Origin { connector: &served.name, configuration: &[], lag: served.source.lag() }
}

impl Around<'_> {
    /// Puts the guards around all that a connector has. A tool or a prompt whose schema cannot be used is left out, and the operator
    /// told.
    pub(super) fn wrap(&mut self, served: &Served, parts: &mut Parts) {
        let nothing = Thing::default();
        let connector = self.things.connectors.get(&served.name).unwrap_or(&nothing);
        let definition = [served.own.digest(), served.tools.digest()].concat();
        let source = self.source(&served.name, connector);
        let all = OfConnector { served, connector, definition: &definition, source: &source };
        let quarantined = Quarantined::of(&served.name);
        let mut shapers = ToolShapers::new();
        parts.tools.retain_mut(|entry| match self.wrap_tool(&all, entry, &mut shapers) {
            Ok(()) => true,
            Err(error) => {
                quarantined.add(entry.definition.name.as_str(), &error);
                false
            }
        });
        let asked = (served.name.as_str(), &connector.limit);
        let limit = self.limits.check(None, Some(asked));
        let shaper = (!connector.shape.is_nothing())
            .then(|| Arc::new(Shaper::of_connector(&connector.shape, &served.name)));
        self.meters.extend(shaper.iter().map(|shaper| Arc::clone(shaper) as _));
        parts.prompts.retain_mut(|prompt| {
            let validate = match ValidatePrompt::of(&prompt.definition) {
                Ok(validate) => Arc::new(validate) as Arc<dyn Check>,
                Err(error) => {
                    quarantined.add_prompt(&prompt.definition.name, &error);
                    return false;
                }
            };
            prompt.checks = limit.iter().cloned().chain([validate]).collect();
            prompt.service = resilient(&prompt.service, &source, Repeatable::Always);
            if let Some(shaper) = &shaper {
                prompt.service = Arc::new(Shaped::new(Arc::clone(&prompt.service), Arc::clone(shaper)));
            }
            true
        });
        self.meters.push(quarantined);
        let checks: Checks = limit.into_iter().collect();
        let shapers = Arc::new(shapers);
        let shaped = |service: &mut Arc<dyn Service>| {
            if shaper.is_some() || shapers.values().any(Option::is_some) {
                *service =
                    Arc::new(ShapedReads::new(Arc::clone(service), shaper.clone(), Arc::clone(&shapers)));
            }
        };
        for resource in &mut parts.resources {
            let uri = resource.definition.uri.clone();
            self.wrap_reads(&all, &uri, resource);
            resource.checks = Arc::clone(&checks);
            shaped(&mut resource.service);
        }
        for template in &mut parts.templates {
            let uri = template.definition.uri_template.clone();
            self.wrap_reads(&all, &uri, template);
            template.checks = Arc::clone(&checks);
            shaped(&mut template.service);
        }
    }

    fn source(&mut self, name: &str, connector: &Thing) -> Arc<Source> {
        let default = SourceConfig::new(name, self.max_in_flight);
        let said = connector.source.clone().unwrap_or_else(|| default.clone());
        let concurrent = connector.limit.concurrent.map_or(default.concurrent, |most| most.get() as usize);
        let source = self.known.source(SourceConfig { concurrent, ..said });
        self.meters.push(Arc::clone(&source) as _);
        source
    }

    fn wrap_tool(
        &mut self,
        all: &OfConnector<'_>,
        entry: &mut Entry,
        shapers: &mut ToolShapers,
    ) -> Result<(), SchemaError> {
        let name = entry.definition.name.as_str().to_owned();
        let nothing = Thing {
            cache: all.connector.cache.clone(),
            results: all.connector.results,
            shape: all.connector.shape.clone(),
            ..Thing::default()
        };
        let tool = self.things.tools.get(&name).unwrap_or(&nothing);
        let schema = entry.definition.output_schema.as_ref();
        let shaper =
            (!tool.shape.is_nothing()).then(|| Arc::new(Shaper::of_tool(&tool.shape, &name, schema)));
        // First, so that the rest of a result stays hidden when its tool is left out for its schema.
        shapers.insert(name.as_str().into(), shaper.clone());
        if !entry.facts.definition.is_empty() {
            entry.facts.definition = fingerprint([all.definition, &entry.facts.definition]).into();
        }
        let validate = Arc::new(Validate::of(entry)?);
        let repeatable = Repeatable::from(&entry.definition.annotations);
        let service = resilient(&entry.service, all.source, repeatable);
        // Databases make results and their schemas from the same types.
        let mode = tool.results.unwrap_or(ResultsMode::Off);
        entry.service = match ResultsChecked::new(service, &entry.definition, mode)? {
            Ok(checked) => {
                self.meters.push(Arc::clone(checked.meter()) as _);
                Arc::new(checked)
            }
            Err(unchecked) => unchecked,
        };
        if let Some(running) = self.known.running(&name, &tool.limit) {
            self.meters.push(Arc::clone(&running) as _);
            entry.service = Arc::new(Concurrent::new(Arc::clone(&entry.service), running));
        }
        if let Some(plan) = &tool.cache {
            let kept = self.cache.keep_answers(entry, &origin(all.served), plan);
            self.warm.extend(kept.filter(Warmable::has_calls));
        }
        entry.service = self.cache.invalidate(Arc::clone(&entry.service), &tool.invalidates);
        if let Some(shaper) = shaper {
            shaper.widen(&mut entry.definition.output_schema);
            self.meters.push(Arc::clone(&shaper) as _);
            entry.service = Arc::new(Shaped::new(Arc::clone(&entry.service), shaper));
        }
        let asked = (name.as_str(), &tool.limit);
        let of = (all.served.name.as_str(), &all.connector.limit);
        let limit = self.limits.check(Some(asked), Some(of));
        self.meters.push(Arc::clone(&validate) as _);
        entry.checks = limit.into_iter().chain([validate as Arc<dyn Check>]).collect();
        Ok(())
    }

    /// Keeps what is read, where its service says what it depends on.
    fn wrap_reads<D>(&self, all: &OfConnector<'_>, uri: &str, entered: &mut Entered<D>) {
        entered.service = resilient(&entered.service, all.source, Repeatable::Always);
        let plan = all.connector.cache.as_ref().filter(|_| !entered.facts.definition.is_empty());
        let Some(plan) = plan else { return };
        let definition = fingerprint([all.definition, &entered.facts.definition]);
        let binding = entered.facts.binding.clone();
        let reads = Reads { definition: &definition, binding, open: self.open };
        self.cache.keep_reads(entered, uri, &origin(all.served), plan, &reads);
    }
}

/// What the things of one connector have in common.
struct OfConnector<'a> {
    served: &'a Served,
    connector: &'a Thing,
    definition: &'a [u8],
    source: &'a Arc<Source>,
}

fn resilient(service: &Arc<dyn Service>, source: &Arc<Source>, repeatable: Repeatable) -> Arc<dyn Service> {
    Arc::new(Resilient::new(Arc::clone(service), Arc::clone(source), repeatable))
}
