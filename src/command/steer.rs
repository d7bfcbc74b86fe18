//! `pause`, `resume` and `rate`: changes a run under way. The run's item is the truth; its processes are told at once too, so that it
//! takes effect with their next heartbeat and not with the coordinator's next round.

use std::io::Write;

use super::target::{Found, find_to_steer};
use super::{Failure, runtime, start_log};
use crate::cli::{RateArgs, RunTargetArgs};
use crate::exit::ExitCode;
use crate::ledger::LedgerError;
use crate::pace::{as_limit, share_of};
use crate::plan::{LogFormat, LogLevel, NOT_A_RATE, RATE_FORM, Refusal, parse_rate};

/// `sqs-drain pause` and `sqs-drain resume`.
pub fn pause(args: &RunTargetArgs, paused: bool) -> Result<ExitCode, Failure> {
    start_log(LogFormat::Auto, LogLevel::Warn);
    runtime()?.block_on(async {
        let words = if paused { "pause" } else { "resume" };
        for found in find_to_steer(&args.target, args.run.as_deref(), words).await? {
            let verb = if paused { "paused" } else { "resumed" };
            must_not_have_ended(&found, verb)?;
            let told = tell_paused(&found, paused).await;
            let told = told.map_err(|error| found.failure(&error))?;
            let was = found.run.paused == paused;
            let already = if was { " already" } else { "" };
            say(&found, &format!("{verb}{already}"), told)?;
        }
        Ok(ExitCode::Drained)
    })
}

async fn tell_paused(found: &Found, paused: bool) -> Result<usize, LedgerError> {
    found.ledger.steer(&found.id, Some(paused), None).await?;
    let processes = processes(found).await?;
    for process in &processes {
        found.ledger.tell_paused(process, paused).await?;
    }
    Ok(processes.len())
}

/// `sqs-drain rate`.
pub fn rate(args: &RateArgs) -> Result<ExitCode, Failure> {
    let rate = parse_rate(&args.rate)
        .ok_or_else(|| Refusal::new(format!("{} {NOT_A_RATE}", args.rate), RATE_FORM))?;
    start_log(LogFormat::Auto, LogLevel::Warn);
    runtime()?.block_on(async {
        let words = format!("rate {}", args.rate);
        for found in find_to_steer(&args.target, args.run.as_deref(), &words).await? {
            must_not_have_ended(&found, "given another rate")?;
            let told = tell_rate(&found, share_of(rate)).await;
            let told = told.map_err(|error| found.failure(&error))?;
            let words = match rate {
                Some(rate) => format!("sends at most {rate} messages a second from now on"),
                None => "sends without a limit from now on".to_owned(),
            };
            say(&found, &words, told)?;
        }
        Ok(ExitCode::Drained)
    })
}

/// Writes the rate into the run, and into the processes' grants what is safe without the coordinator: a lower share for each, and a
/// higher one for the only process there is. A grant that has changed since it was read is the coordinator's.
async fn tell_rate(found: &Found, rate: i64) -> Result<usize, LedgerError> {
    found.ledger.steer(&found.id, None, Some(rate)).await?;
    let processes = processes(found).await?;
    let beats = found.ledger.beats(&processes).await?;
    let each = match rate {
        unlimited if unlimited < 0 => unlimited,
        limited => limited / (processes.len() as i64).max(1),
    };
    for (process, beat) in processes.iter().zip(beats) {
        let Some(grant) = beat.map(|b| b.grant) else {
            continue;
        };
        let lower = as_limit(each) < as_limit(grant.share);
        if lower || processes.len() == 1 {
            found.ledger.tell_share(process, &grant, each).await?;
        }
    }
    Ok(processes.len())
}

/// The run's registered processes.
async fn processes(found: &Found) -> Result<Vec<String>, LedgerError> {
    let all = found.ledger.processes().await?;
    Ok(all
        .into_iter()
        .filter(|p| p.run == found.id)
        .map(|p| p.process)
        .collect())
}

fn must_not_have_ended(found: &Found, what: &str) -> Result<(), Failure> {
    if !found.run.ended {
        return Ok(());
    }
    Err(Failure::new(
        ExitCode::Refused,
        format!(
            "the run '{}' has ended and cannot be {what}: see `{}`",
            found.id,
            found.command("status")
        ),
    ))
}

fn say(found: &Found, words: &str, told: usize) -> Result<(), Failure> {
    let when = match told {
        0 => "no process of it is registered, the next one starts so".to_owned(),
        1 => "its process follows with its next heartbeat".to_owned(),
        n => format!("its {n} processes follow with their next heartbeats"),
    };
    writeln!(
        std::io::stderr(),
        "sqs-drain: the run '{}' {words}; {when}",
        found.id
    )?;
    Ok(())
}
