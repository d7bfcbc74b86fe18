//! A simulated world: many processes share queues and one table under virtual time, and everything that can go wrong
//! with a call, a process or a clock goes wrong by seed or by rule. The same seed gives the same run, byte for byte of
//! its log.
//!
//! A process is one future. A call's effect does not live in it: the call posts a request, the world applies it to
//! the servers at its time, and an answer finds its way back later, or not. So a process can be killed or frozen at
//! any instant, and what it set going still happens.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::time::Instant;

pub mod audit;
pub mod engine;
pub mod fault;
pub mod log;
pub mod orders;
pub mod polls;
pub mod ports;
pub mod process;
pub mod queue;
pub mod rng;
pub mod schedule;
mod show;
pub mod store;
pub mod table;
pub mod worker;

mod parcels;
mod tests;

pub use audit::{Rate, Rules};
pub use engine::Core;
pub use fault::{Chance, Fault, Op, Outage, Target, Weather};
pub use ports::{ProcessPorts, Sim};
pub use process::Handle;
pub use queue::QueueSpec;
pub use rng::Rng;

/// The wall clock's time at virtual time 0: 2026-03-02 08:00:00 in Seoul, a Monday.
pub const EPOCH_MS: i64 = 1_772_406_000_000;

/// So many polls without time moving on are a process that spins.
const SPIN: u32 = 200_000;

/// A world. Its reference is its [`Core`]: spawn, kill, park and look through it.
pub struct World {
    core: Rc<Core>,
    running: Vec<process::Running>,
    runtime: Runtime,
    start: Instant,
    order: Rng,
}

impl std::ops::Deref for World {
    type Target = Rc<Core>;
    fn deref(&self) -> &Rc<Core> {
        &self.core
    }
}

impl World {
    /// An empty world without a log.
    pub fn new(seed: u64) -> Self {
        Self::with_log(seed, false)
    }

    /// An empty world that keeps a log. The log changes nothing else.
    pub fn logged(seed: u64) -> Self {
        Self::with_log(seed, true)
    }

    /// Either.
    pub fn with_log(seed: u64, logged: bool) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without I/O needs nothing of the machine");
        let start = runtime.block_on(async { Instant::now() });
        Self {
            core: Core::new(seed, logged),
            running: Vec::new(),
            runtime,
            start,
            order: Rng::new(seed ^ 0x006f_7264_6572),
        }
    }

    /// Runs until `done` holds or virtual time has reached `limit_ms`; whether `done` holds.
    pub fn run_until(&mut self, limit_ms: u64, mut done: impl FnMut(&Rc<Core>) -> bool) -> bool {
        let Self {
            core,
            running,
            runtime,
            start,
            order,
        } = self;
        runtime.block_on(async {
            let sleep = tokio::time::sleep_until(*start);
            tokio::pin!(sleep);
            std::future::poll_fn(|cx| {
                let now = Instant::now().duration_since(*start).as_millis() as u64;
                core.now_ms.set(now.max(core.now()));
                core.wanted.belongs_to(cx);
                let mut spins: u32 = 0;
                loop {
                    let mut busy = false;
                    while let Some(action) = core.due() {
                        action(core);
                        busy = true;
                        spins += 1;
                        assert!(spins < SPIN, "events breed at {} ms", core.now());
                    }
                    running.append(&mut core.newborn.borrow_mut());
                    if running.len() > core.living() {
                        running.retain(|r| !r.process.is_dead());
                    }
                    let first = order.below(running.len() as u64) as usize;
                    for place in turns(running, core.wanted.take(), first) {
                        busy |= running[place].step(core);
                    }
                    if done(core) {
                        return Poll::Ready(true);
                    }
                    if !busy {
                        break;
                    }
                    spins += 1;
                    assert!(spins < SPIN, "a process spins at {} ms", core.now());
                }
                if core.now() >= limit_ms {
                    return Poll::Ready(false);
                }
                let next = core.next_event_ms().unwrap_or(limit_ms).min(limit_ms);
                sleep.as_mut().reset(*start + Duration::from_millis(next));
                match Pin::new(&mut sleep).as_mut().poll(cx) {
                    Poll::Ready(()) => {
                        cx.waker().wake_by_ref();
                        Poll::Pending
                    }
                    Poll::Pending => Poll::Pending,
                }
            })
            .await
        })
    }

    /// Runs for so long.
    pub fn run_for(&mut self, ms: u64) {
        let until = self.now() + ms;
        self.run_until(until, |_| false);
    }

    /// Runs until every process has ended; whether that came before `limit_ms`.
    pub fn run_to_end(&mut self, limit_ms: u64) -> bool {
        self.run_until(limit_ms, |core| core.living() == 0)
    }

    /// Panics with the log when a promise was broken.
    pub fn assert_sound(&self) {
        let audit = self.audit.borrow();
        let broken = audit.violations();
        assert!(
            broken.is_empty(),
            "{}\n{}",
            self.log.borrow().text(),
            broken.join("\n")
        );
    }
}

/// The places in `running` (ordered by number) of those who want to be polled, in the order in which they are: by number, but
/// which process runs first is nobody's promise.
fn turns(running: &[process::Running], wanted: Vec<usize>, first: usize) -> Vec<usize> {
    let place = |pid: usize| running.binary_search_by_key(&pid, |r| r.process.pid).ok();
    let mut turns: Vec<usize> = wanted.into_iter().filter_map(place).collect();
    turns.sort_unstable_by_key(|place| (*place < first, *place));
    turns
}

impl Core {
    /// The service's clock (ms since the epoch).
    pub fn service_ms(&self) -> i64 {
        EPOCH_MS + self.now() as i64 + self.service_skew_ms.get()
    }

    /// How many processes have not ended.
    pub fn living(&self) -> usize {
        self.living.get()
    }

    /// A new queue; its index is its name everywhere.
    pub fn queue(&self, spec: QueueSpec) -> usize {
        let mut queues = self.queues.borrow_mut();
        let rng = self.rng.borrow_mut().fork();
        queues.push(queue::Queue::new(spec, rng));
        self.polls.borrow_mut().push(polls::Waiting::default());
        queues.len() - 1
    }

    /// A rule for exactly the k-th port call of the run.
    pub fn fault_at(&self, k: u64, fault: Fault) {
        self.faults.borrow_mut().at.insert(k, fault);
    }

    /// A span of trouble.
    pub fn outage(&self, outage: Outage) {
        self.faults.borrow_mut().outages.push(outage);
    }

    /// Faults by chance, from now on.
    pub fn weather(&self, weather: Weather) {
        self.faults.borrow_mut().weather = weather;
    }

    /// What the audit holds the run to.
    pub fn hold_to(&self, rules: Rules) {
        self.audit.borrow_mut().hold_to(rules);
    }
}
