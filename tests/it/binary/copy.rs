//! The copy that arrives: byte for byte, attribute for attribute, and in its group's order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sqs_drain::local::sqs::message::{Attribute, NewMessage};
use sqs_drain::local::{Effect, EntryFault, Peeked, Rule};

use super::world::{SCHEDULE, WAIT, World, samples};

const FIFO: [(&str, &str); 1] = [("FifoQueue", "true")];

fn with_fifo_queues(world: &World) {
    for name in ["wait.fifo", "schedule.fifo", "reject.fifo"] {
        world.queue(name, &FIFO);
    }
}

/// Message `n` of a FIFO queue: seven groups.
fn ordered(n: usize) -> NewMessage {
    NewMessage {
        group_id: Some(format!("g{}", n % 7)),
        deduplication_id: Some(format!("d{n}")),
        ..NewMessage::new(format!("{n}"))
    }
}

fn by_group(list: &[Peeked]) -> BTreeMap<String, Vec<String>> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for message in list {
        let group = message.group_id.clone().unwrap_or_default();
        groups.entry(group).or_default().push(message.body.clone());
    }
    groups
}

#[tokio::test]
async fn body_attributes_trace_header_and_group_arrive_as_they_are() {
    let world = World::start().await;
    let attributes = vec![
        Attribute::text("text", "String", "plain"),
        Attribute::text("text.custom", "String.json", "{\"a\": [1, \"두\"]}"),
        Attribute::text("number", "Number", "-1.50e3"),
        Attribute::text("number.int", "Number.int", "007"),
        Attribute::text("number_float", "Number.float.wide", "3.140"),
        Attribute::binary("binary", "Binary", (0..=255).collect::<Vec<u8>>()),
        Attribute::binary("binary-gzip", "Binary.gzip", [0x1f, 0x8b, 0, 0]),
        Attribute::text("blank", "String", " \t\r\n "),
        Attribute::text("emoji", "String", "📦\u{200d}\u{fe0f}"),
        Attribute::text("UPPER", "String.Upper.Case", "x"),
    ];
    let bodies = [
        "{\"already\": \"json\", \"n\": 1.0}",
        " leading and trailing \n",
        "tab\tnewline\ncarriage\r\nreturn",
        "<xml attr=\"&amp;\">한국어 日本語 العربية 📦</xml>",
        "\\u0041 is not A, \\\" is not \"",
        "\u{fffd}\u{e000}\u{10ffff}",
    ];
    let messages = bodies.iter().map(|body| NewMessage {
        attributes: attributes.clone(),
        trace_header: Some("Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1".to_owned()),
        group_id: Some("tenant-7!@#".to_owned()),
        ..NewMessage::new(*body)
    });
    let parked = world.park(WAIT, messages);
    let large = NewMessage::new("é".repeat(500_000));
    let parked = [parked, world.park(WAIT, [large])].concat();
    let parked: Vec<Peeked> = parked
        .into_iter()
        .map(|m| (m.id, m))
        .collect::<BTreeMap<_, _>>()
        .into_values()
        .collect();
    assert_eq!(parked.len(), 7);
    world.run(&[]).ended().await.exits(0);
    world.audit(&parked, &[SCHEDULE]).is_exact();
    assert!(
        world
            .peek(SCHEDULE)
            .iter()
            .all(|m| m.deduplication_id.is_none())
    );
}

#[tokio::test]
async fn a_group_keeps_its_order_when_an_entry_in_the_middle_fails() {
    let world = World::start().await;
    with_fifo_queues(&world);
    let parked = world.park("wait.fifo", (0..140).map(ordered));
    let failing: BTreeSet<String> = ["20", "27", "33", "90"].map(str::to_owned).into();
    let seen = std::sync::Mutex::new(BTreeMap::<String, u32>::new());
    let rule = Rule::sqs("SendMessageBatch").fail_entries(move |entry| {
        let body = entry.body.filter(|b| failing.contains(*b))?;
        let mut seen = seen.lock().expect("a lock");
        let times = seen.entry(body.to_owned()).or_default();
        *times += 1;
        (*times <= 2).then(|| EntryFault::new("RequestThrottled", false))
    });
    world.endpoints.add_rule(rule);
    let args = ["--from", "wait.fifo", "--to", "schedule.fifo"];
    let ended = world.run(&args).ended().await.exits(0);
    assert_eq!(ended.figure("sent"), 140);
    let arrived = world.peek("schedule.fifo");
    world.audit(&parked, &["schedule.fifo"]).is_exact();
    assert_eq!(by_group(&arrived), by_group(&parked));
    let original: BTreeMap<&str, String> = parked
        .iter()
        .map(|m| (m.body.as_str(), m.id.to_string()))
        .collect();
    for copy in &arrived {
        assert_eq!(
            copy.deduplication_id.as_ref(),
            original.get(copy.body.as_str()),
            "the deduplication id is the source message id"
        );
    }
}

