//! `doubts list` and `doubts settle`: each doubt ends once, and nothing that was not asked for changes.

use std::time::Duration;

use sqs_drain::journal::{Entry, Fact, Mark, Page, RecordState, Totals};
use sqs_drain::ledger::{Grant, Listed, Registration, RunItem};
use sqs_drain::local::sqs::queue::State;
use sqs_drain::local::{Effect, Peeked, Rule};
use sqs_drain::message::Id;
use sqs_drain::port::Source;

use super::{Done, call, call_in, route, time_of_day};
use crate::binary::harness::TIMINGS;
use crate::binary::world::{SCHEDULE, TABLE, WAIT, World, sample, samples};

/// `n` messages in the source whose first send, long ago and by somebody else, may have reached the destination.
async fn in_doubt(world: &World, n: usize) -> Vec<Peeked> {
    let parked = world.park(WAIT, samples(n));
    let clients = world.aws.clients();
    let url = clients.describe_queue(WAIT).await.expect("a queue").url;
    let source = clients.queue(url);
    let mut received = 0;
    while received < n {
        let visibility = Duration::from_secs(15);
        let some = source.receive(10, Duration::ZERO, visibility).await;
        received += some.expect("an answer").len();
    }
    world.let_visibility_pass().await;
    let ledger = world.ledger().await;
    assert_eq!(ledger.take_owner(None, "r").await, Ok(true));
    let run = RunItem {
        route: "default".to_owned(),
        source: ledger.source().to_owned(),
        settings: "{}".to_owned(),
        epoch: 1,
        rate: -1,
        ..RunItem::default()
    };
    ledger.create_run("r", &run).await.expect("a run");
    for message in &parked {
        let id = Id::of(&message.id.to_string());
        ledger
            .add_fact(id, Fact::Doubt(0), "P")
            .await
            .expect("written");
        let listed = Listed {
            id,
            state: RecordState::InDoubt,
            code: None,
        };
        ledger.list("r", &listed).await.expect("written");
    }
    parked
}

async fn settle(world: &World, words: &str, flags: &str) -> Done {
    let timings = TIMINGS.join(" ");
    call(
        world,
        &format!("doubts settle {words} {} {flags} {timings}", route()),
    )
    .await
}

const HOLD: &str = "--delivery at-most-once --hold hold";

#[tokio::test]
async fn a_dropped_doubt_is_only_deleted_by_the_next_run() {
    let world = World::start().await;
    let parked = in_doubt(&world, 2).await;
    let (first, second) = (parked[0].id.to_string(), parked[1].id.to_string());
    let list = call(&world, &format!("doubts list r --table {TABLE}")).await;
    list.exits(0).says(&[
        &first,
        &second,
        "in_doubt",
        "by P",
        "may have been delivered",
    ]);

    let refused = settle(&world, &format!("--send {first}"), "")
        .await
        .exits(2);
    refused.says(&["refused: it is still in the source: the next run sends it again anyway"]);
    let dropped = settle(&world, &format!("--drop {first}"), "")
        .await
        .exits(0);
    dropped.says(&[
        &format!("{first} dropped: its next delivery is only deleted"),
        "1 dropped",
    ]);
    let again = settle(&world, &format!("--drop {first}"), "")
        .await
        .exits(0);
    again.says(&[&format!("{first} already: dropped")]);
    let unknown = settle(&world, "--drop nosuch", "").await.exits(2);
    unknown.says(&["the table knows nothing of it"]);

    let ended = world.run(&["--run-id", "r"]).ended().await.exits(0);
    assert_eq!(ended.figure("deduplicated"), 1);
    assert_eq!(ended.figure("possible_duplicates"), 1);
    let arrived = world.peek(SCHEDULE);
    assert_eq!(arrived.len(), 1);
    assert_eq!(arrived[0].body, parked[1].body);
}

