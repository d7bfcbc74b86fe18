//! What can go wrong with a port call, and when it does: by exact rule, by outage, by seeded chance.

use std::collections::BTreeMap;

use super::rng::Rng;

/// The kinds of port call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    /// `Source::receive`
    Receive,
    /// `Source::delete`
    Delete,
    /// `Source::set_visibility`
    Visibility,
    /// `Source::counts`
    Counts,
    /// `Sink::send`
    Send,
    /// `Store::write`
    Write,
    /// `Store::get`
    Get,
    /// `Store::query`
    Query,
}

/// Whom a call is addressed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The queue of this index.
    Queue(usize),
    /// The checkpoint table.
    Table,
}

/// One thing that goes wrong with one call. Times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process dies before the request leaves.
    KillBefore,
    /// The process dies at the instant of the effect; nobody hears the answer.
    KillAfter,
    /// The process gets SIGTERM; the request goes on.
    Term,
    /// The process is not polled for so long from here; the request is on its way.
    Freeze(u64),
    /// The process is frozen, and the request is in its socket until it is thawed: the one thing no check of ours can cover.
    HeldBack(u64),
    /// The process is frozen for so long, and the request reaches the service at some time meanwhile.
    Stuck(u64),
    /// The machine is suspended for so long from here: like a freeze, and sleeps are late by it.
    Suspend(u64),
    /// No connection: surely no effect, and told at once.
    Refused,
    /// No effect; the caller hears nothing until its timeout.
    RequestLost,
    /// The effect, but the caller hears nothing until its timeout.
    AnswerLost,
    /// The effect comes so long after the caller's timeout.
    Late(u64),
    /// Both ways are slower, together by so much: the answer may still come, or miss the timeout.
    Slow(u64),
    /// Told to go slower; no effect.
    Throttled,
    /// Access denied; no effect.
    Denied,
    /// The queue or table does not exist; no effect.
    Missing,
    /// The service answers with a fault of its own; no effect.
    Internal,
    /// The service answers with a fault of its own, after the effect.
    InternalAfter,
    /// The port's own retry: the first attempt took effect and its answer was lost; the second answers. (Not on sends.)
    Twice,
    /// As `Twice`, but the first attempt takes effect so long after the second was answered. (Not on sends.)
    Echo(u64),
    /// Some entries of the batch fail (retry; seldom, stopped). (Sends, deletes, visibility.)
    Entries,
    /// A receive that finds nothing although there is something.
    Empty,
    /// The queue makes a copy of one of the messages it hands out; the copy comes with this receive count. (Standard queues.)
    Copy(u32),
    /// The counts are those of some time ago, at most this.
    StaleCounts(u64),
}

impl Fault {
    /// Whether this can happen to a call of this kind.
    pub fn applies(&self, op: Op) -> bool {
        match self {
            Self::Twice | Self::Echo(_) => op != Op::Send,
            Self::Entries => matches!(op, Op::Send | Op::Delete | Op::Visibility),
            Self::Empty | Self::Copy(_) => op == Op::Receive,
            Self::StaleCounts(_) => op == Op::Counts,
            _ => true,
        }
    }

    /// Whether it ends the process.
    fn kills(&self) -> bool {
        matches!(self, Self::KillBefore | Self::KillAfter)
    }

    /// The same with its time drawn from 1 to its limit.
    fn drawn(&self, rng: &mut Rng) -> Self {
        match *self {
            Self::Freeze(ms) => Self::Freeze(rng.between(1, ms)),
            Self::HeldBack(ms) => Self::HeldBack(rng.between(1, ms)),
            Self::Stuck(ms) => Self::Stuck(rng.between(1, ms)),
            Self::Suspend(ms) => Self::Suspend(rng.between(1, ms)),
            Self::Late(ms) => Self::Late(rng.between(1, ms)),
            Self::Slow(ms) => Self::Slow(rng.between(1, ms)),
            Self::Echo(ms) => Self::Echo(rng.between(1, ms)),
            Self::StaleCounts(ms) => Self::StaleCounts(rng.between(1, ms)),
            ref other => other.clone(),
        }
    }
}

