//! What a test may see of the endpoints and do to them from inside the process.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::sqs::error::SqsError;
use super::sqs::message::{Attribute, NewMessage};
use super::sqs::queue::State;
use super::{Call, Clock, Endpoints, Faults, Rule, RuleId, Service};

/// Messages parked between two breaths of the server while a queue is seeded.
const SEED_CHUNK: usize = 1000;

/// A message as it lies in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peeked {
    /// `MessageId`.
    pub id: Uuid,
    /// The body.
    pub body: String,
    /// The attributes, sorted by name.
    pub attributes: Vec<Attribute>,
    /// The `AWSTraceHeader` system attribute.
    pub trace_header: Option<String>,
    /// `MessageGroupId`.
    pub group_id: Option<String>,
    /// `MessageDeduplicationId`.
    pub deduplication_id: Option<String>,
    /// `SequenceNumber`.
    pub sequence: Option<u64>,
    /// `SentTimestamp`, in milliseconds.
    pub sent_ms: u64,
    /// Times it was received.
    pub receive_count: u32,
    /// Visible, in flight or delayed.
    pub state: State,
}

impl Endpoints {
    /// The clock the endpoints live by.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The fault rules, and the counts of calls.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Adds a fault rule.
    pub fn add_rule(&self, rule: Rule) -> RuleId {
        self.faults.add(rule)
    }

    /// Tells `observer` of every call to either endpoint from now on, refused ones included.
    pub fn observe(&self, observer: impl Fn(&Call<'_>) + Send + Sync + 'static) {
        self.faults.observe(observer);
    }

    /// All calls to both endpoints so far, by service and action.
    pub fn requests(&self) -> BTreeMap<(Service, String), u64> {
        self.faults.requests()
    }

    /// Everything a queue holds (visible, in flight, delayed), in the order it was put there. An unknown queue holds
    /// nothing.
    pub fn peek(&self, queue: &str) -> Vec<Peeked> {
        let now_ms = self.clock.now_ms();
        self.sqs.with_engine(|engine| {
            let Ok(queue) = engine.queue_at(queue, now_ms) else {
                return Vec::new();
            };
            let peek = |(_, message): (u64, &super::sqs::queue::Message)| Peeked {
                id: message.id,
                body: message.content.body.clone(),
                attributes: message.content.attributes.clone(),
                trace_header: message.content.trace_header.clone(),
                group_id: message.content.group_id.as_deref().map(str::to_owned),
                deduplication_id: message.content.deduplication_id.clone(),
                sequence: message.sequence,
                sent_ms: message.sent_ms,
                receive_count: message.receive_count,
                state: message.state,
            };
            queue.in_order().into_iter().map(peek).collect()
        })
    }

    /// How many long polls wait on a queue now; a poll counts once its first look has found nothing.
    pub fn waiting_polls(&self, queue: &str) -> usize {
        self.sqs.waiting_polls(queue)
    }

    /// The accepted sends of a queue, as (when in milliseconds, how many messages), in order. Sends that deduplication
    /// answered, seeded messages and redriven ones are not among them. Empty unless [`super::Options::record_sends`].
    pub fn accepted_sends(&self, queue: &str) -> Vec<(u64, u32)> {
        self.sqs
            .with_engine(|engine| engine.queue(queue).map(|q| q.accepted.clone()))
            .unwrap_or_default()
    }

    /// Parks messages in a queue without HTTP, checked like any send. Returns how many are parked.
    ///
    /// # Errors
    /// The first refusal; what was parked before it stays.
    pub fn seed(
        &self,
        queue: &str,
        messages: impl IntoIterator<Item = NewMessage>,
    ) -> Result<usize, SqsError> {
        let mut messages = messages.into_iter().peekable();
        let mut parked = 0;
        while messages.peek().is_some() {
            let chunk: Vec<_> = messages.by_ref().take(SEED_CHUNK).collect();
            let now_ms = self.clock.now_ms();
            parked += self
                .sqs
                .with_engine(|engine| engine.seed(queue, chunk, now_ms))?;
        }
        Ok(parked)
    }

    /// Creates a queue without HTTP, with these attributes.
    ///
    /// # Errors
    /// Those of `CreateQueue`.
    pub fn create_queue(
        &self,
        name: &str,
        attributes: &[(&str, &str)],
    ) -> Result<String, SqsError> {
        let attributes = attributes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let now_ms = self.clock.now_ms();
        self.sqs.with_engine(|engine| {
            engine.create_queue(name, &attributes, BTreeMap::new(), now_ms)
        })?;
        Ok(format!(
            "{}/{}/{name}",
            self.sqs_url,
            super::sqs::engine::ACCOUNT
        ))
    }
}
