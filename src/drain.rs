//! One drain: everything a source holds, moved. The only orchestrator.
//!
//! | file | what is decided there |
//! |---|---|
//! | `join` | which run this is, and whether it may begin |
//! | `gather` | when to receive, how much |
//! | `ask` | what a redelivered message is |
//! | `lane` | the order of the steps: prepare, send, mark, settle |
//! | `send` | batches, retries, each entry's outcome |
//! | `copy` | which destination a message goes to, and what its copy carries |
//! | `settle` | deletes, releases, hand-over |
//! | `by_hand` | what a person decides of doubts (`doubts settle`) |
//! | `steer` | what a person changes of a run under way (`pause`, `resume`, `rate`) |
//! | `beat`, `watch`, `sweep`, `fleet` | living and dead processes, and the rate they share |
//! | `finish`, `ending` | when a run is over, and what a drain tells of itself then |
//! | `delivery`, `hands` | one delivery and what becomes of it; what is in hand, and what was sent lately |
//! | `settings`, `backoff` | what a drain is told; how long it waits before it tries again |
//! | `context` | what they share, and whether a send may start at this moment |

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::exit::ExitCode;
use crate::ledger::Ledger;
use crate::pace::share_of;
use crate::port::{Clock, Ports};
use crate::report::RouteReport;
use crate::stop::{Reason, Stop};
use crate::window::{State, too_late};

mod ask;
mod backoff;
mod beat;
pub mod by_hand;
pub mod context;
pub mod copy;
pub mod delivery;
mod ending;
mod finish;
mod fleet;
mod gather;
pub mod hands;
mod join;
mod lane;
mod send;
pub mod settings;
mod settle;
pub mod steer;
mod sweep;
mod watch;

pub use context::Wiring;
pub use join::another_queue;
pub use settings::Settings;

use context::Context;
use join::{JoinError, Joined};
use lane::{Lane, Pages};

/// What is kept of the grace for leaving: the last writes to the table.
const LEAVING: Duration = Duration::from_secs(3);

/// Progress of a drain, to be shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Deliveries so far.
    pub received: u64,
    /// Messages accepted by their destinations so far.
    pub sent: u64,
    /// In hand now.
    pub in_hand: usize,
    /// Sends wait for the table or were paused.
    pub waiting: bool,
    /// The run is paused by hand.
    pub paused: bool,
}

/// Runs one route's drain to its end. Must run inside a [`tokio::task::LocalSet`]. `show` is called a few times a second.
pub async fn run<P: Ports>(
    wiring: Wiring<P>,
    settings: Settings,
    stop: Stop,
    show: impl Fn(Progress) + 'static,
) -> RouteReport {
    let clock = wiring.clock.clone();
    let opened_at = match wait_for_the_window(&*clock, &settings, &stop).await {
        Ok(opened_at) => opened_at,
        Err(report) => return *report,
    };
    let now = clock.wall().local;
    let Some(run_id) = settings.run_id_at(now) else {
        let message = "the window has just closed".to_owned();
        return RouteReport::not_run(ExitCode::OutsideWindow, None, message);
    };
    let within = settings.start_within;
    let too_late = within.and_then(|within| too_late(opened_at, now, within));
    let ctx = match enter(wiring, settings, &stop, &run_id, too_late).await {
        Ok(ctx) => ctx,
        Err(error) => return not_joined(&run_id, error),
    };
    tracing::info!(
        event = "run_started",
        route = %ctx.settings.route,
        run = %run_id,
        process = %ctx.name(),
        shard = ctx.settings.shard,
        "run started"
    );
    work(&ctx, show).await;
    let left = leave(&ctx).await;
    let report = ending::report(&ctx, run_id, left).await;
    tracing::info!(
        event = "run_ended",
        route = %ctx.settings.route,
        run = report.run_id.as_deref(),
        outcome = report.outcome,
        exit_code = report.exit.code(),
        received = report.totals.received,
        sent = report.totals.sent,
        balanced = report.balanced,
        "run ended"
    );
    report
}

