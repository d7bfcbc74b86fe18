//! Fault rules and hooks.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_sqs::error::SdkError;
use sqs_drain::local::sqs::message::{Attribute, NewMessage};
use sqs_drain::local::sqs::queue::State;
use sqs_drain::local::{Effect, EntryFault, Rule, Service};

use super::harness::{START_MS, bodies, entry, local, refusal, until};

#[tokio::test]
async fn the_nth_call_fails_with_the_code_asked_for() {
    let local = local().await;
    let url = local.queue("q", &[]).await;
    let other = local.queue("other", &[]).await;
    let rule = local.endpoints.add_rule(
        Rule::sqs("SendMessage")
            .queue("q")
            .skip(1)
            .times(2)
            .error(403, "RequestThrottled"),
    );
    let send = |url: &str| {
        local
            .sqs
            .send_message()
            .queue_url(url)
            .message_body("m")
            .send()
    };
    send(&url).await.expect("the first passes");
    send(&other).await.expect("another queue");
    assert_eq!(refusal(send(&url).await).0, "RequestThrottled");
    assert_eq!(refusal(send(&url).await).0, "RequestThrottled");
    send(&url).await.expect("two were picked");
    assert_eq!(local.endpoints.faults().picked(rule), Some(2));
    assert_eq!(
        local.endpoints.peek("q").len(),
        2,
        "a refused call has no effect"
    );

    local
        .endpoints
        .add_rule(Rule::sqs("SendMessage").error(500, "InternalFailure"));
    let error = send(&url).await.expect_err("a refusal");
    assert_eq!(error.raw_response().map(|r| r.status().as_u16()), Some(500));
    local.endpoints.faults().clear();
    send(&url).await.expect("no rules any more");
}

#[tokio::test]
async fn a_connection_dropped_before_has_no_effect_and_after_has_it() {
    let local = local().await;
    let url = local.queue("q", &[]).await;
    let send = |body: &str| {
        local
            .sqs
            .send_message()
            .queue_url(&url)
            .message_body(body)
            .send()
    };
    for (effect, body) in [(Effect::DropBefore, "before"), (Effect::DropAfter, "after")] {
        local
            .endpoints
            .add_rule(Rule::sqs("SendMessage").once().then(effect));
        let error = send(body).await.expect_err("no answer");
        assert!(
            matches!(
                error,
                SdkError::DispatchFailure(_) | SdkError::ResponseError(_)
            ),
            "{body}: {error:?}"
        );
    }
    let error = Effect::ErrorAfter {
        status: 503,
        code: "ServiceUnavailable".into(),
    };
    local
        .endpoints
        .add_rule(Rule::sqs("SendMessage").once().then(error));
    assert_eq!(refusal(send("error").await).0, "ServiceUnavailable");
    let held: Vec<_> = local
        .endpoints
        .peek("q")
        .into_iter()
        .map(|m| m.body)
        .collect();
    assert_eq!(held, ["after", "error"]);
}

#[tokio::test]
async fn delays_are_by_the_endpoints_clock() {
    let local = local().await;
    let url = local.queue("q", &[]).await;
    let second = Duration::from_secs(1);
    for (effect, there) in [
        (Effect::DelayBefore(second), 0),
        (Effect::DelayAfter(second), 1),
    ] {
        let rule = local
            .endpoints
            .add_rule(Rule::sqs("SendMessage").once().then(effect));
        let before = local.endpoints.peek("q").len();
        let send = local.sqs.send_message().queue_url(&url).message_body("m");
        let sending = tokio::spawn(send.send());
        until(|| local.endpoints.faults().picked(rule) == Some(1)).await;
        if there == 1 {
            until(|| local.endpoints.peek("q").len() == before + 1).await;
        }
        assert_eq!(local.endpoints.peek("q").len(), before + there);
        assert!(!sending.is_finished());
        // The delay counts from when the server came to it, which may be after an advance that came too early.
        while !sending.is_finished() {
            local.clock.advance(second);
            tokio::task::yield_now().await;
        }
        sending.await.expect("no panic").expect("accepted");
        assert_eq!(local.endpoints.peek("q").len(), before + 1);
    }
}

#[tokio::test]
async fn chosen_entries_fail_and_the_others_go_on() {
    let local = local().await;
    let url = local.queue("q", &[]).await;
    local
        .endpoints
        .add_rule(Rule::sqs("SendMessageBatch").once().fail_entries(|entry| {
            match (entry.index, entry.body) {
                (_, Some("poison")) => Some(EntryFault::new("InvalidMessageContents", true)),
                (2, _) => Some(EntryFault::new("InternalError", false)),
                _ => None,
            }
        }));
    let send = || {
        let send = local.sqs.send_message_batch().queue_url(&url);
        send.entries(entry("a", "one"))
            .entries(entry("b", "poison"))
            .entries(entry("c", "three"))
            .send()
    };
    let sent = send().await.expect("a 200");
    assert_eq!(sent.successful.len(), 1);
    let failed: Vec<_> = sent
        .failed
        .iter()
        .map(|f| (f.id.as_str(), f.sender_fault, f.code.as_str()))
        .collect();
    assert_eq!(
        failed,
        [
            ("b", true, "InvalidMessageContents"),
            ("c", false, "InternalError")
        ]
    );
    assert_eq!(
        send().await.expect("a 200").successful.len(),
        3,
        "once only"
    );
    assert_eq!(local.endpoints.peek("q").len(), 4);
}

