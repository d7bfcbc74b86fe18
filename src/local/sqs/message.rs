//! What a message is made of, what AWS accepts in it, how big it is, and its MD5 sums.

use std::fmt;

use md5::{Digest, Md5};
use serde::{Serialize, Serializer};

use super::error::{Code, SqsError};

/// Largest message, and largest batch, in bytes: 1 MiB since August 2025 (Amazon SQS message quotas).
pub const MAX_MESSAGE_BYTES: usize = 1_048_576;
/// Most attributes a message may have (Amazon SQS message quotas).
pub const MAX_ATTRIBUTES: usize = 10;
/// Longest attribute name and data type, in characters (Amazon SQS message metadata).
const MAX_NAME_CHARS: usize = 256;

/// An attribute's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Of type `String` or `Number`, custom suffixes included.
    Text(String),
    /// Of type `Binary`, custom suffixes included.
    Binary(Vec<u8>),
}

/// A message attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Its name, unique in the message.
    pub name: String,
    /// `String`, `Number` or `Binary`, optionally with a suffix such as `.int`.
    pub data_type: String,
    /// Its value.
    pub value: Value,
}

/// A message as its sender gives it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewMessage {
    /// The body.
    pub body: String,
    /// The attributes, in any order.
    pub attributes: Vec<Attribute>,
    /// The `AWSTraceHeader` system attribute.
    pub trace_header: Option<String>,
    /// `MessageGroupId`: required by FIFO queues, allowed on standard queues (fair queues).
    pub group_id: Option<String>,
    /// `MessageDeduplicationId`.
    pub deduplication_id: Option<String>,
    /// `DelaySeconds`.
    pub delay_seconds: Option<i64>,
}

impl NewMessage {
    /// A message with this body and nothing else.
    pub fn new(body: impl Into<String>) -> Self {
        Self {
            body: body.into(),
            ..Self::default()
        }
    }

    /// Bytes that count towards the size limits: the body and every attribute's name, type and value.
    pub fn size_bytes(&self) -> usize {
        self.attributes.iter().fold(self.body.len(), |sum, a| {
            sum + a.name.len() + a.data_type.len() + a.value_bytes().len()
        })
    }
}

impl Attribute {
    /// A text attribute.
    pub fn text(
        name: impl Into<String>,
        data_type: impl Into<String>,
        value: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            data_type: data_type.into(),
            value: Value::Text(value.into()),
        }
    }

    /// A binary attribute.
    pub fn binary(
        name: impl Into<String>,
        data_type: impl Into<String>,
        value: impl Into<Vec<u8>>,
    ) -> Self {
        Self {
            name: name.into(),
            data_type: data_type.into(),
            value: Value::Binary(value.into()),
        }
    }

    fn value_bytes(&self) -> &[u8] {
        match &self.value {
            Value::Text(text) => text.as_bytes(),
            Value::Binary(bytes) => bytes,
        }
    }
}

/// What stays the same through a message's life; shared by its copies.
#[derive(Debug, PartialEq, Eq)]
pub struct Content {
    /// The body.
    pub body: String,
    /// MD5 of the body.
    pub body_md5: Md5Sum,
    /// The attributes, sorted by name.
    pub attributes: Vec<Attribute>,
    /// MD5 of all attributes, when there are any.
    pub attributes_md5: Option<Md5Sum>,
    /// The `AWSTraceHeader` system attribute.
    pub trace_header: Option<String>,
    /// MD5 of the system attributes, when there are any.
    pub system_md5: Option<Md5Sum>,
    /// `MessageGroupId`.
    pub group_id: Option<std::sync::Arc<str>>,
    /// `MessageDeduplicationId`: as given, or the body's SHA-256 on a FIFO queue with content-based deduplication.
    pub deduplication_id: Option<String>,
}

/// An MD5 sum, shown in hex.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Md5Sum([u8; 16]);

