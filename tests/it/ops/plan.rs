//! `plan`, `check` and `explain` on whether a start now would run.

use super::{call, call_in, route, time_of_day};
use crate::binary::world::{SCHEDULE, TABLE, WAIT, World, samples};

#[tokio::test]
async fn plan_shows_what_a_run_would_do_and_receives_nothing() {
    let world = World::start().await;
    world.park(WAIT, samples(30));
    let line = format!("plan {} --rate 10 --run-id r", route());
    let done = call(&world, &line).await.exits(0).says(&[
        "wait (30 visible, 0 in flight, 0 delayed)",
        "schedule (0 visible",
        "r: new",
        "10/s over all shards, burst 10 for each shard",
        "always open",
        "A start now would run.",
    ]);
    assert!(done.out.contains("at least 3s"), "{}", done.out);
    assert_eq!(world.requests("ReceiveMessage"), 0);
    for write in ["PutItem", "UpdateItem", "DeleteItem"] {
        assert_eq!(world.requests(write), 0, "{write}");
    }

    world.run(&["--run-id", "r"]).ended().await.exits(0);
    let line = format!("plan {} --run-id r", route());
    call(&world, &line)
        .await
        .exits(0)
        .says(&["r: it has ended (drained) and would be gone on with"]);
}

#[tokio::test]
async fn plan_tells_the_exit_code_of_a_start_that_would_not_run() {
    let world = World::start().await;
    // A window of a day that is not today: shut now.
    let shut = (time_of_day() + chrono::Duration::days(3))
        .format("%a")
        .to_string();
    let line = format!("plan --from {WAIT} --to {SCHEDULE} --table {TABLE} --zone UTC");
    // Words of a window are parted by spaces, so it goes through the environment.
    let spec = format!("{} 08:00-21:00", shut.to_lowercase());
    let env = [("SQS_DRAIN_WINDOW", spec.as_str())];
    call_in(&world, &line, &env)
        .await
        .exits(0)
        .says(&["shut until", "would not run: exit code 3"]);
    let missing = format!("plan --from nowhere --to {SCHEDULE} --table {TABLE}");
    call(&world, &missing)
        .await
        .exits(2)
        .says(&["source queue 'nowhere' does not exist"]);
}

/// What a run is refused for is refused by `plan` and `check` too, in the same words.
#[tokio::test]
async fn plan_and_check_refuse_what_a_run_is_refused_for() {
    let world = World::start().await;
    world.queue("other", &[]);
    world.park(WAIT, samples(500));
    let both = async |flags: &str, planned: &str, checked: &str| {
        let plan = call(&world, &format!("plan {flags}")).await;
        let check = call(&world, &format!("check {flags}")).await;
        (plan.exits(0).says(&[planned]), check.says(&[checked]))
    };
    let worker = world.run(&["--run-id", "r", "--rate", "20", "--lease", "10s"]);
    world.arrived(SCHEDULE, 1).await;
    let (_, check) = both(
        &format!("{} --run-id r --rate 20", route()),
        "r: joining its process",
        "ok   run: r: joining its process",
    )
    .await;
    check.exits(0);
    let (_, check) = both(
        &format!("{} --run-id r --rate 30", route()),
        "refused, the run 'r' is under way with other settings (--rate: 20 there, 30 here)",
        "FAIL run: the run 'r' is under way with other settings (--rate: 20 there, 30 here)",
    )
    .await;
    check.exits(2);
    let (plan, check) = both(
        &format!("--from other --to {SCHEDULE} --table {TABLE} --window always --run-id r"),
        "refused, the run 'r' in this table is that of another source queue",
        "FAIL run: the run 'r' in this table is that of another source queue",
    )
    .await;
    plan.says(&["would not run: exit code 2"]);
    check.exits(2);
    worker.signal(libc::SIGTERM);
    worker.ended().await.exits(6);
    assert_eq!(world.requests("ReceiveMessage"), {
        both(&route(), "default@", "ok   run: default@").await;
        world.requests("ReceiveMessage")
    });
}

#[tokio::test]
async fn too_late_is_told_before_a_run_is() {
    let world = World::start().await;
    // Open since an hour and some minutes ago, over midnight if need be.
    let now = time_of_day();
    let (from, to) = (
        now - chrono::Duration::minutes(65),
        now + chrono::Duration::minutes(60),
    );
    let window = format!("{}-{}", from.format("%H:%M"), to.format("%H:%M"));
    let hours = format!("--window {window} --zone UTC --start-within 10m");
    let words = "too late to begin: the window opened 1 h 5 min ago, and a run may be begun within 10 min (--start-within)";
    for journal in [format!("--table {TABLE}"), "--no-journal".to_owned()] {
        let flags = format!("--from {WAIT} --to {SCHEDULE} {journal} {hours}");
        call(&world, &format!("plan {flags}"))
            .await
            .exits(0)
            .says(&[words, "would not run: exit code 3"]);
        call(&world, &format!("check {flags}"))
            .await
            .exits(0)
            .says(&[&format!(
                "warn run: a start now would end with exit code 3: {words}"
            )]);
        call(&world, &format!("run {flags}"))
            .await
            .exits(3)
            .says(&[words]);
    }
    call(&world, &format!("explain {hours}"))
        .await
        .exits(0)
        .says(&["A run that is not there yet is refused", words]);
    let early = hours.replace("10m", "2h");
    call(&world, &format!("explain {early}"))
        .await
        .exits(0)
        .says(&["A run may still be begun"]);
}

#[tokio::test]
async fn explain_says_why_at_any_time() {
    let world = World::start().await;
    let line = "explain --window 08:00-21:00 --zone Asia/Seoul --at";
    call(&world, &format!("{line} 2026-11-23T07:59"))
        .await
        .exits(0)
        .says(&["It is shut and opens in 1 min, at Mon 2026-11-23 08:00 +09:00."]);
    call(&world, &format!("{line} 2026-11-22T23:00:00Z"))
        .await
        .exits(0)
        .says(&["It is open since Mon 2026-11-23 08:00 +09:00"]);
    call(&world, &format!("{line} soon"))
        .await
        .exits(2)
        .says(&["--at soon is not a time"]);
}