#[tokio::test]
async fn a_message_delivered_twice_and_a_receive_falsely_empty() {
    let local = local().await;
    let url = local.queue("q", &[]).await;
    local.send(&url, "a").await;
    local.endpoints.add_rule(
        Rule::sqs("ReceiveMessage")
            .once()
            .then(Effect::EmptyReceive),
    );
    local.endpoints.add_rule(
        Rule::sqs("ReceiveMessage")
            .skip(1)
            .once()
            .then(Effect::DeliverTwice),
    );
    assert!(local.receive(&url).await.is_empty());
    let first = local.receive(&url).await;
    let second = local.receive(&url).await;
    assert_eq!((bodies(&first), bodies(&second)), (vec!["a"], vec!["a"]));
    assert_eq!(first[0].message_id, second[0].message_id);
    assert_ne!(first[0].receipt_handle, second[0].receipt_handle);
    assert!(local.receive(&url).await.is_empty());
}

#[tokio::test]
async fn seeded_messages_are_seen_by_peek_as_they_are() {
    let local = local().await;
    let url = local
        .endpoints
        .create_queue("q", &[("VisibilityTimeout", "9")])
        .expect("a queue");
    let messages = (0..2500).map(|n| NewMessage {
        attributes: vec![
            Attribute::text("z", "String", "last"),
            Attribute::binary("a", "Binary", [n as u8]),
        ],
        trace_header: Some("trace".into()),
        group_id: Some("tenant".into()),
        delay_seconds: (n == 2).then_some(60),
        ..NewMessage::new(n.to_string())
    });
    assert_eq!(local.endpoints.seed("q", messages).expect("parked"), 2500);
    let got = local
        .sqs
        .receive_message()
        .queue_url(&url)
        .max_number_of_messages(2);
    got.send().await.expect("an answer");

    let held = local.endpoints.peek("q");
    assert_eq!(held.len(), 2500);
    assert!(
        held.iter()
            .enumerate()
            .all(|(n, m)| m.body == n.to_string())
    );
    let in_flight = State::InFlight {
        until_ms: START_MS + 9000,
    };
    let delayed = State::Delayed {
        until_ms: START_MS + 60_000,
    };
    let states: Vec<_> = held
        .iter()
        .take(4)
        .map(|m| (m.state, m.receive_count))
        .collect();
    assert_eq!(
        states,
        [
            (in_flight, 1),
            (in_flight, 1),
            (delayed, 0),
            (State::Visible, 0)
        ]
    );
    assert_eq!(
        held[7].attributes[0],
        Attribute::binary("a", "Binary", [7]),
        "sorted by name"
    );
    assert_eq!(held[7].trace_header.as_deref(), Some("trace"));
    assert_eq!(held[7].group_id.as_deref(), Some("tenant"));
    assert!(local.endpoints.accepted_sends("q").is_empty());
    assert!(local.endpoints.peek("nothing").is_empty());
    assert!(local.endpoints.seed("q", [NewMessage::new("\0")]).is_err());
    assert!(
        local
            .endpoints
            .seed("nothing", [NewMessage::new("m")])
            .is_err()
    );
}

#[tokio::test]
async fn calls_and_accepted_sends_are_counted() {
    let local = local().await;
    let url = local.queue("q", &[]).await;
    local.send(&url, "a").await;
    local.clock.advance(Duration::from_millis(300));
    let batch = local.sqs.send_message_batch().queue_url(&url);
    batch
        .entries(entry("a", "m"))
        .entries(entry("b", "\u{1}"))
        .entries(entry("c", "m"))
        .send()
        .await
        .expect("a 200");
    local.dynamo.list_tables().send().await.expect("an answer");
    assert_eq!(
        local.endpoints.accepted_sends("q"),
        [(START_MS, 1), (START_MS + 300, 2)]
    );
    let counted: Vec<_> = local
        .endpoints
        .requests()
        .into_iter()
        .map(|((service, action), count)| (service.name(), action, count))
        .collect();
    let expected = [
        (Service::Sqs, "CreateQueue", 1),
        (Service::Sqs, "SendMessage", 1),
        (Service::Sqs, "SendMessageBatch", 1),
        (Service::DynamoDb, "ListTables", 1),
    ];
    assert_eq!(
        counted,
        expected.map(|(service, action, n)| (service.name(), action.to_owned(), n))
    );
}

#[tokio::test]
async fn an_observer_is_told_of_every_call_and_who_signed_it() {
    let local = local().await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&told);
    local.endpoints.observe(move |call| {
        let note = format!(
            "{} {} {:?} {:?}",
            call.service.name(),
            call.action,
            call.queue,
            call.access_key
        );
        notes.lock().expect("no panic").push(note);
    });
    let url = local.queue("q", &[]).await;
    local
        .endpoints
        .add_rule(Rule::sqs("SendMessage").error(403, "AccessDeniedException"));
    let send = local.sqs.send_message().queue_url(&url).message_body("m");
    assert_eq!(refusal(send.send().await).0, "AccessDeniedException");
    local.endpoints.faults().clear();
    local.receive(&url).await;
    local.dynamo.list_tables().send().await.expect("an answer");
    assert_eq!(
        *told.lock().expect("no panic"),
        [
            r#"sqs CreateQueue Some("q") Some("local")"#,
            r#"sqs SendMessage Some("q") Some("local")"#,
            r#"sqs ReceiveMessage Some("q") Some("local")"#,
            r#"dynamodb ListTables None Some("local")"#,
        ]
    );
}
