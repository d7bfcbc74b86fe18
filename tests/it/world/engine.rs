//! The core that the processes' ports share: virtual time, the event queue, the processes, and the way of a call
//! from its request over its effect to its answer.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::audit::Audit;
use super::fault::{Fault, Faults, Op, Target};
use super::log::Log;
use super::process::{Process, Running, Wanted};
use super::queue::Queue;
use super::rng::Rng;
use super::table::Table;

/// What the world does at some time.
pub type Action = Box<dyn FnOnce(&Rc<Core>)>;

/// What an effect hands its result to.
pub type Done<T> = Box<dyn FnOnce(&Rc<Core>, T)>;

/// An effect on the servers: may run more than once, and hands its result over now or later (a long poll).
pub type Effect<T> = Rc<dyn Fn(&Rc<Core>, &Mood, Done<T>)>;

struct Event {
    at_ms: u64,
    seq: u64,
    action: Action,
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.seq == other.seq
    }
}
impl Eq for Event {}
impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Event {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_ms, self.seq).cmp(&(other.at_ms, other.seq))
    }
}

/// How long calls take, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Timings {
    /// One way, at least.
    pub leg_min_ms: u64,
    /// One way, at most (without a fault).
    pub leg_max_ms: u64,
    /// After so long a send without an answer is given up.
    pub send_timeout_ms: u64,
    /// After so long a table call without an answer is given up, the port's retries included.
    pub table_timeout_ms: u64,
    /// The same for deletes, visibility changes and counts; a receive waits its long poll in addition.
    pub queue_timeout_ms: u64,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            leg_min_ms: 1,
            leg_max_ms: 12,
            send_timeout_ms: 2_000,
            table_timeout_ms: 2_000,
            queue_timeout_ms: 3_000,
        }
    }
}

/// Why the caller hears of no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No answer in time.
    Timeout,
    /// Never connected.
    Refused,
    /// The service's own fault.
    ServerFault,
    /// Go slower.
    Throttled,
    /// No permission.
    Denied,
    /// No such queue or table.
    Missing,
}

/// What an effect knows of its call.
#[derive(Clone, Debug)]
pub struct Mood {
    /// Whose call.
    pub pid: usize,
    /// What goes wrong with it.
    pub fault: Option<Fault>,
}

/// What a call is, apart from its effect.
pub struct Call<T> {
    /// Its kind.
    pub op: Op,
    /// To whom.
    pub target: Target,
    /// What it is about: the keys of a call of the table.
    pub about: String,
    /// When the caller gives up, from now.
    pub limit_ms: u64,
    /// The caller's words for a failure.
    pub failed: Box<dyn Fn(Failure) -> T>,
    /// An answer in the log's words.
    pub show: fn(&T) -> String,
}

/// Everything shared.
pub struct Core {
    /// Virtual time since the world began.
    pub now_ms: Cell<u64>,
    seq: Cell<u64>,
    calls: Cell<u64>,
    events: RefCell<BinaryHeap<Reverse<Event>>>,
    /// All queues.
    pub queues: RefCell<Vec<Queue>>,
    /// Long polls that wait, by queue.
    pub polls: RefCell<Vec<super::polls::Waiting>>,
    /// The checkpoint table.
    pub table: RefCell<Table>,
    /// All processes there ever were, by pid.
    pub processes: RefCell<Vec<Rc<Process>>>,
    /// How many of them have not ended.
    pub living: Cell<usize>,
    /// Those of them that want to be polled.
    pub wanted: Arc<Wanted>,
    /// Started, not yet taken up by the world's loop.
    pub newborn: RefCell<Vec<Running>>,
    /// What goes wrong.
    pub faults: RefCell<Faults>,
    /// The log.
    pub log: RefCell<Log>,
    /// The promises.
    pub audit: RefCell<Audit>,
    /// Latency and timeouts.
    pub timings: Cell<Timings>,
    /// How far the service's clock is from the world's (ms).
    pub service_skew_ms: Cell<i64>,
    /// Chance of latencies and of servers.
    pub rng: RefCell<Rng>,
}

