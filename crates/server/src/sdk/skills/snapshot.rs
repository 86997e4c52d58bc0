//! A folder of skills as it was at one moment: every file read once, with all answers about it written once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Read as _;
use std::path::Path;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use trunkline_protocol::write;

use super::error::{Problems, SkillFault, SkillsError};
use super::frontmatter::{self, Frontmatter};
use super::listing::Listing;
use super::mime;
use super::walk::{Found, What, walk};
use super::{MAX_BYTES, MAX_FILES, MAX_SKILL_BYTES, MAX_SKILLS};

const SKILL_MD: &str = "SKILL.md";
const DIRECTORY: &str = "inode/directory";

/// All skills of a folder.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// In the order of their paths, as in `list`.
    pub(super) skills: Vec<Skill>,
    /// By URI.
    pub(super) files: HashMap<String, File>,
    /// What is directly in each folder, by URI.
    pub(super) folders: HashMap<String, Listing>,
    /// The entries of the skills.
    pub(super) list: Listing,
    /// Where a skill is in both, by URI.
    numbers: HashMap<String, usize>,
}

/// What lists tell of a skill.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Skill {
    pub(super) uri: String,
    pub(super) name: String,
    pub(super) description: String,
    /// The size of its `SKILL.md`.
    pub(super) size: u64,
}

/// A file that can be read.
#[derive(Debug)]
pub(super) struct File {
    /// The members of what `resources/read` answers.
    pub(super) members: Bytes,
    pub(super) digest: [u8; 32],
    size: u64,
}

impl Snapshot {
    /// Reads a folder.
    pub(super) fn read(folder: &Path) -> Result<Self, SkillsError> {
        let mut problems = Problems::default();
        let snapshot = Self::read_into(folder, &mut problems);
        match snapshot {
            Some(snapshot) if problems.0.is_empty() => Ok(snapshot),
            _ => Err(SkillsError::new(folder, problems.0)),
        }
    }

    /// `None` only with a problem.
    fn read_into(folder: &Path, problems: &mut Problems) -> Option<Self> {
        let root = Dir::open_ambient_dir(folder, ambient_authority())
            .map_err(|error| problems.add("", SkillFault::Unreadable(error.to_string())))
            .ok()?;
        let found = walk(&root).map_err(|fault| problems.add("", fault)).ok()?;
        let layout = Layout::of(&found, problems)?;
        let within_limits = layout.check(problems);
        let mut reader =
            Reader { root: &root, problems, files: BTreeMap::new(), frontmatters: BTreeMap::new() };
        for one in layout.tops.iter().flat_map(|top| layout.in_folder(top)) {
            // What is too much is not read, but for the frontmatters, to tell of all problems at once.
            if within_limits || layout.is_skill_md(&one.path) {
                reader.file(one, layout.is_skill_md(&one.path));
            }
        }
        let Reader { files, frontmatters, problems, .. } = reader;
        problems.0.is_empty().then(|| Self::build(&layout, files, frontmatters))
    }

    fn build(
        layout: &Layout<'_>,
        files: BTreeMap<&str, Kept>,
        frontmatters: BTreeMap<&str, Frontmatter>,
    ) -> Self {
        let entries = frontmatters.iter().map(|(path, frontmatter)| entry(path, frontmatter, &files));
        let list = Listing::new("skills", entries.collect());
        let folders = folders(layout, &files);
        let skills = frontmatters.iter().map(|(path, frontmatter)| Skill {
            uri: uri_of(path),
            name: frontmatter.name.clone(),
            description: frontmatter.description.clone(),
            size: files.get(path).map_or(0, |kept| kept.file.size),
        });
        let skills: Vec<Skill> = skills.collect();
        let numbers = skills.iter().enumerate().map(|(number, skill)| (skill.uri.clone(), number)).collect();
        let files = files.into_values().map(|kept| (kept.uri, kept.file)).collect();
        Self { skills, files, folders, list, numbers }
    }

