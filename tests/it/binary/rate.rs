//! The rate: the average by when the server accepted what, no second above it by the marks of who sent. Messages are counted,
//! not batches.

use chrono::DateTime;
use serde_json::Value;

use super::fleet::{Fleet, numbered};
use super::harness::{PATIENCE, now, pause};
use super::world::{SCHEDULE, WAIT, World, samples};

/// How far two marks may be pushed together by a machine that is busy, in milliseconds.
const JITTER_MS: u64 = 50;

/// When a line of the log was written, in milliseconds.
fn time_of(line: &str) -> u64 {
    let line: Value = serde_json::from_str(line).expect("JSON");
    let at = line["timestamp"].as_str().expect("a time");
    let at = DateTime::parse_from_rfc3339(at).expect("RFC 3339");
    at.timestamp_millis().unsigned_abs()
}

/// When a worker began its sends, and how many messages each had, by its log at the level `trace`.
fn marks(log: &str) -> Vec<(u64, u32)> {
    log.lines()
        .filter(|line| line.contains("a send begins"))
        .map(|line| {
            let said: Value = serde_json::from_str(line).expect("JSON");
            let n = said["fields"]["messages"].as_u64().expect("a number");
            (time_of(line), n as u32)
        })
        .collect()
}

/// The most messages in any second, a jitter less.
fn busiest(sends: &[(u64, u32)]) -> u64 {
    let mut busiest = 0;
    let mut within = std::collections::VecDeque::new();
    let mut sum = 0;
    for (at, n) in sends {
        within.push_back((*at, u64::from(*n)));
        sum += u64::from(*n);
        while let Some((first, n)) = within.front().copied() {
            if at - first < 1_000 - JITTER_MS {
                break;
            }
            sum -= n;
            within.pop_front();
        }
        busiest = busiest.max(sum);
    }
    busiest
}

/// Messages a second between the first and the last send, the burst at the beginning left out.
fn average(sends: &[(u64, u32)], burst: u64) -> f64 {
    let all: u64 = sends.iter().map(|(_, n)| u64::from(*n)).sum();
    let took_ms = sends[sends.len() - 1].0 - sends[0].0;
    (all - burst) as f64 * 1_000.0 / took_ms as f64
}

async fn drains_at(rate: u64, burst: u64, messages: usize, least: f64) {
    let world = World::in_real_time().await;
    let parked = world.park(WAIT, samples(messages));
    let (at, at_once) = (rate.to_string(), burst.to_string());
    let args = ["--rate", &at, "--burst", &at_once, "--log-level", "trace"];
    let ended = world.run(&args).ended().await.exits(0);
    world.audit(&parked, &[SCHEDULE]).is_exact();
    let marks = marks(&ended.stderr);
    let marked: u64 = marks.iter().map(|(_, n)| u64::from(*n)).sum();
    assert_eq!(marked, messages as u64, "each send has its mark");
    let (busiest, average) = (busiest(&marks), average(&marks, burst));
    println!("{average}/s, busiest second {busiest}");
    let most = rate + burst;
    assert!(busiest <= most, "{busiest} in one second at {rate}/s");
    assert!(average <= rate as f64 * 1.01, "{average}/s at {rate}/s");
    assert!(average >= rate as f64 * least, "{average}/s at {rate}/s");
    let told = &ended.route()["rate"];
    assert_eq!(told["limit"], rate as f64);
    // It may be preempted between a batch's place in the rate and its mark: that makes one batch more at most.
    assert!(told["busiest_second"].as_u64() <= Some(most + 10), "{told}");
    // The worker leaves no burst out of its average.
    let said = told["average"].as_f64().expect("a number");
    let whole = average * messages as f64 / (messages as u64 - burst) as f64;
    assert!((said / whole - 1.0).abs() < 0.01, "{said} and {whole}");
}

/// As it is by default: a burst of one batch. That it is no slower depends on the machine, and stands in the next test.
#[tokio::test]
async fn it_never_sends_faster_than_told() {
    drains_at(500, 10, 2_000, 0.0).await;
}

/// What a busy machine delays is made good out of the burst, so this holds on one; at 100/s there are always two seconds' work
/// in hand.
#[tokio::test]
async fn over_twenty_seconds_the_average_is_within_a_hundredth() {
    drains_at(100, 50, 2_000, 0.99).await;
}

/// The same at 500/s and the default burst. There a machine that stands still for more than two hundredths of the time cannot make
/// it good within the promise.
#[tokio::test]
#[ignore = "20 s, on a machine that is not busy otherwise: run with --ignored"]
async fn over_twenty_seconds_at_500_the_average_is_within_a_hundredth() {
    drains_at(500, 10, 10_000, 0.99).await;
}

