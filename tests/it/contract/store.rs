//! What the checkpoint table is relied on for.

use sqs_drain::port::{Change, Datum, Item, Key, Store, StoreError, Test, When, Write};

use super::Bench;

fn n(number: i64) -> Datum {
    Datum::N(number)
}

fn s(text: &str) -> Datum {
    Datum::S(text.to_owned())
}

fn item<const N: usize>(attributes: [(&str, Datum); N]) -> Item {
    attributes
        .map(|(name, datum)| (name.to_owned(), datum))
        .into()
}

fn put(key: &Key, when: When, new: Item) -> Write {
    Write {
        key: key.clone(),
        when,
        change: Change::Put(new),
    }
}

fn update<const N: usize>(key: &Key, when: When, set: Item, remove: [&str; N]) -> Write {
    Write {
        key: key.clone(),
        when,
        change: Change::Update {
            set,
            remove: remove.map(str::to_owned).into(),
        },
    }
}

fn delete(key: &Key, when: When) -> Write {
    Write {
        key: key.clone(),
        when,
        change: Change::Delete,
    }
}

async fn stored(store: &impl Store, key: &Key) -> Option<Item> {
    let mut items = store
        .get(std::slice::from_ref(key))
        .await
        .expect("the table answers");
    assert_eq!(items.len(), 1);
    items.remove(0)
}

/// Every atom, and whether it holds on [`example`].
fn atoms() -> Vec<(Test, bool)> {
    let name = |name: &str| name.to_owned();
    vec![
        (Test::Absent, false),
        (Test::Exists, true),
        (Test::Has(name("n")), true),
        (Test::Has(name("none")), false),
        (Test::No(name("n")), false),
        (Test::No(name("none")), true),
        (Test::Eq(name("n"), n(5)), true),
        (Test::Eq(name("n"), n(6)), false),
        (Test::Eq(name("n"), s("5")), false),
        (Test::Eq(name("s"), s("text")), true),
        (Test::Eq(name("s"), s("texts")), false),
        (Test::Eq(name("b"), Datum::B(vec![0, 255])), true),
        (Test::Eq(name("b"), Datum::B(vec![0])), false),
        (Test::Eq(name("none"), n(5)), false),
        (Test::Lt(name("n"), 6), true),
        (Test::Lt(name("n"), 5), false),
        (Test::Lt(name("n"), -1), false),
        (Test::Lt(name("s"), 6), false),
        (Test::Lt(name("none"), 6), false),
    ]
}

fn example() -> Item {
    item([("n", n(5)), ("s", s("text")), ("b", Datum::B(vec![0, 255]))])
}

/// Whether each kind of write goes through under the condition, on an item that is `before`.
async fn goes_through(store: &impl Store, key: &Key, before: Option<&Item>, when: &When) -> bool {
    let restore = async || {
        let write = match before {
            Some(before) => put(key, vec![], before.clone()),
            None => delete(key, vec![]),
        };
        store
            .write(write)
            .await
            .expect("an unconditional write goes through");
    };
    let mut went = Vec::new();
    for write in [
        put(key, when.clone(), item([("new", n(1))])),
        update(key, when.clone(), item([("new", n(1))]), ["s"]),
        delete(key, when.clone()),
    ] {
        restore().await;
        let change = write.change.clone();
        went.push(match store.write(write).await {
            Ok(_) => true,
            Err(StoreError::Conflict(old)) => {
                assert_eq!(old.as_ref(), before, "{when:?} {change:?}");
                assert_eq!(stored(store, key).await.as_ref(), before);
                false
            }
            Err(other) => panic!("{other} {when:?} {change:?}"),
        });
    }
    assert!(went.iter().all(|w| *w == went[0]), "{when:?}: {went:?}");
    went[0]
}

