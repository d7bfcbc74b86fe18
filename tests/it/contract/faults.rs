//! What the real ports make of trouble: what cannot be asked of every bench, because the server must be made to fail.

use std::time::Duration;

use sqs_drain::aws::{Aws, RECEIVE_SLACK, RequestCounts, Timeouts};
use sqs_drain::local::{self, Effect, Endpoints, EntryFault, ManualClock, Options, Rule, Service};
use sqs_drain::message::{BATCH_BYTES, ReceiptOutcome, SPLIT, SendOutcome};
use sqs_drain::port::{
    Change, Clock, Datum, Item, Key, Sink, Source, Store, StoreError, Test, Trouble, Write,
};

use super::canned::Canned;
use super::http::{TABLE, TIMEOUTS, access, run};
use super::{LONG, handles, numbered, outgoing, plain, poll};

const START_MS: u64 = 1_772_406_000_000;

/// Endpoints of one's own with a queue and the table, and access to them.
struct Room {
    endpoints: Endpoints,
    aws: Aws,
    url: String,
}

async fn room(timeouts: Timeouts) -> Room {
    let options = Options {
        clock: ManualClock::new(START_MS).clock(),
        ..Options::ephemeral()
    };
    let endpoints = local::start(options).await.expect("the endpoints start");
    let aws = access(&endpoints.sqs_url, &endpoints.dynamo_url, timeouts).await;
    let clients = aws.clients();
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

#[test]
fn deletes_are_retried_and_end_as_worth_a_retry() {
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
            [ReceiptOutcome::Retry("ServiceUnavailable".to_owned())]
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

#[test]
fn a_write_whose_answer_was_lost_meets_its_own_success() {
    run(async {
        let room = room(TIMEOUTS).await;
        let clients = room.aws.clients();
        let table = clients.table(TABLE);
        table.write(page(1)).await.expect("written");
        room.endpoints
            .add_rule(Rule::dynamo("UpdateItem").once().then(Effect::DropAfter));
        let met = table.write(page(2)).await;
        let own = Item::from([("sequence".to_owned(), Datum::N(2))]);
        assert_eq!(met, Err(StoreError::Conflict(Some(own))));
        assert_eq!(clients.requests().dynamodb_write, 3);
    });
}

#[test]
fn the_table_says_what_the_trouble_is() {
    run(async {
        let room = room(TIMEOUTS).await;
        let table = room.aws.clients().table(TABLE);
        let key = Key::new("a", "b");
        for (status, code, expected) in [
            (
                400,
                "ProvisionedThroughputExceededException",
                Trouble::Throttled,
            ),
            (400, "ThrottlingException", Trouble::Throttled),
            (400, "AccessDeniedException", Trouble::Denied),
            (400, "ResourceNotFoundException", Trouble::Missing),
            (400, "ValidationException", Trouble::Other),
            (500, "InternalServerError", Trouble::Unreachable),
        ] {
            room.endpoints
                .add_rule(Rule::every(Service::DynamoDb).error(status, code));
            // Side by side, because the SDK pauses between its retries.
            let keys = [key.clone(), Key::new("a", "c")];
            let (written, one, two, queried) = futures::join!(
                table.write(page(1)),
                table.get(&keys[..1]),
                table.get(&keys),
                table.query("a", "b"),
            );
            for error in [
                written.expect_err("refused"),
                one.expect_err("refused"),
                two.expect_err("refused"),
                queried.expect_err("refused"),
            ] {
                let StoreError::Failed { kind, .. } = error else {
                    panic!("{error}");
                };
                assert_eq!(kind, expected, "{code}");
            }
            room.endpoints.faults().clear();
        }
        let elsewhere = room
            .aws
            .clients()
            .table("no-such-table")
            .write(page(1))
            .await;
        assert!(
            matches!(
                elsewhere,
                Err(StoreError::Failed {
                    kind: Trouble::Missing,
                    ..
                })
            ),
            "{elsewhere:?}"
        );
    });
}

#[test]
fn a_table_that_does_not_answer_is_given_up() {
    run(async {
        let room = room(TIMEOUTS).await;
        let aws = access(
            &room.endpoints.sqs_url,
            &room.endpoints.dynamo_url,
            Timeouts {
                table: Duration::from_millis(400),
                ..TIMEOUTS
            },
        )
        .await;
        let table = aws.clients().table(TABLE);
        let late = Effect::DelayAfter(Duration::from_secs(3_600));
        room.endpoints
            .add_rule(Rule::every(Service::DynamoDb).then(late));
        for failed in [
            table.write(page(1)).await.map(|_| ()),
            table.get(&[Key::new("a", "b")]).await.map(|_| ()),
            table
                .get(&[Key::new("a", "b"), Key::new("a", "c")])
                .await
                .map(|_| ()),
            table.query("a", "").await.map(|_| ()),
        ] {
            let Err(StoreError::Failed { kind, code, .. }) = failed else {
                panic!("{failed:?}");
            };
            assert_eq!((kind, code.as_str()), (Trouble::Unreachable, "timeout"));
        }
    });
}

#[test]
fn keys_left_unprocessed_are_asked_for_again() {
    run(async {
        let stored =
            |sk: &str| format!(r#"{{"pk":{{"S":"p"}},"sk":{{"S":"{sk}"}},"n":{{"N":"1"}}}}"#);
        let first = format!(
            r#"{{"Responses":{{"{TABLE}":[{}]}},"UnprocessedKeys":{{"{TABLE}":{{"ConsistentRead":true,
                "Keys":[{{"pk":{{"S":"p"}},"sk":{{"S":"b"}}}}]}}}}}}"#,
            stored("a")
        );
        let second = format!(
            r#"{{"Responses":{{"{TABLE}":[{}]}},"UnprocessedKeys":{{}}}}"#,
            stored("b")
        );
        let canned = Canned::new(vec![(200, first), (200, second)]).await;
        let table = access(&canned.url, &canned.url, TIMEOUTS)
            .await
            .clients()
            .table(TABLE);
        let keys = ["a", "b", "c"].map(|sk| Key::new("p", sk));
        let read = table
            .get(&keys)
            .await
            .expect("both answers together are complete");
        assert_eq!(
            read.iter().map(Option::is_some).collect::<Vec<_>>(),
            [true, true, false]
        );
        let requests = canned.requests();
        assert_eq!(requests.len(), 2);
        assert!(
            requests
                .iter()
                .all(|r| r.contains("\"ConsistentRead\":true")),
            "{requests:?}"
        );
        assert!(
            !requests[1].contains("\"a\""),
            "only what was left is asked for again"
        );
    });
}

