//! At-most-once under kills, lost answers and copies that the queue itself makes: nothing is ever sent twice, and what is in doubt
//! is settled by hand, once.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use sqs_drain::local::{Effect, Rule};

use super::harness::TIMINGS;
use super::world::{SCHEDULE, TABLE, WAIT, World, samples};
use crate::ops::{Done, balances, call, route, status_of};

const HOLD: &str = "hold";
const MESSAGES: usize = 500;

async fn settle(world: &World, words: &str) -> Done {
    let timings = TIMINGS.join(" ");
    let line = format!(
        "doubts settle {words} {} --delivery at-most-once --hold {HOLD} {timings}",
        route()
    );
    call(world, &line).await
}

/// The bodies a queue holds.
fn bodies(world: &World, queue: &str) -> Vec<String> {
    world.peek(queue).into_iter().map(|m| m.body).collect()
}

#[tokio::test]
async fn at_most_once_no_message_is_ever_sent_twice_and_each_doubt_is_settled_once() {
    let world = World::start().await;
    world.queue(HOLD, &[]);
    let parked = world.park(WAIT, samples(MESSAGES));
    let send = || Rule::sqs("SendMessageBatch").queue(SCHEDULE);
    let slow = Effect::DelayAfter(Duration::from_millis(40));
    world.endpoints.add_rule(send().then(slow));
    let lost = send().skip(3).times(2).then(Effect::DropAfter);
    world.endpoints.add_rule(lost);
    let gone = send().skip(8).times(2).then(Effect::DropBefore);
    world.endpoints.add_rule(gone);
    let copies = Rule::sqs("ReceiveMessage").times(6);
    world.endpoints.add_rule(copies.then(Effect::DeliverTwice));

    let args = [
        "--run-id",
        "r",
        "--lanes",
        "2",
        "--page",
        "20",
        "--delivery",
        "at-most-once",
        "--hold",
        HOLD,
    ];
    for round in 1..=2 {
        let worker = world.run(&args);
        world.arrived(SCHEDULE, round * 120).await;
        worker.kill();
        world.let_visibility_pass().await;
    }
    world.endpoints.faults().clear();
    world.run(&args).ended().await.exits(5);
    assert_eq!(world.len(WAIT), 0);

    // Each is at the destination or in the hold queue, as it was; what is in both was in doubt, and is listed.
    let sent = world.audit(&parked, &[SCHEDULE]);
    sent.nothing_wrong(&BTreeSet::new());
    let status = status_of(&world, "r").await;
    balances(&status);
    let held: BTreeSet<String> = status["doubts"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|d| d["state"] == "held")
        .map(|d| d["id"].as_str().expect("an id").to_owned())
        .collect();
    assert!(sent.missing.is_subset(&held), "{sent:?}, held: {held:?}");
    assert!(held.len() > 20, "lost answers and kills: {held:?}");
    let aside = world.audit(&parked, &[HOLD]);
    aside.nothing_wrong(&held);
    let in_hold: BTreeSet<String> = parked
        .iter()
        .map(|m| m.id.to_string())
        .filter(|id| !aside.missing.contains(id))
        .collect();
    assert_eq!(
        in_hold, held,
        "what is listed as held is there, and nothing else"
    );

    let list = call(&world, &format!("doubts list r --table {TABLE} --json")).await;
    let list = list.exits(0);
    let told: Vec<Value> = list
        .out
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let told: BTreeSet<String> = told
        .iter()
        .filter(|d| d["state"] == "held")
        .map(|d| d["id"].as_str().expect("an id").to_owned())
        .collect();
    assert_eq!(told, held);

    // Half of them are sent by hand, the others dropped: once each.
    let before = bodies(&world, SCHEDULE);
    let (to_send, to_drop): (Vec<&String>, Vec<&String>) = {
        let half = held.len() / 2;
        (
            held.iter().take(half).collect(),
            held.iter().skip(half).collect(),
        )
    };
    let ids = |list: &[&String]| {
        list.iter()
            .map(|s| s.as_str())
            .collect::<Vec<_>>()
            .join(" ")
    };
    for _ in 0..2 {
        settle(&world, &format!("--send {}", ids(&to_send)))
            .await
            .exits(0);
        settle(&world, &format!("--drop {}", ids(&to_drop)))
            .await
            .exits(0);
    }
    settle(&world, "--send --all")
        .await
        .exits(0)
        .says(&["0 sent, 0 dropped"]);
    let mut after = bodies(&world, SCHEDULE);
    for body in &before {
        let at = after.iter().position(|b| b == body).expect("still there");
        after.swap_remove(at);
    }
    let mut by_hand: Vec<String> = parked
        .iter()
        .filter(|m| to_send.contains(&&m.id.to_string()))
        .map(|m| m.body.clone())
        .collect();
    after.sort_unstable();
    by_hand.sort_unstable();
    assert_eq!(
        after, by_hand,
        "what was sent by hand arrived once more, and nothing else"
    );
    // A kill between a copy's arrival in the hold queue and its mark leaves two there.
    let left = world.audit(&parked, &[HOLD]);
    let left = MESSAGES - left.missing.len();
    assert!(left <= aside.doubled.len(), "{left} left in the hold queue");
}
