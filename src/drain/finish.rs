//! When a run is over. One empty poll proves nothing: the queue must look empty several times in a row, by polls and by its own
//! counts, with nobody of the run owing anything.

use std::rc::Rc;
use std::time::Duration;

use super::context::Context;
use super::fleet;
use super::watch::Watch;
use crate::journal::Totals;
use crate::ledger::LedgerError;
use crate::port::{Clock, Moment, Ports, Source};
use crate::stop::Reason;

/// The longest delay of a message (`DelaySeconds`, AWS quota: 15 minutes).
const DELAY_MAX: Duration = Duration::from_secs(900);

/// What a look at the whole run showed.
struct Look {
    /// Every process of the run was seen to beat.
    all_alive: bool,
    /// Every process of the run is alive and owes nothing.
    all_idle: bool,
    /// Messages that stay hidden in the source because the destination refused them.
    parked: u64,
    /// When anybody last received a message older than the cut-off.
    old_seen: Option<Moment>,
}

/// Looks until the run is over, and says so; ends with the drain's stop.
pub async fn watch_for_the_end<P: Ports>(ctx: Rc<Context<P>>) {
    let t = ctx.settings.timings;
    let mut empty_in_a_row = 0;
    let mut polls_before = 0;
    let mut watch = Watch::default();
    loop {
        tokio::select! {
            biased;
            () = ctx.stop.requested() => return,
            () = ctx.wiring.clock.sleep(t.settle) => {}
        }
        give_up_on_refusals(&ctx);
        if !decides(&ctx) || ctx.paused.get() {
            empty_in_a_row = 0;
            continue;
        }
        let quiet = by_cutoff(&ctx, ctx.old_seen.get());
        if !ctx.is_idle() && !quiet {
            empty_in_a_row = 0;
            // Who lives must be seen again when it is quiet.
            watch = Watch::default();
            continue;
        }
        let look = match look(&ctx, &mut watch).await {
            Ok(look) => look,
            Err(error) => {
                ctx.note_table(&error);
                empty_in_a_row = 0;
                continue;
            }
        };
        let over = if quiet && look.all_alive && by_cutoff(&ctx, look.old_seen) {
            none_delayed(&ctx).await
        } else if ctx.is_idle() && look.all_idle {
            // Between two looks at the counts there must be a long poll that found nothing.
            let polls = ctx.empty_polls.get();
            let polled = polls > polls_before || empty_in_a_row == 0;
            polls_before = polls;
            match ctx.wiring.source.counts().await {
                Ok(counts) => {
                    let left = counts.visible
                        + counts.delayed
                        + counts.in_flight.saturating_sub(look.parked);
                    if left > 0 {
                        empty_in_a_row = 0;
                    } else if polled {
                        empty_in_a_row += 1;
                    }
                }
                Err(error) => {
                    tracing::warn!(route = %ctx.settings.route, code = %error.code, "the source's counts cannot be read");
                    empty_in_a_row = 0;
                }
            }
            empty_in_a_row >= t.settle_checks
        } else {
            empty_in_a_row = 0;
            false
        };
        if over && end(&ctx).await {
            return;
        }
    }
}

/// Whether it is for this process to say when the run is over.
fn decides<P: Ports>(ctx: &Context<P>) -> bool {
    ctx.journal.is_none() || fleet::is_coordinator(ctx)
}

/// Whether the run may end by its cut-off: nothing older was seen for a while, nor could a dead process have hidden it.
fn by_cutoff<P: Ports>(ctx: &Context<P>, old_seen: Option<Moment>) -> bool {
    let t = &ctx.settings.timings;
    let now = ctx.now();
    let listened = ctx.listening_since().map(|since| now.since(since));
    ctx.cutoff_ms.is_some()
        && listened.is_some_and(|long| long >= t.cutoff_quiet)
        && now.since(ctx.last_death.get()) >= (t.visibility + t.telling()).max(t.cutoff_quiet)
        && now.since(old_seen.unwrap_or(ctx.started)) >= t.cutoff_quiet
}

/// Whether no message older than the cut-off can still be delayed: SQS delays by 15 minutes at most.
async fn none_delayed<P: Ports>(ctx: &Context<P>) -> bool {
    if ctx.now().since(ctx.started) >= DELAY_MAX {
        return true;
    }
    ctx.wiring
        .source
        .counts()
        .await
        .is_ok_and(|c| c.delayed == 0)
}

/// When a destination refuses everything and nothing else moves any more, waiting on helps nobody.
fn give_up_on_refusals<P: Ports>(ctx: &Context<P>) {
    let t = &ctx.settings.timings;
    if let Some(code) = ctx.any_refusing()
        && ctx.now().since(ctx.last_progress.get()) >= t.visibility + t.cutoff_quiet
    {
        ctx.stop.request(Reason::Unavailable(format!(
            "what is left is for a destination that refuses everything ({code})"
        )));
    }
}

async fn look<P: Ports>(ctx: &Context<P>, watch: &mut Watch) -> Result<Look, LedgerError> {
    let mut look = Look {
        all_alive: true,
        all_idle: true,
        parked: ctx.sum().parked,
        old_seen: ctx.old_seen.get(),
    };
    let Some(journal) = &ctx.journal else {
        return Ok(look);
    };
    let processes = journal.ledger.processes().await?;
    let others: Vec<String> = processes
        .iter()
        .map(|p| p.process.clone())
        .filter(|p| *p != journal.me.process)
        .collect();
    let mut parked = Totals::default();
    for tally in journal.ledger.tallies(&journal.me.run).await? {
        parked.add(&tally.totals);
    }
    look.parked += parked.parked;
    let (now, t) = (ctx.now(), &ctx.settings.timings);
    for seen in watch.look(ctx, &journal.ledger, &others).await? {
        match &seen.beat {
            // Alive and idle is only whoever was seen to beat.
            Some(beat) if beat.fenced_by.is_none() => {
                look.all_alive &= seen.beats_seen > 0 && seen.still_for < t.telling() - t.poll;
                look.all_idle &= beat.doing.idle && seen.beats_seen > 0;
                look.parked += beat.doing.totals.parked;
                let old = beat
                    .doing
                    .old_seen_ms
                    .map(|ms| now.before(Duration::from_millis(ms.unsigned_abs())));
                look.old_seen = look.old_seen.max(old);
            }
            _ => (look.all_alive, look.all_idle) = (false, false),
        }
    }
    Ok(look)
}

/// Declares the end. False: that did not get through yet.
async fn end<P: Ports>(ctx: &Context<P>) -> bool {
    if let Some(journal) = &ctx.journal
        && let Err(error) = fleet::declare_end(journal, "drained").await
    {
        ctx.note_table(&error);
        return false;
    }
    ctx.stop.request(Reason::Ended);
    true
}
