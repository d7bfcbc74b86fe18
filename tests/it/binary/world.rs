//! The endpoints a test holds, what it parked there, and the audit of what arrived.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqs_drain::aws::clock::SystemClock;
use sqs_drain::aws::{self, Aws, Timeouts};
use sqs_drain::journal::Totals;
use sqs_drain::ledger::{Ledger, source_name};
use sqs_drain::local::sqs::message::{Attribute, NewMessage};
use sqs_drain::local::sqs::queue::State;
use sqs_drain::local::{Endpoints, ManualClock, Options, Peeked, Service};
use sqs_drain::port::Ports;

use super::harness::{TIMINGS, Worker, eventually};
use crate::record::{self, Caller};

pub const WAIT: &str = "wait";
pub const SCHEDULE: &str = "schedule";
pub const TABLE: &str = "checkpoints";

/// The real ports.
pub struct Real;

impl Ports for Real {
    type Source = aws::sqs::Queue;
    type Sink = aws::sqs::Queue;
    type Store = aws::dynamo::Table;
    type Clock = SystemClock;
}

/// Endpoints with a wait queue, a schedule queue and a checkpoint table.
pub struct World {
    pub endpoints: Endpoints,
    /// The test's own access, of which no record is kept.
    pub aws: Aws,
    /// Moves on by itself with real time, and further when a test says so; `None`: the system's clock.
    clock: Option<ManualClock>,
    over: Arc<AtomicBool>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Access to endpoints, signing with this access key id.
async fn access(endpoints: &Endpoints, key: &str) -> Aws {
    let at = aws::Endpoints {
        sqs: endpoints.sqs_url.clone(),
        dynamodb: endpoints.dynamo_url.clone(),
        region: "us-east-1".to_owned(),
        access_key_id: key.to_owned(),
        secret_access_key: "test".to_owned(),
    };
    Aws::at(&at, Timeouts::default()).await
}

/// Moves a manual clock along with real time until `over`.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
fn tick(clock: ManualClock, over: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        let mut last = std::time::Instant::now();
        while !over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(2));
            let passed = Duration::from_millis(last.elapsed().as_millis() as u64);
            clock.advance(passed);
            last += passed;
        }
    });
}

impl World {
    /// Endpoints whose clock a test can push on, starting at the system's time.
    pub async fn start() -> Self {
        Self::at(chrono::Utc::now()).await
    }

    /// The same, with the server's clock at another time.
    pub async fn at(time: chrono::DateTime<chrono::Utc>) -> Self {
        let clock = ManualClock::new(time.timestamp_millis().unsigned_abs());
        let options = Options {
            clock: clock.clock(),
            ..Options::ephemeral()
        };
        Self::with(options, Some(clock)).await
    }

    /// Endpoints on the system's clock, for what is measured.
    pub async fn in_real_time() -> Self {
        Self::with(Options::ephemeral(), None).await
    }

    async fn with(options: Options, clock: Option<ManualClock>) -> Self {
        let endpoints = sqs_drain::local::start(options).await.expect("free ports");
        record::watch(&endpoints);
        let over = Arc::new(AtomicBool::new(false));
        if let Some(clock) = &clock {
            tick(clock.clone(), over.clone());
        }
        let aws = access(&endpoints, record::HARNESS).await;
        let world = Self {
            endpoints,
            aws,
            clock,
            over,
        };
        world.queue(WAIT, &[]);
        world.queue(SCHEDULE, &[]);
        let created = world.aws.clients().create_table(TABLE).await;
        assert_eq!(created, Ok(true));
        world
    }

    /// Access for a worker inside the test that drains `from` into `to`.
    pub async fn inside(&self, from: &str, to: &[&str]) -> Aws {
        let caller = Caller::inside(from, to, TABLE);
        access(&self.endpoints, &record::sign_as(caller)).await
    }

    /// Creates a queue; answers with its URL.
    pub fn queue(&self, name: &str, attributes: &[(&str, &str)]) -> String {
        self.endpoints
            .create_queue(name, attributes)
            .expect("a queue")
    }

