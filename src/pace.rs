//! The rate: how many messages this process may send, and when.
//!
//! governor's GCRA limiter over the injected clock. Its own waiting is not used (it follows the system's clock), and its burst
//! is set explicitly: `Quota::per_second(n)` alone would let 2n through in the first second.
//!
//! A bucket that holds one batch loses whatever time passes between a batch's place in the rate and the moment the machine gets
//! round to it: on a busy machine a tenth of the rate. So whoever waits is judged by when its place came, not by when it woke,
//! and besides no second may have more than the rate and the burst: what was late is made good, and the promise holds as it stands.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::Duration;

use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::{Mutex, Notify};

use crate::message::BATCH_ENTRIES;
use crate::port::{Clock, Moment};

/// A share of a rate in thousandths of a message a second; negative means no limit, 0 nothing at all.
pub type Share = i64;

/// No limit.
pub const UNLIMITED: Share = -1;

/// The share for `rate` messages a second.
pub fn share_of(rate: Option<f64>) -> Share {
    rate.map_or(UNLIMITED, |rate| (rate * 1000.0).round().max(1.0) as Share)
}

/// The second of the promise: over any such time at most the rate and the burst.
pub const SECOND: Duration = Duration::from_secs(1);

/// How late a batch may be sent and still not cost the next one its place.
const MADE_GOOD: Duration = SECOND;

/// The moment a request is judged by.
#[derive(Clone, Default)]
struct Judged(Rc<Cell<Duration>>);

impl GovernorClock for Judged {
    type Instant = Duration;
    fn now(&self) -> Duration {
        self.0.get()
    }
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, Judged, NoOpMiddleware<Duration>>;

/// What was let through in the last second.
#[derive(Default)]
struct Lately {
    some: VecDeque<(Moment, u32)>,
    sum: u32,
}

impl Lately {
    /// How long until `n` more are within `limit` for a second; zero: they are now.
    fn wait(&mut self, now: Moment, n: u32, limit: u32) -> Duration {
        while let Some((then, old)) = self.some.front().copied()
            && now.since(then) >= SECOND
        {
            self.some.pop_front();
            self.sum -= old;
        }
        let mut left = self.sum;
        let mut wait = Duration::ZERO;
        for (then, old) in &self.some {
            if left + n <= limit {
                break;
            }
            left -= old;
            wait = then.after(SECOND).since(now);
        }
        wait
    }

    fn note(&mut self, now: Moment, n: u32) {
        self.some.push_back((now, n));
        self.sum += n;
    }
}

/// Hands out permission to send, in the order it was asked for.
pub struct Pacer<C: Clock> {
    clock: Rc<C>,
    share: Cell<Share>,
    burst: Cell<u32>,
    limiter: RefCell<Option<Rc<Limiter>>>,
    judged: Judged,
    /// When share and burst were put in force.
    since: Cell<Moment>,
    /// The largest share that was in force before, and until when it counts.
    before: Cell<(Share, Moment)>,
    lately: RefCell<Lately>,
    held_until: Cell<Moment>,
    line: Mutex<()>,
    changed: Notify,
}

/// A share as a number that can be compared, and added up for a million processes.
pub fn as_limit(share: Share) -> Share {
    if share < 0 {
        Share::MAX / 1_000_000
    } else {
        share
    }
}

/// The larger of two shares.
pub fn larger(one: Share, other: Share) -> Share {
    if as_limit(one) < as_limit(other) {
        other
    } else {
        one
    }
}

impl<C: Clock> Pacer<C> {
    /// A pacer that gives nothing until [`Pacer::set`] gives it a share.
    pub fn new(clock: Rc<C>) -> Self {
        Self {
            clock,
            share: Cell::new(0),
            burst: Cell::new(0),
            limiter: RefCell::new(None),
            judged: Judged::default(),
            since: Cell::default(),
            before: Cell::default(),
            lately: RefCell::default(),
            held_until: Cell::default(),
            line: Mutex::new(()),
            changed: Notify::new(),
        }
    }

    /// The share in force.
    pub fn share(&self) -> Share {
        self.share.get()
    }

    /// Gives nothing for a second: somebody may just have had the share that this process begins with.
    pub fn hold_a_second(&self) {
        self.held_until.set(self.clock.now().after(SECOND));
    }

    /// The largest share that was in force within the last second: nobody else may have any of it. Within a second the messages
    /// may lie unevenly, so a share that was lowered is free only when that second is over.
    pub fn share_lately(&self) -> Share {
        let (before, until) = self.before.get();
        match self.clock.now() < until {
            true => larger(self.share.get(), before),
            false => self.share.get(),
        }
    }

    /// How long until [`Pacer::share_lately`] is the share in force.
    pub fn settles_in(&self) -> Duration {
        self.before.get().1.since(self.clock.now())
    }

