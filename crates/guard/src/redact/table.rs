//! Hides columns of a table that stands in a text as CSV (RFC 4180) or Markdown: cells are the fields of a row, under the name at
//! the head of their column.

use super::detect::is_secret_name;
use super::path::{Mark, Reach};
use super::rewrite::{HIDDEN, Rewriter, looks_like_json};

/// What becomes of the cells of a column.
struct Column {
    name: String,
    reach: Reach,
}

/// Returns the text with its table rewritten; `None` when there is no table, or nothing to hide in it by the names of columns.
pub(super) fn rewritten(rewriter: &mut Rewriter<'_>, text: &str) -> Option<String> {
    let tally = rewriter.tally;
    let other = if text.starts_with('|') { markdown(rewriter, text) } else { csv(rewriter, text) };
    if other.is_none() {
        // It was no table, or nothing of it changed.
        rewriter.tally = tally;
    }
    other
}

fn columns(rewriter: &Rewriter<'_>, names: Vec<String>) -> Option<Vec<Column>> {
    let row = rewriter.row();
    let paths = &rewriter.rules.paths;
    let columns: Vec<Column> =
        names.into_iter().map(|name| Column { reach: paths.member(row, &name), name }).collect();
    // One column may be any text with a line break, unless it is named.
    let is_named =
        |column: &Column| paths.mark(column.reach).is_some() || is_secret_name(column.name.as_bytes());
    (columns.len() > 1 || columns.iter().any(is_named)).then_some(columns)
}

/// Returns what stands in the place of each cell of a row, where that is another; `None` for a row that stays as it is.
fn others(rewriter: &mut Rewriter<'_>, columns: &[Column], cells: &[String]) -> Option<Vec<Option<String>>> {
    let others: Vec<Option<String>> =
        columns.iter().zip(cells).map(|(column, cell)| rewriter.cell(column, cell)).collect();
    others.iter().any(Option::is_some).then_some(others)
}

impl Rewriter<'_> {
    /// Returns what comes in the place of a cell; `None` for the same.
    fn cell(&mut self, column: &Column, cell: &str) -> Option<String> {
        if cell.is_empty() {
            return None;
        }
        match self.rules.paths.mark(column.reach) {
            Some(Mark::Hide) => {
                self.tally.fields += 1;
                return Some(HIDDEN.to_owned());
            }
            Some(Mark::Seal) => return Some(self.sealed(cell)),
            None => {}
        }
        if looks_like_json(cell)
            && let Ok(other) = self.json(cell, column.reach, 0)
        {
            return other;
        }
        let detectors = self.rules.detectors;
        match detectors.clean(cell, &column.name, &mut self.tally) {
            std::borrow::Cow::Owned(other) => Some(other),
            std::borrow::Cow::Borrowed(_) => None,
        }
    }
}

// ---- CSV ----

fn csv(rewriter: &mut Rewriter<'_>, text: &str) -> Option<String> {
    let mut rest = text;
    let head = record(&mut rest)?;
    let columns = columns(rewriter, head)?;
    let mut out = String::with_capacity(text.len());
    out.push_str(text.get(..text.len() - rest.len())?);
    let mut changed = false;
    while !rest.is_empty() {
        let before = rest;
        let cells = record(&mut rest)?;
        let line = before.get(..before.len() - rest.len())?;
        // What a table cannot say stands below it, behind an empty line.
        if line.trim_end_matches(['\r', '\n']).is_empty() && columns.len() > 1 {
            out.push_str(before);
            break;
        }
        if cells.len() != columns.len() {
            return None;
        }
        let Some(others) = others(rewriter, &columns, &cells) else {
            out.push_str(line);
            continue;
        };
        changed = true;
        let raw = raw_cells(line);
        for (at, other) in others.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            match other {
                Some(other) => write_cell(&mut out, other),
                None => out.push_str(raw.get(at).copied().unwrap_or_default()),
            }
        }
        out.push_str(line.get(line.trim_end_matches(['\r', '\n']).len()..)?);
    }
    changed.then_some(out)
}

