//! What the real ports make of trouble: what cannot be asked of every bench, because the server must be made to fail.

use std::time::Duration;

use sqs_drain::aws::{Aws, RECEIVE_SLACK, RequestCounts, Timeouts};
use sqs_drain::local::{self, Effect, Endpoints, EntryFault, ManualClock, Options, Rule, Service};
use sqs_drain::message::{BATCH_BYTES, ReceiptOutcome, SPLIT, SendOutcome};
use sqs_drain::port::{
    Change, Clock, Datum, Item, Key, Sink, Source, Store, StoreError, Test, Trouble, Write,
};

use super::canned::Canned;
use super::http::{TABLE, TIMEOUTS, access, access_as, run};
use super::{LONG, handles, numbered, outgoing, plain, poll};
use crate::record::{self, Caller};

mod looks;
mod table;

const START_MS: u64 = 1_772_406_000_000;

/// Endpoints of one's own with a queue and the table, and access to them.
struct Room {
    endpoints: Endpoints,
    /// The adapters under test.
    aws: Aws,
    /// Makes what they work on.
    hands: Aws,
    url: String,
}

async fn room(timeouts: Timeouts) -> Room {
    let options = Options {
        clock: ManualClock::new(START_MS).clock(),
        ..Options::ephemeral()
    };
    let endpoints = local::start(options).await.expect("the endpoints start");
    record::watch(&endpoints);
    let (sqs, dynamodb) = (&endpoints.sqs_url, &endpoints.dynamo_url);
    let aws = access(sqs, dynamodb, timeouts).await;
    let hands = access_as(record::HARNESS, sqs, dynamodb, timeouts).await;
    let clients = hands.clients();
    let url = clients
        .create_queue("q", &[])
        .await
        .expect("the queue is created");
    clients
        .create_table(TABLE)
        .await
        .expect("the table is created");
    Room {
        endpoints,
        aws,
        hands,
        url,
    }
}

impl Room {
    /// Sends three messages while `rule` is in force. Answers the outcomes, and how many copies arrived.
    async fn send(&self, rule: Rule) -> (Vec<SendOutcome>, usize) {
        let clients = self.aws.clients();
        let messages = numbered(3);
        let batch: Vec<_> = messages.iter().map(outgoing).collect();
        let before = self.endpoints.peek("q").len();
        self.endpoints.add_rule(rule);
        let outcomes = clients.queue(&self.url).send(&batch).await;
        self.endpoints.faults().clear();
        assert_eq!(clients.requests().send, 1, "a send is never repeated");
        (outcomes, self.endpoints.peek("q").len() - before)
    }
}

fn send() -> Rule {
    Rule::sqs("SendMessageBatch")
}

/// A URL nobody listens at.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    format!("http://{address}")
}

#[test]
fn a_send_that_never_connected_is_surely_not_sent() {
    run(async {
        let url = nobody();
        let clients = access(&url, &url, TIMEOUTS).await.clients();
        let messages = numbered(2);
        let batch: Vec<_> = messages.iter().map(outgoing).collect();
        let outcomes = clients.queue(format!("{url}/1/q")).send(&batch).await;
        assert_eq!(outcomes, vec![SendOutcome::Retry("connect".to_owned()); 2]);
        assert_eq!(clients.requests().send, 1);
        let received = clients
            .queue(format!("{url}/1/q"))
            .receive(1, Duration::ZERO, LONG)
            .await;
        let error = received.expect_err("nobody is there");
        assert_eq!(
            (error.kind, error.code.as_str()),
            (Trouble::Unreachable, "connect")
        );
    });
}

#[test]
fn a_send_without_an_answer_is_in_doubt() {
    run(async {
        let room = room(TIMEOUTS).await;
        let lost = vec![SendOutcome::Unknown("connection".to_owned()); 3];
        assert_eq!(
            room.send(send().then(Effect::DropAfter)).await,
            (lost.clone(), 3)
        );
        assert_eq!(room.send(send().then(Effect::DropBefore)).await, (lost, 0));
    });
}

