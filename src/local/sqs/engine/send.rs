//! Sending: what a queue takes, deduplication, delays.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::super::attributes::Settings;
use super::super::error::{Code, SqsError};
use super::super::message::{self, Content, NewMessage};
use super::super::queue::{DEDUPLICATION_MS, Message, Remembered, State};
use super::{Accepted, Engine, FIRST_SEQUENCE, bounded};

impl Engine {
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
}

fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
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
