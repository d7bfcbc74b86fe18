//! Settling what lies in the hold queue: it is read through once, and each copy asked for is sent or dropped.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use futures::{StreamExt, stream};

use super::{Action, End, Hand};
use crate::journal::Record;
use crate::ledger::LedgerError;
use crate::message::{BATCH_ENTRIES, Id, Message};
use crate::pace::{Pacer, share_of};
use crate::port::{Clock, Moment, Ports, Source};

/// Long polls in a row that find nothing new before the hold queue counts as read.
const EMPTY_POLLS: u32 = 2;

/// One reading of the hold queue.
pub struct Pass<'a, P: Ports> {
    pub(super) hand: &'a Hand<'a, P>,
    pub(super) queue: Rc<P::Source>,
    pub(super) action: Action,
    pub(super) by: &'a str,
    pub(super) pacer: Pacer<P::Clock>,
}

/// What a message in the hold queue is.
enum Copy {
    /// The copy of an id that is to be settled.
    Wanted(Id),
    /// A copy that nobody is owed any more: an earlier call was killed before it was deleted.
    Over(Id),
    /// The copy of another id.
    Other,
    /// The table does not know it.
    Unknown,
}

/// What was seen of the hold queue so far.
#[derive(Default)]
struct Seen {
    /// The ids that ended or are being settled, and whether nobody is owed a copy of them any more.
    ended: HashMap<Id, bool>,
    /// Everything received that stays: the newest handle by the hold queue's message id.
    stays: HashMap<String, String>,
    /// How many of them the table knows nothing of: strangers, and copies left by a send into the hold queue whose answer was lost (the
    /// message was put there again). Equal content proves nothing: two messages may be alike, and both owed. So none is touched.
    unknown: u64,
    /// What kept it from being read through.
    trouble: Option<String>,
}

impl Seen {
    /// Those that were not received before: one that comes back was not settled then and is not settled now.
    fn only_new(&mut self, mut messages: Vec<Message>) -> Vec<Message> {
        messages.retain(|message| {
            let handle = message.receipt_handle.clone();
            let before = self.stays.insert(message.message_id.clone(), handle);
            before.is_none()
        });
        messages
    }
}

impl<'a, P: Ports> Pass<'a, P> {
    /// One reading of the hold queue for an action of `by`.
    pub fn new(hand: &'a Hand<'a, P>, queue: Rc<P::Source>, action: Action, by: &'a str) -> Self {
        let pacer = Pacer::new(hand.clock.clone());
        pacer.set(
            share_of(hand.settings.rate),
            hand.settings.burst.unwrap_or(BATCH_ENTRIES as u32),
        );
        Self {
            hand,
            queue,
            action,
            by,
            pacer,
        }
    }

    /// Reads the hold queue through and settles the ids asked for; what else is found there is made visible again at the end.
    pub async fn work(&self, wanted: BTreeMap<Id, Record>, mut tell: impl FnMut(Id, End)) {
        let t = &self.hand.settings.timings;
        let mut seen = Seen::default();
        let mut empty = 0;
        while empty < EMPTY_POLLS {
            let began = self.hand.clock.now();
            let received = self
                .queue
                .receive(BATCH_ENTRIES, t.poll, t.visibility)
                .await;
            let messages = match received {
                Ok(messages) => seen.only_new(messages),
                Err(error) => {
                    tracing::error!(code = %error.code, "the hold queue cannot be received from");
                    seen.trouble = Some(error.code);
                    break;
                }
            };
            empty = if messages.is_empty() { empty + 1 } else { 0 };
            let deadline = began.after(t.sendable());
            self.settle_batch(&wanted, messages, deadline, &mut seen, &mut tell)
                .await;
        }
        if seen.unknown > 0 {
            tracing::info!(
                messages = seen.unknown,
                "the hold queue has messages of which the table knows nothing: they are left there"
            );
        }
        self.give_back(seen.stays.into_values()).await;
        for (id, record) in wanted {
            if !seen.ended.contains_key(&id) {
                tell(
                    id,
                    self.not_found(id, &record, seen.trouble.as_deref()).await,
                );
            }
        }
    }

