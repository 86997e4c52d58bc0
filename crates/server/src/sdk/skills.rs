//! Agent Skills: a folder of `SKILL.md` files served by the extension `io.modelcontextprotocol/skills`.
//!
//! ```text
//! skills/
//!   query-review/          skill://query-review           a directory
//!     SKILL.md             skill://query-review/SKILL.md  listed by `skills/list` and `resources/list`
//!     scripts/plan.py      skill://query-review/scripts/plan.py
//!   acme/billing/refunds/
//!     SKILL.md             skill://acme/billing/refunds/SKILL.md
//! ```
//!
//! Every folder that holds a `SKILL.md` is a skill, however deep, also within another skill. All files are read once; what is
//! served is how the folder was then, so that digests and contents agree. Hidden files are left out, links that lead out of
//! the folder are refused, and so is what hosts would refuse: all problems are told at once, each with its file.

mod error;
mod frontmatter;
mod hook;
mod listing;
mod mime;
mod service;
mod snapshot;
mod walk;
mod yaml;

use std::collections::HashSet;
use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use trunkline_protocol::Method;
use trunkline_service::catalog::Served;
use trunkline_service::router::LIST_TTL;
use trunkline_service::seal::Sealer;
use trunkline_service::{CacheScope, Hints, ResourceDefinition, Service, TemplateDefinition};

pub use error::{SkillFault, SkillProblem, SkillsError};
pub use hook::ReloadError;

use service::SkillService;
use snapshot::Snapshot;

use super::ExtensionParts;

/// The extension's id.
pub const EXTENSION: &str = "io.modelcontextprotocol/skills";

/// Most files of a skill, those of skills within it included. From the extension's limits, as is [`MAX_SKILL_BYTES`].
pub const MAX_FILES: usize = 512;
/// Most bytes of a skill's files together.
pub const MAX_SKILL_BYTES: u64 = 16 * 1024 * 1024;
/// Most skills of a folder.
pub const MAX_SKILLS: usize = 1024;
/// Most bytes of all skills of a folder: they are kept in memory.
pub const MAX_BYTES: u64 = 256 * 1024 * 1024;
/// How many folders a file may be in, counted from the folder of all skills.
pub const MAX_DEPTH: usize = 16;
/// Most files and folders that are looked at, hidden ones and those outside skills included.
pub const MAX_ENTRIES: usize = 65_536;

/// Entries on a page of `skills/list` and children on a page of `resources/directory/read`.
const PAGE_SIZE: usize = 100;

/// A folder of skills as it was when it was read last. Clones are the same skills.
///
/// Spec: extension `io.modelcontextprotocol/skills`, 2026-07-28 or later.
#[derive(Clone)]
pub struct Skills {
    folder: Arc<Folder>,
    hints: Hints,
    page_size: usize,
}

struct Folder {
    path: PathBuf,
    now: ArcSwap<Snapshot>,
    /// Held while the folder is read again, so that an older reading never replaces a newer one.
    reading: Mutex<()>,
}

impl Skills {
    /// Reads a folder in which every folder with a `SKILL.md`, at any depth, is a skill. Its path in the folder becomes its
    /// URI, so its name, the last part of it, must be the `name` of the frontmatter.
    ///
    /// Blocks while it reads: at most 256 MiB, usually some milliseconds.
    ///
    /// # Errors
    /// [`SkillsError`] with everything that is wrong: no skill, a frontmatter that breaks the format, a skill of more than 512
    /// files or 16 MiB, links that lead out of the folder, names that not every system can tell apart.
    pub fn from_folder(path: impl Into<PathBuf>) -> Result<Self, SkillsError> {
        let path = path.into();
        let now = ArcSwap::from_pointee(Snapshot::read(&path)?);
        let folder = Arc::new(Folder { path, now, reading: Mutex::new(()) });
        Ok(Self { folder, hints: HINTS, page_size: PAGE_SIZE })
    }

