//! One delivery in hand, and what becomes of it.

use std::cell::{Cell, RefCell};

use tokio::sync::OwnedSemaphorePermit;

use crate::journal::{Class, Entry, Mark, RecordState, Totals};
use crate::message::Message;
use crate::port::Moment;

/// What is to be done with a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send to its destination, as this attempt (0: the first).
    Send {
        /// The attempt's number.
        attempt: u8,
        /// The owner to take a doubt over from, when the transition is still to be made.
        from: Option<String>,
    },
    /// Only the delete is owed.
    Delete,
    /// To the hold queue.
    Hold {
        /// A copy may be there already.
        again: bool,
    },
    /// To the reject queue, without asking the destination again.
    Reject,
    /// Hide it in the source: it was refused already.
    Park {
        /// In this run, which has counted it.
        again: bool,
    },
    /// Leave it in the source as it is.
    Leave,
}

/// How an unsent message goes back to the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Back {
    /// Visible again at once.
    Now,
    /// When its visibility runs out.
    Later,
}

/// How far a delivery has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing has been decided.
    Open,
    /// The destination accepted it.
    Sent,
    /// Nothing was owed but the delete.
    Known,
    /// The destination refused it for its own sake, with this code; a copy is owed to the reject queue, or it is parked.
    Refused(String),
    /// The reject queue accepted it.
    Rejected,
    /// The hold queue accepted it, under this message id.
    Held(String),
    /// The answer was lost.
    Unknown,
    /// Surely not sent.
    Unsent(Back),
}

/// One receive of one message.
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// No send starts after this, and no delete answered after it counts. Read by `Context::deadline`.
    pub(super) deadline: Moment,
    /// Others may receive it from then on.
    pub visible_at: Moment,
    /// What is to be done.
    pub step: Step,
    /// At-most-once: the token of our claim.
    pub claim: Option<String>,
    /// What became of it.
    pub fate: RefCell<Fate>,
    /// Refused, and no reject queue took it: to be hidden in the source.
    pub park: Cell<bool>,
    /// Refused, and the reject queue's answer about its copy was lost.
    pub copy_lost: Cell<bool>,
    entered: Cell<bool>,
    counted: Cell<bool>,
}

impl Delivery {
    /// A delivery about which nothing has been decided.
    pub fn new(message: Message, deadline: Moment, visible_at: Moment, step: Step) -> Self {
        Self {
            message,
            deadline,
            visible_at,
            step,
            claim: None,
            fate: RefCell::new(Fate::Open),
            park: Cell::new(false),
            copy_lost: Cell::new(false),
            entered: Cell::new(false),
            counted: Cell::new(false),
        }
    }

    /// Counts it as received, once.
    pub fn enter(&self, totals: &mut Totals) {
        if !self.entered.replace(true) {
            totals.received += 1;
        }
    }

    /// Counts it into the class it ended in, once; an undecided one is not counted.
    pub fn count(&self, totals: &mut Totals) {
        let Some(class) = self.class() else { return };
        if self.counted.replace(true) {
            return;
        }
        self.enter(totals);
        totals.classify(class);
        let (again, settles) = match (class, &self.step) {
            (Class::Sent, Step::Send { attempt, .. }) => (*attempt > 0, *attempt > 0),
            (Class::Held, Step::Hold { again }) => (*again, true),
            (Class::Rejected, Step::Reject) => (true, false),
            (Class::Rejected, Step::Send { .. } | Step::Park { again: false }) => {
                totals.parked += u64::from(self.park.get());
                (false, false)
            }
            _ => (false, false),
        };
        totals.possible_duplicates += u64::from(again);
        totals.doubts_settled += u64::from(settles);
    }

    /// Whether anything has been decided.
    pub fn is_open(&self) -> bool {
        *self.fate.borrow() == Fate::Open
    }

    /// Whether the destination refused it.
    pub fn is_refused(&self) -> bool {
        matches!(*self.fate.borrow(), Fate::Refused(_))
    }

    /// Decides.
    pub fn decide(&self, fate: Fate) {
        self.fate.replace(fate);
    }

    /// The number of the send attempt this delivery is for.
    pub fn attempt(&self) -> u8 {
        match self.step {
            Step::Send { attempt, .. } => attempt,
            _ => 0,
        }
    }

    /// How it stands in the page, by what has become of it so far; `None`: it does not stand there.
    pub fn entry(&self) -> Option<Entry> {
        let mark = match (&*self.fate.borrow(), &self.step) {
            (Fate::Open, Step::Send { .. }) => Mark::Prepared,
            (Fate::Open, Step::Hold { .. }) => Mark::Holding,
            (Fate::Open, Step::Reject) => Mark::Rejecting,
            (Fate::Open, _) => return None,
            (Fate::Sent, _) => Mark::Sent,
            (Fate::Refused(_), _) => Mark::Rejecting,
            (Fate::Rejected, _) => Mark::Rejected,
            (Fate::Held(_), _) => Mark::Held,
            (Fate::Unknown, Step::Hold { .. }) => Mark::Holding,
            (Fate::Unknown, Step::Reject) => Mark::Rejecting,
            (Fate::Unknown, _) => Mark::InDoubt,
            (Fate::Known | Fate::Unsent(_), _) => return None,
        };
        Some(Entry {
            id: self.message.id,
            mark,
            attempt: self.attempt(),
        })
    }

    /// The class it ends in; `None` while it is undecided.
    pub fn class(&self) -> Option<Class> {
        Some(match &*self.fate.borrow() {
            Fate::Open => return None,
            Fate::Sent => Class::Sent,
            Fate::Known => Class::Deduplicated,
            Fate::Refused(_) | Fate::Rejected => Class::Rejected,
            Fate::Held(_) => Class::Held,
            Fate::Unknown => Class::InDoubt,
            Fate::Unsent(_) => Class::Released,
        })
    }

    /// How it is listed when it is in trouble, with the destination's code where it was refused.
    pub fn trouble(&self) -> Option<(RecordState, Option<String>)> {
        match (&*self.fate.borrow(), &self.step) {
            (Fate::Unknown, Step::Hold { .. }) => Some((RecordState::Held, None)),
            (Fate::Unknown, Step::Reject) => Some((RecordState::Rejected, None)),
            (Fate::Unknown, _) => Some((RecordState::InDoubt, None)),
            (Fate::Sent, Step::Send { attempt, .. }) if *attempt > 0 => {
                Some((RecordState::Resent, None))
            }
            (Fate::Held(_), _) => Some((RecordState::Held, None)),
            (Fate::Rejected, _) => Some((RecordState::Rejected, None)),
            (Fate::Refused(code), _) => Some((RecordState::Parked, Some(code.clone()))),
            _ => None,
        }
    }
}

/// Deliveries to be asked about. All of them were received before they were handed over, so a watch that begins now begins
/// after each of these receives.
pub type Asked = Vec<Delivery>;

/// A page's deliveries on their way to the lane that works on them.
pub struct Gathered {
    /// The deliveries.
    pub deliveries: Vec<Delivery>,
    /// The place this page takes among those its lane may have in hand.
    pub slot: Option<OwnedSemaphorePermit>,
}
