//! A declared tool with everything decided that can be decided without its database.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use trunkline_service::ToolName;
use trunkline_service::nearest;

use crate::Problem;
use crate::database::{Access, Dialect, PlanMode, StatementSource};
use crate::file::{ColumnKind, ParamFile, Returns, TextForm, ToolFile};
use crate::options::Options;
use crate::scan::{MAX_PARAMETERS, Scanned, is_parameter_name};
use crate::spec::Spec;

/// A tool of the file whose statement has not been prepared yet.
#[derive(Debug)]
pub struct Tool {
    pub(crate) name: ToolName,
    pub(crate) title: Option<String>,
    pub(crate) description: String,
    pub(crate) scanned: Scanned,
    pub(crate) access: Access,
    pub(crate) returns: Returns,
    pub(crate) text: TextForm,
    pub(crate) deadline: Option<Duration>,
    pub(crate) plan: PlanMode,
    /// One for each placeholder in order, then the arguments that only expressions read.
    pub(crate) params: Vec<Spec>,
    pub(crate) columns: BTreeMap<String, ColumnKind>,
    /// Whether results that end early go on on a later page. Off until a connector seals cursors.
    pub(crate) has_pages: bool,
}

impl Tool {
    /// Decides all that the file alone decides: the name, the parameters, the expressions, defaults and bounds.
    ///
    /// # Errors
    /// Every [`Problem`] that was found, each with a path that begins with `tools` and the name.
    pub fn resolve(
        name: &str,
        file: ToolFile,
        options: &Options,
        dialect: Dialect,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let tool_name = ToolName::new(name)
            .map_err(|error| problems.push(Problem::new(&["tools", name], error.to_string())))
            .ok();
        check_access(name, &file, options, &mut problems);
        if file.plan == PlanMode::Generic && dialect == Dialect::Sqlite {
            let message = "SQLite always plans a statement once";
            problems.push(Problem::new(&["tools", name, "plan"], message).help("leave `plan` out"));
        }
        let scanned = scan(name, &file.sql, dialect).map_err(|problem| problems.push(problem)).ok();
        let params = resolve_params(name, &file.params, scanned.as_ref(), dialect, &mut problems);
        let (Some(tool_name), Some(scanned), true) = (tool_name, scanned, problems.is_empty()) else {
            return Err(problems);
        };
        Ok(Self {
            description: description(file.description.as_deref(), file.title.as_deref(), name),
            name: tool_name,
            title: file.title,
            scanned,
            access: file.access,
            returns: file.returns,
            text: file.text,
            deadline: file.deadline.map(|text| text.0),
            plan: file.plan,
            params,
            columns: file.columns.into_iter().map(|(name, column)| (name, column.kind)).collect(),
            has_pages: false,
        })
    }

    /// Returns what its statement may do.
    #[must_use]
    pub fn access(&self) -> Access {
        self.access
    }

    /// Tells, in words, each thing by which its answers differ from caller to caller.
    #[must_use]
    pub fn bindings(&self) -> Vec<String> {
        let computed = self.params.iter().filter(|spec| {
            spec.computed.as_ref().is_some_and(trunkline_service::expression::Expression::uses_caller)
        });
        computed.map(|spec| format!("parameter `{}` is computed from the caller", spec.name)).collect()
    }

    /// Has results that end early go on on a later page, if they are rows and no parameter has the name of the argument that
    /// asks for it.
    pub(crate) fn turn_pages_on(&mut self) {
        self.has_pages = self.access == Access::ReadOnly
            && self.returns == Returns::Rows
            && self.params.iter().all(|spec| spec.name != crate::cursor::ARGUMENT);
    }

    /// Returns the tool's name.
    #[must_use]
    pub fn name(&self) -> &ToolName {
        &self.name
    }

    /// Returns the statement as the database is asked to prepare it.
    #[must_use]
    pub fn source(&self) -> StatementSource {
        let placeholders = self.params.iter().take(self.scanned.names.len());
        StatementSource {
            sql: self.scanned.render(),
            parameters: placeholders.map(|spec| spec.written.clone()).collect(),
            access: self.access,
            plan: self.plan,
            ..StatementSource::default()
        }
    }
}

fn check_access(name: &str, file: &ToolFile, options: &Options, problems: &mut Vec<Problem>) {
    if file.access != Access::ReadWrite {
        return;
    }
    if options.access == Access::ReadOnly {
        let connector = &file.connector;
        let message = format!(
            "`tools.{name}.access` is `read-write` and `connectors.{connector}.access` is `read-only`"
        );
        let help = format!(
            "write `access = \"read-write\"` under `[connectors.{connector}]` too, or leave it out here"
        );
        problems.push(Problem::new(&["tools", name, "access"], message).help(help));
    }
    if file.returns != Returns::Rows {
        let message = "a tool with `access = \"read-write\"` always returns `affected` and `rows`";
        problems.push(Problem::new(&["tools", name, "returns"], message).help("leave `returns` out"));
    }
}

