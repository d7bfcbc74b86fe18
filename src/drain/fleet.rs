//! The fleet of a run's processes. One of them coordinates: it sweeps the dead, shares out the rate and passes on what people
//! asked for. The others only watch whether it lives.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::beat::LOOK_BETWEEN_MAX;
use super::context::{Context, Journal};
use super::settings::Settings;
use super::sweep;
use super::watch::{Sighting, Watch};
use crate::ledger::{AT_ONCE, Grant, Granted, LedgerError, Registration, RunItem, all_of, each_of};
use crate::pace::{SECOND, Share, UNLIMITED, as_limit, larger};
use crate::port::{Clock, Ports};
use crate::rules::Rule;
use crate::stop::{Reason, Stop};

/// A coordinator that has not beaten for so many heartbeats is suspected: from then on all others are watched too, where there are
/// at most [`WATCHED_BY_ALL`].
const SUSPECT_BEATS: f64 = 1.5;

/// With more, everybody's watching everybody would be too many reads, and those who die together with their coordinator are noticed
/// a lease after it.
const WATCHED_BY_ALL: u32 = 64;

/// With more processes, each non-coordinator looks at the coordinator's heartbeat less often, so that all of them together read it
/// about this often a second.
const WATCHERS_PER_S: u32 = 200;

/// About so many of them, chosen by chance, look twice a beat all the same: so the coordinator's death is noticed within a lease, however
/// many there are.
const SENTINELS: u64 = 100;

/// As many as a process that has just come takes the run's to be, at most: it looks at the coordinator within ten seconds all the same.
const NEW_MAX: u32 = 10 * WATCHERS_PER_S;

/// So many processes are told in one round of the coordinator's that they are more or fewer, and nothing else: that can wait, and a
/// round must not take a lease.
const NEWS_A_ROUND: u32 = 2_000;

/// So many processes a second join where they start together: each writes its registration under the source's key, and
/// DynamoDB takes 1,000 writes a second of one key.
const JOINS_PER_S: u32 = 500;

/// So many processes a second are told that the run is over: each that leaves writes once under the run's key and once under
/// the source's. (The others find out for themselves, about [`WATCHERS_PER_S`].)
const ENDS_PER_S: u32 = 400;

/// Where more start together than may join in a second, as the children of an array do: waits for a turn, which is drawn.
pub async fn take_turns(settings: &Settings, clock: &impl Clock, stop: &Stop) {
    if settings.shards <= JOINS_PER_S {
        return;
    }
    let all_ms = u64::from(settings.shards) * 1000 / u64::from(JOINS_PER_S);
    let mine = Duration::from_millis(clock.random() % all_ms);
    tokio::select! {
        biased;
        () = stop.requested() => {}
        () = clock.sleep(mine) => {}
    }
}

/// In so many parts the coordinator's pause between two rounds is cut. After each it looks at the run, and passes on at once what people
/// have changed there: with the heartbeats' own looks (`beat.rs`) everybody follows within one heartbeat.
const PARTS_OF_A_PAUSE: u32 = 3;

/// What people may change of a run under way.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Orders {
    rate: Share,
    paused: bool,
}

impl Orders {
    fn of(run: &RunItem) -> Self {
        Self {
            rate: run.rate,
            paused: run.paused,
        }
    }
}

/// The pause after a round.
enum Pause {
    /// The whole of it, unless the run's orders become others than everybody has been told.
    Unless(Orders),
    /// A part of it: somebody is still to be raised.
    Part,
    /// The whole of it.
    Whole,
}

/// So often what stands in the table of a process that lives long is kept from expiring.
const KEPT_AGAIN: Duration = Duration::from_secs(86_400);

/// Coordinates, or watches the coordinator, until the task is dropped.
pub async fn tend<P: Ports>(ctx: Rc<Context<P>>) {
    let Some(journal) = &ctx.journal else { return };
    let mut watch = Watch::default();
    let chance = ctx.wiring.clock.random();
    let mut kept = ctx.started;
    loop {
        let round = match journal.ledger.run(&journal.me.run).await {
            Ok(Some(run)) if run.coordinator.as_ref() == Some(&journal.me.process) => {
                coordinate(&ctx, journal, &run, &mut watch).await
            }
            Ok(Some(run)) => stand_by(&ctx, journal, &run, &mut watch).await,
            Ok(None) => {
                ctx.stop.request(Reason::Failed(
                    "the run's item is gone from the checkpoint table".into(),
                ));
                Ok(Pause::Whole)
            }
            Err(error) => Err(error),
        };
        let pause = match round {
            Ok(pause) => pause,
            Err(LedgerError::Superseded) => return,
            // It does not pass by itself, and the run cannot end.
            Err(LedgerError::Malformed(error)) => {
                ctx.stop.request(Reason::Failed(error.to_string()));
                Pause::Whole
            }
            Err(error) => {
                ctx.note_table(&error);
                Pause::Whole
            }
        };
        if ctx.now().since(kept) >= KEPT_AGAIN {
            match journal.ledger.keep(&journal.me, is_coordinator(&ctx)).await {
                Ok(()) => kept = ctx.now(),
                Err(error) => ctx.note_table(&error),
            }
        }
        // Twice a beat, so that a death is noticed well within a second lease.
        let whole = ctx.settings.timings.heartbeat / 2;
        if is_coordinator(&ctx) {
            pause_between(&ctx, journal, pause, whole).await;
            continue;
        }
        let processes = about_how_many(&ctx);
        let spread = Duration::from_secs_f64(f64::from(processes) / f64::from(WATCHERS_PER_S));
        let wait = if chance % u64::from(processes) < SENTINELS {
            whole
        } else {
            whole.max(spread)
        };
        ctx.wiring.clock.sleep(wait).await;
    }
}

