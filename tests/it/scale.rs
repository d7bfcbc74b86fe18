//! What a process asks of the table with few processes and with many: joining, being quiet, coordinating, a redelivered message, a
//! sweep; and how hot its keys get when all start and end together. `SQS_DRAIN_SCALE=1000,10000` prints the figures for so many
//! (ten minutes for 10,000).

use std::rc::Rc;
use std::time::Duration;

use sqs_drain::exit::ExitCode;
use sqs_drain::port::{Datum, Item, Key, Source};
use sqs_drain::report::RouteReport;

use crate::world::orders::{Order, give};
use crate::world::process::Asked;
use crate::world::table::{Heat, Table, Units};
use crate::world::worker::Setup;
use crate::world::{Core, Handle, World};

/// Processes start this far apart.
const APART_MS: u64 = 4;

/// The run's id.
const RUN: &str = "many";

/// One of many processes that have nothing to do: one message is another reader's.
struct Many {
    world: World,
    setup: Setup,
    started: Vec<Handle<RouteReport>>,
}

impl Many {
    /// A message that is another reader's for `hidden_ms` keeps the run open; then it is for whoever is there.
    fn new(setup: Setup, hidden_ms: u64) -> Self {
        let setup = Setup {
            messages: 1,
            lanes: 8,
            page: 50,
            run_id: Some(RUN),
            // The other reader's message may stay away for longer than a cut-off would wait.
            no_cutoff: true,
            ..setup
        };
        let mut many = Self {
            world: setup.world(1, false),
            setup,
            started: Vec::new(),
        };
        many.world.table.borrow_mut().heat = Some(Heat::default());
        many.world.spawn("reader", move |ports| async move {
            let hidden = Duration::from_secs(hidden_ms / 1000);
            let got = ports.source(0).receive(10, Duration::ZERO, hidden).await;
            assert_eq!(got.map(|m| m.len()), Ok(1));
        });
        many.world.run_for(1_000);
        many
    }

    /// Processes that came one after the other and are all there.
    fn settled(n: u32) -> Self {
        Self::settled_as(n, Setup::default())
    }

    fn settled_as(n: u32, setup: Setup) -> Self {
        let mut many = Self::new(setup, 60_000 + u64::from(n) * APART_MS);
        many.start(n, u64::from(n) * APART_MS);
        many.world.run_for(20_000);
        many
    }

    /// Starts `n`, evenly within so long.
    fn start(&mut self, n: u32, within_ms: u64) {
        let from = self.world.now();
        for shard in 0..n {
            let due = from + u64::from(shard) * within_ms / u64::from(n);
            if due > self.world.now() {
                self.world.run_until(due, |_| false);
            }
            let started = self.setup.start(&self.world, shard);
            self.started.push(started);
        }
    }

    fn asked(&self) -> Vec<Asked> {
        let asked = |h: &Handle<_>| self.world.process(h.pid).asked.get();
        self.started.iter().map(asked).collect()
    }

    /// What each asked in so long.
    fn during(&mut self, ms: u64) -> Vec<Asked> {
        let before = self.asked();
        self.world.run_for(ms);
        let now = self.asked();
        now.iter().zip(before).map(|(a, b)| a.since(b)).collect()
    }

    /// The place in `started` of the process that the run's item calls its coordinator.
    fn coordinator(&self) -> usize {
        let name = coordinator(&self.world).expect("the run has a coordinator");
        let beat = Key::new(format!("process#{name}"), "beat");
        let is =
            |h: &Handle<_>| self.world.process(h.pid).beats_as.borrow().as_ref() == Some(&beat);
        let place = self.started.iter().position(is);
        place.expect("it is one of them")
    }

    /// Lets the message come back; it is sent.
    fn send_the_message(&mut self) {
        let sent = |core: &Rc<Core>| core.queues.borrow()[1].counts(core.now()).visible > 0;
        let limit = self.world.now() + 120_000;
        assert!(
            self.world.run_until(limit, sent),
            "the message came back and was sent"
        );
    }
}

fn coordinator(core: &Core) -> Option<String> {
    match run_item(core)?.get("coordinator") {
        Some(Datum::S(name)) => Some(name.clone()),
        _ => None,
    }
}

/// The run's item.
fn run_item(core: &Core) -> Option<Item> {
    let key = Key::new(format!("run#{RUN}"), "run");
    core.table.borrow().get(&key).cloned()
}

/// The figures for `n` processes.
#[derive(Debug)]
struct Figures {
    join: Asked,
    /// The busiest of those that do not coordinate, in 30 s.
    quiet: Asked,
    /// In 30 s.
    coordinator: Asked,
    /// All of the process that asks, from the redelivery until it sent the message.
    redelivered: Asked,
    /// The coordinator's more, in the 30 s in which somebody died.
    sweep: Asked,
    /// From the coordinator's death until another one coordinates.
    succession_ms: u64,
    /// From the beginning of `rate N` upwards until everybody has its higher share.
    raise_ms: u64,
}

