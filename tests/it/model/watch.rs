//! Lives of processes: start, heartbeats, giving up, sweeping, ending.

use super::protocol::Protocol;
use super::state::{
    Audit, BYGONE, Broken, Entry, Item, Late, NOBODY, Place, Process, SLOTS, Stage, State, Sweep,
    name_of,
};
use super::step::others;

impl Protocol {
    pub(super) fn start(&self, s: &mut State, p: usize) -> bool {
        if s.processes.iter().filter(|process| process.alive).count() >= self.scope.alive {
            return false;
        }
        let at_once = !self.scope.slow_start;
        let process = &mut s.processes[p];
        *process = Process {
            alive: true,
            ..Process::default()
        };
        process.joined = at_once || self.scope.registers_first;
        process.registered = process.joined;
        if at_once {
            process.created = self.scope.lanes as u8;
            process.pages = [true, self.scope.lanes > 1];
        }
        true
    }

    pub(super) fn create_page(&self, s: &mut State, p: usize) -> bool {
        let process = &mut s.processes[p];
        process.pages[usize::from(process.created)] = true;
        process.created += 1;
        true
    }

    pub(super) fn register(&self, s: &mut State, p: usize) -> bool {
        let process = &mut s.processes[p];
        process.joined = true;
        process.registered = true;
        true
    }

    /// Whether a heartbeat may start: no lane is past a visibility timeout with an id that may stand in its page.
    fn may_beat(&self, process: &Process) -> bool {
        !self.rules.beat_withheld
            || process.hand.iter().all(|hand| {
                !hand.expired
                    || !matches!(
                        hand.stage,
                        Stage::Prepared
                            | Stage::Sending
                            | Stage::Accepted
                            | Stage::Unknown
                            | Stage::Sent
                            | Stage::InDoubt
                            | Stage::Withdrawing
                    )
            })
    }

    /// A heartbeat's effect on those who watch. `false`: nobody cares.
    fn beaten(&self, s: &mut State, p: usize) -> bool {
        let mut noticed = s.processes[p].stale;
        s.processes[p].stale = false;
        for q in others(p) {
            for m in 0..self.scope.messages {
                if s.processes[q].hand[m].stage == Stage::Asking && s.processes[q].seen[m][p] < 2 {
                    s.processes[q].seen[m][p] += 1;
                    noticed = true;
                }
            }
        }
        noticed
    }

    pub(super) fn beat(&self, s: &mut State, p: usize) -> bool {
        let fenced = s.processes[p].given_up && self.rules.fence;
        s.processes[p].armed = false;
        match (fenced, s.processes[p].alive) {
            // Superseded: it finds out, touches nothing more and ends.
            (true, true) => self.vanish(s, p),
            (true, false) => return false,
            (false, _) => return self.beaten(s, p),
        }
        true
    }

    pub(super) fn beat_again(&self, s: &mut State, p: usize) -> bool {
        s.processes[p].armed_again = false;
        let fenced = s.processes[p].given_up && self.rules.fence;
        !fenced && self.beaten(s, p)
    }

    pub(super) fn beat_unanswered(&self, s: &mut State, p: usize) -> bool {
        if s.processes[p].armed_again || !s.spend() {
            return false;
        }
        s.processes[p].armed_again = true;
        true
    }

    pub(super) fn fence(&self, s: &mut State, p: usize) -> bool {
        let somebody = others(p).any(|q| s.processes[q].alive && s.processes[q].joined);
        if !somebody || (s.processes[p].alive && !(self.scope.kinds.freeze && s.spend())) {
            return false;
        }
        s.processes[p].given_up = true;
        s.processes[p].stale = true;
        if !s.processes[p].alive {
            s.processes[p].armed = false;
            s.processes[p].armed_again = false;
            self.sweep_read(s, p);
            let page_may_change = s.processes[p].late_page.iter().any(Option::is_some);
            if self.scope.brisk_sweeps && !page_may_change {
                self.sweep_items(s, p);
                self.sweep_delete(s, p);
            }
        }
        true
    }

