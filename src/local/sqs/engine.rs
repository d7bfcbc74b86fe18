//! All queues, and what the API's actions do to them: pure, given the time. Nothing here waits, reads a clock or knows
//! of HTTP.

mod receive;
mod send;

use std::collections::BTreeMap;

use uuid::Uuid;

pub use receive::check_wait;

use super::attributes::{READ_ONLY, SETTABLE, Settings};
use super::error::{Code, SqsError};
use super::handle::Receipt;
use super::message::Md5Sum;
use super::queue::{Message, Queue};

/// The account all queues belong to.
pub const ACCOUNT: &str = "000000000000";
/// The region in the queues' ARNs.
pub const REGION: &str = "us-east-1";
/// Longest time a message stays hidden by one receive, extensions included: 12 hours.
pub const MAX_VISIBILITY_S: u64 = 43_200;
/// Messages of one queue that may be in flight: 120,000 (Amazon SQS message quotas).
pub const DEFAULT_IN_FLIGHT_LIMIT: usize = 120_000;
/// Only one purge of a queue in this time.
const PURGE_PAUSE_MS: u64 = 60_000;
/// What sequence numbers count up from: AWS's have 20 digits.
const FIRST_SEQUENCE: u64 = 10_000_000_000_000_000_000;

/// All queues.
#[derive(Debug)]
pub struct Engine {
    queues: BTreeMap<String, Queue>,
    next_queue: u64,
    next_seq: u64,
    in_flight_limit: usize,
    record_sends: bool,
    new_id: fn() -> Uuid,
    latest_ms: u64,
    woken: Vec<u64>,
}

/// The answer to an accepted send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// `MessageId`.
    pub id: Uuid,
    /// `MD5OfMessageBody`.
    pub body_md5: Md5Sum,
    /// `MD5OfMessageAttributes`.
    pub attributes_md5: Option<Md5Sum>,
    /// `MD5OfMessageSystemAttributes`.
    pub system_md5: Option<Md5Sum>,
    /// `SequenceNumber`, from FIFO queues.
    pub sequence: Option<u64>,
}

/// How to receive.
#[derive(Clone, Copy, Debug, Default)]
pub struct Receive {
    /// `MaxNumberOfMessages`, 1 to 10; absent: 1.
    pub max: Option<i64>,
    /// `VisibilityTimeout`, in seconds; absent: the queue's.
    pub visibility_s: Option<i64>,
    /// Whether too many messages in flight are an error (short polls) or no messages (long polls).
    pub long_poll: bool,
    /// Leave a visible copy of every delivered message (standard queues only).
    pub copy: bool,
}

/// A message as delivered.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// The receipt of this receive.
    pub receipt: Receipt,
    /// The message after the receive was counted.
    pub message: Message,
}

impl Engine {
    /// An engine without queues. `new_id` makes message ids.
    pub fn new(new_id: fn() -> Uuid) -> Self {
        Self {
            queues: BTreeMap::new(),
            next_queue: 1,
            next_seq: 1,
            in_flight_limit: DEFAULT_IN_FLIGHT_LIMIT,
            record_sends: false,
            new_id,
            latest_ms: 0,
            woken: Vec::new(),
        }
    }

    /// Sets how many messages of a queue may be in flight.
    pub fn set_in_flight_limit(&mut self, messages: usize) {
        self.in_flight_limit = messages;
    }

    /// Whether every accepted send's time is kept ([`Queue::accepted`]).
    pub fn set_record_sends(&mut self, record: bool) {
        self.record_sends = record;
    }