#[tokio::test]
async fn held_messages_are_settled_once_each() {
    let world = World::start().await;
    let hold = "hold";
    world.queue(hold, &[]);
    let parked = in_doubt(&world, 4).await;
    let ids: Vec<String> = parked.iter().map(|p| p.id.to_string()).collect();
    let args = [
        "--run-id",
        "r",
        "--delivery",
        "at-most-once",
        "--hold",
        hold,
    ];
    let ended = world.run(&args).ended().await.exits(5);
    assert_eq!(ended.figure("held"), 4);
    assert_eq!((world.len(hold), world.len(SCHEDULE)), (4, 0));
    world.park(hold, [sample(99)]);
    let list = call(
        &world,
        &format!("doubts list --from {WAIT} --table {TABLE}"),
    )
    .await;
    list.exits(0)
        .says(&["held", "may also have been delivered"]);
    let elsewhere = settle(&world, "--drop --all", "").await.exits(2);
    elsewhere.says(&[
        "the run 'r' was drained with other settings (--delivery: at-most-once there, at-least-once here; --hold: ",
        "write --hold hold --delivery at-most-once",
    ]);

    // Sent: a faithful copy, once.
    settle(&world, &format!("--send {}", ids[0]), HOLD)
        .await
        .exits(0)
        .says(&[
            &format!("{} sent: to schedule", ids[0]),
            "1 sent, 0 dropped",
        ]);
    let copy = &world.peek(SCHEDULE)[0];
    let of = |p: &Peeked| {
        (
            p.body.clone(),
            p.attributes.clone(),
            p.trace_header.clone(),
            p.group_id.clone(),
        )
    };
    assert_eq!(of(copy), of(&parked[0]));
    settle(&world, &format!("--send {}", ids[0]), HOLD)
        .await
        .exits(0)
        .says(&["already: settled"]);
    assert_eq!((world.len(hold), world.len(SCHEDULE)), (4, 1));

    // Dropped: gone from the hold queue, never sent.
    settle(&world, &format!("--drop {}", ids[1]), HOLD)
        .await
        .exits(0)
        .says(&["dropped: its copy is out of the hold queue"]);
    assert_eq!((world.len(hold), world.len(SCHEDULE)), (3, 1));

    // The answer is lost: told, listed, and sent a second time only on demand.
    let lost = Rule::sqs("SendMessageBatch").queue(SCHEDULE).once();
    world.endpoints.add_rule(lost.then(Effect::DropAfter));
    settle(&world, &format!("--send {}", ids[2]), HOLD)
        .await
        .exits(1)
        .says(&["the answer was lost"]);
    assert_eq!((world.len(hold), world.len(SCHEDULE)), (3, 2));
    settle(&world, &format!("--send {}", ids[2]), HOLD)
        .await
        .exits(2)
        .says(&[
            "refused: sent by hand before, and the answer was not seen",
            "--send --again sends it once more",
        ]);
    assert_eq!((world.len(hold), world.len(SCHEDULE)), (3, 2));
    let list = format!("doubts list --from {WAIT} --table {TABLE}");
    call(&world, &list)
        .await
        .exits(0)
        .says(&["settling", "sent by hand and the answer was not seen"]);
    settle(&world, &format!("--send --again {}", ids[2]), HOLD)
        .await
        .exits(0)
        .says(&["1 sent"]);
    assert_eq!((world.len(hold), world.len(SCHEDULE)), (2, 3));
    call(&world, &list)
        .await
        .exits(0)
        .says(&["settled", "may have been delivered twice"]);
    settle(&world, &format!("--send --again {}", ids[2]), HOLD)
        .await
        .exits(0)
        .says(&["already: settled"]);

    // Surely not sent: it stays as it was, and can be sent later.
    let denied = Rule::sqs("SendMessageBatch").error(403, "AccessDenied");
    let denied = world.endpoints.add_rule(denied);
    settle(&world, "--send --all", HOLD)
        .await
        .exits(1)
        .says(&["not sent (AccessDenied): it stays in the hold queue"]);
    world.endpoints.faults().remove(denied);
    settle(&world, "--send --all", HOLD)
        .await
        .exits(0)
        .says(&["1 sent"]);
    assert_eq!((world.len(hold), world.len(SCHEDULE)), (1, 4));

    // What nobody asked for lies there as before, visible.
    let left = world.peek(hold);
    assert_eq!(
        (left[0].body.clone(), left[0].state),
        (sample(99).body, State::Visible)
    );
    let status = call(&world, &format!("status r --table {TABLE}")).await;
    status.exits(0).says(&["4 doubts, all ended, listed by"]);
    let gone = settle(&world, "--send --all", HOLD).await.exits(0);
    gone.says(&["0 sent, 0 dropped, 0 already"]);
}

#[tokio::test]
async fn nothing_is_sent_by_hand_outside_the_window_or_beside_a_run() {
    let world = World::start().await;
    world.queue("hold", &[]);
    let parked = in_doubt(&world, 1).await;
    let day = time_of_day() + chrono::Duration::days(3);
    let shut = format!(
        "{} 08:00-21:00",
        day.format("%a").to_string().to_lowercase()
    );
    let id = parked[0].id.to_string();
    let flags = format!("--from {WAIT} --to {SCHEDULE} --table {TABLE} --zone UTC {HOLD}");
    let env = [("SQS_DRAIN_WINDOW", shut.as_str())];
    call_in(&world, &format!("doubts settle --send {id} {flags}"), &env)
        .await
        .exits(3)
        .says(&["outside the window nothing is sent: it opens at"]);

    world.park(WAIT, samples(500));
    let args = ["--run-id", "r", "--rate", "20"];
    let hold: Vec<&str> = HOLD.split(' ').collect();
    let worker = world.run(&[&args[..], &hold].concat());
    world.arrived(SCHEDULE, 1).await;
    settle(&world, &format!("--send {id}"), HOLD)
        .await
        .exits(2)
        .says(&["the run 'r' is at the source and uses its rate"]);
    worker.signal(libc::SIGTERM);
    worker.ended().await.exits(6);
}

