//! The server side of a queue, standard and FIFO: what SQS documents, and where it leaves a choice, the awkward one.
//! Any queue is both a source and a destination (a hold queue is filled by one run and read by another).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use sqs_drain::message::{
    Attribute, Counts, Id, Message, Outgoing, ReceiptOutcome, SendOutcome, VISIBILITY_MAX_S,
};

use super::rng::Rng;

/// How long a FIFO queue remembers a deduplication id (AWS: five minutes).
const DEDUPLICATION_MS: u64 = 300_000;

/// What a message carries and a faithful copy keeps.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    /// The body; begins with the identity, `m17 `.
    pub body: String,
    /// Attributes, ordered by name.
    pub attributes: Vec<Attribute>,
    /// Trace header.
    pub trace_header: Option<String>,
    /// Group id.
    pub group_id: Option<String>,
}

impl Payload {
    /// The number of the test message this is, from its body.
    pub fn origin(&self) -> Option<usize> {
        origin(&self.body)
    }
}

/// The number of the test message with this body.
pub fn origin(body: &str) -> Option<usize> {
    let rest = body.strip_prefix('m')?;
    rest.split(' ').next()?.parse().ok()
}

/// A queue's settings.
#[derive(Clone, Debug, Default)]
pub struct QueueSpec {
    /// FIFO rules.
    pub fifo: bool,
    /// `DelaySeconds`, in milliseconds.
    pub delay_ms: u64,
    /// Redrive: the dead-letter queue's index and `maxReceiveCount`.
    pub redrive: Option<(usize, u32)>,
    /// Test messages that this queue refuses for their own sake.
    pub refuses: BTreeSet<usize>,
}

/// A message as a queue stores it.
#[derive(Clone)]
pub struct Stored {
    uid: u64,
    /// The SQS message id.
    pub message_id: String,
    /// What it carries.
    pub payload: Rc<Payload>,
    deduplication_id: Option<String>,
    /// When it was parked (virtual ms).
    pub sent_at_ms: u64,
    visible_at_ms: u64,
    /// How often it was received.
    pub receive_count: u32,
    /// Which handle is the newest; handles count up over the queue.
    handle: u64,
    received_at_ms: u64,
}

/// A copy that a queue accepted.
#[derive(Clone)]
pub struct Accepted {
    /// The process whose call it was.
    pub pid: usize,
    /// Which test message, by the body that arrived.
    pub origin: Option<usize>,
    /// What arrived.
    pub payload: Rc<Payload>,
    /// The deduplication id that came with it.
    pub deduplication_id: Option<String>,
    /// Swallowed by the queue's deduplication: accepted, but not another copy.
    pub swallowed: bool,
}

/// A queue.
pub struct Queue {
    /// Settings.
    pub spec: QueueSpec,
    /// What it holds, oldest first.
    pub stored: VecDeque<Stored>,
    /// All copies ever accepted by send.
    pub accepted: Vec<Accepted>,
    /// Test messages of which this queue made copies of its own.
    pub copied: BTreeMap<usize, u32>,
    /// Test messages handed out in a receive that was tried twice: nobody heard one of the answers.
    pub unheard: BTreeSet<usize>,
    /// Earlier truths, for stale counts.
    history: VecDeque<(u64, Counts)>,
    seen: BTreeMap<String, (u64, String)>,
    uids: u64,
    handles: u64,
    rng: Rng,
}

impl Queue {
    /// An empty queue.
    pub fn new(spec: QueueSpec, rng: Rng) -> Self {
        Self {
            spec,
            stored: VecDeque::new(),
            accepted: Vec::new(),
            copied: BTreeMap::new(),
            unheard: BTreeSet::new(),
            history: VecDeque::new(),
            seen: BTreeMap::new(),
            uids: 0,
            handles: 0,
            rng,
        }
    }

    /// A producer's send at `now_ms`; returns the message id.
    pub fn park(
        &mut self,
        now_ms: u64,
        payload: Payload,
        deduplication_id: Option<String>,
    ) -> String {
        let message_id = self.mint();
        self.store(
            now_ms,
            message_id.clone(),
            Rc::new(payload),
            deduplication_id,
        );
        message_id
    }