#[test]
fn a_send_answered_too_late_is_in_doubt() {
    run(async {
        let room = room(Timeouts {
            send: Duration::from_millis(500),
            ..TIMEOUTS
        })
        .await;
        // The server's answer is not waited for: it comes after an hour.
        let late = Effect::DelayAfter(Duration::from_secs(3_600));
        let (outcomes, copies) = room.send(send().then(late)).await;
        assert_eq!(
            outcomes,
            vec![SendOutcome::Unknown("timeout".to_owned()); 3]
        );
        assert_eq!(copies, 3);
    });
}

#[test]
fn a_send_refused_as_a_whole() {
    run(async {
        let room = room(TIMEOUTS).await;
        let retry = |code: &str| SendOutcome::Retry(code.to_owned());
        let stopped = |code: &str| SendOutcome::Stopped(code.to_owned());
        let unknown = |code: &str| SendOutcome::Unknown(code.to_owned());
        for (status, code, expected) in [
            (400, "RequestThrottled", retry("RequestThrottled")),
            (400, "ThrottlingException", retry("Throttling")),
            (503, "KmsThrottled", retry("KmsThrottled")),
            (403, "AccessDeniedException", stopped("AccessDenied")),
            (403, "InvalidClientTokenId", stopped("InvalidClientTokenId")),
            (400, "KmsDisabled", stopped("KmsDisabled")),
            (400, "QueueDoesNotExist", stopped("QueueDoesNotExist")),
            (500, "InternalFailure", unknown("InternalFailure")),
            (503, "ServiceUnavailable", unknown("ServiceUnavailable")),
        ] {
            let (outcomes, copies) = room.send(send().error(status, code)).await;
            assert_eq!(outcomes, vec![expected; 3], "{status} {code}");
            assert_eq!(copies, 0);
        }
        let after = Effect::ErrorAfter {
            status: 500,
            code: "InternalFailure".to_owned(),
        };
        let (outcomes, copies) = room.send(send().then(after)).await;
        assert_eq!(outcomes, vec![unknown("InternalFailure"); 3]);
        assert_eq!(copies, 3, "which is why it is in doubt");
    });
}

#[test]
fn a_failed_entry_is_judged_by_its_code_and_not_by_whose_fault_it_is() {
    run(async {
        let room = room(TIMEOUTS).await;
        for (code, expected) in [
            (
                "InvalidMessageContents",
                SendOutcome::Rejected("InvalidMessageContents".to_owned()),
            ),
            (
                "KMS.DisabledException",
                SendOutcome::Stopped("KMS.Disabled".to_owned()),
            ),
            (
                "AccessDenied",
                SendOutcome::Stopped("AccessDenied".to_owned()),
            ),
            (
                "InternalError",
                SendOutcome::Retry("InternalError".to_owned()),
            ),
            (
                "NeverHeardOfIt",
                SendOutcome::Retry("NeverHeardOfIt".to_owned()),
            ),
        ] {
            for sender_fault in [true, false] {
                let rule = send().fail_entries(move |e| {
                    (e.index == 1).then(|| EntryFault::new(code, sender_fault))
                });
                let (outcomes, copies) = room.send(rule).await;
                assert_eq!(outcomes[1], expected, "{code} {sender_fault}");
                for i in [0, 2] {
                    assert!(
                        matches!(outcomes[i], SendOutcome::Accepted { .. }),
                        "{:?}",
                        outcomes[i]
                    );
                }
                assert_eq!(copies, 2);
            }
        }
    });
}

#[test]
fn a_batch_too_large_is_split_until_one_is_alone() {
    run(async {
        let room = room(TIMEOUTS).await;
        let sink = room.aws.clients().queue(&room.url);
        let half = plain(&"x".repeat(BATCH_BYTES / 2 + 1));
        let outcomes = sink.send(&[outgoing(&half), outgoing(&half)]).await;
        assert_eq!(outcomes, vec![SendOutcome::Retry(SPLIT.to_owned()); 2]);
        let outcomes = sink.send(&[outgoing(&half)]).await;
        assert!(
            matches!(outcomes[..], [SendOutcome::Accepted { .. }]),
            "{outcomes:?}"
        );
        let large = plain(&"x".repeat(BATCH_BYTES + 1));
        let outcomes = sink.send(&[outgoing(&large)]).await;
        assert!(
            matches!(outcomes[..], [SendOutcome::Rejected(_)]),
            "{outcomes:?}"
        );
    });
}

