//! `trunkline init`: looks at a database and writes a config file that works, with tools for its tables.

mod choose;
mod draft;
mod names;
mod target;
mod write;

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use trunkline_postgres::{Postgres, PostgresFile};
use trunkline_sql::survey::{Survey, Table};
use trunkline_sql::{DatabaseError, Dialect};
use trunkline_sqlite::Sqlite;

use self::choose::{Chosen, Wanted, choose};
use self::draft::{Drafts, clean, draft};
use self::names::Names;
use self::target::Target;
use self::write::{Frame, text, write};
use super::check::Checked;
use crate::config::{self, Edge};
use crate::exit::{Code, Failed, chain};
use crate::output::{self, count};

/// The arguments of `init`.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The database: `postgres://user@host/database`, `sqlite:FILE`, or a variable with the address as '${NAME}'. Without
    /// it, the address in DATABASE_URL. A password is never written to the file.
    #[arg(value_name = "URL", hide_default_value = true)]
    url: Option<String>,
    /// The file to write; `-` writes to standard output.
    #[arg(short, long, default_value = "trunkline.toml", value_name = "FILE")]
    output: PathBuf,
    /// Write over a file that is there.
    #[arg(long)]
    force: bool,
    /// Make tools for the tables that fit, like `orders`, `sales.*` or `cust*`. Can be given several times.
    #[arg(long, value_name = "GLOB", conflicts_with = "all")]
    table: Vec<String>,
    /// Make tools for all tables and views, not only for the first twenty.
    #[arg(long)]
    all: bool,
    /// What the connector is called: a small letter, then up to 31 small letters and digits. Default: made from the
    /// database's name.
    #[arg(long, value_name = "CONNECTOR", value_parser = connector_name)]
    name: Option<String>,
}

/// Looks at the database, writes the file, and checks it.
///
/// # Errors
/// The target is none of a database (exit code 2), its address or the file is wrong or there already (78), or it does not
/// answer (69).
pub(crate) async fn run(args: InitArgs) -> anyhow::Result<ExitCode> {
    let target = Target::parse(args.url.as_deref(), &|name| std::env::var_os(name))?;
    let destination = Destination::of(&args.output, args.force)?;
    let database = open(&target)?;
    let mut survey = survey(&database).await?;
    if survey.tables.is_empty() {
        let text =
            "there is no table or view that this login may read; create one, or log in as someone who may";
        return Err(Failed::new(Code::Configuration, text).into());
    }
    let wanted = match (args.all, args.table.is_empty()) {
        (true, _) => Wanted::All,
        (false, true) => Wanted::First,
        (false, false) => Wanted::Fitting(args.table),
    };
    let Chosen { mut tables, left_out } = choose(std::mem::take(&mut survey.tables), &wanted)?;
    database.columns(&mut tables).await.map_err(|error| unanswered(&error))?;
    drop(database);
    let connector = args.name.unwrap_or_else(|| name_of(&target, survey.database.as_deref()));
    let option = destination.option();
    let frame = Frame {
        database: describe(&target, survey.database.as_deref()),
        connector: &connector,
        kind: target.kind(),
        place: place(&target, &destination),
        variable: target.variable(),
        option: &option,
    };
    let (file, checked) = write_checked(&frame, &tables, &target, &destination).await?;
    destination.write(&file)?;
    tell(&target, &destination, &checked, &left_out, survey.is_cut);
    Ok(checked.code())
}

fn connector_name(name: &str) -> Result<String, String> {
    let fits = name.len() <= 32
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if fits {
        Ok(name.to_owned())
    } else {
        Err("a small letter, then up to 31 small letters and digits".to_owned())
    }
}

/// A database to look at.
enum Opened {
    Postgres(Box<Postgres>),
    Sqlite(Box<Sqlite>),
}

impl Opened {
    fn dialect(kind: &str) -> Dialect {
        if kind == "postgres" { Dialect::Postgres } else { Dialect::Sqlite }
    }

    async fn columns(&self, tables: &mut [Table]) -> Result<(), DatabaseError> {
        match self {
            Self::Postgres(postgres) => postgres.survey_columns(tables).await,
            Self::Sqlite(sqlite) => sqlite.survey_columns(tables).await,
        }
    }
}

