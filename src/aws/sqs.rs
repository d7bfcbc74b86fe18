//! A queue, as the place messages are received from and as the place they are sent to.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry,
    DeleteMessageBatchRequestEntry, MessageAttributeValue, MessageSystemAttributeName,
    MessageSystemAttributeNameForSends, MessageSystemAttributeValue, QueueAttributeName,
    SendMessageBatchRequestEntry,
};

use super::outcome::{failed_entry, failed_receipt, failed_receipts, failed_send, trouble};
use super::{Clients, RECEIVE_SLACK, failure};
use crate::message::{
    Attribute, BATCH_ENTRIES, Counts, Id, Message, Outgoing, ReceiptOutcome, SendOutcome, Value,
};
use crate::port::{QueueError, Sink, Source, Trouble};

/// What is asked for with every receive, beside the message itself and its attributes.
const SYSTEM_ATTRIBUTES: [MessageSystemAttributeName; 5] = [
    MessageSystemAttributeName::ApproximateReceiveCount,
    MessageSystemAttributeName::SentTimestamp,
    MessageSystemAttributeName::MessageGroupId,
    MessageSystemAttributeName::MessageDeduplicationId,
    MessageSystemAttributeName::AwsTraceHeader,
];

/// The ids of a batch's entries: its indices, so that an answer needs no map to be read.
const ENTRY_IDS: [&str; BATCH_ENTRIES] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// The word for an entry the service's answer says nothing about.
const UNMENTIONED: &str = "unmentioned";

/// One queue. Cheap to clone.
#[derive(Clone)]
pub struct Queue {
    receive: Client,
    send: Client,
    control: Client,
    url: String,
}

impl Queue {
    pub(super) fn new(clients: &Clients, url: String) -> Self {
        Self {
            receive: clients.receive.clone(),
            send: clients.send.clone(),
            control: clients.control.clone(),
            url,
        }
    }

    /// The queue's URL.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Source for Queue {
    async fn receive(
        &self,
        max: usize,
        wait: Duration,
        visibility: Duration,
    ) -> Result<Vec<Message>, QueueError> {
        let call = self
            .receive
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(i32::try_from(max).unwrap_or(i32::MAX))
            .wait_time_seconds(whole_seconds(wait))
            .visibility_timeout(whole_seconds(visibility))
            .message_attribute_names("All")
            .set_message_system_attribute_names(Some(SYSTEM_ATTRIBUTES.to_vec()))
            .send();
        let limit = wait.saturating_add(RECEIVE_SLACK);
        let answer = match tokio::time::timeout(limit, call).await {
            Ok(answer) => answer.map_err(|error| trouble(&failure(&error)))?,
            Err(_) => {
                return Err(QueueError {
                    kind: Trouble::Unreachable,
                    code: "timeout".to_owned(),
                    message: format!("no answer to a receive within {limit:?}"),
                });
            }
        };
        let received = answer.messages.unwrap_or_default();
        Ok(received.into_iter().filter_map(message).collect())
    }

    async fn delete(&self, handles: &[String]) -> Vec<ReceiptOutcome> {
        debug_assert!(handles.len() <= BATCH_ENTRIES);
        if handles.is_empty() {
            return Vec::new();
        }
        let entries = handles.iter().zip(ENTRY_IDS).map(|(handle, id)| {
            DeleteMessageBatchRequestEntry::builder()
                .id(id)
                .receipt_handle(handle)
                .build()
        });
        let entries = match entries.collect::<Result<Vec<_>, _>>() {
            Ok(entries) => entries,
            Err(error) => return unbuilt(&error, handles.len()),
        };
        let answer = self
            .control
            .delete_message_batch()
            .queue_url(&self.url)
            .set_entries(Some(entries))
            .send()
            .await;
        match answer {
            Ok(answer) => receipts(
                handles.len(),
                answer.successful.iter().map(|entry| entry.id.as_str()),
                &answer.failed,
            ),
            Err(error) => {
                vec![failed_receipts(&failure(&error)); handles.len()]
            }
        }
    }

