//! What a wait queue is relied on for.

use std::time::Duration;

use sqs_drain::message::ReceiptOutcome;
use sqs_drain::port::{Source, Trouble};

use super::*;

pub async fn an_empty_queue_gives_nothing<B: Bench>(bench: B) {
    let queue = bench.queue(Spec::standard()).await;
    assert!(poll(&bench.source(&queue), LONG).await.is_empty());
}

pub async fn a_received_message_is_hidden<B: Bench>(bench: B) {
    let queue = bench.queue(Spec::standard()).await;
    let source = bench.source(&queue);
    send_all(&bench.sink(&queue), &numbered(1)).await;
    let received = await_all(&bench, &source, LONG, 1).await;
    assert_eq!(received[0].receive_count, 1);
    bench.pass(STEP).await;
    assert!(poll(&source, LONG).await.is_empty());
}

pub async fn a_receive_takes_no_more_than_asked<B: Bench>(bench: B) {
    let queue = bench.queue(Spec::standard()).await;
    let source = bench.source(&queue);
    let sent = numbered(10);
    send_all(&bench.sink(&queue), &sent).await;
    let mut all = Vec::new();
    for _ in 0..100 {
        let some = source
            .receive(3, Duration::ZERO, LONG)
            .await
            .expect("the queue answers");
        assert!(some.len() <= 3, "{}", some.len());
        all.extend(some);
    }
    assert_eq!(bodies(&all), bodies(&sent));
}

pub async fn a_message_keeps_its_identity_over_deliveries<B: Bench>(bench: B) {
    let queue = bench.queue(Spec::standard()).await;
    let source = bench.source(&queue);
    let ids = send_all(&bench.sink(&queue), &numbered(1)).await;
    let first = await_all(&bench, &source, SHORT, 1).await.remove(0);
    if bench.exact() {
        bench.pass(SHORT - Duration::from_millis(1)).await;
        assert!(
            poll(&source, LONG).await.is_empty(),
            "visible before its time"
        );
        bench.pass(Duration::from_millis(1)).await;
        assert_eq!(
            poll(&source, Duration::ZERO).await.len(),
            1,
            "not visible at its time"
        );
    }
    let again = await_some(&bench, &source, LONG, SHORT * 3).await.remove(0);
    assert_eq!(again.message_id, ids[0]);
    assert_eq!((&again.message_id, again.id), (&first.message_id, first.id));
    assert_eq!(
        (&again.body, again.sent_at_ms),
        (&first.body, first.sent_at_ms)
    );
    assert_eq!(first.receive_count, 1);
    assert_eq!(again.receive_count, if bench.exact() { 3 } else { 2 });
    assert!(first.sent_at_ms > 0);
    assert_ne!(again.receipt_handle, first.receipt_handle);
}

pub async fn a_deleted_message_is_gone<B: Bench>(bench: B) {
    let queue = bench.queue(Spec::standard()).await;
    let source = bench.source(&queue);
    send_all(&bench.sink(&queue), &numbered(1)).await;
    let received = await_all(&bench, &source, SHORT, 1).await;
    assert_eq!(
        source.delete(&handles(&received)).await,
        [ReceiptOutcome::Done]
    );
    bench.pass(SHORT + STEP).await;
    assert!(poll(&source, LONG).await.is_empty());
    assert_eq!(source.counts().await.expect("counts").total(), 0);
}

/// A receipt handle that no server gave out.
const FOREIGN: &str = "AQEBforeignHandleThatNobodyGaveOut==";

pub async fn deletes_have_one_outcome_each_in_order<B: Bench>(bench: B) {
    let queue = bench.queue(Spec::standard()).await;
    let source = bench.source(&queue);
    send_all(&bench.sink(&queue), &numbered(4)).await;
    let received = await_all(&bench, &source, LONG, 4).await;
    let mut given = handles(&received);
    given.insert(2, FOREIGN.to_owned());
    let outcomes = source.delete(&given).await;
    assert_eq!(outcomes.len(), 5);
    for (i, outcome) in outcomes.iter().enumerate() {
        match i {
            2 => assert!(matches!(outcome, ReceiptOutcome::Stale(_)), "{outcome:?}"),
            _ => assert_eq!(*outcome, ReceiptOutcome::Done),
        }
    }
    assert_eq!(source.counts().await.expect("counts").total(), 0);
}

