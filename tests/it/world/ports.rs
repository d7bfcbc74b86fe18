//! The ports as a simulated process has them.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqs_drain::message::{Counts, Message, Outgoing, ReceiptOutcome, SendOutcome};
use sqs_drain::port::{
    Change, Clock, Item, Key, Moment, Ports, QueueError, Sink, Source, Store, StoreError, Trouble,
    WallTimes, Write,
};
use tokio_util::sync::CancellationToken;

use super::engine::{Call, Core, Done, Failure, Mood};
use super::fault::{Fault, Op, Target};
use super::process::Process;
use super::queue::Entry;
use super::show::{
    origin_of, short_item, short_key, short_name, short_option, short_write, show_receipts,
    show_received, show_sent, show_stored,
};

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
    core: Rc<Core>,
    process: Rc<Process>,
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

/// As the adapter reads (`src/aws/dynamo.rs`): so many keys a request, so many requests at a time; and what one answer to a query holds at
/// most (AWS: 1 MB).
const BATCH_GET_KEYS: usize = 100;
const BATCH_GETS_AT_ONCE: usize = 8;
const QUERY_PAGE_BYTES: usize = 1 << 20;

fn trouble(failure: Failure) -> (Trouble, &'static str) {
    match failure {
        Failure::Timeout => (Trouble::Unreachable, "timeout"),
        Failure::Refused => (Trouble::Unreachable, "connect"),
        Failure::ServerFault => (Trouble::Unreachable, "InternalError"),
        Failure::Throttled => (Trouble::Throttled, "ThrottlingException"),
        Failure::Denied => (Trouble::Denied, "AccessDenied"),
        Failure::Missing => (Trouble::Missing, "ResourceNotFoundException"),
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

fn store_error(failure: Failure) -> StoreError {
    let (kind, code) = trouble(failure);
    StoreError::Failed {
        kind,
        code: code.into(),
        message: "simulated".into(),
    }
}

/// A receive as the queue sees it; kept while it waits.
pub struct Poll {
    queue: usize,
    max: usize,
    visibility_ms: u64,
    until_ms: u64,
    mood: Mood,
    done: Done<Result<Vec<Message>, QueueError>>,
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
    fn poll(self: &Rc<Self>, poll: Poll) {
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
        if matches!(poll.mood.fault, Some(Fault::Twice | Fault::Echo(_))) {
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
        let failed = move |f| vec![ReceiptOutcome::Retry(trouble(f).1.into()); n];
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
        let failed = move |f| vec![ReceiptOutcome::Retry(trouble(f).1.into()); n];
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

/// The checkpoint table.
pub struct SimStore {
    at: ProcessPorts,
}

fn failed_store<T: 'static>() -> Box<dyn Fn(Failure) -> Result<T, StoreError>> {
    Box::new(|f| Err(store_error(f)))
}

impl SimStore {
    fn call<T: 'static>(
        &self,
        op: Op,
        about: String,
        show: fn(&Result<T, StoreError>) -> String,
    ) -> Call<Result<T, StoreError>> {
        Call {
            op,
            target: Target::Table,
            about,
            limit_ms: self.at.core.timings.get().table_timeout_ms,
            failed: failed_store(),
            show,
        }
    }
}

impl Store for SimStore {
    async fn write(&self, write: Write) -> Result<Item, StoreError> {
        let about = write.key.to_string();
        self.at.process.ask(1, 0, 0, 1);
        if let Change::Update { set, .. } = &write.change
            && write.key.sk == "beat"
            && set.contains_key("v")
        {
            // Only its own beat is numbered by a process.
            let mut name = self.at.process.beats_as.borrow_mut();
            name.get_or_insert_with(|| write.key.clone());
        }
        let text = match self.at.core.logged() {
            true => short_write(&write),
            false => String::new(),
        };
        let effect = Rc::new(move |core: &Rc<Core>, _: &Mood, done: Done<_>| {
            let answer = core.table.borrow_mut().write(core.now(), &write);
            if answer.is_ok() {
                core.audit.borrow_mut().written(core, &write);
            }
            done(core, answer);
        });
        self.at
            .core
            .call(
                &self.at.process,
                self.call(Op::Write, about, |a| show_stored(a, short_item)),
                || text,
                effect,
            )
            .await
    }

    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Item>>, StoreError> {
        let keys = keys.to_vec();
        let (now, requests) = (self.at.core.now(), keys.len().div_ceil(BATCH_GET_KEYS));
        self.at
            .process
            .ask(0, keys.len() as u64, 0, requests as u64);
        if let [key] = &keys[..]
            && key.sk == "run"
        {
            self.at.process.looks_at_the_run(now);
        }
        let about = keys.iter().map(Key::to_string).collect();
        let text = match self.at.core.logged() {
            true => keys.iter().map(short_key).collect::<Vec<_>>().join(", "),
            false => String::new(),
        };
        let effect = Rc::new(move |core: &Rc<Core>, _: &Mood, done: Done<_>| {
            let mut table = core.table.borrow_mut();
            let items = keys.iter().map(|key| table.read(core.now(), key)).collect();
            drop(table);
            let rounds = requests.div_ceil(BATCH_GETS_AT_ONCE);
            core.after_rounds(rounds, move |core| done(core, Ok(items)));
        });
        self.at
            .core
            .call(
                &self.at.process,
                self.call(Op::Get, about, |a| {
                    show_stored(a, |items: &Vec<Option<Item>>| {
                        items.iter().map(short_option).collect::<Vec<_>>().join(" ")
                    })
                }),
                || text,
                effect,
            )
            .await
    }

    async fn query(&self, pk: &str, prefix: &str) -> Result<Vec<(String, Item)>, StoreError> {
        let (pk, prefix) = (pk.to_owned(), prefix.to_owned());
        let about = format!("{pk}/{prefix}");
        let text = format!("{}/{prefix}*", short_name(&pk));
        let process = self.at.process.clone();
        let effect = Rc::new(move |core: &Rc<Core>, _: &Mood, done: Done<_>| {
            let (items, bytes) = core.table.borrow_mut().query(core.now(), &pk, &prefix);
            let pages = bytes.div_ceil(QUERY_PAGE_BYTES).max(1);
            process.ask(0, 0, items.len() as u64, pages as u64);
            core.after_rounds(pages, move |core| done(core, Ok(items)));
        });
        self.at
            .core
            .call(
                &self.at.process,
                self.call(Op::Query, about, |a| {
                    show_stored(a, |items: &Vec<(String, Item)>| {
                        items
                            .iter()
                            .map(|(sk, item)| format!("{} {}", short_name(sk), short_item(item)))
                            .collect::<Vec<_>>()
                            .join(", ")
                    })
                }),
                || text,
                effect,
            )
            .await
    }
}

impl Core {
    /// What is answered in so many round trips, one after the other: the first is the call's own.
    fn after_rounds(self: &Rc<Self>, rounds: usize, answer: impl FnOnce(&Rc<Core>) + 'static) {
        let Some(more) = rounds.checked_sub(2) else {
            return answer(self);
        };
        let t = self.timings.get();
        let round_ms = t.leg_min_ms + t.leg_max_ms;
        self.at(self.now() + (more as u64 + 1) * round_ms, answer);
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
