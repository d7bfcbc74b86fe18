//! What a process does with the messages it has in hand, from the page on.

use super::protocol::Protocol;
use super::state::{
    BYGONE, Broken, Entry, InHand, NOBODY, Place, Process, SLOTS, Stage, State, Sweep, name_of,
};
use super::step::others;

impl Protocol {
    /// What a page has to say about a message in hand.
    pub(super) fn entry_for(&self, hand: &InHand) -> Entry {
        match hand.stage {
            Stage::Ready | Stage::Prepared | Stage::Sending if self.rules.prepare => {
                Entry::Prepared(hand.attempt)
            }
            Stage::Accepted | Stage::Sent => Entry::Sent,
            Stage::Unknown | Stage::InDoubt => Entry::InDoubt(hand.attempt),
            _ => Entry::Absent,
        }
    }

    /// Whether a lane has something to write into its page.
    pub(super) fn page_write_due(&self, process: &Process, lane: usize) -> bool {
        let sending = self
            .messages_of(lane)
            .any(|m| process.hand[m].stage == Stage::Sending);
        if sending && !self.scope.overlap {
            return false;
        }
        self.messages_of(lane).any(|m| match process.hand[m].stage {
            Stage::Ready => self.rules.prepare,
            Stage::Accepted
            | Stage::Unknown
            | Stage::Leaving
            | Stage::LeavingOwed
            | Stage::Withdrawing => true,
            _ => false,
        })
    }

    pub(super) fn write_page(&self, s: &mut State, p: usize, lane: usize) -> bool {
        let sealed = self.sealed(&s.processes[p]);
        if sealed || !s.processes[p].pages[lane] {
            if sealed || self.rules.page_must_exist {
                self.vanish(s, p);
                return true;
            }
            s.processes[p].pages[lane] = true;
        }
        for m in self.messages_of(lane) {
            let entry = self.entry_for(&s.processes[p].hand[m]);
            self.page_says(s, p, m, entry);
            if self.rules.page_sequence_grows {
                s.processes[p].late_page[m] = None;
            }
            let stopping = s.processes[p].stopping;
            let hand = &mut s.processes[p].hand[m];
            match hand.stage {
                Stage::Ready if self.rules.prepare => hand.stage = Stage::Prepared,
                Stage::Accepted => hand.stage = Stage::Sent,
                Stage::Unknown => hand.stage = Stage::InDoubt,
                Stage::Withdrawing if stopping && !hand.expired => hand.stage = Stage::Releasing,
                Stage::Withdrawing => self.let_go_unsent(s, p, m),
                Stage::Leaving | Stage::LeavingOwed => self.let_go(s, p, m),
                _ => {}
            }
        }
        true
    }

    /// Whether a sweep has sealed the pages of a process (a variant of the protocol).
    pub(super) fn sealed(&self, process: &Process) -> bool {
        self.scope.seals && process.sweep != Sweep::Idle
    }

    /// The table's page of a process now says this about an id.
    pub(super) fn page_says(&self, s: &mut State, p: usize, m: usize, entry: Entry) {
        let process = &mut s.processes[p];
        process.page[m] = entry;
        process.changed[self.lane_of(m)] |= process.sweep != Sweep::Idle;
        process.released_early[m] &= entry != Entry::Absent;
        s.audit[m].marked |= entry == Entry::Sent;
    }

    pub(super) fn send(&self, s: &mut State, p: usize, m: usize) -> bool {
        let process = &s.processes[p];
        let late = process.hand[m].expired && self.rules.deadline_to_send;
        let stale = process.stale && self.rules.fresh_beat_to_send;
        let owed_in_hand =
            process.hand[0].stage == Stage::LeavingOwed && self.rules.group_waits_in_hand;
        let earlier_owed = self.scope.fifo
            && self.rules.group_waits
            && m > 0
            && (process.blocked
                || owed_in_hand
                || !matches!(
                    process.hand[0].stage,
                    Stage::None
                        | Stage::Accepted
                        | Stage::Sent
                        | Stage::Leaving
                        | Stage::LeavingOwed
                        | Stage::Deleting
                ));
        if late || stale || earlier_owed {
            return false;
        }
        s.processes[p].hand[m].stage = Stage::Sending;
        true
    }

    pub(super) fn accepted(&self, s: &mut State, p: usize, m: usize) -> bool {
        let hand = &mut s.processes[p].hand[m];
        hand.stage = Stage::Accepted;
        let attempt = hand.attempt;
        s.processes[p].remembers[m] = self.scope.kinds.copy;
        self.accept(s, m, attempt);
        true
    }

    /// The destination accepts a message.
    pub(super) fn accept(&self, s: &mut State, m: usize, attempt: u8) {
        let accepted = s.audit[m].accepted;
        s.audit[m].accepted |= 1 << attempt;
        if self.scope.at_most_once && accepted != 0 {
            self.breaks(s, Broken::DoubledAtMostOnce);
        } else if accepted & (1 << attempt) != 0 || s.items[m].resent < attempt {
            self.breaks(s, Broken::DoubledSilently);
        } else if self.scope.fifo && m > 0 && s.audit[0].accepted == 0 && !s.audit[0].held {
            self.breaks(s, Broken::OutOfOrder);
        }
    }

    pub(super) fn refused(&self, s: &mut State, p: usize, m: usize) -> bool {
        let hand = &mut s.processes[p].hand[m];
        hand.stage = match (self.rules.prepare, hand.expired) {
            (true, false) => Stage::Prepared,
            (true, true) => Stage::Withdrawing,
            (false, _) => Stage::Ready,
        };
        true
    }

