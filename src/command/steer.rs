//! `pause`, `resume` and `rate`: which run is meant, and what is said of it. What they do is `drain::steer`.

use std::io::Write;
use std::time::Duration;

use super::target::{Found, find_to_steer};
use super::{Failure, now, runtime, start_log};
use crate::cli::{RateArgs, RunTargetArgs};
use crate::drain::steer::{self, Told};
use crate::exit::ExitCode;
use crate::pace::share_of;
use crate::plan::{LogFormat, LogLevel, NOT_A_RATE, RATE_FORM, Refusal, parse_rate};

/// `sqs-drain pause` and `sqs-drain resume`.
pub fn pause(args: &RunTargetArgs, paused: bool) -> Result<ExitCode, Failure> {
    start_log(LogFormat::Auto, LogLevel::Warn);
    runtime()?.block_on(async {
        let words = if paused { "pause" } else { "resume" };
        for found in find_to_steer(&args.target, args.run.as_deref(), words).await? {
            let verb = if paused { "paused" } else { "resumed" };
            must_not_have_ended(&found, verb)?;
            let told = steer::pause(&found.ledger, &found.id, paused).await;
            let told = told.map_err(|error| found.failure(&error))?;
            let was = found.run.paused == paused;
            let already = if was { " already" } else { "" };
            say(
                &found,
                &format!("{verb}{already}"),
                &Living::of(&found, &told),
            )?;
        }
        Ok(ExitCode::Drained)
    })
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
            let told = steer::rate(&found.ledger, &found.id, share_of(rate)).await;
            let told = told.map_err(|error| found.failure(&error))?;
            let words = match rate {
                Some(rate) => format!("sends at most {rate} messages a second from now on"),
                None => "sends without a limit from now on".to_owned(),
            };
            say(&found, &words, &Living::of(&found, &told))?;
        }
        Ok(ExitCode::Drained)
    })
}

/// Who was told, as far as they live.
struct Living {
    /// How many processes have a heartbeat of the last two leases.
    number: usize,
    /// How old the youngest heartbeat is, where none is of the last lease.
    silent: Option<Duration>,
}

impl Living {
    fn of(found: &Found, processes: &[Told]) -> Self {
        let now_ms = now().timestamp_millis();
        let beats = processes.iter().filter_map(|(_, beat)| beat.as_ref());
        let ages: Vec<Duration> = beats
            .filter(|beat| beat.fenced_by.is_none())
            .map(|beat| Duration::from_millis((now_ms - beat.at_ms).max(0).unsigned_abs()))
            .filter(|age| *age <= found.silence())
            .collect();
        Self {
            number: ages.len(),
            silent: ages.into_iter().min().filter(|age| *age > found.lease()),
        }
    }

    fn words(&self) -> String {
        match (self.number, self.silent) {
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

fn say(found: &Found, words: &str, living: &Living) -> Result<(), Failure> {
    writeln!(
        std::io::stderr(),
        "sqs-drain: the run '{}' {words}; {}",
        found.id,
        living.words()
    )?;
    Ok(())
}
