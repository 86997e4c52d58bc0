//! The sections `[connectors.X]` and `[tools.X]`: each connector by its type, each tool with its connector.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};
use trunkline_guard::thing::{ConnectorGuardsFile, ToolGuardsFile};
use trunkline_postgres::file::PostgresFile;
use trunkline_postgres::{Postgres, Writer};
use trunkline_service::ToolName;
use trunkline_sql::file::ToolFile;
use trunkline_sql::options::Options;
use trunkline_sql::tool::Tool;
use trunkline_sql::{Database, Dialect, Problem, SchemaProfile, Severity};
use trunkline_sqlite::Sqlite;
use trunkline_sqlite::file::SqliteFile;

use trunkline_service::nearest;

use super::diagnostic::{Diagnostic, key_of};
use super::things::{self, ThingFiles};
use super::{Reader, later, strict};

/// One `[connectors.X]` with the tools that name it.
#[derive(Debug)]
pub(crate) struct Connector {
    pub(crate) name: String,
    pub(crate) database: DatabaseConfig,
    pub(crate) options: Options,
    /// In the order of the file.
    pub(crate) tools: Vec<Tool>,
    /// What the connector's own table says.
    pub(crate) own: Fingerprint,
    /// What its tools say.
    pub(crate) tools_print: Fingerprint,
}

/// A connector's database, not connected yet.
#[derive(Debug)]
pub(crate) enum DatabaseConfig {
    /// `type = "sqlite"`.
    Sqlite(Sqlite),
    /// `type = "postgres"`.
    Postgres(Postgres),
}

impl DatabaseConfig {
    /// Returns the word for it in the file.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(_) => "postgres",
        }
    }

    /// Makes a connection for what the program itself keeps in the database, each run of which takes at most `within`; `None`
    /// where nothing can be kept.
    pub(crate) fn writer(&self, within: Duration) -> Option<Writer> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(postgres) => Some(postgres.writer(within)),
        }
    }
}

/// A table with references replaced, to tell whether it changed. Holds secrets, so it is never shown.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Fingerprint(String);

impl Fingerprint {
    pub(super) fn of(table: &DeTable<'_>) -> Self {
        let node = Spanned::new(0..0, DeValue::Table(table.clone()));
        // What is no JSON, like a float that is not a number, is refused by every strict type.
        serde_json::Value::deserialize(ValueDeserializer::from(node))
            .map_or_else(|_| Self::default(), |value| Self(value.to_string()))
    }

    /// Returns what tells it from others, and nothing of it.
    pub(crate) fn digest(&self) -> [u8; 32] {
        trunkline_service::seal::fingerprint([self.0.as_bytes()])
    }

    /// Adds what was decided elsewhere and belongs to it.
    pub(super) fn note(&mut self, what: &str) {
        self.0.push_str(what);
    }

    fn add(&mut self, name: &str, other: &Self) {
        self.0.push_str(name);
        self.0.push('\0');
        self.0.push_str(&other.0);
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint")
    }
}

/// The types a connector can have.
const TYPES: &[&str] = &["sqlite", "postgres"];

/// A named table of a section, in the order of the file.
pub(super) struct Named<'i> {
    pub(super) name: String,
    pub(super) table: DeTable<'i>,
    pub(super) span: Range<usize>,
}

/// What the two sections declare.
pub(super) struct Declared {
    pub(super) connectors: Vec<Connector>,
    /// The names of the tools, in the order of the file.
    pub(super) tools: Vec<String>,
    /// The scopes that tools need, by their names.
    pub(super) scopes: Vec<(String, Vec<String>)>,
    /// The keys of guards.
    pub(super) things: ThingFiles,
}

/// What tools need to know of their connector, whether or not it could be made.
struct Known {
    dialect: Option<Dialect>,
    options: Options,
    tools: Vec<Tool>,
    print: Fingerprint,
}

