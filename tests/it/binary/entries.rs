//! What becomes of single messages when sends and deletes fail: never an exit for one message's sake, never a loss.

use std::collections::BTreeSet;
use std::time::Duration;

use sqs_drain::local::sqs::queue::State;
use sqs_drain::local::{Effect, EntryFault, Rule};

use super::harness::{Ended, Worker, eventually, pause};
use super::world::{SCHEDULE, WAIT, World, sample, samples};

fn nothing() -> BTreeSet<String> {
    BTreeSet::new()
}

/// Waits until all that is left in the source is hidden and listed in the table as being in trouble, then passes its
/// visibility: nothing else is in hand that could be received twice by it.
async fn pass_the_visibility_of_doubts(world: &World, run: &str, n: usize) {
    eventually("only doubts are left in the source", || {
        let left = world.peek(WAIT);
        left.len() == n && left.iter().all(|m| m.state != State::Visible)
    })
    .await;
    let ledger = world.ledger().await;
    loop {
        let listed = ledger.listed(run).await.expect("the table");
        let left = world.peek(WAIT);
        if left
            .iter()
            .all(|m| listed.iter().any(|l| l.id.to_string() == m.id.to_string()))
        {
            break;
        }
        pause().await;
    }
    world.advance(Duration::from_secs(26));
}

async fn in_doubt_and_settled(world: &World, worker: Worker, n: usize) -> Ended {
    pass_the_visibility_of_doubts(world, "r", n).await;
    let ended = worker.ended().await.exits(0);
    assert_eq!(ended.figure("in_doubt"), n as u64);
    assert_eq!(ended.figure("possible_duplicates"), n as u64);
    assert_eq!(ended.figure("doubts_settled"), n as u64);
    assert_eq!(ended.listed_as(|s| s == "resent").len(), n);
    assert_eq!(world.listed("r").await, ended.listed());
    ended
}

#[tokio::test]
async fn a_dropped_connection_is_a_doubt_whether_or_not_the_send_took_effect() {
    for (effect, doubled) in [
        (Effect::DropAfter, 10),
        (Effect::DropBefore, 0),
        (
            Effect::Error {
                status: 500,
                code: "InternalFailure".into(),
            },
            0,
        ),
        (
            Effect::ErrorAfter {
                status: 503,
                code: "ServiceUnavailable".into(),
            },
            10,
        ),
    ] {
        let world = World::start().await;
        let parked = world.park(WAIT, samples(10));
        let words = format!("{effect:?}");
        let rule = Rule::sqs("SendMessageBatch").once().then(effect);
        world.endpoints.add_rule(rule);
        let worker = world.run(&["--run-id", "r"]);
        let ended = in_doubt_and_settled(&world, worker, 10).await;
        let audit = world.audit(&parked, &[SCHEDULE]);
        audit.doubles_only(&ended.listed());
        assert_eq!(audit.doubled.len(), doubled, "{words}");
    }
}

#[tokio::test]
async fn a_send_that_times_out_is_a_doubt() {
    let world = World::start().await;
    let parked = world.park(WAIT, samples(7));
    let late = Effect::DelayAfter(Duration::from_secs(30));
    let rule = Rule::sqs("SendMessageBatch").once().then(late);
    world.endpoints.add_rule(rule);
    let worker = world.run(&["--run-id", "r", "--send-timeout", "1s"]);
    let ended = in_doubt_and_settled(&world, worker, 7).await;
    let audit = world.audit(&parked, &[SCHEDULE]);
    audit.doubles_only(&ended.listed());
    assert_eq!(audit.doubled.len(), 7, "late is not never");
}

#[tokio::test]
async fn throttled_sends_are_tried_again_and_nothing_is_in_doubt() {
    let world = World::start().await;
    let parked = world.park(WAIT, samples(200));
    // Every third entry of the first requests, then whole requests.
    world.endpoints.add_rule(
        Rule::sqs("SendMessageBatch")
            .times(15)
            .fail_entries(|entry| {
                (entry.index % 3 == 0).then(|| EntryFault::new("RequestThrottled", true))
            }),
    );
    let whole = Rule::sqs("SendMessageBatch").skip(10).times(5);
    world
        .endpoints
        .add_rule(whole.error(400, "RequestThrottled"));
    let strange = Rule::sqs("SendMessageBatch").skip(18).times(2);
    world.endpoints.add_rule(
        strange.fail_entries(|entry| {
            (entry.index == 1).then(|| EntryFault::new("InternalError", false))
        }),
    );
    let ended = world.run(&[]).ended().await.exits(0);
    world.audit(&parked, &[SCHEDULE]).is_exact();
    assert_eq!(ended.figure("sent"), 200);
    assert_eq!(ended.figure("received"), 200);
    assert_eq!(ended.listed(), nothing());
}

