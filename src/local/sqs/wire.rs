//! The API's JSON shapes, in and out (AWS JSON 1.0).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::engine::{ACCOUNT, Accepted, Delivered};
use super::error::{Code, SqsError};
use super::message::{Attribute, Md5Sum, NewMessage, Value};

/// Requests that name a queue by its URL and say no more that matters here.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct QueueRequest<'a> {
    #[serde(borrow)]
    pub queue_url: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub queue_name: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateQueue {
    pub queue_name: Option<String>,
    pub attributes: Option<BTreeMap<String, String>>,
    // The one member of the API that is spelled with a small letter.
    #[serde(rename = "tags")]
    pub tags: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SetQueueAttributes<'a> {
    #[serde(borrow)]
    pub queue_url: Option<Cow<'a, str>>,
    pub attributes: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetQueueAttributes<'a> {
    #[serde(borrow)]
    pub queue_url: Option<Cow<'a, str>>,
    pub attribute_names: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListQueues {
    pub queue_url: Option<String>,
    pub queue_name_prefix: Option<String>,
    pub next_token: Option<String>,
    pub max_results: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TagQueue<'a> {
    #[serde(borrow)]
    pub queue_url: Option<Cow<'a, str>>,
    pub tags: Option<BTreeMap<String, String>>,
    pub tag_keys: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SendMessage<'a> {
    #[serde(borrow)]
    pub queue_url: Option<Cow<'a, str>>,
    /// A batch entry's.
    #[serde(borrow)]
    pub id: Option<Cow<'a, str>>,
    pub message_body: Option<String>,
    pub delay_seconds: Option<i64>,
    pub message_attributes: Option<WireAttributes>,
    pub message_system_attributes: Option<WireAttributes>,
    pub message_deduplication_id: Option<String>,
    pub message_group_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Batch<'a, E> {
    #[serde(borrow)]
    pub queue_url: Option<Cow<'a, str>>,
    #[serde(default = "Vec::new")]
    pub entries: Vec<E>,
}

/// An entry of `DeleteMessageBatch` and `ChangeMessageVisibilityBatch`; without an id, those requests' single forms.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HandleEntry<'a> {
    #[serde(borrow)]
    pub queue_url: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub receipt_handle: Option<Cow<'a, str>>,
    pub visibility_timeout: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReceiveMessage<'a> {
    #[serde(borrow)]
    pub queue_url: Option<Cow<'a, str>>,
    #[serde(default)]
    pub attribute_names: Option<Vec<String>>,
    pub message_system_attribute_names: Option<Vec<String>>,
    pub message_attribute_names: Option<Vec<String>>,
    pub max_number_of_messages: Option<i64>,
    pub visibility_timeout: Option<i64>,
    pub wait_time_seconds: Option<i64>,
}

/// Attributes in the order they came.
pub struct WireAttributes(Vec<(String, WireValue)>);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireValue {
    string_value: Option<String>,
    binary_value: Option<String>,
    data_type: Option<String>,
}

impl<'de> Deserialize<'de> for WireAttributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Attributes;
        impl<'de> Visitor<'de> for Attributes {
            type Value = WireAttributes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of attributes")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WireAttributes, A::Error> {
                let mut all = Vec::with_capacity(map.size_hint().unwrap_or(0));
                while let Some(entry) = map.next_entry()? {
                    all.push(entry);
                }
                Ok(WireAttributes(all))
            }
        }
        deserializer.deserialize_map(Attributes)
    }
}

impl WireAttributes {
    fn into_attributes(self) -> Result<Vec<Attribute>, SqsError> {
        self.0
            .into_iter()
            .map(|(name, wire)| {
                let data_type = wire.data_type.unwrap_or_default();
                let value = match (wire.string_value, wire.binary_value) {
                    (_, Some(base64)) => {
                        Value::Binary(aws_smithy_types::base64::decode(&base64).map_err(|_| {
                            SqsError::new(Code::Serialization, "A binary value is not base64.")
                        })?)
                    }
                    (Some(text), None) => Value::Text(text),
                    // No value at all is refused as an empty one of its type.
                    (None, None) if data_type.starts_with("Binary") => Value::Binary(Vec::new()),
                    (None, None) => Value::Text(String::new()),
                };
                Ok(Attribute {
                    name,
                    data_type,
                    value,
                })
            })
            .collect()
    }
}

