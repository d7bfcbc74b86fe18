//! Standard queues: visibility, receipts, delays, retention, limits, copies.

use sqs_drain::local::sqs::engine::Receive;
use sqs_drain::local::sqs::error::Code;
use sqs_drain::local::sqs::message::NewMessage;

use super::{Bench, bodies, code};

#[test]
fn a_received_message_is_hidden_for_exactly_its_visibility() {
    let mut bench = Bench::with_queue("q", &[("VisibilityTimeout", "30")]);
    bench.park("q", &["a"]);
    assert_eq!(bodies(&bench.receive("q")), ["a"]);
    assert_eq!(bench.counts("q"), (0, 1, 0));
    bench.pass_ms(29_999);
    assert!(bench.receive("q").is_empty());
    bench.pass_ms(1);
    let again = bench.receive("q");
    assert_eq!(bodies(&again), ["a"]);
    assert_eq!(again[0].message.receive_count, 2);
    assert_eq!(
        again[0].message.first_receive_ms,
        Some(bench.now_ms - 30_000)
    );
}

#[test]
fn visibility_0_of_a_receive_hides_nothing_but_counts() {
    let mut bench = Bench::with_queue("q", &[]);
    bench.park("q", &["a"]);
    let how = Receive {
        visibility_s: Some(0),
        max: Some(10),
        ..Receive::default()
    };
    assert_eq!(bench.receive_as("q", how).expect("messages").len(), 1);
    let second = bench.receive_as("q", how).expect("messages");
    assert_eq!(second[0].message.receive_count, 2);
    assert_eq!(bench.counts("q"), (1, 0, 0));
    bench.delete("q", &second[0]).expect("deleted");
    assert_eq!(bench.counts("q"), (0, 0, 0));
}

#[test]
fn a_message_made_visible_comes_back_in_its_old_place() {
    let mut bench = Bench::with_queue("q", &[]);
    bench.park("q", &["a", "b", "c"]);
    let got = bench.receive("q");
    for index in [2, 0] {
        bench.hide("q", &got[index], 0).expect("released");
    }
    assert_eq!(bodies(&bench.receive("q")), ["a", "c"]);
}

#[test]
fn a_receive_delivers_at_most_what_it_asks_for_and_one_by_default() {
    let mut bench = Bench::with_queue("q", &[]);
    bench.park("q", &["a", "b", "c"]);
    let how = |max| Receive {
        max,
        ..Receive::default()
    };
    assert_eq!(bench.receive_as("q", how(None)).expect("messages").len(), 1);
    assert_eq!(
        bench.receive_as("q", how(Some(2))).expect("messages").len(),
        2
    );
    assert_eq!(
        code(bench.receive_as("q", how(Some(0)))),
        Code::InvalidParameterValue
    );
    assert_eq!(
        code(bench.receive_as("q", how(Some(11)))),
        Code::InvalidParameterValue
    );
}

#[test]
fn an_expired_handle_still_deletes_until_the_next_receive() {
    let mut bench = Bench::with_queue("q", &[("VisibilityTimeout", "1")]);
    bench.park("q", &["a"]);
    let first = bench.receive("q");
    bench.pass_s(2);
    bench.delete("q", &first[0]).expect("accepted");
    assert_eq!(bench.counts("q"), (0, 0, 0));
}

#[test]
fn an_older_handle_is_accepted_but_deletes_nothing() {
    let mut bench = Bench::with_queue("q", &[("VisibilityTimeout", "1")]);
    bench.park("q", &["a"]);
    let first = bench.receive("q");
    bench.pass_s(2);
    let second = bench.receive("q");
    bench.delete("q", &first[0]).expect("accepted");
    assert_eq!(bench.counts("q"), (0, 1, 0), "the newer receive keeps it");
    bench.delete("q", &second[0]).expect("accepted");
    assert_eq!(bench.counts("q"), (0, 0, 0));
    bench
        .delete("q", &second[0])
        .expect("deleting what is gone is no error");
}

