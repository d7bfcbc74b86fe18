//! Registration, heartbeats, fences, and what is left of a process when it ends.

use std::collections::HashMap;

use super::items::{item, n, s};
use super::page::page_key;
use super::*;

/// What a heartbeat learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beaten {
    /// It counted; the item as it is now, with the coordinator's grant.
    Alive(Box<Beat>),
    /// This process was fenced, or swept altogether.
    Superseded,
}

/// What became of a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Granted {
    /// It stands; the item as it is now.
    Stands(Box<Beat>),
    /// The process has ended, or was fenced: it sends no more.
    Gone,
    /// Its grant is another than was read: it must be read again.
    Changed,
}

/// How many lanes' totals are folded in one write: an expression has at most 4 KB (AWS quota), and each takes some 130 bytes of it.
const LANES_A_FOLD: usize = 16;

fn beat_key(process: &str) -> Key {
    Key::new(format!("process#{process}"), "beat")
}

fn tally_key(of: &Registration) -> Key {
    Key::new(format!("run#{}", of.run), format!("process#{}", of.process))
}

impl<P: Ports> Ledger<P> {
    fn registration_key(&self, process: &str) -> Key {
        Key::new(self.source_pk(), format!("process#{process}"))
    }

    /// The run that drains the source now.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn owner(&self) -> Result<Option<Owner>, LedgerError> {
        let found = self.get_one(Key::new(self.source_pk(), "owner")).await?;
        let Some(found) = found else { return Ok(None) };
        let r = super::items::Reader(&found);
        Ok(Some(Owner {
            run: r.s("run")?,
            since_ms: r.n("since")?,
        }))
    }

    /// Makes `run` the source's owner if it still is as read (`expected`). False: somebody else was first.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn take_owner(
        &self,
        expected: Option<&Owner>,
        run: &str,
    ) -> Result<bool, LedgerError> {
        let when = match expected {
            None => all([Test::Absent]),
            Some(owner) => all([Test::Eq("run".into(), Datum::S(owner.run.clone()))]),
        };
        let new = item([("run", s(run)), ("since", n(self.now_ms()))]);
        match self
            .put(Key::new(self.source_pk(), "owner"), when, new, KEPT)
            .await
        {
            Ok(()) => Ok(true),
            Err(StoreError::Conflict(Some(old))) if old.get("run") == s(run).as_ref() => Ok(true),
            Err(StoreError::Conflict(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Registers a process: its heartbeat item, its empty pages, then (so that whoever sees the registration finds the
    /// rest) the registration itself. From then on pages are only ever updated.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn register(
        &self,
        registration: &Registration,
        lanes: u32,
        grant: Grant,
    ) -> Result<(), LedgerError> {
        let process = &registration.process;
        let mut beat = Beat::doing_item(&Doing::default(), 0, self.now_ms());
        beat.extend(Beat::grant_item(&grant));
        let create = |key: Key, new: Item| async move {
            match self.put(key, all([Test::Absent]), new, KEPT).await {
                // A ULID is ours alone: what is there already is our own first attempt.
                Ok(()) | Err(StoreError::Conflict(Some(_))) => Ok(()),
                Err(error) => Err(error),
            }
        };
        let pages = (0..lanes).map(|lane| {
            create(
                page_key(process, lane),
                StoredPage::to_item(&Page::default(), 0),
            )
        });
        let (beat, pages) = futures::join!(
            create(beat_key(process), beat),
            futures::future::try_join_all(pages)
        );
        beat?;
        pages?;
        let new = item([
            ("run", s(&registration.run)),
            ("shard", n(registration.shard)),
            ("since", n(registration.since_ms)),
            ("host", s(&registration.host)),
        ]);
        create(self.registration_key(process), new).await?;
        Ok(())
    }

    /// Keeps what stands in the table of a living process, and of its run where it coordinates that, from expiring: only its heartbeat is
    /// written all the time.
    ///
    /// # Errors
    /// When the table cannot be read or written.
    pub async fn keep(&self, me: &Registration, coordinates: bool) -> Result<(), LedgerError> {
        let mut keys = vec![self.registration_key(&me.process)];
        let pages = self.pages(&me.process).await?;
        keys.extend(pages.iter().map(|p| page_key(&me.process, p.lane)));
        if coordinates {
            keys.push(Key::new(self.source_pk(), "owner"));
            keys.push(super::run::run_key(&me.run));
        }
        for key in keys {
            match self
                .update(key, all([Test::Exists]), Item::new(), KEPT)
                .await
            {
                Ok(_) | Err(StoreError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// All processes registered under the source.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn processes(&self) -> Result<Vec<Registration>, LedgerError> {
        let found = self.store.query(&self.source_pk(), "process#").await?;
        found
            .into_iter()
            .map(|(sk, item)| {
                let r = super::items::Reader(&item);
                Ok(Registration {
                    process: sk.trim_start_matches("process#").to_owned(),
                    run: r.s("run")?,
                    shard: r.opt_n("shard").unwrap_or(0),
                    since_ms: r.opt_n("since").unwrap_or(0),
                    host: r.opt_s("host").unwrap_or_default(),
                })
            })
            .collect()
    }

    /// The heartbeat items of processes, one answer per process; `None`: it has none, or only its tombstone.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn beats(&self, processes: &[String]) -> Result<Vec<Option<Beat>>, LedgerError> {
        let keys: Vec<Key> = processes.iter().map(|p| beat_key(p)).collect();
        let found = self.store.get(&keys).await?;
        found
            .into_iter()
            .map(|i| i.filter(|i| !super::items::Reader(i).flag("gone")))
            .map(|i| i.map(|i| Beat::read(&i)).transpose().map_err(Into::into))
            .collect()
    }

    /// Heartbeat number `number` of a process; the numbers count up by one. Repeating a number is harmless.
    ///
    /// # Errors
    /// When the table cannot be written: the beat may or may not count, and must be repeated with the same number.
    pub async fn beat(
        &self,
        process: &str,
        number: i64,
        doing: &Doing,
    ) -> Result<Beaten, LedgerError> {
        let before = match self.rules.keeps(Rule::NumberedBeats) {
            true => Test::Eq("v".into(), Datum::N(number - 1)),
            false => Test::Lt("v".into(), number),
        };
        let when = all([before, Test::No("fenced".into())]);
        let set = Beat::doing_item(doing, number, self.now_ms());
        match self.update(beat_key(process), when, set, KEPT).await {
            Ok(new) => Ok(Beaten::Alive(Box::new(Beat::read(&new)?))),
            Err(StoreError::Conflict(Some(old))) => {
                let old = Beat::read(&old)?;
                // Only the process itself writes numbers: its own first attempt has taken effect.
                if old.number == number && old.fenced_by.is_none() {
                    Ok(Beaten::Alive(Box::new(old)))
                } else {
                    Ok(Beaten::Superseded)
                }
            }
            Err(StoreError::Conflict(None)) => Ok(Beaten::Superseded),
            Err(error) => Err(error.into()),
        }
    }

    /// Fences a process whose heartbeat was watched standing still at `number`: every later heartbeat of it fails. False: it has
    /// beaten after all.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn fence(&self, process: &str, number: i64, by: &str) -> Result<bool, LedgerError> {
        if !self.rules.keeps(Rule::Fence) {
            return Ok(true);
        }
        let when = all([
            Test::Eq("v".into(), Datum::N(number)),
            Test::No("fenced".into()),
        ]);
        match self
            .update(beat_key(process), when, item([("fenced", s(by))]), KEPT)
            .await
        {
            Ok(_) | Err(StoreError::Conflict(None)) => Ok(true),
            Err(StoreError::Conflict(Some(old))) => Ok(Beat::read(&old)?.fenced_by.is_some()),
            Err(error) => Err(error.into()),
        }
    }

    /// Tells a process what the coordinator of `grant.term` grants it, if its grant is still as read (`seen`): a coordinator of a higher
    /// term, or somebody who steers by hand, may have been there since.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn grant(
        &self,
        process: &str,
        seen: &Grant,
        grant: &Grant,
    ) -> Result<Granted, LedgerError> {
        if seen.term > grant.term {
            return Ok(Granted::Changed);
        }
        let when = all([
            Test::No("fenced".into()),
            Test::Eq("term".into(), Datum::N(seen.term)),
            Test::Eq("share".into(), Datum::N(seen.share)),
            Test::Eq("paused".into(), Datum::N(i64::from(seen.paused))),
        ]);
        match self
            .update(beat_key(process), when, Beat::grant_item(grant), KEPT)
            .await
        {
            Ok(new) => Ok(Granted::Stands(Box::new(Beat::read(&new)?))),
            Err(StoreError::Conflict(None)) => Ok(Granted::Gone),
            Err(StoreError::Conflict(Some(old))) => {
                let old = Beat::read(&old)?;
                Ok(match old {
                    Beat {
                        fenced_by: Some(_), ..
                    } => Granted::Gone,
                    // Its own first attempt.
                    old if old.grant == *grant => Granted::Stands(Box::new(old)),
                    _ => Granted::Changed,
                })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Sets the paused flag of a process whatever the coordinator's term.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn tell_paused(&self, process: &str, paused: bool) -> Result<(), LedgerError> {
        let set = item([("paused", n(i64::from(paused)))]);
        match self
            .update(beat_key(process), all([Test::Exists]), set, KEPT)
            .await
        {
            Ok(_) | Err(StoreError::Conflict(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Changes a process's share at once, without waiting for the coordinator, if its grant is still as read. False: it is not, or the
    /// process is gone or fenced; then the coordinator's next round does it.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn tell_share(
        &self,
        process: &str,
        seen: &Grant,
        share: i64,
    ) -> Result<bool, LedgerError> {
        let when = all([
            Test::No("fenced".into()),
            Test::Eq("term".into(), Datum::N(seen.term)),
            Test::Eq("share".into(), Datum::N(seen.share)),
        ]);
        let set = item([("share", n(share))]);
        match self.update(beat_key(process), when, set, KEPT).await {
            Ok(_) => Ok(true),
            Err(StoreError::Conflict(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Folds the totals of lanes (number, sequence, totals) of an ended or swept process into its run's record, and why it stopped, where that
    /// is given: one write, however many lanes there are, because all processes of a run write under its one key. Folding the
    /// same again, or an older state of a lane, changes nothing; of two reasons the first stays.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn fold(
        &self,
        of: &Registration,
        stop: Option<&str>,
        lanes: &[(u32, i64, Totals)],
    ) -> Result<(), LedgerError> {
        let mut parts = lanes.chunks(LANES_A_FOLD);
        self.fold_some(of, stop, parts.next().unwrap_or_default())
            .await?;
        for more in parts {
            self.fold_some(of, None, more).await?;
        }
        Ok(())
    }

    /// The sequences up to which the totals of a process's lanes have been folded, by lane.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn folded(&self, of: &Registration) -> Result<HashMap<u32, i64>, LedgerError> {
        let known = self.get_one(tally_key(of)).await?.unwrap_or_default();
        Ok(known
            .iter()
            .filter_map(|(name, value)| match (name.strip_prefix("seq"), value) {
                (Some(lane), Datum::N(sequence)) => Some((lane.parse().ok()?, *sequence)),
                _ => None,
            })
            .collect())
    }

    async fn fold_some(
        &self,
        of: &Registration,
        stop: Option<&str>,
        lanes: &[(u32, i64, Totals)],
    ) -> Result<(), LedgerError> {
        let mut known = Item::new();
        loop {
            let mut set = item([
                ("shard", n(of.shard)),
                ("host", s(&of.host)),
                ("at", n(self.now_ms())),
            ]);
            let mut when = When::new();
            if let Some(stop) = stop.filter(|_| !known.contains_key("stop")) {
                set.insert("stop".into(), Datum::S(stop.to_owned()));
                when.push(vec![Test::No("stop".into())]);
            }
            for (lane, sequence, totals) in lanes {
                let seq = format!("seq{lane}");
                if matches!(known.get(&seq), Some(Datum::N(known)) if known >= sequence) {
                    continue;
                }
                set.insert(seq.clone(), Datum::N(*sequence));
                set.insert(format!("lane{lane}"), Datum::B(totals.encode()));
                when.push(vec![Test::No(seq.clone()), Test::Lt(seq, *sequence)]);
            }
            if when.is_empty() {
                return Ok(());
            }
            match self.update(tally_key(of), when, set, KEPT).await {
                Ok(_) => return Ok(()),
                // Some of it stands there already: the rest is written without it.
                Err(StoreError::Conflict(Some(old))) => known = old,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Removes a process whose pages are gone: its registration goes, its heartbeat item becomes a tombstone. A write of the dead
    /// process's that comes late (the first attempt of a retried one) must find something there: an item that only must not
    /// exist yet would otherwise rise again.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn deregister(&self, process: &str) -> Result<(), LedgerError> {
        self.delete(self.registration_key(process), Vec::new())
            .await?;
        let tombstone = item([("v", n(-1)), ("fenced", s("gone")), ("gone", n(1))]);
        self.put(beat_key(process), Vec::new(), tombstone, TOMBSTONE_KEPT)
            .await?;
        Ok(())
    }
}
