//! The one thread that writes: it seals lines, writes all that wait at once, and holds on to what a sink does not take.
//!
//! Lines are sealed when they are written. After a failure the sink is opened again and tells how far it got; what did not get
//! there is sealed anew behind that, after a line that tells of the gap. So a chain has no holes, whatever failed.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use trunkline_service::Chain;

use super::chain::{Head, Prover};
use super::file::{Audit, Fsync, Mode};
use super::line::Line;
use super::recorder::State;
use super::sink::{Batch, Oldest, Sink, SinkError, Torn, WriteError};
use super::time;

/// Most lines of one write.
const MAX_LINES: usize = 4096;
/// Most lines that are kept while the sink takes none.
const MAX_BACKLOG: usize = 8192;
/// Most bytes of them.
const MAX_HELD: usize = 16 * 1024 * 1024;
/// How long lines of the fast mode are gathered; with the write they are out within 100 ms.
const GATHER: Duration = Duration::from_millis(40);
/// How often is looked at what is due.
const TICK: Duration = Duration::from_secs(1);
/// How often the head is logged, and that a sink still takes nothing.
const MINUTE: Duration = Duration::from_secs(60);
/// The wait before a sink is tried again, at first; it doubles each time.
const RETRY: Duration = Duration::from_millis(100);
/// How long the last lines may take.
const LAST_WORD: Duration = Duration::from_secs(3);
/// The longest wait before a sink is tried again.
const MAX_RETRY: Duration = Duration::from_secs(5);

/// A line on its way.
#[derive(Debug)]
pub(super) struct Pending {
    /// Its members.
    pub(super) line: Vec<u8>,
    /// Who waits to hear whether it is written.
    pub(super) done: Option<oneshot::Sender<bool>>,
}

/// The writer of one record.
pub(super) struct Writer {
    prover: Prover,
    sink: Box<dyn Sink>,
    queue: mpsc::Receiver<Pending>,
    state: Arc<State>,
    stopping: CancellationToken,
    mode: Mode,
    fsync: Fsync,
    /// The last line that is surely written; `None` until the sink was opened once.
    head: Option<Head>,
    /// The lines of the last write, kept when it failed until the sink tells how far it got: the news, if any, and the first
    /// of the backlog.
    batch: Batch,
    batch_has_news: bool,
    /// How many of them are surely written, for a sink that cannot tell.
    sure: usize,
    /// What the next write has to tell first.
    news: Option<News>,
    /// Lines that are not surely written.
    backlog: Vec<Pending>,
    /// How many bytes of them were added while nothing could be written.
    held: usize,
    broken: Option<Broken>,
    /// Something was written since the last synchronisation, which is due then.
    unsynced: Option<Instant>,
    next_head: Instant,
    next_renewal: Instant,
    next_counts: Instant,
    lost_told: u64,
    refused_told: u64,
}

/// What is told of the record itself in front of other lines.
#[derive(Debug, Clone)]
struct News {
    kind: &'static str,
    is_new: bool,
    torn: Option<Torn>,
    oldest: Option<Oldest>,
    since: Option<SystemTime>,
}

/// A sink that does not take lines.
#[derive(Debug)]
struct Broken {
    since: SystemTime,
    retry: Instant,
    wait: Duration,
    next_log: Instant,
}

impl Writer {
    pub(super) fn new(
        audit: &Audit,
        sink: Box<dyn Sink>,
        queue: mpsc::Receiver<Pending>,
        state: Arc<State>,
        stopping: CancellationToken,
    ) -> Self {
        let now = Instant::now();
        Self {
            prover: Prover::new(audit.key.clone(), &audit.node),
            sink,
            queue,
            state,
            stopping,
            mode: audit.mode,
            fsync: audit.fsync,
            head: None,
            batch: Batch::default(),
            batch_has_news: false,
            sure: 0,
            news: None,
            backlog: Vec::new(),
            held: 0,
            broken: None,
            unsynced: None,
            next_head: now + MINUTE,
            next_renewal: now,
            next_counts: now,
            lost_told: 0,
            refused_told: 0,
        }
    }