/// Makes the database as the file would make it.
fn open(target: &Target) -> Result<Opened, Failed> {
    match target {
        Target::Sqlite { path } => Ok(Opened::Sqlite(Box::new(Sqlite::new("init", Path::new(path))))),
        Target::Postgres { url, .. } => {
            let wrong = |message: String| Failed::new(Code::Configuration, message);
            // Through the form of the file, which knows all that an address can say. No text of an error shows it.
            let file: PostgresFile = toml::from_str(&format!("url = {}", write::basic(url)))
                .map_err(|_| wrong("the address is no text".to_owned()))?;
            let (postgres, _) = file.resolve("init").map_err(|problems| {
                let told = problems.into_iter().map(|problem| match problem.help {
                    Some(help) => format!("{}; {help}", problem.message),
                    None => problem.message,
                });
                wrong(told.collect::<Vec<_>>().join("; "))
            })?;
            Ok(Opened::Postgres(Box::new(postgres)))
        }
    }
}

async fn survey(database: &Opened) -> Result<Survey, Failed> {
    let found = match database {
        Opened::Postgres(postgres) => postgres.survey().await,
        Opened::Sqlite(sqlite) => sqlite.survey().await,
    };
    found.map_err(|error| unanswered(&error))
}

fn unanswered(error: &DatabaseError) -> Failed {
    Failed::new(Code::Unavailable, format!("the database cannot be looked at: {}", chain(error)))
}

/// Where the file goes.
#[derive(Debug)]
struct Destination {
    /// `None` for standard output.
    path: Option<PathBuf>,
    force: bool,
}

impl Destination {
    /// Looks whether the file can be written, before anything is asked of the database.
    fn of(path: &Path, force: bool) -> Result<Self, Failed> {
        if path == Path::new("-") {
            return Ok(Self { path: None, force });
        }
        let shown = path.display();
        if !force && path.symlink_metadata().is_ok() {
            let text = format!(
                "`{shown}` is there already; write over it with `--force`, or name another file with `--output`"
            );
            return Err(Failed::new(Code::Configuration, text));
        }
        let folder =
            path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        if !folder.is_dir() {
            let text =
                format!("there is no folder `{}` to write `{shown}` in; make it first", folder.display());
            return Err(Failed::new(Code::Configuration, text));
        }
        Ok(Self { path: Some(path.to_owned()), force })
    }

    /// Returns where the file stands or would stand, for its relative paths.
    fn place(&self) -> &Path {
        self.path.as_deref().unwrap_or_else(|| Path::new("trunkline.toml"))
    }

    /// Returns what commands need to find the file.
    fn option(&self) -> String {
        match self.path.as_deref() {
            Some(path) if path != Path::new("trunkline.toml") => {
                format!(" -c {}", quoted(&clean(&path.to_string_lossy())))
            }
            _ => String::new(),
        }
    }

    fn write(&self, file: &str) -> anyhow::Result<()> {
        let Some(path) = &self.path else {
            output::result(file);
            return Ok(());
        };
        let mut options = OpenOptions::new();
        options.write(true);
        // Someone may have made it since it was looked for.
        if self.force {
            options.create(true).truncate(true)
        } else {
            options.create_new(true)
        };
        let written = options.open(path).and_then(|mut out| {
            out.write_all(file.as_bytes())?;
            out.sync_all().or_else(|error| {
                if error.kind() == io::ErrorKind::InvalidInput { Ok(()) } else { Err(error) }
            })
        });
        written.with_context(|| format!("`{}` cannot be written", path.display()))
    }
}

