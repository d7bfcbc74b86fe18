//! `doubts`: lists the messages that may or may not have been sent, and settles them.

use std::fmt::Write as _;
use std::io::Write;

use chrono::DateTime;
use serde::Serialize;

use super::target::find;
use super::{Failure, runtime, start_log};
use crate::cli::{DoubtsArgs, DoubtsCommand, DoubtsListArgs};
use crate::exit::ExitCode;
use crate::journal::RecordState;
use crate::ledger::Trouble;
use crate::plan::{LogFormat, LogLevel};

mod own;
mod settle;

/// `sqs-drain doubts`.
pub fn doubts(args: &DoubtsArgs) -> Result<ExitCode, Failure> {
    match &args.command {
        DoubtsCommand::List(args) => list(args),
        DoubtsCommand::Settle(args) => settle::settle(args),
    }
}

/// A doubt for people and programs.
#[derive(Serialize)]
struct Line {
    run_id: String,
    id: String,
    state: RecordState,
    code: Option<String>,
    at: Option<String>,
    by: Option<String>,
    note: Option<&'static str>,
}

fn note(trouble: &Trouble) -> Option<&'static str> {
    match trouble.state() {
        RecordState::InDoubt => Some("may have been delivered"),
        RecordState::Resent => Some("may have been delivered twice"),
        RecordState::Held => Some("may also have been delivered"),
        RecordState::Settling => {
            Some("sent by hand and the answer was not seen: may or may not have been delivered")
        }
        RecordState::Settled if trouble.record.again => Some("may have been delivered twice"),
        RecordState::Dropped => Some("may have been delivered before it was dropped"),
        _ => None,
    }
}

fn list(args: &DoubtsListArgs) -> Result<ExitCode, Failure> {
    start_log(LogFormat::Auto, LogLevel::Warn);
    let lines = runtime()?.block_on(async {
        let mut lines = Vec::new();
        for found in find(&args.target, args.run.as_deref()).await? {
            let account = found.ledger.account(&found.id, found.silence()).await;
            let account = account.map_err(|error| found.failure(&error))?;
            let doubts = account.troubles.iter().filter(|t| t.state().is_doubt());
            lines.extend(doubts.map(|t| line(&found.id, t)));
        }
        Ok::<_, Failure>(lines)
    })?;
    let mut out = String::new();
    for line in &lines {
        if args.json {
            out += &serde_json::to_string(line)
                .map_err(|error| Failure::new(ExitCode::Failed, error.to_string()))?;
            out.push('\n');
        } else {
            let _ = writeln!(
                out,
                "{}  {:<8}  {}  by {}{}{}",
                line.id,
                line.state.to_string(),
                line.at.as_deref().unwrap_or("not settled by anybody yet"),
                line.by.as_deref().unwrap_or("-"),
                line.code
                    .as_deref()
                    .map_or(String::new(), |c| format!("  ({c})")),
                line.note.map_or(String::new(), |n| format!("  {n}")),
            );
        }
    }
    std::io::stdout().write_all(out.as_bytes())?;
    if lines.is_empty() && !args.json {
        writeln!(std::io::stderr(), "sqs-drain: no doubts")?;
    }
    Ok(ExitCode::Drained)
}

fn line(run: &str, trouble: &Trouble) -> Line {
    let at = trouble.at_ms.and_then(DateTime::from_timestamp_millis);
    Line {
        run_id: run.to_owned(),
        id: trouble.id.to_string(),
        state: trouble.state(),
        code: trouble.code.clone(),
        at: at.map(|at| at.format("%Y-%m-%dT%H:%M:%SZ").to_string()),
        by: trouble.by.clone(),
        note: note(trouble),
    }
}
