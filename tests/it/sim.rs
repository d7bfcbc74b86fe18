//! Seeded schedules: one to four shards of one route under everything that can go wrong, every promise checked at every
//! effect and at the end. `SQS_DRAIN_SEEDS` sets how many seeds are run.

use std::sync::atomic::{AtomicU64, Ordering};

use sqs_drain::exit::ExitCode;

use crate::world::worker::Setup;
use crate::world::{Core, Fault, Outage, Rng, Target, Weather, World};

/// Paste a seed here that failed: `a_failing_seed` runs it alone, with its log.
const FAILING_SEED: u64 = 0;

/// Seeds of an ordinary test run.
const SEEDS: u64 = 2_000;

/// When the bad weather ends, at the latest.
const STORM_MS: u64 = 180_000;

/// By then a run is over, or it never ends: the storm, some visibilities, and some runs one after the other.
const LIMIT_MS: u64 = 1_200_000;

/// A run that its window cut short goes on the next morning.
const DAY_MS: u64 = 86_400_000;

/// What a seed means.
struct Schedule {
    setup: Setup,
    shards: u32,
    rng: Rng,
}

impl Schedule {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let messages = rng.between(5, 50) as usize;
        let fifo = rng.chance(2_000);
        let rate = rng.chance(3_000).then(|| rng.between(2, 40) as f64);
        let journal = !rng.chance(500);
        let mut setup = Setup {
            messages,
            groups: if fifo {
                rng.between(1, 6)
            } else {
                rng.below(4)
            },
            fifo,
            destinations: rng.between(1, 2) as usize,
            lanes: rng.between(1, 3) as usize,
            page: *rng.pick(&[1, 5, 10, 20, 50]),
            at_most_once: journal && rng.chance(3_000),
            reject: rng.chance(7_500),
            may_park: true,
            poison: match rng.chance(2_500) {
                true => (0..2)
                    .map(|_| rng.below(messages as u64) as usize)
                    .collect(),
                false => Default::default(),
            },
            rate: rate.filter(|_| journal),
            burst: rng.chance(2_000).then(|| rng.between(1, 20) as u32),
            window: rng.chance(1_500).then_some("08:00-08:01"),
            redrive: rng.chance(1_000).then(|| rng.between(8, 20) as u32),
            journal,
            run_id: None,
        };
        // A group behind a refused message is seen as visible: such a run ends by its cut-off, which takes longer than the window.
        setup.reject |= setup.fifo && setup.window.is_some();
        let shards = rng.between(1, 4) as u32;
        Self { setup, shards, rng }
    }

    /// Faults by chance: a few kinds at a time, so that they can add up.
    fn weather(&mut self) -> Weather {
        let rng = &mut self.rng;
        let kinds = [
            Fault::KillBefore,
            Fault::KillAfter,
            Fault::Freeze(90_000),
            Fault::Suspend(90_000),
            Fault::HeldBack(60_000),
            Fault::Stuck(90_000),
            Fault::Refused,
            Fault::RequestLost,
            Fault::AnswerLost,
            Fault::Late(60_000),
            Fault::Slow(4_000),
            Fault::Throttled,
            Fault::ServerFault,
            Fault::ServerFaultAfter,
            Fault::Twice,
            Fault::Echo(30_000),
            Fault::Entries,
            Fault::Empty,
            Fault::Copy(1),
            Fault::Copy(2),
            Fault::StaleCounts(30_000),
        ];
        let mut faults = Vec::new();
        for fault in kinds {
            if rng.chance(4_000) {
                let weight = match fault {
                    Fault::KillBefore | Fault::KillAfter => rng.between(5, 100),
                    Fault::Freeze(_) | Fault::Suspend(_) | Fault::HeldBack(_) | Fault::Stuck(_) => {
                        rng.between(5, 60)
                    }
                    _ => rng.between(20, 400),
                };
                faults.push((fault, weight as u32));
            }
        }
        // A request in the socket of a frozen process is beyond every check of the window.
        if self.setup.window.is_some() {
            faults.retain(|(f, _)| !matches!(f, Fault::HeldBack(_) | Fault::Stuck(_)));
        }
        Weather {
            faults,
            until_ms: rng.between(10_000, STORM_MS),
            kills: rng.between(1, 6) as u32,
        }
    }

    /// What happens by the clock.
    fn events(&mut self, world: &World) {
        let rng = &mut self.rng;
        for _ in 0..rng.below(6) {
            let at = rng.below(STORM_MS / 2);
            let (what, draw) = (rng.below(7), rng.next());
            let ms = rng.between(1_000, 90_000);
            world.at(at, move |core| {
                let Some(pid) = someone(core, draw) else {
                    return;
                };
                match what {
                    0 => core.kill(pid),
                    1 => core.freeze_for(pid, ms),
                    2 => core.suspend_for(pid, ms),
                    3 => core.sigterm(pid),
                    4 => core.set_wall(pid, (draw % 20_000) as i64 - 10_000),
                    _ => core.park(0, (draw % 6) as usize, 2),
                }
            });
        }
        if rng.chance(2_000) {
            world.service_skew_ms.set(rng.below(10_000) as i64 - 5_000);
        }
        for _ in 0..rng.below(3) {
            let target = match rng.below(4) {
                0 => Target::Queue(0),
                1 => Target::Queue(1),
                _ => Target::Table,
            };
            let from_ms = rng.below(STORM_MS / 2);
            let rng = &mut *rng;
            world.outage(Outage {
                target,
                only: match rng.chance(5_000) {
                    true => None,
                    // A lane's writes fail and the heartbeat goes on, or the other way round.
                    false => Some(*rng.pick(&["page#", "id#", "beat", "run#"])),
                },
                from_ms,
                until_ms: from_ms + rng.between(500, 60_000),
                fault: rng
                    .pick(&[Fault::RequestLost, Fault::Throttled, Fault::ServerFault])
                    .clone(),
            });
        }
    }
}

