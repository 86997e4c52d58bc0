//! The config file: read, references replaced, every section decided, every problem with its place in the file.
//!
//! What a section means belongs to the crate that owns it; here they are only joined.

mod connectors;
mod diagnostic;
mod document;
mod guards;
mod interpolate;
mod later;
pub(crate) mod schema;
mod secret;
mod sections;
mod strict;
mod things;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use connectors::Declared;
pub(crate) use connectors::{Connector, DatabaseConfig, Fingerprint};
pub(crate) use diagnostic::{Diagnostic, Style, render};
pub(crate) use document::Document;
pub(crate) use guards::{Authentication, Guards, StoreSection};
use interpolate::Environment;
use secret::Hidden;
pub(crate) use sections::{
    Admin, DEFAULT_LISTEN, Edge, LogFile, LogFormat, LogLevel, Server, address, refuse_listen,
};
pub(crate) use things::{Thing, Things};
use trunkline_sql::Severity;

/// Everything a config file decides.
#[derive(Debug, Default)]
pub(crate) struct Config {
    pub(crate) server: Server,
    pub(crate) log: LogFile,
    pub(crate) admin: Admin,
    /// In the order of the file.
    pub(crate) connectors: Vec<Connector>,
    /// The names under `[tools]`, in the order of the file.
    pub(crate) tools: Vec<String>,
    pub(crate) guards: Guards,
    /// What guards do around connectors and tools.
    pub(crate) things: Things,
    /// `None` without `[store]`: the node shares nothing.
    pub(crate) store: Option<StoreSection>,
}

/// A file that was read, with all that is wrong with it. The config holds what could be decided.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) document: Document,
    pub(crate) config: Config,
    pub(crate) problems: Vec<Diagnostic>,
}

/// The config file cannot be read at all.
#[derive(Debug, thiserror::Error)]
#[error("`{path}` cannot be read; write it, or name another file with `-c`")]
pub(crate) struct Unreadable {
    path: String,
    #[source]
    source: std::io::Error,
}

/// The sections of a file, with the keys that come later.
const SECTIONS: &[&str] =
    &["server", "log", "admin", "connectors", "tools", "auth", "limits", "roles", "audit", "store"];

/// Reads the file at `path` with the process's environment.
///
/// # Errors
/// [`Unreadable`] when there is no such file or it is no text.
pub(crate) fn load(path: &Path, edge: Edge) -> Result<Loaded, Unreadable> {
    let text = read(path)?;
    Ok(load_text(path, &text, edge, &|name| std::env::var_os(name)))
}

/// Returns the text of a config file.
///
/// # Errors
/// [`Unreadable`] when there is no such file or it is no text.
pub(crate) fn read(path: &Path) -> Result<String, Unreadable> {
    std::fs::read_to_string(path).map_err(|source| Unreadable { path: path.display().to_string(), source })
}

/// Reads a config from its text; `path` is where it stands, for messages and relative paths.
pub(crate) fn load_text(
    path: &Path,
    text: &str,
    edge: Edge,
    variable: &dyn Fn(&str) -> Option<OsString>,
) -> Loaded {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut document = Document::new(path, text, table.get_ref());
    if !errors.is_empty() {
        let problems = errors.iter().map(|error| syntax(error, text)).collect();
        return Loaded { document, config: Config::default(), problems };
    }
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let mut reader = Reader {
        document: &document,
        folder,
        hidden: Hidden::default(),
        unresolved: Vec::new(),
        problems: Vec::new(),
    };
    let config = reader.config(table.into_inner(), edge, variable);
    let (problems, hidden) = reader.finish();
    document.hide(hidden);
    Loaded { document, config, problems }
}

fn syntax(error: &toml::de::Error, text: &str) -> Diagnostic {
    let span = error.span().unwrap_or(text.len()..text.len());
    let message = format!("this is not TOML: {}", error.message().lines().collect::<Vec<_>>().join(", "));
    Diagnostic { key: String::new(), span, message, help: None, severity: Severity::Wrong }
}

/// Takes the table apart.
#[derive(Debug)]
struct Reader<'d> {
    document: &'d Document,
    folder: &'d Path,
    hidden: Hidden,
    /// What is wrong with references.
    unresolved: Vec<Diagnostic>,
    problems: Vec<Diagnostic>,
}

/// A section: its table and where it stands.
type Section<'i> = (DeTable<'i>, Range<usize>);