/// The coordinator's pause between two rounds.
async fn pause_between<P: Ports>(
    ctx: &Context<P>,
    journal: &Journal<P>,
    pause: Pause,
    whole: Duration,
) {
    let part = whole / PARTS_OF_A_PAUSE;
    let over = ctx.now().after(whole);
    let told = match pause {
        Pause::Whole => return ctx.wiring.clock.sleep(whole).await,
        Pause::Part => return ctx.wiring.clock.sleep(part).await,
        Pause::Unless(told) => told,
    };
    for _ in 1..PARTS_OF_A_PAUSE {
        ctx.wiring.clock.sleep(part).await;
        match journal.ledger.run(&journal.me.run).await {
            Ok(Some(run)) if Orders::of(&run) != told => return,
            // What is wrong the next round says, when it is due.
            _ => {}
        }
    }
    ctx.wiring.clock.sleep(over.since(ctx.now())).await;
}

/// How many processes the run has, as far as this one knows.
fn about_how_many<P: Ports>(ctx: &Context<P>) -> u32 {
    let told = ctx.grant.get().processes.clamp(1, 100_000) as u32;
    // Who has just come has not been told yet how many there are.
    match ctx.now().since(ctx.started) < ctx.settings.timings.lease {
        true => told.max(ctx.settings.shards.min(NEW_MAX)),
        false => told,
    }
}

/// Whether this process was coordinator when it looked last.
pub fn is_coordinator<P: Ports>(ctx: &Context<P>) -> bool {
    ctx.coordinates.get()
}

/// Watches the coordinator, and takes its place when it is gone.
async fn stand_by<P: Ports>(
    ctx: &Context<P>,
    journal: &Journal<P>,
    run: &RunItem,
    watch: &mut Watch,
) -> Result<Pause, LedgerError> {
    ctx.coordinates.set(false);
    if run.ended && run.epoch >= journal.epoch {
        ctx.stop.request(Reason::Ended);
        return Ok(Pause::Whole);
    }
    let me = &journal.me.process;
    if let Some(name) = run.coordinator.clone().filter(|c| !c.is_empty()) {
        let names = [name];
        let seen = watch.look(ctx, &journal.ledger, &names).await?;
        let Some(seen) = seen.first() else {
            return Ok(Pause::Whole);
        };
        if seen.still_for < ctx.settings.timings.heartbeat.mul_f64(SUSPECT_BEATS) {
            watch.keep(&names);
        } else if about_how_many(ctx) <= WATCHED_BY_ALL {
            // Whoever takes its place has then watched the others for some time already: others may have died with it.
            let all = journal.ledger.processes().await?;
            let all: Vec<String> = all.into_iter().map(|p| p.process).collect();
            watch.look(ctx, &journal.ledger, &all).await?;
        }
        if !seen.gone {
            if !seen.is_dead(ctx.settings.timings.lease) {
                return Ok(Pause::Whole);
            }
            // Not all at once: with thousands of processes the first to come does it for all.
            let processes = ctx.grant.get().processes.max(1) as u64;
            let spread_ms = processes * 1000 / u64::from(WATCHERS_PER_S);
            let wait = ctx.wiring.clock.random() % (spread_ms + 1);
            ctx.wiring.clock.sleep(Duration::from_millis(wait)).await;
            let now = journal.ledger.run(&journal.me.run).await?;
            if now.is_none_or(|now| now.term != run.term) {
                return Ok(Pause::Whole);
            }
            let processes = journal.ledger.processes().await?;
            if let Some(dead) = processes.iter().find(|p| p.process == names[0]) {
                sweep::fence_and_sweep(ctx, journal, dead, seen).await?;
            } else if let Some(beat) = &seen.beat {
                // It died before it was registered.
                journal.ledger.fence(&names[0], beat.number, me).await?;
            }
            // Did it beat after all?
            let still = journal.ledger.beats(&names).await?;
            if still.iter().flatten().any(|b| b.fenced_by.is_none()) {
                return Ok(Pause::Whole);
            }
        }
    }
    if ctx.stop.is_requested() {
        return Ok(Pause::Whole);
    }
    let old = run.coordinator.as_deref().filter(|c| !c.is_empty());
    let now = journal
        .ledger
        .coordinate(&journal.me.run, old, run.term, me)
        .await?;
    // Somebody was here before: see `share_out`.
    ctx.last_death.set(ctx.now());
    match now.filter(|run| run.coordinator.as_ref() == Some(me)) {
        Some(run) => coordinate(ctx, journal, &run, watch).await,
        None => Ok(Pause::Whole),
    }
}

