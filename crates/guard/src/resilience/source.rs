//! What the tools and resources of one connector have in common: how it fares, and how much of it may be in hand.

use std::sync::Arc;
use std::time::{Duration, Instant};

use trunkline_service::Fault;
use trunkline_service::meter::{Counter, Meter, Page};
use trunkline_service::queue::{LineBounds, Places};

use super::breaker::{Admission, Breaker, BreakerConfig, Position, Turned};
use super::retry::{Budget, RetryConfig};
use super::verdict::Verdict;

/// How a source is dealt with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceConfig {
    /// The name of the connector.
    pub name: Box<str>,
    /// How many of its calls may be in hand at a time, at least 1; further ones wait in a short line. Should be less than the
    /// whole server may have in hand, so that a source that hangs leaves room for the others.
    pub concurrent: usize,
    /// When calls are tried again; `None` for never.
    pub retry: Option<RetryConfig>,
    /// When it is left alone; `None` for never.
    pub breaker: Option<BreakerConfig>,
}

impl SourceConfig {
    /// Makes the default for a connector of a server that may have `max_in_flight` requests in hand: half of them.
    #[must_use]
    pub fn new(name: &str, max_in_flight: usize) -> Self {
        Self {
            name: name.into(),
            concurrent: (max_in_flight / 2).max(1),
            retry: Some(RetryConfig::default()),
            breaker: Some(BreakerConfig::default()),
        }
    }
}

/// How a source fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceState {
    /// It is asked.
    Works,
    /// It failed and one call looks whether it still does.
    Looking,
    /// It failed and is left alone for so long.
    LeftAlone(Duration),
}

/// A source behind tools, as all of its calls share it. Keep it over a reload that does not change it.
#[derive(Debug)]
pub struct Source {
    config: SourceConfig,
    breaker: Option<Breaker>,
    pub(super) budget: Budget,
    pub(super) places: Places,
    worked: Counter,
    /// By [`FAULTS`].
    faults: [Counter; FAULTS.len()],
    opened: Counter,
    pub(super) refused: Counter,
    pub(super) retries: Counter,
    pub(super) not_retried: Counter,
}

const FAULTS: [(Fault, &str); 4] =
    [(Fault::NotDone, "not-done"), (Fault::Unknown, "unknown"), (Fault::Busy, "busy"), (Fault::Late, "late")];

impl Source {
    /// Makes a source that is taken to work.
    #[must_use]
    pub fn new(config: SourceConfig) -> Arc<Self> {
        let concurrent = config.concurrent.max(1);
        Arc::new(Self {
            breaker: config.breaker.map(|config| Breaker::new(config, Instant::now())),
            budget: Budget::new(),
            places: Places::new(concurrent, LineBounds::of_calls(concurrent)),
            worked: Counter::default(),
            faults: Default::default(),
            opened: Counter::default(),
            refused: Counter::default(),
            retries: Counter::default(),
            not_retried: Counter::default(),
            config,
        })
    }

    /// Returns how it is dealt with.
    #[must_use]
    pub fn config(&self) -> &SourceConfig {
        &self.config
    }

    /// Tells how it fares, for whoever asks whether the server is ready.
    #[must_use]
    pub fn state(&self) -> SourceState {
        match self.breaker.as_ref().map(|breaker| breaker.position(Instant::now())) {
            None | Some(Position::Closed) => SourceState::Works,
            Some(Position::HalfOpen) => SourceState::Looking,
            Some(Position::Open(wait)) => SourceState::LeftAlone(wait),
        }
    }

    /// How many calls there were, all but those that said nothing of the source.
    pub(super) fn calls(&self) -> u64 {
        self.worked.sum() + self.faults.iter().map(Counter::sum).sum::<u64>()
    }

    /// Lets a call through, or tells how long none is.
    pub(super) fn admit(&self) -> Result<Option<Admission<'_>>, Duration> {
        self.breaker.as_ref().map(|breaker| breaker.admit(Instant::now)).transpose()
    }

    /// Notes what a call showed.
    pub(super) fn settle(&self, admission: Option<Admission<'_>>, verdict: Verdict) {
        if let Verdict::Failed(fault) = verdict
            && let Some(at) = FAULTS.iter().position(|(known, _)| *known == fault)
            && let Some(counter) = self.faults.get(at)
        {
            counter.add_one();
        }
        let Some(admission) = admission else {
            if verdict == Verdict::Works {
                self.worked.add_one();
            }
            return;
        };
        match admission.settle(verdict, &self.worked, Instant::now) {
            Turned::Not => {}
            Turned::Opened { failed, of } => {
                self.opened.add_one();
                let connector = &*self.config.name;
                tracing::warn!(connector, failed, of, "a connector fails and is left alone for a while");
            }
            Turned::Closed => tracing::info!(connector = &*self.config.name, "a connector works again"),
        }
    }
}

impl Meter for Source {
    fn read(&self, page: &mut Page) {
        let connector = ("connector", &*self.config.name);
        let number = |count| u32::try_from(count).map_or(f64::MAX, f64::from);
        let state = match self.state() {
            SourceState::Works => 0.0,
            SourceState::Looking => 1.0,
            SourceState::LeftAlone(_) => 2.0,
        };
        let help =
            "0: calls go through; 1: one call looks whether the connector works again; 2: none goes through.";
        page.gauge("trunkline_resilience_breaker_state", help, &[connector], state);
        let help = "How often a connector that failed was left alone.";
        page.counter("trunkline_resilience_breaker_opened_total", help, &[connector], self.opened.sum());
        let help = "Calls that were answered without asking a connector that fails.";
        page.counter("trunkline_resilience_breaker_refused_total", help, &[connector], self.refused.sum());
        let help =
            "Calls that a connector failed, by how: tries that were followed by another are counted too.";
        for ((_, fault), count) in FAULTS.iter().zip(&self.faults) {
            let labels = [connector, ("fault", *fault)];
            page.counter("trunkline_resilience_faults_total", help, &labels, count.sum());
        }
        let help = "Calls that were tried once more.";
        page.counter("trunkline_resilience_retries_total", help, &[connector], self.retries.sum());
        let help = "Calls that were not tried once more because too many had been.";
        page.counter(
            "trunkline_resilience_retries_refused_total",
            help,
            &[connector],
            self.not_retried.sum(),
        );
        let help = "Calls of a connector in hand now.";
        page.gauge(
            "trunkline_resilience_connector_in_flight",
            help,
            &[connector],
            number(self.places.in_use()),
        );
        let help = "Calls that wait for a place among those of a connector now.";
        page.gauge(
            "trunkline_resilience_connector_waiting",
            help,
            &[connector],
            number(self.places.waiting()),
        );
        let help = "Calls refused with 503 because too many of their connector were in hand.";
        for (reason, count) in self.places.counts().refused() {
            let labels = [connector, ("reason", reason)];
            page.counter("trunkline_resilience_connector_refused_total", help, &labels, count);
        }
    }
}
