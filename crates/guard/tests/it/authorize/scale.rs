//! Many roles and keys cost no more per call than one, and time tells no unlisted name from an unknown one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use trunkline_protocol::Method;
use trunkline_service::catalog::Parts;
use trunkline_service::{Caller, Service as _};

use super::world::{Said, World, policy, request, schema, tool};

fn parts(tools: usize) -> Parts {
    let tools = (0..tools).map(|number| tool(&format!("tool_{number:04}"), schema(&[]))).collect();
    Parts { tools, ..Parts::default() }
}

/// Roles of which each allows one tool in ten.
fn roles(count: usize) -> String {
    let role = |number: usize| {
        format!(
            "[roles.r{number}]\nmatch = {{ claim = \"groups\", has = \"g{number}\" }}\nallow = [\"tools:*{}\"]\n",
            number % 10
        )
    };
    (0..count).map(role).collect()
}

async fn nanoseconds(world: &World, callers: &[Arc<Caller>], tool: &str) -> f64 {
    let requests: Vec<_> = (0..2000)
        .map(|number| request(&callers[number % callers.len()], Method::ToolsCall, json!({ "name": tool })))
        .collect();
    let started = Instant::now();
    for request in requests {
        let _ = std::hint::black_box(world.guard.call(request).await);
    }
    started.elapsed().as_secs_f64() / 2000.0 * 1e9
}

/// The least of several rounds, which is what the machine can do when it is left alone.
async fn best(rounds: usize, mut round: impl AsyncFnMut() -> f64) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..rounds {
        best = best.min(round().await);
    }
    best
}

#[tokio::test]
async fn ten_thousand_keys_and_five_hundred_roles_are_no_slower_per_call_than_one() {
    let small = World::new(policy(&roles(1)), parts(200));
    let large = World::new(policy(&roles(500)), parts(200));
    let one = [small.key("k", &["r0"], &[])];
    let many: Vec<Arc<Caller>> = (0..10_000)
        .map(|number| large.key(&format!("k{number}"), &[&format!("r{}", number % 500)], &[]))
        .collect();
    for caller in &many[..500] {
        assert_eq!(large.tools(caller).await.len(), 20);
    }
    let few = &many[..1];
    // The same memory is touched by as many calls, so that what is measured is the policy and not the caches.
    let (mut first, mut second) = (f64::MAX, f64::MAX);
    for _ in 0..15 {
        first = first.min(nanoseconds(&small, &one, "tool_0010").await);
        second = second.min(nanoseconds(&large, few, "tool_0010").await);
    }
    assert!(second < first * 1.5 + 200.0, "{first:.0} ns with one role, {second:.0} ns with 500");
    let all = best(5, async || nanoseconds(&large, &many, "tool_0010").await).await;
    assert!(all < first * 4.0 + 2000.0, "{first:.0} ns with one key, {all:.0} ns with 10,000 in turn");
}

#[tokio::test]
async fn five_hundred_sets_of_roles_are_assigned_and_made_in_bounded_time() {
    let world = World::new(policy(&roles(500)), parts(100));
    let started = Instant::now();
    for number in 0..500 {
        let caller = world
            .caller(json!({ "groups": [format!("g{number}"), format!("g{}", (number * 7) % 500)] }), &[]);
        assert!(!world.tools(&caller).await.is_empty());
    }
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}

#[tokio::test]
async fn time_does_not_tell_an_unlisted_name_from_an_unknown_one() {
    let world = World::new(policy(&roles(50)), parts(300));
    let caller = [world.caller(json!({ "groups": ["g1"] }), &[])];
    assert!(matches!(world.call(&caller[0], "tool_0002", json!({})).await, Said::Failed(..)));
    let (mut unlisted, mut unknown) = (f64::MAX, f64::MAX);
    for _ in 0..25 {
        unlisted = unlisted.min(nanoseconds(&world, &caller, "tool_0002").await);
        unknown = unknown.min(nanoseconds(&world, &caller, "tool_9999").await);
    }
    let apart = (unlisted - unknown).abs() / unknown;
    assert!(apart < 0.2, "{unlisted:.0} ns for an unlisted name, {unknown:.0} ns for an unknown one");
}
