//! `trunkline policy test`: tries a table of expectations on the roles of a file, and tells those that fail with the rule that
//! decided.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use trunkline_guard::authorize::Verdict;

use super::expect::{ExpectFile, Tried};
use super::ground::Ground;
use crate::commands::Output;
use crate::commands::tools::table::printable;
use crate::exit::{Code, Failed};
use crate::output::{self, count};

/// The arguments of `policy test`.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// The table of expectations, in TOML: `[callers.NAME]` and `[[expect]]` with `caller`, `tool` (or `prompt`, `resource`),
    /// `args` and `is`.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The config file.
    #[arg(short, long, default_value = "trunkline.toml", value_name = "FILE")]
    config: PathBuf,
    /// Reach no database: the tools are taken as the file declares them.
    #[arg(long)]
    offline: bool,
    /// The form of what is printed.
    #[arg(long, value_enum, default_value = "text", value_name = "FORM")]
    output: Output,
}

/// Tries the table; the exit code is 1 when an expectation fails.
///
/// # Errors
/// The table or the config file is wrong.
pub(super) async fn run(args: TestArgs) -> anyhow::Result<ExitCode> {
    let table = read(&args.file)?;
    let Some(ground) = Ground::of(&args.config, args.offline).await? else {
        return Ok(Code::Configuration.into());
    };
    let file = args.file.display();
    let tried = table
        .try_all(&ground.explainer)
        .map_err(|why| Failed::new(Code::Usage, format!("`{file}` cannot be tried: {why}")))?;
    let failed: Vec<&Tried> = tried.iter().filter(|tried| !tried.passed).collect();
    match args.output {
        Output::Json => output::result(&to_json(&tried).to_string()),
        Output::Text => output::result(&to_text(&failed, tried.len())),
    }
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { Code::Tool.into() })
}

fn read(path: &Path) -> anyhow::Result<ExpectFile> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failed::new(Code::Usage, format!("`{shown}` cannot be read: {error}")))?;
    let table = toml::from_str(&text);
    table.map_err(|error| {
        Failed::new(Code::Usage, format!("`{shown}` is no table of expectations:\n{error}")).into()
    })
}

fn to_text(failed: &[&Tried], all: usize) -> String {
    let mut lines = Vec::new();
    for tried in failed {
        lines.push(format!("expectation {}: {} for {}", tried.number, tried.thing, tried.caller));
        lines.push(format!("  - expected {}", tried.expected.as_str()));
        lines.push(format!("  + found    {}", found(tried)));
        lines.extend(tried.found.changes.iter().take(3).map(|change| format!("    otherwise {change}")));
        lines.push(String::new());
    }
    let verdict = match failed.len() {
        0 => "all as expected".to_owned(),
        failed => format!("{failed} not as expected"),
    };
    lines.push(format!("{}: {verdict}", count(all, "expectation")));
    printable(&lines.join("\n"))
}

fn found(tried: &Tried) -> String {
    let rule = &tried.found.rule;
    let by = if rule.is_empty() { String::new() } else { format!(" by `{rule}`") };
    let roles: Vec<&str> = tried.found.roles.iter().map(|role| role.name.as_str()).collect();
    let roles = if roles.is_empty() { "no role".to_owned() } else { format!("roles {}", roles.join(", ")) };
    let what = match tried.found.verdict {
        Verdict::Allowed => "allowed",
        Verdict::Challenged => "challenged",
        Verdict::Refused => "refused",
        Verdict::Unlisted => "unlisted",
        Verdict::Unknown => "nothing of that name",
    };
    match tried.found.missing_scopes.is_empty() {
        true => format!("{what}{by} ({roles})"),
        false => format!("{what}{by} ({roles}), missing `{}`", tried.found.missing_scopes.join(" ")),
    }
}

fn to_json(tried: &[Tried]) -> Value {
    let results: Vec<Value> = tried
        .iter()
        .map(|tried| {
            json!({
                "expectation": tried.number,
                "caller": tried.caller,
                "thing": tried.thing,
                "expected": tried.expected.as_str(),
                "passed": tried.passed,
                "found": tried.found,
            })
        })
        .collect();
    let failed = tried.iter().filter(|tried| !tried.passed).count();
    json!({ "results": results, "failed": failed })
}