    /// Returns the entry of the skill whose `SKILL.md` is at `uri`, as raw JSON.
    pub(super) fn entry(&self, uri: &str) -> Option<&[u8]> {
        self.list.item(*self.numbers.get(uri)?)
    }
}

// ---------------------------------------------------------------------------------------------------------------- Layout

/// Where the skills are.
struct Layout<'a> {
    /// Sorted by path.
    found: &'a [Found],
    /// The folders that are skills, sorted.
    skills: Vec<&'a str>,
    /// Those that are not within another.
    tops: Vec<&'a str>,
}

impl<'a> Layout<'a> {
    /// Finds the skills; `None` when there are none or too many.
    fn of(found: &'a [Found], problems: &mut Problems) -> Option<Self> {
        let mut skills = Vec::new();
        for one in found.iter().filter(|one| matches!(one.what, What::File(_))) {
            match one.path.rsplit_once('/') {
                Some((folder, SKILL_MD)) => skills.push(folder),
                None if one.path == SKILL_MD => problems.add(SKILL_MD, SkillFault::SkillAtTop),
                _ => {}
            }
        }
        skills.sort_unstable();
        let known: HashSet<&str> = skills.iter().copied().collect();
        let is_top = |folder: &&&str| !ancestors(folder).any(|above| known.contains(above));
        let tops: Vec<&str> = skills.iter().filter(is_top).copied().collect();
        for one in found {
            let (folder, name) = one.path.rsplit_once('/').unwrap_or_default();
            let is_served = ancestors(&one.path).any(|above| known.contains(above));
            if name != SKILL_MD && name.eq_ignore_ascii_case(SKILL_MD) && !is_served && !folder.is_empty() {
                problems.add(&one.path, SkillFault::MisspeltSkillMd);
            }
        }
        if skills.is_empty() && problems.0.is_empty() {
            problems.add("", SkillFault::NoSkill);
        } else if skills.len() > MAX_SKILLS {
            problems.add("", SkillFault::TooManySkills(skills.len()));
            return None;
        }
        (!skills.is_empty()).then_some(Self { found, skills, tops })
    }

    /// Returns what is in a folder at any depth.
    fn in_folder(&self, folder: &str) -> &'a [Found] {
        let start = format!("{folder}/");
        let from = self.found.partition_point(|one| *one.path < *start);
        let rest = self.found.get(from..).unwrap_or_default();
        let count = rest.partition_point(|one| one.path.starts_with(&start));
        rest.get(..count).unwrap_or_default()
    }

    fn is_skill_md(&self, path: &str) -> bool {
        matches!(path.rsplit_once('/'), Some((folder, SKILL_MD)) if self.skills.binary_search(&folder).is_ok())
    }

    /// Adds what is wrong without a look into the files; tells whether they are within the limits.
    fn check(&self, problems: &mut Problems) -> bool {
        let mut names = HashMap::new();
        for one in self.tops.iter().flat_map(|top| self.in_folder(top)) {
            if let What::Bad(fault) = &one.what {
                problems.add(&one.path, fault.clone());
            }
            same_but_for_case(&one.path, &mut names, problems);
        }
        for folder in self.tops.iter().flat_map(|top| ancestors(top).chain([*top])) {
            same_but_for_case(folder, &mut names, problems);
        }
        let before = problems.0.len();
        let mut total = 0;
        for skill in &self.skills {
            let sizes = self.in_folder(skill).iter().filter_map(|one| match one.what {
                What::File(size) => Some(size),
                _ => None,
            });
            let (count, bytes) =
                sizes.fold((0, 0_u64), |(count, bytes), size| (count + 1, bytes.saturating_add(size)));
            if count > MAX_FILES {
                problems.add(skill, SkillFault::TooManyFiles(count));
            }
            if bytes > MAX_SKILL_BYTES {
                problems.add(skill, SkillFault::TooLarge(bytes));
            }
            if self.tops.binary_search(skill).is_ok() {
                total += bytes;
            }
        }
        if total > MAX_BYTES {
            problems.add("", SkillFault::TooManyBytes(total));
        }
        problems.0.len() == before
    }
}

