//! What a seed means: a route, its processes, the troubles they meet, and how it all ends.

use std::ops::RangeInclusive;

use sqs_drain::exit::ExitCode;

use super::orders::{self, Order};
use super::worker::Setup;
use super::{Chance, Core, Fault, Op, Outage, Rng, Target, Weather, World};

/// When the bad weather ends, at the latest.
const STORM_MS: u64 = 180_000;

/// By then a run is over, or it never ends: the storm, some visibilities, and some runs one after the other.
const LIMIT_MS: u64 = 1_200_000;

/// Who ends a pause says so again after so long.
const AGAIN_MS: u64 = 60_000;

/// A run that its window cut short goes on the next morning.
const DAY_MS: u64 = 86_400_000;

/// What can happen to a process by the clock. Times in milliseconds.
#[derive(Clone, Copy, Debug)]
pub enum Stroke {
    /// SIGKILL.
    Kill,
    /// Frozen for so long.
    Freeze(u64),
    /// Its machine suspended for so long.
    Suspend(u64),
    /// SIGTERM.
    Term,
    /// Its wall clock set to so far from the world's.
    Clock(i64),
    /// Not to a process: so many messages are parked.
    Park(usize),
    /// Not to a process: somebody gives the run another rate, in thousandths of a message a second; negative: none.
    Rate(i64),
    /// Not to a process: somebody pauses the run for so long.
    Pause(u64),
}

/// A spell of trouble at one place, somewhere in the storm.
#[derive(Clone, Debug)]
pub struct Spell {
    /// Where.
    pub target: Target,
    /// Only calls about keys that contain this.
    pub only: Option<&'static str>,
    /// The kinds of call it is confined to; none: all.
    pub ops: &'static [Op],
    /// What every call meets.
    pub fault: Fault,
    /// How long it lasts.
    pub ms: RangeInclusive<u64>,
}

/// A kind of bad weather: the troubles that are frequent in it.
#[derive(Clone, Debug)]
pub struct Climate {
    /// The route, but for the number of its messages.
    pub setup: Setup,
    /// How many messages.
    pub messages: RangeInclusive<u64>,
    /// How many processes.
    pub shards: RangeInclusive<u64>,
    /// The longest from one start to the next.
    pub apart_ms: u64,
    /// What single calls meet by chance.
    pub faults: Vec<Chance>,
    /// Kills by chance, at most.
    pub kills: u32,
    /// When the chances end.
    pub storm_ms: u64,
    /// The spells; each comes once for each time it stands here.
    pub spells: Vec<Spell>,
    /// Strokes to choose from.
    pub strokes: Vec<Stroke>,
    /// How many there are at most.
    pub struck: u64,
}

impl Default for Climate {
    fn default() -> Self {
        Self {
            setup: Setup {
                visibility_s: 22,
                may_park: true,
                ..Setup::default()
            },
            messages: 5..=20,
            shards: 2..=3,
            apart_ms: 5_000,
            faults: Vec::new(),
            kills: 0,
            storm_ms: 60_000,
            spells: Vec::new(),
            strokes: Vec::new(),
            struck: 0,
        }
    }
}

/// What a seed means.
pub struct Schedule {
    seed: u64,
    /// The route.
    pub setup: Setup,
    shards: u32,
    apart: fn(&mut Rng, u64) -> u64,
    apart_ms: u64,
    weather: Weather,
    outages: Vec<Outage>,
    strokes: Vec<(u64, Stroke, u64)>,
    skew_ms: i64,
    /// What is ordered is in force so long after it was written, whoever dies.
    pub obeyed_within_ms: Option<u64>,
    rng: Rng,
}

impl Schedule {
    /// One seed of a climate.
    pub fn of(climate: &Climate, seed: u64) -> Self {
        let mut rng = Rng::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let draw = |rng: &mut Rng, of: &RangeInclusive<u64>| rng.between(*of.start(), *of.end());
        let storm_ms = climate.storm_ms;
        let outages = climate.spells.iter().map(|spell| {
            let from_ms = rng.below(storm_ms);
            Outage {
                target: spell.target,
                only: spell.only,
                ops: spell.ops,
                from_ms,
                until_ms: from_ms + draw(&mut rng, &spell.ms),
                fault: spell.fault.clone(),
            }
        });
        let outages = outages.collect();
        let strokes = (0..rng.below(climate.struck + 1)).map(|_| {
            let what = *rng.pick(&climate.strokes);
            (rng.below(storm_ms), what, rng.next())
        });
        let strokes = strokes.collect();
        Self {
            seed,
            setup: Setup {
                messages: draw(&mut rng, &climate.messages) as usize,
                ..climate.setup.clone()
            },
            shards: draw(&mut rng, &climate.shards) as u32,
            apart: |rng, most| rng.below(most + 1),
            apart_ms: climate.apart_ms,
            weather: Weather {
                faults: climate.faults.clone(),
                until_ms: storm_ms,
                kills: climate.kills,
            },
            outages,
            strokes,
            skew_ms: 0,
            obeyed_within_ms: None,
            rng,
        }
    }

