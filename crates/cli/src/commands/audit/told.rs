//! What a look at a record is told as: lines for people, one object for programs.

use serde_json::json;
use trunkline_guard::record::verify::{NodeReport, Report};

use super::Checked;
use crate::output::count;

/// One JSON object: whether all is well, and everything that was found.
pub(super) fn json(checked: &Checked) -> String {
    let Checked { files, report, heads } = checked;
    json!({
        "whole": report.is_whole(),
        "files": files,
        "lines": report.lines,
        "heads": heads,
        "nodes": report.nodes,
        "problems": report.problems,
        "moreProblems": report.more,
        "notes": report.notes,
    })
    .to_string()
}

/// What is wrong, what is worth knowing, how far each node's record reaches, and the verdict.
pub(super) fn text(checked: &Checked) -> String {
    let Checked { files, report, heads } = checked;
    let mut lines: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    if report.more > 0 {
        lines.push(format!("and {} more", report.more));
    }
    lines.extend(report.notes.iter().map(|note| format!("note: {note}")));
    lines.extend(report.nodes.iter().map(node));
    let read = format!("{} in {}", lines_of(report), count(files.len(), "file"));
    lines.push(match report.problems.len() {
        0 => format!("the record is whole: {read}"),
        problems => format!("the record was changed: {} in {read}", problems_of(problems, report.more)),
    });
    match heads {
        Some(heads) => lines.push(format!("{} from the log looked for", count(*heads, "head"))),
        None => {
            lines.push("what was cut from the end shows only against a log: `--heads LOGFILE`".to_owned())
        }
    }
    lines.join("\n")
}

fn node(report: &NodeReport) -> String {
    let NodeReport { node, first, last, is_stopped, .. } = report;
    let end = if *is_stopped { "stopped" } else { "running, or it crashed" };
    format!("node {node}: lines {first} to {last}, {end}")
}

fn lines_of(report: &Report) -> String {
    count(usize::try_from(report.lines).unwrap_or(usize::MAX), "line")
}

fn problems_of(problems: usize, more: u64) -> String {
    count(problems.saturating_add(usize::try_from(more).unwrap_or(usize::MAX)), "problem")
}
