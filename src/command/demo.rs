//! `demo`: the embedded endpoints, sample messages, and the same worker as `run`, over HTTP through the AWS SDK. At the end the
//! destination is looked into, independently of what the worker says of itself.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Child, Stdio};
use std::time::Duration;

use tokio::task::LocalSet;

use super::{Failure, drain, runtime, start_log};
use crate::aws::{self, Aws, Timeouts};
use crate::cli::{Cli, Command, DemoArgs};
use crate::exit::ExitCode;
use crate::local::sqs::message::{Attribute, NewMessage};
use crate::local::{self, Endpoints, Options};
use crate::plan::Plan;

const WAIT: &str = "demo-wait";
const SCHEDULE: &str = "demo-schedule";
const TABLE: &str = "demo-checkpoints";
const REGION: &str = "us-east-1";
const KEY: &str = "demo";

/// `sqs-drain demo`.
pub fn demo(args: &DemoArgs) -> Result<ExitCode, Failure> {
    let runtime = runtime()?;
    let options = Options {
        latency: Duration::from_millis(args.latency_ms),
        ..Options::ephemeral()
    };
    let endpoints = runtime.block_on(local::start(options)).map_err(failed)?;
    park(&endpoints, args.messages)?;
    let aws = runtime.block_on(access(&endpoints));
    runtime
        .block_on(aws.clients().create_table(TABLE))
        .map_err(failed)?;
    say(format_args!(
        "{} sample messages are parked in the queue {WAIT} at {}; the journal is the table {TABLE} at {}",
        args.messages, endpoints.sqs_url, endpoints.dynamo_url
    ))?;
    if args.kill {
        kill_part_way(args, &endpoints)?;
    }
    let plan = plan(args)?;
    start_log(plan.process.log_format, plan.process.log_level);
    let report = runtime.block_on(LocalSet::new().run_until(drain::drain(&plan, &aws)))?;
    let copies = copies(&endpoints);
    drain::print(&report, &plan.process)?;
    let route = report.routes.values().next();
    let listed = route.map_or(0, |r| r.doubts.len());
    if let Some(route) = route.filter(|_| args.kill) {
        say(format_args!(
            "the second process recognised {} messages as sent already (deleted, not sent again) and settled {} doubts by sending again",
            route.totals.deduplicated, route.totals.doubts_settled
        ))?;
    }
    let missing = args.messages.saturating_sub(copies.len() as u64);
    let doubled = copies.values().filter(|n| **n > 1).count();
    say(format_args!(
        "looked into {SCHEDULE}: {} of {} messages arrived, {missing} missing, {doubled} more than once ({listed} doubts listed)",
        copies.len(),
        args.messages
    ))?;
    runtime.block_on(endpoints.shutdown()).map_err(failed)?;
    if missing > 0 || doubled > listed {
        return Err(Failure::new(ExitCode::Failed, "a promise was broken"));
    }
    Ok(report.exit())
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::new(ExitCode::Failed, error.to_string())
}

fn refused(error: local::sqs::error::SqsError) -> Failure {
    failed(format!("{error:?}"))
}

fn say(words: std::fmt::Arguments<'_>) -> Result<(), Failure> {
    writeln!(std::io::stderr(), "demo: {words}")?;
    Ok(())
}

/// Access to the endpoints through the AWS SDK.
async fn access(endpoints: &Endpoints) -> Aws {
    let at = aws::Endpoints {
        sqs: endpoints.sqs_url.clone(),
        dynamodb: endpoints.dynamo_url.clone(),
        region: REGION.to_owned(),
        access_key_id: KEY.to_owned(),
        secret_access_key: KEY.to_owned(),
    };
    Aws::at(&at, Timeouts::default()).await
}

/// Creates the queues and parks the sample messages, without HTTP: it is the drain that is shown.
fn park(endpoints: &Endpoints, messages: u64) -> Result<(), Failure> {
    endpoints.create_queue(WAIT, &[]).map_err(refused)?;
    endpoints.create_queue(SCHEDULE, &[]).map_err(refused)?;
    endpoints
        .seed(WAIT, (0..messages).map(sample))
        .map_err(refused)?;
    Ok(())
}

