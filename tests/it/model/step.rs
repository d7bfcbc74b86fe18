//! What can happen next: the steps of the model, and which of them are worth trying in a state.

use super::protocol::Protocol;
use super::state::{Place, SLOTS, Stage, State, Sweep};

/// One step: of a process, of whoever watches the others, of the network, of time, or a fault.
/// The first number is always the process, the message follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A new process starts.
    Start(usize),
    /// It creates the page of its next lane.
    CreatePage(usize),
    /// It registers.
    Register(usize),
    /// It receives a message.
    Receive(usize, usize),
    /// It receives both messages of a FIFO group at once.
    ReceiveGroup(usize),
    /// It reads the answer of a receive (only with `received_at_start` off).
    ReadAnswer(usize, usize),
    /// All others have beaten twice or are swept: it reads the id's item and decides.
    Asked(usize, usize),
    /// It takes a doubt for a resend.
    Take(usize, usize),
    /// It claims an id.
    Claim(usize, usize),
    /// It writes the page of a lane, answered.
    WritePage(usize, usize),
    /// It looks at deadline and heartbeat and decides to send.
    Send(usize, usize),
    /// The destination accepts, and the answer arrives.
    Accepted(usize, usize),
    /// The destination refuses this entry for now, and the answer arrives.
    Refused(usize, usize),
    /// It takes a prepared id back, unsent.
    Withdraw(usize, usize),
    /// A delete is answered; the flag says whether it had an effect where the receipt handle is old.
    Delete(usize, usize, bool),
    /// It writes an id's item: sent, or in doubt.
    HandOver(usize, usize),
    /// It frees the id's place without an item (only with `hand_over` off).
    Forget(usize, usize),
    /// It makes a message visible.
    Release(usize, usize),
    /// It copies a message to the hold queue, or writes that it is held.
    Hold(usize, usize),
    /// A heartbeat reaches the table and is answered; a fenced process finds out and ends.
    Beat(usize),
    /// The second attempt at a heartbeat reaches the table (only with `numbered_beats` off).
    BeatAgain(usize),
    /// A stopping process has nothing in hand any more: it removes itself and ends.
    Leave(usize),

    /// A process whose heartbeat stood still for a lease is fenced.
    Fence(usize),
    /// Its pages are read.
    SweepRead(usize),
    /// The items of the ids in them are written.
    SweepItems(usize),
    /// Its pages are deleted, its totals folded in, its registration removed.
    SweepDelete(usize),

    /// A visibility timeout is over.
    Expire(usize),

    /// A late send arrives: message, attempt.
    LateSend(usize, u8),
    /// A late delete arrives.
    LateDelete(usize),
    /// A late visibility change arrives.
    LateRelease(usize),
    /// A late item write "sent" arrives.
    LateSent(usize),
    /// A late item write "in doubt" arrives: message, attempt.
    LateDoubt(usize, u8),
    /// A late taking of a doubt arrives.
    LateTake(usize),
    /// A late claim arrives.
    LateClaim(usize),
    /// A late page write arrives: process, lane.
    LatePage(usize, usize),

    /// Fault: a process is killed.
    Crash(usize),
    /// Fault: SIGTERM.
    Terminate(usize),
    /// Fault: the answer to a send is lost; `true`: of all sends under way in the process (one batch).
    SendUnanswered(usize, usize, bool),
    /// Fault: the answer to a page write is lost. It is repeated until answered.
    PageUnanswered(usize, usize),
    /// Fault: the answer to an item write (hand-over, taking, claim) is lost. It is repeated.
    ItemUnanswered(usize, usize),
    /// Fault: the answer to a delete is lost.
    DeleteUnanswered(usize, usize),
    /// Fault: the answer to a release is lost.
    ReleaseUnanswered(usize, usize),
    /// Fault: the answer to a heartbeat is lost (only with `numbered_beats` off: else nothing differs).
    BeatUnanswered(usize),
    /// Fault: SQS delivers a copy.
    Copy(usize, usize),
}

