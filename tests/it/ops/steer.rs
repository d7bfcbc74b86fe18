//! `pause`, `resume` and `rate` on a run under way.

use super::{call, figure, status_of};
use crate::binary::harness::eventually;
use crate::binary::world::{SCHEDULE, TABLE, WAIT, World, samples};

/// Waits until the run's process has beaten `n` more times.
async fn beats(world: &World, n: i64) {
    let ledger = world.ledger().await;
    let process = ledger.processes().await.expect("the table")[0]
        .process
        .clone();
    let number = async || {
        let beats = ledger.beats(std::slice::from_ref(&process)).await;
        beats.expect("the table")[0]
            .as_ref()
            .expect("a beat")
            .number
    };
    let first = number().await;
    while number().await < first + n {}
}

#[tokio::test]
async fn a_run_is_paused_and_resumed() {
    let world = World::start().await;
    world.park(WAIT, samples(300));
    let worker = world.run(&["--run-id", "r", "--rate", "50"]);
    world.arrived(SCHEDULE, 20).await;
    call(&world, &format!("pause r --table {TABLE}"))
        .await
        .exits(0)
        .says(&["the run 'r' paused"]);
    // One beat may have been on its way, the next one brings the pause.
    beats(&world, 2).await;
    let status = status_of(&world, "r").await;
    assert_eq!(status["outcome"], "paused", "{status}");
    let paused_at = world.accepted(SCHEDULE);
    beats(&world, 3).await;
    assert_eq!(world.accepted(SCHEDULE), paused_at, "nothing is sent");
    assert!(paused_at < 300);
    call(&world, &format!("resume --from {WAIT} --table {TABLE}"))
        .await
        .exits(0)
        .says(&["the run 'r' resumed"]);
    call(&world, &format!("rate none r --table {TABLE}"))
        .await
        .exits(0)
        .says(&["without a limit"]);
    worker.ended().await.exits(0);
    assert_eq!(world.accepted(SCHEDULE), 300);
    for line in ["pause", "resume", "rate 5"] {
        call(&world, &format!("{line} r --table {TABLE}"))
            .await
            .exits(2)
            .says(&["the run 'r' has ended and cannot be"]);
    }
}

#[tokio::test]
async fn another_rate_is_in_force_with_the_next_beat() {
    let world = World::start().await;
    world.park(WAIT, samples(400));
    let worker = world.run(&["--run-id", "r", "--rate", "1"]);
    world.arrived(SCHEDULE, 1).await;
    call(&world, &format!("rate 200 r --table {TABLE}"))
        .await
        .exits(0)
        .says(&["at most 200 messages a second"]);
    beats(&world, 2).await;
    let status = status_of(&world, "r").await;
    assert_eq!(status["rate"]["limit"], 200.0, "{status}");
    assert_eq!(status["shards"][0]["share"], 200.0, "{status}");
    call(&world, &format!("rate fast r --table {TABLE}"))
        .await
        .exits(2)
        .says(&["fast is not a number of messages a second"]);
    worker.ended().await.exits(0);
    eventually("all arrived", || world.accepted(SCHEDULE) == 400).await;
    assert_eq!(figure(&status_of(&world, "r").await, "sent"), 400);
}
