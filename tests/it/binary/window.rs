//! The window: nothing is received before it opens, nothing is sent after it closes. The server's clock, which the worker
//! reads from `Date` headers, is the one a test can choose; the worker's own must be inside as well.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc};
use sqs_drain::local::sqs::queue::State;

use super::world::{SCHEDULE, WAIT, World, samples};

/// A window in UTC, and when it opens and closes, around the present minute.
struct Span {
    text: String,
    opens: DateTime<Utc>,
    closes: DateTime<Utc>,
}

/// From `before` minutes ago until `after` minutes from now.
fn around_now(before: i64, after: i64) -> Span {
    let minute = Utc::now()
        .with_second(0)
        .and_then(|t| t.with_nanosecond(0))
        .expect("a minute");
    let opens = minute - TimeDelta::minutes(before);
    let closes = minute + TimeDelta::minutes(after);
    let text = format!("{}-{}", opens.format("%H:%M"), closes.format("%H:%M"));
    Span {
        text,
        opens,
        closes,
    }
}

fn window(text: &str) -> [&str; 4] {
    ["--window", text, "--zone", "UTC"]
}

#[tokio::test]
async fn outside_the_window_it_says_when_it_opens() {
    let world = World::start().await;
    world.park(WAIT, samples(10));
    let in_two_days = Utc::now() + TimeDelta::days(2);
    let text = format!("{} 08:00-21:00", in_two_days.weekday()).to_lowercase();
    for journal in [&[][..], &["--no-journal"]] {
        let args = [&window(&text)[..], journal].concat();
        let ended = world.run(&args).ended().await.exits(3);
        let date = in_two_days.format("%Y-%m-%d 08:00").to_string();
        let message = ended.message();
        assert!(
            message.contains("outside the window") && message.contains(&date),
            "{message}"
        );
        assert_eq!(ended.route()["outcome"], "outside_window");
        assert_eq!(ended.route()["result"], false);
    }
    assert_eq!(world.requests("ReceiveMessage"), 0);
}

#[tokio::test]
async fn a_run_is_begun_in_time_or_not_at_all_but_may_always_be_gone_on_with() {
    let world = World::start().await;
    let parked = world.park(WAIT, samples(50));
    let span = around_now(60, 120);
    let within = [&window(&span.text)[..], &["--start-within", "5m"]].concat();
    for journal in [&[][..], &["--no-journal"]] {
        let args = [&within[..], journal].concat();
        let ended = world.run(&args).ended().await.exits(3);
        assert!(ended.message().contains("too late"), "{}", ended.message());
    }
    assert_eq!(world.requests("ReceiveMessage"), 0);
    // Begun by hand, it may be gone on with: a retry is no beginning.
    world.run(&window(&span.text)).ended().await.exits(0);
    let more = world.park(WAIT, (50..60).map(super::world::sample));
    let ended = world.run(&within).ended().await.exits(0);
    assert_eq!(ended.figure("sent"), 10);
    let run = format!("default@{}", span.opens.format("%Y-%m-%dT%H:%M"));
    let id = ended.route()["run_id"].as_str().expect("an id");
    assert!(id.starts_with(&run), "{id}, expected {run}");
    world
        .audit(&[parked, more].concat(), &[SCHEDULE])
        .is_exact();
}

#[tokio::test]
async fn the_window_closes_while_draining() {
    let span = around_now(60, 60);
    // The service's clock is ahead: by it the window closes in a quarter of a minute, by the worker's own in an hour.
    let world = World::at(span.closes - TimeDelta::seconds(15)).await;
    let parked = world.park(WAIT, samples(4_000));
    let args = [&window(&span.text)[..], &["--rate", "150"]].concat();
    let ended = world.run(&args).ended().await.exits(4);
    assert!(ended.message().contains("next"), "{}", ended.message());
    assert_eq!(ended.route()["outcome"], "window_closed");

    let sent = world.endpoints.accepted_sends(SCHEDULE);
    let last = sent.last().expect("some were sent").0;
    // No send starts later than a margin and a send's timeout (4 s) before the closing. The worker knows the service's clock
    // to a second after the first answer and to a round trip after some more.
    let limit = span.closes.timestamp_millis() - 4_000 + 1_000;
    assert!(
        (last as i64) < limit,
        "last {} ms before the closing",
        span.closes.timestamp_millis() - last as i64
    );
    let left = world.peek(WAIT);
    assert_eq!(left.len() + world.len(SCHEDULE), 4_000);
    assert!(left.iter().all(|m| m.state == State::Visible), "given back");
    assert!(left.iter().all(|m| m.receive_count <= 1));
    assert_eq!(ended.figure("in_doubt"), 0);
    world
        .audit(&parked, &[SCHEDULE])
        .nothing_wrong(&BTreeSet::new());
    let remaining = &ended.route()["remaining"];
    assert_eq!(remaining["visible"], left.len());
}

#[tokio::test]
async fn by_the_services_clock_the_window_may_be_shut_already() {
    let span = around_now(60, 60);
    let world = World::at(span.closes + TimeDelta::minutes(1)).await;
    world.park(WAIT, samples(10));
    let ended = world.run(&window(&span.text)).ended().await.exits(3);
    assert!(ended.message().contains("outside"), "{}", ended.message());
    assert_eq!(world.requests("ReceiveMessage"), 0);
}

#[tokio::test]
async fn started_early_it_waits_for_the_opening_when_told_to() {
    let span = around_now(10, 60);
    let early = span.opens - TimeDelta::seconds(3);
    let world = World::at(early).await;
    let parked = world.park(WAIT, samples(40));
    let early = world.run(&window(&span.text)).ended().await.exits(3);
    assert!(early.message().contains("opens"), "{}", early.message());
    let args = [&window(&span.text)[..], &["--wait-open"]].concat();
    world.run(&args).ended().await.exits(0);
    world.audit(&parked, &[SCHEDULE]).is_exact();
    let first = world.endpoints.accepted_sends(SCHEDULE)[0].0;
    assert!(first as i64 >= span.opens.timestamp_millis());
}

#[tokio::test]
async fn a_stop_while_waiting_for_the_opening_leaves_at_once() {
    let world = World::start().await;
    let in_two_days = Utc::now() + TimeDelta::days(2);
    let text = format!("{} 08:00-21:00", in_two_days.weekday()).to_lowercase();
    let args = [&window(&text)[..], &["--wait-open"]].concat();
    let mut worker = world.run(&args);
    super::harness::eventually("it waits", || {
        worker.log().contains("waiting for the window to open")
    })
    .await;
    assert!(!worker.has_ended());
    worker.signal(libc::SIGTERM);
    let asked = super::harness::now();
    worker.ended().await.exits(6);
    assert!(asked.elapsed() < Duration::from_secs(10));
    assert_eq!(world.requests("ReceiveMessage"), 0);
}
