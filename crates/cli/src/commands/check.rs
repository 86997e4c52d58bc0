//! `trunkline check`: everything that can be wrong with a config file, told at once, before anyone calls a tool.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use futures_util::future::join_all;
use serde_json::{Value, json};
use trunkline_protocol::{Method, Revision};
use trunkline_service::Endpoint;
use trunkline_service::seal::Sealer;
use trunkline_sql::Severity;

use super::Output;
use crate::assemble::{self, Lasting, Served};
use crate::config::{self, Diagnostic, Edge, Loaded};
use crate::exit::{Code, chain};
use crate::output::{self, count};
use crate::sources;

/// The arguments of `check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The config file.
    #[arg(short, long, default_value = "trunkline.toml", value_name = "FILE")]
    config: PathBuf,
    /// Reach no database: check only what the file itself says.
    #[arg(long)]
    offline: bool,
    /// The form of what is printed.
    #[arg(long, value_enum, default_value = "text", value_name = "FORM")]
    output: Output,
}

/// Checks the file; the exit code says what is wrong.
///
/// # Errors
/// The system gives no randomness.
pub(crate) async fn run(args: CheckArgs) -> anyhow::Result<ExitCode> {
    let loaded = match config::load(&args.config, Edge::Http(None)) {
        Ok(loaded) => loaded,
        Err(error) => {
            let file = args.config.display().to_string();
            tell_unreadable(&file, &chain(&error), args.output);
            return Ok(Code::Configuration.into());
        }
    };
    let Loaded { document, mut config, mut problems } = loaded;
    let lasting = Lasting::new(Arc::new(Sealer::random()?));
    let served = assemble::connectors(&mut config, &[], &lasting.sealer);
    if !args.offline {
        let examined =
            join_all(served.iter().map(|served| sources::examine(&*served.source, &served.name))).await;
        problems.extend(
            examined.into_iter().flatten().map(|problem| Diagnostic::from_problem(problem, &document)),
        );
    }
    problems.extend(assemble::clashes(&config.tools, &served, &document));
    problems.sort_by_key(|problem| problem.span.start);
    match args.output {
        Output::Json => {
            let (warnings, problems): (Vec<_>, Vec<_>) =
                problems.iter().partition(|problem| problem.severity == Severity::Warning);
            let told = |all: &[&Diagnostic]| -> Vec<Value> {
                all.iter().map(|problem| problem.to_json(&document)).collect()
            };
            output::result(&json!({ "problems": told(&problems), "warnings": told(&warnings) }).to_string());
        }
        Output::Text => {
            if !problems.is_empty() {
                output::diagnostics(&problems, &document);
            }
            if let Ok(endpoint) = assemble::endpoint(&config.server, &config.tools, &served, &lasting) {
                output::result(&summary(&endpoint, &served, &problems));
            }
        }
    }
    Ok(code(&problems))
}

fn code(problems: &[Diagnostic]) -> ExitCode {
    let has = |severity| problems.iter().any(|problem| problem.severity == severity);
    if has(Severity::Wrong) {
        Code::Configuration.into()
    } else if has(Severity::Unavailable) {
        Code::Unavailable.into()
    } else {
        ExitCode::SUCCESS
    }
}

fn tell_unreadable(file: &str, message: &str, form: Output) {
    match form {
        Output::Json => {
            let problem = json!({ "file": file, "line": 1, "column": 1, "key": "", "message": message });
            output::result(&json!({ "problems": [problem] }).to_string());
        }
        Output::Text => output::line(&format!("error: {message}")),
    }
}

/// A row for each tool with what it costs a model to know of it, then the sums.
fn summary(endpoint: &Endpoint, served: &[Served], problems: &[Diagnostic]) -> String {
    let sizes = sizes(endpoint);
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["TOOL", "CONNECTOR", "ACCESS", "TOKENS"]);
    for (entry, size) in endpoint.catalog.entries().iter().zip(&sizes) {
        let name = entry.definition.name.as_str();
        let owner = served
            .iter()
            .find(|served| served.source.definitions().iter().any(|tool| tool.name.as_str() == name));
        let access = if entry.definition.annotations.read_only { "read-only" } else { "read-write" };
        let owner = owner.map_or("", |served| served.name.as_str());
        table.add_row([name, owner, access, &tokens(*size).to_string()]);
    }
    let bytes: usize = sizes.iter().sum();
    let rows: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    let verdict =
        if problems.is_empty() { "no problems".to_owned() } else { count(problems.len(), "problem") };
    format!(
        "{}\n\n{}, {}, about {} tokens ({bytes} bytes) in the tool list; {verdict}",
        rows.join("\n"),
        count(served.len(), "connector"),
        count(sizes.len(), "tool"),
        tokens(bytes),
    )
}

/// Returns how many bytes each tool has in the list, which may go over several pages.
fn sizes(endpoint: &Endpoint) -> Vec<usize> {
    let (mut sizes, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let page = endpoint.catalog.page(Method::ToolsList, cursor.as_deref(), Revision::LATEST);
        let page = page.unwrap_or_default();
        let members = [b"{", &page[..], b"}"].concat();
        let page: Value = serde_json::from_slice(&members).unwrap_or_default();
        sizes.extend(page["tools"].as_array().into_iter().flatten().map(|tool| tool.to_string().len()));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return sizes,
        }
    }
}

/// English and JSON come to about four bytes a token.
fn tokens(bytes: usize) -> usize {
    bytes.div_ceil(4)
}
