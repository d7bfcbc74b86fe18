//! What the checkpoint table remembers of messages, as pure state machines.
//!
//! Two things are kept: a lane's *page* (the ids it has in hand and its running totals, one item, rewritten
//! often) and the *record* of a single id in trouble (one item, only ever added to). This module says what may
//! follow what; `crate::ledger` does the reading and writing.

use std::fmt;

use crate::message::Id;

/// The highest attempt number a page can tell; a message that has been sent again this often is left alone.
pub const ATTEMPTS_MAX: u8 = 30;

/// How far an id in a page has got. The distinctions are those a sweeper needs after its owner's death.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mark {
    /// Its send may be under way at any moment.
    Prepared,
    /// The destination accepted it; the delete is not settled yet.
    Sent,
    /// Its send's answer was lost.
    InDoubt,
    /// The destination refused it; its copy to the reject queue may be under way.
    Rejecting,
    /// The reject queue accepted it; the delete is not settled yet.
    Rejected,
    /// Its copy to the hold queue may be under way.
    Holding,
    /// The hold queue accepted it; the delete is not settled yet.
    Held,
}

impl Mark {
    const ALL: [Self; 7] = [
        Self::Prepared,
        Self::Sent,
        Self::InDoubt,
        Self::Rejecting,
        Self::Rejected,
        Self::Holding,
        Self::Held,
    ];

    /// Whether the delivery has been counted in a class when it bears this mark.
    pub fn is_counted(self) -> bool {
        !matches!(self, Self::Prepared | Self::Rejecting | Self::Holding)
    }
}

/// An id in a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Which message.
    pub id: Id,
    /// How far it got.
    pub mark: Mark,
    /// The number of the send attempt, over all processes: 0 is the first, each resend of a doubt adds one.
    pub attempt: u8,
}

/// In which class a delivery (one receive of one message) ended. Every delivery ends in exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Accepted by the destination.
    Sent,
    /// Known to be sent (or rejected, held, dropped) already, or in hand already: deleted or ignored.
    Deduplicated,
    /// Refused by the destination for the message's own sake.
    Rejected,
    /// Put into the hold queue.
    Held,
    /// Not sent; given back to the source.
    Released,
    /// Its send was under way when the process died or the answer was lost.
    InDoubt,
}

/// Running totals of deliveries; whatever adds to a class adds to `received` in the same step, except that a
/// page's prepared ids are received but not yet in a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Totals {
    /// Deliveries.
    pub received: u64,
    /// Accepted by the destination.
    pub sent: u64,
    /// Already known as done, or a second delivery of what is in hand.
    pub deduplicated: u64,
    /// Refused by the destination for the message's own sake.
    pub rejected: u64,
    /// Put into the hold queue.
    pub held: u64,
    /// Given back unsent.
    pub released: u64,
    /// Send under way at a death, or answer lost.
    pub in_doubt: u64,
    /// Told beside the balance: sends of messages that may have been delivered before.
    pub possible_duplicates: u64,
    /// Told beside the balance: doubts that came to an end (resent, held, dropped).
    pub doubts_settled: u64,
    /// Told beside the balance: rejected messages that stay hidden in the source because the route has no reject queue.
    pub parked: u64,
}

impl Totals {
    const FIELDS: usize = 10;

    fn fields(&self) -> [u64; Self::FIELDS] {
        [
            self.received,
            self.sent,
            self.deduplicated,
            self.rejected,
            self.held,
            self.released,
            self.in_doubt,
            self.possible_duplicates,
            self.doubts_settled,
            self.parked,
        ]
    }

    fn from_fields(f: [u64; Self::FIELDS]) -> Self {
        Self {
            received: f[0],
            sent: f[1],
            deduplicated: f[2],
            rejected: f[3],
            held: f[4],
            released: f[5],
            in_doubt: f[6],
            possible_duplicates: f[7],
            doubts_settled: f[8],
            parked: f[9],
        }
    }

