//! What is refused before the first receive: one line that says what is wrong and what to do, exit 2, nothing received.

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use serde_json::json;
use sqs_drain::local::Rule;

use super::harness::{Ended, eventually};
use super::world::{SCHEDULE, TABLE, WAIT, World, samples};
use crate::ops::{call, call_in, paste};
use crate::record::HARNESS;

/// Asserts that a start was refused in one line that has all of `words`.
#[track_caller]
fn refused(world: &World, ended: &Ended, words: &[&str]) {
    assert_eq!(ended.code, Some(2), "{words:?}\n{}", ended.stderr);
    let said: Vec<&str> = ended
        .stderr
        .lines()
        .filter(|line| line.starts_with("sqs-drain: "))
        .collect();
    let [line] = said[..] else {
        panic!("not one line for {words:?}:\n{}", ended.stderr)
    };
    for word in words {
        assert!(line.contains(word), "no {word:?} in {line:?}");
    }
    assert_eq!(world.requests("ReceiveMessage"), 0, "{words:?}");
    if ended.result.is_null() {
        // A setting that cannot be understood: there is no route yet.
        return;
    }
    assert_eq!(ended.result["outcome"], "refused", "{}", ended.result);
    assert_eq!(ended.result["exit_code"], 2);
    assert_eq!(ended.route()["outcome"], "refused");
    assert!(line.ends_with(ended.message()), "{}", ended.result);
    assert_eq!(ended.figure("received"), 0);
}

/// Asserts that the result says so too.
#[track_caller]
fn refused_with_result(world: &World, ended: &Ended, words: &[&str]) {
    refused(world, ended, words);
    assert!(ended.result.is_object(), "no result: {}", ended.stderr);
}

#[tokio::test]
async fn queues_that_cannot_be_drained() {
    let world = World::start().await;
    world.park(WAIT, samples(5));
    world.queue("wait.fifo", &[("FifoQueue", "true")]);
    world.queue("schedule.fifo", &[("FifoQueue", "true")]);
    let url = world.queue("twice", &[]);
    world.queue("dead", &[]);
    world.queue(
        "impatient",
        &[(
            "RedrivePolicy",
            r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dead","maxReceiveCount":"1"}"#,
        )],
    );
    let cases: &[(&[&str], &[&str])] = &[
        (
            &["--from", "nowhere"],
            &["source queue 'nowhere'", "does not exist"],
        ),
        (
            &["--to", "nowhere"],
            &["destination queue 'nowhere'", "does not exist"],
        ),
        (
            &["--reject", "nowhere"],
            &["reject queue 'nowhere'", "does not exist"],
        ),
        (
            &["--delivery", "at-most-once", "--hold", "nowhere"],
            &["hold queue 'nowhere'", "does not exist"],
        ),
        (
            &["--to", WAIT],
            &["wait is both the source and the destination"],
        ),
        (
            &["--from", "twice", "--to", &url],
            &["twice is both the source and the destination"],
        ),
        (
            &["--from", "wait.fifo"],
            &["FIFO", "--allow-fifo-to-standard"],
        ),
        (&["--to", "schedule.fifo"], &["FIFO", "--group-from"]),
        (&["--from", "impatient"], &["maxReceiveCount 1"]),
    ];
    for (args, words) in cases {
        let ended = world.run(args).ended().await;
        refused(&world, &ended, words);
    }
}

#[tokio::test]
async fn settings_that_make_no_sense() {
    let world = World::start().await;
    world.park(WAIT, samples(5));
    let cases: &[(&[&str], &[&str])] = &[
        (&["--visibility", "5s"], &["--visibility", "too short"]),
        (&["--window", "25:00-26:00", "--zone", "UTC"], &["25:00"]),
        (
            &["--window", "08:00-21:00", "--zone", "Asia/Seol"],
            &["Asia/Seol"],
        ),
        (&["--rate", "fast"], &["--rate", "fast"]),
        (&["--rate", "0"], &["--rate"]),
        (&["--delivery", "at-most-once"], &["--hold"]),
        (&["--poll", "15s"], &["--poll", "--grace"]),
    ];
    for (args, words) in cases {
        let ended = world.run(args).ended().await;
        refused(&world, &ended, words);
    }
    let file = |text: &str| {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        file
    };
    let route = "[route.wait]\nfrom = 'wait'\nto = ['schedule']\nno_journal = true\n";
    for (text, words) in [
        (
            "visiblity = '60s'",
            &["visiblity", "visibility", "line 5"][..],
        ),
        ("rate = 'many'", &["rate", "many"]),
        ("window = 8", &["window"]),
        ("window = ['2026-12-25 08:00-09:00']", &["window"]),
        ("= nonsense", &["line 5"]),
    ] {
        let file = file(&format!("{route}{text}\n"));
        let path = file.path().to_str().expect("a path");
        let ended = world.run(&["--config", path]).ended().await;
        refused(&world, &ended, words);
    }
}