/// A send by hand goes where and when the run itself would have sent it; the table knows.
#[tokio::test]
async fn doubts_are_settled_with_the_settings_of_their_run() {
    let world = World::start().await;
    world.queue("hold", &[]);
    world.queue("elsewhere", &[]);
    world.park(WAIT, samples(3));
    // The whole day but its last minute, from now on: open, and not always.
    let now = time_of_day();
    let (from, to) = (now, now - chrono::Duration::minutes(1));
    let window = format!("{}-{}", from.format("%H:%M"), to.format("%H:%M"));
    let hold: Vec<&str> = HOLD.split(' ').collect();
    let args = ["--run-id", "r", "--zone", "UTC", "--window", &window];
    let ended = world.run(&[&args[..], &hold].concat()).ended().await;
    ended.exits(0);
    let base = format!("--run-id r --from {WAIT} --table {TABLE}");
    let own = format!("--to {SCHEDULE} {HOLD} --zone UTC --window {window}");
    let send = async |flags: &str| {
        call(
            &world,
            &format!("doubts settle --send --all {base} {flags}"),
        )
        .await
    };
    send(&own).await.exits(0).says(&["0 sent"]);
    for (flags, words) in [
        (
            format!("--to {SCHEDULE} {HOLD}"),
            vec![
                format!("--window: daily {window} there, always here"),
                format!("write --window 'daily {window}' --zone UTC"),
            ],
        ),
        (
            own.replace("UTC", "Asia/Seoul"),
            vec!["--zone: UTC there, Asia/Seoul here".to_owned()],
        ),
        (
            own.replace(SCHEDULE, "elsewhere"),
            vec!["elsewhere here): write --to schedule,".to_owned()],
        ),
        (
            own.replace("hold hold", "hold elsewhere"),
            vec!["elsewhere here): write --hold hold,".to_owned()],
        ),
    ] {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        send(&flags).await.exits(2).says(&words);
    }
    // A run that does not tell its window (another version began it) is taken at its word only if there is one.
    let world = World::start().await;
    in_doubt(&world, 1).await;
    let flags = format!("--from {WAIT} --to {SCHEDULE} --table {TABLE}");
    call(&world, &format!("doubts settle --send --all {flags}"))
        .await
        .exits(2)
        .says(&["does not tell the window of the run 'r'", "--window always"]);
    let nowhere = format!("doubts settle --drop --all --run-id nosuch {flags}");
    call(&world, &nowhere)
        .await
        .exits(2)
        .says(&["knows no run 'nosuch'"]);
}

/// What a dead process was sending is listed before anybody has settled what it left: it is not passed over in silence.
#[tokio::test]
async fn doubts_that_nobody_has_swept_are_refused_one_by_one() {
    let world = World::start().await;
    world.queue("hold", &[]);
    in_doubt(&world, 1).await;
    let ledger = world.ledger().await;
    let me = Registration {
        process: "P".to_owned(),
        run: "r".to_owned(),
        shard: 0,
        since_ms: 0,
        host: String::new(),
    };
    ledger
        .register(&me, 1, Grant::default())
        .await
        .expect("registered");
    let page = Page {
        entries: ["a", "b"]
            .map(|id| Entry {
                id: Id::of(id),
                mark: Mark::Prepared,
                attempt: 0,
            })
            .to_vec(),
        totals: Totals {
            received: 2,
            ..Totals::default()
        },
    };
    ledger.write_page("P", 0, 1, &page).await.expect("a page");
    // Somebody has fenced it, and died before the sweep.
    let number = ledger.beats(&["P".to_owned()]).await.expect("beats")[0]
        .as_ref()
        .expect("a beat")
        .number;
    assert_eq!(ledger.fence("P", number, "Q").await, Ok(true));
    let words =
        "refused: its process died, and nobody has settled what it left: start the run again first";
    let sent = settle(&world, "--send --all", HOLD).await.exits(2);
    assert_eq!(sent.out.matches(words).count(), 2, "{}", sent.out);
    sent.says(&[
        "refused: it is still in the source: the next run puts it into the hold queue",
        "0 sent, 0 dropped, 0 already, 3 refused, 0 failed",
        "3 of the doubts are not in the hold queue yet: start the run again first, it puts them there",
    ]);
    let dropped = settle(&world, "--drop --all", HOLD).await.exits(2);
    dropped.says(&[words, "0 sent, 1 dropped, 0 already, 2 refused, 0 failed"]);
}
