//! `cache` and `invalidates` of `[tools.X]` and `[connectors.X]` as written in the file, and what they are decided to.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use trunkline_service::file::{DurationText, Problem};
use trunkline_service::nearest;

use crate::switch::{Switch, Switched};

/// The value of `cache`: a table, or `false` where the connector's own is not wanted.
pub type CacheFile = Switch<CacheTable>;

/// `cache = { ... }`: answers that only read are kept, so that equal questions are not asked again.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct CacheTable {
    /// How long an answer is fresh, from `"1s"` to `"1d"`. It has to be written: there is no default.
    pub ttl: Option<DurationText>,
    /// How long after that it is still given out while a new one is fetched, up to `"1d"`. Default: not at all.
    pub stale: Option<DurationText>,
    /// Who may get the answer to somebody's question: `"caller"`, only the same caller; `"role"`, callers with the same roles; `"public"`, everybody who may call the tool. Default: `"caller"`.
    pub scope: Scope,
    /// Names by which kept answers are thrown away: by a tool that `invalidates` one, by `trunkline cache purge --tag`, by a notice of the database. Default: none.
    pub tags: Vec<String>,
    /// Arguments of calls whose answers are fetched at the start and again before they grow old: `[{ query = "smith" }]`. Default: none.
    pub warm: Vec<Map<String, Value>>,
}

/// Whose questions share an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Those of one caller.
    #[default]
    Caller,
    /// Those of callers with the same roles.
    Role,
    /// Everybody's.
    Public,
}

/// What has to be known of a tool, or of a connector's resources, to decide its cache.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Where the table stands: `["tools", "search"]`, or `["connectors", "shop"]`.
    pub path: &'a [&'a str],
    /// What it is in words: ``tool `search` ``.
    pub what: &'a str,
    /// Whether it only reads.
    pub read_only: bool,
    /// Whether the table is the connector's, which writing tools leave alone.
    pub inherited: bool,
    /// What makes its answers differ between callers, each in words: ``parameter `region` is computed from the caller``.
    pub bindings: &'a [String],
    /// Whether callers have to prove who they are.
    pub guarded: bool,
}

/// `cache`, decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// How long an answer is fresh.
    pub ttl: Duration,
    /// How long after that it may still be given out while a new one is fetched; zero for not at all.
    pub stale: Duration,
    /// Whose questions share an answer.
    pub scope: Scope,
    /// Names by which kept answers are thrown away.
    pub tags: Vec<Box<str>>,
    /// Arguments of calls whose answers are fetched ahead.
    pub warm: Vec<Map<String, Value>>,
}

const LONGEST: Duration = Duration::from_secs(86_400);
const SHORTEST: Duration = Duration::from_secs(1);
const MOST_TAGS: usize = 16;
const MOST_WARM: usize = 64;
const LONGEST_TAG: usize = 64;

impl CacheFile {
    /// Decides the table; `None` where nothing is kept. What is wrong is told by its keys.
    #[must_use]
    pub fn resolve(&self, subject: &Subject<'_>) -> (Option<Plan>, Vec<Problem>) {
        let Self::On(table) = self else { return (None, Vec::new()) };
        let mut decide = Decide { subject, problems: Vec::new() };
        if !subject.read_only {
            if !subject.inherited {
                let message = format!("{} writes, so that its answers cannot be kept", subject.what);
                decide.problem(
                    &[],
                    message,
                    "remove `cache`; `invalidates` throws away what other tools keep",
                );
            }
            return (None, decide.problems);
        }
        let plan = decide.plan(table);
        (plan, decide.problems)
    }
}

struct Decide<'a> {
    subject: &'a Subject<'a>,
    problems: Vec<Problem>,
}