impl SendMessage<'_> {
    /// The message it asks to send.
    ///
    /// # Errors
    /// `MissingParameter` without a body, `SerializationException` for a bad binary value, `InvalidParameterValue` for a
    /// system attribute other than `AWSTraceHeader`.
    pub fn into_message(self) -> Result<NewMessage, SqsError> {
        let system = self
            .message_system_attributes
            .map(WireAttributes::into_attributes);
        let mut trace_header = None;
        for attribute in system.transpose()?.unwrap_or_default() {
            match (attribute.name.as_str(), attribute.value) {
                ("AWSTraceHeader", Value::Text(text))
                    if attribute.data_type == "String" && !text.is_empty() =>
                {
                    trace_header = Some(text);
                }
                (name, _) => {
                    return Err(SqsError::new(
                        Code::InvalidParameterValue,
                        format!(
                            "Message system attribute '{name}' is invalid: only AWSTraceHeader, a non-empty String, can \
                             be sent."
                        ),
                    ));
                }
            }
        }
        let attributes = self.message_attributes.map(WireAttributes::into_attributes);
        Ok(NewMessage {
            body: self
                .message_body
                .ok_or_else(|| SqsError::missing("MessageBody"))?,
            attributes: attributes.transpose()?.unwrap_or_default(),
            trace_header,
            group_id: self.message_group_id,
            deduplication_id: self.message_deduplication_id,
            delay_seconds: self.delay_seconds,
        })
    }
}

/// A message id, as a JSON string.
struct Id(Uuid);

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = [0; Hyphenated::LENGTH];
        serializer.serialize_str(self.0.hyphenated().encode_lower(&mut text))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SentAnswer {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    message_id: Id,
    #[serde(rename = "MD5OfMessageBody")]
    body_md5: Md5Sum,
    #[serde(
        rename = "MD5OfMessageAttributes",
        skip_serializing_if = "Option::is_none"
    )]
    attributes_md5: Option<Md5Sum>,
    #[serde(
        rename = "MD5OfMessageSystemAttributes",
        skip_serializing_if = "Option::is_none"
    )]
    system_md5: Option<Md5Sum>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence_number: Option<String>,
}

impl SentAnswer {
    /// The answer to a send; with an id, to a batch entry.
    pub fn new(id: Option<String>, accepted: Accepted) -> Self {
        Self {
            id,
            message_id: Id(accepted.id),
            body_md5: accepted.body_md5,
            attributes_md5: accepted.attributes_md5,
            system_md5: accepted.system_md5,
            sequence_number: accepted.sequence.map(|n| n.to_string()),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct IdAnswer {
    pub id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct FailedAnswer {
    pub id: String,
    pub sender_fault: bool,
    pub code: String,
    pub message: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BatchAnswer<S> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub successful: Vec<S>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedAnswer>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct QueueUrlAnswer {
    pub queue_url: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AttributesAnswer {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TagsAnswer {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

#[derive(Serialize)]
pub struct ErrorAnswer<'a> {
    #[serde(rename = "__type")]
    pub type_name: &'a str,
    pub message: &'a str,
}

/// Which attributes of a message a receive asked for.
pub struct Filter {
    /// Names of system attributes, or `All`.
    pub system: Vec<String>,
    /// Names of message attributes; `All` or `.*` for all; `prefix.*` for those that begin so.
    pub message: Vec<String>,
}

impl Filter {
    fn wants_system(&self, name: &str) -> bool {
        self.system
            .iter()
            .any(|wanted| wanted == name || wanted == "All")
    }

    fn wants_all(&self) -> bool {
        self.message
            .iter()
            .any(|wanted| wanted == "All" || wanted == ".*")
    }

    fn wants(&self, name: &str) -> bool {
        self.message
            .iter()
            .any(|wanted| match wanted.strip_suffix(".*") {
                Some(prefix) => name.starts_with(prefix),
                None => wanted == name || wanted == "All",
            })
    }
}

/// The answer to `ReceiveMessage`.
pub struct Received<'a> {
    pub messages: &'a [Delivered],
    pub filter: &'a Filter,
}

impl Serialize for Received<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.messages.is_empty() {
            map.serialize_entry("Messages", &Messages(self))?;
        }
        map.end()
    }
}

struct Messages<'a>(&'a Received<'a>);

impl Serialize for Messages<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let filter = self.0.filter;
        serializer.collect_seq(
            self.0
                .messages
                .iter()
                .map(|delivered| OneMessage { delivered, filter }),
        )
    }
}

struct OneMessage<'a> {
    delivered: &'a Delivered,
    filter: &'a Filter,
}

impl Serialize for OneMessage<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let message = &self.delivered.message;
        let content = &*message.content;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("MessageId", &Id(message.id))?;
        map.serialize_entry("ReceiptHandle", &self.delivered.receipt.encode())?;
        map.serialize_entry("MD5OfBody", &content.body_md5)?;
        map.serialize_entry("Body", &content.body)?;
        let system = System(self);
        if system.entries().next().is_some() {
            map.serialize_entry("Attributes", &system)?;
        }
        if self.filter.wants_all() {
            if let Some(md5) = content.attributes_md5 {
                map.serialize_entry("MD5OfMessageAttributes", &md5)?;
                map.serialize_entry(
                    "MessageAttributes",
                    &Attributes(&|| content.attributes.iter()),
                )?;
            }
        } else {
            let chosen = || {
                content
                    .attributes
                    .iter()
                    .filter(|a| self.filter.wants(&a.name))
            };
            if let Some(md5) = Md5Sum::of_attributes(chosen()) {
                map.serialize_entry("MD5OfMessageAttributes", &md5)?;
                map.serialize_entry("MessageAttributes", &Attributes(&chosen))?;
            }
        }
        map.end()
    }
}

