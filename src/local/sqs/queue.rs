//! One queue's messages: which may be received next, which are hidden and until when, which group holds back which.
//! Every operation costs O(log n) in the messages held. Times are milliseconds since the Unix epoch.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use uuid::Uuid;

use super::attributes::Settings;
use super::message::Content;

/// How long a deduplication id is remembered: 5 minutes (Amazon SQS FIFO queues).
pub const DEDUPLICATION_MS: u64 = 300_000;

/// A message in a queue.
#[derive(Clone, Debug)]
pub struct Message {
    /// What was sent.
    pub content: Arc<Content>,
    /// `MessageId`.
    pub id: Uuid,
    /// `SentTimestamp`.
    pub sent_ms: u64,
    /// `ApproximateFirstReceiveTimestamp`.
    pub first_receive_ms: Option<u64>,
    /// When it was received last: the 12 hours of a receive count from here.
    pub last_receive_ms: u64,
    /// `ApproximateReceiveCount`. Also tells receipt handles of the same message apart.
    pub receive_count: u32,
    /// `SequenceNumber`, on FIFO queues.
    pub sequence: Option<u64>,
    /// `DeadLetterQueueSourceArn`, once it has been moved by a redrive policy.
    pub dead_letter_source: Option<Arc<str>>,
    /// Whether it can be received now.
    pub state: State,
}

/// Whether a message can be received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It can.
    Visible,
    /// Received, and hidden until then.
    InFlight {
        /// When it becomes visible again.
        until_ms: u64,
    },
    /// Sent with a delay, and hidden until then.
    Delayed {
        /// When it becomes visible.
        until_ms: u64,
    },
}

impl State {
    fn until_ms(self) -> Option<u64> {
        match self {
            Self::Visible => None,
            Self::InFlight { until_ms } | Self::Delayed { until_ms } => Some(until_ms),
        }
    }
}

/// The messages of one group of a FIFO queue.
#[derive(Debug, Default)]
struct Group {
    members: BTreeSet<u64>,
    /// The key under which the group stands in `Queue::open_groups`, when it does.
    open_at: Option<u64>,
}

/// Which deduplication ids are known: the id, with its group where the scope is the group.
type DeduplicationKey = (Option<Arc<str>>, String);

/// What a send with a known deduplication id is answered with.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// The first message's id.
    pub id: Uuid,
    /// The first message's sequence number.
    pub sequence: u64,
    pub(super) until_ms: u64,
}

/// One queue.
#[derive(Debug)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// A number no other queue of this server has or had.
    pub number: u64,
    /// Its ARN.
    pub arn: Arc<str>,
    /// Its settings.
    pub settings: Settings,
    /// When it was created.
    pub created_ms: u64,
    /// When its settings were changed last.
    pub modified_ms: u64,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// When it was purged last.
    pub purged_ms: Option<u64>,
    /// Accepted sends, as (when, how many), in order; kept only when asked for.
    pub accepted: Vec<(u64, u32)>,
    messages: HashMap<u64, Box<Message>>,
    /// Standard queues: what can be received, oldest first.
    visible: BTreeSet<u64>,
    /// FIFO queues: every group that holds a message.
    groups: HashMap<Arc<str>, Group>,
    /// FIFO queues: groups whose first message can be received, by that message's place.
    open_groups: BTreeMap<u64, Arc<str>>,
    /// Hidden messages, by when they become visible.
    hidden: BTreeSet<(u64, u64)>,
    /// All messages, by when they were sent: what expires first.
    ages: BTreeSet<(u64, u64)>,
    in_flight: usize,
    delayed: usize,
    deduplication: HashMap<DeduplicationKey, Remembered>,
    deduplication_order: VecDeque<DeduplicationKey>,
    /// Set when a waiting receive should look again: something became visible, or will sooner than it knew.
    pub(super) wake: bool,
}

