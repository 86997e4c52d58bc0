//! What is counted while requests are answered: numbers that every core adds to without slowing another. How a page reads them
//! is in [`Page`].
//!
//! Whoever counts keeps its own numbers, made once, and writes them when it is asked. Nothing is registered, looked up or locked
//! per call. The crate `prometheus-client` was weighed and left out: its histogram is a mutex, and its families find a series
//! by hashing labels under a lock.

mod page;
mod shards;

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

pub use page::{Format, Page};
pub use shards::Shards;

/// Somebody who counts.
pub trait Meter: fmt::Debug + Send + Sync + 'static {
    /// Writes what was counted until now.
    fn read(&self, page: &mut Page);
}

/// A number that rises. Adding costs a few nanoseconds, on however many cores at a time.
#[derive(Debug, Default)]
pub struct Counter(Shards<AtomicU64>);

/// A number that rises and falls.
#[derive(Debug, Default)]
pub struct Gauge {
    base: AtomicI64,
    changes: Shards<AtomicI64>,
}

/// How long things took, in steps that are the same for all: what was at most so long, from 0.1 ms to 60 s.
#[derive(Debug, Default)]
pub struct Durations(Shards<Steps>);

/// What [`Durations`] is made of: the numbers of one core, for whoever keeps them beside others of its own.
#[derive(Debug, Default)]
pub struct Steps {
    /// In nanoseconds; wraps after five centuries.
    sum: AtomicU64,
    buckets: [AtomicU64; STEPS.len() + 1],
}

/// What [`Steps`] add up to at one moment.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Spread {
    /// In nanoseconds.
    sum: u64,
    buckets: [u64; STEPS.len() + 1],
}

/// All who count in a process: some last as long as it does, others as long as the configuration that they were made for.
#[derive(Debug, Clone, Default)]
pub struct Meters(Arc<Sets>);

#[derive(Debug, Default)]
struct Sets {
    lasting: Mutex<Vec<Arc<dyn Meter>>>,
    current: ArcSwap<Vec<Arc<dyn Meter>>>,
}

/// The upper ends of the steps, in microseconds.
const STEPS: [u64; 17] = [
    100, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

// ---- Counter ----

impl Counter {
    /// Adds one.
    pub fn add_one(&self) {
        self.add(1);
    }

    /// Adds `more`.
    pub fn add(&self, more: u64) {
        self.0.mine().fetch_add(more, Ordering::Relaxed);
    }

    /// Returns the sum.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.0.each().fold(0, |sum, one| sum.wrapping_add(one.load(Ordering::Relaxed)))
    }
}

// ---- Gauge ----

impl Gauge {
    /// Adds `change`, which may be negative.
    pub fn add(&self, change: i64) {
        self.changes.mine().fetch_add(change, Ordering::Relaxed);
    }

    /// Puts `value` in the place of what it was. What others add at the same time counts before it or after.
    pub fn set(&self, value: i64) {
        self.base.store(value.wrapping_sub(self.added()), Ordering::Relaxed);
    }

    /// Returns the value.
    #[must_use]
    pub fn value(&self) -> i64 {
        self.base.load(Ordering::Relaxed).wrapping_add(self.added())
    }

    fn added(&self) -> i64 {
        self.changes.each().fold(0, |sum, one| sum.wrapping_add(one.load(Ordering::Relaxed)))
    }
}

// ---- Durations ----

impl Durations {
    /// Counts one that took so long.
    pub fn observe(&self, took: Duration) {
        self.0.mine().observe(took);
    }

    /// Returns what was counted until now.
    #[must_use]
    pub fn spread(&self) -> Spread {
        let mut spread = Spread::default();
        self.0.each().for_each(|steps| spread.add(steps));
        spread
    }
}

impl Steps {
    /// Counts one that took so long.
    pub fn observe(&self, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let step = STEPS.partition_point(|end| end * 1_000 < nanoseconds);
        if let Some(bucket) = self.buckets.get(step) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(nanoseconds, Ordering::Relaxed);
    }
}

