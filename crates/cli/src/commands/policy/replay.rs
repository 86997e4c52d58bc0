//! `trunkline policy replay`: decides the calls of an audit record again under the roles of a file, and lists what would differ.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use trunkline_guard::authorize::{Replay, Replayed, Verdict};
use trunkline_guard::record::read::{Entry, Lines};

use super::ground::Ground;
use crate::commands::Output;
use crate::commands::tools::table::printable;
use crate::exit::{Code, Failed, chain};
use crate::output::{self, count};

/// Most different differences that are told; what is beyond is counted.
const MAX_TOLD: usize = 1000;

/// The arguments of `policy replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Files of the audit record, as `[audit] sink = "file:PATH"` writes them.
    #[arg(value_name = "RECORD", required = true)]
    records: Vec<PathBuf>,
    /// The config file with the changed roles.
    #[arg(short, long, default_value = "trunkline.toml", value_name = "FILE")]
    config: PathBuf,
    /// Reach no database: the tools are taken as the file declares them.
    #[arg(long)]
    offline: bool,
    /// The form of what is printed.
    #[arg(long, value_enum, default_value = "text", value_name = "FORM")]
    output: Output,
}

/// Replays; the exit code is 1 when something would differ or cannot be decided.
///
/// # Errors
/// A record or the config file cannot be read.
pub(super) async fn run(args: ReplayArgs) -> anyhow::Result<ExitCode> {
    let Some(ground) = Ground::of(&args.config, args.offline).await? else {
        return Ok(Code::Configuration.into());
    };
    let mut replay = Replay::new(&ground.explainer);
    for path in &args.records {
        each(path, Told::No, |entry| replay.see(entry))?;
    }
    let mut told = Summary::default();
    for path in &args.records {
        let broken = each(path, Told::Yes, |entry| told.add(entry, replay.decide(entry)))?;
        told.broken += broken;
    }
    match args.output {
        Output::Json => output::result(&told.to_json().to_string()),
        Output::Text => output::result(&told.to_text()),
    }
    Ok(if told.is_quiet() { ExitCode::SUCCESS } else { Code::Tool.into() })
}

/// Whether lines that are none are told of: once is enough.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Yes,
    No,
}

/// Gives each line of a record to `look`, and returns how many were none.
fn each(path: &Path, told: Told, mut look: impl FnMut(&Entry)) -> anyhow::Result<usize> {
    let shown = path.display();
    let unreadable =
        |why: String| Failed::new(Code::Unavailable, format!("the record `{shown}` cannot be read: {why}"));
    let file = File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Failed::new(Code::Usage, format!("there is no record at `{shown}`")),
        _ => unreadable(error.to_string()),
    })?;
    let mut broken = 0;
    for entry in Lines::new(BufReader::new(file)) {
        match entry {
            Ok(entry) => look(&entry),
            Err(trunkline_guard::record::read::ReadError::NotALine { line }) => {
                broken += 1;
                if told == Told::Yes {
                    output::line(&format!("warning: line {line} of `{shown}` is none of an audit record"));
                }
            }
            Err(error) => return Err(unreadable(chain(&error)).into()),
        }
    }
    Ok(broken)
}

/// What the calls of one caller's roles for one thing came to, and would come to.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    thing: String,
    roles: String,
    before: &'static str,
    /// `None`: undecided.
    after: Option<&'static str>,
    rule_before: String,
    /// The rule, or why it is undecided.
    rule_after: String,
}

/// The calls of one group.
#[derive(Debug, Default)]
struct Calls {
    count: usize,
    /// The first one, to look it up by.
    first: String,
}

#[derive(Debug, Default)]
struct Summary {
    groups: BTreeMap<Group, Calls>,
    same: usize,
    differing: usize,
    undecided: usize,
    /// Differences that found no place.
    untold: usize,
    broken: usize,
}