impl Queue {
    /// An empty queue.
    pub fn new(name: String, number: u64, arn: String, settings: Settings, now_ms: u64) -> Self {
        Self {
            name,
            number,
            arn: arn.into(),
            settings,
            created_ms: now_ms,
            modified_ms: now_ms,
            tags: BTreeMap::new(),
            purged_ms: None,
            accepted: Vec::new(),
            messages: HashMap::new(),
            visible: BTreeSet::new(),
            groups: HashMap::new(),
            open_groups: BTreeMap::new(),
            hidden: BTreeSet::new(),
            ages: BTreeSet::new(),
            in_flight: 0,
            delayed: 0,
            deduplication: HashMap::new(),
            deduplication_order: VecDeque::new(),
            wake: false,
        }
    }

    /// Messages hidden by a receive.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Messages hidden by a delay.
    pub fn delayed(&self) -> usize {
        self.delayed
    }

    /// Messages neither in flight nor delayed. On a FIFO queue some of them may be held back by their group.
    pub fn visible(&self) -> usize {
        self.messages.len() - self.in_flight - self.delayed
    }

    /// The message at this place.
    pub fn get(&self, seq: u64) -> Option<&Message> {
        self.messages.get(&seq).map(Box::as_ref)
    }

    /// Every message with its place, oldest place first.
    pub fn in_order(&self) -> Vec<(u64, &Message)> {
        let mut all: Vec<_> = self
            .messages
            .iter()
            .map(|(seq, m)| (*seq, m.as_ref()))
            .collect();
        all.sort_unstable_by_key(|(seq, _)| *seq);
        all
    }

    /// Lets time pass: hidden messages whose time has come become visible, expired ones go, old deduplication ids are
    /// forgotten.
    pub fn tick(&mut self, now_ms: u64) {
        while let Some(&(until_ms, seq)) = self.hidden.first() {
            if until_ms > now_ms {
                break;
            }
            self.set_state(seq, State::Visible);
        }
        let retention_ms = self.settings.retention_s * 1000;
        while let Some(&(sent_ms, seq)) = self.ages.first() {
            if sent_ms.saturating_add(retention_ms) > now_ms {
                break;
            }
            self.remove(seq);
        }
        while let Some(key) = self.deduplication_order.front() {
            if self
                .deduplication
                .get(key)
                .is_some_and(|r| r.until_ms > now_ms)
            {
                break;
            }
            self.deduplication.remove(key);
            self.deduplication_order.pop_front();
        }
    }

    /// When the next hidden message becomes visible.
    pub fn next_event_ms(&self) -> Option<u64> {
        self.hidden.first().map(|(until_ms, _)| *until_ms)
    }

    /// Puts a message at a place that is free and later than all others.
    pub fn insert(&mut self, seq: u64, message: Message) {
        let state = message.state;
        self.ages.insert((message.sent_ms, seq));
        if let Some(group) = self.group_of(&message) {
            self.groups.entry(group).or_default().members.insert(seq);
        }
        self.messages.insert(seq, Box::new(message));
        self.enter(seq, state);
        self.refresh_group(seq);
    }

    /// Takes a message away.
    pub fn remove(&mut self, seq: u64) -> Option<Message> {
        let state = self.messages.get(&seq)?.state;
        self.leave(seq, state);
        let message = self.messages.remove(&seq)?;
        self.ages.remove(&(message.sent_ms, seq));
        if let Some(name) = self.group_of(&message)
            && let Some(group) = self.groups.get_mut(&name)
        {
            group.members.remove(&seq);
            self.refresh_named(&name);
        }
        Some(*message)
    }

    /// Takes all messages away.
    pub fn clear(&mut self) {
        self.messages = HashMap::new();
        self.visible.clear();
        self.groups.clear();
        self.open_groups.clear();
        self.hidden.clear();
        self.ages.clear();
        self.in_flight = 0;
        self.delayed = 0;
    }

    /// Hides or shows a message.
    pub fn set_state(&mut self, seq: u64, state: State) {
        let Some(message) = self.messages.get_mut(&seq) else {
            return;
        };
        let old = std::mem::replace(&mut message.state, state);
        self.leave(seq, old);
        self.enter(seq, state);
        self.refresh_group(seq);
    }