    /// Numbers of the queues whose waiting receives should look again, since this was last asked.
    pub fn take_woken(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.woken)
    }

    /// The queue, with time passed up to `now_ms` and a clock that never runs backwards.
    fn at(&mut self, name: &str, now_ms: u64) -> Result<(&mut Queue, u64), SqsError> {
        self.latest_ms = self.latest_ms.max(now_ms);
        let queue = self
            .queues
            .get_mut(name)
            .ok_or_else(SqsError::no_such_queue)?;
        queue.tick(self.latest_ms);
        Ok((queue, self.latest_ms))
    }

    /// Notes that a queue's waiting receives should look again, when they should.
    fn note_wake(&mut self, name: &str) {
        if let Some(queue) = self.queues.get_mut(name)
            && std::mem::take(&mut queue.wake)
            && self.woken.last() != Some(&queue.number)
        {
            self.woken.push(queue.number);
        }
    }

    /// The queue, for looking.
    pub fn queue(&self, name: &str) -> Option<&Queue> {
        self.queues.get(name)
    }

    /// The queue, for looking, with time passed up to `now_ms`.
    ///
    /// # Errors
    /// `QueueDoesNotExist`.
    pub fn queue_at(&mut self, name: &str, now_ms: u64) -> Result<&Queue, SqsError> {
        self.at(name, now_ms).map(|(queue, _)| &*queue)
    }

    /// The queue's tags, to change.
    ///
    /// # Errors
    /// `QueueDoesNotExist`.
    pub fn tags(&mut self, name: &str) -> Result<&mut BTreeMap<String, String>, SqsError> {
        self.queues
            .get_mut(name)
            .map(|queue| &mut queue.tags)
            .ok_or_else(SqsError::no_such_queue)
    }

    /// Names of all queues, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.queues.keys().map(String::as_str)
    }

    /// All queues, by name.
    pub(super) fn queues(&self) -> impl Iterator<Item = &Queue> {
        self.queues.values()
    }

    /// `CreateQueue`.
    ///
    /// # Errors
    /// `InvalidParameterValue` for the name, `InvalidAttributeName`, `InvalidAttributeValue`, and `QueueNameExists` when
    /// it exists with other attributes.
    pub fn create_queue(
        &mut self,
        name: &str,
        attributes: &BTreeMap<String, String>,
        tags: BTreeMap<String, String>,
        now_ms: u64,
    ) -> Result<(), SqsError> {
        let settings = Settings::create(attributes)?;
        check_queue_name(name, settings.fifo)?;
        let arn = arn(name);
        if let Some(existing) = self.queues.get(name) {
            let has = existing.settings.show();
            let wants = settings.show();
            return match attributes
                .keys()
                .find(|attribute| has.get(*attribute) != wants.get(*attribute))
            {
                Some(attribute) => Err(SqsError::new(
                    Code::QueueNameExists,
                    format!(
                        "A queue already exists with the same name and a different value for attribute {attribute}"
                    ),
                )),
                None => Ok(()),
            };
        }
        self.check_redrive_target(&settings, &arn)?;
        let mut queue = Queue::new(name.to_owned(), self.next_queue, arn, settings, now_ms);
        queue.tags = tags;
        self.next_queue += 1;
        self.queues.insert(name.to_owned(), queue);
        Ok(())
    }

    fn check_redrive_target(&self, settings: &Settings, source_arn: &str) -> Result<(), SqsError> {
        let Some(redrive) = &settings.redrive else {
            return Ok(());
        };
        let refuse = |reason| {
            Err(SqsError::invalid_value(
                &redrive.json,
                "RedrivePolicy",
                reason,
            ))
        };
        let Some(target) = self.queue_by_arn(&redrive.target_arn) else {
            return refuse("Dead letter target does not exist.");
        };
        if target.settings.fifo != settings.fifo {
            return refuse("Dead-letter queue must be same type of queue as the source.");
        }
        if target.settings.refuses_redrive_from(source_arn) {
            return refuse("Dead-letter queue does not allow this queue as a source.");
        }
        Ok(())
    }

    fn queue_by_arn(&self, arn: &str) -> Option<&Queue> {
        self.queues.get(name_in_arn(arn)).filter(|q| *q.arn == *arn)
    }

    /// `DeleteQueue`.
    ///
    /// # Errors
    /// `QueueDoesNotExist`.
    pub fn delete_queue(&mut self, name: &str) -> Result<(), SqsError> {
        let queue = self
            .queues
            .remove(name)
            .ok_or_else(SqsError::no_such_queue)?;
        self.woken.push(queue.number);
        Ok(())
    }

    /// `PurgeQueue`. AWS takes up to a minute for it; here it is done at once.
    ///
    /// # Errors
    /// `QueueDoesNotExist`, and `PurgeQueueInProgress` within 60 seconds of the last one.
    pub fn purge_queue(&mut self, name: &str, now_ms: u64) -> Result<(), SqsError> {
        let (queue, now_ms) = self.at(name, now_ms)?;
        if queue
            .purged_ms
            .is_some_and(|at| now_ms < at + PURGE_PAUSE_MS)
        {
            return Err(SqsError::new(
                Code::PurgeQueueInProgress,
                format!("Only one PurgeQueue operation on {name} is allowed every 60 seconds."),
            ));
        }
        queue.purged_ms = Some(now_ms);
        queue.clear();
        Ok(())
    }

    /// `GetQueueAttributes`, for these names or `All`.
    ///
    /// # Errors
    /// `QueueDoesNotExist`, `InvalidAttributeName`.
    pub fn attributes(
        &mut self,
        name: &str,
        wanted: &[impl AsRef<str>],
        now_ms: u64,
    ) -> Result<BTreeMap<String, String>, SqsError> {
        let (queue, _) = self.at(name, now_ms)?;
        let mut shown = queue.settings.show();
        let mut put = |name: &str, value: String| shown.insert(name.to_owned(), value);
        put("ApproximateNumberOfMessages", queue.visible().to_string());
        put(
            "ApproximateNumberOfMessagesDelayed",
            queue.delayed().to_string(),
        );
        put(
            "ApproximateNumberOfMessagesNotVisible",
            queue.in_flight().to_string(),
        );
        put("CreatedTimestamp", (queue.created_ms / 1000).to_string());
        put(
            "LastModifiedTimestamp",
            (queue.modified_ms / 1000).to_string(),
        );
        put("QueueArn", queue.arn.to_string());
        self.note_wake(name);
        for wanted in wanted {
            let wanted = wanted.as_ref();
            if wanted != "All" && !READ_ONLY.contains(&wanted) && !SETTABLE.contains(&wanted) {
                return Err(SqsError::new(
                    Code::InvalidAttributeName,
                    format!("Unknown Attribute {wanted}."),
                ));
            }
        }
        if !wanted.iter().any(|w| w.as_ref() == "All") {
            shown.retain(|name, _| wanted.iter().any(|w| w.as_ref() == name));
        }
        Ok(shown)
    }

    /// `SetQueueAttributes`.
    ///
    /// # Errors
    /// `QueueDoesNotExist`, `InvalidAttributeName`, `InvalidAttributeValue`, `InvalidParameterValue`.
    pub fn set_attributes(
        &mut self,
        name: &str,
        attributes: &BTreeMap<String, String>,
        now_ms: u64,
    ) -> Result<(), SqsError> {
        let (queue, now_ms) = self.at(name, now_ms)?;
        let mut settings = queue.settings.clone();
        settings.set(attributes)?;
        self.check_redrive_target(&settings, &arn(name))?;
        let (queue, _) = self.at(name, now_ms)?;
        queue.settings = settings;
        queue.modified_ms = now_ms;
        self.note_wake(name);
        Ok(())
    }

    /// Names of the queues whose redrive policy names this queue.
    ///
    /// # Errors
    /// `QueueDoesNotExist`.
    pub fn dead_letter_sources(&self, name: &str) -> Result<Vec<&str>, SqsError> {
        let target = self.queues.get(name).ok_or_else(SqsError::no_such_queue)?;
        let names_it = |q: &&Queue| {
            q.settings
                .redrive
                .as_ref()
                .is_some_and(|r| *r.target_arn == *target.arn)
        };
        Ok(self
            .queues
            .values()
            .filter(names_it)
            .map(|q| q.name.as_str())
            .collect())
    }

    /// Takes in a queue as a snapshot had it.
    pub(super) fn restore(&mut self, queue: Queue) {
        self.next_queue = self.next_queue.max(queue.number + 1);
        if let Some((last, _)) = queue.in_order().last() {
            self.next_seq = self.next_seq.max(last + 1);
        }
        self.queues.insert(queue.name.clone(), queue);
    }
}

/// A queue's ARN.
pub fn arn(name: &str) -> String {
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}")
}

fn name_in_arn(arn: &str) -> &str {
    arn.rsplit(':').next().unwrap_or(arn)
}

fn check_queue_name(name: &str, fifo: bool) -> Result<(), SqsError> {
    let allowed = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let good = match name.strip_suffix(".fifo") {
        Some(stem) if fifo => allowed(stem),
        _ => !fifo && allowed(name),
    };
    if good && name.len() <= 80 {
        return Ok(());
    }
    Err(SqsError::new(
        Code::InvalidParameterValue,
        if fifo {
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with \
             .fifo suffix and be 1 to 80 in length."
        } else {
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
        },
    ))
}

fn bounded(
    parameter: &str,
    value: i64,
    min: i64,
    max: i64,
    reason: impl FnOnce() -> String,
) -> Result<u64, SqsError> {
    if (min..=max).contains(&value) {
        return Ok(value.unsigned_abs());
    }
    Err(SqsError::invalid_value(value, parameter, &reason()))
}
