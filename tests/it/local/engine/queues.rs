//! Queues as such: names, attributes, purge, deletion.

use std::collections::BTreeMap;

use sqs_drain::local::sqs::error::Code;

use super::{Bench, code};

#[test]
fn names_that_are_refused() {
    let mut bench = Bench::new();
    for bad in [
        "",
        "with space",
        "dot.ted",
        "q.fifo",
        "ümlaut",
        &"x".repeat(81),
    ] {
        assert_eq!(
            code(bench.create(bad, &[])),
            Code::InvalidParameterValue,
            "{bad}"
        );
    }
    let fifo = [("FifoQueue", "true")];
    for bad in [
        "plain",
        ".fifo",
        "a.b.fifo",
        &format!("{}.fifo", "x".repeat(76)),
    ] {
        assert_eq!(
            code(bench.create(bad, &fifo)),
            Code::InvalidParameterValue,
            "{bad}"
        );
    }
    bench.create(&"x".repeat(80), &[]).expect("80 characters");
    bench
        .create(&format!("{}.fifo", "x".repeat(75)), &fifo)
        .expect("80 characters");
}

#[test]
fn attributes_out_of_bounds_are_refused() {
    let mut bench = Bench::new();
    for (name, bad) in [
        ("VisibilityTimeout", "43201"),
        ("VisibilityTimeout", "-1"),
        ("VisibilityTimeout", "soon"),
        ("MaximumMessageSize", "1023"),
        ("MaximumMessageSize", "1048577"),
        ("MessageRetentionPeriod", "59"),
        ("MessageRetentionPeriod", "1209601"),
        ("DelaySeconds", "901"),
        ("ReceiveMessageWaitTimeSeconds", "21"),
        ("KmsDataKeyReusePeriodSeconds", "59"),
        ("Policy", "no JSON"),
    ] {
        assert_eq!(
            code(bench.create("q", &[(name, bad)])),
            Code::InvalidAttributeValue,
            "{name}={bad}"
        );
    }
    for fifo_only in ["FifoQueue", "ContentBasedDeduplication"] {
        assert_eq!(
            code(bench.create("q", &[(fifo_only, "false")])),
            Code::InvalidAttributeName
        );
    }
    for (name, value) in [
        ("DeduplicationScope", "queue"),
        ("FifoThroughputLimit", "perQueue"),
        ("Colour", "red"),
    ] {
        assert_eq!(
            code(bench.create("q", &[(name, value)])),
            Code::InvalidAttributeName,
            "{name}"
        );
    }
    assert!(bench.engine.queue("q").is_none());
}

#[test]
fn creating_again_is_the_same_queue_unless_an_attribute_differs() {
    let mut bench = Bench::with_queue("q", &[("DelaySeconds", "5")]);
    bench.create("q", &[]).expect("the same");
    bench
        .create("q", &[("DelaySeconds", "5")])
        .expect("the same");
    let other = bench
        .create("q", &[("DelaySeconds", "6")])
        .expect_err("a refusal");
    assert_eq!(other.code, Code::QueueNameExists);
    assert!(
        other
            .message
            .ends_with("a different value for attribute DelaySeconds")
    );
}

#[test]
fn attributes_are_shown_and_changed() {
    let mut bench = Bench::with_queue("q", &[]);
    let created_ms = bench.now_ms;
    bench.pass_s(5);
    let now_ms = bench.now_ms;
    let change = BTreeMap::from([("VisibilityTimeout".to_owned(), "7".to_owned())]);
    bench
        .engine
        .set_attributes("q", &change, now_ms)
        .expect("changed");
    bench.park("q", &["a"]);
    let all = bench
        .engine
        .attributes("q", &["All"], now_ms)
        .expect("attributes");
    let expected: BTreeMap<String, String> = [
        ("ApproximateNumberOfMessages", "1".to_owned()),
        ("ApproximateNumberOfMessagesDelayed", "0".into()),
        ("ApproximateNumberOfMessagesNotVisible", "0".into()),
        ("CreatedTimestamp", (created_ms / 1000).to_string()),
        ("DelaySeconds", "0".into()),
        ("LastModifiedTimestamp", (now_ms / 1000).to_string()),
        ("MaximumMessageSize", "1048576".into()),
        ("MessageRetentionPeriod", "345600".into()),
        ("QueueArn", "arn:aws:sqs:us-east-1:000000000000:q".into()),
        ("ReceiveMessageWaitTimeSeconds", "0".into()),
        ("SqsManagedSseEnabled", "true".into()),
        ("VisibilityTimeout", "7".into()),
    ]
    .into_iter()
    .map(|(k, v)| (k.to_owned(), v))
    .collect();
    assert_eq!(all, expected);
    let two = bench
        .engine
        .attributes("q", &["QueueArn", "RedrivePolicy"], now_ms)
        .expect("attributes");
    assert_eq!(two.keys().collect::<Vec<_>>(), ["QueueArn"]);
    assert_eq!(
        code(bench.engine.attributes("q", &["Colour"], now_ms)),
        Code::InvalidAttributeName
    );
    let none: [&str; 0] = [];
    assert!(
        bench
            .engine
            .attributes("q", &none, now_ms)
            .expect("attributes")
            .is_empty()
    );
}

#[test]
fn a_refused_change_changes_nothing() {
    let mut bench = Bench::with_queue("q", &[]);
    let before = bench.engine.queue("q").expect("the queue").settings.clone();
    let change = [("DelaySeconds", "9"), ("VisibilityTimeout", "43201")];
    let change = change.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let now_ms = bench.now_ms;
    assert_eq!(
        code(bench.engine.set_attributes("q", &change, now_ms)),
        Code::InvalidAttributeValue
    );
    assert_eq!(bench.engine.queue("q").expect("the queue").settings, before);
}

#[test]
fn the_type_of_a_queue_cannot_be_changed() {
    let mut bench = Bench::with_queue("q.fifo", &[("FifoQueue", "true")]);
    bench.create("q", &[]).expect("a queue");
    let now_ms = bench.now_ms;
    let to = |value: &str| BTreeMap::from([("FifoQueue".to_owned(), value.to_owned())]);
    assert_eq!(
        code(bench.engine.set_attributes("q.fifo", &to("false"), now_ms)),
        Code::InvalidAttributeValue
    );
    assert_eq!(
        code(bench.engine.set_attributes("q", &to("true"), now_ms)),
        Code::InvalidAttributeName
    );
}

#[test]
fn a_purge_empties_a_queue_and_is_allowed_once_a_minute() {
    let mut bench = Bench::with_queue("q", &[]);
    bench.park("q", &["a", "b"]);
    bench.receive("q");
    let now_ms = bench.now_ms;
    bench.engine.purge_queue("q", now_ms).expect("purged");
    assert_eq!(bench.counts("q"), (0, 0, 0));
    assert_eq!(
        code(bench.engine.purge_queue("q", now_ms + 59_999)),
        Code::PurgeQueueInProgress
    );
    bench
        .engine
        .purge_queue("q", now_ms + 60_000)
        .expect("purged");
}

#[test]
fn a_queue_of_the_same_name_does_not_know_the_old_ones_handles() {
    let mut bench = Bench::with_queue("q", &[]);
    bench.park("q", &["a"]);
    let got = bench.receive("q");
    bench.engine.delete_queue("q").expect("deleted");
    assert_eq!(code(bench.delete("q", &got[0])), Code::QueueDoesNotExist);
    bench.create("q", &[]).expect("a queue");
    assert_eq!(
        code(bench.delete("q", &got[0])),
        Code::ReceiptHandleIsInvalid
    );
}
