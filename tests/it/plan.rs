//! From a command line, an environment and a routes file to a plan, or to one
//! line of refusal.

mod queues;
mod refusals;

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqs_drain::cli::{Cli, Command, RunArgs};
use sqs_drain::config::{Environment, RoutesFile};
use sqs_drain::exit::ExitCode;
use sqs_drain::plan::{
    Cutoff, DeduplicationId, Delivery, GroupFrom, Journal, LogFormat, LogLevel, Plan, Progress,
    QueueRef, Refusal, Request, Shard, Timings,
};

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
    let environment: Environment = environment
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
    assert_eq!((route.lanes, route.page), (8, 50));
    assert_eq!(route.timings, Timings::default());
    assert_eq!(
        route.run_id_at(now()).as_deref(),
        Some("default@2026-11-23T08:00+09:00")
    );
}

#[test]
fn every_setting_arrives_typed() {
    let plan = good(
        "--from https://sqs.ap-northeast-2.amazonaws.com/123456789012/wait/ --to a,b --to c.fifo \
         --table drain --window 'mon-fri 08:00-12:00' --window 12:00-21:00 --zone Asia/Seoul \
         --holidays 2026-12-25,2027-01-01 --holiday-windows 10:00-12:00 --rate 500.5 --burst 20 \
         --lanes 4 --page 25 --visibility 5m --poll 20s --settle 1500ms --margin 7 \
         --send-timeout 4s --table-timeout 2s --heartbeat 2s --lease 9s --grace 40s \
         --run-id morning --cutoff 2026-11-23T07:00 --delivery at-most-once --hold hold \
         --reject reject --start-within 5m --wait-open --group-from attribute:customer \
         --shards 4 --shard 3 --slack-webhook https://hooks.example/T0/secret --notify-success \
         --progress never --log-format json --log-level debug --result out.json",
    );
    let process = &plan.process;
    assert_eq!(process.shard, Shard { index: 3, of: 4 });
    assert_eq!(process.grace, Duration::from_secs(40));
    assert_eq!(
        process.result.as_deref(),
        Some(std::path::Path::new("out.json"))
    );
    assert_eq!(process.progress, Progress::Never);
    assert_eq!(process.log_format, LogFormat::Json);
    assert_eq!(process.log_level, LogLevel::Debug);
    let webhook = process.slack_webhook.as_ref().unwrap();
    assert_eq!(webhook.expose(), "https://hooks.example/T0/secret");
    assert!(process.notify_success);

    let route = &plan.routes[0];
    let name = |name: &str| QueueRef::Name(name.to_owned());
    let url = "https://sqs.ap-northeast-2.amazonaws.com/123456789012/wait";
    assert_eq!(route.from, QueueRef::Url(url.to_owned()));
    assert_eq!(route.to, [name("a"), name("b"), name("c.fifo")]);
    assert_eq!(
        route.window.rule(),
        "open mon-fri 08:00-12:00 and 12:00-21:00, sat-sun 12:00-21:00, on 2 holidays daily 10:00-12:00"
    );
    assert_eq!((route.rate, route.burst), (Some(500.5), Some(20)));
    assert_eq!((route.lanes, route.page), (4, 25));
    let seconds = Duration::from_secs;
    let timings = Timings {
        visibility: seconds(300),
        poll: seconds(20),
        settle: Duration::from_millis(1500),
        margin: seconds(7),
        send_timeout: seconds(4),
        table_timeout: seconds(2),
        heartbeat: seconds(2),
        lease: seconds(9),
    };
    assert_eq!(route.timings, timings);
    assert_eq!(route.run_id_at(now()).as_deref(), Some("morning"));
    assert_eq!(route.cutoff, Cutoff::At(now() - chrono::Duration::hours(1)));
    assert_eq!(route.delivery, Delivery::AtMostOnce { hold: name("hold") });
    assert_eq!(route.reject, Some(name("reject")));
    assert_eq!(route.start_within, Some(seconds(300)));
    assert!(route.wait_open);
    assert_eq!(
        route.group_from(),
        GroupFrom::Attribute("customer".to_owned())
    );
    assert!(!route.allow_fifo_to_standard);
    // From noon of a holiday, a Friday, to noon of the Saturday.
    assert_eq!(route.longest_shut, seconds(24 * 3600));
}

