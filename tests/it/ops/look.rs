//! `init`, `check`, `status`.

use std::rc::Rc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqs_drain::aws;
use sqs_drain::journal::{Entry, Mark, Page, Totals};
use sqs_drain::ledger::{Doing, Grant, Ledger, Registration, RunItem, source_name};
use sqs_drain::local::{Effect, EntryFault, Rule};
use sqs_drain::message::Id;
use sqs_drain::port::{Clock, Moment, Ports, WallTimes};

use super::{balances, call, call_in, figure, paste, route, status_of, time_of_day};
use crate::binary::world::{SCHEDULE, TABLE, WAIT, World, samples};

#[tokio::test]
async fn init_creates_the_table_once() {
    let world = World::start().await;
    let created = call(&world, "init --table other").await.exits(0);
    assert_eq!(created.out, "");
    assert_eq!(created.err.lines().count(), 1, "{}", created.err);
    created.says(&["'other' created"]);
    let again = call(&world, "init --table other").await.exits(0);
    again.says(&["'other' is there already", "nothing to do"]);
    call(&world, "init").await.exits(2).says(&["--table NAME"]);
    let used = world.run(&["--table", "other"]).ended().await;
    used.exits(0);
}

#[tokio::test]
async fn check_says_one_line_for_each_thing() {
    let world = World::start().await;
    world.park(WAIT, samples(3));
    let done = call(&world, &format!("check {}", route())).await.exits(0);
    for line in done.out.lines() {
        assert!(
            line.starts_with("ok   ") || line.starts_with("warn "),
            "{line}"
        );
    }
    done.says(&[
        "ok   source: wait, standard, 3 messages, account 000000000000 in us-east-1",
        "ok   destination: schedule",
        &format!(
            "ok   aws: region us-east-1, SQS at {} instead of AWS's own endpoint, DynamoDB at {} instead",
            world.endpoints.sqs_url, world.endpoints.dynamo_url
        ),
        "ok   table: checkpoints, items expire",
        "permissions on the source: sqs:DeleteMessage",
        "permissions on the table: dynamodb:PutItem",
        "sqs:ReceiveMessage on the source, sqs:SendMessage",
        "ok   clock: 0.",
    ]);
    assert_eq!(world.requests("ReceiveMessage"), 0);
    assert_eq!(world.len(WAIT), 3);

    let rule = Rule::dynamo("UpdateItem").error(400, "AccessDeniedException");
    let rule = world.endpoints.add_rule(rule);
    call(&world, &format!("check {}", route()))
        .await
        .exits(2)
        .says(&["FAIL permissions on the table: dynamodb:UpdateItem is denied"]);
    world.endpoints.faults().remove(rule);
    let wrong = call(&world, "check --from wait --to wait --table checkpoints").await;
    wrong.exits(2).says(&["FAIL settings: "]);
    let nowhere = [("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:9")];
    call_in(&world, &format!("check {}", route()), &nowhere)
        .await
        .exits(7)
        .says(&["FAIL source: SQS cannot be reached"]);
}

#[tokio::test]
async fn check_tells_all_that_is_wrong() {
    let world = World::start().await;
    let line = format!(
        "check --from {WAIT} --to nowhere,{SCHEDULE} --reject gone --delivery at-most-once --hold away --table none --window always"
    );
    let done = call(&world, &line).await.exits(2).says(&[
        "ok   source: wait",
        "FAIL destination: the destination queue 'nowhere' does not exist",
        "ok   destination: schedule",
        "FAIL hold: the hold queue 'away' does not exist",
        "FAIL reject: the reject queue 'gone' does not exist",
        "ok   permissions on the source: sqs:DeleteMessage",
        "FAIL table: the table 'none' does not exist: check its name, the account and the region (AWS_REGION), or create it with `sqs-drain init --table none`",
        "ok   aws: region us-east-1",
    ]);
    assert_eq!(done.out.matches("FAIL").count(), 4, "{}", done.out);
    assert_eq!(paste(&world, &done.out).await, 1, "{}", done.out);
}

#[tokio::test]
async fn status_tells_doubts_from_messages_that_were_rejected() {
    let world = World::start().await;
    world.queue("reject", &[]);
    world.park(WAIT, samples(5));
    let rule = Rule::sqs("SendMessageBatch").queue(SCHEDULE);
    world.endpoints.add_rule(rule.fail_entries(|entry| {
        (entry.index == 0).then(|| EntryFault::new("InvalidMessageContents", true))
    }));
    let args = ["--run-id", "r", "--reject", "reject", "--lanes", "1"];
    let ended = world.run(&args).ended().await.exits(5);
    let rejected = ended.figure("rejected");
    let words = match rejected {
        1 => "1 message was rejected".to_owned(),
        n => format!("{n} messages were rejected"),
    };
    assert_eq!(ended.message(), format!("{words}: see reject"));
    // Too short a time for a figure.
    assert_eq!(ended.route()["rate"]["average"], serde_json::Value::Null);
    let text = call(&world, &format!("status r --table {TABLE}")).await;
    let text = text.exits(0).out;
    assert!(text.contains(&format!("  {words}\n")), "{text}");
    assert!(
        !text.contains("held\n") && !text.contains("doubts list"),
        "{text}"
    );
    let listed = format!("listed by `sqs-drain status --json r --table {TABLE}`");
    assert!(text.contains(&listed), "{text}");
    assert_eq!(paste(&world, &text).await, 1, "{text}");
    let status = status_of(&world, "r").await;
    let listed = status["doubts"].as_array().expect("a list");
    assert_eq!(listed.len() as u64, rejected, "{status}");
    assert!(listed.iter().all(|d| d["state"] == "rejected"), "{status}");
}