fn figures(n: u32) -> Figures {
    let mut many = Many::settled(n);
    let place = many.coordinator();

    let asked = many.during(30_000);
    let coordinator = asked[place];
    let others = asked.iter().enumerate().filter(|(i, _)| *i != place);
    let quiet = others.map(|(_, a)| *a).max_by_key(|a| a.requests);

    // One more joins; its first heartbeat is due after three seconds.
    many.start(1, 1);
    many.world.run_for(1_400);
    let joiner = many.world.process(many.started[n as usize].pid);
    let join = joiner.asked.get();

    // The message that was another reader's comes back.
    let before = many.asked();
    many.send_the_message();
    let asked = many.asked();
    let rise = |(i, a): (usize, &Asked)| (i != place).then(|| a.since(before[i]));
    let redelivered = asked
        .iter()
        .enumerate()
        .filter_map(rise)
        .max_by_key(|a| a.keys);

    Figures {
        join,
        quiet: quiet.expect("more than one"),
        coordinator,
        redelivered: redelivered.expect("more than one"),
        sweep: sweep(n, coordinator),
        succession_ms: succession(n),
        raise_ms: raise(n),
    }
}

/// What the coordinator asks more when somebody dies.
fn sweep(n: u32, usual: Asked) -> Asked {
    let mut many = Many::settled(n);
    let place = many.coordinator();
    // Any other.
    many.world.kill(many.started[usize::from(place == 0)].pid);
    let asked = many.during(30_000)[place];
    Asked {
        writes: asked.writes.saturating_sub(usual.writes),
        keys: asked.keys.saturating_sub(usual.keys),
        found: asked.found.saturating_sub(usual.found),
        requests: asked.requests.saturating_sub(usual.requests),
    }
}

fn succession(n: u32) -> u64 {
    let mut many = Many::settled(n);
    let first = coordinator(&many.world);
    many.world.kill(many.started[many.coordinator()].pid);
    let died = many.world.now();
    let replaced = |core: &Rc<Core>| coordinator(core) != first;
    assert!(
        many.world.run_until(died + 120_000, replaced),
        "nobody coordinates"
    );
    many.world.now() - died
}

fn raise(n: u32) -> u64 {
    let setup = Setup {
        rate: Some(f64::from(n)),
        ..Setup::default()
    };
    let mut many = Many::settled_as(n, setup);
    let rate = 2_000 * i64::from(n);
    many.world.audit.borrow_mut().may_be_sent(None);
    let began = many.world.now();
    give(&many.world, Order::Rate(rate));
    let mut looked = 0;
    let raised = move |core: &Rc<Core>| {
        // Fifty times a second: it reads everybody's heartbeat.
        if core.now() < looked + 20 {
            return false;
        }
        looked = core.now();
        let table = core.table.borrow();
        let beats = table.items().filter(|(key, _)| key.sk == "beat");
        let acknowledged = beats.map(|(_, beat)| match beat.get("ack") {
            Some(Datum::N(share)) => *share,
            _ => 0,
        });
        acknowledged.sum::<i64>() == rate
    };
    let raised = many.world.run_until(began + 60_000, raised);
    assert!(raised, "not everybody was raised");
    many.world.now() - began
}

/// The figures of a wave: `n` processes that start within a second, as the children of an array, and end together.
#[derive(Debug)]
struct Wave {
    /// From the first start until everybody has been told how many they are.
    joined_ms: u64,
    /// The hottest second meanwhile.
    joining: Hottest,
    /// The longest from one look of the coordinator's at the run to the next, from the first start to the end.
    longest_round_ms: u64,
    /// From the moment the last message was sent until the run's item says that it is over.
    over_ms: u64,
    /// From then until the last process has ended.
    left_ms: u64,
    /// The hottest second from the message's return to the end.
    leaving: Hottest,
}

/// The most units in a second at one key of each kind, and at the table.
struct Hottest(Vec<(&'static str, Units)>);

impl Hottest {
    fn taken_from(table: &mut Table) -> Self {
        let heat = table.heat.replace(Heat::default()).unwrap_or_default();
        let kinds = ["source", "run", "process", "table"];
        Self(kinds.map(|kind| (kind, heat.peak(kind))).to_vec())
    }
}

impl std::fmt::Debug for Hottest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (kind, units) in &self.0 {
            write!(
                f,
                "{kind}: {} writes, {} reads; ",
                units.writes, units.reads
            )?;
        }
        Ok(())
    }
}

