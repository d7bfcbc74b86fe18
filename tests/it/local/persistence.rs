//! The data directory.

use std::time::Duration;

use sqs_drain::local::sqs::message::{Attribute, NewMessage};
use sqs_drain::local::{Error, Options, start};

use super::dynamo::{has, put, table};
use super::harness::{Local, bodies, local_with};

async fn on_disk(dir: &tempfile::TempDir) -> Local {
    let data_dir = Some(dir.path().to_owned());
    local_with(|options| Options {
        data_dir,
        ..options
    })
    .await
}

#[tokio::test]
async fn a_clean_stop_keeps_queues_and_items() {
    let dir = tempfile::tempdir().expect("a directory");
    let local = on_disk(&dir).await;
    table(&local).await;
    put(&local, "kept").await.expect("written");
    let url = local
        .queue("q", &[("VisibilityTimeout", "30"), ("DelaySeconds", "0")])
        .await;
    local
        .queue(
            "f.fifo",
            &[
                ("FifoQueue", "true"),
                ("DeduplicationScope", "messageGroup"),
            ],
        )
        .await;
    let messages = ["a", "b", "c"].map(|body| NewMessage {
        attributes: vec![
            Attribute::binary("k", "Binary.x", [0, 255]),
            Attribute::text("t", "Number", "7"),
        ],
        trace_header: Some("trace".into()),
        delay_seconds: (body == "c").then_some(60),
        ..NewMessage::new(body)
    });
    local.endpoints.seed("q", messages).expect("parked");
    let fifo = ["1", "2"].map(|id| NewMessage {
        group_id: Some("g".into()),
        deduplication_id: Some(id.into()),
        ..NewMessage::new(id)
    });
    local.endpoints.seed("f.fifo", fifo).expect("parked");
    let got = local
        .sqs
        .receive_message()
        .queue_url(&url)
        .send()
        .await
        .expect("an answer");
    let handle = got
        .messages
        .unwrap_or_default()
        .remove(0)
        .receipt_handle
        .unwrap_or_default();
    let before = (local.endpoints.peek("q"), local.endpoints.peek("f.fifo"));
    assert_eq!((before.0.len(), before.1.len()), (3, 2));
    local.endpoints.shutdown().await.expect("a clean stop");

    let local = on_disk(&dir).await;
    assert_eq!(
        (local.endpoints.peek("q"), local.endpoints.peek("f.fifo")),
        before
    );
    assert!(has(&local, "kept").await);
    assert_eq!(local.attribute(&url, "VisibilityTimeout").await, "30");
    let url = local
        .sqs
        .get_queue_url()
        .queue_name("q")
        .send()
        .await
        .expect("it exists");
    let url = url.queue_url.unwrap_or_default();
    let delete = local
        .sqs
        .delete_message()
        .queue_url(&url)
        .receipt_handle(handle);
    delete.send().await.expect("a handle outlives the restart");
    local.send(&url, "new").await;
    local.clock.advance(Duration::from_secs(60));
    assert_eq!(bodies(&local.receive(&url).await), ["b", "c", "new"]);
    local.endpoints.shutdown().await.expect("a clean stop");
}

#[tokio::test]
async fn a_damaged_snapshot_and_a_taken_port_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("sqs.jsonl"), "not a snapshot\n").expect("written");
    let options = Options {
        data_dir: Some(dir.path().to_owned()),
        ..Options::ephemeral()
    };
    let refused = start(options).await.err().expect("a refusal");
    assert!(matches!(refused, Error::File { .. }), "{refused}");
    assert!(refused.to_string().contains("line 1"), "{refused}");

    let running = local_with(|options| options).await;
    let taken = running
        .endpoints
        .sqs_url
        .strip_prefix("http://")
        .and_then(|a| a.parse().ok());
    let options = Options {
        sqs_addr: taken.expect("an address"),
        ..Options::ephemeral()
    };
    let refused = start(options).await.err().expect("a refusal");
    assert!(matches!(refused, Error::Bind { .. }), "{refused}");
}
