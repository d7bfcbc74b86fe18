//! `check`: settings, queues, permissions, table and clock; one line each. Nothing is received, sent or changed.

use std::time::Duration;

use chrono::TimeDelta;

use super::access::access;
use super::connect::{check_table, clients_of, table_failure};
use super::look::{Looked, Queue, Queues, Start, look_at_all, too_late, window_words};
use super::{Failure, now, runtime, start_log};
use crate::aws::{Aws, Clients, Timeouts};
use crate::cli::RunArgs;
use crate::exit::ExitCode;
use crate::message::ReceiptOutcome;
use crate::plan::{Delivery, Journal, LogFormat, LogLevel, ProcessPlan, RoutePlan};
use crate::port::{
    Change, Clock, Datum, Item, Key, Source, Store, StoreError, Test, Trouble, Write as Put,
};
use crate::window::State;

/// A clock this far from the service's is told.
const CLOCK_WARN: TimeDelta = TimeDelta::seconds(2);

/// A clock this far from the service's fails: signatures and windows go by it.
const CLOCK_FAIL: TimeDelta = TimeDelta::seconds(30);

/// A receipt handle and a key that nobody has: calls with them show a permission and change nothing.
const NOBODY: &str = "sqs-drain-check";

/// Collects the lines.
#[derive(Default)]
struct Lines {
    text: String,
    worst: Option<ExitCode>,
}

impl Lines {
    fn line(&mut self, verdict: &str, what: &str, words: &str) {
        let one_line = words.replace(['\n', '\r'], " ");
        self.text += &format!("{verdict:<4} {what}: {one_line}\n");
    }
    fn ok(&mut self, what: &str, words: &str) {
        self.line("ok", what, words);
    }
    fn warn(&mut self, what: &str, words: &str) {
        self.line("warn", what, words);
    }
    fn fail(&mut self, what: &str, failure: &Failure) {
        self.line("FAIL", what, &failure.line);
        // What cannot be reached says nothing about the settings: that is the graver one.
        let exit = match failure.exit {
            ExitCode::Unavailable => ExitCode::Unavailable,
            _ => ExitCode::Refused,
        };
        if self.worst != Some(ExitCode::Unavailable) {
            self.worst = Some(exit);
        }
    }
    fn refuse(&mut self, what: &str, words: impl Into<String>) {
        self.fail(what, &Failure::new(ExitCode::Refused, words));
    }
}

/// `sqs-drain check`.
pub fn check(args: &RunArgs) -> Result<ExitCode, Failure> {
    start_log(LogFormat::Auto, LogLevel::Error);
    let mut lines = Lines::default();
    match args.plan(now()) {
        Err(refusal) => lines.refuse("settings", refusal.to_string()),
        Ok(plan) => {
            let routes = plan.routes.len();
            lines.ok(
                "settings",
                &format!("{routes} {}", if routes == 1 { "route" } else { "routes" }),
            );
            for warning in &plan.warnings {
                lines.warn("settings", &warning.to_string());
            }
            runtime()?.block_on(async {
                let aws = match access(Timeouts::default()).await {
                    Ok(aws) => aws,
                    Err(failure) => return lines.fail("aws", &failure),
                };
                for route in &plan.routes {
                    check_route(&aws, &plan.process, route, &mut lines).await;
                }
                where_it_is(&aws, &mut lines);
                check_clock(&aws, &mut lines);
            });
        }
    }
    super::print(lines.text.as_bytes())?;
    Ok(lines.worst.unwrap_or(ExitCode::Drained))
}

