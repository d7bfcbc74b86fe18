//! The protocol keeps its promises, in every interleaving of every scope here.

use std::time::Instant;
use stateright::{Checker, Model};

use super::protocol::Protocol;
use super::rules::{Faults, Scope};

fn holds(name: &str, scope: Scope) {
    let start = Instant::now();
    let checker = Protocol::new(scope).checker().threads(2).spawn_bfs().join();
    eprintln!("{name}: {} states, {} steps, {:?}", checker.unique_state_count(), checker.state_count(), start.elapsed());
    for (property, path) in checker.discoveries() {
        if property != "everything is settled" {
            panic!("{name}: {property}: {:#?}", path.into_actions());
        }
    }
    checker.assert_any_discovery("everything is settled");
}

#[test]
fn one_message_one_fault() {
    holds("one message, one fault", Scope::one_message(1));
}

#[test]
fn no_fault() {
    holds("one message, no fault", Scope::one_message(0));
    holds("two messages, no fault", Scope { kinds: Faults::NONE, ..Scope::two_messages(0) });
}