#[test]
fn answers_that_cannot_be_read() {
    run(async {
        let entry =
            |id: &str| format!(r#"{{"Id":"{id}","MessageId":"m{id}","MD5OfMessageBody":"x"}}"#);
        let accepted = |id: &str| SendOutcome::Accepted {
            message_id: format!("m{id}"),
        };
        let unknown = |code: &str| SendOutcome::Unknown(code.to_owned());
        for (status, body, expected) in [
            (200, "<html>".to_owned(), vec![unknown("answer"); 3]),
            (
                200,
                "{\"Successful\":".to_owned(),
                vec![unknown("answer"); 3],
            ),
            (200, "{}".to_owned(), vec![unknown("unmentioned"); 3]),
            (
                200,
                format!(
                    r#"{{"Successful":[{},{}],"Failed":[]}}"#,
                    entry("2"),
                    entry("0")
                ),
                vec![accepted("0"), unknown("unmentioned"), accepted("2")],
            ),
            (
                200,
                format!(r#"{{"Successful":[{},{}]}}"#, entry("77"), entry("1")),
                vec![
                    unknown("unmentioned"),
                    accepted("1"),
                    unknown("unmentioned"),
                ],
            ),
            (
                502,
                "<html>bad gateway".to_owned(),
                vec![unknown("HTTP 502"); 3],
            ),
            (
                404,
                "<html>not found".to_owned(),
                vec![SendOutcome::Stopped("HTTP 404".to_owned()); 3],
            ),
        ] {
            let canned = Canned::new(vec![(status, body.clone())]).await;
            let clients = access(&canned.url, &canned.url, TIMEOUTS).await.clients();
            let messages = numbered(3);
            let batch: Vec<_> = messages.iter().map(outgoing).collect();
            let outcomes = clients
                .queue(format!("{}/1/q", canned.url))
                .send(&batch)
                .await;
            assert_eq!(outcomes, expected, "{status} {body}");
            assert_eq!(canned.requests().len(), 1);
        }
    });
}

#[test]
fn received_messages_that_lack_something() {
    run(async {
        let body = r#"{"Messages":[
            {"MessageId":"a","ReceiptHandle":"h","Body":"b","MD5OfBody":"x"},
            {"MessageId":"no handle","Body":"b"},
            {"ReceiptHandle":"no id","Body":"b"},
            {"MessageId":"no body","ReceiptHandle":"i","Attributes":{"ApproximateReceiveCount":"4","SentTimestamp":"7"}}
        ]}"#;
        let canned = Canned::new(vec![(200, body.to_owned())]).await;
        let clients = access(&canned.url, &canned.url, TIMEOUTS).await.clients();
        let received = poll(&clients.queue(format!("{}/1/q", canned.url)), LONG).await;
        let ids: Vec<_> = received.iter().map(|m| m.message_id.as_str()).collect();
        assert_eq!(ids, ["a", "no body"]);
        // Not knowing the count is no reason to take a message for new.
        assert_eq!(received[0].receive_count, u32::MAX);
        assert_eq!((received[1].receive_count, received[1].sent_at_ms), (4, 7));
        assert_eq!(received[1].body, "");
        assert!(canned.requests()[0].contains("\"MessageAttributeNames\":[\"All\"]"));
    });
}

/// An answer that cannot be read has bodies and handles in it all the same, and what is said of it goes to the log.
#[test]
fn what_an_unreadable_answer_says_is_not_repeated() {
    run(async {
        let body = r#"{"Messages":[{"MessageId":"a","ReceiptHandle":"secret handle","Body":"secret body"},"#;
        let canned = Canned::new(vec![(200, body.to_owned()); 3]).await;
        let clients = access(&canned.url, &canned.url, TIMEOUTS).await.clients();
        let queue = clients.queue(format!("{}/1/q", canned.url));
        let error = queue.receive(10, Duration::ZERO, LONG).await;
        let said = format!("{:?}", error.expect_err("it is cut off"));
        assert!(!said.contains("secret"), "{said}");
        assert!(said.contains("answer"), "{said}");
    });
}

