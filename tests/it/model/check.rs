//! Runs a check and says what came of it.

use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use super::protocol::{Protocol, SETTLED};
use super::rules::{Rules, Scope};
use super::state::Broken;
use super::step::Step;

/// What a check found.
pub struct Found {
    /// States that differ.
    pub states: usize,
    /// A promise that is broken, and the way there.
    pub broken: Option<(&'static str, Vec<Step>)>,
    /// Whether a state was seen in which nothing is owed any more.
    pub settled: bool,
}

/// Explores every state of a protocol in its scope, or until a promise is broken.
pub fn explore(protocol: Protocol) -> Found {
    let checker = protocol
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let mut discoveries = checker.discoveries();
    let settled = discoveries.remove(SETTLED).is_some();
    let broken = discoveries
        .into_iter()
        .next()
        .map(|(promise, path)| (promise, path.into_actions()));
    Found {
        states: checker.unique_state_count(),
        broken,
        settled,
    }
}

/// The protocol, whole, keeps every promise in a scope. Prints how many states that took.
#[track_caller]
#[expect(
    clippy::disallowed_methods,
    reason = "how long a check takes is part of its report"
)]
pub fn holds(name: &str, scope: Scope) {
    let start = Instant::now();
    let found = explore(Protocol::new(scope));
    println!("{name}: {} states in {:.1?}", found.states, start.elapsed());
    if let Some((promise, path)) = found.broken {
        panic!("{name}: not true that {promise}: {path:#?}");
    }
    assert!(found.settled, "{name}: nothing was ever settled");
}

/// Without some rules a certain promise is broken.
#[track_caller]
pub fn caught(rules: Rules, scope: Scope, promise: Broken) {
    assert_ne!(rules, Rules::ALL, "a mutant has a rule off");
    let found = explore(Protocol {
        rules,
        scope,
        only: Some(promise),
    });
    let (name, path) = found
        .broken
        .unwrap_or_else(|| panic!("not caught in {} states", found.states));
    println!("{} states; not true that {name}: {path:?}", found.states);
}

/// Without some rules a certain promise is still kept: the others bear it.
#[track_caller]
pub fn bears(rules: Rules, scope: Scope, promise: Broken) {
    let found = explore(Protocol {
        rules,
        scope,
        only: Some(promise),
    });
    if let Some((promise, path)) = found.broken {
        panic!("not true that {promise}: {path:#?}");
    }
}
