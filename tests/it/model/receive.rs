//! How a message comes into a process's hand, and what is decided about it before it is prepared.

use super::protocol::Protocol;
use super::state::{
    Broken, Entry, InHand, NOBODY, Place, Process, Queued, SLOTS, Stage, State, name_of,
};
use super::step::others;

/// Attempt numbers the model has room for.
const ATTEMPTS: u8 = 4;

impl Protocol {
    /// Whether a process may receive: it runs, is registered, has the lane's page. (That its heartbeat must be fresh is left
    /// out where lanes overlap: a receive that was under way may be answered after that.)
    fn works(&self, process: &Process, lane: usize) -> bool {
        let permitted = self.scope.overlap || !process.stale;
        process.alive && process.joined && lane < usize::from(process.created) && permitted
    }

    pub(super) fn receive(&self, s: &mut State, p: usize, m: usize) -> bool {
        let process = &s.processes[p];
        let group_in_the_way = self.scope.fifo && m > 0 && s.queue[0].place != Place::Deleted;
        if !self.works(process, self.lane_of(m))
            || process.stopping
            || s.queue[m].place != Place::Visible
            || group_in_the_way
            || self.working_off(process, m)
        {
            return false;
        }
        self.deliver(s, p, m);
        true
    }

    pub(super) fn receive_group(&self, s: &mut State, p: usize) -> bool {
        let process = &s.processes[p];
        let visible = s.queue.iter().all(|q| q.place == Place::Visible);
        if !self.works(process, 0) || process.stopping || !visible || self.working_off(process, 0) {
            return false;
        }
        self.deliver(s, p, 0);
        self.deliver(s, p, 1);
        true
    }

    /// Without overlap: whether a lane must finish the page in hand before it receives a further message.
    fn working_off(&self, process: &Process, m: usize) -> bool {
        let lane = self.lane_of(m);
        !self.scope.overlap
            && process.hand[m].stage == Stage::None
            && self
                .messages_of(lane)
                .any(|n| process.page[n] != Entry::Absent || process.hand[n].stage > Stage::Ready)
    }

    fn deliver(&self, s: &mut State, p: usize, m: usize) {
        let queued = &mut s.queue[m];
        let first = !queued.received;
        *queued = Queued {
            place: Place::InFlight,
            received: true,
            holder: name_of(p),
        };
        let hand = &mut s.processes[p].hand[m];
        if hand.stage != Stage::None {
            // In hand already: the newest handle, the first deadline.
            hand.expired &= self.rules.first_deadline_kept;
        } else if self.rules.received_at_start {
            self.resolve(s, p, m, first);
        } else {
            *hand = InHand {
                stage: Stage::Arriving,
                attempt: u8::from(!first),
                ..InHand::default()
            };
        }
    }

    /// The queue has given a message away, and the process reads the answer only now, with a fresh deadline.
    pub(super) fn read_answer(&self, s: &mut State, p: usize, m: usize) -> bool {
        let first = s.processes[p].hand[m].attempt == 0;
        self.resolve(s, p, m, first);
        true
    }

    /// SQS delivers a copy of a message that was received or even deleted, and counts it as the first.
    pub(super) fn copy(&self, s: &mut State, p: usize, m: usize) -> bool {
        let process = &s.processes[p];
        if !self.works(process, self.lane_of(m))
            || process.stopping
            || s.queue[m].place == Place::Visible
            || process.hand[m].stage != Stage::None
            || !s.spend()
        {
            return false;
        }
        self.resolve(s, p, m, true);
        true
    }

    fn resolve(&self, s: &mut State, p: usize, m: usize, first: bool) {
        let fresh = if self.scope.at_most_once {
            Stage::Claiming
        } else {
            Stage::Ready
        };
        let stage = if self.rules.sent_remembered && s.processes[p].remembers[m] {
            Stage::Deleting
        } else if first || !self.rules.ask {
            fresh
        } else {
            for q in 0..SLOTS {
                s.processes[p].seen[m][q] = if q != p && s.processes[q].registered {
                    0
                } else {
                    2
                };
            }
            Stage::Asking
        };
        s.processes[p].hand[m] = InHand {
            stage,
            ..InHand::default()
        };
    }

