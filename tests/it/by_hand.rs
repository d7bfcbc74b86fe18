//! `doubts settle` in the simulated world: killed or left without an answer at every one of its calls, and called again. Nothing is sent
//! twice without being asked for, nothing is lost, and in the end every doubt is settled and its copy out of the hold queue.

use std::collections::BTreeMap;
use std::rc::Rc;

use sqs_drain::drain::by_hand::{self, Action, End, Hand};
use sqs_drain::journal::RecordState;
use sqs_drain::ledger::Ledger;
use sqs_drain::message::Id;

use crate::world::worker::Setup;
use crate::world::{Core, Fault, Handle, Op, Outage, Rules, Sim, Target, World};

const MESSAGES: usize = 6;
const DESTINATION: usize = 1;

const SEND: Action = Action::Send { again: false };
const AGAIN: Action = Action::Send { again: true };

/// Longer than a visibility of the copies that a killed hand had.
const LATER_MS: u64 = 60_000;

fn strict(fifo: bool) -> Setup {
    Setup {
        messages: MESSAGES,
        fifo,
        groups: if fifo { 3 } else { 0 },
        at_most_once: true,
        run_id: Some("r"),
        ..Setup::default()
    }
}

/// A world whose run is over: messages were in doubt, though the destination got none of them, and are held; of a FIFO route only some, since
/// what is in the group of a doubt waits. For a while the hold queue took copies without answering, so it has several of some.
fn held(setup: &Setup, logged: bool) -> World {
    let mut world = setup.world(11, logged);
    let trouble = |queue, fault, until_ms| Outage {
        target: Target::Queue(queue),
        only: None,
        ops: &[Op::Send],
        from_ms: 0,
        until_ms,
        fault,
    };
    // So late that it never comes: nobody knows, and there is nothing.
    world.outage(trouble(DESTINATION, Fault::Internal, 30_000));
    world.outage(trouble(setup.hold(), Fault::AnswerLost, 90_000));
    let first = vec![(0, setup.start(&world, 0))];
    let ended = setup.supervise(&mut world, first, 1_800_000);
    assert!(ended.is_some(), "{}", world.log.borrow().text());
    world.assert_sound();
    let (held, copies) = (states(&world).len(), in_hold(setup, &world));
    assert_eq!(held + delivered(&world), MESSAGES);
    // A FIFO hold queue recognises what it has taken already.
    assert!(
        copies > held && held == MESSAGES || setup.fifo && held > 0,
        "{held} held, {copies} copies"
    );
    world.hold_to(Rules {
        received_from: Some(setup.hold()),
        ..setup.rules()
    });
    world
}

fn delivered(core: &Core) -> usize {
    core.audit.borrow().delivered.len()
}

/// The ends by id, as the command would print them.
type Ends = BTreeMap<Id, End>;

/// `doubts settle --all`, as one process.
fn start(setup: &Setup, core: &Rc<Core>, action: Action) -> Handle<Ends> {
    let (settings, setup) = (setup.settings(0), setup.clone());
    core.spawn("hand", move |ports| async move {
        let wiring = setup.wiring(&ports);
        let clock = wiring.clock.clone();
        let store = wiring.store.expect("a table");
        let ledger: Ledger<Sim> = Ledger::new(store, clock.clone(), settings.source.clone());
        let mut ends = Ends::new();
        let Ok(troubles) = ledger.troubles("r").await else {
            return ends;
        };
        let open = troubles.iter().filter(|t| t.state().is_open_doubt());
        let ids: Vec<Id> = open.map(|t| t.id).collect();
        let hand = Hand {
            ledger: &ledger,
            hold: Some(Rc::new(ports.source(setup.hold()))),
            sinks: &wiring.sinks,
            clock: &clock,
            settings: &settings,
        };
        // What went wrong with the table is tried again by the next call.
        let _ = by_hand::settle(&hand, action, &ids, |id, end| {
            assert!(ends.insert(id, end).is_none(), "{id} ends twice");
        })
        .await;
        ends
    })
}

fn settle(setup: &Setup, world: &mut World, action: Action) -> Ends {
    let hand = start(setup, world, action);
    let limit = world.now() + 600_000;
    assert!(world.run_until(limit, |core| core.process(hand.pid).is_dead()));
    world.run_for(LATER_MS);
    hand.result.take().unwrap_or_default()
}

/// What became of what was held, by the table.
fn states(world: &World) -> BTreeMap<Id, RecordState> {
    let mut states = BTreeMap::new();
    let table = world.table.borrow();
    for origin in &world.audit.borrow().originals {
        let id = Id::of(&origin.message_id);
        let key = sqs_drain::port::Key::new(format!("id#wait#{id}"), "id");
        let has = |name: &str| table.get(&key).is_some_and(|item| item.contains_key(name));
        let state = match () {
            () if !has("held") => continue,
            () if has("dropped") => RecordState::Dropped,
            () if has("settled") && has("sent") => RecordState::Settled,
            () if has("settled") => RecordState::Settling,
            () => RecordState::Held,
        };
        states.insert(id, state);
    }
    states
}

fn in_hold(setup: &Setup, world: &World) -> usize {
    world.queues.borrow()[setup.hold()].stored.len()
}

/// How many copies lie in the hold queue whose name the table does not know: left by sends into it whose answer was lost. Nobody can tell them
/// from a stranger's, so they are not touched. Of a FIFO hold queue's copies the deduplication id says whose they are.
fn strangers(setup: &Setup, world: &World) -> usize {
    let held = world.audit.borrow().originals.len();
    let known = world.table.borrow();
    let known: Vec<&str> = known
        .items()
        .filter(|(key, _)| key.sk == "held")
        .filter_map(|(key, _)| key.pk.rsplit('#').next())
        .collect();
    assert!(known.len() <= held, "a name for each message at most");
    let queues = world.queues.borrow();
    let stored = queues[setup.hold()].stored.iter();
    match setup.fifo {
        true => 0,
        false => stored
            .filter(|copy| !known.contains(&copy.message_id.as_str()))
            .count(),
    }
}