fn wave(n: u32) -> Wave {
    let setup = Setup {
        array: n,
        ..Setup::default()
    };
    let mut many = Many::new(setup, 56_000);
    let began = many.world.now();
    many.start(n, 1_000);
    let told = i64::from(if n > 16 { n.next_power_of_two() } else { n });
    let mut looked = 0;
    let all_told = move |core: &Rc<Core>| {
        // Ten times a second: it reads everybody's heartbeat.
        if core.now() < looked + 100 {
            return false;
        }
        looked = core.now();
        let table = core.table.borrow();
        let beats = table.items().filter(|(key, _)| key.sk == "beat");
        let told = beats.filter(|(_, beat)| beat.get("n") == Some(&Datum::N(told)));
        told.count() == n as usize
    };
    let joined = many.world.run_until(began + 54_000, all_told);
    assert!(joined, "not everybody is there");
    let joined_ms = many.world.now() - began;
    let joining = Hottest::taken_from(&mut many.world.table.borrow_mut());
    many.send_the_message();
    let sent = many.world.now();
    let place = many.coordinator();
    let over =
        |core: &Rc<Core>| run_item(core).is_some_and(|run| run.get("ended") == Some(&Datum::N(1)));
    assert!(many.world.run_until(sent + 120_000, over), "never over");
    let over_at = many.world.now();
    assert!(
        many.world.run_to_end(over_at + 300_000),
        "not everybody ended"
    );
    let exits = many.started.iter().map(|h| {
        let report = h.result.take();
        report.map(|report| report.exit)
    });
    let drained = exits
        .filter(|exit| *exit == Some(ExitCode::Drained))
        .count();
    assert_eq!(drained, n as usize, "everybody says that it is drained");
    many.world.assert_sound();
    let coordinator = many.world.process(many.started[place].pid);
    Wave {
        joined_ms,
        joining,
        longest_round_ms: coordinator.longest_round_ms.get(),
        over_ms: over_at - sent,
        left_ms: many.world.now() - over_at,
        leaving: Hottest::taken_from(&mut many.world.table.borrow_mut()),
    }
}

#[test]
fn a_quiet_process_costs_the_same_among_many() {
    let few = figures(4);
    let many = figures(150);
    assert_eq!(many.join, few.join, "joining");
    assert!(
        many.quiet.requests <= few.quiet.requests + 2 && many.quiet.keys <= few.quiet.keys + 2,
        "being quiet: {:?} of four, {:?} of many",
        few.quiet,
        many.quiet
    );
    // A death is one process's work, whatever the number.
    assert!(
        many.sweep.writes <= few.sweep.writes + 2,
        "a sweep: {:?} of four, {:?} of many",
        few.sweep,
        many.sweep
    );
    // Who has to look at everybody asks as often, for more items: one each, batch by batch.
    let more = 150 - 4;
    for (name, few, many, looks) in [
        ("coordinating", few.coordinator, many.coordinator, 60),
        (
            "a redelivered message",
            few.redelivered,
            many.redelivered,
            10,
        ),
    ] {
        assert!(
            many.writes <= few.writes + 2
                && many.requests <= few.requests + 10 + looks
                && many.keys <= few.keys + looks * more
                && many.found <= few.found + looks * more,
            "{name}: {few:?} of four, {many:?} of many"
        );
    }
    // The lease is 10 s.
    for figures in [&few, &many] {
        assert!(figures.succession_ms < 20_000, "{figures:?}");
        // And the heartbeat 3 s.
        assert!(figures.raise_ms < 3_000, "{figures:?}");
    }
}

#[test]
fn a_wave_keeps_every_key_cool() {
    let wave = wave(1_200);
    // AWS, of one partition key: 1,000 write units and 3,000 read units a second.
    for hottest in [&wave.joining, &wave.leaving] {
        for (kind, units) in hottest.0.iter().filter(|(kind, _)| *kind != "table") {
            let cool = units.writes <= 1_000 && units.reads <= 3_000;
            assert!(cool, "a key of kind {kind}: {wave:?}");
        }
    }
    // The lease is 10 s.
    assert!(wave.longest_round_ms < 10_000, "{wave:?}");
    assert!(
        wave.joined_ms < 20_000 && wave.over_ms < 20_000 && wave.left_ms < 20_000,
        "{wave:?}"
    );
}

#[test]
fn figures_for_so_many() {
    let Ok(numbers) = std::env::var("SQS_DRAIN_SCALE") else {
        return;
    };
    for n in numbers.split(',') {
        let n = n
            .trim()
            .parse()
            .expect("SQS_DRAIN_SCALE is a list of numbers");
        println!("{n} processes: {:#?}", figures(n));
        println!("{n} processes at once: {:#?}", wave(n));
    }
}
