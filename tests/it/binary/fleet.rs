//! Four shards of one run, as an AWS Batch array job starts them: killed at random moments and started again, while they drain
//! one queue together.

use std::collections::{BTreeMap, HashMap};

use sqs_drain::journal::Record;
use sqs_drain::local::sqs::message::NewMessage;

use super::harness::{Ended, PATIENCE, SHORTEST_VISIBILITY, Worker, now, pause};
use super::world::{SCHEDULE, WAIT, World};
use crate::ops::{balances, figure, status_of};
use crate::world::rng::Rng;

const SHARDS: usize = 4;

/// Shards of the run `r`, each started again where it should be, with the attempt's number in its environment.
pub struct Fleet<'a> {
    world: &'a World,
    args: Vec<&'a str>,
    shards: Vec<Option<Worker>>,
    /// How often each was started.
    pub attempts: Vec<u32>,
}

impl<'a> Fleet<'a> {
    /// Starts all of them with these arguments.
    pub fn start(world: &'a World, args: &[&'a str]) -> Self {
        let mut fleet = Self {
            world,
            args: [&["--run-id", "r"], args].concat(),
            shards: (0..SHARDS).map(|_| None).collect(),
            attempts: vec![0; SHARDS],
        };
        (0..SHARDS).for_each(|shard| fleet.again(shard));
        fleet
    }

    /// Starts a shard (once more).
    pub fn again(&mut self, shard: usize) {
        self.attempts[shard] += 1;
        let (index, attempt) = (shard.to_string(), self.attempts[shard].to_string());
        let env = [
            ("AWS_BATCH_JOB_ARRAY_SIZE", "4"),
            ("AWS_BATCH_JOB_ARRAY_INDEX", index.as_str()),
            ("AWS_BATCH_JOB_ATTEMPT", attempt.as_str()),
        ];
        self.shards[shard] = Some(self.world.run_in(&self.args, &env));
    }

    /// Kills a shard with SIGKILL; answers with its log.
    pub fn kill(&mut self, shard: usize) -> String {
        self.shards[shard].take().expect("it was started").kill()
    }

    /// Starts again, as Batch does, what has ended because it was taken for dead: a machine that is busy enough makes that so.
    /// Any other end before the run's own is wrong.
    pub async fn retry_the_superseded(&mut self) {
        for shard in 0..SHARDS {
            let ended = self.shards[shard].as_mut().is_some_and(Worker::has_ended);
            if let Some(worker) = self.shards[shard].take_if(|_| ended) {
                let ended = worker.ended().await.exits(6);
                assert!(ended.message().contains("superseded"), "{}", ended.stderr);
                self.again(shard);
            }
        }
    }

    /// How things stand, for whoever reads why it failed.
    async fn story(&self) -> String {
        let status = status_of(self.world, "r").await;
        let left = self.world.len(WAIT);
        let logs = self.shards.iter().flatten().map(Worker::log);
        let logs: Vec<String> = logs.collect();
        format!("{left} left; {status}\n{}", logs.join("\n---\n"))
    }

    /// Waits until every shard that was not killed has ended, each with exit code 0.
    pub async fn drained(&mut self) -> Vec<Ended> {
        let mut all = Vec::new();
        let start = now();
        while self.shards.iter().any(Option::is_some) {
            if start.elapsed() > PATIENCE {
                panic!("they never ended: {}", self.story().await);
            }
            for shard in 0..SHARDS {
                let ended = self.shards[shard].as_mut().is_some_and(Worker::has_ended);
                let Some(worker) = self.shards[shard].take_if(|_| ended) else {
                    continue;
                };
                let ended = worker.ended().await;
                if ended.code == Some(6) && ended.message().contains("superseded") {
                    self.again(shard);
                } else {
                    all.push(ended.exits(0));
                }
            }
            pause().await;
        }
        all
    }
}

/// A message as small as it goes whose body is its number.
pub fn numbered(n: usize) -> NewMessage {
    NewMessage::new(n.to_string())
}

/// What this test draws from: another seed each time, told when it fails, or the one to be tried again.
fn seed() -> u64 {
    let given = std::env::var("SQS_DRAIN_SEED").ok();
    let fresh = || chrono::Utc::now().timestamp_micros().unsigned_abs();
    given.map_or_else(fresh, |text| {
        text.parse().expect("SQS_DRAIN_SEED: a number")
    })
}

