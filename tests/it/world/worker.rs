//! The real worker in the world: the same drain that runs over AWS, on simulated ports, and what the table must say of it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use sqs_drain::drain::settings::{Cutoff, Destination, GroupFrom, LEASE, Settings, Timings};
use sqs_drain::drain::{self, Wiring};
use sqs_drain::exit::ExitCode;
use sqs_drain::journal::{Delivery, Totals};
use sqs_drain::message::{BATCH_BYTES, Id};
use sqs_drain::port::{Datum, Key};
use sqs_drain::report::RouteReport;
use sqs_drain::rules::Rule;
use sqs_drain::stop::{Reason, Stop};
use sqs_drain::window::Window;

use super::{Core, EPOCH_MS, Handle, ProcessPorts, QueueSpec, Rate, Rules, Sim, World};

/// The source's name in the table.
pub const SOURCE: &str = "wait";

/// One route in the world. Queue 0 is the source, then the destinations, then hold, reject and dead letters.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Messages parked before the start.
    pub messages: usize,
    /// Groups they are in (0: none).
    pub groups: u64,
    /// Source and destinations are FIFO queues.
    pub fifo: bool,
    /// Destinations.
    pub destinations: usize,
    /// Lanes of each process.
    pub lanes: usize,
    /// The most messages of a page.
    pub page: usize,
    /// Claims ids, holds doubts.
    pub at_most_once: bool,
    /// With a reject queue.
    pub reject: bool,
    /// Refused messages may stay in the source: there is no reject queue, or it does not take them.
    pub may_park: bool,
    /// Messages that the destinations refuse.
    pub poison: BTreeSet<usize>,
    /// Messages a second.
    pub rate: Option<f64>,
    /// The window, in Seoul; the world begins at Monday 08:00 there.
    pub window: Option<&'static str>,
    /// The burst over all processes.
    pub burst: Option<u32>,
    /// `maxReceiveCount` of the source.
    pub redrive: Option<u32>,
    /// How long a received message stays hidden, in seconds.
    pub visibility_s: u64,
    /// The lease, in seconds; a heartbeat takes three tenths of it.
    pub lease_s: u64,
    /// With a checkpoint table.
    pub journal: bool,
    /// The run has no cut-off: it ends only when nothing is left.
    pub no_cutoff: bool,
    /// How many processes it is told that there are.
    pub array: u32,
    /// The run's id, where it is not derived.
    pub run_id: Option<&'static str>,
    /// Rules of the protocol that the worker breaks.
    pub without: &'static [Rule],
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            messages: 20,
            groups: 0,
            fifo: false,
            destinations: 1,
            lanes: 2,
            page: 10,
            at_most_once: false,
            reject: true,
            may_park: false,
            poison: BTreeSet::new(),
            rate: None,
            burst: None,
            window: None,
            redrive: None,
            visibility_s: 40,
            lease_s: 10,
            journal: true,
            no_cutoff: false,
            array: 1,
            run_id: None,
            without: &[],
        }
    }
}

impl Setup {
    /// The hold queue's index.
    pub fn hold(&self) -> usize {
        self.destinations + 1
    }

    /// The reject queue's index.
    pub fn reject_queue(&self) -> usize {
        self.destinations + 2
    }

    /// The dead-letter queue's index.
    pub fn dead_letters(&self) -> usize {
        self.destinations + 3
    }

    fn timings(&self) -> Timings {
        Timings {
            visibility: Duration::from_secs(self.visibility_s),
            send_timeout: Duration::from_secs(2),
            table_timeout: Duration::from_secs(2),
            margin: Duration::from_secs(1),
            heartbeat: Duration::from_millis(self.lease_s * 300),
            lease: Duration::from_secs(self.lease_s),
            poll: Duration::from_secs(2),
            grace: Duration::from_secs(25),
            settle: Duration::from_secs(1),
            settle_checks: 3,
            cutoff_quiet: Duration::from_secs(60),
        }
    }

    fn window(&self) -> Window {
        match self.window {
            None => Window::always(),
            Some(text) => Window::parse(&[text.to_owned()], "Asia/Seoul", &[], &[])
                .expect("the scenario's window reads"),
        }
    }

