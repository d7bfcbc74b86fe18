//! Message attributes that are accepted and that are refused.

use aws_sdk_sqs::error::SdkError;
use aws_sdk_sqs::operation::send_message::{SendMessageError, SendMessageOutput};
use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::MessageAttributeValue;

use super::harness::{Local, local, refusal, text};

async fn send(
    local: &Local,
    url: &str,
    attributes: Vec<(String, MessageAttributeValue)>,
) -> Result<SendMessageOutput, SdkError<SendMessageError>> {
    let send = local.sqs.send_message().queue_url(url).message_body("m");
    send.set_message_attributes(Some(attributes.into_iter().collect()))
        .send()
        .await
}

#[tokio::test]
async fn names_types_and_values() {
    let local = local().await;
    let url = local.queue("q", &[]).await;
    let long = "n".repeat(256);
    for (name, value) in [
        ("plain", text("String", "x")),
        ("a.b-c_D9", text("String.custom.type", "x")),
        (long.as_str(), text("Number", "-12.5e3")),
        (
            "n",
            text("Number.int", "12345678901234567890123456789012345678"),
        ),
        ("AWSish", text("String", "\u{10ffff}")),
        ("aws", text("String", "x")),
    ] {
        send(&local, &url, vec![(name.to_owned(), value)])
            .await
            .expect(name);
    }
    let too_long = "n".repeat(257);
    let long_type = format!("String.{}", "t".repeat(250));
    let binary = |data_type: &str, bytes: &[u8]| {
        let value = MessageAttributeValue::builder().data_type(data_type);
        value
            .binary_value(Blob::new(bytes))
            .build()
            .expect("a value")
    };
    for (name, value) in [
        ("", text("String", "x")),
        (too_long.as_str(), text("String", "x")),
        (".starts", text("String", "x")),
        ("ends.", text("String", "x")),
        ("two..dots", text("String", "x")),
        ("AWS.name", text("String", "x")),
        ("aMaZoN.name", text("String", "x")),
        ("with space", text("String", "x")),
        ("§", text("String", "x")),
        ("empty", text("String", "")),
        ("empty", text("Number", "")),
        ("empty", binary("Binary", b"")),
        ("type", text("", "x")),
        ("type", text("Text", "x")),
        ("type", text("string", "x")),
        ("type", text("Strings", "x")),
        ("type", text(&long_type, "x")),
        ("mixed", text("Binary", "x")),
        ("mixed", binary("String", b"x")),
        ("characters", text("String", "a\u{8}")),
        ("number", text("Number", "12a")),
        ("number", text("Number", "inf")),
        (
            "number",
            text("Number", "123456789012345678901234567890123456789"),
        ),
    ] {
        let what = format!("{name:.10} {value:?}");
        let refused = send(&local, &url, vec![(name.to_owned(), value)]).await;
        assert_eq!(refusal(refused).0, "InvalidParameterValue", "{what}");
    }
    assert_eq!(local.endpoints.peek("q").len(), 6);
}

#[tokio::test]
async fn at_most_ten() {
    let local = local().await;
    let url = local.queue("q", &[]).await;
    let many = |count: usize| {
        (0..count)
            .map(|n| (format!("a{n}"), text("String", "x")))
            .collect()
    };
    send(&local, &url, many(10)).await.expect("ten");
    assert_eq!(
        refusal(send(&local, &url, many(11)).await).0,
        "InvalidParameterValue"
    );
    assert_eq!(local.endpoints.peek("q").len(), 1);
}
