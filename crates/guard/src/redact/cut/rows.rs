//! Leaves whole rows out of a result that has rows, in its structured content and in the twin of it.

use trunkline_protocol::json::Token;

use super::{NOTE, Whole};
use crate::redact::content::{Unreadable, elements, members};
use crate::redact::rewrite::{applied, quoted, range};
use crate::redact::table;

/// A result with rows.
pub(super) struct Rows<'t> {
    structured: &'t str,
    members: Vec<(String, Token)>,
    /// Where the list stands in the structured content.
    list: Token,
    /// Where each row stands in the list.
    rows: Vec<Token>,
    blocks: Vec<Token>,
    /// Which block is the twin, and how it is written.
    twin: Option<(usize, Twin)>,
}

/// A text that says what the structured content does.
enum Twin {
    /// JSON with the same rows, be it written in another way; how long that is in a JSON string.
    Json { size: usize },
    /// A table: its text, the head of it, and where each record ends.
    Table { text: String, ends: Vec<usize> },
}

/// What a cut comes to: a value for each member of the reply, and how many rows are left.
pub(super) type Cut = (Vec<Option<String>>, u32);

impl<'t> Rows<'t> {
    /// Looks for rows; `None` when the structured content has none.
    pub(super) fn find(whole: &Whole<'t>, token: Token) -> Result<Option<Self>, Unreadable> {
        let structured = whole.raw(token);
        if !structured.starts_with('{') {
            return Ok(None);
        }
        let members = members(structured)?;
        let list = members
            .iter()
            .find(|(name, token)| name == "rows" && token.span.of_str(structured).starts_with('['));
        let Some((_, list)) = list.cloned() else { return Ok(None) };
        let rows = elements(list.span.of_str(structured))?;
        let content = whole.get("content").map(|token| whole.raw(token)).filter(|raw| raw.starts_with('['));
        let blocks = content.map(elements).transpose()?.unwrap_or_default();
        let twin = content.and_then(|content| {
            blocks.iter().enumerate().find_map(|(at, block)| {
                let text = text_of(block.span.of_str(content))?;
                Some((at, Twin::of(text, structured, rows.len())?))
            })
        });
        Ok(Some(Self { structured, members, list, rows, blocks, twin }))
    }

    /// Leaves out as many rows as it takes, from the end; `None` when not even the first would fit.
    pub(super) fn cut(&self, whole: &Whole<'t>) -> Result<Option<Cut>, Unreadable> {
        let kept = self.fitting(whole);
        if kept == 0 {
            return Ok(None);
        }
        let structured = self.structured_with(kept);
        let values = whole.members.iter().map(|(name, token)| match name.as_str() {
            "structuredContent" => Some(structured.clone()),
            "content" => self.content(whole, whole.raw(*token), &structured, kept),
            _ => None,
        });
        let values: Vec<_> = values.collect();
        Ok(Some((values, u32::try_from(kept).unwrap_or(u32::MAX))))
    }

    /// Returns how many rows there is room for.
    fn fitting(&self, whole: &Whole<'_>) -> usize {
        let list = self.list.span.of_str(self.structured);
        let row = |at: usize| self.rows.get(at).map_or("", |token| token.span.of_str(list));
        let twin = |at: usize| match &self.twin {
            // With its comma, and every quote escaped.
            Some((_, Twin::Json { .. })) => quoted(row(at)).len() - 1,
            Some((_, Twin::Table { text, ends })) => {
                let from = at.checked_sub(1).and_then(|at| ends.get(at)).copied();
                let from = from.or_else(|| head_end(text)).unwrap_or_default();
                let line = ends.get(at).and_then(|end| text.get(from..*end)).unwrap_or_default();
                quoted(line).len() - 2
            }
            None => 0,
        };
        let rows: Vec<usize> = (0..self.rows.len()).map(|at| row(at).len() + 1).collect();
        let twins: Vec<usize> = (0..self.rows.len()).map(twin).collect();
        // What is there without any row.
        let base = self.structured.len().saturating_sub(rows.iter().sum());
        let twin_was = self.twin.as_ref().map_or(0, |(_, twin)| twin.size());
        let twin_base = match &self.twin {
            Some((_, Twin::Json { .. })) => 2 * base,
            _ => twin_was.saturating_sub(twins.iter().sum()),
        };
        let outside = whole.size.saturating_sub(self.structured.len() + twin_was);
        let mut left = whole.max.saturating_sub(outside + base + twin_base + NOTE);
        let costs = rows.iter().zip(&twins).map(|(row, twin)| row + twin);
        costs.take_while(|cost| left.checked_sub(*cost).map(|rest| left = rest).is_some()).count()
    }

