//! Requests through the layer, and through the checks behind it.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::sync::Semaphore;
use trunkline_protocol::{Revision, scan};
use trunkline_service::{Caller, Checked, Door as _, FailureKind, Notes, Reply};

use super::super::bucket::Whose;
use super::super::rate::{Rate, Unit};
use super::super::spec::{BudgetSpec, LimitsSpec, RoleSpec, ThingSpec};
use super::super::state::LimitState;
use super::*;

/// Counts what reaches it, and answers with ten bytes of members.
#[derive(Default)]
struct Ran(AtomicUsize);

impl Service for Ran {
    fn call(&self, _: Request) -> Answer<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        ready(Ok(Reply::from_members(b"\"a\":\"1234\"".to_vec())))
    }
}

/// Answers those who are let go.
struct Slow(Semaphore);

impl Service for Slow {
    fn call(&self, _: Request) -> Answer<'_> {
        Answer::later(async {
            self.0.acquire().await.unwrap().forget();
            Ok(Reply::text("done"))
        })
    }
}

fn caller(subject: &str, roles: &[&str]) -> Arc<Caller> {
    let roles = roles.iter().map(|role| (*role).into()).collect();
    Arc::new(Caller { issuer: Some("i".into()), subject: subject.into(), roles, ..Caller::default() })
}

fn request(method: Method, caller: &Arc<Caller>) -> Request {
    let body = Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"method":"x"}"#);
    let (_, envelope) = scan(&body).unwrap();
    Request::new(body, &envelope, method, Revision::LATEST, Arc::clone(caller), 1)
}

fn rate(count: u32, unit: Unit) -> Option<Rate> {
    Rate::new(count, unit, None).ok()
}

fn limits(spec: &LimitsSpec) -> Arc<Limits> {
    Arc::new(Limits::new(spec, &LimitState::new(), Caller::local()))
}

fn passes(service: &impl Service, method: Method, caller: &Arc<Caller>) -> bool {
    match service.call(request(method, caller)).now_or_never().unwrap() {
        Ok(_) => true,
        Err(failure) => {
            assert_eq!(failure.kind(), FailureKind::RateLimited, "{failure}");
            false
        }
    }
}

#[test]
fn li_02_the_surplus_of_one_caller_is_refused_and_another_is_served() {
    let spec = LimitsSpec { caller: rate(5, Unit::Second), ..LimitsSpec::default() };
    let service = Limited::new(Ran::default(), limits(&spec), Counted::Here);
    let (a, b) = (caller("a", &[]), caller("b", &[]));
    assert_eq!((0..8).filter(|_| passes(&service, Method::ToolsCall, &a)).count(), 5);
    assert!(passes(&service, Method::ToolsCall, &b));
    // What was refused did not run.
    assert_eq!(service.inner.0.load(Ordering::Relaxed), 6);
    let failure = service.call(request(Method::ToolsCall, &a)).now_or_never().unwrap().unwrap_err();
    let wait = failure.retry_after().unwrap();
    assert!(wait.as_millis() <= 200, "{wait:?}");
    assert_eq!(failure.kind().row().code.0, 429);
    assert_eq!(&*failure.rate_limit().unwrap().policy, "\"limits.caller\";q=5;w=1");
}

#[test]
fn every_method_counts_those_that_do_not_exist_too() {
    let spec = LimitsSpec { caller: rate(4, Unit::Hour), ..LimitsSpec::default() };
    let service = Limited::new(Ran::default(), limits(&spec), Counted::Here);
    let a = caller("a", &[]);
    let methods = [Method::ToolsList, Method::SubscriptionsListen, Method::Unknown, Method::ServerDiscover];
    assert!(methods.into_iter().all(|method| passes(&service, method, &a)));
    assert!(!passes(&service, Method::ToolsList, &a));
}

