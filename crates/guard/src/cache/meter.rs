//! What is counted of kept answers: by tool as the configuration names it, and for the node.

use std::sync::{Arc, Mutex, PoisonError};

use rustc_hash::FxHashMap;
use trunkline_service::meter::{Counter, Durations, Page};

/// What is counted for one tool, or for the resources of a connector.
#[derive(Debug, Default)]
pub(crate) struct ThingMeter {
    /// Fresh answers given out.
    pub(crate) hits: Counter,
    /// Old answers given out while a new one is fetched.
    pub(crate) stale: Counter,
    /// Answers that had to be fetched.
    pub(crate) misses: Counter,
    /// Answers fetched by another request of the same moment.
    pub(crate) joined: Counter,
    /// Requests whose answers are nobody else's.
    pub(crate) bypassed: Counter,
    /// Answers that were kept.
    pub(crate) kept: Counter,
    /// Answers that were not kept since what they tell of changed while they were fetched.
    pub(crate) overtaken: Counter,
    /// Answers fetched before anybody asked.
    pub(crate) renewed: Counter,
    /// How old answers were that were given out.
    pub(crate) ages: Durations,
}

/// What is counted for the node.
#[derive(Debug, Default)]
pub(crate) struct NodeMeter {
    /// Changes told by tools that write, by hand, by sources, and by other nodes.
    pub(crate) invalidated: [Counter; 4],
    /// Changes that other nodes could not be told of at once.
    pub(crate) untold: Counter,
    /// Values found in the store.
    pub(crate) store_hits: Counter,
    /// Values not found there, or found under generations that hold no longer.
    pub(crate) store_misses: Counter,
    /// Values found there that were altered, foreign or unreadable.
    pub(crate) store_bad: Counter,
    /// Questions to the store that it did not answer.
    pub(crate) store_failed: Counter,
    /// Values written there.
    pub(crate) store_kept: Counter,
    things: Mutex<FxHashMap<Box<str>, Arc<ThingMeter>>>,
}

/// Who told of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Teller {
    /// A tool that writes.
    Tool,
    /// Somebody who may.
    Operator,
    /// The source itself.
    Source,
    /// Another node.
    Node,
}

impl Teller {
    const ALL: [Self; 4] = [Self::Tool, Self::Operator, Self::Source, Self::Node];

    const fn word(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Operator => "purge",
            Self::Source => "notify",
            Self::Node => "node",
        }
    }
}

/// A series of the page: what is read of a thing, and under which label.
type Series = (&'static str, fn(&ThingMeter) -> &Counter);

const RESULTS: [Series; 5] = [
    ("hit", |meter| &meter.hits),
    ("stale", |meter| &meter.stale),
    ("miss", |meter| &meter.misses),
    ("joined", |meter| &meter.joined),
    ("bypass", |meter| &meter.bypassed),
];

const FETCHED: [Series; 3] = [
    ("kept", |meter| &meter.kept),
    ("overtaken", |meter| &meter.overtaken),
    ("renewed", |meter| &meter.renewed),
];

impl NodeMeter {
    /// Returns where a thing is counted, the same one however often the configuration is read.
    pub(crate) fn thing(&self, name: &str) -> Arc<ThingMeter> {
        let mut things = self.things.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(things.entry(name.into()).or_default())
    }

    pub(crate) fn tell(&self, teller: Teller) {
        if let Some(counter) = self.invalidated.get(teller as usize) {
            counter.add_one();
        }
    }

    /// Writes all but what the local part knows.
    pub(crate) fn read(&self, page: &mut Page) {
        let things = self.things.lock().unwrap_or_else(PoisonError::into_inner);
        let mut things: Vec<(&str, &ThingMeter)> =
            things.iter().map(|(name, meter)| (&**name, &**meter)).collect();
        things.sort_unstable_by_key(|(name, _)| *name);
        let help = "Requests for things whose answers are kept, by where the answer came from.";
        write_series(page, &things, "trunkline_cache_requests_total", help, "result", &RESULTS);
        let help = "Answers that were fetched, by what became of them.";
        write_series(page, &things, "trunkline_cache_answers_total", help, "fate", &FETCHED);
        for (name, meter) in &things {
            let help = "How old kept answers were when they were given out.";
            page.durations("trunkline_cache_age_seconds", help, &[("tool", name)], &meter.ages);
        }
        for (teller, counter) in Teller::ALL.iter().zip(&self.invalidated) {
            let help = "Changes that made kept answers hold no longer, by who told of them.";
            let labels = [("by", teller.word())];
            page.counter("trunkline_cache_invalidations_total", help, &labels, counter.sum());
        }
        let help = "Changes that other nodes could not be told of at once.";
        page.counter("trunkline_cache_untold_total", help, &[], self.untold.sum());
        let store: [(&str, &Counter); 5] = [
            ("hit", &self.store_hits),
            ("miss", &self.store_misses),
            ("unreadable", &self.store_bad),
            ("failed", &self.store_failed),
            ("kept", &self.store_kept),
        ];
        for (result, counter) in store {
            let help = "Values asked of the store and given to it, by what came of it.";
            page.counter("trunkline_cache_store_total", help, &[("result", result)], counter.sum());
        }
    }
}

fn write_series(
    page: &mut Page,
    things: &[(&str, &ThingMeter)],
    name: &str,
    help: &str,
    label: &str,
    series: &[Series],
) {
    for (tool, meter) in things {
        for (word, counter) in series {
            page.counter(name, help, &[("tool", tool), (label, word)], counter(meter).sum());
        }
    }
}
