//! `doubts settle`: what becomes of each doubt is decided by its record, and every change of a record is made once.

use std::collections::BTreeMap;
use std::io::Write;

use super::super::connect::{Connected, Real, connect};
use super::super::target::ledger_failure;
use super::super::{Failure, now, runtime, start_log};
use super::held::{self, Hold};
use super::is_doubt;
use crate::aws::{Aws, Timeouts};
use crate::cli::DoubtsSettleArgs;
use crate::drain::Settings;
use crate::exit::ExitCode;
use crate::journal::{Delivery, Record, RecordState};
use crate::ledger::{Beat, Ledger, LedgerError, Transition};
use crate::message::Id;
use crate::plan::{Journal, Refusal};
use crate::port::{Clock, WallTimes};
use crate::window::State;

/// How one id ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Sent to its destination, which accepted it.
    Sent(String),
    /// Dropped: its next delivery, or its copy in the hold queue, is only deleted.
    Dropped(String),
    /// Nothing was left to do.
    Already(String),
    /// Not what may be done with it.
    Refused(String),
    /// It did not get through, or nobody knows.
    Failed(String),
}

impl End {
    fn words(&self) -> (&'static str, &str) {
        match self {
            Self::Sent(words) => ("sent", words),
            Self::Dropped(words) => ("dropped", words),
            Self::Already(words) => ("already", words),
            Self::Refused(words) => ("refused", words),
            Self::Failed(words) => ("failed", words),
        }
    }
}

/// `sqs-drain doubts settle`.
pub fn settle(args: &DoubtsSettleArgs) -> Result<ExitCode, Failure> {
    let plan = args.request(now())?.plan()?;
    let [route] = &plan.routes[..] else {
        return Err(Refusal::new(
            "the routes file has several routes, and doubts are settled for one",
            "name it with --route",
        )
        .into());
    };
    let Journal::Table(table) = &route.journal else {
        return Err(Refusal::new("without a table there are no doubts", "add --table NAME").into());
    };
    start_log(plan.process.log_format, plan.process.log_level);
    let ends = runtime()?.block_on(async {
        let aws = Aws::from_env(Timeouts::default()).await;
        let connected = connect(&aws, &plan.process, route).await?;
        let (Some(store), clock) = (&connected.wiring.store, &connected.wiring.clock) else {
            return Err(
                Refusal::new("without a table there are no doubts", "add --table NAME").into(),
            );
        };
        let ledger: Ledger<Real> = Ledger::new(
            store.clone(),
            clock.clone(),
            connected.settings.source.clone(),
        );
        let failed = |error: LedgerError| ledger_failure(table, &error);
        if args.send {
            must_be_open(&connected.settings, clock.wall())?;
            must_be_alone(&connected.settings, &ledger, clock.wall())
                .await
                .map_err(failed)??;
        }
        let ids = chosen(args, &ledger, route.run_id.as_deref())
            .await
            .map_err(failed)??;
        each(args.send, &connected, &ledger, ids)
            .await
            .map_err(failed)
    })?;
    print(&ends)
}

/// The ids asked for, or all doubts of the run (the latest one where none is named).
async fn chosen(
    args: &DoubtsSettleArgs,
    ledger: &Ledger<Real>,
    run: Option<&str>,
) -> Result<Result<Vec<Id>, Failure>, LedgerError> {
    if !args.all {
        return Ok(Ok(args.ids.iter().map(|id| Id::of(id)).collect()));
    }
    let run = match run {
        Some(run) => Some(run.to_owned()),
        None => ledger.owner().await?.map(|owner| owner.run),
    };
    let Some(run) = run else {
        return Ok(Err(Failure::new(
            ExitCode::Refused,
            "the table knows no run of this source",
        )));
    };
    let troubles = ledger.troubles(&run).await?;
    let left = |state| {
        matches!(
            state,
            RecordState::InDoubt | RecordState::Held | RecordState::Claimed
        )
    };
    Ok(Ok(troubles
        .iter()
        .filter(|t| is_doubt(t.state()) && left(t.state()))
        .map(|t| t.id)
        .collect()))
}

/// Whether the window permits a send now, by this machine's clock and by the service's.
pub fn is_open(settings: &Settings, times: WallTimes) -> bool {
    let margin = settings.closing_margin();
    let open = |t| match settings.window.state_at(t) {
        State::Open { closes_at, .. } => closes_at.is_none_or(|end| t + margin < end),
        State::Shut { .. } => false,
    };
    [Some(times.local), times.service]
        .into_iter()
        .flatten()
        .all(open)
}

fn must_be_open(settings: &Settings, times: WallTimes) -> Result<(), Failure> {
    if is_open(settings, times) {
        return Ok(());
    }
    let when = match settings.window.next_openings(times.local, 1).first() {
        Some((opens_at, _)) => format!("it opens at {}", settings.window.describe(*opens_at)),
        None => "it never opens again".to_owned(),
    };
    Err(Failure::new(
        ExitCode::OutsideWindow,
        format!("outside the window nothing is sent: {when}"),
    ))
}

