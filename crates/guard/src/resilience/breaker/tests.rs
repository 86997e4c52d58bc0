//! The breaker against rules that do not know how it counts.

use std::cell::Cell;

use super::*;
use proptest::prelude::*;

const CONFIG: BreakerConfig =
    BreakerConfig { share: 50, calls: 4, window: Duration::from_secs(10), pause: Duration::from_secs(2) };

struct Case {
    breaker: Breaker,
    worked: Counter,
    now: Cell<Instant>,
}

impl Case {
    fn new() -> Self {
        let now = Instant::now();
        Self { breaker: Breaker::new(CONFIG, now), worked: Counter::default(), now: Cell::new(now) }
    }

    fn later(&self, by: Duration) {
        self.now.set(self.now.get() + by);
    }

    fn admit(&self) -> Result<Admission<'_>, Duration> {
        self.breaker.admit(|| self.now.get())
    }

    fn call(&self, verdict: Verdict) -> Turned {
        self.admit().unwrap().settle(verdict, &self.worked, || self.now.get())
    }

    fn fail(&self, times: u32) -> Turned {
        (0..times).map(|_| self.call(FAILED)).last().unwrap()
    }
}

const FAILED: Verdict = Verdict::Failed(Fault::Unknown);
const LATE: Verdict = Verdict::Failed(Fault::Late);
const BUSY: Verdict = Verdict::Failed(Fault::Busy);

#[test]
fn it_opens_after_enough_failures_looks_with_one_call_and_closes_when_that_works() {
    let case = Case::new();
    assert_eq!(case.fail(3), Turned::Not);
    assert_eq!(case.fail(1), Turned::Opened { failed: 4, of: 4 });
    let wait = case.admit().unwrap_err();
    assert!(wait > Duration::from_millis(187) && wait <= Duration::from_millis(250), "{wait:?}");
    case.later(wait);
    let look = case.admit().unwrap();
    assert_eq!(case.breaker.position(case.now.get()), Position::HalfOpen);
    assert!(case.admit().is_err());
    assert_eq!(look.settle(FAILED, &case.worked, || case.now.get()), Turned::Not);
    let longer = case.admit().unwrap_err();
    assert!(longer > Duration::from_millis(374), "{longer:?}");
    case.later(longer);
    assert_eq!(case.call(Verdict::Works), Turned::Closed);
    assert!(case.admit().is_ok() && case.admit().is_ok());
    // What failed before is forgotten.
    assert_eq!(case.fail(3), Turned::Not);
}

#[test]
fn a_look_that_is_given_up_or_shows_nothing_is_left_to_the_next_and_one_that_hangs_is_not_waited_for() {
    let case = Case::new();
    case.fail(4);
    case.later(CONFIG.pause);
    for verdict in [None, Some(Verdict::Nothing), Some(BUSY)] {
        let look = case.admit().unwrap();
        match verdict {
            None => drop(look),
            Some(verdict) => assert_eq!(look.settle(verdict, &case.worked, || case.now.get()), Turned::Not),
        }
        // A dropped one tells the time by the real clock.
        case.later(Duration::from_secs(1));
    }
    let hanging = case.admit().unwrap();
    assert!(case.admit().is_err());
    case.later(PATIENCE);
    let second = case.admit().unwrap();
    assert!(case.admit().is_err());
    // The first comes back after all, too late to count against the source.
    assert_eq!(hanging.settle(FAILED, &case.worked, || case.now.get()), Turned::Not);
    assert_eq!(case.breaker.position(case.now.get()), Position::HalfOpen);
    assert_eq!(second.settle(Verdict::Works, &case.worked, || case.now.get()), Turned::Closed);
}

#[test]
fn mistakes_of_callers_and_want_of_room_never_open_it_nor_do_few_failures_among_many_calls() {
    let case = Case::new();
    for _ in 0..1000 {
        assert_eq!(case.call(Verdict::Nothing), Turned::Not);
        assert_eq!(case.call(BUSY), Turned::Not);
    }
    for _ in 0..100 {
        assert_eq!(case.call(Verdict::Works), Turned::Not);
        assert_eq!(case.call(Verdict::Works), Turned::Not);
        assert_eq!(case.call(FAILED), Turned::Not);
    }
}

#[test]
fn late_calls_neither_open_it_nor_keep_it_open() {
    let case = Case::new();
    for _ in 0..100 {
        assert_eq!(case.call(LATE), Turned::Not);
    }
    case.fail(4);
    case.later(CONFIG.pause);
    // One caller's slow statements take the looks; the next call looks at once all the same.
    for _ in 0..10 {
        assert_eq!(case.call(LATE), Turned::Not);
    }
    assert_eq!(case.call(Verdict::Works), Turned::Closed);
}

#[test]
fn hours_of_success_do_not_hide_that_everything_fails_now() {
    let case = Case::new();
    case.worked.add(10_000_000);
    case.later(Duration::from_secs(7200));
    assert_eq!(case.fail(3), Turned::Not);
    assert_eq!(case.fail(1), Turned::Opened { failed: 4, of: 4 });
}

