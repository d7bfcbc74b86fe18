//! `pause`, `resume` and `rate`: changes a run under way. The run's item is the truth; its processes are told at once too, so that it
//! takes effect with their next heartbeat and not with the coordinator's next round.

use std::io::Write;
use std::time::Duration;

use super::target::{Found, find_to_steer};
use super::{Failure, now, runtime, start_log};
use crate::cli::{RateArgs, RunTargetArgs};
use crate::exit::ExitCode;
use crate::ledger::{Beat, LedgerError};
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
            say(&found, &format!("{verb}{already}"), &told)?;
        }
        Ok(ExitCode::Drained)
    })
}

async fn tell_paused(found: &Found, paused: bool) -> Result<Told, LedgerError> {
    found.ledger.steer(&found.id, Some(paused), None).await?;
    let processes = processes(found).await?;
    for (process, _) in &processes {
        found.ledger.tell_paused(process, paused).await?;
    }
    Ok(Told::of(found, &processes))
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
            say(&found, &words, &told)?;
        }
        Ok(ExitCode::Drained)
    })
}

/// Writes the rate into the run, and into the processes' grants what is safe without the coordinator: a lower share for each, and a
/// higher one for the only process there is. A grant that has changed since it was read is the coordinator's.
async fn tell_rate(found: &Found, rate: i64) -> Result<Told, LedgerError> {
    found.ledger.steer(&found.id, None, Some(rate)).await?;
    let processes = processes(found).await?;
    let each = match rate {
        unlimited if unlimited < 0 => unlimited,
        limited => limited / (processes.len() as i64).max(1),
    };
    for (process, beat) in &processes {
        let Some(grant) = beat.as_ref().map(|b| b.grant) else {
            continue;
        };
        let lower = as_limit(each) < as_limit(grant.share);
        if lower || processes.len() == 1 {
            found.ledger.tell_share(process, &grant, each).await?;
        }
    }
    Ok(Told::of(found, &processes))
}

/// The run's registered processes, with their heartbeats.
async fn processes(found: &Found) -> Result<Vec<(String, Option<Beat>)>, LedgerError> {
    let mut all = found.ledger.processes().await?;
    all.retain(|p| p.run == found.id);
    let names: Vec<String> = all.into_iter().map(|p| p.process).collect();
    let beats = found.ledger.beats(&names).await?;
    Ok(names.into_iter().zip(beats).collect())
}

/// Who was told, as far as they live.
struct Told {
    /// How many processes have a heartbeat of the last two leases.
    living: usize,
    /// How old the youngest heartbeat is, where none is of the last lease.
    silent: Option<Duration>,
}

impl Told {
    fn of(found: &Found, processes: &[(String, Option<Beat>)]) -> Self {
        let now_ms = now().timestamp_millis();
        let beats = processes.iter().filter_map(|(_, beat)| beat.as_ref());
        let ages: Vec<Duration> = beats
            .filter(|beat| beat.fenced_by.is_none())
            .map(|beat| Duration::from_millis((now_ms - beat.at_ms).max(0).unsigned_abs()))
            .filter(|age| *age <= found.silence())
            .collect();
        Self {
            living: ages.len(),
            silent: ages.into_iter().min().filter(|age| *age > found.lease()),
        }
    }

    fn words(&self) -> String {
        match (self.living, self.silent) {
            (0, _) => "nobody works on it now, and it holds from the next start".to_owned(),
            (_, Some(age)) => format!(
                "no process of it has shown for {} s that it lives: who does follows with its next heartbeat, and it holds from the next start",
                age.as_secs()
            ),
            (1, None) => "its process follows with its next heartbeat".to_owned(),
            (n, None) => format!("its {n} processes follow with their next heartbeats"),
        }
    }
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

fn say(found: &Found, words: &str, told: &Told) -> Result<(), Failure> {
    writeln!(
        std::io::stderr(),
        "sqs-drain: the run '{}' {words}; {}",
        found.id,
        told.words()
    )?;
    Ok(())
}
