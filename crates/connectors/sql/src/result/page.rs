//! What a writer does for results that go on: rows of earlier pages passed over, where this one ended, news while it grows,
//! and rows as lines for those who read the rest of a result as a resource.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use trunkline_service::Progress;

use super::RowWriter;
use crate::cursor::{Digest, digest_row};
use crate::shape::Shape;

/// What a caller is told whose last row is not where it was.
pub(crate) const CHANGED: &str = "the rows changed since the last page; call again without `cursor`";

/// Most rows of one page of a resource.
const MOST_LINES: u32 = 10_000;

/// Most bytes of one page of a resource, as JSON. On its way such a page is in memory several times.
const MOST_LINE_BYTES: usize = 256 << 10;

/// Room for `,"nextCursor":"..."`.
const CURSOR_TAIL: usize = 144;

/// How often news of growing results are sent.
const REPORT_EVERY: Duration = Duration::from_millis(250);

/// Where a page ended that left rows out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    /// How many rows it has.
    pub(crate) rows: u32,
    /// Of its last row.
    pub(crate) last: Digest,
}

/// Where the rows are that were left out.
#[derive(Debug)]
pub(crate) struct Next {
    /// `nextCursor`.
    pub(crate) cursor: String,
    /// A content block, raw; empty for none.
    pub(crate) link: Vec<u8>,
}

/// Rows as lines.
#[derive(Debug)]
pub(crate) struct Lines {
    /// Each row as JSON on a line of its own, the last without a line break.
    pub(crate) json: Vec<u8>,
    /// Where they ended, when there are more.
    pub(crate) ended: Option<Ended>,
}

/// The rows of earlier pages that come once more: all but the last are passed over, and that one is compared.
#[derive(Debug, Default)]
pub(super) struct Overlap {
    /// How many are still to come.
    left: u64,
    /// What the last must be.
    expected: Option<Digest>,
    row: Row,
    /// The last was another.
    changed: bool,
}

/// What the row being written is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Row {
    /// One of this page.
    #[default]
    New,
    /// One of an earlier page, not looked at.
    Passed,
    /// The last of the earlier pages.
    Last,
}

impl Overlap {
    pub(super) fn skip(&mut self, rows: u64) {
        self.left = rows;
        self.row = Row::New;
    }

    pub(super) fn restart(&mut self) {
        *self = Self { expected: self.expected, ..Self::default() };
    }

    /// Whether the row that begins is one of them. Also ends what the row before was.
    pub(super) fn comes(&mut self) -> bool {
        self.row = Row::New;
        self.left > 0 && !self.changed
    }

    /// Begins such a row; `true` when nothing of it is to be written.
    pub(super) fn begin(&mut self) -> bool {
        self.left -= 1;
        self.row = if self.left == 0 { Row::Last } else { Row::Passed };
        self.row == Row::Passed
    }

    pub(super) fn is_passing(&self) -> bool {
        self.row == Row::Passed
    }

    pub(super) fn is_at_last(&self) -> bool {
        self.row == Row::Last
    }

    pub(super) fn is_over(&self) -> bool {
        self.left == 0 && !self.changed
    }

    /// Whether the last row was another, or never came.
    pub(super) fn is_broken(&self) -> bool {
        !self.is_over()
    }

    pub(super) fn left(&self) -> u64 {
        self.left
    }
}

/// Tells the client how far a result has grown.
#[derive(Debug)]
pub(super) struct Reporter {
    progress: Progress,
    next: Instant,
}

impl Reporter {
    pub(super) fn report(&mut self, rows: u32) {
        let now = Instant::now();
        if now >= self.next {
            self.next = now + REPORT_EVERY;
            self.progress.report(rows.into(), None, None);
        }
    }
}

impl RowWriter {
    /// Starts a page of the rest of a result: rows as lines, in large pages.
    pub(crate) fn lines(shape: Arc<Shape>) -> Self {
        let mut writer = Self::new(shape);
        writer.twin = false;
        writer.json.clear();
        writer.head.0 = 0;
        writer.max_rows = MOST_LINES;
        writer.max_bytes = MOST_LINE_BYTES;
        writer.between = b"\n";
        writer
    }

    /// Says that a result that ends early goes on elsewhere, so that there is room to say where.
    pub(crate) fn keep_room_for_cursor(&mut self) {
        self.tail += CURSOR_TAIL;
    }

    /// Says what the last row before this page was.
    pub(crate) fn follow(&mut self, last: Digest) {
        self.overlap.expected = Some(last);
    }

    /// Tells the client of rows as they come, should that take longer.
    pub(crate) fn report_to(&mut self, progress: Option<&Progress>) {
        let reporter = |progress: &Progress| Reporter {
            progress: progress.clone(),
            next: Instant::now() + REPORT_EVERY,
        };
        self.reporter = progress.map(|progress| Box::new(reporter(progress)));
    }

    /// Ends a page of lines.
    ///
    /// # Errors
    /// What is wrong, for the caller.
    pub(crate) fn finish_lines(mut self) -> Result<Lines, String> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        if self.overlap.is_broken() {
            return Err(CHANGED.to_owned());
        }
        let ended = self.truncated.then(|| self.ended());
        Ok(Lines { json: self.json, ended })
    }

    /// Returns where the rows end; to be called before anything is written behind them.
    pub(super) fn ended(&self) -> Ended {
        Ended { rows: self.rows, last: digest_row(self.json.get(self.last..).unwrap_or_default()) }
    }

    /// Ends the last row of the earlier pages: it is compared and taken out again.
    pub(super) fn compare_overlap(&mut self) -> ControlFlow<()> {
        let found = digest_row(self.json.get(self.start.0..).unwrap_or_default());
        self.json.truncate(self.start.0);
        self.members.truncate(self.start.1);
        self.overlap.row = Row::New;
        if self.overlap.expected == Some(found) {
            return ControlFlow::Continue(());
        }
        self.overlap.changed = true;
        ControlFlow::Break(())
    }
}