/// Any living process.
fn someone(core: &Core, draw: u64) -> Option<usize> {
    let processes = core.processes.borrow();
    let living: Vec<usize> = processes
        .iter()
        .filter(|p| !p.is_dead())
        .map(|p| p.pid)
        .collect();
    match living.is_empty() {
        true => None,
        false => Some(living[(draw % living.len() as u64) as usize]),
    }
}

/// Runs a seed to its end.
fn run(seed: u64, logged: bool) -> World {
    let mut schedule = Schedule::new(seed);
    let mut world = schedule.setup.world(seed, logged);
    world.note(format_args!("seed {seed}: {:?}", schedule.setup));
    let weather = schedule.weather();
    world.weather(weather);
    schedule.events(&world);
    let setup = &schedule.setup;
    let mut first = Vec::new();
    for shard in 0..schedule.shards {
        first.push((shard, setup.start(&world, shard)));
        // Array children start when they can.
        let wait = schedule.rng.below(3) * schedule.rng.below(20_000);
        world.run_for(wait);
    }
    let good = [ExitCode::Drained, ExitCode::FinishedWithRejects];
    let shut = [ExitCode::WindowClosed, ExitCode::OutsideWindow];
    let mut exits = setup.supervise(&mut world, first, LIMIT_MS);
    for morning in 1..4 {
        let Some(ended) = &exits else { break };
        if ended.iter().any(|e| shut.contains(e)) {
            world.audit.borrow_mut().check_nothing_lost(&world);
        } else {
            if setup.journal {
                setup.check_drained(&world);
            }
            if !setup.is_anything_left(&world) {
                break;
            }
        }
        // What the window cut short goes on the next morning; a resubmission moves what has come since.
        match setup.window {
            Some(_) => world.run_until(morning * DAY_MS + 10_000, |_| false),
            None => world.run_until(world.now() + 1_000, |_| false),
        };
        let limit = world.now() + LIMIT_MS;
        let next = vec![(0, setup.start(&world, 0))];
        exits = setup.supervise(&mut world, next, limit);
    }
    let broken = match exits {
        None => Some("the run never ended".to_owned()),
        Some(exits) if exits.iter().all(|e| good.contains(e)) => None,
        Some(exits) => Some(format!("the run ended with {exits:?}")),
    };
    if let Some(what) = broken {
        world.audit.borrow_mut().broken(world.now(), what);
    }
    setup.check_end(&world);
    world
}

fn seeds() -> u64 {
    let asked = std::env::var("SQS_DRAIN_SEEDS").ok();
    asked.and_then(|n| n.parse().ok()).unwrap_or(SEEDS)
}

#[test]
fn every_seed_keeps_every_promise() {
    let (next, all) = (AtomicU64::new(1), seeds());
    let failed = std::sync::Mutex::new(Vec::new());
    let work = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed > all {
            return;
        }
        let outcome = std::panic::catch_unwind(|| {
            let world = run(seed, false);
            let audit = world.audit.borrow();
            audit.violations().first().cloned()
        });
        let what = outcome.unwrap_or_else(|_| Some("panicked".into()));
        if let Some(what) = what {
            eprintln!("seed {seed}: {what}");
            if let Ok(mut failed) = failed.lock() {
                failed.push(seed);
            }
        }
    };
    std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner().unwrap_or_default();
    assert!(
        failed.is_empty(),
        "{} of {all} seeds failed: {failed:?}",
        failed.len()
    );
}

#[test]
fn a_failing_seed() {
    let seed = std::env::var("SQS_DRAIN_SEED").ok();
    let seed = seed.and_then(|n| n.parse().ok()).unwrap_or(FAILING_SEED);
    run(seed, true).assert_sound();
}

#[test]
fn the_same_seed_gives_the_same_log() {
    for seed in 1..=20 {
        let (one, two) = (run(seed, true), run(seed, true));
        let (one, two) = (one.log.borrow(), two.log.borrow());
        let (one, two) = (one.text(), two.text());
        let differs = one.lines().zip(two.lines()).position(|(a, b)| a != b);
        assert!(
            one == two,
            "seed {seed} differs from line {differs:?} on:\n{}\n{}",
            differs.map_or("", |n| one.lines().nth(n).unwrap_or_default()),
            differs.map_or("", |n| two.lines().nth(n).unwrap_or_default()),
        );
    }
}