    /// Opens the sink and writes the line of the start.
    pub(super) async fn begin(&mut self) -> Result<(), SinkError> {
        self.resume().await?;
        self.tell_head();
        Ok(())
    }

    /// Writes until it is told to stop, or every handle is gone.
    pub(super) async fn run(mut self) {
        loop {
            let now = Instant::now();
            let retry = self.broken.as_ref().map(|broken| broken.retry.saturating_duration_since(now));
            let mut lines = Vec::new();
            let goes_on = tokio::select! {
                biased;
                () = self.stopping.cancelled() => false,
                count = self.queue.recv_many(&mut lines, MAX_LINES) => count > 0,
                () = tokio::time::sleep(retry.unwrap_or(TICK).min(TICK)) => true,
            };
            if !goes_on {
                return self.end().await;
            }
            if self.mode == Mode::Fast && !lines.is_empty() {
                self.gather(&mut lines).await;
            }
            self.take(lines).await;
            self.tick().await;
        }
    }

    /// Waits a little for more lines, so that one write takes them all.
    async fn gather(&mut self, lines: &mut Vec<Pending>) {
        tokio::select! {
            () = tokio::time::sleep(GATHER) => {}
            () = self.stopping.cancelled() => {}
        }
        while let Ok(line) = self.queue.try_recv() {
            lines.push(line);
        }
    }

    async fn take(&mut self, lines: Vec<Pending>) {
        if self.broken.is_some() {
            return lines.into_iter().for_each(|line| self.hold(line));
        }
        self.backlog.extend(lines);
        if self.backlog.is_empty() && self.news.is_none() {
            return;
        }
        self.renew().await;
        if let Err(error) = self.write().await {
            // A file that was moved away is simply begun anew, and nobody has to know.
            tracing::debug!("{}", Chain(&error));
            if let Err(error) = self.resume().await {
                self.broke(&error);
            }
        }
    }

