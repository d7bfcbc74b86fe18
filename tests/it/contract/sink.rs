//! What a destination is relied on for.

use std::collections::BTreeSet;

use sqs_drain::message::{Attribute, SendOutcome, Value};
use sqs_drain::port::Sink;

use super::*;

fn text(name: &str, data_type: &str, value: &str) -> Attribute {
    Attribute {
        name: name.to_owned(),
        data_type: data_type.to_owned(),
        value: Value::Text(value.to_owned()),
    }
}

fn binary(name: &str, data_type: &str, value: &[u8]) -> Attribute {
    Attribute {
        name: name.to_owned(),
        data_type: data_type.to_owned(),
        value: Value::Binary(value.to_vec()),
    }
}

pub async fn a_full_batch_is_accepted<B: Bench>(bench: B) {
    let queue = bench.queue(Spec::standard()).await;
    let sent = numbered(10);
    let ids = send_all(&bench.sink(&queue), &sent).await;
    assert_eq!(
        ids.iter().collect::<BTreeSet<_>>().len(),
        10,
        "ids are distinct"
    );
    let received = await_all(&bench, &bench.source(&queue), LONG, 10).await;
    for message in &received {
        let i = sent
            .iter()
            .position(|m| m.body == message.body)
            .expect("one of those sent");
        assert_eq!(message.message_id, ids[i]);
    }
    assert_eq!(bodies(&received), bodies(&sent));
}

pub async fn a_copy_is_faithful<B: Bench>(bench: B) {
    let queue = bench.queue(Spec::standard()).await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let mut message = plain("m0 {\"to\":\"+82-10-0000-0000\",\"text\":\"안녕하세요 🎁\"}");
    // Ten is the most SQS allows. In order of name, as they are received.
    message.attributes = vec![
        binary("a.bytes", "Binary", &every_byte),
        binary("b-gzip", "Binary.gzip", &[0x1f, 0x8b, 0, 0]),
        text(
            "c_number",
            "Number",
            "12345678901234567890123456789012345678",
        ),
        text("d", "Number.int", "-7"),
        text("e", "Number.float", "1.5e3"),
        text("f", "String", "plain"),
        text("g", "String.json", "{\"a\": [1, \"<&>\"]}"),
        text("h", "String", "줄\n바꿈\t🎁"),
        text("i", "String", " spaces around "),
        text("j", "String.uuid", "00000000-0000-0000-0000-000000000000"),
    ];
    if !bench.differs(Difference::NoTraceHeader) {
        message.trace_header = Some(
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1".to_owned(),
        );
    }
    send_all(&bench.sink(&queue), &[message.clone()]).await;
    let received = await_all(&bench, &bench.source(&queue), LONG, 1)
        .await
        .remove(0);
    assert_eq!(received.body, message.body);
    assert_eq!(received.attributes.len(), 10);
    for (received, sent) in received.attributes.iter().zip(&message.attributes) {
        assert_eq!(
            (&received.name, &received.data_type),
            (&sent.name, &sent.data_type)
        );
        assert!(
            received.value == sent.value,
            "the value of {} changed",
            sent.name
        );
    }
    assert_eq!(received.trace_header, message.trace_header);
    // And a copy of the copy is the same again.
    let next = bench.queue(Spec::standard()).await;
    send_all(&bench.sink(&next), std::slice::from_ref(&received)).await;
    let copy = await_all(&bench, &bench.source(&next), LONG, 1)
        .await
        .remove(0);
    assert!(copy.body == received.body && copy.attributes == received.attributes);
    assert_eq!(copy.trace_header, received.trace_header);
    assert_eq!(copy.size_bytes(), message.size_bytes());
}

pub async fn bodies_survive_byte_for_byte<B: Bench>(bench: B) {
    let queue = bench.queue(Spec::standard()).await;
    let long = format!("m6 {}", "가나다라".repeat(10_000));
    let sent: Vec<_> = [
        "m0 ",
        "m1 line\nline\ttab",
        "m2 \"quotes\" and \\ backslashes \\u0041 &amp; <xml/> ]]>",
        "m3 안녕하세요 \u{7f}\u{85}\u{a0}\u{2028}\u{fffd} 🎁👩‍👩‍👧",
        "m4 {\"json\":[null,true,1e400],\"s\":\"\\\"\"}",
        "m5  trailing spaces   ",
        &long,
    ]
    .map(plain)
    .into();
    send_all(&bench.sink(&queue), &sent).await;
    let received = await_all(&bench, &bench.source(&queue), LONG, sent.len()).await;
    let (received, sent) = (bodies(&received), bodies(&sent));
    for (received, sent) in received.iter().zip(&sent) {
        assert!(
            received == sent,
            "changed: {:?}",
            sent.chars().take(40).collect::<String>()
        );
    }
}

pub async fn a_standard_queue_keeps_the_group<B: Bench>(bench: B) {
    let queue = bench.queue(Spec::standard()).await;
    let mut message = plain("m0 ");
    message.group_id = Some("tenant-7".to_owned());
    send_all(&bench.sink(&queue), &[message]).await;
    let received = await_all(&bench, &bench.source(&queue), LONG, 1).await;
    assert_eq!(received[0].group_id.as_deref(), Some("tenant-7"));
}

fn assert_refused<B: Bench>(bench: &B, outcome: &SendOutcome) {
    if bench.differs(Difference::RefusedUnderAnotherCode) {
        assert!(matches!(outcome, SendOutcome::Retry(_)), "{outcome:?}");
    } else {
        assert!(matches!(outcome, SendOutcome::Rejected(_)), "{outcome:?}");
    }
}

pub async fn a_refused_entry_fails_alone<B: Bench>(bench: B) {
    let Some((queue, refused)) = bench.refusing().await else {
        return;
    };
    let sent = [plain("m0 "), plain(&refused), plain("m2 ")];
    let batch: Vec<_> = sent.iter().map(outgoing).collect();
    let outcomes = bench.sink(&queue).send(&batch).await;
    assert_eq!(outcomes.len(), 3);
    for (i, outcome) in outcomes.iter().enumerate() {
        match i {
            1 => assert_refused(&bench, outcome),
            _ => assert!(
                matches!(outcome, SendOutcome::Accepted { .. }),
                "{outcome:?}"
            ),
        }
    }
    let received = await_all(&bench, &bench.source(&queue), LONG, 2).await;
    assert_eq!(bodies(&received), ["m0 ", "m2 "]);
}

pub async fn a_lone_refused_entry_is_rejected<B: Bench>(bench: B) {
    let Some((queue, refused)) = bench.refusing().await else {
        return;
    };
    let message = plain(&refused);
    let outcomes = bench.sink(&queue).send(&[outgoing(&message)]).await;
    assert_eq!(outcomes.len(), 1);
    assert_refused(&bench, &outcomes[0]);
    assert!(poll(&bench.source(&queue), LONG).await.is_empty());
}

pub async fn a_missing_queue_rejects_nothing<B: Bench>(bench: B) {
    let Some(queue) = bench.missing() else {
        return;
    };
    let sent = numbered(3);
    let batch: Vec<_> = sent.iter().map(outgoing).collect();
    let outcomes = bench.sink(&queue).send(&batch).await;
    assert_eq!(outcomes.len(), 3);
    for outcome in outcomes {
        assert!(matches!(outcome, SendOutcome::Stopped(_)), "{outcome:?}");
    }
}
