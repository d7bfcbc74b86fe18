//! `pause`, `resume` and `rate` on a run of several processes, in the simulated world: how soon they are in force, and that nothing is sent faster
//! than ordered while processes die.

use std::rc::Rc;

use crate::world::orders::{Order, give};
use crate::world::schedule::{Climate, Schedule, Stroke};
use crate::world::worker::Setup;
use crate::world::{Core, Handle, World};

/// An order is in force by then: within a heartbeat of three seconds, with something left for slower calls than the world's.
const WITHIN_MS: u64 = 2_500;

/// So long is counted what is sent.
const COUNTED_MS: u64 = 10_000;

fn sent(core: &Core) -> usize {
    core.queues.borrow()[1].accepted.len()
}

/// `n` processes at `rate` messages a second, all there.
fn under_way(seed: u64, n: u32, rate: i64, messages: i64) -> World {
    let setup = Setup {
        messages: messages as usize,
        rate: Some(rate as f64),
        lanes: 1,
        ..Setup::default()
    };
    let mut world = setup.world(seed, false);
    for shard in 0..n {
        let _: Handle<_> = setup.start(&world, shard);
        world.run_for(50);
    }
    // The steps of what follows fall elsewhere in a heartbeat with each seed.
    world.run_for(10_000 + seed * 317);
    world
}

/// Orders something, and answers with how many messages a second are sent from [`WITHIN_MS`] after the order was begun on.
fn after(world: &mut World, order: Order) -> f64 {
    world.audit.borrow_mut().may_be_sent(None);
    let begun = world.now();
    let told = give(world, order);
    world.run_until(begun + WITHIN_MS, |_| false);
    assert_eq!(told.result.take(), Some(true), "the command ended well");
    let before = sent(world);
    world.run_for(COUNTED_MS);
    (sent(world) - before) as f64 * 1_000.0 / COUNTED_MS as f64
}

#[test]
fn an_order_is_in_force_within_a_heartbeat() {
    for (n, seeds) in [(1, 3), (2, 8), (4, 8), (20, 2), (100, 1)] {
        for seed in 1..=seeds {
            // For each process; of many, so little that the world is not busy with messages.
            let (low, high) = if n <= 4 { (20, 50) } else { (2, 5) };
            let (low, high) = (low * i64::from(n), high * i64::from(n));
            let mut world = under_way(seed, n, low, 50 * high);
            // A batch of each may lie on either side of where the count begins or ends.
            let about = |what: &str, got: f64, due: i64| {
                let slack = if n <= 4 {
                    f64::from(n)
                } else {
                    0.12 * due as f64
                };
                assert!(
                    (got - due as f64).abs() <= slack,
                    "{what}, seed {seed}, {n} processes: {got}/s, not {due}/s"
                );
            };
            let raised = after(&mut world, Order::Rate(high * 1_000));
            about("a higher rate", raised, high);
            let paused = after(&mut world, Order::Pause(true));
            assert_eq!(paused, 0.0, "seed {seed}, {n} processes, paused");
            let resumed = after(&mut world, Order::Pause(false));
            about("resumed", resumed, high);
            let lowered = after(&mut world, Order::Rate(low * 1_000));
            about("a lower rate", lowered, low);
            world.assert_sound();
        }
    }
}

/// What the command wrote into the run's item and nowhere else is in force as soon: it was killed on the way, and the coordinator passes it on.
#[test]
fn an_order_of_a_command_that_was_killed_is_in_force_too() {
    for seed in 1..=6 {
        let mut world = under_way(seed, 4, 8, 1_000);
        let rate = |core: &Rc<Core>| core.audit.borrow().orders.rate();
        let hand = give(&world, Order::Rate(4_000));
        let limit = world.now() + 1_000;
        assert!(world.run_until(limit, |core| rate(core) == Some(4_000)));
        world.kill(hand.pid);
        world.run_for(WITHIN_MS);
        let before = sent(&world);
        world.run_for(COUNTED_MS);
        let sent = sent(&world) - before;
        assert!(sent <= 48, "seed {seed}: {sent} in ten seconds at 4/s");
        world.assert_sound();
    }
}

/// People order one thing after another while processes are killed and frozen: what is sent is never more than the highest of what was ordered
/// lately, and nothing at all while the run is paused.
#[test]
fn orders_hold_while_processes_die() {
    let strokes = [
        vec![Stroke::Kill; 2],
        (11_000..=16_000)
            .step_by(1_000)
            .map(Stroke::Freeze)
            .collect(),
        (1..=12).map(|n| Stroke::Rate(n * 10_000)).collect(),
        vec![Stroke::Pause(60_000)],
    ];
    let climate = Climate {
        setup: Setup {
            page: 50,
            burst: Some(6),
            rate: Some(60.0),
            ..Climate::default().setup
        },
        messages: 6_000..=8_000,
        shards: 2..=4,
        strokes: strokes.concat(),
        struck: 12,
        storm_ms: 60_000,
        ..Climate::default()
    };
    for seed in 1..=40 {
        let mut schedule = Schedule::of(&climate, seed);
        schedule.obeyed_within_ms = Some(40_000);
        schedule.run(false).assert_sound();
    }
}
