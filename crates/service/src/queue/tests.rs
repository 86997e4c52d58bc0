//! Who is served, in what order, and who is refused.

use std::collections::HashMap;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use tokio::task::JoinSet;

use super::*;

const BOUNDS: LineBounds = LineBounds { waiting: 1024, longest: Duration::from_secs(3) };

fn places(places: usize, waiting: usize) -> Arc<Places> {
    Arc::new(Places::new(places, LineBounds { waiting, ..BOUNDS }))
}

fn is_unused(places: &Places) -> bool {
    (places.in_use(), places.waiting()) == (0, 0)
}

#[tokio::test]
async fn a_free_place_is_had_at_once_and_given_back_when_dropped() {
    let places = places(1, 1);
    let place = places.take(1).await.unwrap();
    assert!(places.try_take().is_none());
    drop(place);
    assert!(places.try_take().is_some());
    assert!(is_unused(&places));
}

#[tokio::test(start_paused = true)]
async fn callers_take_turns_however_much_one_of_them_has_waiting() {
    let places = places(1, 1024);
    let held = places.try_take().unwrap();
    let order = Mutex::new(Vec::new());
    let wait = async |who: u64| {
        let _place = places.take(who).await.unwrap();
        order.lock().unwrap().push(who);
    };
    let mut all: Vec<_> = (0..1000).map(|_| Box::pin(wait(1))).collect();
    for waiting in &mut all {
        assert!(waiting.now_or_never().is_none());
    }
    let mut late: Vec<_> = [2, 2, 3].into_iter().map(|who| Box::pin(wait(who))).collect();
    for waiting in &mut late {
        assert!(waiting.now_or_never().is_none());
    }
    drop(held);
    join_all(all.into_iter().chain(late)).await;
    let order = order.into_inner().unwrap();
    assert_eq!(order.len(), 1003);
    assert_eq!(order[..6], [1, 2, 3, 1, 2, 1]);
    assert!(is_unused(&places));
}