    /// Counts a delivery that was received earlier into its class.
    pub fn classify(&mut self, class: Class) {
        *match class {
            Class::Sent => &mut self.sent,
            Class::Deduplicated => &mut self.deduplicated,
            Class::Rejected => &mut self.rejected,
            Class::Held => &mut self.held,
            Class::Released => &mut self.released,
            Class::InDoubt => &mut self.in_doubt,
        } += 1;
    }

    /// Deliveries that are in a class.
    pub fn classified(&self) -> u64 {
        self.sent + self.deduplicated + self.rejected + self.held + self.released + self.in_doubt
    }

    /// Whether every delivery is in exactly one class.
    pub fn is_balanced(&self) -> bool {
        self.received == self.classified()
    }

    /// Adds another lane's or process's totals.
    pub fn add(&mut self, other: &Self) {
        let mut sum = self.fields();
        for (a, b) in sum.iter_mut().zip(other.fields()) {
            *a += b;
        }
        *self = Self::from_fields(sum);
    }

    /// The totals as bytes: each number in LEB128, so that a page stays within its write unit.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(24);
        for mut n in self.fields() {
            loop {
                let byte = (n & 0x7f) as u8;
                n >>= 7;
                out.push(if n == 0 { byte } else { byte | 0x80 });
                if n == 0 {
                    break;
                }
            }
        }
        out
    }

    /// Reads what [`Totals::encode`] wrote; fields that a later version added read as zero here.
    ///
    /// # Errors
    /// When the bytes end inside a number.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut fields = [0u64; Self::FIELDS];
        let mut rest = bytes.iter();
        for field in &mut fields {
            let mut shift = 0;
            loop {
                let Some(byte) = rest.next() else {
                    return if shift == 0 {
                        Ok(Self::from_fields(fields))
                    } else {
                        Err(Malformed("totals"))
                    };
                };
                if shift > 63 {
                    return Err(Malformed("totals"));
                }
                *field |= u64::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
            }
        }
        Ok(Self::from_fields(fields))
    }
}

/// An item of the table that does not read as this program writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the checkpoint table holds a malformed item ({0}); was it written by another program?")]
pub struct Malformed(pub &'static str);

/// A lane's journal page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The ids in hand.
    pub entries: Vec<Entry>,
    /// The lane's running totals.
    pub totals: Totals,
}

impl Page {
    /// The ids as bytes: 16 of id, then one with the mark (3 bits) and the attempt (5 bits).
    pub fn encode_entries(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.entries.len() * 17);
        for entry in &self.entries {
            out.extend_from_slice(&entry.id.0);
            let mark = Mark::ALL.iter().position(|m| *m == entry.mark).unwrap_or(0) as u8;
            out.push(mark << 5 | entry.attempt.min(31));
        }
        out
    }

    /// Reads what [`Page::encode_entries`] wrote.
    ///
    /// # Errors
    /// When the length is no multiple of 17 or a mark is unknown.
    pub fn decode_entries(bytes: &[u8]) -> Result<Vec<Entry>, Malformed> {
        if !bytes.len().is_multiple_of(17) {
            return Err(Malformed("page"));
        }
        bytes
            .chunks_exact(17)
            .map(|chunk| {
                let mut id = [0; 16];
                id.copy_from_slice(&chunk[..16]);
                Ok(Entry {
                    id: Id(id),
                    mark: *Mark::ALL
                        .get(usize::from(chunk[16] >> 5))
                        .ok_or(Malformed("page"))?,
                    attempt: chunk[16] & 0x1f,
                })
            })
            .collect()
    }

    /// What a sweeper writes for this page of a dead process: for each id what its own record must say, and the totals.
    pub fn settle_for_the_dead(&self) -> (Vec<(Id, Fact)>, Totals) {
        let facts = self.entries.iter().map(|e| (e.id, Fact::of(e))).collect();
        (facts, self.totals_of_the_dead())
    }

    /// The totals with everything that is under way in this page counted as in doubt, as a sweeper counts it.
    pub fn totals_of_the_dead(&self) -> Totals {
        let mut totals = self.totals;
        for _ in self.entries.iter().filter(|e| !e.mark.is_counted()) {
            totals.classify(Class::InDoubt);
        }
        totals
    }
}

