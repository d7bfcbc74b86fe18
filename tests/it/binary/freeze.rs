//! A process that its host freezes with messages prepared, while another takes over: when it wakes up it does no harm.

use std::collections::BTreeSet;
use std::time::Duration;

use sqs_drain::journal::Mark;
use sqs_drain::local::{Effect, EntryFault, Rule};

use super::harness::{SHORTEST_VISIBILITY, eventually, now};
use super::world::{SCHEDULE, WAIT, World, samples};
use crate::ops::{balances, figure, status_of};

/// What is hidden comes back in real time here: no clock is pushed past a living process's deadlines.
const VISIBILITY: Duration = Duration::from_secs(17);

#[tokio::test]
async fn frozen_longer_than_visibility_and_lease_it_wakes_up_superseded_and_sends_nothing() {
    let world = World::start().await;
    let parked = world.park(WAIT, samples(300));
    // Of each batch the odd ones are told to try again: no page is ever done, some of it has arrived, and the next send is always
    // about to begin.
    let odd = Rule::sqs("SendMessageBatch").fail_entries(|entry| {
        let number: usize = entry.body?.split(' ').next()?.parse().ok()?;
        (number % 2 == 1).then(|| EntryFault::new("RequestThrottled", false))
    });
    let odd = world.endpoints.add_rule(odd);
    // And the answers to some are on their way while it freezes.
    let late = Rule::sqs("SendMessageBatch").skip(2).times(2);
    let late = late.then(Effect::DelayAfter(Duration::from_millis(1_500)));
    world.endpoints.add_rule(late);
    let args = [
        &["--run-id", "r", "--lanes", "2", "--page", "20"][..],
        &SHORTEST_VISIBILITY,
    ]
    .concat();
    let frozen = world.run(&args);
    eventually("its sends are being tried again", || {
        world.endpoints.faults().picked(odd) >= Some(5)
    })
    .await;
    frozen.signal(libc::SIGSTOP);
    let since = now();
    let ledger = world.ledger().await;
    let processes = ledger.processes().await.expect("the table");
    let [process] = &processes[..] else {
        panic!("one process: {processes:?}")
    };
    let pages = ledger.pages(&process.process).await.expect("the table");
    let prepared: BTreeSet<String> = pages
        .iter()
        .flat_map(|stored| &stored.page.entries)
        .filter(|entry| entry.mark == Mark::Prepared)
        .map(|entry| entry.id.to_string())
        .collect();
    assert!(!prepared.is_empty(), "{pages:?}");
    world.endpoints.faults().clear();

    // Another takes over, and the run is over before the first wakes up.
    let taking_over = world.run(&args).ended().await.exits(0);
    assert!(since.elapsed() > VISIBILITY, "what was prepared came back");
    let status = status_of(&world, "r").await;
    balances(&status);
    assert_eq!(status["outcome"], "drained", "{status}");
    assert_eq!(figure(&status, "sent"), 300, "{status}");
    let listed: BTreeSet<String> = status["doubts"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|d| d["id"].as_str().expect("an id").to_owned())
        .collect();
    assert!(prepared.is_subset(&listed), "{prepared:?} and {listed:?}");
    assert_eq!(
        taking_over.figure("possible_duplicates"),
        listed.len() as u64
    );
    let audit = world.audit(&parked, &[SCHEDULE]);
    audit.doubles_only(&listed);
    assert!(!audit.doubled.is_empty(), "some had arrived before");

    let touched = || {
        [
            "SendMessageBatch",
            "DeleteMessageBatch",
            "ChangeMessageVisibilityBatch",
        ]
        .map(|action| world.requests(action))
    };
    let before = touched();
    frozen.signal(libc::SIGCONT);
    let ended = frozen.ended().await.exits(6);
    assert!(
        ended.message().contains("superseded"),
        "{}",
        ended.message()
    );
    assert_eq!(touched(), before, "it starts no send and touches nothing");
    assert_eq!(status_of(&world, "r").await, status, "nor in the table");
    assert_eq!(world.len(SCHEDULE), 300 + audit.doubled.len());
    assert_eq!(world.len(WAIT), 0);
}