/// One round of the coordinator.
async fn coordinate<P: Ports>(
    ctx: &Context<P>,
    journal: &Journal<P>,
    run: &RunItem,
    watch: &mut Watch,
) -> Result<Pause, LedgerError> {
    ctx.coordinates.set(true);
    let all = journal.ledger.processes().await?;
    let names: Vec<String> = all.iter().map(|p| p.process.clone()).collect();
    if watch.keep(&names) {
        // Somebody left, or was swept by another: what it had in hand may be hidden for a visibility.
        ctx.last_death.set(ctx.now());
    }
    let seen = watch.look(ctx, &journal.ledger, &names).await?;
    let mut living: Vec<(&Registration, Sighting)> = Vec::new();
    let mut dead: Vec<(&Registration, Sighting)> = Vec::new();
    for (process, seen) in all.iter().zip(seen) {
        let me = process.process == journal.me.process;
        if !me && (seen.gone || seen.is_dead(ctx.settings.timings.lease)) {
            dead.push((process, seen));
        } else if process.run == journal.me.run {
            living.push((process, seen));
        }
    }
    let sweeps = dead.iter().map(|(process, seen)| async move {
        if seen.gone {
            // Its heartbeat item went first or expired: only the registration is left.
            sweep::sweep(&journal.ledger, process, "died", &journal.me.process).await
        } else {
            sweep::fence_and_sweep(ctx, journal, process, seen).await
        }
    });
    // One that cannot be swept keeps neither the others from it nor the living from their shares.
    let swept = each_of(AT_ONCE, sweeps).await;
    let not_swept = swept.into_iter().find_map(Result::err);
    // Read after the heartbeats: whoever steers by hand writes the run first, so what they say is never taken back here.
    let now = journal.ledger.run(&journal.me.run).await?;
    let Some(run) = now.filter(|now| now.term == run.term) else {
        return Ok(Pause::Whole);
    };
    if run.ended && run.epoch >= journal.epoch {
        // They are being told, see `declare_end`, or find out.
        if living.len() <= 1 {
            ctx.stop.request(Reason::Ended);
        }
        return Ok(Pause::Whole);
    }
    // Where not everybody can have a share the coordinator has one: it says when the run is over, and must hear the source.
    living.sort_by_key(|(process, _)| process.process != journal.me.process);
    let n = living.len() as i64;
    let told = share_out(ctx, journal, &run, &living).await?;
    match not_swept {
        Some(error) => Err(error),
        None if told => Ok(Pause::Unless(Orders::of(&run))),
        // With more, a round is work for the table: it keeps its time.
        None if n > LOOK_BETWEEN_MAX => Ok(Pause::Whole),
        None => Ok(Pause::Part),
    }
}

/// How many processes there are, as they are told: exactly up to 16, then the next power of two, so that with thousands of them
/// everybody's item need not be written whenever one joins.
fn told(processes: i64) -> i64 {
    match u64::try_from(processes) {
        Ok(n @ 17..) => n.next_power_of_two() as i64,
        _ => processes.max(1),
    }
}

