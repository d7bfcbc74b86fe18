//! What is looked at before the first receive: the queues and the table.

use std::collections::HashMap;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::types::{
    KeyType, ScalarAttributeType, TableDescription, TableStatus, TimeToLiveStatus,
};
use aws_sdk_sqs::types::QueueAttributeName;
use serde::Deserialize;

use super::dynamo::{PK, SK, TTL, failed};
use super::outcome::trouble;
use super::{Clients, failure};
use crate::port::{QueueError, StoreError, Trouble};

/// What a queue says of itself. A setting the server does not tell has the value SQS documents as its default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueFacts {
    /// The URL, by which every call names the queue.
    pub url: String,
    /// The ARN.
    pub arn: String,
    /// Whether it is a FIFO queue.
    pub fifo: bool,
    /// `ContentBasedDeduplication`.
    pub content_based_dedup: bool,
    /// `DelaySeconds`, added to every message sent to it.
    pub delay_s: u32,
    /// `VisibilityTimeout`.
    pub visibility_s: u32,
    /// `maxReceiveCount` of its redrive policy; `None` without one.
    pub max_receive_count: Option<u32>,
    /// The dead-letter queue of its redrive policy.
    pub dead_letter_arn: Option<String>,
    /// `MaximumMessageSize`.
    pub max_message_bytes: usize,
    /// `MessageRetentionPeriod`.
    pub retention_s: u32,
    /// The KMS key it is encrypted with, if one of ours (`KmsMasterKeyId`).
    pub kms: Option<String>,
}

/// `RedrivePolicy` as SQS writes it; `maxReceiveCount` comes as a number or as a string.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RedrivePolicy {
    dead_letter_target_arn: String,
    max_receive_count: Count,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Count {
    Number(u32),
    Text(String),
}

impl Count {
    fn number(self) -> Option<u32> {
        match self {
            Self::Number(number) => Some(number),
            Self::Text(text) => text.parse().ok(),
        }
    }
}

/// What a table says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFacts {
    /// Whether it can be used now (`ACTIVE`, or `UPDATING`, in which DynamoDB serves requests).
    pub active: bool,
    /// Its status, in DynamoDB's words.
    pub status: String,
    /// Whether its key is a string `pk` and a string `sk`.
    pub keyed: bool,
    /// Whether items expire by the attribute `expires_at`. `None`: it may not be asked, or the server does not know.
    pub expires: Option<bool>,
}

impl Clients {
    /// Looks a queue up by its name or URL, and reads what it is.
    ///
    /// # Errors
    /// [`Trouble::Missing`] if there is none of that name, [`Trouble::Denied`] without permission or credentials,
    /// [`Trouble::Unreachable`] if the service does not answer, [`Trouble::Other`] without a region.
    pub async fn describe_queue(&self, name_or_url: &str) -> Result<QueueFacts, QueueError> {
        self.need_region()?;
        let url = if name_or_url.contains("://") {
            name_or_url.to_owned()
        } else {
            let answer = self
                .control
                .get_queue_url()
                .queue_name(name_or_url)
                .send()
                .await
                .map_err(|error| trouble(&failure(&error)))?;
            answer
                .queue_url
                .ok_or_else(|| unclear("the answer has no queue URL".to_owned()))?
        };
        let answer = self
            .control
            .get_queue_attributes()
            .queue_url(&url)
            .attribute_names(QueueAttributeName::All)
            .send()
            .await
            .map_err(|error| trouble(&failure(&error)))?;
        facts(url, &answer.attributes.unwrap_or_default())
    }

    /// Reads what the table `name` is; `None` if there is none.
    ///
    /// # Errors
    /// As the service says, never [`StoreError::Conflict`].
    pub async fn describe_table(&self, name: &str) -> Result<Option<TableFacts>, StoreError> {
        self.need_region().map_err(in_table)?;
        let Some(table) = self.table_description(name).await? else {
            return Ok(None);
        };
        let expires = self
            .dynamodb
            .describe_time_to_live()
            .table_name(name)
            .send()
            .await
            .ok()
            .and_then(|answer| answer.time_to_live_description)
            .map(|ttl| {
                matches!(
                    ttl.time_to_live_status,
                    Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)
                ) && ttl.attribute_name.as_deref() == Some(TTL)
            });
        Ok(Some(TableFacts {
            active: usable(&table),
            status: table
                .table_status()
                .map_or_else(String::new, |status| status.as_str().to_owned()),
            keyed: keyed(&table),
            expires,
        }))
    }

    pub(super) async fn table_description(
        &self,
        name: &str,
    ) -> Result<Option<TableDescription>, StoreError> {
        match self.dynamodb.describe_table().table_name(name).send().await {
            Ok(answer) => Ok(answer.table),
            Err(SdkError::ServiceError(refused))
                if refused.err().is_resource_not_found_exception() =>
            {
                Ok(None)
            }
            Err(error) => Err(failed(&error)),
        }
    }

    pub(super) fn need_region(&self) -> Result<(), QueueError> {
        if self.has_region {
            return Ok(());
        }
        Err(QueueError {
            kind: Trouble::Other,
            code: "region".to_owned(),
            message: "no AWS region is set: set AWS_REGION, or region in the AWS profile"
                .to_owned(),
        })
    }
}

/// DynamoDB serves requests while a table is `UPDATING` (API reference, `TableDescription`).
pub(super) fn usable(table: &TableDescription) -> bool {
    matches!(
        table.table_status(),
        Some(TableStatus::Active | TableStatus::Updating)
    )
}