#[tokio::test(start_paused = true)]
async fn one_who_comes_back_at_once_is_not_served_before_the_others() {
    let places = places(1, 64);
    let held = places.try_take().unwrap();
    let mut patient: Vec<_> = (0..5).map(|_| Box::pin(places.take(1))).collect();
    for waiting in &mut patient {
        assert!(waiting.now_or_never().is_none());
    }
    let mut hasty = Box::pin(places.take(2));
    assert!((&mut hasty).now_or_never().is_none());
    drop(held);
    let mut served = Vec::new();
    let mut patient = patient.into_iter();
    let first = patient.next().unwrap().await.unwrap();
    drop(first);
    for _ in 0..3 {
        // The hasty one has its turn, and joins again before it gives the place back.
        let place = hasty.await.unwrap();
        served.push(2);
        hasty = Box::pin(places.take(2));
        assert!((&mut hasty).now_or_never().is_none());
        drop(place);
        drop(patient.next().unwrap().now_or_never().expect("it is the turn of the patient one").unwrap());
        served.push(1);
    }
    assert_eq!(served, [2, 1, 2, 1, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_full_line_refuses_the_newest_of_who_has_most_in_it() {
    let places = places(1, 4);
    let _held = places.try_take().unwrap();
    let mut greedy: Vec<_> = (0..4).map(|_| Box::pin(places.take(1))).collect();
    for waiting in &mut greedy {
        assert!(waiting.now_or_never().is_none());
    }
    let refused = places.take(1).now_or_never().expect("at once").unwrap_err();
    assert_eq!((refused.reason, refused.retry_after), (Crowding::Full, Duration::from_secs(1)));
    let mut modest = Box::pin(places.take(2));
    assert!((&mut modest).now_or_never().is_none());
    let newest = greedy.pop().unwrap().now_or_never().expect("at once").unwrap_err();
    assert_eq!(newest.reason, Crowding::Full);
    assert_eq!(places.waiting(), 4);
    assert_eq!(places.counts(), Counts { waited: 6, full: 2, late: 0, shed: 0 });
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_may_be_waited() {
    let places = places(1, 4);
    let held = places.try_take().unwrap();
    let started = Instant::now();
    let refused = places.take(1).await.unwrap_err();
    assert_eq!((refused.reason, started.elapsed()), (Crowding::Late, BOUNDS.longest));
    drop(held);
    assert!(is_unused(&places));
}

#[tokio::test(start_paused = true)]
async fn one_who_leaves_the_line_and_one_who_leaves_with_a_place_hold_nobody_up() {
    let places = places(1, 8);
    let held = places.try_take().unwrap();
    let [mut first, mut second, mut third] = [1, 2, 3].map(|who| Box::pin(places.take(who)));
    for waiting in [&mut first, &mut second, &mut third] {
        assert!(waiting.now_or_never().is_none());
    }
    drop(second);
    assert_eq!(places.waiting(), 2);
    drop(held);
    // It has the place and has not looked yet.
    assert_eq!((places.in_use(), places.waiting()), (1, 1));
    drop(first);
    drop(third.now_or_never().expect("it was passed on").unwrap());
    assert!(is_unused(&places));
}

#[tokio::test(start_paused = true)]
async fn a_future_may_be_dropped_after_any_poll() {
    for polls in 0..3 {
        let places = places(1, 8);
        let held = places.try_take().unwrap();
        let mut waiting = Box::pin(places.take(1));
        for _ in 0..polls {
            assert!((&mut waiting).now_or_never().is_none());
        }
        drop(waiting);
        drop(held);
        assert!(is_unused(&places), "{polls}");
    }
}

#[tokio::test(start_paused = true)]
async fn more_places_are_given_to_those_who_wait() {
    let places = places(1, 8);
    let _held = places.try_take().unwrap();
    let mut waiting = Box::pin(places.take(1));
    assert!((&mut waiting).now_or_never().is_none());
    places.set_places(2);
    assert!(waiting.now_or_never().is_some());
}

/// Has requests come at a steady pace to `places` that each hold one for 50 ms, and tells how long those who were served
/// waited, in milliseconds, and how many were not.
async fn pace(places: &Arc<Places>, every: Duration, lasting: Duration) -> (Vec<u128>, usize) {
    let mut tasks = JoinSet::new();
    let end = Instant::now() + lasting;
    while Instant::now() < end {
        let places = Arc::clone(places);
        tasks.spawn(async move {
            let came = Instant::now();
            let place = places.take(1).await.ok()?;
            let waited = came.elapsed().as_millis();
            tokio::time::sleep(Duration::from_millis(50)).await;
            drop(place);
            Some(waited)
        });
        tokio::time::sleep(every).await;
    }
    let outcomes = tasks.join_all().await;
    let all = outcomes.len();
    let mut waits: Vec<_> = outcomes.into_iter().flatten().collect();
    waits.sort_unstable();
    let refused = all - waits.len();
    (waits, refused)
}

#[tokio::test(start_paused = true)]
async fn five_times_as_much_as_can_be_done_leaves_waits_short_and_places_busy_and_is_over_at_once() {
    let places = places(8, 512);
    let (waits, refused) = pace(&places, Duration::from_micros(1250), Duration::from_secs(5)).await;
    // 160 a second can be done; the timer of the test ticks in milliseconds.
    assert!(waits.len() > 760, "{}", waits.len());
    assert!(refused > 1500, "{refused}");
    assert!(waits[waits.len() * 99 / 100] <= 150, "{}", waits[waits.len() * 99 / 100]);
    assert!(is_unused(&places));
    let (waits, refused) = pace(&places, Duration::from_millis(10), Duration::from_secs(1)).await;
    assert_eq!((waits.last(), refused), (Some(&0), 0));
}

#[tokio::test(start_paused = true)]
async fn a_quarter_more_than_can_be_done_ends_in_short_waits_too() {
    let places = places(8, 512);
    let (waits, _) = pace(&places, Duration::from_millis(5), Duration::from_secs(10)).await;
    assert!(waits.len() > 1500, "{}", waits.len());
    assert!(waits[waits.len() * 9 / 10] <= 150, "{}", waits[waits.len() * 9 / 10]);
}

#[tokio::test(start_paused = true)]
async fn a_burst_and_clients_who_wait_for_their_answers_are_all_served() {
    let places = places(8, 512);
    let burst = (0..120).map(|_| async {
        let _place = places.take(1).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    });
    join_all(burst).await;
    let clients = (0..64).map(|who| {
        let places = &places;
        async move {
            for _ in 0..10 {
                let _place = places.take(who).await.unwrap();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    });
    join_all(clients).await;
    assert!(is_unused(&places));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_place_is_lost_or_given_twice_among_many_tasks_that_come_and_go() {
    let places = Arc::new(Places::new(3, LineBounds { waiting: 64, longest: Duration::from_secs(10) }));
    let inside = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for task in 0..32_u64 {
        let (places, inside) = (Arc::clone(&places), Arc::clone(&inside));
        tasks.spawn(async move {
            let mut served = 0;
            for round in 0..200_u64 {
                let impatient = (task + round) % 5 == 0;
                let patience = Duration::from_micros(if impatient { round } else { 10_000_000 });
                let Ok(Ok(place)) = timeout(patience, places.take_owned(task % 7)).await else { continue };
                assert!(inside.fetch_add(1, Ordering::SeqCst) < 3);
                tokio::task::yield_now().await;
                inside.fetch_sub(1, Ordering::SeqCst);
                drop(place);
                served += 1;
            }
            (task, served)
        });
    }
    let served: HashMap<_, _> = tasks.join_all().await.into_iter().collect();
    assert!(served.values().all(|served| *served >= 100), "{served:?}");
    assert!(is_unused(&places));
}