#[tokio::test]
async fn four_shards_killed_twenty_times_account_for_every_message() {
    const MESSAGES: usize = 50_000;
    const KILLS: usize = 20;
    let seed = seed();
    println!("SQS_DRAIN_SEED={seed}");
    let mut rng = Rng::new(seed);
    let mut moments: Vec<u64> = (0..KILLS).map(|_| rng.between(200, 42_000)).collect();
    moments.sort_unstable();

    let began = now();
    let world = World::start().await;
    let parked = world.park(WAIT, (0..MESSAGES).map(numbered));
    // A sweep writes two items for each id that was under way: in the embedded table, which is no DynamoDB, that is the slowest part.
    let in_hand = ["--lanes", "2", "--page", "20"];
    let mut fleet = Fleet::start(&world, &[&SHORTEST_VISIBILITY[..], &in_hand].concat());
    for moment in moments {
        let start = now();
        while world.accepted(SCHEDULE) < moment {
            assert!(start.elapsed() < PATIENCE, "never {moment} arrived");
            fleet.retry_the_superseded().await;
            pause().await;
        }
        fleet.retry_the_superseded().await;
        let shard = rng.below(SHARDS as u64) as usize;
        fleet.kill(shard);
        fleet.again(shard);
    }
    println!("all killed after {:?}", began.elapsed());
    fleet.drained().await;
    println!(
        "drained after {:?}, {:?} attempts",
        began.elapsed(),
        fleet.attempts
    );

    // The table's account of the run: over all attempts it balances exactly.
    let status = status_of(&world, "r").await;
    println!("{status}");
    balances(&status);
    assert_eq!(status["outcome"], "drained", "{status}");
    assert_eq!(figure(&status, "sent"), MESSAGES as u64, "{status}");
    assert_eq!(figure(&status, "in_hand"), 0, "{status}");
    let doubts = status["doubts"].as_array().expect("a list");
    let listed: HashMap<&str, &str> = doubts
        .iter()
        .map(|d| {
            (
                d["id"].as_str().expect("an id"),
                d["state"].as_str().expect("a state"),
            )
        })
        .collect();
    assert_eq!(listed.len(), doubts.len(), "each id once");
    assert!(listed.values().all(|state| *state == "resent"), "{status}");

    // The destination, message by message.
    let ledger = world.ledger().await;
    let troubles = ledger.troubles("r").await.expect("the table");
    let in_doubt: HashMap<String, &Record> = troubles
        .iter()
        .map(|t| (t.id.to_string(), &t.record))
        .collect();
    let ids: BTreeMap<&str, String> = parked
        .iter()
        .map(|m| (m.body.as_str(), m.id.to_string()))
        .collect();
    assert_eq!(ids.len(), MESSAGES, "bodies tell messages apart");
    let mut copies: BTreeMap<&str, u64> = ids.values().map(|id| (id.as_str(), 0)).collect();
    let arrived = world.peek(SCHEDULE);
    for copy in &arrived {
        let id = ids.get(copy.body.as_str()).expect("a body that was parked");
        *copies.get_mut(id.as_str()).expect("known") += 1;
    }
    for (id, n) in copies {
        assert!(n > 0, "{id} is lost");
        let doubts = in_doubt
            .get(id)
            .map_or(0, |record| u64::from(record.doubts));
        assert!(
            n <= 1 + doubts,
            "{id} arrived {n} times with {doubts} doubts"
        );
        assert!(
            n == 1 || listed.contains_key(id),
            "{id} arrived {n} times and is not listed"
        );
    }
    let extra = (arrived.len() - MESSAGES) as u64;
    assert!(extra <= figure(&status, "possible_duplicates"), "{status}");
    assert_eq!(
        figure(&status, "possible_duplicates"),
        figure(&status, "doubts_settled")
    );

    // Nothing is left: no message, no process, no page.
    assert_eq!(world.len(WAIT), 0);
    assert_eq!(ledger.processes().await, Ok(Vec::new()));
    let tallies = ledger.tallies("r").await.expect("the table");
    let started: u32 = fleet.attempts.iter().sum();
    assert!(
        tallies.len() <= started as usize,
        "{} of {started}",
        tallies.len()
    );
    assert_eq!(
        status["shards"].as_array().map(Vec::len),
        Some(tallies.len())
    );
    for tally in &tallies {
        let pages = ledger.pages(&tally.process).await.expect("the table");
        assert!(pages.is_empty(), "{} left pages", tally.process);
    }
}