pub async fn every_atom_on_an_absent_item<B: Bench>(bench: B) {
    let (store, key) = (bench.store(), Key::new(bench.partition(), "item"));
    for (test, _) in atoms() {
        let holds = matches!(test, Test::Absent | Test::No(_));
        let when = vec![vec![test.clone()]];
        assert_eq!(
            goes_through(&store, &key, None, &when).await,
            holds,
            "{test:?}"
        );
    }
}

pub async fn every_atom_on_an_item<B: Bench>(bench: B) {
    let (store, key) = (bench.store(), Key::new(bench.partition(), "item"));
    for (test, holds) in atoms() {
        let when = vec![vec![test.clone()]];
        assert_eq!(
            goes_through(&store, &key, Some(&example()), &when).await,
            holds,
            "{test:?}"
        );
    }
}

pub async fn conditions_combine<B: Bench>(bench: B) {
    let (store, key) = (bench.store(), Key::new(bench.partition(), "item"));
    let yes = || Test::Eq("n".to_owned(), n(5));
    let no = || Test::Lt("n".to_owned(), 5);
    for (when, holds) in [
        (vec![], true),
        (vec![vec![]], false),
        (vec![vec![yes()], vec![]], false),
        (vec![vec![yes(), no()]], true),
        (vec![vec![no(), yes()]], true),
        (vec![vec![no(), Test::Absent]], false),
        (vec![vec![yes()], vec![Test::Exists]], true),
        (vec![vec![yes()], vec![no()]], false),
        (
            vec![
                vec![yes(), no()],
                vec![Test::Has("s".to_owned()), Test::Absent],
            ],
            true,
        ),
        (
            vec![
                vec![Test::Absent, yes()],
                vec![no(), Test::No("s".to_owned())],
            ],
            false,
        ),
    ] {
        assert_eq!(
            goes_through(&store, &key, Some(&example()), &when).await,
            holds,
            "{when:?}"
        );
    }
}

pub async fn a_conflict_carries_the_stored_item<B: Bench>(bench: B) {
    let (store, key) = (bench.store(), Key::new(bench.partition(), "item"));
    let absent = store
        .write(put(&key, vec![vec![Test::Exists]], example()))
        .await;
    assert_eq!(absent, Err(StoreError::Conflict(None)));
    store
        .write(put(&key, vec![], example()))
        .await
        .expect("written");
    let present = store
        .write(put(&key, vec![vec![Test::Absent]], Item::new()))
        .await;
    assert_eq!(present, Err(StoreError::Conflict(Some(example()))));
    // An item of nothing but its key exists all the same.
    store
        .write(put(&key, vec![], Item::new()))
        .await
        .expect("written");
    let bare = store
        .write(put(&key, vec![vec![Test::Absent]], example()))
        .await;
    assert_eq!(bare, Err(StoreError::Conflict(Some(Item::new()))));
}

pub async fn a_put_replaces_the_whole_item<B: Bench>(bench: B) {
    let (store, key) = (bench.store(), Key::new(bench.partition(), "item"));
    let answer = store
        .write(put(&key, vec![], example()))
        .await
        .expect("written");
    assert_eq!(answer, Item::new());
    assert_eq!(stored(&store, &key).await, Some(example()));
    let other = item([("other", s("x"))]);
    store
        .write(put(&key, vec![], other.clone()))
        .await
        .expect("written");
    assert_eq!(stored(&store, &key).await, Some(other));
}

pub async fn an_update_sets_removes_and_creates<B: Bench>(bench: B) {
    let (store, key) = (bench.store(), Key::new(bench.partition(), "item"));
    let created = store
        .write(update(
            &key,
            vec![],
            item([("n", n(1)), ("s", s("a"))]),
            ["gone"],
        ))
        .await;
    assert_eq!(created, Ok(item([("n", n(1)), ("s", s("a"))])));
    let changed = store
        .write(update(
            &key,
            vec![],
            item([("n", n(2)), ("m", n(3))]),
            ["s"],
        ))
        .await;
    assert_eq!(changed, Ok(item([("n", n(2)), ("m", n(3))])));
    assert_eq!(
        stored(&store, &key).await,
        Some(item([("n", n(2)), ("m", n(3))]))
    );
    let only_removed = store
        .write(update(&key, vec![], Item::new(), ["m", "n"]))
        .await;
    assert_eq!(only_removed, Ok(Item::new()));
    assert_eq!(stored(&store, &key).await, Some(Item::new()));
    // Nothing to set and nothing to remove still creates the item.
    let other = Key::new(key.pk.clone(), "other");
    assert_eq!(
        store.write(update(&other, vec![], Item::new(), [])).await,
        Ok(Item::new())
    );
    assert_eq!(stored(&store, &other).await, Some(Item::new()));
}

