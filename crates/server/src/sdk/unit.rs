//! What all calls of a server share: its state, its way to other nodes, and the units that are called.

use std::any::{Any, TypeId};
use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use jsonschema::Validator;
use trunkline_protocol::uri_template::UriTemplate;
use trunkline_service::{Hints, Shared};

use super::arguments::Plan;
use super::dialogue::Facilities;
use super::server::Hub;
use super::{Prompt, Resource, TaskMode, Tool};

/// What lasts as long as the server, however often its lists change.
pub(crate) struct Core {
    pub(crate) states: States,
    pub(crate) facilities: Facilities,
    pub(crate) shared: Arc<dyn Shared>,
    /// Bytes that the result of a stream of parts may have.
    pub(crate) max_result: usize,
    /// Where the lists are changed; gone when the server is.
    pub(crate) hub: OnceLock<Weak<Hub>>,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("states", &self.states).finish_non_exhaustive()
    }
}

/// The values given to the server, by type.
#[derive(Default)]
pub(crate) struct States(Vec<(TypeId, &'static str, Box<dyn Any + Send + Sync>)>);

impl States {
    /// Keeps a value; a later one of the same type replaces it.
    pub(crate) fn insert<T: Any + Send + Sync>(&mut self, value: T) {
        self.0.retain(|(known, ..)| *known != TypeId::of::<T>());
        self.0.push((TypeId::of::<T>(), std::any::type_name::<T>(), Box::new(value)));
    }

    pub(crate) fn has(&self, wanted: TypeId) -> bool {
        self.0.iter().any(|(known, ..)| *known == wanted)
    }

    pub(crate) fn get<T: Any>(&self) -> Option<&T> {
        let (_, _, value) = self.0.iter().find(|(known, ..)| *known == TypeId::of::<T>())?;
        value.downcast_ref()
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(_, name, _)| name)).finish()
    }
}

/// A tool as it is called.
pub(crate) struct ToolUnit {
    pub(crate) name: Box<str>,
    pub(crate) tool: Arc<dyn Tool>,
    pub(crate) plan: Plan,
    /// What `structuredContent` is checked against, where its type does not see to that.
    pub(crate) output: Option<(Validator, OutputCheck)>,
    pub(crate) task: TaskMode,
}

/// Which results are checked against the tool's output schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputCheck {
    /// Every one.
    Always,
    /// Those with a `null` in them.
    WithNull,
}

/// A prompt as it is asked for.
pub(crate) struct PromptUnit {
    pub(crate) name: Box<str>,
    pub(crate) prompt: Arc<dyn Prompt>,
    /// The arguments it takes, and whether each must be given.
    pub(crate) arguments: Box<[(Box<str>, bool)]>,
}

/// A resource or a template as it is read.
pub(crate) struct ResourceUnit {
    pub(crate) name: Box<str>,
    pub(crate) resource: Arc<dyn Resource>,
    pub(crate) template: Option<UriTemplate>,
    pub(crate) mime_type: Option<Box<str>>,
    pub(crate) hints: Hints,
}

/// One state of the lists. Immutable; a change makes a new one.
pub(crate) struct Generation {
    pub(crate) core: Arc<Core>,
    pub(crate) tools: Vec<Arc<ToolUnit>>,
    pub(crate) prompts: Vec<Arc<PromptUnit>>,
    pub(crate) resources: Vec<Arc<ResourceUnit>>,
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generation").field("core", &self.core).finish_non_exhaustive()
    }
}

/// A handle on a generation that few threads share: counting a reference that all cores write would cost each call more than
/// the rest of this module. Aligned so that no two lie on one line of memory.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Shard(pub(crate) Arc<Generation>);

/// Handles on one generation.
#[derive(Debug, Clone)]
pub(crate) struct Shards {
    first: Arc<Shard>,
    rest: Arc<[Arc<Shard>]>,
}

/// Threads beyond that share handles.
const MAX_SHARDS: usize = 64;

impl Shards {
    pub(crate) fn new(generation: &Arc<Generation>) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let count = threads.next_power_of_two().min(MAX_SHARDS);
        let shard = || Arc::new(Shard(Arc::clone(generation)));
        Self { first: shard(), rest: (1..count).map(|_| shard()).collect() }
    }

    /// The handle of this thread.
    pub(crate) fn mine(&self) -> &Arc<Shard> {
        thread_local!(static NUMBER: Cell<usize> = const { Cell::new(0) });
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.with(|number| {
            if number.get() == 0 {
                number.set(NEXT.fetch_add(1, Ordering::Relaxed) + 1);
            }
            number.get()
        });
        // Their number is a power of two.
        self.rest.get(number & self.rest.len()).unwrap_or(&self.first)
    }
}
