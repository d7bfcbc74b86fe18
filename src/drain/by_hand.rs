//! Settling doubts by hand: what becomes of each is decided by its record, and every change of a record has one owner.
//!
//! ```text
//! in the source     drop: the record says dropped; the next delivery is only deleted
//! in the hold queue send: begin (a transition of the record) -> send -> the record says sent -> delete the copy
//!                   drop: the record says dropped -> delete the copy
//! ```
//!
//! A copy in hand is hidden from everybody else, so of two hands at once only one has it, and none begins a send that could end
//! after somebody else has received the copy. Killed anywhere, the next call goes on: what the record says is sent or dropped has its
//! copy deleted; what was begun and not seen to end may or may not have been delivered, says so, and is sent again only on demand.

use std::collections::BTreeMap;
use std::rc::Rc;

use chrono::{DateTime, Utc};

use super::settings::Settings;
use crate::journal::{Delivery as Policy, Record, RecordState};
use crate::ledger::{Ledger, LedgerError, Transition};
use crate::message::Id;
use crate::port::{Clock, Ports, WallTimes};
use crate::window::State;

mod hold;
mod one;

use hold::Pass;

/// How one id ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Sent to its destination, which accepted it.
    Sent(String),
    /// Dropped: its next delivery, or its copy in the hold queue, is only deleted.
    Dropped(String),
    /// Nothing was left to do.
    Already(String),
    /// Not what may be done with it.
    Refused(String),
    /// It did not get through, or nobody knows.
    Failed(String),
}

/// What to do with doubts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send them to their destination.
    Send {
        /// Also those whose earlier send by hand had no answer: they may arrive twice.
        again: bool,
    },
    /// Drop them: they count as delivered.
    Drop,
}

/// What settling by hand needs.
pub struct Hand<'a, P: Ports> {
    /// The table.
    pub ledger: &'a Ledger<P>,
    /// The hold queue, received from; `None`: the route has none.
    pub hold: Option<Rc<P::Source>>,
    /// The destinations, in the order of the settings.
    pub sinks: &'a [Rc<P::Sink>],
    /// Time and chance.
    pub clock: &'a Rc<P::Clock>,
    /// The route's settings.
    pub settings: &'a Settings,
}

/// Whether the window permits a send now, by this machine's clock and by the service's.
pub fn is_open(settings: &Settings, times: WallTimes) -> bool {
    let margin = settings.closing_margin();
    let open = |t: DateTime<Utc>| match settings.window.state_at(t) {
        State::Open { closes_at, .. } => closes_at.is_none_or(|end| t + margin < end),
        State::Shut { .. } => false,
    };
    [Some(times.local), times.service]
        .into_iter()
        .flatten()
        .all(open)
}

/// Settles every id by what its record says. `tell` hears each id's end once, when it is known.
///
/// # Errors
/// When the table cannot be read or written before the hold queue is looked at; calling again goes on. Later trouble is the end of
/// the id that met it.
pub async fn settle<P: Ports>(
    hand: &Hand<'_, P>,
    action: Action,
    ids: &[Id],
    mut tell: impl FnMut(Id, End),
) -> Result<(), LedgerError> {
    // A token that nobody else bears, readable for people.
    let by = format!("hand/{:016x}", hand.clock.random());
    let mut held: BTreeMap<Id, Record> = BTreeMap::new();
    for (id, record) in ids.iter().zip(hand.ledger.records(ids).await?) {
        if record.held || record.holding {
            held.insert(*id, record);
        } else {
            tell(*id, hand.in_the_source(action, *id, &record, &by).await?);
        }
    }
    let Some(queue) = hand.hold.clone() else {
        let words = "it is in the hold queue: name that with --delivery at-most-once --hold QUEUE";
        held.into_keys()
            .for_each(|id| tell(id, End::Refused(words.to_owned())));
        return Ok(());
    };
    Pass::new(hand, queue, action, &by).work(held, tell).await;
    Ok(())
}

impl<P: Ports> Hand<'_, P> {
    /// A doubt whose message is, if anywhere, in the source.
    async fn in_the_source(
        &self,
        action: Action,
        id: Id,
        record: &Record,
        by: &str,
    ) -> Result<End, LedgerError> {
        let words = match (record.state(), action) {
            (RecordState::Unknown, _) => "the table knows nothing of it",
            (RecordState::InDoubt | RecordState::Claimed, Action::Drop) => {
                return Ok(match self.ledger.drop_by_hand(id, by).await? {
                    Transition::Made => End::Dropped("its next delivery is only deleted".into()),
                    Transition::Refused(now) => End::Already(now.state().to_string()),
                });
            }
            (RecordState::InDoubt | RecordState::Claimed, Action::Send { .. }) => {
                match self.settings.delivery {
                    Policy::AtMostOnce => {
                        "it is still in the source: the next run puts it into the hold queue, send it from there"
                    }
                    Policy::AtLeastOnce => {
                        "it is still in the source: the next run sends it again anyway"
                    }
                }
            }
            (state, _) => return Ok(End::Already(state.to_string())),
        };
        Ok(End::Refused(words.to_owned()))
    }
}
