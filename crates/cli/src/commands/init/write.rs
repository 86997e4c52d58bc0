//! Writes the config file: TOML that says the same whatever is in the names and comments of a database.

use std::fmt::Write as _;

use super::draft::{Draft, Drafts, Param, clean};

/// What the file is made of, beside its tools.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    /// The database, for the first line: `the PostgreSQL database shop`.
    pub(super) database: String,
    /// The name of the server and of the connector.
    pub(super) connector: &'a str,
    /// `postgres` or `sqlite`.
    pub(super) kind: &'static str,
    /// `url` or `path`, with its value.
    pub(super) place: (&'static str, String),
    /// The variable to be set before the commands.
    pub(super) variable: Option<&'a str>,
    /// What the commands need after them to find the file: nothing, or ` -c FILE`.
    pub(super) option: &'a str,
}

/// Returns the text of the file.
pub(super) fn write(frame: &Frame<'_>, tables: &[Drafts]) -> String {
    let mut out = head(frame);
    for table in tables {
        if table.tools.is_empty() {
            continue;
        }
        // Writing to a string cannot fail.
        let _ = writeln!(out, "\n# {}", clean(&table.about));
        if !table.left_out.is_empty() {
            let _ = writeln!(out, "# Left out: {}", clean(&table.left_out.join(", ")));
        }
        for tool in &table.tools {
            write_tool(&mut out, frame.connector, tool);
        }
    }
    out
}

fn head(frame: &Frame<'_>) -> String {
    let Frame { database, connector, kind, place: (key, value), variable, option } = frame;
    let mut out = format!(
        "# Tools for {}, written by `trunkline init`. It is yours: change what you like.\n#\n",
        clean(database)
    );
    let mut commands = Vec::new();
    if let Some(variable) = variable {
        commands.push((format!("export {variable}=postgres://..."), "the address; it is not kept here"));
    }
    commands.push((format!("trunkline check{option}"), "try every statement against the database"));
    commands.push((format!("trunkline serve{option}"), "serve http://127.0.0.1:3000/mcp"));
    commands.push((format!("trunkline serve --stdio{option}"), "what an application on this machine starts"));
    let width = commands.iter().map(|(command, _)| command.chars().count()).max().unwrap_or(0);
    for (command, does) in commands {
        let _ = writeln!(out, "#   {command:width$}   # {does}");
    }
    let _ = write!(
        out,
        "#\n# A description is what a model chooses a tool by: say there what the database cannot know.\n\n[server]\nname = \"{connector}\"\n\n[connectors.{connector}]\ntype = \"{kind}\"\n{key} = {value}\n"
    );
    out
}

fn write_tool(out: &mut String, connector: &str, tool: &Draft) {
    let _ = writeln!(out, "\n[tools.{}]\nconnector = \"{connector}\"", tool.name);
    let _ = writeln!(out, "description = {}", text(&tool.description));
    if tool.gives_row {
        out.push_str("returns = \"row\"\n");
    }
    let _ = writeln!(out, "sql = {}", statement(&tool.sql));
    for param in &tool.params {
        match param {
            Param::Given { name, kind, description, rest } => {
                let kind = kind.map(|kind| format!("type = \"{kind}\", ")).unwrap_or_default();
                let rest = if rest.is_empty() { String::new() } else { format!(", {rest}") };
                let _ =
                    writeln!(out, "params.{name} = {{ {kind}description = {}{rest} }}", text(description));
            }
            Param::Computed { name, from } => {
                let _ = writeln!(out, "params.{name} = {{ from = {} }}", basic(from));
            }
        }
    }
}

/// Writes a string in which references are replaced when it is read, so that it comes out as it is.
pub(super) fn text(value: &str) -> String {
    basic(&value.replace("${", "$${"))
}

/// Writes a statement over several lines: as it is where TOML lets it be, else with escapes. References mean nothing there.
fn statement(sql: &str) -> String {
    let is_plain = !sql.contains("'''") && !sql.chars().any(|c| c.is_control() && c != '\n');
    if is_plain {
        return format!("'''\n{sql}\n'''");
    }
    let escaped: Vec<String> = sql.split('\n').map(escaped).collect();
    format!("\"\"\"\n{}\n\"\"\"", escaped.join("\n"))
}

/// Writes a string on one line.
pub(super) fn basic(value: &str) -> String {
    format!("\"{}\"", escaped(value))
}

fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 8);
    for character in value.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What TOML reads is what was written.
    #[test]
    fn every_text_comes_out_as_it_is() {
        for value in [
            "plain",
            "say \"hi\" to 'them'",
            "back\\slash \\n",
            "two\nlines\r\nand\ttab",
            "\u{0}\u{7}\u{7f}\u{85}\u{2028}",
            "'''",
            "\"\"\"",
            "ends with '",
            "größe 表 🦀",
        ] {
            for written in [basic(value), statement(value)] {
                let table: toml::Table = toml::from_str(&format!("a = {written}\n"))
                    .unwrap_or_else(|error| panic!("{written}: {error}"));
                let read = table["a"].as_str().unwrap();
                let read = if written.starts_with("'''") || written.starts_with("\"\"\"") {
                    &read[..read.len() - 1]
                } else {
                    read
                };
                assert_eq!(read, value, "{written}");
            }
        }
        assert_eq!(text("${HOME} $${A} $"), "\"$${HOME} $$${A} $\"");
    }
}