#[tokio::test]
async fn tables_that_cannot_be_used() {
    let world = World::start().await;
    world.park(WAIT, samples(5));
    let dynamo = aws_sdk_dynamodb::Client::from_conf(
        aws_sdk_dynamodb::Config::builder()
            .behavior_version(aws_sdk_dynamodb::config::BehaviorVersion::latest())
            .region(aws_sdk_dynamodb::config::Region::new("us-east-1"))
            .credentials_provider(aws_sdk_dynamodb::config::Credentials::new(
                "test", "test", None, None, "test",
            ))
            .endpoint_url(&world.endpoints.dynamo_url)
            .build(),
    );
    dynamo
        .create_table()
        .table_name("orders")
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(
            AttributeDefinition::builder()
                .attribute_name("order")
                .attribute_type(ScalarAttributeType::S)
                .build()
                .expect("a definition"),
        )
        .key_schema(
            KeySchemaElement::builder()
                .attribute_name("order")
                .key_type(KeyType::Hash)
                .build()
                .expect("a key"),
        )
        .send()
        .await
        .expect("a table");
    let args = ["--table", "nowhere", "--run-id", "r"];
    let ended = world.run(&args).ended().await;
    assert_eq!(ended.route()["run_id"], "r", "{}", ended.result);
    refused_with_result(
        &world,
        &ended,
        &[
            "table 'nowhere' does not exist",
            "sqs-drain init --table nowhere",
        ],
    );
    let ended = world.run(&["--table", "orders"]).ended().await;
    let words = [
        "table 'orders' is not a checkpoint table",
        "use another name, `sqs-drain init --table NAME` creates it",
    ];
    refused_with_result(&world, &ended, &words);
    for line in [
        "init --table orders".to_owned(),
        "status r --table orders".to_owned(),
        format!("pause --from {WAIT} --table orders"),
        format!("check --from {WAIT} --to {SCHEDULE} --table orders"),
        format!("plan --from {WAIT} --to {SCHEDULE} --table orders"),
    ] {
        call(&world, &line).await.exits(2).says(&words);
    }
    let denied = Rule::dynamo("DescribeTable").error(400, "AccessDeniedException");
    world.endpoints.add_rule(denied);
    let ended = world.run(&[]).ended().await;
    refused(&world, &ended, &["no access to the table", "AccessDenied"]);
}

#[tokio::test]
async fn without_credentials_or_region_or_permission() {
    let world = World::start().await;
    world.park(WAIT, samples(5));
    let ended = world
        .run_in(&[], &[("AWS_ACCESS_KEY_ID", "")])
        .ended()
        .await;
    refused(
        &world,
        &ended,
        &["there are no AWS credentials: give the job a role, or set AWS_PROFILE"],
    );
    let ended = world.run_in(&[], &[("AWS_REGION", "")]).ended().await;
    refused(&world, &ended, &["AWS_REGION"]);
    for action in ["GetQueueUrl", "GetQueueAttributes"] {
        let denied = Rule::sqs(action).error(403, "AccessDeniedException");
        let rule = world.endpoints.add_rule(denied);
        let ended = world.run(&[]).ended().await;
        refused(
            &world,
            &ended,
            &["no access to the source queue 'wait'", "policy"],
        );
        world.endpoints.faults().remove(rule);
    }
    // The destination alone is denied.
    let denied = Rule::sqs("GetQueueAttributes").queue(SCHEDULE);
    world
        .endpoints
        .add_rule(denied.error(403, "AccessDeniedException"));
    let ended = world.run(&[]).ended().await;
    refused(
        &world,
        &ended,
        &["no access to the destination queue 'schedule'"],
    );
}

