//! What all parts of one drain share, and the one place that says whether a send may start.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{Mutex, Notify};

use super::backoff::Backoff;
use super::delivery::Delivery;
use super::hands::Hands;
use super::settings::Settings;
use crate::journal::{RecordState, Totals};
use crate::ledger::{Grant, Ledger, LedgerError, Registration};
use crate::message::Id;
use crate::pace::{Pacer, Speedometer};
use crate::port::{Clock, Moment, Ports, StoreError, Trouble};
use crate::rules::Rule;
use crate::stop::{Reason, Stop};
use crate::window::State;

/// How many doubts a result lists by id; all of them are in the table.
const LISTED_MAX: usize = 1_000;

/// How long a destination that refused everything is left alone before it is tried again.
const STOPPED_FOR: Duration = Duration::from_secs(30);

/// How many denied receives or deletes in a row end the drain (one may be a credential just being renewed).
pub const DENIED_MAX: u32 = 3;

/// The longest pause between two answered receives, beyond a long poll, in which the source still counts as listened to.
const LISTENING_PAUSE: Duration = Duration::from_secs(10);

/// The ports of one drain.
pub struct Wiring<P: Ports> {
    /// The wait queue.
    pub source: Rc<P::Source>,
    /// The destinations, in the order of the settings.
    pub sinks: Vec<Rc<P::Sink>>,
    /// The reject queue.
    pub reject: Option<Rc<P::Sink>>,
    /// The hold queue.
    pub hold: Option<Rc<P::Sink>>,
    /// The checkpoint table; `None` without a journal.
    pub store: Option<Rc<P::Store>>,
    /// Time and chance.
    pub clock: Rc<P::Clock>,
}

/// Why a send may not start now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shut {
    /// The drain is stopping, or the window is closing.
    Stopping,
    /// Paused by hand.
    Paused,
    /// The last good heartbeat is too long ago.
    Stale,
}

/// A destination that is in trouble.
#[derive(Default)]
pub struct Health {
    /// Until when nothing is sent there, because it refused for reasons of its own.
    pub stopped_until: Cell<Option<Moment>>,
    /// The code it refused with last, while it is refusing.
    pub code: RefCell<Option<String>>,
}

/// A registered process: its table and its name in it.
pub struct Journal<P: Ports> {
    /// The table.
    pub ledger: Ledger<P>,
    /// This process.
    pub me: Registration,
    /// The run's epoch when this process joined.
    pub epoch: i64,
}

/// The opening of the window that is known to be in force.
#[derive(Clone, Copy)]
struct Opening {
    from: DateTime<Utc>,
    until: Option<DateTime<Utc>>,
}

/// Shared state of one drain.
pub struct Context<P: Ports> {
    /// The settings.
    pub settings: Settings,
    /// The ports.
    pub wiring: Wiring<P>,
    /// The journal; `None` without a table.
    pub journal: Option<Journal<P>>,
    /// The stop switch.
    pub stop: Stop,
    /// The rate.
    pub pacer: Pacer<P::Clock>,
    /// What was sent when.
    pub speed: Speedometer,
    /// What is in hand.
    pub hands: RefCell<Hands>,
    /// One per destination.
    pub health: Vec<Health>,
    /// Deliveries received by this process: counted where they arrive, to hold the lanes' totals against.
    pub received: Cell<u64>,
    /// The lanes' totals as of now, by lane.
    pub totals: RefCell<Vec<Totals>>,
    /// The same as they stand in the table, with what is under way there as in doubt: what a sweep makes of them.
    pub stood: RefCell<Vec<Totals>>,
    /// For each lane, when the first visibility of what stands in its page runs out.
    pub due: Vec<[Cell<Option<Moment>>; 2]>,
    /// Deliveries that wait for an answer about their id.
    pub asking: Cell<usize>,
    /// Sends may start until then (one lease from the start of the last good heartbeat).
    pub fresh_until: Cell<Option<Moment>>,
    /// Wakes whoever waits for a heartbeat or a resume.
    pub fresh: Notify,
    /// Paused by hand.
    pub paused: Cell<bool>,
    /// The last grant seen.
    pub grant: Cell<Grant>,
    /// Long polls in a row that found nothing.
    pub empty_polls: Cell<u32>,
    /// Whether the source gave a full receive lately: then every lane receives.
    pub busy: Cell<bool>,
    /// The size of the largest message of late, in bytes: a smaller one lets it fade.
    pub largest_lately: Cell<usize>,
    /// Wakes lanes when `busy` begins.
    pub woken: Notify,
    /// Held by the one lane that polls while the source is not busy.
    pub scout: Mutex<()>,
    /// Cut-off, milliseconds since the epoch.
    pub cutoff_ms: Option<i64>,
    /// When a message older than the cut-off was last received, or may have been.
    pub old_seen: Cell<Option<Moment>>,
    /// Since when and until when the source has been listened to without a long pause.
    pub listened: Cell<Option<(Moment, Moment)>>,
    /// When a death (or this process's own start) was last noticed.
    pub last_death: Cell<Moment>,
    /// When a message was last settled or received for a working destination.
    pub last_progress: Cell<Moment>,
    /// This process was the run's coordinator when it looked last.
    pub coordinates: Cell<bool>,
    /// Ids in trouble that this process met, for the result.
    pub trouble: RefCell<BTreeMap<Id, RecordState>>,
    /// Those beyond the first [`LISTED_MAX`], to be counted: an id may be in trouble more than once.
    pub trouble_unlisted: RefCell<HashSet<Id>>,
    /// When this drain began.
    pub started: Moment,
    /// Deletes in a row that the source denied.
    denied_deletes: Cell<u32>,
    /// The table did not answer lately.
    table_down: Cell<bool>,
    opening: Cell<Option<Opening>>,
}