#[tokio::test]
async fn check_holds_this_machines_clock_against_the_services() {
    let world = World::at(time_of_day() - chrono::Duration::seconds(100)).await;
    call(&world, &format!("check {}", route()))
        .await
        .exits(2)
        .says(&["FAIL clock: "]);
    let world = World::at(time_of_day() + chrono::Duration::seconds(15)).await;
    call(&world, &format!("check {}", route()))
        .await
        .exits(0)
        .says(&["warn clock: "]);
}

#[tokio::test]
async fn status_tells_of_a_run_that_ended_from_the_table_alone() {
    let world = World::start().await;
    world.park(WAIT, samples(200));
    world.run(&["--run-id", "r"]).ended().await.exits(0);
    let nowhere = [("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:9")];
    let line = format!("status r --table {TABLE} --json");
    let status = call_in(&world, &line, &nowhere).await.exits(0).json();
    assert_eq!(status["outcome"], "drained", "{status}");
    assert_eq!(status["exit_code"], 0);
    let route = &status["routes"]["default"];
    balances(route);
    assert_eq!(figure(route, "sent"), 200);
    assert_eq!(route["shards"][0]["state"], "ended");
    assert_eq!(route["shards"][0]["stop"], "ended");
    assert_eq!(figure(&route["shards"][0]["totals"], "sent"), 200);

    // By its source, for people.
    let line = format!("status --from {WAIT} --table {TABLE}");
    call(&world, &line)
        .await
        .exits(0)
        .says(&["run r: drained", "200 received = 200 sent"]);
    call(&world, &format!("status nosuch --table {TABLE}"))
        .await
        .exits(2)
        .says(&["knows no run 'nosuch'"]);
    call(&world, &format!("status --table {TABLE}"))
        .await
        .exits(2)
        .says(&["no run is named"]);
    call(&world, &format!("status --from {SCHEDULE} --table {TABLE}"))
        .await
        .exits(2)
        .says(&[
            "knows no run of the source 'schedule': check --from and --table; there is none before the first `sqs-drain run`",
        ]);
}

#[tokio::test]
async fn status_accounts_for_a_run_under_way_and_after_a_kill() {
    let world = World::start().await;
    world.park(WAIT, samples(2_000));
    let slow = Rule::sqs("SendMessageBatch").then(Effect::DelayAfter(Duration::from_millis(40)));
    world.endpoints.add_rule(slow);
    let worker = world.run(&["--run-id", "r", "--lanes", "4"]);
    world.arrived(SCHEDULE, 300).await;
    let status = status_of(&world, "r").await;
    balances(&status);
    assert_eq!(status["outcome"], "running", "{status}");
    assert_eq!(status["shards"][0]["state"], "living", "{status}");
    assert!(figure(&status, "in_hand") > 0, "{status}");
    worker.kill();
    let status = status_of(&world, "r").await;
    balances(&status);
    let told = figure(&status, "sent") + figure(&status, "in_doubt") + figure(&status, "in_hand");
    assert!(
        told >= world.accepted(SCHEDULE),
        "nothing that arrived is unaccounted for: {status}"
    );
}

/// The real ports with a clock that stands in the past.
struct Past;

struct Standing(DateTime<Utc>);

impl Ports for Past {
    type Source = aws::sqs::Queue;
    type Sink = aws::sqs::Queue;
    type Store = aws::dynamo::Table;
    type Clock = Standing;
}

impl Clock for Standing {
    fn now(&self) -> Moment {
        Moment::default()
    }
    fn wall(&self) -> WallTimes {
        WallTimes {
            local: self.0,
            service: None,
        }
    }
    async fn sleep(&self, _: Duration) {}
    fn random(&self) -> u64 {
        7
    }
}

