//! `plan`: what a run would do now. Changes nothing, receives nothing.

use std::fmt::Write as _;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::access::access;
use super::connect::{check_table, clients_of, lanes};
use super::look::{Queues, look_at_all, too_late, window_words};
use super::{Failure, now, runtime, start_log};
use crate::aws::{Aws, Timeouts};
use crate::cli::RunArgs;
use crate::exit::ExitCode;
use crate::plan::{Cutoff, Delivery, Journal, Plan, RoutePlan};
use crate::report::GRAVEST_FIRST;
use crate::window::State;

/// `sqs-drain plan`.
pub fn plan(args: &RunArgs) -> Result<ExitCode, Failure> {
    let now = now();
    let plan = args.plan(now)?;
    start_log(plan.process.log_format, plan.process.log_level);
    let text = runtime()?.block_on(words(&plan, now))?;
    super::print(text.as_bytes())?;
    Ok(ExitCode::Drained)
}

async fn words(plan: &Plan, now: DateTime<Utc>) -> Result<String, Failure> {
    let aws = access(Timeouts::default()).await?;
    let mut out = String::new();
    for warning in &plan.warnings {
        let _ = writeln!(out, "warning: {warning}");
    }
    let mut exits = Vec::new();
    for route in &plan.routes {
        exits.push(write_route(&aws, plan, route, now, &mut out).await?);
    }
    let _ = match GRAVEST_FIRST
        .iter()
        .find(|code| exits.contains(&Some(**code)))
    {
        None => writeln!(out, "A start now would run."),
        Some(code) if exits.contains(&None) => writeln!(
            out,
            "A start now would run, but not every route, and end with exit code {} or graver ({}).",
            code.code(),
            code.description()
        ),
        Some(code) => writeln!(
            out,
            "A start now would not run: exit code {} ({}).",
            code.code(),
            code.description()
        ),
    };
    Ok(out)
}

/// Writes what a route would do. Answers with the exit code of a start that would not run.
async fn write_route(
    aws: &Aws,
    plan: &Plan,
    route: &RoutePlan,
    now: DateTime<Utc>,
    out: &mut String,
) -> Result<Option<ExitCode>, Failure> {
    let clients = clients_of(aws, route);
    let queues = Queues::of(look_at_all(&clients, route).await)?;
    let warnings = queues.check(route)?;
    let _ = writeln!(out, "Route {}", route.name);
    for queue in std::iter::once(&queues.source).chain(&queues.sinks) {
        let c = &queue.counts;
        let _ = writeln!(
            out,
            "  {:<12} {} ({} visible, {} in flight, {} delayed)",
            queue.role,
            queue.name(),
            c.visible,
            c.in_flight,
            c.delayed
        );
    }
    if let Some(reject) = &route.reject {
        let _ = writeln!(out, "  {:<12} {reject}", "reject");
    }
    if let Some(hold) = route.hold() {
        let _ = writeln!(out, "  {:<12} {hold}", "hold");
    }
    let _ = writeln!(
        out,
        "  {:<12} {}",
        "window",
        window_words(&route.window, now)
    );
    let exit = write_run(aws, plan, route, &queues, now, out).await?;
    write_settings(plan, route, &queues, out);
    for warning in warnings {
        let _ = writeln!(out, "  {:<12} {warning}", "warning");
    }
    Ok(exit)
}

/// Writes which run it would be, and whether it would be let in.
async fn write_run(
    aws: &Aws,
    plan: &Plan,
    route: &RoutePlan,
    queues: &Queues,
    now: DateTime<Utc>,
    out: &mut String,
) -> Result<Option<ExitCode>, Failure> {
    let shut = match route.window.state_at(now) {
        State::Open { .. } => None,
        State::Shut { opens_at: Some(_) } if route.wait_open => None,
        State::Shut { .. } => Some(ExitCode::OutsideWindow),
    };
    let Some(run_id) = route.run_id_at(now) else {
        let _ = writeln!(out, "  {:<12} none: the window never opens again", "run");
        return Ok(Some(ExitCode::OutsideWindow));
    };
    let Journal::Table(table) = &route.journal else {
        let late = too_late(route, now);
        let words = late
            .as_deref()
            .map_or(String::new(), |words| format!(": refused, {words}"));
        let _ = writeln!(
            out,
            "  {:<12} {run_id}{words}, without a journal: after a crash nothing is known of what was sent",
            "run"
        );
        return Ok(shut.or(late.map(|_| ExitCode::OutsideWindow)));
    };
    check_table(&clients_of(aws, route), table).await?;
    let start = queues
        .start(aws, &plan.process, route, table, &run_id, now)
        .await?;
    let _ = writeln!(out, "  {:<12} {run_id}: {}", "run", start.words());
    let _ = writeln!(out, "  {:<12} {table}", "table");
    Ok(shut.or(start.exit()))
}

fn write_settings(plan: &Plan, route: &RoutePlan, queues: &Queues, out: &mut String) {
    let s = |d: Duration| format!("{}s", d.as_secs_f64());
    let rate = match (route.rate, route.burst) {
        (None, _) => "no limit".to_owned(),
        (Some(rate), Some(burst)) => format!("{rate}/s over all shards, burst {burst}"),
        (Some(rate), None) => format!("{rate}/s over all shards, burst 10 for each shard"),
    };
    let _ = writeln!(out, "  {:<12} {rate}", "rate");
    if let Some(rate) = route.rate {
        let left = queues.source.counts.total() as f64 / rate;
        let left = Duration::from_secs(left.min(1e9).ceil() as u64);
        let _ = writeln!(
            out,
            "  {:<12} what the source holds takes at least {}",
            "time",
            s(left)
        );
    }
    let shard = plan.process.shard;
    let _ = writeln!(
        out,
        "  {:<12} {} in this process (shard {} of {}), pages of {}",
        "lanes",
        lanes(route),
        shard.index,
        shard.of,
        route.page
    );
    let cutoff = match route.cutoff {
        Cutoff::RunStart => "the start of the run".to_owned(),
        Cutoff::None => "none".to_owned(),
        Cutoff::At(at) => route.window.describe(at),
    };
    let _ = writeln!(out, "  {:<12} {cutoff}", "cut-off");
    let delivery = match &route.delivery {
        Delivery::AtLeastOnce => "at-least-once: a doubt is sent again",
        Delivery::AtMostOnce { .. } => "at-most-once: a doubt goes to the hold queue",
    };
    let _ = writeln!(out, "  {:<12} {delivery}", "delivery");
    let t = &route.timings;
    let _ = writeln!(
        out,
        "  {:<12} visibility {}, send {}, table {}, margin {}, heartbeat {}, lease {}, poll {}, settle {}, grace {}",
        "timings",
        s(t.visibility),
        s(t.send_timeout),
        s(t.table_timeout),
        s(t.margin),
        s(t.heartbeat),
        s(t.lease),
        s(t.poll),
        s(t.settle),
        s(plan.process.grace)
    );
}