impl Reader<'_> {
    fn config(
        &mut self,
        mut root: DeTable<'_>,
        edge: Edge,
        variable: &dyn Fn(&str) -> Option<OsString>,
    ) -> Config {
        if root.is_empty() {
            let message = "the file says nothing";
            let problem = Diagnostic::at::<&str>(self.document, &[], message);
            self.problems.push(
                problem.help("declare a connector with `[connectors.NAME]`; `trunkline demo` needs no file"),
            );
            return Config::default();
        }
        self.replace(&mut root, &mut Vec::new(), &Environment { variable, folder: self.folder });
        let server = self.section("server", &mut root).and_then(|table| self.strict(table, &["server"]));
        let log = self.section("log", &mut root).and_then(|table| self.strict(table, &["log"]));
        let admin: Option<sections::AdminFile> =
            self.section("admin", &mut root).and_then(|table| self.strict(table, &["admin"]));
        let connectors = self.section("connectors", &mut root).unwrap_or_default();
        let tools = self.section("tools", &mut root).unwrap_or_default();
        let mut sections = guards::Sections {
            auth: self.section("auth", &mut root),
            limits: self.section("limits", &mut root),
            store: self.section("store", &mut root),
            roles: self.section("roles", &mut root),
            audit: self.section("audit", &mut root),
        };
        self.unknown_sections(&root);
        let server: sections::ServerFile = server.unwrap_or_default();
        let Declared { mut connectors, tools, scopes, things } =
            self.connectors(connectors.0, tools.0, server.schema.into());
        // Over stdio the public name is not looked at, and tokens for it are not asked for; `[auth]` is right or wrong all the same.
        let written = server.url.clone();
        let server = server.resolve(edge, sections.auth.is_some(), self.document, &mut self.problems);
        let around =
            guards::Around { edge, url: written.as_deref(), connectors: &connectors, tool_scopes: scopes };
        let store = sections.store.take().and_then(|section| self.store(section, &server.seal_keys.0));
        let guards = self.guards(sections, around);
        let things = self.things(things, &connectors, guards.auth.is_some());
        things::bound_results(&mut connectors, &things);
        self.tell_too_dear(&things, &connectors, &guards);
        Config {
            server,
            log: log.unwrap_or_default(),
            admin: admin.unwrap_or_default().resolve(self.document, &mut self.problems),
            connectors,
            tools,
            guards,
            things,
            store,
        }
    }

    /// Every message is cleaned of values that came from references, whoever wrote it. What else is wrong with a value
    /// whose reference cannot be replaced follows from that, and is not told.
    fn finish(self) -> (Vec<Diagnostic>, Hidden) {
        let Self { hidden, unresolved, mut problems, .. } = self;
        problems.retain(|problem| unresolved.iter().all(|bad| bad.key != problem.key));
        let problems = unresolved
            .into_iter()
            .chain(problems)
            .map(|problem| Diagnostic {
                message: hidden.clean(problem.message),
                help: problem.help.map(|help| hidden.clean(help)),
                ..problem
            })
            .collect();
        (problems, hidden)
    }

    fn strict<T: serde::de::DeserializeOwned>(&mut self, section: Section<'_>, path: &[&str]) -> Option<T> {
        self.strict_beside(section, path, &[])
    }

    /// Reads a table of which other keys are read elsewhere.
    fn strict_beside<T: serde::de::DeserializeOwned>(
        &mut self,
        (table, span): Section<'_>,
        path: &[&str],
        also: &[&str],
    ) -> Option<T> {
        strict::read(table, &span, path, also, &self.hidden, &mut self.problems)
    }

    /// Takes a section out of the root; something else than a table is a problem.
    fn section<'i>(&mut self, name: &str, root: &mut DeTable<'i>) -> Option<Section<'i>> {
        let value = root.remove(name)?;
        let span = value.span();
        if let DeValue::Table(table) = value.into_inner() {
            return Some((table, span));
        }
        self.problems.push(Diagnostic::at(
            self.document,
            &[name],
            format!("`{name}` must be a table, `[{name}]`"),
        ));
        None
    }

    fn unknown_sections(&mut self, rest: &DeTable<'_>) {
        for key in rest.keys() {
            let span = key.span();
            let help = Some(strict::suggestion(key.get_ref(), SECTIONS));
            let message = format!("unknown key `{}`", key.get_ref());
            self.problems.push(Diagnostic {
                key: diagnostic::key_of(&[key.get_ref()]),
                span,
                message,
                help,
                severity: Severity::Wrong,
            });
        }
    }

    /// Replaces the references in every string of the table, except where the text is SQL or an expression.
    fn replace(&mut self, table: &mut DeTable<'_>, path: &mut Vec<String>, environment: &Environment<'_>) {
        for (key, value) in table.iter_mut() {
            path.push(key.get_ref().to_string());
            self.replace_value(value, path, environment);
            path.pop();
        }
    }

    fn replace_value(
        &mut self,
        value: &mut Spanned<DeValue<'_>>,
        path: &mut Vec<String>,
        environment: &Environment<'_>,
    ) {
        match value.get_mut() {
            DeValue::String(text) if !is_code(path) => match interpolate::expand(text, environment) {
                Ok(None) => self.hide_literal(text, path),
                Ok(Some(expanded)) => {
                    self.hidden.add(&expanded, text);
                    *text = expanded.into();
                }
                Err(bad) => {
                    for bad in bad {
                        let span = self.document.range_within(path, &bad.range);
                        let key = diagnostic::key_of(path);
                        self.unresolved.push(Diagnostic {
                            key,
                            span,
                            message: bad.message,
                            help: bad.help,
                            severity: Severity::Wrong,
                        });
                    }
                    *text = String::new().into();
                }
            },
            DeValue::Table(table) if !is_session(path) => self.replace(table, path, environment),
            DeValue::Array(items) => {
                for (number, item) in items.iter_mut().enumerate() {
                    path.push(number.to_string());
                    self.replace_value(item, path, environment);
                    path.pop();
                }
            }
            _ => {}
        }
    }
}

impl Reader<'_> {
    /// Notes a secret that stands in the file itself; what is declared secret of a parameter is known to its tool only.
    fn hide_literal(&mut self, text: &str, path: &[String]) {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        if secret::secret_at(&path, false).is_some() {
            self.hidden.add(text, "***");
        }
    }
}

/// SQL and expressions are code: `${` means there what their language says.
fn is_code(path: &[String]) -> bool {
    path.len() >= 3
        && path.last().is_some_and(|key| matches!(key.as_str(), "sql" | "from" | "when" | "session" | "role"))
}

/// A table of expressions.
fn is_session(path: &[String]) -> bool {
    path.len() == 3 && path.last().is_some_and(|key| matches!(key.as_str(), "session" | "when"))
}