/// A process that registered an hour ago, in a run with such a lease.
async fn registered_an_hour_ago(world: &World, lease: &str) -> (Ledger<Past>, Registration) {
    let clients = world.aws.clients();
    let source = source_name(&clients.describe_queue(WAIT).await.expect("a queue").arn);
    let past = time_of_day() - chrono::Duration::hours(1);
    let table = Rc::new(clients.table(TABLE));
    let ledger: Ledger<Past> = Ledger::new(table, Rc::new(Standing(past)), source.clone());
    let run = RunItem {
        route: "default".to_owned(),
        source,
        settings: format!(r#"{{"--lease":"{lease}"}}"#),
        since_ms: past.timestamp_millis(),
        epoch: 1,
        rate: -1,
        ..RunItem::default()
    };
    ledger.create_run("r", &run).await.expect("a run");
    let me = Registration {
        process: "P".to_owned(),
        run: "r".to_owned(),
        shard: 3,
        since_ms: 0,
        host: "somewhere".to_owned(),
    };
    ledger
        .register(&me, 2, Grant::default())
        .await
        .expect("registered");
    (ledger, me)
}

#[tokio::test]
async fn a_process_is_taken_for_dead_after_two_leases_of_its_own_run() {
    for (lease, outcome, state) in [
        ("1700s", "died", "dead?"),
        ("1900s", "silent", "silent"),
        ("3700s", "running", "living"),
    ] {
        let world = World::start().await;
        let (ledger, _) = registered_an_hour_ago(&world, lease).await;
        let status = status_of(&world, "r").await;
        assert_eq!(status["outcome"], outcome, "{lease}");
        assert_eq!(status["shards"][0]["state"], state, "{lease}");
        let message = status["message"].as_str().unwrap_or_default();
        if outcome == "silent" {
            assert!(
                message.contains("has shown for 36")
                    && message.ends_with("count as dead after 3800 s"),
                "{message}"
            );
        }
        // Whom a pause reaches is told by the same ages.
        let told = match outcome {
            "died" => {
                "the run 'r' paused; nobody works on it now, and it holds from the next start"
            }
            "silent" => "it holds from the next start",
            _ => "the run 'r' paused; its process follows with its next heartbeat",
        };
        let line = format!("pause r --table {TABLE}");
        call(&world, &line).await.exits(0).says(&[told]);
        let text = call(&world, &format!("status r --table {TABLE}")).await;
        let headline = match outcome {
            "died" => "run r: died, paused\n",
            _ => "run r: paused\n",
        };
        let text = text.exits(0).says(&[headline]);
        assert_eq!(paste(&world, &text.out).await, 1, "{}", text.out);
        assert_eq!(
            ledger.run("r").await.expect("a run").map(|r| r.paused),
            Some(false)
        );
        let line = format!("rate 5 r --table {TABLE}");
        let rate = call(&world, &line).await.exits(0);
        assert_eq!(
            rate.err.contains("nobody works on it now"),
            outcome == "died",
            "{}",
            rate.err
        );
    }
}

#[tokio::test]
async fn status_counts_what_a_dead_process_left_although_nobody_has_swept_it() {
    let world = World::start().await;
    let (ledger, me) = registered_an_hour_ago(&world, "2s").await;
    let entry = |id: &str, mark| Entry {
        id: Id::of(id),
        mark,
        attempt: 0,
    };
    let page = Page {
        entries: vec![
            entry("a", Mark::Prepared),
            entry("b", Mark::Prepared),
            entry("c", Mark::Sent),
            entry("d", Mark::InDoubt),
        ],
        totals: Totals {
            received: 14,
            sent: 11,
            in_doubt: 1,
            ..Totals::default()
        },
    };
    ledger.write_page("P", 0, 1, &page).await.expect("a page");
    ledger
        .beat("P", 1, &Doing::default())
        .await
        .expect("a beat");
    // Another of its lanes was folded already, by a sweeper that died in the middle.
    let lane = Totals {
        received: 5,
        sent: 5,
        ..Totals::default()
    };
    ledger
        .fold(&me, None, &[(1, 0, lane)])
        .await
        .expect("folded");

    let status = status_of(&world, "r").await;
    balances(&status);
    assert_eq!(status["outcome"], "died", "{status}");
    assert_eq!(status["shards"][0]["state"], "dead?", "{status}");
    assert_eq!(status["shards"][0]["host"], "somewhere");
    let figures = ["received", "sent", "in_doubt", "in_hand"].map(|f| figure(&status, f));
    assert_eq!(figures, [19, 16, 3, 0], "{status}");
    let doubts = status["doubts"].as_array().expect("a list");
    assert_eq!(doubts.len(), 3, "{status}");
    assert!(doubts.iter().all(|d| d["state"] == "in_doubt"), "{status}");
    // Looking has changed nothing.
    assert_eq!(ledger.pages("P").await.expect("pages").len(), 2);
    assert_eq!(ledger.listed("r").await, Ok(Vec::new()));
    let list = super::call(&world, &format!("doubts list r --table {TABLE} --json")).await;
    assert_eq!(list.exits(0).out.lines().count(), 3);
    let text = call(&world, &format!("status r --table {TABLE}")).await;
    let text = text.exits(0).out;
    let listed =
        format!("  3 doubts, still open, listed by `sqs-drain doubts list r --table {TABLE}`");
    assert!(text.contains(&listed), "{text}");
    assert_eq!(paste(&world, &text).await, 1, "{text}");
}

/// What is written into a pipe that nobody reads any more is not complained of.
#[tokio::test]
async fn a_reader_that_has_gone_is_no_error() {
    for args in [&["man"][..], &["completions", "bash"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_sqs-drain"));
        command.args(args).env_clear().stdout(writer);
        let done = command.output().expect("the binary runs");
        let err = String::from_utf8_lossy(&done.stderr);
        assert_eq!((done.status.code(), &*err), (Some(0), ""), "{args:?}");
    }
}
