//! `[audit]` as written in the file, and as decided.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::value::{Error, StrDeserializer};
use trunkline_service::file::{DurationText, Problem, SizeText};

use super::chain::{AuditKey, is_node};
use super::sink::file::Rotation;

/// `[audit]` as written in the file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct AuditFile {
    /// Where the record goes: `file:PATH`, `stdout` (not with `--stdio`), `syslog`, or `postgres:CONNECTOR`. Required.
    sink: Option<String>,
    /// The key that lines are chained with: 32 bytes in hex or base64. Required.
    key: Option<SecretText>,
    /// When an answer leaves: `strict` once its line is written, `fast` at once, so that a crash may lose the lines of up to
    /// 100 ms. Default: `strict`.
    mode: Option<Mode>,
    /// What happens while the record cannot be written: `stop` answers 503, `continue` goes on and counts. Default: `stop`.
    on_failure: Option<OnFailure>,
    /// When lines are forced to the disk: `always` with every write, after a length of time such as `1s`, or `never`.
    /// Default: `always` in `strict` mode, `1s` in `fast` mode.
    fsync: Option<String>,
    /// The size from which on a file is put aside and a new one begun. Default: `100MiB`.
    rotate_size: Option<SizeText>,
    /// How many files that were put aside stay; older ones are removed. Default: all of them.
    rotate_keep: Option<NonZeroUsize>,
    /// The name of this node in the record, one chain each: 1 to 64 of the characters a-z, A-Z, 0-9, `.`, `_` and `-`.
    /// Default: the name of the machine.
    node: Option<String>,
}

/// A text that is shown nowhere.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(transparent)]
struct SecretText(String);

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText")
    }
}

/// When an answer leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Once its line is written.
    #[default]
    Strict,
    /// At once; its line is written within 100 ms.
    Fast,
}

/// What happens while the record cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// Requests are refused.
    #[default]
    Stop,
    /// Requests are served, and what is lost is counted.
    Continue,
}

/// When lines are forced to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// With every write.
    Always,
    /// So long after a write at the latest.
    Every(Duration),
    /// When the system likes.
    Never,
}

/// Where a record goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkChoice {
    /// To a file.
    File(PathBuf),
    /// To the standard output.
    Stdout,
    /// To the local syslog daemon.
    Syslog,
    /// To a table of the PostgreSQL connector of that name.
    Postgres(String),
}

/// `[audit]`, decided.
#[derive(Debug, Clone)]
pub struct Audit {
    /// Where it goes.
    pub sink: SinkChoice,
    /// What lines are chained with.
    pub key: AuditKey,
    /// When an answer leaves.
    pub mode: Mode,
    /// What happens while it cannot be written.
    pub on_failure: OnFailure,
    /// When lines are forced to the disk.
    pub fsync: Fsync,
    /// When a file is put aside.
    pub rotation: Rotation,
    /// The name of this node.
    pub node: Box<str>,
}

impl Audit {
    /// Makes a record of that sink and key with the default of everything else.
    #[must_use]
    pub fn new(sink: SinkChoice, key: AuditKey, node: &str) -> Self {
        Self {
            sink,
            key,
            mode: Mode::Strict,
            on_failure: OnFailure::Stop,
            fsync: Fsync::Always,
            rotation: Rotation { size: ROTATE_SIZE, keep: None },
            node: node.into(),
        }
    }
}

const ROTATE_SIZE: u64 = 100 * 1024 * 1024;
const SINKS: &str = "write `file:PATH`, `stdout`, `syslog` or `postgres:CONNECTOR`";
const KEYS: &str = "make one with `openssl rand -hex 32` and name it as `${NAME}` or `${file:PATH}`";
const FSYNC: &str = "write `always`, `never`, or a length of time like \"1s\"";
const NODE: &str = "use 1 to 64 of the characters a-z, A-Z, 0-9, `.`, `_` and `-`";