impl Summary {
    fn add(&mut self, entry: &Entry, replayed: Replayed) {
        let roles = if entry.roles.is_empty() { "no role".to_owned() } else { entry.roles.join(", ") };
        let thing = thing(entry);
        let group = match replayed {
            Replayed::Same => {
                self.same += 1;
                return;
            }
            Replayed::Differs { before, after, rule_before, rule_after } => {
                self.differing += 1;
                Group {
                    thing,
                    roles,
                    before: word(before),
                    after: Some(word(after)),
                    rule_before,
                    rule_after,
                }
            }
            Replayed::Undecided { before, why } => {
                self.undecided += 1;
                let rule_before = entry.rule.clone().unwrap_or_default();
                Group { thing, roles, before: word(before), after: None, rule_before, rule_after: why }
            }
            _ => return,
        };
        if self.groups.len() >= MAX_TOLD && !self.groups.contains_key(&group) {
            self.untold += 1;
            return;
        }
        let calls = self.groups.entry(group).or_default();
        if calls.count == 0 {
            calls.first = format!("{} {} {}", entry.node, entry.seq, entry.at);
        }
        calls.count += 1;
    }

    fn is_quiet(&self) -> bool {
        self.differing == 0 && self.undecided == 0
    }

    fn to_text(&self) -> String {
        let mut lines = Vec::new();
        for (headline, decided) in [("would differ:", true), ("cannot be decided from the record:", false)] {
            let groups: Vec<_> =
                self.groups.iter().filter(|(group, _)| group.after.is_some() == decided).collect();
            if groups.is_empty() {
                continue;
            }
            lines.push(headline.to_owned());
            for (group, calls) in groups {
                lines.push(format!("  {} for {} ({})", group.thing, group.roles, count(calls.count, "call")));
                lines.push(format!("    - {}{}", group.before, by(&group.rule_before)));
                match group.after {
                    Some(after) => lines.push(format!("    + {after}{}", by(&group.rule_after))),
                    None => lines.push(format!("    ? {}", group.rule_after)),
                }
                lines.push(format!("      first: {}", calls.first));
            }
            lines.push(String::new());
        }
        if self.untold > 0 {
            lines.push(format!("and {} more that are not told", self.untold));
        }
        let all = self.same + self.differing + self.undecided;
        let mut verdict = format!(
            "{}: {} as before, {} would differ, {} undecided",
            count(all, "decision"),
            self.same,
            self.differing,
            self.undecided
        );
        if self.broken > 0 {
            verdict.push_str(&format!("; {} could not be read", count(self.broken, "line")));
        }
        lines.push(verdict);
        printable(&lines.join("\n"))
    }

    fn to_json(&self) -> Value {
        let group = |(group, calls): (&Group, &Calls)| {
            let mut told = json!({
                "thing": group.thing,
                "roles": group.roles,
                "calls": calls.count,
                "first": calls.first,
                "before": group.before,
                "ruleBefore": group.rule_before,
            });
            match group.after {
                Some(after) => {
                    told["after"] = after.into();
                    told["ruleAfter"] = group.rule_after.as_str().into();
                }
                None => told["undecided"] = group.rule_after.as_str().into(),
            }
            told
        };
        json!({
            "same": self.same,
            "differing": self.differing,
            "undecided": self.undecided,
            "untold": self.untold,
            "unreadable": self.broken,
            "groups": self.groups.iter().map(group).collect::<Vec<_>>(),
        })
    }
}

fn by(rule: &str) -> String {
    if rule.is_empty() { String::new() } else { format!(" by `{rule}`") }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allowed => "allowed",
        Verdict::Challenged => "challenged for scopes",
        Verdict::Refused => "refused by conditions",
        Verdict::Unlisted => "not there",
        Verdict::Unknown => "unknown",
    }
}

fn thing(entry: &Entry) -> String {
    let named = [
        ("tool", &entry.tool),
        ("prompt", &entry.prompt),
        ("resource", &entry.resource),
        ("template", &entry.template),
    ];
    let named = named.into_iter().find_map(|(kind, name)| Some(format!("{kind} `{}`", name.as_ref()?)));
    named.unwrap_or_default()
}
