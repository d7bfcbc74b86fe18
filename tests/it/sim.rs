//! Seeded schedules: one to four shards of one route under everything that can go wrong, every promise checked at every
//! effect and at the end. `SQS_DRAIN_SEEDS` sets how many seeds are run.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::world::schedule::{Climate, Schedule};
use crate::world::worker::Setup;
use crate::world::{Chance, Fault, Op, World};

/// Paste a seed here that failed: `a_failing_seed` runs it alone, with its log.
const FAILING_SEED: u64 = 0;

/// Seeds of an ordinary test run.
const SEEDS: u64 = 2_000;

/// Runs a seed to its end.
fn run(seed: u64, logged: bool) -> World {
    Schedule::any(seed).run(logged)
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

/// A visibility that outlasts the minute in which nothing older than the cut-off may be seen: what is in doubt at the end is hidden, and
/// the run waits for it.
#[test]
fn what_is_hidden_at_the_end_keeps_the_run() {
    let climate = Climate {
        setup: Setup {
            visibility_s: 120,
            rate: Some(2.0),
            ..Climate::default().setup
        },
        messages: 150..=200,
        faults: vec![Chance::on(&[Op::Send], Fault::AnswerLost, 500)],
        storm_ms: 200_000,
        ..Climate::default()
    };
    for seed in 1..=20 {
        Schedule::of(&climate, seed).run(false).assert_sound();
    }
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
