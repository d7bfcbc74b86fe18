//! Queues and tables that are gone, denied or silent for a while.

use std::collections::BTreeSet;
use std::time::Duration;

use sqs_drain::local::{Effect, Rule, Service};

use super::harness::eventually;
use super::world::{SCHEDULE, WAIT, World, samples};

fn slow_sends() -> Rule {
    Rule::sqs("SendMessageBatch").then(Effect::DelayAfter(Duration::from_millis(40)))
}

#[tokio::test]
async fn a_destination_that_is_gone_does_not_stop_the_others() {
    let world = World::start().await;
    world.queue("a", &[]);
    world.queue("b", &[]);
    let parked = world.park(WAIT, samples(400));
    let gone = Rule::sqs("SendMessageBatch").queue("b");
    world
        .endpoints
        .add_rule(gone.error(400, "com.amazonaws.sqs#QueueDoesNotExist"));
    let to = ["--to", "a", "--to", "b"];
    let worker = world.run(&to);
    let known = || {
        let log = worker.log();
        log.contains("the destination refuses everything")
    };
    eventually("the trouble is noted", known).await;
    // Everything for the one that works is moved: which is nearly half, by the ids and groups.
    world.arrived("a", 120).await;
    let mut before = 0;
    eventually("it stands still", || {
        let now = world.accepted("a");
        let polls = world.requests("ReceiveMessage");
        let still = now == before && polls > 30;
        before = now;
        still && world.peek(WAIT).iter().all(|m| m.receive_count > 0)
    })
    .await;
    worker.signal(libc::SIGTERM);
    let ended = worker.ended().await.exits(6);
    assert_eq!(ended.figure("in_doubt"), 0);
    assert_eq!(world.len("b"), 0);
    assert_eq!(world.len("a") + world.len(WAIT), 400);
    assert!(world.len("a") > 120, "those for the one that works");

    world.endpoints.faults().clear();
    world.let_visibility_pass().await;
    world.run(&to).ended().await.exits(0);
    world.audit(&parked, &["a", "b"]).is_exact();
    assert!(world.len("b") > 120);
}

#[tokio::test]
async fn receives_that_fail_for_a_while_are_borne() {
    let world = World::start().await;
    let parked = world.park(WAIT, samples(300));
    let some = |skip| Rule::sqs("ReceiveMessage").skip(skip).times(4);
    world
        .endpoints
        .add_rule(some(1).error(500, "InternalError"));
    world.endpoints.add_rule(some(7).then(Effect::DropBefore));
    world.endpoints.add_rule(some(12).error(403, "OverLimit"));
    // False empties do not end a drain.
    world
        .endpoints
        .add_rule(some(17).then(Effect::EmptyReceive));
    world.run(&[]).ended().await.exits(0);
    world.audit(&parked, &[SCHEDULE]).is_exact();
}

#[tokio::test]
async fn a_permission_lost_while_running_ends_the_run_with_seven() {
    let world = World::start().await;
    let parked = world.park(WAIT, samples(2_000));
    world.endpoints.add_rule(slow_sends());
    let worker = world.run(&["--lanes", "2"]);
    world.arrived(SCHEDULE, 100).await;
    let denied = Rule::sqs("ReceiveMessage").error(403, "AccessDeniedException");
    world.endpoints.add_rule(denied);
    let ended = worker.ended().await.exits(7);
    assert!(
        ended.message().contains("AccessDenied"),
        "{}",
        ended.message()
    );
    assert_eq!(ended.figure("in_doubt"), 0);
    assert_eq!(world.len(WAIT) + world.len(SCHEDULE), 2_000);
    world.endpoints.faults().clear();
    world.let_visibility_pass().await;
    world.run(&[]).ended().await.exits(0);
    world.audit(&parked, &[SCHEDULE]).is_exact();
}

#[tokio::test]
async fn a_table_that_is_silent_for_a_while_only_holds_sending_up() {
    for effect in [Effect::DropBefore, Effect::DropAfter] {
        let world = World::start().await;
        let parked = world.park(WAIT, samples(1_200));
        world.endpoints.add_rule(slow_sends());
        let worker = world.run(&["--run-id", "r", "--lanes", "2"]);
        world.arrived(SCHEDULE, 200).await;
        let rule = Rule::every(Service::DynamoDb).then(effect);
        let rule = world.endpoints.add_rule(rule);
        eventually("the outage is noticed", || {
            worker
                .log()
                .contains("the checkpoint table does not answer")
        })
        .await;
        // Two pages prepared before may still go out; then nothing.
        let mut last = (0, 0);
        eventually("sending stands still", || {
            let now = (
                world.accepted(SCHEDULE),
                world.endpoints.faults().picked(rule).unwrap_or(0),
            );
            let still = now.0 == last.0 && now.1 >= last.1 + 10;
            if now.0 != last.0 {
                last = now;
            }
            still
        })
        .await;
        assert!(world.len(WAIT) > 0, "mid-drain");
        world.endpoints.faults().remove(rule);
        let ended = worker.ended().await.exits(0);
        assert!(ended.stderr.contains("the checkpoint table answers again"));
        let listed = world.listed("r").await;
        world.audit(&parked, &[SCHEDULE]).doubles_only(&listed);
        assert_eq!(
            listed,
            BTreeSet::new(),
            "an outage of the table is no doubt"
        );
        assert_eq!(world.run_totals("r").await.sent, 1_200);
    }
}

#[tokio::test]
async fn a_table_that_is_denied_ends_the_run_with_seven() {
    let world = World::start().await;
    let parked = world.park(WAIT, samples(2_000));
    world.endpoints.add_rule(slow_sends());
    let worker = world.run(&[
        "--run-id", "r", "--lanes", "2", "--page", "20", "--grace", "11s",
    ]);
    world.arrived(SCHEDULE, 100).await;
    let denied = Rule::every(Service::DynamoDb).error(400, "AccessDeniedException");
    world.endpoints.add_rule(denied);
    let ended = worker.ended().await.exits(7);
    assert!(
        ended.message().contains("AccessDenied"),
        "{}",
        ended.message()
    );
    world.endpoints.faults().clear();
    world.let_visibility_pass().await;
    world.run(&["--run-id", "r"]).ended().await.exits(0);
    let listed = world.listed("r").await;
    world.audit(&parked, &[SCHEDULE]).doubles_only(&listed);
    assert_eq!(world.run_totals("r").await.sent, 2_000);
}
