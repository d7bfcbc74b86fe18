//! Queues and tables that are gone, denied or silent for a while.

use std::collections::BTreeSet;
use std::time::Duration;

use sqs_drain::local::sqs::message::NewMessage;
use sqs_drain::local::{BatchEntry, Effect, EntryFault, Peeked, Rule, Service};

use super::fleet::numbered;
use super::harness::{Ended, eventually};
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

/// Each a group of its own: the destination follows from the group.
fn grouped(n: usize) -> NewMessage {
    NewMessage {
        group_id: Some(format!("g{n}")),
        ..numbered(n)
    }
}

/// A world with two destinations and messages for both.
async fn with_two() -> (World, Vec<Peeked>) {
    let world = World::start().await;
    world.queue("a", &[]);
    world.queue("b", &[]);
    let parked = world.park(WAIT, (0..400).map(grouped));
    (world, parked)
}

const TO: [&str; 6] = ["--run-id", "r", "--to", "a", "--to", "b"];

/// One of two destinations is told to go slower for as long as this rule says: all for the other is moved meanwhile.
async fn goes_on_beside(throttled: Rule) {
    let (world, _) = with_two().await;
    world.run(&TO).ended().await.exits(0);
    let for_a = world.len("a");
    assert!((120..280).contains(&for_a), "{for_a} of 400");

    let (world, parked) = with_two().await;
    let throttled = world.endpoints.add_rule(throttled.queue("b"));
    let worker = world.run(&TO);
    world.arrived("a", for_a).await;
    let refused = world.endpoints.faults().picked(throttled);
    assert!(refused > Some(0), "the other was tried");
    assert_eq!(world.len("b"), 0);
    world.endpoints.faults().remove(throttled);
    world.advance(Duration::from_secs(26));
    let ended = worker.ended().await.exits(0);
    world.audit(&parked, &["a", "b"]).is_exact();
    assert_eq!(world.len("a"), for_a);
    assert_eq!(ended.figure("sent"), 400);
    assert_eq!(ended.figure("in_doubt"), 0);
    assert_eq!(ended.listed(), BTreeSet::new());
}

#[tokio::test]
async fn a_destination_that_throttles_requests_does_not_stop_the_others() {
    let send = Rule::sqs("SendMessageBatch");
    goes_on_beside(send.error(400, "RequestThrottled")).await;
}

#[tokio::test]
async fn a_destination_that_throttles_entries_does_not_stop_the_others() {
    let send = Rule::sqs("SendMessageBatch");
    let throttle = |_: &BatchEntry<'_>| Some(EntryFault::new("RequestThrottled", true));
    goes_on_beside(send.fail_entries(throttle)).await;
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

/// Stopped by a signal while the table is silent, it waits for it as long as the grace lets it.
async fn silent_when_stopped() {
    let world = World::start().await;
    let parked = world.park(WAIT, samples(1_000));
    world.endpoints.add_rule(slow_sends());
    let args = ["--run-id", "r", "--lanes", "2", "--page", "20"];
    let worker = world.run(&[&args[..], &["--grace", "11s"]].concat());
    world.arrived(SCHEDULE, 100).await;
    let silent = Rule::every(Service::DynamoDb).then(Effect::DropBefore);
    world.endpoints.add_rule(silent);
    eventually("the outage is noticed", || {
        worker
            .log()
            .contains("the checkpoint table does not answer")
    })
    .await;
    worker.signal(libc::SIGTERM);
    no_answer_at_the_end(&world, worker.ended().await.exits(7));
    world.endpoints.faults().clear();
    world.let_visibility_pass().await;
    let args = [&args[..], &["--grace", "11s"]].concat();
    world.run(&args).ended().await.exits(0);
    settled(&world, &parked, 1_000).await;
}

/// The window closes, by the service's clock, while the table is silent.
async fn silent_when_the_window_closes() {
    let now = chrono::Utc::now();
    let hour = |by: i64| {
        (now + chrono::TimeDelta::hours(by))
            .format("%H:%M")
            .to_string()
    };
    let window = format!("{}-{}", hour(-1), hour(1));
    let closes = now + chrono::TimeDelta::hours(1);
    let closes = closes - chrono::TimeDelta::seconds(i64::from(chrono::Timelike::second(&closes)));
    let world = World::at(closes - chrono::TimeDelta::seconds(15)).await;
    let parked = world.park(WAIT, samples(3_000));
    let args = ["--run-id", "r", "--rate", "100", "--grace", "11s"];
    let mut in_window = vec!["--window", &window, "--zone", "UTC"];
    in_window.extend(args);
    let worker = world.run(&in_window);
    world.arrived(SCHEDULE, 100).await;
    let silent = Rule::every(Service::DynamoDb).then(Effect::DropBefore);
    world.endpoints.add_rule(silent);
    no_answer_at_the_end(&world, worker.ended().await.exits(7));
    world.endpoints.faults().clear();
    world.let_visibility_pass().await;
    world.run(&["--run-id", "r"]).ended().await.exits(0);
    settled(&world, &parked, 3_000).await;
}

fn no_answer_at_the_end(world: &World, ended: Ended) {
    let message = ended.message();
    assert!(message.contains("table did not answer"), "{message}");
    assert!(world.len(WAIT) > 0, "mid-drain");
}

async fn settled(world: &World, parked: &[Peeked], n: u64) {
    let listed = world.listed("r").await;
    world.audit(parked, &[SCHEDULE]).doubles_only(&listed);
    let totals = world.run_totals("r").await;
    assert!(totals.is_balanced(), "{totals:?}");
    assert_eq!(totals.sent, n, "{totals:?}");
}

#[tokio::test]
async fn a_table_that_is_silent_when_the_grace_ends_leads_to_seven() {
    tokio::join!(silent_when_stopped(), silent_when_the_window_closes());
}
