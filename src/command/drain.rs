//! `run`: every route asked for, side by side, and the one result line.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use tokio::task::LocalSet;

use super::access::access;
use super::connect::{Connected, connect};
use super::progress::Line;
use super::watched::Watched;
use super::words::command;
use super::{Failure, notify, runtime, signals, start_log};
use crate::aws::{Aws, Timeouts};
use crate::cli::RunArgs;
use crate::exit::ExitCode;
use crate::plan::{Plan, ProcessPlan};
use crate::report::{Report, Requests, RouteReport, ShardLabel};
use crate::stop::{Reason, Stop};

/// `sqs-drain run`.
pub fn run(args: &RunArgs) -> Result<ExitCode, Failure> {
    let plan = args.plan(super::now())?;
    start_log(plan.process.log_format, plan.process.log_level);
    let started_at = super::now();
    let work = async {
        let aws = access(Timeouts::default()).await?;
        drain(&plan, &aws).await
    };
    let runtime = runtime()?;
    let result = match runtime.block_on(LocalSet::new().run_until(work)) {
        Ok(report) => {
            let printed = print(&report, &plan.process);
            runtime.block_on(notify::of_result(&plan.process, &plan.routes, &report));
            printed.map(|()| report.exit())
        }
        Err(failure) => {
            let shard = label(&plan.process);
            let report = not_started(&plan, &failure, shard, started_at);
            let refused_for_it =
                can_be_written(&plan.process).is_err_and(|refused| refused.line == failure.line);
            if let Err(unwritten) = print(&report, &plan.process)
                && !refused_for_it
            {
                tracing::warn!("{}", unwritten.line);
            }
            runtime.block_on(notify::of_failure(&plan.process, &plan.routes, &failure));
            Err(failure)
        }
    };
    // A look-up of the webhook's host that hangs must not hold the process up.
    runtime.shutdown_background();
    result
}

/// Drains all routes of a plan side by side, until all have ended.
///
/// # Errors
/// When a route is refused: then none has received anything.
pub async fn drain(plan: &Plan, aws: &Aws) -> Result<Report, Failure> {
    let started_at = super::now();
    can_be_written(&plan.process)?;
    for warning in &plan.warnings {
        tracing::warn!("{warning}");
    }
    let stop = Stop::default();
    watch_signals(stop.clone());
    let mut connected = Vec::new();
    for route in &plan.routes {
        connected.push(connect(aws, &plan.process, route).await?);
    }
    let drains = connected
        .into_iter()
        .map(|route| drain_one(&plan.process, route, stop.clone()));
    let routes: BTreeMap<String, RouteReport> = futures::future::join_all(drains)
        .await
        .into_iter()
        .collect();
    let shard = label(&plan.process);
    Ok(Report::new(shard, started_at, super::now(), routes))
}

fn label(process: &ProcessPlan) -> ShardLabel {
    ShardLabel {
        index: process.shard.index,
        of: process.shard.of,
    }
}

/// The result of a process that was refused before any route began: each route says why.
fn not_started(
    plan: &Plan,
    failure: &Failure,
    shard: ShardLabel,
    started_at: DateTime<Utc>,
) -> Report {
    let routes = plan.routes.iter().map(|route| {
        let (run_id, line) = (route.run_id.clone(), failure.line.clone());
        let report = RouteReport::not_run(failure.exit, run_id, line);
        (route.name.clone(), report)
    });
    Report::new(shard, started_at, super::now(), routes.collect())
}

/// A result file that cannot be written is found out now and not when the night's work is done.
fn can_be_written(process: &ProcessPlan) -> Result<(), Failure> {
    let Some(path) = &process.result else {
        return Ok(());
    };
    let open = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path);
    open.map(drop).map_err(|error| {
        Failure::new(
            ExitCode::Refused,
            format!(
                "the result file {} cannot be written ({error}): name one in a directory that exists and may be written to",
                path.display()
            ),
        )
    })
}

/// Drains one route, with a stop switch of its own that follows the process's.
async fn drain_one(
    process: &ProcessPlan,
    route: Connected,
    signalled: Stop,
) -> (String, RouteReport) {
    let Connected {
        wiring,
        settings,
        clients,
        counts,
        table,
    } = route;
    let (name, given) = (settings.route.clone(), settings.run_id.clone());
    let stop = Stop::default();
    let watched = Watched::new(&settings, &wiring, table.clone());
    let line = Line::new(process.progress, &name, counts.total());
    let draining = crate::drain::run(wiring, settings, stop.clone(), move |p| {
        line.show(p);
        watched.see(p);
    });
    let follow = async {
        signalled.requested().await;
        stop.request(Reason::Interrupted);
        std::future::pending::<()>().await;
    };
    let mut report = tokio::select! {
        biased;
        report = draining => report,
        () = follow => unreachable!("the follower never ends"),
    };
    // A route that did not get as far as its run has that name all the same.
    report.run_id = report.run_id.or(given);
    if let (Some(message), Some(run), Some(table)) = (&mut report.message, &report.see_run, table) {
        *message += &format!(" (`{}` shows it)", command("status", run, &table));
    }
    if let Some(message) = &report.message {
        tracing::warn!(route = %name, outcome = report.outcome, "{message}");
    }
    let counted = clients.requests();
    report.requests = Requests {
        receive: counted.receive,
        send: counted.send,
        delete: counted.delete,
        other_sqs: counted.other_sqs,
        dynamodb_read: counted.dynamodb_read,
        dynamodb_write: counted.dynamodb_write,
    };
    (name, report)
}

/// Turns the first signal into a stop.
fn watch_signals(stop: Stop) {
    tokio::task::spawn_local(async move {
        match signals::first().await {
            Ok(()) => {
                tracing::info!(
                    "stopping: finishing what is in flight (a second signal leaves at once)"
                );
                stop.request(Reason::Interrupted);
            }
            Err(error) => {
                tracing::error!(%error, "signals cannot be received: stop with SIGKILL only")
            }
        }
    });
}

/// The result: one line on standard output, and in the file that was asked for.
pub fn print(report: &Report, process: &ProcessPlan) -> Result<(), Failure> {
    let line = serde_json::to_string(report).map_err(|error| {
        Failure::new(
            ExitCode::Failed,
            format!("the result cannot be written: {error}"),
        )
    })?;
    let printed = super::print(format!("{line}\n").as_bytes());
    if let Some(path) = &process.result {
        std::fs::write(path, format!("{line}\n")).map_err(|error| {
            Failure::new(
                ExitCode::Failed,
                format!(
                    "the result file {} cannot be written: {error}",
                    path.display()
                ),
            )
        })?;
    }
    printed
}
