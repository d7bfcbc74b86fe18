//! The rate, by when the server accepted what: messages are counted, not batches.

use super::harness::now;
use super::world::{SCHEDULE, WAIT, World, samples};

/// How far two requests may be pushed together on their way by a machine that is busy, in milliseconds.
const JITTER_MS: u64 = 50;

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

async fn drains_at(rate: u64, messages: usize, least: f64) {
    let world = World::in_real_time().await;
    let parked = world.park(WAIT, samples(messages));
    let text = rate.to_string();
    let ended = world.run(&["--rate", &text]).ended().await.exits(0);
    world.audit(&parked, &[SCHEDULE]).is_exact();
    let sends = world.endpoints.accepted_sends(SCHEDULE);
    let (busiest, average) = (busiest(&sends), average(&sends, 10));
    assert!(busiest <= rate + 10, "{busiest} in one second at {rate}/s");
    assert!(average <= rate as f64 * 1.01, "{average}/s at {rate}/s");
    assert!(average >= rate as f64 * least, "{average}/s at {rate}/s");
    let told = &ended.route()["rate"];
    assert_eq!(told["limit"], rate as f64);
    assert!(told["busiest_second"].as_u64() <= Some(rate + 10), "{told}");
    let said = told["average"].as_f64().expect("a number");
    assert!((said / average - 1.0).abs() < 0.03, "{said} and {average}");
}

/// That it is no slower depends on the machine, and stands in the next test.
#[tokio::test]
async fn it_never_sends_faster_than_told() {
    drains_at(500, 2_000, 0.0).await;
}

/// The whole of it takes its 20 seconds, and a machine that is not busy otherwise.
#[tokio::test]
#[ignore = "20 s, on a machine that is not busy otherwise: run with --ignored"]
async fn over_twenty_seconds_the_average_is_within_a_hundredth() {
    drains_at(500, 10_000, 0.99).await;
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
