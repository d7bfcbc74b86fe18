//! `status`: a run as a whole, from the table alone; while it is under way and long after.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::target::{Found, find};
use super::words::{a_second as in_words, command};
use super::{Failure, runtime, start_log};
use crate::cli::StatusArgs;
use crate::exit::ExitCode;
use crate::journal::Totals;
use crate::ledger::{Account, Shard, ShardState};
use crate::plan::{LogFormat, LogLevel};
use crate::report::{Doubt, parked_in_words};

/// A run as a whole: the shape of a run's result, without what only a process or the queue knows (those are null).
#[derive(Serialize)]
struct Status {
    outcome: String,
    exit_code: Option<u8>,
    balanced: bool,
    started_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    routes: BTreeMap<String, RouteStatus>,
}

#[derive(Serialize)]
struct RouteStatus {
    run_id: String,
    result: bool,
    total: u64,
    outcome: String,
    exit_code: Option<u8>,
    message: Option<String>,
    #[serde(flatten)]
    totals: Totals,
    in_hand: u64,
    balanced: bool,
    paused: bool,
    started_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    doubts: Vec<Doubt>,
    doubts_in_all: usize,
    remaining: Option<()>,
    requests: Option<()>,
    rate: RateStatus,
    shards: Vec<ShardStatus>,
    /// For the commands that are named to people.
    #[serde(skip)]
    table: String,
}

#[derive(Serialize)]
struct RateStatus {
    limit: Option<f64>,
    average: Option<f64>,
    busiest_second: Option<u32>,
}

#[derive(Serialize)]
struct ShardStatus {
    process: String,
    shard: i64,
    host: Option<String>,
    state: &'static str,
    heartbeat_age_ms: Option<u64>,
    share: Option<f64>,
    stop: Option<String>,
    in_hand: u64,
    totals: Totals,
}

/// `sqs-drain status`.
pub fn status(args: &StatusArgs) -> Result<ExitCode, Failure> {
    start_log(LogFormat::Auto, LogLevel::Warn);
    let status = runtime()?.block_on(async {
        let mut routes: BTreeMap<String, RouteStatus> = BTreeMap::new();
        for found in find(&args.target, args.run.as_deref()).await? {
            let account = found.ledger.account(&found.id, found.silence()).await;
            let account = account.map_err(|error| found.failure(&error))?;
            // Routes of one name with different runs: drained by different settings, say.
            let name = match routes.contains_key(&found.run.route) {
                true => found.id.clone(),
                false => found.run.route.clone(),
            };
            routes.insert(name, route_status(&found, account));
        }
        Ok::<_, Failure>(whole(routes))
    })?;
    let text = if args.json {
        let line = serde_json::to_string(&status)
            .map_err(|error| Failure::new(ExitCode::Failed, error.to_string()))?;
        line + "\n"
    } else {
        let routes = status.routes.iter();
        let tables: Vec<String> = routes.map(|(name, route)| table(name, route)).collect();
        tables.join("\n")
    };
    super::print(text.as_bytes())?;
    Ok(ExitCode::Drained)
}

/// Several routes together: what is under way first, then what has the gravest end.
fn whole(routes: BTreeMap<String, RouteStatus>) -> Status {
    let under_way = routes.values().find(|r| r.exit_code.is_none());
    let decides = under_way.or_else(|| routes.values().max_by_key(|r| gravity(r.exit_code)));
    Status {
        outcome: decides.map_or_else(String::new, |r| r.outcome.clone()),
        exit_code: decides.and_then(|r| r.exit_code),
        balanced: routes.values().all(|r| r.balanced),
        started_at: routes
            .values()
            .map(|r| r.started_at)
            .min()
            .unwrap_or_default(),
        ended_at: match under_way {
            Some(_) => None,
            None => routes.values().filter_map(|r| r.ended_at).max(),
        },
        routes,
    }
}

fn gravity(exit_code: Option<u8>) -> usize {
    let place = |code: &ExitCode| Some(code.code()) == exit_code;
    let order = crate::report::GRAVEST_FIRST;
    order.len() - order.iter().position(place).unwrap_or(order.len())
}

/// Whether it looks alive: its heartbeat is at most two leases old.
fn is_living(shard: &Shard) -> bool {
    shard.state == ShardState::Living
}