#[test]
fn the_stream_of_a_session_was_counted_by_the_edge_that_made_it() {
    let spec = LimitsSpec { caller: rate(1, Unit::Hour), ..LimitsSpec::default() };
    let service = Limited::new(Ran::default(), limits(&spec), Counted::Here);
    let a = caller("a", &[]);
    for _ in 0..3 {
        let body = Bytes::from_static(br#"{"jsonrpc":"2.0","id":0,"method":"subscriptions/listen"}"#);
        let (_, envelope) = scan(&body).unwrap();
        let (method, revision) = (Method::SubscriptionsListen, Revision::LATEST_LEGACY);
        let request = Request::new(body, &envelope, method, revision, Arc::clone(&a), 1);
        assert!(service.call(request).now_or_never().unwrap().is_ok());
    }
    assert!(passes(&service, Method::SubscriptionsListen, &a));
    assert!(!passes(&service, Method::SubscriptionsListen, &a));
}

#[test]
fn all_roles_of_a_caller_count_for_each_caller_by_itself() {
    let role = |count| RoleSpec { limit: rate(count, Unit::Hour), ..RoleSpec::default() };
    let roles = vec![("wide".into(), role(9)), ("narrow".into(), role(2))];
    let service =
        Limited::new(Ran::default(), limits(&LimitsSpec { roles, ..LimitsSpec::default() }), Counted::Here);
    let count =
        |caller: &Arc<Caller>| (0..20).filter(|_| passes(&service, Method::ToolsCall, caller)).count();
    assert_eq!(count(&caller("a", &["wide", "narrow"])), 2);
    assert_eq!(count(&caller("b", &["wide"])), 9);
    assert_eq!(count(&caller("c", &["narrow"])), 2);
    assert_eq!(count(&caller("d", &["other"])), 20);
}

#[test]
fn the_local_user_has_the_roles_of_the_file() {
    let role = RoleSpec { limit: rate(1, Unit::Hour), ..RoleSpec::default() };
    let spec = LimitsSpec { roles: vec![("me".into(), role)], ..LimitsSpec::default() };
    let local = Caller { roles: vec!["me".into()], role_set: 3, ..(*Caller::local()).clone() };
    let limits = Arc::new(Limits::new(&spec, &LimitState::new(), Arc::new(local)));
    let service = Limited::new(Ran::default(), limits, Counted::Here);
    assert!(passes(&service, Method::ToolsCall, &Caller::local()));
    assert!(!passes(&service, Method::ToolsCall, &Caller::local()));
}

#[test]
fn a_refusal_is_noted_under_the_key_of_the_file() {
    let spec = LimitsSpec { caller: rate(1, Unit::Hour), ..LimitsSpec::default() };
    let service = Limited::new(Ran::default(), limits(&spec), Counted::Here);
    let (a, notes) = (caller("a", &[]), Arc::<Notes>::default());
    for _ in 0..2 {
        let mut request = request(Method::ToolsCall, &a);
        request.note_on(Arc::clone(&notes));
        drop(service.call(request).now_or_never());
    }
    let decided = notes.take();
    assert_eq!((decided.allowed, &*decided.rule), (Some(false), "limits.caller"));
}

#[test]
fn bytes_of_requests_and_results_are_counted() {
    let budget = BudgetSpec { calls: None, bytes: Some(100), per: Unit::Day };
    let role = RoleSpec { budget: Some(budget), ..RoleSpec::default() };
    let spec = LimitsSpec { roles: vec![("r".into(), role)], ..LimitsSpec::default() };
    let service = Limited::new(Ran::default(), limits(&spec), Counted::Here);
    // 37 bytes of the request and 10 of the result: two leave 94, and the third goes over.
    assert_eq!((0..9).filter(|_| passes(&service, Method::ToolsCall, &caller("a", &["r"]))).count(), 3);
    assert!(passes(&service, Method::ToolsCall, &caller("b", &["r"])));
}

#[tokio::test]
async fn so_many_requests_of_a_caller_at_a_time_and_a_dropped_one_gives_its_place_back() {
    let role = RoleSpec { concurrent: NonZeroU32::new(2), ..RoleSpec::default() };
    let spec = LimitsSpec { roles: vec![("r".into(), role)], ..LimitsSpec::default() };
    let service = Limited::new(Slow(Semaphore::new(0)), limits(&spec), Counted::Here);
    let a = caller("a", &["r"]);
    let mut held: Vec<_> = (0..2).map(|_| service.call(request(Method::ToolsCall, &a))).collect();
    held.iter_mut().for_each(|answer| assert!(answer.now_or_never().is_none()));
    let refused = service.call(request(Method::ToolsCall, &a)).await.unwrap_err();
    assert_eq!(refused.kind(), FailureKind::RateLimited);
    assert!(refused.public().contains("roles.r.concurrent"), "{refused}");
    drop(held.pop());
    let mut next = service.call(request(Method::ToolsCall, &a));
    assert!((&mut next).now_or_never().is_none());
    service.inner.0.add_permits(2);
    assert!(next.await.is_ok() && held.remove(0).await.is_ok());
}

#[test]
fn a_tool_counts_by_itself_and_costs_what_the_file_says() {
    let spec = LimitsSpec { caller: rate(10, Unit::Hour), ..LimitsSpec::default() };
    let limits = limits(&spec);
    let thing = |limit, cost| ThingSpec { limit, cost: NonZeroU32::new(cost), ..ThingSpec::default() };
    let (tool, connector) = (thing(rate(3, Unit::Hour), 4), thing(rate(100, Unit::Hour), 0));
    let check = limits.check(Some(("report", &tool)), Some(("shop", &connector))).unwrap();
    let a = caller("a", &[]);
    let passes = |caller| matches!(check.check(&mut request(Method::ToolsCall, caller)), Checked::Passed);
    // Three beyond the one that the layer takes, of ten.
    assert!((0..3).all(|_| passes(&a)));
    assert!(!passes(&a));
    // The tool's three are used up, whoever asks.
    assert!(!passes(&caller("b", &[])));
    assert!(limits.check(Some(("plain", &ThingSpec::default())), None).is_none());
}

#[tokio::test]
async fn who_is_refused_a_dear_call_takes_nothing_from_the_connector_of_all() {
    let limits = limits(&LimitsSpec { caller: rate(10, Unit::Hour), ..LimitsSpec::default() });
    let tool = ThingSpec { cost: NonZeroU32::new(50), ..ThingSpec::default() };
    let connector = ThingSpec { limit: rate(500, Unit::Second), ..ThingSpec::default() };
    let check = limits.check(Some(("t", &tool)), Some(("c", &connector))).unwrap();
    let caller = caller("a", &[]);
    let asks = |mut request: Request| matches!(check.check(&mut request), Checked::Passed);
    assert!(asks(request(Method::ToolsCall, &caller)), "it takes all that the caller has");
    let bucket =
        limits.state.bucket("connectors.c.limit", "connector c", connector.limit.unwrap(), Whose::Everybodys);
    // Whoever lets requests wait may ask later than they arrived.
    let old = request(Method::ToolsCall, &caller);
    tokio::time::sleep(Duration::from_millis(30)).await;
    let before = bucket.owed(0, cell::now());
    assert!(before > 0 && !asks(old));
    assert!(bucket.owed(0, cell::now()) <= before);
}

#[test]
fn a_call_that_costs_more_than_any_burst_passes_when_nothing_else_did_for_a_while() {
    let budget = BudgetSpec { calls: Some(10), bytes: Some(30), per: Unit::Day };
    let role = RoleSpec { limit: rate(3, Unit::Hour), budget: Some(budget), ..RoleSpec::default() };
    let roles = vec![("r".into(), role)];
    let spec = LimitsSpec {
        caller: rate(10, Unit::Hour),
        server: rate(1, Unit::Second),
        roles,
        ..LimitsSpec::default()
    };
    let limits = limits(&spec);
    let tool = ThingSpec { cost: NonZeroU32::new(500), ..ThingSpec::default() };
    let connector = ThingSpec { limit: rate(20, Unit::Hour), ..ThingSpec::default() };
    let check = limits.check(Some(("report", &tool)), Some(("shop", &connector))).unwrap();
    let service = Limited::new(Ran::default(), limits, Counted::Here);
    let dear = |caller| {
        // Its 37 bytes are the last of the budget, and no reason to refuse it.
        passes(&service, Method::ToolsCall, caller)
            && matches!(check.check(&mut request(Method::ToolsCall, caller)), Checked::Passed)
    };
    assert!(dear(&caller("a", &["r"])));
    // And then all is used up.
    assert!(!passes(&service, Method::ToolsCall, &caller("a", &["r"])));
}

#[test]
fn li_01_an_address_is_counted_at_the_door() {
    let spec = LimitsSpec {
        address: rate(5, Unit::Minute),
        server: rate(100, Unit::Minute),
        ..LimitsSpec::default()
    };
    let limits = limits(&spec);
    let arrive =
        |address: &str| matches!(limits.arrive(address.parse().ok()), trunkline_service::Arrival::Admitted);
    assert_eq!((0..20).filter(|_| arrive("192.0.2.1")).count(), 5);
    assert!(arrive("192.0.2.2"));
    assert_eq!((0..20).filter(|_| arrive("2001:db8::1") || arrive("2001:db8::2")).count(), 5);
    assert!(limits.door(Counted::AtTheDoor).is_some());
}

#[test]
fn what_an_edge_answers_by_itself_counts_for_the_server_where_nothing_else_asks_for_that() {
    let counts = |counted, spec: LimitsSpec| {
        let limits = limits(&spec);
        let door = limits.door(counted)?;
        let count = || matches!(door.count(&Caller::local()), trunkline_service::Arrival::Admitted);
        Some((0..20).filter(|_| count()).count())
    };
    let (server, caller, address) = (rate(3, Unit::Hour), rate(5, Unit::Hour), rate(1, Unit::Hour));
    let both = || LimitsSpec { server, caller, ..LimitsSpec::default() };
    assert_eq!((counts(Counted::Here, both()), counts(Counted::AtTheDoor, both())), (Some(3), Some(5)));
    let address = || LimitsSpec { address, ..LimitsSpec::default() };
    assert_eq!((counts(Counted::Here, address()), counts(Counted::AtTheDoor, address())), (None, Some(20)));
    // Every message was let in before it was counted.
    let inside = limits(&both()).door(Counted::Here).unwrap();
    assert!((0..20).all(|_| matches!(inside.arrive(None), trunkline_service::Arrival::Admitted)));
}