/// Waits for the window where that was asked for. Answers with its opening, or with the report of a route that did not run.
async fn wait_for_the_window(
    clock: &impl Clock,
    settings: &Settings,
    stop: &Stop,
) -> Result<chrono::DateTime<chrono::Utc>, Box<RouteReport>> {
    loop {
        let times = clock.wall();
        // Whichever of the two clocks says "shut" wins.
        let states = [Some(times.local), times.service]
            .into_iter()
            .flatten()
            .map(|t| (t, settings.window.state_at(t)));
        let mut opened = None;
        let mut shut = None;
        for (t, state) in states {
            match state {
                State::Open { opened_at, .. } => opened = Some(opened_at),
                State::Shut { opens_at } => shut = Some((t, opens_at)),
            }
        }
        let (t, opens_at) = match (opened, shut) {
            (Some(opened_at), None) => return Ok(opened_at),
            (_, Some(shut)) => shut,
            (None, None) => (times.local, None),
        };
        let not_run =
            |message| Box::new(RouteReport::not_run(ExitCode::OutsideWindow, None, message));
        let Some(opens_at) = opens_at else {
            return Err(not_run("the window never opens again".to_owned()));
        };
        if !settings.wait_open {
            let local = settings.window.describe(opens_at);
            return Err(not_run(format!("outside the window: it opens at {local}")));
        }
        let left = (opens_at - t).to_std().unwrap_or_default();
        tracing::info!(route = %settings.route, seconds = left.as_secs(), "waiting for the window to open");
        tokio::select! {
            biased;
            () = stop.requested() => {
                let message = "stopped while waiting for the window to open".to_owned();
                return Err(Box::new(RouteReport::not_run(ExitCode::Interrupted, None, message)));
            }
            // In pieces, so that a clock that is set meanwhile is noticed.
            () = clock.sleep(left.clamp(Duration::from_millis(10), Duration::from_secs(60))) => {}
        }
    }
}

fn not_joined(run_id: &str, error: JoinError) -> RouteReport {
    let exit = match &error {
        JoinError::Refused { .. } => ExitCode::Refused,
        JoinError::TooLate(_) => ExitCode::OutsideWindow,
        JoinError::Stopped => ExitCode::Interrupted,
        JoinError::Table(_) => ExitCode::Unavailable,
    };
    let report = RouteReport::not_run(exit, Some(run_id.to_owned()), error.to_string());
    let see_run = match error {
        JoinError::Refused { run, .. } => Some(run),
        _ => None,
    };
    RouteReport { see_run, ..report }
}

/// Joins the run where there is a table, and puts the shared state together.
async fn enter<P: Ports>(
    wiring: Wiring<P>,
    settings: Settings,
    stop: &Stop,
    run_id: &str,
    too_late: Option<String>,
) -> Result<Rc<Context<P>>, JoinError> {
    let Some(store) = wiring.store.clone() else {
        if let Some(why) = too_late {
            return Err(JoinError::TooLate(why));
        }
        let now_ms = wiring.clock.wall().local.timestamp_millis();
        let cutoff_ms = match settings.cutoff {
            settings::Cutoff::RunStart => Some(now_ms),
            settings::Cutoff::None => None,
            settings::Cutoff::At(at) => Some(at.timestamp_millis()),
        };
        let share = match share_of(settings.rate) {
            limited if limited > 0 => (limited / i64::from(settings.shards.max(1))).max(1),
            unlimited => unlimited,
        };
        let shards = i64::from(settings.shards);
        let ctx = Context::new(settings, wiring, None, cutoff_ms, stop.clone());
        ctx.pacer.set(share, ctx.burst_among(shards));
        return Ok(Rc::new(ctx));
    };
    let clock = wiring.clock.clone();
    let ledger = Ledger::new(store, clock.clone(), settings.source.clone()).under(settings.rules);
    fleet::take_turns(&settings, &*clock, stop).await;
    if stop.is_requested() {
        return Err(JoinError::Stopped);
    }
    let me = join::newcomer(&settings, &*clock, run_id);
    let joining = async {
        let mut backoff = backoff::Backoff::new(Duration::from_millis(200), Duration::from_secs(3));
        let give_up = clock.now().after(settings.timings.grace);
        loop {
            let (ledger, too_late) = (ledger.clone(), too_late.clone());
            match join::join(&settings, ledger, &*clock, stop, &me, too_late).await {
                Err(JoinError::Table(error)) if error.may_pass() && clock.now() < give_up => {
                    tracing::warn!(route = %settings.route, %error, "the run cannot be joined yet: trying again");
                    let wait = backoff.next(&*clock);
                    tokio::select! {
                        biased;
                        () = stop.requested() => return Err(JoinError::Stopped),
                        () = clock.sleep(wait) => {}
                    }
                }
                joined => return joined,
            }
        }
    };
    let Joined {
        journal,
        cutoff_ms,
        coordinates,
        follows,
        grant,
    } = joining.await?;
    let ctx = Context::new(settings, wiring, Some(journal), cutoff_ms, stop.clone());
    ctx.coordinates.set(coordinates);
    if follows {
        ctx.pacer.hold_a_second();
    }
    ctx.apply_grant(grant);
    Ok(Rc::new(ctx))
}