    /// Says for how long clients may keep lists, entries and files, and whether they are the same for every caller. Default:
    /// one minute, public. Spec: 2026-07-28 basic/utilities/caching.
    #[must_use]
    pub fn cache(mut self, ttl: Duration, scope: CacheScope) -> Self {
        self.hints = Hints { ttl_ms: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX), scope };
        self
    }

    /// Sets how many skills are on a page of `skills/list`, and how many files and folders on one of
    /// `resources/directory/read`; at least 1, default 100. A page ends earlier when it grows large.
    #[must_use]
    pub fn page_size(mut self, page_size: usize) -> Self {
        self.page_size = page_size.max(1);
        self
    }

    /// Returns the URIs of the skills, each of its `SKILL.md`, in the order of their paths.
    #[must_use]
    pub fn uris(&self) -> Vec<String> {
        self.now().skills.iter().map(|skill| skill.uri.clone()).collect()
    }

    /// Reads the folder again and serves what is there now, from one request to the next. Returns what has changed: whoever
    /// serves the skills has to list their resources anew and to tell subscribers.
    ///
    /// Blocks while it reads, and while another thread does.
    ///
    /// # Errors
    /// [`SkillsError`] with everything that is wrong; the skills served stay as they were.
    pub fn reload(&self) -> Result<SkillsChange, SkillsError> {
        Ok(self.read_again()?.0)
    }

    /// Returns, beside what has changed, whether `resources/list` tells something else now.
    fn read_again(&self) -> Result<(SkillsChange, bool), SkillsError> {
        let _reading = self.folder.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let next = Snapshot::read(&self.folder.path)?;
        let now = self.now();
        let change = SkillsChange::between(&now, &next);
        let is_listed_anew = now.skills != next.skills;
        self.folder.now.store(Arc::new(next));
        Ok((change, is_listed_anew))
    }

    /// Returns what a catalog and a router need to serve the skills: each `SKILL.md` as a resource named and described by its
    /// frontmatter, a template under which all other files are read, and the extension's methods. Cursors are sealed with
    /// `sealer`, so that they hold on every node that has the same keys and the same folder.
    #[must_use]
    pub fn parts(&self, sealer: &Arc<Sealer>) -> ExtensionParts {
        let service: Arc<dyn Service> = Arc::new(SkillService::new(self.clone(), Arc::clone(sealer)));
        let now = self.now();
        let resources = now.skills.iter().map(|skill| Served {
            definition: ResourceDefinition {
                uri: skill.uri.clone(),
                name: skill.name.clone(),
                description: Some(skill.description.clone()),
                mime_type: Some("text/markdown".to_owned()),
                size: Some(skill.size),
                subscribe: true,
                ..ResourceDefinition::default()
            },
            service: Arc::clone(&service),
            target: 0,
            facts: Default::default(),
            checks: Default::default(),
            completes: false,
        });
        let template = Served {
            definition: TemplateDefinition {
                uri_template: "skill://{+path}".to_owned(),
                name: "skill-file".to_owned(),
                title: Some("File of a skill".to_owned()),
                description: Some(
                    "A file that a SKILL.md refers to, by its path relative to that SKILL.md".to_owned(),
                ),
                subscribe: true,
                ..TemplateDefinition::default()
            },
            service: Arc::clone(&service),
            target: 0,
            facts: Default::default(),
            checks: Default::default(),
            completes: false,
        };
        let methods = [Method::SkillsList, Method::SkillsGet, Method::ResourcesDirectoryRead];
        ExtensionParts {
            resources: resources.collect(),
            templates: vec![template],
            methods: methods.map(|method| (method, Arc::clone(&service))).into(),
        }
    }

    fn now(&self) -> Guard<Arc<Snapshot>> {
        self.folder.now.load()
    }
}

const HINTS: Hints = Hints { ttl_ms: LIST_TTL.as_secs() * 1000, scope: CacheScope::Public };

impl fmt::Debug for Skills {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Skills")
            .field("folder", &self.folder.path)
            .field("skills", &self.now().skills.len())
            .field("hints", &self.hints)
            .finish_non_exhaustive()
    }
}

/// Reads a folder, as [`Skills::from_folder`] does.
macro_rules! from_paths {
    ($($path:ty),*) => {$(
        impl TryFrom<$path> for Skills {
            type Error = SkillsError;

            fn try_from(path: $path) -> Result<Self, SkillsError> {
                Self::from_folder(path)
            }
        }
    )*};
}

from_paths!(&str, &Path, String, PathBuf);

impl From<Infallible> for SkillsError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// What a reload has changed, each list sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SkillsChange {
    /// The URIs of skills that came.
    pub added: Vec<String>,
    /// The URIs of skills that went.
    pub removed: Vec<String>,
    /// The URIs of skills of which a file changed, came or went.
    pub changed: Vec<String>,
    /// The URIs of files whose bytes changed, and of files that came or went.
    pub files: Vec<String>,
}

impl SkillsChange {
    /// Tells whether everything is as it was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty() && self.files.is_empty()
    }

    fn between(before: &Snapshot, after: &Snapshot) -> Self {
        let old: HashSet<&str> = before.skills.iter().map(|skill| &*skill.uri).collect();
        let new: HashSet<&str> = after.skills.iter().map(|skill| &*skill.uri).collect();
        let mut change = Self {
            added: sorted(new.difference(&old)),
            removed: sorted(old.difference(&new)),
            changed: sorted(new.intersection(&old).filter(|uri| before.entry(uri) != after.entry(uri))),
            files: Vec::new(),
        };
        let digest = |of: &Snapshot, uri: &str| of.files.get(uri).map(|file| file.digest);
        let files: HashSet<&str> =
            before.files.keys().chain(after.files.keys()).map(String::as_str).collect();
        change.files = sorted(files.iter().filter(|uri| digest(before, uri) != digest(after, uri)));
        change
    }
}

fn sorted<'a>(uris: impl Iterator<Item = &'a &'a str>) -> Vec<String> {
    let mut uris: Vec<String> = uris.map(|uri| (*uri).to_owned()).collect();
    uris.sort_unstable();
    uris
}
