//! The engine against a model of a queue that is too simple to be wrong: a list, looked through from its start each time.

use proptest::prelude::*;
use sqs_drain::local::sqs::engine::Receive;
use sqs_drain::local::sqs::message::NewMessage;
use sqs_drain::local::sqs::queue::State;

use super::{Bench, bodies};

#[derive(Clone, Debug)]
enum Step {
    Send {
        group: u8,
        delay_s: i64,
    },
    Receive {
        max: i64,
        visibility_s: i64,
    },
    /// Of a delivery, counted from the last one backwards.
    Delete {
        back: usize,
    },
    Hide {
        back: usize,
        seconds: i64,
    },
    Pass {
        seconds: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..4u8, prop_oneof![Just(0i64), 1..6i64]).prop_map(|(group, delay_s)| Step::Send { group, delay_s }),
        3 => (1..=10i64, 0..8i64).prop_map(|(max, visibility_s)| Step::Receive { max, visibility_s }),
        2 => (0..6usize).prop_map(|back| Step::Delete { back }),
        2 => (0..6usize, 0..8i64).prop_map(|(back, seconds)| Step::Hide { back, seconds }),
        2 => (0..5u64).prop_map(|seconds| Step::Pass { seconds }),
    ];
    prop::collection::vec(step, 1..120)
}

#[derive(Debug)]
struct Held {
    body: String,
    group: u8,
    count: u32,
    /// Hidden until then, by a receive or by a delay.
    hidden: Option<(u64, bool)>,
}

/// The model: messages in the order they were sent.
#[derive(Debug, Default)]
struct List {
    fifo: bool,
    held: Vec<Held>,
}

impl List {
    fn tick(&mut self, now_ms: u64) {
        for held in &mut self.held {
            held.hidden = held.hidden.filter(|(until_ms, _)| *until_ms > now_ms);
        }
    }

    fn receive(&mut self, max: usize, now_ms: u64, visibility_s: u64) -> Vec<String> {
        let mut order: Vec<usize> = (0..self.held.len()).collect();
        if self.fifo {
            // Group by group, by each group's first message; nothing behind a hidden message.
            let first = |group| self.held.iter().position(|h| h.group == group);
            order.sort_by_key(|n| (first(self.held[*n].group), *n));
            let behind = |n: &usize| {
                let this = &self.held[*n];
                self.held[..*n]
                    .iter()
                    .any(|h| h.group == this.group && h.hidden.is_some())
            };
            order.retain(|n| !behind(n));
        }
        order.retain(|n| self.held[*n].hidden.is_none());
        order.truncate(max);
        for n in &order {
            self.held[*n].count += 1;
            if visibility_s > 0 {
                self.held[*n].hidden = Some((now_ms + visibility_s * 1000, true));
            }
        }
        order.iter().map(|n| self.held[*n].body.clone()).collect()
    }

    /// Whether the delete is accepted.
    fn delete(&mut self, body: &str, count: u32) -> bool {
        let Some(n) = self.held.iter().position(|h| h.body == body) else {
            return true;
        };
        let in_flight = matches!(self.held[n].hidden, Some((_, true)));
        let newest = self.held[n].count == count;
        if newest && (in_flight || !self.fifo) {
            self.held.remove(n);
            return true;
        }
        !self.fifo
    }

    /// Whether the change is accepted.
    fn hide(&mut self, body: &str, count: u32, until_ms: u64, now_ms: u64) -> bool {
        let fifo = self.fifo;
        let Some(held) = self.held.iter_mut().find(|h| h.body == body) else {
            return false;
        };
        if !matches!(held.hidden, Some((_, true))) || (fifo && held.count != count) {
            return false;
        }
        held.hidden = (until_ms > now_ms).then_some((until_ms, true));
        true
    }
}

fn run(fifo: bool, steps: Vec<Step>) {
    let attributes: &[(&str, &str)] = if fifo { &[("FifoQueue", "true")] } else { &[] };
    let name = if fifo { "q.fifo" } else { "q" };
    let mut bench = Bench::with_queue(name, attributes);
    let mut list = List {
        fifo,
        ..List::default()
    };
    let mut delivered = Vec::new();
    for (n, step) in steps.into_iter().enumerate() {
        let body = n.to_string();
        list.tick(bench.now_ms);
        match step {
            Step::Send { group, delay_s } => {
                let delay_s = if fifo { 0 } else { delay_s };
                let message = NewMessage {
                    group_id: Some(group.to_string()),
                    deduplication_id: fifo.then(|| body.clone()),
                    delay_seconds: Some(delay_s),
                    ..NewMessage::new(&body)
                };
                bench.send(name, message).expect("accepted");
                list.held.push(Held {
                    body,
                    group,
                    count: 0,
                    hidden: (delay_s > 0)
                        .then(|| (bench.now_ms + delay_s.unsigned_abs() * 1000, false)),
                });
            }
            Step::Receive { max, visibility_s } => {
                let how = Receive {
                    max: Some(max),
                    visibility_s: Some(visibility_s),
                    ..Receive::default()
                };
                let got = bench.receive_as(name, how).expect("messages");
                let max = usize::try_from(max).expect("a small number");
                let expected = list.receive(max, bench.now_ms, visibility_s.unsigned_abs());
                assert_eq!(bodies(&got), expected);
                delivered.extend(got);
            }
            Step::Delete { back } => {
                if let Some(one) = delivered.iter().rev().nth(back) {
                    let accepted = bench.delete(name, one).is_ok();
                    let body = &one.message.content.body;
                    assert_eq!(accepted, list.delete(body, one.receipt.receive));
                }
            }
            Step::Hide { back, seconds } => {
                if let Some(one) = delivered.iter().rev().nth(back) {
                    let accepted = bench.hide(name, one, seconds).is_ok();
                    let body = &one.message.content.body;
                    let until_ms = bench.now_ms + seconds.unsigned_abs() * 1000;
                    let expected = list.hide(body, one.receipt.receive, until_ms, bench.now_ms);
                    assert_eq!(accepted, expected);
                }
            }
            Step::Pass { seconds } => bench.pass_s(seconds),
        }
        list.tick(bench.now_ms);
        let count = |wanted: Option<bool>| {
            list.held
                .iter()
                .filter(|h| h.hidden.map(|(_, received)| received) == wanted)
                .count()
        };
        assert_eq!(
            bench.counts(name),
            (count(None), count(Some(true)), count(Some(false)))
        );
    }
    let held = bench.engine.queue(name).expect("the queue").in_order();
    let states: Vec<_> = held
        .iter()
        .map(|(_, m)| {
            let hidden = match m.state {
                State::Visible => None,
                State::InFlight { until_ms } => Some((until_ms, true)),
                State::Delayed { until_ms } => Some((until_ms, false)),
            };
            (m.content.body.as_str(), m.receive_count, hidden)
        })
        .collect();
    let expected: Vec<_> = list
        .held
        .iter()
        .map(|h| (h.body.as_str(), h.count, h.hidden))
        .collect();
    assert_eq!(states, expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_standard_queue_does_what_the_list_does(steps in steps()) {
        run(false, steps);
    }

    #[test]
    fn a_fifo_queue_does_what_the_list_does(steps in steps()) {
        run(true, steps);
    }
}
