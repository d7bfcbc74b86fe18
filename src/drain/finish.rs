//! When a run is over. One empty poll proves nothing: the queue must look empty several times in a row, by polls and by its own
//! counts, with nobody of the run owing anything.

use std::rc::Rc;
use std::time::Duration;

use super::context::Context;
use super::fleet;
use super::watch::Watch;
use crate::journal::Totals;
use crate::ledger::LedgerError;
use crate::message::Counts;
use crate::port::{Clock, Moment, Ports, Source};
use crate::stop::Reason;

/// The longest delay of a message (`DelaySeconds`, AWS quota: 15 minutes).
const DELAY_MAX: Duration = Duration::from_secs(900);

/// How often it is said that the run waits.
const TOLD_AGAIN: Duration = Duration::from_secs(30);

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
    /// How many processes there are besides this one.
    processes: u32,
}

/// About so many heartbeats a second are read while the run may be over.
const BEATS_PER_S: u32 = 1_000;

/// The last look at the whole run.
struct Known {
    /// When it began.
    at: Moment,
    look: Look,
}

/// Looks until the run is over, and says so; ends with the drain's stop.
///
/// Reading every process's heartbeat is dear where there are thousands, so it is done only while what one process sees for itself,
/// and the source's counts, say that the run may be over; and once more before it is.
pub async fn watch_for_the_end<P: Ports>(ctx: Rc<Context<P>>) {
    let t = ctx.settings.timings;
    let mut empty_in_a_row = 0;
    let mut polls_before = 0;
    let mut watch = Watch::default();
    let mut known: Option<Known> = None;
    let mut told: Option<Moment> = None;
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
            known = None;
            continue;
        }
        let counts = if ctx.is_idle() {
            counts(&ctx).await
        } else {
            None
        };
        tell_of_waiting(&ctx, counts, &mut told);
        let empty = |parked: u64| {
            counts.is_some_and(|c| c.visible + c.delayed + c.in_flight.saturating_sub(parked) == 0)
        };
        // Whether by what this process sees, and by what it knew of the others, the run may be over.
        let hopeful = |known: Option<&Look>| {
            empty(known.map_or(u64::MAX, |look| look.parked))
                || (quiet && by_cutoff(&ctx, known.and_then(|look| look.old_seen)))
        };
        let every = match &known {
            None => Duration::ZERO,
            // Somebody may have parked another message.
            Some(known) if !hopeful(Some(&known.look)) => t.lease,
            Some(known) => {
                (Duration::from_secs(1) * known.look.processes / BEATS_PER_S).min(t.heartbeat)
            }
        };
        let due = known
            .as_ref()
            .is_none_or(|k| ctx.now().since(k.at) >= every);
        // Between two looks at the counts there must be a long poll that found nothing.
        let polls = ctx.empty_polls.get();
        let polled = polls > polls_before || empty_in_a_row == 0;
        let last = polled && empty_in_a_row + 1 >= t.settle_checks;
        let fresh = hopeful(None) && (due || (last && hopeful(known.as_ref().map(|k| &k.look))));
        if fresh {
            let at = ctx.now();
            match look(&ctx, &mut watch).await {
                Ok(look) => known = Some(Known { at, look }),
                Err(error) => {
                    ctx.note_table(&error);
                    empty_in_a_row = 0;
                    continue;
                }
            }
        }
        let Some(Known { look, .. }) = &known else {
            empty_in_a_row = 0;
            continue;
        };
        let over = if quiet && fresh && look.all_alive && by_cutoff(&ctx, look.old_seen) {
            none_delayed(&ctx).await
        } else if ctx.is_idle() && look.all_idle && empty(look.parked) {
            polls_before = polls;
            empty_in_a_row += u32::from(polled);
            fresh && empty_in_a_row >= t.settle_checks
        } else {
            empty_in_a_row = 0;
            false
        };
        if over && end(&ctx).await {
            return;
        }
    }
}

/// What the source says it holds.
async fn counts<P: Ports>(ctx: &Context<P>) -> Option<Counts> {
    let counts = ctx.wiring.source.counts().await;
    if let Err(error) = &counts {
        tracing::warn!(route = %ctx.settings.route, code = %error.code, "the source's counts cannot be read");
    }
    counts.ok()
}

/// Says, not too often, that the run waits for messages that somebody has or had in hand: otherwise it looks as if it hung.
fn tell_of_waiting<P: Ports>(ctx: &Context<P>, counts: Option<Counts>, told: &mut Option<Moment>) {
    let parked = ctx.sum().parked;
    let Some(counts) = counts.filter(|c| c.in_flight > parked || c.delayed > 0) else {
        return;
    };
    if told.is_some_and(|told| ctx.now().since(told) < TOLD_AGAIN) {
        return;
    }
    *told = Some(ctx.now());
    tracing::info!(
        route = %ctx.settings.route,
        "waiting: {} messages are in flight in the source, {} delayed; what a process that died had in hand is visible again within {} s",
        counts.in_flight,
        counts.delayed,
        ctx.settings.timings.visibility.as_secs()
    );
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
    // What was received last may be in doubt, or left, or with a dead process: then it comes again after its visibility, and somebody must
    // have had the time to find it and to say so.
    let quiet = (t.visibility + t.telling()).max(t.cutoff_quiet);
    ctx.cutoff_ms.is_some()
        && listened.is_some_and(|long| long >= t.cutoff_quiet)
        && now.since(ctx.last_death.get()) >= quiet
        && now.since(old_seen.unwrap_or(ctx.started)) >= quiet
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
        processes: 0,
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
    look.processes = u32::try_from(others.len()).unwrap_or(u32::MAX);
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
                let alive = seen.beats_seen > 0 && seen.still_for < t.telling() - t.poll;
                look.all_alive &= alive;
                look.all_idle &= alive && beat.doing.idle;
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
    if let Some(journal) = &ctx.journal {
        match fleet::declare_end(ctx, journal, "drained").await {
            Ok(true) => {}
            Ok(false) => return false,
            Err(error) => {
                ctx.note_table(&error);
                return false;
            }
        }
    }
    ctx.stop.request(Reason::Ended);
    true
}
