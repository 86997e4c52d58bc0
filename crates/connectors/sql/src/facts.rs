//! What guards may know of the tools of a database beside what clients see: the full schema, secrets, and what of its caller an
//! answer depends on.

use std::fmt;
use std::sync::Arc;

use trunkline_service::Request;
use trunkline_service::catalog::{Binding, Facts};

use crate::connector::{Slot, SqlConnector};
use crate::cursor::{self, write_values};
use crate::database::{Behalf, Database};
use crate::format;
use crate::options::SchemaProfile;
use crate::schema;

impl<D: Database> SqlConnector<D> {
    /// Returns the facts of every tool, in the order of [`definitions`](Self::definitions). What an answer depends on beside
    /// arguments and caller is left to who knows which database it is: [`Facts::definition`] is empty.
    #[must_use]
    pub fn facts(self: &Arc<Self>) -> Vec<Facts> {
        let declared = self.tools.iter().enumerate().map(|(at, slot)| self.facts_of(at, slot));
        let own = self.ad_hoc.iter().filter_map(|tool| tool.as_ref().ok()).map(|_| Facts {
            binding: self.options.session.is_some().then(|| self.binding(None)),
            takes_numerals: true,
            ..Facts::default()
        });
        declared.chain(own).collect()
    }

    fn facts_of(self: &Arc<Self>, at: usize, slot: &Slot<D::Statement>) -> Facts {
        let specs = &slot.tool.params;
        // Of a database that was never asked the file tells what it does; the rest may be anything.
        let prepared = slot.known();
        let plan = prepared.as_ref().map(|prepared| &prepared.plan);
        let mut schema = schema::input(specs, plan, SchemaProfile::Full, D::DIALECT);
        if slot.tool.has_pages {
            cursor::describe_argument(&mut schema);
        }
        let computed = specs.iter().filter_map(|spec| spec.computed.as_ref());
        let uses_caller = computed.into_iter().any(|expression| expression.uses_caller());
        Facts {
            schema: Some(schema),
            takes_numerals: true,
            forms: Some(format::forms(D::DIALECT)),
            secrets: specs.iter().filter(|spec| spec.secret).map(|spec| spec.name.as_str().into()).collect(),
            binding: (uses_caller || self.options.session.is_some()).then(|| self.binding(Some(at))),
            definition: Box::default(),
        }
    }

    fn binding(self: &Arc<Self>, declared: Option<usize>) -> Arc<dyn Binding> {
        Arc::new(Bound { connector: Arc::clone(self), declared })
    }
}

/// What the database is told of a caller: as whom the statement runs, and the values that are computed for it.
struct Bound<D: Database> {
    connector: Arc<SqlConnector<D>>,
    /// The declared tool; `None` for the one that runs callers' own statements.
    declared: Option<usize>,
}

impl<D: Database> Binding for Bound<D> {
    fn write(&self, request: &Request, out: &mut Vec<u8>) -> bool {
        let Ok(behalf) = self.connector.options.behalf(request.caller()) else { return false };
        write_behalf(&behalf, out);
        let Some(at) = self.declared else { return true };
        let Some(slot) = self.connector.tools.get(at) else { return false };
        let Some(prepared) = slot.known() else { return false };
        match prepared.plan.bind(&slot.tool.params, request.arguments(), request.caller()) {
            Ok(values) => {
                write_values(out, &values);
                true
            }
            Err(_) => false,
        }
    }
}

fn write_behalf(behalf: &Behalf, out: &mut Vec<u8>) {
    let mut put = |text: &str| {
        out.extend_from_slice(&(text.len() as u64).to_be_bytes());
        out.extend_from_slice(text.as_bytes());
    };
    // A role is never empty.
    put(behalf.role.as_deref().unwrap_or_default());
    for (name, value) in &behalf.settings {
        put(name);
        put(value);
    }
}

impl<D: Database> fmt::Debug for Bound<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound").field("connector", &self.connector.name).finish_non_exhaustive()
    }
}
