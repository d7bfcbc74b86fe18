//! The checkpoint table in DynamoDB.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::future::Future;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::error::ConditionalCheckFailedException;
use aws_sdk_dynamodb::types::{
    AttributeValue, KeysAndAttributes, ReturnValue, ReturnValuesOnConditionCheckFailure,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use futures::{StreamExt, TryStreamExt};

use super::outcome::trouble;
use super::{Clients, failure};
use crate::port::{Change, Datum, Item, Key, Store, StoreError, Test, Trouble, When, Write};

/// The partition key's attribute.
pub const PK: &str = "pk";
/// The sort key's attribute.
pub const SK: &str = "sk";
/// The attribute that holds an item's time to live, in seconds since the Unix epoch. To the port it is an attribute
/// like any other, set by the caller.
pub const TTL: &str = "expires_at";

/// The most keys DynamoDB takes in one `BatchGetItem` (API reference).
const BATCH_GET_KEYS: usize = 100;

/// How many `BatchGetItem` requests of one read are under way at a time.
const BATCH_GETS_AT_ONCE: usize = 8;

/// The first pause before keys that DynamoDB left unprocessed are asked for again; it doubles each time.
const UNPROCESSED_PAUSE: Duration = Duration::from_millis(25);

type Map = HashMap<String, AttributeValue>;

/// The table. Cheap to clone.
#[derive(Clone)]
pub struct Table {
    client: Client,
    name: String,
    timeout: Duration,
}

impl Table {
    pub(super) fn new(clients: &Clients, name: String) -> Self {
        Self {
            client: clients.dynamodb.clone(),
            name,
            timeout: clients.table_timeout,
        }
    }

    /// The table's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bounds a call of several requests by the table timeout. (A single request is bounded by its operation timeout.)
    async fn bounded<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(self.timeout, call).await {
            Ok(result) => result,
            Err(_) => Err(StoreError::Failed {
                kind: Trouble::Unreachable,
                code: "timeout".to_owned(),
                message: format!("no complete answer within {:?}", self.timeout),
            }),
        }
    }

    async fn get_one(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.name)
            .set_key(Some(key_map(key)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| failed(&error))?;
        answer.item.map(item).transpose()
    }

    /// Reads up to [`BATCH_GET_KEYS`] distinct keys, asking again for those DynamoDB leaves unprocessed.
    async fn get_batch(&self, keys: &[&Key]) -> Result<Vec<(Key, Item)>, StoreError> {
        let mut left: Vec<Map> = keys.iter().map(|key| key_map(key)).collect();
        let mut found = Vec::with_capacity(left.len());
        let mut pause = UNPROCESSED_PAUSE;
        loop {
            let wanted = KeysAndAttributes::builder()
                .set_keys(Some(left))
                .consistent_read(true)
                .build()
                .map_err(|error| foreign(error.to_string()))?;
            let answer = self
                .client
                .batch_get_item()
                .request_items(&self.name, wanted)
                .send()
                .await
                .map_err(|error| failed(&error))?;
            for map in answer
                .responses
                .into_iter()
                .flatten()
                .flat_map(|(_, items)| items)
            {
                found.push(keyed(map)?);
            }
            left = answer
                .unprocessed_keys
                .into_iter()
                .flatten()
                .flat_map(|(_, unprocessed)| unprocessed.keys)
                .collect();
            if left.is_empty() {
                return Ok(found);
            }
            #[expect(
                clippy::disallowed_methods,
                reason = "as the SDK pauses between retries"
            )]
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2);
        }
    }
}