/// Returns the folders above a path, the outermost first.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').filter_map(|(at, _)| path.get(..at))
}

/// Adds a problem when another name in the same folder is the same in lower case.
fn same_but_for_case<'a>(
    path: &'a str,
    names: &mut HashMap<(&'a str, String), &'a str>,
    problems: &mut Problems,
) {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    match names.insert((folder, name.to_lowercase()), path) {
        Some(other) if other != path => problems.add(path, SkillFault::SameButForCase(other.to_owned())),
        _ => {}
    }
}

// ---------------------------------------------------------------------------------------------------------------- Reader

/// A file that was read, and what the listing of its folder tells of it.
struct Kept {
    uri: String,
    file: File,
    listed: Vec<u8>,
}

struct Reader<'a, 'p> {
    root: &'a Dir,
    problems: &'p mut Problems,
    files: BTreeMap<&'a str, Kept>,
    /// By the path of the `SKILL.md`.
    frontmatters: BTreeMap<&'a str, Frontmatter>,
}

impl<'a> Reader<'a, '_> {
    fn file(&mut self, one: &'a Found, is_skill_md: bool) {
        let What::File(size) = one.what else { return };
        let bytes = match self.bytes(&one.path, size) {
            Ok(bytes) => bytes,
            Err(fault) => return self.problems.add(&one.path, fault),
        };
        let name = one.path.rsplit_once('/').map_or(&*one.path, |(_, name)| name);
        let uri = uri_of(&one.path);
        let (mime, text) = if is_skill_md {
            match self.skill_md(&one.path, &bytes) {
                Some(text) => ("text/markdown", Some(text)),
                None => return,
            }
        } else {
            mime::look(name, &bytes)
        };
        let listed = match self.frontmatters.get(&*one.path).filter(|_| is_skill_md) {
            Some(skill) => resource(&uri, &skill.name, Some(&skill.description), mime, Some(size)),
            None => resource(&uri, name, None, mime, Some(size)),
        };
        let hash = digest::digest(&digest::SHA256, &bytes);
        let file = File {
            members: contents(&uri, mime, text, &bytes).into(),
            digest: hash.as_ref().try_into().unwrap_or_default(),
            size,
        };
        self.files.insert(&one.path, Kept { uri, file, listed });
    }

    fn bytes(&self, path: &str, size: u64) -> Result<Vec<u8>, SkillFault> {
        let unreadable = |error: std::io::Error| SkillFault::Unreadable(error.to_string());
        // One that was never within a limit is not read to find its frontmatter.
        if size > MAX_SKILL_BYTES {
            return Err(SkillFault::TooLarge(size));
        }
        let file = self.root.open(path).map_err(unreadable)?;
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        file.take(size + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 == size { Ok(bytes) } else { Err(SkillFault::Changed) }
    }

    /// Reads the frontmatter and returns the text; `None` with a problem.
    fn skill_md<'b>(&mut self, path: &'a str, bytes: &'b [u8]) -> Option<&'b str> {
        let Ok(text) = std::str::from_utf8(bytes) else {
            self.problems.add(path, SkillFault::NotText);
            return None;
        };
        let folder = path.rsplit('/').nth(1).unwrap_or_default();
        match frontmatter::read(text, folder) {
            Ok(frontmatter) => {
                self.frontmatters.insert(path, frontmatter);
                Some(text)
            }
            Err(faults) => {
                faults.into_iter().for_each(|fault| self.problems.add(path, fault));
                None
            }
        }
    }
}

// --------------------------------------------------------------------------------------------------------------- Writing

