//! Finds the run that `status`, `pause`, `resume`, `rate` and `doubts list` are about.

use std::rc::Rc;
use std::time::Duration;

use super::access::access;
use super::connect::{Real, describe, table_failure};
use super::words::{command, quoted};
use super::{Failure, now};
use crate::aws::clock::SystemClock;
use crate::aws::{Aws, Clients, Timeouts};
use crate::cli::TargetArgs;
use crate::drain::settings::lease_of;
use crate::exit::ExitCode;
use crate::ledger::{Ledger, LedgerError, RunItem, source_name};
use crate::plan::{Located, LocatedRoute};

/// The lease of a run that does not tell its own: the default.
const LEASE: Duration = Duration::from_secs(10);

/// A run in the table.
pub struct Found {
    /// Its table, for the source it drains.
    pub ledger: Ledger<Real>,
    /// The table's name.
    pub table: String,
    /// The run's id.
    pub id: String,
    /// What the table says of it.
    pub run: RunItem,
}

impl Found {
    /// The run's lease: a process that lives has a younger heartbeat.
    pub fn lease(&self) -> Duration {
        lease_in(&self.run)
    }

    /// A heartbeat older than this is one of a process that is probably dead: two of the run's leases.
    pub fn silence(&self) -> Duration {
        silence_of(&self.run)
    }

    /// A command of this program for this run.
    pub fn command(&self, words: &str) -> String {
        command(words, &self.id, &self.table)
    }

    /// The line and code for a call to the table that failed.
    pub fn failure(&self, error: &LedgerError) -> Failure {
        ledger_failure(&self.table, error)
    }
}

fn lease_in(run: &RunItem) -> Duration {
    lease_of(&run.settings).unwrap_or(LEASE)
}

/// A heartbeat older than this is one of a process of the run that is probably dead: two of its leases.
pub fn silence_of(run: &RunItem) -> Duration {
    2 * lease_in(run)
}

/// The line and code for a call to the table that failed.
pub fn ledger_failure(table: &str, error: &LedgerError) -> Failure {
    match error {
        LedgerError::Store(error) => table_failure(table, error),
        other => Failure::new(ExitCode::Failed, other.to_string()),
    }
}

/// Access to AWS for what was located.
///
/// # Errors
/// See [`access`].
pub async fn aws(located: &Located) -> Result<Aws, Failure> {
    access(Timeouts {
        table: located.table_timeout,
        ..Timeouts::default()
    })
    .await
}

/// The run named, or else the latest run of each of the routes asked for: the owner of the route's source, which takes SQS to find
/// the source's ARN. A route's name stands for its latest run. At least one.
///
/// # Errors
/// A line for an unknown run, a route that has never run, and whatever cannot be reached.
pub async fn find(target: &TargetArgs, named: Option<&str>) -> Result<Vec<Found>, Failure> {
    look_up(&target.request(now())?.locate()?, named).await
}

/// As [`find`], for what changes a run: of several routes one must be named. `words`: the sub-command, for the line that says so.
///
/// # Errors
/// As [`find`], and a line that lists the routes.
pub async fn find_to_steer(
    target: &TargetArgs,
    named: Option<&str>,
    words: &str,
) -> Result<Vec<Found>, Failure> {
    let located = target.request(now())?.locate()?;
    if let (None, true, [first, _, ..]) = (named, target.routes.is_empty(), &located.routes[..]) {
        let names: Vec<&str> = located.routes.iter().map(|r| r.name.as_str()).collect();
        let config = target.config.config.as_ref().map_or(String::new(), |path| {
            format!(" --config {}", quoted(&path.display().to_string()))
        });
        return Err(Failure::new(
            ExitCode::Refused,
            format!(
                "the routes file has the routes {}, and one must be named: as in `sqs-drain {words}{config} --route {}` (all: --route {})",
                names.join(", "),
                first.name,
                names.join(",")
            ),
        ));
    }
    look_up(&located, named).await
}

async fn look_up(located: &Located, named: Option<&str>) -> Result<Vec<Found>, Failure> {
    let aws = aws(located).await?;
    let search = Search {
        clients: aws.clients(),
        clock: Rc::new(aws.clock()),
        table: &located.table,
    };
    match named {
        Some(id) => {
            let route = located.routes.iter().find(|route| route.name == id);
            match (search.run_if_there(id).await?, route) {
                (None, Some(route)) => Ok(vec![search.latest_of(route).await?]),
                (found, _) => Ok(vec![found.ok_or_else(|| search.unknown(id))?]),
            }
        }
        None if located.routes.is_empty() => Err(Failure::new(
            ExitCode::Refused,
            "no run is named: write its id, or add --from QUEUE or --config FILE for the latest one",
        )),
        None => {
            let mut found = Vec::new();
            for route in &located.routes {
                found.push(search.latest_of(route).await?);
            }
            Ok(found)
        }
    }
}

struct Search<'a> {
    clients: Clients,
    clock: Rc<SystemClock>,
    table: &'a str,
}

impl Search<'_> {
    fn ledger(&self, source: &str) -> Ledger<Real> {
        let store = Rc::new(self.clients.table(self.table));
        Ledger::new(store, self.clock.clone(), source.to_owned())
    }

    async fn run_if_there(&self, id: &str) -> Result<Option<Found>, Failure> {
        // A run's own item does not depend on the source; it names it.
        let read = self.ledger("").run(id).await;
        let run = read.map_err(|error| ledger_failure(self.table, &error))?;
        Ok(run.map(|run| Found {
            ledger: self.ledger(&run.source),
            table: self.table.to_owned(),
            id: id.to_owned(),
            run,
        }))
    }

    fn unknown(&self, id: &str) -> Failure {
        Failure::new(
            ExitCode::Refused,
            format!(
                "the table '{}' knows no run '{id}': check the id (ROUTE@OPENING) and the table, runs are kept for 30 days; a route is named with --route and --config",
                self.table
            ),
        )
    }

    async fn latest_of(&self, route: &LocatedRoute) -> Result<Found, Failure> {
        let facts = describe(&self.clients, "source", &route.from).await?;
        let owner = self.ledger(&source_name(&facts.arn)).owner().await;
        let owner = owner.map_err(|error| ledger_failure(self.table, &error))?;
        match owner {
            Some(owner) => {
                let found = self.run_if_there(&owner.run).await?;
                found.ok_or_else(|| self.unknown(&owner.run))
            }
            None => Err(Failure::new(
                ExitCode::Refused,
                format!(
                    "the table '{}' knows no run of the source '{}': check --from and --table; there is none before the first `sqs-drain run`",
                    self.table, route.from
                ),
            )),
        }
    }
}
