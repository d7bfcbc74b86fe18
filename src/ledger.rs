//! The checkpoint table in the drain's own terms: which items there are, and every conditional read and write of them.
//!
//! | item | pk | sk |
//! |---|---|---|
//! | owner of a source | `source#<S>` | `owner` |
//! | registration | `source#<S>` | `process#<P>` |
//! | heartbeat | `process#<P>` | `beat` |
//! | page | `process#<P>` | `page#<lane>` |
//! | record of an id | `id#<S>#<message id>` | `id` |
//! | run | `run#<R>` | `run` |
//! | totals of an ended or swept process | `run#<R>` | `process#<P>` |
//! | list of ids in trouble | `run#<R>` | `id#<message id>` |
//! | way back from a held copy to its id | `held#<S>#<hold id>` | `held` |
//!
//! `S` names the source by a hash of its queue's ARN, `P` is a process's ULID, `R` a run id. All functions are
//! safe to repeat: a condition that failed is compared with one's own write, so that a retried write which meets its
//! own success is a success.

use std::rc::Rc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::journal::{Fact, Malformed, Page, Record, RecordState, Totals};
use crate::message::Id;
use crate::port::{Change, Clock, Datum, Item, Key, Ports, Store, StoreError, Test, When, Write};
use crate::rules::{Rule, Rules};

mod account;
mod items;
mod many;
mod page;
mod process;
mod record;
mod run;

pub use account::{Account, Shard, ShardState};
pub use items::{
    Beat, Doing, Grant, Listed, Owner, Registration, RunItem, StoredPage, Tally, Trouble,
};
pub use many::{AT_ONCE, all_of, each_of};
pub use process::{Beaten, Granted};

/// How long an id's record outlives its last change: the longest SQS retention (14 days) and a day.
const RECORD_KEPT: Duration = Duration::from_secs(15 * 86_400);
/// How long the tombstone of a process is kept: longer than any request can be under way.
const TOMBSTONE_KEPT: Duration = Duration::from_secs(86_400);
/// How long everything else is kept.
const KEPT: Duration = Duration::from_secs(30 * 86_400);

/// Why a ledger operation did not do as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The table cannot be asked now, or refuses: the effect may have happened.
    #[error(transparent)]
    Store(StoreError),
    /// This process was fenced or its item is gone: it must touch nothing any more.
    #[error("this process was superseded")]
    Superseded,
    /// The table holds an item this program did not write.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl LedgerError {
    /// Whether trying again may help: the table did not answer, or asked to go slower.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Store(StoreError::Failed {
                kind: crate::port::Trouble::Unreachable | crate::port::Trouble::Throttled,
                ..
            })
        )
    }
}

impl From<StoreError> for LedgerError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The outcome of a transition that has one owner at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transition {
    /// It is ours.
    Made,
    /// Somebody else was first; the record as it is now.
    Refused(Record),
}

/// The name `S` of a source: a hash of its queue's ARN.
pub fn source_name(arn: &str) -> String {
    let hash = Sha256::digest(arn.as_bytes());
    hash.iter().take(12).map(|b| format!("{b:02x}")).collect()
}

/// The checkpoint table, for one source.
pub struct Ledger<P: Ports> {
    store: Rc<P::Store>,
    clock: Rc<P::Clock>,
    source: String,
    rules: Rules,
}

impl<P: Ports> Clone for Ledger<P> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            clock: self.clock.clone(),
            source: self.source.clone(),
            rules: self.rules,
        }
    }
}

impl<P: Ports> Ledger<P> {
    /// A ledger for the source of this name (see [`source_name`]).
    pub fn new(store: Rc<P::Store>, clock: Rc<P::Clock>, source: String) -> Self {
        Self {
            store,
            clock,
            source,
            rules: Rules::ALL,
        }
    }

    /// The same ledger under these rules.
    pub fn under(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    /// The source's name `S`.
    pub fn source(&self) -> &str {
        &self.source
    }

    fn source_pk(&self) -> String {
        format!("source#{}", self.source)
    }

    fn record_key(&self, id: Id) -> Key {
        Key::new(format!("id#{}#{id}", self.source), "id")
    }

    /// Seconds since the epoch `kept` from now, for the TTL attribute.
    fn expiry(&self, kept: Duration) -> Datum {
        let now = self.clock.wall().local.timestamp();
        Datum::N(now + kept.as_secs() as i64)
    }

    fn now_ms(&self) -> i64 {
        self.clock.wall().local.timestamp_millis()
    }

    async fn put(
        &self,
        key: Key,
        when: When,
        mut item: Item,
        kept: Duration,
    ) -> Result<(), StoreError> {
        item.insert("expires_at".into(), self.expiry(kept));
        let change = Change::Put(item);
        self.store
            .write(Write { key, when, change })
            .await
            .map(|_| ())
    }

    async fn update(
        &self,
        key: Key,
        when: When,
        set: Item,
        kept: Duration,
    ) -> Result<Item, StoreError> {
        self.change(key, when, set, Vec::new(), kept).await
    }

    async fn change(
        &self,
        key: Key,
        when: When,
        mut set: Item,
        remove: Vec<String>,
        kept: Duration,
    ) -> Result<Item, StoreError> {
        set.insert("expires_at".into(), self.expiry(kept));
        let change = Change::Update { set, remove };
        self.store.write(Write { key, when, change }).await
    }

    async fn delete(&self, key: Key, when: When) -> Result<(), StoreError> {
        let change = Change::Delete;
        self.store
            .write(Write { key, when, change })
            .await
            .map(|_| ())
    }

    async fn get_one(&self, key: Key) -> Result<Option<Item>, StoreError> {
        let mut found = self.store.get(&[key]).await?;
        Ok(found.pop().flatten())
    }
}

fn all(tests: impl IntoIterator<Item = Test>) -> When {
    tests.into_iter().map(|t| vec![t]).collect()
}
