//! What a send must be to be accepted, and what is answered.

use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, Message, MessageAttributeValue,
    MessageSystemAttributeName as System, MessageSystemAttributeNameForSends as Sent,
    MessageSystemAttributeValue, SendMessageBatchRequestEntry,
};

use super::harness::{Local, bodies, entry, local, refusal, text};

#[tokio::test]
async fn a_batch_goes_in_comes_out_and_is_deleted() {
    let local = local().await;
    let url = local.queue("wait", &[]).await;
    let found = local
        .sqs
        .get_queue_url()
        .queue_name("wait")
        .send()
        .await
        .expect("it exists");
    assert_eq!(found.queue_url.as_deref(), Some(url.as_str()));

    let value = MessageAttributeValue::builder()
        .data_type("Binary.gzip")
        .binary_value(Blob::new([0, 1, 255]))
        .build()
        .expect("a value");
    let with_attribute = SendMessageBatchRequestEntry::builder()
        .id("b")
        .message_body("두번째 \u{1F600} \"quoted\"\n")
        .message_attributes("blob", value.clone())
        .build()
        .expect("a whole entry");
    let sent = local
        .sqs
        .send_message_batch()
        .queue_url(&url)
        .entries(entry("a", "first"))
        .entries(with_attribute)
        .send()
        .await
        .expect("accepted");
    assert_eq!(sent.successful.len(), 2);
    assert!(sent.failed.is_empty());
    assert_eq!(
        sent.successful[0].md5_of_message_body,
        "8b04d5e3775d298e78455efc5ca404d5"
    );

    let got = local
        .sqs
        .receive_message()
        .queue_url(&url)
        .max_number_of_messages(10)
        .message_attribute_names("All")
        .send()
        .await
        .expect("an answer");
    let got = got.messages.expect("messages");
    assert_eq!(bodies(&got), ["first", "두번째 \u{1F600} \"quoted\"\n"]);
    assert_eq!(
        got[1].message_id.as_deref(),
        Some(sent.successful[1].message_id.as_str())
    );
    assert_eq!(
        got[1]
            .message_attributes
            .as_ref()
            .and_then(|a| a.get("blob")),
        Some(&value)
    );
    assert_eq!(
        local
            .attribute(&url, "ApproximateNumberOfMessagesNotVisible")
            .await,
        "2"
    );

    let deletes = got.iter().enumerate().map(|(i, m)| {
        DeleteMessageBatchRequestEntry::builder()
            .id(i.to_string())
            .receipt_handle(m.receipt_handle.as_deref().unwrap_or_default())
            .build()
            .expect("a whole entry")
    });
    let deleted = local
        .sqs
        .delete_message_batch()
        .queue_url(&url)
        .set_entries(Some(deletes.collect()))
        .send()
        .await
        .expect("an answer");
    assert_eq!(deleted.successful.len(), 2);
    assert!(local.endpoints.peek("wait").is_empty());
    local.endpoints.shutdown().await.expect("a clean stop");
}

/// The first message, with these message attributes asked for, put back at once.
async fn look(local: &Local, url: &str, names: &[&str], system: &[&str]) -> Message {
    let got = local
        .sqs
        .receive_message()
        .queue_url(url)
        .visibility_timeout(0)
        .set_message_attribute_names(Some(names.iter().map(|n| (*n).to_owned()).collect()))
        .set_message_system_attribute_names(Some(system.iter().map(|n| System::from(*n)).collect()))
        .send()
        .await
        .expect("an answer");
    got.messages.unwrap_or_default().remove(0)
}

#[tokio::test]
async fn sums_are_the_ones_recorded_from_aws() {
    let local = local().await;
    let url = local.queue("q", &[]).await;
    let send = || local.sqs.send_message().queue_url(&url);
    let sent = send()
        .message_body("msg")
        .message_attributes("Hello", text("String", "There"))
        .message_attributes("General", text("String", "Kenobi"))
        .message_attributes("Help.Me", text("String", "Me"))
        .send()
        .await
        .expect("accepted");
    assert_eq!(
        sent.md5_of_message_body.as_deref(),
        Some("6e2baaf3b97dbeef01c0043275f9a0e7")
    );
    assert_eq!(
        sent.md5_of_message_attributes.as_deref(),
        Some("4c360f3fdafd970e05fae2f149d997f5")
    );

    for (names, sum, expected) in [
        (&["All"][..], "4c360f3fdafd970e05fae2f149d997f5", 3),
        (&[".*"], "4c360f3fdafd970e05fae2f149d997f5", 3),
        (&["Hello", "General"], "fca026605781cb4126a1e9044df24232", 2),
        (&["Hello", "Nothing"], "a311262e065454b75da111d535b8dacd", 1),
        (&["Hel.*"], "83fee93c1bcd8b9a5a923ffacdc636c7", 2),
        (&["Nothing"], "", 0),
        (&[], "", 0),
    ] {
        let got = look(&local, &url, names, &[]).await;
        assert_eq!(
            got.md5_of_message_attributes.unwrap_or_default(),
            sum,
            "{names:?}"
        );
        assert_eq!(
            got.message_attributes.unwrap_or_default().len(),
            expected,
            "{names:?}"
        );
        assert_eq!(
            got.md5_of_body.as_deref(),
            Some("6e2baaf3b97dbeef01c0043275f9a0e7")
        );
    }

    let binary = MessageAttributeValue::builder()
        .data_type("Binary")
        .binary_value(Blob::new(
            *b"traceparent\x1e00-774062d6c37081a5a0b9b5b88e30627c-2d2482211f6489da-01",
        ))
        .build()
        .expect("a value");
    let sent = send()
        .message_body("test")
        .message_attributes("attr1", binary)
        .send()
        .await;
    assert_eq!(
        sent.expect("accepted").md5_of_message_attributes.as_deref(),
        Some("8cbe4db156db8a94db8b801b7addb984")
    );
}

