//! `explain`: why the window of each route is open or shut, now or at another time.

use super::{Failure, now};
use crate::cli::ExplainArgs;
use crate::exit::ExitCode;
use crate::plan::{Refusal, parse_instant};

/// `sqs-drain explain`.
pub fn explain(args: &ExplainArgs) -> Result<ExitCode, Failure> {
    let now = now();
    let windows = args.run.request(now)?.windows()?;
    let mut text = String::new();
    for (index, (name, window)) in windows.iter().enumerate() {
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
    }
    super::print(text.as_bytes())?;
    Ok(ExitCode::Drained)
}
