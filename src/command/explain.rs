//! `explain`: why the window of each route is open or shut, now or at another time.

use super::{Failure, now};
use crate::cli::ExplainArgs;
use crate::exit::ExitCode;
use crate::plan::{Refusal, parse_instant};
use crate::window::{State, too_late};

/// `sqs-drain explain`.
pub fn explain(args: &ExplainArgs) -> Result<ExitCode, Failure> {
    let now = now();
    let windows = args.run.request(now)?.windows()?;
    let mut text = String::new();
    for (index, hours) in windows.iter().enumerate() {
        let (name, window) = (&hours.name, &hours.window);
        let at = match &args.at {
            None => now,
            Some(at) => parse_instant(at, window).ok_or_else(|| {
                Refusal::new(
                    format!("--at {at} is not a time"),
                    "write one such as 2026-11-23T08:00 (in the window's zone) or 2026-11-23T08:00:00+09:00",
                )
            })?,
        };
        if windows.len() > 1 {
            let gap = if index > 0 { "\n" } else { "" };
            text += &format!("{gap}Route {name}:\n");
        }
        text += &window.explain(at);
        if let (Some(within), State::Open { opened_at, .. }) =
            (hours.start_within, window.state_at(at))
        {
            text += &match too_late(opened_at, at, within) {
                Some(words) => format!("A run that is not there yet is refused, {words}.\n"),
                None => "A run may still be begun (--start-within).\n".to_owned(),
            };
        }
    }
    super::print(text.as_bytes())?;
    Ok(ExitCode::Drained)
}
