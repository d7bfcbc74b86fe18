//! The contract of the ports: one function for each clause of their documentation and of what the drain relies on in
//! SQS and DynamoDB, run on everything that claims to be them: the embedded endpoints over HTTP, the simulated
//! ports, and independent servers.
//!
//! A clause is an `async fn` over a [`Bench`] and knows nothing of what is under it. Nothing sleeps: time passes by
//! [`Bench::pass`], which moves a clock by hand where there is one. Only with independent servers it is real time.

use std::future::Future;
use std::time::Duration;

use sqs_drain::message::{Id, Message, Outgoing, SendOutcome};
use sqs_drain::port::{Sink, Source, Store};

mod fifo;
mod http;
mod peers;
mod simulated;
mod sink;
mod source;
mod store;

mod canned;
mod embedded;
mod faults;

/// What a clause may make use of.
pub trait Bench: Clone + 'static {
    /// Names a queue.
    type Queue: Clone + 'static;
    /// The receiving side.
    type Source: Source + 'static;
    /// The sending side.
    type Sink: Sink + 'static;
    /// The table.
    type Store: Store + 'static;

    /// Makes an empty queue.
    fn queue(&self, spec: Spec<Self::Queue>) -> impl Future<Output = Self::Queue>;
    /// A queue that refuses a message with the body given, for the message's own sake, with HTTP 200; `None` where the
    /// server has no such failures.
    fn refusing(&self) -> impl Future<Output = Option<(Self::Queue, String)>>;
    /// A queue that does not exist; `None` where there can be none.
    fn missing(&self) -> Option<Self::Queue>;
    /// To receive from the queue.
    fn source(&self, queue: &Self::Queue) -> Self::Source;
    /// To send to the queue.
    fn sink(&self, queue: &Self::Queue) -> Self::Sink;
    /// A table.
    fn store(&self) -> Self::Store;
    /// A partition key nobody else uses.
    fn partition(&self) -> String;
    /// Lets so much of the service's time pass.
    fn pass(&self, by: Duration) -> impl Future<Output = ()>;
    /// Whether the service's time passes by [`Bench::pass`] alone.
    fn exact(&self) -> bool;
    /// Whether this server is known to differ from AWS in this.
    fn differs(&self, in_what: Difference) -> bool;
}

/// What a queue is to be like.
#[derive(Clone)]
pub struct Spec<Q> {
    /// A FIFO queue, without deduplication by content.
    pub fifo: bool,
    /// `DelaySeconds`.
    pub delay_s: u32,
    /// The dead-letter queue and `maxReceiveCount`.
    pub dead_letters: Option<(Q, u32)>,
}

impl<Q> Spec<Q> {
    /// A standard queue.
    pub fn standard() -> Self {
        Self {
            fifo: false,
            delay_s: 0,
            dead_letters: None,
        }
    }

    /// A FIFO queue.
    pub fn fifo() -> Self {
        Self {
            fifo: true,
            ..Self::standard()
        }
    }
}

/// In what a server may differ from AWS without the drain being wrong on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// A second delete with the same receipt handle is refused. (AWS: it succeeds.)
    SecondDeleteRefused,
    /// A message refused for its own sake is refused under a code that AWS has for something else, so it is only tried
    /// again.
    RefusedUnderAnotherCode,
    /// A batch loses trace headers.
    NoTraceHeader,
}

/// A hand-sized wait: what clauses let pass when they wait for something.
const STEP: Duration = Duration::from_millis(200);

/// A visibility that is over soon, and one that is not over within a test.
const SHORT: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(600);

/// A message of this body, as a test sends it.
pub fn plain(body: &str) -> Message {
    Message {
        id: Id([0; 16]),
        message_id: String::new(),
        receipt_handle: String::new(),
        receive_count: 0,
        sent_at_ms: 0,
        body: body.to_owned(),
        attributes: Vec::new(),
        group_id: None,
        deduplication_id: None,
        trace_header: None,
    }
}

/// Messages `0`, `1`, ... of the bodies `m0 `, `m1 `, ...
pub fn numbered(n: usize) -> Vec<Message> {
    (0..n).map(|i| plain(&format!("m{i} "))).collect()
}

/// Sends messages with the group and deduplication ids they carry; all must be accepted. Answers their ids.
pub async fn send_all(sink: &impl Sink, messages: &[Message]) -> Vec<String> {
    let mut ids = Vec::new();
    for batch in messages.chunks(10) {
        let batch: Vec<_> = batch.iter().map(outgoing).collect();
        for outcome in sink.send(&batch).await {
            match outcome {
                SendOutcome::Accepted { message_id } => ids.push(message_id),
                other => panic!("not accepted: {other:?}"),
            }
        }
    }
    assert_eq!(ids.len(), messages.len());
    ids
}