    pub(super) fn sweep_read(&self, s: &mut State, p: usize) -> bool {
        let process = &mut s.processes[p];
        let anew = process.sweep == Sweep::Idle
            || process.changed.contains(&true)
            || !self.rules.totals_folded_once;
        process.sweep = Sweep::Read;
        process.read = process.page;
        process.changed = [false; 2];
        anew
    }

    pub(super) fn sweep_items(&self, s: &mut State, p: usize) -> bool {
        for m in 0..self.scope.messages {
            let process = &s.processes[p];
            let read = process.read[m];
            // A page that has changed since is read again; what was written of its old state does no harm.
            let as_read = process.page[m] == read || self.scope.strict_doubts;
            if let Entry::Prepared(attempt) | Entry::InDoubt(attempt) = read {
                let item = &s.items[m];
                let raised = item.doubts <= attempt && !item.sent && !item.held;
                if as_read && raised && s.queue[m].place == Place::Deleted {
                    self.breaks(s, Broken::DoubtOfDeleted);
                } else if as_read && process.released_early[m] {
                    self.breaks(s, Broken::CountedTwice);
                }
            }
            self.add_fact(s, m, read);
        }
        s.processes[p].sweep = Sweep::Written;
        if !self.rules.totals_folded_once {
            self.fold(s, p);
        }
        true
    }

    fn fold(&self, s: &mut State, p: usize) {
        if s.processes[p].folded {
            self.breaks(s, Broken::CountedTwice);
        }
        s.processes[p].folded = true;
    }

    pub(super) fn sweep_delete(&self, s: &mut State, p: usize) -> bool {
        let process = &mut s.processes[p];
        let items_due = process.sweep == Sweep::Read && self.rules.items_before_page_goes;
        let changed = process.changed.contains(&true) && self.rules.page_deleted_as_read;
        if items_due || changed {
            return false;
        }
        process.pages = [false; 2];
        process.page = Default::default();
        process.read = Default::default();
        process.changed = [false; 2];
        process.released_early = [false; 2];
        process.sweep = Sweep::Idle;
        if self.rules.page_must_exist {
            process.late_page = [None; 2];
        }
        if self.rules.totals_folded_once {
            self.fold(s, p);
        }
        s.processes[p].registered = false;
        if !s.processes[p].alive {
            self.bury(s, p);
        }
        true
    }

    pub(super) fn crash(&self, s: &mut State, p: usize) -> bool {
        if !s.spend() {
            return false;
        }
        self.vanish(s, p);
        true
    }

    /// A process ends where it stands. Requests of it may be on their way and arrive later, or never.
    pub(super) fn vanish(&self, s: &mut State, p: usize) {
        for lane in 0..self.scope.lanes {
            if self.page_write_due(&s.processes[p], lane) {
                self.page_on_its_way(s, p, lane);
            }
        }
        for m in 0..self.scope.messages {
            self.requests_on_their_way(s, p, m);
            self.let_go(s, p, m);
        }
        let process = &mut s.processes[p];
        process.alive = false;
        process.joined = false;
        process.stopping = false;
        process.blocked = false;
        process.created = 0;
        process.remembers = [false; 2];
        if !process.registered {
            self.bury(s, p);
        }
    }

    fn requests_on_their_way(&self, s: &mut State, p: usize, m: usize) {
        let hand = s.processes[p].hand[m];
        let late = &mut s.late[m];
        match hand.stage {
            Stage::Sending => late.sends |= 1 << hand.attempt,
            _ if !self.scope.lingering => {}
            Stage::Taking => late.take = (hand.attempt, name_of(p), hand.rival),
            Stage::Claiming => late.claim = name_of(p),
            Stage::Unknown | Stage::InDoubt => late.doubts |= 1 << hand.attempt,
            Stage::Accepted => late.sent = true,
            Stage::Sent => {
                late.sent = true;
                late.delete = true;
            }
            Stage::Deleting => late.delete = true,
            _ => {}
        }
    }