/// A span of time in which one target is in trouble.
#[derive(Clone, Debug)]
pub struct Outage {
    /// Who.
    pub target: Target,
    /// Only calls of the table about keys that contain this.
    pub only: Option<&'static str>,
    /// The kinds of call it is confined to; none: all.
    pub ops: &'static [Op],
    /// From this virtual time (ms).
    pub from_ms: u64,
    /// Until this virtual time (ms).
    pub until_ms: u64,
    /// What every call meets. `RequestLost` stands for "unreachable": one call in four then takes effect all the same.
    pub fault: Fault,
}

/// A fault by chance.
#[derive(Clone, Debug)]
pub struct Chance {
    /// What.
    pub fault: Fault,
    /// In how many of 10,000 calls it is drawn; where it does not apply to the call it is no fault.
    pub weight: u32,
    /// The kinds of call it is confined to; none: all.
    pub ops: &'static [Op],
}

impl Chance {
    /// A fault that any call may meet.
    pub fn of(fault: Fault, weight: u32) -> Self {
        Self::on(&[], fault, weight)
    }

    /// A fault of some kinds of call.
    pub fn on(ops: &'static [Op], fault: Fault, weight: u32) -> Self {
        Self { fault, weight, ops }
    }

    fn applies(&self, op: Op) -> bool {
        self.fault.applies(op) && (self.ops.is_empty() || self.ops.contains(&op))
    }
}

/// Faults by chance: each call draws once, and meets at most one.
#[derive(Clone, Debug, Default)]
pub struct Weather {
    /// What may happen.
    pub faults: Vec<Chance>,
    /// Calm from this virtual time on (ms).
    pub until_ms: u64,
    /// At most so many deaths by chance.
    pub kills: u32,
}

/// All rules of a world.
pub struct Faults {
    /// Exact rules: the k-th port call of the run (from 0).
    pub at: BTreeMap<u64, Fault>,
    /// Spans of trouble.
    pub outages: Vec<Outage>,
    /// Chance.
    pub weather: Weather,
    rng: Rng,
}

impl Faults {
    /// No faults yet.
    pub fn new(rng: Rng) -> Self {
        Self {
            at: BTreeMap::new(),
            outages: Vec::new(),
            weather: Weather::default(),
            rng,
        }
    }

    /// What the call `k` meets.
    pub fn draw(
        &mut self,
        k: u64,
        now_ms: u64,
        (op, target, about): (Op, Target, &str),
    ) -> Option<Fault> {
        if let Some(fault) = self.at.get(&k) {
            return fault.applies(op).then(|| fault.clone());
        }
        let trouble = self.outages.iter().find(|o| {
            o.target == target
                && (o.from_ms..o.until_ms).contains(&now_ms)
                && (o.ops.is_empty() || o.ops.contains(&op))
                && o.only.is_none_or(|only| about.contains(only))
        });
        if let Some(outage) = trouble {
            let fault = outage.fault.clone();
            return Some(match fault {
                Fault::RequestLost if self.rng.chance(2_500) => Fault::AnswerLost,
                other => other,
            });
        }
        if now_ms >= self.weather.until_ms || self.weather.faults.is_empty() {
            return None;
        }
        let mut draw = self.rng.below(10_000);
        for chance in &self.weather.faults {
            let (fault, weight) = (&chance.fault, u64::from(chance.weight));
            if draw < weight {
                if !chance.applies(op) || (fault.kills() && self.weather.kills == 0) {
                    return None;
                }
                if fault.kills() {
                    self.weather.kills -= 1;
                }
                return Some(fault.drawn(&mut self.rng));
            }
            draw -= weight;
        }
        None
    }
}