impl<P: Ports> Context<P> {
    /// Puts a drain's shared state together.
    pub fn new(
        settings: Settings,
        wiring: Wiring<P>,
        journal: Option<Journal<P>>,
        cutoff_ms: Option<i64>,
        stop: Stop,
    ) -> Self {
        let now = wiring.clock.now();
        let lanes = settings.pages();
        Self {
            pacer: Pacer::new(wiring.clock.clone()),
            speed: Speedometer::default(),
            hands: RefCell::default(),
            health: settings
                .destinations
                .iter()
                .map(|_| Health::default())
                .collect(),
            received: Cell::new(0),
            totals: RefCell::new(vec![Totals::default(); lanes]),
            stood: RefCell::new(vec![Totals::default(); lanes]),
            due: (0..lanes).map(|_| Default::default()).collect(),
            asking: Cell::new(0),
            fresh_until: Cell::new(None),
            fresh: Notify::new(),
            paused: Cell::new(false),
            grant: Cell::new(Grant::default()),
            empty_polls: Cell::new(0),
            busy: Cell::new(false),
            largest_lately: Cell::new(0),
            woken: Notify::new(),
            scout: Mutex::new(()),
            cutoff_ms,
            old_seen: Cell::new(None),
            listened: Cell::new(None),
            last_death: Cell::new(now),
            last_progress: Cell::new(now),
            coordinates: Cell::new(false),
            trouble: RefCell::default(),
            trouble_unlisted: RefCell::default(),
            started: now,
            denied_deletes: Cell::new(0),
            table_down: Cell::new(false),
            opening: Cell::new(None),
            settings,
            wiring,
            journal,
            stop,
        }
    }

    /// Whether a rule of the protocol is kept; see [`Rule`].
    pub fn keeps(&self, rule: Rule) -> bool {
        self.settings.rules.keeps(rule)
    }

    /// No send of a delivery starts after this, and no delete answered after it counts. A later receive of the same message while this
    /// one is in hand does not move it.
    pub fn deadline(&self, delivery: &Delivery) -> Moment {
        if self.keeps(Rule::FirstDeadlineKept) {
            return delivery.deadline;
        }
        let hands = self.hands.borrow();
        let newest = hands.newest(delivery.message.id);
        newest.map_or(delivery.deadline, |n| {
            n.received_at.after(self.settings.timings.sendable())
        })
    }

