//! Writes rows straight into a reply: `structuredContent` and its escaped twin, the text, in one pass.
//!
//! Row JSON is mostly quotes, so escaping it again afterwards would cost more than writing it. Each column keeps its key
//! in both spellings, and a value without escapes is copied to both places.

mod page;

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use trunkline_protocol::decimal::Decimal;
use trunkline_protocol::json::Scanner;
use trunkline_protocol::write;
use trunkline_service::Reply;

use crate::database::Rows;
use crate::file::{ColumnKind, TextForm};
pub use crate::shape::{Form, Limits, Shape};
use crate::table;

pub(crate) use page::{Ended, Lines, Next};
use page::{Overlap, Reporter};

/// Writes one result.
pub struct RowWriter {
    shape: Arc<Shape>,
    /// The text is JSON and written along; else it is made at the end.
    twin: bool,
    /// `structuredContent`.
    json: Vec<u8>,
    /// The reply's members up to where the text is.
    members: Vec<u8>,
    column: usize,
    /// How many lists and objects are open.
    depth: usize,
    /// How many of them are objects.
    objects: usize,
    /// No comma comes before what is next: the first element of a list, the first key, a member's value.
    is_first: bool,
    rows: u32,
    max_rows: u32,
    max_bytes: usize,
    /// Room kept for what follows the rows.
    tail: usize,
    /// What stands between two rows: a comma, or a line break where each row is a line of its own.
    between: &'static [u8],
    /// Rows of earlier pages that come once more.
    overlap: Overlap,
    reporter: Option<Box<Reporter>>,
    /// Where the last row that is kept begins in `json`.
    last: usize,
    /// Where the first row begins in `json` and in `members`.
    head: (usize, usize),
    /// Where the row being written began.
    start: (usize, usize),
    /// What is being written will not be kept; nothing more of the row is written.
    skips: bool,
    truncated: bool,
    fault: Option<String>,
}

impl fmt::Debug for RowWriter {
    /// Tells sizes, never cells.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowWriter")
            .field("rows", &self.rows)
            .field("bytes", &self.json.len())
            .finish_non_exhaustive()
    }
}

/// Integers beyond it are written as strings: readers that keep numbers as doubles would change them.
const SAFE: u64 = (1 << 53) - 1;

/// Room for what follows the rows: `],"rowCount":4294967295,"truncated":true}`, or the number of changed rows.
const TAIL: usize = 48;

const CONTENT: &[u8] = br#""content":[{"type":"text","text":""#;