/// The rate belongs to the source: while its processes use it, nobody sends beside them. One whose heartbeat is older than two leases
/// uses nothing.
async fn must_be_alone(
    settings: &Settings,
    ledger: &Ledger<Real>,
    times: WallTimes,
) -> Result<Result<(), Failure>, LedgerError> {
    let processes = ledger.processes().await?;
    let names: Vec<String> = processes.iter().map(|p| p.process.clone()).collect();
    let beats = ledger.beats(&names).await?;
    let since_ms = (times.local - 2 * settings.timings.lease).timestamp_millis();
    let lives = |beat: &Option<Beat>| {
        beat.as_ref()
            .is_some_and(|b| b.fenced_by.is_none() && b.at_ms >= since_ms)
    };
    let mut living = processes.iter().zip(&beats).filter(|(_, b)| lives(b));
    let Some((first, _)) = living.next() else {
        return Ok(Ok(()));
    };
    let run = ledger.run(&first.run).await?;
    if run.is_some_and(|run| run.paused) {
        return Ok(Ok(()));
    }
    Ok(Err(Failure::new(
        ExitCode::Refused,
        format!(
            "the run '{0}' is at the source and uses its rate: wait until it has ended, or pause it with `sqs-drain pause '{0}'`",
            first.run
        ),
    )))
}

/// A token that nobody else bears, readable for people.
fn token(clock: &impl Clock) -> String {
    format!("hand/{:016x}", clock.random())
}

/// Settles every id by what its record says.
async fn each(
    send: bool,
    connected: &Connected,
    ledger: &Ledger<Real>,
    ids: Vec<Id>,
) -> Result<BTreeMap<Id, End>, LedgerError> {
    let by = token(&*connected.wiring.clock);
    let records = ledger.records(&ids).await?;
    let mut ends = BTreeMap::new();
    let mut held: BTreeMap<Id, Record> = BTreeMap::new();
    for (id, record) in ids.into_iter().zip(records) {
        if record.held || record.holding {
            held.insert(id, record);
        } else {
            let at_most_once = connected.settings.delivery == Delivery::AtMostOnce;
            ends.insert(
                id,
                in_the_source(send, at_most_once, ledger, id, &record, &by).await?,
            );
        }
    }
    if held.is_empty() {
        return Ok(ends);
    }
    let Some(hold) = connected.wiring.hold.clone() else {
        ends.extend(held.into_keys().map(|id| {
            let words =
                "it is in the hold queue: name that with --delivery at-most-once --hold QUEUE";
            (id, End::Refused(words.to_owned()))
        }));
        return Ok(ends);
    };
    let hold = Hold {
        ledger,
        queue: hold,
        sinks: &connected.wiring.sinks,
        clock: &connected.wiring.clock,
        settings: &connected.settings,
        by: &by,
    };
    ends.extend(held::settle(&hold, send, held).await);
    Ok(ends)
}

/// A doubt whose message is, if anywhere, in the source.
async fn in_the_source(
    send: bool,
    at_most_once: bool,
    ledger: &Ledger<Real>,
    id: Id,
    record: &Record,
    by: &str,
) -> Result<End, LedgerError> {
    Ok(match record.state() {
        RecordState::Unknown => End::Refused("the table knows nothing of it".to_owned()),
        RecordState::InDoubt | RecordState::Claimed if send => End::Refused(
            match at_most_once {
                true => "it is still in the source: the next run puts it into the hold queue, send it from there",
                false => "it is still in the source: the next run sends it again anyway",
            }
            .to_owned(),
        ),
        RecordState::InDoubt | RecordState::Claimed => match ledger.drop_by_hand(id, by).await? {
            Transition::Made => End::Dropped("its next delivery is only deleted".to_owned()),
            Transition::Refused(now) => End::Already(now.state().to_string()),
        },
        state => End::Already(state.to_string()),
    })
}

fn print(ends: &BTreeMap<Id, End>) -> Result<ExitCode, Failure> {
    let mut out = std::io::stdout().lock();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (id, end) in ends {
        let (word, words) = end.words();
        *counts.entry(word).or_default() += 1;
        let words = if words.is_empty() {
            String::new()
        } else {
            format!(": {words}")
        };
        writeln!(out, "{id} {word}{words}")?;
    }
    let count = |word: &str| counts.get(word).copied().unwrap_or(0);
    let all = ["sent", "dropped", "already", "refused", "failed"];
    let told: Vec<String> = all.iter().map(|w| format!("{} {w}", count(w))).collect();
    writeln!(out, "{}", told.join(", "))?;
    Ok(match (count("failed"), count("refused")) {
        (0, 0) => ExitCode::Drained,
        (0, _) => ExitCode::Refused,
        _ => ExitCode::Failed,
    })
}
