//! SIGKILL part-way, and going on. Nothing is lost, what was marked is not sent again, and whatever arrives twice is listed.

use std::collections::BTreeSet;
use std::time::Duration;

use sqs_drain::local::{Effect, Rule, Service};

use super::harness::eventually;
use super::world::{SCHEDULE, WAIT, World, samples};

/// Sends slow enough to be caught in the middle.
fn slow_sends() -> Rule {
    Rule::sqs("SendMessageBatch").then(Effect::DelayAfter(Duration::from_millis(40)))
}

#[tokio::test]
async fn killed_with_answers_missing_it_goes_on_and_lists_what_may_be_doubled() {
    let world = World::start().await;
    let parked = world.park(WAIT, samples(2_000));
    world.endpoints.add_rule(slow_sends());
    // Some answers are lost even before the kill, some requests have no effect.
    let drop = |effect| Rule::sqs("SendMessageBatch").skip(4).times(3).then(effect);
    world.endpoints.add_rule(drop(Effect::DropAfter));
    let before = Rule::sqs("SendMessageBatch").skip(9).times(3);
    world.endpoints.add_rule(before.then(Effect::DropBefore));

    let worker = world.run(&["--run-id", "r", "--lanes", "2", "--page", "20"]);
    world.arrived(SCHEDULE, 600).await;
    worker.kill();
    assert!(world.len(SCHEDULE) < 2_000, "part-way");
    world.let_visibility_pass().await;
    world.endpoints.faults().clear();

    let ended = world
        .run(&["--run-id", "r", "--lanes", "2", "--page", "20"])
        .ended()
        .await
        .exits(0);
    let listed = world.listed("r").await;
    let audit = world.audit(&parked, &[SCHEDULE]);
    audit.doubles_only(&listed);
    assert!(!audit.doubled.is_empty(), "lost answers had an effect");
    // What this process settled stands in its own result, too.
    assert!(ended.listed().is_subset(&listed));
    assert_eq!(
        ended.figure("possible_duplicates"),
        ended.figure("doubts_settled")
    );

    // All attempts together: every message was sent once, but for what was in doubt and then sent again.
    let totals = world.run_totals("r").await;
    assert!(totals.is_balanced(), "{totals:?}");
    assert_eq!(totals.sent, 2_000, "{totals:?}");
    assert_eq!(totals.in_doubt, totals.possible_duplicates, "{totals:?}");
    let extra = world.len(SCHEDULE) - 2_000;
    assert!(extra as u64 <= totals.possible_duplicates, "{totals:?}");
}

#[tokio::test]
async fn what_was_marked_is_deleted_and_not_sent_again() {
    let world = World::start().await;
    let parked = world.park(WAIT, samples(600));
    // Nothing can be deleted: all there is after the kill is the marks.
    let rule = Rule::sqs("DeleteMessageBatch").error(500, "InternalError");
    let rule = world.endpoints.add_rule(rule);
    let worker = world.run(&["--run-id", "r", "--lanes", "2"]);
    eventually("everything that fits is sent and marked", || {
        world.endpoints.faults().picked(rule) >= Some(12)
    })
    .await;
    worker.kill();
    let sent = world.accepted(SCHEDULE);
    assert!(sent > 0);
    world.endpoints.faults().clear();
    world.let_visibility_pass().await;

    let ended = world.run(&["--run-id", "r"]).ended().await.exits(0);
    let listed = world.listed("r").await;
    world.audit(&parked, &[SCHEDULE]).doubles_only(&listed);
    // All but the few in doubt were known as sent.
    let known = ended.figure("deduplicated");
    assert!(known > 0, "{}", ended.result);
    assert_eq!(known + listed.len() as u64, sent, "{}", ended.result);
    assert_eq!(world.len(WAIT), 0);
}

