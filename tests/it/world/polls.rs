//! Long polls: how a receive waits at a queue.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use sqs_drain::message::Message;
use sqs_drain::port::QueueError;

use super::engine::{Core, Done, Mood};
use super::fault::Fault;

/// A receive as the queue sees it; kept while it waits.
pub struct Poll {
    pub(super) queue: usize,
    pub(super) max: usize,
    pub(super) visibility_ms: u64,
    pub(super) until_ms: u64,
    pub(super) mood: Mood,
    pub(super) done: Done<Result<Vec<Message>, QueueError>>,
}

/// The long polls at a queue.
#[derive(Default)]
pub struct Waiting {
    /// By arrival.
    polls: BTreeMap<u64, Poll>,
    /// When each ends, with its arrival.
    ends: BTreeSet<(u64, u64)>,
    arrivals: u64,
    look_ms: Option<u64>,
}

impl Waiting {
    fn add(&mut self, arrival: u64, poll: Poll) {
        self.ends.insert((poll.until_ms, arrival));
        self.polls.insert(arrival, poll);
    }

    fn take(&mut self, arrival: u64) -> Option<Poll> {
        let poll = self.polls.remove(&arrival)?;
        self.ends.remove(&(poll.until_ms, arrival));
        Some(poll)
    }
}

impl Core {
    pub(super) fn poll(self: &Rc<Self>, poll: Poll) {
        if matches!(poll.mood.fault, Some(Fault::Empty)) {
            let done = poll.done;
            self.at(poll.until_ms, move |core| done(core, Ok(Vec::new())));
            return;
        }
        let messages = self.hand_out(&poll);
        if !messages.is_empty() || self.now() >= poll.until_ms {
            (poll.done)(self, Ok(messages));
            return;
        }
        let queue = poll.queue;
        let mut waiting = self.polls.borrow_mut();
        let waiting = &mut waiting[queue];
        waiting.arrivals += 1;
        waiting.add(waiting.arrivals, poll);
        self.plan_a_look(queue, waiting);
    }

    /// What the queue gives this poll at this moment.
    fn hand_out(self: &Rc<Self>, poll: &Poll) -> Vec<Message> {
        let now = self.now();
        let mut queues = self.queues.borrow_mut();
        let queue = &mut queues[poll.queue];
        let (messages, dead) = queue.receive(now, poll.max, poll.visibility_ms);
        if let Some(Fault::Copy(count)) = poll.mood.fault {
            let delay = self.rng.borrow_mut().between(0, 5_000);
            if let Some(origin) = queue.copy_one(now, &messages, count, delay) {
                self.note(format_args!("  the queue copies m{origin}"));
            }
        }
        // Also one that takes effect so long after its caller gave up that no margin covers it.
        let to_nobody = |f: &Fault| matches!(f, Fault::Twice | Fault::Echo(_) | Fault::Late(_));
        if poll.mood.fault.as_ref().is_some_and(to_nobody) {
            let origins = messages
                .iter()
                .filter_map(|m| super::queue::origin(&m.body));
            queue.unheard.extend(origins);
        }
        if let Some((dead_letters, _)) = queue.spec.redrive {
            for stored in dead {
                let origin = stored.payload.origin();
                self.note(format_args!("  dead-lettered {origin:?}"));
                queues[dead_letters].take_over(now, stored);
            }
        }
        messages
    }

    /// One look at the waiting polls at a time: when the first of them ends or the next message becomes visible.
    fn plan_a_look(self: &Rc<Self>, queue: usize, waiting: &mut Waiting) {
        let Some((end, _)) = waiting.ends.first() else {
            return;
        };
        let next = self.queues.borrow()[queue].next_visible_ms(self.now());
        self.look_at(queue, waiting, next.map_or(*end, |at| at.min(*end)));
    }

    /// An earlier look takes the place of a later one.
    fn look_at(self: &Rc<Self>, queue: usize, waiting: &mut Waiting, at_ms: u64) {
        if waiting.look_ms.is_none_or(|planned| at_ms < planned) {
            waiting.look_ms = Some(at_ms);
            self.at(at_ms, move |core| core.poll_again(queue, at_ms));
        }
    }

    fn poll_again(self: &Rc<Self>, queue: usize, at_ms: u64) {
        let now = self.now();
        let mut arrivals: Vec<u64> = {
            let mut waiting = self.polls.borrow_mut();
            let waiting = &mut waiting[queue];
            if waiting.look_ms != Some(at_ms) {
                return;
            }
            waiting.look_ms = None;
            match self.queues.borrow()[queue].has_visible(now) {
                true => waiting.polls.keys().copied().collect(),
                // With thousands that wait only those are looked at whose time has come.
                false => {
                    let ended = waiting.ends.range(..=(now, u64::MAX));
                    ended.map(|(_, arrival)| *arrival).collect()
                }
            }
        };
        arrivals.sort_unstable();
        for arrival in arrivals {
            let Some(poll) = self.polls.borrow_mut()[queue].take(arrival) else {
                continue;
            };
            let some = self.queues.borrow()[queue].has_visible(now);
            let messages = match some {
                true => self.hand_out(&poll),
                false => Vec::new(),
            };
            if !messages.is_empty() || now >= poll.until_ms {
                (poll.done)(self, Ok(messages));
            } else {
                self.polls.borrow_mut()[queue].add(arrival, poll);
            }
        }
        let mut waiting = self.polls.borrow_mut();
        self.plan_a_look(queue, &mut waiting[queue]);
    }

    /// Something may have become visible.
    pub fn stir(self: &Rc<Self>, queue: usize) {
        let mut waiting = self.polls.borrow_mut();
        if !waiting[queue].polls.is_empty() {
            self.look_at(queue, &mut waiting[queue], self.now());
        }
    }
}
