//! The threads that own the connections, and how work gets to a free one.
//!
//! A semaphore has as many permits as there are threads; whoever holds a permit finds a thread that is not claimed. The claim
//! travels with the work and ends with it, so a caller that goes away leaves its thread claimed until the statement has
//! really stopped.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout_at;
use trunkline_sql::DatabaseError;

use crate::error::{lost, stopped, unreachable};
use crate::gate::{Gate, Verdict};
use crate::guard::Lane;
use crate::link::Link;

/// How long after its deadline a statement may take to notice it: one call of a function cannot be interrupted.
const GRACE: Duration = Duration::from_millis(250);
/// How long a pool that is dropped waits for each of its threads.
const LONGEST_JOIN: Duration = Duration::from_secs(2);

type Job = Box<dyn FnOnce(&mut Link) + Send>;

/// Threads with a connection each, all of one lane.
#[derive(Debug)]
pub(crate) struct Pool {
    path: Arc<Path>,
    workers: Vec<Arc<Worker>>,
    permits: Arc<Semaphore>,
}

#[derive(Debug)]
struct Worker {
    name: String,
    path: Arc<Path>,
    lane: Lane,
    gate: Arc<Gate>,
    is_claimed: AtomicBool,
    runs: AtomicU64,
    /// Started with its first work. Only the holder of the claim locks this.
    thread: Mutex<Option<Thread>>,
}

#[derive(Debug)]
struct Thread {
    /// Room for one piece of work: more than the holder of the claim can have.
    jobs: SyncSender<Job>,
    /// Closed when the thread ends.
    ended: Receiver<()>,
    handle: JoinHandle<()>,
}

/// The right to use one thread.
#[derive(Debug)]
struct Claim {
    worker: Arc<Worker>,
    /// Released after `is_claimed`, so that whoever takes the permit next finds the thread free.
    _permit: OwnedSemaphorePermit,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.worker.is_claimed.store(false, Ordering::Release);
    }
}

/// Stops the run when the caller goes away before its answer is there.
#[derive(Debug)]
struct StopOnDrop {
    gate: Arc<Gate>,
    run: u64,
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.gate.stop(self.run);
    }
}

impl Pool {
    /// Makes a pool of that many threads. None is started before there is work for it.
    pub(crate) fn new(name: &str, path: &Arc<Path>, lane: Lane, threads: usize) -> Self {
        let kind = match lane {
            Lane::Reading => 'r',
            Lane::Writing => 'w',
            Lane::AdHoc => 'q',
        };
        let workers = (0..threads).map(|number| {
            Arc::new(Worker {
                // Linux shows 15 bytes of a thread's name.
                name: format!("{name:.10}-{kind}{number}"),
                path: Arc::clone(path),
                lane,
                gate: Arc::new(Gate::new()),
                is_claimed: AtomicBool::new(false),
                runs: AtomicU64::new(0),
                thread: Mutex::new(None),
            })
        });
        Self {
            path: Arc::clone(path),
            workers: workers.collect(),
            permits: Arc::new(Semaphore::new(threads)),
        }
    }

    /// Does something with a connection, on its thread.
    ///
    /// # Errors
    /// What the work came to; [`DatabaseError::PoolExhausted`] when no thread was free before the deadline.
    ///
    /// # Cancel safety
    /// Dropping the future stops the work; its thread is free for others when it has stopped.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        deadline: Option<Instant>,
        work: impl FnOnce(&mut Link) -> Result<T, DatabaseError> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        let started = Instant::now();
        let claim = self.claim(deadline).await?;
        let worker = Arc::clone(&claim.worker);
        let run = worker.runs.fetch_add(1, Ordering::Relaxed) + 1;
        let _stop = StopOnDrop { gate: Arc::clone(&worker.gate), run };
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |link| {
            link.gate.begin(run, deadline);
            let result = perform(link, work);
            drop(claim);
            // The caller may be gone.
            let _ = reply.send(result);
        });
        worker.send(job)?;
        let ended = || lost(&self.path, "the thread of the connection ended", true);
        let Some(deadline) = deadline else { return answer.await.map_err(|_| ended())? };
        let late = || DatabaseError::TimedOut { after: deadline.saturating_duration_since(started) };
        match timeout_at((deadline + GRACE).into(), answer).await {
            // The time that the caller gave, not what the wait for a connection left of it.
            Ok(Ok(Err(DatabaseError::TimedOut { .. }))) | Err(_) => Err(late()),
            Ok(answer) => answer.map_err(|_| ended())?,
        }
    }

    async fn claim(&self, deadline: Option<Instant>) -> Result<Claim, DatabaseError> {
        let started = Instant::now();
        let permit = Arc::clone(&self.permits).acquire_owned();
        let permit = match deadline {
            None => permit.await,
            Some(deadline) => match timeout_at(deadline.into(), permit).await {
                Ok(permit) => permit,
                Err(_) => return Err(DatabaseError::PoolExhausted { after: started.elapsed() }),
            },
        };
        let permit = permit.map_err(|_| unreachable(&self.path, "the pool is closed"))?;
        loop {
            let free = self.workers.iter().find(|worker| {
                worker.is_claimed.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
            });
            if let Some(worker) = free {
                return Ok(Claim { worker: Arc::clone(worker), _permit: permit });
            }
            // A thread was freed behind our search and another one taken ahead of it: look again.
            tokio::task::yield_now().await;
        }
    }
}

fn perform<T>(
    link: &mut Link,
    work: impl FnOnce(&mut Link) -> Result<T, DatabaseError>,
) -> Result<T, DatabaseError> {
    if link.gate.verdict() != Verdict::Go {
        return Err(stopped(&link.gate));
    }
    // A panic must not take the thread along: names in a hostile file can make the bindings panic.
    catch_unwind(AssertUnwindSafe(|| work(link))).unwrap_or_else(|_| {
        tracing::error!(path = %link.path.display(), "a statement could not be carried out: it ended in a panic");
        link.close();
        Err(lost(&link.path, "the statement ended in a panic", true))
    })
}

impl Worker {
    fn send(&self, job: Job) -> Result<(), DatabaseError> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let jobs = match &*thread {
            Some(running) => running.jobs.clone(),
            None => {
                let started = self.start().map_err(|error| unreachable(&self.path, error))?;
                let jobs = started.jobs.clone();
                *thread = Some(started);
                jobs
            }
        };
        jobs.try_send(job).map_err(|_| {
            *thread = None;
            unreachable(&self.path, "the thread of the connection does not take work")
        })
    }

    fn start(&self) -> std::io::Result<Thread> {
        let (jobs, work) = sync_channel::<Job>(1);
        let (end, ended) = sync_channel::<()>(1);
        let mut link = Link::new(Arc::clone(&self.path), self.lane, Arc::clone(&self.gate));
        let handle = thread::Builder::new().name(self.name.clone()).spawn(move || {
            for job in work {
                job(&mut link);
            }
            drop(link);
            drop(end);
        })?;
        Ok(Thread { jobs, ended, handle })
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for worker in &self.workers {
            worker.gate.close();
        }
        for worker in &self.workers {
            let thread = worker.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some(Thread { jobs, ended, handle }) = thread else { continue };
            drop(jobs);
            // A thread that hangs in the file system is left behind rather than waited for.
            if ended.recv_timeout(LONGEST_JOIN) == Err(std::sync::mpsc::RecvTimeoutError::Disconnected) {
                let _ = handle.join();
            }
        }
    }
}