#[test]
fn a_secret_is_in_no_debug_output() {
    let line = format!("{BASE} --slack-webhook https://hooks.example/T0/hush");
    let args = run_args(&line);
    let in_file = format!("slack_webhook = 'https://hooks.example/T0/hush'\n{FILE}");
    let request = request(
        "",
        &[("SQS_DRAIN_SLACK_WEBHOOK", "https://hooks.example/T0/hush")],
        Some(&in_file),
    );
    let shown = format!("{args:?} {:?} {request:?}", good(&line));
    assert!(!shown.contains("hush"), "{shown}");
    let lines = [
        line_of(plan(&format!("{BASE} --slack-webhook hush"), &[], None)),
        line_of(plan(BASE, &[("SQS_DRAIN_SLACK_WEBHOOK", "hush")], None)),
        line_of(plan(
            "",
            &[],
            Some(&format!("slack_webhook = 'hush'\n{FILE}")),
        )),
        line_of(plan(
            "",
            &[],
            Some(&format!("slack_webhook = ['hush']\n{FILE}")),
        )),
        line_of(plan(
            "",
            &[],
            Some(&format!("slack_webhook = 'hush\n{FILE}")),
        )),
        line_of(plan(
            "",
            &[],
            Some(&format!("slack_webhok = 'hush'\n{FILE}")),
        )),
    ];
    for line in lines {
        assert!(!line.contains("hush"), "{line}");
    }
}

const FILE: &str = "\
table = 'drain'

[defaults]
zone = 'Asia/Seoul'
window = '08:00-21:00'
rate = 100

[route.wait]
from = 'wait'
to = ['schedule']
rate = 500

[route.coupon]
from = 'coupon-wait'
to = 'coupon'
window = ['mon-fri 10:00-13:00', 'sat,sun 10:00-18:00']
holidays = [2026-12-25, '2027-01-01']
visibility = 60
";

#[test]
fn the_first_place_that_has_a_setting_wins() {
    let rates = |line: &str, environment: &[(&str, &str)]| {
        let plan = plan(line, environment, Some(FILE)).unwrap();
        let rates: Vec<_> = plan
            .routes
            .iter()
            .map(|route| (route.name.clone(), route.rate))
            .collect();
        rates
    };
    let both = |wait: Option<f64>, coupon: Option<f64>| {
        vec![("wait".to_owned(), wait), ("coupon".to_owned(), coupon)]
    };
    assert_eq!(rates("", &[]), both(Some(500.0), Some(100.0)));
    let environment = [("SQS_DRAIN_RATE", "7")];
    assert_eq!(rates("", &environment), both(Some(7.0), Some(7.0)));
    assert_eq!(rates("--rate 9", &environment), both(Some(9.0), Some(9.0)));
    assert_eq!(rates("--rate none", &environment), both(None, None));
    // A variable that a template left empty is not set.
    assert_eq!(
        rates("", &[("SQS_DRAIN_RATE", "")]),
        both(Some(500.0), Some(100.0))
    );
    // The routes asked for, in that order, each once.
    assert_eq!(rates("coupon", &[]), [("coupon".to_owned(), Some(100.0))]);
    assert_eq!(rates("coupon wait coupon", &[]).len(), 2);
    assert_eq!(rates("", &[("SQS_DRAIN_ROUTE", "coupon")]).len(), 1);

    let plan = plan("", &[], Some(FILE)).unwrap();
    assert_eq!(plan.warnings, []);
    let coupon = &plan.routes[1];
    assert_eq!(coupon.timings.visibility, Duration::from_secs(60));
    assert_eq!(
        coupon.window.rule(),
        "open mon-fri 10:00-13:00, sat-sun 10:00-18:00, on 2 holidays not at all"
    );
    assert_eq!(
        coupon.run_id_at(now()).as_deref(),
        Some("coupon@2026-11-23T10:00+09:00")
    );
}

#[test]
fn the_environment_alone_will_do() {
    let environment = [
        ("SQS_DRAIN_FROM", "wait"),
        ("SQS_DRAIN_TO", "a, b"),
        ("SQS_DRAIN_TABLE", "drain"),
        (
            "SQS_DRAIN_WINDOW",
            "mon-fri 08:00-12:00,sat,sun 09:00-10:00",
        ),
        ("SQS_DRAIN_ZONE", "Asia/Seoul"),
        ("SQS_DRAIN_HOLIDAYS", "2026-12-25, 2027-01-01"),
        ("SQS_DRAIN_WAIT_OPEN", "true"),
        ("AWS_BATCH_JOB_ARRAY_SIZE", "8"),
        ("AWS_BATCH_JOB_ARRAY_INDEX", "5"),
        ("HOME", "/root"),
    ];
    let plan = plan("", &environment, None).unwrap();
    assert_eq!(plan.warnings, []);
    assert_eq!(plan.process.shard, Shard { index: 5, of: 8 });
    let route = &plan.routes[0];
    assert_eq!(route.to.len(), 2);
    assert!(route.wait_open);
    assert_eq!(
        route.window.rule(),
        "open mon-fri 08:00-12:00, sat-sun 09:00-10:00, on 2 holidays not at all"
    );
    // The program's own variable is the stronger word.
    let mut own = environment.to_vec();
    own.extend([("SQS_DRAIN_SHARDS", "9"), ("SQS_DRAIN_SHARD", "8")]);
    let shard = self::plan("", &own, None).unwrap().process.shard;
    assert_eq!(shard, Shard { index: 8, of: 9 });
    // A switch can be switched off again.
    assert!(
        !self::plan("--wait-open=false", &environment, None)
            .unwrap()
            .routes[0]
            .wait_open
    );
}