/// Something that is true of an id for ever once it is written into its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fact {
    /// The destination accepted it.
    Sent,
    /// The send attempt of this number may or may not have reached the destination.
    Doubt(u8),
    /// A copy to the reject queue may have been made; the destination surely refused it.
    Rejecting,
    /// The reject queue accepted it.
    Rejected,
    /// A copy to the hold queue may have been made.
    Holding,
    /// The hold queue accepted it.
    Held,
}

impl Fact {
    /// What must be remembered of a page's entry when the page goes.
    pub fn of(entry: &Entry) -> Self {
        match entry.mark {
            Mark::Prepared | Mark::InDoubt => Self::Doubt(entry.attempt),
            Mark::Sent => Self::Sent,
            Mark::Rejecting => Self::Rejecting,
            Mark::Rejected => Self::Rejected,
            Mark::Holding => Self::Holding,
            Mark::Held => Self::Held,
        }
    }

    /// As what an id is listed of which this is known, if it is.
    pub fn trouble(self) -> Option<RecordState> {
        match self {
            Self::Sent => None,
            Self::Doubt(_) => Some(RecordState::InDoubt),
            Self::Rejecting | Self::Rejected => Some(RecordState::Rejected),
            Self::Holding | Self::Held => Some(RecordState::Held),
        }
    }
}

/// The record of one id: its own item in the table. It only accumulates; for the next step the strongest fact counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The destination accepted it.
    pub sent: bool,
    /// One more than the highest attempt that is in doubt; 0: none.
    pub doubts: u8,
    /// The highest resend attempt that was begun; 0: none.
    pub resent: u8,
    /// Who began it.
    pub resent_by: Option<String>,
    /// Who claimed it (at-most-once).
    pub claimed_by: Option<String>,
    /// See [`Fact::Rejecting`].
    pub rejecting: bool,
    /// See [`Fact::Rejected`].
    pub rejected: bool,
    /// See [`Fact::Holding`].
    pub holding: bool,
    /// See [`Fact::Held`].
    pub held: bool,
    /// The hold queue's message id of the copy.
    pub held_as: Option<String>,
    /// Dropped by hand: nobody sends it any more.
    pub dropped: bool,
    /// Sent by hand out of the hold queue (`doubts settle --send`): begun.
    pub settled: bool,
    /// Who dropped it or began to send it by hand.
    pub settled_by: Option<String>,
    /// It was begun by hand again after an earlier send by hand whose answer nobody saw: it may have been delivered twice.
    pub again: bool,
    /// The run in which the destination refused it while the route had no reject queue.
    pub parked_in: Option<String>,
}

/// What to do with a redelivered message, by its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing is known of it: it is new.
    New,
    /// It is done; only the delete is owed.
    Delete,
    /// A doubt, and the policy says to send again, as this attempt. `from`: the owner whose resend never began.
    Resend {
        /// The number of the attempt.
        attempt: u8,
        /// The owner to take over from; `None` when the doubt has no owner yet.
        from: Option<String>,
    },
    /// To the hold queue.
    Hold {
        /// A copy may be in the hold queue already.
        again: bool,
    },
    /// To the reject queue, without asking the destination again.
    Reject,
    /// The destination refused it in this run already: hide it again.
    Park,
    /// Nobody may touch it any more (attempts exhausted): leave it in the source.
    Leave,
}

/// What a route does with a doubt, and whether it claims ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Send again, and count it in `possible_duplicates`.
    AtLeastOnce,
    /// Claim every id before its send; put a doubt into the hold queue.
    AtMostOnce,
}

impl Record {
    /// The record as it is once this fact is written into it.
    pub fn with(mut self, fact: Fact) -> Self {
        match fact {
            Fact::Sent => self.sent = true,
            Fact::Doubt(attempt) => self.doubts = self.doubts.max(attempt.saturating_add(1)),
            Fact::Rejecting => self.rejecting = true,
            Fact::Rejected => self.rejected = true,
            Fact::Holding => self.holding = true,
            Fact::Held => self.held = true,
        }
        self
    }