/// Runs lanes and everything around them until the drain has stopped and nothing is in hand, or the grace is over.
async fn work<P: Ports>(ctx: &Rc<Context<P>>, show: impl Fn(Progress) + 'static) {
    let mut around = JoinSet::new();
    around.spawn_local(beat::beat(ctx.clone()));
    around.spawn_local(fleet::tend(ctx.clone()));
    around.spawn_local(finish::watch_for_the_end(ctx.clone()));
    around.spawn_local(watch_the_window(ctx.clone()));
    around.spawn_local(show_progress(ctx.clone(), show));

    let mut lanes = JoinSet::new();
    let (ask, questions) = mpsc::unbounded_channel();
    let (returned, returned_pages) = mpsc::channel(1);
    lanes.spawn_local(ask::answer(ctx.clone(), questions, returned));
    for index in 0..ctx.settings.lanes {
        let (pages, own) = mpsc::channel(1);
        lanes.spawn_local(gather::gather(ctx.clone(), index, pages, ask.clone()));
        lanes.spawn_local(Lane::new(ctx.clone(), index, Some(ask.clone())).work(Pages::Own(own)));
    }
    drop(ask);
    let shared = Rc::new(tokio::sync::Mutex::new(returned_pages));
    for index in ctx.settings.lanes..ctx.settings.pages() {
        lanes.spawn_local(Lane::new(ctx.clone(), index, None).work(Pages::Shared(shared.clone())));
    }

    let clock = ctx.wiring.clock.clone();
    let grace = ctx.settings.timings.grace.saturating_sub(LEAVING);
    let out_of_grace = async {
        ctx.stop.requested().await;
        clock.sleep(grace).await;
        tracing::warn!(route = %ctx.settings.route, "the grace is over: leaving what is in hand to the journal");
    };
    // A panic: the others must not go on as if nothing had happened.
    let failed = |what: &str, end: Result<(), tokio::task::JoinError>| {
        if let Err(error) = end {
            let words = format!("{what} failed: {error}");
            ctx.stop.request(Reason::Failed(words));
        }
    };
    let ended = async {
        while let Some(end) = lanes.join_next().await {
            failed("a lane", end);
        }
    };
    let watched = async {
        while let Some(end) = around.join_next().await {
            failed("a task beside the lanes", end);
        }
        std::future::pending().await
    };
    tokio::select! {
        biased;
        () = ended => {}
        () = ctx.stop.touching_forbidden() => {}
        () = out_of_grace => {}
        () = watched => {}
    }
}

/// Notices the window's closing (and a clock that jumps) even while nothing is being sent.
async fn watch_the_window<P: Ports>(ctx: Rc<Context<P>>) {
    while ctx.window_is_open() {
        ctx.wiring.clock.sleep(Duration::from_secs(1)).await;
    }
}

async fn show_progress<P: Ports>(ctx: Rc<Context<P>>, show: impl Fn(Progress)) {
    loop {
        ctx.wiring.clock.sleep(Duration::from_millis(250)).await;
        show(Progress {
            received: ctx.received.get(),
            sent: ctx.sum().sent,
            in_hand: ctx.hands.borrow().len(),
            waiting: ctx.paused.get() || !ctx.is_fresh(),
            paused: ctx.paused.get(),
        });
    }
}

/// Leaves the run: this process settles its own pages as a sweeper would, unless it was superseded. False: the table did not answer.
async fn leave<P: Ports>(ctx: &Context<P>) -> bool {
    let Some(journal) = &ctx.journal else {
        return true;
    };
    if ctx.stop.forbids_touching() {
        return true;
    }
    let reason = ctx.stop.reason().unwrap_or(Reason::Ended);
    let me = &journal.me;
    let leaving = async {
        let mut backoff = backoff::Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        loop {
            let left = async {
                // All others' writes of this would meet at the run's one key.
                if fleet::is_coordinator(ctx) {
                    journal.ledger.abdicate(&me.run, &me.process).await?;
                }
                sweep::sweep(&journal.ledger, me, reason.word(), &me.process).await
            };
            match left.await {
                Ok(()) => return true,
                Err(error) => {
                    if !ctx.bear(&error, &mut backoff).await {
                        return true;
                    }
                }
            }
        }
    };
    tokio::select! {
        biased;
        left = leaving => left,
        () = ctx.wiring.clock.sleep(LEAVING) => {
            tracing::warn!(route = %ctx.settings.route, "the table does not answer: another process will settle what this one leaves");
            false
        }
    }
}