pub async fn a_delete_of_nothing_is_a_success<B: Bench>(bench: B) {
    let (store, key) = (bench.store(), Key::new(bench.partition(), "item"));
    assert_eq!(store.write(delete(&key, vec![])).await, Ok(Item::new()));
    store
        .write(put(&key, vec![], example()))
        .await
        .expect("written");
    assert_eq!(
        store.write(delete(&key, vec![vec![Test::Exists]])).await,
        Ok(Item::new())
    );
    assert_eq!(stored(&store, &key).await, None);
    let again = store.write(delete(&key, vec![vec![Test::Exists]])).await;
    assert_eq!(again, Err(StoreError::Conflict(None)));
}

pub async fn a_retried_write_meets_its_own_success<B: Bench>(bench: B) {
    let (store, key) = (bench.store(), Key::new(bench.partition(), "page"));
    store
        .write(put(
            &key,
            vec![vec![Test::Absent]],
            item([("sequence", n(1))]),
        ))
        .await
        .expect("created");
    let newer = || {
        let when = vec![vec![Test::Exists], vec![Test::Lt("sequence".to_owned(), 2)]];
        update(&key, when, item([("sequence", n(2)), ("by", s("me"))]), [])
    };
    assert_eq!(
        store.write(newer()).await,
        Ok(item([("sequence", n(2)), ("by", s("me"))]))
    );
    let retried = store.write(newer()).await;
    assert_eq!(
        retried,
        Err(StoreError::Conflict(Some(item([
            ("sequence", n(2)),
            ("by", s("me"))
        ]))))
    );
}

pub async fn all_kinds_of_data_survive<B: Bench>(bench: B) {
    let (store, key) = (
        bench.store(),
        Key::new(bench.partition(), "sort key / with # : and 한글"),
    );
    let all = item([
        ("zero", n(0)),
        ("least", n(i64::MIN)),
        ("most", n(i64::MAX)),
        ("time", n(1_772_406_000_123)),
        ("empty", s("")),
        ("text", s("안녕하세요 \"quoted\" \\ \n <&>")),
        ("none", Datum::B(vec![])),
        ("bytes", Datum::B((0..=255).collect())),
        ("ids", Datum::B(vec![7; 16 * 50])),
    ]);
    store
        .write(put(&key, vec![], all.clone()))
        .await
        .expect("written");
    assert_eq!(stored(&store, &key).await, Some(all.clone()));
    let updated = store
        .write(update(&key, vec![], item([("zero", n(0))]), []))
        .await;
    assert_eq!(updated, Ok(all));
}

pub async fn any_attribute_name_will_do<B: Bench>(bench: B) {
    let (store, key) = (bench.store(), Key::new(bench.partition(), "item"));
    // Reserved words of DynamoDB, and what would end or confuse an expression.
    let names = [
        "status", "name", "ttl", "count", "state", "size", "a.b", "a-b", "a b", "0", "값",
    ];
    let mut all = Item::new();
    for (i, name) in names.into_iter().enumerate() {
        all.insert(name.to_owned(), n(i as i64));
    }
    store
        .write(update(&key, vec![vec![Test::Absent]], all.clone(), []))
        .await
        .expect("written");
    let when = all
        .iter()
        .map(|(name, datum)| vec![Test::Eq(name.clone(), datum.clone())])
        .collect();
    let emptied = store.write(update(&key, when, Item::new(), names)).await;
    assert_eq!(emptied, Ok(Item::new()));
}