async fn check_route(aws: &Aws, process: &ProcessPlan, route: &RoutePlan, lines: &mut Lines) {
    let what = |part: &str| match route.name.as_str() {
        "default" => part.to_owned(),
        name => format!("{name}: {part}"),
    };
    let now = now();
    let words = window_words(&route.window, now);
    match route.window.state_at(now) {
        State::Shut { opens_at: None } => lines.warn(&what("window"), &words),
        _ => lines.ok(&what("window"), &words),
    }
    let clients = clients_of(aws, route);
    let looked = look_at_all(&clients, route).await;
    for one in &looked {
        match &one.queue {
            Ok(queue) => lines.ok(&what(one.role), &queue_words(queue)),
            Err(failure) => lines.fail(&what(one.role), failure),
        }
    }
    if let Some(Looked {
        queue: Ok(source), ..
    }) = looked.first()
    {
        source_permissions(&clients, source, &what("permissions on the source"), lines).await;
    }
    // What is wrong with one of them was told above.
    let queues = Queues::of(looked).ok();
    match queues.as_ref().map(|queues| queues.check(route)) {
        Some(Err(refusal)) => lines.refuse(&what("queues"), refusal.to_string()),
        Some(Ok(warnings)) => {
            for warning in warnings {
                lines.warn(&what("queues"), &warning.to_string());
            }
        }
        None => {}
    }
    let unseen = match &route.delivery {
        Delivery::AtMostOnce { .. } => {
            "sqs:ReceiveMessage on the source, sqs:SendMessage on destinations, hold and reject queues, and the use of their KMS keys"
        }
        Delivery::AtLeastOnce => {
            "sqs:ReceiveMessage on the source, sqs:SendMessage on destinations and reject queue, and the use of their KMS keys"
        }
    };
    lines.ok(
        &what("permissions not tried"),
        &format!("{unseen} are seen in a run only"),
    );
    let Journal::Table(table) = &route.journal else {
        lines.warn(
            &what("table"),
            "without a journal: after a crash nothing is known of what was sent",
        );
        if let Some(words) = too_late(route, now) {
            lines.warn(&what("run"), &not_now(&words));
        }
        return;
    };
    let readable = check_journal(&clients, table, &what("table"), lines).await;
    if let (true, Some(queues), Some(run_id)) = (readable, queues, route.run_id_at(now)) {
        let start = queues.start(aws, process, route, table, &run_id, now);
        match start.await {
            Err(failure) => lines.fail(&what("run"), &failure),
            Ok(Start::Refused(words)) => lines.refuse(&what("run"), words),
            // The settings are right; it is the hour that is not, as with a window that is shut.
            Ok(Start::TooLate(words)) => lines.warn(&what("run"), &not_now(&words)),
            Ok(start) => lines.ok(&what("run"), &format!("{run_id}: {}", start.words())),
        }
    }
}

/// What keeps a start from running at this hour.
fn not_now(words: &str) -> String {
    let exit = ExitCode::OutsideWindow;
    format!(
        "a start now would end with exit code {}: {words}",
        exit.code()
    )
}

/// A queue in words, with the account and region that its ARN names (`arn:aws:sqs:REGION:ACCOUNT:NAME`).
fn queue_words(queue: &Queue) -> String {
    let kind = if queue.facts.fifo { "FIFO" } else { "standard" };
    let mut arn = queue.facts.arn.split(':').skip(3);
    let (region, account) = (arn.next().unwrap_or("-"), arn.next().unwrap_or("-"));
    format!(
        "{}, {kind}, {} messages, account {account} in {region}",
        queue.name(),
        queue.counts.total()
    )
}

/// Where all this was asked: the region, and the endpoints that are not AWS's own.
fn where_it_is(aws: &Aws, lines: &mut Lines) {
    let Some(region) = aws.region() else {
        // Every line above says so.
        return;
    };
    let mut words = format!("region {region}");
    for (service, origin) in aws.origins() {
        if let Some(origin) = origin.filter(|origin| !is_of_aws(origin)) {
            words += &format!(", {service} at {origin} instead of AWS's own endpoint");
        }
    }
    lines.ok("aws", &words);
}

/// Whether an endpoint is one of AWS's own (AWS General Reference, "Service endpoints").
fn is_of_aws(origin: &str) -> bool {
    let host = origin.rsplit('/').next().unwrap_or(origin);
    let host = host.split(':').next().unwrap_or(host);
    [".amazonaws.com", ".amazonaws.com.cn", ".api.aws"]
        .iter()
        .any(|own| host.ends_with(own))
}

/// A receipt handle that is none: the service looks at the permission first, and there is nothing it could delete or hide.
async fn source_permissions(clients: &Clients, source: &Queue, what: &str, lines: &mut Lines) {
    let source = clients.queue(&source.facts.url);
    let handle = NOBODY.to_owned();
    let deleted = source.delete(std::slice::from_ref(&handle)).await;
    let hidden = source.set_visibility(&[(handle, Duration::ZERO)]).await;
    for (action, outcome) in [
        ("sqs:DeleteMessage", deleted.into_iter().next()),
        ("sqs:ChangeMessageVisibility", hidden.into_iter().next()),
    ] {
        match outcome {
            Some(ReceiptOutcome::Done | ReceiptOutcome::Stale(_)) => lines.ok(what, action),
            Some(ReceiptOutcome::Denied(code)) => {
                lines.refuse(
                    what,
                    format!("{action} is denied ({code}): allow it in the role's policy"),
                );
            }
            Some(ReceiptOutcome::Retry(code) | ReceiptOutcome::Unknown(code)) => {
                lines.warn(what, &format!("{action} cannot be told ({code})"));
            }
            None => {}
        }
    }
}

