//! The ports as a simulated process has them.

use std::rc::Rc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqs_drain::message::{Counts, Message, Outgoing, ReceiptOutcome, SendOutcome};
use sqs_drain::port::{Clock, Moment, Ports, QueueError, Sink, Source, Trouble, WallTimes};
use tokio_util::sync::CancellationToken;

use super::engine::{Call, Core, Done, Failure, Mood};
use super::fault::{Fault, Op, Target};
use super::polls::Poll;
use super::process::Process;
use super::queue::Entry;
use super::show::{origin_of, show_receipts, show_received, show_sent};
use super::store::SimStore;

/// The simulated world as a bundle of ports.
pub struct Sim;

impl Ports for Sim {
    type Source = SimSource;
    type Sink = SimSink;
    type Store = SimStore;
    type Clock = SimClock;
}

/// One process's way to the world.
#[derive(Clone)]
pub struct ProcessPorts {
    pub(super) core: Rc<Core>,
    pub(super) process: Rc<Process>,
}

impl ProcessPorts {
    pub(super) fn new(core: &Rc<Core>, process: &Rc<Process>) -> Self {
        Self {
            core: core.clone(),
            process: process.clone(),
        }
    }

    /// The queue of this index, to receive from.
    pub fn source(&self, queue: usize) -> SimSource {
        SimSource {
            at: self.clone(),
            queue,
        }
    }

    /// The queue of this index, to send to.
    pub fn sink(&self, queue: usize) -> SimSink {
        SimSink {
            at: self.clone(),
            queue,
        }
    }

    /// The checkpoint table.
    pub fn store(&self) -> SimStore {
        SimStore { at: self.clone() }
    }

    /// Time and chance.
    pub fn clock(&self) -> SimClock {
        SimClock { at: self.clone() }
    }

    /// Cancelled by SIGTERM.
    pub fn term(&self) -> CancellationToken {
        self.process.term.clone()
    }
}

pub(super) fn trouble(failure: Failure) -> (Trouble, &'static str) {
    match failure {
        Failure::Timeout => (Trouble::Unreachable, "timeout"),
        Failure::Refused => (Trouble::Unreachable, "connect"),
        Failure::ServerFault => (Trouble::Unreachable, "InternalError"),
        Failure::Throttled => (Trouble::Throttled, "ThrottlingException"),
        Failure::Denied => (Trouble::Denied, "AccessDenied"),
        Failure::Missing => (Trouble::Missing, "ResourceNotFoundException"),
    }
}

fn failed_receipt(failure: Failure) -> ReceiptOutcome {
    let code = trouble(failure).1.into();
    match failure {
        Failure::Timeout | Failure::ServerFault => ReceiptOutcome::Unknown(code),
        Failure::Refused | Failure::Throttled => ReceiptOutcome::Retry(code),
        Failure::Denied | Failure::Missing => ReceiptOutcome::Denied(code),
    }
}

fn queue_error(failure: Failure) -> QueueError {
    let (kind, code) = trouble(failure);
    QueueError {
        kind,
        code: code.into(),
        message: "simulated".into(),
    }
}

/// A queue to receive from.
pub struct SimSource {
    at: ProcessPorts,
    queue: usize,
}

impl SimSource {
    fn call<T>(
        &self,
        op: Op,
        limit_ms: u64,
        failed: Box<dyn Fn(Failure) -> T>,
        show: fn(&T) -> String,
    ) -> Call<T> {
        Call {
            op,
            target: Target::Queue(self.queue),
            about: String::new(),
            limit_ms,
            failed,
            show,
        }
    }
}

