//! The protocol below the SDK: headers, error shapes, what is not a request at all.

use std::collections::BTreeMap;

use aws_sdk_sqs::operation::RequestId;
use aws_sdk_sqs::types::QueueAttributeName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::harness::{Local, local, refusal};

struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: serde_json::Value,
}

/// Sends one request by hand. `headers` without `Host` and `Content-Length`.
async fn raw(local: &Local, method: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let address = local
        .endpoints
        .sqs_url
        .strip_prefix("http://")
        .unwrap_or_default();
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let mut request = format!("{method} / HTTP/1.1\r\nHost: sqs.test\r\nConnection: close\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|l| l.split(' ').nth(1))
        .and_then(|s| s.parse().ok());
    Answer {
        status: status.expect("a status"),
        headers: lines
            .filter_map(|l| l.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect(),
        body: serde_json::from_str(body).unwrap_or_default(),
    }
}

const GOOD: [(&str, &str); 3] = [
    ("Content-Type", "application/x-amz-json-1.0"),
    ("Authorization", "AWS4-HMAC-SHA256 anything"),
    ("X-Amz-Target", "AmazonSQS.ListQueues"),
];

fn with_target(target: &str) -> [(&str, &str); 3] {
    [GOOD[0], GOOD[1], ("X-Amz-Target", target)]
}

#[tokio::test]
async fn every_answer_has_the_date_of_the_servers_clock_and_a_request_id() {
    let local = local().await;
    for body in ["{}", "no JSON"] {
        let answer = raw(&local, "POST", &GOOD, body).await;
        assert_eq!(answer.headers["date"], "Fri, 02 Jan 2026 03:04:05 GMT");
        assert_eq!(answer.headers["x-amzn-requestid"].len(), 36);
        assert_eq!(answer.headers["content-type"], "application/x-amz-json-1.0");
    }
    local.clock.advance(std::time::Duration::from_secs(60));
    let answer = raw(&local, "POST", &GOOD, "{}").await;
    assert_eq!(answer.headers["date"], "Fri, 02 Jan 2026 03:05:05 GMT");
    let listed = local.sqs.list_queues().send().await.expect("an answer");
    assert!(listed.request_id().is_some());
}

#[tokio::test]
async fn a_missing_queue_has_both_of_its_codes() {
    let local = local().await;
    let body = r#"{"QueueUrl":"http://anywhere/000000000000/nothing"}"#;
    let answer = raw(
        &local,
        "POST",
        &with_target("AmazonSQS.ReceiveMessage"),
        body,
    )
    .await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.body["__type"], "com.amazonaws.sqs#QueueDoesNotExist");
    assert_eq!(
        answer.body["message"],
        "The specified queue does not exist."
    );
    assert_eq!(
        answer.headers["x-amzn-query-error"],
        "AWS.SimpleQueueService.NonExistentQueue;Sender"
    );

    let found = local.sqs.get_queue_url().queue_name("nothing").send().await;
    let error = found.expect_err("a refusal").into_service_error();
    assert!(error.is_queue_does_not_exist());
}

#[tokio::test]
async fn requests_that_are_none() {
    let local = local().await;
    let unauthorized = raw(&local, "POST", &[GOOD[0], GOOD[2]], "{}").await;
    assert_eq!(unauthorized.status, 403);
    assert_eq!(
        unauthorized.body["__type"],
        "com.amazon.coral.service#MissingAuthenticationTokenException"
    );
    assert!(unauthorized.headers["x-amzn-query-error"].starts_with("MissingAuthenticationToken;"));

    for (method, headers, body, kind) in [
        (
            "POST",
            with_target("AmazonSQS.Fly"),
            "{}",
            "UnknownOperationException",
        ),
        (
            "POST",
            with_target("DynamoDB_20120810.ListTables"),
            "{}",
            "UnknownOperationException",
        ),
        ("GET", GOOD, "", "UnknownOperationException"),
        (
            "POST",
            [
                ("Content-Type", "application/x-www-form-urlencoded"),
                GOOD[1],
                GOOD[2],
            ],
            "Action=ListQueues",
            "UnknownOperationException",
        ),
        ("POST", GOOD, "{", "SerializationException"),
        ("POST", GOOD, "[]", "SerializationException"),
        (
            "POST",
            GOOD,
            r#"{"MaxResults":"ten"}"#,
            "SerializationException",
        ),
    ] {
        let answer = raw(&local, method, &headers, body).await;
        assert_eq!(answer.status, 400, "{headers:?} {body}");
        assert_eq!(
            answer.body["__type"],
            format!("com.amazon.coral.service#{kind}")
        );
    }
    let unsupported = raw(
        &local,
        "POST",
        &with_target("AmazonSQS.AddPermission"),
        "{}",
    )
    .await;
    assert_eq!(
        unsupported.body["__type"],
        "com.amazonaws.sqs#UnsupportedOperation"
    );
    assert_eq!(
        raw(&local, "POST", &GOOD, "").await.status,
        200,
        "an empty body is an empty request"
    );
}

#[tokio::test]
async fn what_a_request_must_name() {
    let local = local().await;
    let url = local.queue("q", &[]).await;
    for (action, body, missing) in [
        ("SendMessage", "{}".to_owned(), "QueueUrl"),
        (
            "SendMessage",
            format!(r#"{{"QueueUrl":"{url}"}}"#),
            "MessageBody",
        ),
        (
            "DeleteMessage",
            format!(r#"{{"QueueUrl":"{url}"}}"#),
            "ReceiptHandle",
        ),
        (
            "ChangeMessageVisibility",
            format!(r#"{{"QueueUrl":"{url}","ReceiptHandle":"x"}}"#),
            "VisibilityTimeout",
        ),
        ("CreateQueue", "{}".to_owned(), "QueueName"),
        ("GetQueueUrl", "{}".to_owned(), "QueueName"),
        (
            "SetQueueAttributes",
            format!(r#"{{"QueueUrl":"{url}"}}"#),
            "Attributes",
        ),
    ] {
        let target = format!("AmazonSQS.{action}");
        let answer = raw(&local, "POST", &with_target(&target), &body).await;
        assert_eq!(
            answer.body["__type"],
            "com.amazon.coral.service#MissingRequiredParameterException"
        );
        assert_eq!(
            answer.body["message"],
            format!("The request must contain the parameter {missing}.")
        );
        assert_eq!(
            answer.headers["x-amzn-query-error"],
            "MissingParameter;Sender"
        );
    }
}

#[tokio::test]
async fn queue_urls() {
    let local = local().await;
    let url = local.queue("q", &[]).await;
    assert_eq!(url, format!("{}/000000000000/q", local.endpoints.sqs_url));
    local
        .send(
            "http://another.name:1/000000000000/q",
            "the host does not matter",
        )
        .await;
    for (bad, code) in [
        ("q", "InvalidAddress"),
        ("http://host/q", "InvalidAddress"),
        ("http://host/000000000000/", "InvalidAddress"),
        ("http://host/000000000000/q/more", "InvalidAddress"),
        (
            "http://host/111111111111/q",
            "AWS.SimpleQueueService.NonExistentQueue",
        ),
    ] {
        // By hand: the SDK itself refuses some of these.
        let body = format!(r#"{{"QueueUrl":"{bad}","MessageBody":"m"}}"#);
        let answer = raw(&local, "POST", &with_target("AmazonSQS.SendMessage"), &body).await;
        assert_eq!(
            answer.headers["x-amzn-query-error"],
            format!("{code};Sender"),
            "{bad}"
        );
    }
    let created = raw(
        &local,
        "POST",
        &with_target("AmazonSQS.CreateQueue"),
        r#"{"QueueName":"n"}"#,
    )
    .await;
    assert_eq!(
        created.body["QueueUrl"], "http://sqs.test/000000000000/n",
        "the URL the client can reach"
    );
}

#[tokio::test]
async fn queues_are_listed_in_pages_tagged_purged_and_deleted() {
    let local = local().await;
    let mut urls = Vec::new();
    for n in 0..5 {
        urls.push(local.queue(&format!("list-{n}"), &[]).await);
    }
    local.queue("other", &[]).await;
    let list = || local.sqs.list_queues().queue_name_prefix("list-");
    assert_eq!(
        list().send().await.expect("an answer").queue_urls.as_ref(),
        Some(&urls)
    );
    let first = list().max_results(2).send().await.expect("an answer");
    assert_eq!(first.queue_urls.as_deref(), Some(&urls[..2]));
    let rest = list()
        .max_results(3)
        .set_next_token(first.next_token)
        .send()
        .await
        .expect("an answer");
    assert_eq!(rest.queue_urls.as_deref(), Some(&urls[2..]));
    assert!(rest.next_token.is_none());
    assert_eq!(
        refusal(list().max_results(1001).send().await).0,
        "InvalidParameterValue"
    );

    let url = &urls[0];
    local
        .sqs
        .tag_queue()
        .queue_url(url)
        .tags("a", "1")
        .tags("b", "2")
        .send()
        .await
        .expect("tagged");
    local
        .sqs
        .untag_queue()
        .queue_url(url)
        .tag_keys("a")
        .send()
        .await
        .expect("untagged");
    let tags = local
        .sqs
        .list_queue_tags()
        .queue_url(url)
        .send()
        .await
        .expect("an answer")
        .tags;
    assert_eq!(tags, Some([("b".to_owned(), "2".to_owned())].into()));

    local.send(url, "a").await;
    local
        .sqs
        .purge_queue()
        .queue_url(url)
        .send()
        .await
        .expect("purged");
    assert!(local.endpoints.peek("list-0").is_empty());
    let again = local.sqs.purge_queue().queue_url(url).send().await;
    assert_eq!(
        refusal(again).0,
        "AWS.SimpleQueueService.PurgeQueueInProgress"
    );

    local
        .sqs
        .delete_queue()
        .queue_url(url)
        .send()
        .await
        .expect("deleted");
    let gone = local
        .sqs
        .send_message()
        .queue_url(url)
        .message_body("m")
        .send()
        .await;
    assert_eq!(refusal(gone).0, "AWS.SimpleQueueService.NonExistentQueue");
}

#[tokio::test]
async fn dead_letter_queues_over_http() {
    let local = local().await;
    let dead = local.queue("dead", &[]).await;
    let policy = r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dead","maxReceiveCount":"1"}"#;
    let url = local
        .queue(
            "q",
            &[("RedrivePolicy", policy), ("VisibilityTimeout", "0")],
        )
        .await;
    local.send(&url, "a").await;
    assert_eq!(local.receive(&url).await.len(), 1);
    assert!(local.receive(&url).await.is_empty());
    let got = local
        .sqs
        .receive_message()
        .queue_url(&dead)
        .message_system_attribute_names("All".into());
    let got = got
        .send()
        .await
        .expect("an answer")
        .messages
        .unwrap_or_default();
    let attributes = got[0].attributes.as_ref().expect("attributes");
    let source = attributes
        .iter()
        .find(|(name, _)| name.as_str() == "DeadLetterQueueSourceArn");
    assert_eq!(
        source.map(|(_, arn)| arn.as_str()),
        Some("arn:aws:sqs:us-east-1:000000000000:q")
    );
    let sources = local
        .sqs
        .list_dead_letter_source_queues()
        .queue_url(&dead)
        .send()
        .await;
    assert_eq!(
        sources.expect("an answer").queue_urls,
        std::slice::from_ref(&url)
    );
    let set = local.sqs.set_queue_attributes().queue_url(&url);
    set.attributes(QueueAttributeName::RedrivePolicy, "")
        .send()
        .await
        .expect("taken away");
    assert_eq!(local.attribute(&url, "RedrivePolicy").await, "");
}
