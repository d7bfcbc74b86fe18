//! FIFO queues: order within a group, what holds a group back, deduplication, expired handles.

use sqs_drain::local::sqs::engine::Receive;
use sqs_drain::local::sqs::error::Code;
use sqs_drain::local::sqs::message::NewMessage;

use super::{Bench, bodies, code};

fn message(group: &str, id: &str) -> NewMessage {
    NewMessage {
        group_id: Some(group.into()),
        deduplication_id: Some(id.into()),
        ..NewMessage::new(id)
    }
}

fn fifo(extra: &[(&str, &str)]) -> Bench {
    let mut attributes = vec![("FifoQueue", "true"), ("VisibilityTimeout", "30")];
    attributes.extend(extra);
    Bench::with_queue("q.fifo", &attributes)
}

fn park(bench: &mut Bench, messages: &[(&str, &str)]) {
    for (group, id) in messages {
        bench.send("q.fifo", message(group, id)).expect("accepted");
    }
}

fn one(bench: &mut Bench) -> Vec<sqs_drain::local::sqs::engine::Delivered> {
    bench
        .receive_as("q.fifo", Receive::default())
        .expect("messages")
}

#[test]
fn a_group_waits_for_its_message_in_flight_and_others_do_not() {
    let mut bench = fifo(&[]);
    park(&mut bench, &[("g", "g1"), ("g", "g2"), ("h", "h1")]);
    let first = one(&mut bench);
    assert_eq!(bodies(&first), ["g1"]);
    assert_eq!(bodies(&bench.receive("q.fifo")), ["h1"], "g waits");
    bench.delete("q.fifo", &first[0]).expect("deleted");
    assert_eq!(bodies(&bench.receive("q.fifo")), ["g2"]);
}

#[test]
fn a_receive_takes_many_of_one_group_in_order() {
    let mut bench = fifo(&[]);
    park(
        &mut bench,
        &[
            ("g", "g1"),
            ("h", "h1"),
            ("g", "g2"),
            ("g", "g3"),
            ("h", "h2"),
        ],
    );
    assert_eq!(
        bodies(&bench.receive("q.fifo")),
        ["g1", "g2", "g3", "h1", "h2"]
    );
}

#[test]
fn order_is_kept_when_a_message_comes_back() {
    let mut bench = fifo(&[]);
    park(&mut bench, &[("g", "g1"), ("g", "g2"), ("g", "g3")]);
    let first = one(&mut bench);
    bench.hide("q.fifo", &first[0], 0).expect("released");
    assert_eq!(bodies(&bench.receive("q.fifo")), ["g1", "g2", "g3"]);
    bench.pass_s(30);
    assert_eq!(
        bodies(&bench.receive("q.fifo")),
        ["g1", "g2", "g3"],
        "after the visibility timeout too"
    );
}

#[test]
fn what_stands_before_a_hidden_message_can_be_received_and_what_stands_behind_cannot() {
    // As recorded from AWS: three received, one of them hidden for longer, the others' timeout over.
    for (hidden, expected) in [(0, vec![]), (1, vec!["m0"]), (2, vec!["m0", "m1"])] {
        let mut bench = fifo(&[]);
        park(&mut bench, &[("g", "m0"), ("g", "m1"), ("g", "m2")]);
        let got = bench.receive("q.fifo");
        bench.hide("q.fifo", &got[hidden], 300).expect("extended");
        bench.pass_s(31);
        assert_eq!(
            bodies(&bench.receive("q.fifo")),
            expected,
            "hidden: {hidden}"
        );
    }
}

#[test]
fn a_handle_is_good_only_while_its_receive_lasts() {
    let mut bench = fifo(&[]);
    park(&mut bench, &[("g", "a")]);
    let first = one(&mut bench);
    bench.pass_s(30);
    let refused = bench.delete("q.fifo", &first[0]).expect_err("a refusal");
    assert_eq!(refused.code, Code::InvalidParameterValue);
    assert!(
        refused
            .message
            .ends_with("Reason: The receipt handle has expired.")
    );
    assert_eq!(
        code(bench.hide("q.fifo", &first[0], 10)),
        Code::InvalidParameterValue
    );
    let second = one(&mut bench);
    assert_eq!(
        code(bench.delete("q.fifo", &first[0])),
        Code::InvalidParameterValue,
        "a newer receive"
    );
    bench.delete("q.fifo", &second[0]).expect("deleted");
    bench
        .delete("q.fifo", &second[0])
        .expect("deleting what is gone is no error");
}

