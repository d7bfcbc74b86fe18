//! The DynamoDB endpoint behind its layer.

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
    ScalarAttributeType,
};

use super::harness::{Local, local};

async fn table(local: &Local) {
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

async fn put(local: &Local, key: &str) -> Result<(), aws_sdk_dynamodb::Error> {
    let put = local.dynamo.put_item().table_name("pages");
    put.item("pk", AttributeValue::S(key.into())).send().await?;
    Ok(())
}

async fn has(local: &Local, key: &str) -> bool {
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
