//! SIGTERM and SIGINT: what is in flight is finished, the rest is given back and visible at once.

use std::collections::BTreeSet;
use std::time::Duration;

use sqs_drain::local::sqs::queue::State;
use sqs_drain::local::{Effect, Rule};

use super::harness::{eventually, now};
use super::world::{SCHEDULE, WAIT, World, samples};

async fn stops_cleanly(signal: libc::c_int, journal: &[&str]) {
    let world = World::start().await;
    let parked = world.park(WAIT, samples(1_500));
    let mut args = vec!["--rate", "300"];
    args.extend(journal);
    let worker = world.run(&args);
    world.arrived(SCHEDULE, 150).await;
    worker.signal(signal);
    let asked = now();
    let ended = worker.ended().await.exits(6);
    // The grace given is 20 s, and some of it is for whoever is slow.
    assert!(asked.elapsed() < Duration::from_secs(15));
    assert_eq!(ended.message(), "stopped by a signal");

    let left = world.peek(WAIT);
    assert!(left.len() > 500, "mid-drain: {} left", left.len());
    assert_eq!(left.len() + world.len(SCHEDULE), 1_500, "each in one place");
    for message in &left {
        assert_eq!(message.state, State::Visible, "visible at once");
        assert!(message.receive_count <= 1, "received once at most");
    }
    let given_back = left.iter().filter(|m| m.receive_count == 1).count();
    assert_eq!(ended.figure("released"), given_back as u64);
    assert_eq!(ended.figure("in_doubt"), 0);
    let audit = world.audit(&parked, &[SCHEDULE]);
    audit.nothing_wrong(&BTreeSet::new());

    // And it goes on where it was.
    let mut args = journal.to_vec();
    args.extend(["--lanes", "4"]);
    let ended = world.run(&args).ended().await.exits(0);
    assert_eq!(ended.figure("sent"), left.len() as u64);
    world.audit(&parked, &[SCHEDULE]).is_exact();
}

#[tokio::test]
async fn a_sigterm_stops_cleanly() {
    stops_cleanly(libc::SIGTERM, &[]).await;
}

#[tokio::test]
async fn a_sigint_stops_cleanly_without_a_journal_too() {
    stops_cleanly(libc::SIGINT, &["--no-journal"]).await;
}

#[tokio::test]
async fn a_second_signal_leaves_at_once() {
    let world = World::start().await;
    let parked = world.park(WAIT, samples(100));
    // No send is ever answered, so a clean stop has to wait for the send's timeout.
    let hang = Effect::DelayAfter(Duration::from_secs(60));
    let rule = Rule::sqs("SendMessageBatch").then(hang);
    let rule = world.endpoints.add_rule(rule);
    let long = ["--send-timeout", "12s", "--visibility", "35s"];
    let worker = world.run(&[&["--run-id", "r", "--grace", "60s"], &long[..]].concat());
    eventually("a send hangs", || {
        world.endpoints.faults().picked(rule) >= Some(1)
    })
    .await;
    worker.signal(libc::SIGTERM);
    eventually("the first signal is noticed", || {
        worker.log().contains("a second signal leaves at once")
    })
    .await;
    let asked = now();
    worker.signal(libc::SIGTERM);
    let ended = worker.ended().await;
    assert!(asked.elapsed() < Duration::from_secs(10));
    assert_eq!(ended.code, Some(6));
    assert_eq!(ended.stdout, "", "it left without a result");

    world.endpoints.faults().clear();
    world.let_visibility_pass().await;
    let args = [&["--run-id", "r"], &long[..]].concat();
    world.run(&args).ended().await.exits(0);
    let listed = world.listed("r").await;
    world.audit(&parked, &[SCHEDULE]).doubles_only(&listed);
}
