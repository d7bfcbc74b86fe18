//! Joining a run: which run it is, whether another one drains the source, and this process's registration.

use std::collections::BTreeSet;
use std::time::Duration;

use super::context::Journal;
use super::settings::{Cutoff, Settings, difference, lease_of};
use super::sweep;
use crate::ledger::{AT_ONCE, Grant, Granted, Ledger, LedgerError, Registration, RunItem, all_of};
use crate::pace::{Share, UNLIMITED, share_of};
use crate::port::{Clock, Ports};
use crate::stop::Stop;

/// Why a process may not join.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// Somebody else is at the source; the line says who and what to do.
    #[error("{why}")]
    Refused {
        /// The line.
        why: String,
        /// The run that is there.
        run: String,
    },
    /// The run would have to be created, and it is too late for that.
    #[error("{0}")]
    TooLate(String),
    /// A stop was asked for meanwhile.
    #[error("stopped before the run was joined")]
    Stopped,
    /// The table.
    #[error(transparent)]
    Table(#[from] LedgerError),
}

/// A joined run.
pub struct Joined<P: Ports> {
    /// The journal.
    pub journal: Journal<P>,
    /// The run's cut-off, milliseconds since the epoch.
    pub cutoff_ms: Option<i64>,
    /// This process coordinates the run.
    pub coordinates: bool,
    /// There was somebody before it, who may have sent a moment ago.
    pub follows: bool,
    /// What this process starts with.
    pub grant: Grant,
}

/// Joins the run of `me`, creating it if need be. Calling again with the same `me` goes on where a failed call ended. `too_late`: why it may not be created any more, if so.
///
/// # Errors
/// See [`JoinError`].
pub async fn join<P: Ports>(
    settings: &Settings,
    ledger: Ledger<P>,
    clock: &P::Clock,
    stop: &Stop,
    me: &Registration,
    too_late: Option<String>,
) -> Result<Joined<P>, JoinError> {
    let now_ms = me.since_ms;
    let process = me.process.clone();
    let run = me.run.as_str();
    let cutoff_ms = match settings.cutoff {
        Cutoff::RunStart => Some(now_ms),
        Cutoff::None => None,
        Cutoff::At(at) => Some(at.timestamp_millis()),
    };
    let running = match ledger.run(run).await? {
        Some(item) if item.source != settings.source => {
            return Err(of_another_queue(run));
        }
        Some(item) => running(&ledger, item, me, &settings.fingerprint).await?,
        None => match too_late {
            Some(why) => return Err(JoinError::TooLate(why)),
            None => None,
        },
    };
    let joins = running.is_some();
    let (mut item, created) = match running {
        Some(item) => (item, false),
        None => {
            let new = RunItem {
                route: settings.route.clone(),
                source: settings.source.clone(),
                settings: settings.fingerprint.clone(),
                since_ms: now_ms,
                epoch: 1,
                cutoff_ms,
                ended: false,
                outcome: None,
                coordinator: Some(process.clone()),
                term: 1,
                paused: false,
                rate: share_of(settings.rate),
            };
            open(settings, &ledger, clock, stop, me, new).await?
        }
    };
    if !created {
        tell_rate_stays(settings, run, item.rate);
    }
    let mut coordinates = created;
    let mut grant = Grant {
        term: if coordinates { item.term } else { 0 },
        // Who joins has no share of a rate, unless nobody else can have one.
        share: if item.rate < 0 { UNLIMITED } else { 0 },
        paused: item.paused,
        ended: 0,
        processes: 1,
    };
    ledger.register(me, settings.pages() as u32, grant).await?;
    // Whoever takes the source over looks at its processes afterwards, and whoever registers looks at the owner
    // afterwards: of two at the same time at least one sees the other.
    if let Some(owner) = ledger.owner().await?
        && owner.run != run
    {
        sweep::sweep(&ledger, me, "refused", &process).await?;
        return Err(refusal(&owner.run, None));
    }
    // In the same way: of two that join at the same time at least one sees that it is not alone.
    let alone = !joins
        && ledger
            .processes()
            .await?
            .iter()
            .all(|p| p.process == process);
    if alone && !coordinates {
        let old = item.coordinator.clone().filter(|c| !c.is_empty());
        if let Some(now) = ledger
            .coordinate(run, old.as_deref(), item.term, &process)
            .await?
        {
            coordinates = now.coordinator.as_ref() == Some(&process);
            item = now;
        }
    }
    if alone && coordinates && item.rate >= 0 {
        let whole = Grant {
            term: item.term,
            share: item.rate,
            ..grant
        };
        if let Granted::Stands(_) = ledger.grant(&process, &grant, &whole).await? {
            grant = whole;
        }
    }
    Ok(Joined {
        journal: Journal {
            me: me.clone(),
            epoch: item.epoch,
            ledger,
        },
        cutoff_ms: item.cutoff_ms,
        coordinates,
        follows: !created,
        grant,
    })
}