/// The copy of a message with the group and deduplication ids it carries.
pub fn outgoing(message: &Message) -> Outgoing<'_> {
    Outgoing {
        message,
        group_id: message.group_id.as_deref(),
        deduplication_id: message.deduplication_id.as_deref(),
    }
}

/// One short poll for up to ten messages.
pub async fn poll(source: &impl Source, visibility: Duration) -> Vec<Message> {
    source
        .receive(10, Duration::ZERO, visibility)
        .await
        .expect("the queue answers")
}

/// Short polls until something comes, letting at most `within` pass.
pub async fn await_some<B: Bench>(
    bench: &B,
    source: &B::Source,
    visibility: Duration,
    within: Duration,
) -> Vec<Message> {
    let steps = within.as_millis() / STEP.as_millis() + 1;
    for _ in 0..steps {
        let received = poll(source, visibility).await;
        if !received.is_empty() {
            return received;
        }
        bench.pass(STEP).await;
    }
    panic!("nothing came within {within:?}");
}

/// Short polls until `n` messages have come, letting a little time pass between them.
pub async fn await_all<B: Bench>(
    bench: &B,
    source: &B::Source,
    visibility: Duration,
    n: usize,
) -> Vec<Message> {
    let mut all = Vec::new();
    while all.len() < n {
        all.extend(await_some(bench, source, visibility, Duration::from_secs(5)).await);
    }
    assert_eq!(all.len(), n, "more came than were sent");
    all
}

/// The bodies, sorted.
pub fn bodies(messages: &[Message]) -> Vec<&str> {
    let mut bodies: Vec<_> = messages.iter().map(|m| m.body.as_str()).collect();
    bodies.sort_unstable();
    bodies
}

/// The receipt handles.
pub fn handles(messages: &[Message]) -> Vec<String> {
    messages.iter().map(|m| m.receipt_handle.clone()).collect()
}

/// Hands every clause, as `module clause`, to a macro that makes a test of it.
macro_rules! suite {
    ($test:ident) => {
        $test!(source an_empty_queue_gives_nothing);
        $test!(source a_received_message_is_hidden);
        $test!(source a_receive_takes_no_more_than_asked);
        $test!(source a_message_keeps_its_identity_over_deliveries);
        $test!(source a_deleted_message_is_gone);
        $test!(source deletes_have_one_outcome_each_in_order);
        $test!(source a_second_delete_is_no_error_to_retry);
        $test!(source the_newest_handle_deletes);
        $test!(source visibility_zero_gives_back_at_once);
        $test!(source visibility_can_be_lengthened);
        $test!(source visibility_has_one_outcome_each_in_order);
        $test!(source the_visibility_of_a_deleted_message_is_stale);
        $test!(source a_long_poll_wakes);
        $test!(source a_long_poll_ends_empty);
        $test!(source counts_tell_visible_and_in_flight);
        $test!(source delayed_messages_are_counted_and_come);
        $test!(source too_many_receives_lead_to_the_dead_letters);
        $test!(source a_missing_queue_is_missing);
        $test!(sink a_full_batch_is_accepted);
        $test!(sink a_copy_is_faithful);
        $test!(sink bodies_survive_byte_for_byte);
        $test!(sink a_standard_queue_keeps_the_group);
        $test!(sink a_refused_entry_fails_alone);
        $test!(sink a_lone_refused_entry_is_rejected);
        $test!(sink a_missing_queue_rejects_nothing);
        $test!(fifo order_in_a_group_is_kept);
        $test!(fifo a_group_in_flight_is_locked);
        $test!(fifo a_release_keeps_the_order);
        $test!(fifo a_deduplicated_send_is_accepted_and_swallowed);
        $test!(fifo group_and_deduplication_ids_are_told);
        $test!(store every_atom_on_an_absent_item);
        $test!(store every_atom_on_an_item);
        $test!(store conditions_combine);
        $test!(store a_conflict_carries_the_stored_item);
        $test!(store a_put_replaces_the_whole_item);
        $test!(store an_update_sets_removes_and_creates);
        $test!(store a_delete_of_nothing_is_a_success);
        $test!(store a_retried_write_meets_its_own_success);
        $test!(store all_kinds_of_data_survive);
        $test!(store any_attribute_name_will_do);
        $test!(store reads_are_in_order_of_the_keys);
        $test!(store more_than_a_hundred_keys);
        $test!(store a_query_is_by_prefix_and_in_order);
        $test!(store a_query_of_many_pages);
    };
}
use suite;