fn ms(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

impl Source for SimSource {
    async fn receive(
        &self,
        max: usize,
        wait: Duration,
        visibility: Duration,
    ) -> Result<Vec<Message>, QueueError> {
        assert!((1..=10).contains(&max), "a receive asks for 1 to 10");
        assert!(wait.subsec_nanos() == 0 && visibility.subsec_nanos() == 0 && wait.as_secs() <= 20);
        let limit = ms(wait) + self.at.core.timings.get().queue_timeout_ms;
        let call = self.call(
            Op::Receive,
            limit,
            Box::new(|f| Err(queue_error(f))),
            show_received,
        );
        let queue = self.queue;
        let detail = || format!("q{queue} max {max} wait {wait:?} visibility {visibility:?}");
        let effect = Rc::new(move |core: &Rc<Core>, mood: &Mood, done: Done<_>| {
            core.poll(Poll {
                queue,
                max,
                visibility_ms: ms(visibility),
                until_ms: core.now() + ms(wait),
                mood: mood.clone(),
                done,
            });
        });
        self.at
            .core
            .call(&self.at.process, call, detail, effect)
            .await
    }

    async fn delete(&self, handles: &[String]) -> Vec<ReceiptOutcome> {
        assert!((1..=10).contains(&handles.len()), "a delete takes 1 to 10");
        let limit = self.at.core.timings.get().queue_timeout_ms;
        let n = handles.len();
        let failed = move |f| vec![failed_receipt(f); n];
        let call = self.call(Op::Delete, limit, Box::new(failed), |a| show_receipts(a));
        let (queue, handles) = (self.queue, handles.to_vec());
        let detail = || format!("q{queue} {}", handles.join(" "));
        let text = if self.at.core.logged() {
            detail()
        } else {
            String::new()
        };
        let effect = Rc::new(move |core: &Rc<Core>, mood: &Mood, done: Done<_>| {
            let outcomes = handles.iter().map(|handle| {
                if core.entry_fails(mood) {
                    return ReceiptOutcome::Retry("InternalError".into());
                }
                let (outcome, gone) = core.queues.borrow_mut()[queue].delete(core.now(), handle);
                if let Some(origin) = gone {
                    core.audit.borrow_mut().deleted(core, mood, queue, origin);
                }
                outcome
            });
            let outcomes = outcomes.collect();
            // In a FIFO queue the rest of the group is free now.
            core.stir(queue);
            done(core, outcomes);
        });
        self.at
            .core
            .call(&self.at.process, call, || text, effect)
            .await
    }

    async fn set_visibility(&self, handles: &[(String, Duration)]) -> Vec<ReceiptOutcome> {
        assert!(
            (1..=10).contains(&handles.len()),
            "a visibility batch takes 1 to 10"
        );
        assert!(
            handles.iter().all(|(_, to)| to.subsec_nanos() == 0),
            "SQS counts visibility in whole seconds"
        );
        let limit = self.at.core.timings.get().queue_timeout_ms;
        let n = handles.len();
        let failed = move |f| vec![failed_receipt(f); n];
        let call = self.call(Op::Visibility, limit, Box::new(failed), |a| {
            show_receipts(a)
        });
        let (queue, handles) = (self.queue, handles.to_vec());
        let text = match self.at.core.logged() {
            true => format!("q{queue} {handles:?}"),
            false => String::new(),
        };
        let effect = Rc::new(move |core: &Rc<Core>, mood: &Mood, done: Done<_>| {
            let outcomes = handles.iter().map(|(handle, to)| {
                if core.entry_fails(mood) {
                    return ReceiptOutcome::Retry("InternalError".into());
                }
                let outcome =
                    core.queues.borrow_mut()[queue].set_visibility(core.now(), handle, ms(*to));
                if outcome == ReceiptOutcome::Done && to.is_zero() {
                    core.audit.borrow_mut().released(core, mood, queue, handle);
                }
                outcome
            });
            let outcomes = outcomes.collect();
            core.stir(queue);
            done(core, outcomes);
        });
        self.at
            .core
            .call(&self.at.process, call, || text, effect)
            .await
    }

    async fn counts(&self) -> Result<Counts, QueueError> {
        let limit = self.at.core.timings.get().queue_timeout_ms;
        let show = |a: &Result<Counts, QueueError>| match a {
            Ok(c) => format!("{} {} {}", c.visible, c.in_flight, c.delayed),
            Err(e) => e.code.clone(),
        };
        let call = self.call(Op::Counts, limit, Box::new(|f| Err(queue_error(f))), show);
        let queue = self.queue;
        let effect = Rc::new(move |core: &Rc<Core>, mood: &Mood, done: Done<_>| {
            let now = core.now();
            let counts = match mood.fault {
                Some(Fault::StaleCounts(age)) => {
                    core.queues.borrow_mut()[queue].stale_counts(now, age)
                }
                _ => core.queues.borrow()[queue].counts(now),
            };
            done(core, Ok(counts));
        });
        let detail = || format!("q{queue}");
        self.at
            .core
            .call(&self.at.process, call, detail, effect)
            .await
    }
}

impl Core {
    fn entry_fails(&self, mood: &Mood) -> bool {
        matches!(mood.fault, Some(Fault::Entries)) && self.rng.borrow_mut().chance(4_000)
    }
}

/// A queue to send to.
pub struct SimSink {
    at: ProcessPorts,
    queue: usize,
}

fn send_failed(failure: Failure) -> SendOutcome {
    let code = trouble(failure).1.to_owned();
    match failure {
        Failure::Timeout | Failure::ServerFault => SendOutcome::Unknown(code),
        Failure::Refused | Failure::Throttled => SendOutcome::Retry(code),
        Failure::Denied | Failure::Missing => SendOutcome::Stopped(code),
    }
}

impl Sink for SimSink {
    async fn send(&self, batch: &[Outgoing<'_>]) -> Vec<SendOutcome> {
        assert!((1..=10).contains(&batch.len()), "a send takes 1 to 10");
        let bytes: usize = batch.iter().map(|o| o.message.size_bytes()).sum();
        assert!(
            bytes <= sqs_drain::message::BATCH_BYTES,
            "a send takes 1 MiB"
        );
        let core = &self.at.core;
        let entries: Vec<Entry> = batch.iter().map(Entry::of).collect();
        let (queue, n) = (self.queue, entries.len());
        if !self.at.process.is_dead() {
            let mut audit = core.audit.borrow_mut();
            audit.send_starts(core, &self.at.process, queue, &entries);
        }
        let call = Call {
            op: Op::Send,
            target: Target::Queue(queue),
            about: String::new(),
            limit_ms: core.timings.get().send_timeout_ms,
            failed: Box::new(move |f| vec![send_failed(f); n]),
            show: |a| show_sent(a),
        };
        let text = match core.logged() {
            true => {
                let one = |e: &Entry| origin_of(&e.payload.body).to_owned();
                let list: Vec<_> = entries.iter().map(one).collect();
                format!("q{queue} {}", list.join(" "))
            }
            false => String::new(),
        };
        let effect = Rc::new(move |core: &Rc<Core>, mood: &Mood, done: Done<_>| {
            let outcomes = entries.iter().map(|entry| {
                if core.entry_fails(mood) {
                    return match core.rng.borrow_mut().chance(500) {
                        true => SendOutcome::Stopped("KmsThrottled".into()),
                        false => SendOutcome::Retry("InternalError".into()),
                    };
                }
                let mut queues = core.queues.borrow_mut();
                let outcome = queues[queue].accept(core.now(), mood.pid, entry);
                drop(queues);
                if matches!(outcome, SendOutcome::Accepted { .. }) {
                    core.audit.borrow_mut().accepted(core, mood, queue);
                }
                outcome
            });
            let outcomes = outcomes.collect();
            core.stir(queue);
            done(core, outcomes);
        });
        self.at
            .core
            .call(&self.at.process, call, || text, effect)
            .await
    }
}

/// Time and chance.
pub struct SimClock {
    at: ProcessPorts,
}

fn civil(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

impl Clock for SimClock {
    fn now(&self) -> Moment {
        Moment(Duration::from_millis(
            self.at.process.boot_ms(self.at.core.now()),
        ))
    }

    fn wall(&self) -> WallTimes {
        let (core, process) = (&self.at.core, &self.at.process);
        WallTimes {
            local: civil(process.wall_ms(core.now())),
            service: process.service_ms(core).map(civil),
        }
    }

    async fn sleep(&self, duration: Duration) {
        let (core, process) = (&self.at.core, &self.at.process);
        let until = process.awake_ms(core.now()) + duration.as_nanos().div_ceil(1_000_000) as u64;
        loop {
            let awake = process.awake_ms(core.now());
            if awake >= until {
                return;
            }
            let (tx, rx) = tokio::sync::oneshot::channel::<()>();
            core.at(core.now() + until - awake, move |_| {
                // Nobody sleeps any more.
                let _ = tx.send(());
            });
            // An error cannot come: the event keeps the sender.
            let _ = rx.await;
        }
    }

    fn random(&self) -> u64 {
        self.at.process.rng.borrow_mut().next()
    }
}
