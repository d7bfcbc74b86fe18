//! The world itself: deterministic, honest in what it does to processes and servers, and able to see each broken promise.
//! The workers here are naive on purpose; most of them must be caught.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use sqs_drain::message::{Message, Outgoing, ReceiptOutcome, SendOutcome};
use sqs_drain::port::{
    Change, Clock, Datum, Item, Key, Sink, Source, Store, StoreError, Test, Write,
};

use super::*;

const VISIBILITY: Duration = Duration::from_secs(30);

fn outgoing(messages: &[Message]) -> Vec<Outgoing<'_>> {
    let one = |message| Outgoing {
        message,
        group_id: message.group_id.as_deref(),
        deduplication_id: Some(&message.message_id),
    };
    messages.iter().map(one).collect()
}

fn handles(messages: &[Message]) -> Vec<String> {
    messages.iter().map(|m| m.receipt_handle.clone()).collect()
}

/// Receive, send, delete what was accepted, until polls in a row find nothing for longer than a visibility.
async fn naive(ports: ProcessPorts) -> usize {
    let (source, sink) = (ports.source(0), ports.sink(1));
    let (mut moved, mut empty) = (0, 0);
    while empty < 8 {
        let received = source.receive(10, Duration::from_secs(5), VISIBILITY).await;
        let Ok(messages) = received else { continue };
        empty = if messages.is_empty() { empty + 1 } else { 0 };
        if messages.is_empty() {
            continue;
        }
        let outcomes = sink.send(&outgoing(&messages)).await;
        let accepted: Vec<Message> = messages
            .into_iter()
            .zip(&outcomes)
            .filter(|(_, o)| matches!(o, SendOutcome::Accepted { .. }))
            .map(|(m, _)| m)
            .collect();
        if !accepted.is_empty() {
            moved += accepted.len();
            source.delete(&handles(&accepted)).await;
        }
    }
    moved
}

fn world(seed: u64) -> World {
    let world = World::logged(seed);
    world.queue(QueueSpec {
        ..QueueSpec::default()
    });
    world.queue(QueueSpec {
        ..QueueSpec::default()
    });
    world.hold_to(Rules::new(&[1]));
    world
}

fn complaints(world: &World) -> String {
    world.audit.borrow().violations().join("\n")
}

#[test]
fn a_quiet_world_moves_everything() {
    let mut world = world(1);
    world.park(0, 60, 3);
    let handle = world.spawn("a", naive);
    assert!(world.run_to_end(120_000));
    assert_eq!(*handle.result.borrow(), Some(60));
    world
        .audit
        .borrow_mut()
        .check_drained(&world, 0, &[], |_| false);
    world.assert_sound();
    assert_eq!(world.queues.borrow()[1].stored.len(), 60);
}

fn stormy(seed: u64) -> World {
    let mut world = world(seed);
    world.park(0, 40, 3);
    world.weather(Weather {
        faults: [
            (Fault::KillAfter, 100),
            (Fault::KillBefore, 100),
            (Fault::Freeze(90_000), 100),
            (Fault::HeldBack(5_000), 50),
            (Fault::Suspend(20_000), 50),
            (Fault::AnswerLost, 300),
            (Fault::RequestLost, 300),
            (Fault::Late(9_000), 200),
            (Fault::Slow(4_000), 400),
            (Fault::Twice, 300),
            (Fault::Echo(8_000), 300),
            (Fault::Entries, 500),
            (Fault::Empty, 300),
            (Fault::Copy(1), 200),
            (Fault::Copy(2), 200),
            (Fault::Throttled, 200),
            (Fault::Internal, 200),
            (Fault::InternalAfter, 200),
            (Fault::Denied, 50),
            (Fault::Missing, 50),
            (Fault::Refused, 50),
        ]
        .map(|(fault, weight)| Chance::of(fault, weight))
        .into(),
        until_ms: 300_000,
        kills: 10,
    });
    for name in ["a", "b", "c"] {
        world.spawn(name, naive);
    }
    for round in 0..100 {
        world.run_until((round + 1) * 10_000, |core| core.living() < 2);
        if world.living() < 2 && world.now() < 300_000 {
            world.spawn("again", naive);
        }
    }
    assert!(world.run_to_end(2_000_000), "a process never ended");
    world.audit.borrow_mut().check_nothing_lost(&world);
    world
}

