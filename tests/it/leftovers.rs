//! What an earlier run, or a process that is gone, left behind under circumstances that are others now: no reject queue any more, no
//! hold queue, no cut-off, another lease. And sources that do not let themselves be drained.

use std::rc::Rc;

use sqs_drain::exit::ExitCode;
use sqs_drain::message::Id;
use sqs_drain::port::{Change, Datum, Item, Key, Write};

use crate::world::worker::Setup;
use crate::world::{Core, Fault, Op, Outage, Target, World};

/// The longest that any of these may take, in ms.
const LIMIT_MS: u64 = 1_800_000;

fn trouble(target: Target, op: &'static [Op], fault: Fault, until_ms: u64) -> Outage {
    Outage {
        target,
        only: None,
        ops: op,
        from_ms: 0,
        until_ms,
        fault,
    }
}

/// One process of the route from start to end.
fn drain(setup: &Setup, world: &mut World) -> ExitCode {
    let one = setup.start(world, 0);
    assert!(world.run_to_end(LIMIT_MS), "{}", world.log.borrow().text());
    let report = one.result.take().expect("it ended by itself");
    assert!(report.balanced, "{:?}", report.totals);
    report.exit
}

/// The attribute of the run's item.
fn of_the_run(core: &Core, run: &str, name: &str) -> Option<Datum> {
    let table = core.table.borrow();
    let item = table.get(&Key::new(format!("run#{run}"), "run"));
    item.expect("the run's item").get(name).cloned()
}

/// Puts a fact into the record of a parked message, and lets it look received before.
fn say(core: &Rc<Core>, origin: usize, facts: &[(&str, Datum)]) {
    let id = Id::of(&core.audit.borrow().originals[origin].message_id);
    let facts = facts.iter().map(|(n, v)| ((*n).to_owned(), v.clone()));
    let item: Item = facts.collect();
    let key = Key::new(format!("id#wait#{id}"), "id");
    let write = Write {
        key,
        when: Vec::new(),
        change: Change::Put(item),
    };
    let written = core.table.borrow_mut().write(core.now(), &write);
    written.expect("nothing stands against it");
}

/// A world whose messages were all received before by somebody who kept none of them.
fn seen_before(setup: &Setup) -> World {
    let mut world = setup.world(7, true);
    world.spawn("before", |ports| async move {
        use sqs_drain::port::Source;
        let source = ports.source(0);
        let (none, second) = (std::time::Duration::ZERO, std::time::Duration::from_secs(1));
        let got = source.receive(10, none, second).await;
        assert!(got.is_ok_and(|m| !m.is_empty()));
    });
    world.run_for(5_000);
    world
}

#[test]
fn a_run_opened_again_without_a_cutoff_has_none() {
    let setup = Setup {
        run_id: Some("r"),
        ..Setup::default()
    };
    let mut world = setup.world(3, true);
    assert_eq!(drain(&setup, &mut world), ExitCode::Drained);
    assert!(of_the_run(&world, "r", "cutoff").is_some());
    let again = Setup {
        no_cutoff: true,
        ..setup
    };
    world.park(0, 5, 0);
    assert_eq!(drain(&again, &mut world), ExitCode::Drained);
    assert_eq!(of_the_run(&world, "r", "cutoff"), None);
    again.check_end(&world);
    world.assert_sound();
}

/// Its page says *rejecting* until it is hidden; a lane that waits for work does not leave it at that.
#[test]
fn what_is_parked_stands_as_parked_while_its_lane_waits() {
    let setup = Setup {
        messages: 3,
        reject: false,
        may_park: true,
        poison: [1].into(),
        no_cutoff: true,
        lanes: 1,
        run_id: Some("r"),
        ..Setup::default()
    };
    let mut world = setup.world(5, true);
    let one = setup.start(&world, 0);
    // A destination that is slow to be sure of it, so that the run is still open.
    world.outage(trouble(
        Target::Queue(0),
        &[Op::Counts],
        Fault::Internal,
        40_000,
    ));
    world.run_until(20_000, |_| false);
    world.kill(one.pid);
    let next = vec![(0, setup.start(&world, 0))];
    let ended = setup.supervise(&mut world, next, LIMIT_MS);
    assert_eq!(
        ended,
        Some(vec![ExitCode::Drained]),
        "{}",
        world.log.borrow().text()
    );
    setup.check_end(&world);
    world.assert_sound();
    let tallies = setup.totals(&world);
    assert_eq!(
        (tallies.in_doubt, tallies.rejected, tallies.parked),
        (0, 1, 1)
    );
}