#[tokio::test]
async fn a_rate_below_a_batch_a_second_makes_small_batches() {
    let world = World::in_real_time().await;
    let parked = world.park(WAIT, samples(25));
    let start = now();
    world.run(&["--rate", "5"]).ended().await.exits(0);
    world.audit(&parked, &[SCHEDULE]).is_exact();
    // The first ten are the burst.
    assert!(start.elapsed().as_secs_f64() >= 3.0);
    let sends = world.endpoints.accepted_sends(SCHEDULE);
    assert!(busiest(&sends) <= 15, "{sends:?}");
    assert!(sends.len() >= 5, "{sends:?}");
}

/// Four shards; one is killed and nobody comes in its place. From two leases later on the others send what it sent.
async fn the_others_take_its_share(coordinator: bool) {
    const RATE: u64 = 100;
    const BURST: u64 = 80;
    const MESSAGES: u64 = 2_600;
    /// Two of the leases that the harness sets.
    const TWO_LEASES_MS: u64 = 8_000;
    /// What the shards have in hand when the source is empty: who has more of it is busy longer, at its own share.
    const LAST: u64 = 150;
    let world = World::in_real_time().await;
    world.park(WAIT, (0..MESSAGES as usize).map(numbered));
    let args = [
        "--rate",
        "100",
        // More than the default 40: what a busy machine delays is made good out of it.
        "--burst",
        "80",
        "--lanes",
        "2",
        "--log-level",
        "trace",
    ];
    let mut fleet = Fleet::start(&world, &args);
    let ledger = world.ledger().await;
    let start = now();
    let (processes, run) = loop {
        assert!(start.elapsed() < PATIENCE, "they never shared the rate");
        let processes = ledger.processes().await.expect("the table");
        let names: Vec<String> = processes.iter().map(|p| p.process.clone()).collect();
        let beats = ledger.beats(&names).await.expect("the table");
        let shares: Vec<i64> = beats.iter().flatten().map(|b| b.doing.share).collect();
        if shares == [25_000; 4] {
            let run = ledger.run("r").await.expect("the table").expect("a run");
            break (processes, run);
        }
        pause().await;
    };
    let holder = run.coordinator.expect("a coordinator");
    let victim = processes
        .iter()
        .find(|p| (p.process == holder) == coordinator)
        .expect("one");
    let mut marks_of_all = marks(&fleet.kill(victim.shard as usize));
    let killed_at = world.endpoints.clock().now_ms();
    let sent_before = world.accepted(SCHEDULE);
    let ended = fleet.drained().await;
    assert_eq!(ended.len(), 3);

    // A machine that is busy enough lets the embedded table fall silent, and then nobody may send: that is not what is measured.
    let outages = ended.iter().flat_map(|e| {
        let again = |line: &&str| line.contains("the checkpoint table answers again");
        e.stderr.lines().filter(again).map(time_of)
    });
    let quiet_from = outages.max().map_or(0, |at| at + 2_000);
    let from = quiet_from.max(killed_at + TWO_LEASES_MS);
    let mut sum = sent_before;
    let measured: Vec<(u64, u32)> = world
        .endpoints
        .accepted_sends(SCHEDULE)
        .into_iter()
        .filter(|(at, _)| *at >= killed_at)
        .filter(|(at, n)| {
            sum += u64::from(*n);
            *at >= from && sum <= MESSAGES - LAST
        })
        .collect();
    let took_ms = measured[measured.len() - 1].0 - measured[0].0;
    let first = u64::from(measured[0].1);
    let average = average(&measured, first);
    println!("{average}/s over {took_ms} ms, coordinator {coordinator}");
    assert!(took_ms > 6_000, "long enough to be measured: {took_ms} ms");
    let said: String = ended
        .iter()
        .flat_map(|e| e.stderr.lines())
        .filter(|line| !line.contains("a send begins"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(average > 0.97 * RATE as f64, "{average}/s\n{said}");
    for ended in &ended {
        marks_of_all.extend(marks(&ended.stderr));
    }
    marks_of_all.sort_unstable();
    let busiest = busiest(&marks_of_all);
    println!("busiest second {busiest}");
    assert!(busiest <= RATE + BURST, "{busiest} in one second");
}

#[tokio::test]
async fn when_a_shard_dies_the_others_take_its_share_within_two_leases() {
    the_others_take_its_share(false).await;
}

#[tokio::test]
async fn when_the_coordinator_dies_the_others_take_its_share_within_two_leases() {
    the_others_take_its_share(true).await;
}
