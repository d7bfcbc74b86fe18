//! Drains that go well: everything once, and the result that says so.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};
use sqs_drain::port::Source;

use super::harness::eventually;
use super::world::{SCHEDULE, TABLE, WAIT, World, sample, samples};

fn keys(object: &Value) -> Vec<&str> {
    let object = object.as_object().expect("an object");
    let mut keys: Vec<&str> = object.keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn everything_is_moved_once_and_the_result_says_so() {
    let world = World::start().await;
    let parked = world.park(WAIT, samples(1_000));
    let ended = world.run(&["--run-id", "r"]).ended().await.exits(0);
    world.audit(&parked, &[SCHEDULE]).is_exact();
    assert_eq!(world.len(WAIT), 0);

    assert_eq!(ended.stdout.lines().count(), 1, "one line");
    let result = &ended.result;
    assert!(ended.stdout.starts_with(
        r#"{"shard":{"index":0,"of":1},"outcome":"drained","exit_code":0,"balanced":true,"#
    ));
    assert_eq!(
        keys(result),
        [
            "balanced",
            "ended_at",
            "exit_code",
            "outcome",
            "routes",
            "shard",
            "started_at"
        ]
    );
    assert_eq!(result["shard"], json!({"index": 0, "of": 1}));
    assert_eq!(result["outcome"], "drained");
    let time = |name: &str| {
        let text = result[name].as_str().expect("a time");
        chrono::DateTime::parse_from_rfc3339(text).expect("RFC 3339")
    };
    assert!(time("started_at") < time("ended_at"));
    assert_eq!(keys(&result["routes"]), ["default"]);
    let mut route = ended.route().clone();
    let requests = route["requests"].take();
    let rate = route["rate"].take();
    assert_eq!(
        route,
        json!({
            "run_id": "r", "result": true, "total": 1_000, "outcome": "drained", "message": null,
            "received": 1_000, "sent": 1_000, "deduplicated": 0, "rejected": 0, "held": 0, "released": 0, "in_doubt": 0,
            "possible_duplicates": 0, "doubts_settled": 0, "parked": route["parked"], "doubts": [], "doubts_in_all": 0,
            "remaining": {"visible": 0, "in_flight": 0, "delayed": 0}, "requests": null, "rate": null,
        })
    );
    assert_eq!(keys(&rate), ["average", "busiest_second", "limit"]);
    assert_eq!(rate["limit"], Value::Null);
    assert_eq!(
        keys(&requests),
        [
            "delete",
            "dynamodb_read",
            "dynamodb_write",
            "other_sqs",
            "receive",
            "send"
        ]
    );
    for (name, action) in [
        ("receive", "ReceiveMessage"),
        ("send", "SendMessageBatch"),
        ("delete", "DeleteMessageBatch"),
    ] {
        assert_eq!(requests[name], world.requests(action), "{name}");
    }
    assert_eq!(world.run_totals("r").await.sent, 1_000);

    // Started again at once, it finds nothing and says so.
    let again = world.run(&["--run-id", "r"]).ended().await.exits(0);
    assert_eq!(again.figure("total"), 0);
    assert_eq!(world.len(SCHEDULE), 1_000);
    assert_eq!(world.run_totals("r").await.sent, 1_000);
}

#[tokio::test]
async fn without_a_journal_it_drains_and_says_what_that_gives_up() {
    let world = World::start().await;
    let parked = world.park(WAIT, samples(500));
    let before = world.requests("PutItem") + world.requests("UpdateItem");
    let ended = world.run(&["--no-journal"]).ended().await.exits(0);
    world.audit(&parked, &[SCHEDULE]).is_exact();
    assert_eq!(ended.figure("sent"), 500);
    assert!(
        ended.stderr.contains("without a journal"),
        "{}",
        ended.stderr
    );
    let after = world.requests("PutItem") + world.requests("UpdateItem");
    assert_eq!(before, after, "the table is not written");
}

#[tokio::test]
async fn queues_may_be_named_by_their_urls() {
    let world = World::start().await;
    let from = world.queue("night", &[]);
    let to = world.queue("morning", &[]);
    let parked = world.park("night", samples(30));
    let args = ["--from", from.as_str(), "--to", to.as_str()];
    let ended = world.run(&args).ended().await.exits(0);
    assert_eq!(ended.figure("total"), 30);
    world.audit(&parked, &["morning"]).is_exact();
}

#[tokio::test]
async fn the_routes_of_a_file_run_side_by_side_each_with_its_own_result() {
    let world = World::start().await;
    let mut parked = BTreeMap::new();
    for (route, n) in [("push", 200), ("mail", 300), ("sms", 0)] {
        world.queue(&format!("{route}-wait"), &[]);
        world.queue(&format!("{route}-schedule"), &[]);
        let list = world.park(&format!("{route}-wait"), samples(n));
        parked.insert(route, list);
    }
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    writeln!(
        file,
        "[defaults]\ntable = '{TABLE}'\nwindow = ['always']\nsettle = '300ms'\npoll = '1s'\n"
    )
    .expect("written");
    for route in parked.keys() {
        writeln!(
            file,
            "[route.{route}]\nfrom = '{route}-wait'\nto = ['{route}-schedule']\n"
        )
        .expect("written");
    }
    let path = file.path().to_str().expect("a path");
    let ended = world.run(&["--config", path]).ended().await.exits(0);
    assert_eq!(keys(&ended.result["routes"]), ["mail", "push", "sms"]);
    for (route, list) in &parked {
        let report = ended.named(route);
        assert_eq!(report["total"], list.len(), "{route}");
        let run = report["run_id"].as_str().expect("a run id");
        assert!(run.starts_with(&format!("{route}@")), "{run}");
        world
            .audit(list, &[&format!("{route}-schedule")])
            .is_exact();
    }
    // One of them by name.
    world.park("mail-wait", [sample(1_000)]);
    world.park("push-wait", [sample(1_000)]);
    let ended = world
        .run(&["mail", "--config", path])
        .ended()
        .await
        .exits(0);
    assert_eq!(keys(&ended.result["routes"]), ["mail"]);
    assert_eq!((world.len("mail-wait"), world.len("push-wait")), (0, 1));
}

#[tokio::test]
async fn several_destinations_share_by_group_or_id_and_a_group_stays_at_its_own() {
    let world = World::start().await;
    world.queue("a", &[]);
    world.queue("b", &[]);
    let to = ["--to", "a", "--to", "b"];
    let parked = world.park(WAIT, samples(600));
    world.run(&to).ended().await.exits(0);
    world.audit(&parked, &["a", "b"]).is_exact();
    let shares = (world.len("a"), world.len("b"));
    assert!(shares.0 > 100 && shares.1 > 100, "{shares:?}");

    // The same groups once more: each goes where it went before.
    let again = world.park(WAIT, (600..1_200).map(sample));
    world.run(&to).ended().await.exits(0);
    world
        .audit(&[parked, again].concat(), &["a", "b"])
        .is_exact();
    let groups = |queue: &str| -> BTreeSet<String> {
        let all = world.peek(queue);
        all.into_iter().filter_map(|m| m.group_id).collect()
    };
    let (a, b) = (groups("a"), groups("b"));
    assert!(!a.is_empty() && !b.is_empty());
    assert!(a.is_disjoint(&b), "groups at both: {a:?} {b:?}");
    // Messages without a group are spread too.
    let lone = |queue: &str| {
        let all = world.peek(queue);
        all.iter().filter(|m| m.group_id.is_none()).count()
    };
    assert!(lone("a") > 100 && lone("b") > 100);
}

/// What a killed process had in hand is waited for, and who watches the log is told so; without a terminal there are plain lines.
#[tokio::test]
async fn a_run_that_waits_for_messages_in_flight_says_so() {
    let world = World::start().await;
    let parked = world.park(WAIT, samples(7));
    let clients = world.aws.clients();
    let url = clients.describe_queue(WAIT).await.expect("a queue").url;
    let source = clients.queue(url);
    let mut handles = Vec::new();
    while handles.len() < 7 {
        let hidden = Duration::from_secs(600);
        let some = source.receive(10, Duration::ZERO, hidden).await;
        let some = some.expect("an answer").into_iter();
        handles.extend(some.map(|m| (m.receipt_handle, Duration::ZERO)));
    }
    let worker = world.run(&["--progress", "always"]);
    let words = "waiting: 7 messages are in flight in the source, 0 delayed; what a process that died had in hand is visible again within 25 s";
    eventually("it says so", || worker.log().contains(words)).await;
    let log = worker.log();
    let plain = log.lines().filter(|line| *line == "default 0/7 sent");
    assert!((1..=4).contains(&plain.count()), "{log}");
    source.set_visibility(&handles).await;
    let ended = worker.ended().await.exits(0);
    assert_eq!(ended.stderr.matches(words).count(), 1, "{}", ended.stderr);
    world.audit(&parked, &[SCHEDULE]).is_exact();
}
