//! All queues, and what the API's actions do to them: pure, given the time. Nothing here waits, reads a clock or knows
//! of HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::attributes::{READ_ONLY, SETTABLE, Settings};
use super::error::{Code, SqsError};
use super::handle::Receipt;
use super::message::{self, Content, Md5Sum, NewMessage};
use super::queue::{DEDUPLICATION_MS, Message, Queue, Remembered, State};

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
        {
            if self.woken.last() != Some(&queue.number) {
                self.woken.push(queue.number);
            }
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

    /// What a FIFO queue demands of a send before anything else: in a batch it fails the whole request.
    ///
    /// # Errors
    /// `QueueDoesNotExist`; `MissingParameter` (in a batch `InvalidParameterValue`, as AWS answers) without a group id;
    /// `InvalidParameterValue` without a deduplication id where none is derived.
    pub fn check_fifo_ids(
        &self,
        name: &str,
        message: &NewMessage,
        batch: bool,
    ) -> Result<(), SqsError> {
        let queue = self.queues.get(name).ok_or_else(SqsError::no_such_queue)?;
        if !queue.settings.fifo {
            return Ok(());
        }
        if message.group_id.is_none() {
            let mut missing = SqsError::missing("MessageGroupId");
            if batch {
                missing.code = Code::InvalidParameterValue;
            }
            return Err(missing);
        }
        if message.deduplication_id.is_none() && !queue.settings.content_deduplication {
            return Err(SqsError::new(
                Code::InvalidParameterValue,
                "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided \
                 explicitly",
            ));
        }
        Ok(())
    }

    /// Sends one message, alone or as a batch's entry.
    ///
    /// # Errors
    /// What AWS refuses about a message or its parameters.
    pub fn send(
        &mut self,
        name: &str,
        message: NewMessage,
        batch: bool,
        now_ms: u64,
    ) -> Result<Accepted, SqsError> {
        self.check_fifo_ids(name, &message, batch)?;
        message::check(&message)?;
        let record = self.record_sends;
        let new_id = self.new_id;
        let seq = self.next_seq;
        let (queue, now_ms) = self.at(name, now_ms)?;
        message::check_size(
            message.size_bytes(),
            queue.settings.max_message_bytes,
            batch,
        )?;
        let delay_s = delay_s(&queue.settings, &message)?;
        if message.deduplication_id.is_some() && !queue.settings.fifo {
            return Err(SqsError::invalid_value(
                message.deduplication_id.unwrap_or_default(),
                "MessageDeduplicationId",
                "The request include parameter that is not valid for this queue type.",
            ));
        }
        let deduplication_id = match (queue.settings.fifo, &message.deduplication_id) {
            (false, _) => None,
            (true, Some(id)) => Some(id.clone()),
            (true, None) => Some(sha256_hex(message.body.as_bytes())),
        };
        let content = Content::from_checked(message, deduplication_id);
        let mut accepted = Accepted {
            id: new_id(),
            body_md5: content.body_md5,
            attributes_md5: content.attributes_md5,
            system_md5: content.system_md5,
            sequence: queue.settings.fifo.then(|| FIRST_SEQUENCE + seq),
        };
        if let (Some(id), Some(sequence)) = (content.deduplication_id.as_deref(), accepted.sequence)
        {
            let group = content.group_id.as_ref();
            if let Some(first) = queue.remembered(group, id) {
                accepted.id = first.id;
                accepted.sequence = Some(first.sequence);
                return Ok(accepted);
            }
            queue.remember(
                group,
                id,
                Remembered {
                    id: accepted.id,
                    sequence,
                    until_ms: now_ms + DEDUPLICATION_MS,
                },
            );
        }
        let state = match delay_s {
            0 => State::Visible,
            s => State::Delayed {
                until_ms: now_ms + s * 1000,
            },
        };
        queue.insert(
            seq,
            Message {
                content: Arc::new(content),
                id: accepted.id,
                sent_ms: now_ms,
                first_receive_ms: None,
                last_receive_ms: 0,
                receive_count: 0,
                sequence: accepted.sequence,
                dead_letter_source: None,
                state,
            },
        );
        if record {
            match queue.accepted.last_mut() {
                Some((at, count)) if *at == now_ms => *count += 1,
                _ => queue.accepted.push((now_ms, 1)),
            }
        }
        self.next_seq += 1;
        self.note_wake(name);
        Ok(accepted)
    }

    /// Sends messages that do not count as accepted sends.
    ///
    /// # Errors
    /// The first refusal; what was sent before it stays.
    pub fn seed(
        &mut self,
        name: &str,
        messages: Vec<NewMessage>,
        now_ms: u64,
    ) -> Result<usize, SqsError> {
        let record = std::mem::replace(&mut self.record_sends, false);
        let count = messages.len();
        let sent = messages
            .into_iter()
            .try_for_each(|message| self.send(name, message, false, now_ms).map(|_| ()));
        self.record_sends = record;
        sent.map(|()| count)
    }

    /// Takes in a queue as a snapshot had it.
    pub(super) fn restore(&mut self, queue: Queue) {
        self.next_queue = self.next_queue.max(queue.number + 1);
        if let Some((last, _)) = queue.in_order().last() {
            self.next_seq = self.next_seq.max(last + 1);
        }
        self.queues.insert(queue.name.clone(), queue);
    }

    /// `ReceiveMessage`, once, without waiting. Messages received too often go to the dead-letter queue instead.
    ///
    /// # Errors
    /// `QueueDoesNotExist`; `InvalidParameterValue` out of bounds; `OverLimit` when a short poll finds too many messages
    /// of a standard queue in flight.
    pub fn receive(
        &mut self,
        name: &str,
        how: Receive,
        now_ms: u64,
    ) -> Result<Vec<Delivered>, SqsError> {
        let max = bounded("MaxNumberOfMessages", how.max.unwrap_or(1), 1, 10, || {
            "Must be between 1 and 10, if provided.".into()
        })?;
        let visibility_s = how.visibility_s.map(check_visibility).transpose()?;
        let limit = self.in_flight_limit;
        let (queue, now_ms) = self.at(name, now_ms)?;
        let until_ms = now_ms + visibility_s.unwrap_or(queue.settings.visibility_s) * 1000;
        if !queue.settings.fifo && queue.in_flight() >= limit {
            return if how.long_poll {
                Ok(Vec::new())
            } else {
                Err(SqsError::new(
                    Code::OverLimit,
                    format!("Too many messages in flight: the limit is {limit}."),
                ))
            };
        }
        let room = limit.saturating_sub(queue.in_flight());
        let max = usize::try_from(max).unwrap_or(1).min(room);
        self.redrive(name, max);
        let (queue, now_ms) = self.at(name, now_ms)?;
        let number = queue.number;
        let copy = how.copy && !queue.settings.fifo;
        let mut copies = Vec::new();
        let mut delivered = Vec::with_capacity(max);
        for seq in queue.candidates(max) {
            if copy {
                copies.extend(queue.get(seq).cloned());
            }
            if let Some(message) = queue.receive(seq, now_ms, until_ms) {
                let receipt = Receipt {
                    queue: number,
                    seq,
                    receive: message.receive_count,
                };
                delivered.push(Delivered {
                    receipt,
                    message: message.clone(),
                });
            }
        }
        for copy in copies {
            self.put(name, copy);
        }
        self.note_wake(name);
        Ok(delivered)
    }

    /// Moves what a receive of up to `max` would deliver once too often to the dead-letter queue, when that exists.
    fn redrive(&mut self, name: &str, max: usize) {
        let Some(queue) = self.queues.get_mut(name) else {
            return;
        };
        let Some(redrive) = queue.settings.redrive.clone() else {
            return;
        };
        let source_arn = Arc::clone(&queue.arn);
        let target = name_in_arn(&redrive.target_arn).to_owned();
        let Some(resets_age) = self
            .queue_by_arn(&redrive.target_arn)
            .map(|t| t.settings.fifo)
        else {
            return;
        };
        loop {
            let Some(queue) = self.queues.get_mut(name) else {
                return;
            };
            let spent: Vec<_> = queue
                .candidates(max)
                .into_iter()
                .filter(|seq| {
                    queue
                        .get(*seq)
                        .is_some_and(|m| m.receive_count >= redrive.max_receive_count)
                })
                .collect();
            if spent.is_empty() {
                return;
            }
            let moved: Vec<_> = spent
                .into_iter()
                .filter_map(|seq| queue.remove(seq))
                .collect();
            for mut message in moved {
                message.dead_letter_source = Some(Arc::clone(&source_arn));
                message.state = State::Visible;
                if resets_age {
                    // A FIFO dead-letter queue counts a message's age from its arrival, a standard one from its sending.
                    message.sent_ms = self.latest_ms;
                }
                self.put(&target, message);
            }
        }
    }

    /// Puts a message at a queue's end as it is.
    fn put(&mut self, name: &str, message: Message) {
        let seq = self.next_seq;
        self.next_seq += 1;
        if let Some(queue) = self.queues.get_mut(name) {
            queue.insert(seq, message);
        }
        self.note_wake(name);
    }

    /// `DeleteMessage`. Deleting what is gone is no error. On a standard queue an older handle than the newest deletes
    /// nothing and is no error either; on a FIFO queue a handle is good only while its receive hides the message.
    ///
    /// # Errors
    /// `QueueDoesNotExist`, `ReceiptHandleIsInvalid`; on FIFO queues `InvalidParameterValue` for an expired handle.
    pub fn delete(&mut self, name: &str, handle: &str, now_ms: u64) -> Result<(), SqsError> {
        let (queue, _) = self.at(name, now_ms)?;
        let receipt = receipt_for(queue, handle)?;
        if let Some(message) = queue.get(receipt.seq) {
            let newest = message.receive_count == receipt.receive;
            let in_flight = matches!(message.state, State::InFlight { .. });
            if queue.settings.fifo && !(newest && in_flight) {
                return Err(expired(handle));
            }
            if newest {
                queue.remove(receipt.seq);
            }
        }
        self.note_wake(name);
        Ok(())
    }

    /// `ChangeMessageVisibility`. On a standard queue any handle of a message in flight will do, on a FIFO queue only the
    /// newest.
    ///
    /// # Errors
    /// `QueueDoesNotExist`, `ReceiptHandleIsInvalid`; `MessageNotInflight`; `InvalidParameterValue` when the message is
    /// gone, the timeout is out of bounds or the message would be hidden for more than 12 hours since its receive, and on
    /// FIFO queues for an expired handle.
    pub fn change_visibility(
        &mut self,
        name: &str,
        handle: &str,
        visibility_s: i64,
        now_ms: u64,
    ) -> Result<(), SqsError> {
        let (queue, now_ms) = self.at(name, now_ms)?;
        let visibility_s = check_visibility(visibility_s)?;
        let receipt = receipt_for(queue, handle)?;
        let Some(message) = queue.get(receipt.seq) else {
            return Err(SqsError::invalid_value(
                handle,
                "ReceiptHandle",
                "Message does not exist or is not available for visibility timeout change.",
            ));
        };
        let in_flight = matches!(message.state, State::InFlight { .. });
        if queue.settings.fifo && (!in_flight || message.receive_count != receipt.receive) {
            return Err(expired(handle));
        }
        if !in_flight {
            return Err(SqsError::new(
                Code::MessageNotInflight,
                "The message referred to is not in flight.",
            ));
        }
        let until_ms = now_ms + visibility_s * 1000;
        if until_ms > message.last_receive_ms + MAX_VISIBILITY_S * 1000 {
            return Err(SqsError::invalid_value(
                visibility_s,
                "VisibilityTimeout",
                "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]",
            ));
        }
        let state = match visibility_s {
            0 => State::Visible,
            _ => State::InFlight { until_ms },
        };
        queue.set_state(receipt.seq, state);
        self.note_wake(name);
        Ok(())
    }
}