impl Md5Sum {
    /// The sum of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Md5::digest(bytes).into())
    }

    /// The sum of a message's attributes, which must be sorted by name: for each its name, data type, transport type and
    /// value, every part but the transport type preceded by its length ("Calculating the MD5 message digest for message
    /// attributes", Amazon SQS developer guide). `None` without attributes.
    pub fn of_attributes<'a>(attributes: impl IntoIterator<Item = &'a Attribute>) -> Option<Self> {
        fn part(md5: &mut Md5, bytes: &[u8]) {
            md5.update(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
            md5.update(bytes);
        }
        let mut md5 = Md5::new();
        let mut any = false;
        for attribute in attributes {
            any = true;
            part(&mut md5, attribute.name.as_bytes());
            part(&mut md5, attribute.data_type.as_bytes());
            md5.update([match attribute.value {
                Value::Text(_) => 1,
                Value::Binary(_) => 2,
            }]);
            part(&mut md5, attribute.value_bytes());
        }
        any.then(|| Self(md5.finalize().into()))
    }

    fn hex(self) -> [u8; 32] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = [0; 32];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        hex
    }
}

impl fmt::Display for Md5Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.hex()).unwrap_or_default())
    }
}

impl fmt::Debug for Md5Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Md5Sum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(&self.hex()).unwrap_or_default())
    }
}

/// The AWSTraceHeader as an attribute, for its MD5.
fn trace_attribute(value: &str) -> Attribute {
    Attribute::text("AWSTraceHeader", "String", value)
}

impl Content {
    /// Takes a message that [`check`] has passed. `deduplication_id` is the effective one.
    pub fn from_checked(mut message: NewMessage, deduplication_id: Option<String>) -> Self {
        message
            .attributes
            .sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Self {
            body_md5: Md5Sum::of(message.body.as_bytes()),
            attributes_md5: Md5Sum::of_attributes(&message.attributes),
            system_md5: message
                .trace_header
                .as_deref()
                .and_then(|trace| Md5Sum::of_attributes([&trace_attribute(trace)])),
            body: message.body,
            attributes: message.attributes,
            trace_header: message.trace_header,
            group_id: message.group_id.map(Into::into),
            deduplication_id,
        }
    }
}

/// Whether every character is one SQS takes: #x9, #xA, #xD, #x20 to #xD7FF, #xE000 to #xFFFD, #x10000 to #x10FFFF
/// (`SendMessage` in the API reference).
fn characters_allowed(text: &str) -> bool {
    // Nearly every body passes the byte test; only one that holds U+FFFE or U+FFFF needs the second look.
    text.bytes()
        .all(|b| b >= 0x20 || matches!(b, b'\t' | b'\n' | b'\r'))
        && !(text.contains('\u{FFFE}') || text.contains('\u{FFFF}'))
}

/// What AWS demands of a message whatever its queue, size excepted.
///
/// # Errors
/// `MissingParameter` for an empty body, `InvalidMessageContents` for characters, `InvalidParameterValue` for
/// attributes and ids.
pub fn check(message: &NewMessage) -> Result<(), SqsError> {
    if message.body.is_empty() {
        return Err(SqsError::missing("MessageBody"));
    }
    if !characters_allowed(&message.body) {
        return Err(SqsError::new(
            Code::InvalidMessageContents,
            "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD \
             | #x10000 to #x10FFFF",
        ));
    }
    check_attributes(&message.attributes)?;
    check_id(message.group_id.as_deref(), "MessageGroupId")?;
    check_id(
        message.deduplication_id.as_deref(),
        "MessageDeduplicationId",
    )
}

fn invalid(message: String) -> SqsError {
    SqsError::new(Code::InvalidParameterValue, message)
}

fn check_attributes(attributes: &[Attribute]) -> Result<(), SqsError> {
    if attributes.len() > MAX_ATTRIBUTES {
        return Err(invalid(format!(
            "Number of message attributes [{}] exceeds the allowed maximum [{MAX_ATTRIBUTES}].",
            attributes.len()
        )));
    }
    for (i, attribute) in attributes.iter().enumerate() {
        check_attribute(attribute)?;
        if attributes[..i]
            .iter()
            .any(|other| other.name == attribute.name)
        {
            return Err(invalid(format!(
                "Message (user) attribute name '{}' already exists.",
                attribute.name
            )));
        }
    }
    Ok(())
}

