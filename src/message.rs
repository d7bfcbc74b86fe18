//! A message as it travels through this program, and what can become of it.
//!
//! Pure data: nothing here knows of AWS, of time or of I/O.

use std::fmt;

use sha2::{Digest, Sha256};

/// The largest number of entries SQS takes in one batch call (AWS quota).
pub const BATCH_ENTRIES: usize = 10;

/// The largest total payload of one SQS batch call, in bytes (AWS quota: 1 MiB).
pub const BATCH_BYTES: usize = 1_048_576;

/// The longest visibility timeout SQS grants, counted from the receive, in seconds (AWS quota: 12 hours).
pub const VISIBILITY_MAX_S: u32 = 43_200;

/// The code of a [`SendOutcome::Retry`] that concerns the batch as a whole: the entries are to be tried again in smaller
/// batches, at last one by one, to find out which of them is refused.
pub const SPLIT: &str = "split";

/// The 16 bytes under which the journal knows a message: its SQS message id.
///
/// SQS message ids are UUIDs and fit as they are. An id of any other form (other
/// servers may issue them) is folded with SHA-256, so it still has one fixed name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(pub [u8; 16]);

impl Id {
    /// The journal's name for the SQS message id `text`.
    pub fn of(text: &str) -> Self {
        match uuid::Uuid::try_parse(text) {
            Ok(uuid) => Self(*uuid.as_bytes()),
            Err(_) => {
                let hash = Sha256::digest(text.as_bytes());
                let mut id = [0; 16];
                id.copy_from_slice(&hash[..16]);
                Self(id)
            }
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).fmt(f)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The value of one message attribute.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// `StringValue`: the data types `String` and `Number`, with any custom suffix.
    Text(String),
    /// `BinaryValue`: the data type `Binary`, with any custom suffix.
    Binary(Vec<u8>),
}

/// One message attribute, with its data type exactly as the producer gave it (`Number.int`).
#[derive(Clone, PartialEq, Eq)]
pub struct Attribute {
    /// The attribute's name.
    pub name: String,
    /// The data type, custom suffix included.
    pub data_type: String,
    /// The value.
    pub value: Value,
}

/// One delivery of one message: what a receive call handed over.
///
/// `Debug` shows no body and no attribute value, so that neither can reach a log by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// The journal's name of the message.
    pub id: Id,
    /// The SQS message id as SQS wrote it.
    pub message_id: String,
    /// The receipt handle of this delivery.
    pub receipt_handle: String,
    /// `ApproximateReceiveCount`: 1 when this is, as far as SQS knows, the first delivery.
    pub receive_count: u32,
    /// `SentTimestamp`: when the producer's send was accepted, in milliseconds since the Unix epoch.
    pub sent_at_ms: i64,
    /// The body, byte for byte.
    pub body: String,
    /// All message attributes (SQS allows ten).
    pub attributes: Vec<Attribute>,
    /// The group id; standard queues have one too where fair queues are used.
    pub group_id: Option<String>,
    /// The producer's deduplication id (FIFO sources).
    pub deduplication_id: Option<String>,
    /// The `AWSTraceHeader` system attribute.
    pub trace_header: Option<String>,
}

impl Message {
    /// The size SQS counts against its limits, in bytes: the body and every attribute's name, type and value.
    pub fn size_bytes(&self) -> usize {
        let attributes: usize = self
            .attributes
            .iter()
            .map(|a| {
                a.name.len()
                    + a.data_type.len()
                    + match &a.value {
                        Value::Text(t) => t.len(),
                        Value::Binary(b) => b.len(),
                    }
            })
            .sum();
        self.body.len() + attributes
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.id)
            .field("receive_count", &self.receive_count)
            .field("size_bytes", &self.size_bytes())
            .finish_non_exhaustive()
    }
}

/// One entry of a send batch: a message and what its copy carries towards a FIFO destination.
#[derive(Clone, Debug)]
pub struct Outgoing<'a> {
    /// The message whose faithful copy is sent.
    pub message: &'a Message,
    /// `MessageGroupId` of the copy.
    pub group_id: Option<&'a str>,
    /// `MessageDeduplicationId` of the copy.
    pub deduplication_id: Option<&'a str>,
}

/// What became of one entry of a send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// The destination has it, under this message id of its own.
    Accepted {
        /// The copy's message id in the destination queue.
        message_id: String,
    },
    /// The destination refuses this message for its own sake; sending it again cannot help. The code is SQS's.
    Rejected(String),
    /// Surely not sent, and worth another try (throttle, internal error told per entry, never connected).
    Retry(String),
    /// Surely not sent, and the destination itself is the trouble (access, KMS, missing queue): no message is at fault.
    Stopped(String),
    /// The answer was lost: it may or may not have been sent.
    Unknown(String),
}

/// What became of one entry of a delete or of a visibility change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiptOutcome {
    /// SQS says it is done.
    Done,
    /// Surely not done; worth another try.
    Retry(String),
    /// The answer was lost: it may or may not have been done.
    Unknown(String),
    /// Surely not done, and the queue itself is the trouble (access, KMS, gone): another try helps only when somebody has seen to that.
    Denied(String),
    /// The receipt handle is of no use any more; the message comes back by itself.
    Stale(String),
}

/// The queue's own (approximate) counts of its messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// `ApproximateNumberOfMessages`.
    pub visible: u64,
    /// `ApproximateNumberOfMessagesNotVisible`.
    pub in_flight: u64,
    /// `ApproximateNumberOfMessagesDelayed`.
    pub delayed: u64,
}

impl Counts {
    /// All messages the queue says it holds.
    pub fn total(&self) -> u64 {
        self.visible + self.in_flight + self.delayed
    }
}