    /// The worker's settings.
    pub fn settings(&self, shard: u32) -> Settings {
        let queue = |name: String, fifo| Destination {
            name,
            fifo,
            delay: Duration::ZERO,
            batch_bytes: BATCH_BYTES,
        };
        Settings {
            route: "night".into(),
            run_id: self.run_id.map(str::to_owned),
            shard,
            shards: self.array,
            host: "world".into(),
            fingerprint: format!(r#"{{"{LEASE}":"{}s"}}"#, self.lease_s),
            source: SOURCE.into(),
            source_fifo: self.fifo,
            destinations: (1..=self.destinations)
                .map(|n| queue(format!("schedule-{n}"), self.fifo))
                .collect(),
            reject: self.reject.then(|| queue("reject".into(), self.fifo)),
            hold: self.at_most_once.then(|| queue("hold".into(), self.fifo)),
            window: self.window(),
            rate: self.rate,
            burst: self.burst,
            delivery: match self.at_most_once {
                true => Delivery::AtMostOnce,
                false => Delivery::AtLeastOnce,
            },
            cutoff: match self.no_cutoff {
                true => Cutoff::None,
                false => Cutoff::RunStart,
            },
            start_within: None,
            wait_open: false,
            group_from: GroupFrom::Source,
            original_deduplication: false,
            lanes: self.lanes,
            page: self.page,
            timings: self.timings(),
            rules: sqs_drain::rules::Rules::without(self.without),
        }
    }

    /// A world with this route's queues and messages, held to its promises.
    pub fn world(&self, seed: u64, logged: bool) -> World {
        let mut world = World::with_log(seed, logged);
        let queue = |fifo| QueueSpec {
            fifo,
            ..QueueSpec::default()
        };
        world.queue(QueueSpec {
            redrive: self.redrive.map(|count| (self.dead_letters(), count)),
            ..queue(self.fifo)
        });
        for _ in 0..self.destinations {
            world.queue(QueueSpec {
                refuses: self.poison.clone(),
                ..queue(self.fifo)
            });
        }
        // Hold, reject, dead letters.
        for _ in 0..3 {
            world.queue(queue(self.fifo));
        }
        let t = self.timings();
        let mut timings = world.timings.get();
        timings.send_timeout_ms = t.send_timeout.as_millis() as u64;
        timings.table_timeout_ms = t.table_timeout.as_millis() as u64;
        timings.queue_timeout_ms = t.send_timeout.as_millis() as u64;
        world.timings.set(timings);
        world.hold_to(self.rules());
        world.park(0, self.messages, self.groups);
        // What is parked now is older than any run.
        world.run_for(1_000);
        world
    }

    /// What the worker is held to.
    pub fn rules(&self) -> Rules {
        let destinations: Vec<usize> = (1..=self.destinations).collect();
        let window = self.window.map(|_| {
            let window = self.window();
            let open = move |ms: i64| {
                let at = chrono::DateTime::from_timestamp_millis(ms).unwrap_or_default();
                matches!(window.state_at(at), sqs_drain::window::State::Open { .. })
            };
            Rc::new(open) as Rc<dyn Fn(i64) -> bool>
        });
        Rules {
            at_most_once: self.at_most_once,
            may_double: !self.journal,
            listed: Rc::new(|table, id| {
                let record = table.get(&Key::new(format!("id#{SOURCE}#{id}"), "id"));
                record.is_some_and(|item| matches!(item.get("doubts"), Some(Datum::N(n)) if *n > 0))
            }),
            window,
            rate: self.rate.map(|rate| Rate {
                per_second: rate.ceil() as u64,
                // Beyond what a burst for all is divided into, everybody has at least one message.
                burst: self.burst.map_or(10, |burst| u64::from(burst.max(1))),
            }),
            ..Rules::new(&destinations)
        }
    }

    /// Starts one process of the route.
    pub fn start(&self, core: &Rc<Core>, shard: u32) -> Handle<RouteReport> {
        let (settings, setup) = (self.settings(shard), self.clone());
        core.spawn(&format!("s{shard}"), move |ports| async move {
            let stop = Stop::default();
            let (signal, term) = (stop.clone(), ports.term());
            tokio::task::spawn_local(async move {
                term.cancelled().await;
                signal.request(Reason::Interrupted);
            });
            drain::run(setup.wiring(&ports), settings, stop, |_| {}).await
        })
    }

    /// The worker's ports.
    pub fn wiring(&self, ports: &ProcessPorts) -> Wiring<Sim> {
        let sink = |queue| Rc::new(ports.sink(queue));
        Wiring {
            source: Rc::new(ports.source(0)),
            sinks: (1..=self.destinations).map(sink).collect(),
            reject: self.reject.then(|| sink(self.reject_queue())),
            hold: self.at_most_once.then(|| sink(self.hold())),
            store: self.journal.then(|| Rc::new(ports.store())),
            clock: Rc::new(ports.clock()),
        }
    }

    /// What must hold at once when a run says that it is drained: nothing older than its cut-off is left.
    pub fn check_drained(&self, world: &World) {
        let table = world.table.borrow();
        let cutoffs = table
            .items()
            .filter_map(|(_, item)| match item.get("cutoff") {
                Some(Datum::N(ms)) => Some(*ms),
                _ => None,
            });
        let cutoff = cutoffs.max().unwrap_or(i64::MAX);
        let queues = world.queues.borrow();
        let stay = self.stay(world);
        let old = |at_ms: u64| EPOCH_MS + (at_ms as i64) < cutoff;
        let left = queues[0].stored.iter().filter(|s| old(s.sent_at_ms));
        let left: Vec<_> = left
            .filter_map(|s| s.payload.origin())
            .filter(|origin| !stay.contains(origin))
            .collect();
        if !left.is_empty() {
            let what = format!("drained, it was said, but {left:?} are older than the cut-off");
            world.audit.borrow_mut().broken(world.now(), what);
        }
    }

    /// Messages that may stay in the source: what is refused and has nowhere to go; what comes after it in its group in a FIFO
    /// source, or came before it and was not deleted yet (a hidden message locks its group); and what the queue handed out to nobody (the first
    /// try of a repeated receive), with what is behind it in its group.
    fn stay(&self, core: &Core) -> BTreeSet<usize> {
        let mut stay = core.queues.borrow()[0].unheard.clone();
        let audit = core.audit.borrow();
        if self.fifo {
            let groups = core.queues.borrow()[0].locked_by_nobody(core.now());
            let locked = |origin: &usize| {
                let group = audit.originals[*origin].payload.group_id.as_ref();
                group.is_some_and(|g| groups.contains(g))
            };
            stay.extend((0..audit.originals.len()).filter(locked));
        }
        if self.reject && !self.may_park {
            return stay;
        }
        let mut blocked = BTreeSet::new();
        for (origin, original) in audit.originals.iter().enumerate() {
            let group = original.payload.group_id.as_ref().filter(|_| self.fifo);
            if self.poison.contains(&origin) || group.is_some_and(|g| blocked.contains(g)) {
                stay.insert(origin);
                blocked.extend(group);
            }
        }
        let locked = |origin: &usize| {
            let group = audit.originals[*origin].payload.group_id.as_ref();
            audit.is_kept(*origin) && group.is_some_and(|g| blocked.contains(g))
        };
        stay.extend((0..audit.originals.len()).filter(locked));
        stay
    }

    /// Whether another run has something to do: messages that came later, or processes that nobody has swept.
    pub fn is_anything_left(&self, core: &Core) -> bool {
        let table = core.table.borrow();
        let mut keys = table.items().map(|(key, _)| key);
        let (queues, stay) = (core.queues.borrow(), self.stay(core));
        let mut origins = queues[0].stored.iter().filter_map(|s| s.payload.origin());
        origins.any(|origin| !stay.contains(&origin))
            || keys.any(|key| key.pk.starts_with("source#") && key.sk.starts_with("process#"))
    }

    /// What must hold when the last run is over: the promises, by the servers and by the table.
    pub fn check_end(&self, world: &World) {
        let aside = [self.hold(), self.reject_queue(), self.dead_letters()];
        let stay = self.stay(world);
        let mut audit = world.audit.borrow_mut();
        audit.check_drained(world, 0, &aside, |origin| stay.contains(&origin));
        audit.check_still_listed(world);
        audit.check_doubts_owed(world, 0, &aside, SOURCE);
        drop(audit);
        if self.journal {
            self.check_table(world);
        }
    }

    /// The totals of all processes that ended or were swept, as the table has them.
    pub fn totals(&self, world: &World) -> Totals {
        let table = world.table.borrow();
        let mut totals = Totals::default();
        for (key, item) in table.items().filter(|(key, _)| key.pk.starts_with("run#")) {
            for (name, value) in item {
                if let (true, Datum::B(bytes)) = (name.starts_with("lane"), value) {
                    match Totals::decode(bytes) {
                        Ok(lane) => totals.add(&lane),
                        Err(error) => panic!("{key}: {error}"),
                    }
                }
            }
        }
        totals
    }

    /// What must hold of the table when no process lives and all of them are swept.
    fn check_table(&self, world: &World) {
        let mut complaints = Vec::new();
        let totals = self.totals(world);
        let table = world.table.borrow();
        let mut listed = BTreeSet::new();
        for (key, _) in table.items() {
            // A registration may come late and once more; then its heartbeat's tombstone says that it is nobody's.
            if key.pk.starts_with("source#") && key.sk.starts_with("process#") {
                let beat = table.get(&Key::new(key.sk.clone(), "beat"));
                if !beat.is_some_and(|beat| beat.contains_key("gone")) {
                    complaints.push(format!("{key} is still registered"));
                }
            }
            if !key.pk.starts_with("run#") {
                continue;
            }
            if let Some(id) = key.sk.strip_prefix("id#") {
                listed.insert(Id::of(id));
            }
        }
        if !totals.is_balanced() {
            complaints.push(format!("the run does not balance: {totals:?}"));
        }
        let audit = world.audit.borrow();
        let queues = world.queues.borrow();
        let copies: usize = (1..=self.destinations)
            .map(|q| queues[q].accepted.len())
            .sum();
        let (sure, possible) = (totals.sent, totals.sent + totals.in_doubt);
        if !(sure..=possible).contains(&(copies as u64)) {
            complaints.push(format!("{copies} copies were accepted, but {totals:?}"));
        }
        let copied: BTreeMap<usize, u32> = queues[0].copied.clone();
        for (origin, pids) in &audit.delivered {
            let id = Id::of(&audit.originals[*origin].message_id);
            if pids.len() > 1 && !copied.contains_key(origin) && !listed.contains(&id) {
                complaints.push(format!(
                    "m{origin} ({id}) was doubled and its run does not list it"
                ));
            }
        }
        drop((audit, queues, table));
        for complaint in complaints {
            world.audit.borrow_mut().broken(world.now(), complaint);
        }
    }

    /// Starts processes again as AWS Batch would (killed ones, and by exit code), until all have ended with nothing left to
    /// retry. Returns their exit codes, or `None` when virtual time ran out.
    pub fn supervise(
        &self,
        world: &mut World,
        mut running: Vec<(u32, Handle<RouteReport>)>,
        limit_ms: u64,
    ) -> Option<Vec<ExitCode>> {
        let mut exits = Vec::new();
        while !running.is_empty() {
            let ended =
                |core: &Rc<Core>| running.iter().any(|(_, h)| core.process(h.pid).is_dead());
            if !world.run_until(limit_ms, ended) {
                return None;
            }
            let (dead, alive): (Vec<_>, Vec<_>) = running
                .into_iter()
                .partition(|(_, h)| world.process(h.pid).is_dead());
            running = alive;
            let mut again = Vec::new();
            for (shard, handle) in dead {
                match handle.result.take() {
                    Some(report) => {
                        self.check_report(world, &report);
                        match report.exit.retryable() {
                            true => again.push(shard),
                            false => exits.push(report.exit),
                        }
                    }
                    None => again.push(shard),
                }
            }
            if !again.is_empty() {
                world.run_for(1_000);
            }
            let starts = again
                .into_iter()
                .map(|shard| (shard, self.start(world, shard)));
            running.extend(starts);
        }
        Some(exits)
    }

    fn check_report(&self, world: &World, report: &RouteReport) {
        world.note(format_args!(
            "  exit {:?}, {:?}, {:?}",
            report.exit, report.message, report.totals
        ));
        if !report.balanced || report.exit == ExitCode::Failed {
            let what = format!("a report says {:?}: {:?}", report.exit, report.message);
            world.audit.borrow_mut().broken(world.now(), what);
        }
    }
}