impl Decide<'_> {
    fn problem(&mut self, keys: &[&str], message: impl Into<String>, help: &str) {
        let path: Vec<&str> =
            self.subject.path.iter().copied().chain(["cache"]).chain(keys.iter().copied()).collect();
        self.problems.push(Problem::new(&path, message).help(help));
    }

    fn plan(&mut self, table: &CacheTable) -> Option<Plan> {
        let ttl = self.ttl(table.ttl);
        let stale = self.stale(table.stale);
        self.scope(table.scope);
        for tag in &table.tags {
            if !is_tag(tag) {
                self.problem(&["tags"], bad_tag(tag), TAG_HELP);
            }
        }
        if table.tags.len() > MOST_TAGS {
            let message = format!("{} tags are written, and {MOST_TAGS} are allowed", table.tags.len());
            self.problem(&["tags"], message, "use fewer, broader tags");
        }
        self.warm(table);
        let mut tags: Vec<Box<str>> = table.tags.iter().map(|tag| tag.as_str().into()).collect();
        tags.sort_unstable();
        tags.dedup();
        Some(Plan { ttl: ttl?, stale, scope: table.scope, tags, warm: table.warm.clone() })
    }

    fn ttl(&mut self, ttl: Option<DurationText>) -> Option<Duration> {
        let Some(DurationText(ttl)) = ttl else {
            let message = "it does not say how long answers are kept: `ttl` is missing";
            self.problem(&[], message, "write `ttl = \"5m\"`, say");
            return None;
        };
        if !(SHORTEST..=LONGEST).contains(&ttl) {
            let message = format!("`ttl` is {ttl:?}, and \"1s\" to \"1d\" are allowed");
            self.problem(&["ttl"], message, "write how long an answer may be old");
            return None;
        }
        Some(ttl)
    }

    fn stale(&mut self, stale: Option<DurationText>) -> Duration {
        let stale = stale.map_or(Duration::ZERO, |stale| stale.0);
        if stale > LONGEST {
            let message = format!("`stale` is {stale:?}, and at most \"1d\" is allowed");
            self.problem(&["stale"], message, "write how long an old answer may stand in for a new one");
        }
        stale
    }

    fn scope(&mut self, scope: Scope) {
        if scope == Scope::Public
            && let Some(binding) = self.subject.bindings.first()
        {
            let message = format!(
                "`scope` is \"public\", and answers of {} depend on the caller: {binding}",
                self.subject.what
            );
            self.problem(&["scope"], message, "write `scope = \"caller\"`, or leave it out");
        }
    }

    fn warm(&mut self, table: &CacheTable) {
        if table.warm.is_empty() {
            return;
        }
        if table.warm.len() > MOST_WARM {
            let message = format!("{} calls are to be warm, and {MOST_WARM} are allowed", table.warm.len());
            self.problem(&["warm"], message, "keep the ones that are asked most");
        }
        if self.subject.inherited {
            self.problem(
                &["warm"],
                "`warm` lists the arguments of one tool, and this table is for all tools of the connector",
                "move it into `cache` of the tool",
            );
        } else if let Some(binding) = self.subject.bindings.first() {
            let message = format!(
                "answers of {} depend on the caller ({binding}), so that they cannot be fetched before one asks",
                self.subject.what
            );
            self.problem(&["warm"], message, "remove `warm`");
        } else if table.scope == Scope::Caller && self.subject.guarded {
            self.problem(
                &["warm"],
                "answers are kept for each caller, so that they cannot be fetched before one asks",
                "write `scope = \"role\"` or `scope = \"public\"`, or remove `warm`",
            );
        }
    }
}

/// Decides `invalidates` of a tool: the tags whose answers a call of it throws away.
#[must_use]
pub fn resolve_invalidates(tags: &[String], subject: &Subject<'_>) -> (Vec<Box<str>>, Vec<Problem>) {
    let path: Vec<&str> = subject.path.iter().copied().chain(["invalidates"]).collect();
    let mut problems = Vec::new();
    if subject.read_only && !tags.is_empty() {
        let message = format!("{} only reads, so that it makes no answer wrong", subject.what);
        problems.push(
            Problem::new(&path, message).help("write `access = \"read-write\"`, or remove `invalidates`"),
        );
    }
    for tag in tags.iter().filter(|tag| !is_tag(tag)) {
        problems.push(Problem::new(&path, bad_tag(tag)).help(TAG_HELP));
    }
    let mut tags: Vec<Box<str>> = tags.iter().map(|tag| tag.as_str().into()).collect();
    tags.sort_unstable();
    tags.dedup();
    (tags, problems)
}

/// Tells of tags in `invalidates` of the thing at `path` that no `cache` of the file has: nothing would be thrown away.
#[must_use]
pub fn unknown_tags(path: &[&str], invalidates: &[Box<str>], known: &[Box<str>]) -> Vec<Problem> {
    let path: Vec<&str> = path.iter().copied().chain(["invalidates"]).collect();
    let unknown = invalidates.iter().filter(|tag| !known.contains(tag));
    unknown
        .map(|tag| {
            let problem = Problem::new(&path, format!("no `cache` has the tag `{tag}`")).warning();
            match nearest(tag, known.iter().map(|tag| &**tag)) {
                Some(near) => problem.help(format!("did you mean `{near}`?")),
                None => problem.help("write it into `tags` of the caches whose answers it makes wrong"),
            }
        })
        .collect()
}

fn is_tag(tag: &str) -> bool {
    let of_a_tag =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':' | b'/');
    (1..=LONGEST_TAG).contains(&tag.len()) && tag.bytes().all(of_a_tag)
}

fn bad_tag(tag: &str) -> String {
    let shown: String = tag.chars().take(LONGEST_TAG).collect();
    format!("`{shown}` is no tag")
}

const TAG_HELP: &str = "use 1 to 64 of the characters a-z, A-Z, 0-9, `_`, `-`, `.`, `:` and `/`";

// ---- a table or `false` ----

impl Switched for CacheTable {
    const EXPECTED: &'static str = "a table such as { ttl = \"5m\" }, or false";

    fn on() -> Option<Self> {
        None
    }
}

#[cfg(test)]
mod tests;