#[test]
fn the_same_seed_gives_the_same_log() {
    for seed in 0..20 {
        let (one, two) = (stormy(seed), stormy(seed));
        assert!(one.log.borrow().text().lines().count() > 100);
        assert!(
            one.log.borrow().text() == two.log.borrow().text(),
            "seed {seed}"
        );
        assert_ne!(
            one.log.borrow().text(),
            stormy(seed + 1_000).log.borrow().text()
        );
    }
}

#[test]
fn nothing_is_lost_by_a_worker_that_deletes_what_was_accepted() {
    for seed in 0..50 {
        let world = stormy(seed);
        assert!(
            !complaints(&world).contains("lost"),
            "seed {seed}: {}",
            complaints(&world)
        );
        assert!(
            !complaints(&world).contains("deleted"),
            "seed {seed}: {}",
            complaints(&world)
        );
    }
}

/// Kills a fresh naive worker at call `k`, restarts it, and returns what the audit says.
fn killed_at(k: u64, fault: Fault) -> String {
    let mut world = world(3);
    world.park(0, 5, 0);
    world.fault_at(k, fault);
    world.spawn("a", naive);
    world.run_until(200_000, |core| core.living() == 0);
    world.spawn("a", naive);
    assert!(world.run_to_end(400_000));
    world
        .audit
        .borrow_mut()
        .check_drained(&world, 0, &[], |_| false);
    complaints(&world)
}

#[test]
fn a_naive_worker_killed_between_send_and_delete_is_caught() {
    // Call 0 receives, 1 sends, 2 deletes.
    assert_eq!(killed_at(0, Fault::KillBefore), "");
    assert_eq!(killed_at(0, Fault::KillAfter), "");
    assert_eq!(killed_at(1, Fault::KillBefore), "");
    assert!(killed_at(1, Fault::KillAfter).contains("twice and not listed"));
    assert!(killed_at(2, Fault::KillBefore).contains("twice and not listed"));
    assert_eq!(killed_at(2, Fault::KillAfter), "");
    assert!(killed_at(1, Fault::AnswerLost).contains("twice and not listed"));
    assert!(killed_at(1, Fault::InternalAfter).contains("twice and not listed"));
    assert!(killed_at(1, Fault::Late(40_000)).contains("twice and not listed"));
    assert_eq!(killed_at(1, Fault::RequestLost), "");
    // Frozen past the visibility, it deletes with an old handle.
    assert_eq!(killed_at(1, Fault::Freeze(5_000)), "");
}

#[test]
fn a_frozen_process_lets_its_effect_happen_and_its_messages_go() {
    let mut world = world(4);
    world.park(0, 5, 0);
    world.fault_at(1, Fault::Freeze(60_000));
    world.spawn("a", naive);
    world.run_for(10_000);
    assert_eq!(world.queues.borrow()[1].stored.len(), 5);
    world.spawn("b", naive);
    assert!(world.run_to_end(400_000));
    assert_eq!(world.audit.borrow().doubles(), 5);
    assert!(complaints(&world).contains("twice and not listed"));
}

/// Deletes everything it sent, whatever became of it.
async fn careless(ports: ProcessPorts) {
    let (source, sink) = (ports.source(0), ports.sink(1));
    let Ok(messages) = source.receive(10, Duration::ZERO, VISIBILITY).await else {
        return;
    };
    if !messages.is_empty() {
        sink.send(&outgoing(&messages)).await;
        source.delete(&handles(&messages)).await;
    }
}

#[test]
fn a_worker_that_deletes_what_was_not_accepted_is_caught() {
    for fault in [
        Fault::Throttled,
        Fault::RequestLost,
        Fault::Entries,
        Fault::Missing,
    ] {
        let mut world = world(5);
        world.park(0, 10, 0);
        world.fault_at(1, fault);
        world.spawn("a", careless);
        assert!(world.run_to_end(60_000));
        assert!(complaints(&world).contains("which no queue accepted"));
        world.audit.borrow_mut().check_nothing_lost(&world);
        assert!(complaints(&world).contains("is lost"));
    }
}

