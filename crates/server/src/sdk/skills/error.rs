//! Why a folder of skills is not served: every problem in it at once, each with the file it is about.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use super::{MAX_BYTES, MAX_DEPTH, MAX_ENTRIES, MAX_FILES, MAX_SKILL_BYTES, MAX_SKILLS};

/// How many problems are told; the rest is counted.
const MAX_TOLD: usize = 100;

/// Why skills were not read: everything that is wrong in the folder. `Debug` reads as `Display` does, for `main` to return it.
#[derive(Clone, PartialEq, Eq)]
pub struct SkillsError {
    folder: PathBuf,
    problems: Vec<SkillProblem>,
    more: usize,
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{place}` {fault}")]
pub struct SkillProblem {
    /// The path within the folder, `.` for the folder itself.
    pub place: String,
    /// What is wrong with it.
    #[source]
    pub fault: SkillFault,
}

/// What can be wrong with a file or folder. The texts read on from its path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SkillFault {
    /// The system did not let it be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// A link to something that is not in the folder.
    #[error(
        "is a link that leads out of the folder, or an absolute one; link within the folder, or put a copy there"
    )]
    LeadsOut,
    /// A link to a folder that it stands in.
    #[error("is a link to a folder that it is in itself; remove it")]
    LeadsBack,
    /// A link to nothing.
    #[error("is a link to nothing; correct or remove it")]
    LeadsNowhere,
    /// A socket, a pipe or a device.
    #[error("is neither file nor folder; remove it")]
    NotAFile,
    /// A name that not every system can have.
    #[error("has a name that not every system can have: {0}; rename it")]
    BadFileName(&'static str),
    /// Two names that some systems take for one.
    #[error("and `{0}` are the same on systems that do not tell upper from lower case; rename one of them")]
    SameButForCase(String),
    /// The folder itself is a skill.
    #[error("lies in the folder itself, but a skill is a folder in it; pass the folder above")]
    SkillAtTop,
    /// Nothing to serve.
    #[error("holds no skill; a skill is a folder in it with a `SKILL.md`")]
    NoSkill,
    /// `SKILL.md` in other letters.
    #[error("must be named `SKILL.md`, in these letters")]
    MisspeltSkillMd,
    /// Folders in folders without end.
    #[error("is in more than {MAX_DEPTH} folders; bring it further up")]
    TooDeep,
    /// More than is looked at.
    #[error("holds more than {MAX_ENTRIES} files and folders; keep only skills there")]
    TooManyEntries,
    /// More skills than are served.
    #[error("holds {0} skills, and at most {MAX_SKILLS} are served; split it")]
    TooManySkills(usize),
    /// More bytes than are kept.
    #[error("holds skills of {0} bytes, and at most {MAX_BYTES} are served; split it")]
    TooManyBytes(u64),
    /// More files than hosts take.
    #[error("has {0} files, and hosts take at most {MAX_FILES} in a skill; remove some or split the skill")]
    TooManyFiles(usize),
    /// More bytes than hosts take.
    #[error(
        "has files of {0} bytes, and hosts take at most {MAX_SKILL_BYTES} in a skill; remove some or split the skill"
    )]
    TooLarge(u64),
    /// Not the size it had a moment ago.
    #[error("changed while it was read; try again")]
    Changed,
    /// Not text.
    #[error("is not UTF-8 text; save it as UTF-8")]
    NotText,
    /// No frontmatter.
    #[error(
        "has no frontmatter; its first line must be `---`, then YAML with `name` and `description`, then a line `---`"
    )]
    NoFrontmatter,
    /// A frontmatter that is too long to be one.
    #[error("has a frontmatter of {0} bytes, and at most 65536 are taken; move text below it")]
    LongFrontmatter(usize),
    /// Not YAML, or YAML that readers would see differently.
    #[error("has a frontmatter that is not taken, line {line}: {reason}")]
    Yaml {
        /// The line in the file, from 1.
        line: usize,
        /// What is wrong there.
        reason: Cow<'static, str>,
    },
    /// Not a mapping.
    #[error("has a frontmatter that is no mapping; write `name: ...` and `description: ...`")]
    NotAMapping,
    /// A field that has to be there.
    #[error("has no `{0}` in its frontmatter; add it")]
    MissingField(&'static str),
    /// A field of another type.
    #[error("has a `{field}` in its frontmatter that is not {wanted}")]
    FieldType {
        /// The field.
        field: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
    /// A text that is empty or too long.
    #[error("has a `{field}` of {length} characters in its frontmatter; 1 to {most} are allowed")]
    FieldLength {
        /// The field.
        field: &'static str,
        /// How many it has.
        length: usize,
        /// How many are allowed.
        most: usize,
    },
    /// A name that the format does not allow.
    #[error(
        "has the name `{0}`, but a name is 1 to 64 of `a-z`, `0-9` and `-`, with no `-` at either end or beside another"
    )]
    BadName(String),
    /// A name that is not the folder's.
    #[error("has the name `{name}` and is in the folder `{folder}`; they must be the same")]
    NotTheFolder {
        /// The name in the frontmatter.
        name: String,
        /// The folder.
        folder: String,
    },
    /// A key that is kept for the protocol.
    #[error(
        "has the key `{0}` in its `metadata`, where `io.modelcontextprotocol/` is kept for the protocol; rename it"
    )]
    ReservedKey(String),
    /// A value under `metadata` is no text.
    #[error("has no text at `{0}` in its `metadata`, which maps texts to texts; put the value in quotes")]
    MetadataType(String),
}

impl SkillsError {
    /// Makes an error of at least one problem.
    pub(super) fn new(folder: &Path, mut problems: Vec<SkillProblem>) -> Self {
        problems.sort_by(|one, other| one.place.cmp(&other.place));
        let more = problems.len().saturating_sub(MAX_TOLD);
        problems.truncate(MAX_TOLD);
        Self { folder: folder.to_owned(), problems, more }
    }

    /// Returns what is wrong, by path; at most 100 problems.
    #[must_use]
    pub fn problems(&self) -> &[SkillProblem] {
        &self.problems
    }
}

impl fmt::Display for SkillsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the skills in `{}` cannot be served:", self.folder.display())?;
        if let ([problem], 0) = (&*self.problems, self.more) {
            return write!(f, " {problem}");
        }
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        if self.more > 0 {
            write!(f, "\n  and {} more", self.more)?;
        }
        Ok(())
    }
}

impl fmt::Debug for SkillsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for SkillsError {}

/// The problems found so far.
#[derive(Debug, Default)]
pub(super) struct Problems(pub(super) Vec<SkillProblem>);

impl Problems {
    pub(super) fn add(&mut self, place: &str, fault: SkillFault) {
        let place = if place.is_empty() { "." } else { place };
        self.0.push(SkillProblem { place: place.to_owned(), fault });
    }
}