/// It was refused when the route had a reject queue, which it has no more: it is tried again, and what becomes of that try is known.
#[test]
fn without_its_reject_queue_a_doubt_about_a_refused_message_is_a_doubt() {
    let setup = Setup {
        messages: 1,
        reject: false,
        may_park: true,
        ..Setup::default()
    };
    let mut world = seen_before(&setup);
    say(&world, 0, &[("rejecting", Datum::N(1))]);
    // The first answer of the destination is lost.
    let until = world.now() + 15_000;
    world.outage(trouble(
        Target::Queue(1),
        &[Op::Send],
        Fault::AnswerLost,
        until,
    ));
    assert_eq!(drain(&setup, &mut world), ExitCode::Drained);
    setup.check_end(&world);
    world.assert_sound();
    let totals = setup.totals(&world);
    assert_eq!(world.audit.borrow().doubles(), 1);
    assert_eq!((totals.possible_duplicates, totals.doubts_settled), (1, 1));
}

/// An at-most-once run was killed while it put a message aside; the next run has no hold queue.
#[test]
fn without_a_hold_queue_what_was_being_held_is_a_doubt() {
    let setup = Setup {
        messages: 2,
        ..Setup::default()
    };
    let mut world = seen_before(&setup);
    say(
        &world,
        0,
        &[("holding", Datum::N(1)), ("doubts", Datum::N(1))],
    );
    say(&world, 1, &[("holding", Datum::N(1))]);
    assert_eq!(drain(&setup, &mut world), ExitCode::Drained);
    setup.check_end(&world);
    world.assert_sound();
    let totals = setup.totals(&world);
    assert_eq!((totals.sent, totals.possible_duplicates), (2, 1));
}

/// In a FIFO group one is held, the next waits for that, and a third is new: it passes neither of them, whatever becomes of the claim on the
/// second (that of a process which gave it back, late).
#[test]
fn nothing_of_a_group_passes_what_is_not_held_yet() {
    let setup = Setup {
        messages: 3,
        groups: 1,
        fifo: true,
        at_most_once: true,
        ..Setup::default()
    };
    let mut world = seen_before(&setup);
    say(&world, 0, &[("doubts", Datum::N(1))]);
    say(&world, 1, &[("claimed_by", Datum::S("gone".into()))]);
    let until = world.now() + 15_000;
    world.outage(trouble(
        Target::Queue(setup.hold()),
        &[Op::Send],
        Fault::InternalAfter,
        until,
    ));
    world.at(until, |core| say(core, 1, &[]));
    assert_eq!(drain(&setup, &mut world), ExitCode::FinishedWithRejects);
    setup.check_end(&world);
    world.assert_sound();
    let delivered: Vec<usize> = world.audit.borrow().delivered.keys().copied().collect();
    assert_eq!(delivered, [1, 2]);
}

/// Everything it sends would come back, for ever.
#[test]
fn a_source_that_lets_nothing_be_deleted_ends_the_run() {
    let setup = Setup {
        messages: 40,
        ..Setup::default()
    };
    let mut world = setup.world(9, true);
    let denied = || trouble(Target::Queue(0), &[Op::Delete], Fault::Denied, 100_000);
    world.outage(denied());
    assert_eq!(drain(&setup, &mut world), ExitCode::Unavailable);
    assert!(world.now() < 60_000, "it took {} ms", world.now());
    world.run_until(150_000, |_| false);
    assert_eq!(drain(&setup, &mut world), ExitCode::Drained);
    setup.check_end(&world);
    world.assert_sound();
    assert_eq!(
        world.audit.borrow().doubles(),
        0,
        "all of it was known to be sent"
    );
}

/// Its heartbeat may stand still for longer than the newcomer's lease.
#[test]
fn a_run_with_a_longer_lease_is_not_taken_for_dead() {
    let slow = Setup {
        messages: 600,
        rate: Some(5.0),
        lease_s: 60,
        visibility_s: 90,
        run_id: Some("slow"),
        ..Setup::default()
    };
    let mut world = slow.world(13, true);
    let one = slow.start(&world, 0);
    world.run_for(20_000);
    let quick = Setup {
        run_id: Some("quick"),
        lease_s: 10,
        ..slow.clone()
    };
    let other = quick.start(&world, 0);
    let ended = |core: &Rc<Core>| core.process(other.pid).is_dead();
    assert!(world.run_until(180_000, ended));
    let report = other.result.take().expect("it ended");
    assert_eq!(report.exit, ExitCode::Refused, "{:?}", report.message);
    assert!(world.run_to_end(LIMIT_MS));
    let report = one.result.take().expect("it ended");
    assert_eq!(report.exit, ExitCode::Drained, "{:?}", report.message);
    slow.check_end(&world);
    world.assert_sound();
}