pub async fn a_second_delete_is_no_error_to_retry<B: Bench>(bench: B) {
    let queue = bench.queue(Spec::standard()).await;
    let source = bench.source(&queue);
    send_all(&bench.sink(&queue), &numbered(1)).await;
    let handles = handles(&await_all(&bench, &source, LONG, 1).await);
    assert_eq!(source.delete(&handles).await, [ReceiptOutcome::Done]);
    let second = source.delete(&handles).await;
    if bench.differs(Difference::SecondDeleteRefused) {
        assert!(
            matches!(second[..], [ReceiptOutcome::Stale(_)]),
            "{second:?}"
        );
    } else {
        assert_eq!(second, [ReceiptOutcome::Done]);
    }
}

pub async fn the_newest_handle_deletes<B: Bench>(bench: B) {
    let queue = bench.queue(Spec::standard()).await;
    let source = bench.source(&queue);
    send_all(&bench.sink(&queue), &numbered(1)).await;
    let old = handles(&await_all(&bench, &source, SHORT, 1).await);
    let new = handles(&await_some(&bench, &source, SHORT, SHORT * 3).await);
    // SQS: a request with an older handle "succeeds, but the message might not be deleted".
    let outcomes = source.delete(&old).await;
    assert!(
        !matches!(outcomes[..], [ReceiptOutcome::Retry(_)]),
        "{outcomes:?}"
    );
    let outcomes = source.delete(&new).await;
    assert!(
        !matches!(outcomes[..], [ReceiptOutcome::Retry(_)]),
        "{outcomes:?}"
    );
    bench.pass(SHORT + STEP).await;
    assert!(poll(&source, LONG).await.is_empty());
}

pub async fn visibility_zero_gives_back_at_once<B: Bench>(bench: B) {
    let queue = bench.queue(Spec::standard()).await;
    let source = bench.source(&queue);
    send_all(&bench.sink(&queue), &numbered(3)).await;
    let received = await_all(&bench, &source, LONG, 3).await;
    let released: Vec<_> = handles(&received)
        .into_iter()
        .map(|h| (h, Duration::ZERO))
        .collect();
    assert_eq!(
        source.set_visibility(&released).await,
        vec![ReceiptOutcome::Done; 3]
    );
    let again = await_all(&bench, &source, LONG, 3).await;
    assert_eq!(bodies(&again), bodies(&received));
    assert!(again.iter().all(|m| m.receive_count == 2));
}

pub async fn visibility_can_be_lengthened<B: Bench>(bench: B) {
    let queue = bench.queue(Spec::standard()).await;
    let source = bench.source(&queue);
    send_all(&bench.sink(&queue), &numbered(1)).await;
    let received = await_all(&bench, &source, SHORT, 1).await;
    let longer = [(received[0].receipt_handle.clone(), LONG)];
    assert_eq!(source.set_visibility(&longer).await, [ReceiptOutcome::Done]);
    bench.pass(SHORT + STEP).await;
    assert!(poll(&source, LONG).await.is_empty());
    assert_eq!(
        source.delete(&handles(&received)).await,
        [ReceiptOutcome::Done]
    );
}

pub async fn visibility_has_one_outcome_each_in_order<B: Bench>(bench: B) {
    let queue = bench.queue(Spec::standard()).await;
    let source = bench.source(&queue);
    send_all(&bench.sink(&queue), &numbered(2)).await;
    let received = await_all(&bench, &source, LONG, 2).await;
    let mut given: Vec<_> = handles(&received).into_iter().map(|h| (h, LONG)).collect();
    given.insert(1, (FOREIGN.to_owned(), LONG));
    let outcomes = source.set_visibility(&given).await;
    assert_eq!(outcomes.len(), 3);
    assert_eq!(outcomes[0], ReceiptOutcome::Done);
    assert!(
        matches!(outcomes[1], ReceiptOutcome::Stale(_)),
        "{:?}",
        outcomes[1]
    );
    assert_eq!(outcomes[2], ReceiptOutcome::Done);
}

pub async fn the_visibility_of_a_deleted_message_is_stale<B: Bench>(bench: B) {
    let queue = bench.queue(Spec::standard()).await;
    let source = bench.source(&queue);
    send_all(&bench.sink(&queue), &numbered(1)).await;
    let received = await_all(&bench, &source, LONG, 1).await;
    assert_eq!(
        source.delete(&handles(&received)).await,
        [ReceiptOutcome::Done]
    );
    let late = [(received[0].receipt_handle.clone(), Duration::ZERO)];
    let outcomes = source.set_visibility(&late).await;
    assert!(
        matches!(outcomes[..], [ReceiptOutcome::Stale(_)]),
        "{outcomes:?}"
    );
    assert!(poll(&source, LONG).await.is_empty());
}