    fn mint(&mut self) -> String {
        let bits = (u128::from(self.rng.next()) << 64) | u128::from(self.rng.next());
        uuid::Builder::from_random_bytes(bits.to_be_bytes())
            .into_uuid()
            .to_string()
    }

    fn store(
        &mut self,
        now_ms: u64,
        message_id: String,
        payload: Rc<Payload>,
        deduplication_id: Option<String>,
    ) {
        self.uids += 1;
        self.stored.push_back(Stored {
            uid: self.uids,
            message_id,
            payload,
            deduplication_id,
            sent_at_ms: now_ms,
            visible_at_ms: now_ms + self.spec.delay_ms,
            receive_count: 0,
            handle: 0,
            received_at_ms: 0,
        });
        self.remember(now_ms);
    }

    /// Takes a message over from another queue (redrive): same id, counts begun anew.
    pub fn take_over(&mut self, now_ms: u64, dead: Stored) {
        let (id, payload, dedup) = (dead.message_id, dead.payload, dead.deduplication_id);
        self.store(now_ms, id, payload, dedup);
    }

    /// Hands out up to `max` visible messages. The second list is what the redrive rule removes instead.
    pub fn receive(
        &mut self,
        now_ms: u64,
        max: usize,
        visibility_ms: u64,
    ) -> (Vec<Message>, Vec<Stored>) {
        let mut taken = Vec::new();
        let mut dead = Vec::new();
        let mut blocked: BTreeSet<String> = BTreeSet::new();
        if self.spec.fifo {
            // A group with a message in flight is locked as a whole.
            let busy = self.stored.iter().filter(|s| s.in_flight(now_ms));
            blocked = busy.filter_map(|s| s.payload.group_id.clone()).collect();
        }
        // A standard queue promises no order: begin anywhere.
        let n = self.stored.len();
        let begin = match self.spec.fifo || n == 0 || self.rng.chance(5_000) {
            true => 0,
            false => self.rng.below(n as u64) as usize,
        };
        let mut remove = BTreeSet::new();
        for i in (0..n).map(|i| (begin + i) % n) {
            if taken.len() == max {
                break;
            }
            let group = self.stored[i].payload.group_id.clone().unwrap_or_default();
            if self.spec.fifo && blocked.contains(&group) {
                continue;
            }
            if self.stored[i].visible_at_ms > now_ms {
                blocked.insert(group);
                continue;
            }
            let count = self.stored[i].receive_count;
            if self.spec.redrive.is_some_and(|(_, limit)| count >= limit) {
                remove.insert(i);
                continue;
            }
            self.handles += 1;
            let (handle, fifo) = (self.handles, self.spec.fifo);
            let s = &mut self.stored[i];
            s.receive_count += 1;
            s.visible_at_ms = now_ms + visibility_ms;
            s.received_at_ms = now_ms;
            s.handle = handle;
            taken.push(s.delivery(fifo));
        }
        for i in remove.into_iter().rev() {
            dead.extend(self.stored.remove(i));
        }
        dead.reverse();
        if !taken.is_empty() || !dead.is_empty() {
            self.remember(now_ms);
        }
        (taken, dead)
    }

    /// The queue's own mistake: one of these deliveries stays behind as a second message of the same id, whose next
    /// receive tells `receive_count`. Returns the test message copied.
    pub fn copy_one(
        &mut self,
        now_ms: u64,
        of: &[Message],
        receive_count: u32,
        delay_ms: u64,
    ) -> Option<usize> {
        if self.spec.fifo || of.is_empty() {
            return None;
        }
        let at = self.rng.below(of.len() as u64) as usize;
        let s = self
            .stored
            .iter()
            .find(|s| s.message_id == of[at].message_id)?;
        self.uids += 1;
        let copy = Stored {
            uid: self.uids,
            receive_count: receive_count.saturating_sub(1),
            visible_at_ms: now_ms + delay_ms,
            handle: 0,
            received_at_ms: 0,
            ..s.clone()
        };
        let origin = copy.payload.origin();
        self.stored.push_back(copy);
        if let Some(origin) = origin {
            *self.copied.entry(origin).or_default() += 1;
        }
        self.remember(now_ms);
        origin
    }

