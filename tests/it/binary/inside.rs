//! The same drain with the same AWS adapters, run inside the test: for what needs another clock, or a quiet time shorter than
//! the program's own minute.

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqs_drain::aws::clock::SystemClock;
use sqs_drain::aws::{self, Aws};
use sqs_drain::drain::settings::{Cutoff, Destination, GroupFrom, Settings, Timings};
use sqs_drain::drain::{Wiring, run};
use sqs_drain::exit::ExitCode;
use sqs_drain::journal::Delivery;
use sqs_drain::ledger::source_name;
use sqs_drain::local::sqs::message::NewMessage;
use sqs_drain::local::sqs::queue::State;
use sqs_drain::local::{EntryFault, Rule};
use sqs_drain::message::BATCH_BYTES;
use sqs_drain::port::{Clock, Moment, Ports, WallTimes};
use sqs_drain::report::RouteReport;
use sqs_drain::rules::Rules;
use sqs_drain::stop::Stop;
use sqs_drain::window::Window;
use tokio::task::LocalSet;

use super::world::{SCHEDULE, TABLE, WAIT, World, sample, samples};

/// The real adapters with a clock of the test's.
struct Inside<C>(PhantomData<C>);

impl<C: Clock + 'static> Ports for Inside<C> {
    type Source = aws::sqs::Queue;
    type Sink = aws::sqs::Queue;
    type Store = aws::dynamo::Table;
    type Clock = C;
}

/// The system's clock, with the time of day moved.
struct Moved {
    clock: SystemClock,
    by: TimeDelta,
}

impl Clock for Moved {
    fn now(&self) -> Moment {
        self.clock.now()
    }

    fn wall(&self) -> WallTimes {
        let local = self.clock.wall().local + self.by;
        WallTimes {
            local,
            service: None,
        }
    }

    async fn sleep(&self, duration: Duration) {
        self.clock.sleep(duration).await;
    }

    fn random(&self) -> u64 {
        self.clock.random()
    }
}

/// Waits in the test itself.
async fn wait(ms: u64) {
    SystemClock::default()
        .sleep(Duration::from_millis(ms))
        .await;
}

const TIMINGS: Timings = Timings {
    visibility: Duration::from_secs(12),
    send_timeout: Duration::from_secs(2),
    table_timeout: Duration::from_secs(2),
    margin: Duration::from_secs(1),
    heartbeat: Duration::from_millis(500),
    lease: Duration::from_secs(4),
    poll: Duration::from_secs(1),
    grace: Duration::from_secs(20),
    settle: Duration::from_millis(100),
    settle_checks: 3,
    cutoff_quiet: Duration::from_secs(2),
};

async fn prepared<C: Clock + 'static>(
    aws: &Aws,
    clock: C,
    from: &str,
    to: &[&str],
) -> (Wiring<Inside<C>>, Settings) {
    let clients = aws.clients();
    let source = clients.describe_queue(from).await.expect("the source");
    let mut sinks = Vec::new();
    let mut destinations = Vec::new();
    for name in to {
        let facts = clients.describe_queue(name).await.expect("a destination");
        destinations.push(Destination {
            name: (*name).to_owned(),
            fifo: facts.fifo,
            delay: Duration::ZERO,
            batch_bytes: BATCH_BYTES,
        });
        sinks.push(Rc::new(clients.queue(&facts.url)));
    }
    let wiring = Wiring {
        source: Rc::new(clients.queue(&source.url)),
        sinks,
        reject: None,
        hold: None,
        store: Some(Rc::new(clients.table(TABLE))),
        clock: Rc::new(clock),
    };
    let settings = Settings {
        route: "inside".to_owned(),
        run_id: None,
        shard: 0,
        shards: 1,
        host: "test".to_owned(),
        fingerprint: "test".to_owned(),
        source: source_name(&source.arn),
        source_fifo: source.fifo,
        destinations,
        reject: None,
        hold: None,
        window: Window::always(),
        rate: None,
        burst: None,
        delivery: Delivery::AtLeastOnce,
        cutoff: Cutoff::RunStart,
        start_within: None,
        wait_open: false,
        group_from: GroupFrom::Source,
        original_deduplication: false,
        lanes: 2,
        page: 50,
        timings: TIMINGS,
        rules: Rules::ALL,
    };
    (wiring, settings)
}

#[track_caller]
fn ends_with(report: &RouteReport, exit: ExitCode) {
    assert_eq!(report.exit, exit, "{report:?}");
    assert!(report.balanced, "{report:?}");
}

#[tokio::test]
async fn a_live_producer_does_not_keep_the_run_going_and_what_was_received_is_moved() {
    let world = World::in_real_time().await;
    let parked = world.park(WAIT, samples(500));
    let aws = world.inside(WAIT, &[SCHEDULE]).await;
    let (wiring, settings) = prepared(&aws, aws.clock(), WAIT, &[SCHEDULE]).await;
    // Two hundred a second, for as long as the run goes on.
    let produce = async {
        let mut n = 500;
        loop {
            world
                .endpoints
                .seed(WAIT, (n..n + 10).map(sample))
                .expect("parked");
            n += 10;
            wait(50).await;
        }
    };
    let drain = run(wiring, settings, Stop::default(), |_| {});
    let report = LocalSet::new()
        .run_until(async {
            tokio::select! {
                report = drain => report,
                () = produce => unreachable!("the producer goes on"),
            }
        })
        .await;
    ends_with(&report, ExitCode::Drained);
    let copies: Vec<String> = world.peek(SCHEDULE).into_iter().map(|m| m.body).collect();
    let once: BTreeSet<&String> = copies.iter().collect();
    assert_eq!(once.len(), copies.len(), "nothing twice");
    assert!(
        parked.iter().all(|m| once.contains(&m.body)),
        "everything older than the cut-off is moved"
    );
    assert!(copies.len() > parked.len(), "new ones were moved meanwhile");
    let left = world.peek(WAIT);
    assert!(left.iter().all(|m| m.receive_count == 0), "{report:?}");
    assert!(left.iter().all(|m| !once.contains(&m.body)));
    assert_eq!(report.totals.sent, copies.len() as u64);
}

