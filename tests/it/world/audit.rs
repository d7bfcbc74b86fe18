//! The promises, checked at every effect and at the end, from what the servers saw: nothing the worker says of itself
//! is used.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use sqs_drain::journal::{Entry as PageEntry, Mark, Page};
use sqs_drain::message::Id;
use sqs_drain::port::{Change, Datum, Item, Key, Write};

use super::engine::{Core, Mood};
use super::fault::Fault;
use super::orders::Orders;
use super::process::Process;
use super::queue::{Accepted, Entry, Payload};
use super::table::Table;

/// A rate limit as told to the run.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Messages a second over all processes.
    pub per_second: u64,
    /// The burst of each active process.
    pub burst: u64,
}

/// Whether the table lists an id.
pub type Listed = Rc<dyn Fn(&Table, Id) -> bool>;

/// Whether the window is open at a time of day (ms since the epoch).
pub type Open = Rc<dyn Fn(i64) -> bool>;

/// The group id of a copy.
pub type GroupOf = Rc<dyn Fn(&Payload) -> Option<String>>;

/// What a scenario promises.
#[derive(Clone)]
pub struct Rules {
    /// The route's destinations (not hold, not reject).
    pub destinations: Vec<usize>,
    /// The queue that senders receive from, where that is not the one in which the messages were parked.
    pub received_from: Option<usize>,
    /// Never twice, whatever happens.
    pub at_most_once: bool,
    /// Doubles are given up on (no journal).
    pub may_double: bool,
    /// Whether the table lists this id as a doubt (in any of its states) or a resend.
    pub listed: Listed,
    /// The attribute of a heartbeat that ends its process.
    pub fenced: &'static str,
    /// Open or not at a time of day (ms since the epoch); none is always open.
    pub window: Option<Open>,
    /// The rate; none is no limit.
    pub rate: Option<Rate>,
    /// The group id that the copy of this original must have.
    pub group: GroupOf,
}

impl Rules {
    /// The strictest rules towards these destinations; nothing counts as listed.
    pub fn new(destinations: &[usize]) -> Self {
        Self {
            destinations: destinations.to_vec(),
            received_from: None,
            at_most_once: false,
            may_double: false,
            listed: Rc::new(|_, _| false),
            fenced: "fenced",
            window: None,
            rate: None,
            group: Rc::new(|payload| payload.group_id.clone()),
        }
    }
}

/// A test message as it was parked.
#[derive(Clone)]
pub struct Original {
    /// Where.
    pub queue: usize,
    /// Its SQS message id there.
    pub message_id: String,
    /// What it carries.
    pub payload: Rc<Payload>,
}

/// The audit's memory.
#[derive(Default)]
pub struct Audit {
    rules: Option<Rules>,
    /// Every parked test message; the index is its identity.
    pub originals: Vec<Original>,
    /// Who was accepted by a destination: origin -> pids, in order.
    pub delivered: BTreeMap<usize, Vec<usize>>,
    /// Test messages accepted by any queue at all (destination, hold, reject).
    kept: BTreeSet<usize>,
    /// Test messages of which a queue that is no destination has a copy.
    aside: BTreeSet<usize>,
    /// Origin of the last first copy, by destination and group.
    last_of_group: BTreeMap<(usize, String), usize>,
    starts: VecDeque<(u64, u64)>,
    /// What people have ordered.
    pub orders: Orders,
    /// Ids that a page or a record has called sent.
    marked: BTreeSet<Id>,
    violations: Vec<String>,
}

impl Audit {
    /// From now on these rules hold.
    pub fn hold_to(&mut self, rules: Rules) {
        self.rules = Some(rules);
    }

    /// Notes a broken promise.
    pub fn broken(&mut self, now_ms: u64, what: String) {
        if self.violations.len() < 50 {
            self.violations.push(format!("at {now_ms} ms: {what}"));
        }
    }