/// What the environment says wrong is no trouble of the network, which a scheduler would try again.
#[tokio::test]
async fn an_environment_that_cannot_be_meant() {
    let world = World::start().await;
    world.park(WAIT, samples(5));
    let (sqs, dynamo) = (&world.endpoints.sqs_url, &world.endpoints.dynamo_url);
    let home = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(home.path().join(".aws")).expect("a directory");
    let config = "[profile work]\nregion = us-east-1\n";
    std::fs::write(home.path().join(".aws/config"), config).expect("written");
    let home = home.path().to_str().expect("a path");
    let bare = sqs.trim_start_matches("http://");
    type Environment<'a> = &'a [(&'a str, &'a str)];
    let cases: &[(Environment, &[&str])] = &[
        (
            &[("AWS_ENDPOINT_URL_SQS", bare)],
            &[
                "AWS_ENDPOINT_URL_SQS=127.0.0.1:",
                "is not a URL: write it with http://",
            ],
        ),
        (
            &[("AWS_ENDPOINT_URL", "localhost")],
            &["AWS_ENDPOINT_URL=localhost is not a URL"],
        ),
        (
            &[("AWS_REGION", "us east 1")],
            &["AWS_REGION=us east 1 is not a region of AWS: set AWS_REGION to one such as"],
        ),
        (
            &[
                ("AWS_PROFILE", "nosuch"),
                ("HOME", home),
                ("AWS_ACCESS_KEY_ID", ""),
            ],
            &[
                "AWS_PROFILE=nosuch is not a profile",
                ": name one of work, or unset it",
            ],
        ),
        (
            &[("AWS_PROFILE", "nosuch"), ("AWS_ACCESS_KEY_ID", "")],
            &[
                "AWS_PROFILE=nosuch is not a profile",
                "they have none, unset it",
            ],
        ),
        (
            // What is asked of the wrong service is not what the worker needs: it does not belong in the record.
            &[
                ("AWS_ENDPOINT_URL_SQS", dynamo),
                ("AWS_ACCESS_KEY_ID", HARNESS),
            ],
            &[
                "what answers for SQS is another service",
                "set AWS_ENDPOINT_URL_SQS",
            ],
        ),
        (
            &[
                ("AWS_ENDPOINT_URL_DYNAMODB", sqs),
                ("AWS_ACCESS_KEY_ID", HARNESS),
            ],
            &[
                "what answers for DynamoDB is another service",
                "set AWS_ENDPOINT_URL_DYNAMODB",
            ],
        ),
    ];
    for (env, words) in cases {
        let ended = world.run_in(&[], env).ended().await;
        refused_with_result(&world, &ended, words);
    }
    // With keys in the environment a profile need not be there.
    let keys = [("AWS_PROFILE", "nosuch"), ("HOME", home)];
    world.run_in(&[], &keys).ended().await.exits(0);
    let env = [("AWS_REGION", "us east 1")];
    for line in [
        format!("status r --table {TABLE}"),
        format!("init --table {TABLE}"),
        format!("plan {}", crate::ops::route()),
        format!("check {}", crate::ops::route()),
        format!("doubts settle --drop --all {}", crate::ops::route()),
    ] {
        let done = call_in(&world, &line, &env).await;
        done.exits(2)
            .says(&["AWS_REGION=us east 1 is not a region"]);
    }
}

