//! Receiving and what follows it: redrive, deletes, visibility.

use std::sync::Arc;

use super::super::error::{Code, SqsError};
use super::super::handle::Receipt;
use super::super::queue::{Message, Queue, State};
use super::{Delivered, Engine, MAX_VISIBILITY_S, Receive, bounded, name_in_arn};

impl Engine {
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

    /// `ChangeMessageVisibility`. On a standard queue any handle of a message in flight will do, older ones too, as AWS has
    /// been seen to take them; on a FIFO queue only the newest. For a message that is visible again the API reference
    /// names `MessageNotInflight`; AWS has also been seen to accept such a change. This server keeps to the reference.
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

/// `WaitTimeSeconds`, in bounds.
///
/// # Errors
/// `InvalidParameterValue`.
pub fn check_wait(wait_s: i64) -> Result<u64, SqsError> {
    bounded("WaitTimeSeconds", wait_s, 0, 20, || {
        "Must be >= 0 and <= 20, if provided.".into()
    })
}

fn check_visibility(visibility_s: i64) -> Result<u64, SqsError> {
    bounded("VisibilityTimeout", visibility_s, 0, 43_200, || {
        "Must be between 0 and 43200, if provided.".into()
    })
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
