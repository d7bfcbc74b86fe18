//! Batches: the rules about the whole, and one outcome per entry.

use aws_sdk_sqs::error::SdkError;
use aws_sdk_sqs::operation::send_message_batch::{SendMessageBatchError, SendMessageBatchOutput};
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry,
    DeleteMessageBatchRequestEntry, SendMessageBatchRequestEntry,
};

use super::harness::{Local, bodies, entry, local, refusal};

async fn send(
    local: &Local,
    url: &str,
    entries: Vec<SendMessageBatchRequestEntry>,
) -> Result<SendMessageBatchOutput, SdkError<SendMessageBatchError>> {
    let send = local.sqs.send_message_batch().queue_url(url);
    send.set_entries(Some(entries)).send().await
}

fn delete(id: &str, handle: &str) -> DeleteMessageBatchRequestEntry {
    let entry = DeleteMessageBatchRequestEntry::builder()
        .id(id)
        .receipt_handle(handle);
    entry.build().expect("a whole entry")
}

/// Id, sender's fault, code.
fn failures(failed: &[BatchResultErrorEntry]) -> Vec<(&str, bool, &str)> {
    failed
        .iter()
        .map(|f| (f.id.as_str(), f.sender_fault, f.code.as_str()))
        .collect()
}

#[tokio::test]
async fn the_whole_batch_is_refused() {
    let local = local().await;
    let url = local.queue("q", &[]).await;
    let numbered = |count: usize| (0..count).map(|n| entry(&n.to_string(), "m")).collect();
    for (entries, code) in [
        (vec![], "AWS.SimpleQueueService.EmptyBatchRequest"),
        (
            numbered(11),
            "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
        ),
        (
            vec![entry("a", "m"), entry("a", "m")],
            "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
        ),
        (
            vec![entry("", "m")],
            "AWS.SimpleQueueService.InvalidBatchEntryId",
        ),
        (
            vec![entry("a:b", "m")],
            "AWS.SimpleQueueService.InvalidBatchEntryId",
        ),
        (
            vec![entry(&"x".repeat(81), "m")],
            "AWS.SimpleQueueService.InvalidBatchEntryId",
        ),
    ] {
        assert_eq!(refusal(send(&local, &url, entries).await).0, code);
    }
    assert!(local.endpoints.peek("q").is_empty());
    let accepted = send(
        &local,
        &url,
        vec![entry(&"x".repeat(80), "m"), entry("A-z_09", "m")],
    )
    .await;
    assert_eq!(accepted.expect("accepted").successful.len(), 2);
    assert_eq!(
        send(&local, &url, numbered(10))
            .await
            .expect("accepted")
            .successful
            .len(),
        10
    );
}

#[tokio::test]
async fn deletes_and_visibility_changes_obey_the_same_rules() {
    let local = local().await;
    let url = local.queue("q", &[]).await;
    let deletes = |entries| {
        local
            .sqs
            .delete_message_batch()
            .queue_url(&url)
            .set_entries(Some(entries))
            .send()
    };
    let eleven = (0..11).map(|n| delete(&n.to_string(), "h")).collect();
    assert_eq!(
        refusal(deletes(vec![]).await).0,
        "AWS.SimpleQueueService.EmptyBatchRequest"
    );
    assert_eq!(
        refusal(deletes(eleven).await).0,
        "AWS.SimpleQueueService.TooManyEntriesInBatchRequest"
    );
    let twice = vec![delete("a", "h"), delete("a", "h")];
    assert_eq!(
        refusal(deletes(twice).await).0,
        "AWS.SimpleQueueService.BatchEntryIdsNotDistinct"
    );
    assert_eq!(
        refusal(deletes(vec![delete("a b", "h")]).await).0,
        "AWS.SimpleQueueService.InvalidBatchEntryId"
    );
    let changes = local.sqs.change_message_visibility_batch().queue_url(&url);
    let empty = changes.set_entries(Some(vec![])).send().await;
    assert_eq!(refusal(empty).0, "AWS.SimpleQueueService.EmptyBatchRequest");
}

#[tokio::test]
async fn a_batch_is_at_most_1_mib_in_all() {
    let local = local().await;
    let url = local.queue("q", &[]).await;
    let half = "x".repeat(524_288);
    let over = format!("{half}y");
    let (code, message) =
        refusal(send(&local, &url, vec![entry("a", &half), entry("b", &over)]).await);
    assert_eq!(code, "AWS.SimpleQueueService.BatchRequestTooLong");
    assert_eq!(
        message,
        "Batch requests cannot be longer than 1048576 bytes. You have sent 1048577 bytes."
    );
    assert!(local.endpoints.peek("q").is_empty());
    let sent = send(&local, &url, vec![entry("a", &half), entry("b", &half)]).await;
    assert_eq!(sent.expect("exactly 1 MiB").successful.len(), 2);
}