    /// Parks messages and answers with everything the queue then holds.
    pub fn park(&self, queue: &str, messages: impl IntoIterator<Item = NewMessage>) -> Vec<Peeked> {
        self.endpoints.seed(queue, messages).expect("parked");
        self.endpoints.peek(queue)
    }

    /// What a queue holds.
    pub fn peek(&self, queue: &str) -> Vec<Peeked> {
        self.endpoints.peek(queue)
    }

    /// How many messages a queue holds.
    pub fn len(&self, queue: &str) -> usize {
        self.peek(queue).len()
    }

    /// Waits until a queue holds at least `n` messages.
    pub async fn arrived(&self, queue: &str, n: usize) {
        let what = format!("{n} messages in {queue}");
        eventually(&what, || self.accepted(queue) >= n as u64).await;
    }

    /// How many messages were ever accepted by a queue over HTTP.
    pub fn accepted(&self, queue: &str) -> u64 {
        let sends = self.endpoints.accepted_sends(queue);
        sends.iter().map(|(_, n)| u64::from(*n)).sum()
    }

    /// Requests of one kind so far.
    pub fn requests(&self, action: &str) -> u64 {
        let all = self.endpoints.requests();
        let of = |service| all.get(&(service, action.to_owned())).copied();
        of(Service::Sqs).or(of(Service::DynamoDb)).unwrap_or(0)
    }

    /// Pushes the server's clock on.
    pub fn advance(&self, by: Duration) {
        self.clock.as_ref().expect("a clock to push").advance(by);
    }

    /// Pushes the server's clock on until nothing of the source is hidden. Only without a living worker, whose deadlines
    /// count from its own clock. In small steps, so that the polls of a killed worker, which go on without it, end before
    /// there is anything for them to take.
    pub async fn let_visibility_pass(&self) {
        self.let_visibility_pass_in(WAIT).await;
    }

    /// The same for another source.
    pub async fn let_visibility_pass_in(&self, source: &str) {
        eventually("the source is visible", || {
            self.advance(Duration::from_millis(1_500));
            self.peek(source).iter().all(|m| m.state == State::Visible)
        })
        .await;
    }

    /// Starts `sqs-drain run` with short timings; what is not said is the usual: from `wait` to `schedule`, with the table,
    /// always open.
    pub fn run(&self, args: &[&str]) -> Worker {
        self.run_in(args, &[])
    }