#[test]
fn every_read_of_the_table_is_consistent() {
    run(async {
        let canned = Canned::new(vec![
            (200, "{}".to_owned()),
            (200, r#"{"Items":[],"Count":0}"#.to_owned()),
        ])
        .await;
        let table = access(&canned.url, &canned.url, TIMEOUTS)
            .await
            .clients()
            .table(TABLE);
        assert_eq!(table.get(&[Key::new("p", "a")]).await, Ok(vec![None]));
        assert_eq!(table.query("p", "a").await, Ok(vec![]));
        for request in canned.requests() {
            assert!(request.contains("\"ConsistentRead\":true"), "{request}");
        }
    });
}

#[test]
fn requests_are_counted_as_the_server_counts_them() {
    run(async {
        let room = room(TIMEOUTS).await;
        let before = room.endpoints.requests();
        let clients = room.aws.clients();
        assert_eq!(clients.requests(), RequestCounts::default());
        let (queue, table) = (clients.queue(&room.url), clients.table(TABLE));
        let messages = numbered(3);
        let batch: Vec<_> = messages.iter().map(outgoing).collect();
        queue.send(&batch).await;
        let received = poll(&queue, LONG).await;
        queue.counts().await.expect("counts");
        queue.delete(&handles(&received)).await;
        table.write(page(1)).await.expect("written");
        table.write(page(2)).await.expect("written");
        table.query("process#1", "page#").await.expect("read");
        room.endpoints.add_rule(
            Rule::sqs("ReceiveMessage")
                .once()
                .error(503, "ServiceUnavailable"),
        );
        poll(&queue, LONG).await;
        let counts = RequestCounts {
            receive: 3,
            send: 1,
            delete: 1,
            other_sqs: 1,
            dynamodb_read: 1,
            dynamodb_write: 2,
        };
        assert_eq!(clients.requests(), counts);
        let after: u64 = room.endpoints.requests().values().sum();
        assert_eq!(after - before.values().sum::<u64>(), 9);
        assert_eq!(
            room.aws.clients().requests(),
            RequestCounts::default(),
            "each has its own"
        );
    });
}

#[test]
fn the_services_clock_is_told_by_its_answers() {
    run(async {
        let room = room(TIMEOUTS).await;
        let aws = access(
            &room.endpoints.sqs_url,
            &room.endpoints.dynamo_url,
            TIMEOUTS,
        )
        .await;
        let clock = aws.clock();
        assert_eq!(clock.wall().service, None);
        let before = clock.now();
        aws.clients()
            .queue(&room.url)
            .counts()
            .await
            .expect("counts");
        let wall = clock.wall();
        let passed = clock.now().since(before);
        // The server's clock stands at START_MS, some time between `before` and now.
        let service = wall
            .service
            .expect("there was an answer")
            .timestamp_millis();
        let ahead = service - START_MS as i64;
        let most = i64::try_from(passed.as_millis()).expect("short") + 1;
        assert!(
            (-1_000..=most).contains(&ahead),
            "{ahead} ms, {passed:?} later"
        );
        assert!(
            clock
                .service_lag()
                .expect("there was an answer")
                .num_milliseconds()
                <= 1_000 + most
        );
        assert_ne!(wall.local.timestamp_millis() / 1_000, service / 1_000);
    });
}

#[test]
fn a_queue_is_described_by_name_and_by_url() {
    run(async {
        let room = room(TIMEOUTS).await;
        let clients = room.aws.clients();
        let dead = clients
            .create_queue("dead.fifo", &[("FifoQueue", "true")])
            .await
            .expect("created");
        let dead = clients.describe_queue(&dead).await.expect("described");
        let redrive = format!(
            r#"{{"deadLetterTargetArn":"{}","maxReceiveCount":"4"}}"#,
            dead.arn
        );
        let attributes = [
            ("FifoQueue", "true"),
            ("ContentBasedDeduplication", "true"),
            ("DelaySeconds", "3"),
            ("VisibilityTimeout", "77"),
            ("MaximumMessageSize", "2048"),
            ("MessageRetentionPeriod", "120"),
            ("RedrivePolicy", &redrive),
        ];
        let url = clients
            .create_queue("wait.fifo", &attributes)
            .await
            .expect("created");
        let facts = clients
            .describe_queue("wait.fifo")
            .await
            .expect("described");
        assert_eq!(clients.describe_queue(&url).await.as_ref(), Ok(&facts));
        assert_eq!(facts.url, url);
        assert!(facts.arn.ends_with(":wait.fifo"), "{}", facts.arn);
        assert!(facts.fifo && facts.content_based_dedup);
        assert_eq!((facts.delay_s, facts.visibility_s), (3, 77));
        assert_eq!((facts.max_message_bytes, facts.retention_s), (2_048, 120));
        assert_eq!(facts.max_receive_count, Some(4));
        assert_eq!(facts.dead_letter_arn, Some(dead.arn));
        assert_eq!(facts.kms, None);

        for name in ["none", "http://127.0.0.1:1/000000000000/none"] {
            let error = clients
                .describe_queue(name)
                .await
                .expect_err("there is none");
            assert_eq!(error.kind, Trouble::Missing, "{error}");
        }
        room.endpoints
            .add_rule(Rule::sqs("GetQueueAttributes").error(403, "AccessDeniedException"));
        let error = clients.describe_queue("q").await.expect_err("denied");
        assert_eq!(error.kind, Trouble::Denied, "{error}");
    });
}

#[test]
fn the_table_is_created_once_and_described() {
    run(async {
        let room = room(TIMEOUTS).await;
        let clients = room.aws.clients();
        assert_eq!(clients.describe_table("drain").await, Ok(None));
        assert_eq!(clients.create_table("drain").await, Ok(true));
        let facts = clients
            .describe_table("drain")
            .await
            .expect("described")
            .expect("there");
        assert!(facts.active && facts.keyed, "{facts:?}");
        assert_eq!(facts.status, "ACTIVE");
        assert_eq!(facts.expires, Some(true));
        // Again, with something in it.
        let table = clients.table("drain");
        table.write(page(1)).await.expect("written");
        assert_eq!(clients.create_table("drain").await, Ok(false));
        assert_eq!(table.query("process#1", "").await.expect("read").len(), 1);
        room.endpoints
            .add_rule(Rule::dynamo("DescribeTable").error(400, "AccessDeniedException"));
        let denied = clients.describe_table("drain").await;
        assert!(
            matches!(
                denied,
                Err(StoreError::Failed {
                    kind: Trouble::Denied,
                    ..
                })
            ),
            "{denied:?}"
        );
    });
}
