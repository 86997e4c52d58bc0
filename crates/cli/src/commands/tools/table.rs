//! Tables for people: as wide as the terminal on one, unwrapped anywhere else, and free of control characters.

use std::io::{self, IsTerminal as _};

use comfy_table::{ContentArrangement, ContentLineStyle, LineStyle, Table, TableStyle};

const PLAIN: TableStyle = TableStyle::new()
    .header_lines(ContentLineStyle::none().junction('|'))
    .header_separator(LineStyle::none().fill('-').junction('+'))
    .content_lines(ContentLineStyle::none().junction('|'));
/// Rows that take several lines need something between them.
const RULED: TableStyle = PLAIN.row_separator(LineStyle::none().fill('-').junction('+'));

/// Draws a table. Cells may have several lines.
pub(crate) fn draw<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    draw_any(header.map(str::to_owned).to_vec(), rows.into_iter().map(Vec::from))
}

/// Draws a table whose number of columns is known late.
pub(crate) fn draw_any(header: Vec<String>, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let clean = |cells: Vec<String>| cells.iter().map(|cell| printable(cell)).collect::<Vec<_>>();
    let mut table = Table::new();
    table.load_style(PLAIN);
    match width() {
        Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    table.set_header(clean(header));
    table.add_rows(rows.into_iter().map(clean));
    let mut lines: Vec<String> = table.lines().collect();
    if lines.len() > table.row_count() + 2 {
        table.load_style(RULED);
        lines = table.lines().collect();
    }
    lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
}

fn width() -> Option<u16> {
    let terminal = io::stdout().is_terminal().then(terminal_size::terminal_size).flatten();
    terminal.map(|(terminal_size::Width(width), _)| width)
}

/// Returns `text` without control characters other than line breaks, tabs becoming spaces: what a server writes must not
/// move the cursor or rename the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .filter_map(|character| match character {
            '\n' => Some('\n'),
            '\t' => Some(' '),
            other => (!other.is_control()).then_some(other),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_away_from_a_terminal_is_not_wrapped() {
        let long = "word ".repeat(60);
        let drawn = draw(["name", "text"], [["a\u{1b}[2J".to_owned(), long.clone()]]);
        assert!(drawn.contains(long.trim_end()), "{drawn}");
        assert!(!drawn.contains('\u{1b}'), "{drawn}");
        assert!(drawn.lines().all(|line| line == line.trim_end()));
    }

    #[test]
    fn rows_are_ruled_off_only_where_one_takes_several_lines() {
        let rows = |second: &str| [["1".to_owned(), "a".to_owned()], ["2".to_owned(), second.to_owned()]];
        assert_eq!(draw(["id", "name"], rows("b")), " id | name\n----+------\n 1  | a\n 2  | b");
        assert_eq!(
            draw(["id", "name"], rows("b\nc")).lines().filter(|line| line.starts_with('-')).count(),
            2
        );
    }
}