    /// Keeps a line that cannot be written now, if there is room, and lets its caller know.
    fn hold(&mut self, mut pending: Pending) {
        if let Some(done) = pending.done.take() {
            // A caller that has left needs no answer.
            let _ = done.send(false);
        }
        if self.backlog.len() < MAX_BACKLOG && self.held < MAX_HELD {
            self.held += pending.line.len();
            self.backlog.push(pending);
        } else {
            self.state.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn tick(&mut self) {
        let now = Instant::now();
        if self.broken.as_ref().is_some_and(|broken| broken.retry <= now) {
            self.retry().await;
        }
        if self.broken.is_none() {
            if self.next_counts <= now {
                self.next_counts = now + TICK;
                self.tell_counts().await;
            }
            self.sync(now).await;
        }
        if self.next_head <= now {
            self.next_head = now + MINUTE;
            self.tell_head();
        }
    }

    /// Writes lines for what was counted since.
    async fn tell_counts(&mut self) {
        let mut lines = Vec::new();
        let lost = self.state.lost.load(Ordering::Relaxed);
        if lost > self.lost_told {
            lines.push(Line::of_lost(lost - self.lost_told, SystemTime::now()));
            self.lost_told = lost;
        }
        let denied = self.state.denied_unlisted.swap(0, Ordering::Relaxed);
        if denied > 0 {
            lines.push(Line::of_denied_many(denied, SystemTime::now()));
        }
        if !lines.is_empty() {
            self.take(lines.into_iter().map(|line| Pending { line, done: None }).collect()).await;
        }
    }

    async fn sync(&mut self, now: Instant) {
        if self.unsynced.is_none_or(|due| due > now) {
            return;
        }
        self.unsynced = None;
        if let Err(error) = self.sink.sync().await {
            self.broke(&error);
        }
    }

    fn tell_head(&mut self) {
        let Some(head) = self.head else { return };
        tracing::info!(node = self.prover.node(), seq = head.seq, mac = %head.mac, "audit head");
    }

    /// Writes what is left and the last line, as far as that is possible within a few seconds.
    async fn end(mut self) {
        let ended = tokio::time::timeout(LAST_WORD, self.last_lines()).await;
        if ended.is_err() || !self.backlog.is_empty() {
            self.state.lost.fetch_add(self.backlog.len() as u64, Ordering::Relaxed);
            tracing::error!(
                lines = self.backlog.len(),
                "the end of the audit record is lost: it cannot be written"
            );
        }
        self.tell_head();
    }

    async fn last_lines(&mut self) {
        self.queue.close();
        let mut lines = Vec::new();
        while let Some(line) = self.queue.recv().await {
            lines.push(line);
        }
        lines.push(Pending {
            line: Line::of_record("stop", SystemTime::now(), None).into_bytes(),
            done: None,
        });
        self.take(lines).await;
        while self.broken.is_some() {
            tokio::time::sleep(RETRY).await;
            self.retry().await;
        }
        if self.fsync != Fsync::Never
            && let Err(error) = self.sink.sync().await
        {
            self.broke(&error);
        }
    }
}

// ---- Writing ----

impl Writer {
    /// Begins something new when the sink is full. A sink that cannot goes on with the old.
    async fn renew(&mut self) {
        let now = Instant::now();
        if !self.sink.is_full() || now < self.next_renewal {
            return;
        }
        match self.sink.renew().await {
            Ok(renewed) => {
                let oldest = renewed.oldest.or(self.news.take().and_then(|news| news.oldest));
                let news = News { kind: "file", is_new: true, torn: None, oldest, since: None };
                self.news = Some(news);
            }
            Err(error) => {
                self.next_renewal = now + MINUTE;
                tracing::warn!("no new file is begun for the audit record: {}", Chain(&error));
            }
        }
    }

    /// Writes the backlog behind the head.
    async fn write(&mut self) -> Result<(), SinkError> {
        let Some(mut head) = self.head else {
            return Err(SinkError::unavailable("the audit record is not open"));
        };
        self.batch.clear();
        let (refused, lost) =
            (self.state.refused.load(Ordering::Relaxed), self.state.lost.load(Ordering::Relaxed));
        let news = self.news.as_ref().map(|news| self.tell(news, head, refused, lost));
        for members in news.iter().chain(self.backlog.iter().map(|pending| &pending.line)) {
            head = self.batch.push(|out| self.prover.seal(head, members, out));
        }
        (self.batch_has_news, self.sure) = (news.is_some(), 0);
        if let Err(WriteError { sure, error }) = self.sink.write(&self.batch).await {
            self.sure = sure;
            return Err(error);
        }
        if self.fsync == Fsync::Always {
            self.sink.sync().await?;
        }
        if news.is_some() {
            (self.lost_told, self.refused_told) = (lost, refused);
        }
        self.written(self.batch.len(), head);
        Ok(())
    }

    /// Counts the first lines of the batch as written, up to that head, and lets their callers know.
    fn written(&mut self, count: usize, head: Head) {
        self.head = Some(head);
        *self.state.head.lock().unwrap_or_else(PoisonError::into_inner) = head;
        self.state.lines.fetch_add(count as u64, Ordering::Relaxed);
        let news = usize::from(self.batch_has_news);
        if news > 0 {
            self.news = None;
        }
        for pending in self.backlog.drain(..(count - news).min(self.backlog.len())) {
            // A caller that has left needs no answer.
            let _ = pending.done.map(|done| done.send(true));
        }
        self.batch.clear();
        if let Fsync::Every(every) = self.fsync {
            self.unsynced.get_or_insert_with(|| Instant::now() + every);
        }
    }

    /// Writes the line of news.
    fn tell(&self, news: &News, head: Head, refused: u64, lost: u64) -> Vec<u8> {
        let prev = (news.is_new && head.seq > 0).then_some(head.mac);
        let mut line = Line::of_record(news.kind, SystemTime::now(), prev);
        if let Some(torn) = news.torn {
            line.raw("torn", format!(r#"{{"bytes":{},"lines":{}}}"#, torn.bytes, torn.lines).as_bytes());
        }
        if let Some(Oldest { node, seq }) = &news.oldest {
            line.raw("oldest", serde_json::json!({ "node": node, "seq": seq }).to_string().as_bytes());
        }
        if let Some(since) = news.since {
            let mut at = Vec::with_capacity(24);
            time::write(&mut at, since);
            line.word("since", std::str::from_utf8(&at).unwrap_or_default());
        }
        let untold = [("refused", refused - self.refused_told), ("lost", lost - self.lost_told)];
        for (key, count) in untold.into_iter().filter(|(_, count)| *count > 0) {
            line.number(key, count);
        }
        if news.kind == "start" {
            line.word("version", env!("CARGO_PKG_VERSION"));
            line.word("mode", if self.mode == Mode::Fast { "fast" } else { "strict" });
        }
        line.into_bytes()
    }
}

// ---- Failing and going on ----

impl Writer {
    /// Opens the sink, for the first time or after a failure, finds out how far the last write got, and writes the rest.
    async fn resume(&mut self) -> Result<(), SinkError> {
        let found = self.sink.open(&self.prover).await?;
        self.settle(found.head);
        if let Some(Torn { bytes, .. }) = found.torn {
            let node = self.prover.node();
            tracing::warn!(node, bytes, "the audit record ended in the middle of a line, as after a crash");
        }
        let kind = match self.head {
            None => "start",
            Some(_) if self.news.as_ref().is_some_and(|news| news.kind == "start") => "start",
            Some(_) if found.is_new && self.broken.is_none() => "file",
            Some(_) => "gap",
        };
        self.head.get_or_insert_with(|| found.head.unwrap_or_else(|| self.prover.genesis()));
        let oldest = self.news.take().and_then(|news| news.oldest);
        let since = self.broken.as_ref().map(|broken| broken.since);
        self.news = Some(News { kind, is_new: found.is_new, torn: found.torn, oldest, since });
        self.write().await
    }

    /// Counts what of the last write is there all the same: up to the line the sink ends with, or else what surely is.
    fn settle(&mut self, found: Option<Head>) {
        let shown = found.and_then(|found| self.batch.iter().position(|line| line.head == found));
        let count = shown.map_or(self.sure, |at| at + 1);
        match count.checked_sub(1).and_then(|at| self.batch.iter().nth(at)) {
            Some(last) => self.written(count, last.head),
            None => self.batch.clear(),
        }
        self.sure = 0;
    }

    /// Notes that the sink takes no lines.
    pub(super) fn broke(&mut self, error: &SinkError) {
        let now = Instant::now();
        self.state.is_broken.store(true, Ordering::Relaxed);
        self.state.failures.fetch_add(1, Ordering::Relaxed);
        tracing::error!("the audit record cannot be written: {}", Chain(error));
        let since = SystemTime::now();
        self.broken = Some(Broken { since, retry: now + RETRY, wait: RETRY, next_log: now + MINUTE });
        self.held = 0;
        // The first of them may be written already, so that their order stays.
        for pending in std::mem::take(&mut self.backlog) {
            self.hold(pending);
        }
    }

    /// Tries whether the sink takes lines again.
    async fn retry(&mut self) {
        let tried = self.resume().await;
        let now = Instant::now();
        match tried {
            Ok(()) => {
                self.broken = None;
                self.state.is_broken.store(false, Ordering::Relaxed);
                tracing::warn!("the audit record is written again");
            }
            Err(error) => {
                self.state.failures.fetch_add(1, Ordering::Relaxed);
                let Some(broken) = &mut self.broken else { return };
                broken.wait = (broken.wait * 2).min(MAX_RETRY);
                broken.retry = now + broken.wait;
                if broken.next_log <= now {
                    broken.next_log = now + MINUTE;
                    tracing::error!("the audit record still cannot be written: {}", Chain(&error));
                }
            }
        }
    }
}
