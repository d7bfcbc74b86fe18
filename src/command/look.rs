//! A look at everything a route names, changing and receiving nothing: for `plan` and `check`.

use std::rc::Rc;

use chrono::{DateTime, Utc};

use super::Failure;
use super::connect::{Real, clients_of, describe, queue_failure, settings};
use super::target::ledger_failure;
use crate::aws::{Aws, Clients};
use crate::drain::another_queue;
use crate::drain::settings::difference;
use crate::exit::ExitCode;
use crate::ledger::{Ledger, LedgerError, source_name};
use crate::message::Counts;
use crate::plan::{ProcessPlan, QueueFacts, QueueRef, Refusal, RoutePlan, Warning, check_queues};
use crate::port::Source;
use crate::window::{self, State, Window};

/// A queue of a route.
pub struct Queue {
    /// What it is to the route: `source`, `destination`, `hold`, `reject`.
    pub role: &'static str,
    /// Its attributes.
    pub facts: QueueFacts,
    /// What it says it holds.
    pub counts: Counts,
}

impl Queue {
    /// Its name.
    pub fn name(&self) -> &str {
        let url = &self.facts.url;
        url.rsplit('/').next().unwrap_or(url)
    }

    /// Looks at one queue.
    ///
    /// # Errors
    /// The line that says why it cannot be used.
    pub async fn look(
        clients: &Clients,
        role: &'static str,
        queue: &QueueRef,
    ) -> Result<Self, Failure> {
        let facts = describe(clients, role, queue).await?;
        let counts = clients.queue(&facts.url).counts().await;
        let counts = counts.map_err(|error| queue_failure(role, queue, &error))?;
        Ok(Self {
            role,
            facts,
            counts,
        })
    }
}

/// The queues of a route.
pub struct Queues {
    /// The source.
    pub source: Queue,
    /// The destinations, in the route's order.
    pub sinks: Vec<Queue>,
    /// The hold queue.
    pub hold: Option<Queue>,
    /// The reject queue.
    pub reject: Option<Queue>,
}

/// What a look at one queue of a route showed.
pub struct Looked {
    /// What it is to the route.
    pub role: &'static str,
    /// The queue, or the line that says why it cannot be used.
    pub queue: Result<Queue, Failure>,
}

/// Looks at every queue of a route: source, destinations, hold, reject.
pub async fn look_at_all(clients: &Clients, route: &RoutePlan) -> Vec<Looked> {
    let source = std::iter::once(("source", &route.from));
    let to = route.to.iter().map(|to| ("destination", to));
    let hold = route.hold().map(|hold| ("hold", hold));
    let reject = route.reject.as_ref().map(|reject| ("reject", reject));
    let mut all = Vec::new();
    for (role, queue) in source.chain(to).chain(hold).chain(reject) {
        let queue = Queue::look(clients, role, queue).await;
        all.push(Looked { role, queue });
    }
    all
}

impl Queues {
    /// The queues of a route that was looked at.
    ///
    /// # Errors
    /// The line about the first that cannot be used.
    pub fn of(all: Vec<Looked>) -> Result<Self, Failure> {
        let (mut source, mut hold, mut reject) = (None, None, None);
        let mut sinks = Vec::new();
        for looked in all {
            let queue = looked.queue?;
            match looked.role {
                "source" => source = Some(queue),
                "hold" => hold = Some(queue),
                "reject" => reject = Some(queue),
                _ => sinks.push(queue),
            }
        }
        let none = || Failure::new(ExitCode::Failed, "the source was not looked at");
        Ok(Self {
            source: source.ok_or_else(none)?,
            sinks,
            hold,
            reject,
        })
    }

    /// The destinations' attributes.
    pub fn sink_facts(&self) -> Vec<QueueFacts> {
        self.sinks.iter().map(|s| s.facts.clone()).collect()
    }

    /// What the queues forbid or warn of.
    ///
    /// # Errors
    /// See [`check_queues`].
    pub fn check(&self, route: &RoutePlan) -> Result<Vec<Warning>, Refusal> {
        check_queues(
            route,
            &self.source.facts,
            &self.sink_facts(),
            self.hold.as_ref().map(|q| &q.facts),
            self.reject.as_ref().map(|q| &q.facts),
        )
    }
}

impl Queues {
    /// Finds out which run of this table a start now would work for; see [`Start`].
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn start(
        &self,
        aws: &Aws,
        process: &ProcessPlan,
        route: &RoutePlan,
        table: &str,
        run_id: &str,
        now: DateTime<Utc>,
    ) -> Result<Start, Failure> {
        let ledger: Ledger<Real> = Ledger::new(
            Rc::new(clients_of(aws, route).table(table)),
            Rc::new(aws.clock()),
            source_name(&self.source.facts.arn),
        );
        let fingerprint = settings(
            process,
            route,
            &self.source.facts,
            &self.sink_facts(),
            self.hold.as_ref().map(|q| &q.facts),
            self.reject.as_ref().map(|q| &q.facts),
        )
        .fingerprint;
        let start = start(&ledger, route, &fingerprint, run_id, now).await;
        start.map_err(|error| ledger_failure(table, &error))
    }
}

