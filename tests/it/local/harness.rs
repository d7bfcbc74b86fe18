//! Started endpoints with SDK clients aimed at them, and short forms for what most tests do.

use std::collections::HashMap;

use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::{
    Message, MessageAttributeValue, QueueAttributeName, SendMessageBatchRequestEntry,
};
use sqs_drain::local::{Endpoints, ManualClock, Options};

/// 2026-01-02 03:04:05 UTC.
pub const START_MS: u64 = 1_767_323_045_000;

/// Endpoints on free ports, living by a manual clock.
pub struct Local {
    pub endpoints: Endpoints,
    pub clock: ManualClock,
    pub sqs: aws_sdk_sqs::Client,
    pub dynamo: aws_sdk_dynamodb::Client,
}

pub async fn local() -> Local {
    local_with(|options| options).await
}

pub async fn local_with(change: impl FnOnce(Options) -> Options) -> Local {
    let clock = ManualClock::new(START_MS);
    let options = change(Options {
        clock: clock.clock(),
        ..Options::ephemeral()
    });
    let endpoints = sqs_drain::local::start(options).await.expect("free ports");
    let sqs = sqs_client(&endpoints.sqs_url);
    let dynamo = aws_sdk_dynamodb::Client::from_conf(
        aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "test"))
            .retry_config(aws_sdk_dynamodb::config::retry::RetryConfig::disabled())
            .endpoint_url(&endpoints.dynamo_url)
            .build(),
    );
    Local {
        endpoints,
        clock,
        sqs,
        dynamo,
    }
}

/// A client that does not retry: a test sees every answer.
pub fn sqs_client(url: &str) -> aws_sdk_sqs::Client {
    aws_sdk_sqs::Client::from_conf(
        aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "test"))
            .retry_config(aws_sdk_sqs::config::retry::RetryConfig::disabled())
            .endpoint_url(url)
            .build(),
    )
}

impl Local {
    /// Creates a queue over HTTP and returns its URL.
    pub async fn queue(&self, name: &str, attributes: &[(&str, &str)]) -> String {
        let attributes: HashMap<_, _> = attributes
            .iter()
            .map(|(name, value)| (QueueAttributeName::from(*name), (*value).to_owned()))
            .collect();
        let created = self
            .sqs
            .create_queue()
            .queue_name(name)
            .set_attributes((!attributes.is_empty()).then_some(attributes))
            .send()
            .await
            .expect("a queue");
        created.queue_url.expect("a queue URL")
    }

    pub async fn send(&self, url: &str, body: &str) {
        let sent = self.sqs.send_message().queue_url(url).message_body(body);
        sent.send().await.expect("an accepted message");
    }

    /// Receives up to ten, without waiting.
    pub async fn receive(&self, url: &str) -> Vec<Message> {
        let received = self
            .sqs
            .receive_message()
            .queue_url(url)
            .max_number_of_messages(10);
        received
            .send()
            .await
            .expect("an answer")
            .messages
            .unwrap_or_default()
    }

    pub async fn attribute(&self, url: &str, name: &str) -> String {
        let answer = self
            .sqs
            .get_queue_attributes()
            .queue_url(url)
            .attribute_names(QueueAttributeName::from(name))
            .send()
            .await
            .expect("attributes");
        answer
            .attributes
            .and_then(|mut all| all.remove(&QueueAttributeName::from(name)))
            .unwrap_or_default()
    }
}

/// The code and the message of an error answer.
pub fn refusal<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug>(
    result: Result<T, SdkError<E>>,
) -> (String, String) {
    let error = result.expect_err("a refusal");
    let service = error
        .as_service_error()
        .expect("an answer from the service");
    (
        service.code().unwrap_or_default().to_owned(),
        service.message().unwrap_or_default().to_owned(),
    )
}

/// The bodies, in order.
pub fn bodies(messages: &[Message]) -> Vec<&str> {
    messages.iter().filter_map(|m| m.body.as_deref()).collect()
}

/// A text attribute.
pub fn text(data_type: &str, value: &str) -> MessageAttributeValue {
    MessageAttributeValue::builder()
        .data_type(data_type)
        .string_value(value)
        .build()
        .expect("a value")
}

/// A batch entry.
pub fn entry(id: &str, body: &str) -> SendMessageBatchRequestEntry {
    SendMessageBatchRequestEntry::builder()
        .id(id)
        .message_body(body)
        .build()
        .expect("a whole entry")
}

/// Lets everything else that is ready go on, so that a request that has been started is under way: no time passes.
pub async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}