#[tokio::test]
async fn nobody_answers_at_the_endpoint() {
    let world = World::start().await;
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|l| l.local_addr())
        .expect("a port")
        .port();
    let url = format!("http://127.0.0.1:{port}");
    let env = [("AWS_ENDPOINT_URL_SQS", url.as_str())];
    let ended = world.run_in(&[], &env).ended().await;
    assert_eq!(ended.code, Some(7), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("cannot be reached"),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn a_source_that_another_run_is_draining() {
    let world = World::start().await;
    let parked = world.park(WAIT, samples(1_000));
    let first = world.run(&["--run-id", "first", "--rate", "100"]);
    world.arrived(SCHEDULE, 50).await;
    // Another run, the same run with another rate, and with another window.
    for (args, difference) in [
        (&["--run-id", "second", "--rate", "100"][..], ""),
        (
            &["--run-id", "first", "--rate", "200"],
            " with other settings (--rate: 100 there, 200 here)",
        ),
        (
            &[
                "--run-id",
                "first",
                "--rate",
                "100",
                "--zone",
                "UTC",
                "--holidays",
                "2026-01-01",
            ],
            " with other settings (--holidays: none there, 2026-01-01 here; --zone: none there, UTC here)",
        ),
    ] {
        let ended = world.run(args).ended().await.exits(2);
        let message = ended.message();
        let words = format!("is being drained by the run 'first'{difference}: wait");
        assert!(message.contains(&words), "{message}");
        let hint = format!("(`sqs-drain status first --table {TABLE}` shows it)");
        assert!(message.ends_with(&hint), "{message}");
        assert_eq!(paste(&world, message).await, 1, "{message}");
        assert_eq!(ended.route()["requests"]["receive"], 0);
        assert_eq!(ended.figure("received"), 0);
    }
    assert!(world.len(WAIT) > 0, "the first was at it all the time");
    eventually("the first goes on", || world.accepted(SCHEDULE) > 300).await;
    first.signal(libc::SIGTERM);
    first.ended().await.exits(6);
    // It has left: another run may begin.
    world.run(&["--run-id", "second"]).ended().await.exits(0);
    world.audit(&parked, &[SCHEDULE]).is_exact();
}

#[tokio::test]
async fn another_queue_under_the_name_of_a_run() {
    let world = World::start().await;
    world.queue("other", &[]);
    let parked = world.park("other", samples(20));
    world.run(&[]).ended().await.exits(0);
    // The first is over, but its record is this morning's: `status` would add the two up.
    let ended = world.run(&["--from", "other"]).ended().await.exits(2);
    let message = ended.message();
    assert!(
        message.contains("another source queue") && message.contains("--run-id"),
        "{message}"
    );
    assert!(ended.stderr.contains("--run-id"), "{}", ended.stderr);
    assert_eq!(ended.route()["requests"]["receive"], 0);
    let named = world.run(&["--from", "other", "--run-id", "other"]);
    named.ended().await.exits(0);
    world.audit(&parked, &[SCHEDULE]).is_exact();
}

#[tokio::test]
async fn a_result_file_that_cannot_be_written() {
    let world = World::start().await;
    world.park(WAIT, samples(5));
    let nowhere = ["--result", "/nowhere/at/all/result.json"];
    let ended = world.run(&nowhere).ended().await;
    refused(&world, &ended, &["/nowhere/at/all/result.json"]);
    let said = ended.stderr.matches("/nowhere/at/all/result.json").count();
    assert_eq!(said, 1, "{}", ended.stderr);
}

#[tokio::test]
async fn a_refusal_is_a_result_too() {
    let world = World::start().await;
    world.queue("a", &[]);
    world.queue("b", &[]);
    let place = tempfile::tempdir().expect("a directory");
    let written = place.path().join("result.json");
    let file = place.path().join("routes.toml");
    let routes = format!(
        "table = '{TABLE}'\n[defaults]\nwindow = 'always'\n[route.good]\nfrom = 'a'\nto = 'b'\n[route.bad]\nfrom = 'nowhere'\nto = 'b'\n"
    );
    std::fs::write(&file, routes).expect("written");
    let path = |p: &std::path::Path| p.to_str().expect("a path").to_owned();
    let (file, result) = (path(&file), path(&written));
    let ended = world.run(&["--config", &file, "--result", &result]);
    let ended = ended.ended().await.exits(2);
    assert_eq!(ended.result["outcome"], "refused", "{}", ended.result);
    for route in ["good", "bad"] {
        let report = ended.named(route);
        assert_eq!(
            (&report["outcome"], &report["result"]),
            (&json!("refused"), &json!(false))
        );
        let message = report["message"].as_str().expect("words");
        assert!(
            message.contains("route 'bad': the source queue 'nowhere' does not exist"),
            "{message}"
        );
    }
    let file = std::fs::read_to_string(&written).expect("the result file");
    assert_eq!(file, ended.stdout);
    // AWS that cannot be reached is one as well.
    let env = [("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:9")];
    let ended = world.run_in(&[], &env).ended().await.exits(7);
    assert_eq!(ended.route()["outcome"], "unavailable", "{}", ended.result);
    assert_eq!(ended.route()["rate"]["average"], serde_json::Value::Null);
}