/// Answers with whether the table can be read.
async fn check_journal(clients: &Clients, table: &str, what: &str, lines: &mut Lines) -> bool {
    if let Err(failure) = check_table(clients, table).await {
        lines.fail(what, &failure);
        return false;
    }
    match clients.describe_table(table).await {
        Ok(Some(facts)) => match facts.expires {
            Some(true) => lines.ok(what, &format!("{table}, items expire by expires_at")),
            Some(false) => lines.warn(
                what,
                &format!("{table}: items do not expire, switch TTL on for expires_at (`sqs-drain init --table {table}` does)"),
            ),
            None => lines.warn(what, &format!("{table}: whether items expire cannot be told (dynamodb:DescribeTimeToLive)")),
        },
        Ok(None) => lines.refuse(what, format!("the table '{table}' is gone")),
        Err(error) => lines.fail(what, &table_failure(table, &error)),
    }
    let store = clients.table(table);
    let key = |sk: &str| Key::new(NOBODY, sk);
    let reads = [
        ("dynamodb:GetItem", store.get(&[key("a")]).await.err()),
        (
            "dynamodb:BatchGetItem",
            store.get(&[key("a"), key("b")]).await.err(),
        ),
        ("dynamodb:Query", store.query(NOBODY, "a").await.err()),
    ];
    // Conditions that never hold, on an item that is not there: refused by the condition, or by the policy.
    let absurd = |change: Change| {
        let when = vec![vec![Test::Exists]];
        store.write(Put {
            key: key("a"),
            when,
            change,
        })
    };
    let set = Item::new();
    let put = absurd(Change::Put(set.clone())).await.err();
    let update = absurd(Change::Update {
        set: Item::from([("check".to_owned(), Datum::N(1))]),
        remove: Vec::new(),
    })
    .await
    .err();
    let delete = absurd(Change::Delete).await.err();
    let writes = [
        ("dynamodb:PutItem", put),
        ("dynamodb:UpdateItem", update),
        ("dynamodb:DeleteItem", delete),
    ];
    let what = format!("permissions on the {what}");
    let readable = reads.iter().all(|(_, error)| error.is_none());
    for (action, error) in reads.into_iter().chain(writes) {
        match error {
            None | Some(StoreError::Conflict(_)) => lines.ok(&what, action),
            Some(StoreError::Failed {
                kind: Trouble::Denied,
                code,
                ..
            }) => {
                lines.refuse(
                    &what,
                    format!("{action} is denied ({code}): allow it in the role's policy"),
                );
            }
            Some(error) => lines.fail(&what, &table_failure(table, &error)),
        }
    }
    readable
}

/// This machine's clock against the `Date` of the service's answers, which is known to within a second or better.
fn check_clock(aws: &Aws, lines: &mut Lines) {
    let clock = aws.clock();
    let times = clock.wall();
    let (Some(earliest), Some(lag)) = (times.service, clock.service_lag()) else {
        lines.warn("clock", "no answer told the service's time");
        return;
    };
    let off = clock_off(times.local - earliest, lag);
    let words = format!(
        "{:.1} s from the service's",
        off.num_milliseconds() as f64 / 1000.0
    );
    if off > CLOCK_FAIL {
        lines.refuse(
            "clock",
            format!("{words}: set this machine's clock, windows and signatures go by it"),
        );
    } else if off > CLOCK_WARN {
        lines.warn(
            "clock",
            &format!("{words}: whichever of the two says that the window is shut wins"),
        );
    } else {
        lines.ok("clock", &words);
    }
}

/// How far at least a clock is off that is `ahead` of the earliest time the service can show, when it may show up to `lag` more.
fn clock_off(ahead: TimeDelta, lag: TimeDelta) -> TimeDelta {
    if ahead < TimeDelta::zero() {
        -ahead
    } else {
        (ahead - lag).max(TimeDelta::zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_inside_the_services_bounds_is_right() {
        let ms = TimeDelta::milliseconds;
        assert_eq!(clock_off(ms(400), ms(1_000)), ms(0));
        assert_eq!(clock_off(ms(0), ms(0)), ms(0));
        assert_eq!(clock_off(ms(3_500), ms(1_000)), ms(2_500));
        assert_eq!(clock_off(ms(-31_000), ms(1_000)), ms(31_000));
    }

    #[test]
    fn endpoints_of_others_are_known() {
        assert!(is_of_aws("https://sqs.ap-northeast-2.amazonaws.com"));
        assert!(is_of_aws("https://sqs.eu-west-1.api.aws"));
        assert!(!is_of_aws("http://127.0.0.1:9324"));
        assert!(!is_of_aws("http://amazonaws.com.example.org:80"));
    }

    #[test]
    fn what_cannot_be_reached_outweighs_what_is_refused() {
        let mut lines = Lines::default();
        lines.refuse("a", "b");
        assert_eq!(lines.worst, Some(ExitCode::Refused));
        lines.fail("a", &Failure::new(ExitCode::Unavailable, "x\ny"));
        lines.refuse("a", "b");
        assert_eq!(lines.worst, Some(ExitCode::Unavailable));
        assert!(lines.text.contains("FAIL a: x y\n"));
    }
}
