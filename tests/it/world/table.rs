//! The checkpoint table: items under conditional writes, as `port.rs` describes the store.

use std::collections::{BTreeMap, HashMap};

use sqs_drain::port::{Change, Datum, Item, Key, StoreError, Test, Write};

/// All items, by key.
#[derive(Clone, Default)]
pub struct Table {
    items: BTreeMap<Key, Item>,
    /// Writes tried, refused ones included.
    pub writes: u64,
    /// How hot its keys get, where that is asked for.
    pub heat: Option<Heat>,
}

/// In DynamoDB's units: a write is one for each KiB of the item, a strongly consistent read one for each 4 KiB, of the item or of all
/// that a query finds.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Units {
    /// Write units.
    pub writes: u64,
    /// Read units.
    pub reads: u64,
}

/// The most units that were asked of any one partition key in a second of virtual time, by kind of key (its part before the first `#`), and of
/// the table as a whole.
#[derive(Clone, Default)]
pub struct Heat {
    current: HashMap<String, (u64, Units)>,
    peaks: BTreeMap<String, Units>,
}

impl Heat {
    /// The peak of a kind of key; `table`: of all together.
    pub fn peak(&self, kind: &str) -> Units {
        self.peaks.get(kind).copied().unwrap_or_default()
    }

    fn add(&mut self, now_ms: u64, pk: &str, units: Units) {
        let second = now_ms / 1_000;
        for (key, kind) in [
            (pk, pk.split('#').next().unwrap_or_default()),
            ("", "table"),
        ] {
            if !self.current.contains_key(key) {
                self.current.insert(key.to_owned(), Default::default());
            }
            let Some((at, so_far)) = self.current.get_mut(key) else {
                continue;
            };
            if *at != second {
                (*at, *so_far) = (second, Units::default());
            }
            so_far.writes += units.writes;
            so_far.reads += units.reads;
            if !self.peaks.contains_key(kind) {
                self.peaks.insert(kind.to_owned(), Units::default());
            }
            if let Some(peak) = self.peaks.get_mut(kind) {
                peak.writes = peak.writes.max(so_far.writes);
                peak.reads = peak.reads.max(so_far.reads);
            }
        }
    }
}

/// An item's size as DynamoDB reckons it: names and values, a number about half a byte for each digit.
fn bytes(key: &Key, item: &Item) -> usize {
    let values = item.iter().map(|(name, value)| {
        name.len()
            + match value {
                Datum::S(text) => text.len(),
                Datum::B(bytes) => bytes.len(),
                Datum::N(n) => n.unsigned_abs().checked_ilog10().unwrap_or(0) as usize / 2 + 2,
            }
    });
    // "pk" and "sk" are names too.
    4 + key.pk.len() + key.sk.len() + values.sum::<usize>()
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

    /// One strongly consistent read.
    pub fn read(&mut self, now_ms: u64, key: &Key) -> Option<Item> {
        let found = self.items.get(key);
        if let Some(heat) = &mut self.heat {
            let reads = found.map_or(1, |item| bytes(key, item).div_ceil(4096).max(1)) as u64;
            heat.add(now_ms, &key.pk, Units { writes: 0, reads });
        }
        found.cloned()
    }

    /// A query, and how many bytes it found.
    pub fn query(&mut self, now_ms: u64, pk: &str, prefix: &str) -> (Vec<(String, Item)>, usize) {
        let found = self.under(pk, prefix);
        let size = |(sk, item): &(String, Item)| bytes(&Key::new(pk, sk), item);
        let size = found.iter().map(size).sum::<usize>();
        if let Some(heat) = &mut self.heat {
            let reads = size.div_ceil(4096).max(1) as u64;
            heat.add(now_ms, pk, Units { writes: 0, reads });
        }
        (found, size)
    }

    /// The items of one partition whose sort key begins with `prefix`.
    pub fn under(&self, pk: &str, prefix: &str) -> Vec<(String, Item)> {
        self.items
            .range(Key::new(pk, prefix)..)
            .take_while(|(key, _)| key.pk == pk && key.sk.starts_with(prefix))
            .map(|(key, item)| (key.sk.clone(), item.clone()))
            .collect()
    }

    /// One conditional write.
    pub fn write(&mut self, now_ms: u64, write: &Write) -> Result<Item, StoreError> {
        self.writes += 1;
        let old = self.items.get(&write.key);
        if let Some(heat) = &mut self.heat {
            let new = match &write.change {
                Change::Put(item) | Change::Update { set: item, .. } => bytes(&write.key, item),
                Change::Delete => 0,
            };
            let size = old.map_or(0, |item| bytes(&write.key, item)).max(new);
            let writes = size.div_ceil(1024).max(1) as u64;
            heat.add(now_ms, &write.key.pk, Units { writes, reads: 0 });
        }
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