    /// Up to `max` messages that may be received now, oldest first; on a FIFO queue as many as possible of the group
    /// that waits longest, and of a group nothing behind a hidden message.
    pub fn candidates(&self, max: usize) -> Vec<u64> {
        if !self.settings.fifo {
            return self.visible.iter().take(max).copied().collect();
        }
        let mut found = Vec::with_capacity(max);
        for group in self.open_groups.values() {
            let Some(group) = self.groups.get(group) else {
                continue;
            };
            let ready = group
                .members
                .iter()
                .take_while(|seq| self.get(**seq).is_some_and(|m| m.state == State::Visible));
            found.extend(ready.take(max - found.len()));
            if found.len() == max {
                break;
            }
        }
        found
    }

    /// Counts a receive of this message and hides it. Returns the message as it now is.
    pub fn receive(&mut self, seq: u64, now_ms: u64, until_ms: u64) -> Option<&Message> {
        let message = self.messages.get_mut(&seq)?;
        message.receive_count += 1;
        message.first_receive_ms.get_or_insert(now_ms);
        message.last_receive_ms = now_ms;
        if until_ms > now_ms {
            self.set_state(seq, State::InFlight { until_ms });
        }
        self.get(seq)
    }

    /// What was remembered for this deduplication id.
    pub fn remembered(&self, group: Option<&Arc<str>>, id: &str) -> Option<&Remembered> {
        self.deduplication.get(&self.deduplication_key(group, id))
    }

    /// Remembers a deduplication id for [`DEDUPLICATION_MS`].
    pub fn remember(&mut self, group: Option<&Arc<str>>, id: &str, remembered: Remembered) {
        let key = self.deduplication_key(group, id);
        if self.deduplication.insert(key.clone(), remembered).is_none() {
            self.deduplication_order.push_back(key);
        }
    }

    fn deduplication_key(&self, group: Option<&Arc<str>>, id: &str) -> DeduplicationKey {
        let scope = self
            .settings
            .deduplicate_per_group
            .then(|| group.cloned())
            .flatten();
        (scope, id.to_owned())
    }

    /// The group that orders this message: none on a standard queue, whatever its group id.
    fn group_of(&self, message: &Message) -> Option<Arc<str>> {
        self.settings
            .fifo
            .then(|| message.content.group_id.clone())
            .flatten()
    }

    fn leave(&mut self, seq: u64, state: State) {
        match state {
            State::Visible => {
                self.visible.remove(&seq);
            }
            State::InFlight { .. } => self.in_flight -= 1,
            State::Delayed { .. } => self.delayed -= 1,
        }
        if let Some(until_ms) = state.until_ms() {
            self.hidden.remove(&(until_ms, seq));
        }
    }

    fn enter(&mut self, seq: u64, state: State) {
        match state {
            State::Visible => {
                if !self.settings.fifo {
                    self.visible.insert(seq);
                }
                self.wake = true;
            }
            State::InFlight { .. } => self.in_flight += 1,
            State::Delayed { .. } => self.delayed += 1,
        }
        if let Some(until_ms) = state.until_ms() {
            // A waiting receive sleeps until the earliest of these: tell it when that has changed.
            self.wake |= self
                .hidden
                .first()
                .is_none_or(|(first, _)| until_ms < *first);
            self.hidden.insert((until_ms, seq));
        }
    }

    fn refresh_group(&mut self, seq: u64) {
        if let Some(name) = self.get(seq).and_then(|m| self.group_of(m)) {
            self.refresh_named(&name);
        }
    }

    /// Puts a group where it belongs after a change to it: among the open ones exactly when its first message is
    /// visible.
    fn refresh_named(&mut self, name: &Arc<str>) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let open_at = group.members.first().copied().filter(|seq| {
            self.messages
                .get(seq)
                .is_some_and(|m| m.state == State::Visible)
        });
        if group.open_at != open_at {
            if let Some(old) = group.open_at {
                self.open_groups.remove(&old);
            }
            if let Some(new) = open_at {
                self.open_groups.insert(new, Arc::clone(name));
                self.wake = true;
            }
            group.open_at = open_at;
        }
        if group.members.is_empty() {
            self.groups.remove(name);
        }
    }
}