#[test]
fn a_worker_that_takes_the_first_empty_poll_for_the_end_is_caught() {
    let mut world = world(6);
    world.park(0, 10, 0);
    world.fault_at(0, Fault::Empty);
    world.spawn("a", careless);
    assert!(world.run_to_end(60_000));
    assert_eq!(complaints(&world), "");
    world
        .audit
        .borrow_mut()
        .check_drained(&world, 0, &[], |_| false);
    assert!(complaints(&world).contains("left in a drained queue"));
}

#[test]
fn an_unfaithful_copy_is_caught() {
    let mut world = world(7);
    world.park(0, 10, 2);
    world.spawn("a", |ports| async move {
        let (source, sink) = (ports.source(0), ports.sink(1));
        if let Ok(mut messages) = source.receive(1, Duration::ZERO, VISIBILITY).await {
            messages[0].body.push('x');
            sink.send(&outgoing(&messages)).await;
        }
        if let Ok(messages) = source.receive(1, Duration::ZERO, VISIBILITY).await {
            let mut one = outgoing(&messages);
            one[0].group_id = None;
            sink.send(&one).await;
        }
    });
    assert!(world.run_to_end(60_000));
    assert_eq!(complaints(&world).matches("not faithful").count(), 2);
}

#[test]
fn too_fast_and_outside_the_window_are_caught() {
    let mut world = world(8);
    world.park(0, 60, 0);
    let mut rules = Rules::new(&[1]);
    rules.rate = Some(Rate {
        per_second: 20,
        burst: 10,
    });
    rules.window = Some(Rc::new(|t| t < EPOCH_MS + 50));
    world.hold_to(rules);
    world.spawn("a", naive);
    assert!(world.run_to_end(60_000));
    assert!(complaints(&world).contains("messages in one second"));
    assert!(complaints(&world).contains("outside the window by the service clock"));
}

#[test]
fn a_copy_of_the_queue_s_own_making_excuses_other_processes_only() {
    for (fault, same_process) in [(Fault::Copy(1), true), (Fault::Copy(2), false)] {
        let mut world = world(9);
        world.park(0, 1, 0);
        world.fault_at(0, fault);
        // The copy is due within five seconds: the naive worker's next polls find it, or another process does.
        world.spawn("a", move |ports| async move {
            if same_process {
                naive(ports).await;
            } else {
                careless(ports).await;
            }
        });
        world.run_to_end(60_000);
        world.spawn("b", naive);
        assert!(world.run_to_end(120_000));
        assert_eq!(world.audit.borrow().doubles(), 1);
        assert_eq!(
            complaints(&world).contains("twice and not listed"),
            same_process
        );
    }
}

#[test]
fn at_most_once_knows_no_excuse() {
    let mut world = world(9);
    world.hold_to(Rules {
        at_most_once: true,
        ..Rules::new(&[1])
    });
    world.park(0, 1, 0);
    world.fault_at(0, Fault::Copy(2));
    world.spawn("a", careless);
    world.run_to_end(60_000);
    world.spawn("b", naive);
    assert!(world.run_to_end(120_000));
    assert!(complaints(&world).contains("at most once"));
}

#[test]
fn sleeps_are_late_by_a_suspend_and_the_boot_clock_is_not() {
    let mut world = world(10);
    let handle = world.spawn("a", |ports| async move {
        let clock = ports.clock();
        let before = clock.now();
        clock.sleep(Duration::from_secs(10)).await;
        clock.now().since(before)
    });
    let pid = handle.pid;
    world.at(4_000, move |core| core.suspend_for(pid, 60_000));
    assert!(world.run_to_end(100_000));
    assert_eq!(*handle.result.borrow(), Some(Duration::from_secs(70)));
}

#[test]
fn the_service_clock_is_told_by_its_answers() {
    let mut world = world(11);
    world.service_skew_ms.set(90_000);
    let handle = world.spawn("a", |ports| async move {
        let clock = ports.clock();
        let before = clock.wall().service;
        let _ = ports.source(0).counts().await;
        (before, clock.wall())
    });
    let pid = handle.pid;
    world.set_wall(pid, -5_000);
    assert!(world.run_to_end(10_000));
    let (before, after) = handle.result.borrow().expect("it ended");
    assert_eq!(before, None);
    let apart = after.service.expect("an answer was heard") - after.local;
    assert!(
        (93_900..=95_100).contains(&apart.num_milliseconds()),
        "{apart}"
    );
}