pub async fn reads_are_in_order_of_the_keys<B: Bench>(bench: B) {
    let (store, pk) = (bench.store(), bench.partition());
    assert_eq!(store.get(&[]).await, Ok(vec![]));
    let key = |i: i64| Key::new(pk.clone(), format!("k{i}"));
    for i in [1, 3, 5] {
        store
            .write(put(&key(i), vec![], item([("n", n(i))])))
            .await
            .expect("written");
    }
    let keys: Vec<_> = [5, 2, 1, 3, 5, 4, 2].map(key).into();
    let read = store.get(&keys).await.expect("the table answers");
    let expected: Vec<_> = [Some(5), None, Some(1), Some(3), Some(5), None, None]
        .map(|i| i.map(|i| item([("n", n(i))])))
        .into();
    assert_eq!(read, expected);
}

pub async fn more_than_a_hundred_keys<B: Bench>(bench: B) {
    let (store, pk) = (bench.store(), bench.partition());
    let key = |i: i64| Key::new(format!("{pk}/{}", i % 7), format!("k{i}"));
    for i in (0..260).step_by(2) {
        store
            .write(put(&key(i), vec![], item([("n", n(i))])))
            .await
            .expect("written");
    }
    let keys: Vec<_> = (0..260).rev().map(key).collect();
    let read = store.get(&keys).await.expect("the table answers");
    assert_eq!(read.len(), 260);
    for (i, found) in (0..260).rev().zip(read) {
        let expected = (i % 2 == 0).then(|| item([("n", n(i))]));
        assert_eq!(found, expected, "{i}");
    }
}

pub async fn a_query_is_by_prefix_and_in_order<B: Bench>(bench: B) {
    let (store, pk) = (bench.store(), bench.partition());
    for (i, sk) in ["page#2", "page#10", "beat", "pages", "page#1", "page"]
        .into_iter()
        .enumerate()
    {
        let key = Key::new(pk.clone(), sk);
        store
            .write(put(&key, vec![], item([("n", n(i as i64))])))
            .await
            .expect("written");
    }
    // Another partition whose name begins the same.
    let other = Key::new(format!("{pk}x"), "page#0");
    store
        .write(put(&other, vec![], Item::new()))
        .await
        .expect("written");
    let keys = async |prefix: &str| -> Vec<String> {
        let found = store.query(&pk, prefix).await.expect("the table answers");
        found.into_iter().map(|(sk, _)| sk).collect()
    };
    assert_eq!(keys("page#").await, ["page#1", "page#10", "page#2"]);
    assert_eq!(
        keys("page").await,
        ["page", "page#1", "page#10", "page#2", "pages"]
    );
    assert_eq!(keys("beat").await, ["beat"]);
    assert_eq!(keys("none").await, Vec::<String>::new());
    assert_eq!(keys("").await.len(), 6);
    let found = store.query(&pk, "page#1").await.expect("the table answers");
    assert_eq!(found[0], ("page#1".to_owned(), item([("n", n(4))])));
}

pub async fn a_query_of_many_pages<B: Bench>(bench: B) {
    let (store, pk) = (bench.store(), bench.partition());
    // DynamoDB answers with at most 1 MB a page; this is 3 MB.
    let large = Datum::B(vec![1; 60_000]);
    for i in 0..50 {
        let key = Key::new(pk.clone(), format!("page#{i:03}"));
        store
            .write(put(&key, vec![], item([("large", large.clone())])))
            .await
            .expect("written");
    }
    let found = store.query(&pk, "page#").await.expect("the table answers");
    let keys: Vec<_> = found.iter().map(|(sk, _)| sk.clone()).collect();
    let expected: Vec<_> = (0..50).map(|i| format!("page#{i:03}")).collect();
    assert_eq!(keys, expected);
    assert!(found.iter().all(|(_, item)| item["large"] == large));
}
