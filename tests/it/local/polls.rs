//! Long polls: they wait, and they wake at once.

use std::time::Duration;

use aws_sdk_sqs::types::Message;
use sqs_drain::local::Options;
use tokio::task::JoinHandle;

use super::harness::{Local, bodies, local, local_with, refusal, until};

/// Starts a long poll on the queue named so and returns once it waits.
async fn poll(local: &Local, name: &str, url: &str) -> JoinHandle<Vec<Message>> {
    let before = local.endpoints.waiting_polls(name);
    let receive = local
        .sqs
        .receive_message()
        .queue_url(url)
        .wait_time_seconds(20);
    let polling = tokio::spawn(async move {
        receive
            .send()
            .await
            .expect("an answer")
            .messages
            .unwrap_or_default()
    });
    until(|| local.endpoints.waiting_polls(name) > before).await;
    polling
}

/// What the poll brought. The limit only turns a poll that never wakes into a failure instead of a hang.
async fn outcome(polling: JoinHandle<Vec<Message>>) -> Vec<Message> {
    let limit = Duration::from_secs(60);
    let ended = tokio::time::timeout(limit, polling)
        .await
        .expect("the poll never woke");
    ended.expect("no panic")
}

#[tokio::test]
async fn a_poll_wakes_when_a_message_arrives() {
    let local = local().await;
    let url = local.queue("q", &[]).await;
    let polling = poll(&local, "q", &url).await;
    local.send(&url, "a").await;
    // The clock stands still: only the arrival can have woken it.
    assert_eq!(bodies(&outcome(polling).await), ["a"]);
}

#[tokio::test]
async fn a_poll_wakes_when_a_visibility_timeout_or_a_delay_ends() {
    let local = local().await;
    let url = local.queue("q", &[("VisibilityTimeout", "5")]).await;
    local.send(&url, "a").await;
    assert_eq!(local.receive(&url).await.len(), 1);
    let polling = poll(&local, "q", &url).await;
    local.clock.advance(Duration::from_secs(5));
    assert_eq!(bodies(&outcome(polling).await), ["a"]);

    let polling = poll(&local, "q", &url).await;
    let delayed = local
        .sqs
        .send_message()
        .queue_url(&url)
        .message_body("b")
        .delay_seconds(3);
    delayed.send().await.expect("accepted");
    local.clock.advance(Duration::from_secs(3));
    assert_eq!(bodies(&outcome(polling).await), ["b"]);
}

#[tokio::test]
async fn a_poll_wakes_when_a_message_is_released() {
    let local = local().await;
    let url = local.queue("q", &[]).await;
    local.send(&url, "a").await;
    let got = local.receive(&url).await;
    let polling = poll(&local, "q", &url).await;
    let release = local
        .sqs
        .change_message_visibility()
        .queue_url(&url)
        .visibility_timeout(0);
    let handle = got[0].receipt_handle.as_deref().unwrap_or_default();
    release
        .receipt_handle(handle)
        .send()
        .await
        .expect("released");
    assert_eq!(bodies(&outcome(polling).await), ["a"]);
}

#[tokio::test]
async fn a_poll_wakes_when_its_fifo_group_is_free_again() {
    let local = local().await;
    let attributes = [("FifoQueue", "true"), ("ContentBasedDeduplication", "true")];
    let url = local.queue("q.fifo", &attributes).await;
    for body in ["a", "b"] {
        let send = local.sqs.send_message().queue_url(&url).message_body(body);
        send.message_group_id("g").send().await.expect("accepted");
    }
    let first = local
        .sqs
        .receive_message()
        .queue_url(&url)
        .send()
        .await
        .expect("an answer");
    let first = first.messages.expect("a message");
    let polling = poll(&local, "q.fifo", &url).await;
    let handle = first[0].receipt_handle.as_deref().unwrap_or_default();
    local
        .sqs
        .delete_message()
        .queue_url(&url)
        .receipt_handle(handle)
        .send()
        .await
        .expect("deleted");
    assert_eq!(bodies(&outcome(polling).await), ["b"]);
}