fn put(n: i64, when: Vec<Vec<Test>>) -> Write {
    Write {
        key: Key::new("p", "s"),
        when,
        change: Change::Put(Item::from([("n".into(), Datum::N(n))])),
    }
}

#[test]
fn a_repeated_write_meets_its_own_success() {
    let mut world = world(12);
    world.fault_at(0, Fault::Twice);
    world.fault_at(1, Fault::Echo(500));
    let answers = world.spawn("a", |ports| async move {
        let store = ports.store();
        let first = store.write(put(1, vec![vec![Test::Absent]])).await;
        // Takes effect now and once more in half a second, over what was written since.
        let second = store.write(put(2, vec![])).await;
        let third = store
            .write(put(3, vec![vec![Test::Lt("n".into(), 3)]]))
            .await;
        ports.clock().sleep(Duration::from_secs(1)).await;
        (first, second, third, store.get(&[Key::new("p", "s")]).await)
    });
    assert!(world.run_to_end(10_000));
    let (first, second, third, last) = answers.result.take().expect("it ended");
    assert_eq!(
        first,
        Err(StoreError::Conflict(Some(Item::from([(
            "n".into(),
            Datum::N(1)
        )]))))
    );
    assert!(second.is_ok() && third.is_ok());
    assert_eq!(
        last,
        Ok(vec![Some(Item::from([("n".into(), Datum::N(2))]))])
    );
}

#[test]
fn an_outage_loses_requests_and_some_answers() {
    let mut world = world(13);
    world.outage(Outage {
        target: Target::Table,
        only: None,
        ops: &[],
        from_ms: 0,
        until_ms: 100_000,
        fault: Fault::RequestLost,
    });
    let failures = Rc::new(Cell::new(0));
    let count = failures.clone();
    world.spawn("a", move |ports| async move {
        let store = ports.store();
        for n in 0..40 {
            if store.write(put(n, vec![])).await.is_err() {
                count.set(count.get() + 1);
            }
        }
        assert!(store.write(put(99, vec![])).await.is_ok());
    });
    world.run_until(81_000, |_| false);
    assert_eq!(failures.get(), 40);
    let effects = world.table.borrow().writes;
    assert!((1..40).contains(&effects), "{effects}");
}

#[test]
fn fifo_groups_are_locked_and_ordered_and_deduplicated() {
    let mut world = World::logged(14);
    let fifo = || QueueSpec {
        fifo: true,
        ..QueueSpec::default()
    };
    world.queue(fifo());
    world.queue(fifo());
    world.hold_to(Rules::new(&[1]));
    world.park(0, 30, 2);
    let handle = world.spawn("a", |ports| async move {
        let (source, sink) = (ports.source(0), ports.sink(1));
        let first = source.receive(3, Duration::ZERO, VISIBILITY).await?;
        let groups: Vec<_> = first.iter().map(|m| m.group_id.clone()).collect();
        // Only groups with nothing in flight are handed out.
        let second = source.receive(10, Duration::ZERO, VISIBILITY).await?;
        assert!(second.iter().all(|m| !groups.contains(&m.group_id)));
        // Sent again within five minutes: accepted, and swallowed.
        for _ in 0..2 {
            let outcomes = sink.send(&outgoing(&first)).await;
            assert!(
                outcomes
                    .iter()
                    .all(|o| matches!(o, SendOutcome::Accepted { .. }))
            );
        }
        source.delete(&handles(&first)).await;
        // Expired: a FIFO queue says so.
        ports.clock().sleep(VISIBILITY).await;
        let deletes = match second.is_empty() {
            true => vec![ReceiptOutcome::Stale(String::new())],
            false => source.delete(&handles(&second)).await,
        };
        assert!(
            deletes
                .iter()
                .all(|o| matches!(o, ReceiptOutcome::Stale(_)))
        );
        naive(ports.clone()).await;
        Ok::<_, sqs_drain::port::QueueError>(())
    });
    assert!(world.run_to_end(200_000));
    assert!(matches!(*handle.result.borrow(), Some(Ok(()))));
    world
        .audit
        .borrow_mut()
        .check_drained(&world, 0, &[], |_| false);
    world.assert_sound();
    assert_eq!(world.queues.borrow()[1].stored.len(), 30);
    assert_eq!(
        world.queues.borrow()[1]
            .accepted
            .iter()
            .filter(|a| a.swallowed)
            .count(),
        3
    );
}