    /// One seed of all weathers.
    pub fn any(seed: u64) -> Self {
        let mut rng = Rng::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let setup = any_setup(&mut rng);
        let shards = rng.between(1, 4) as u32;
        let weather = any_weather(&mut rng, &setup);
        let strokes = (0..rng.below(6)).map(|_| {
            let at = rng.below(STORM_MS / 2);
            let (what, draw) = (rng.below(9), rng.next());
            let ms = rng.between(1_000, 90_000);
            let stroke = match what {
                0 => Stroke::Kill,
                1 => Stroke::Freeze(ms),
                2 => Stroke::Suspend(ms),
                3 => Stroke::Term,
                4 => Stroke::Clock((draw % 20_000) as i64 - 10_000),
                // Only a run with a table can be steered.
                5 if setup.journal => match draw % 8 {
                    0 => Stroke::Rate(-1),
                    _ => Stroke::Rate(1_000 + (draw % 60_000) as i64),
                },
                6 if setup.journal && setup.window.is_none() => Stroke::Pause(ms),
                _ => Stroke::Park((draw % 6) as usize),
            };
            (at, stroke, draw)
        });
        let strokes = strokes.collect();
        let skew_ms = match rng.chance(2_000) {
            true => rng.below(10_000) as i64 - 5_000,
            false => 0,
        };
        let outages = (0..rng.below(3)).map(|_| any_outage(&mut rng)).collect();
        Self {
            seed,
            setup,
            shards,
            // Array children start when they can.
            apart: |rng, most| rng.below(3) * rng.below(most),
            apart_ms: 20_000,
            weather,
            outages,
            strokes,
            skew_ms,
            obeyed_within_ms: None,
            rng,
        }
    }

    /// Runs it to its end.
    pub fn run(mut self, logged: bool) -> World {
        let setup = &self.setup;
        let mut world = setup.world(self.seed, logged);
        world.note(format_args!("seed {}: {setup:?}", self.seed));
        world.weather(self.weather);
        world.service_skew_ms.set(self.skew_ms);
        world.audit.borrow_mut().orders.late_ms = self.obeyed_within_ms;
        for outage in self.outages {
            world.outage(outage);
        }
        for (at, stroke, draw) in self.strokes {
            world.at(at, move |core| strike(core, stroke, draw));
        }
        let mut first = Vec::new();
        for shard in 0..self.shards {
            first.push((shard, setup.start(&world, shard)));
            let wait = (self.apart)(&mut self.rng, self.apart_ms);
            world.run_for(wait);
        }
        to_the_end(setup, &mut world, first);
        world
    }
}

/// Lets the route's processes run until nothing is left, as Batch and the next mornings would, and checks what must hold then.
fn to_the_end(
    setup: &Setup,
    world: &mut World,
    first: Vec<(u32, super::Handle<sqs_drain::report::RouteReport>)>,
) {
    let good = [ExitCode::Drained, ExitCode::FinishedWithRejects];
    let shut = [ExitCode::WindowClosed, ExitCode::OutsideWindow];
    let mut exits = setup.supervise(world, first, LIMIT_MS);
    for morning in 1..4 {
        let Some(ended) = &exits else { break };
        if ended.iter().any(|e| shut.contains(e)) {
            world.audit.borrow_mut().check_nothing_lost(world);
        } else {
            if setup.journal {
                setup.check_drained(world);
            }
            if !setup.is_anything_left(world) {
                break;
            }
        }
        // What the window cut short goes on the next morning; a resubmission moves what has come since.
        match setup.window {
            Some(_) => world.run_until(morning * DAY_MS + 10_000, |_| false),
            None => world.run_until(world.now() + 1_000, |_| false),
        };
        let limit = world.now() + LIMIT_MS;
        let next = vec![(0, setup.start(world, 0))];
        exits = setup.supervise(world, next, limit);
    }
    let broken = match exits {
        None => Some("the run never ended".to_owned()),
        Some(exits) if exits.iter().all(|e| good.contains(e)) => None,
        // With refused messages that stay a run may need longer than its window to be sure.
        Some(_) if setup.window.is_some() && !setup.is_anything_left(world) => None,
        Some(exits) => Some(format!("the run ended with {exits:?}")),
    };
    if let Some(what) = broken {
        world.audit.borrow_mut().broken(world.now(), what);
    }
    setup.check_end(world);
}