#[test]
fn the_journal_is_decided_by_the_strongest_place_that_speaks_of_it() {
    let journal = |line: &str, environment: &[(&str, &str)]| {
        plan(line, environment, Some(FILE)).unwrap().routes[0]
            .journal
            .clone()
    };
    assert_eq!(journal("", &[]), Journal::Table("drain".to_owned()));
    assert_eq!(journal("--no-journal", &[]), Journal::None);
    assert_eq!(journal("", &[("SQS_DRAIN_NO_JOURNAL", "1")]), Journal::None);
    assert_eq!(
        journal("--table other", &[("SQS_DRAIN_NO_JOURNAL", "1")]),
        Journal::Table("other".to_owned())
    );
    assert_eq!(
        journal("--no-journal=false", &[]),
        Journal::Table("drain".to_owned())
    );
}

#[test]
fn sub_commands_find_table_and_sources_without_a_whole_plan() {
    let located = request("--table drain", &[], None)
        .unwrap()
        .locate()
        .unwrap();
    assert_eq!((located.table.as_str(), located.routes.len()), ("drain", 0));
    let located = request("wait", &[], Some(FILE)).unwrap().locate().unwrap();
    assert_eq!(located.routes.len(), 1);
    assert_eq!(located.routes[0].from, QueueRef::Name("wait".to_owned()));
    let refusal = |line: &str, file: Option<&str>| {
        request(line, &[], file)
            .unwrap()
            .locate()
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        refusal("--from wait", None),
        "no table is named, and a run's state is only there: add --table NAME or --config FILE"
    );
    let two = "[route.a]\nfrom = 'x'\ntable = 'one'\n[route.b]\nfrom = 'y'\ntable = 'two'\n";
    assert_eq!(
        refusal("", Some(two)),
        "route a has the table one and route b has two: ask for one of them"
    );

    let windows = request("--window 08:00-21:00 --zone Asia/Seoul", &[], None)
        .unwrap()
        .windows();
    assert_eq!(windows.unwrap()[0].window.rule(), "open daily 08:00-21:00");
    let windows = request("", &[], Some(FILE)).unwrap().windows().unwrap();
    assert_eq!(
        windows
            .iter()
            .map(|hours| hours.name.as_str())
            .collect::<Vec<_>>(),
        ["wait", "coupon"]
    );
}

#[test]
fn what_is_allowed_but_should_be_known_is_warned_about() {
    let warnings = |line: &str, file: Option<&str>| {
        let plan = plan(line, &[], file).unwrap();
        plan.warnings
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        warnings("--from a --to b --no-journal", None),
        [
            "route default: no window is set, so messages are sent at any hour (--window always says that this is meant)"
        ]
    );
    assert_eq!(
        warnings("--from a --to b --no-journal --window always", None),
        [""; 0]
    );
    assert_eq!(
        warnings(&format!("{BASE} --visibility 34s --lease 20s"), None),
        [
            "route default: --visibility 34s is shorter than the 35s that lease and sweep of a dead process may take: safe, but its messages are received once more for nothing"
        ]
    );
    assert_eq!(
        warnings(&format!("{BASE} --hold hold"), None),
        ["route default: --hold hold is not used: --delivery at-least-once holds nothing"]
    );
    assert_eq!(
        warnings(&format!("{BASE} --group-from id"), None),
        ["route default: --group-from has no effect: no queue that is sent to is FIFO"]
    );
    let both_ways = "no_journal = true\n[defaults]\nzone = 'UTC'\n\
        [route.out]\nfrom = 'wait'\nto = 'live'\nwindow = '08:00-21:00'\n\
        [route.back]\nfrom = 'live'\nto = 'wait'\nwindow = '21:00-08:00'\n";
    assert_eq!(
        warnings("", Some(both_ways)),
        ["the routes out and back move messages to each other: their windows must not overlap"]
    );
    let overlapping = both_ways.replace("21:00-08:00", "20:00-08:00");
    let refused = plan("", &[], Some(&overlapping)).unwrap_err().to_string();
    assert!(
        refused.starts_with(
            "the routes out and back move messages to each other, and both windows are open at "
        ) && refused.ends_with(
            " 20:00 +00:00 (UTC), so messages would go round in circles: write windows that do not overlap, or ask for one of the routes"
        ),
        "{refused}"
    );
    // One reject queue for two routes is fine; what is delivered from it is told.
    let shared = |to: &str| {
        format!(
            "no_journal = true\n[defaults]\nwindow = 'always'\nreject = 'rejected'\n\
            [route.a]\nfrom = 'a'\nto = 'x'\n\
            [route.b]\nfrom = 'b'\nto = '{to}'\nreject = 'other'\n"
        )
    };
    assert_eq!(warnings("", Some(&shared("x"))), [""; 0]);
    assert_eq!(
        warnings("", Some(&shared("rejected"))),
        [
            "rejected is the reject queue of the route a and a destination of the route b: what is parked there is delivered"
        ]
    );
}
