//! What FIFO queues are relied on for, on either side.

use std::time::Duration;

use sqs_drain::message::{Message, ReceiptOutcome};
use sqs_drain::port::Source;

use super::*;

/// Message `i` in the group `g`.
fn grouped(i: usize, group: &str) -> Message {
    Message {
        group_id: Some(group.to_owned()),
        deduplication_id: Some(format!("d{i}")),
        ..plain(&format!("m{i} "))
    }
}

fn in_order(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|m| m.body.trim_end()).collect()
}

pub async fn order_in_a_group_is_kept<B: Bench>(bench: B) {
    let queue = bench.queue(Spec::fifo()).await;
    let source = bench.source(&queue);
    let sent: Vec<_> = (0..25).map(|i| grouped(i, "a")).collect();
    send_all(&bench.sink(&queue), &sent).await;
    let mut received = Vec::new();
    while received.len() < 25 {
        let some = await_some(&bench, &source, LONG, Duration::from_secs(5)).await;
        let done = source.delete(&handles(&some)).await;
        assert_eq!(done, vec![ReceiptOutcome::Done; some.len()]);
        received.extend(some);
    }
    assert_eq!(in_order(&received), in_order(&sent));
}

pub async fn a_group_in_flight_is_locked<B: Bench>(bench: B) {
    let queue = bench.queue(Spec::fifo()).await;
    let source = bench.source(&queue);
    let sent = [grouped(0, "a"), grouped(1, "a"), grouped(2, "b")];
    send_all(&bench.sink(&queue), &sent).await;
    let first = source
        .receive(1, Duration::ZERO, LONG)
        .await
        .expect("the queue answers");
    assert_eq!(in_order(&first), ["m0"]);
    // The rest of the group a waits, the group b does not.
    let second = source
        .receive(10, Duration::ZERO, LONG)
        .await
        .expect("the queue answers");
    assert_eq!(in_order(&second), ["m2"]);
    assert!(poll(&source, LONG).await.is_empty());
    assert_eq!(
        source.delete(&handles(&first)).await,
        [ReceiptOutcome::Done]
    );
    let third = await_some(&bench, &source, LONG, Duration::from_secs(2)).await;
    assert_eq!(in_order(&third), ["m1"]);
}

pub async fn a_release_keeps_the_order<B: Bench>(bench: B) {
    let queue = bench.queue(Spec::fifo()).await;
    let source = bench.source(&queue);
    let sent: Vec<_> = (0..3).map(|i| grouped(i, "a")).collect();
    send_all(&bench.sink(&queue), &sent).await;
    let received = poll(&source, LONG).await;
    assert_eq!(in_order(&received), ["m0", "m1", "m2"]);
    let released: Vec<_> = handles(&received)
        .into_iter()
        .map(|h| (h, Duration::ZERO))
        .collect();
    assert_eq!(
        source.set_visibility(&released).await,
        vec![ReceiptOutcome::Done; 3]
    );
    let again = await_some(&bench, &source, LONG, Duration::from_secs(2)).await;
    assert_eq!(in_order(&again), ["m0", "m1", "m2"]);
    assert!(again.iter().all(|m| m.receive_count == 2));
}

pub async fn a_deduplicated_send_is_accepted_and_swallowed<B: Bench>(bench: B) {
    let queue = bench.queue(Spec::fifo()).await;
    let (source, sink) = (bench.source(&queue), bench.sink(&queue));
    let first = send_all(&sink, &[grouped(0, "a")]).await;
    let again = send_all(&sink, &[grouped(0, "a")]).await;
    assert_eq!(again, first);
    let received = poll(&source, LONG).await;
    assert_eq!(in_order(&received), ["m0"]);
    assert_eq!(
        source.delete(&handles(&received)).await,
        [ReceiptOutcome::Done]
    );
    // Also after the first copy is gone.
    send_all(&sink, &[grouped(0, "a")]).await;
    bench.pass(STEP).await;
    assert!(poll(&source, LONG).await.is_empty());
}

pub async fn group_and_deduplication_ids_are_told<B: Bench>(bench: B) {
    let queue = bench.queue(Spec::fifo()).await;
    send_all(&bench.sink(&queue), &[grouped(4, "g-1")]).await;
    let received = await_all(&bench, &bench.source(&queue), LONG, 1).await;
    assert_eq!(received[0].group_id.as_deref(), Some("g-1"));
    assert_eq!(received[0].deduplication_id.as_deref(), Some("d4"));
}
