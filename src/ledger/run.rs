//! The record of a run: who coordinates it, what it is for, and the totals of its processes.

use super::items::{item, n, s};
use super::*;

pub(super) fn run_key(run: &str) -> Key {
    Key::new(format!("run#{run}"), "run")
}

impl<P: Ports> Ledger<P> {
    /// Reads a run.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn run(&self, run: &str) -> Result<Option<RunItem>, LedgerError> {
        let found = self.get_one(run_key(run)).await?;
        Ok(found.map(|i| RunItem::read(&i)).transpose()?)
    }

    /// Creates a run, or reads the one that is there: true when it was created by this call.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn create_run(
        &self,
        run: &str,
        new: &RunItem,
    ) -> Result<(RunItem, bool), LedgerError> {
        match self
            .put(run_key(run), all([Test::Absent]), new.to_item(), KEPT)
            .await
        {
            Ok(()) => Ok((new.clone(), true)),
            Err(StoreError::Conflict(Some(old))) => {
                let old = RunItem::read(&old)?;
                let created = old == *new;
                Ok((old, created))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Goes on with a run whose epoch `ended` is over: a new epoch with a new cut-off. Whoever is second reads what the first wrote.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn reopen_run(
        &self,
        run: &str,
        ended: i64,
        cutoff_ms: Option<i64>,
        settings: &str,
        rate: i64,
    ) -> Result<(), LedgerError> {
        let when = all([
            Test::Eq("epoch".into(), Datum::N(ended)),
            Test::Eq("ended".into(), Datum::N(1)),
        ]);
        let set = item([
            ("epoch", n(ended + 1)),
            ("ended", n(0)),
            ("cutoff", cutoff_ms.and_then(n)),
            ("settings", s(settings)),
            ("rate", n(rate)),
        ]);
        let mut remove = vec!["outcome".to_owned()];
        if cutoff_ms.is_none() {
            remove.push("cutoff".to_owned());
        }
        match self.change(run_key(run), when, set, remove, KEPT).await {
            Ok(_) | Err(StoreError::Conflict(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Declares an epoch of the run over, if `coordinator` is the one of the run (one that stood still meanwhile has no say any more);
    /// `None`: whoever it is, nobody of the run lives. Answers whether it is over.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn end_run(
        &self,
        run: &str,
        epoch: i64,
        outcome: &str,
        coordinator: Option<&str>,
    ) -> Result<bool, LedgerError> {
        let mut when = all([
            Test::Eq("epoch".into(), Datum::N(epoch)),
            Test::Eq("ended".into(), Datum::N(0)),
        ]);
        if let Some(me) = coordinator {
            when.push(vec![Test::Eq(
                "coordinator".into(),
                Datum::S(me.to_owned()),
            )]);
        }
        let set = item([("ended", n(1)), ("outcome", s(outcome))]);
        match self.update(run_key(run), when, set, KEPT).await {
            Ok(_) => Ok(true),
            Err(StoreError::Conflict(None)) => Ok(false),
            Err(StoreError::Conflict(Some(old))) => {
                let old = RunItem::read(&old)?;
                Ok(old.epoch > epoch || old.ended)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Becomes the run's coordinator in place of `old`. Answers with the run as it is now; the caller is coordinator if it says so.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn coordinate(
        &self,
        run: &str,
        old: Option<&str>,
        term: i64,
        me: &str,
    ) -> Result<Option<RunItem>, LedgerError> {
        let mut when = all([Test::Eq("term".into(), Datum::N(term))]);
        when.push(match old {
            Some(old) => vec![Test::Eq("coordinator".into(), Datum::S(old.to_owned()))],
            None => vec![
                Test::No("coordinator".into()),
                Test::Eq("coordinator".into(), Datum::S(String::new())),
            ],
        });
        let set = item([("coordinator", s(me)), ("term", n(term + 1))]);
        let stored = match self.update(run_key(run), when, set, KEPT).await {
            Ok(new) => Some(new),
            Err(StoreError::Conflict(old)) => old,
            Err(error) => return Err(error.into()),
        };
        Ok(stored.map(|i| RunItem::read(&i)).transpose()?)
    }

    /// Gives the coordinator's place back, so that another need not wait for a lease.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn abdicate(&self, run: &str, me: &str) -> Result<(), LedgerError> {
        let when = all([Test::Eq("coordinator".into(), Datum::S(me.to_owned()))]);
        match self
            .update(run_key(run), when, item([("coordinator", s(""))]), KEPT)
            .await
        {
            Ok(_) | Err(StoreError::Conflict(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Pauses or resumes a run by hand, or changes its rate (thousandths of a message a second; negative: no limit). False: no such run.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn steer(
        &self,
        run: &str,
        paused: Option<bool>,
        rate: Option<i64>,
    ) -> Result<bool, LedgerError> {
        let set = item([
            ("paused", paused.and_then(|p| n(i64::from(p)))),
            ("rate", rate.and_then(n)),
        ]);
        match self
            .update(run_key(run), all([Test::Exists]), set, KEPT)
            .await
        {
            Ok(_) => Ok(true),
            Err(StoreError::Conflict(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The totals of the run's processes that have ended or were swept.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn tallies(&self, run: &str) -> Result<Vec<Tally>, LedgerError> {
        let found = self.store.query(&format!("run#{run}"), "process#").await?;
        found
            .into_iter()
            .map(|(sk, item)| {
                Tally::read(sk.trim_start_matches("process#"), &item).map_err(Into::into)
            })
            .collect()
    }
}
