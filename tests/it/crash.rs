//! Killed at every port call of a clean run, before and after its effect, and started again: nothing is lost, nothing is
//! doubled without being listed, and the run balances over all its processes.

use sqs_drain::exit::ExitCode;

use crate::world::worker::Setup;
use crate::world::{Fault, World};

/// Long enough for a visibility, a sweep and the end of a run, several times.
const LIMIT_MS: u64 = 900_000;

/// Runs `setup` with one rule; what is broken, and the world.
fn run(setup: &Setup, fault: Option<(u64, Fault)>, logged: bool) -> World {
    let mut world = setup.world(7, logged);
    if let Some((k, fault)) = fault {
        world.fault_at(k, fault);
    }
    let first = vec![(0, setup.start(&world, 0))];
    match setup.supervise(&mut world, first, LIMIT_MS) {
        None => {
            let now = world.now();
            world
                .audit
                .borrow_mut()
                .broken(now, "the run never ended".into());
        }
        Some(exits) => {
            let good = [ExitCode::Drained, ExitCode::FinishedWithRejects];
            if !exits.iter().all(|e| good.contains(e)) {
                let what = format!("the run ended with {exits:?}");
                world.audit.borrow_mut().broken(world.now(), what);
            }
        }
    }
    setup.check_end(&world);
    world
}

/// Every call of a clean run, met by each of `faults`.
fn every_call(setup: &Setup, faults: &[Fault]) {
    let clean = run(setup, None, true);
    clean.assert_sound();
    assert_eq!(clean.audit.borrow().doubles(), 0);
    let calls = clean.calls();
    assert!(calls > 20, "{calls} calls");
    for k in 0..calls {
        for fault in faults {
            let world = run(setup, Some((k, fault.clone())), false);
            if !world.audit.borrow().violations().is_empty() {
                // The same again, with its log.
                let again = run(setup, Some((k, fault.clone())), true);
                eprintln!("{fault:?} at call {k}");
                again.assert_sound();
            }
        }
    }
}

const KILLS: [Fault; 2] = [Fault::KillBefore, Fault::KillAfter];

#[test]
fn killed_at_every_call() {
    every_call(&Setup::default(), &KILLS);
}
