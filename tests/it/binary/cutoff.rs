//! When a run may end although the queue is never empty, and when it may not.

use chrono::{DateTime, SecondsFormat, Utc};

use super::fleet::numbered;
use super::harness::{PATIENCE, now, pause};
use super::world::{SCHEDULE, WAIT, World};

/// How many messages are there before the run.
const BEFORE: usize = 200;

/// Parks one more every 20 looks.
fn produce(world: &World, looks: usize, parked: &mut usize) {
    if looks.is_multiple_of(20) {
        let one = [numbered(*parked)];
        world.endpoints.seed(WAIT, one).expect("parked");
        *parked += 1;
    }
}

fn time(world: &World) -> String {
    let ms = i64::try_from(world.endpoints.clock().now_ms()).expect("a time");
    let time: DateTime<Utc> = DateTime::from_timestamp_millis(ms).expect("a time");
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Every number below `parked` is at the destination or still in the source, once.
fn accounts_for(world: &World, parked: usize) {
    let mut all: Vec<usize> = [SCHEDULE, WAIT]
        .into_iter()
        .flat_map(|queue| world.peek(queue))
        .map(|m| m.body.parse().expect("a number"))
        .collect();
    all.sort_unstable();
    assert_eq!(all, (0..parked).collect::<Vec<_>>());
}

/// Both in one test: each has to wait for a minute, and does nothing else.
#[tokio::test]
async fn a_live_producer_keeps_a_run_going_only_without_a_cutoff() {
    let (ends, goes_on) = (World::start().await, World::start().await);
    for world in [&ends, &goes_on] {
        world.park(WAIT, (0..BEFORE).map(numbered));
    }
    // All that is there is older, all that comes is not.
    let cutoff = time(&ends);
    let mut with_a_time = ends.run(&["--run-id", "r", "--cutoff", &cutoff]);
    let mut without = goes_on.run(&["--run-id", "r", "--cutoff", "none"]);
    let mut parked = (BEFORE, BEFORE);
    let (mut looks, start) = (0, now());
    while !with_a_time.has_ended() {
        assert!(start.elapsed() < PATIENCE, "{}", with_a_time.log());
        produce(&ends, looks, &mut parked.0);
        produce(&goes_on, looks, &mut parked.1);
        looks += 1;
        pause().await;
    }
    assert!(!without.has_ended(), "{}", without.log());
    assert!(
        parked.0 > BEFORE + 100,
        "there was a producer: {}",
        parked.0
    );
    let ended = with_a_time.ended().await.exits(0);
    assert!(ends.len(SCHEDULE) >= BEFORE, "{}", ended.result);
    let moved: Vec<String> = ends.peek(SCHEDULE).into_iter().map(|m| m.body).collect();
    for older in 0..BEFORE {
        assert!(moved.contains(&older.to_string()), "{older} was older");
    }
    // Whatever was received was moved, and nothing is still hidden.
    assert_eq!(ended.figure("sent"), moved.len() as u64);
    assert_eq!(ended.figure("in_doubt"), 0);
    accounts_for(&ends, parked.0);

    // Without a cut-off it ends when the producer does.
    let ended = without.ended().await.exits(0);
    assert_eq!(ended.figure("sent"), parked.1 as u64);
    assert_eq!(goes_on.len(WAIT), 0);
    accounts_for(&goes_on, parked.1);
}
