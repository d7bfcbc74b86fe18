//! The ports: each with a real second ([`crate::aws`], the
//! operating system) and a simulated one (the tests' world).
//!
//! A process is single-threaded: futures need not be `Send`. Everything that a real network does may happen at
//! every call: it may fail, be late, lose its answer after its effect, or be dropped in the middle by a kill.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::message::{Counts, Message, Outgoing, ReceiptOutcome, SendOutcome};

/// What a queue call failed of, as a whole (no entry was looked at).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct QueueError {
    /// What kind of trouble it is.
    pub kind: Trouble,
    /// The service's error code, or a word of ours for what never reached it (`timeout`, `connect`).
    pub code: String,
    /// The service's words.
    pub message: String,
}

/// Kinds of trouble a call as a whole can be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Told to go slower, or too many messages in flight.
    Throttled,
    /// No answer, a connection fault or the service's own fault. The effect may have happened.
    Unreachable,
    /// Access denied, credentials missing or expired, key refused.
    Denied,
    /// The queue or table does not exist.
    Missing,
    /// Anything else.
    Other,
}

/// The wait queue: where messages are received from and deleted.
pub trait Source {
    /// Receives up to `max` (1 to 10) messages, waiting up to `wait` (whole seconds, 0 is a short poll), hidden
    /// from other receivers for `visibility` (whole seconds) from the moment the service hands them out.
    ///
    /// The call must not be dropped once begun: what it would have returned stays hidden for a whole visibility.
    fn receive(
        &self,
        max: usize,
        wait: Duration,
        visibility: Duration,
    ) -> impl Future<Output = Result<Vec<Message>, QueueError>>;

    /// Deletes by receipt handle, at most 10 in a call. One outcome per handle, in the order given.
    fn delete(&self, handles: &[String]) -> impl Future<Output = Vec<ReceiptOutcome>>;

    /// Sets the remaining visibility (whole seconds from now), at most 10 in a call, in one request, which is never repeated by the port
    /// itself: after a lost answer somebody else may have the message. One outcome per handle, in the order given.
    fn set_visibility(
        &self,
        handles: &[(String, Duration)],
    ) -> impl Future<Output = Vec<ReceiptOutcome>>;

    /// The queue's own counts.
    fn counts(&self) -> impl Future<Output = Result<Counts, QueueError>>;
}

/// A destination queue.
pub trait Sink {
    /// Sends at most 10 entries of together at most [`crate::message::BATCH_BYTES`] in one request, which is never
    /// repeated by the port itself. One outcome per entry, in the order given, whatever happened to the request.
    fn send(&self, batch: &[Outgoing<'_>]) -> impl Future<Output = Vec<SendOutcome>>;
}

/// An item's key in the checkpoint table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Partition key, attribute `pk`.
    pub pk: String,
    /// Sort key, attribute `sk`.
    pub sk: String,
}

impl Key {
    /// The key `pk`, `sk`.
    pub fn new(pk: impl Into<String>, sk: impl Into<String>) -> Self {
        Self {
            pk: pk.into(),
            sk: sk.into(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} / {}", self.pk, self.sk)
    }
}

/// A value in the checkpoint table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Datum {
    /// A string.
    S(String),
    /// A whole number.
    N(i64),
    /// Bytes.
    B(Vec<u8>),
}

/// An item's attributes, the key attributes `pk` and `sk` excluded.
pub type Item = BTreeMap<String, Datum>;

/// One atom of a condition on the stored item. On an absent item only `Absent` and `No` hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// The item does not exist.
    Absent,
    /// The item exists.
    Exists,
    /// The item has this attribute.
    Has(String),
    /// The item has no such attribute (or does not exist).
    No(String),
    /// The attribute exists and equals.
    Eq(String, Datum),
    /// The attribute exists, is a number, and is smaller.
    Lt(String, i64),
}

/// A condition: every inner list must have at least one atom that holds. Empty: always holds.
pub type When = Vec<Vec<Test>>;

/// What a write does when its condition holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Replaces the whole item.
    Put(Item),
    /// Sets and removes single attributes, creating the item if there is none.
    Update {
        /// Attributes to set.
        set: Item,
        /// Attributes to remove.
        remove: Vec<String>,
    },
    /// Removes the item; removing none is a success.
    Delete,
}

/// One conditional write to the checkpoint table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Which item.
    pub key: Key,
    /// Under what condition on the item as stored.
    pub when: When,
    /// What changes.
    pub change: Change,
}

/// Why the store did not do as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The condition did not hold; the item as it is stored. A repeated write may meet its own success here.
    #[error("the checkpoint table's item is not as expected")]
    Conflict(Option<Item>),
    /// Anything else; for [`Trouble::Unreachable`] and [`Trouble::Throttled`] the effect may have happened.
    #[error("checkpoint table: {code}: {message}")]
    Failed {
        /// What kind of trouble.
        kind: Trouble,
        /// The service's code.
        code: String,
        /// The service's words.
        message: String,
    },
}

/// The checkpoint table. Each call has a bounded duration (the table timeout), its own retries included. A retried call may
/// take effect twice, or late: after the caller was told it failed.
pub trait Store {
    /// Writes under a condition. Answers with the item as it is after an [`Change::Update`] (empty for the others).
    fn write(&self, write: Write) -> impl Future<Output = Result<Item, StoreError>>;

    /// Reads items by key, strongly consistent, any number. One answer per key, in the order given.
    fn get(&self, keys: &[Key]) -> impl Future<Output = Result<Vec<Option<Item>>, StoreError>>;

    /// Reads all items of a partition whose sort key begins with `prefix`, strongly consistent, ordered by sort key.
    /// Answers with (sort key, item).
    fn query(
        &self,
        pk: &str,
        prefix: &str,
    ) -> impl Future<Output = Result<Vec<(String, Item)>, StoreError>>;
}

/// A moment of the machine's monotonic clock that goes on during suspend (`CLOCK_BOOTTIME`), since an arbitrary start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub Duration);

impl Moment {
    /// The moment `by` later.
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }

    /// The moment `by` earlier (not before the clock's start).
    pub fn before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(by))
    }

    /// Time from `earlier` until this moment; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// The time of day, twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallTimes {
    /// This machine's clock.
    pub local: DateTime<Utc>,
    /// The service's clock, reckoned from the `Date` header of a recent answer; `None` before the first answer.
    pub service: Option<DateTime<Utc>>,
}

/// Time and chance.
pub trait Clock {
    /// Monotonic time that goes on during suspend.
    fn now(&self) -> Moment;
    /// The time of day by this machine and by the service.
    fn wall(&self) -> WallTimes;
    /// Sleeps; may be late (a suspended machine), never early.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()>;
    /// 64 random bits.
    fn random(&self) -> u64;
}

/// Everything a drain touches, in one bundle of types.
pub trait Ports: 'static {
    /// The wait queue.
    type Source: Source + 'static;
    /// Destination, reject and hold queues.
    type Sink: Sink + 'static;
    /// The checkpoint table.
    type Store: Store + 'static;
    /// Time and chance.
    type Clock: Clock + 'static;
}