#[tokio::test]
async fn each_entry_succeeds_or_fails_for_itself() {
    let local = local().await;
    let url = local.queue("q", &[("MaximumMessageSize", "1024")]).await;
    let bad_delay = SendMessageBatchRequestEntry::builder()
        .id("delay")
        .message_body("m")
        .delay_seconds(901);
    let sent = send(
        &local,
        &url,
        vec![
            entry("good", "first"),
            entry("characters", "\u{1}"),
            entry("big", &"x".repeat(1025)),
            entry("empty", ""),
            bad_delay.build().expect("a whole entry"),
            entry("good-too", "last"),
        ],
    )
    .await
    .expect("a 200");
    let good: Vec<_> = sent.successful.iter().map(|s| s.id.as_str()).collect();
    assert_eq!(good, ["good", "good-too"]);
    assert_eq!(
        failures(&sent.failed),
        [
            ("characters", true, "InvalidMessageContents"),
            ("big", true, "InvalidParameterValue"),
            ("empty", true, "MissingParameter"),
            ("delay", true, "InvalidParameterValue"),
        ]
    );
    assert_eq!(
        sent.failed[1].message.as_deref(),
        Some(
            "One or more parameters cannot be validated. Reason: Message must be shorter than 1024 bytes."
        )
    );
    assert_eq!(bodies(&local.receive(&url).await), ["first", "last"]);
}

#[tokio::test]
async fn a_missing_fifo_id_refuses_the_whole_batch() {
    let local = local().await;
    let url = local.queue("q.fifo", &[("FifoQueue", "true")]).await;
    let build = |id: &str, group: Option<&str>, deduplication: Option<&str>| {
        SendMessageBatchRequestEntry::builder()
            .id(id)
            .message_body("m")
            .set_message_group_id(group.map(Into::into))
            .set_message_deduplication_id(deduplication.map(Into::into))
            .build()
            .expect("a whole entry")
    };
    let whole = build("a", Some("g"), Some("1"));
    let (code, message) = refusal(
        send(
            &local,
            &url,
            vec![whole.clone(), build("b", None, Some("2"))],
        )
        .await,
    );
    assert_eq!(code, "InvalidParameterValue");
    assert_eq!(
        message,
        "The request must contain the parameter MessageGroupId."
    );
    let (code, message) =
        refusal(send(&local, &url, vec![whole, build("b", Some("g"), None)]).await);
    assert_eq!(code, "InvalidParameterValue");
    assert!(
        message.starts_with("The queue should either have ContentBasedDeduplication"),
        "{message}"
    );
    assert!(local.endpoints.peek("q.fifo").is_empty());
}

#[tokio::test]
async fn bad_handles_fail_alone() {
    let local = local().await;
    let url = local.queue("q", &[]).await;
    local.send(&url, "a").await;
    local.send(&url, "b").await;
    let got = local.receive(&url).await;
    let handle = |n: usize| got[n].receipt_handle.clone().unwrap_or_default();

    let change = |id: &str, handle: String, seconds: i32| {
        ChangeMessageVisibilityBatchRequestEntry::builder()
            .id(id)
            .receipt_handle(handle)
            .visibility_timeout(seconds)
            .build()
            .expect("a whole entry")
    };
    let changes = local.sqs.change_message_visibility_batch().queue_url(&url);
    let changed = changes
        .entries(change("release", handle(0), 0))
        .entries(change("garbage", "garbage".into(), 0))
        .entries(change("again", handle(0), 0))
        .entries(change("long", handle(1), 43_201))
        .send()
        .await
        .expect("a 200");
    assert_eq!(changed.successful.len(), 1);
    assert_eq!(
        failures(&changed.failed),
        [
            ("garbage", true, "ReceiptHandleIsInvalid"),
            ("again", true, "AWS.SimpleQueueService.MessageNotInflight"),
            ("long", true, "InvalidParameterValue"),
        ]
    );
    assert_eq!(bodies(&local.receive(&url).await), ["a"], "released");

    let deletes = local.sqs.delete_message_batch().queue_url(&url);
    let deleted = deletes
        .entries(delete("good", &handle(1)))
        .entries(delete("garbage", "garbage"))
        .send()
        .await
        .expect("a 200");
    assert_eq!(deleted.successful.len(), 1);
    assert_eq!(
        failures(&deleted.failed),
        [("garbage", true, "ReceiptHandleIsInvalid")]
    );
}