    pub(super) fn asked(&self, s: &mut State, p: usize, m: usize) -> bool {
        let needed = if self.rules.two_beats { 2 } else { 1 };
        let waiting =
            others(p).any(|q| s.processes[q].registered && s.processes[p].seen[m][q] < needed);
        if waiting && self.rules.wait_for_others {
            return false;
        }
        s.processes[p].seen[m] = [0; SLOTS];
        let item = s.items[m];
        let mut next = InHand {
            expired: s.processes[p].hand[m].expired,
            ..InHand::default()
        };
        next.stage = if item.sent || item.held {
            Stage::Deleting
        } else if self.scope.at_most_once {
            if item.claim != NOBODY || item.doubts > 0 {
                Stage::Holding
            } else {
                Stage::Claiming
            }
        } else if item.doubts == 0 {
            Stage::Ready
        } else if item.doubts >= ATTEMPTS {
            // Left alone; what is behind it in its group waits.
            self.drop_unprepared(s, p, m);
            return true;
        } else {
            next.attempt = item.doubts;
            next.rival = if item.resent == item.doubts {
                item.resent_by
            } else {
                NOBODY
            };
            if self.rules.resend_taken_first {
                Stage::Taking
            } else {
                Stage::Ready
            }
        };
        s.processes[p].hand[m] = next;
        // A copy may be sent and marked after the claim was looked at: then the hold queue gets it too, as it is told.
        let kept_apart = next.stage == Stage::Holding && self.scope.kinds.copy;
        if s.audit[m].marked && next.stage != Stage::Deleting && !kept_apart {
            self.breaks(s, Broken::SentAlthoughMarked);
        }
        true
    }

    /// Asks again when a conditional write was refused; the others need not be waited for again.
    fn ask_again(&self, s: &mut State, p: usize, m: usize) {
        s.processes[p].hand[m] = InHand {
            stage: Stage::Asking,
            expired: s.processes[p].hand[m].expired,
            ..InHand::default()
        };
        s.processes[p].seen[m] = [2; SLOTS];
    }

    pub(super) fn take(&self, s: &mut State, p: usize, m: usize) -> bool {
        let hand = s.processes[p].hand[m];
        let own = s.items[m].resent == hand.attempt && s.items[m].resent_by == name_of(p);
        if own || self.take_doubt(s, m, hand.attempt, name_of(p), hand.rival) {
            s.processes[p].hand[m].stage = Stage::Ready;
            s.processes[p].hand[m].rival = NOBODY;
        } else {
            self.ask_again(s, p, m);
        }
        true
    }

    /// The conditional write that takes a doubt for a resend.
    pub(super) fn take_doubt(
        &self,
        s: &mut State,
        m: usize,
        attempt: u8,
        by: u8,
        from: u8,
    ) -> bool {
        let item = &mut s.items[m];
        let free = match from {
            NOBODY => item.resent < attempt,
            _ => !self.rules.one_owner || (item.resent == attempt && item.resent_by == from),
        };
        let may = item.doubts == attempt && !item.sent && !item.held && free;
        if may {
            item.resent = attempt;
            item.resent_by = by;
        }
        may
    }

    pub(super) fn claim(&self, s: &mut State, p: usize, m: usize) -> bool {
        let own = s.items[m].claim == name_of(p);
        let stage = if own || self.make_claim(s, m, name_of(p)) {
            Stage::Ready
        } else if s.items[m].sent || s.items[m].held {
            Stage::Deleting
        } else {
            Stage::Holding
        };
        s.processes[p].hand[m].stage = stage;
        true
    }

    /// The conditional write that claims an id.
    pub(super) fn make_claim(&self, s: &mut State, m: usize, by: u8) -> bool {
        let item = &mut s.items[m];
        let may = item.claim == NOBODY && item.doubts == 0 && !item.sent && !item.held;
        if may {
            item.claim = by;
        }
        may
    }
}
