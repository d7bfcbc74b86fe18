//! Time and the network: visibility timeouts, unanswered calls, and their late effects.

use super::protocol::Protocol;
use super::state::{Entry, NOBODY, Place, Stage, State};

impl Protocol {
    pub(super) fn expire(&self, s: &mut State, m: usize) -> bool {
        s.queue[m].place = Place::Visible;
        s.queue[m].holder = NOBODY;
        for p in 0..self.scope.slots {
            self.expire_in_hand(s, p, m);
        }
        true
    }

    /// A process whose receive is over drops what it has not prepared, whenever it looks; nothing else it could do with it.
    fn expire_in_hand(&self, s: &mut State, p: usize, m: usize) {
        let hand = &mut s.processes[p].hand[m];
        if hand.stage == Stage::None || hand.stage == Stage::Arriving {
            return;
        }
        hand.expired = true;
        if !self.rules.first_deadline_kept || !self.rules.deadline_to_send {
            return;
        }
        match hand.stage {
            Stage::Asking
            | Stage::Taking
            | Stage::Claiming
            | Stage::Deleting
            | Stage::Holding
            | Stage::Releasing => {
                self.drop_unprepared(s, p, m);
            }
            Stage::Ready => self.drop_ready(s, p, m),
            Stage::Prepared => hand.stage = Stage::Withdrawing,
            _ => {}
        }
    }

    pub(super) fn send_unanswered(&self, s: &mut State, p: usize, m: usize, batch: bool) -> bool {
        if !s.spend() {
            return false;
        }
        for n in 0..self.scope.messages {
            let hand = &mut s.processes[p].hand[n];
            if hand.stage == Stage::Sending && (batch || n == m) {
                hand.stage = Stage::Unknown;
                s.late[n].sends |= 1 << hand.attempt;
            }
        }
        true
    }

    pub(super) fn page_unanswered(&self, s: &mut State, p: usize, lane: usize) -> bool {
        if s.processes[p].late_page[lane].is_some() || !s.spend() {
            return false;
        }
        self.page_on_its_way(s, p, lane);
        true
    }

    /// A lane's page write is on its way and may arrive later, or never.
    pub(super) fn page_on_its_way(&self, s: &mut State, p: usize, lane: usize) {
        for m in self.messages_of(lane) {
            s.processes[p].late_page[m] = Some(self.entry_for(&s.processes[p].hand[m]));
        }
    }

    pub(super) fn late_page(&self, s: &mut State, p: usize, lane: usize) -> bool {
        let exists = s.processes[p].pages[lane] && !self.sealed(&s.processes[p]);
        for m in self.messages_of(lane) {
            if let Some(entry) = s.processes[p].late_page[m].take()
                && (exists || !self.rules.page_must_exist)
            {
                self.page_says(s, p, m, entry);
                s.processes[p].pages[lane] = true;
            }
        }
        true
    }

    pub(super) fn item_unanswered(&self, s: &mut State, p: usize, m: usize) -> bool {
        if !s.spend() {
            return false;
        }
        let hand = s.processes[p].hand[m];
        let late = &mut s.late[m];
        match hand.stage {
            Stage::Taking => late.take = (hand.attempt, super::state::name_of(p), hand.rival),
            Stage::Claiming => late.claim = super::state::name_of(p),
            Stage::Accepted | Stage::Sent => late.sent = true,
            _ => late.doubts |= 1 << hand.attempt,
        }
        true
    }

    pub(super) fn delete_unanswered(&self, s: &mut State, m: usize) -> bool {
        let news = !s.late[m].delete && s.queue[m].place != Place::Deleted && s.spend();
        s.late[m].delete |= news;
        news
    }

    pub(super) fn release_unanswered(&self, s: &mut State, p: usize, m: usize) -> bool {
        if !s.spend() {
            return false;
        }
        s.late[m].release = true;
        self.let_go_unsent(s, p, m);
        true
    }

    pub(super) fn late_send(&self, s: &mut State, m: usize, attempt: u8) -> bool {
        s.late[m].sends &= !(1 << attempt);
        self.accept(s, m, attempt);
        true
    }

    pub(super) fn late_delete(&self, s: &mut State, m: usize) -> bool {
        self.remove(s, m);
        true
    }

    pub(super) fn late_release(&self, s: &mut State, m: usize) -> bool {
        s.late[m].release = false;
        if s.queue[m].place == Place::InFlight {
            s.queue[m].place = Place::Visible;
            s.queue[m].holder = NOBODY;
        }
        true
    }

    pub(super) fn late_sent(&self, s: &mut State, m: usize) -> bool {
        s.late[m].sent = false;
        self.add_fact(s, m, Entry::Sent);
        true
    }

    pub(super) fn late_doubt(&self, s: &mut State, m: usize, attempt: u8) -> bool {
        s.late[m].doubts &= !(1 << attempt);
        self.add_fact(s, m, Entry::InDoubt(attempt));
        true
    }

    pub(super) fn late_take(&self, s: &mut State, m: usize) -> bool {
        let (attempt, by, from) = std::mem::take(&mut s.late[m].take);
        self.take_doubt(s, m, attempt, by, from);
        true
    }

    pub(super) fn late_claim(&self, s: &mut State, m: usize) -> bool {
        let by = std::mem::take(&mut s.late[m].claim);
        self.make_claim(s, m, by);
        true
    }
}
