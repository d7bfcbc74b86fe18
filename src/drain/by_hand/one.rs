//! Settling one copy of the hold queue: sent to its destination, or dropped. A transition of its record comes first.

use std::time::Duration;

use super::super::copy::{destination_of, group_of, outgoing};
use super::hold::Pass;
use super::{Action, End, Hand, is_open};
use crate::journal::{Fact, Record, RecordState};
use crate::ledger::{LedgerError, Transition};
use crate::message::{Id, Message, ReceiptOutcome, SendOutcome};
use crate::port::{Clock, Moment, Ports, Sink, Source};

/// How often a send that surely did not happen, or a call to the table, is tried.
const TRIES: u32 = 4;

/// What is said of a copy that could not be sent while it was hidden from others.
const LATE: &str = "its time in hand was over, run the command again";

/// What is said of a message whose send by hand had no answer.
const UNCLEAR: &str =
    "sent by hand before, and the answer was not seen: it may or may not have been delivered";

/// What became of a copy.
pub(super) struct Settled {
    /// What is told of it.
    pub end: End,
    /// Nobody is owed a copy of this message any more.
    pub over: bool,
    /// The copy is out of the hold queue.
    pub gone: bool,
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

impl<P: Ports> Pass<'_, P> {
    /// Settles the copy of a message.
    pub(super) async fn settle_one(&self, id: Id, message: Message, deadline: Moment) -> Settled {
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
        // Before the record says that it is begun: at a low rate the wait is long, and whoever is stopped in it has begun nothing.
        self.pacer.take(1).await;
        if self.hand.clock.now() >= deadline {
            return Settled::not(End::Failed(LATE.to_owned()));
        }
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
        for n in 0..TRIES {
            if n > 0 {
                self.pacer.take(1).await;
            }
            if clock.now() >= deadline {
                return Err(Some(LATE.to_owned()));
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
    pub(super) async fn not_found(&self, id: Id, record: &Record, trouble: Option<&str>) -> End {
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
            "{before}its copy was not found in the hold queue, where another call that was killed hides it for up to {} s, and others of its group may stand before it: run the command again then",
            self.hand.settings.timings.visibility.as_secs()
        ))
    }

    /// Deletes a copy from the hold queue. True: it is gone.
    pub(super) async fn delete(&self, message: &Message) -> bool {
        let handles = [message.receipt_handle.clone()];
        for _ in 0..TRIES {
            match self.queue.delete(&handles).await.first() {
                Some(ReceiptOutcome::Done) => return true,
                Some(ReceiptOutcome::Retry(_) | ReceiptOutcome::Unknown(_)) => self.pause().await,
                Some(ReceiptOutcome::Stale(_) | ReceiptOutcome::Denied(_)) | None => return false,
            }
        }
        false
    }
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