impl Store for Table {
    async fn write(&self, write: Write) -> Result<Item, StoreError> {
        let Write { key, when, change } = write;
        let mut names = Placeholders::default();
        let condition = names.condition(&when);
        let old = ReturnValuesOnConditionCheckFailure::AllOld;
        match change {
            Change::Put(new) => {
                let mut map = key_map(&key);
                map.extend(new.into_iter().map(|(name, datum)| (name, value(datum))));
                self.client
                    .put_item()
                    .table_name(&self.name)
                    .set_item(Some(map))
                    .set_condition_expression(condition)
                    .set_expression_attribute_names(names.names())
                    .set_expression_attribute_values(names.values())
                    .return_values_on_condition_check_failure(old)
                    .send()
                    .await
                    .map_err(|error| refused(&error))?;
                Ok(Item::new())
            }
            Change::Update { set, remove } => {
                let update = names.update(set, remove);
                let answer = self
                    .client
                    .update_item()
                    .table_name(&self.name)
                    .set_key(Some(key_map(&key)))
                    .set_condition_expression(condition)
                    .set_update_expression(update)
                    .set_expression_attribute_names(names.names())
                    .set_expression_attribute_values(names.values())
                    .return_values(ReturnValue::AllNew)
                    .return_values_on_condition_check_failure(old)
                    .send()
                    .await
                    .map_err(|error| refused(&error))?;
                item(answer.attributes.unwrap_or_default())
            }
            Change::Delete => {
                self.client
                    .delete_item()
                    .table_name(&self.name)
                    .set_key(Some(key_map(&key)))
                    .set_condition_expression(condition)
                    .set_expression_attribute_names(names.names())
                    .set_expression_attribute_values(names.values())
                    .return_values_on_condition_check_failure(old)
                    .send()
                    .await
                    .map_err(|error| refused(&error))?;
                Ok(Item::new())
            }
        }
    }

    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Item>>, StoreError> {
        match keys {
            [] => return Ok(Vec::new()),
            [key] => return Ok(vec![self.get_one(key).await?]),
            _ => {}
        }
        // DynamoDB refuses a key given twice.
        let mut distinct: Vec<&Key> = keys.iter().collect();
        distinct.sort_unstable();
        distinct.dedup();
        let found: BTreeMap<Key, Item> = self
            .bounded(
                futures::stream::iter(
                    distinct
                        .chunks(BATCH_GET_KEYS)
                        .map(|keys| self.get_batch(keys)),
                )
                .buffer_unordered(BATCH_GETS_AT_ONCE)
                .try_fold(BTreeMap::new(), |mut all, batch| async {
                    all.extend(batch);
                    Ok(all)
                }),
            )
            .await?;
        Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
    }

    async fn query(&self, pk: &str, prefix: &str) -> Result<Vec<(String, Item)>, StoreError> {
        // DynamoDB refuses an empty string as a key's value, and so `begins_with(sk, "")`.
        let all = prefix.is_empty();
        let expression = if all {
            "#pk = :pk"
        } else {
            "#pk = :pk AND begins_with(#sk, :prefix)"
        };
        let mut query = self
            .client
            .query()
            .table_name(&self.name)
            .consistent_read(true)
            .key_condition_expression(expression)
            .expression_attribute_names("#pk", PK)
            .expression_attribute_values(":pk", AttributeValue::S(pk.to_owned()));
        if !all {
            query = query
                .expression_attribute_names("#sk", SK)
                .expression_attribute_values(":prefix", AttributeValue::S(prefix.to_owned()));
        }
        self.bounded(async {
            let mut pages = query.into_paginator().send();
            let mut found = Vec::new();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|error| failed(&error))?;
                for map in page.items.into_iter().flatten() {
                    let (key, item) = keyed(map)?;
                    found.push((key.sk, item));
                }
            }
            Ok(found)
        })
        .await
    }
}

/// Expressions whose names and values are all placeholders, so that no attribute's name can be a reserved word.
#[derive(Default)]
struct Placeholders {
    names: BTreeMap<String, String>,
    values: Map,
}

impl Placeholders {
    fn name(&mut self, attribute: &str) -> String {
        let next = self.names.len();
        self.names
            .entry(attribute.to_owned())
            .or_insert_with(|| format!("#n{next}"))
            .clone()
    }

    fn value(&mut self, datum: Datum) -> String {
        let placeholder = format!(":v{}", self.values.len());
        self.values.insert(placeholder.clone(), value(datum));
        placeholder
    }

    /// The condition expression of `when`; `None` when it always holds.
    fn condition(&mut self, when: &When) -> Option<String> {
        let every: Vec<String> = when
            .iter()
            .map(|any| {
                if any.is_empty() {
                    // No atom can hold, so no item may pass.
                    let pk = self.name(PK);
                    return format!("(attribute_exists({pk}) AND attribute_not_exists({pk}))");
                }
                let any: Vec<String> = any.iter().map(|test| self.test(test)).collect();
                format!("({})", any.join(" OR "))
            })
            .collect();
        (!every.is_empty()).then(|| every.join(" AND "))
    }

    fn test(&mut self, test: &Test) -> String {
        match test {
            Test::Absent => format!("attribute_not_exists({})", self.name(PK)),
            Test::Exists => format!("attribute_exists({})", self.name(PK)),
            Test::Has(attribute) => format!("attribute_exists({})", self.name(attribute)),
            Test::No(attribute) => format!("attribute_not_exists({})", self.name(attribute)),
            Test::Eq(attribute, datum) => {
                format!("{} = {}", self.name(attribute), self.value(datum.clone()))
            }
            Test::Lt(attribute, bound) => {
                format!(
                    "{} < {}",
                    self.name(attribute),
                    self.value(Datum::N(*bound))
                )
            }
        }
    }

