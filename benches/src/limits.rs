//! Tells what one decision about limits costs on this node: server, caller and one role, all at once, from one thread and from as many
//! as there are cores.
//!
//! `bench-limits`: prints one line for each, beside what the same requests cost without limits.

use std::hint::black_box;
use std::io::Write as _;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use trunkline::service::{Answer, Caller, Reply, Request, Service, ready};
use trunkline_guard::limit::{Counted, LimitState, Limited, Limits, LimitsSpec, Rate, RoleSpec, Unit};

/// Requests of each thread.
const REQUESTS: u32 = 500_000;

struct Done;

impl Service for Done {
    fn call(&self, _: Request) -> Answer<'_> {
        ready(Ok(Reply::from_members(Vec::new())))
    }
}

fn request(caller: &Arc<Caller>) -> anyhow::Result<Request> {
    use trunkline::protocol::{Method, Revision, scan};
    let body = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#;
    let (_, envelope) = scan(body).ok().context("the request is one")?;
    let caller = Arc::clone(caller);
    Ok(Request::new(body[..].into(), &envelope, Method::ToolsCall, Revision::LATEST, caller, 1))
}

/// Runs all requests of one thread; the nanoseconds that each took.
fn run(service: &dyn Service, thread: u32) -> anyhow::Result<u128> {
    let subject = format!("somebody-{thread}@example.com").into();
    let roles = vec!["support".into()];
    let issuer = Some("https://login.example.com".into());
    let caller = Arc::new(Caller { issuer, subject, roles, role_set: 1, ..Caller::default() });
    let (mut took, mut left) = (Duration::ZERO, REQUESTS);
    while left > 0 {
        let some: Vec<Request> = (0..1000).map(|_| request(&caller)).collect::<anyhow::Result<_>>()?;
        let start = std::time::Instant::now();
        some.into_iter().for_each(|request| drop(black_box(service.call(request))));
        took += start.elapsed();
        left -= 1000;
    }
    Ok(took.as_nanos() / u128::from(REQUESTS))
}

fn main() -> anyhow::Result<()> {
    let rate = Rate::new(1_000_000, Unit::Second, None)?;
    let role = RoleSpec { limit: Some(rate), ..RoleSpec::default() };
    let spec = LimitsSpec {
        server: Some(rate),
        caller: Some(rate),
        roles: vec![("support".into(), role)],
        ..LimitsSpec::default()
    };
    let limits = Arc::new(Limits::new(&spec, &LimitState::new(), Caller::local()));
    let limited = Limited::new(Done, limits, Counted::Here);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    for threads in [1, u32::try_from(cores)?] {
        for (name, service) in [("no limit", &Done as &dyn Service), ("three limits", &limited)] {
            let took: Vec<u128> = thread::scope(|scope| {
                let running: Vec<_> =
                    (0..threads).map(|each| scope.spawn(move || run(service, each))).collect();
                let ended = running
                    .into_iter()
                    .map(|thread| thread.join().map_err(|_| anyhow::anyhow!("it panicked"))?);
                ended.collect::<anyhow::Result<_>>()
            })?;
            let worst = took.into_iter().max().unwrap_or_default();
            writeln!(std::io::stdout(), "{threads} threads, {name}: {worst} ns a request")?;
        }
    }
    Ok(())
}