/// Takes one record with its line break, unquoted; `None` when a quote does not end.
pub(super) fn record(rest: &mut &str) -> Option<Vec<String>> {
    let end = record_end(rest)?;
    let (line, after) = rest.split_at_checked(end)?;
    *rest = after;
    let cells = raw_cells(line).into_iter().map(|cell| match cell.strip_prefix('"') {
        Some(inner) => inner.strip_suffix('"').unwrap_or(inner).replace("\"\"", "\""),
        None => cell.to_owned(),
    });
    Some(cells.collect())
}

/// Returns where a record ends, behind its line break.
fn record_end(text: &str) -> Option<usize> {
    let mut is_quoted = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'\n' if !is_quoted => return Some(at + 1),
            _ => {}
        }
    }
    (!is_quoted).then_some(text.len())
}

/// Returns the cells of a record as they are written.
fn raw_cells(line: &str) -> Vec<&str> {
    let line = line.trim_end_matches(['\r', '\n']);
    let mut cells = Vec::with_capacity(16);
    let (mut start, mut is_quoted) = (0, false);
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b',' if !is_quoted => {
                cells.push(line.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
    }
    cells.push(line.get(start..).unwrap_or_default());
    cells
}

fn write_cell(out: &mut String, cell: &str) {
    if cell.contains(['"', ',', '\n', '\r']) {
        out.push_str(&format!("\"{}\"", cell.replace('"', "\"\"")));
    } else {
        out.push_str(cell);
    }
}

// ---- Markdown ----

fn markdown(rewriter: &mut Rewriter<'_>, text: &str) -> Option<String> {
    let mut lines = text.split_inclusive('\n');
    let (head, rule) = (lines.next()?, lines.next()?);
    let is_rule = rule.bytes().all(|byte| matches!(byte, b'|' | b'-' | b':' | b' ' | b'\n' | b'\r'))
        && rule.contains('-');
    let columns = is_rule.then(|| columns(rewriter, bars(head)))??;
    let mut out = String::with_capacity(text.len());
    out.push_str(head);
    out.push_str(rule);
    let mut changed = false;
    let mut is_table = true;
    for line in lines {
        is_table &= line.starts_with('|');
        let cells = if is_table { bars(line) } else { Vec::new() };
        if !is_table {
            out.push_str(line);
            continue;
        }
        if cells.len() != columns.len() {
            return None;
        }
        let Some(others) = others(rewriter, &columns, &cells) else {
            out.push_str(line);
            continue;
        };
        changed = true;
        out.push('|');
        for (other, cell) in others.iter().zip(&cells) {
            out.push_str(&format!(" {} |", in_bars(other.as_deref().unwrap_or(cell))));
        }
        out.push_str(line.get(line.trim_end_matches(['\r', '\n']).len()..)?);
    }
    changed.then_some(out)
}

/// Returns the cells of a line between bars, as they were before they were written.
fn bars(line: &str) -> Vec<String> {
    let line = line.trim_end();
    let line = line.strip_prefix('|').unwrap_or(line);
    let mut cells = vec![String::new()];
    let mut signs = line.chars().peekable();
    while let Some(sign) = signs.next() {
        match sign {
            '\\' if signs.peek().is_some_and(|next| matches!(next, '|' | '\\')) => {
                let next = signs.next();
                if let Some(cell) = cells.last_mut() {
                    cell.extend(next);
                }
            }
            '|' => cells.push(String::new()),
            other => {
                if let Some(cell) = cells.last_mut() {
                    cell.push(other);
                }
            }
        }
    }
    // Behind the last bar there is nothing.
    if cells.last().is_some_and(|cell| cell.trim().is_empty()) {
        cells.pop();
    }
    cells.into_iter().map(|cell| cell.trim().replace("<br>", "\n")).collect()
}

fn in_bars(cell: &str) -> String {
    cell.replace('\\', "\\\\").replace('|', "\\|").replace(['\n', '\r'], "<br>")
}