impl Step {
    /// Whether the step is a fault. Giving up a process that lives is one too (a freeze), see [`Protocol::is_fault`].
    fn is_fault_itself(self) -> bool {
        matches!(
            self,
            Self::Crash(_)
                | Self::Terminate(_)
                | Self::SendUnanswered(..)
                | Self::PageUnanswered(..)
                | Self::ItemUnanswered(..)
                | Self::DeleteUnanswered(..)
                | Self::ReleaseUnanswered(..)
                | Self::BeatUnanswered(_)
                | Self::Copy(..)
        )
    }
}

impl Protocol {
    /// Whether a step, taken in a state, is a fault.
    pub fn is_fault(&self, state: &State, step: Step) -> bool {
        step.is_fault_itself() || matches!(step, Step::Fence(p) if state.processes[p].alive)
    }

    /// The steps that may be possible in a state, always in the same order. [`Protocol::apply`] has the last word.
    pub fn candidates(&self, s: &State, out: &mut Vec<Step>) {
        if s.broken.is_some() {
            return;
        }
        let faults = s.faults > 0;
        for p in 0..self.scope.slots {
            let process = &s.processes[p];
            if process.alive {
                self.process_steps(s, p, faults, out);
            } else if !process.registered {
                // Slots are alike: only the first free one is used.
                if (0..p).all(|q| s.processes[q].alive || s.processes[q].registered) {
                    out.push(Step::Start(p));
                }
                continue;
            }
            if process.armed {
                out.push(Step::Beat(p));
            }
            if process.armed_again {
                out.push(Step::BeatAgain(p));
            }
            if process.registered {
                match (process.given_up, process.sweep) {
                    (false, _) => {
                        out.push(Step::Fence(p));
                    }
                    (true, Sweep::Idle) => out.push(Step::SweepRead(p)),
                    (true, Sweep::Read) => out.extend([
                        Step::SweepItems(p),
                        Step::SweepDelete(p),
                        Step::SweepRead(p),
                    ]),
                    (true, Sweep::Written) => {
                        out.extend([Step::SweepDelete(p), Step::SweepRead(p)])
                    }
                }
            }
            for lane in 0..self.scope.lanes {
                if process.late_page[lane].is_some() {
                    out.push(Step::LatePage(p, lane));
                }
            }
        }
        for m in 0..self.scope.messages {
            self.message_steps(s, m, out);
        }
    }

    fn process_steps(&self, s: &State, p: usize, faults: bool, out: &mut Vec<Step>) {
        let process = &s.processes[p];
        if usize::from(process.created) < self.scope.lanes {
            out.push(Step::CreatePage(p));
        } else if !process.joined {
            out.push(Step::Register(p));
        }
        let kinds = self.scope.kinds;
        if faults && kinds.crash {
            out.push(Step::Crash(p));
        }
        if faults && kinds.terminate && process.joined && !process.stopping {
            out.push(Step::Terminate(p));
        }
        if faults && kinds.unanswered && !self.rules.numbered_beats && process.armed {
            out.push(Step::BeatUnanswered(p));
        }
        if process.stopping {
            out.push(Step::Leave(p));
        }
        let unanswered = faults && kinds.unanswered;
        for lane in 0..self.scope.lanes {
            if self.page_write_due(process, lane) {
                out.push(Step::WritePage(p, lane));
                if unanswered {
                    out.push(Step::PageUnanswered(p, lane));
                }
            }
        }
        let mut sending = 0;
        for m in 0..self.scope.messages {
            self.hand_steps(s, p, m, unanswered, out);
            sending += usize::from(process.hand[m].stage == Stage::Sending);
            if s.queue[m].place == Place::Visible {
                out.push(Step::Receive(p, m));
            }
            if faults && kinds.copy {
                out.push(Step::Copy(p, m));
            }
        }
        if sending > 1 && unanswered {
            out.push(Step::SendUnanswered(p, 0, true));
        }
        if self.scope.fifo {
            out.push(Step::ReceiveGroup(p));
        }
    }

