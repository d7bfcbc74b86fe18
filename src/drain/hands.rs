//! What this process has in hand, and what it sent lately: for its own ids a process trusts its memory.

use std::collections::{HashMap, HashSet};

use crate::message::Id;
use crate::port::Moment;

/// How many recently sent ids are remembered, at least; at most twice as many (about 2 MB of slots).
const RECENT: usize = 32_768;

/// How many bytes of messages may be in hand before lanes stop receiving, and about how many there are at most: each is held once more while
/// it is being sent, in the request's own form. (SQS allows a message of 1 MiB.)
pub const FULL_BYTES: usize = 32 << 20;

/// A set that forgets its oldest members, in two generations.
#[derive(Default)]
pub struct Lately {
    young: HashSet<Id>,
    old: HashSet<Id>,
}

impl Lately {
    /// Adds an id.
    pub fn insert(&mut self, id: Id) {
        if self.young.len() >= RECENT {
            // The older generation's memory serves the next one.
            std::mem::swap(&mut self.old, &mut self.young);
            self.young.clear();
        }
        self.young.insert(id);
    }

    /// Whether the id was added lately.
    pub fn contains(&self, id: Id) -> bool {
        self.young.contains(&id) || self.old.contains(&id)
    }
}

/// A later receive of what is in hand.
pub struct Newer {
    /// Its receipt handle, which takes the place of the older ones.
    pub handle: String,
    /// The start of its request.
    pub received_at: Moment,
}

/// One id in hand.
struct InHand {
    newest: Option<Newer>,
    bytes: usize,
}

/// The ids in hand, each with its newest receive where there was a later one.
#[derive(Default)]
pub struct Hands {
    ids: HashMap<Id, InHand>,
    bytes: usize,
    /// What was accepted by a destination (or is otherwise done) lately.
    pub done: Lately,
    /// Without a table only: sends whose answer was lost.
    pub doubtful: Lately,
    /// Messages the destination refused and that stay hidden in the source.
    pub parked: Lately,
}

/// What memory says of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Not in hand and not done lately; it is in hand now.
    New,
    /// In hand: this delivery's handle replaces the older one, the deadline stays.
    InHand,
    /// Done lately: it is in hand now, and only its delete is owed.
    Done,
}

impl Hands {
    /// Takes a delivery of so many bytes in hand, or recognises it.
    pub fn take(&mut self, id: Id, handle: &str, received_at: Moment, bytes: usize) -> Seen {
        if let Some(known) = self.ids.get_mut(&id) {
            known.newest = Some(Newer {
                handle: handle.to_owned(),
                received_at,
            });
            return Seen::InHand;
        }
        let newest = None;
        self.ids.insert(id, InHand { newest, bytes });
        self.bytes += bytes;
        if self.done.contains(id) {
            Seen::Done
        } else {
            Seen::New
        }
    }

    /// The newest receive that came after the first, if any.
    pub fn newest(&self, id: Id) -> Option<&Newer> {
        self.ids.get(&id).and_then(|known| known.newest.as_ref())
    }

    /// Lets go of an id.
    pub fn drop(&mut self, id: Id) {
        if let Some(known) = self.ids.remove(&id) {
            self.bytes -= known.bytes;
        }
    }

    /// Whether there is as much in hand as may be: see [`FULL_BYTES`].
    pub fn is_full(&self) -> bool {
        self.bytes >= FULL_BYTES
    }

    /// How many ids are in hand.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether nothing is in hand.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}