    pub(super) fn withdraw(&self, s: &mut State, p: usize, m: usize) -> bool {
        s.processes[p].hand[m].stage = Stage::Withdrawing;
        true
    }

    pub(super) fn delete(&self, s: &mut State, p: usize, m: usize, effect: bool) -> bool {
        let hand = s.processes[p].hand[m];
        let queued = s.queue[m];
        let handle_is_good = match queued.place {
            Place::InFlight => queued.holder == name_of(p),
            Place::Deleted => true,
            Place::Visible => false,
        };
        let in_time = !hand.expired && handle_is_good;
        if in_time && !effect {
            return false;
        }
        if effect && queued.place != Place::Deleted {
            self.remove(s, m);
        }
        if hand.stage == Stage::Deleting {
            self.let_go(s, p, m);
        } else if in_time || !self.rules.late_delete_settles_nothing {
            s.processes[p].hand[m].stage = Stage::Leaving;
        } else {
            return effect;
        }
        true
    }

    /// The source deletes a message.
    pub(super) fn remove(&self, s: &mut State, m: usize) {
        s.queue[m].place = Place::Deleted;
        s.queue[m].holder = NOBODY;
        if s.audit[m].accepted == 0 && !s.audit[m].held {
            self.breaks(s, Broken::Lost);
        }
    }

    pub(super) fn hand_over(&self, s: &mut State, p: usize, m: usize) -> bool {
        let process = &mut s.processes[p];
        let hand = &mut process.hand[m];
        let unprepared = process.pages[self.lane_of(m)] && process.page[m] == Entry::Absent;
        let (fact, next) = match hand.stage {
            Stage::Accepted | Stage::Sent => (Entry::Sent, Stage::Leaving),
            _ => (Entry::InDoubt(hand.attempt), Stage::LeavingOwed),
        };
        hand.stage = next;
        if unprepared && fact != Entry::Sent && !process.given_up {
            self.breaks(s, Broken::DoubtNotPrepared);
        }
        self.add_fact(s, m, fact);
        true
    }

    /// Adds to an id's item what is known when it leaves a page.
    pub(super) fn add_fact(&self, s: &mut State, m: usize, fact: Entry) {
        let old = s.items[m];
        let mut item = if self.rules.items_accumulate {
            old
        } else {
            super::state::Item::default()
        };
        match fact {
            Entry::Absent => return,
            Entry::Sent => {
                item.sent = true;
                s.audit[m].marked = true;
            }
            Entry::Prepared(attempt) | Entry::InDoubt(attempt) => {
                item.doubts = item.doubts.max(attempt + 1)
            }
        }
        s.items[m] = item;
    }

    pub(super) fn forget(&self, s: &mut State, p: usize, m: usize) -> bool {
        s.processes[p].hand[m].stage = Stage::LeavingOwed;
        true
    }

    pub(super) fn release(&self, s: &mut State, p: usize, m: usize) -> bool {
        if s.queue[m].place == Place::InFlight && s.queue[m].holder == name_of(p) {
            s.queue[m].place = Place::Visible;
            s.queue[m].holder = NOBODY;
        }
        let hand = s.processes[p].hand[m];
        match hand.stage {
            Stage::Releasing => self.let_go_unsent(s, p, m),
            // The mutants: visible first, the page rewritten afterwards.
            stage => {
                if stage == Stage::Sending {
                    s.late[m].sends |= 1 << hand.attempt;
                }
                s.processes[p].released_early[m] = s.processes[p].page[m] != Entry::Absent;
                s.processes[p].hand[m].stage = Stage::Withdrawing;
            }
        }
        true
    }

    pub(super) fn hold(&self, s: &mut State, p: usize, m: usize) -> bool {
        let first = s.processes[p].hand[m].stage == Stage::Holding;
        if first == self.rules.held_after_accepted {
            s.audit[m].held = true;
        } else {
            s.items[m].held = true;
        }
        s.processes[p].hand[m].stage = if first { Stage::Held } else { Stage::Deleting };
        true
    }

    /// A message leaves the hand of a process that has surely not sent it: a claim of this delivery is given back.
    pub(super) fn let_go_unsent(&self, s: &mut State, p: usize, m: usize) {
        if s.items[m].claim == name_of(p) {
            s.items[m].claim = NOBODY;
        }
        self.let_go(s, p, m);
    }

    /// A message leaves a process's hand: names that stood for this delivery are nobody's own any more.
    pub(super) fn let_go(&self, s: &mut State, p: usize, m: usize) {
        let me = name_of(p);
        s.processes[p].hand[m] = InHand::default();
        s.processes[p].seen[m] = [0; SLOTS];
        let (item, late) = (&mut s.items[m], &mut s.late[m]);
        for name in [&mut item.resent_by, &mut late.take.1, &mut late.take.2] {
            if *name == me {
                *name = BYGONE;
            }
        }
        if self.rules.claim_per_delivery {
            for name in [&mut item.claim, &mut late.claim] {
                if *name == me {
                    *name = BYGONE;
                }
            }
        }
        for q in others(p) {
            let rival = &mut s.processes[q].hand[m].rival;
            if *rival == me {
                *rival = BYGONE;
            }
        }
    }

    /// A process drops a message that it has not prepared.
    pub(super) fn drop_unprepared(&self, s: &mut State, p: usize, m: usize) {
        if m == 0 && s.processes[p].hand[1].stage != Stage::None {
            s.processes[p].blocked = true;
        }
        if s.processes[p].hand[m].stage == Stage::Ready {
            self.let_go_unsent(s, p, m);
        } else {
            self.let_go(s, p, m);
        }
    }
}