/// Returns the URI of a path in the folder.
fn uri_of(path: &str) -> String {
    let mut uri = String::from("skill://");
    for byte in path.bytes() {
        // What a host name and a path may both hold as it is. RFC 3986, sections 3.2.2 and 3.3.
        let is_plain = byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=".contains(&byte);
        if is_plain {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}

/// Writes a `Resource`.
fn resource(uri: &str, name: &str, description: Option<&str>, mime: &str, size: Option<u64>) -> Vec<u8> {
    let mut out = Vec::with_capacity(uri.len() + name.len() + mime.len() + 64);
    out.extend_from_slice(b"{\"uri\":");
    write::string(&mut out, uri);
    out.extend_from_slice(b",\"name\":");
    write::string(&mut out, name);
    if let Some(description) = description {
        out.extend_from_slice(b",\"description\":");
        write::string(&mut out, description);
    }
    out.extend_from_slice(b",\"mimeType\":");
    write::string(&mut out, mime);
    if let Some(size) = size {
        out.extend_from_slice(format!(",\"size\":{size}").as_bytes());
    }
    out.push(b'}');
    out
}

/// Writes what `resources/read` answers. Text goes out byte for byte, a byte order mark included, as hosts compare digests.
fn contents(uri: &str, mime: &str, text: Option<&str>, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(uri.len() + bytes.len() + bytes.len() / 3 + 64);
    out.extend_from_slice(b"\"contents\":[{\"uri\":");
    write::string(&mut out, uri);
    out.extend_from_slice(b",\"mimeType\":");
    write::string(&mut out, mime);
    match text {
        Some(text) => {
            out.extend_from_slice(b",\"text\":");
            write::string(&mut out, text);
        }
        None => {
            out.extend_from_slice(b",\"blob\":\"");
            out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
            out.push(b'"');
        }
    }
    out.extend_from_slice(b"}]");
    out
}

/// Writes the entry of a skill: its frontmatter and every file in its folder, those of skills within it too.
fn entry(path: &str, frontmatter: &Frontmatter, files: &BTreeMap<&str, Kept>) -> Vec<u8> {
    let folder = path.strip_suffix(SKILL_MD).unwrap_or(path);
    let mut out = b"{\"uri\":".to_vec();
    write::string(&mut out, &uri_of(path));
    out.extend_from_slice(b",\"frontmatter\":");
    // A map of text keys and finite numbers can always be written.
    let _ = serde_json::to_writer(&mut out, &frontmatter.fields);
    out.extend_from_slice(b",\"resources\":[");
    let own = files.range(folder..).take_while(|(path, _)| path.starts_with(folder));
    for (number, (_, Kept { uri, file, .. })) in own.enumerate() {
        out.extend_from_slice(if number > 0 { b",{\"uri\":" } else { b"{\"uri\":" });
        write::string(&mut out, uri);
        out.extend_from_slice(b",\"digest\":\"sha256:");
        out.extend(file.digest.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()));
        out.extend_from_slice(format!("\",\"size\":{}}}", file.size).as_bytes());
    }
    out.extend_from_slice(b"]}");
    out
}

/// Lists what is directly in each folder: of the skills, and of those above them, the folders that lead to them.
fn folders(layout: &Layout<'_>, files: &BTreeMap<&str, Kept>) -> HashMap<String, Listing> {
    let mut children: BTreeMap<&str, BTreeMap<&str, Vec<u8>>> = BTreeMap::new();
    let mut add = |path, child: Option<Vec<u8>>| {
        let (parent, name) = str::rsplit_once(path, '/').unwrap_or(("", path));
        let is_folder = child.is_none();
        let child = child.unwrap_or_else(|| resource(&uri_of(path), name, None, DIRECTORY, None));
        children.entry(parent).or_default().insert(name, child);
        if is_folder {
            children.entry(path).or_default();
        }
    };
    for top in &layout.tops {
        ancestors(top).chain([*top]).for_each(|folder| add(folder, None));
        for one in layout.in_folder(top) {
            match one.what {
                What::Folder => add(&one.path, None),
                _ => {
                    if let Some(kept) = files.get(&*one.path) {
                        add(&one.path, Some(kept.listed.clone()));
                    }
                }
            }
        }
    }
    // All skills together have no URI.
    children.remove("");
    let listing = |of: BTreeMap<&str, Vec<u8>>| Listing::new("resources", of.into_values().collect());
    children.into_iter().map(|(folder, of)| (uri_of(folder), listing(of))).collect()
}