/// How a run stands: a word, the exit code it comes to (none while it is under way), and what to know or do.
fn outcome(found: &Found, account: &Account) -> (String, Option<ExitCode>, Option<String>) {
    let (run, totals) = (&found.run, &account.totals);
    let started = |exit: ExitCode| (exit.outcome().to_owned(), Some(exit), None);
    if !account.is_balanced() {
        let message = format!(
            "the run does not balance: {} deliveries received, {} accounted for",
            totals.received,
            totals.classified() + account.in_hand
        );
        return ("failed".to_owned(), Some(ExitCode::Failed), Some(message));
    }
    let resume = format!("go on with `{}`", found.command("resume"));
    if account.is_alive() {
        let living = account.shards.iter().filter(|s| is_living(s));
        let quiet = living.filter_map(|s| s.heartbeat_age).min();
        let quiet = quiet.filter(|age| *age > found.lease());
        let words = quiet.map(|age| {
            format!(
                "no process of it has shown for {} s that it lives: they may be dead, and count as dead after {} s",
                age.as_secs(),
                found.silence().as_secs_f64()
            )
        });
        return match (run.paused, words) {
            (true, None) => ("paused".to_owned(), None, Some(resume)),
            (true, Some(words)) => (
                "paused".to_owned(),
                None,
                Some(format!("{words}; {resume}")),
            ),
            (false, Some(words)) => ("silent".to_owned(), None, Some(words)),
            (false, None) => ("running".to_owned(), None, None),
        };
    }
    if account.shards.iter().any(|s| s.state == ShardState::Silent) {
        let mut message = "its last processes stopped showing that they live: start the run again, it settles what they left".to_owned();
        if run.paused {
            message += &format!("; it is paused and stays so: {resume}");
        }
        return (
            "died".to_owned(),
            Some(ExitCode::Interrupted),
            Some(message),
        );
    }
    if run.ended && run.outcome.as_deref().is_none_or(|o| o == "drained") {
        if totals.rejected + totals.held == 0 {
            return started(ExitCode::Drained);
        }
        let message = parked_in_words(totals.rejected, totals.held);
        let (word, exit, _) = started(ExitCode::FinishedWithRejects);
        return (word, exit, Some(message));
    }
    let last = account.shards.iter().max_by_key(|s| s.ended_ms);
    let word = last.and_then(|s| s.stop.as_deref());
    let word = word.or(run.outcome.as_deref()).unwrap_or("interrupted");
    let exit = match word {
        "window_closed" => ExitCode::WindowClosed,
        "unavailable" => ExitCode::Unavailable,
        "failed" => ExitCode::Failed,
        _ => ExitCode::Interrupted,
    };
    let message = match run.paused {
        true => format!(
            "nobody works on it, and it is paused: start it again and resume it with `{}`",
            found.command("resume")
        ),
        false => "nobody works on it: start it again to go on".to_owned(),
    };
    (word.to_owned(), Some(exit), Some(message))
}

fn route_status(found: &Found, account: Account) -> RouteStatus {
    let run = &found.run;
    let (outcome, exit, message) = outcome(found, &account);
    let at = |ms: i64| DateTime::from_timestamp_millis(ms).unwrap_or_default();
    RouteStatus {
        run_id: found.id.clone(),
        result: exit == Some(ExitCode::Drained),
        total: account.totals.sent,
        outcome,
        exit_code: exit.map(ExitCode::code),
        message,
        totals: account.totals,
        in_hand: account.in_hand,
        balanced: account.is_balanced(),
        paused: run.paused,
        started_at: at(run.since_ms),
        ended_at: exit
            .and_then(|_| account.shards.iter().filter_map(|s| s.ended_ms).max())
            .map(at),
        doubts_in_all: account.troubles.len(),
        doubts: account
            .troubles
            .iter()
            .map(|t| Doubt::new(t.id, t.state()))
            .collect(),
        remaining: None,
        requests: None,
        rate: RateStatus {
            limit: a_second(run.rate),
            average: None,
            busiest_second: None,
        },
        shards: account
            .shards
            .into_iter()
            .map(|shard| shard_status(shard, found.lease()))
            .collect(),
        table: found.table.clone(),
    }
}

/// Thousandths of a message a second as messages a second; `None`: no limit.
fn a_second(share: i64) -> Option<f64> {
    (share >= 0).then_some(share as f64 / 1000.0)
}