fn check_attribute(attribute: &Attribute) -> Result<(), SqsError> {
    let name = &attribute.name;
    let lower = name.to_ascii_lowercase();
    if name.is_empty() {
        return Err(invalid(
            "Message (user) attribute name can not be empty.".into(),
        ));
    }
    if name.chars().count() > MAX_NAME_CHARS {
        return Err(invalid(format!(
            "Message (user) attribute name must be shorter than {MAX_NAME_CHARS} Bytes"
        )));
    }
    if lower.starts_with("aws.") || lower.starts_with("amazon.") {
        return Err(invalid(format!(
            "Message (user) attribute name '{name}' cannot start with 'AWS.' or 'Amazon.'."
        )));
    }
    if name.starts_with('.') || name.ends_with('.') || name.contains("..") {
        return Err(invalid(format!(
            "Message (user) attribute name '{name}' must not start or end with a period, or have periods in succession."
        )));
    }
    if !name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
    {
        return Err(invalid(format!(
            "Invalid value for the message attribute name '{name}'."
        )));
    }
    check_type(attribute)?;
    match &attribute.value {
        Value::Text(text) if text.is_empty() => Err(empty_value(attribute, "String")),
        Value::Binary(bytes) if bytes.is_empty() => Err(empty_value(attribute, "Binary")),
        Value::Text(text) if !characters_allowed(text) => Err(invalid(format!(
            "Invalid binary character was found in the message attribute '{name}': valid unicode characters are #x9 | \
             #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF"
        ))),
        Value::Text(text) if base_type(&attribute.data_type) == "Number" && !is_number(text) => {
            Err(invalid(format!(
                "Can't cast the value of message (user) attribute '{name}' to a number."
            )))
        }
        _ => Ok(()),
    }
}

fn base_type(data_type: &str) -> &str {
    data_type.split('.').next().unwrap_or(data_type)
}

fn empty_value(attribute: &Attribute, kind: &str) -> SqsError {
    invalid(format!(
        "Message (user) attribute '{}' must contain a non-empty value of type '{kind}'.",
        attribute.name
    ))
}

fn check_type(attribute: &Attribute) -> Result<(), SqsError> {
    let (name, data_type) = (&attribute.name, &attribute.data_type);
    if data_type.is_empty() {
        return Err(invalid(format!(
            "Message (user) attribute '{name}' must contain a non-empty message attribute type."
        )));
    }
    if data_type.chars().count() > MAX_NAME_CHARS {
        return Err(invalid(format!(
            "Message (user) attribute type of '{name}' must be shorter than {MAX_NAME_CHARS} Bytes"
        )));
    }
    match (base_type(data_type), &attribute.value) {
        ("String" | "Number", Value::Text(_)) | ("Binary", Value::Binary(_)) => Ok(()),
        ("String" | "Number" | "Binary", _) => Err(invalid(format!(
            "The message attribute '{name}' with type '{data_type}' must use field '{}'.",
            if base_type(data_type) == "Binary" {
                "Binary"
            } else {
                "String"
            }
        ))),
        _ => Err(invalid(format!(
            "The type of message (user) attribute '{name}' is invalid. You must use only the following supported type \
             prefixes: Binary, Number, String."
        ))),
    }
}

/// An optional sign, digits with an optional point, an optional exponent; up to 38 digits of precision ("Number" in
/// Amazon SQS message metadata).
fn is_number(text: &str) -> bool {
    let mantissa = text.split(['e', 'E']).next().unwrap_or(text);
    text.bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'))
        && mantissa.bytes().filter(u8::is_ascii_digit).count() <= 38
        && text.parse::<f64>().is_ok_and(f64::is_finite)
}

/// 1 to 128 letters, digits and ASCII punctuation.
fn check_id(id: Option<&str>, parameter: &str) -> Result<(), SqsError> {
    match id {
        Some(id)
            if id.is_empty() || id.len() > 128 || !id.bytes().all(|b| b.is_ascii_graphic()) =>
        {
            Err(SqsError::invalid_value(
                id,
                parameter,
                &format!(
                    "{parameter} can only include alphanumeric and punctuation characters. 1 to 128 in length."
                ),
            ))
        }
        _ => Ok(()),
    }
}

/// Whether a message of this size fits a queue with this limit (both in bytes).
///
/// # Errors
/// `InvalidParameterValue`, worded as AWS words it for a single message or for a batch's entry.
pub fn check_size(size_bytes: usize, limit_bytes: usize, batch: bool) -> Result<(), SqsError> {
    if size_bytes <= limit_bytes {
        return Ok(());
    }
    let verb = if batch {
        "cannot be validated"
    } else {
        "are invalid"
    };
    Err(invalid(format!(
        "One or more parameters {verb}. Reason: Message must be shorter than {limit_bytes} bytes."
    )))
}