#[test]
fn a_deduplication_id_is_known_for_5_minutes_even_after_the_delete() {
    let mut bench = fifo(&[]);
    let first = bench.send("q.fifo", message("g", "a")).expect("accepted");
    let got = one(&mut bench);
    bench.delete("q.fifo", &got[0]).expect("deleted");
    bench.pass_ms(299_999);
    let repeated = bench.send("q.fifo", message("another group", "a"));
    assert_eq!(
        code(repeated),
        Code::InvalidParameterValue,
        "a group id has no spaces"
    );
    let repeated = bench
        .send("q.fifo", message("other", "a"))
        .expect("accepted");
    assert_eq!((repeated.id, repeated.sequence), (first.id, first.sequence));
    assert_eq!(
        bench.counts("q.fifo"),
        (0, 0, 0),
        "accepted, and not put in again"
    );
    bench.pass_ms(1);
    let fresh = bench.send("q.fifo", message("g", "a")).expect("accepted");
    assert_ne!(fresh.id, first.id);
    assert!(fresh.sequence > first.sequence);
    assert_eq!(bench.counts("q.fifo"), (1, 0, 0));
}

#[test]
fn a_deduplication_id_holds_within_its_group_when_that_is_the_scope() {
    let mut bench = fifo(&[("DeduplicationScope", "messageGroup")]);
    park(&mut bench, &[("g", "a"), ("h", "a"), ("g", "a")]);
    assert_eq!(bench.counts("q.fifo"), (2, 0, 0));
}

#[test]
fn content_based_deduplication_looks_at_the_body_alone() {
    let mut bench = fifo(&[("ContentBasedDeduplication", "true")]);
    let send = |bench: &mut Bench, group: &str, body: &str| {
        let message = NewMessage {
            group_id: Some(group.into()),
            ..NewMessage::new(body)
        };
        bench.send("q.fifo", message).expect("accepted")
    };
    let first = send(&mut bench, "g", "same");
    assert_eq!(send(&mut bench, "h", "same").id, first.id);
    send(&mut bench, "g", "other");
    assert_eq!(bench.counts("q.fifo"), (2, 0, 0));
    // SHA-256 of "same".
    assert_eq!(
        one(&mut bench)[0]
            .message
            .content
            .deduplication_id
            .as_deref(),
        Some("0967115f2813a3541eaef77de9d9d5773f1c0c04314b0bbfe4ff3b3b1c55b5d5")
    );
}

#[test]
fn ids_that_a_fifo_queue_demands() {
    let mut bench = fifo(&[]);
    let without_group = NewMessage {
        group_id: None,
        ..message("g", "a")
    };
    assert_eq!(
        code(bench.send("q.fifo", without_group)),
        Code::MissingParameter
    );
    let without_id = NewMessage {
        deduplication_id: None,
        ..message("g", "a")
    };
    assert_eq!(
        code(bench.send("q.fifo", without_id)),
        Code::InvalidParameterValue
    );
    for bad in ["", "with space", "ümlaut", &"x".repeat(129)] {
        let group = NewMessage {
            group_id: Some(bad.into()),
            ..message("g", "a")
        };
        assert_eq!(
            code(bench.send("q.fifo", group)),
            Code::InvalidParameterValue
        );
        let id = NewMessage {
            deduplication_id: Some(bad.into()),
            ..message("g", "a")
        };
        assert_eq!(code(bench.send("q.fifo", id)), Code::InvalidParameterValue);
    }
    bench
        .send("q.fifo", message(&"!".repeat(128), &"~".repeat(128)))
        .expect("accepted");
}

#[test]
fn delays_are_the_queues_alone_and_hold_the_group_back() {
    let mut bench = fifo(&[("DelaySeconds", "10")]);
    let delayed = |seconds| NewMessage {
        delay_seconds: Some(seconds),
        ..message("g", "a")
    };
    assert_eq!(
        code(bench.send("q.fifo", delayed(5))),
        Code::InvalidParameterValue
    );
    bench
        .send("q.fifo", delayed(0))
        .expect("0 means the queue's");
    assert_eq!(bench.counts("q.fifo"), (0, 0, 1));
    bench.pass_s(5);
    bench.send("q.fifo", message("g", "b")).expect("accepted");
    bench.pass_s(5);
    assert_eq!(bodies(&bench.receive("q.fifo")), ["a"]);
}

#[test]
fn the_group_that_waits_longest_comes_first() {
    let mut bench = fifo(&[]);
    park(
        &mut bench,
        &[("g", "g1"), ("h", "h1"), ("g", "g2"), ("i", "i1")],
    );
    let first = one(&mut bench);
    bench.hide("q.fifo", &first[0], 0).expect("released");
    assert_eq!(bodies(&one(&mut bench)), ["g1"]);
    assert_eq!(bodies(&one(&mut bench)), ["h1"]);
    assert_eq!(bodies(&one(&mut bench)), ["i1"]);
    assert!(one(&mut bench).is_empty());
}