#[tokio::test]
async fn a_poll_ends_empty_after_its_time() {
    let local = local().await;
    let url = local.queue("q", &[]).await;
    let polling = poll(&local, "q", &url).await;
    local.clock.advance(Duration::from_millis(19_999));
    // An answered call proves that the server has had its turn since.
    local.attribute(&url, "QueueArn").await;
    assert_eq!(local.endpoints.waiting_polls("q"), 1);
    local.clock.advance(Duration::from_millis(1));
    assert!(outcome(polling).await.is_empty());
}

#[tokio::test]
async fn the_queues_wait_time_holds_when_the_request_names_none() {
    let local = local().await;
    let url = local
        .queue("q", &[("ReceiveMessageWaitTimeSeconds", "20")])
        .await;
    let receive = local.sqs.receive_message().queue_url(&url);
    let polling = tokio::spawn(async move { receive.send().await });
    until(|| local.endpoints.waiting_polls("q") == 1).await;
    local.send(&url, "a").await;
    let got = polling.await.expect("no panic").expect("an answer");
    assert_eq!(got.messages.unwrap_or_default().len(), 1);
    let short = local
        .sqs
        .receive_message()
        .queue_url(&url)
        .wait_time_seconds(0)
        .send()
        .await;
    assert!(
        short.expect("at once").messages.is_none(),
        "0 in the request means no wait"
    );
}

#[tokio::test]
async fn many_polls_share_what_arrives() {
    let local = local().await;
    let url = local.queue("q", &[]).await;
    let mut polls = Vec::new();
    for _ in 0..5 {
        polls.push(poll(&local, "q", &url).await);
    }
    for n in 0..5 {
        local.send(&url, &n.to_string()).await;
    }
    let mut seen = Vec::new();
    for polling in polls {
        seen.extend(
            bodies(&outcome(polling).await)
                .into_iter()
                .map(str::to_owned),
        );
    }
    seen.sort();
    assert_eq!(seen, ["0", "1", "2", "3", "4"]);
}

#[tokio::test]
async fn polls_out_of_bounds_are_refused() {
    let local = local().await;
    let url = local.queue("q", &[]).await;
    let receive = || local.sqs.receive_message().queue_url(&url);
    for (request, expected) in [
        (
            receive().wait_time_seconds(21),
            "Value 21 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided.",
        ),
        (
            receive().max_number_of_messages(11),
            "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.",
        ),
        (
            receive().visibility_timeout(-1),
            "Value -1 for parameter VisibilityTimeout is invalid. Reason: Must be between 0 and 43200, if provided.",
        ),
    ] {
        let (code, message) = refusal(request.send().await);
        assert_eq!(
            (code.as_str(), message.as_str()),
            ("InvalidParameterValue", expected)
        );
    }
}

#[tokio::test]
async fn a_poll_whose_client_hung_up_takes_messages_unless_told_otherwise() {
    for orphan_polls in [true, false] {
        let local = local_with(|options| Options {
            orphan_polls,
            ..options
        })
        .await;
        let url = local.queue("q", &[("VisibilityTimeout", "30")]).await;
        let polling = poll(&local, "q", &url).await;
        polling.abort();
        assert!(polling.await.is_err_and(|e| e.is_cancelled()));
        if !orphan_polls {
            until(|| local.endpoints.waiting_polls("q") == 0).await;
        }
        local.send(&url, "a").await;
        let got = local.receive(&url).await;
        assert_eq!(got.is_empty(), orphan_polls, "orphan_polls: {orphan_polls}");
        local.clock.advance(Duration::from_secs(30));
        if orphan_polls {
            assert_eq!(
                bodies(&local.receive(&url).await),
                ["a"],
                "its visibility timeout brings it back"
            );
        }
    }
}

#[tokio::test]
async fn a_shutdown_answers_waiting_polls() {
    let local = local().await;
    let url = local.queue("q", &[]).await;
    let polling = poll(&local, "q", &url).await;
    local.endpoints.shutdown().await.expect("a clean stop");
    assert!(outcome(polling).await.is_empty());
}
