//! The checkpoint table: items under conditional writes, as `port.rs` describes the store.

use std::collections::BTreeMap;

use sqs_drain::port::{Change, Item, Key, StoreError, Test, Write};

/// All items, by key.
#[derive(Clone, Default)]
pub struct Table {
    items: BTreeMap<Key, Item>,
    /// Writes tried, refused ones included.
    pub writes: u64,
}

impl Table {
    /// The item under this key.
    pub fn get(&self, key: &Key) -> Option<&Item> {
        self.items.get(key)
    }

    /// All items, ordered by key.
    pub fn items(&self) -> impl Iterator<Item = (&Key, &Item)> {
        self.items.iter()
    }

    /// The items of one partition whose sort key begins with `prefix`.
    pub fn query(&self, pk: &str, prefix: &str) -> Vec<(String, Item)> {
        self.items
            .range(Key::new(pk, prefix)..)
            .take_while(|(key, _)| key.pk == pk && key.sk.starts_with(prefix))
            .map(|(key, item)| (key.sk.clone(), item.clone()))
            .collect()
    }

    /// One conditional write.
    pub fn write(&mut self, write: &Write) -> Result<Item, StoreError> {
        self.writes += 1;
        let old = self.items.get(&write.key);
        let holds = |test: &Test| match test {
            Test::Absent => old.is_none(),
            Test::Exists => old.is_some(),
            Test::Has(name) => old.is_some_and(|item| item.contains_key(name)),
            Test::No(name) => old.is_none_or(|item| !item.contains_key(name)),
            Test::Eq(name, datum) => old.and_then(|item| item.get(name)) == Some(datum),
            Test::Lt(name, limit) => matches!(
                old.and_then(|item| item.get(name)),
                Some(sqs_drain::port::Datum::N(n)) if n < limit
            ),
        };
        if !write.when.iter().all(|any| any.iter().any(holds)) {
            return Err(StoreError::Conflict(old.cloned()));
        }
        match &write.change {
            Change::Put(item) => {
                self.items.insert(write.key.clone(), item.clone());
                Ok(Item::new())
            }
            Change::Update { set, remove } => {
                let item = self.items.entry(write.key.clone()).or_default();
                for name in remove {
                    item.remove(name);
                }
                item.extend(set.iter().map(|(k, v)| (k.clone(), v.clone())));
                Ok(item.clone())
            }
            Change::Delete => {
                self.items.remove(&write.key);
                Ok(Item::new())
            }
        }
    }
}
