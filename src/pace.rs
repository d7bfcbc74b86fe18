//! The rate: how many messages this process may send, and when.
//!
//! governor's GCRA limiter over the injected clock. Its own waiting is not used (it follows the system's clock), and its burst
//! is set explicitly: `Quota::per_second(n)` alone would let 2n through in the first second.

use std::cell::{Cell, RefCell};
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

struct Time<C>(Rc<C>);

impl<C> Clone for Time<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C: Clock> GovernorClock for Time<C> {
    type Instant = Duration;
    fn now(&self) -> Duration {
        self.0.now().0
    }
}

type Limiter<C> = RateLimiter<NotKeyed, InMemoryState, Time<C>, NoOpMiddleware<Duration>>;

/// Hands out permission to send, in the order it was asked for.
pub struct Pacer<C: Clock> {
    clock: Rc<C>,
    share: Cell<Share>,
    burst: Cell<u32>,
    limiter: RefCell<Option<Rc<Limiter<C>>>>,
    line: Mutex<()>,
    changed: Notify,
}

impl<C: Clock> Pacer<C> {
    /// A pacer that gives nothing until [`Pacer::set`] gives it a share.
    pub fn new(clock: Rc<C>) -> Self {
        Self {
            clock,
            share: Cell::new(0),
            burst: Cell::new(0),
            limiter: RefCell::new(None),
            line: Mutex::new(()),
            changed: Notify::new(),
        }
    }

    /// The share in force.
    pub fn share(&self) -> Share {
        self.share.get()
    }

    /// Puts another share and burst (messages) in force, from this moment on. A bucket that replaces another starts empty, so that
    /// changing often never lets more through.
    pub fn set(&self, share: Share, burst: u32) {
        let burst = burst.max(1);
        if share == self.share.get() && burst == self.burst.get() {
            return;
        }
        let replaces = self.share.get() != 0;
        self.share.set(share);
        self.burst.set(burst);
        let limiter = (share > 0).then(|| {
            let nanos = 1_000_000_000_000 / share.max(1) as u64;
            let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
            let quota = Quota::with_period(Duration::from_nanos(nanos.max(1)))
                .unwrap_or(Quota::per_second(NonZeroU32::MIN))
                .allow_burst(burst);
            let limiter = RateLimiter::direct_with_clock(quota, Time(self.clock.clone()));
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
            match limiter.check_n(cells) {
                Ok(Ok(())) => owed -= step,
                Ok(Err(wait)) => {
                    let wait = wait.wait_time_from(self.clock.now().0);
                    tokio::select! {
                        biased;
                        () = changed => {}
                        () = self.clock.sleep(wait) => {}
                    }
                }
                // More than the bucket holds: cannot be, `step` is at most the burst.
                Err(_) => owed -= 1,
            }
        }
    }
}

/// The most messages sent in any second, and their number in all.
#[derive(Default)]
pub struct Speedometer {
    sent: RefCell<std::collections::VecDeque<(Moment, u32)>>,
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
            && now.since(then) >= Duration::from_secs(1)
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

    /// Messages a second between the first and the last send.
    pub fn average(&self) -> f64 {
        match (self.first.get(), self.last.get()) {
            (Some(first), Some(last)) if last > first => {
                self.total.get() as f64 / last.since(first).as_secs_f64()
            }
            _ => self.total.get() as f64,
        }
    }
}
