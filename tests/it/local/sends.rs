//! What a send must be to be accepted, and what is answered.

use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, MessageAttributeValue, SendMessageBatchRequestEntry,
};

use super::harness::{bodies, local};

fn entry(id: &str, body: &str) -> SendMessageBatchRequestEntry {
    SendMessageBatchRequestEntry::builder()
        .id(id)
        .message_body(body)
        .build()
        .expect("a whole entry")
}

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