#[tokio::test]
async fn when_only_a_destination_that_refuses_everything_is_left_the_run_gives_up_with_seven() {
    let world = World::in_real_time().await;
    world.queue("a", &[]);
    world.queue("b", &[]);
    let parked = world.park(WAIT, samples(100));
    let gone = Rule::sqs("SendMessageBatch").queue("b");
    world
        .endpoints
        .add_rule(gone.error(400, "com.amazonaws.sqs#QueueDoesNotExist"));
    let aws = world.inside(WAIT, &["a", "b"]).await;
    let (wiring, settings) = prepared(&aws, aws.clock(), WAIT, &["a", "b"]).await;
    let report = LocalSet::new()
        .run_until(run(wiring, settings, Stop::default(), |_| {}))
        .await;
    ends_with(&report, ExitCode::Unavailable);
    assert_eq!(report.totals.in_doubt, 0);
    assert_eq!(world.len("b"), 0);
    assert_eq!(world.len("a") + world.len(WAIT), 100);
    assert_eq!(report.totals.sent, world.len("a") as u64);
    world
        .audit(&parked, &["a", "b"])
        .nothing_wrong(&BTreeSet::new());
}

#[tokio::test]
async fn in_a_fifo_source_a_refused_message_stops_its_own_group_only() {
    let world = World::in_real_time().await;
    for name in ["wait.fifo", "schedule.fifo"] {
        world.queue(name, &[("FifoQueue", "true")]);
    }
    let ordered = |n: usize| NewMessage {
        group_id: Some(format!("g{}", n % 5)),
        deduplication_id: Some(format!("d{n}")),
        ..NewMessage::new(format!("{n}"))
    };
    world.park("wait.fifo", (0..50).map(ordered));
    let rule = Rule::sqs("SendMessageBatch").fail_entries(|entry| {
        (entry.body == Some("11")).then(|| EntryFault::new("InvalidMessageContents", true))
    });
    world.endpoints.add_rule(rule);
    let aws = world.inside("wait.fifo", &["schedule.fifo"]).await;
    let (wiring, settings) = prepared(&aws, aws.clock(), "wait.fifo", &["schedule.fifo"]).await;
    let report = LocalSet::new()
        .run_until(run(wiring, settings, Stop::default(), |_| {}))
        .await;
    ends_with(&report, ExitCode::FinishedWithRejects);
    let left: Vec<String> = world
        .peek("wait.fifo")
        .into_iter()
        .map(|m| m.body)
        .collect();
    let behind: Vec<String> = (11..50).step_by(5).map(|n| n.to_string()).collect();
    assert_eq!(left, behind, "the refused one and what is behind it");
    assert_eq!(world.len("schedule.fifo"), 50 - behind.len());
    assert_eq!(report.totals.rejected, 1);
}

#[tokio::test]
async fn the_window_closes_by_the_workers_own_clock() {
    let world = World::in_real_time().await;
    let parked = world.park(WAIT, samples(3_000));
    // Twelve seconds before nine in the evening in Seoul.
    let then: DateTime<Utc> = "2026-03-04T11:59:48Z".parse().expect("a time");
    let started = Utc::now();
    let clock = Moved {
        clock: SystemClock::default(),
        by: then - started,
    };
    let closes = started + TimeDelta::seconds(12);
    let aws = world.inside(WAIT, &[SCHEDULE]).await;
    let (wiring, mut settings) = prepared(&aws, clock, WAIT, &[SCHEDULE]).await;
    settings.window =
        Window::parse(&["08:00-21:00".to_owned()], "Asia/Seoul", &[], &[]).expect("a window");
    settings.rate = Some(200.0);
    let report = LocalSet::new()
        .run_until(run(wiring, settings, Stop::default(), |_| {}))
        .await;
    ends_with(&report, ExitCode::WindowClosed);
    assert_eq!(
        report.run_id.as_deref(),
        Some("inside@2026-03-04T08:00+09:00")
    );
    let sends = world.endpoints.accepted_sends(SCHEDULE);
    let last = sends.last().expect("some were sent").0 as i64;
    // The last send begins a margin and a send's timeout before the closing; what is on its way then arrives within the timeout.
    let margin = closes - TimeDelta::seconds(1);
    assert!(last < margin.timestamp_millis(), "{report:?}");
    let left = world.peek(WAIT);
    assert!(left.len() > 500, "{report:?}");
    assert!(left.iter().all(|m| m.state == State::Visible), "released");
    assert_eq!(left.len() + world.len(SCHEDULE), 3_000);
    world
        .audit(&parked, &[SCHEDULE])
        .nothing_wrong(&BTreeSet::new());
}
