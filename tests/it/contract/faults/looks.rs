//! What is looked at beside the ports: queues, the table, request counts, the service's clock.

use super::*;

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
        let (clients, hands) = (room.aws.clients(), room.hands.clients());
        let dead = hands
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
        let url = hands
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
        let init = record::sign_as(Caller::adapters("init"));
        let (sqs, dynamodb) = (&room.endpoints.sqs_url, &room.endpoints.dynamo_url);
        let clients = access_as(&init, sqs, dynamodb, TIMEOUTS).await.clients();
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
        let table = room.aws.clients().table("drain");
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