    /// The update expression; `None` when nothing changes.
    fn update(&mut self, set: Item, remove: Vec<String>) -> Option<String> {
        let set: Vec<String> = set
            .into_iter()
            .map(|(attribute, datum)| format!("{} = {}", self.name(&attribute), self.value(datum)))
            .collect();
        let remove: Vec<String> = remove
            .iter()
            .map(|attribute| self.name(attribute))
            .collect();
        let mut clauses = Vec::new();
        if !set.is_empty() {
            clauses.push(format!("SET {}", set.join(", ")));
        }
        if !remove.is_empty() {
            clauses.push(format!("REMOVE {}", remove.join(", ")));
        }
        (!clauses.is_empty()).then(|| clauses.join(" "))
    }

    /// The names used, placeholder to name. DynamoDB refuses an empty map.
    fn names(&self) -> Option<HashMap<String, String>> {
        (!self.names.is_empty()).then(|| {
            self.names
                .iter()
                .map(|(name, placeholder)| (placeholder.clone(), name.clone()))
                .collect()
        })
    }

    /// The values used. DynamoDB refuses an empty map.
    fn values(&mut self) -> Option<Map> {
        (!self.values.is_empty()).then(|| std::mem::take(&mut self.values))
    }
}

fn key_map(key: &Key) -> Map {
    Map::from([
        (PK.to_owned(), AttributeValue::S(key.pk.clone())),
        (SK.to_owned(), AttributeValue::S(key.sk.clone())),
    ])
}

fn value(datum: Datum) -> AttributeValue {
    match datum {
        Datum::S(text) => AttributeValue::S(text),
        Datum::N(number) => AttributeValue::N(number.to_string()),
        Datum::B(bytes) => AttributeValue::B(Blob::new(bytes)),
    }
}

/// An item as stored, its key split off.
fn keyed(mut map: Map) -> Result<(Key, Item), StoreError> {
    match (map.remove(PK), map.remove(SK)) {
        (Some(AttributeValue::S(pk)), Some(AttributeValue::S(sk))) => {
            Ok((Key { pk, sk }, item(map)?))
        }
        _ => Err(foreign("an item without the keys pk and sk".to_owned())),
    }
}

/// An item as stored, without its key.
fn item(map: Map) -> Result<Item, StoreError> {
    map.into_iter()
        .filter(|(name, _)| name != PK && name != SK)
        .map(|(name, value)| {
            let datum = match value {
                AttributeValue::S(text) => Some(Datum::S(text)),
                AttributeValue::N(number) => number.parse().ok().map(Datum::N),
                AttributeValue::B(bytes) => Some(Datum::B(bytes.into_inner())),
                _ => None,
            };
            match datum {
                Some(datum) => Ok((name, datum)),
                None => Err(foreign(format!(
                    "the attribute {name} is of a kind this program does not write"
                ))),
            }
        })
        .collect()
}

/// The table holds, or was asked for, what no version of this program writes.
fn foreign(message: String) -> StoreError {
    StoreError::Failed {
        kind: Trouble::Other,
        code: "foreign".to_owned(),
        message,
    }
}

/// The error of a call that is no conditional write.
pub(super) fn failed<E>(error: &SdkError<E, HttpResponse>) -> StoreError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let error = trouble(&failure(error));
    StoreError::Failed {
        kind: error.kind,
        code: error.code,
        message: error.message,
    }
}

/// An error that may be a failed condition.
trait Conditional {
    fn condition(&self) -> Option<&ConditionalCheckFailedException>;
}

macro_rules! conditional {
    ($($error:ident),+) => {$(
        impl Conditional for $error {
            fn condition(&self) -> Option<&ConditionalCheckFailedException> {
                match self {
                    Self::ConditionalCheckFailedException(failed) => Some(failed),
                    _ => None,
                }
            }
        }
    )+};
}

conditional!(PutItemError, UpdateItemError, DeleteItemError);

/// The error of a conditional write.
fn refused<E>(error: &SdkError<E, HttpResponse>) -> StoreError
where
    E: Conditional + ProvideErrorMetadata + Error + 'static,
{
    let Some(check) = error.as_service_error().and_then(Conditional::condition) else {
        return failed(error);
    };
    // An absent item is told by no item at all, by some servers by an empty one; a stored one has at least its key.
    match check.item().filter(|map| !map.is_empty()) {
        None => StoreError::Conflict(None),
        Some(map) => match item(map.clone()) {
            Ok(item) => StoreError::Conflict(Some(item)),
            Err(error) => error,
        },
    }
}

#[cfg(test)]
mod tests;
