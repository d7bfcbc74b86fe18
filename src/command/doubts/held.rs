//! Settles messages that lie in the hold queue. A record's transition comes before anything is sent or deleted, so that whoever did
//! not make it does nothing; an answer that was lost is told and never made up for.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use super::settle::{End, is_open};
use crate::drain::Settings;
use crate::drain::copy::{destination_of, group_of, outgoing};
use crate::journal::{Fact, Record, RecordState};
use crate::ledger::{Ledger, LedgerError, Transition};
use crate::message::{BATCH_ENTRIES, Id, Message, ReceiptOutcome, SendOutcome};
use crate::pace::{Pacer, share_of};
use crate::port::{Clock, Moment, Ports, Sink, Source};

/// Long polls in a row that find nothing new before the hold queue counts as read.
const EMPTY_POLLS: u32 = 2;

/// How often a send that surely did not happen, or a call to the table, is tried.
const TRIES: u32 = 4;

/// What is said of a message whose send by hand had no answer.
const UNCLEAR: &str =
    "sent by hand before, the answer was not seen: it is never sent a second time";

/// What settling held messages needs.
pub struct Hold<'a, P: Ports> {
    /// The table.
    pub ledger: &'a Ledger<P>,
    /// The hold queue, received from.
    pub queue: Rc<P::Source>,
    /// The destinations, in the order of the settings.
    pub sinks: &'a [Rc<P::Sink>],
    /// Time.
    pub clock: &'a Rc<P::Clock>,
    /// The route's settings.
    pub settings: &'a Settings,
    /// Whose hand it is: fresh for each call of the command.
    pub by: &'a str,
}

/// Reads the hold queue through and settles the ids asked for; what else is found there is made visible again at the end. One
/// end for each id asked for.
pub async fn settle<P: Ports>(
    hold: &Hold<'_, P>,
    send: bool,
    wanted: BTreeMap<Id, Record>,
) -> BTreeMap<Id, End> {
    let t = &hold.settings.timings;
    let pacer = Pacer::new(hold.clock.clone());
    pacer.set(
        share_of(hold.settings.rate),
        hold.settings.burst.unwrap_or(BATCH_ENTRIES as u32),
    );
    let mut ends: BTreeMap<Id, End> = BTreeMap::new();
    // Everything received that stays: the newest handle by the hold queue's message id.
    let mut others: HashMap<String, String> = HashMap::new();
    let mut empty = 0;
    while empty < EMPTY_POLLS {
        let began = hold.clock.now();
        let received = hold
            .queue
            .receive(BATCH_ENTRIES, t.poll, t.visibility)
            .await;
        let messages = match received {
            Ok(messages) => messages,
            Err(error) => {
                tracing::error!(code = %error.code, "the hold queue cannot be received from");
                break;
            }
        };
        let mut found_new = false;
        for message in messages {
            // One that comes back was not settled before and is not settled now.
            if let Some(handle) = others.get_mut(&message.message_id) {
                *handle = message.receipt_handle;
                continue;
            }
            found_new = true;
            others.insert(message.message_id.clone(), message.receipt_handle.clone());
            let id = match hold.source_id(&message).await {
                Ok(Some(id)) if wanted.contains_key(&id) => id,
                Ok(_) => continue,
                Err(error) => {
                    tracing::error!(%error, "the checkpoint table cannot be read");
                    continue;
                }
            };
            let deadline = began.after(t.sendable());
            let surplus = matches!(ends.get(&id), Some(End::Sent(_) | End::Dropped(_)));
            let held_as = message.message_id.clone();
            let (end, gone) = match (surplus, send) {
                (true, _) => (ends.get(&id).cloned(), hold.delete(&message).await),
                (_, true) => hold.send(id, message, &pacer, deadline).await,
                (_, false) => hold.drop(id, &message).await,
            };
            if gone {
                others.remove(&held_as);
            }
            if let Some(end) = end {
                ends.insert(id, end);
            }
        }
        empty = if found_new { 0 } else { empty + 1 };
    }
    hold.give_back(others.into_values()).await;
    for (id, record) in wanted {
        ends.entry(id).or_insert_with(|| not_found(&record));
    }
    ends
}

/// The end of an id of which the hold queue showed no copy.
fn not_found(record: &Record) -> End {
    if record.sent || record.dropped {
        return End::Already(record.state().to_string());
    }
    if record.settled {
        return End::Already(UNCLEAR.to_owned());
    }
    End::Failed(
        "its copy was not found in the hold queue: it may be in flight there, or gone".to_owned(),
    )
}

