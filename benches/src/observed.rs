//! Tells what counting costs a call on this node: two looks at the clock, the tool's numbers, and whose lines the log's are; from one
//! thread, and from as many as there are cores on one tool.
//!
//! `bench-observed`: prints one line for each, beside what the same calls cost uncounted. `bench-observed CALLS bare|observed`:
//! makes so many calls on one thread and nothing else, to count instructions (`valgrind --tool=callgrind`).

#![expect(clippy::print_stdout, reason = "what it prints is what it is run for")]

use std::hint::black_box;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use trunkline::protocol::{Method, Revision, scan};
use trunkline::service::catalog::{Entry, Parts};
use trunkline::service::seal::Sealer;
use trunkline::service::{
    Annotations, Answer, Caller, Catalog, Reply, Request, Service, ToolDefinition, ToolName, ready,
};
use trunkline_guard::record::{Observations, Observed};

/// Calls of each thread.
const CALLS: u32 = 1_000_000;
/// Tools beside the one that is called.
const OTHERS: u32 = 52;

struct Done;

impl Service for Done {
    fn call(&self, _: Request) -> Answer<'_> {
        ready(Ok(Reply::from_members(Vec::new())))
    }
}

fn catalog() -> anyhow::Result<Arc<Catalog>> {
    let entry = |number: u32| -> anyhow::Result<Entry> {
        let definition = ToolDefinition {
            name: ToolName::new(&format!("search_customers_{number}"))?,
            title: None,
            description: String::new(),
            input_schema: serde_json::json!({ "type": "object" }),
            output_schema: None,
            annotations: Annotations::READ_ONLY,
            icons: Vec::new(),
            meta: None,
        };
        Ok(Entry::new(definition, Arc::new(Done), number))
    };
    let tools = (0..=OTHERS).map(entry).collect::<anyhow::Result<_>>()?;
    let sealer = Arc::new(Sealer::random()?);
    Ok(Arc::new(Catalog::of(Parts { tools, ..Parts::default() }, 250, &sealer)?))
}

fn request(caller: &Arc<Caller>) -> anyhow::Result<Request> {
    let body = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search_customers_7","arguments":{"query":"smith"}}}"#;
    let (_, envelope) = scan(body).ok().context("the request is one")?;
    let caller = Arc::clone(caller);
    Ok(Request::new(body[..].into(), &envelope, Method::ToolsCall, Revision::LATEST, caller, 1))
}

/// Makes all calls of one thread; the nanoseconds that each took.
fn run(service: &dyn Service, calls: u32) -> anyhow::Result<f64> {
    let caller = Arc::new(Caller::default());
    let (mut took, mut left) = (Duration::ZERO, calls);
    while left > 0 {
        let some: Vec<Request> = (0..1000).map(|_| request(&caller)).collect::<anyhow::Result<_>>()?;
        let start = Instant::now();
        for request in some {
            if let Ok(outcome) = service.call(request).now() {
                drop(black_box(outcome));
            }
        }
        took += start.elapsed();
        left = left.saturating_sub(1000);
    }
    Ok(took.as_secs_f64() * 1e9 / f64::from(calls))
}

/// Runs as many threads at one time; what a call took, on average.
fn threads(service: &dyn Service, count: u32) -> anyhow::Result<f64> {
    let sums = thread::scope(|scope| {
        let all: Vec<_> = (0..count).map(|_| scope.spawn(|| run(service, CALLS))).collect();
        all.into_iter().map(|one| one.join().unwrap_or_else(|_| anyhow::bail!("a thread panicked"))).sum()
    });
    let sum: anyhow::Result<f64> = sums;
    Ok(sum? / f64::from(count))
}

fn main() -> anyhow::Result<()> {
    let observed = Observed::new(Done, Arc::<Observations>::default(), catalog()?);
    let mut words = std::env::args().skip(1);
    if let Some(calls) = words.next() {
        let calls = calls.parse().context("how many calls?")?;
        let is_bare = words.next().as_deref() == Some("bare");
        run(if is_bare { &Done as &dyn Service } else { &observed }, calls)?;
        return Ok(());
    }
    let cores = u32::try_from(thread::available_parallelism()?.get())?;
    for count in [1, cores] {
        let (bare, counted) = (threads(&Done, count)?, threads(&observed, count)?);
        println!(
            "{count} threads on one tool: {bare:.0} ns uncounted, {counted:.0} ns counted, {:.0} ns more",
            counted - bare
        );
    }
    Ok(())
}