fn scan(name: &str, sql: &str, dialect: Dialect) -> Result<Scanned, Problem> {
    let path = ["tools", name, "sql"];
    let scanned = Scanned::parse(sql, dialect).map_err(|error| {
        let problem = Problem::new(&path, error.message).at(error.offset);
        Problem { help: error.help, ..problem }
    })?;
    if crate::scan::tokens(sql, dialect).next().is_none() {
        return Err(Problem::new(&path, "there is no statement").help("write one SQL statement"));
    }
    Ok(scanned)
}

/// Cut to what every host takes, never empty.
pub(crate) fn description(description: Option<&str>, title: Option<&str>, name: &str) -> String {
    let written = [description, title].into_iter().flatten().map(str::trim).find(|text| !text.is_empty());
    let text = written.map_or_else(|| name.replace(['_', '-'], " "), str::to_owned);
    cut(&text, 1024)
}

/// Cuts a text to `most` characters, the last of them an ellipsis if something was cut.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// Puts the parameters together: one for each placeholder in order, then the arguments that only expressions read.
fn resolve_params(
    tool: &str,
    files: &BTreeMap<String, ParamFile>,
    scanned: Option<&Scanned>,
    dialect: Dialect,
    problems: &mut Vec<Problem>,
) -> Vec<Spec> {
    let found = problems.len();
    let mut specs = resolve_specs(tool, files, scanned, dialect, problems);
    let all_fit = problems.len() == found;
    let Some(scanned) = scanned else { return Vec::new() };
    let mut params = Vec::with_capacity(specs.len());
    for name in &scanned.names {
        match specs.remove(name) {
            Some(spec) => params.push(spec),
            // What is wrong with it is told already.
            None if files.contains_key(name) => {}
            None if dialect == Dialect::Sqlite => problems.push(untyped(tool, name, scanned, files)),
            None => params.push(Spec::undeclared(name)),
        }
    }
    let computed = params.iter().filter_map(|spec| spec.computed.as_ref());
    let read: BTreeSet<String> =
        computed.flat_map(|expression| expression.uses_args().map(str::to_owned)).collect();
    for (name, spec) in specs {
        if read.contains(&name) {
            let spec = spec.only_for_expressions(tool, files.get(&name));
            params.extend(spec.map_err(|problem| problems.push(problem)));
        } else if all_fit {
            problems.push(unused(tool, &name, scanned));
        }
    }
    if params.len() > MAX_PARAMETERS {
        let message = format!("{} parameters; at most {MAX_PARAMETERS} are allowed", params.len());
        let problem = Problem::new(&["tools", tool, "params"], message);
        problems.push(problem.help("pass a list or a JSON document instead"));
    }
    params
}

/// Checks each table under `params` by itself.
fn resolve_specs(
    tool: &str,
    files: &BTreeMap<String, ParamFile>,
    scanned: Option<&Scanned>,
    dialect: Dialect,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Spec> {
    let declared = files.iter().filter(|(_, file)| file.from.is_none() && file.value.is_none());
    let used = scanned.iter().flat_map(|scanned| &scanned.names).filter(|name| !files.contains_key(*name));
    let args = declared
        .map(|(name, file)| (name.as_str(), Some(file)))
        .chain(used.map(|name| (name.as_str(), None)))
        .collect();
    let mut specs = BTreeMap::new();
    for (name, file) in files {
        if !is_parameter_name(name) {
            let message = format!("`{name}` is no parameter name");
            let help = "begin with a letter or `_` and use at most 64 of A-Z, a-z, 0-9 and `_`";
            problems.push(Problem::new(&["tools", tool, "params", name], message).help(help));
            continue;
        }
        match Spec::resolve(tool, name, file, dialect, &args) {
            Ok(spec) => {
                specs.insert(name.clone(), spec);
            }
            Err(found) => problems.extend(found),
        }
    }
    specs
}

fn untyped(tool: &str, name: &str, scanned: &Scanned, files: &BTreeMap<String, ParamFile>) -> Problem {
    let message = format!("`:{name}` has no type, and SQLite has no parameter types to infer one from");
    let near =
        nearest(name, files.keys().map(String::as_str).filter(|known| scanned.first_use(known).is_none()));
    let help = match near {
        Some(near) => format!("`params.{near}` is declared and not used; is that what is meant?"),
        None => format!("write `params.{name} = {{ type = \"string\" }}`, or give it a `default`"),
    };
    Problem::new(&["tools", tool, "sql"], message).at(scanned.first_use(name).unwrap_or(0)).help(help)
}

fn unused(tool: &str, name: &str, scanned: &Scanned) -> Problem {
    let message = format!("the statement has no `:{name}`, and no `from` reads `args.{name}`");
    let help = match nearest(name, scanned.names.iter().map(String::as_str)) {
        Some(near) => format!("the statement has `:{near}`; is that what is meant?"),
        None => "use it or leave it out".to_owned(),
    };
    Problem::new(&["tools", tool, "params", name], message).help(help)
}

#[cfg(test)]
mod tests;