    /// Writes the structured content with so many rows.
    fn structured_with(&self, kept: usize) -> String {
        let list = self.list.span.of_str(self.structured);
        let end = kept.checked_sub(1).and_then(|at| self.rows.get(at)).map_or(1, |row| row.span.end as usize);
        let rows = format!("{}]", list.get(..end).unwrap_or("["));
        let mut out = String::with_capacity(rows.len() + 128);
        out.push('{');
        for (name, token) in &self.members {
            let value = match name.as_str() {
                "rows" => rows.as_str(),
                "rowCount" => &kept.to_string(),
                // It would pass over the rows that were left out here.
                "nextCursor" | "truncated" => continue,
                _ => token.span.of_str(self.structured),
            };
            out.push_str(&format!("{}:{value},", quoted(name)));
        }
        out.push_str("\"truncated\":true}");
        out
    }

    fn content(&self, whole: &Whole<'_>, raw: &str, structured: &str, kept: usize) -> Option<String> {
        let had_more = self.members.iter().any(|(name, _)| name == "nextCursor");
        let mut blocks: Vec<String> = Vec::with_capacity(self.blocks.len() + 1);
        for (at, block) in self.blocks.iter().enumerate() {
            let block = block.span.of_str(raw);
            match &self.twin {
                Some((twin, form)) if *twin == at => blocks.push(form.written(block, structured, kept)?),
                // It leads to what comes behind the rows that were left out.
                _ if had_more && block.contains("\"resource_link\"") => {}
                _ => blocks.push(block.to_owned()),
            }
        }
        blocks.push(format!(r#"{{"type":"text","text":{}}}"#, quoted(&self.note(whole, kept, had_more))));
        Some(format!("[{}]", blocks.join(",")))
    }

    fn note(&self, whole: &Whole<'_>, kept: usize, had_more: bool) -> String {
        let (size, max, all) = (whole.size, whole.max, self.rows.len());
        let more = if had_more { ", and there are more behind those" } else { "" };
        format!(
            "truncated: the result has {size} bytes, more than the {max} that may be sent, so that {kept} of its {all} rows are here{more}; \
             for the others ask for less at a time: narrower arguments, a smaller `limit`, fewer or shorter columns"
        )
    }
}

impl Twin {
    fn of(text: String, structured: &str, rows: usize) -> Option<Self> {
        if text.starts_with('{') {
            let is_twin = text == structured || rows_of(&text) == Some(rows);
            return is_twin.then(|| Self::Json { size: quoted(&text).len() });
        }
        let mut ends = Vec::with_capacity(rows);
        if text.starts_with('|') {
            let mut at = head_end(&text)?;
            for line in text.get(at..)?.split_inclusive('\n').take(rows) {
                at += line.len();
                ends.push(at);
            }
        } else {
            let mut rest = text.as_str();
            table::record(&mut rest)?;
            while ends.len() < rows {
                table::record(&mut rest).filter(|_| !rest.is_empty() || ends.len() + 1 >= rows)?;
                ends.push(text.len() - rest.len());
            }
        }
        (ends.len() == rows && rows > 0).then_some(Self::Table { text, ends })
    }

    /// How long it is in a JSON string.
    fn size(&self) -> usize {
        match self {
            Self::Json { size } => *size,
            Self::Table { text, .. } => quoted(text).len(),
        }
    }

    /// Writes the block with so many rows.
    fn written(&self, block: &str, structured: &str, kept: usize) -> Option<String> {
        let text = match self {
            Self::Json { .. } => quoted(structured),
            Self::Table { text, ends } => {
                let end = kept.checked_sub(1).and_then(|at| ends.get(at)).copied()?;
                quoted(&format!("{}\nmore rows were left out; shown are {kept}\n", text.get(..end)?))
            }
        };
        let (_, token) = members(block).ok()?.into_iter().find(|(name, _)| name == "text")?;
        applied(block, vec![(range(token), text)])
    }
}

/// Returns how many rows a JSON text has.
fn rows_of(text: &str) -> Option<usize> {
    let members = members(text).ok()?;
    let (_, list) = members.iter().find(|(name, _)| name == "rows")?;
    let list = list.span.of_str(text);
    elements(list).ok().filter(|_| list.starts_with('[')).map(|rows| rows.len())
}

/// Returns where the rows of a table begin.
fn head_end(text: &str) -> Option<usize> {
    if text.starts_with('|') {
        return text.match_indices('\n').nth(1).map(|(at, _)| at + 1);
    }
    let mut rest = text;
    table::record(&mut rest)?;
    Some(text.len() - rest.len())
}

/// Returns the text of a block that is one.
pub(super) fn text_of(block: &str) -> Option<String> {
    let members = members(block).ok()?;
    let text = |name: &str| {
        let token = members.iter().find(|(known, _)| known == name)?.1;
        serde_json::from_str::<String>(token.span.of_str(block)).ok()
    };
    (text("type")? == "text").then(|| text("text"))?
}