#[tokio::test]
async fn system_attributes_come_with_a_message_as_asked() {
    let local = local().await;
    let url = local.queue("q", &[]).await;
    let trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
    let value = MessageSystemAttributeValue::builder()
        .data_type("String")
        .string_value(trace)
        .build()
        .expect("a value");
    let sent = local
        .sqs
        .send_message()
        .queue_url(&url)
        .message_body("m")
        .message_group_id("tenant-1")
        .message_system_attributes(Sent::AwsTraceHeader, value)
        .send()
        .await
        .expect("accepted");
    assert!(sent.md5_of_message_system_attributes.is_some());
    assert!(sent.sequence_number.is_none(), "of FIFO queues only");

    let first_receive = local.clock.now_ms();
    let got = look(&local, &url, &[], &["All"])
        .await
        .attributes
        .expect("attributes");
    let expected = [
        (System::SenderId, "000000000000".to_owned()),
        (System::SentTimestamp, first_receive.to_string()),
        (System::ApproximateReceiveCount, "1".into()),
        (
            System::ApproximateFirstReceiveTimestamp,
            first_receive.to_string(),
        ),
        (System::MessageGroupId, "tenant-1".into()),
        (System::AwsTraceHeader, trace.into()),
    ];
    assert_eq!(got, expected.into_iter().collect());
    let two = look(&local, &url, &[], &["SequenceNumber", "AWSTraceHeader"]).await;
    assert_eq!(two.attributes.expect("attributes").len(), 1);
    assert!(
        look(&local, &url, &[], &["SequenceNumber"])
            .await
            .attributes
            .is_none()
    );
    assert!(look(&local, &url, &[], &[]).await.attributes.is_none());
}

#[tokio::test]
async fn a_fifo_send_answers_with_its_sequence_number() {
    let local = local().await;
    let url = local.queue("q.fifo", &[("FifoQueue", "true")]).await;
    let send = |id: &str| {
        let send = local.sqs.send_message().queue_url(&url).message_body("m");
        send.message_group_id("g")
            .message_deduplication_id(id)
            .send()
    };
    let first = send("1")
        .await
        .expect("accepted")
        .sequence_number
        .expect("a number");
    let second = send("2")
        .await
        .expect("accepted")
        .sequence_number
        .expect("a number");
    assert_eq!(first.len(), 20);
    assert!(first < second);
    let got = look(&local, &url, &[], &["All"])
        .await
        .attributes
        .expect("attributes");
    assert_eq!(got.get(&System::SequenceNumber), Some(&first));
    assert_eq!(
        got.get(&System::MessageDeduplicationId).map(String::as_str),
        Some("1")
    );
    assert_eq!(
        got.get(&System::MessageGroupId).map(String::as_str),
        Some("g")
    );
}

#[tokio::test]
async fn bodies_that_are_refused() {
    let local = local().await;
    let url = local.queue("q", &[]).await;
    let send = |body: &str| {
        local
            .sqs
            .send_message()
            .queue_url(&url)
            .message_body(body)
            .send()
    };
    for bad in ["\0", "a\u{8}b", "\u{b}", "\u{1f}", "\u{fffe}", "x\u{ffff}"] {
        let (code, message) = refusal(send(bad).await);
        assert_eq!(code, "InvalidMessageContents", "{bad:?}");
        assert!(
            message.starts_with("Invalid characters found."),
            "{message}"
        );
    }
    let (code, message) = refusal(send("").await);
    assert_eq!(
        (code.as_str(), message.as_str()),
        (
            "MissingParameter",
            "The request must contain the parameter MessageBody."
        )
    );
    let good = "\t\n\r \u{7f}\u{80}\u{d7ff}\u{e000}\u{fffd}\u{10000}\u{10ffff}";
    send(good).await.expect("accepted");
    assert_eq!(bodies(&local.receive(&url).await), [good]);
}

#[tokio::test]
async fn a_message_is_at_most_1_mib_with_its_attributes() {
    let local = local().await;
    let url = local.queue("q", &[]).await;
    let send = |bytes: usize| {
        let send = local.sqs.send_message().queue_url(&url);
        // 1 + 6 + 3 bytes of name, type and value.
        send.message_attributes("k", text("String", "abc"))
            .message_body("x".repeat(bytes))
            .send()
    };
    send(1_048_566).await.expect("exactly 1 MiB");
    let (code, message) = refusal(send(1_048_567).await);
    assert_eq!(code, "InvalidParameterValue");
    assert_eq!(
        message,
        "One or more parameters are invalid. Reason: Message must be shorter than 1048576 bytes."
    );

    let small = local
        .queue("small", &[("MaximumMessageSize", "1024")])
        .await;
    let send = |bytes: usize| {
        local
            .sqs
            .send_message()
            .queue_url(&small)
            .message_body("é".repeat(bytes / 2))
            .send()
    };
    send(1024)
        .await
        .expect("exactly the queue's limit, in bytes");
    assert_eq!(refusal(send(1026).await).0, "InvalidParameterValue");
}