    /// Puts another share and burst (messages) in force, from this moment on. A bucket that replaces another starts empty, so that
    /// changing often never lets more through.
    pub fn set(&self, share: Share, burst: u32) {
        let burst = burst.max(1);
        if share == self.share.get() && burst == self.burst.get() {
            return;
        }
        let replaces = self.share.get() != 0;
        let now = self.clock.now();
        if as_limit(share) < as_limit(self.share.get()) {
            self.before.set((self.share_lately(), now.after(SECOND)));
        }
        self.share.set(share);
        self.burst.set(burst);
        self.since.set(now);
        self.judged.0.set(now.0);
        let limiter = (share > 0).then(|| {
            let nanos = 1_000_000_000_000 / share.max(1) as u64;
            let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
            let quota = Quota::with_period(Duration::from_nanos(nanos.max(1)))
                .unwrap_or(Quota::per_second(NonZeroU32::MIN))
                .allow_burst(burst);
            let limiter = RateLimiter::direct_with_clock(quota, self.judged.clone());
            if replaces {
                // A fresh bucket is full; its answer can only be "taken".
                let _ = limiter.check_n(burst);
            }
            Rc::new(limiter)
        });
        *self.limiter.borrow_mut() = limiter;
        self.changed.notify_waiters();
    }

    /// The most messages a batch may have under the share and burst in force.
    pub fn batch_max(&self) -> usize {
        match self.share.get() {
            share if share < 0 => BATCH_ENTRIES,
            share => (share.unsigned_abs().div_ceil(1000) as usize)
                .min(self.burst.get() as usize)
                .clamp(1, BATCH_ENTRIES),
        }
    }

    /// How many messages the share sends in about a second, at most `most`, for one of `lanes` lanes.
    pub fn page_max(&self, lanes: usize, most: usize) -> usize {
        match self.share.get() {
            share if share < 0 => most,
            share => (share.unsigned_abs() as usize / 1000 / lanes.max(1)).clamp(1, most),
        }
    }

    /// Waits until `n` messages (at most [`Pacer::batch_max`] of now; more are let through in the bucket's own steps) may be sent.
    /// Dropping the future takes nothing.
    pub async fn take(&self, n: usize) {
        // When a machine that is never late would have let it through.
        let mut due = self.clock.now();
        let _turn = self.line.lock().await;
        let mut owed = n as u32;
        while owed > 0 {
            let changed = self.changed.notified();
            if self.share.get() < 0 {
                return;
            }
            let limiter = self.limiter.borrow().clone();
            let Some(limiter) = limiter else {
                changed.await;
                continue;
            };
            let step = owed.min(self.burst.get());
            let Some(cells) = NonZeroU32::new(step) else {
                return;
            };
            let now = self.clock.now();
            let mut wait = self.lately.borrow_mut().wait(now, step, self.a_second());
            wait = wait.max(self.held_until.get().since(now));
            if wait.is_zero() {
                let from = self.since.get().max(self.held_until.get());
                due = due.max(now.before(MADE_GOOD)).max(from);
                self.judged.0.set(due.0);
                match limiter.check_n(cells) {
                    Ok(Ok(())) => {
                        owed -= step;
                        self.lately.borrow_mut().note(now, step);
                        continue;
                    }
                    Ok(Err(not_yet)) => {
                        due = due.after(not_yet.wait_time_from(due.0));
                        wait = due.since(now);
                    }
                    // More than the bucket holds: cannot be, `step` is at most the burst.
                    Err(_) => {
                        owed -= 1;
                        continue;
                    }
                }
            }
            tokio::select! {
                biased;
                () = changed => {}
                () = self.clock.sleep(wait) => {}
            }
        }
    }

    /// The most messages of any second.
    fn a_second(&self) -> u32 {
        let share = self.share.get().unsigned_abs() / 1000;
        u32::try_from(share)
            .unwrap_or(u32::MAX)
            .saturating_add(self.burst.get())
    }
}

/// The most messages sent in any second, and their number in all.
#[derive(Default)]
pub struct Speedometer {
    sent: RefCell<VecDeque<(Moment, u32)>>,
    in_window: Cell<u32>,
    busiest: Cell<u32>,
    first: Cell<Option<Moment>>,
    last: Cell<Option<Moment>>,
    total: Cell<u64>,
}

impl Speedometer {
    /// Notes `n` messages sent at `now`.
    pub fn note(&self, now: Moment, n: u32) {
        let mut sent = self.sent.borrow_mut();
        sent.push_back((now, n));
        let mut in_window = self.in_window.get() + n;
        while let Some((then, old)) = sent.front().copied()
            && now.since(then) >= SECOND
        {
            sent.pop_front();
            in_window -= old;
        }
        self.in_window.set(in_window);
        self.busiest.set(self.busiest.get().max(in_window));
        self.first.set(Some(self.first.get().unwrap_or(now)));
        self.last.set(Some(now));
        self.total.set(self.total.get() + u64::from(n));
    }

    /// The most messages sent in any second.
    pub fn busiest_second(&self) -> u32 {
        self.busiest.get()
    }

    /// Messages a second between the first and the last send, in thousandths; `None` when there was less than a second between them: a
    /// figure for a moment says nothing of a rate.
    pub fn average(&self) -> Option<f64> {
        let took = self.last.get()?.since(self.first.get()?);
        (took >= SECOND).then(|| {
            let exact = self.total.get() as f64 / took.as_secs_f64();
            (exact * 1000.0).round() / 1000.0
        })
    }
}