#[test]
fn a_worker_that_goes_on_in_a_group_after_a_failed_entry_is_caught() {
    let caught = (0..20).any(|seed| {
        let mut world = World::logged(seed);
        let fifo = || QueueSpec {
            fifo: true,
            ..QueueSpec::default()
        };
        world.queue(fifo());
        world.queue(fifo());
        world.hold_to(Rules::new(&[1]));
        world.park(0, 10, 1);
        world.fault_at(1, Fault::Entries);
        world.spawn("a", naive);
        assert!(world.run_to_end(200_000));
        complaints(&world).contains("group g0")
    });
    assert!(caught);
}

#[test]
fn the_redrive_rule_moves_what_is_received_too_often() {
    let mut world = World::logged(15);
    let dead = 2;
    world.queue(QueueSpec {
        redrive: Some((dead, 2)),
        ..QueueSpec::default()
    });
    world.queue(QueueSpec::default());
    world.queue(QueueSpec::default());
    world.hold_to(Rules::new(&[1]));
    world.park(0, 4, 0);
    world.spawn("a", |ports| async move {
        for _ in 0..3 {
            let _ = ports
                .source(0)
                .receive(10, Duration::ZERO, VISIBILITY)
                .await;
            ports.clock().sleep(VISIBILITY).await;
        }
    });
    assert!(world.run_to_end(200_000));
    assert_eq!(world.queues.borrow()[dead].stored.len(), 4);
    world
        .audit
        .borrow_mut()
        .check_drained(&world, 0, &[dead], |_| false);
    world.assert_sound();
}

#[test]
fn a_long_poll_wakes_for_a_message() {
    let mut world = world(16);
    let handle = world.spawn("a", |ports| async move {
        let before = ports.clock().now();
        let wait = Duration::from_secs(20);
        let received = ports.source(0).receive(10, wait, VISIBILITY).await;
        (received.map(|m| m.len()), ports.clock().now().since(before))
    });
    world.at(3_000, |core| core.park(0, 1, 0));
    assert!(world.run_to_end(60_000));
    let (received, after) = handle.result.take().expect("it ended");
    assert_eq!(received, Ok(1));
    assert!(after < Duration::from_millis(3_050), "{after:?}");
}

#[test]
fn visibility_is_bounded_and_released_at_once() {
    let mut world = world(17);
    world.park(0, 1, 0);
    let handle = world.spawn("a", |ports| async move {
        let source = ports.source(0);
        let one = source.receive(1, Duration::ZERO, VISIBILITY).await?;
        let handle = one[0].receipt_handle.clone();
        let half_a_day = Duration::from_secs(43_200);
        let too_long = source.set_visibility(&[(handle.clone(), half_a_day)]).await;
        let released = source
            .set_visibility(&[(handle.clone(), Duration::ZERO)])
            .await;
        let again = source.receive(1, Duration::ZERO, VISIBILITY).await?;
        let stale = source.set_visibility(&[(handle, Duration::ZERO)]).await;
        Ok::<_, sqs_drain::port::QueueError>((too_long, released, again[0].receive_count, stale))
    });
    assert!(world.run_to_end(10_000));
    let (too_long, released, count, stale) =
        handle.result.take().expect("ended").expect("no faults");
    assert!(matches!(too_long[0], ReceiptOutcome::Stale(_)));
    assert_eq!(released, vec![ReceiptOutcome::Done]);
    assert_eq!(count, 2);
    assert!(matches!(stale[0], ReceiptOutcome::Stale(_)));
}

#[test]
fn counts_may_be_of_the_past() {
    let mut world = world(18);
    world.park(0, 7, 0);
    world.fault_at(2, Fault::StaleCounts(30_000));
    let handle = world.spawn("a", |ports| async move {
        let (source, clock) = (ports.source(0), ports.clock());
        clock.sleep(Duration::from_secs(40)).await;
        let _ = source.receive(5, Duration::ZERO, VISIBILITY).await;
        (source.counts().await, source.counts().await)
    });
    assert!(world.run_to_end(100_000));
    let (fresh, stale) = handle.result.take().expect("it ended");
    let of = |c: Result<sqs_drain::message::Counts, _>| c.map(|c| (c.visible, c.in_flight));
    assert_eq!(of(fresh), Ok((2, 5)));
    assert_ne!(of(stale), Ok((2, 5)));
}