#[test]
fn a_made_up_or_foreign_handle_is_refused() {
    let mut bench = Bench::with_queue("q", &[]);
    bench.create("other", &[]).expect("a queue");
    bench.park("q", &["a"]);
    bench.park("other", &["b"]);
    let got = bench.receive("q");
    let now_ms = bench.now_ms;
    let garbage = bench.engine.delete("q", "garbage", now_ms);
    assert_eq!(code(garbage), Code::ReceiptHandleIsInvalid);
    let handle = got[0].receipt.encode();
    let damaged = format!(
        "{}{}",
        &handle[..47],
        if handle.ends_with('0') { '1' } else { '0' }
    );
    assert_eq!(
        code(bench.engine.delete("q", &damaged, now_ms)),
        Code::ReceiptHandleIsInvalid
    );
    assert_eq!(
        code(bench.engine.delete("other", &handle, now_ms)),
        Code::ReceiptHandleIsInvalid
    );
    assert_eq!(bench.counts("q"), (0, 1, 0));
}

#[test]
fn visibility_can_be_changed_only_in_flight() {
    let mut bench = Bench::with_queue("q", &[("VisibilityTimeout", "10")]);
    bench.park("q", &["a"]);
    let got = bench.receive("q");
    bench.hide("q", &got[0], 60).expect("extended");
    bench.pass_s(59);
    assert!(bench.receive("q").is_empty());
    bench.pass_s(1);
    assert_eq!(code(bench.hide("q", &got[0], 5)), Code::MessageNotInflight);
    let again = bench.receive("q");
    bench.hide("q", &again[0], 0).expect("released");
    assert_eq!(
        code(bench.hide("q", &again[0], 0)),
        Code::MessageNotInflight
    );
    let last = bench.receive("q");
    bench.delete("q", &last[0]).expect("deleted");
    let gone = bench.hide("q", &last[0], 5).expect_err("a refusal");
    assert_eq!(gone.code, Code::InvalidParameterValue);
    assert!(gone.message.ends_with(
        "for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for visibility \
         timeout change."
    ));
}

#[test]
fn no_receive_hides_a_message_for_more_than_12_hours() {
    let mut bench = Bench::with_queue("q", &[("VisibilityTimeout", "43200")]);
    bench.park("q", &["a"]);
    let got = bench.receive("q");
    bench.pass_s(100);
    let refused = bench.hide("q", &got[0], 43_101).expect_err("a refusal");
    assert_eq!(refused.code, Code::InvalidParameterValue);
    assert!(
        refused.message.contains("beyond the limit [43200 seconds]"),
        "{}",
        refused.message
    );
    bench
        .hide("q", &got[0], 43_100)
        .expect("exactly 12 hours in all");
    assert_eq!(
        code(bench.hide("q", &got[0], 43_201)),
        Code::InvalidParameterValue
    );
    assert_eq!(
        code(bench.hide("q", &got[0], -1)),
        Code::InvalidParameterValue
    );
}

#[test]
fn delays_of_the_queue_and_of_the_message() {
    let mut bench = Bench::with_queue("q", &[("DelaySeconds", "60")]);
    bench.park("q", &["queue's"]);
    let own = |body: &str, seconds| NewMessage {
        delay_seconds: Some(seconds),
        ..NewMessage::new(body)
    };
    bench.send("q", own("none", 0)).expect("accepted");
    bench.send("q", own("own", 10)).expect("accepted");
    assert_eq!(
        code(bench.send("q", own("too long", 901))),
        Code::InvalidParameterValue
    );
    assert_eq!(
        code(bench.send("q", own("negative", -1))),
        Code::InvalidParameterValue
    );
    assert_eq!(bench.counts("q"), (1, 0, 2));
    assert_eq!(bodies(&bench.receive("q")), ["none"]);
    bench.pass_s(10);
    assert_eq!(bodies(&bench.receive("q")), ["own"]);
    bench.pass_s(49);
    assert_eq!(
        bodies(&bench.receive("q")),
        ["none", "own"],
        "their visibility ended, the delay did not"
    );
    bench.pass_s(1);
    assert_eq!(bodies(&bench.receive("q")), ["queue's"]);
}