impl RowWriter {
    /// Starts a result.
    #[must_use]
    pub fn new(shape: Arc<Shape>) -> Self {
        let mut writer = Self {
            twin: shape.text == TextForm::Json,
            max_rows: shape.max_rows,
            max_bytes: shape.max_bytes,
            shape,
            tail: TAIL,
            between: b",",
            overlap: Overlap::default(),
            reporter: None,
            last: 0,
            json: Vec::with_capacity(1024),
            // A power of two costs the allocator least.
            members: Vec::with_capacity(4096),
            column: 0,
            depth: 0,
            objects: 0,
            is_first: false,
            rows: 0,
            head: (0, 0),
            start: (0, 0),
            skips: false,
            truncated: false,
            fault: None,
        };
        writer.members.extend_from_slice(CONTENT);
        match writer.shape.form {
            Form::Rows => writer.both(br#"{"rows":["#, br#"{\"rows\":["#),
            Form::Written => writer.both(br#"{"affected":,"rows":["#, br#"{\"affected\":,\"rows\":["#),
            Form::Row => writer.both(br#"{"row":"#, br#"{\"row\":"#),
            Form::Value => {}
        }
        writer.head = (writer.json.len(), writer.members.len());
        writer
    }

    /// Ends the result. `affected` is how many rows a writing statement changed.
    #[must_use]
    pub fn finish(self, affected: Option<u64>) -> Reply {
        self.finish_page(affected, |_| None)
    }

    /// Ends the result. When rows were left out, `next` says where they can be had.
    pub(crate) fn finish_page(
        mut self,
        affected: Option<u64>,
        next: impl FnOnce(Ended) -> Option<Next>,
    ) -> Reply {
        if let Some(mut fault) = self.fault.take() {
            if self.shape.form == Form::Written {
                fault.push_str(&format!(
                    "; the statement itself ran and changed {} rows",
                    affected.unwrap_or(0)
                ));
            }
            return Reply::tool_error(&fault);
        }
        if self.overlap.is_broken() {
            return Reply::tool_error(page::CHANGED);
        }
        let next = if self.truncated { next(self.ended()) } else { None };
        self.close(affected, next.as_ref());
        if !self.twin {
            let cursor = next.as_ref().map(|next| next.cursor.as_str());
            let text = table::text(&self.json, &self.shape, self.truncated, cursor);
            write::escaped(&mut self.members, text.as_bytes());
        }
        let goes_on = next.is_some();
        let link = next.map(|next| next.link).unwrap_or_default();
        let mut members = self.members;
        members.reserve_exact(self.json.len() + link.len() + 64);
        members.extend_from_slice(br#""}"#);
        if !link.is_empty() {
            members.push(b',');
            members.extend_from_slice(&link);
        }
        members.push(b']');
        let start = members.len();
        members.extend_from_slice(br#","structuredContent":"#);
        members.extend_from_slice(&self.json);
        let end = members.len();
        members.extend_from_slice(br#","isError":false"#);
        let rows = affected.map_or(self.rows, |affected| u32::try_from(affected).unwrap_or(u32::MAX));
        let reply = Reply::from_members(members).with_structured(start..end).with_rows(rows);
        let reply = if link.is_empty() { reply } else { reply.with_links() };
        // The way on is sealed for the caller.
        if goes_on { reply.with_bound() } else { reply }
    }

    fn close(&mut self, affected: Option<u64>, next: Option<&Next>) {
        match (self.shape.form, self.rows) {
            (Form::Rows, rows) => {
                self.both(br#"],"rowCount":"#, br#"],\"rowCount\":"#);
                self.same(itoa::Buffer::new().format(rows).as_bytes());
            }
            (Form::Written, rows) => {
                let mut number = itoa::Buffer::new();
                let number = number.format(affected.unwrap_or_else(|| rows.into())).as_bytes();
                let at = br#"{"affected":"#.len();
                self.json.splice(at..at, number.iter().copied());
                if self.twin {
                    let at = CONTENT.len() + br#"{\"affected\":"#.len();
                    self.members.splice(at..at, number.iter().copied());
                }
                self.same(b"]");
            }
            (Form::Row, 0) => self.same(b"null"),
            (Form::Value, 0) => self.both(br#"{"value":null"#, br#"{\"value\":null"#),
            (Form::Row | Form::Value, _) => {}
        }
        if self.truncated {
            self.both(br#","truncated":true"#, br#",\"truncated\":true"#);
        }
        if let Some(next) = next {
            self.both(br#","nextCursor":"#, br#",\"nextCursor\":"#);
            self.unescaped(next.cursor.as_bytes());
        }
        self.same(b"}");
    }

    /// Begins a value: its key in a row, its comma in a list. `None` when nothing more of this row is wanted.
    fn lead(&mut self, size: usize) -> Option<Option<ColumnKind>> {
        if self.skips {
            return None;
        }
        if self.json.len() + size > self.max_bytes {
            self.skips = true;
            return None;
        }
        if self.depth > 0 {
            if !std::mem::take(&mut self.is_first) {
                self.same(b",");
            }
            // What is written of a column goes for its cells and their elements, not for members of different types.
            if self.objects > 0 {
                return Some(None);
            }
            return Some(self.shape.columns.get(self.column.wrapping_sub(1)).and_then(|cell| cell.kind));
        }
        let cell = self.shape.columns.get(self.column)?;
        self.column += 1;
        self.json.extend_from_slice(&cell.key);
        if self.twin {
            self.members.extend_from_slice(&cell.key_escaped);
        }
        Some(cell.kind)
    }

    /// Appends bytes that need no escape in the text.
    fn same(&mut self, bytes: &[u8]) {
        self.both(bytes, bytes);
    }

    fn both(&mut self, json: &[u8], escaped: &[u8]) {
        self.json.extend_from_slice(json);
        if self.twin {
            self.members.extend_from_slice(escaped);
        }
    }

    /// Appends a string of characters that need no escape.
    fn unescaped(&mut self, text: &[u8]) {
        self.both(b"\"", b"\\\"");
        self.same(text);
        self.both(b"\"", b"\\\"");
    }

    fn string(&mut self, text: &str) {
        if !write::needs_escape(text.as_bytes()) {
            return self.unescaped(text.as_bytes());
        }
        let from = self.json.len();
        write::string(&mut self.json, text);
        self.escape_from(from);
    }

    /// Appends to the text what `json` has from there on.
    fn escape_from(&mut self, from: usize) {
        if self.twin {
            write::escaped(&mut self.members, self.json.get(from..).unwrap_or_default());
        }
    }

    /// Embeds valid JSON. It has line breaks outside strings only, and they do not belong into a line of stdio.
    fn embed(&mut self, text: &str) {
        let from = self.json.len();
        let mut lines = text.split(['\n', '\r']);
        self.json.extend_from_slice(lines.next().unwrap_or_default().as_bytes());
        for line in lines {
            self.json.extend_from_slice(line.as_bytes());
        }
        self.escape_from(from);
    }

    fn embed_checked(&mut self, text: &str) {
        let valid = Scanner::new(text).and_then(|mut scanner| {
            scanner.value()?;
            scanner.end()?;
            Ok(!scanner.is_too_deep())
        });
        match valid {
            Ok(true) => self.embed(text),
            Ok(false) => self.fail(|name| format!("column `{name}` holds JSON nested deeper than 64 levels")),
            Err(error) => self.fail(|name| format!("column `{name}` is to hold JSON, and does not: {error}")),
        }
    }

    fn misfit(&mut self, found: &str) {
        let kind = self.shape.columns.get(self.column.wrapping_sub(1)).and_then(|cell| cell.kind);
        let kind = kind.map_or("", ColumnKind::as_str);
        self.fail(|name| format!("column `{name}` holds {found}, and `columns.{name}.type` is `{kind}`"));
    }

    fn fail(&mut self, text: impl FnOnce(&str) -> String) {
        let name = self.shape.columns.get(self.column.wrapping_sub(1)).map_or("", |cell| &cell.name);
        self.fault = Some(format!("row {}: {}", self.rows.saturating_add(1), text(name)));
        self.skips = true;
    }

    /// Drops the row that did not fit.
    fn drop_row(&mut self) {
        self.json.truncate(self.start.0);
        self.members.truncate(self.start.1);
        let form = self.shape.form;
        if form == Form::Written || (form == Form::Rows && self.rows > 0) {
            self.truncated = true;
            return;
        }
        let most = self.max_bytes;
        self.fault = Some(format!(
            "one row is larger than the {most} bytes a result may have; ask for fewer or shorter columns, or have the operator raise `max-bytes`"
        ));
    }

    fn digits(&mut self, digits: &str) {
        match Decimal::parse(digits) {
            Some(_) => self.same(digits.as_bytes()),
            None => self.misfit("a number that JSON has no digits for"),
        }
    }

    fn whole(&mut self, digits: &str) {
        match Decimal::parse(digits).filter(|number| number.is_whole()) {
            Some(number) => match number.to_integer().filter(|value| value.unsigned_abs() <= SAFE) {
                Some(value) => self.same(itoa::Buffer::new().format(value).as_bytes()),
                None => self.unescaped(digits.as_bytes()),
            },
            None => self.misfit("a number with a fraction"),
        }
    }

    /// Writes a float by its shortest digits, or a string for what is no number.
    fn real(&mut self, digits: &str, special: Option<&'static str>, whole: Option<i64>) {
        let Some(kind) = self.lead(digits.len()) else { return };
        match (kind, special, whole) {
            (None | Some(ColumnKind::Json), Some(special), _) => self.unescaped(special.as_bytes()),
            (None | Some(ColumnKind::Number | ColumnKind::Json), None, _) => self.same(digits.as_bytes()),
            (Some(ColumnKind::Integer), None, Some(value)) => {
                self.same(itoa::Buffer::new().format(value).as_bytes())
            }
            (_, Some(special), _) => self.misfit(&format!("the number {special}")),
            _ => self.misfit("a floating-point number"),
        }
    }
}

/// Returns the word for a float that is no number.
fn special(value: f64) -> Option<&'static str> {
    if value.is_finite() {
        None
    } else if value.is_nan() {
        Some("NaN")
    } else {
        Some(if value > 0.0 { "Infinity" } else { "-Infinity" })
    }
}

/// Returns the integer a float is, within the range where it is surely that one.
fn whole(value: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "the value is whole and within 53 bits")]
    (value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_991.0).then_some(value as i64)
}

impl Rows for RowWriter {
    fn begin_row(&mut self) {
        self.column = 0;
        self.depth = 0;
        self.objects = 0;
        self.start = (self.json.len(), self.members.len());
        self.skips = self.fault.is_some() || self.truncated || self.rows >= self.max_rows;
        if self.overlap.comes() {
            self.skips = self.overlap.begin();
            return;
        }
        if matches!(self.shape.form, Form::Row | Form::Value) && self.rows == 1 {
            let message =
                "the statement gave more than one row, and this tool returns one; narrow the arguments";
            self.fault = Some(message.to_owned());
            self.skips = true;
        }
        if !self.skips && self.rows > 0 {
            self.same(self.between);
        }
    }

    fn null(&mut self) {
        if self.lead(4).is_some() {
            self.same(b"null");
        }
    }

    fn boolean(&mut self, value: bool) {
        let Some(kind) = self.lead(5) else { return };
        match kind {
            None | Some(ColumnKind::Boolean | ColumnKind::Json) => {
                self.same(if value { b"true" } else { b"false" })
            }
            Some(_) => self.misfit("a boolean"),
        }
    }

    fn integer(&mut self, value: i64) {
        let Some(kind) = self.lead(22) else { return };
        let mut buffer = itoa::Buffer::new();
        match kind {
            None | Some(ColumnKind::Integer | ColumnKind::Json) if value.unsigned_abs() > SAFE => {
                self.unescaped(buffer.format(value).as_bytes());
            }
            None | Some(ColumnKind::Integer | ColumnKind::Number | ColumnKind::Json) => {
                self.same(buffer.format(value).as_bytes());
            }
            // SQLite has no booleans and keeps these.
            Some(ColumnKind::Boolean) if value == 0 || value == 1 => {
                self.same(if value == 1 { b"true" } else { b"false" })
            }
            Some(_) => self.misfit("an integer"),
        }
    }

    fn float(&mut self, value: f64) {
        self.real(ryu::Buffer::new().format(value), special(value), whole(value));
    }

    fn float4(&mut self, value: f32) {
        self.real(ryu::Buffer::new().format(value), special(value.into()), whole(value.into()));
    }

    fn decimal(&mut self, digits: &str) {
        let Some(kind) = self.lead(digits.len()) else { return };
        match kind {
            None | Some(ColumnKind::String | ColumnKind::Json) => self.unescaped(digits.as_bytes()),
            Some(ColumnKind::Number) => self.digits(digits),
            Some(ColumnKind::Integer) => self.whole(digits),
            Some(ColumnKind::Boolean) => self.misfit("a number"),
        }
    }

    fn text(&mut self, value: &str) {
        let Some(kind) = self.lead(value.len()) else { return };
        match kind {
            None | Some(ColumnKind::String) => self.string(value),
            Some(ColumnKind::Json) => self.embed_checked(value),
            Some(_) => self.misfit("text"),
        }
    }

    fn plain(&mut self, value: &str) {
        let Some(kind) = self.lead(value.len()) else { return };
        match kind {
            None | Some(ColumnKind::String) => self.unescaped(value.as_bytes()),
            Some(ColumnKind::Json) => self.embed_checked(value),
            Some(_) => self.misfit("text"),
        }
    }

    fn binary(&mut self, value: &[u8]) {
        let size = value.len().div_ceil(3).saturating_mul(4);
        let Some(kind) = self.lead(size) else { return };
        if !matches!(kind, None | Some(ColumnKind::String)) {
            return self.misfit("binary data");
        }
        self.both(b"\"", b"\\\"");
        let from = self.json.len();
        self.json.resize(from + size, b'=');
        // The buffer has exactly the size that is written, so there is no error to meet.
        let _ = STANDARD.encode_slice(value, self.json.get_mut(from..).unwrap_or_default());
        self.escape_from(from);
        self.both(b"\"", b"\\\"");
    }

    fn json(&mut self, value: &str) {
        let Some(kind) = self.lead(value.len()) else { return };
        match kind {
            None | Some(ColumnKind::Json) => self.embed(value),
            Some(ColumnKind::String) => self.string(value),
            Some(_) => self.misfit("JSON"),
        }
    }

    fn begin_list(&mut self) {
        if self.lead(1).is_some() {
            self.same(b"[");
        }
        self.depth += 1;
        self.is_first = true;
    }

    fn end_list(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.is_first = false;
        if !self.skips {
            self.same(b"]");
        }
    }

    fn begin_object(&mut self) {
        if self.lead(1).is_some() {
            self.same(b"{");
        }
        self.depth += 1;
        self.objects += 1;
        self.is_first = true;
    }

    fn key(&mut self, name: &str) {
        if self.skips || self.json.len() + name.len() > self.shape.max_bytes {
            self.skips = true;
            return;
        }
        if !std::mem::replace(&mut self.is_first, true) {
            self.same(b",");
        }
        self.string(name);
        self.same(b":");
    }

    fn end_object(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.objects = self.objects.saturating_sub(1);
        self.is_first = false;
        if !self.skips {
            self.same(b"}");
        }
    }

    fn restart(&mut self) -> bool {
        self.json.truncate(self.head.0);
        self.members.truncate(self.head.1);
        self.rows = 0;
        self.truncated = false;
        self.fault = None;
        self.overlap.restart();
        true
    }

    fn skip(&mut self, rows: u64) {
        self.overlap.skip(rows);
    }

    fn taken(&self) -> Option<u64> {
        let follows = self.shape.form == Form::Rows && self.fault.is_none() && self.overlap.is_over();
        follows.then(|| self.rows.into())
    }

    fn room(&self) -> Option<u64> {
        Some(u64::from(self.max_rows.saturating_sub(self.rows)) + 1 + self.overlap.left())
    }

    fn end_row(&mut self) -> ControlFlow<()> {
        if !self.skips && self.column != self.shape.columns.len() {
            self.fail(|_| "the table has changed since the statement was prepared; call again".to_owned());
        }
        if !self.skips {
            if self.shape.form != Form::Value {
                self.same(if self.shape.columns.is_empty() { b"{}" } else { b"}" });
            }
            // The closing bytes of the whole object are not written yet.
            self.skips = self.json.len() + self.tail > self.max_bytes;
            if self.overlap.is_at_last() {
                return self.compare_overlap();
            }
            if !self.skips {
                self.last = self.start.0 + if self.rows > 0 { self.between.len() } else { 0 };
                self.rows += 1;
                if let Some(reporter) = &mut self.reporter {
                    reporter.report(self.rows);
                }
                return ControlFlow::Continue(());
            }
        } else if self.overlap.is_passing() {
            return ControlFlow::Continue(());
        } else if self.overlap.is_at_last() && self.fault.is_none() {
            return self.compare_overlap();
        }
        if self.fault.is_none() && !self.truncated {
            self.drop_row();
        }
        // A writing statement has to run to its end.
        if self.shape.form == Form::Written { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

#[cfg(test)]
mod tests;