/// Sample message number `n`: of several sizes and scripts, with text, number and binary attributes.
fn sample(n: u64) -> NewMessage {
    const GREETINGS: [&str; 5] = [
        "안녕하세요, 주문하신 상품이 오늘 도착합니다 📦",
        "Your order arrives today",
        "ご注文の商品は本日届きます",
        "Ваш заказ прибудет сегодня",
        "طلبك يصل اليوم",
    ];
    let greeting = GREETINGS[n as usize % GREETINGS.len()];
    let repeat = [1, 1, 4, 16, 64][(n / 7) as usize % 5];
    NewMessage {
        attributes: vec![
            Attribute::text("sample", "Number.int", n.to_string()),
            Attribute::text("channel", "String", "sms"),
            Attribute::binary("digest", "Binary", n.to_be_bytes().to_vec()),
        ],
        ..NewMessage::new(greeting.repeat(repeat))
    }
}

/// How many copies of each sample the destination holds.
fn copies(endpoints: &Endpoints) -> BTreeMap<String, u32> {
    let mut copies = BTreeMap::new();
    for message in endpoints.peek(SCHEDULE) {
        let sample = message.attributes.iter().find(|a| a.name == "sample");
        let name = sample.map(|a| format!("{:?}", a.value)).unwrap_or_default();
        *copies.entry(name).or_default() += 1;
    }
    copies
}

/// The command line of the worker: what a user would write, with timings short enough that a killed process's messages are
/// visible again while one watches.
fn worker_args(args: &DemoArgs) -> Vec<String> {
    let mut line: Vec<String> = [
        "sqs-drain",
        "run",
        "--from",
        WAIT,
        "--to",
        SCHEDULE,
        "--table",
        TABLE,
        "--window",
        "always",
    ]
    .map(str::to_owned)
    .to_vec();
    if let Some(rate) = args.rate {
        line.extend(["--rate".to_owned(), rate.to_string()]);
    }
    if args.kill {
        let short = [
            ("--visibility", "12s"),
            ("--send-timeout", "2s"),
            ("--table-timeout", "1s"),
            ("--margin", "1s"),
            ("--heartbeat", "500ms"),
            ("--lease", "2s"),
        ];
        line.extend(
            short
                .iter()
                .flat_map(|(flag, value)| [(*flag).to_owned(), (*value).to_owned()]),
        );
    }
    line
}

fn plan(args: &DemoArgs) -> Result<Plan, Failure> {
    let cli = Cli::read(worker_args(args)).map_err(failed)?;
    match cli.command {
        Command::Run(run) => Ok(run.plan(super::now())?),
        _ => Err(failed("the worker's command line is not `run`")),
    }
}

/// A child process that is killed when it goes out of sight.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the worker in a process of its own and kills it with SIGKILL when about half is sent.
fn kill_part_way(args: &DemoArgs, endpoints: &Endpoints) -> Result<(), Failure> {
    let binary = std::env::current_exe()?;
    let mut child = std::process::Command::new(binary);
    child
        .args(&worker_args(args)[1..])
        .env("AWS_ENDPOINT_URL_SQS", &endpoints.sqs_url)
        .env("AWS_ENDPOINT_URL_DYNAMODB", &endpoints.dynamo_url)
        .env("AWS_REGION", REGION)
        .env("AWS_ACCESS_KEY_ID", KEY)
        .env("AWS_SECRET_ACCESS_KEY", KEY)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = Killed(child.spawn()?);
    let sent = || -> u64 {
        let sends = endpoints.accepted_sends(SCHEDULE);
        sends.iter().map(|(_, n)| u64::from(*n)).sum()
    };
    while sent() < args.messages / 2 {
        if child.0.try_wait()?.is_some() {
            return Err(failed("the worker ended before it could be killed"));
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "this process has nothing else to do than watch the child"
        )]
        std::thread::sleep(Duration::from_millis(1));
    }
    let process = child.0.id();
    drop(child);
    say(format_args!(
        "killed process {process} with SIGKILL after {} sends; starting another, which waits until what the dead one had in hand is visible again (12 s)",
        sent()
    ))
}