/// Nothing is left to settle: every doubt was sent or dropped, and of what lies in the hold queue the table knows nothing.
fn assert_over(setup: &Setup, world: &World, what: &str) {
    let open = states(world);
    let open: Vec<_> = open.iter().filter(|(_, s)| s.is_open_doubt()).collect();
    assert!(
        open.is_empty(),
        "{what}: {open:?}\n{}",
        world.log.borrow().text()
    );
    assert_eq!(
        in_hold(setup, world),
        strangers(setup, world),
        "{what}: copies left\n{}",
        world.log.borrow().text()
    );
}

#[test]
fn every_held_message_is_sent_once_and_its_copy_goes() {
    for setup in [strict(false), strict(true)] {
        let mut world = held(&setup, true);
        let held = states(&world).len();
        let ends = settle(&setup, &mut world, SEND);
        assert_eq!(ends.len(), held);
        assert!(
            ends.values().all(|end| matches!(end, End::Sent(_))),
            "{ends:?}"
        );
        assert_over(&setup, &world, "sent");
        assert_eq!((delivered(&world), world.audit.borrow().doubles()), (6, 0));
        world.assert_sound();
        assert!(settle(&setup, &mut world, SEND).is_empty());
    }
}

#[test]
fn every_held_message_is_dropped_and_its_copy_goes() {
    let setup = strict(false);
    let mut world = held(&setup, true);
    let ends = settle(&setup, &mut world, Action::Drop);
    assert!(
        ends.len() == MESSAGES && ends.values().all(|end| matches!(end, End::Dropped(_))),
        "{ends:?}"
    );
    assert_over(&setup, &world, "dropped");
    assert_eq!(delivered(&world), 0);
}

#[test]
fn two_hands_at_once_send_each_message_once() {
    let setup = strict(false);
    let mut world = held(&setup, true);
    let both = [SEND, SEND].map(|action| start(&setup, &world, action));
    let limit = world.now() + 600_000;
    let ended = |core: &Rc<Core>| both.iter().all(|h| core.process(h.pid).is_dead());
    assert!(world.run_until(limit, ended));
    world.run_for(LATER_MS);
    settle(&setup, &mut world, SEND);
    assert_over(&setup, &world, "two hands");
    assert_eq!((delivered(&world), world.audit.borrow().doubles()), (6, 0));
    world.assert_sound();
}

/// How a call of a hand is met, and what is done then.
fn met_at_every_call(setup: &Setup, first: Action, faults: &[Fault], then: Action) {
    let (from, calls) = {
        let mut world = held(setup, false);
        let from = world.calls();
        settle(setup, &mut world, first);
        (from, world.calls() - from)
    };
    assert!(calls > 10, "{calls} calls");
    let mut unclear = 0;
    for k in 0..calls {
        for fault in faults {
            let what = format!("{first:?}, then {then:?}: {fault:?} at call {k}");
            let mut world = held(setup, true);
            world.fault_at(from + k, fault.clone());
            settle(setup, &mut world, first);
            // The same again: it goes on, and sends nothing whose earlier send may have arrived.
            let ends = settle(setup, &mut world, first);
            world.assert_sound();
            assert_eq!(world.audit.borrow().doubles(), 0, "{what}");
            let open = states(&world);
            let open: Vec<_> = open.iter().filter(|(_, s)| s.is_open_doubt()).collect();
            // Side by side, but one after the other where order counts.
            let most = if setup.fifo { 1 } else { MESSAGES };
            assert!(open.len() <= most, "{what}: {open:?}");
            for (id, state) in &open {
                assert_eq!(**state, RecordState::Settling, "{what}: {id}");
                assert!(
                    matches!(ends.get(id), Some(End::Refused(words)) if words.contains("may or may not")),
                    "{what}: {ends:?}"
                );
            }
            unclear += open.len();
            if open.is_empty() {
                assert_over(setup, &world, &what);
                continue;
            }
            let arrived = delivered(&world);
            world.hold_to(Rules {
                received_from: Some(setup.hold()),
                at_most_once: false,
                may_double: true,
                ..setup.rules()
            });
            settle(setup, &mut world, then);
            assert_over(setup, &world, &what);
            match then {
                Action::Drop => assert_eq!(delivered(&world), arrived, "{what}"),
                // Nothing is lost: whoever asks for it again gets it.
                Action::Send { .. } => assert_eq!(delivered(&world), MESSAGES, "{what}"),
            }
        }
    }
    assert_eq!(
        unclear > 0,
        first != Action::Drop,
        "{unclear} sends by hand were left unclear"
    );
}

const KILLS: [Fault; 2] = [Fault::KillBefore, Fault::KillAfter];

#[test]
fn killed_at_every_call_while_sending() {
    met_at_every_call(&strict(false), SEND, &KILLS, AGAIN);
    met_at_every_call(&strict(true), SEND, &KILLS, Action::Drop);
}

#[test]
fn killed_at_every_call_while_dropping() {
    met_at_every_call(&strict(false), Action::Drop, &KILLS, Action::Drop);
}

#[test]
fn an_unsure_answer_at_every_call_while_sending() {
    let faults = [
        Fault::AnswerLost,
        Fault::RequestLost,
        Fault::Late(10_000),
        Fault::Twice,
        Fault::InternalAfter,
        Fault::Freeze(120_000),
    ];
    met_at_every_call(&strict(false), SEND, &faults, Action::Drop);
}