#[tokio::test]
async fn killed_three_times_in_a_row_every_message_is_accounted_for() {
    let world = World::start().await;
    let parked = world.park(WAIT, samples(3_000));
    world.endpoints.add_rule(slow_sends());
    for round in 1..=3 {
        let worker = world.run(&["--run-id", "r", "--lanes", "2", "--page", "20"]);
        world.arrived(SCHEDULE, round * 700).await;
        worker.kill();
        world.let_visibility_pass().await;
    }
    world.endpoints.faults().clear();
    world.run(&["--run-id", "r"]).ended().await.exits(0);
    let listed = world.listed("r").await;
    world.audit(&parked, &[SCHEDULE]).doubles_only(&listed);
    let totals = world.run_totals("r").await;
    assert!(totals.is_balanced(), "{totals:?}");
    assert_eq!(totals.sent, 3_000, "{totals:?}");
    // A doubt whose resend was killed in its turn is in doubt twice and sent again once.
    assert!(totals.in_doubt >= totals.possible_duplicates, "{totals:?}");
    assert_eq!(
        totals.possible_duplicates,
        listed.len() as u64,
        "{totals:?}"
    );
    // Four processes took part, and none is registered any more.
    let ledger = world.ledger().await;
    assert_eq!(ledger.tallies("r").await.expect("the table").len(), 4);
    assert_eq!(ledger.processes().await, Ok(Vec::new()));
}

#[tokio::test]
async fn killed_before_anything_is_written_nothing_is_in_doubt() {
    let world = World::start().await;
    let parked = world.park(WAIT, samples(100));
    // The prepare never stands, so nothing may be sent.
    let prepare = Rule::every(Service::DynamoDb)
        .when(|call| {
            let body = String::from_utf8_lossy(call.body);
            // Pages are created empty; only what is written later, over a lower sequence, names messages.
            body.contains("page#") && body.contains(" < ")
        })
        .then(Effect::DropBefore);
    let rule = world.endpoints.add_rule(prepare);
    let worker = world.run(&["--run-id", "r"]);
    eventually("a prepare was tried", || {
        world.endpoints.faults().picked(rule) >= Some(2)
    })
    .await;
    worker.kill();
    assert_eq!(world.accepted(SCHEDULE), 0, "prepared before sent");
    world.endpoints.faults().clear();
    world.let_visibility_pass().await;
    let ended = world.run(&["--run-id", "r"]).ended().await.exits(0);
    assert_eq!(ended.listed(), BTreeSet::new());
    world.audit(&parked, &[SCHEDULE]).is_exact();
}

#[tokio::test]
async fn a_sigkill_straight_after_a_sigterm_loses_nothing() {
    let world = World::start().await;
    let parked = world.park(WAIT, samples(1_000));
    let args = ["--run-id", "r", "--lanes", "2", "--page", "20"];
    for noticed in [false, true] {
        let worker = world.run(&args);
        let before = world.accepted(SCHEDULE) as usize;
        world.arrived(SCHEDULE, before + 100).await;
        // A send that hangs keeps it from leaving before it is killed.
        let hang = Effect::DelayAfter(Duration::from_secs(60));
        let hang = Rule::sqs("SendMessageBatch").then(hang);
        let hang = world.endpoints.add_rule(hang);
        eventually("a send hangs", || {
            world.endpoints.faults().picked(hang) >= Some(1)
        })
        .await;
        worker.signal(libc::SIGTERM);
        if noticed {
            eventually("it is stopping", || {
                worker.log().contains("a second signal leaves at once")
            })
            .await;
        }
        worker.kill();
        world.endpoints.faults().clear();
        assert!(world.len(SCHEDULE) < 1_000, "part-way");
        world.let_visibility_pass().await;
    }
    world.run(&args).ended().await.exits(0);
    let listed = world.listed("r").await;
    let audit = world.audit(&parked, &[SCHEDULE]);
    audit.doubles_only(&listed);
    assert!(!audit.doubled.is_empty(), "what hung had arrived");
    let totals = world.run_totals("r").await;
    assert!(totals.is_balanced(), "{totals:?}");
    assert_eq!(totals.sent, 1_000, "{totals:?}");
}