    /// What was broken so far.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    fn is_destination(&self, queue: usize) -> bool {
        let rules = self.rules.as_ref();
        rules.is_some_and(|r| r.destinations.contains(&queue))
    }

    /// A send begins (its request is handed to the port).
    pub fn send_starts(
        &mut self,
        core: &Rc<Core>,
        process: &Process,
        queue: usize,
        entries: &[Entry],
    ) {
        let Some(rules) = self.rules.clone() else {
            return;
        };
        if !self.is_destination(queue) {
            return;
        }
        let now = core.now();
        if let Some(open) = &rules.window {
            let local = process.wall_ms(now);
            let service = core.service_ms();
            for (clock, time) in [("local", local), ("service", service)] {
                if !open(time) {
                    let label = process.label();
                    self.broken(
                        now,
                        format!("{label} sends outside the window by the {clock} clock"),
                    );
                }
            }
        }
        self.may_send(core, process, &rules, entries);
        self.starts.push_back((now, entries.len() as u64));
        while self.starts.front().is_some_and(|(at, _)| at + 1_000 <= now) {
            self.starts.pop_front();
        }
        let label = process.label();
        if self.orders.is_paused(now) {
            self.broken(now, format!("{label} sends although the run is paused"));
        }
        let ordered = self.orders.highest(now);
        if let Some(rate) = rules.rate {
            let sent: u64 = self.starts.iter().map(|(_, n)| n).sum();
            let processes = core.processes.borrow();
            let active = processes
                .iter()
                .filter(|p| p.died_ms().is_none_or(|at| at + 1_000 > now))
                .count() as u64;
            let per_second = ordered.map_or(rate.per_second, |n| n.min(rate.per_second));
            if sent > per_second + rate.burst * active {
                self.broken(
                    now,
                    format!("{sent} messages in one second, {active} processes, {per_second}/s, {rate:?}"),
                );
            }
        }
    }

    /// Nothing is sent that the source has shown to others since, and nothing by a process that was fenced.
    fn may_send(&mut self, core: &Rc<Core>, process: &Process, rules: &Rules, entries: &[Entry]) {
        let (now, label) = (core.now(), process.label());
        let queues = core.queues.borrow();
        for entry in entries {
            let Some(origin) = entry.payload.origin() else {
                continue;
            };
            let Some(original) = self.originals.get(origin) else {
                continue;
            };
            let source = &queues[original.queue];
            let id = Id::of(&original.message_id);
            let held_in = &queues[rules.received_from.unwrap_or(original.queue)];
            if !held_in.is_hidden_by(now, &entry.handle) {
                let what = format!("{label} sends m{origin} and does not hold it any more");
                self.broken(now, what);
            }
            // Of a copy of SQS's own making another process knows nothing.
            if self.marked.contains(&id) && !source.copied.contains_key(&origin) {
                let what = format!("{label} sends m{origin}, which was marked as sent");
                self.broken(now, what);
            }
        }
        let beat = process.beats_as.borrow();
        let table = core.table.borrow();
        let fenced = beat.as_ref().is_some_and(|key| {
            let item = table.get(key);
            item.is_none_or(|item| item.contains_key(rules.fenced))
        });
        if fenced {
            self.broken(now, format!("{label} sends although it was fenced"));
        }
    }

    /// A queue accepted an entry: the last of its list.
    pub fn accepted(&mut self, core: &Rc<Core>, mood: &Mood, queue: usize) {
        let queues = core.queues.borrow();
        let Some(copy) = queues[queue].accepted.last().cloned() else {
            return;
        };
        let copies: u32 = queues
            .iter()
            .filter_map(|q| copy.origin.and_then(|o| q.copied.get(&o)))
            .sum();
        let fifo = queues[queue].spec.fifo;
        drop(queues);
        let now = core.now();
        let Some(origin) = copy.origin.filter(|o| *o < self.originals.len()) else {
            self.broken(now, "a copy without a known identity".into());
            return;
        };
        self.kept.insert(origin);
        let Some(rules) = self.rules.clone() else {
            return;
        };
        self.faithful(now, &rules, &copy, origin, fifo);
        if !self.is_destination(queue) {
            self.aside.insert(origin);
            return;
        }
        if copy.swallowed {
            return;
        }
        let earlier = self.delivered.entry(origin).or_default().clone();
        self.delivered.entry(origin).or_default().push(copy.pid);
        let id = Id::of(&self.originals[origin].message_id);
        if earlier.is_empty() {
            // A held message may have been delivered too, whenever its lost request comes.
            let in_order = fifo && !self.aside.contains(&origin);
            if let (true, Some(group)) = (in_order, &copy.payload.group_id) {
                let last = self.last_of_group.insert((queue, group.clone()), origin);
                if last.is_some_and(|last| last > origin) {
                    self.broken(now, format!("group {group}: m{origin} after m{last:?}"));
                }
            }
        } else if rules.at_most_once {
            self.broken(now, format!("m{origin} twice, at most once was promised"));
        } else if !rules.may_double {
            // A copy of SQS's own making is recognised only by the process that had the first.
            let other_process = copies > 0 && !earlier.contains(&copy.pid);
            if !other_process && !(rules.listed)(&core.table.borrow(), id) {
                self.broken(
                    now,
                    format!(
                        "m{origin} ({id}) twice and not listed: {earlier:?}, then {}",
                        copy.pid
                    ),
                );
            }
        }
        let excused = matches!(
            mood.fault,
            Some(Fault::Late(_) | Fault::HeldBack(_) | Fault::Slow(_))
        );
        if let (Some(open), false) = (&rules.window, excused)
            && !open(core.service_ms())
        {
            self.broken(now, format!("m{origin} accepted outside the window"));
        }
    }

    fn faithful(&mut self, now: u64, rules: &Rules, copy: &Accepted, origin: usize, fifo: bool) {
        let original = &self.originals[origin];
        let mut due = (*original.payload).clone();
        due.group_id = (rules.group)(&due);
        due.attributes.sort_by(|a, b| a.name.cmp(&b.name));
        let same_dedup =
            !fifo || copy.deduplication_id.as_deref() == Some(original.message_id.as_str());
        if *copy.payload != due || !same_dedup {
            self.broken(now, format!("the copy of m{origin} is not faithful"));
        }
    }

    /// A message left a queue by a delete.
    pub fn deleted(&mut self, core: &Rc<Core>, mood: &Mood, queue: usize, origin: usize) {
        let parked_here = self.originals.get(origin).is_some_and(|o| o.queue == queue);
        if self.rules.is_some() && parked_here && !self.kept.contains(&origin) {
            let process = core.process(mood.pid).label();
            self.broken(
                core.now(),
                format!("{process} deleted m{origin}, which no queue accepted"),
            );
        }
    }

    /// More may be sent than was promised, from now on: somebody orders it.
    pub fn may_be_sent(&mut self, rate: Option<u64>) {
        let Some(rules) = &mut self.rules else { return };
        rules.rate = match (rules.rate, rate) {
            (Some(old), Some(new)) => Some(Rate {
                per_second: old.per_second.max(new),
                ..old
            }),
            _ => None,
        };
    }

    /// A write to the table took effect.
    pub fn written(&mut self, core: &Core, write: &Write) {
        if write.key.sk == "run"
            && let Some(run) = core.table.borrow().get(&write.key)
        {
            self.orders.written(core.now(), run);
        }
        let item = match &write.change {
            Change::Put(item) => item,
            Change::Update { set, .. } => set,
            Change::Delete => return,
        };
        if write.key.sk.starts_with("page#") {
            let sent = entries_of(item)
                .into_iter()
                .filter(|e| e.mark == Mark::Sent);
            self.marked.extend(sent.map(|e| e.id));
        } else if let Some(id) = id_of(&write.key) {
            if item.contains_key("sent") {
                self.marked.insert(id);
            }
            if let Some(Datum::N(doubts)) = item.get("doubts")
                && !is_in_a_page(&core.table.borrow(), id, doubts - 1)
            {
                // What was read of a page must be true until it stands in the record.
                let what = format!("a doubt about {id} is written, which no page has any more");
                self.broken(core.now(), what);
            }
        }
    }

    /// A process made a message visible at once: a page of its own that still has it as about to be sent would, at a
    /// death, make a doubt of what was surely not sent.
    pub fn released(&mut self, core: &Core, mood: &Mood, queue: usize, handle: &str) {
        let process = core.process(mood.pid);
        let queues = core.queues.borrow();
        let (Some(beat), Some(stored)) = (&*process.beats_as.borrow(), queues[queue].under(handle))
        else {
            return;
        };
        let pages = core.table.borrow().under(&beat.pk, "page#");
        let mut entries = pages.iter().flat_map(|(_, item)| entries_of(item));
        if entries.any(|e| e.id == stored.id() && e.mark == Mark::Prepared) {
            let (label, origin) = (process.label(), stored.payload.origin());
            let what = format!(
                "{label} releases {origin:?}, which its page still has as about to be sent"
            );
            self.broken(core.now(), what);
        }
    }

    /// Doubts that nobody can settle any more, because the message is gone.
    pub fn check_doubts_owed(&mut self, core: &Core, source: usize, aside: &[usize], name: &str) {
        let queues = core.queues.borrow();
        let mut there = BTreeSet::new();
        for queue in aside.iter().chain([&source]) {
            there.extend(queues[*queue].stored.iter().map(|s| s.id()));
        }
        let table = core.table.borrow();
        for origin in 0..self.originals.len() {
            let id = Id::of(&self.originals[origin].message_id);
            let Some(record) = table.get(&Key::new(format!("id#{name}#{id}"), "id")) else {
                continue;
            };
            let number = |name: &str| match record.get(name) {
                Some(Datum::N(n)) => *n,
                _ => 0,
            };
            let settled = [
                "sent",
                "holding",
                "held",
                "rejecting",
                "rejected",
                "dropped",
            ];
            let open = number("doubts") > number("resent")
                && !settled.iter().any(|name| record.contains_key(*name));
            let excused = queues[source].copied.contains_key(&origin);
            if open && !there.contains(&id) && !excused {
                let what = format!("m{origin} ({id}) is in doubt for ever");
                self.broken(core.now(), what);
            }
        }
    }

    /// Where each test message is now: nothing may be nowhere.
    pub fn check_nothing_lost(&mut self, core: &Core) {
        let queues = core.queues.borrow();
        let mut stored = BTreeSet::new();
        for queue in queues.iter() {
            stored.extend(queue.stored.iter().filter_map(|s| s.payload.origin()));
        }
        for origin in 0..self.originals.len() {
            if !stored.contains(&origin) && !self.kept.contains(&origin) {
                self.broken(core.now(), format!("m{origin} is lost"));
            }
        }
    }

    /// After a drain that says it is done: the source is empty, and every test message of it reached a destination
    /// or one of the queues in `aside` (hold, reject, dead letters), but for those that may stay.
    pub fn check_drained(
        &mut self,
        core: &Core,
        source: usize,
        aside: &[usize],
        may_stay: impl Fn(usize) -> bool,
    ) {
        self.check_nothing_lost(core);
        let queues = core.queues.borrow();
        let left = queues[source]
            .stored
            .iter()
            .filter_map(|s| s.payload.origin());
        let left: Vec<usize> = left.filter(|origin| !may_stay(*origin)).collect();
        if !left.is_empty() {
            self.broken(core.now(), format!("left in a drained queue: {left:?}"));
        }
        let mut elsewhere = BTreeSet::new();
        for queue in aside {
            elsewhere.extend(
                queues[*queue]
                    .stored
                    .iter()
                    .filter_map(|s| s.payload.origin()),
            );
        }
        for origin in 0..self.originals.len() {
            let ours = self.originals[origin].queue == source;
            let there = self.delivered.contains_key(&origin) || elsewhere.contains(&origin);
            if ours && !there && !may_stay(origin) {
                self.broken(
                    core.now(),
                    format!("m{origin} never reached its destination"),
                );
            }
        }
    }

    /// What was delivered more than once and is not listed any more.
    pub fn check_still_listed(&mut self, core: &Core) {
        let Some(rules) = self.rules.clone().filter(|rules| !rules.may_double) else {
            return;
        };
        let table = core.table.borrow();
        let copied = core.queues.borrow();
        for (origin, pids) in self.delivered.clone() {
            let original = &self.originals[origin];
            let id = Id::of(&original.message_id);
            let excused = copied[original.queue].copied.contains_key(&origin);
            if pids.len() > 1 && !excused && !(rules.listed)(&table, id) {
                self.broken(core.now(), format!("m{origin} is not listed any more"));
            }
        }
    }

    /// Whether any queue accepted a copy of a test message.
    pub fn is_kept(&self, origin: usize) -> bool {
        self.kept.contains(&origin)
    }

    /// How many copies destinations took beyond one of each.
    pub fn doubles(&self) -> usize {
        self.delivered.values().map(|pids| pids.len() - 1).sum()
    }
}

/// The ids in a page as it is written.
fn entries_of(page: &Item) -> Vec<PageEntry> {
    match page.get("i") {
        Some(Datum::B(bytes)) => Page::decode_entries(bytes).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// Whether any page has this attempt of an id as under way or in doubt.
fn is_in_a_page(table: &Table, id: Id, attempt: i64) -> bool {
    let pages = table.items().filter(|(key, _)| key.sk.starts_with("page#"));
    let mut entries = pages.flat_map(|(_, item)| entries_of(item));
    entries.any(|e| {
        let open = matches!(e.mark, Mark::Prepared | Mark::InDoubt);
        open && e.id == id && i64::from(e.attempt) == attempt
    })
}

/// The id whose record has this key.
fn id_of(key: &Key) -> Option<Id> {
    let name = key.pk.strip_prefix("id#")?;
    name.rsplit('#').next().map(Id::of)
}