impl Reader<'_> {
    /// Reads both sections.
    pub(super) fn connectors(
        &mut self,
        connectors: DeTable<'_>,
        tools: DeTable<'_>,
        schema: SchemaProfile,
    ) -> Declared {
        let mut made = Vec::new();
        let mut declared = BTreeMap::new();
        let mut things = ThingFiles::default();
        for named in self.named(connectors, "connectors") {
            let name = named.name.clone();
            let (dialect, mut connector) = self.connector(named, &mut things);
            if let Some((_, options, _)) = &mut connector {
                options.schema = schema;
            }
            let options = connector.as_ref().map(|(_, options, _)| options.clone()).unwrap_or_default();
            declared.insert(
                name.clone(),
                Known { dialect, options, tools: Vec::new(), print: Fingerprint(format!("{schema:?}")) },
            );
            made.extend(connector.map(|(database, options, own)| (name, database, options, own)));
        }
        let (mut names, mut scopes) = (Vec::new(), Vec::new());
        for named in self.named(tools, "tools") {
            names.push(named.name.clone());
            self.tool(named, &mut declared, &mut scopes, &mut things);
        }
        let connectors = made
            .into_iter()
            .map(|(name, database, options, own)| {
                let (tools, tools_print) = declared
                    .remove(&name)
                    .map_or_else(Default::default, |declared| (declared.tools, declared.print));
                Connector { name, database, options, tools, own, tools_print }
            })
            .collect();
        Declared { connectors, tools: names, scopes, things }
    }

    pub(super) fn named<'i>(&mut self, section: DeTable<'i>, of: &str) -> Vec<Named<'i>> {
        let mut all = Vec::with_capacity(section.len());
        for (key, value) in section {
            let (at, span, name) = (key.span().start, value.span(), key.into_inner().into_owned());
            match value.into_inner() {
                DeValue::Table(table) => all.push((at, Named { name, table, span })),
                _ => {
                    let message = format!("`{name}` must be a table, `[{of}.{name}]`");
                    self.problems.push(Diagnostic::at(self.document, &[of, &name], message));
                }
            }
        }
        all.sort_by_key(|(at, _)| *at);
        all.into_iter().map(|(_, named)| named).collect()
    }

    fn connector(
        &mut self,
        named: Named<'_>,
        things: &mut ThingFiles,
    ) -> (Option<Dialect>, Option<(DatabaseConfig, Options, Fingerprint)>) {
        let Named { name, mut table, span } = named;
        let path = ["connectors", name.as_str()];
        if !is_connector_name(&name) {
            let span = self.document.key_span(&path);
            let message = format!("`{name}` is no connector name");
            let help =
                Some("use a lower case letter, then at most 31 lower case letters or digits".to_owned());
            self.problems.push(Diagnostic {
                key: key_of(&path),
                span,
                message,
                help,
                severity: Severity::Wrong,
            });
        }
        later::refuse(&mut table, &path, later::CONNECTOR_KEYS, &mut self.problems);
        let kind = later::text(&table, "type").map(str::to_owned);
        if kind.as_deref() == Some("sqlite") {
            anchor(&mut table, self.folder);
        }
        let guards = things::take(&mut table, ConnectorGuardsFile::KEYS);
        if let Some(guards) = self.strict((guards, span.clone()), &path) {
            things.connectors.push((name.clone(), guards));
        }
        let own = Fingerprint::of(&table);
        table.remove("type");
        match kind.as_deref() {
            Some("sqlite") => {
                let made = self.section_file((table, span), &path, |file: SqliteFile| file.resolve(&name));
                (
                    Some(Sqlite::DIALECT),
                    made.map(|(database, options)| (DatabaseConfig::Sqlite(database), options, own)),
                )
            }
            Some("postgres") => {
                let made = self.section_file((table, span), &path, |file: PostgresFile| file.resolve(&name));
                (
                    Some(Postgres::DIALECT),
                    made.map(|(database, options)| (DatabaseConfig::Postgres(database), options, own)),
                )
            }
            other => {
                self.unknown_type(other, &path);
                (None, None)
            }
        }
    }

    fn unknown_type(&mut self, kind: Option<&str>, path: &[&str; 2]) {
        let [section, name] = *path;
        let path = [section, name, "type"];
        let problem = match kind {
            Some(kind) if later::CONNECTOR_TYPES.contains(&kind) => Diagnostic::at(
                self.document,
                &path,
                format!("connectors of type `{kind}` are not available in this version"),
            )
            .help("available: `sqlite`, `postgres`"),
            Some(kind) => Diagnostic::at(self.document, &path, format!("`{kind}` is no type of connector"))
                .help(strict::suggestion(kind, TYPES)),
            None => Diagnostic::at(self.document, &path, "the key `type` is missing")
                .help("write `type = \"sqlite\"` or `type = \"postgres\"`"),
        };
        self.problems.push(problem);
    }

    /// Reads the table of a connector and decides what it says.
    fn section_file<F: serde::de::DeserializeOwned, T>(
        &mut self,
        section: (DeTable<'_>, Range<usize>),
        path: &[&str],
        resolve: impl FnOnce(F) -> Result<T, Vec<Problem>>,
    ) -> Option<T> {
        let before = self.problems.len();
        let file = self.strict_beside(section, path, ConnectorGuardsFile::KEYS)?;
        match resolve(file) {
            Ok(made) => Some(made),
            // Where keys were wrong, what others lack follows from that.
            Err(_) if self.problems.len() > before => None,
            Err(problems) => {
                self.problems.extend(
                    problems.into_iter().map(|problem| Diagnostic::from_problem(problem, self.document)),
                );
                None
            }
        }
    }

    fn tool(
        &mut self,
        named: Named<'_>,
        declared: &mut BTreeMap<String, Known>,
        scopes: &mut Vec<(String, Vec<String>)>,
        things: &mut ThingFiles,
    ) {
        let Named { name, mut table, span } = named;
        let path = ["tools", name.as_str()];
        if let Err(error) = ToolName::new(&name) {
            let span = self.document.key_span(&path);
            self.problems.push(Diagnostic {
                key: key_of(&path),
                span,
                message: error.to_string(),
                help: None,
                severity: Severity::Wrong,
            });
        }
        later::refuse(&mut table, &path, later::TOOL_KEYS, &mut self.problems);
        let guards = things::take(&mut table, ToolGuardsFile::KEYS);
        if let Some(guards) = self.strict((guards, span.clone()), &path) {
            things.tools.push((name.clone(), guards));
        }
        let print = Fingerprint::of(&table);
        let before = self.problems.len();
        let file: Option<ToolFile> = self.strict_beside((table, span), &path, ToolGuardsFile::KEYS);
        let is_whole = self.problems.len() == before;
        let Some(file) = file else { return };
        if !file.scopes.is_empty() {
            scopes.push((name.clone(), file.scopes.clone()));
        }
        let Some(connector) = declared.get_mut(&file.connector) else {
            let help = match nearest(&file.connector, declared.keys().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("declare it with `[connectors.{}]`", file.connector),
            };
            let message = format!("there is no connector `{}`", file.connector);
            self.problems
                .push(Diagnostic::at(self.document, &["tools", &name, "connector"], message).help(help));
            return;
        };
        let Some(dialect) = connector.dialect else { return };
        match Tool::resolve(&name, file, &connector.options, dialect) {
            Ok(tool) => {
                connector.tools.push(tool);
                connector.print.add(&name, &print);
            }
            Err(problems) => {
                // Where keys were wrong, others seem to be missing; a statement speaks for itself.
                let counts = |problem: &Problem| {
                    // The name was judged above, whether or not the rest could be.
                    problem.path != path && (is_whole || problem.path.last().is_some_and(|key| key == "sql"))
                };
                let problems = problems.into_iter().filter(counts);
                self.problems
                    .extend(problems.map(|problem| Diagnostic::from_problem(problem, self.document)));
            }
        }
    }
}

fn is_connector_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=32).contains(&name.len())
        && name.bytes().all(fits)
        && name.bytes().next().is_some_and(|first| first.is_ascii_lowercase())
}

/// Makes the path of a database file absolute: relative ones start at the config file, not where the process was started.
fn anchor(table: &mut DeTable<'_>, folder: &Path) {
    if let Some(DeValue::String(path)) = table.get_mut("path").map(Spanned::get_mut)
        && !path.is_empty()
        && !path.starts_with(':')
        && !path.starts_with("file:")
    {
        let anchored =
            std::path::absolute(folder.join(path.as_ref())).unwrap_or_else(|_| folder.join(path.as_ref()));
        *path = anchored.to_string_lossy().into_owned().into();
    }
}