/// Two queues drained under one route's name at one table would be one run to `status`, `pause` and the end of both.
/// The line with which that is refused.
pub fn another_queue(run: &str) -> String {
    format!(
        "the run '{run}' in this table is that of another source queue: give this one a name of its own with --run-id, or both queues a route each in a routes file"
    )
}

fn of_another_queue(run: &str) -> JoinError {
    JoinError::Refused {
        why: another_queue(run),
        run: run.to_owned(),
    }
}

/// The run as it was read, where its coordinator is registered and not known to be dead. Then nobody else is at the source: whoever coordinates has
/// cleared it when it joined, and another run would have swept it first. So joining costs the same with ten thousand processes as with
/// one: no list of them is read.
async fn running<P: Ports>(
    ledger: &Ledger<P>,
    item: RunItem,
    me: &Registration,
    fingerprint: &str,
) -> Result<Option<RunItem>, LedgerError> {
    if item.ended || item.settings != fingerprint {
        return Ok(None);
    }
    let Some(coordinator) = item.coordinator.clone().filter(|c| !c.is_empty()) else {
        return Ok(None);
    };
    if coordinator == me.process {
        // A call before this one came as far as that.
        return Ok(None);
    }
    let beats = ledger.beats(&[coordinator]).await?;
    let registered = beats.iter().flatten().any(|b| b.fenced_by.is_none());
    Ok(registered.then_some(item))
}

/// Clears the source for the run, then creates it, or opens it again: true when it was created by `me`.
async fn open<P: Ports>(
    settings: &Settings,
    ledger: &Ledger<P>,
    clock: &P::Clock,
    stop: &Stop,
    me: &Registration,
    new: RunItem,
) -> Result<(RunItem, bool), JoinError> {
    let run = me.run.as_str();
    clear_the_source(settings, ledger, clock, stop, run, &me.process).await?;
    let (mut item, created) = ledger.create_run(run, &new).await?;
    if item.source != settings.source {
        // Another queue's process was faster since the look before: what was taken over above is nobody's until somebody comes.
        return Err(of_another_queue(run));
    }
    if !created && (item.ended || item.settings != settings.fingerprint) {
        if !item.ended {
            // Nobody of it lives (that was seen above): its settings may be replaced.
            ledger.end_run(run, item.epoch, "interrupted", None).await?;
        }
        tell_rate_changes(settings, run, item.rate);
        ledger
            .reopen_run(
                run,
                item.epoch,
                new.cutoff_ms,
                &settings.fingerprint,
                share_of(settings.rate),
            )
            .await?;
        item = ledger.run(run).await?.unwrap_or(new);
        if item.settings != settings.fingerprint {
            return Err(refusal(
                run,
                Some(&difference(&item.settings, &settings.fingerprint)),
            ));
        }
    }
    Ok((item, created))
}

/// A run that is opened again has the rate of the start that opens it: what was given by hand before is over. This says so.
fn tell_rate_changes(settings: &Settings, run: &str, was: Share) {
    let now = share_of(settings.rate);
    if was != now {
        tracing::warn!(
            route = %settings.route,
            run,
            "the run's rate was {} and is now {}, as this start says: one given by hand holds until the run has ended or is started with other settings",
            in_words(was),
            in_words(now)
        );
    }
}

/// Who joins a run with the same settings leaves its rate as it is; this says so where that is another than this start says.
fn tell_rate_stays(settings: &Settings, run: &str, is: Share) {
    if is != share_of(settings.rate) {
        tracing::info!(
            route = %settings.route,
            run,
            "the run's rate is {}, given by hand, and stays so",
            in_words(is)
        );
    }
}

fn in_words(share: Share) -> String {
    match share {
        unlimited if unlimited < 0 => "without a limit".to_owned(),
        limited => format!("{}/s", limited as f64 / 1000.0),
    }
}

/// The refusal of a source that a living run drains. `difference`: it is this very run, begun with settings other in that.
fn refusal(run: &str, difference: Option<&str>) -> JoinError {
    let how = match difference {
        Some(difference) => format!(" with other settings{difference}"),
        None => String::new(),
    };
    JoinError::Refused {
        why: format!(
            "the source is being drained by the run '{run}'{how}: wait until it has ended, or stop it"
        ),
        run: run.to_owned(),
    }
}

/// Makes sure that no other run (nor this one with other settings) is alive at the source, sweeps what dead ones left behind, and
/// makes this run the source's owner.
async fn clear_the_source<P: Ports>(
    settings: &Settings,
    ledger: &Ledger<P>,
    clock: &P::Clock,
    stop: &Stop,
    run: &str,
    by: &str,
) -> Result<(), JoinError> {
    loop {
        let owner = ledger.owner().await?;
        strangers_must_be_dead(settings, ledger, clock, stop, run, by).await?;
        if owner.as_ref().is_some_and(|o| o.run == run) {
            return Ok(());
        }
        if !ledger.take_owner(owner.as_ref(), run).await? {
            // Another run was faster: look again who it is.
            continue;
        }
        let late = strangers_must_be_dead(settings, ledger, clock, stop, run, by).await;
        if late.is_err()
            && let (Some(old), Some(mine)) = (&owner, ledger.owner().await?)
            && mine.run == run
        {
            ledger.take_owner(Some(&mine), &old.run).await?;
        }
        return late;
    }
}