    fn hand_steps(&self, s: &State, p: usize, m: usize, unanswered: bool, out: &mut Vec<Step>) {
        let stopping = s.processes[p].stopping;
        match s.processes[p].hand[m].stage {
            Stage::None => {}
            Stage::Arriving => out.push(Step::ReadAnswer(p, m)),
            Stage::Asking => out.push(Step::Asked(p, m)),
            Stage::Taking | Stage::Claiming => {
                out.push(if self.scope.at_most_once {
                    Step::Claim(p, m)
                } else {
                    Step::Take(p, m)
                });
                if unanswered {
                    out.push(Step::ItemUnanswered(p, m));
                }
            }
            Stage::Ready => {
                if !self.rules.prepare {
                    out.push(Step::Send(p, m));
                }
            }
            Stage::Prepared => {
                out.extend([Step::Send(p, m), Step::Withdraw(p, m)]);
                if !self.rules.page_before_visibility && stopping {
                    out.push(Step::Release(p, m));
                }
            }
            Stage::Sending => {
                out.extend([Step::Accepted(p, m), Step::Refused(p, m)]);
                if unanswered {
                    out.push(Step::SendUnanswered(p, m, false));
                }
                if !self.rules.unanswered_not_released && stopping {
                    out.push(Step::Release(p, m));
                }
            }
            Stage::Accepted | Stage::Sent | Stage::Unknown | Stage::InDoubt => {
                let stage = s.processes[p].hand[m].stage;
                if self.scope.overlap || matches!(stage, Stage::Sent | Stage::InDoubt) {
                    out.push(Step::HandOver(p, m));
                    if unanswered {
                        out.push(Step::ItemUnanswered(p, m));
                    }
                }
                if !self.rules.hand_over {
                    out.push(Step::Forget(p, m));
                }
                if stage == Stage::Sent
                    || (stage == Stage::Accepted && !self.rules.mark_before_delete)
                {
                    self.delete_steps(p, m, unanswered, out);
                }
            }
            Stage::Leaving | Stage::LeavingOwed | Stage::Withdrawing => {}
            Stage::Releasing => {
                out.push(Step::Release(p, m));
                if unanswered && self.scope.old_handles_release {
                    out.push(Step::ReleaseUnanswered(p, m));
                }
            }
            Stage::Deleting => self.delete_steps(p, m, unanswered, out),
            Stage::Holding | Stage::Held => out.push(Step::Hold(p, m)),
        }
    }

    fn delete_steps(&self, p: usize, m: usize, unanswered: bool, out: &mut Vec<Step>) {
        out.extend([Step::Delete(p, m, true), Step::Delete(p, m, false)]);
        if unanswered {
            out.push(Step::DeleteUnanswered(p, m));
        }
    }

    fn message_steps(&self, s: &State, m: usize, out: &mut Vec<Step>) {
        if s.queue[m].place == Place::InFlight {
            out.push(Step::Expire(m));
        }
        let late = &s.late[m];
        for attempt in 0..4 {
            if late.sends & (1 << attempt) != 0 {
                out.push(Step::LateSend(m, attempt));
            }
            if late.doubts & (1 << attempt) != 0 {
                out.push(Step::LateDoubt(m, attempt));
            }
        }
        for (is, step) in [
            (late.delete, Step::LateDelete(m)),
            (late.release, Step::LateRelease(m)),
            (late.sent, Step::LateSent(m)),
            (late.take.0 != 0, Step::LateTake(m)),
            (late.claim != 0, Step::LateClaim(m)),
        ] {
            if is {
                out.push(step);
            }
        }
    }
}

/// Every slot but one.
pub fn others(p: usize) -> impl Iterator<Item = usize> {
    (0..SLOTS).filter(move |q| *q != p)
}
