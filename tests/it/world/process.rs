//! Simulated processes: futures that can be killed, frozen, suspended, thawed and started again.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use futures::FutureExt;
use tokio::task::{JoinHandle, LocalSet};
use tokio_util::sync::CancellationToken;

use super::engine::Core;
use super::rng::Rng;

/// What a process has asked the table for.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Writes.
    pub writes: u64,
    /// Items read by their keys.
    pub keys: u64,
    /// Items found by queries.
    pub found: u64,
    /// Requests of any kind, as the adapter makes them.
    pub requests: u64,
}

impl Asked {
    /// What was asked since `before`.
    pub fn since(self, before: Self) -> Self {
        Self {
            writes: self.writes - before.writes,
            keys: self.keys - before.keys,
            found: self.found - before.found,
            requests: self.requests - before.requests,
        }
    }
}

/// What the world knows of a process.
pub struct Process {
    /// Its number; a restart gets a new one.
    pub pid: usize,
    /// The name it was started under.
    pub name: String,
    /// Cancelled by SIGTERM.
    pub term: CancellationToken,
    /// Chance, as this process draws it.
    pub rng: RefCell<Rng>,
    /// How far its wall clock is from the world's (ms).
    pub wall_offset_ms: Cell<i64>,
    /// The key of its heartbeat in the table, once it has beaten.
    pub beats_as: RefCell<Option<sqs_drain::port::Key>>,
    /// When it first got SIGTERM (virtual ms).
    pub term_ms: Cell<Option<u64>>,
    /// What it has asked the table for.
    pub asked: Cell<Asked>,
    /// The longest from one look at its run's item to the next (ms).
    pub longest_round_ms: Cell<u64>,
    looked_ms: Cell<Option<u64>>,
    died_ms: Cell<Option<u64>>,
    frozen: Cell<u32>,
    boot_base_ms: u64,
    // Suspended: since when, and how long in all before.
    suspended_since: Cell<Option<u64>>,
    suspended_ms: Cell<u64>,
    /// The service's stamp last heard, and when it was heard.
    date: Cell<Option<(u64, u64)>>,
    wake: Arc<Alarm>,
}

impl Process {
    /// Whether it ended, one way or another.
    pub fn is_dead(&self) -> bool {
        self.died_ms.get().is_some()
    }

    /// When it ended (virtual ms).
    pub fn died_ms(&self) -> Option<u64> {
        self.died_ms.get()
    }

    /// Adds to what it has asked the table for.
    pub fn ask(&self, writes: u64, keys: u64, found: u64, requests: u64) {
        let so_far = self.asked.get();
        self.asked.set(Asked {
            writes: so_far.writes + writes,
            keys: so_far.keys + keys,
            found: so_far.found + found,
            requests: so_far.requests + requests,
        });
    }

    /// It reads its run's item, as whoever coordinates does at least twice in each round of the fleet.
    pub fn looks_at_the_run(&self, now_ms: u64) {
        if let Some(before) = self.looked_ms.replace(Some(now_ms)) {
            let longest = self.longest_round_ms.get().max(now_ms - before);
            self.longest_round_ms.set(longest);
        }
    }

    /// Whether it is not being polled.
    pub fn is_frozen(&self) -> bool {
        self.frozen.get() > 0
    }

    /// Name and number.
    pub fn label(&self) -> String {
        format!("{}/{}", self.name, self.pid)
    }

    /// `CLOCK_BOOTTIME` in ms; each process has a base of its own, so that comparing them between machines shows.
    pub fn boot_ms(&self, now_ms: u64) -> u64 {
        self.boot_base_ms + now_ms
    }

    /// The time its sleeps are counted in: stands still during suspend.
    pub fn awake_ms(&self, now_ms: u64) -> u64 {
        let current = self.suspended_since.get().map_or(0, |s| now_ms - s);
        now_ms - self.suspended_ms.get() - current
    }

    /// Notes the `Date` of an answer.
    pub fn heard_date(&self, stamp_ms: u64, now_ms: u64) {
        self.date.set(Some((stamp_ms, now_ms)));
    }