impl AuditFile {
    /// Decides everything. A path is taken from `folder`, the one the file is in.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn resolve(self, folder: &Path) -> Result<Audit, Vec<Problem>> {
        let mut problems = Vec::new();
        let sink = self.sink(folder, &mut problems);
        let key = self.key(&mut problems);
        let mode = self.mode.unwrap_or_default();
        let fsync = self.fsync(mode, &mut problems);
        let node = self.node(&mut problems);
        if let (Some(SinkChoice::Stdout | SinkChoice::Syslog | SinkChoice::Postgres(_)), true) =
            (&sink, self.rotate_size.is_some() || self.rotate_keep.is_some())
        {
            let key = if self.rotate_size.is_some() { "rotate-size" } else { "rotate-keep" };
            let text = format!("`{key}` is for a `sink` that is a file");
            problems
                .push(Problem::new(&["audit", key], text).help("remove it, or write `sink = \"file:PATH\"`"));
        }
        let size = self.rotate_size.map_or(ROTATE_SIZE, |size| size.0 as u64);
        if size < MIN_ROTATE {
            let text = format!("a file of {size} bytes holds hardly a line");
            problems.push(Problem::new(&["audit", "rotate-size"], text).help("write at least \"64KiB\""));
        }
        match (sink, key, node, problems.is_empty()) {
            (Some(sink), Some(key), Some(node), true) => Ok(Audit {
                sink,
                key,
                mode,
                on_failure: self.on_failure.unwrap_or_default(),
                fsync,
                rotation: Rotation { size, keep: self.rotate_keep },
                node,
            }),
            _ => Err(problems),
        }
    }

    fn sink(&self, folder: &Path, problems: &mut Vec<Problem>) -> Option<SinkChoice> {
        let Some(text) = &self.sink else {
            problems.push(Problem::new(&["audit"], "`[audit]` needs a `sink`").help(SINKS));
            return None;
        };
        let choice = match text.split_once(':') {
            None if text == "stdout" => Some(SinkChoice::Stdout),
            None if text == "syslog" => Some(SinkChoice::Syslog),
            Some(("file", path)) if !path.is_empty() => Some(SinkChoice::File(folder.join(path))),
            Some(("postgres", name)) if !name.is_empty() => Some(SinkChoice::Postgres(name.to_owned())),
            _ => None,
        };
        if choice.is_none() {
            problems.push(Problem::new(&["audit", "sink"], format!("`{text}` is no sink")).help(SINKS));
        }
        choice
    }

    /// Reads the key; its text is never told.
    fn key(&self, problems: &mut Vec<Problem>) -> Option<AuditKey> {
        let Some(SecretText(text)) = &self.key else {
            problems.push(Problem::new(&["audit"], "`[audit]` needs a `key`").help(KEYS));
            return None;
        };
        let key = AuditKey::parse(text);
        if key.is_none() {
            let text = "this is no key of 32 bytes in base64 or hex";
            problems.push(Problem::new(&["audit", "key"], text).help(KEYS));
        }
        key
    }

    fn fsync(&self, mode: Mode, problems: &mut Vec<Problem>) -> Fsync {
        let default = match mode {
            Mode::Strict => Fsync::Always,
            Mode::Fast => Fsync::Every(Duration::from_secs(1)),
        };
        match self.fsync.as_deref() {
            None => default,
            Some("always") => Fsync::Always,
            Some("never") => Fsync::Never,
            Some(text) => match DurationText::deserialize(StrDeserializer::<Error>::new(text)) {
                Ok(span) => Fsync::Every(span.0),
                Err(_) => {
                    let text = format!("`{text}` does not say when lines are forced to the disk");
                    problems.push(Problem::new(&["audit", "fsync"], text).help(FSYNC));
                    default
                }
            },
        }
    }

    fn node(&self, problems: &mut Vec<Problem>) -> Option<Box<str>> {
        match &self.node {
            None => Some(host_name()),
            Some(text) if is_node(text) => Some(text.as_str().into()),
            Some(text) => {
                let text = format!("`{text}` is no name of a node");
                problems.push(Problem::new(&["audit", "node"], text).help(NODE));
                None
            }
        }
    }
}

/// The least size of a file, in bytes.
const MIN_ROTATE: u64 = 64 * 1024;

/// The name of the machine; `local` where it has none that fits.
fn host_name() -> Box<str> {
    #[cfg(unix)]
    {
        let name = rustix::system::uname();
        if let Ok(name) = name.nodename().to_str()
            && is_node(name)
        {
            return name.into();
        }
    }
    "local".into()
}

#[cfg(test)]
mod tests;
