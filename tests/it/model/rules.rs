//! The rules of the protocol, each a boolean, and the scope in which a check explores them.

/// The rules of a lane's protocol. [`Rules::ALL`] is the protocol; a mutant is the same with one of them off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// An id stands in a page, answered, before its send starts.
    pub prepare: bool,
    /// The page says sent, answered, before the delete starts.
    pub mark_before_delete: bool,
    /// An id that is not settled gets an item of its own before it leaves the page.
    pub hand_over: bool,
    /// A delete that is answered after the visibility timeout settles nothing.
    pub late_delete_settles_nothing: bool,
    /// No heartbeat starts while a lane is past a visibility timeout and has not handed over.
    pub beat_withheld: bool,
    /// Whoever asks waits for two heartbeats of every other process, not one.
    pub two_beats: bool,
    /// A repeated heartbeat repeats its number.
    pub numbered_beats: bool,
    /// A sweep starts with a write after which every heartbeat of the victim fails.
    pub fence: bool,
    /// A send starts only while the last good heartbeat is younger than a lease.
    pub fresh_beat_to_send: bool,
    /// A send starts only before the deadline.
    pub deadline_to_send: bool,
    /// A redelivered message is looked up, and the other processes waited for, before it is sent.
    pub ask: bool,
    /// A process that asks waits for the processes (or sweeps them) before it reads the id's item.
    pub wait_for_others: bool,
    /// A sweep deletes a page only as it was read; otherwise it reads it again.
    pub page_deleted_as_read: bool,
    /// A page is only updated while it exists; on a failed condition its owner is superseded.
    pub page_must_exist: bool,
    /// A page is only updated with a higher sequence: a late copy of an older write has no effect.
    pub page_sequence_grows: bool,
    /// A sweep writes the ids' items before it deletes the page.
    pub items_before_page_goes: bool,
    /// Facts are added to an id's item; nothing is erased.
    pub items_accumulate: bool,
    /// A resend is written into the id's item, conditionally, before it is prepared.
    pub resend_taken_first: bool,
    /// That write names the owner it takes over from.
    pub one_owner: bool,
    /// A message received again while it is in hand keeps its first deadline.
    pub first_deadline_kept: bool,
    /// `received_at` is the start of the receive, not its answer.
    pub received_at_start: bool,
    /// A release rewrites the page first and makes the message visible then.
    pub page_before_visibility: bool,
    /// A message whose send is unanswered is not released.
    pub unanswered_not_released: bool,
    /// Lane totals are folded into the run once, on the sequence they were read at.
    pub totals_folded_once: bool,
    /// After a failed entry nothing later of its group is sent before it (FIFO).
    pub group_waits: bool,
    /// That holds too when the earlier message is in hand from an earlier receive, and owed (FIFO).
    pub group_waits_in_hand: bool,
    /// A claim belongs to one delivery; an earlier claim by the same process is not one's own (at-most-once).
    pub claim_per_delivery: bool,
    /// An id counts as held only after the hold queue accepted it (at-most-once).
    pub held_after_accepted: bool,
    /// An id that this process sent is not sent again, whatever its receive count says.
    pub sent_remembered: bool,
}

impl Rules {
    /// Every rule on: the protocol.
    pub const ALL: Self = Self {
        prepare: true,
        mark_before_delete: true,
        hand_over: true,
        late_delete_settles_nothing: true,
        beat_withheld: true,
        two_beats: true,
        numbered_beats: true,
        fence: true,
        fresh_beat_to_send: true,
        deadline_to_send: true,
        ask: true,
        wait_for_others: true,
        page_deleted_as_read: true,
        page_must_exist: true,
        page_sequence_grows: true,
        items_before_page_goes: true,
        items_accumulate: true,
        resend_taken_first: true,
        one_owner: true,
        first_deadline_kept: true,
        received_at_start: true,
        page_before_visibility: true,
        unanswered_not_released: true,
        totals_folded_once: true,
        group_waits: true,
        group_waits_in_hand: true,
        claim_per_delivery: true,
        held_after_accepted: true,
        sent_remembered: true,
    };
}

/// Which faults a check may choose from; each one that happens costs one of [`Scope::faults`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// A process is killed; a new one may start.
    pub crash: bool,
    /// A process stands still so long that another gives it up (shorter freezes are free, see `docs/model.md`).
    pub freeze: bool,
    /// SIGTERM.
    pub terminate: bool,
    /// A call is not answered in time; its effect comes at any time later, or never.
    pub unanswered: bool,
    /// SQS delivers a copy of a message that is in flight, with receive count 1.
    pub copy: bool,
}

impl Faults {
    /// Every fault that the protocol has to bear under both policies.
    pub const ALL: Self = Self {
        crash: true,
        freeze: true,
        terminate: true,
        unanswered: true,
        copy: false,
    };
    /// None.
    pub const NONE: Self = Self {
        crash: false,
        freeze: false,
        terminate: false,
        unanswered: false,
        copy: false,
    };
}

/// What a check explores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Messages in the source: 1 or 2.
    pub messages: usize,
    /// Lanes (pages) of a process: 1, or 2 with one message for each.
    pub lanes: usize,
    /// Processes alive at once.
    pub alive: usize,
    /// Slots for processes; a slot is free again when its process is dead and swept.
    pub slots: usize,
    /// How many faults may happen.
    pub faults: u8,
    /// Which.
    pub kinds: Faults,
    /// Both messages belong to one group of a FIFO queue.
    pub fifo: bool,
    /// The policy: at-most-once instead of at-least-once.
    pub at_most_once: bool,
    /// Starting takes several steps (pages, registration) between which anything may happen, instead of one.
    pub slow_start: bool,
    /// Any request that was under way when a process died may arrive at any time later; otherwise only its sends and page
    /// writes may, and the others have either arrived or are lost.
    pub lingering: bool,
    /// A lane receives, prepares and marks while sends are under way. Otherwise it works one page off before it gathers the
    /// next, marks when all answers are there, and hands over what it has marked.
    pub overlap: bool,
    /// The sweep of a dead process whose pages cannot change any more is one step.
    pub brisk_sweeps: bool,
    /// The registration is written before the pages are created, instead of after.
    pub registers_first: bool,
    /// Treats states that differ only in which slot a process or message has as one. Saves time; a counterexample then
    /// changes names on its way.
    pub symmetric: bool,
    /// A variant: a sweep seals a page as it reads it, so that its owner can write it no more.
    pub seals: bool,
    /// Also counts a doubt against the promises that a sweep wrote from a page which had changed since it was read.
    pub strict_doubts: bool,
    /// The source honours an old receipt handle when it changes a visibility.
    pub old_handles_release: bool,
}

impl Scope {
    /// One message, two processes, every kind of fault.
    pub const fn one_message(faults: u8) -> Self {
        Self {
            messages: 1,
            lanes: 1,
            alive: 2,
            slots: 3,
            faults,
            kinds: Faults::ALL,
            fifo: false,
            at_most_once: false,
            slow_start: true,
            lingering: true,
            overlap: true,
            brisk_sweeps: false,
            registers_first: false,
            symmetric: true,
            seals: false,
            strict_doubts: false,
            old_handles_release: false,
        }
    }

    /// Two messages, two processes, every kind of fault.
    pub const fn two_messages(faults: u8) -> Self {
        Self {
            messages: 2,
            slow_start: false,
            lingering: false,
            brisk_sweeps: true,
            overlap: false,
            ..Self::one_message(faults)
        }
    }
}