impl Spread {
    /// Adds what others counted.
    pub fn add(&mut self, steps: &Steps) {
        self.sum = self.sum.wrapping_add(steps.sum.load(Ordering::Relaxed));
        for (sum, bucket) in self.buckets.iter_mut().zip(&steps.buckets) {
            *sum = sum.wrapping_add(bucket.load(Ordering::Relaxed));
        }
    }

    /// Returns how many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Returns how long all of them took together.
    #[must_use]
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.sum)
    }

    /// Returns the upper end of each step in seconds with how many were at most so long; the last has no end.
    fn cumulative(&self) -> impl Iterator<Item = (Option<f64>, u64)> + '_ {
        let ends = STEPS.iter().map(|end| Some(Duration::from_micros(*end).as_secs_f64()));
        ends.chain([None]).zip(&self.buckets).scan(0, |sum: &mut u64, (end, bucket)| {
            *sum += bucket;
            Some((end, *sum))
        })
    }
}

// ---- Meters ----

impl Meters {
    /// Adds one that lasts as long as the process.
    pub fn add(&self, meter: Arc<dyn Meter>) {
        self.0.lasting.lock().unwrap_or_else(PoisonError::into_inner).push(meter);
    }

    /// Puts those of another configuration in the place of those of the last one.
    pub fn replace(&self, meters: Vec<Arc<dyn Meter>>) {
        self.0.current.store(Arc::new(meters));
    }
}

impl Meter for Meters {
    fn read(&self, page: &mut Page) {
        // A copy: who reads may take long, and whoever adds must not wait for that.
        let lasting = self.0.lasting.lock().unwrap_or_else(PoisonError::into_inner).clone();
        lasting.iter().chain(self.0.current.load().iter()).for_each(|meter| meter.read(page));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_threads_count_adds_up() {
        let (counter, gauge, durations) = (Counter::default(), Gauge::default(), Durations::default());
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        counter.add_one();
                        gauge.add(2);
                        gauge.add(-1);
                        durations.observe(Duration::from_millis(1));
                    }
                });
            }
        });
        assert_eq!((counter.sum(), gauge.value()), (16_000, 16_000));
        let spread = durations.spread();
        assert_eq!((spread.count(), spread.total()), (16_000, Duration::from_secs(16)));
    }

    #[test]
    fn a_gauge_that_is_set_counts_on_from_there() {
        let gauge = Gauge::default();
        gauge.add(7);
        gauge.set(3);
        gauge.add(-5);
        assert_eq!(gauge.value(), -2);
    }

    #[test]
    fn what_took_as_long_as_a_step_is_in_it() {
        let durations = Durations::default();
        [100, 101, 500, 501, 70_000_000]
            .into_iter()
            .for_each(|micros| durations.observe(Duration::from_micros(micros)));
        let spread = durations.spread();
        let sums: Vec<(Option<f64>, u64)> = spread.cumulative().collect();
        assert_eq!(sums.len(), STEPS.len() + 1);
        assert_eq!(sums[..4], [(Some(0.0001), 1), (Some(0.0005), 3), (Some(0.001), 4), (Some(0.0025), 4)]);
        assert_eq!(sums[16..], [(Some(60.0), 4), (None, 5)]);
    }

    #[test]
    fn those_of_a_configuration_are_replaced_and_those_of_the_process_stay() {
        #[derive(Debug)]
        struct Named(&'static str);
        impl Meter for Named {
            fn read(&self, page: &mut Page) {
                page.counter(self.0, "X.", &[], 1);
            }
        }
        let meters = Meters::default();
        meters.add(Arc::new(Named("lasting_total")));
        let text = |meters: &Meters| {
            let mut page = Page::new();
            meters.read(&mut page);
            page.into_text()
        };
        meters.replace(vec![Arc::new(Named("old_total"))]);
        assert!(text(&meters).contains("lasting_total 1\n") && text(&meters).contains("old_total 1\n"));
        meters.replace(vec![Arc::new(Named("new_total"))]);
        assert!(text(&meters).contains("lasting_total 1\n") && text(&meters).contains("new_total 1\n"));
        assert!(!text(&meters).contains("old_total"));
    }
}
