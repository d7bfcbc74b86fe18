//! Redrive to a dead-letter queue.

use sqs_drain::local::sqs::engine::{Receive, arn};
use sqs_drain::local::sqs::error::Code;
use sqs_drain::local::sqs::message::NewMessage;

use super::{Bench, bodies, code};

fn policy(target: &str, count: u32) -> String {
    format!(
        r#"{{"deadLetterTargetArn":"{}","maxReceiveCount":{count}}}"#,
        arn(target)
    )
}

fn with_dead_letters(count: u32) -> Bench {
    let mut bench = Bench::with_queue("dead", &[]);
    bench
        .create(
            "q",
            &[
                ("VisibilityTimeout", "10"),
                ("RedrivePolicy", &policy("dead", count)),
            ],
        )
        .expect("a queue");
    bench
}

#[test]
fn a_message_moves_at_the_receive_after_its_last_allowed_one() {
    let mut bench = with_dead_letters(2);
    bench.park("q", &["a"]);
    let sent_ms = bench.now_ms;
    for _ in 0..2 {
        assert_eq!(bodies(&bench.receive("q")), ["a"]);
        bench.pass_s(10);
    }
    assert_eq!(
        bench.counts("q"),
        (1, 0, 0),
        "it moves when it would be received again"
    );
    bench.park("q", &["b"]);
    assert_eq!(
        bodies(&bench.receive("q")),
        ["b"],
        "the receive goes on to the next message"
    );
    assert_eq!(bench.counts("q"), (0, 1, 0));
    let dead = bench.receive("dead");
    assert_eq!(bodies(&dead), ["a"]);
    let dead = &dead[0].message;
    assert_eq!(dead.receive_count, 3, "the count goes on");
    assert_eq!(dead.sent_ms, sent_ms, "so does its age");
    assert_eq!(dead.dead_letter_source.as_deref(), Some(arn("q").as_str()));
}

#[test]
fn an_old_handle_of_a_moved_message_deletes_nothing() {
    let mut bench = with_dead_letters(1);
    bench.park("q", &["a"]);
    let got = bench.receive("q");
    bench.pass_s(10);
    assert!(bench.receive("q").is_empty());
    bench.delete("q", &got[0]).expect("accepted");
    assert_eq!(bench.counts("dead"), (1, 0, 0));
}

#[test]
fn a_fifo_group_goes_on_behind_a_moved_message() {
    let mut bench = Bench::with_queue("dead.fifo", &[("FifoQueue", "true")]);
    bench
        .create(
            "q.fifo",
            &[
                ("FifoQueue", "true"),
                ("ContentBasedDeduplication", "true"),
                ("RedrivePolicy", &policy("dead.fifo", 1)),
            ],
        )
        .expect("a queue");
    for body in ["a", "b"] {
        let message = NewMessage {
            group_id: Some("g".into()),
            ..NewMessage::new(body)
        };
        bench.send("q.fifo", message).expect("accepted");
    }
    let first = bench
        .receive_as("q.fifo", Receive::default())
        .expect("messages");
    bench.hide("q.fifo", &first[0], 0).expect("released");
    bench.pass_s(7);
    assert_eq!(bodies(&bench.receive("q.fifo")), ["b"]);
    let dead = bench.receive("dead.fifo");
    assert_eq!(bodies(&dead), ["a"]);
    assert_eq!(dead[0].message.sent_ms, bench.now_ms, "its age starts anew");
}

#[test]
fn policies_that_are_refused() {
    let mut bench = Bench::with_queue("dead", &[]);
    bench
        .create("dead.fifo", &[("FifoQueue", "true")])
        .expect("a queue");
    let deny = [("RedriveAllowPolicy", r#"{"redrivePermission":"denyAll"}"#)];
    bench.create("deny", &deny).expect("a queue");
    let count_missing = format!(r#"{{"deadLetterTargetArn":"{}"}}"#, arn("dead"));
    for bad in [
        policy("missing", 1),
        policy("dead.fifo", 1),
        policy("dead", 0),
        policy("dead", 1001),
        policy("deny", 1),
        count_missing,
        r#"{"maxReceiveCount":1}"#.to_owned(),
        r#"{"deadLetterTargetArn":"dummy","maxReceiveCount":42}"#.to_owned(),
        "no JSON".to_owned(),
    ] {
        let refused = bench.create("q", &[("RedrivePolicy", &bad)]);
        assert_eq!(code(refused), Code::InvalidParameterValue, "{bad}");
    }
    let as_text = policy("dead", 7).replace(":7", r#":"7""#);
    bench
        .create("q", &[("RedrivePolicy", &as_text)])
        .expect("a count as text is one");
    assert_eq!(
        bench.engine.dead_letter_sources("dead").expect("sources"),
        ["q"]
    );
}

#[test]
fn without_its_dead_letter_queue_a_message_stays() {
    let mut bench = with_dead_letters(1);
    bench.park("q", &["a"]);
    bench.engine.delete_queue("dead").expect("deleted");
    for _ in 0..3 {
        assert_eq!(bodies(&bench.receive("q")), ["a"]);
        bench.pass_s(10);
    }
}
