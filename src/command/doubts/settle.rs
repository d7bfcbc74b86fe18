//! `doubts settle`: which doubts, whether now is a time for it, and what is printed of each. What becomes of them is `drain::by_hand`.

use std::collections::BTreeMap;
use std::io::Write;

use super::super::access::access;
use super::super::connect::{Real, connect};
use super::super::target::ledger_failure;
use super::super::words::command;
use super::super::{Failure, now, runtime, start_log};
use super::own::{OwnRun, the_run};
use crate::aws::Timeouts;
use crate::cli::DoubtsSettleArgs;
use crate::drain::Settings;
use crate::drain::by_hand::{self, Action, End, Hand, is_open};
use crate::exit::ExitCode;
use crate::journal::{Delivery as Policy, RecordState};
use crate::ledger::{Beat, Ledger, LedgerError};
use crate::message::Id;
use crate::plan::{Journal, Refusal};
use crate::port::{Clock, WallTimes};

/// An end as it is printed: a word that is counted, and the rest.
fn words(end: &End) -> (&'static str, &str) {
    match end {
        End::Sent(words) => ("sent", words),
        End::Dropped(words) => ("dropped", words),
        End::Already(words) => ("already", words),
        End::Refused(words) => ("refused", words),
        End::Failed(words) => ("failed", words),
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
    runtime()?.block_on(async {
        let aws = access(Timeouts::default()).await?;
        let mut connected = connect(&aws, &plan.process, route).await?;
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
        let run = the_run(&ledger, route, table).await?;
        run.must_be_settled_as_it_was_drained(route, &connected.settings, args.send)?;
        connected.settings.rate = run.rate_by_hand(connected.settings.rate);
        if args.send {
            must_be_open(&connected.settings, clock.wall())?;
            must_be_alone(&connected.settings, &ledger, table, clock.wall())
                .await
                .map_err(failed)??;
        }
        let chosen = chosen(args, &ledger, &run).await.map_err(failed)?;
        let hand = Hand {
            ledger: &ledger,
            hold: connected.wiring.hold.clone(),
            sinks: &connected.wiring.sinks,
            clock,
            settings: &connected.settings,
        };
        let action = match args.send {
            true => Action::Send { again: args.again },
            false => Action::Drop,
        };
        let mut told = Told::default();
        for id in &chosen.unswept {
            told.tell(&id.to_string(), &End::Refused(UNSWEPT.to_owned()));
        }
        let all: Vec<Id> = chosen.ids.keys().copied().collect();
        let settled = by_hand::settle(&hand, action, &all, |id, end| {
            told.tell(chosen.ids.get(&id).map_or("", String::as_str), &end);
        });
        settled.await.map_err(failed)?;
        let exit = told.end()?;
        if chosen.first_run > 0 {
            let what = match connected.settings.delivery {
                Policy::AtMostOnce => "it puts them there",
                Policy::AtLeastOnce => "it sends them again by itself",
            };
            writeln!(
                std::io::stderr(),
                "sqs-drain: {} of the doubts are not in the hold queue yet: start the run again first, {what}",
                chosen.first_run
            )?;
        }
        Ok(exit)
    })
}

/// What is said of a doubt that only a dead process's page tells of.
const UNSWEPT: &str =
    "its process died, and nobody has settled what it left: start the run again first";

/// What is to be settled.
#[derive(Default)]
struct Chosen {
    /// The ids, as they are to be printed.
    ids: BTreeMap<Id, String>,
    /// Doubts of dead processes that nobody has swept: they are listed, and the table has no record of them yet.
    unswept: Vec<Id>,
    /// How many doubts of all that are to be sent are not in the hold queue.
    first_run: usize,
}

/// The ids asked for, or all doubts of the run that are listed: also those of dead processes that nobody has swept.
async fn chosen(
    args: &DoubtsSettleArgs,
    ledger: &Ledger<Real>,
    run: &OwnRun,
) -> Result<Chosen, LedgerError> {
    if !args.all {
        let ids = args.ids.iter().map(|id| (Id::of(id), id.clone()));
        return Ok(Chosen {
            ids: ids.collect(),
            ..Chosen::default()
        });
    }
    let mut troubles = ledger.account(&run.id, run.silence()).await?.troubles;
    troubles.retain(|t| t.state().is_open_doubt());
    let words = match args.send {
        true => {
            "settling all doubts of the run: each may have been delivered before, and is then delivered twice"
        }
        false => "settling all doubts of the run",
    };
    tracing::info!(run = run.id, doubts = troubles.len(), "{words}");
    let ids: Vec<Id> = troubles.iter().map(|t| t.id).collect();
    let mut chosen = Chosen::default();
    for (id, record) in ids.iter().zip(ledger.records(&ids).await?) {
        if args.send && !record.held && !record.holding {
            chosen.first_run += 1;
        }
        match record.state() {
            RecordState::Unknown => chosen.unswept.push(*id),
            _ => drop(chosen.ids.insert(*id, id.to_string())),
        }
    }
    Ok(chosen)
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
    table: &str,
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
            "the run '{}' is at the source and uses its rate: wait until it has ended, or pause it with `{}`",
            first.run,
            command("pause", &first.run, table),
        ),
    )))
}

/// What has been printed so far. Each end is printed when it is known, so that a call that is killed has told what it did.
#[derive(Default)]
struct Told {
    counts: BTreeMap<&'static str, usize>,
    broken: Option<std::io::Error>,
}

impl Told {
    fn tell(&mut self, id: &str, end: &End) {
        let (word, words) = words(end);
        *self.counts.entry(word).or_default() += 1;
        let words = match words {
            "" => String::new(),
            words => format!(": {words}"),
        };
        // What was begun goes on although nobody can read of it.
        if let Err(error) = writeln!(std::io::stdout(), "{id} {word}{words}") {
            self.broken.get_or_insert(error);
        }
    }

    fn end(self) -> Result<ExitCode, Failure> {
        let count = |word: &str| self.counts.get(word).copied().unwrap_or(0);
        let all = ["sent", "dropped", "already", "refused", "failed"];
        let told: Vec<String> = all.iter().map(|w| format!("{} {w}", count(w))).collect();
        writeln!(std::io::stdout(), "{}", told.join(", "))?;
        if let Some(error) = self.broken {
            return Err(error.into());
        }
        Ok(match (count("failed"), count("refused")) {
            (0, 0) => ExitCode::Drained,
            (0, _) => ExitCode::Refused,
            _ => ExitCode::Failed,
        })
    }
}
