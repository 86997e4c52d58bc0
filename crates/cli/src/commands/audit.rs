//! `trunkline audit`: proves that a record is as it was written.
//!
//! Exit codes: 0 when nothing is wrong, 1 when the record was changed, 2 for files that are not there, 69 when one cannot be
//! read to its end, 78 when the config file does not say how the record is kept.

mod paged;
mod told;

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use tokio::sync::mpsc;
use trunkline_guard::record::sink::file::files;
use trunkline_guard::record::verify::{Heads, Report, Verifier};
use trunkline_guard::record::{Audit, SinkChoice};

use super::Output;
use crate::audit::postgres::Pages;
use crate::config::{self, Config, Edge, Loaded};
use crate::exit::{Code, Failed};
use crate::output;
use paged::Paged;

/// The arguments of `audit`.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Prove that no line of the record was edited, removed, swapped or inserted, and that its end is there.
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
struct VerifyArgs {
    /// The files of the record, oldest first. Without any, those that `[audit] sink` names, the ones that were put aside
    /// included.
    #[arg(value_name = "FILES")]
    files: Vec<PathBuf>,
    /// The config file, whose `[audit]` has the key.
    #[arg(short, long, default_value = "trunkline.toml", value_name = "FILE")]
    config: PathBuf,
    /// A log of the server, text or JSON, with its `audit head` lines: shows what was cut from the end. Repeatable.
    #[arg(long, value_name = "LOGFILE")]
    heads: Vec<PathBuf>,
    /// The form of what is printed.
    #[arg(long, value_enum, default_value = "text", value_name = "FORM")]
    output: Output,
}

/// Runs the command.
///
/// # Errors
/// What kept it from looking at the record.
pub(crate) async fn run(args: AuditArgs) -> anyhow::Result<ExitCode> {
    let Action::Verify(args) = args.action;
    let Some((audit, config)) = audit(&args.config)? else { return Ok(Code::Configuration.into()) };
    let form = args.output;
    let checked = match &audit.sink {
        SinkChoice::Postgres(name) if args.files.is_empty() => {
            let pages = pages(name, &config)?;
            Checked::of_database(&args, &audit, pages).await?
        }
        _ => {
            let checked = tokio::task::spawn_blocking(move || Checked::of_files(&args, &audit));
            checked.await.context("the record was not looked at")??
        }
    };
    match form {
        Output::Json => output::result(&told::json(&checked)),
        Output::Text => output::result(&told::text(&checked)),
    }
    Ok(if checked.report.is_whole() { ExitCode::SUCCESS } else { Code::Tool.into() })
}

/// Reads how the record is kept; what is wrong with the file is told, and matters only where that is not known then.
fn audit(path: &Path) -> anyhow::Result<Option<(Audit, Config)>> {
    let wrong = |message: String| Failed::new(Code::Configuration, message);
    let Loaded { document, mut config, problems } =
        config::load(path, Edge::Http(None)).map_err(|error| wrong(crate::exit::chain(&error)))?;
    if let Some(recording) = config.guards.audit.take() {
        return Ok(Some((recording.audit, config)));
    }
    if problems.is_empty() {
        let text =
            format!("`{}` has no `[audit]`, so that no record is kept and there is no key", path.display());
        return Err(wrong(text).into());
    }
    output::diagnostics(&problems, &document);
    Ok(None)
}

/// Makes what reads the record in the database of a connector.
fn pages(name: &str, config: &Config) -> anyhow::Result<Pages> {
    let connector = config.connectors.iter().find(|connector| connector.name == name);
    let writer = connector.and_then(|connector| connector.database.writer(WITHIN));
    let missing =
        || Failed::new(Code::Configuration, format!("there is no connector `{name}` that has a record"));
    Ok(Pages::new(writer.ok_or_else(missing)?))
}

/// How long a database may take for some thousand lines.
const WITHIN: Duration = Duration::from_secs(30);

/// A record that was looked at.
#[derive(Debug)]
struct Checked {
    files: Vec<String>,
    report: Report,
    /// How many heads were looked for; `None` without a log.
    heads: Option<usize>,
}

impl Checked {
    /// Looks at files.
    fn of_files(args: &VerifyArgs, audit: &Audit) -> anyhow::Result<Self> {
        let is_complete = args.files.is_empty();
        let files = if is_complete { all_files(audit)? } else { args.files.clone() };
        let (mut verifier, heads) = begin(args, audit, is_complete)?;
        if audit.sink == SinkChoice::Syslog {
            verifier.pass_over_prefixes();
        }
        let mut names = Vec::new();
        for file in &files {
            let name = file.display().to_string();
            verifier.read(&name, open(file)?).map_err(|error| unreadable(file, error))?;
            names.push(name);
        }
        Ok(Self { files: names, report: verifier.finish(), heads })
    }

    /// Looks at the table of a database.
    async fn of_database(args: &VerifyArgs, audit: &Audit, mut pages: Pages) -> anyhow::Result<Self> {
        let (mut verifier, heads) = begin(args, audit, true)?;
        let (sender, received) = mpsc::channel(2);
        let looked = tokio::task::spawn_blocking(move || {
            let read = verifier.read(TABLE, Paged::new(received));
            read.map(|()| verifier.finish())
        });
        loop {
            let page = pages.next().await.context("the record cannot be read from the database")?;
            if page.is_empty() || sender.send(page).await.is_err() {
                break;
            }
        }
        drop(sender);
        let report = looked.await.context("the record was not looked at")??;
        Ok(Self { files: vec![TABLE.to_owned()], report, heads })
    }
}

/// The table of a record in a database.
const TABLE: &str = "trunkline.audit";

/// Makes a verifier that expects the heads of the logs.
fn begin(args: &VerifyArgs, audit: &Audit, is_complete: bool) -> anyhow::Result<(Verifier, Option<usize>)> {
    let mut verifier = Verifier::new(audit.key.clone(), is_complete);
    let mut heads = Heads::default();
    for log in &args.heads {
        heads.read(open(log)?).map_err(|error| unreadable(log, error))?;
    }
    let count = (!args.heads.is_empty()).then_some(heads.len());
    if count == Some(0) {
        let text = "there is no `audit head` in the log; it is logged at the level `info`";
        return Err(Failed::new(Code::Usage, text).into());
    }
    verifier.expect(heads);
    Ok((verifier, count))
}

/// The files that the config file names.
fn all_files(audit: &Audit) -> anyhow::Result<Vec<PathBuf>> {
    let SinkChoice::File(path) = &audit.sink else {
        let text = "the record does not go to a file; name the files that hold its lines, oldest first";
        return Err(Failed::new(Code::Usage, text).into());
    };
    let found = files(path);
    if found.is_empty() {
        let text = format!("there is no record at `{}`; it is made when the server starts", path.display());
        return Err(Failed::new(Code::Usage, text).into());
    }
    Ok(found)
}

fn open(path: &Path) -> anyhow::Result<BufReader<File>> {
    let file = File::open(path).map_err(|error| {
        let code = if error.kind() == io::ErrorKind::NotFound { Code::Usage } else { Code::Unavailable };
        Failed::new(code, format!("`{}` cannot be opened: {error}", path.display()))
    })?;
    Ok(BufReader::with_capacity(256 * 1024, file))
}

fn unreadable(path: &Path, error: io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context(format!("`{}` cannot be read", path.display()))
}