impl<P: Ports> Hold<'_, P> {
    /// The source's id of a message in the hold queue; `None`: the table does not know it. A FIFO hold queue's copies carry the
    /// source's id themselves, as deduplication id.
    async fn source_id(&self, message: &Message) -> Result<Option<Id>, LedgerError> {
        if let Some(id) = self.ledger.id_held_as(&message.message_id).await? {
            return Ok(Some(id));
        }
        let carried = match &message.deduplication_id {
            Some(text) if !self.settings.original_deduplication => Id::of(text),
            _ => return Ok(None),
        };
        let records = self.ledger.records(&[carried]).await?;
        let ours = records.first().is_some_and(|r| r.held || r.holding);
        Ok(ours.then_some(carried))
    }

    /// Makes a transition, trying again with the same token while the table does not answer.
    async fn transition(&self, id: Id, send: bool) -> Result<Transition, LedgerError> {
        let mut tries = 1;
        loop {
            let made = match send {
                true => self.ledger.send_by_hand(id, self.by).await,
                false => self.ledger.drop_by_hand(id, self.by).await,
            };
            match made {
                Err(LedgerError::Store(_)) if tries < TRIES => tries += 1,
                other => return other,
            }
            self.clock.sleep(Duration::from_millis(200)).await;
        }
    }

    /// Drops a held message: first its record, then its copy. True: the copy is gone.
    async fn drop(&self, id: Id, message: &Message) -> (Option<End>, bool) {
        let before = match self.transition(id, false).await {
            Ok(Transition::Made) => None,
            // Sent, settled or dropped: what lies here is a copy that nobody is owed.
            Ok(Transition::Refused(record)) => Some(record.state().to_string()),
            Err(error) => {
                return (
                    Some(End::Failed(format!("{error}; ask `sqs-drain doubts list`"))),
                    false,
                );
            }
        };
        let gone = self.delete(message).await;
        let end = match (before, gone) {
            (None, true) => End::Dropped("its copy is out of the hold queue".to_owned()),
            (Some(state), true) => {
                End::Already(format!("{state}; its copy is out of the hold queue now"))
            }
            (_, false) => End::Failed(
                "it is dropped, but its copy is still in the hold queue: drop it again".to_owned(),
            ),
        };
        (Some(end), gone)
    }

    /// Sends a held message to its destination: first the transition, then the copy, then the delete. True: the copy in the hold
    /// queue is gone.
    async fn send(
        &self,
        id: Id,
        mut message: Message,
        pacer: &Pacer<P::Clock>,
        deadline: Moment,
    ) -> (Option<End>, bool) {
        match self.transition(id, true).await {
            Ok(Transition::Made) => {}
            Ok(Transition::Refused(record)) => {
                let unclear = record.state() == RecordState::Settled && !record.sent;
                let state = match unclear {
                    true => UNCLEAR.to_owned(),
                    false => record.state().to_string(),
                };
                return (
                    Some(End::Already(format!(
                        "{state}; --drop removes its copy from the hold queue"
                    ))),
                    false,
                );
            }
            Err(error) => {
                return (
                    Some(End::Failed(format!("{error}; ask `sqs-drain doubts list`"))),
                    false,
                );
            }
        }
        // Towards the destination it is the source's message, as a lane would have sent it.
        message.id = id;
        message.message_id = id.to_string();
        let place = destination_of(self.settings, &message);
        let (Some(sink), Some(facts)) =
            (self.sinks.get(place), self.settings.destinations.get(place))
        else {
            return (Some(self.undo(id, "no destination").await), false);
        };
        let mut why = String::new();
        for _ in 0..TRIES {
            pacer.take(1).await;
            if self.clock.now() >= deadline {
                return (
                    Some(
                        self.undo(id, "its time in hand was over, run the command again")
                            .await,
                    ),
                    false,
                );
            }
            if !is_open(self.settings, self.clock.wall()) {
                return (Some(self.undo(id, "the window is shut").await), false);
            }
            let group = group_of(self.settings, facts, &message);
            let entry = outgoing(self.settings, facts, &message, &group);
            match sink.send(&[entry]).await.into_iter().next() {
                Some(SendOutcome::Accepted { .. }) => {
                    return self.sent(id, &message, &facts.name).await;
                }
                Some(SendOutcome::Retry(code)) => {
                    why = code;
                    self.clock.sleep(Duration::from_millis(500)).await;
                }
                Some(SendOutcome::Rejected(code) | SendOutcome::Stopped(code)) => {
                    return (Some(self.undo(id, &code).await), false);
                }
                Some(SendOutcome::Unknown(_)) | None => {
                    let words = "the answer was lost: it may or may not have been sent, and is never sent again by hand; --drop removes its copy from the hold queue";
                    return (Some(End::Failed(words.to_owned())), false);
                }
            }
        }
        (Some(self.undo(id, &why).await), false)
    }

    /// The destination accepted it.
    async fn sent(&self, id: Id, message: &Message, to: &str) -> (Option<End>, bool) {
        if let Err(error) = self.ledger.add_fact(id, Fact::Sent, self.by).await {
            tracing::warn!(%error, %id, "that the message was sent could not be written down");
        }
        let gone = self.delete(message).await;
        let left = match gone {
            true => String::new(),
            false => "; its copy is still in the hold queue: remove it with --drop".to_owned(),
        };
        (Some(End::Sent(format!("to {to}{left}"))), gone)
    }

    /// Surely not sent: the transition is taken back.
    async fn undo(&self, id: Id, why: &str) -> End {
        match self.ledger.unsend_by_hand(id, self.by).await {
            Ok(()) => End::Failed(format!("not sent ({why}): it stays in the hold queue")),
            Err(error) => End::Failed(format!(
                "not sent ({why}), and the table still says that it was begun ({error}): it can only be dropped"
            )),
        }
    }

    /// Deletes a copy from the hold queue. True: it is gone.
    async fn delete(&self, message: &Message) -> bool {
        let handles = [message.receipt_handle.clone()];
        for _ in 0..TRIES {
            match self.queue.delete(&handles).await.first() {
                Some(ReceiptOutcome::Done) => return true,
                Some(ReceiptOutcome::Retry(_)) => {
                    self.clock.sleep(Duration::from_millis(200)).await;
                }
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
