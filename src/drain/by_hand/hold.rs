//! Settling what lies in the hold queue: it is read through once, and each copy asked for is sent or dropped.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use futures::{StreamExt, stream};
use sha2::{Digest, Sha256};

use super::super::copy::{destination_of, group_of, outgoing};
use super::{Action, End, Hand, is_open};
use crate::journal::{Fact, Record, RecordState};
use crate::ledger::{Content, LedgerError, Transition};
use crate::message::{BATCH_ENTRIES, Id, Message, ReceiptOutcome, SendOutcome, Value};
use crate::pace::{Pacer, share_of};
use crate::port::{Clock, Moment, Ports, Sink, Source};

/// Long polls in a row that find nothing new before the hold queue counts as read.
const EMPTY_POLLS: u32 = 2;

/// How often a send that surely did not happen, or a call to the table, is tried.
const TRIES: u32 = 4;

/// What is said of a message whose send by hand had no answer.
const UNCLEAR: &str =
    "sent by hand before, and the answer was not seen: it may or may not have been delivered";

/// One reading of the hold queue.
pub struct Pass<'a, P: Ports> {
    hand: &'a Hand<'a, P>,
    queue: Rc<P::Source>,
    action: Action,
    by: &'a str,
    pacer: Pacer<P::Clock>,
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

/// What became of a copy.
struct Settled {
    end: End,
    /// Nobody is owed a copy of this message any more.
    over: bool,
    /// The copy is out of the hold queue.
    gone: bool,
}

impl Settled {
    /// The message stays owed, and its copy where it is.
    fn not(end: End) -> Self {
        Self {
            end,
            over: false,
            gone: false,
        }
    }
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

    /// Settles the copy of a message. `may_have_more`: the hold queue may have taken others whose names the table does not know.
    async fn settle_one(
        &self,
        id: Id,
        message: Message,
        may_have_more: bool,
        deadline: Moment,
    ) -> Settled {
        if may_have_more
            && let Err(error) = self.hand.ledger.note_content(id, &content(&message)).await
        {
            return Settled::not(table_trouble(&error));
        }
        match self.action {
            Action::Send { again } => self.send(id, message, again, deadline).await,
            Action::Drop => self.drop(id, &message).await,
        }
    }

    /// Makes a transition, trying again with the same token while the table does not answer.
    async fn transition(&self, id: Id, from: Option<&str>) -> Result<Transition, LedgerError> {
        let ledger = self.hand.ledger;
        let mut tries = 1;
        loop {
            let made = match self.action {
                Action::Send { .. } => ledger.send_by_hand(id, from, self.by).await,
                Action::Drop => ledger.drop_by_hand(id, self.by).await,
            };
            match made {
                Err(LedgerError::Store(_)) if tries < TRIES => tries += 1,
                other => return other,
            }
            self.pause().await;
        }
    }

    async fn pause(&self) {
        self.hand.clock.sleep(Duration::from_millis(200)).await;
    }

    /// Drops a held message: first its record, then its copy.
    async fn drop(&self, id: Id, message: &Message) -> Settled {
        match self.transition(id, None).await {
            Ok(Transition::Made) => match self.delete(message).await {
                true => over(
                    End::Dropped("its copy is out of the hold queue".into()),
                    true,
                ),
                false => over(
                    End::Failed(
                        "it is dropped, but its copy is still in the hold queue: drop it again"
                            .into(),
                    ),
                    false,
                ),
            },
            Ok(Transition::Refused(record)) => self.finish(&record, message).await,
            Err(error) => Settled::not(table_trouble(&error)),
        }
    }

    /// The record says that it is sent or dropped: what lies here is a copy that nobody is owed.
    async fn finish(&self, record: &Record, message: &Message) -> Settled {
        let state = match record.sent {
            true => "sent".to_owned(),
            false => record.state().to_string(),
        };
        match self.delete(message).await {
            true => over(
                End::Already(format!("{state}; its copy is out of the hold queue now")),
                true,
            ),
            false => over(
                End::Failed(format!(
                    "it is {state}, but its copy is still in the hold queue: run the command again"
                )),
                false,
            ),
        }
    }

    /// Sends a held message to its destination: first the transition, then the copy, then the delete.
    async fn send(&self, id: Id, mut message: Message, again: bool, deadline: Moment) -> Settled {
        let mut first = true;
        let mut made = self.transition(id, None).await;
        if let Ok(Transition::Refused(record)) = &made
            && record.state() == RecordState::Settling
        {
            // Whoever began has no time left: this copy was hidden as long as it had any.
            let (Some(before), true) = (&record.settled_by, again) else {
                return Settled::not(End::Refused(format!(
                    "{UNCLEAR}; --send --again sends it once more, --drop removes its copy from the hold queue"
                )));
            };
            first = false;
            made = self.transition(id, Some(before)).await;
        }
        match made {
            Ok(Transition::Made) => {}
            Ok(Transition::Refused(record)) if record.sent || record.dropped => {
                return self.finish(&record, &message).await;
            }
            Ok(Transition::Refused(_)) => {
                let words = "somebody else is sending it by hand";
                return Settled::not(End::Refused(words.to_owned()));
            }
            Err(error) => return Settled::not(table_trouble(&error)),
        }
        // Towards the destination it is the source's message, as a lane would have sent it.
        message.id = id;
        message.message_id = id.to_string();
        match self.send_copy(&message, deadline).await {
            Ok(to) => self.sent(id, &message, &to).await,
            Err(Some(why)) => Settled::not(self.undo(id, &why, first).await),
            Err(None) => Settled::not(End::Failed(
                "the answer was lost: it may or may not have been delivered; --send --again sends it once more, --drop removes its copy \
                 from the hold queue"
                    .to_owned(),
            )),
        }
    }

