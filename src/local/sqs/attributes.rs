//! A queue's settings: reading them from `CreateQueue` and `SetQueueAttributes`, and AWS's bounds for each.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::error::{Code, SqsError};
use super::message::MAX_MESSAGE_BYTES;

/// A queue's settings. Defaults and bounds are those of `SetQueueAttributes` in the API reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether the queue is FIFO. Fixed at creation.
    pub fifo: bool,
    /// `VisibilityTimeout`, in seconds.
    pub visibility_s: u64,
    /// `MaximumMessageSize`, in bytes.
    pub max_message_bytes: usize,
    /// `MessageRetentionPeriod`, in seconds.
    pub retention_s: u64,
    /// `DelaySeconds`.
    pub delay_s: u64,
    /// `ReceiveMessageWaitTimeSeconds`.
    pub wait_s: u64,
    /// `RedrivePolicy`, when there is one.
    pub redrive: Option<Redrive>,
    /// `ContentBasedDeduplication`.
    pub content_deduplication: bool,
    /// Whether a deduplication id holds within its group only (`DeduplicationScope` = `messageGroup`).
    pub deduplicate_per_group: bool,
    /// Attributes kept and shown but without an effect here, as they came: `Policy`, the KMS ones,
    /// `FifoThroughputLimit`, `RedriveAllowPolicy` (its `denyAll` is obeyed when another queue names this one).
    pub others: BTreeMap<String, String>,
}

/// Where messages go after too many receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redrive {
    /// The policy as it came.
    pub json: String,
    /// ARN of the dead-letter queue.
    pub target_arn: String,
    /// Receives after which a message goes there, 1 to 1,000.
    pub max_receive_count: u32,
}

#[derive(Deserialize)]
struct RedriveJson {
    #[serde(rename = "deadLetterTargetArn")]
    target_arn: Option<String>,
    #[serde(rename = "maxReceiveCount")]
    max_receive_count: Option<NumberOrText>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(u64),
    Text(String),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            fifo: false,
            visibility_s: 30,
            max_message_bytes: MAX_MESSAGE_BYTES,
            retention_s: 345_600,
            delay_s: 0,
            wait_s: 0,
            redrive: None,
            content_deduplication: false,
            deduplicate_per_group: false,
            others: BTreeMap::from([("SqsManagedSseEnabled".into(), "true".into())]),
        }
    }
}

/// Attributes that only `GetQueueAttributes` knows.
pub const READ_ONLY: [&str; 6] = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "QueueArn",
];

/// Attributes that can be set.
pub const SETTABLE: [&str; 15] = [
    "ContentBasedDeduplication",
    "DeduplicationScope",
    "DelaySeconds",
    "FifoQueue",
    "FifoThroughputLimit",
    "KmsDataKeyReusePeriodSeconds",
    "KmsMasterKeyId",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "Policy",
    "ReceiveMessageWaitTimeSeconds",
    "RedriveAllowPolicy",
    "RedrivePolicy",
    "SqsManagedSseEnabled",
    "VisibilityTimeout",
];

fn invalid(name: &str) -> SqsError {
    SqsError::new(
        Code::InvalidAttributeValue,
        format!("Invalid value for the parameter {name}."),
    )
}

fn number(name: &str, value: &str, min: u64, max: u64) -> Result<u64, SqsError> {
    value
        .parse()
        .ok()
        .filter(|n| (min..=max).contains(n))
        .ok_or_else(|| invalid(name))
}

fn boolean(name: &str, value: &str) -> Result<bool, SqsError> {
    match value.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(invalid(name)),
    }
}

impl Settings {
    /// The settings of a new queue.
    ///
    /// # Errors
    /// `InvalidAttributeName` or `InvalidAttributeValue`.
    pub fn create(given: &BTreeMap<String, String>) -> Result<Self, SqsError> {
        let mut settings = Self::default();
        if let Some(value) = given.get("FifoQueue") {
            settings.fifo = boolean("FifoQueue", value)?;
            if !settings.fifo {
                return Err(SqsError::new(
                    Code::InvalidAttributeName,
                    "Unknown Attribute FifoQueue.",
                ));
            }
        }
        settings.change(given, true)?;
        Ok(settings)
    }

    /// Applies what `SetQueueAttributes` gives.
    ///
    /// # Errors
    /// `InvalidAttributeName` or `InvalidAttributeValue`; the settings are then half changed and must be thrown away.
    pub fn set(&mut self, given: &BTreeMap<String, String>) -> Result<(), SqsError> {
        self.change(given, false)
    }

