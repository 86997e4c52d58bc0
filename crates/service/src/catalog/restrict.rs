//! What of a catalog there is for some callers: which of its things, what is asked before one of them is used, and which URIs
//! they may read.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::Checks;
use crate::caller::Caller;
use crate::request::Request;
use crate::{Outcome, Service};

/// Stands before one thing of a catalog, and is asked by every request that names it.
pub trait Gate: fmt::Debug + Send + Sync + 'static {
    /// Judges a request by the name of the thing alone, before anything looks at it that depends on the thing: `None` lets it go
    /// on, an outcome is its answer.
    fn admit(&self, request: &Request) -> Option<Outcome>;

    /// Judges the arguments of a request, once they are known to fit: `None` lets it pass, an outcome is its answer.
    fn refuse(&self, request: &Request) -> Option<Outcome>;

    /// Tells whether the caller may be told of the thing unasked: of its changes.
    fn tells(&self, caller: &Caller) -> bool;
}

/// Whether one thing of a catalog is in a restriction of it.
#[derive(Debug, Clone, Default)]
pub enum Admission {
    /// It is not: nothing tells it from what does not exist.
    #[default]
    Absent,
    /// It is, for every request.
    Open,
    /// It is, and the gate is asked.
    Guarded(Arc<dyn Gate>),
}

impl Admission {
    /// Tells whether the thing is there.
    #[must_use]
    pub fn is_there(&self) -> bool {
        !matches!(self, Self::Absent)
    }

    /// Returns what a gate answers to a request by the name of the thing alone; `None` when it goes on.
    #[must_use]
    pub fn admit(&self, request: &Request) -> Option<Outcome> {
        self.gate()?.admit(request)
    }

    /// Returns what a gate answers to a request for its arguments; `None` when it passes.
    #[must_use]
    pub fn refuse(&self, request: &Request) -> Option<Outcome> {
        self.gate()?.refuse(request)
    }

    /// Returns the gate, if there is one.
    #[must_use]
    pub fn gate(&self) -> Option<&dyn Gate> {
        match self {
            Self::Guarded(gate) => Some(&**gate),
            _ => None,
        }
    }
}

/// Judges the URIs that are read.
pub trait Uris: fmt::Debug + Send + Sync + 'static {
    /// Returns the one spelling under which a URI is judged and read; `None` for one that nobody may read.
    fn canonical<'u>(&self, uri: &'u str) -> Option<Cow<'u, str>>;

    /// Tells whether the resource of that canonical URI may be read through a template.
    fn admission(&self, canonical: &str) -> Admission;
}

/// What of a catalog there is, by the numbers of its things; those beyond the end are not there.
#[derive(Debug)]
pub struct Restriction {
    /// The tools.
    pub tools: Box<[Admission]>,
    /// The prompts.
    pub prompts: Box<[Admission]>,
    /// The resources.
    pub resources: Box<[Admission]>,
    /// The templates of resources.
    pub templates: Box<[Admission]>,
    /// The URIs; `None` for all of them as they are.
    pub uris: Option<Arc<dyn Uris>>,
}

impl Restriction {
    /// Lets every tool, prompt, resource and template be there.
    #[must_use]
    pub fn open(parts: &super::Parts) -> Self {
        let all = |count| vec![Admission::Open; count].into();
        Self {
            tools: all(parts.tools.len()),
            prompts: all(parts.prompts.len()),
            resources: all(parts.resources.len()),
            templates: all(parts.templates.len()),
            uris: None,
        }
    }
}

/// Who reads a URI.
#[derive(Clone)]
pub struct Readable<'c> {
    /// Who answers.
    pub service: &'c Arc<dyn Service>,
    /// The resource's or template's number within that service.
    pub target: u32,
    /// What a request has to pass before.
    pub checks: &'c Checks,
    /// Whether subscriptions hear of its changes.
    pub subscribe: bool,
    /// What is asked before.
    pub admission: Admission,
    /// The spelling that the service is to see, where it is another one.
    pub spelling: Option<String>,
}

impl fmt::Debug for Readable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readable")
            .field("target", &self.target)
            .field("admission", &self.admission)
            .finish_non_exhaustive()
    }
}