struct System<'a>(&'a OneMessage<'a>);

impl<'a> System<'a> {
    /// The system attributes that were asked for and that the message has.
    fn entries(&self) -> impl Iterator<Item = (&'static str, &'a dyn fmt::Display)> {
        fn shown<T: fmt::Display>(value: Option<&T>) -> Option<&dyn fmt::Display> {
            value.map(|value| value as _)
        }
        let filter = self.0.filter;
        let message = &self.0.delivered.message;
        let content = &*message.content;
        [
            ("SenderId", shown(Some(&ACCOUNT))),
            ("SentTimestamp", shown(Some(&message.sent_ms))),
            (
                "ApproximateReceiveCount",
                shown(Some(&message.receive_count)),
            ),
            (
                "ApproximateFirstReceiveTimestamp",
                shown(message.first_receive_ms.as_ref()),
            ),
            ("MessageGroupId", shown(content.group_id.as_ref())),
            (
                "MessageDeduplicationId",
                shown(content.deduplication_id.as_ref()),
            ),
            ("SequenceNumber", shown(message.sequence.as_ref())),
            ("AWSTraceHeader", shown(content.trace_header.as_ref())),
            (
                "DeadLetterQueueSourceArn",
                shown(message.dead_letter_source.as_ref()),
            ),
        ]
        .into_iter()
        .filter_map(move |(name, value)| Some((name, value.filter(|_| filter.wants_system(name))?)))
    }
}

impl Serialize for System<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.entries().map(|(name, value)| (name, Shown(value))))
    }
}

/// Anything that can be shown, as a JSON string.
struct Shown<'a>(&'a dyn fmt::Display);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

struct Attributes<'a, F>(&'a F);

impl<'a, I: Iterator<Item = &'a Attribute>, F: Fn() -> I> Serialize for Attributes<'_, F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer
            .collect_map((self.0)().map(|attribute| (&attribute.name, AttributeValue(attribute))))
    }
}

struct AttributeValue<'a>(&'a Attribute);

impl Serialize for AttributeValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        match &self.0.value {
            Value::Text(text) => map.serialize_entry("StringValue", text)?,
            Value::Binary(bytes) => {
                map.serialize_entry("BinaryValue", &aws_smithy_types::base64::encode(bytes))?;
            }
        }
        map.serialize_entry("DataType", &self.0.data_type)?;
        map.end()
    }
}
