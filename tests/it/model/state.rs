//! A state of the model: the source queue, the table, the processes, the requests still on their way, and what the
//! audit remembers.

use std::hash::{Hash, Hasher};

/// Room for messages.
pub const MESSAGES: usize = 2;
/// Room for processes.
pub const SLOTS: usize = 4;
/// No process.
pub const NOBODY: u8 = 0;
/// A delivery that is over, of whichever process.
pub const BYGONE: u8 = 7;

/// How the table names a process in an owner or claim field: 1 + its slot, as long as the delivery goes on that wrote it.
pub const fn name_of(process: usize) -> u8 {
    process as u8 + 1
}

/// Where a message is in the source queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// Can be received.
    #[default]
    Visible,
    /// Received, its visibility timeout running.
    InFlight,
    /// Gone.
    Deleted,
}

/// A message in the source queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queued {
    /// Where it is.
    pub place: Place,
    /// Whether it was received before.
    pub received: bool,
    /// Who received it last (see [`name_of`]).
    pub holder: u8,
}

/// An id's own item in the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Item {
    /// One more than the highest attempt in doubt.
    pub doubts: u8,
    /// The highest resend attempt begun.
    pub resent: u8,
    /// Who began it.
    pub resent_by: u8,
    /// Accepted by the destination.
    pub sent: bool,
    /// Accepted by the hold queue.
    pub held: bool,
    /// Whose claim (at-most-once).
    pub claim: u8,
}

/// What a page says about an id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Entry {
    /// Nothing.
    #[default]
    Absent,
    /// The send of this attempt may be under way.
    Prepared(u8),
    /// Accepted.
    Sent,
    /// The answer to the send of this attempt was lost.
    InDoubt(u8),
}

/// How far a process got with a message it received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// Not in hand.
    #[default]
    None,
    /// The queue has given it, the answer is not read yet (only told apart when `received_at_start` is off).
    Arriving,
    /// Redelivered: waiting for the other processes, then for the id's item.
    Asking,
    /// In doubt: about to take the doubt for a resend.
    Taking,
    /// About to claim the id.
    Claiming,
    /// To be prepared.
    Ready,
    /// In the page, answered.
    Prepared,
    /// The send was decided; its effect and answer are to come.
    Sending,
    /// Accepted, not marked.
    Accepted,
    /// The send's answer is lost; not marked.
    Unknown,
    /// Marked sent in the page.
    Sent,
    /// Marked in doubt in the page.
    InDoubt,
    /// Accepted, and settled or its item written: its place in the page may be freed.
    Leaving,
    /// In doubt, and its item written: its place in the page may be freed, the message is owed.
    LeavingOwed,
    /// Surely not sent: to be taken out of the page.
    Withdrawing,
    /// Out of the page: to be made visible.
    Releasing,
    /// Known to be done: only the delete is owed.
    Deleting,
    /// To be copied to the hold queue.
    Holding,
    /// The hold queue has it; its item is to say so.
    Held,
}

/// A message in a process's hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InHand {
    /// How far it got.
    pub stage: Stage,
    /// The number of its send attempt.
    pub attempt: u8,
    /// The visibility timeout of its first receive is over.
    pub expired: bool,
    /// The owner of the resend that [`Stage::Taking`] means to take over from.
    pub rival: u8,
}

/// How far the sweep of a process got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sweep {
    /// Not begun.
    #[default]
    Idle,
    /// The pages were read.
    Read,
    /// The items of the ids in them were written.
    Written,
}

/// A process: what it knows, and what the table has of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// It runs (or is frozen).
    pub alive: bool,
    /// It has registered.
    pub joined: bool,
    /// How many of its pages it has created.
    pub created: u8,
    /// SIGTERM was received.
    pub stopping: bool,
    /// The next heartbeat was checked and may reach the table at any time.
    pub armed: bool,
    /// A second attempt at a heartbeat is on its way (only with `numbered_beats` off).
    pub armed_again: bool,
    /// What it has in hand.
    pub hand: [InHand; MESSAGES],
    /// A message that it accepted as sent, remembered.
    pub remembers: [bool; MESSAGES],
    /// FIFO: the first message of the group left this hand unsent; the second may not be sent.
    pub blocked: bool,
    /// For each asked id and each other process: heartbeats seen since the question.
    pub seen: [[u8; SLOTS]; MESSAGES],

    /// Table: the registration exists.
    pub registered: bool,
    /// Table: the page exists, by lane.
    pub pages: [bool; MESSAGES],
    /// Table: what the pages say.
    pub page: [Entry; MESSAGES],
    /// Table: the heartbeat is fenced (with the rule `fence` off: somebody has given the process up).
    pub given_up: bool,
    /// Its last good heartbeat is older than a lease.
    pub stale: bool,
    /// The sweep's progress.
    pub sweep: Sweep,
    /// What the sweep has read.
    pub read: [Entry; MESSAGES],
    /// The page was written after it was read, by lane.
    pub changed: [bool; MESSAGES],
    /// A page write that was not answered and may take effect yet, by lane.
    pub late_page: [Option<Entry>; MESSAGES],
    /// Audit: made visible while the page still had it prepared.
    pub released_early: [bool; MESSAGES],
    /// Audit: its totals are in the run.
    pub folded: bool,
}

/// Requests about a message that were not answered and may take effect yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Late {
    /// Sends, a bit per attempt.
    pub sends: u8,
    /// A delete.
    pub delete: bool,
    /// A visibility change to 0.
    pub release: bool,
    /// The item's fact "sent".
    pub sent: bool,
    /// The item's fact "in doubt", a bit per attempt.
    pub doubts: u8,
    /// The taking of a doubt for a resend: attempt (0: none), for whom, from whom.
    pub take: (u8, u8, u8),
    /// A claim, for whom.
    pub claim: u8,
}