    /// Deletes by handle. The second value is the test message that is gone, if one is.
    pub fn delete(&mut self, now_ms: u64, handle: &str) -> (ReceiptOutcome, Option<usize>) {
        let Some((uid, n)) = parse_handle(handle) else {
            return (stale("ReceiptHandleIsInvalid"), None);
        };
        let Some(i) = self.stored.iter().position(|s| s.uid == uid) else {
            // AWS: deleting what is deleted succeeds.
            return (ReceiptOutcome::Done, None);
        };
        let (newest, expired) = (
            self.stored[i].handle == n,
            self.stored[i].visible_at_ms <= now_ms,
        );
        if self.spec.fifo && (!newest || expired) {
            return (stale("InvalidParameterValue"), None);
        }
        // AWS, standard queues: an older handle succeeds, "but the message might not be deleted".
        if !newest && self.rng.chance(7_500) {
            return (ReceiptOutcome::Done, None);
        }
        let gone = self.stored.remove(i).and_then(|s| s.payload.origin());
        self.remember(now_ms);
        (ReceiptOutcome::Done, gone)
    }

    /// Sets the remaining visibility by handle.
    pub fn set_visibility(&mut self, now_ms: u64, handle: &str, to_ms: u64) -> ReceiptOutcome {
        let Some((uid, n)) = parse_handle(handle) else {
            return stale("ReceiptHandleIsInvalid");
        };
        let Some(s) = self.stored.iter_mut().find(|s| s.uid == uid) else {
            return stale("InvalidParameterValue");
        };
        if s.handle != n || s.visible_at_ms <= now_ms {
            return stale("MessageNotInflight");
        }
        // AWS: twelve hours from the receive in all; more is refused, not cut.
        if now_ms + to_ms > s.received_at_ms + u64::from(VISIBILITY_MAX_S) * 1_000 {
            return stale("InvalidParameterValue");
        }
        s.visible_at_ms = now_ms + to_ms;
        self.remember(now_ms);
        ReceiptOutcome::Done
    }

    /// Takes one entry of a send.
    pub fn accept(&mut self, now_ms: u64, pid: usize, entry: &Entry) -> SendOutcome {
        if entry
            .payload
            .origin()
            .is_some_and(|o| self.spec.refuses.contains(&o))
        {
            return SendOutcome::Rejected("InvalidMessageContents".into());
        }
        if self.spec.fifo && (entry.payload.group_id.is_none() || entry.deduplication_id.is_none())
        {
            return SendOutcome::Rejected("MissingParameter".into());
        }
        let dedup = entry.deduplication_id.clone();
        let first = match (self.spec.fifo, &dedup) {
            (true, Some(d)) => self
                .seen
                .get(d)
                .filter(|(at, _)| now_ms < at + DEDUPLICATION_MS),
            _ => None,
        };
        let earlier = first.map(|(_, id)| id.clone());
        self.accepted.push(Accepted {
            pid,
            origin: entry.payload.origin(),
            payload: entry.payload.clone(),
            deduplication_id: dedup.clone(),
            swallowed: earlier.is_some(),
        });
        if let Some(message_id) = earlier {
            return SendOutcome::Accepted { message_id };
        }
        let message_id = self.mint();
        if let (true, Some(d)) = (self.spec.fifo, &dedup) {
            self.seen.insert(d.clone(), (now_ms, message_id.clone()));
        }
        self.store(now_ms, message_id.clone(), entry.payload.clone(), dedup);
        SendOutcome::Accepted { message_id }
    }

    /// The true counts.
    pub fn counts(&self, now_ms: u64) -> Counts {
        let mut counts = Counts::default();
        for s in &self.stored {
            match () {
                () if s.visible_at_ms <= now_ms => counts.visible += 1,
                () if s.in_flight(now_ms) => counts.in_flight += 1,
                () => counts.delayed += 1,
            }
        }
        counts
    }

    /// The counts as they were about `age_ms` ago.
    pub fn stale_counts(&mut self, now_ms: u64, age_ms: u64) -> Counts {
        let then = now_ms.saturating_sub(age_ms);
        let old = self.history.iter().rev().find(|(at, _)| *at <= then);
        old.map_or_else(Counts::default, |(_, counts)| *counts)
    }