fn shard_status(shard: Shard, lease: Duration) -> ShardStatus {
    let late = shard.heartbeat_age.is_some_and(|age| age > lease);
    ShardStatus {
        process: shard.process,
        shard: shard.shard,
        host: Some(shard.host).filter(|h| !h.is_empty()),
        state: match shard.state {
            // It may be dead, and may have been late.
            ShardState::Living if late => "silent",
            ShardState::Living => "living",
            // Nobody has watched it stand still: it only looks so by two clocks.
            ShardState::Silent => "dead?",
            ShardState::Died => "died",
            ShardState::Ended => "ended",
        },
        heartbeat_age_ms: shard.heartbeat_age.map(|age| age.as_millis() as u64),
        share: shard.share.and_then(a_second),
        stop: shard.stop,
        in_hand: shard.in_hand,
        totals: shard.totals,
    }
}

/// A route for people.
fn table(name: &str, route: &RouteStatus) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_table(name, route, &mut out);
    out
}

fn write_table(name: &str, route: &RouteStatus, out: &mut String) -> std::fmt::Result {
    let time = |at: DateTime<Utc>| at.format("%Y-%m-%d %H:%M:%SZ").to_string();
    let until = match route.ended_at {
        Some(at) => format!(", ended {}", time(at)),
        None => String::new(),
    };
    // What is drained goes on with nothing, paused or not.
    let over = route.exit_code == Some(ExitCode::Drained.code())
        || route.exit_code == Some(ExitCode::FinishedWithRejects.code());
    let paused = match route.paused && !over && route.outcome != "paused" {
        true => ", paused",
        false => "",
    };
    writeln!(
        out,
        "route {name}, run {}: {}{paused}",
        route.run_id, route.outcome
    )?;
    if let Some(message) = &route.message {
        writeln!(out, "  {message}")?;
    }
    let limit = match route.rate.limit {
        Some(limit) => format!("at most {limit}/s"),
        None => "no limit of rate".to_owned(),
    };
    writeln!(out, "  started {}{until}, {limit}", time(route.started_at))?;
    let t = &route.totals;
    writeln!(
        out,
        "  {} received = {} sent + {} deduplicated + {} rejected + {} held + {} released + {} in doubt + {} in hand{}",
        t.received,
        t.sent,
        t.deduplicated,
        t.rejected,
        t.held,
        t.released,
        t.in_doubt,
        route.in_hand,
        if route.balanced {
            ""
        } else {
            ": DOES NOT BALANCE"
        },
    )?;
    writeln!(
        out,
        "  {} possible duplicates, {} doubts settled by the runs",
        t.possible_duplicates, t.doubts_settled,
    )?;
    let doubts = route.doubts.iter().filter(|d| d.state.is_doubt()).count();
    let others = route.doubts.len() - doubts;
    let open = |d: &&Doubt| d.state.is_open_doubt();
    let open = match route.doubts.iter().filter(open).count() {
        0 => ", all ended".to_owned(),
        n if n == doubts => ", still open".to_owned(),
        n => format!(", {n} still open"),
    };
    for (n, one, more, how, words) in [
        (doubts, "doubt", "doubts", open.as_str(), "doubts list"),
        (
            others,
            "rejected or parked message",
            "rejected or parked messages",
            "",
            "status --json",
        ),
    ] {
        if n > 0 {
            let what = if n == 1 { one } else { more };
            let command = command(words, &route.run_id, &route.table);
            writeln!(out, "  {n} {what}{how}, listed by `{command}`")?;
        }
    }
    writeln!(
        out,
        "  {:<26} {:>5} {:<8} {:>8} {:>9} {:>10} {:>10}  {:<14} HOST",
        "PROCESS", "SHARD", "STATE", "BEAT", "SHARE/S", "RECEIVED", "SENT", "STOP"
    )?;
    for shard in &route.shards {
        let beat = match shard.heartbeat_age_ms {
            Some(ms) => format!("{:.1}s", ms as f64 / 1000.0),
            None => "-".to_owned(),
        };
        let share = shard.share.map_or("-".to_owned(), in_words);
        writeln!(
            out,
            "  {:<26} {:>5} {:<8} {:>8} {:>9} {:>10} {:>10}  {:<14} {}",
            shard.process,
            shard.shard,
            shard.state,
            beat,
            share,
            shard.totals.received,
            shard.totals.sent,
            shard.stop.as_deref().unwrap_or("-"),
            shard.host.as_deref().unwrap_or("-"),
        )?;
    }
    Ok(())
}