impl Core {
    /// An empty core.
    pub fn new(seed: u64, logged: bool) -> Rc<Self> {
        let mut rng = Rng::new(seed);
        let faults = Faults::new(rng.fork());
        Rc::new(Self {
            now_ms: Cell::new(0),
            seq: Cell::new(0),
            calls: Cell::new(0),
            events: RefCell::default(),
            queues: RefCell::default(),
            polls: RefCell::default(),
            table: RefCell::default(),
            processes: RefCell::default(),
            living: Cell::new(0),
            wanted: Arc::default(),
            newborn: RefCell::default(),
            faults: RefCell::new(faults),
            log: RefCell::new(Log::new(logged)),
            audit: RefCell::default(),
            timings: Cell::new(Timings::default()),
            service_skew_ms: Cell::new(0),
            rng: RefCell::new(rng),
        })
    }

    /// Virtual time (ms).
    pub fn now(&self) -> u64 {
        self.now_ms.get()
    }

    /// How many port calls there were.
    pub fn calls(&self) -> u64 {
        self.calls.get()
    }

    /// Appends a line to the log.
    pub fn note(&self, what: std::fmt::Arguments<'_>) {
        self.log.borrow_mut().line(self.now(), what);
    }

    /// Whether the log is kept.
    pub fn logged(&self) -> bool {
        self.log.borrow().is_on()
    }

    /// Does something at a virtual time (at once when that is past, but never inside the caller).
    pub fn at(&self, at_ms: u64, action: impl FnOnce(&Rc<Core>) + 'static) {
        let seq = self.seq.get();
        self.seq.set(seq + 1);
        self.events.borrow_mut().push(Reverse(Event {
            at_ms: at_ms.max(self.now()),
            seq,
            action: Box::new(action),
        }));
    }

    /// When the next event is due.
    pub fn next_event_ms(&self) -> Option<u64> {
        self.events.borrow().peek().map(|e| e.0.at_ms)
    }

    /// Takes the next event that is due.
    pub fn due(&self) -> Option<Action> {
        let mut events = self.events.borrow_mut();
        if events.peek()?.0.at_ms > self.now() {
            return None;
        }
        events.pop().map(|e| e.0.action)
    }

    fn leg(&self) -> u64 {
        let t = self.timings.get();
        self.rng.borrow_mut().between(t.leg_min_ms, t.leg_max_ms)
    }

