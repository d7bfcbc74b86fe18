//! The DynamoDB endpoint behind its layer.

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
    ScalarAttributeType,
};

use sqs_drain::local::{Call, Effect, Rule};

use super::harness::{Local, local};

pub async fn table(local: &Local) {
    local
        .dynamo
        .create_table()
        .table_name("pages")
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(
            AttributeDefinition::builder()
                .attribute_name("pk")
                .attribute_type(ScalarAttributeType::S)
                .build()
                .expect("a definition"),
        )
        .key_schema(
            KeySchemaElement::builder()
                .attribute_name("pk")
                .key_type(KeyType::Hash)
                .build()
                .expect("a key"),
        )
        .send()
        .await
        .expect("a table");
}

pub async fn put(local: &Local, key: &str) -> Result<(), aws_sdk_dynamodb::Error> {
    let put = local.dynamo.put_item().table_name("pages");
    put.item("pk", AttributeValue::S(key.into())).send().await?;
    Ok(())
}

pub async fn has(local: &Local, key: &str) -> bool {
    let get = local
        .dynamo
        .get_item()
        .table_name("pages")
        .consistent_read(true);
    let got = get.key("pk", AttributeValue::S(key.into())).send().await;
    got.expect("an answer").item.is_some()
}

#[tokio::test]
async fn items_are_written_and_read() {
    let local = local().await;
    table(&local).await;
    put(&local, "a").await.expect("written");
    assert!(has(&local, "a").await);
    assert!(!has(&local, "b").await);
    local.endpoints.shutdown().await.expect("a clean stop");
}

#[tokio::test]
async fn faults_before_and_after_the_effect() {
    let local = local().await;
    table(&local).await;
    let code = |e: aws_sdk_dynamodb::Error| e.code().unwrap_or_default().to_owned();

    let throttled = Rule::dynamo("PutItem")
        .once()
        .error(400, "ProvisionedThroughputExceededException");
    local.endpoints.add_rule(throttled);
    let refused = put(&local, "throttled").await.map_err(code);
    assert_eq!(
        refused,
        Err("ProvisionedThroughputExceededException".into())
    );
    assert!(!has(&local, "throttled").await);

    for (effect, key, there) in [
        (Effect::DropBefore, "before", false),
        (Effect::DropAfter, "after", true),
    ] {
        local
            .endpoints
            .add_rule(Rule::dynamo("PutItem").once().then(effect));
        put(&local, key).await.expect_err("no answer");
        assert_eq!(has(&local, key).await, there, "{key}");
    }

    // Rules can look into the request.
    let about = |key: &'static str| {
        move |call: &Call<'_>| call.body.windows(key.len()).any(|w| w == key.as_bytes())
    };
    local.endpoints.add_rule(
        Rule::dynamo("PutItem")
            .when(about("poison"))
            .error(500, "InternalServerError"),
    );
    put(&local, "harmless").await.expect("written");
    assert_eq!(
        put(&local, "poison").await.map_err(code),
        Err("InternalServerError".into())
    );
}

#[tokio::test]
async fn answers_carry_the_endpoints_date_and_conditions_hold() {
    let local = local().await;
    table(&local).await;
    put(&local, "a").await.expect("written");
    let again = local
        .dynamo
        .put_item()
        .table_name("pages")
        .item("pk", AttributeValue::S("a".into()));
    let again = again
        .condition_expression("attribute_not_exists(pk)")
        .send()
        .await;
    let error = again.expect_err("a refusal");
    let date = error
        .raw_response()
        .and_then(|r| r.headers().get("date"))
        .map(str::to_owned);
    assert_eq!(date.as_deref(), Some("Fri, 02 Jan 2026 03:04:05 GMT"));
    assert!(
        error
            .into_service_error()
            .is_conditional_check_failed_exception()
    );
}

#[tokio::test]
async fn many_calls_at_once_are_all_answered() {
    let local = local().await;
    table(&local).await;
    let writes = (0..200).map(|n| {
        let put = local.dynamo.put_item().table_name("pages");
        put.item("pk", AttributeValue::S(n.to_string())).send()
    });
    let answers = futures::future::join_all(writes).await;
    assert!(answers.iter().all(Result::is_ok));
    let counted = local
        .dynamo
        .scan()
        .table_name("pages")
        .send()
        .await
        .expect("an answer");
    assert_eq!(counted.count, 200);
}
