//! The model as `stateright` sees it: what a step does, and the properties.

use stateright::{Model, Property};

use super::rules::{Rules, Scope};
use super::state::{Broken, Place, State};
use super::step::Step;

/// The name of the property that everything can be settled.
pub const SETTLED: &str = "everything is settled";

/// A protocol (the rules that are on) and the scope in which it is explored.
#[derive(Clone, Copy, Debug)]
pub struct Protocol {
    /// The rules.
    pub rules: Rules,
    /// The scope.
    pub scope: Scope,
    /// Looks for the breaking of this promise only.
    pub only: Option<Broken>,
}

impl Protocol {
    /// The protocol as it is, in a scope.
    pub const fn new(scope: Scope) -> Self {
        Self {
            rules: Rules::ALL,
            scope,
            only: None,
        }
    }

    /// The lane that has a message in its page.
    pub fn lane_of(&self, message: usize) -> usize {
        if self.scope.lanes > 1 { message } else { 0 }
    }

    /// The messages whose ids stand in a lane's page.
    pub fn messages_of(&self, lane: usize) -> impl Iterator<Item = usize> + use<> {
        let protocol = *self;
        (0..self.scope.messages).filter(move |m| protocol.lane_of(*m) == lane)
    }

    /// Does a step. `false`: it is not possible in this state.
    pub fn apply(&self, s: &mut State, step: Step) -> bool {
        let done = match step {
            Step::Start(p) => self.start(s, p),
            Step::CreatePage(p) => self.create_page(s, p),
            Step::Register(p) => self.register(s, p),
            Step::Receive(p, m) => self.receive(s, p, m),
            Step::ReceiveGroup(p) => self.receive_group(s, p),
            Step::ReadAnswer(p, m) => self.read_answer(s, p, m),
            Step::Copy(p, m) => self.copy(s, p, m),
            Step::Asked(p, m) => self.asked(s, p, m),
            Step::Take(p, m) => self.take(s, p, m),
            Step::Claim(p, m) => self.claim(s, p, m),
            Step::WritePage(p, lane) => self.write_page(s, p, lane),
            Step::Send(p, m) => self.send(s, p, m),
            Step::Accepted(p, m) => self.accepted(s, p, m),
            Step::Refused(p, m) => self.refused(s, p, m),
            Step::Withdraw(p, m) => self.withdraw(s, p, m),
            Step::Delete(p, m, effect) => self.delete(s, p, m, effect),
            Step::HandOver(p, m) => self.hand_over(s, p, m),
            Step::Forget(p, m) => self.forget(s, p, m),
            Step::Release(p, m) => self.release(s, p, m),
            Step::Hold(p, m) => self.hold(s, p, m),
            Step::Leave(p) => self.leave(s, p),
            Step::Beat(p) => self.beat(s, p),
            Step::BeatAgain(p) => self.beat_again(s, p),
            Step::Fence(p) => self.fence(s, p),
            Step::SweepRead(p) => self.sweep_read(s, p),
            Step::SweepItems(p) => self.sweep_items(s, p),
            Step::SweepDelete(p) => self.sweep_delete(s, p),
            Step::Expire(m) => self.expire(s, m),
            Step::LateSend(m, attempt) => self.late_send(s, m, attempt),
            Step::LateDelete(m) => self.late_delete(s, m),
            Step::LateRelease(m) => self.late_release(s, m),
            Step::LateSent(m) => self.late_sent(s, m),
            Step::LateDoubt(m, attempt) => self.late_doubt(s, m, attempt),
            Step::LateTake(m) => self.late_take(s, m),
            Step::LateClaim(m) => self.late_claim(s, m),
            Step::LatePage(p, lane) => self.late_page(s, p, lane),
            Step::Crash(p) => self.crash(s, p),
            Step::Terminate(p) => self.terminate(s, p),
            Step::SendUnanswered(p, m, batch) => self.send_unanswered(s, p, m, batch),
            Step::PageUnanswered(p, lane) => self.page_unanswered(s, p, lane),
            Step::ItemUnanswered(p, m) => self.item_unanswered(s, p, m),
            Step::DeleteUnanswered(_, m) => self.delete_unanswered(s, m),
            Step::ReleaseUnanswered(p, m) => self.release_unanswered(s, p, m),
            Step::BeatUnanswered(p) => self.beat_unanswered(s, p),
        };
        if done {
            self.tidy(s);
        }
        done
    }

    /// Notes that a promise is broken.
    pub(super) fn breaks(&self, s: &mut State, promise: Broken) {
        if self.only.is_none_or(|only| only == promise) {
            s.broken = Some(promise);
        }
    }

    /// Whether nothing is owed any more.
    pub fn settled(&self, s: &State) -> bool {
        (0..self.scope.messages).all(|m| s.queue[m].place == Place::Deleted)
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            faults: self.scope.faults,
            ..State::default()
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Step>) {
        self.candidates(state, actions);
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut next = *last;
        if !self.apply(&mut next, step) {
            return None;
        }
        Some(if self.scope.symmetric {
            self.representative(&next)
        } else {
            next
        })
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always("nothing is lost", |_, s| s.broken != Some(Broken::Lost)),
            Property::<Self>::always("nothing is doubled silently", |_, s| {
                s.broken != Some(Broken::DoubledSilently)
            }),
            Property::<Self>::always("at most once is at most once", |_, s| {
                s.broken != Some(Broken::DoubledAtMostOnce)
            }),
            Property::<Self>::always("what is marked sent is only deleted", |_, s| {
                s.broken != Some(Broken::SentAlthoughMarked)
            }),
            Property::<Self>::always("a group keeps its order", |_, s| {
                s.broken != Some(Broken::OutOfOrder)
            }),
            Property::<Self>::always("only prepared messages are in doubt", |_, s| {
                s.broken != Some(Broken::DoubtNotPrepared)
            }),
            Property::<Self>::always("every doubt can be settled", |_, s| {
                s.broken != Some(Broken::DoubtOfDeleted)
            }),
            Property::<Self>::always("every delivery is in one class", |_, s| {
                s.broken != Some(Broken::CountedTwice)
            }),
            Property::<Self>::sometimes(SETTLED, |protocol, s| protocol.settled(s)),
        ]
    }
}