#[tokio::test]
async fn killed_from_fifo_to_fifo_nothing_is_lost_doubled_or_out_of_order() {
    let world = World::start().await;
    with_fifo_queues(&world);
    let parked = world.park("wait.fifo", (0..700).map(ordered));
    let send = || Rule::sqs("SendMessageBatch");
    let slow = Effect::DelayAfter(Duration::from_millis(40));
    let slow = world.endpoints.add_rule(send().then(slow));
    // Some answers are lost as well, and some entries in the middle of their groups fail for a while.
    let lost = send().skip(5).times(2).then(Effect::DropAfter);
    world.endpoints.add_rule(lost);
    let busy = send().skip(9).times(8).fail_entries(|entry| {
        (entry.index % 3 == 1).then(|| EntryFault::new("RequestThrottled", false))
    });
    world.endpoints.add_rule(busy);
    let args = [
        "--run-id",
        "r",
        "--from",
        "wait.fifo",
        "--to",
        "schedule.fifo",
        "--lanes",
        "2",
    ];
    for round in 1..=3 {
        let worker = world.run(&args);
        world.arrived("schedule.fifo", round * 70).await;
        worker.kill();
        let arrived = world.len("schedule.fifo");
        assert!(arrived < 700, "part-way: {arrived}");
        world.let_visibility_pass_in("wait.fifo").await;
    }
    world.endpoints.faults().remove(slow);
    world.run(&args).ended().await.exits(0);
    // All within five minutes, so the destination recognises what is sent again.
    world.audit(&parked, &["schedule.fifo"]).is_exact();
    assert_eq!(by_group(&world.peek("schedule.fifo")), by_group(&parked));
    assert_eq!(world.len("wait.fifo"), 0);
}

#[tokio::test]
async fn two_that_once_shared_a_deduplication_id_are_both_delivered() {
    let world = World::start().await;
    with_fifo_queues(&world);
    let shared = |body: &str| NewMessage {
        group_id: Some("g".to_owned()),
        deduplication_id: Some("the-same".to_owned()),
        ..NewMessage::new(body)
    };
    world.park("wait.fifo", [shared("first")]);
    // Longer than SQS remembers a deduplication id.
    world.advance(Duration::from_secs(301));
    let parked = world.park("wait.fifo", [shared("second")]);
    assert_eq!(parked.len(), 2);
    let args = ["--from", "wait.fifo", "--to", "schedule.fifo"];
    world.run(&args).ended().await.exits(0);
    world.audit(&parked, &["schedule.fifo"]).is_exact();
}

#[tokio::test]
async fn the_original_deduplication_id_is_carried_when_asked_for() {
    let world = World::start().await;
    with_fifo_queues(&world);
    let parked = world.park("wait.fifo", (0..20).map(ordered));
    let args = [
        "--from",
        "wait.fifo",
        "--to",
        "schedule.fifo",
        "--deduplication-id",
        "original",
    ];
    world.run(&args).ended().await.exits(0);
    world.audit(&parked, &["schedule.fifo"]).is_exact();
    for copy in world.peek("schedule.fifo") {
        assert_eq!(copy.deduplication_id, Some(format!("d{}", copy.body)));
    }
}

#[tokio::test]
async fn a_refused_message_makes_room_for_its_group_where_there_is_a_reject_queue() {
    let world = World::start().await;
    with_fifo_queues(&world);
    let parked = world.park("wait.fifo", (0..70).map(ordered));
    let rule = Rule::sqs("SendMessageBatch").queue("schedule.fifo");
    world.endpoints.add_rule(rule.fail_entries(|entry| {
        (entry.body == Some("24")).then(|| EntryFault::new("InvalidMessageContents", true))
    }));
    let args = [
        "--from",
        "wait.fifo",
        "--to",
        "schedule.fifo",
        "--reject",
        "reject.fifo",
    ];
    let ended = world.run(&args).ended().await.exits(5);
    assert_eq!(ended.figure("sent"), 69);
    assert_eq!(world.peek("reject.fifo")[0].body, "24");
    world
        .audit(&parked, &["schedule.fifo", "reject.fifo"])
        .is_exact();
    let mut expected = by_group(&parked);
    expected
        .values_mut()
        .for_each(|bodies| bodies.retain(|b| b != "24"));
    assert_eq!(by_group(&world.peek("schedule.fifo")), expected);
}

#[tokio::test]
async fn from_standard_to_fifo_the_group_comes_from_where_it_is_told_to() {
    let group = |message: &Peeked, from: &str| match from {
        "id" => message.id.to_string(),
        "constant:all" => "all".to_owned(),
        "source" => message
            .group_id
            .clone()
            .unwrap_or_else(|| message.id.to_string()),
        _ => message
            .body
            .split(' ')
            .next()
            .unwrap_or_default()
            .to_owned(),
    };
    for from in ["id", "constant:all", "source", "attribute:n"] {
        let world = World::start().await;
        with_fifo_queues(&world);
        let parked = world.park(WAIT, samples(30));
        let args = ["--to", "schedule.fifo", "--group-from", from];
        world.run(&args).ended().await.exits(0);
        let arrived = world.peek("schedule.fifo");
        assert_eq!(arrived.len(), 30, "{from}");
        for copy in arrived {
            let original = parked.iter().find(|m| m.body == copy.body).expect("known");
            assert_eq!(copy.group_id, Some(group(original, from)), "{from}");
            assert_eq!(copy.deduplication_id, Some(original.id.to_string()));
            assert_eq!(copy.attributes, original.attributes);
            assert_eq!(copy.trace_header, original.trace_header);
        }
    }
}

#[tokio::test]
async fn from_fifo_to_standard_only_when_allowed() {
    let world = World::start().await;
    with_fifo_queues(&world);
    let parked = world.park("wait.fifo", (0..50).map(ordered));
    let args = ["--from", "wait.fifo"];
    let ended = world.run(&args).ended().await.exits(2);
    assert!(
        ended.stderr.contains("--allow-fifo-to-standard"),
        "{}",
        ended.stderr
    );
    assert_eq!(world.requests("ReceiveMessage"), 0);
    let args = [&args[..], &["--allow-fifo-to-standard"]].concat();
    world.run(&args).ended().await.exits(0);
    world.audit(&parked, &[SCHEDULE]).is_exact();
}
