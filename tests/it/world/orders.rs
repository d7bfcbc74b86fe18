//! What people have ordered of the run: as its item in the table has had it from time to time, and what follows for who sends.

use std::rc::Rc;

use sqs_drain::drain::steer;
use sqs_drain::ledger::Ledger;
use sqs_drain::pace::{Share, as_limit};
use sqs_drain::port::{Datum, Item};

use super::worker::SOURCE;
use super::{Core, Handle, Sim};

/// What a person orders.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// `pause`, or `resume`.
    Pause(bool),
    /// `rate`, in thousandths of a message a second; negative: no limit.
    Rate(Share),
}

/// What the run's item has said.
#[derive(Clone, Debug)]
struct Said {
    from_ms: u64,
    rate: Share,
    paused: bool,
}

/// The history of the run's item, and how late it may be obeyed.
#[derive(Default)]
pub struct Orders {
    said: Vec<Said>,
    /// An order is in force so many milliseconds after it was written, whoever dies; none: that is not looked at.
    pub late_ms: Option<u64>,
}

impl Orders {
    /// The run's item was written: what it says now.
    pub fn written(&mut self, now_ms: u64, item: &Item) {
        let number = |name| match item.get(name) {
            Some(Datum::N(n)) => Some(*n),
            _ => None,
        };
        let Some(rate) = number("rate") else { return };
        let paused = number("paused").is_some_and(|n| n != 0);
        let last = self.said.last();
        if last.is_none_or(|last| (last.rate, last.paused) != (rate, paused)) {
            self.said.push(Said {
                from_ms: now_ms,
                rate,
                paused,
            });
        }
    }

    /// The rate that was ordered last.
    pub fn rate(&self) -> Option<Share> {
        self.said.last().map(|said| said.rate)
    }

    /// All that may still be obeyed.
    fn in_force(&self, now_ms: u64) -> &[Said] {
        let Some(late_ms) = self.late_ms else {
            return &[];
        };
        let over = |said: &&Said| said.from_ms + late_ms <= now_ms;
        let obeyed = self.said.iter().rposition(|said| over(&said));
        &self.said[obeyed.unwrap_or(0)..]
    }

    /// The highest rate that may be in force, in messages a second; none: no limit.
    pub fn highest(&self, now_ms: u64) -> Option<u64> {
        let highest = self.in_force(now_ms).iter().map(|s| as_limit(s.rate)).max();
        let limited = highest.filter(|rate| *rate < as_limit(-1));
        limited.map(|rate| rate.unsigned_abs().div_ceil(1_000))
    }

    /// Whether nothing may be sent.
    pub fn is_paused(&self, now_ms: u64) -> bool {
        let in_force = self.in_force(now_ms);
        !in_force.is_empty() && in_force.iter().all(|said| said.paused)
    }
}

/// Somebody orders something, in a process of its own. Its result is whether the table took all of it.
pub fn give(core: &Rc<Core>, order: Order) -> Handle<bool> {
    core.spawn("hand", move |ports| async move {
        let (store, clock) = (Rc::new(ports.store()), Rc::new(ports.clock()));
        let ledger: Ledger<Sim> = Ledger::new(store, clock, SOURCE.into());
        let Ok(Some(owner)) = ledger.owner().await else {
            return false;
        };
        let told = match order {
            Order::Pause(paused) => steer::pause(&ledger, &owner.run, paused).await,
            Order::Rate(rate) => steer::rate(&ledger, &owner.run, rate).await,
        };
        told.is_ok()
    })
}