    async fn set_visibility(&self, handles: &[(String, Duration)]) -> Vec<ReceiptOutcome> {
        debug_assert!(handles.len() <= BATCH_ENTRIES);
        if handles.is_empty() {
            return Vec::new();
        }
        let entries = handles
            .iter()
            .zip(ENTRY_IDS)
            .map(|((handle, visibility), id)| {
                ChangeMessageVisibilityBatchRequestEntry::builder()
                    .id(id)
                    .receipt_handle(handle)
                    .visibility_timeout(whole_seconds(*visibility))
                    .build()
            });
        let entries = match entries.collect::<Result<Vec<_>, _>>() {
            Ok(entries) => entries,
            Err(error) => return unbuilt(&error, handles.len()),
        };
        // Never repeated after a lost answer: once it is visible somebody else may hold it, and a second try would show it to a third.
        let answer = self
            .send
            .change_message_visibility_batch()
            .queue_url(&self.url)
            .set_entries(Some(entries))
            .send()
            .await;
        match answer {
            Ok(answer) => receipts(
                handles.len(),
                answer.successful.iter().map(|entry| entry.id.as_str()),
                &answer.failed,
            ),
            Err(error) => {
                vec![failed_receipts(&failure(&error)); handles.len()]
            }
        }
    }

    async fn counts(&self) -> Result<Counts, QueueError> {
        use QueueAttributeName::{
            ApproximateNumberOfMessages, ApproximateNumberOfMessagesDelayed,
            ApproximateNumberOfMessagesNotVisible,
        };
        let answer = self
            .control
            .get_queue_attributes()
            .queue_url(&self.url)
            .attribute_names(ApproximateNumberOfMessages)
            .attribute_names(ApproximateNumberOfMessagesNotVisible)
            .attribute_names(ApproximateNumberOfMessagesDelayed)
            .send()
            .await
            .map_err(|error| trouble(&failure(&error)))?;
        let attributes = answer.attributes.unwrap_or_default();
        let count = |name: QueueAttributeName| {
            let text = attributes.get(&name).map_or("", String::as_str);
            text.parse().map_err(|_| QueueError {
                kind: Trouble::Other,
                code: "answer".to_owned(),
                message: format!("the queue's {} is {text:?}", name.as_str()),
            })
        };
        Ok(Counts {
            visible: count(ApproximateNumberOfMessages)?,
            in_flight: count(ApproximateNumberOfMessagesNotVisible)?,
            delayed: count(ApproximateNumberOfMessagesDelayed)?,
        })
    }
}

impl Sink for Queue {
    async fn send(&self, batch: &[Outgoing<'_>]) -> Vec<SendOutcome> {
        debug_assert!(batch.len() <= BATCH_ENTRIES);
        if batch.is_empty() {
            return Vec::new();
        }
        let entries = batch
            .iter()
            .zip(ENTRY_IDS)
            .map(|(outgoing, id)| entry(outgoing, id));
        let entries = match entries.collect::<Result<Vec<_>, _>>() {
            Ok(entries) => entries,
            Err(_) => return vec![SendOutcome::Retry("request".to_owned()); batch.len()],
        };
        let answer = self
            .send
            .send_message_batch()
            .queue_url(&self.url)
            .set_entries(Some(entries))
            .send()
            .await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return vec![failed_send(&failure(&error), batch.len()); batch.len()],
        };
        let mut outcomes = vec![SendOutcome::Unknown(UNMENTIONED.to_owned()); batch.len()];
        for failed in &answer.failed {
            if let Some(outcome) = index(&failed.id).and_then(|i| outcomes.get_mut(i)) {
                *outcome = failed_entry(&failed.code, failed.message().unwrap_or_default());
            }
        }
        for sent in answer.successful {
            if let Some(outcome) = index(&sent.id).and_then(|i| outcomes.get_mut(i)) {
                *outcome = SendOutcome::Accepted {
                    message_id: sent.message_id,
                };
            }
        }
        outcomes
    }
}