/// Quotes a word for a shell where that is needed.
fn quoted(word: &str) -> String {
    let is_plain = !word.is_empty()
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+,@%".contains(&byte));
    if is_plain { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

fn describe(target: &Target, database: Option<&str>) -> String {
    match (target, database) {
        (Target::Sqlite { path }, _) => format!("the SQLite database {path}"),
        (Target::Postgres { .. }, Some(name)) => format!("the PostgreSQL database {name}"),
        (Target::Postgres { .. }, None) => "a PostgreSQL database".to_owned(),
    }
}

/// Makes a name of a connector from that of the database.
fn name_of(target: &Target, database: Option<&str>) -> String {
    let whole = match target {
        Target::Postgres { .. } => database.unwrap_or_default().to_owned(),
        Target::Sqlite { path } => {
            Path::new(path).file_stem().unwrap_or_default().to_string_lossy().into_owned()
        }
    };
    let letters = whole.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase());
    let name: String = letters.skip_while(char::is_ascii_digit).take(32).collect();
    match name.as_str() {
        "" => "db".to_owned(),
        // The names of tools begin so, and what a connector makes by itself begins with its name.
        "search" | "list" | "get" => format!("{name}db"),
        _ => name,
    }
}

/// Returns the key and the value that say where the database is. A relative path is below the folder of the file.
fn place(target: &Target, destination: &Destination) -> (&'static str, String) {
    match target {
        Target::Postgres { variable: Some(variable), .. } => ("url", format!("\"${{{variable}}}\"")),
        Target::Postgres { url, .. } => ("url", text(url)),
        Target::Sqlite { path } => {
            let given = Path::new(path);
            let is_here = destination
                .place()
                .parent()
                .is_none_or(|folder| folder.as_os_str().is_empty() || folder == Path::new("."));
            let written = match (given.is_absolute(), is_here) {
                (true, _) => path.clone(),
                (false, true) if given.starts_with(".") || given.starts_with("..") => path.clone(),
                (false, true) => format!("./{path}"),
                (false, false) => std::path::absolute(given)
                    .unwrap_or_else(|_| given.to_owned())
                    .to_string_lossy()
                    .into_owned(),
            };
            ("path", text(&written))
        }
    }
}

/// Writes the text and checks it against the database. A tool that the database does not take is left out and told of: a view
/// whose tables are gone, a table that may not be read after all.
async fn write_checked(
    frame: &Frame<'_>,
    tables: &[Table],
    target: &Target,
    destination: &Destination,
) -> anyhow::Result<(String, Checked)> {
    let mut names = Names::default();
    let dialect = Opened::dialect(target.kind());
    let mut drafts: Vec<Drafts> = tables.iter().map(|table| draft(table, dialect, &mut names)).collect();
    for drafts in drafts.iter().filter(|drafts| drafts.tools.is_empty()) {
        output::line(&format!(
            "note: no tools for {}: it has no column that could be shown",
            clean(&drafts.about)
        ));
    }
    loop {
        let file = write(frame, &drafts);
        let variable = |name: &str| match target {
            Target::Postgres { url, variable: Some(variable), .. } if variable == name => Some(url.into()),
            _ => std::env::var_os(name),
        };
        let loaded = config::load_text(destination.place(), &file, Edge::Http(None), &variable);
        let checked = Checked::of(loaded, false).await?;
        let before = count_tools(&drafts);
        for drafts in &mut drafts {
            drafts.tools.retain(|tool| match checked.wrong_with(&tool.name) {
                Some(why) => {
                    output::line(&format!("note: no tool `{}`: {}", tool.name, clean(why)));
                    false
                }
                None => true,
            });
        }
        // Each round leaves fewer tools, so there is an end.
        if count_tools(&drafts) == before {
            return Ok((file, checked));
        }
    }
}

fn count_tools(drafts: &[Drafts]) -> usize {
    drafts.iter().map(|drafts| drafts.tools.len()).sum()
}

/// Tells what was written, what was not, and what to do next.
fn tell(target: &Target, destination: &Destination, checked: &Checked, left_out: &[String], is_cut: bool) {
    let say = |text: &str| if destination.path.is_some() { output::result(text) } else { output::line(text) };
    if !checked.problems.is_empty() {
        output::diagnostics(&checked.problems, &checked.document);
        output::line("");
    }
    if let Some(summary) = checked.summary() {
        say(&format!("{summary}\n"));
    }
    if let Some(text) = not_taken(left_out, is_cut) {
        say(&format!("{text}\n"));
    }
    let mut next = String::new();
    match &destination.path {
        Some(path) => next.push_str(&format!("{} is written. Next:\n\n", clean(&path.display().to_string()))),
        None => next.push_str("Save it as trunkline.toml. Next:\n\n"),
    }
    let option = destination.option();
    if let Target::Postgres { variable: Some(variable), was_shown, .. } = target {
        let already = std::env::var_os(variable).is_some();
        if !already || *was_shown {
            next.push_str(&format!("  export {variable}='...'   # the address you gave: the file reads it from there, and holds no password\n"));
        }
    }
    next.push_str(&format!("  trunkline check{option}\n  trunkline serve{option}\n"));
    if let Some(tool) = checked.first_tool() {
        next.push_str(&format!("  trunkline call http://127.0.0.1:3000/mcp {tool}\n"));
    }
    say(next.trim_end());
}

/// Says which tables have no tools, and how they get some.
fn not_taken(left_out: &[String], is_cut: bool) -> Option<String> {
    const SHOWN: usize = 10;
    if left_out.is_empty() {
        return None;
    }
    let mut names: Vec<String> = left_out.iter().take(SHOWN).map(|name| clean(name)).collect();
    if left_out.len() > SHOWN {
        names.push(format!("and {} more", left_out.len() - SHOWN));
    }
    let cut = if is_cut { " (there are more than could be looked through)" } else { "" };
    Some(format!(
        "Left out: {}{cut}: {}.\nChoose with `--table GLOB`, which can be repeated, or take all with `--all`; `--force` writes over the file.",
        count(left_out.len(), "table"),
        names.join(", ")
    ))
}
