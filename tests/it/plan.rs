//! From a command line, an environment and a routes file to a plan, or to one
//! line of refusal.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqs_drain::cli::{Cli, Command, RunArgs};
use sqs_drain::config::{Raw, RoutesFile};
use sqs_drain::exit::ExitCode;
use sqs_drain::plan::{
    Cutoff, DeduplicationId, Delivery, GroupFrom, Journal, LogFormat, LogLevel, Plan, Progress,
    QueueFacts, QueueRef, Refusal, Request, Shard, Timings, Warning, check_queues,
};
use sqs_drain::window::Window;

fn now() -> DateTime<Utc> {
    DateTime::parse_from_rfc3339("2026-11-23T08:00:00+09:00")
        .unwrap()
        .to_utc()
}

/// The arguments of `sqs-drain run`, written as in a shell with single quotes.
fn run_args(line: &str) -> RunArgs {
    let mut words = vec!["sqs-drain".to_owned(), "run".to_owned()];
    for (index, part) in line.split('\'').enumerate() {
        match index % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    match Cli::read(&words) {
        Ok(Cli {
            command: Command::Run(args),
        }) => args,
        Ok(other) => panic!("{line}: {other:?}"),
        Err(error) => panic!("{line}: {error}"),
    }
}

fn request(
    line: &str,
    environment: &[(&str, &str)],
    file: Option<&str>,
) -> Result<Request, Refusal> {
    let args = run_args(line);
    let environment: BTreeMap<String, String> = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let file = match file {
        Some(text) => Some(RoutesFile::parse("routes.toml", text)?),
        None => None,
    };
    Ok(Request {
        asked: args.routes,
        flags: args.settings.settings(),
        environment,
        file,
        now: now(),
    })
}

fn plan(line: &str, environment: &[(&str, &str)], file: Option<&str>) -> Result<Plan, Refusal> {
    request(line, environment, file)?.plan()
}

fn good(line: &str) -> Plan {
    plan(line, &[], None).unwrap_or_else(|refusal| panic!("{line}: {refusal}"))
}

/// The line of a refusal, which has to be one line and mean exit code 2.
fn line_of(result: Result<Plan, Refusal>) -> String {
    let refusal = match result {
        Ok(plan) => panic!("not refused: {plan:?}"),
        Err(refusal) => refusal,
    };
    assert_eq!(refusal.exit_code(), ExitCode::Refused);
    let line = refusal.to_string();
    assert_eq!(line.lines().count(), 1, "{line}");
    line
}

const BASE: &str = "--from wait --to schedule --table drain --window 08:00-21:00 --zone Asia/Seoul";

#[test]
fn flags_alone_make_a_plan() {
    let plan = good(BASE);
    assert_eq!(plan.warnings, []);
    assert_eq!(plan.process.shard, Shard { index: 0, of: 1 });
    assert_eq!(plan.process.grace, Duration::from_secs(25));
    assert_eq!(plan.process.progress, Progress::Auto);
    assert_eq!(plan.process.log_format, LogFormat::Auto);
    assert_eq!(plan.process.log_level, LogLevel::Info);
    assert_eq!(plan.process.result, None);
    assert_eq!(plan.process.slack_webhook, None);
    let [route] = &plan.routes[..] else {
        panic!("{plan:?}")
    };
    assert_eq!(route.name, "default");
    assert_eq!(route.from, QueueRef::Name("wait".to_owned()));
    assert_eq!(route.to, [QueueRef::Name("schedule".to_owned())]);
    assert_eq!(route.rate, None);
    assert_eq!(route.burst, None);
    assert_eq!(route.journal, Journal::Table("drain".to_owned()));
    assert_eq!(route.cutoff, Cutoff::RunStart);
    assert_eq!(route.delivery, Delivery::AtLeastOnce);
    assert_eq!(route.group_from(), GroupFrom::Source);
    assert_eq!(route.deduplication_id, DeduplicationId::MessageId);
    assert_eq!((route.lanes, route.page), (16, 50));
    assert_eq!(route.timings, Timings::default());
    assert_eq!(
        route.run_id_at(now()).as_deref(),
        Some("default@2026-11-23T08:00+09:00")
    );
}