/// Takes a received message over, without copying its strings.
///
/// A message without id or receipt handle is left out: it can be neither journalled nor deleted, and comes back by
/// itself. (SQS always gives both.) A missing body is an empty one, for the destination to judge.
fn message(received: aws_sdk_sqs::types::Message) -> Option<Message> {
    let (Some(message_id), Some(receipt_handle)) = (received.message_id, received.receipt_handle)
    else {
        tracing::warn!(
            "a message was received without an id or a receipt handle, and is left alone"
        );
        return None;
    };
    let mut system = received.attributes.unwrap_or_default();
    let number = |text: Option<String>| text.and_then(|text| text.parse::<i64>().ok());
    let receive_count = number(system.remove(&MessageSystemAttributeName::ApproximateReceiveCount));
    let sent_at = number(system.remove(&MessageSystemAttributeName::SentTimestamp));
    Some(Message {
        id: Id::of(&message_id),
        message_id,
        receipt_handle,
        // A delivery of unknown count is taken for a repeated one: asking the table costs a read, not asking a double.
        receive_count: receive_count.map_or(u32::MAX, |count| {
            u32::try_from(count.max(0)).unwrap_or(u32::MAX)
        }),
        sent_at_ms: sent_at.unwrap_or(0),
        body: received.body.unwrap_or_default(),
        attributes: received
            .message_attributes
            .map(attributes)
            .unwrap_or_default(),
        group_id: system.remove(&MessageSystemAttributeName::MessageGroupId),
        deduplication_id: system.remove(&MessageSystemAttributeName::MessageDeduplicationId),
        trace_header: system.remove(&MessageSystemAttributeName::AwsTraceHeader),
    })
}

/// Takes message attributes over, ordered by name.
fn attributes(received: HashMap<String, MessageAttributeValue>) -> Vec<Attribute> {
    let mut attributes: Vec<_> = received
        .into_iter()
        .map(|(name, attribute)| Attribute {
            name,
            // `Binary` and `Binary.custom` carry bytes, everything else text (SQS data types).
            value: if attribute.data_type.starts_with("Binary") {
                Value::Binary(
                    attribute
                        .binary_value
                        .map(Blob::into_inner)
                        .unwrap_or_default(),
                )
            } else {
                Value::Text(attribute.string_value.unwrap_or_default())
            },
            data_type: attribute.data_type,
        })
        .collect();
    attributes.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    attributes
}

/// The faithful copy of a message, as an entry of a send.
fn entry(
    outgoing: &Outgoing<'_>,
    id: &str,
) -> Result<SendMessageBatchRequestEntry, aws_sdk_sqs::error::BuildError> {
    let message = outgoing.message;
    let mut entry = SendMessageBatchRequestEntry::builder()
        .id(id)
        .message_body(&message.body)
        .set_message_group_id(outgoing.group_id.map(str::to_owned))
        .set_message_deduplication_id(outgoing.deduplication_id.map(str::to_owned));
    for attribute in &message.attributes {
        let value = MessageAttributeValue::builder().data_type(&attribute.data_type);
        let value = match &attribute.value {
            Value::Text(text) => value.string_value(text),
            Value::Binary(bytes) => value.binary_value(Blob::new(bytes.clone())),
        };
        entry = entry.message_attributes(&attribute.name, value.build()?);
    }
    if let Some(header) = &message.trace_header {
        entry = entry.message_system_attributes(
            MessageSystemAttributeNameForSends::AwsTraceHeader,
            MessageSystemAttributeValue::builder()
                .data_type("String")
                .string_value(header)
                .build()?,
        );
    }
    entry.build()
}

/// The outcome of each of `len` entries of a delete or visibility change that was answered.
fn receipts<'a>(
    len: usize,
    done: impl Iterator<Item = &'a str>,
    failed: &[BatchResultErrorEntry],
) -> Vec<ReceiptOutcome> {
    let mut outcomes = vec![ReceiptOutcome::Retry(UNMENTIONED.to_owned()); len];
    for entry in failed {
        if let Some(outcome) = index(&entry.id).and_then(|i| outcomes.get_mut(i)) {
            *outcome = failed_receipt(&entry.code, entry.message().unwrap_or_default());
        }
    }
    for id in done {
        if let Some(outcome) = index(id).and_then(|i| outcomes.get_mut(i)) {
            *outcome = ReceiptOutcome::Done;
        }
    }
    outcomes
}

/// The outcome of a request whose entries could not be built.
fn unbuilt(error: &aws_sdk_sqs::error::BuildError, len: usize) -> Vec<ReceiptOutcome> {
    tracing::error!(%error, "a request to SQS could not be built");
    vec![ReceiptOutcome::Retry("request".to_owned()); len]
}

/// The index an entry id stands for.
fn index(id: &str) -> Option<usize> {
    ENTRY_IDS.iter().position(|known| *known == id)
}

fn whole_seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}
