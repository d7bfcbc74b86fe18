//! Making what a drain needs: the checkpoint table (`init`), and queues (`demo`, the tests).

use std::time::Duration;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, PointInTimeRecoverySpecification,
    ScalarAttributeType, TimeToLiveSpecification,
};
use aws_sdk_sqs::types::QueueAttributeName;

use super::dynamo::{PK, SK, TTL, failed};
use super::outcome::trouble;
use super::preflight::{in_table, keyed, unclear, usable};
use super::{Clients, failure};
use crate::port::{QueueError, StoreError, Trouble};

/// How often a table that is being created is looked at.
const CREATION_POLL: Duration = Duration::from_millis(500);

/// How long a table's creation is waited for. An on-demand table takes seconds.
const CREATION_PATIENCE: Duration = Duration::from_secs(120);

/// The code of the error for a table that is there with another key.
pub const WRONG_KEY: &str = "key";

impl Clients {
    /// Creates a queue with these attributes (SQS's names and values) and answers with its URL. A queue that exists
    /// with the same attributes is as good.
    ///
    /// # Errors
    /// As the service says.
    pub async fn create_queue(
        &self,
        name: &str,
        attributes: &[(&str, &str)],
    ) -> Result<String, QueueError> {
        self.need_region()?;
        let mut request = self.control.create_queue().queue_name(name);
        for (attribute, value) in attributes {
            request = request.attributes(QueueAttributeName::from(*attribute), *value);
        }
        let answer = request
            .send()
            .await
            .map_err(|error| trouble(&failure(&error)))?;
        answer
            .queue_url
            .ok_or_else(|| unclear("the answer has no queue URL".to_owned()))
    }

    /// Creates the checkpoint table if there is none, waits until it can be used, and switches on expiry and, where the
    /// service has it, point-in-time recovery. Answers whether it was created. Doing so again changes nothing.
    ///
    /// # Errors
    /// As the service says; [`Trouble::Other`] if there is a table of that name with another key. Only the recovery is
    /// optional: a refusal of it is logged.
    pub async fn create_table(&self, name: &str) -> Result<bool, StoreError> {
        self.need_region().map_err(in_table)?;
        let created = match self.table_description(name).await? {
            Some(_) => false,
            None => self.request_table(name).await?,
        };
        let looks = CREATION_PATIENCE.as_millis() / CREATION_POLL.as_millis();
        let mut table = None;
        for _ in 0..looks {
            table = self.table_description(name).await?;
            if table.as_ref().is_some_and(usable) {
                break;
            }
            #[expect(
                clippy::disallowed_methods,
                reason = "the service's time is waited for"
            )]
            tokio::time::sleep(CREATION_POLL).await;
        }
        let Some(table) = table.filter(usable) else {
            return Err(in_table(QueueError {
                kind: Trouble::Unreachable,
                code: "timeout".to_owned(),
                message: format!("the table was not ACTIVE within {CREATION_PATIENCE:?}"),
            }));
        };
        if !keyed(&table) {
            return Err(in_table(QueueError {
                kind: Trouble::Other,
                code: WRONG_KEY.to_owned(),
                message: format!(
                    "the key of the table {name} is not a string {PK} and a string {SK}"
                ),
            }));
        }
        self.switch_on(name).await?;
        Ok(created)
    }

    /// Asks for a new table. Answers whether it was this call that created it.
    async fn request_table(&self, name: &str) -> Result<bool, StoreError> {
        let mut request = self
            .dynamodb
            .create_table()
            .table_name(name)
            .billing_mode(BillingMode::PayPerRequest);
        for (attribute, role) in [(PK, KeyType::Hash), (SK, KeyType::Range)] {
            let definition = AttributeDefinition::builder()
                .attribute_name(attribute)
                .attribute_type(ScalarAttributeType::S)
                .build();
            let key = KeySchemaElement::builder()
                .attribute_name(attribute)
                .key_type(role)
                .build();
            let (Ok(definition), Ok(key)) = (definition, key) else {
                return Err(in_table(unclear(
                    "the request could not be built".to_owned(),
                )));
            };
            request = request.attribute_definitions(definition).key_schema(key);
        }
        match request.send().await {
            Ok(_) => Ok(true),
            // Somebody else was faster.
            Err(SdkError::ServiceError(refused))
                if refused.err().is_resource_in_use_exception() =>
            {
                Ok(false)
            }
            Err(error) => Err(failed(&error)),
        }
    }

    /// Switches on expiry and point-in-time recovery.
    async fn switch_on(&self, name: &str) -> Result<(), StoreError> {
        let expires = self
            .describe_table(name)
            .await?
            .and_then(|facts| facts.expires);
        if expires != Some(true) {
            let ttl = TimeToLiveSpecification::builder()
                .attribute_name(TTL)
                .enabled(true)
                .build()
                .map_err(|error| in_table(unclear(error.to_string())))?;
            self.dynamodb
                .update_time_to_live()
                .table_name(name)
                .time_to_live_specification(ttl)
                .send()
                .await
                .map_err(|error| failed(&error))?;
        }
        let recovery = PointInTimeRecoverySpecification::builder()
            .point_in_time_recovery_enabled(true)
            .build()
            .map_err(|error| in_table(unclear(error.to_string())))?;
        let answer = self
            .dynamodb
            .update_continuous_backups()
            .table_name(name)
            .point_in_time_recovery_specification(recovery)
            .send()
            .await;
        if let Err(error) = answer {
            let error = trouble(&failure(&error));
            // Servers other than AWS need not know it.
            if error.code != "UnknownOperation" {
                tracing::warn!(table = name, %error, "point-in-time recovery could not be switched on");
            }
        }
        Ok(())
    }
}
