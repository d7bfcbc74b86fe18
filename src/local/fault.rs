//! What a test may do to the endpoints' answers, and what it may ask about the calls they had. In-process only:
//! nothing here can be reached over the network.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One of the two embedded endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// The SQS server.
    Sqs,
    /// The DynamoDB server.
    DynamoDb,
}

impl Service {
    /// The service's name as its SDK spells it: `sqs` or `dynamodb`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqs => "sqs",
            Self::DynamoDb => "dynamodb",
        }
    }
}

/// One call as the rules see it.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// The endpoint it came to.
    pub service: Service,
    /// The operation, such as `SendMessageBatch` or `UpdateItem`.
    pub action: &'a str,
    /// The queue's name, for calls that name one.
    pub queue: Option<&'a str>,
    /// The access key id it was signed with.
    pub access_key: Option<&'a str>,
    /// The request's JSON body.
    pub body: &'a [u8],
}

/// One entry of a batch request, as [`Effect::FailEntries`] sees it.
#[derive(Clone, Copy, Debug)]
pub struct BatchEntry<'a> {
    /// Its place in the request, from 0.
    pub index: usize,
    /// Its `Id`.
    pub id: &'a str,
    /// The message body, in `SendMessageBatch`.
    pub body: Option<&'a str>,
    /// The receipt handle, in `DeleteMessageBatch` and `ChangeMessageVisibilityBatch`.
    pub receipt_handle: Option<&'a str>,
}

/// How a chosen batch entry fails.
#[derive(Clone, Debug)]
pub struct EntryFault {
    /// The entry's `Code`.
    pub code: String,
    /// The entry's `Message`.
    pub message: String,
    /// The entry's `SenderFault`.
    pub sender_fault: bool,
}

impl EntryFault {
    /// An entry failure with this code.
    pub fn new(code: impl Into<String>, sender_fault: bool) -> Self {
        let code = code.into();
        Self {
            message: format!("{code} (injected)"),
            code,
            sender_fault,
        }
    }
}

type Chooser = dyn Fn(&BatchEntry<'_>) -> Option<EntryFault> + Send + Sync;
type Predicate = dyn Fn(&Call<'_>) -> bool + Send + Sync;
type Observer = dyn Fn(&Call<'_>) + Send + Sync;

/// What happens to a call that a [`Rule`] picks.
#[derive(Clone)]
pub enum Effect {
    /// Answer with this error; the call has no effect.
    Error {
        /// HTTP status.
        status: u16,
        /// The error code the SDK shows, such as `RequestThrottled` or `ProvisionedThroughputExceededException`.
        code: String,
    },
    /// Let the call take effect, then answer with this error.
    ErrorAfter {
        /// HTTP status.
        status: u16,
        /// The error code the SDK shows.
        code: String,
    },
    /// Close the connection without an answer and without an effect.
    DropBefore,
    /// Let the call take effect, then close the connection without an answer.
    DropAfter,
    /// Wait, then go on.
    DelayBefore(Duration),
    /// Let the call take effect, then wait before answering.
    DelayAfter(Duration),
    /// Fail the batch entries the closure chooses; the others go on. Ignored by calls that are no batch.
    FailEntries(Arc<Chooser>),
    /// `ReceiveMessage` only: what it delivers stays in the queue once more, as a visible copy with the same message
    /// id and the same receive count, as a standard queue's at-least-once delivery allows. Ignored by FIFO queues.
    DeliverTwice,
    /// `ReceiveMessage` only: answer with no messages, at once, whatever the queue holds.
    EmptyReceive,
}

impl fmt::Debug for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error { status, code } => write!(f, "Error({status} {code})"),
            Self::ErrorAfter { status, code } => write!(f, "ErrorAfter({status} {code})"),
            Self::DropBefore => f.write_str("DropBefore"),
            Self::DropAfter => f.write_str("DropAfter"),
            Self::DelayBefore(d) => write!(f, "DelayBefore({d:?})"),
            Self::DelayAfter(d) => write!(f, "DelayAfter({d:?})"),
            Self::FailEntries(_) => f.write_str("FailEntries"),
            Self::DeliverTwice => f.write_str("DeliverTwice"),
            Self::EmptyReceive => f.write_str("EmptyReceive"),
        }
    }
}

/// Which calls are picked, and what happens to them. By default: every matching call, from the next on.
#[derive(Clone)]
pub struct Rule {
    service: Service,
    action: Option<String>,
    queue: Option<String>,
    when: Option<Arc<Predicate>>,
    skip: u64,
    times: u64,
    effects: Vec<Effect>,
}

impl Rule {
    /// Picks calls of one SQS action, such as `SendMessageBatch`.
    pub fn sqs(action: impl Into<String>) -> Self {
        Self::new(Service::Sqs, Some(action.into()))
    }

    /// Picks calls of one DynamoDB action, such as `UpdateItem`.
    pub fn dynamo(action: impl Into<String>) -> Self {
        Self::new(Service::DynamoDb, Some(action.into()))
    }

    /// Picks every call to a service.
    pub fn every(service: Service) -> Self {
        Self::new(service, None)
    }

    fn new(service: Service, action: Option<String>) -> Self {
        Self {
            service,
            action,
            queue: None,
            when: None,
            skip: 0,
            times: u64::MAX,
            effects: Vec::new(),
        }
    }

    /// Only calls that name this queue.
    #[must_use]
    pub fn queue(mut self, name: impl Into<String>) -> Self {
        self.queue = Some(name.into());
        self
    }