#[test]
fn messages_expire_even_in_flight() {
    let mut bench = Bench::with_queue(
        "q",
        &[
            ("MessageRetentionPeriod", "60"),
            ("VisibilityTimeout", "3600"),
        ],
    );
    bench.park("q", &["a"]);
    bench.pass_s(30);
    bench.park("q", &["b"]);
    assert_eq!(bench.receive("q").len(), 2);
    bench.pass_ms(29_999);
    assert_eq!(bench.counts("q"), (0, 2, 0));
    bench.pass_ms(1);
    assert_eq!(bench.counts("q"), (0, 1, 0));
    bench.pass_s(30);
    assert_eq!(bench.counts("q"), (0, 0, 0));
}

#[test]
fn too_many_in_flight_is_an_error_for_short_polls_and_silence_for_long_ones() {
    let mut bench = Bench::with_queue("q", &[]);
    bench.engine.set_in_flight_limit(3);
    bench.park("q", &["a", "b", "c", "d"]);
    let got = bench.receive("q");
    assert_eq!(bodies(&got), ["a", "b", "c"], "never past the limit");
    let short = Receive::default();
    assert_eq!(code(bench.receive_as("q", short)), Code::OverLimit);
    let long = Receive {
        long_poll: true,
        ..short
    };
    assert!(bench.receive_as("q", long).expect("silence").is_empty());
    bench.delete("q", &got[0]).expect("deleted");
    assert_eq!(bodies(&bench.receive("q")), ["d"]);
}

#[test]
fn a_copy_has_the_same_id_and_is_deleted_by_itself() {
    let mut bench = Bench::with_queue("q", &[]);
    bench.park("q", &["a"]);
    let how = Receive {
        copy: true,
        ..Receive::default()
    };
    let first = bench.receive_as("q", how).expect("messages");
    let copy = bench.receive("q");
    assert_eq!(copy[0].message.id, first[0].message.id);
    assert_eq!(
        copy[0].message.receive_count, 1,
        "the copy does not know of the first delivery"
    );
    bench.delete("q", &first[0]).expect("deleted");
    assert_eq!(bench.counts("q"), (0, 1, 0));
    bench.delete("q", &copy[0]).expect("deleted");
    assert_eq!(bench.counts("q"), (0, 0, 0));
}

#[test]
fn time_never_runs_backwards() {
    let mut bench = Bench::with_queue("q", &[("VisibilityTimeout", "10")]);
    bench.pass_s(100);
    assert!(bench.receive("q").is_empty());
    bench.now_ms -= 50_000;
    bench.park("q", &["a"]);
    assert_eq!(bench.receive("q").len(), 1);
    bench.pass_s(15);
    assert!(
        bench.receive("q").is_empty(),
        "hidden for 10 s from the latest time seen, not from the earlier one"
    );
    bench.pass_s(45);
    assert_eq!(bench.receive("q").len(), 1);
}

#[test]
fn accepted_sends_are_recorded_with_their_time_when_asked_for() {
    let mut bench = Bench::with_queue("q", &[]);
    bench.park("q", &["before"]);
    bench.engine.set_record_sends(true);
    bench.park("q", &["a", "b"]);
    bench.pass_ms(250);
    bench.park("q", &["c"]);
    bench.send("q", NewMessage::new("")).expect_err("refused");
    let now_ms = bench.now_ms;
    bench
        .engine
        .seed("q", vec![NewMessage::new("seeded")], now_ms)
        .expect("parked");
    let accepted = &bench.engine.queue("q").expect("the queue").accepted;
    assert_eq!(accepted, &[(now_ms - 250, 2), (now_ms, 1)]);
}

#[test]
fn a_hundred_thousand_messages_are_handled_in_logarithmic_time() {
    // Quadratic work would take many minutes here; nothing is measured.
    let mut bench = Bench::with_queue("q", &[("VisibilityTimeout", "60")]);
    for n in 0..100_000 {
        bench
            .send("q", NewMessage::new(n.to_string()))
            .expect("accepted");
    }
    let mut delivered = Vec::new();
    for _ in 0..2_000 {
        delivered.extend(bench.receive("q"));
    }
    assert_eq!(bench.counts("q"), (80_000, 20_000, 0));
    for one in &delivered[..10_000] {
        bench.delete("q", one).expect("deleted");
    }
    bench.pass_s(60);
    assert_eq!(bench.counts("q"), (90_000, 0, 0));
    assert_eq!(bodies(&bench.receive("q"))[0], "10000");
}
