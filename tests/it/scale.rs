//! What a process asks of the table with few processes and with many: joining, being quiet, coordinating, a redelivered message, a
//! sweep. `SQS_DRAIN_SCALE=1000,10000` prints the figures for so many.

use std::rc::Rc;
use std::time::Duration;

use sqs_drain::port::{Datum, Key, Source};

use crate::world::process::Asked;
use crate::world::worker::Setup;
use crate::world::{Core, World};

/// Processes start this far apart.
const APART_MS: u64 = 4;

/// One of many processes that have nothing to do: one message is another reader's.
struct Many {
    world: World,
    setup: Setup,
    pids: Vec<usize>,
}

impl Many {
    fn new(n: u32) -> Self {
        let setup = Setup {
            messages: 1,
            lanes: 8,
            page: 50,
            ..Setup::default()
        };
        let mut many = Self {
            world: setup.world(1, false),
            setup,
            pids: Vec::new(),
        };
        // It keeps the run open, and comes back when everybody is there.
        let hidden = 60_000 + u64::from(n) * APART_MS;
        many.world.spawn("reader", move |ports| async move {
            let hidden = Duration::from_secs(hidden / 1000);
            let got = ports.source(0).receive(10, Duration::ZERO, hidden).await;
            assert_eq!(got.map(|m| m.len()), Ok(1));
        });
        many.world.run_for(1_000);
        for shard in 0..n {
            let started = many.setup.start(&many.world, shard);
            many.pids.push(started.pid);
            many.world.run_for(APART_MS);
        }
        many.world.run_for(20_000);
        many
    }

    fn asked(&self) -> Vec<Asked> {
        let asked = |pid: &usize| self.world.process(*pid).asked.get();
        self.pids.iter().map(asked).collect()
    }

    /// What each asked in so long.
    fn during(&mut self, ms: u64) -> Vec<Asked> {
        let before = self.asked();
        self.world.run_for(ms);
        let now = self.asked();
        now.iter().zip(before).map(|(a, b)| a.since(b)).collect()
    }

    /// The place in `pids` of the process that the run's item calls its coordinator.
    fn coordinator(&self) -> usize {
        coordinator(&self.world, &self.pids).expect("the run has a coordinator")
    }
}

/// By its heartbeat's key.
fn coordinator(core: &Rc<Core>, pids: &[usize]) -> Option<usize> {
    let table = core.table.borrow();
    let run = table.items().find(|(key, _)| key.sk == "run")?.1;
    let Some(Datum::S(name)) = run.get("coordinator") else {
        return None;
    };
    let beat = Key::new(format!("process#{name}"), "beat");
    let is = |pid: &usize| core.process(*pid).beats_as.borrow().as_ref() == Some(&beat);
    pids.iter().position(is)
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
}

fn figures(n: u32) -> Figures {
    let mut many = Many::new(n);
    let place = many.coordinator();

    let asked = many.during(30_000);
    let coordinator = asked[place];
    let others = asked.iter().enumerate().filter(|(i, _)| *i != place);
    let quiet = others.map(|(_, a)| *a).max_by_key(|a| a.requests);

    // One more joins; its first heartbeat is due after three seconds.
    let joiner = many.setup.start(&many.world, n);
    many.world.run_for(1_400);
    let join = many.world.process(joiner.pid).asked.get();

    // The message that was another reader's comes back.
    many.pids.push(joiner.pid);
    let before = many.asked();
    let sent = |core: &Rc<Core>| core.queues.borrow()[1].counts(core.now()).visible > 0;
    let limit = many.world.now() + 120_000;
    assert!(
        many.world.run_until(limit, sent),
        "the message came back and was sent"
    );
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
    }
}

/// What the coordinator asks more when somebody dies.
fn sweep(n: u32, usual: Asked) -> Asked {
    let mut many = Many::new(n);
    let place = many.coordinator();
    // Any other.
    many.world.kill(many.pids[usize::from(place == 0)]);
    let asked = many.during(30_000)[place];
    Asked {
        writes: asked.writes.saturating_sub(usual.writes),
        keys: asked.keys.saturating_sub(usual.keys),
        found: asked.found.saturating_sub(usual.found),
        requests: asked.requests.saturating_sub(usual.requests),
    }
}

fn succession(n: u32) -> u64 {
    let mut many = Many::new(n);
    let first = many.coordinator();
    many.world.kill(many.pids[first]);
    let (died, pids) = (many.world.now(), many.pids.clone());
    let replaced = |core: &Rc<Core>| coordinator(core, &pids).is_some_and(|c| c != first);
    assert!(
        many.world.run_until(died + 120_000, replaced),
        "nobody coordinates"
    );
    many.world.now() - died
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
                && many.requests <= few.requests + 10
                && many.keys <= few.keys + looks * more
                && many.found <= few.found + looks * more,
            "{name}: {few:?} of four, {many:?} of many"
        );
    }
    // The lease is 10 s.
    for figures in [&few, &many] {
        assert!(figures.succession_ms < 20_000, "{figures:?}");
    }
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
    }
}
