//! The table in trouble.

use super::*;

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