#[test]
fn deletes_are_retried_and_then_not_known() {
    run(async {
        let room = room(TIMEOUTS).await;
        let clients = room.aws.clients();
        let queue = clients.queue(&room.url);
        let messages = numbered(3);
        let batch: Vec<_> = messages.iter().map(outgoing).collect();
        queue.send(&batch).await;
        let handles = handles(&poll(&queue, LONG).await);
        assert_eq!(handles.len(), 3);
        let delete = || Rule::sqs("DeleteMessageBatch");

        room.endpoints
            .add_rule(delete().error(503, "ServiceUnavailable"));
        let outcomes = queue.delete(&handles[..1]).await;
        assert_eq!(
            outcomes,
            [ReceiptOutcome::Unknown("ServiceUnavailable".to_owned())]
        );
        assert_eq!(clients.requests().delete, 3);
        room.endpoints.faults().clear();

        // An answer lost after its effect: the retry deletes again, which is a success.
        room.endpoints
            .add_rule(delete().once().then(Effect::DropAfter));
        assert_eq!(queue.delete(&handles[..1]).await, [ReceiptOutcome::Done]);
        assert_eq!(clients.requests().delete, 5);
        assert_eq!(room.endpoints.peek("q").len(), 2);

        room.endpoints.add_rule(
            delete()
                .fail_entries(|e| (e.index == 0).then(|| EntryFault::new("InternalError", false))),
        );
        let outcomes = queue.delete(&handles[1..]).await;
        assert_eq!(
            outcomes,
            [
                ReceiptOutcome::Retry("InternalError".to_owned()),
                ReceiptOutcome::Done
            ]
        );
        assert_eq!(room.endpoints.peek("q").len(), 1);
    });
}

#[test]
fn receives_say_what_the_trouble_is() {
    run(async {
        let room = room(TIMEOUTS).await;
        let clients = room.aws.clients();
        let queue = clients.queue(&room.url);
        for (status, code, kind) in [
            (400, "RequestThrottled", Trouble::Throttled),
            (403, "OverLimit", Trouble::Throttled),
            (403, "AccessDeniedException", Trouble::Denied),
            (400, "KmsAccessDenied", Trouble::Denied),
            (400, "UnrecognizedClientException", Trouble::Denied),
            (400, "QueueDoesNotExist", Trouble::Missing),
            (500, "InternalFailure", Trouble::Unreachable),
            (400, "UnsupportedOperation", Trouble::Other),
        ] {
            room.endpoints
                .add_rule(Rule::sqs("ReceiveMessage").error(status, code));
            let error = queue
                .receive(1, Duration::ZERO, LONG)
                .await
                .expect_err("refused");
            assert_eq!(error.kind, kind, "{code}: {error}");
            room.endpoints.faults().clear();
        }
        // One that passes is not even noticed.
        room.endpoints.add_rule(
            Rule::sqs("ReceiveMessage")
                .once()
                .error(503, "ServiceUnavailable"),
        );
        assert_eq!(queue.receive(1, Duration::ZERO, LONG).await, Ok(vec![]));
    });
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the paused clock is looked at")]
fn a_receive_without_an_answer_is_given_up_after_its_wait() {
    run(async {
        let room = room(TIMEOUTS).await;
        let queue = room.aws.clients().queue(&room.url);
        assert_eq!(poll(&queue, LONG).await, vec![]);
        let late = Effect::DelayAfter(Duration::from_secs(3_600));
        room.endpoints
            .add_rule(Rule::sqs("ReceiveMessage").then(late));
        // With the connection made, nothing is left to wait for but the limit: the paused clock runs up to it.
        tokio::time::pause();
        for wait in [0, 7] {
            let wait = Duration::from_secs(wait);
            let began = tokio::time::Instant::now();
            let error = queue.receive(1, wait, LONG).await.expect_err("late");
            assert_eq!(
                (error.kind, error.code.as_str()),
                (Trouble::Unreachable, "timeout")
            );
            let took = began.elapsed();
            assert!(took >= wait + RECEIVE_SLACK, "{took:?}");
            assert!(took < wait + RECEIVE_SLACK * 2, "{took:?}");
        }
    });
}

fn page(sequence: i64) -> Write {
    Write {
        key: Key::new("process#1", "page#0"),
        when: vec![vec![
            Test::Absent,
            Test::Lt("sequence".to_owned(), sequence),
        ]],
        change: Change::Update {
            set: Item::from([("sequence".to_owned(), Datum::N(sequence))]),
            remove: vec![],
        },
    }
}
