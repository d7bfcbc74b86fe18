//! `pause`, `resume` and `rate` on a run under way.

use std::fmt::Write as _;

use super::{call, figure, paste, status_of};
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
    let hint = status["message"].as_str().expect("a hint");
    assert!(
        hint.contains(&format!("`sqs-drain resume r --table {TABLE}`")),
        "{hint}"
    );
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
        let done = call(&world, &format!("{line} r --table {TABLE}"))
            .await
            .exits(2)
            .says(&["the run 'r' has ended and cannot be"]);
        assert_eq!(paste(&world, &done.err).await, 1, "{}", done.err);
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
    for wrong in ["fast", "0.0001"] {
        let words = format!("{wrong} is not a number of messages a second, 0.001 or more");
        call(&world, &format!("rate {wrong} r --table {TABLE}"))
            .await
            .exits(2)
            .says(&[&words]);
    }
    worker.ended().await.exits(0);
    eventually("all arrived", || world.accepted(SCHEDULE) == 400).await;
    assert_eq!(figure(&status_of(&world, "r").await, "sent"), 400);
}

/// A higher rate for several processes is shared out by the one that coordinates; how soon, is told by `steer` in the simulated world.
#[tokio::test]
async fn a_higher_rate_reaches_every_process() {
    let world = World::start().await;
    world.park(WAIT, samples(1_200));
    let args = ["--run-id", "r", "--rate", "6"];
    let mut workers = vec![world.run(&args)];
    world.arrived(SCHEDULE, 1).await;
    workers.extend([world.run(&args), world.run(&args)]);
    let shares = async |each: f64| {
        for _ in 0..2_000 {
            let status = status_of(&world, "r").await;
            let shards = status["shards"].as_array().expect("the shards").clone();
            if shards.len() == 3 && shards.iter().all(|shard| shard["share"] == each) {
                return;
            }
        }
        panic!("not everybody has {each}/s");
    };
    shares(2.0).await;
    call(&world, &format!("rate 600 r --table {TABLE}"))
        .await
        .exits(0)
        .says(&["its 3 processes follow with their next heartbeats"]);
    shares(200.0).await;
    for worker in workers {
        worker.ended().await.exits(0);
    }
    assert_eq!(world.accepted(SCHEDULE), 1_200);
    assert_eq!(figure(&status_of(&world, "r").await, "sent"), 1_200);
}

#[tokio::test]
async fn of_several_routes_one_is_named() {
    let world = World::start().await;
    let mut text = format!("table = '{TABLE}'\n[defaults]\nwindow = 'always'\n");
    for name in ["sms", "push"] {
        let (wait, schedule) = (format!("{name}-wait"), format!("{name}-schedule"));
        world.queue(&wait, &[]);
        world.queue(&schedule, &[]);
        world.park(&wait, samples(200));
        writeln!(
            text,
            "[route.{name}]\nfrom = '{wait}'\nto = '{schedule}'\nrate = 1"
        )
        .expect("text");
    }
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), text).expect("written");
    let path = file.path().to_str().expect("a path");
    let worker = world.run(&["--config", path]);
    world.arrived("sms-schedule", 1).await;
    world.arrived("push-schedule", 1).await;
    for line in ["pause", "resume", "rate 5"] {
        let done = call(&world, &format!("{line} --config {path}")).await;
        done.exits(2).says(&[
            "has the routes sms, push, and one must be named",
            &format!("`sqs-drain {line} --config {path} --route sms`"),
            "--route sms,push",
        ]);
    }
    let paused = async |route: &str| {
        let line = format!("status --config {path} --route {route} --json");
        let status = call(&world, &line).await.exits(0).json();
        status["routes"][route]["paused"] == true
    };
    call(&world, &format!("pause --config {path} --route sms"))
        .await
        .exits(0)
        .says(&["the run 'sms@"]);
    assert!(paused("sms").await && !paused("push").await);
    // A route's name stands for its latest run.
    let done = call(&world, &format!("pause push --config {path}")).await;
    done.exits(0).says(&["the run 'push@"]);
    assert!(paused("push").await);
    call(&world, &format!("status sms --config {path}"))
        .await
        .exits(0)
        .says(&["route sms, run sms@"]);
    call(&world, &format!("pause mms --config {path}"))
        .await
        .exits(2)
        .says(&["knows no run 'mms'"]);
    let both = call(
        &world,
        &format!("rate none --config {path} --route sms,push"),
    )
    .await;
    both.exits(0).says(&["'sms@", "'push@"]);
    let both = call(&world, &format!("resume --config {path} --route sms,push")).await;
    both.exits(0);
    worker.ended().await.exits(0);
}

#[tokio::test]
async fn a_rate_given_by_hand_holds_until_a_start_says_another() {
    let world = World::start().await;
    world.park(WAIT, samples(120));
    let first = world.run(&["--run-id", "r", "--rate", "10"]);
    world.arrived(SCHEDULE, 1).await;
    call(&world, &format!("rate 20 r --table {TABLE}"))
        .await
        .exits(0);
    first.kill();
    world.let_visibility_pass().await;
    // The same start again: nobody is waited for, and the rate stays.
    let before = world.accepted(SCHEDULE);
    let second = world.run(&["--run-id", "r", "--rate", "10"]);
    eventually("it has joined", || second.log().contains("run_started")).await;
    world.arrived(SCHEDULE, before as usize + 1).await;
    let status = status_of(&world, "r").await;
    assert_eq!(status["rate"]["limit"], 20.0, "{status}");
    let log = second.kill();
    assert!(
        log.contains("the run's rate is 20/s, given by hand, and stays so"),
        "{log}"
    );
    assert!(!log.contains("whether they live"), "{log}");
    world.let_visibility_pass().await;
    // Another rate: the run's own dead processes are watched first, and called so.
    let third = world.run(&["--run-id", "r", "--rate", "200"]);
    let ended = third.ended().await.exits(0);
    for words in [
        "this run 'r', started with other settings (--rate: 10 there, 200 here), has processes registered at the source",
        "the run's rate was 20/s and is now 200/s",
    ] {
        assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("another run"), "{}", ended.stderr);
    let status = status_of(&world, "r").await;
    assert_eq!(status["rate"]["limit"], 200.0, "{status}");
}

/// A start that joins a paused run sits there: it says why, and what to do.
#[tokio::test]
async fn who_joins_a_paused_run_is_told_so() {
    let world = World::start().await;
    world.park(WAIT, samples(200));
    let args = ["--run-id", "r", "--rate", "50"];
    let first = world.run(&args);
    world.arrived(SCHEDULE, 1).await;
    call(&world, &format!("pause r --table {TABLE}"))
        .await
        .exits(0);
    eventually("it is paused", || {
        first.log().contains("the run was paused by hand")
    })
    .await;
    first.kill();
    world.let_visibility_pass().await;
    let second = world.run(&args);
    let told = format!("nothing is sent until `sqs-drain resume r --table {TABLE}`");
    eventually("it says so", || second.log().contains(&told)).await;
    let log = second.log();
    let line = log.lines().find(|line| line.contains(&told));
    assert!(line.is_some_and(|l| l.contains("WARN")), "{log}");
    assert_eq!(log.matches(&told).count(), 1, "{log}");
    assert_eq!(paste(&world, line.expect("a line")).await, 1, "{log}");
    let ended = second.ended().await.exits(0);
    assert!(
        ended.stderr.contains("the run was resumed by hand"),
        "{}",
        ended.stderr
    );
}