    /// Sends a copy, and tries again what surely did not happen. Answers with the destination's name; otherwise with why it was surely not
    /// sent, or `None` where the answer was lost.
    async fn send_copy(
        &self,
        message: &Message,
        deadline: Moment,
    ) -> Result<String, Option<String>> {
        let Hand {
            sinks,
            clock,
            settings,
            ..
        } = self.hand;
        let place = destination_of(settings, message);
        let (Some(sink), Some(facts)) = (sinks.get(place), settings.destinations.get(place)) else {
            return Err(Some("no destination".to_owned()));
        };
        let mut why = String::new();
        for _ in 0..TRIES {
            self.pacer.take(1).await;
            if clock.now() >= deadline {
                return Err(Some(
                    "its time in hand was over, run the command again".into(),
                ));
            }
            if !is_open(settings, clock.wall()) {
                return Err(Some("the window is shut".to_owned()));
            }
            let group = group_of(settings, facts, message);
            let entry = outgoing(settings, facts, message, &group);
            match sink.send(&[entry]).await.into_iter().next() {
                Some(SendOutcome::Accepted { .. }) => return Ok(facts.name.clone()),
                Some(SendOutcome::Retry(code)) => {
                    why = code;
                    clock.sleep(Duration::from_millis(500)).await;
                }
                Some(SendOutcome::Rejected(code) | SendOutcome::Stopped(code)) => {
                    return Err(Some(code));
                }
                Some(SendOutcome::Unknown(_)) | None => return Err(None),
            }
        }
        Err(Some(why))
    }

    /// The destination accepted it.
    async fn sent(&self, id: Id, message: &Message, to: &str) -> Settled {
        let mut untold = String::new();
        for _ in 0..TRIES {
            match self.hand.ledger.add_fact(id, Fact::Sent, self.by).await {
                Ok(()) => {
                    untold.clear();
                    break;
                }
                Err(error) => untold = format!("; the table could not be told ({error})"),
            }
            self.pause().await;
        }
        let gone = self.delete(message).await;
        let left = match gone {
            true => "",
            false => {
                "; its copy is still in the hold queue: the same command removes it, and sends nothing"
            }
        };
        over(End::Sent(format!("to {to}{untold}{left}")), gone)
    }

    /// Surely not sent: the transition is taken back. One that was begun again stays as unclear as it was.
    async fn undo(&self, id: Id, why: &str, first: bool) -> End {
        let undone = self.hand.ledger.unsend_by_hand(id, self.by).await;
        End::Failed(match (undone, first) {
            (Ok(()), true) => format!("not sent ({why}): it stays in the hold queue"),
            (Ok(()), false) => format!("not sent once more ({why}); {UNCLEAR}"),
            (Err(error), _) => format!(
                "not sent ({why}), and the table still says that it was begun ({error}): --send --again sends it"
            ),
        })
    }

    /// The end of an id of which the hold queue showed no copy.
    async fn not_found(&self, id: Id, record: &Record, trouble: Option<&str>) -> End {
        if let Some(trouble) = trouble {
            return End::Failed(format!(
                "the hold queue could not be read through ({trouble}): run the command again"
            ));
        }
        if record.sent || record.dropped {
            return End::Already(record.state().to_string());
        }
        let drops = self.action == Action::Drop;
        // Its copy was never seen to arrive: then its original is still in the source.
        let in_source = !record.held;
        if drops && (in_source || record.settled) {
            return match self.transition(id, None).await {
                Ok(Transition::Made) if in_source => {
                    End::Dropped("its next delivery is only deleted".to_owned())
                }
                Ok(Transition::Made) => End::Dropped(
                    "its copy was not found in the hold queue: if it turns up there, the next `doubts settle` removes it"
                        .to_owned(),
                ),
                Ok(Transition::Refused(now)) => End::Already(now.state().to_string()),
                Err(error) => table_trouble(&error),
            };
        }
        if in_source {
            return End::Refused(
                "it is still in the source: the next run puts it into the hold queue, send it from there"
                    .to_owned(),
            );
        }
        let before = match record.settled {
            true => format!("{UNCLEAR}; "),
            false => String::new(),
        };
        End::Failed(format!(
            "{before}its copy was not found in the hold queue: it may be in flight there, or gone"
        ))
    }

    /// Deletes a copy from the hold queue. True: it is gone.
    async fn delete(&self, message: &Message) -> bool {
        self.delete_by(&message.receipt_handle).await
    }

    async fn delete_by(&self, handle: &str) -> bool {
        let handles = [handle.to_owned()];
        for _ in 0..TRIES {
            match self.queue.delete(&handles).await.first() {
                Some(ReceiptOutcome::Done) => return true,
                Some(ReceiptOutcome::Retry(_)) => self.pause().await,
                Some(ReceiptOutcome::Stale(_)) | None => return false,
            }
        }
        false
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

fn over(end: End, gone: bool) -> Settled {
    Settled {
        end,
        over: true,
        gone,
    }
}

fn table_trouble(error: &LedgerError) -> End {
    End::Failed(format!("{error}; the list of doubts says how it stands"))
}

/// What a faithful copy has in common with its original and every other copy.
fn content(message: &Message) -> Content {
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
