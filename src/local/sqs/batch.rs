//! The batch actions: rules about the batch as a whole, then one outcome per entry in a 200.

use std::borrow::Cow;

use super::error::{Code, SqsError};
use super::message::MAX_MESSAGE_BYTES;
use super::service::{Answer, Context, Service, json, parse, queue_name, required};
use super::wire::{
    Batch, BatchAnswer, FailedAnswer, HandleEntry, IdAnswer, SendMessage, SentAnswer,
};
use crate::local::fault::BatchEntry;

/// Most entries in a batch (Amazon SQS message quotas).
const MAX_ENTRIES: usize = 10;

impl Service {
    pub(super) fn send_batch(&self, cx: &Context<'_>) -> Answer {
        let batch: Batch<'_, SendMessage<'_>> = parse(cx.body)?;
        let name = queue_name(batch.queue_url.as_ref())?;
        let ids = check_entries(batch.entries.iter().map(|e| &e.id), "SendMessageBatch")?;
        let messages: Vec<_> = batch
            .entries
            .into_iter()
            .map(SendMessage::into_message)
            .collect();
        let size: usize = messages.iter().flatten().map(|m| m.size_bytes()).sum();
        if size > MAX_MESSAGE_BYTES {
            return Err(SqsError::new(
                Code::BatchRequestTooLong,
                format!(
                    "Batch requests cannot be longer than {MAX_MESSAGE_BYTES} bytes. You have sent {size} bytes."
                ),
            ));
        }
        self.with_engine(|engine| {
            engine.queue_at(name, cx.now_ms)?;
            messages
                .iter()
                .flatten()
                .try_for_each(|m| engine.check_fifo_ids(name, m, true))?;
            let outcomes = ids
                .iter()
                .zip(messages)
                .enumerate()
                .map(|(index, (id, message))| {
                    let message = message?;
                    let entry = BatchEntry {
                        index,
                        id,
                        body: Some(&message.body),
                        receipt_handle: None,
                    };
                    if let Some(fault) = cx.plan.entry_fault(&entry) {
                        return Err(Failure::Injected(fault));
                    }
                    Ok(engine.send(name, message, true, cx.now_ms)?)
                });
            Ok(answer(&ids, outcomes, |id, accepted| {
                SentAnswer::new(Some(id), accepted)
            }))
        })
    }

    pub(super) fn delete_batch(&self, cx: &Context<'_>) -> Answer {
        let batch: Batch<'_, HandleEntry<'_>> = parse(cx.body)?;
        let name = queue_name(batch.queue_url.as_ref())?;
        let ids = check_entries(batch.entries.iter().map(|e| &e.id), "DeleteMessageBatch")?;
        self.with_engine(|engine| {
            engine.queue_at(name, cx.now_ms)?;
            let outcomes =
                ids.iter()
                    .zip(&batch.entries)
                    .enumerate()
                    .map(|(index, (id, entry))| {
                        let handle = required(entry.receipt_handle.as_deref(), "ReceiptHandle")?;
                        injected(cx, index, id, handle)?;
                        Ok(engine.delete(name, handle, cx.now_ms)?)
                    });
            Ok(answer(&ids, outcomes, |id, ()| IdAnswer { id }))
        })
    }

    pub(super) fn change_visibility_batch(&self, cx: &Context<'_>) -> Answer {
        let batch: Batch<'_, HandleEntry<'_>> = parse(cx.body)?;
        let name = queue_name(batch.queue_url.as_ref())?;
        let ids = check_entries(
            batch.entries.iter().map(|e| &e.id),
            "ChangeMessageVisibilityBatch",
        )?;
        self.with_engine(|engine| {
            engine.queue_at(name, cx.now_ms)?;
            let outcomes =
                ids.iter()
                    .zip(&batch.entries)
                    .enumerate()
                    .map(|(index, (id, entry))| {
                        let handle = required(entry.receipt_handle.as_deref(), "ReceiptHandle")?;
                        let timeout = required(entry.visibility_timeout, "VisibilityTimeout")?;
                        injected(cx, index, id, handle)?;
                        Ok(engine.change_visibility(name, handle, timeout, cx.now_ms)?)
                    });
            Ok(answer(&ids, outcomes, |id, ()| IdAnswer { id }))
        })
    }
}

/// Why an entry failed.
enum Failure {
    Refused(SqsError),
    Injected(crate::local::fault::EntryFault),
}

impl From<SqsError> for Failure {
    fn from(error: SqsError) -> Self {
        Self::Refused(error)
    }
}

fn injected(cx: &Context<'_>, index: usize, id: &str, handle: &str) -> Result<(), Failure> {
    let entry = BatchEntry {
        index,
        id,
        body: None,
        receipt_handle: Some(handle),
    };
    cx.plan
        .entry_fault(&entry)
        .map_or(Ok(()), |fault| Err(Failure::Injected(fault)))
}

fn answer<T, S: serde::Serialize>(
    ids: &[String],
    outcomes: impl Iterator<Item = Result<T, Failure>>,
    success: impl Fn(String, T) -> S,
) -> Vec<u8> {
    let mut answer = BatchAnswer {
        successful: Vec::with_capacity(ids.len()),
        failed: Vec::new(),
    };
    for (id, outcome) in ids.iter().zip(outcomes) {
        let id = id.clone();
        match outcome {
            Ok(value) => answer.successful.push(success(id, value)),
            Err(Failure::Refused(error)) => answer.failed.push(FailedAnswer {
                id,
                sender_fault: error.code.sender_fault(),
                code: error.code.query_code().to_owned(),
                message: error.message,
            }),
            Err(Failure::Injected(fault)) => answer.failed.push(FailedAnswer {
                id,
                sender_fault: fault.sender_fault,
                code: fault.code,
                message: fault.message,
            }),
        }
    }
    json(&answer)
}

/// The rules about a batch's entries as such: 1 to 10, each with an id of 1 to 80 letters, digits, hyphens and
/// underscores, all different. Returns the ids.
fn check_entries<'a, 'b: 'a>(
    ids: impl ExactSizeIterator<Item = &'a Option<Cow<'b, str>>>,
    action: &str,
) -> Result<Vec<String>, SqsError> {
    let sent = ids.len();
    if sent == 0 {
        return Err(SqsError::new(
            Code::EmptyBatchRequest,
            format!("There should be at least one {action}RequestEntry in the request."),
        ));
    }
    if sent > MAX_ENTRIES {
        return Err(SqsError::new(
            Code::TooManyEntriesInBatchRequest,
            format!(
                "Maximum number of entries per request are {MAX_ENTRIES}. You have sent {sent}."
            ),
        ));
    }
    let mut seen: Vec<String> = Vec::with_capacity(sent);
    for id in ids {
        let id = required(id.as_deref(), "Id")?;
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if id.is_empty() || id.len() > 80 || !id.bytes().all(allowed) {
            return Err(SqsError::new(
                Code::InvalidBatchEntryId,
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most \
                 80 letters long.",
            ));
        }
        if seen.iter().any(|other| other == id) {
            return Err(SqsError::new(
                Code::BatchEntryIdsNotDistinct,
                format!("Id {id} repeated."),
            ));
        }
        seen.push(id.to_owned());
    }
    Ok(seen)
}