#[tokio::test]
async fn what_a_key_or_a_policy_refuses_never_goes_to_the_reject_queue() {
    for code in ["KmsAccessDenied", "KMS.DisabledException", "AccessDenied"] {
        let world = World::start().await;
        world.queue("reject", &[]);
        let parked = world.park(WAIT, samples(60));
        let fault = EntryFault::new(code, true);
        let rule = Rule::sqs("SendMessageBatch").fail_entries(move |_| Some(fault.clone()));
        world.endpoints.add_rule(rule);
        let ended = world.run(&["--reject", "reject"]).ended().await.exits(7);
        assert!(ended.message().contains("refuses"), "{}", ended.message());
        assert_eq!(ended.figure("rejected"), 0);
        assert_eq!(world.len("reject"), 0);
        assert_eq!(world.len(WAIT), 60, "{code}");
        // The key is repaired.
        world.endpoints.faults().clear();
        world.let_visibility_pass().await;
        world.run(&["--reject", "reject"]).ended().await.exits(0);
        world.audit(&parked, &[SCHEDULE]).is_exact();
    }
}

#[tokio::test]
async fn a_message_refused_for_its_own_sake_goes_to_the_reject_queue_as_it_is() {
    let world = World::start().await;
    world.queue("small", &[("MaximumMessageSize", "1024")]);
    world.queue("reject", &[]);
    let mut messages: Vec<_> = samples(100).collect();
    for n in [3, 57] {
        messages[n].body.push_str(&"y".repeat(2_000));
    }
    let parked = world.park(WAIT, messages);
    let args = ["--to", "small", "--reject", "reject"];
    let ended = world.run(&args).ended().await.exits(5);
    assert_eq!(ended.figure("rejected"), 2);
    assert_eq!(ended.figure("sent"), 98);
    assert_eq!(ended.listed_as(|s| s == "rejected").len(), 2);
    assert_eq!((world.len("small"), world.len("reject")), (98, 2));
    world.audit(&parked, &["small", "reject"]).is_exact();
    assert_eq!(world.len(WAIT), 0);
}

#[tokio::test]
async fn without_a_reject_queue_it_stays_hidden_is_listed_and_does_not_count_as_left() {
    let world = World::start().await;
    let parked = world.park(WAIT, samples(50));
    let bad = parked[20].clone();
    let body = bad.body.clone();
    let rule = Rule::sqs("SendMessageBatch").fail_entries(move |entry| {
        (entry.body == Some(body.as_str())).then(|| EntryFault::new("InvalidMessageContents", true))
    });
    let rule = world.endpoints.add_rule(rule);
    let ended = world.run(&["--run-id", "r"]).ended().await.exits(5);
    assert_eq!(ended.figure("rejected"), 1);
    let listed = ended.listed_as(|s| s == "parked");
    assert_eq!(listed, BTreeSet::from([bad.id.to_string()]));
    assert_eq!(world.listed("r").await, listed);
    let left = world.peek(WAIT);
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].receive_count, 1, "not tried again and again");
    let State::InFlight { until_ms } = left[0].state else {
        panic!("hidden: {:?}", left[0].state)
    };
    let hours = (until_ms - world.endpoints.clock().now_ms()) as f64 / 3_600_000.0;
    assert!((11.5..=12.0).contains(&hours), "{hours} h");
    let audit = world.audit(&parked, &[SCHEDULE]);
    assert_eq!(audit.missing, listed);
    audit.nothing_wrong(&nothing());

    // The same run once more leaves it where it is even when it is seen; another run tries again.
    world.endpoints.faults().remove(rule);
    world.advance(Duration::from_secs(13 * 3600));
    let ended = world.run(&["--run-id", "r"]).ended().await.exits(5);
    assert_eq!(ended.figure("sent"), 0, "{}", ended.result);
    world.advance(Duration::from_secs(13 * 3600));
    let ended = world.run(&["--run-id", "s"]).ended().await.exits(0);
    assert_eq!(ended.figure("sent"), 1);
    world.audit(&parked, &[SCHEDULE]).is_exact();
}