pub async fn a_long_poll_wakes<B: Bench>(bench: B) {
    let queue = bench.queue(Spec::standard()).await;
    let (source, sink) = (bench.source(&queue), bench.sink(&queue));
    // The wait is far longer than the time let pass: only being woken ends it.
    let (received, ()) = futures::join!(source.receive(10, Duration::from_secs(20), LONG), async {
        bench.pass(STEP).await;
        send_all(&sink, &numbered(1)).await;
    });
    assert_eq!(bodies(&received.expect("the queue answers")), ["m0 "]);
}

pub async fn a_long_poll_ends_empty<B: Bench>(bench: B) {
    let queue = bench.queue(Spec::standard()).await;
    let source = bench.source(&queue);
    let mut receive = std::pin::pin!(source.receive(10, SHORT, LONG));
    let received = loop {
        let tick = std::pin::pin!(bench.pass(STEP));
        match futures::future::select(receive.as_mut(), tick).await {
            futures::future::Either::Left((received, _)) => break received,
            futures::future::Either::Right(_) => {}
        }
    };
    assert!(received.expect("the queue answers").is_empty());
}

pub async fn counts_tell_visible_and_in_flight<B: Bench>(bench: B) {
    let queue = bench.queue(Spec::standard()).await;
    let source = bench.source(&queue);
    send_all(&bench.sink(&queue), &numbered(7)).await;
    let before = source.counts().await.expect("counts");
    assert_eq!(
        (before.visible, before.in_flight, before.delayed),
        (7, 0, 0)
    );
    let received = source
        .receive(3, Duration::ZERO, LONG)
        .await
        .expect("the queue answers");
    let during = source.counts().await.expect("counts");
    assert_eq!(during.in_flight, received.len() as u64);
    assert_eq!(during.visible, 7 - received.len() as u64);
    assert_eq!(during.total(), 7);
}

pub async fn delayed_messages_are_counted_and_come<B: Bench>(bench: B) {
    let queue = bench
        .queue(Spec {
            delay_s: 1,
            ..Spec::standard()
        })
        .await;
    let source = bench.source(&queue);
    send_all(&bench.sink(&queue), &numbered(2)).await;
    assert!(poll(&source, LONG).await.is_empty());
    let counts = source.counts().await.expect("counts");
    assert_eq!((counts.visible, counts.delayed), (0, 2));
    let received = await_all(&bench, &source, LONG, 2).await;
    assert!(received.iter().all(|m| m.receive_count == 1));
}

pub async fn too_many_receives_lead_to_the_dead_letters<B: Bench>(bench: B) {
    let dead = bench.queue(Spec::standard()).await;
    let queue = bench
        .queue(Spec {
            dead_letters: Some((dead.clone(), 2)),
            ..Spec::standard()
        })
        .await;
    let source = bench.source(&queue);
    let ids = send_all(&bench.sink(&queue), &numbered(1)).await;
    for count in 1..=2 {
        let received = await_all(&bench, &source, LONG, 1).await;
        assert_eq!(received[0].receive_count, count);
        let released = [(received[0].receipt_handle.clone(), Duration::ZERO)];
        assert_eq!(
            source.set_visibility(&released).await,
            [ReceiptOutcome::Done]
        );
    }
    // The third receive finds it used up.
    let mut letters = Vec::new();
    for _ in 0..25 {
        assert!(poll(&source, LONG).await.is_empty());
        letters.extend(poll(&bench.source(&dead), LONG).await);
        if !letters.is_empty() {
            break;
        }
        bench.pass(STEP).await;
    }
    assert_eq!(bodies(&letters), ["m0 "]);
    assert_eq!(letters[0].message_id, ids[0]);
}

pub async fn a_missing_queue_is_missing<B: Bench>(bench: B) {
    let Some(queue) = bench.missing() else {
        return;
    };
    let source = bench.source(&queue);
    let received = source.receive(10, Duration::ZERO, LONG).await;
    assert_eq!(received.expect_err("no such queue").kind, Trouble::Missing);
    let counts = source.counts().await;
    assert_eq!(counts.expect_err("no such queue").kind, Trouble::Missing);
    let outcomes = source.delete(&["a".to_owned(), "b".to_owned()]).await;
    assert!(
        matches!(
            outcomes[..],
            [ReceiptOutcome::Denied(_), ReceiptOutcome::Denied(_)]
        ),
        "{outcomes:?}"
    );
}