    /// The next step for a redelivered message whose record this is, when every process that could have had it in
    /// hand has been seen to let go of it or has been swept.
    pub fn next(&self, delivery: Delivery, run: &str) -> Next {
        if self.sent || self.rejected || self.held || self.dropped {
            return Next::Delete;
        }
        if self.holding {
            return Next::Hold { again: true };
        }
        if self.rejecting {
            return Next::Reject;
        }
        let in_doubt = self.doubts > 0 || self.claimed_by.is_some();
        match delivery {
            Delivery::AtMostOnce if in_doubt => return Next::Hold { again: false },
            Delivery::AtLeastOnce if self.doubts > 0 => {
                // `resent` is at most `doubts`: attempt k is begun only when attempt k-1 is in doubt.
                let attempt = self.doubts;
                if attempt > ATTEMPTS_MAX {
                    return Next::Leave;
                }
                let from = if self.resent >= attempt {
                    self.resent_by.clone()
                } else {
                    None
                };
                return Next::Resend { attempt, from };
            }
            _ => {}
        }
        if self.parked_in.as_deref() == Some(run) {
            return Next::Park;
        }
        Next::New
    }

    /// The state in one word, for people.
    pub fn state(&self) -> RecordState {
        if self.dropped {
            RecordState::Dropped
        } else if self.settled && !self.sent {
            RecordState::Settling
        } else if self.settled {
            RecordState::Settled
        } else if self.held || self.holding {
            RecordState::Held
        } else if self.rejected || (self.rejecting && self.doubts == 0) {
            RecordState::Rejected
        } else if self.doubts > 0 && self.resent > 0 && (self.sent || self.resent >= self.doubts) {
            RecordState::Resent
        } else if self.sent {
            RecordState::Sent
        } else if self.doubts > 0 {
            RecordState::InDoubt
        } else if self.parked_in.is_some() {
            RecordState::Parked
        } else if self.claimed_by.is_some() {
            RecordState::Claimed
        } else {
            RecordState::Unknown
        }
    }
}

/// A record's state in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordState {
    /// Delivered; was never in doubt, or the doubt ended well.
    Sent,
    /// May or may not have been delivered; still owed by the source.
    InDoubt,
    /// Was in doubt and was sent again.
    Resent,
    /// In the hold queue; may also have been delivered.
    Held,
    /// Being sent out of the hold queue by hand; or that was killed, or its answer lost: then it may or may not have been delivered.
    Settling,
    /// Sent out of the hold queue by hand.
    Settled,
    /// Dropped by hand.
    Dropped,
    /// In the reject queue.
    Rejected,
    /// Refused by the destination and hidden in the source.
    Parked,
    /// Claimed; its send may be under way.
    Claimed,
    /// The record says nothing.
    Unknown,
}

impl RecordState {
    /// Whether the message may or may not have been sent, now or before it was settled. Of a rejected or parked one it is known.
    pub fn is_doubt(self) -> bool {
        !matches!(
            self,
            Self::Rejected | Self::Parked | Self::Sent | Self::Unknown
        )
    }

    /// Whether it is a doubt that has not come to an end.
    pub fn is_open_doubt(self) -> bool {
        matches!(
            self,
            Self::InDoubt | Self::Held | Self::Claimed | Self::Settling
        )
    }
}

impl fmt::Display for RecordState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sent => "sent",
            Self::InDoubt => "in_doubt",
            Self::Resent => "resent",
            Self::Held => "held",
            Self::Settling => "settling",
            Self::Settled => "settled",
            Self::Dropped => "dropped",
            Self::Rejected => "rejected",
            Self::Parked => "parked",
            Self::Claimed => "claimed",
            Self::Unknown => "unknown",
        })
    }
}

#[cfg(test)]
mod tests;
