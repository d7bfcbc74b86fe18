//! What a drain tells of itself when it has ended.

use std::time::Duration;

use super::context::Context;
use crate::exit::ExitCode;
use crate::journal::Totals;
use crate::message::Counts;
use crate::port::{Clock, Ports, Source};
use crate::report::{Doubt, Rate, Requests, RouteReport, parked_in_words};
use crate::stop::Reason;

/// How long a process that was stopped asks what is left in the source.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// The deliveries of a drain, each in its class.
struct Account {
    totals: Totals,
    /// They add up to what was received.
    balanced: bool,
    /// Something was in hand at the end, and is another's to settle.
    cut_off: bool,
}

/// The result of a route that ran. `left_the_run`: the table took the last of what this process had to tell.
pub async fn report<P: Ports>(ctx: &Context<P>, run_id: String, left_the_run: bool) -> RouteReport {
    let reason = ctx.stop.reason().unwrap_or(Reason::Ended);
    let remaining = match ctx.stop.forbids_touching() || !left_the_run {
        true => None,
        false => remaining(ctx, &reason).await,
    };
    let account = account(ctx);
    let left = match (remaining, &reason) {
        (None, _) => 1,
        (Some(counts), Reason::WindowClosed) => {
            counts.total().saturating_sub(parked_in_the_run(ctx).await)
        }
        (Some(counts), _) => counts.total().saturating_sub(account.totals.parked),
    };
    let (exit, message) = outcome(ctx, reason, &account, left, left_the_run);
    let doubts = ctx.trouble.borrow();
    RouteReport {
        run_id: Some(run_id),
        result: exit == ExitCode::Drained,
        total: account.totals.sent,
        outcome: exit.outcome(),
        message,
        totals: account.totals,
        doubts: doubts
            .iter()
            .map(|(id, state)| Doubt::new(*id, *state))
            .collect(),
        doubts_in_all: doubts.len() + ctx.trouble_unlisted.borrow().len(),
        remaining: remaining.map(Into::into),
        requests: Requests::default(),
        rate: Rate {
            limit: ctx.settings.rate,
            average: ctx.speed.average(),
            busiest_second: ctx.speed.busiest_second(),
        },
        balanced: account.balanced,
        exit,
        see_run: None,
    }
}

/// What the source says is left in it. When the grace is nearly over only a service that answers at once is heard.
async fn remaining<P: Ports>(ctx: &Context<P>, reason: &Reason) -> Option<Counts> {
    if *reason == Reason::Ended {
        return ctx.wiring.source.counts().await.ok();
    }
    tokio::select! {
        biased;
        counts = ctx.wiring.source.counts() => counts.ok(),
        () = ctx.wiring.clock.sleep(LAST_LOOK) => None,
    }
}

/// How many messages this process and those that ended before it left hidden in the source.
async fn parked_in_the_run<P: Ports>(ctx: &Context<P>) -> u64 {
    let own = ctx.sum().parked;
    let Some(journal) = &ctx.journal else {
        return own;
    };
    let all = async {
        let tallies = journal.ledger.tallies(&journal.me.run).await.ok()?;
        Some(tallies.iter().map(|tally| tally.totals.parked).sum())
    };
    tokio::select! {
        biased;
        all = all => all.unwrap_or(own),
        () = ctx.wiring.clock.sleep(LAST_LOOK) => own,
    }
}

fn account<P: Ports>(ctx: &Context<P>) -> Account {
    let mut totals = match ctx.stop.forbids_touching() && ctx.journal.is_some() {
        // What became of it since counts no more: the sweep believes the pages.
        true => ctx.stood_in_all(),
        false => ctx.sum(),
    };
    let received = ctx.received.get();
    // What was cut off in hand: in a page as about to be sent, or not even that.
    let in_pages = totals.received - totals.classified().min(totals.received);
    totals.in_doubt += in_pages;
    let unentered = received.saturating_sub(totals.received);
    let cut_off = !ctx.hands.borrow().is_empty() || ctx.stop.forbids_touching();
    if cut_off {
        totals.received += unentered;
        totals.released += unentered;
    }
    Account {
        balanced: totals.is_balanced() && totals.received == received && (in_pages == 0 || cut_off),
        totals,
        cut_off,
    }
}

/// The exit code, and what to say of it.
fn outcome<P: Ports>(
    ctx: &Context<P>,
    reason: Reason,
    account: &Account,
    left: u64,
    left_the_run: bool,
) -> (ExitCode, Option<String>) {
    let Account {
        totals,
        balanced,
        cut_off,
    } = account;
    if !balanced {
        let words = format!(
            "the run does not balance: {} deliveries received, {} accounted for",
            ctx.received.get(),
            totals.classified()
        );
        return (ExitCode::Failed, Some(words));
    }
    let (exit, message) = by_reason(ctx, reason, left, *cut_off);
    if !left_the_run && exit != ExitCode::Unavailable {
        // Whoever comes next settles it, and that should not be tomorrow's run.
        let words = "the checkpoint table did not answer at the end: what this process had in hand stands in its pages, and the next to start settles it";
        return (ExitCode::Unavailable, Some(words.to_owned()));
    }
    if exit == ExitCode::Drained && totals.rejected + totals.held > 0 {
        return (
            ExitCode::FinishedWithRejects,
            Some(put_aside_in_words(ctx, totals)),
        );
    }
    (exit, message)
}

fn by_reason<P: Ports>(
    ctx: &Context<P>,
    reason: Reason,
    left: u64,
    cut_off: bool,
) -> (ExitCode, Option<String>) {
    let because = |exit, words: &str| (exit, Some(words.to_owned()));
    match reason {
        Reason::Ended => match ctx.any_refusing().filter(|_| left > 0) {
            Some(code) => because(
                ExitCode::Unavailable,
                &format!("a destination refuses everything ({code})"),
            ),
            None if cut_off => because(
                ExitCode::Interrupted,
                "the run ended, but what was in hand could not be settled within the grace: the next to start settles it",
            ),
            None => (ExitCode::Drained, None),
        },
        Reason::WindowClosed if left == 0 => (ExitCode::Drained, None),
        Reason::WindowClosed => because(
            ExitCode::WindowClosed,
            "the window closed with messages left: the next one continues",
        ),
        Reason::Interrupted => because(ExitCode::Interrupted, "stopped by a signal"),
        Reason::Superseded => because(
            ExitCode::Interrupted,
            "this process was taken for dead and superseded by another",
        ),
        Reason::Unavailable(words) => (ExitCode::Unavailable, Some(words)),
        Reason::Failed(words) => (ExitCode::Failed, Some(words)),
    }
}

fn put_aside_in_words<P: Ports>(ctx: &Context<P>, totals: &Totals) -> String {
    let words = parked_in_words(totals.rejected, totals.held);
    let settings = &ctx.settings;
    let rejects = settings.reject.as_ref().filter(|_| totals.rejected > 0);
    let holds = settings.hold.as_ref().filter(|_| totals.held > 0);
    let queues: Vec<&str> = rejects
        .iter()
        .chain(&holds)
        .map(|q| q.name.as_str())
        .collect();
    match queues.is_empty() {
        true => format!("{words}: hidden in the source for up to 12 h, and listed"),
        false => format!("{words}: see {}", queues.join(" and ")),
    }
}