#[test]
fn a_call_of_before_says_nothing_once_it_is_open() {
    let case = Case::new();
    let old = [case.admit().unwrap(), case.admit().unwrap()];
    case.fail(4);
    let [works, fails] = old;
    assert_eq!(fails.settle(FAILED, &case.worked, || case.now.get()), Turned::Not);
    assert_eq!(works.settle(Verdict::Works, &case.worked, || case.now.get()), Turned::Not);
    assert!(case.admit().is_err());
}

/// What happens in the model.
#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Begin,
    End(prop::sample::Index, Option<Verdict>),
}

fn step() -> impl Strategy<Value = Step> {
    let verdict = prop_oneof![
        4 => Just(Some(FAILED)),
        2 => Just(Some(LATE)),
        3 => Just(Some(Verdict::Works)),
        1 => Just(Some(BUSY)),
        1 => Just(Some(Verdict::Nothing)),
        1 => Just(None),
    ];
    prop_oneof![
        1 => (0..4_000_u64).prop_map(Step::Wait),
        3 => Just(Step::Begin),
        3 => (any::<prop::sample::Index>(), verdict).prop_map(|(which, verdict)| Step::End(which, verdict)),
    ]
}

proptest! {
    /// One who looks on, without knowing how the breaker counts: when it may open, that it must open when all fail, that
    /// nothing goes through before its time, and that one call at a time looks.
    #[test]
    fn it_keeps_its_rules_whatever_happens(steps in prop::collection::vec(step(), 1..200)) {
        let mut now = Instant::now();
        let (breaker, worked) = (Breaker::new(CONFIG, now), Counter::default());
        let mut under_way: Vec<(Admission<'_>, Instant, bool)> = Vec::new();
        // What ended while it was closed, since it last closed.
        let mut ended: Vec<(Instant, Verdict)> = Vec::new();
        let mut is_open = false;
        let mut closed_until: Option<Instant> = None;
        for step in steps {
            match step {
                Step::Wait(milliseconds) => now += Duration::from_millis(milliseconds),
                Step::Begin => {
                    let looks = |look: &(Admission<'_>, Instant, bool)| look.2 && now < look.1 + PATIENCE;
                    let is_looked = under_way.iter().any(looks);
                    match breaker.admit(|| now) {
                        Ok(admission) => {
                            let is_look = admission.probe.is_some();
                            prop_assert_eq!(is_look, is_open);
                            prop_assert!(!(is_look && is_looked), "two look at the same time");
                            prop_assert!(!is_open || closed_until.is_none_or(|until| now >= until));
                            under_way.push((admission, now, is_look));
                        }
                        Err(wait) => {
                            prop_assert!(is_open);
                            prop_assert!(wait <= CONFIG.pause);
                        }
                    }
                }
                Step::End(_, _) if under_way.is_empty() => {}
                Step::End(which, verdict) => {
                    let (admission, _, is_latest) = under_way.swap_remove(which.index(under_way.len()));
                    let is_look = admission.probe.is_some();
                    // One that is dropped reads the real clock, which stands still here.
                    let turned = match verdict {
                        Some(verdict) => admission.settle(verdict, &worked, || now),
                        None => { drop(admission); Turned::Not }
                    };
                    if let Some(verdict) = verdict.filter(|_| !is_open && !is_look) {
                        ended.push((now, verdict));
                    }
                    let failed = |verdict: &Verdict| *verdict == FAILED;
                    match turned {
                        Turned::Opened { .. } => {
                            prop_assert!(!is_open);
                            let recent = ended.iter().filter(|(at, _)| *at + CONFIG.window * 3 / 2 >= now);
                            prop_assert!(recent.filter(|(_, verdict)| failed(verdict)).count() >= 4);
                            is_open = true;
                            closed_until = match breaker.admit(|| now) {
                                Err(wait) => Some(now + wait),
                                Ok(_) => return Err(TestCaseError::fail("it opened and lets calls through")),
                            };
                        }
                        Turned::Closed => {
                            prop_assert!(is_open && is_look && verdict == Some(Verdict::Works));
                            (is_open, closed_until) = (false, None);
                            ended.clear();
                            // Looks of before are calls like any other now.
                            under_way.iter_mut().for_each(|look| look.2 = false);
                        }
                        Turned::Not if is_open => {
                            // Another look found it failing, or it was given up.
                            if is_latest {
                                closed_until = None;
                            }
                        }
                        Turned::Not => {
                            let mut counted = ended.iter().rev().filter(|(_, verdict)| *verdict == Verdict::Works || failed(verdict));
                            let last: Vec<_> = counted.by_ref().take(4).collect();
                            let all_fail = last.len() == 4
                                && last.iter().all(|(_, verdict)| *verdict == FAILED)
                                && ended.iter().all(|(_, verdict)| *verdict != Verdict::Works)
                                && last.last().is_some_and(|(at, _)| *at + CONFIG.window / 2 > now);
                            prop_assert!(!all_fail, "everything fails and it stays closed");
                        }
                    }
                }
            }
        }
    }
}