fn any_setup(rng: &mut Rng) -> Setup {
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
        // The shortest that the timings allow, and longer.
        visibility_s: *rng.pick(&[22, 30, 40]),
        journal,
        ..Setup::default()
    };
    // A group behind a refused message is seen as visible: such a run ends by its cut-off, which takes longer than the window.
    setup.reject |= setup.fifo && setup.window.is_some();
    setup
}

/// Faults by chance: a few kinds at a time, so that they can add up.
fn any_weather(rng: &mut Rng, setup: &Setup) -> Weather {
    // Shorter than a lease, shorter than a visibility, longer than both.
    let pause = *rng.pick(&[9_000, 25_000, 90_000]);
    let kinds = [
        Fault::KillBefore,
        Fault::KillAfter,
        Fault::Freeze(pause),
        Fault::Suspend(pause),
        Fault::HeldBack(pause),
        Fault::Stuck(pause),
        Fault::Refused,
        Fault::RequestLost,
        Fault::AnswerLost,
        Fault::Late(60_000),
        Fault::Slow(4_000),
        Fault::Throttled,
        Fault::Internal,
        Fault::InternalAfter,
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
            faults.push(Chance::of(fault, weight as u32));
        }
    }
    // A request in the socket of a frozen process is beyond every check of the window.
    if setup.window.is_some() {
        faults.retain(|c| !matches!(c.fault, Fault::HeldBack(_) | Fault::Stuck(_)));
    }
    Weather {
        faults,
        until_ms: rng.between(10_000, STORM_MS),
        kills: rng.between(1, 6) as u32,
    }
}

fn any_outage(rng: &mut Rng) -> Outage {
    let target = match rng.below(4) {
        0 => Target::Queue(0),
        1 => Target::Queue(1),
        _ => Target::Table,
    };
    let from_ms = rng.below(STORM_MS / 2);
    let only = match rng.chance(5_000) {
        true => None,
        // A lane's writes fail and the heartbeat goes on, or the other way round.
        false => Some(*rng.pick(&["page#", "id#", "beat", "run#"])),
    };
    Outage {
        target,
        only,
        ops: &[],
        from_ms,
        until_ms: from_ms + rng.between(500, 60_000),
        fault: rng
            .pick(&[Fault::RequestLost, Fault::Throttled, Fault::Internal])
            .clone(),
    }
}

/// Something befalls any living process.
fn strike(core: &std::rc::Rc<Core>, stroke: Stroke, draw: u64) {
    match stroke {
        Stroke::Rate(rate) => {
            let per_second = u64::try_from(rate).ok().map(|rate| rate.div_ceil(1_000));
            core.audit.borrow_mut().may_be_sent(per_second);
            orders::give(core, Order::Rate(rate));
            return;
        }
        Stroke::Pause(ms) => {
            orders::give(core, Order::Pause(true));
            // Until it is heard: a call may fail, and a late one undo it.
            for again in 0..10 {
                core.at(core.now() + ms + again * AGAIN_MS, |core| {
                    orders::give(core, Order::Pause(false));
                });
            }
            return;
        }
        _ => {}
    }
    let processes = core.processes.borrow();
    let living = processes.iter().filter(|p| !p.is_dead());
    let living: Vec<usize> = living.map(|p| p.pid).collect();
    drop(processes);
    if living.is_empty() {
        return;
    }
    let pid = living[(draw % living.len() as u64) as usize];
    match stroke {
        Stroke::Kill => core.kill(pid),
        Stroke::Freeze(ms) => core.freeze_for(pid, ms),
        Stroke::Suspend(ms) => core.suspend_for(pid, ms),
        Stroke::Term => core.sigterm(pid),
        Stroke::Clock(offset_ms) => core.set_wall(pid, offset_ms),
        Stroke::Park(n) => core.park(0, n, 2),
        Stroke::Rate(_) | Stroke::Pause(_) => {}
    }
}