    /// The service's time (ms since the epoch) as this process reckons it: whole seconds, from when it read the answer.
    pub fn service_ms(&self, core: &Core) -> Option<i64> {
        let (stamp, heard) = self.date.get()?;
        let stamp = super::EPOCH_MS + stamp as i64 + core.service_skew_ms.get();
        Some(stamp - stamp.rem_euclid(1_000) + (core.now() - heard) as i64)
    }

    /// This machine's wall clock (ms since the epoch).
    pub fn wall_ms(&self, now_ms: u64) -> i64 {
        super::EPOCH_MS + now_ms as i64 + self.wall_offset_ms.get()
    }
}

/// Who wants to be polled, and the waker of the world's loop.
#[derive(Default)]
pub struct Wanted {
    pids: Mutex<Vec<usize>>,
    world: Mutex<Option<Waker>>,
}

impl Wanted {
    /// Whom to wake besides.
    pub fn belongs_to(&self, cx: &Context<'_>) {
        if let Ok(mut world) = self.world.lock()
            && !world.as_ref().is_some_and(|w| w.will_wake(cx.waker()))
        {
            *world = Some(cx.waker().clone());
        }
    }

    /// Takes the numbers of those who want to be polled; in no order, and perhaps twice.
    pub fn take(&self) -> Vec<usize> {
        self.pids
            .lock()
            .map(|mut pids| std::mem::take(&mut *pids))
            .unwrap_or_default()
    }

    fn add(&self, pid: usize) {
        if let Ok(mut pids) = self.pids.lock() {
            pids.push(pid);
        }
    }
}

/// A waker that remembers that its process wants to be polled, and wakes the world's loop.
pub struct Alarm {
    pid: usize,
    rung: AtomicBool,
    wanted: Arc<Wanted>,
}

impl Alarm {
    fn new(pid: usize, wanted: &Arc<Wanted>) -> Arc<Self> {
        Arc::new(Self {
            pid,
            rung: AtomicBool::new(false),
            wanted: wanted.clone(),
        })
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rung.swap(true, Ordering::SeqCst) {
            self.wanted.add(self.pid);
        }
        if let Some(world) = self.wanted.world.lock().ok().and_then(|w| w.clone()) {
            world.wake();
        }
    }
}

/// A process that can be polled.
pub struct Running {
    /// Whose it is.
    pub process: Rc<Process>,
    set: LocalSet,
    main: JoinHandle<()>,
}

impl Running {
    /// Polls when it may and wants to be; false when it was not.
    pub fn step(&mut self, core: &Rc<Core>) -> bool {
        let process = &self.process;
        if process.is_dead()
            || process.is_frozen()
            || !process.wake.rung.swap(false, Ordering::SeqCst)
        {
            return false;
        }
        let waker = Waker::from(process.wake.clone());
        let _: Poll<()> = Pin::new(&mut self.set).poll(&mut Context::from_waker(&waker));
        if !process.is_dead() && self.main.is_finished() {
            core.dies(process);
            match (&mut self.main).now_or_never() {
                Some(Ok(())) => core.note(format_args!("{} ended", process.label())),
                _ => {
                    core.note(format_args!("{} panicked", process.label()));
                    let label = process.label();
                    core.audit
                        .borrow_mut()
                        .broken(core.now(), format!("{label} panicked"));
                }
            }
        }
        true
    }
}

/// A started process and what it will have returned.
pub struct Handle<T> {
    /// Its number.
    pub pid: usize,
    /// Its result, once it ended by itself.
    pub result: Rc<RefCell<Option<T>>>,
}