    /// Settles what was received together: side by side, but in the order of their receipt where order counts.
    async fn settle_batch(
        &self,
        wanted: &BTreeMap<Id, Record>,
        messages: Vec<Message>,
        deadline: Moment,
        seen: &mut Seen,
        tell: &mut impl FnMut(Id, End),
    ) {
        let copies = messages.iter().map(|m| self.what_is(m, wanted));
        let copies = futures::future::join_all(copies).await;
        let (mut first, mut over) = (Vec::new(), Vec::new());
        for (message, copy) in messages.into_iter().zip(copies) {
            match copy {
                Ok(Copy::Wanted(id)) => match seen.ended.get(&id) {
                    None => {
                        seen.ended.insert(id, false);
                        first.push((id, message));
                    }
                    // Another copy of the same message, from a send into the hold queue whose answer was lost.
                    Some(_) => over.push((id, message)),
                },
                Ok(Copy::Over(id)) => {
                    seen.ended.insert(id, true);
                    over.push((id, message));
                }
                Ok(Copy::Other) => {}
                Ok(Copy::Unknown) => seen.unknown += 1,
                Err(error) => {
                    tracing::error!(%error, "the checkpoint table cannot be read");
                    seen.trouble = Some(error.to_string());
                }
            }
        }
        let at_once = match self.hand.settings.source_fifo
            || self.hand.settings.destinations.iter().any(|d| d.fifo)
        {
            true => 1,
            false => BATCH_ENTRIES,
        };
        let settled = first.into_iter().map(|(id, message)| async move {
            let name = message.message_id.clone();
            let settled = self.settle_one(id, message, deadline).await;
            (id, name, settled)
        });
        let mut settled = std::pin::pin!(stream::iter(settled).buffer_unordered(at_once));
        while let Some((id, name, settled)) = settled.next().await {
            seen.ended.insert(id, settled.over);
            if settled.gone {
                seen.stays.remove(&name);
            }
            tell(id, settled.end);
        }
        for (id, message) in over {
            if seen.ended.get(&id) == Some(&true) && self.delete(&message).await {
                seen.stays.remove(&message.message_id);
                tracing::info!(%id, "another copy of it is out of the hold queue, which nobody is owed");
            }
        }
    }

    /// Of which id of the source a message in the hold queue is the copy. A FIFO hold queue's copies carry it themselves, as deduplication id.
    async fn what_is(
        &self,
        message: &Message,
        wanted: &BTreeMap<Id, Record>,
    ) -> Result<Copy, LedgerError> {
        let ledger = self.hand.ledger;
        let (id, known) = match ledger.id_held_as(&message.message_id).await? {
            Some(id) => (id, true),
            None => match &message.deduplication_id {
                Some(text) if !self.hand.settings.original_deduplication => (Id::of(text), false),
                _ => return Ok(Copy::Unknown),
            },
        };
        if wanted.contains_key(&id) {
            return Ok(Copy::Wanted(id));
        }
        let records = ledger.records(&[id]).await?;
        Ok(match records.first() {
            Some(r) if is_over(r) => Copy::Over(id),
            Some(r) if known || r.held || r.holding => Copy::Other,
            _ => Copy::Unknown,
        })
    }

    /// Makes messages visible again. One that cannot be told so comes back by itself.
    async fn give_back(&self, handles: impl Iterator<Item = String>) {
        let all: Vec<(String, Duration)> = handles.map(|h| (h, Duration::ZERO)).collect();
        for batch in all.chunks(BATCH_ENTRIES) {
            self.queue.set_visibility(batch).await;
        }
    }
}

/// Whether a record says that its message was settled by hand, to the end: nobody is owed a copy.
fn is_over(record: &Record) -> bool {
    (record.sent || record.dropped) && record.settled_by.is_some()
}
