//! What guards put around each thing of a connector: checks before its arguments are authorized, layers around who answers it.
//!
//! ```text
//! checks: limit (tool, connector)
//! layers: invalidate (Cached ( connector ))
//! ```

use std::sync::Arc;

use trunkline_guard::cache::{Cache, Reads};
use trunkline_guard::limit::{Limits, ThingSpec};
use trunkline_service::Check;
use trunkline_service::catalog::{Checks, Entry, Parts, Served as Entered};
use trunkline_service::seal::fingerprint;

use super::Served;
use crate::config::{Thing, Things};

/// What lasts while files come and go, and what the file says now.
#[derive(Debug)]
pub(super) struct Around<'a> {
    pub(super) things: &'a Things,
    pub(super) limits: &'a Arc<Limits>,
    pub(super) cache: &'a Arc<Cache>,
    /// Whether everybody who reaches the endpoint may use all of it.
    pub(super) open: bool,
}

impl Around<'_> {
    /// Puts the guards around all that a connector has.
    pub(super) fn wrap(&self, served: &Served, parts: &mut Parts) {
        let nothing = Thing::default();
        let connector = self.things.connectors.get(&served.name).unwrap_or(&nothing);
        let definition = [served.own.digest(), served.tools.digest()].concat();
        for entry in &mut parts.tools {
            self.wrap_tool(served, connector, &definition, entry);
        }
        let asked = (served.name.as_str(), &connector.limit);
        let checks: Checks = self.limits.check(None, Some(asked)).into_iter().collect();
        for resource in &mut parts.resources {
            let uri = resource.definition.uri.clone();
            self.wrap_reads(served, connector, &definition, &uri, resource);
            resource.checks = Arc::clone(&checks);
        }
        for template in &mut parts.templates {
            let uri = template.definition.uri_template.clone();
            self.wrap_reads(served, connector, &definition, &uri, template);
            template.checks = Arc::clone(&checks);
        }
    }

    fn wrap_tool(&self, served: &Served, connector: &Thing, definition: &[u8], entry: &mut Entry) {
        let name = entry.definition.name.as_str().to_owned();
        let nothing = Thing { cache: connector.cache.clone(), ..Thing::default() };
        let tool = self.things.tools.get(&name).unwrap_or(&nothing);
        if !entry.facts.definition.is_empty() {
            entry.facts.definition = fingerprint([definition, &entry.facts.definition]).into();
        }
        if let Some(plan) = &tool.cache {
            self.cache.keep_answers(entry, &served.name, plan, &[]);
        }
        entry.service = self.cache.invalidate(Arc::clone(&entry.service), &tool.invalidates);
        let asked = |name, spec: &'_ ThingSpec| (name, *spec);
        let (tool, connector) = (asked(name.as_str(), &tool.limit), asked(&served.name, &connector.limit));
        let limit = self.limits.check(Some((tool.0, &tool.1)), Some((connector.0, &connector.1)));
        let checks: [Option<Arc<dyn Check>>; 1] = [limit];
        entry.checks = checks.into_iter().flatten().collect();
    }

    /// Keeps what is read, where the answer is the same for everybody who may read it.
    fn wrap_reads<D>(
        &self,
        served: &Served,
        connector: &Thing,
        definition: &[u8],
        uri: &str,
        entered: &mut Entered<D>,
    ) {
        let Some(plan) = connector.cache.as_ref().filter(|_| !entered.facts.definition.is_empty()) else {
            return;
        };
        let definition = fingerprint([definition, &entered.facts.definition]);
        let binding = entered.facts.binding.clone();
        let reads = Reads { definition: &definition, binding, open: self.open };
        self.cache.keep_reads(entered, uri, &served.name, plan, &[], &reads);
    }
}