    /// Frees the slot of a process of which the table knows nothing any more.
    fn bury(&self, s: &mut State, p: usize) {
        let me = name_of(p);
        s.processes[p] = Process::default();
        for m in 0..self.scope.messages {
            if s.queue[m].holder == me {
                s.queue[m].holder = NOBODY;
            }
            for name in [&mut s.items[m].claim, &mut s.late[m].claim] {
                if *name == me {
                    *name = BYGONE;
                }
            }
            for q in 0..SLOTS {
                if s.processes[q].hand[m].stage == Stage::Asking {
                    s.processes[q].seen[m][p] = 2;
                }
            }
        }
    }

    pub(super) fn terminate(&self, s: &mut State, p: usize) -> bool {
        if !s.spend() {
            return false;
        }
        s.processes[p].stopping = true;
        for m in 0..self.scope.messages {
            match s.processes[p].hand[m].stage {
                Stage::Arriving
                | Stage::Asking
                | Stage::Taking
                | Stage::Claiming
                | Stage::Deleting
                | Stage::Holding => {
                    self.drop_unprepared(s, p, m);
                }
                Stage::Ready => self.drop_ready(s, p, m),
                _ => {}
            }
        }
        true
    }

    /// An id that was to be prepared is dropped: at once, or by way of the page when an unanswered write may have put it there.
    pub(super) fn drop_ready(&self, s: &mut State, p: usize, m: usize) {
        let process = &mut s.processes[p];
        if process.page[m] != Entry::Absent || process.late_page[m].is_some() {
            process.hand[m].stage = Stage::Withdrawing;
        } else {
            self.drop_unprepared(s, p, m);
        }
    }

    pub(super) fn leave(&self, s: &mut State, p: usize) -> bool {
        let process = &s.processes[p];
        let busy = process.hand.iter().any(|hand| hand.stage != Stage::None);
        // The last heartbeat says that it leaves; it fails like any other when the process is fenced.
        if busy || (process.given_up && self.rules.fence) {
            return false;
        }
        s.processes[p].registered = false;
        self.bury(s, p);
        true
    }

    /// After every step: heartbeats start when they may, and what cannot matter any more is forgotten.
    pub(super) fn tidy(&self, s: &mut State) {
        for process in s.processes.iter_mut().take(self.scope.slots) {
            if process.alive && process.joined && !process.armed && self.may_beat(process) {
                process.armed = true;
            }
            if self.scope.fifo {
                let first_owed = matches!(
                    process.hand[0].stage,
                    Stage::Unknown
                        | Stage::InDoubt
                        | Stage::Withdrawing
                        | Stage::Releasing
                        | Stage::Holding
                );
                let owed_in_hand =
                    process.hand[0].stage == Stage::LeavingOwed && self.rules.group_waits_in_hand;
                process.blocked = process.hand[1].stage != Stage::None
                    && (process.blocked || first_owed || owed_in_hand);
            }
        }
        for m in 0..self.scope.messages {
            self.forget_moot(s, m);
        }
    }

    /// Forgets what can have no effect any more, so that states that differ only in it are one.
    fn forget_moot(&self, s: &mut State, m: usize) {
        let holder = s.queue[m].holder;
        if (0..SLOTS).any(|p| name_of(p) == holder && s.processes[p].hand[m].stage == Stage::None) {
            s.queue[m].holder = NOBODY;
        }
        let (item, late) = (&mut s.items[m], &mut s.late[m]);
        if self.rules.items_accumulate {
            late.sent &= !item.sent;
            late.doubts = late.doubts >> item.doubts << item.doubts;
        }
        if s.queue[m].place != Place::Deleted {
            return;
        }
        late.delete = false;
        late.release = false;
        late.take = (0, NOBODY, NOBODY);
        if item.resent_by != NOBODY {
            item.resent_by = BYGONE;
        }
        let mentioned = s.processes.iter().any(|process| {
            process.hand[m].stage != Stage::None
                || process.page[m] != Entry::Absent
                || process.read[m] != Entry::Absent
                || process.late_page[m].is_some()
        });
        // Copies may come of a deleted message, and late sends be doubled, so these need the record still.
        if !mentioned && late.sends == 0 && !self.scope.kinds.copy {
            *item = Item {
                sent: true,
                ..Item::default()
            };
            *late = Late::default();
            s.audit[m] = Audit {
                accepted: 1,
                held: false,
                marked: true,
            };
            s.queue[m].received = true;
        }
    }
}