#[tokio::test]
async fn deletes_that_fail_are_repeated_and_lost_answers_do_no_harm() {
    let world = World::start().await;
    let parked = world.park(WAIT, samples(300));
    let some = |skip| Rule::sqs("DeleteMessageBatch").skip(skip).times(4);
    world.endpoints.add_rule(
        some(0)
            .fail_entries(|e| (e.index % 2 == 0).then(|| EntryFault::new("InternalError", false))),
    );
    world.endpoints.add_rule(some(6).then(Effect::DropAfter));
    world
        .endpoints
        .add_rule(some(12).error(500, "InternalError"));
    let ended = world.run(&[]).ended().await.exits(0);
    world.audit(&parked, &[SCHEDULE]).is_exact();
    assert_eq!(world.len(WAIT), 0);
    assert_eq!(ended.figure("received"), 300);
}

#[tokio::test]
async fn a_handle_that_went_stale_leads_to_a_second_delivery_that_is_only_deleted() {
    let world = World::start().await;
    let parked = world.park(WAIT, samples(10));
    let rule = Rule::sqs("DeleteMessageBatch")
        .once()
        .fail_entries(|_| Some(EntryFault::new("ReceiptHandleIsInvalid", true)));
    let rule = world.endpoints.add_rule(rule);
    let worker = world.run(&["--run-id", "r"]);
    eventually("the delete was refused", || {
        world.endpoints.faults().picked(rule) == Some(1)
    })
    .await;
    // All of them are sent and in nobody's hand once they have records of their own.
    let ledger = world.ledger().await;
    let ids: Vec<_> = parked
        .iter()
        .map(|m| sqs_drain::message::Id::of(&m.id.to_string()))
        .collect();
    while ledger
        .records(&ids)
        .await
        .expect("the table")
        .iter()
        .any(|r| *r == Default::default())
    {
        pause().await;
    }
    world.advance(Duration::from_secs(26));
    let ended = worker.ended().await.exits(0);
    assert!(ended.figure("deduplicated") >= 10, "{}", ended.result);
    assert_eq!(ended.figure("sent"), 10);
    world.audit(&parked, &[SCHEDULE]).is_exact();
}

#[tokio::test]
async fn copies_that_the_queue_itself_makes_are_recognised() {
    let world = World::start().await;
    let parked = world.park(WAIT, samples(200));
    let rule = Rule::sqs("ReceiveMessage")
        .times(6)
        .then(Effect::DeliverTwice);
    world.endpoints.add_rule(rule);
    let ended = world.run(&[]).ended().await.exits(0);
    world.audit(&parked, &[SCHEDULE]).is_exact();
    assert!(ended.figure("deduplicated") > 0);
    assert_eq!(ended.figure("sent"), 200);
}

#[tokio::test]
async fn one_message_refused_in_the_middle_does_not_stop_the_rest() {
    let world = World::start().await;
    world.queue("reject", &[]);
    let parked = world.park(WAIT, (0..120).map(sample));
    let body = parked[60].body.clone();
    let rule = Rule::sqs("SendMessageBatch").queue(SCHEDULE).when({
        let needle = body.split(' ').next().expect("a word").to_owned();
        move |call| {
            // The whole request is refused, as for characters outside the allowed set.
            let text = String::from_utf8_lossy(call.body).into_owned();
            text.contains(&format!("\"MessageBody\":\"{needle} "))
        }
    });
    world
        .endpoints
        .add_rule(rule.error(400, "InvalidMessageContents"));
    let ended = world.run(&["--reject", "reject"]).ended().await.exits(5);
    assert_eq!(ended.figure("sent"), 119, "{}", ended.result);
    assert_eq!(world.len("reject"), 1);
    assert_eq!(world.peek("reject")[0].body, body);
    world.audit(&parked, &[SCHEDULE, "reject"]).is_exact();
}

#[tokio::test]
async fn the_result_lists_a_thousand_ids_and_says_how_many_there_are() {
    let world = World::start().await;
    world.queue("reject", &[]);
    world.park(WAIT, samples(1_200));
    let rule = Rule::sqs("SendMessageBatch").queue(SCHEDULE);
    world
        .endpoints
        .add_rule(rule.fail_entries(|_| Some(EntryFault::new("InvalidMessageContents", true))));
    let args = ["--run-id", "r", "--reject", "reject"];
    let ended = world.run(&args).ended().await.exits(5);
    assert_eq!(ended.listed().len(), 1_000);
    assert_eq!(ended.figure("doubts_in_all"), 1_200);
    assert_eq!(
        ended.message(),
        "1200 messages were rejected: see reject",
        "{}",
        ended.result["outcome"]
    );
    assert_eq!(world.listed("r").await.len(), 1_200, "all are in the table");
}
