//! What was counted of requests since the start, by method, configured name and end.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustc_hash::FxHashMap;
use trunkline_protocol::Method;
use trunkline_service::meter::{Meter, Page, Shards, Spread, Steps};
use trunkline_service::{Catalog, Outcome};

use super::ended::Ended;

/// The name of all tools and prompts that are not configured, which no tool can have.
const UNKNOWN: &str = "(unknown)";

/// What was counted of requests. It lasts as long as the process: what was counted under a name goes on when the file changes.
#[derive(Default)]
pub struct Observations {
    /// By the number of the method; those of tools and prompts have what names none that is configured.
    methods: [Series; Method::COUNT],
    named: Mutex<Named>,
}

/// The series of names that are configured now.
#[derive(Default)]
struct Named {
    tools: Names,
    prompts: Names,
}

type Names = FxHashMap<Box<str>, Arc<Series>>;

/// What is counted under one method and name.
#[derive(Debug, Default)]
pub(super) struct Series(Shards<Numbers>);

/// What one core counted: one block, of which a usual request touches three lines of memory.
#[derive(Debug, Default)]
struct Numbers {
    begun: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    rows: AtomicU64,
    ended: Ends,
    took: Steps,
}

#[derive(Debug)]
struct Ends([AtomicU64; Ended::COUNT]);

impl Default for Ends {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; Ended::COUNT])
    }
}

/// What all cores counted.
#[derive(Default)]
struct Sums {
    begun: u64,
    bytes_in: u64,
    bytes_out: u64,
    rows: u64,
    ended: [u64; Ended::COUNT],
    took: Spread,
}

/// The series of one state of an endpoint.
pub(super) struct Resolved {
    /// By the number of the tool in the catalog.
    pub(super) tools: Box<[Arc<Series>]>,
    pub(super) prompts: Names,
}

// ---- Counting ----

impl Series {
    /// Counts a request that begins.
    pub(super) fn begin(&self, bytes_in: usize) {
        let numbers = self.0.mine();
        numbers.begun.fetch_add(1, Ordering::Relaxed);
        numbers.bytes_in.fetch_add(bytes_in as u64, Ordering::Relaxed);
    }

    /// Counts a request that came to its end; one that has no end of its own takes no time.
    pub(super) fn end(&self, ended: Ended, outcome: Option<&Outcome>, took: Option<Duration>) {
        let numbers = self.0.mine();
        if let Some(ends) = numbers.ended.0.get(ended.number()) {
            ends.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(took) = took {
            numbers.took.observe(took);
        }
        if let Some(Ok(reply)) = outcome {
            numbers.bytes_out.fetch_add(reply.members().len() as u64, Ordering::Relaxed);
            if let Some(rows) = reply.rows() {
                numbers.rows.fetch_add(u64::from(rows), Ordering::Relaxed);
            }
        }
    }

    fn sums(&self) -> Option<Sums> {
        let mut sums: Option<Sums> = None;
        // Ends first: what ends meanwhile is still in flight, rather than ended before it began.
        for numbers in self.0.each() {
            let sums = sums.get_or_insert_default();
            for (sum, ended) in sums.ended.iter_mut().zip(&numbers.ended.0) {
                *sum += ended.load(Ordering::Acquire);
            }
            sums.took.add(&numbers.took);
        }
        let sums = sums.as_mut()?;
        for numbers in self.0.each() {
            sums.begun += numbers.begun.load(Ordering::Relaxed);
            sums.bytes_in += numbers.bytes_in.load(Ordering::Relaxed);
            sums.bytes_out += numbers.bytes_out.load(Ordering::Relaxed);
            sums.rows += numbers.rows.load(Ordering::Relaxed);
        }
        Some(std::mem::take(sums))
    }
}

impl Observations {
    /// Returns what counts requests of that method that name nothing that is configured.
    pub(super) fn of_method(&self, method: Method) -> Option<&Series> {
        self.methods.get(method.number())
    }

    /// Returns what counts under the names of a catalog, and forgets the names that it has not.
    pub(super) fn resolve(&self, catalog: &Catalog) -> Resolved {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::take(&mut *named);
        let series = |old: &Names, name: &str| old.get(name).cloned().unwrap_or_default();
        let mut tools = Vec::with_capacity(catalog.entries().len());
        for entry in catalog.entries() {
            let name = entry.definition.name.as_str();
            let series = series(&old.tools, name);
            named.tools.insert(name.into(), Arc::clone(&series));
            tools.push(series);
        }
        for served in &catalog.parts().prompts {
            let name = served.definition.name.as_str();
            // One that is named as no name is counts with what has none.
            if name != UNKNOWN {
                named.prompts.insert(name.into(), series(&old.prompts, name));
            }
        }
        Resolved { tools: tools.into(), prompts: named.prompts.clone() }
    }
}

// ---- Reading ----

impl Meter for Observations {
    fn read(&self, page: &mut Page) {
        let unknown = |method: Method| match method {
            Method::ToolsCall | Method::PromptsGet => UNKNOWN,
            _ => "",
        };
        for (method, series) in Method::all().zip(&self.methods) {
            if let Some(sums) = series.sums() {
                sums.write(page, method, unknown(method));
            }
        }
        let named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        let [tools, prompts] = [&named.tools, &named.prompts].map(|names| {
            let mut all: Vec<(Box<str>, Arc<Series>)> =
                names.iter().map(|(name, series)| (name.clone(), Arc::clone(series))).collect();
            all.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
            all
        });
        drop(named);
        for (method, names) in [(Method::ToolsCall, tools), (Method::PromptsGet, prompts)] {
            for (name, series) in names {
                // Also those that nobody called yet: a rate needs a first sample to rise from.
                series.sums().unwrap_or_default().write(page, method, &name);
            }
        }
    }
}

impl Sums {
    fn write(&self, page: &mut Page, method: Method, name: &str) {
        let labels = [("method", method.as_str()), ("name", name)];
        let ended: u64 = self.ended.iter().sum();
        let open = self.begun.saturating_sub(ended);
        // What clients made up is counted, and no more is told of it.
        let is_known = method != Method::Unknown && name != UNKNOWN;
        for (word, count) in Ended::words().zip(self.ended) {
            if count > 0 || is_known && matches!(word, "ok" | "tool-error") {
                let [method, name] = labels;
                let labels = [method, name, ("outcome", word)];
                page.counter("trunkline_requests_total", "Requests that came to their end.", &labels, count);
            }
        }
        page.counter("trunkline_request_bytes_total", "Bytes of requests.", &labels, self.bytes_in);
        page.counter("trunkline_result_bytes_total", "Bytes of results.", &labels, self.bytes_out);
        if is_known && method == Method::ToolsCall {
            let help = "Rows that results say they have or changed.";
            page.counter("trunkline_result_rows_total", help, &labels, self.rows);
        }
        if method == Method::SubscriptionsListen {
            page.gauge("trunkline_subscriptions_open", "Subscriptions that go on.", &[], as_f64(open));
            return;
        }
        page.gauge(
            "trunkline_requests_in_flight",
            "Requests that are being answered.",
            &labels,
            as_f64(open),
        );
        // A histogram is long: only of what there was.
        if ended > 0 && is_known {
            let help = "How long requests took, from the guards to the end of the answer.";
            page.spread("trunkline_request_duration_seconds", help, &labels, &self.took);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 requests in flight")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

impl fmt::Debug for Observations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observations").finish_non_exhaustive()
    }
}

impl fmt::Debug for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolved").field("tools", &self.tools.len()).finish_non_exhaustive()
    }
}