/// What the audit remembers of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Attempts that the destination accepted, a bit each.
    pub accepted: u8,
    /// The hold queue accepted it.
    pub held: bool,
    /// A page or item has said that it is sent.
    pub marked: bool,
}

/// A promise that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Broken {
    /// Deleted without having been accepted anywhere.
    Lost = 1,
    /// Accepted twice under the same attempt number: nothing in the table tells of the second.
    DoubledSilently,
    /// Accepted twice under at-most-once.
    DoubledAtMostOnce,
    /// A redelivered message that a page or item had marked sent was not only deleted.
    SentAlthoughMarked,
    /// A later message of the group was accepted before an earlier one.
    OutOfOrder,
    /// A doubt was recorded of an attempt that was never prepared.
    DoubtNotPrepared,
    /// A doubt was recorded of a message that is deleted already: it can never be settled.
    DoubtOfDeleted,
    /// A delivery, or a lane's totals, ended up in two classes of the balance.
    CountedTwice,
}

/// A state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The source queue.
    pub queue: [Queued; MESSAGES],
    /// The ids' items.
    pub items: [Item; MESSAGES],
    /// The processes.
    pub processes: [Process; SLOTS],
    /// Requests on their way.
    pub late: [Late; MESSAGES],
    /// What the audit remembers.
    pub audit: [Audit; MESSAGES],
    /// Faults that may still happen.
    pub faults: u8,
    /// A promise that is broken; such a state has no successors.
    pub broken: Option<Broken>,
}

impl Entry {
    /// A number for it.
    pub fn code(self) -> u8 {
        match self {
            Self::Absent => 0,
            Self::Sent => 1,
            Self::Prepared(attempt) => 2 + attempt,
            Self::InDoubt(attempt) => 6 + attempt,
        }
    }
}

/// Flags as the bits of a byte. (A macro, and casts instead of `From`: packing is what a check does most, unoptimised.)
macro_rules! bits {
    ($($flag:expr),+) => {{
        let mut sum = 0;
        $(sum = sum << 1 | ($flag as u8);)+
        sum
    }};
}

/// Bytes of a packed process.
const PACKED_PROCESS: usize = 3 + 6 * MESSAGES;
/// Bytes of a packed message.
const PACKED_MESSAGE: usize = 7;

impl Process {
    /// All fields in few bytes.
    pub fn pack(&self) -> [u8; PACKED_PROCESS] {
        let mut out = [0; PACKED_PROCESS];
        if !self.alive && !self.registered {
            // A free slot.
            return out;
        }
        out[0] = bits!(
            self.alive,
            self.joined,
            self.stopping,
            self.armed,
            self.armed_again,
            self.blocked,
            self.registered,
            self.given_up
        );
        out[1] = bits!(
            self.stale,
            self.folded,
            self.pages[0],
            self.pages[1],
            self.changed[0],
            self.changed[1]
        );
        out[2] = (self.sweep as u8) << 2 | self.created;
        self.pack_message(0, &mut out);
        self.pack_message(1, &mut out);
        out
    }

    fn pack_message(&self, m: usize, out: &mut [u8; PACKED_PROCESS]) {
        let at = 3 + 6 * m;
        let hand = &self.hand[m];
        let seen = &self.seen[m];
        out[at] = (hand.stage as u8) << 3
            | bits!(hand.expired, self.remembers[m], self.released_early[m]);
        out[at + 1] = hand.attempt << 4 | hand.rival;
        out[at + 2] = seen[0] << 6 | seen[1] << 4 | seen[2] << 2 | seen[3];
        out[at + 3] = self.page[m].code();
        out[at + 4] = self.read[m].code();
        out[at + 5] = match self.late_page[m] {
            Some(entry) => 1 + entry.code(),
            None => 0,
        };
    }
}

impl State {
    /// Bytes of a packed state.
    pub const PACKED: usize = SLOTS * PACKED_PROCESS + MESSAGES * PACKED_MESSAGE + 1;

    /// All fields in few bytes.
    pub fn pack(&self) -> [u8; Self::PACKED] {
        let mut out = [0; Self::PACKED];
        let mut at = 0;
        for process in &self.processes {
            out[at..at + PACKED_PROCESS].copy_from_slice(&process.pack());
            at += PACKED_PROCESS;
        }
        for m in 0..MESSAGES {
            let (queued, item, late, audit) = (
                &self.queue[m],
                &self.items[m],
                &self.late[m],
                &self.audit[m],
            );
            out[at] = (queued.place as u8) << 4 | (queued.received as u8) << 3 | queued.holder;
            out[at + 1] = item.doubts << 5 | item.resent << 2 | bits!(item.sent, item.held);
            out[at + 2] = item.resent_by << 4 | item.claim;
            out[at + 3] = late.sends << 4 | late.doubts;
            out[at + 4] = late.claim << 3 | bits!(late.delete, late.release, late.sent);
            out[at + 5] = late.take.1 << 3 | late.take.2;
            out[at + 6] = late.take.0 << 6 | audit.accepted << 2 | bits!(audit.held, audit.marked);
            at += PACKED_MESSAGE;
        }
        out[at] = self.faults << 4
            | match self.broken {
                Some(broken) => broken as u8,
                None => 0,
            };
        out
    }

    /// Faults: takes one from the budget, if it allows.
    pub fn spend(&mut self) -> bool {
        self.faults = match self.faults.checked_sub(1) {
            Some(left) => left,
            None => return false,
        };
        true
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write(&self.pack());
    }
}