    /// Makes one port call on behalf of `process`: decides what goes wrong, posts the effect, and waits for the
    /// answer. What the effect does is not undone by the end of the caller. Nothing happens before the first poll.
    pub async fn call<T: 'static>(
        self: &Rc<Self>,
        process: &Rc<Process>,
        call: Call<T>,
        detail: impl FnOnce() -> String,
        effect: Effect<T>,
    ) -> T {
        if let Some(rx) = self.post(process, call, detail, effect)
            && let Ok((value, stamp)) = rx.await
        {
            if let Some(stamp_ms) = stamp {
                process.heard_date(stamp_ms, self.now());
            }
            return value;
        }
        // A dead process is never polled again.
        std::future::pending().await
    }

    fn post<T: 'static>(
        self: &Rc<Self>,
        process: &Rc<Process>,
        call: Call<T>,
        detail: impl FnOnce() -> String,
        effect: Effect<T>,
    ) -> Option<oneshot::Receiver<Answer<T>>> {
        if process.is_dead() {
            return None;
        }
        let (now, k) = (self.now(), self.calls.get());
        self.calls.set(k + 1);
        let what = (call.op, call.target, call.about.as_str());
        let fault = self.faults.borrow_mut().draw(k, now, what);
        if self.logged() {
            let (name, text) = (process.label(), detail());
            match &fault {
                None => self.note(format_args!("{name} #{k} {:?} {text}", call.op)),
                Some(f) => self.note(format_args!("{name} #{k} {:?} {text} !{f:?}", call.op)),
            }
        }
        let mood = Mood {
            pid: process.pid,
            fault: fault.clone(),
        };
        let mut sent = now;
        let mut slow = (0, 0);
        match fault {
            Some(Fault::KillBefore) => {
                self.kill(process.pid);
                return None;
            }
            Some(Fault::Term) => self.sigterm(process.pid),
            Some(Fault::Freeze(ms)) => self.freeze_for(process.pid, ms),
            Some(Fault::Suspend(ms)) => self.suspend_for(process.pid, ms),
            Some(Fault::HeldBack(ms)) => {
                self.freeze_for(process.pid, ms);
                sent = now + ms;
            }
            Some(Fault::Stuck(ms)) => {
                self.freeze_for(process.pid, ms);
                slow.0 = self.rng.borrow_mut().between(0, ms);
            }
            Some(Fault::Slow(ms)) => {
                let out = self.rng.borrow_mut().between(0, ms);
                slow = (out, ms - out);
            }
            _ => {}
        }
        let (tx, rx) = oneshot::channel();
        let wire = Rc::new(Wire {
            k,
            tx: Cell::new(Some(tx)),
            show: call.show,
        });
        let (there, back) = (self.leg() + slow.0, self.leg() + slow.1);
        let arrives = sent + there;
        let gives_up = sent + call.limit_ms;
        let refuse = |at: u64, failure: Failure| {
            let (wire, value) = (wire.clone(), (call.failed)(failure));
            // Only what an answer brings has a date.
            let dated = !matches!(failure, Failure::Timeout | Failure::Refused);
            self.at(at, move |core| {
                wire.answer(core, value, dated.then(|| core.now()))
            });
        };
        let answered = |at: u64, then: Then| {
            let (wire, effect, mood) = (wire.clone(), effect.clone(), mood.clone());
            self.at(at, move |core| {
                let w = wire.clone();
                effect(
                    core,
                    &mood,
                    Box::new(move |core, value| w.effected(core, value, then)),
                );
            });
        };
        match fault {
            Some(Fault::Refused) => refuse(sent + back, Failure::Refused),
            Some(Fault::Throttled) => refuse(arrives + back, Failure::Throttled),
            Some(Fault::Denied) => refuse(arrives + back, Failure::Denied),
            Some(Fault::Missing) => refuse(arrives + back, Failure::Missing),
            Some(Fault::Internal) => refuse(arrives + back, Failure::ServerFault),
            Some(Fault::InternalAfter) => {
                answered(arrives, Then::Silence);
                refuse(arrives + back, Failure::ServerFault);
            }
            Some(Fault::RequestLost) => refuse(gives_up, Failure::Timeout),
            Some(Fault::AnswerLost) => {
                answered(arrives, Then::Silence);
                refuse(gives_up, Failure::Timeout);
            }
            Some(Fault::Late(ms)) => {
                refuse(gives_up, Failure::Timeout);
                answered(gives_up + ms, Then::Silence);
            }
            Some(Fault::KillAfter) => answered(arrives, Then::Kill(process.pid)),
            Some(Fault::Twice) => {
                // The second attempt follows the first within the caller's time.
                let again = arrives + there + back + call.limit_ms / 4;
                answered(arrives, Then::Silence);
                answered(again, Then::Answer(back));
                refuse(gives_up.max(again), Failure::Timeout);
            }
            Some(Fault::Echo(ms)) => {
                answered(arrives, Then::Answer(back));
                answered(arrives + back + ms, Then::Silence);
                refuse(gives_up, Failure::Timeout);
            }
            _ => {
                answered(arrives, Then::Answer(back));
                refuse(gives_up, Failure::Timeout);
            }
        }
        Some(rx)
    }
}

/// An answer and the date the service stamped on it (virtual ms of its own clock's base).
type Answer<T> = (T, Option<u64>);

/// What follows an effect.
#[derive(Clone, Copy)]
enum Then {
    /// The answer, so many ms later.
    Answer(u64),
    /// Nothing reaches the caller.
    Silence,
    /// The caller dies.
    Kill(usize),
}

/// The caller's end of a call: the first answer counts.
struct Wire<T> {
    k: u64,
    tx: Cell<Option<oneshot::Sender<Answer<T>>>>,
    show: fn(&T) -> String,
}

impl<T: 'static> Wire<T> {
    fn effected(self: &Rc<Self>, core: &Rc<Core>, value: T, then: Then) {
        if core.logged() {
            let text = (self.show)(&value);
            core.note(format_args!("  effect #{} {text}", self.k));
        }
        match then {
            Then::Answer(back) => {
                let (wire, stamp) = (self.clone(), core.now());
                core.at(stamp + back, move |core| {
                    wire.answer(core, value, Some(stamp))
                });
            }
            Then::Silence => {}
            Then::Kill(pid) => core.kill(pid),
        }
    }

    fn answer(&self, core: &Rc<Core>, value: T, stamp: Option<u64>) {
        if let Some(tx) = self.tx.take() {
            if core.logged() {
                let text = (self.show)(&value);
                core.note(format_args!("  answer #{} {text}", self.k));
            }
            // A caller that is gone hears nothing.
            let _ = tx.send((value, stamp));
        }
    }
}
