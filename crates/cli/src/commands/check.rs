//! `trunkline check`: everything that can be wrong with a config file, told at once, before anyone calls a tool.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use futures_util::future::join_all;
use serde_json::{Value, json};
use trunkline_guard::validate;
use trunkline_protocol::{Method, Revision};
use trunkline_service::Catalog;
use trunkline_service::seal::Sealer;
use trunkline_sql::{DatabaseError, Severity};

use super::Output;
use crate::assemble::{self, Served};
use crate::config::{self, Config, Diagnostic, Document, Edge, Loaded};
use crate::exit::{Code, chain};
use crate::guards;
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
    /// Print the SQL that makes a role for each PostgreSQL connector, with no more rights than its tools need, and check
    /// nothing else.
    #[arg(long, conflicts_with_all = ["offline", "output"])]
    print_setup_sql: bool,
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
    if args.print_setup_sql {
        return print_setup_sql(loaded).await;
    }
    let checked = Checked::of(loaded, args.offline).await?;
    match args.output {
        Output::Json => output::result(&checked.to_json().to_string()),
        Output::Text => {
            if !checked.problems.is_empty() {
                output::diagnostics(&checked.problems, &checked.document);
                output::line("");
            }
            if let Some(summary) = checked.summary() {
                output::result(&summary);
            }
        }
    }
    Ok(checked.code())
}

/// Prints the SQL on the standard output, and nothing else there.
async fn print_setup_sql(loaded: Loaded) -> anyhow::Result<ExitCode> {
    let checked = Checked::of(loaded, true).await?;
    let is_wrong = |problem: &&Diagnostic| problem.severity == Severity::Wrong;
    if checked.problems.iter().any(|problem| is_wrong(&problem)) {
        output::diagnostics(&checked.problems, &checked.document);
        return Ok(checked.code());
    }
    let mut texts = Vec::new();
    for served in &checked.served {
        match served.source.setup_sql().await {
            Some(Ok(text)) => texts.push(text),
            Some(Err(error)) => {
                let message = checked.document.clean(chain(&error));
                let (what, code) = match error {
                    DatabaseError::Rejected { .. } => ("does not let us in", Code::Configuration),
                    DatabaseError::Data { .. } => ("does not tell what is there", Code::Unavailable),
                    _ => ("does not answer", Code::Unavailable),
                };
                output::line(&format!("error: connector `{}` {what}: {message}", served.name));
                return Ok(code.into());
            }
            None => {}
        }
    }
    if texts.is_empty() {
        output::line("no connector of this file has roles");
    } else {
        output::result(&texts.join("\n"));
    }
    Ok(ExitCode::SUCCESS)
}

/// A file with its connectors, examined.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) document: Document,
    /// In the order of the file.
    pub(super) problems: Vec<Diagnostic>,
    config: Config,
    served: Vec<Served>,
    sealer: Arc<Sealer>,
}

impl Checked {
    /// Examines all that a file says; `offline` leaves databases alone.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub(super) async fn of(loaded: Loaded, offline: bool) -> anyhow::Result<Self> {
        let Loaded { document, mut config, mut problems } = loaded;
        let sealer = Arc::new(Sealer::random()?);
        let served = assemble::connectors(&mut config, &[], &sealer);
        if !offline {
            let sources =
                join_all(served.iter().map(|served| sources::examine(&*served.source, &served.name)));
            let (examined, issuers) = tokio::join!(sources, guards::examine(&config.guards, &served));
            let found = examined.into_iter().flatten().chain(issuers);
            problems.extend(found.map(|problem| Diagnostic::from_problem(problem, &document)));
        }
        problems.extend(assemble::clashes(&config.tools, &served, &document));
        if let Ok(catalog) = assemble::catalog(&config.tools, &served, &sealer) {
            let wrong = config.guards.policy.problems(&catalog);
            let unusable = validate::problems(catalog.parts());
            let wrong = wrong.into_iter().chain(unusable);
            problems.extend(wrong.map(|problem| Diagnostic::from_problem(problem, &document)));
        }
        let cold = assemble::ahead::problems(&config.things, &served);
        problems.extend(cold.into_iter().map(|problem| Diagnostic::from_problem(problem, &document)));
        problems.sort_by_key(|problem| problem.span.start);
        Ok(Self { document, problems, config, served, sealer })
    }

    /// Returns what the file says, and its connectors.
    pub(super) fn into_parts(self) -> (Config, Vec<Served>, Arc<Sealer>) {
        (self.config, self.served, self.sealer)
    }

    /// Returns what the command ends with.
    pub(super) fn code(&self) -> ExitCode {
        code(&self.problems)
    }

    /// Returns the tools with what they cost, and the verdict; nothing where no endpoint can be made of the file.
    pub(super) fn summary(&self) -> Option<String> {
        let Self { config, served, sealer, .. } = self;
        let catalog = assemble::catalog(&config.tools, served, sealer).ok()?;
        Some(summary(&catalog, served, &self.problems))
    }

    /// Returns what is wrong with a tool of the file, if something is; warnings and silence of the database are not that.
    pub(super) fn wrong_with(&self, tool: &str) -> Option<&str> {
        let of_tool = |problem: &&Diagnostic| {
            let rest = problem.key.strip_prefix("tools.").and_then(|rest| rest.strip_prefix(tool));
            problem.severity == Severity::Wrong
                && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.problems.iter().find(of_tool).map(|problem| problem.message.as_str())
    }

    /// Returns a call of the first tool, as `trunkline call` takes it.
    pub(super) fn first_tool(&self) -> Option<String> {
        let name = self.config.tools.iter().find(|name| !name.starts_with("get_"))?;
        Some(if name.starts_with("search_") {
            format!("{name} query=a limit=3")
        } else {
            format!("{name} limit=3")
        })
    }

    fn to_json(&self) -> Value {
        let (warnings, problems): (Vec<_>, Vec<_>) =
            self.problems.iter().partition(|problem| problem.severity == Severity::Warning);
        let told = |all: &[&Diagnostic]| -> Vec<Value> {
            all.iter().map(|problem| problem.to_json(&self.document)).collect()
        };
        json!({ "problems": told(&problems), "warnings": told(&warnings) })
    }
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
fn summary(catalog: &Catalog, served: &[Served], problems: &[Diagnostic]) -> String {
    let sizes = sizes(catalog);
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["TOOL", "CONNECTOR", "ACCESS", "TOKENS"]);
    for (entry, size) in catalog.entries().iter().zip(&sizes) {
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
    format!(
        "{}\n\n{}, {}, about {} tokens ({bytes} bytes) in the tool list; {}",
        rows.join("\n"),
        count(served.len(), "connector"),
        count(sizes.len(), "tool"),
        tokens(bytes),
        verdict(problems),
    )
}

/// Counts what is wrong and what someone should know apart: `1 problem, 2 warnings`.
fn verdict(problems: &[Diagnostic]) -> String {
    let warnings = problems.iter().filter(|problem| problem.severity == Severity::Warning).count();
    let wrong = match problems.len() - warnings {
        0 => "no problems".to_owned(),
        wrong => count(wrong, "problem"),
    };
    if warnings == 0 { wrong } else { format!("{wrong}, {}", count(warnings, "warning")) }
}

/// Returns how many bytes each tool has in the list, which may go over several pages.
fn sizes(catalog: &Catalog) -> Vec<usize> {
    let (mut sizes, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let page = catalog.page(Method::ToolsList, cursor.as_deref(), Revision::LATEST);
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
