//! Settling what lies in the hold queue: it is read through once, and each copy asked for is sent or dropped.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use futures::{StreamExt, stream};
use sha2::{Digest, Sha256};

use super::{Action, End, Hand};
use crate::journal::Record;
use crate::ledger::{Content, LedgerError};
use crate::message::{BATCH_ENTRIES, Id, Message, Value};
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
    /// Those of which the table does not know the name: what they contain.
    unknown: Vec<(String, Content)>,
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
        let unknown = std::mem::take(&mut seen.unknown);
        if let Err(error) = self.remove_surplus(unknown, &mut seen.stays).await {
            tracing::error!(%error, "the checkpoint table cannot be read");
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
                Ok(Copy::Unknown) => {
                    let content = content(&message);
                    seen.unknown.push((message.message_id, content));
                }
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
            let may_have_more = wanted.get(&id).is_some_and(|r| r.holding);
            let settled = self.settle_one(id, message, may_have_more, deadline).await;
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

    /// A send into the hold queue whose answer was lost may have left a copy whose name the table does not know; the message was put there
    /// again. When that one is settled, what has the same content is that copy.
    async fn remove_surplus(
        &self,
        unknown: Vec<(String, Content)>,
        stays: &mut HashMap<String, String>,
    ) -> Result<(), LedgerError> {
        let contents: Vec<Content> = unknown.iter().map(|(_, content)| *content).collect();
        let of = self.hand.ledger.ids_of(&contents).await?;
        let ids: Vec<Id> = of.iter().flatten().copied().collect();
        let records = self.hand.ledger.records(&ids).await?;
        let over: HashSet<Id> = ids
            .into_iter()
            .zip(&records)
            .filter(|(_, record)| is_over(record))
            .map(|(id, _)| id)
            .collect();
        let mut left = 0;
        for ((name, _), id) in unknown.iter().zip(of) {
            let (Some(id), Some(handle)) = (id.filter(|id| over.contains(id)), stays.get(name))
            else {
                left += 1;
                continue;
            };
            if self.delete_by(handle).await {
                tracing::info!(%id, "another copy of it is out of the hold queue: the answer to its send was lost");
                stays.remove(name);
            }
        }
        if left > 0 {
            tracing::info!(
                messages = left,
                "the hold queue has messages of which the table knows nothing: they are left there"
            );
        }
        Ok(())
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

/// What a faithful copy has in common with its original and every other copy.
pub(super) fn content(message: &Message) -> Content {
    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    };
    add(message.body.as_bytes());
    for text in [&message.group_id, &message.trace_header] {
        add(&[u8::from(text.is_some())]);
        add(text.as_deref().unwrap_or_default().as_bytes());
    }
    let mut attributes: Vec<_> = message.attributes.iter().collect();
    attributes.sort_by_key(|a| &a.name);
    for attribute in attributes {
        add(attribute.name.as_bytes());
        add(attribute.data_type.as_bytes());
        match &attribute.value {
            Value::Text(text) => add(text.as_bytes()),
            Value::Binary(bytes) => add(bytes),
        }
    }
    hash.finalize().into()
}