/// A queue's ARN.
pub fn arn(name: &str) -> String {
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}")
}

fn name_in_arn(arn: &str) -> &str {
    arn.rsplit(':').next().unwrap_or(arn)
}

fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
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

fn check_visibility(visibility_s: i64) -> Result<u64, SqsError> {
    bounded("VisibilityTimeout", visibility_s, 0, 43_200, || {
        "Must be between 0 and 43200, if provided.".into()
    })
}

/// `WaitTimeSeconds`, in bounds.
///
/// # Errors
/// `InvalidParameterValue`.
pub fn check_wait(wait_s: i64) -> Result<u64, SqsError> {
    bounded("WaitTimeSeconds", wait_s, 0, 20, || {
        "Must be >= 0 and <= 20, if provided.".into()
    })
}

fn delay_s(settings: &Settings, message: &NewMessage) -> Result<u64, SqsError> {
    match message.delay_seconds {
        None => Ok(settings.delay_s),
        // A FIFO queue takes no delay of a message's own; 0 means the queue's.
        Some(0) if settings.fifo => Ok(settings.delay_s),
        Some(s) if settings.fifo => Err(SqsError::invalid_value(
            s,
            "DelaySeconds",
            "The request include parameter that is not valid for this queue type.",
        )),
        Some(s) => bounded("DelaySeconds", s, 0, 900, || {
            "DelaySeconds must be >= 0 and <= 900.".into()
        }),
    }
}

fn receipt_for(queue: &Queue, handle: &str) -> Result<Receipt, SqsError> {
    let receipt = Receipt::decode(handle)?;
    if receipt.queue != queue.number {
        return Err(SqsError::new(
            Code::ReceiptHandleIsInvalid,
            format!("The input receipt handle \"{handle}\" is not valid for this queue."),
        ));
    }
    Ok(receipt)
}

fn expired(handle: &str) -> SqsError {
    SqsError::invalid_value(handle, "ReceiptHandle", "The receipt handle has expired.")
}