/// Makes every process's share what it should be: first lowers, and raises only what the lowered ones have acknowledged, so that
/// the sum of what may be sent never exceeds the rate. False: somebody could not be told, or not be raised as far as they should be; another
/// round will.
async fn share_out<P: Ports>(
    ctx: &Context<P>,
    journal: &Journal<P>,
    run: &RunItem,
    living: &[(&Registration, Sighting)],
) -> Result<bool, LedgerError> {
    let n = living.len() as i64;
    // With less than a message a second each, some get a share of one and the others none.
    let sharers = match run.rate {
        rate if rate < 0 => n,
        rate => n
            .min((rate / 1000).max(1))
            .min(ctx.settings.burst.map_or(i64::MAX, i64::from)),
    };
    let target = |place: usize| match run.rate {
        rate if rate < 0 => UNLIMITED,
        rate if (place as i64) < sharers => rate / sharers,
        _ => 0,
    };
    let news = Cell::new(NEWS_A_ROUND);
    let news = &news;
    let lowers = living
        .iter()
        .enumerate()
        .map(|(place, (process, seen))| async move {
            let beat = seen.beat.clone().unwrap_or_default();
            let now = beat.grant.share;
            let lower = as_limit(target(place)) < as_limit(now);
            let mut grant = Grant {
                term: run.term,
                share: if lower { target(place) } else { now },
                paused: run.paused,
                ended: if run.ended { run.epoch } else { 0 },
                processes: beat.grant.processes,
            };
            let more_to_tell = grant != beat.grant;
            if grant.processes != told(n) && (more_to_tell || news.get() > 0) {
                news.set(news.get() - u32::from(!more_to_tell));
                grant.processes = told(n);
            }
            let told = if grant == beat.grant {
                Granted::Stands(Box::new(beat))
            } else {
                // Writing also stamps the item with this term: an older coordinator can raise nothing any more.
                let name = &process.process;
                journal.ledger.grant(name, &beat.grant, &grant).await?
            };
            Ok(match told {
                // The larger of what it was told and what it last said it does: it sends at no more until it has said so.
                Granted::Stands(item) => {
                    let mut committed = item.grant.share;
                    if ctx.keeps(Rule::SharesAcknowledged) {
                        committed = larger(committed, item.doing.share);
                    }
                    Some((grant, as_limit(committed)))
                }
                Granted::Gone => Some((grant, 0)),
                Granted::Changed => None,
            })
        });
    let lowered = all_of(AT_ONCE, lowers).await?;
    // What was changed by somebody else is read again in the next round.
    let lowered: Option<Vec<(Grant, i64)>> = lowered.into_iter().collect();
    let Some(lowered) = lowered else {
        return Ok(false);
    };
    let low = |place: usize| as_limit(lowered[place].0.share) < as_limit(target(place));
    // Within a second the messages of whoever has just gone may lie unevenly: its share is free when that second is over.
    if run.rate >= 0 && ctx.now().since(ctx.last_death.get()) < SECOND {
        return Ok(!(0..lowered.len()).any(low));
    }
    let mut sum: i64 = lowered.iter().map(|(_, committed)| committed).sum();
    let mut raises = Vec::new();
    let mut all = true;
    for (place, (grant, committed)) in lowered.iter().enumerate() {
        if !low(place) {
            continue;
        }
        let share = match run.rate {
            rate if rate < 0 => UNLIMITED,
            rate => {
                let others = sum - committed;
                target(place).min(rate.saturating_sub(others)).max(0)
            }
        };
        // The others have not let go of all of it yet.
        all &= as_limit(share) >= as_limit(target(place));
        if as_limit(share) <= as_limit(grant.share) {
            continue;
        }
        // Taken as given, whether or not the write gets through.
        sum += (as_limit(share) - committed).max(0);
        raises.push((living[place].0, grant, Grant { share, ..*grant }));
    }
    let raises = raises
        .iter()
        .map(|(process, seen, grant)| journal.ledger.grant(&process.process, seen, grant));
    let raised = all_of(AT_ONCE, raises).await?;
    Ok(all && !raised.contains(&Granted::Changed))
}

/// The coordinator declares the run's epoch over: in its record, then to every process, not faster than they may leave. False: somebody
/// else coordinates by now.
///
/// # Errors
/// When the table cannot be written; calling again goes on.
pub async fn declare_end<P: Ports>(
    ctx: &Context<P>,
    journal: &Journal<P>,
    outcome: &str,
) -> Result<bool, LedgerError> {
    let run = &journal.me.run;
    let me = Some(journal.me.process.as_str());
    let over = journal
        .ledger
        .end_run(run, journal.epoch, outcome, me)
        .await?;
    if !over {
        return Ok(false);
    }
    let mut others = journal.ledger.processes().await?;
    others.retain(|p| p.run == *run && p.process != journal.me.process);
    let names: Vec<String> = others.into_iter().map(|p| p.process).collect();
    let beats = journal.ledger.beats(&names).await?;
    let mut told = names.iter().zip(beats).filter_map(|(name, beat)| {
        let seen = beat?.grant;
        let grant = Grant {
            ended: journal.epoch,
            ..seen
        };
        Some((name, seen, grant))
    });
    loop {
        let began = ctx.now();
        let some: Vec<_> = told.by_ref().take(AT_ONCE).collect();
        let grants = some
            .iter()
            .map(|(name, seen, grant)| journal.ledger.grant(name, seen, grant));
        all_of(AT_ONCE, grants).await?;
        if some.len() < AT_ONCE {
            return Ok(true);
        }
        let pace = Duration::from_secs(1) * AT_ONCE as u32 / ENDS_PER_S;
        let pause = pace.saturating_sub(ctx.now().since(began));
        ctx.wiring.clock.sleep(pause).await;
    }
}