    /// Only calls for which this holds.
    #[must_use]
    pub fn when(mut self, predicate: impl Fn(&Call<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.when = Some(Arc::new(predicate));
        self
    }

    /// Lets this many matching calls pass first: `skip(2).times(1)` picks the third.
    #[must_use]
    pub fn skip(mut self, calls: u64) -> Self {
        self.skip = calls;
        self
    }

    /// Picks at most this many calls.
    #[must_use]
    pub fn times(mut self, calls: u64) -> Self {
        self.times = calls;
        self
    }

    /// Picks one call.
    #[must_use]
    pub fn once(self) -> Self {
        self.times(1)
    }

    /// What happens to a picked call. May be given several times; all of them apply.
    #[must_use]
    pub fn then(mut self, effect: Effect) -> Self {
        self.effects.push(effect);
        self
    }

    /// Answers with an error of this status and code, without an effect.
    #[must_use]
    pub fn error(self, status: u16, code: impl Into<String>) -> Self {
        self.then(Effect::Error {
            status,
            code: code.into(),
        })
    }

    /// Fails the batch entries the closure chooses.
    #[must_use]
    pub fn fail_entries(
        self,
        chooser: impl Fn(&BatchEntry<'_>) -> Option<EntryFault> + Send + Sync + 'static,
    ) -> Self {
        self.then(Effect::FailEntries(Arc::new(chooser)))
    }

    fn matches(&self, call: &Call<'_>) -> bool {
        self.service == call.service
            && self.action.as_deref().is_none_or(|a| a == call.action)
            && self.queue.as_deref().is_none_or(|q| call.queue == Some(q))
            && self.when.as_deref().is_none_or(|when| when(call))
    }
}

/// The name of an added rule, to take it away again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleId(u64);

/// The rules in force and the calls counted, shared by both endpoints. Cheap to clone.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    rules: Vec<(RuleId, Rule, u64)>,
    next: u64,
    requests: BTreeMap<(Service, String), u64>,
    observers: Vec<Arc<Observer>>,
}

impl Faults {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a rule; it applies beside those already there.
    pub fn add(&self, rule: Rule) -> RuleId {
        let mut state = self.state();
        let id = RuleId(state.next);
        state.next += 1;
        state.rules.push((id, rule, 0));
        id
    }

    /// How many calls the rule has picked so far; `None` when it has been taken away.
    pub fn picked(&self, id: RuleId) -> Option<u64> {
        self.state()
            .rules
            .iter()
            .find(|(rule_id, ..)| *rule_id == id)
            .map(|(_, rule, seen)| seen.saturating_sub(rule.skip).min(rule.times))
    }

    /// Takes a rule away.
    pub fn remove(&self, id: RuleId) {
        self.state().rules.retain(|(rule_id, ..)| *rule_id != id);
    }

    /// Tells `observer` of every call from now on, refused ones included, before any rule applies.
    pub fn observe(&self, observer: impl Fn(&Call<'_>) + Send + Sync + 'static) {
        self.state().observers.push(Arc::new(observer));
    }

    /// Takes all rules away. Observers stay.
    pub fn clear(&self) {
        self.state().rules.clear();
    }

    /// All calls the endpoints have had so far, by service and action, refused ones included. A call counts when its
    /// request has been read.
    pub fn requests(&self) -> BTreeMap<(Service, String), u64> {
        self.state().requests.clone()
    }

    /// Whether anybody wants to know what a call is about.
    pub(super) fn any(&self) -> bool {
        let state = self.state();
        !state.rules.is_empty() || !state.observers.is_empty()
    }

    /// Counts a call and says what the rules do to it. Each rule sees (and counts) each call it matches once.
    pub(super) fn apply(&self, call: &Call<'_>) -> Plan {
        let mut state = self.state();
        // Two lookups instead of `entry`: the key is built only the first time.
        match state
            .requests
            .iter_mut()
            .find(|((service, action), _)| *service == call.service && action == call.action)
        {
            Some((_, count)) => *count += 1,
            None => {
                state
                    .requests
                    .insert((call.service, call.action.to_owned()), 1);
            }
        }
        state.observers.iter().for_each(|observer| observer(call));
        let mut plan = Plan::default();
        for (_, rule, seen) in &mut state.rules {
            if rule.matches(call) {
                *seen += 1;
                if *seen > rule.skip && *seen - rule.skip <= rule.times {
                    rule.effects.iter().for_each(|effect| plan.add(effect));
                }
            }
        }
        plan
    }
}

/// What the rules do to one call.
#[derive(Default)]
pub(super) struct Plan {
    pub delay_before: Duration,
    pub delay_after: Duration,
    pub drop_before: bool,
    pub drop_after: bool,
    pub error: Option<(u16, String)>,
    pub error_after: Option<(u16, String)>,
    pub choosers: Vec<Arc<Chooser>>,
    pub deliver_twice: bool,
    pub empty_receive: bool,
}

impl Plan {
    fn add(&mut self, effect: &Effect) {
        match effect {
            Effect::Error { status, code } => self.error = Some((*status, code.clone())),
            Effect::ErrorAfter { status, code } => self.error_after = Some((*status, code.clone())),
            Effect::DropBefore => self.drop_before = true,
            Effect::DropAfter => self.drop_after = true,
            Effect::DelayBefore(d) => self.delay_before += *d,
            Effect::DelayAfter(d) => self.delay_after += *d,
            Effect::FailEntries(chooser) => self.choosers.push(Arc::clone(chooser)),
            Effect::DeliverTwice => self.deliver_twice = true,
            Effect::EmptyReceive => self.empty_receive = true,
        }
    }

    /// How the rules fail this entry, if they do.
    pub fn entry_fault(&self, entry: &BatchEntry<'_>) -> Option<EntryFault> {
        self.choosers.iter().find_map(|choose| choose(entry))
    }
}