pub(super) fn keyed(table: &TableDescription) -> bool {
    let schema: Vec<_> = table
        .key_schema()
        .iter()
        .map(|key| (key.attribute_name(), key.key_type()))
        .collect();
    let string = |name: &str| {
        table.attribute_definitions().iter().any(|definition| {
            definition.attribute_name() == name
                && *definition.attribute_type() == ScalarAttributeType::S
        })
    };
    schema == [(PK, &KeyType::Hash), (SK, &KeyType::Range)] && string(PK) && string(SK)
}

fn facts(
    url: String,
    attributes: &HashMap<QueueAttributeName, String>,
) -> Result<QueueFacts, QueueError> {
    let text = |name: QueueAttributeName| attributes.get(&name).map(String::as_str);
    let number = |name: QueueAttributeName, default: u32| match text(name.clone()) {
        None => Ok(default),
        Some(text) => text
            .parse::<u32>()
            .map_err(|_| unclear(format!("the queue's {} is {text:?}", name.as_str()))),
    };
    let arn = text(QueueAttributeName::QueueArn)
        .ok_or_else(|| unclear("the queue does not tell its ARN".to_owned()))?;
    let redrive = match text(QueueAttributeName::RedrivePolicy).filter(|policy| !policy.is_empty())
    {
        None => None,
        Some(policy) => Some(
            serde_json::from_str::<RedrivePolicy>(policy)
                .map_err(|error| unclear(format!("the queue's RedrivePolicy: {error}")))?,
        ),
    };
    let (dead_letter_arn, max_receive_count) = match redrive {
        None => (None, None),
        Some(policy) => (
            Some(policy.dead_letter_target_arn),
            policy.max_receive_count.number(),
        ),
    };
    Ok(QueueFacts {
        arn: arn.to_owned(),
        fifo: text(QueueAttributeName::FifoQueue) == Some("true"),
        content_based_dedup: text(QueueAttributeName::ContentBasedDeduplication) == Some("true"),
        // Defaults: SQS API reference, CreateQueue.
        delay_s: number(QueueAttributeName::DelaySeconds, 0)?,
        visibility_s: number(QueueAttributeName::VisibilityTimeout, 30)?,
        max_receive_count,
        dead_letter_arn,
        max_message_bytes: number(QueueAttributeName::MaximumMessageSize, 1_048_576)? as usize,
        retention_s: number(QueueAttributeName::MessageRetentionPeriod, 345_600)?,
        kms: text(QueueAttributeName::KmsMasterKeyId)
            .filter(|key| !key.is_empty())
            .map(str::to_owned),
        url,
    })
}

pub(super) fn unclear(message: String) -> QueueError {
    QueueError {
        kind: Trouble::Other,
        code: "answer".to_owned(),
        message,
    }
}

pub(super) fn in_table(error: QueueError) -> StoreError {
    StoreError::Failed {
        kind: error.kind,
        code: error.code,
        message: error.message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(attributes: &[(&str, &str)]) -> Result<QueueFacts, QueueError> {
        let attributes = attributes
            .iter()
            .map(|(name, value)| (QueueAttributeName::from(*name), (*value).to_owned()))
            .collect();
        facts("http://q".to_owned(), &attributes)
    }

    #[test]
    fn everything_a_queue_tells_is_read() {
        let facts = told(&[
            ("QueueArn", "arn:aws:sqs:eu-west-1:123456789012:w.fifo"),
            ("FifoQueue", "true"),
            ("ContentBasedDeduplication", "true"),
            ("DelaySeconds", "7"),
            ("VisibilityTimeout", "120"),
            ("MaximumMessageSize", "262144"),
            ("MessageRetentionPeriod", "1209600"),
            ("KmsMasterKeyId", "alias/k"),
            (
                "RedrivePolicy",
                r#"{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:123456789012:d.fifo","maxReceiveCount":"3"}"#,
            ),
        ])
        .expect("the facts are complete");
        assert_eq!(
            facts,
            QueueFacts {
                url: "http://q".to_owned(),
                arn: "arn:aws:sqs:eu-west-1:123456789012:w.fifo".to_owned(),
                fifo: true,
                content_based_dedup: true,
                delay_s: 7,
                visibility_s: 120,
                max_receive_count: Some(3),
                dead_letter_arn: Some("arn:aws:sqs:eu-west-1:123456789012:d.fifo".to_owned()),
                max_message_bytes: 262_144,
                retention_s: 1_209_600,
                kms: Some("alias/k".to_owned()),
            }
        );
    }

    #[test]
    fn what_a_queue_does_not_tell_is_the_documented_default() {
        let facts = told(&[("QueueArn", "arn:q")]).expect("an ARN is enough");
        assert!(!facts.fifo && !facts.content_based_dedup);
        assert_eq!((facts.delay_s, facts.visibility_s), (0, 30));
        assert_eq!(
            (facts.max_message_bytes, facts.retention_s),
            (1_048_576, 345_600)
        );
        assert_eq!((facts.max_receive_count, facts.kms), (None, None));
    }

    #[test]
    fn a_redrive_count_may_be_a_number() {
        let policy = r#"{"deadLetterTargetArn":"arn:d","maxReceiveCount":5}"#;
        let facts = told(&[("QueueArn", "arn:q"), ("RedrivePolicy", policy)]).expect("valid");
        assert_eq!(facts.max_receive_count, Some(5));
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_an_error() {
        for attributes in [
            &[][..],
            &[("QueueArn", "a"), ("DelaySeconds", "soon")],
            &[("QueueArn", "a"), ("RedrivePolicy", "{")],
        ] {
            let error = told(attributes).expect_err("unreadable");
            assert_eq!(
                (error.kind, error.code.as_str()),
                (Trouble::Other, "answer")
            );
        }
    }
}