    fn change(&mut self, given: &BTreeMap<String, String>, creating: bool) -> Result<(), SqsError> {
        for (name, value) in given {
            match name.as_str() {
                "VisibilityTimeout" => self.visibility_s = number(name, value, 0, 43_200)?,
                "MaximumMessageSize" => {
                    self.max_message_bytes = number(name, value, 1024, MAX_MESSAGE_BYTES as u64)?
                        .try_into()
                        .unwrap_or(MAX_MESSAGE_BYTES);
                }
                "MessageRetentionPeriod" => self.retention_s = number(name, value, 60, 1_209_600)?,
                "DelaySeconds" => self.delay_s = number(name, value, 0, 900)?,
                "ReceiveMessageWaitTimeSeconds" => self.wait_s = number(name, value, 0, 20)?,
                "RedrivePolicy" => self.redrive = Redrive::parse(value)?,
                "FifoQueue" if self.fifo => {
                    if !creating && !boolean(name, value)? {
                        return Err(SqsError::new(
                            Code::InvalidAttributeValue,
                            "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported.",
                        ));
                    }
                }
                "ContentBasedDeduplication" if self.fifo => {
                    self.content_deduplication = boolean(name, value)?;
                }
                "DeduplicationScope" | "FifoThroughputLimit" => self.fifo_only(name, value)?,
                "Policy" | "KmsMasterKeyId" if value.is_empty() => {
                    self.others.remove(name);
                }
                "KmsDataKeyReusePeriodSeconds" => {
                    number(name, value, 60, 86_400)?;
                    self.others.insert(name.clone(), value.clone());
                }
                "SqsManagedSseEnabled" => {
                    boolean(name, value)?;
                    self.others.insert(name.clone(), value.to_ascii_lowercase());
                }
                "KmsMasterKeyId" => {
                    self.others.insert(name.clone(), value.clone());
                    // One kind of encryption at a time.
                    self.others
                        .insert("SqsManagedSseEnabled".into(), "false".into());
                }
                "Policy" | "RedriveAllowPolicy" => {
                    if serde_json::from_str::<serde_json::Value>(value).is_err() {
                        return Err(invalid(name));
                    }
                    self.others.insert(name.clone(), value.clone());
                }
                _ => {
                    return Err(SqsError::new(
                        Code::InvalidAttributeName,
                        format!("Unknown Attribute {name}."),
                    ));
                }
            }
        }
        Ok(())
    }

    fn fifo_only(&mut self, name: &str, value: &str) -> Result<(), SqsError> {
        if !self.fifo {
            return Err(SqsError::new(
                Code::InvalidAttributeName,
                format!("You can specify the {name} only when FifoQueue is set to true."),
            ));
        }
        match (name, value) {
            ("DeduplicationScope", "queue") => self.deduplicate_per_group = false,
            ("DeduplicationScope", "messageGroup") => self.deduplicate_per_group = true,
            ("FifoThroughputLimit", "perQueue" | "perMessageGroupId") => {
                self.others.insert(name.into(), value.into());
            }
            _ => return Err(invalid(name)),
        }
        Ok(())
    }

    /// The settings as `GetQueueAttributes` shows them.
    pub fn show(&self) -> BTreeMap<String, String> {
        let mut shown = self.others.clone();
        let mut put = |name: &str, value: String| shown.insert(name.to_owned(), value);
        put("VisibilityTimeout", self.visibility_s.to_string());
        put("MaximumMessageSize", self.max_message_bytes.to_string());
        put("MessageRetentionPeriod", self.retention_s.to_string());
        put("DelaySeconds", self.delay_s.to_string());
        put("ReceiveMessageWaitTimeSeconds", self.wait_s.to_string());
        if let Some(redrive) = &self.redrive {
            put("RedrivePolicy", redrive.json.clone());
        }
        if self.fifo {
            put("FifoQueue", "true".into());
            put(
                "ContentBasedDeduplication",
                self.content_deduplication.to_string(),
            );
            let scope = if self.deduplicate_per_group {
                "messageGroup"
            } else {
                "queue"
            };
            put("DeduplicationScope", scope.into());
            shown
                .entry("FifoThroughputLimit".into())
                .or_insert_with(|| "perQueue".into());
        }
        shown
    }

    /// Whether this queue refuses to be a dead-letter queue for the queue with that ARN (`RedriveAllowPolicy`).
    pub fn refuses_redrive_from(&self, source_arn: &str) -> bool {
        let Some(policy) = self.others.get("RedriveAllowPolicy") else {
            return false;
        };
        let policy: serde_json::Value = serde_json::from_str(policy).unwrap_or_default();
        match policy["redrivePermission"].as_str() {
            Some("denyAll") => true,
            Some("byQueue") => !policy["sourceQueueArns"]
                .as_array()
                .is_some_and(|arns| arns.iter().any(|arn| arn == source_arn)),
            _ => false,
        }
    }
}

impl Redrive {
    /// Reads a `RedrivePolicy`; an empty one takes the policy away.
    ///
    /// # Errors
    /// `InvalidParameterValue`, as AWS answers.
    pub fn parse(json: &str) -> Result<Option<Self>, SqsError> {
        if json.is_empty() {
            return Ok(None);
        }
        let refuse = |reason: &str| SqsError::invalid_value(json, "RedrivePolicy", reason);
        let parsed: RedriveJson = serde_json::from_str(json)
            .map_err(|_| refuse("Amazon SQS can't parse the redrive policy."))?;
        let count = match parsed.max_receive_count {
            None => {
                return Err(refuse(
                    "Redrive policy does not contain mandatory attribute: maxReceiveCount.",
                ));
            }
            Some(NumberOrText::Number(n)) => Some(n),
            Some(NumberOrText::Text(text)) => text.parse().ok(),
        };
        let max_receive_count = count
            .filter(|n| (1..=1000).contains(n))
            .and_then(|n| u32::try_from(n).ok())
            .ok_or_else(|| {
                refuse("Invalid value for maxReceiveCount. Value must be between 1 and 1000.")
            })?;
        let target_arn = parsed.target_arn.ok_or_else(|| {
            refuse("Redrive policy does not contain mandatory attribute: deadLetterTargetArn.")
        })?;
        if !target_arn.starts_with("arn:aws:sqs:") || target_arn.split(':').count() != 6 {
            return Err(refuse("Invalid value for deadLetterTargetArn."));
        }
        Ok(Some(Self {
            json: json.to_owned(),
            target_arn,
            max_receive_count,
        }))
    }
}