    /// The same, with this in the environment instead of the usual; an empty text takes a variable away.
    pub fn run_in(&self, args: &[&str], env: &[(&str, &str)]) -> Worker {
        let given = |flag: &str| args.contains(&flag) || args.contains(&"--config");
        let mut all = vec!["run"];
        for (flag, value) in [("--from", WAIT), ("--to", SCHEDULE), ("--window", "always")] {
            if !given(flag) {
                all.extend([flag, value]);
            }
        }
        if !given("--no-journal") && !given("--table") {
            all.extend(["--table", TABLE]);
        }
        for pair in TIMINGS.chunks(2) {
            if !args.contains(&pair[0]) {
                all.extend(pair);
            }
        }
        all.extend(args);
        let key = record::sign_as(Caller::process(&all, env));
        let mut whole = BTreeMap::from([
            ("AWS_ENDPOINT_URL_SQS", self.endpoints.sqs_url.as_str()),
            ("AWS_ENDPOINT_URL_DYNAMODB", &self.endpoints.dynamo_url),
            ("AWS_REGION", "us-east-1"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_ACCESS_KEY_ID", &key),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ]);
        whole.extend(env.iter().copied());
        whole.retain(|_, value| !value.is_empty());
        Worker::start(&all, whole)
    }

    /// The table in the drain's terms, for the wait queue.
    pub async fn ledger(&self) -> Ledger<Real> {
        let clients = self.aws.clients();
        let facts = clients.describe_queue(WAIT).await.expect("the queue");
        Ledger::new(
            Rc::new(clients.table(TABLE)),
            Rc::new(self.aws.clock()),
            source_name(&facts.arn),
        )
    }

    /// The totals of a run, over all its processes that have ended or were swept.
    pub async fn run_totals(&self, run: &str) -> Totals {
        let mut sum = Totals::default();
        for tally in self.ledger().await.tallies(run).await.expect("the table") {
            sum.add(&tally.totals);
        }
        sum
    }

    /// The ids listed under a run.
    pub async fn listed(&self, run: &str) -> BTreeSet<String> {
        let listed = self.ledger().await.listed(run).await.expect("the table");
        listed.iter().map(|l| l.id.to_string()).collect()
    }

    /// Holds what arrived in these queues against what was parked.
    pub fn audit(&self, parked: &[Peeked], queues: &[&str]) -> Audit {
        let mut audit = Audit::default();
        let by_body: HashMap<&str, &Peeked> = parked.iter().map(|m| (m.body.as_str(), m)).collect();
        assert_eq!(by_body.len(), parked.len(), "bodies tell messages apart");
        let mut copies: BTreeMap<String, usize> =
            parked.iter().map(|m| (m.id.to_string(), 0)).collect();
        for queue in queues {
            for copy in self.peek(queue) {
                let Some(original) = by_body.get(copy.body.as_str()) else {
                    audit.strangers += 1;
                    continue;
                };
                *copies.entry(original.id.to_string()).or_default() += 1;
                let same = copy.attributes == original.attributes
                    && copy.trace_header == original.trace_header
                    && copy.group_id == original.group_id;
                if !same {
                    audit.altered.push(original.id.to_string());
                }
            }
        }
        for (id, n) in copies {
            match n {
                0 => audit.missing.insert(id),
                1 => continue,
                _ => audit.doubled.insert(id),
            };
        }
        audit
    }
}

/// What an audit found.
#[derive(Debug, Default)]
pub struct Audit {
    /// Parked and not arrived.
    pub missing: BTreeSet<String>,
    /// Arrived more than once.
    pub doubled: BTreeSet<String>,
    /// Arrived with another attribute, trace header or group.
    pub altered: Vec<String>,
    /// Arrived and never parked: a body that is not the original's.
    pub strangers: usize,
}

impl Audit {
    /// Everything arrived once, as it was.
    #[track_caller]
    pub fn is_exact(&self) {
        self.doubles_only(&BTreeSet::new());
    }

    /// Everything arrived as it was, and only what is listed more than once.
    #[track_caller]
    pub fn doubles_only(&self, listed: &BTreeSet<String>) {
        assert!(self.missing.is_empty(), "lost: {:?}", self.missing);
        self.nothing_wrong(listed);
    }

    /// Whatever arrived is as it was, and only what is listed came more than once.
    #[track_caller]
    pub fn nothing_wrong(&self, listed: &BTreeSet<String>) {
        assert!(
            self.doubled.is_subset(listed),
            "doubled: {:?}, listed: {listed:?}",
            self.doubled
        );
        assert!(self.altered.is_empty(), "altered: {:?}", self.altered);
        assert_eq!(self.strangers, 0, "bodies nobody parked");
    }
}

/// Sample message `n`: several sizes and scripts, every kind of attribute.
pub fn sample(n: usize) -> NewMessage {
    let words = ["두번째 주문 📦", "plain", "\"quoted\"\n\\u0041\t", "ещё"];
    let filler = "x".repeat([0, 100, 700, 3][n % 4]);
    NewMessage {
        body: format!("{n} {} {filler}", words[n % words.len()]),
        attributes: vec![
            Attribute::text("kind", "String", words[n % words.len()]),
            Attribute::text("n", "Number.int", n.to_string()),
            Attribute::binary("raw", "Binary.gzip", [0, 255, (n % 256) as u8]),
        ],
        trace_header: (n.is_multiple_of(3)).then(|| format!("Root=1-5759e988-{n:024x}")),
        group_id: (n.is_multiple_of(2)).then(|| format!("customer-{}", n % 50)),
        ..NewMessage::default()
    }
}

/// The first `n` sample messages.
pub fn samples(n: usize) -> impl Iterator<Item = NewMessage> {
    (0..n).map(sample)
}