    fn remember(&mut self, now_ms: u64) {
        // Only stale counts look back, and never further than some minutes.
        while self.history.len() > 256 {
            self.history.pop_front();
        }
        self.history.push_back((now_ms, self.counts(now_ms)));
    }

    /// Whether what was handed out under this handle is still hidden by it: nobody else can have received it since.
    pub fn is_hidden_by(&self, now_ms: u64, handle: &str) -> bool {
        parse_handle(handle).is_some_and(|(uid, n)| {
            let mut all = self.stored.iter();
            all.any(|s| s.uid == uid && s.handle == n && s.visible_at_ms > now_ms)
        })
    }

    /// The message that this handle is for.
    pub fn under(&self, handle: &str) -> Option<&Stored> {
        let (uid, _) = parse_handle(handle)?;
        self.stored.iter().find(|s| s.uid == uid)
    }

    /// The groups that are locked by messages which the queue handed out to nobody.
    pub fn locked_by_nobody(&self, now_ms: u64) -> BTreeSet<String> {
        let unheard = |s: &&Stored| {
            let origin = s.payload.origin();
            s.in_flight(now_ms) && origin.is_some_and(|o| self.unheard.contains(&o))
        };
        let locked = self.stored.iter().filter(unheard);
        locked.filter_map(|s| s.payload.group_id.clone()).collect()
    }

    /// Whether anything is visible.
    pub fn has_visible(&self, now_ms: u64) -> bool {
        self.stored.iter().any(|s| s.visible_at_ms <= now_ms)
    }

    /// When the next hidden message becomes visible.
    pub fn next_visible_ms(&self, now_ms: u64) -> Option<u64> {
        let hidden = self.stored.iter().filter(|s| s.visible_at_ms > now_ms);
        hidden.map(|s| s.visible_at_ms).min()
    }
}

impl Stored {
    /// The journal's name of it.
    pub fn id(&self) -> Id {
        Id::of(&self.message_id)
    }

    fn in_flight(&self, now_ms: u64) -> bool {
        self.visible_at_ms > now_ms && self.handle != 0
    }

    fn delivery(&self, fifo: bool) -> Message {
        Message {
            id: Id::of(&self.message_id),
            message_id: self.message_id.clone(),
            receipt_handle: format!("r{}.{}", self.uid, self.handle),
            receive_count: self.receive_count,
            sent_at_ms: super::EPOCH_MS + self.sent_at_ms as i64,
            body: self.payload.body.clone(),
            attributes: self.payload.attributes.clone(),
            group_id: self.payload.group_id.clone(),
            deduplication_id: fifo.then(|| self.deduplication_id.clone()).flatten(),
            trace_header: self.payload.trace_header.clone(),
        }
    }
}

/// One entry of a send, as it travels.
#[derive(Clone)]
pub struct Entry {
    /// What it carries.
    pub payload: Rc<Payload>,
    /// Its deduplication id.
    pub deduplication_id: Option<String>,
    /// The receipt handle of the delivery it is a copy of.
    pub handle: String,
}

impl Entry {
    /// The entry that a faithful adapter makes of `outgoing`.
    pub fn of(outgoing: &Outgoing<'_>) -> Self {
        let message = outgoing.message;
        let mut attributes = message.attributes.clone();
        attributes.sort_by(|a, b| a.name.cmp(&b.name));
        Self {
            payload: Rc::new(Payload {
                body: message.body.clone(),
                attributes,
                trace_header: message.trace_header.clone(),
                group_id: outgoing.group_id.map(str::to_owned),
            }),
            deduplication_id: outgoing.deduplication_id.map(str::to_owned),
            handle: message.receipt_handle.clone(),
        }
    }
}

fn parse_handle(handle: &str) -> Option<(u64, u64)> {
    let (uid, n) = handle.strip_prefix('r')?.split_once('.')?;
    Some((uid.parse().ok()?, n.parse().ok()?))
}

fn stale(code: &str) -> ReceiptOutcome {
    ReceiptOutcome::Stale(code.into())
}
