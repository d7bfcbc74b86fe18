//! Every port call of a clean run meets a kill before and after its effect, and everything else that can go wrong with a
//! call; whoever died is started again. Nothing is lost, nothing is doubled without being listed, and the run balances
//! over all its processes.

use sqs_drain::exit::ExitCode;

use crate::world::worker::Setup;
use crate::world::{Fault, World};

/// Long enough for a visibility, a sweep and the end of a run, several times.
const LIMIT_MS: u64 = 900_000;

/// The longest a stop may take (`--grace`), in a world where nothing else goes wrong.
const GRACE_MS: u64 = 25_000;

/// Runs `setup` on `shards` processes with one rule, to its end.
fn run(setup: &Setup, shards: u32, fault: Option<(u64, Fault)>, logged: bool) -> World {
    let mut world = setup.world(7, logged);
    if let Some((k, fault)) = fault.clone() {
        world.fault_at(k, fault);
    }
    let first = (0..shards).map(|shard| (shard, setup.start(&world, shard)));
    let first = first.collect();
    let ended = setup.supervise(&mut world, first, LIMIT_MS);
    let good = [ExitCode::Drained, ExitCode::FinishedWithRejects];
    let broken = match &ended {
        None => Some("the run never ended".to_owned()),
        Some(exits) if exits.iter().all(|e| good.contains(e)) => None,
        Some(exits) => Some(format!("the run ended with {exits:?}")),
    };
    if let Some(what) = broken {
        world.audit.borrow_mut().broken(world.now(), what);
    }
    setup.check_drained(&world);
    if ended.is_some() && setup.is_anything_left(&world) {
        // What a process could not settle when it left is settled by the next one.
        let next = vec![(0, setup.start(&world, 0))];
        let limit = world.now() + LIMIT_MS;
        setup.supervise(&mut world, next, limit);
    }
    setup.check_end(&world);
    if matches!(fault, Some((_, Fault::Term))) {
        check_stops(&world);
    }
    world
}

/// Whoever got SIGTERM left within the grace.
fn check_stops(world: &World) {
    for process in world.processes.borrow().iter() {
        let took = process.term_ms.get().zip(process.died_ms());
        if took.is_some_and(|(asked, left)| left > asked + GRACE_MS) {
            let what = format!("{} took {took:?} to stop", process.label());
            world.audit.borrow_mut().broken(world.now(), what);
        }
    }
}

/// Every call of a clean run, met by each of `faults`.
fn every_call(setup: &Setup, shards: u32, faults: &[Fault]) {
    let clean = run(setup, shards, None, true);
    clean.assert_sound();
    assert_eq!(clean.audit.borrow().doubles(), 0);
    let calls = clean.calls();
    assert!(calls > 10, "{calls} calls");
    for k in 0..calls {
        for fault in faults {
            let world = run(setup, shards, Some((k, fault.clone())), false);
            if !world.audit.borrow().violations().is_empty() {
                // The same again, with its log.
                eprintln!("{fault:?} at call {k} of {setup:?} on {shards}");
                run(setup, shards, Some((k, fault.clone())), true).assert_sound();
            }
        }
    }
}

const KILLS: [Fault; 2] = [Fault::KillBefore, Fault::KillAfter];

fn plain() -> Setup {
    Setup {
        messages: 15,
        ..Setup::default()
    }
}

fn at_most_once() -> Setup {
    Setup {
        at_most_once: true,
        ..plain()
    }
}

fn fifo() -> Setup {
    Setup {
        fifo: true,
        groups: 3,
        poison: [4].into(),
        ..plain()
    }
}

#[test]
fn killed_at_every_call() {
    every_call(&plain(), 1, &KILLS);
}

#[test]
fn killed_at_every_call_at_most_once() {
    every_call(&at_most_once(), 1, &KILLS);
}

#[test]
fn killed_at_every_call_of_a_fifo_route() {
    every_call(&fifo(), 1, &KILLS);
    let strict = Setup {
        at_most_once: true,
        ..fifo()
    };
    every_call(&strict, 1, &KILLS);
}

#[test]
fn killed_at_every_call_of_two_shards_with_a_rate() {
    let setup = Setup {
        destinations: 2,
        page: 50,
        rate: Some(20.0),
        ..plain()
    };
    every_call(&setup, 2, &KILLS);
}

#[test]
fn killed_at_every_call_with_refused_messages() {
    let poison = [2, 9].into();
    let setup = Setup { poison, ..plain() };
    every_call(&setup, 1, &KILLS);
    let no_reject_queue = Setup {
        reject: false,
        ..setup
    };
    every_call(&no_reject_queue, 1, &KILLS);
}

/// Without a table a kill doubles, but loses nothing.
#[test]
fn killed_at_every_call_without_a_table() {
    let setup = Setup {
        journal: false,
        ..plain()
    };
    every_call(&setup, 1, &KILLS);
}

#[test]
fn sigterm_at_every_call() {
    for setup in [plain(), at_most_once(), fifo()] {
        every_call(&setup, 1, &[Fault::Term]);
    }
    every_call(&plain(), 2, &[Fault::Term]);
}

/// Frozen or suspended for longer than a visibility and a lease, with another process at work.
#[test]
fn frozen_at_every_call() {
    let faults = [
        Fault::Freeze(60_000),
        Fault::HeldBack(60_000),
        Fault::Suspend(60_000),
        Fault::Stuck(60_000),
    ];
    every_call(&plain(), 2, &faults);
    every_call(&at_most_once(), 2, &faults);
}

#[test]
fn an_unsure_answer_at_every_call() {
    let faults = [
        Fault::AnswerLost,
        Fault::RequestLost,
        Fault::Late(45_000),
        Fault::Twice,
        Fault::Echo(45_000),
        Fault::InternalAfter,
    ];
    every_call(&plain(), 1, &faults);
    every_call(&at_most_once(), 1, &faults);
    every_call(&fifo(), 1, &faults);
}

#[test]
fn a_refused_call_at_every_call() {
    let faults = [
        Fault::Refused,
        Fault::Throttled,
        Fault::Internal,
        Fault::Entries,
        Fault::Copy(1),
        Fault::Copy(2),
        Fault::Empty,
        Fault::StaleCounts(30_000),
    ];
    every_call(&plain(), 1, &faults);
    every_call(&at_most_once(), 1, &faults);
    let may_park = Setup {
        may_park: true,
        ..fifo()
    };
    every_call(&may_park, 1, &faults);
}
