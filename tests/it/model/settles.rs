//! Nothing gets stuck: from every state that can be reached, if nobody fails any more, everything can still be settled.
//!
//! `stateright` checks invariants; this is a question about paths, so it is answered on the whole graph: explore it
//! forwards, then go back from the settled states along the steps that are no faults.

use std::collections::{HashMap, HashSet};

use stateright::Model;

use super::protocol::Protocol;
use super::rules::{Faults, Scope};
use super::state::State;
use super::step::Step;

/// A state packed: one `State` is some 250 bytes, and all of them are kept.
type Packed = [u8; State::PACKED];

/// How many states can be reached when only allowed steps happen, and one from which nothing can be settled any more without a further fault.
fn stuck(protocol: Protocol, allowed: fn(Step) -> bool) -> (usize, Option<State>) {
    let mut number: HashMap<Packed, u32> = HashMap::new();
    let mut settled = Vec::new();
    let mut before: Vec<Vec<u32>> = Vec::new();
    let mut layer = protocol.init_states();
    let mut steps = Vec::new();
    for state in &layer {
        number.insert(state.pack(), 0);
        before.push(Vec::new());
    }
    while !layer.is_empty() {
        let mut next_layer = Vec::new();
        for state in layer {
            let from = number[&state.pack()];
            if protocol.settled(&state) {
                settled.push(from);
            }
            protocol.actions(&state, &mut steps);
            for step in steps.drain(..) {
                if !allowed(step) {
                    continue;
                }
                let fault = protocol.is_fault(&state, step);
                let Some(next) = protocol.next_state(&state, step) else {
                    continue;
                };
                let new = number.len() as u32;
                let to = *number.entry(next.pack()).or_insert(new);
                if to == new {
                    before.push(Vec::new());
                    next_layer.push(next);
                }
                if !fault {
                    before[to as usize].push(from);
                }
            }
        }
        layer = next_layer;
    }
    let mut can = vec![false; before.len()];
    while let Some(state) = settled.pop() {
        if !std::mem::replace(&mut can[state as usize], true) {
            settled.extend(&before[state as usize]);
        }
    }
    let lost = can.iter().position(|can| !can).map(|at| at as u32);
    (can.len(), lost.and_then(|at| find(protocol, &number, at)))
}

/// The state of a number: states are not kept, so the way to it is walked again.
fn find(protocol: Protocol, number: &HashMap<Packed, u32>, wanted: u32) -> Option<State> {
    let mut seen = HashSet::new();
    let mut todo = protocol.init_states();
    while let Some(state) = todo.pop() {
        if number.get(&state.pack()) == Some(&wanted) {
            return Some(state);
        }
        todo.extend(
            protocol
                .next_states(&state)
                .into_iter()
                .filter(|next| seen.insert(next.pack())),
        );
    }
    None
}

/// Without overlap a process that knows its heartbeat to be stale receives nothing. (If it did, it could take the same
/// doubt again and again while it is being swept, until the attempt numbers run out, without ever sending.)
const ONE: Scope = Scope {
    overlap: false,
    ..Scope::one_message(1)
};

fn settles(scope: Scope) {
    let (states, lost) = stuck(Protocol::new(scope), |_| true);
    assert!(lost.is_none(), "stuck: {lost:#?}");
    assert!(states > 300, "explored only {states} states");
    println!("{states} states, from each of which everything can be settled");
}

#[test]
fn at_least_once_always_settles() {
    settles(ONE);
}

#[test]
fn a_sweep_that_seals_always_settles() {
    settles(Scope {
        seals: true,
        ..Scope::one_message(1)
    });
}

#[test]
fn at_most_once_always_settles() {
    settles(Scope {
        at_most_once: true,
        ..ONE
    });
}

#[test]
fn two_messages_always_settle() {
    settles(Scope {
        kinds: Faults::NONE,
        ..Scope::two_messages(0)
    });
    settles(Scope {
        kinds: Faults {
            unanswered: true,
            ..Faults::NONE
        },
        slots: 2,
        fifo: true,
        ..Scope::two_messages(1)
    });
}

/// The check can fail: who waits for two heartbeats of a process that is dead and that nobody may give up waits for ever.
#[test]
fn a_protocol_that_gets_stuck_is_found() {
    let scope = Scope {
        kinds: Faults {
            crash: true,
            ..Faults::NONE
        },
        ..ONE
    };
    assert_eq!(stuck(Protocol::new(scope), |_| true).1, None);
    let (_, lost) = stuck(Protocol::new(scope), |step| !matches!(step, Step::Fence(_)));
    assert!(lost.is_some());
}