/// Watches the processes of other runs (and of this one with other settings) for a lease: refuses when one lives, sweeps when
/// all are dead.
async fn strangers_must_be_dead<P: Ports>(
    settings: &Settings,
    ledger: &Ledger<P>,
    clock: &P::Clock,
    stop: &Stop,
    run: &str,
    by: &str,
) -> Result<(), JoinError> {
    let all = ledger.processes().await?;
    if all.is_empty() {
        return Ok(());
    }
    let other = match ledger.run(run).await? {
        Some(item) if item.settings != settings.fingerprint => {
            Some(difference(&item.settings, &settings.fingerprint))
        }
        _ => None,
    };
    let strangers: Vec<Registration> = all
        .into_iter()
        .filter(|p| p.run != run || other.is_some())
        .collect();
    if strangers.is_empty() {
        return Ok(());
    }
    let at_it = &strangers[0].run;
    let how = match at_it == run {
        true => format!(
            "this run '{at_it}', started with other settings{},",
            other.as_deref().unwrap_or_default()
        ),
        false => format!("another run, '{at_it}',"),
    };
    let lease = longest_lease(settings, ledger, &strangers).await?;
    tracing::info!(
        route = %settings.route,
        processes = strangers.len(),
        run = %at_it,
        "{how} has processes registered at the source: watching for {}s whether they live",
        lease.as_secs_f64()
    );
    let refused = |by: &Registration| {
        let mine = by.run == run;
        refusal(
            &by.run,
            mine.then_some(other.as_deref().unwrap_or_default()),
        )
    };
    let names: Vec<String> = strangers.iter().map(|p| p.process.clone()).collect();
    let first = ledger.beats(&names).await?;
    let since = clock.now();
    loop {
        tokio::select! {
            biased;
            () = stop.requested() => return Err(JoinError::Stopped),
            () = clock.sleep(settings.timings.heartbeat.min(Duration::from_secs(1))) => {}
        }
        let began = clock.now();
        let beats = ledger.beats(&names).await?;
        for ((stranger, first), now) in strangers.iter().zip(&first).zip(&beats) {
            let moved = matches!((first, now), (Some(a), Some(b)) if a.number != b.number && b.fenced_by.is_none());
            if moved {
                return Err(refused(stranger));
            }
        }
        if began.since(since) < lease {
            continue;
        }
        let sweeps = strangers.iter().zip(beats).map(|(stranger, beat)| async move {
            let fenced = match beat {
                Some(beat) => {
                    beat.fenced_by.is_some()
                        || ledger.fence(&stranger.process, beat.number, by).await?
                }
                None => true,
            };
            if fenced {
                tracing::warn!(route = %settings.route, process = %stranger.process, run = %stranger.run, "a process that was registered at the source is dead: settling what it left behind");
                sweep::sweep(ledger, stranger, "died", by).await?;
            }
            Ok(fenced)
        });
        let swept = all_of(AT_ONCE, sweeps).await?;
        let alive = strangers.iter().zip(swept).find(|(_, swept)| !swept);
        return match alive {
            Some((stranger, _)) => Err(refused(stranger)),
            None => Ok(()),
        };
    }
}

/// For how long these processes may send without a heartbeat, by the settings of their runs, and by one's own at least.
async fn longest_lease<P: Ports>(
    settings: &Settings,
    ledger: &Ledger<P>,
    strangers: &[Registration],
) -> Result<Duration, LedgerError> {
    let mut lease = settings.timings.lease;
    let runs: BTreeSet<&str> = strangers.iter().map(|p| p.run.as_str()).collect();
    for run in runs {
        let theirs = ledger.run(run).await?;
        let theirs = theirs.and_then(|item| lease_of(&item.settings));
        lease = lease.max(theirs.unwrap_or_default());
    }
    Ok(lease)
}

/// This process, with a fresh name, as it is going to register for `run`.
pub fn newcomer(settings: &Settings, clock: &impl Clock, run: &str) -> Registration {
    let times = clock.wall();
    // The run's cut-off is taken from this and held against the service's times of its messages: of two clocks the later.
    let now = times.local.max(times.service.unwrap_or(times.local));
    let now_ms = now.timestamp_millis();
    Registration {
        process: ulid_of(clock, now_ms),
        run: run.to_owned(),
        shard: i64::from(settings.shard),
        since_ms: now_ms,
        host: settings.host.clone(),
    }
}

/// A ULID from injected time and chance.
fn ulid_of(clock: &impl Clock, now_ms: i64) -> String {
    let random = u128::from(clock.random()) << 64 | u128::from(clock.random());
    ulid::Ulid::from_parts(now_ms.unsigned_abs(), random).to_string()
}
