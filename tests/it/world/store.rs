//! The checkpoint table as a simulated process has it.

use std::rc::Rc;

use sqs_drain::port::{Change, Item, Key, Store, StoreError, Write};

use super::engine::{Call, Core, Done, Failure, Mood};
use super::fault::{Op, Target};
use super::ports::{ProcessPorts, trouble};
use super::show::{short_item, short_key, short_name, short_option, short_write, show_stored};

/// As the adapter reads (`src/aws/dynamo.rs`): so many keys a request, so many requests at a time; and what one answer to a query holds at
/// most (AWS: 1 MB).
const BATCH_GET_KEYS: usize = 100;
const BATCH_GETS_AT_ONCE: usize = 8;
const QUERY_PAGE_BYTES: usize = 1 << 20;

fn store_error(failure: Failure) -> StoreError {
    let (kind, code) = trouble(failure);
    StoreError::Failed {
        kind,
        code: code.into(),
        message: "simulated".into(),
    }
}

/// The checkpoint table.
pub struct SimStore {
    pub(super) at: ProcessPorts,
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