/// Which run a start now would work for.
pub enum Start {
    /// It would create the run.
    New,
    /// It would join the run's living processes.
    Joining(usize),
    /// It would go on with a run that nobody works on; the words say how it stands.
    GoingOn(String),
    /// It would be refused: a run is alive at the source.
    Refused(String),
    /// It would not be begun any more (`--start-within`).
    TooLate(String),
}

impl Start {
    /// How it would be, in words.
    pub fn words(&self) -> String {
        match self {
            Self::New => "new".to_owned(),
            Self::Joining(1) => "joining its process".to_owned(),
            Self::Joining(n) => format!("joining its {n} processes"),
            Self::GoingOn(words) => words.clone(),
            Self::Refused(words) | Self::TooLate(words) => format!("refused, {words}"),
        }
    }

    /// The exit code of a start that would not run.
    pub fn exit(&self) -> Option<ExitCode> {
        match self {
            Self::New | Self::Joining(_) | Self::GoingOn(_) => None,
            Self::Refused(_) => Some(ExitCode::Refused),
            Self::TooLate(_) => Some(ExitCode::OutsideWindow),
        }
    }
}

/// Finds out which run a start now would work for, from the table. Whether a process lives is told by the age of its heartbeat here; a
/// start watches it for a lease.
///
/// # Errors
/// When the table cannot be read.
async fn start(
    ledger: &Ledger<Real>,
    route: &RoutePlan,
    fingerprint: &str,
    run_id: &str,
    now: DateTime<Utc>,
) -> Result<Start, LedgerError> {
    let run = ledger.run(run_id).await?;
    if run.as_ref().is_some_and(|r| r.source != ledger.source()) {
        return Ok(Start::Refused(another_queue(run_id)));
    }
    let processes = ledger.processes().await?;
    let names: Vec<String> = processes.iter().map(|p| p.process.clone()).collect();
    let beats = ledger.beats(&names).await?;
    let silence_ms = 2 * route.timings.lease.as_millis() as i64;
    let same = run.as_ref().is_none_or(|r| r.settings == fingerprint);
    let (mut mine, mut dead) = (0, 0);
    for (process, beat) in processes.iter().zip(beats) {
        let lives = beat.is_some_and(|b| {
            b.fenced_by.is_none() && now.timestamp_millis() - b.at_ms <= silence_ms
        });
        match (lives, process.run == run_id) {
            (false, _) => dead += 1,
            (true, true) if same => mine += 1,
            (true, true) => {
                let there = run.as_ref().map_or("", |r| &r.settings);
                let words = format!(
                    "the run '{run_id}' is under way with other settings{}",
                    difference(there, fingerprint)
                );
                return Ok(Start::Refused(words));
            }
            (true, false) => {
                let words = format!("the source is being drained by the run '{}'", process.run);
                return Ok(Start::Refused(words));
            }
        }
    }
    let settled = match dead {
        0 => String::new(),
        n => format!(", after settling what {n} dead processes left"),
    };
    let Some(run) = run else {
        return Ok(match too_late(route, now) {
            Some(words) => Start::TooLate(words),
            None => Start::New,
        });
    };
    Ok(match (mine, run.ended) {
        (0, true) => Start::GoingOn(format!(
            "it has ended ({}) and would be gone on with, with a new cut-off{settled}",
            run.outcome.as_deref().unwrap_or("-")
        )),
        (0, false) => Start::GoingOn(format!("nobody works on it now{settled}")),
        (n, _) => Start::Joining(n),
    })
}

/// Why a run of the route may not be begun any more, if so.
pub fn too_late(route: &RoutePlan, now: DateTime<Utc>) -> Option<String> {
    match route.window.state_at(now) {
        State::Open { opened_at, .. } => window::too_late(opened_at, now, route.start_within?),
        State::Shut { .. } => None,
    }
}

/// The window's state in one line.
pub fn window_words(window: &Window, now: DateTime<Utc>) -> String {
    let state = match window.state_at(now) {
        State::Open {
            closes_at: Some(at),
            ..
        } => format!("open until {}", window.describe(at)),
        State::Open {
            closes_at: None, ..
        } => "open, and does not close".to_owned(),
        State::Shut { opens_at: Some(at) } => format!("shut until {}", window.describe(at)),
        State::Shut { opens_at: None } => "shut, and never opens again".to_owned(),
    };
    format!("{} in {}: {state}", window.rule(), window.zone())
}