    /// The earliest deadline of several deliveries.
    pub fn first_deadline<'a>(&self, list: impl IntoIterator<Item = &'a Delivery>) -> Moment {
        let deadlines = list.into_iter().map(|delivery| self.deadline(delivery));
        deadlines.min().unwrap_or_default()
    }

    /// Monotonic time.
    pub fn now(&self) -> Moment {
        self.wiring.clock.now()
    }

    /// The process's name in the table, or a word where there is none.
    pub fn name(&self) -> &str {
        self.journal
            .as_ref()
            .map_or("alone", |j| j.me.process.as_str())
    }

    /// The longest of what must lie between a send's start and the closing of the window.
    pub fn closing_margin(&self) -> Duration {
        self.settings.closing_margin()
    }

    /// Whether the window is open, with the margin, by this machine's clock and by the service's. When it is not, the
    /// drain is told to stop.
    pub fn window_is_open(&self) -> bool {
        let times = self.wiring.clock.wall();
        let both = [Some(times.local), times.service];
        if both.into_iter().flatten().all(|t| self.open_at(t)) {
            return true;
        }
        if self.stop.request(Reason::WindowClosed) {
            tracing::info!(route = %self.settings.route, "the window is closing: finishing what is in flight");
        }
        false
    }

    fn open_at(&self, t: DateTime<Utc>) -> bool {
        let inside = |o: &Opening| o.from <= t && o.until.is_none_or(|end| t < end);
        let opening = match self.opening.get().filter(inside) {
            Some(opening) => opening,
            None => match self.settings.window.state_at(t) {
                State::Open {
                    opened_at,
                    closes_at,
                } => {
                    let opening = Opening {
                        from: opened_at,
                        until: closes_at,
                    };
                    self.opening.set(Some(opening));
                    opening
                }
                State::Shut { .. } => return false,
            },
        };
        opening
            .until
            .is_none_or(|end| t + self.closing_margin() < end)
    }

    /// Whether a send may start at this very moment.
    pub fn gate(&self) -> Result<(), Shut> {
        if self.stop.forbids_sending() || !self.window_is_open() {
            return Err(Shut::Stopping);
        }
        if self.paused.get() {
            return Err(Shut::Paused);
        }
        if !self.is_fresh() {
            return Err(Shut::Stale);
        }
        Ok(())
    }

    /// Whether the last good heartbeat began less than a lease ago. Always so without a table.
    pub fn is_fresh(&self) -> bool {
        self.journal.is_none()
            || self
                .fresh_until
                .get()
                .is_some_and(|until| self.now() < until)
    }

    /// Whether a destination is being left alone for now.
    pub fn is_stopped(&self, destination: usize) -> bool {
        self.health[destination]
            .stopped_until
            .get()
            .is_some_and(|until| self.now() < until)
    }

    /// Notes that a destination refuses everything for reasons of its own. When all do, the drain stops.
    pub fn note_stopped(&self, destination: usize, code: &str) {
        let health = &self.health[destination];
        if health.code.replace(Some(code.to_owned())).is_none() {
            tracing::error!(
                route = %self.settings.route,
                destination = %self.settings.destinations[destination].name,
                code,
                "the destination refuses everything: its messages stay in the source"
            );
        }
        health
            .stopped_until
            .set(Some(self.now().after(STOPPED_FOR)));
        let refuses = |d: usize| self.is_stopped(d) && self.health[d].code.borrow().is_some();
        if (0..self.health.len()).all(refuses) {
            self.stop.request(Reason::Unavailable(format!(
                "every destination refuses messages for reasons of its own ({code})"
            )));
        }
    }

    /// Leaves a destination that is told to go slower alone for a while, because others wait behind it.
    pub fn leave_alone(&self, destination: usize) {
        let until = self.now().after(STOPPED_FOR / 6);
        self.health[destination].stopped_until.set(Some(until));
    }

    /// Notes that a destination works.
    pub fn note_working(&self, destination: usize) {
        let health = &self.health[destination];
        health.stopped_until.set(None);
        health.code.replace(None);
        self.last_progress.set(self.now());
    }

    /// Whether any destination is refusing now.
    pub fn any_refusing(&self) -> Option<String> {
        self.health.iter().find_map(|h| h.code.borrow().clone())
    }

    /// Notes what the source says of deletes: with several denied in a row the drain stops, because everything it sends comes back.
    pub fn note_delete(&self, denied: Option<&str>) {
        let Some(code) = denied else {
            self.denied_deletes.set(0);
            return;
        };
        self.denied_deletes.set(self.denied_deletes.get() + 1);
        if self.denied_deletes.get() >= DENIED_MAX {
            let words = format!("the source lets nothing be deleted ({code})");
            self.stop.request(Reason::Unavailable(words));
        }
    }

    /// Notes a failed call to the table: said once for each outage. A table that refuses for good ends the run.
    pub fn note_table(&self, error: &LedgerError) {
        if !self.table_down.replace(true) {
            tracing::warn!(route = %self.settings.route, %error, "the checkpoint table does not answer: sending waits");
        }
        if let LedgerError::Store(StoreError::Failed {
            kind: Trouble::Denied | Trouble::Missing,
            ..
        }) = error
        {
            self.stop.request(Reason::Unavailable(error.to_string()));
        }
    }

    /// Notes that the table answers.
    pub fn note_table_works(&self) {
        if self.table_down.replace(false) {
            tracing::info!(route = %self.settings.route, "the checkpoint table answers again");
        }
    }

    /// Bears a failed call to the table: notes it and waits before the next try. False: nothing may be touched any more.
    pub async fn bear(&self, error: &LedgerError, backoff: &mut Backoff) -> bool {
        if *error == LedgerError::Superseded {
            self.stop.request(Reason::Superseded);
        } else {
            self.note_table(error);
        }
        let wait = backoff.next(&*self.wiring.clock);
        tokio::select! {
            biased;
            () = self.stop.touching_forbidden() => false,
            () = self.wiring.clock.sleep(wait) => true,
        }
    }

    /// Notes an id in trouble for the result.
    pub fn note_trouble(&self, id: Id, state: RecordState) {
        let mut trouble = self.trouble.borrow_mut();
        if trouble.len() < LISTED_MAX || trouble.contains_key(&id) {
            trouble.insert(id, state);
        } else {
            self.trouble_unlisted.borrow_mut().insert(id);
        }
    }

    /// The sum of the lanes' totals.
    pub fn sum(&self) -> Totals {
        let mut sum = Totals::default();
        for totals in self.totals.borrow().iter() {
            sum.add(totals);
        }
        sum
    }

    /// The sum of the lanes' totals as a sweep makes them of what stands in the table.
    pub fn stood_in_all(&self) -> Totals {
        let mut sum = Totals::default();
        self.stood.borrow().iter().for_each(|lane| sum.add(lane));
        sum
    }

    /// Nothing is in hand, nothing is being asked, and the last long polls found nothing (or this process has no share of the rate
    /// and does not poll).
    pub fn is_idle(&self) -> bool {
        let finds_nothing = self.empty_polls.get() >= 2 || self.pacer.share() == 0;
        finds_nothing && self.asking.get() == 0 && self.hands.borrow().is_empty()
    }

    /// Notes that a receive was answered.
    pub fn note_received(&self) {
        let now = self.now();
        let since = self.listening_since().unwrap_or(now);
        self.listened.set(Some((since, now)));
    }

    /// Notes that a message older than the cut-off was received, or may have been.
    pub fn note_old(&self) {
        self.old_seen.set(self.old_seen.get().max(Some(self.now())));
    }

    /// Since when the source has been listened to; `None`: it is not being listened to now. A silence that nobody listened to (a
    /// frozen process, a source out of reach) says nothing.
    pub fn listening_since(&self) -> Option<Moment> {
        let (since, until) = self.listened.get()?;
        let pause = self.now().since(until);
        (pause <= self.settings.timings.poll + LISTENING_PAUSE).then_some(since)
    }

    /// Whether a lane has something in its page whose visibility has run out without a hand-over: then no heartbeat may say
    /// that all is well.
    pub fn is_overdue(&self) -> bool {
        let now = self.now();
        self.due
            .iter()
            .flatten()
            .any(|due| due.get().is_some_and(|d| now >= d))
    }

    /// The burst of this process when `processes` share the run's.
    pub fn burst_among(&self, processes: i64) -> u32 {
        match self.settings.burst {
            None => crate::message::BATCH_ENTRIES as u32,
            Some(all) => (i64::from(all) / processes.max(1)).max(1) as u32,
        }
    }

    /// Puts what the coordinator granted in force.
    pub fn apply_grant(&self, grant: Grant) {
        self.pacer
            .set(grant.share, self.burst_among(grant.processes));
        if self.paused.replace(grant.paused) != grant.paused {
            let what = if grant.paused { "paused" } else { "resumed" };
            tracing::info!(route = %self.settings.route, "the run was {what} by hand");
            self.fresh.notify_waiters();
        }
        self.grant.set(grant);
        if let Some(journal) = &self.journal
            && grant.ended >= journal.epoch
        {
            self.stop.request(Reason::Ended);
        }
    }
}