impl Core {
    /// Starts a process.
    pub fn spawn<T: 'static, F: Future<Output = T> + 'static>(
        self: &Rc<Self>,
        name: &str,
        main: impl FnOnce(super::ports::ProcessPorts) -> F,
    ) -> Handle<T> {
        let pid = self.processes.borrow().len();
        let mut rng = self.rng.borrow_mut().fork();
        let process = Rc::new(Process {
            pid,
            name: name.to_owned(),
            term: CancellationToken::new(),
            wall_offset_ms: Cell::new(0),
            beats_as: RefCell::default(),
            term_ms: Cell::new(None),
            asked: Cell::default(),
            longest_round_ms: Cell::default(),
            looked_ms: Cell::default(),
            died_ms: Cell::new(None),
            frozen: Cell::new(0),
            boot_base_ms: rng.between(1_000, 1_000_000_000),
            suspended_since: Cell::new(None),
            suspended_ms: Cell::new(0),
            date: Cell::new(None),
            wake: Alarm::new(pid, &self.wanted),
            rng: RefCell::new(rng),
        });
        process.wake.wake_by_ref();
        self.processes.borrow_mut().push(process.clone());
        self.living.set(self.living.get() + 1);
        self.note(format_args!("{} starts", process.label()));
        let result = Rc::new(RefCell::new(None));
        let (slot, ports) = (
            result.clone(),
            super::ports::ProcessPorts::new(self, &process),
        );
        let future = main(ports);
        let set = LocalSet::new();
        let main = set.spawn_local(async move {
            let value = future.await;
            *slot.borrow_mut() = Some(value);
        });
        let running = Running { process, set, main };
        self.newborn.borrow_mut().push(running);
        // Something must happen for the world's loop to look.
        self.at(self.now(), |_| {});
        Handle { pid, result }
    }

    /// The process of this number.
    pub fn process(&self, pid: usize) -> Rc<Process> {
        self.processes.borrow()[pid].clone()
    }

    fn dies(&self, process: &Process) {
        process.died_ms.set(Some(self.now()));
        self.living.set(self.living.get() - 1);
    }

    /// SIGKILL.
    pub fn kill(&self, pid: usize) {
        let process = self.process(pid);
        if !process.is_dead() {
            self.dies(&process);
            self.note(format_args!("{} killed", process.label()));
        }
    }

    /// SIGSTOP; freezes add up.
    pub fn freeze(&self, pid: usize) {
        let process = self.process(pid);
        process.frozen.set(process.frozen.get() + 1);
        self.note(format_args!("{} frozen", process.label()));
    }

    /// SIGCONT; undoes one freeze.
    pub fn thaw(&self, pid: usize) {
        let process = self.process(pid);
        process.frozen.set(process.frozen.get().saturating_sub(1));
        if !process.is_frozen() {
            self.note(format_args!("{} thawed", process.label()));
            // Whatever woke it meanwhile is still noted in its alarm; look again.
            if process.wake.rung.load(Ordering::SeqCst) {
                self.wanted.add(pid);
            }
            self.at(self.now(), |_| {});
        }
    }

    /// Freezes for a while.
    pub fn freeze_for(self: &Rc<Self>, pid: usize, ms: u64) {
        self.freeze(pid);
        self.at(self.now() + ms, move |core| core.thaw(pid));
    }

    /// Suspends its machine for a while: frozen, and its sleeps stand still.
    pub fn suspend_for(self: &Rc<Self>, pid: usize, ms: u64) {
        let process = self.process(pid);
        if process.suspended_since.get().is_some() {
            return;
        }
        self.freeze(pid);
        process.suspended_since.set(Some(self.now()));
        self.at(self.now() + ms, move |core| {
            let since = process.suspended_since.take().unwrap_or(core.now());
            let total = process.suspended_ms.get() + core.now() - since;
            process.suspended_ms.set(total);
            core.thaw(pid);
        });
    }

    /// SIGTERM.
    pub fn sigterm(&self, pid: usize) {
        let process = self.process(pid);
        if !process.is_dead() {
            self.note(format_args!("{} SIGTERM", process.label()));
            process
                .term_ms
                .set(process.term_ms.get().or(Some(self.now())));
            process.term.cancel();
        }
    }

    /// Steps its wall clock to this offset from the world's (ms).
    pub fn set_wall(&self, pid: usize, offset_ms: i64) {
        let process = self.process(pid);
        self.note(format_args!(
            "{} wall clock {offset_ms:+} ms",
            process.label()
        ));
        process.wall_offset_ms.set(offset_ms);
    }
}
