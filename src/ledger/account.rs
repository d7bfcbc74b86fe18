//! A run accounted for from the table alone: what has ended is in its tallies, what lives or has just died in its pages.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::*;

/// How many processes' pages are read at a time.
const PAGES_AT_A_TIME: usize = 16;

/// How a process of a run looks from the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardState {
    /// Its last heartbeat is recent.
    Living,
    /// Its last heartbeat is old by the two machines' clocks, and nobody has swept it.
    Silent,
    /// It was fenced or swept.
    Died,
    /// It ended by itself.
    Ended,
}

/// A process of a run.
#[derive(Clone, Debug)]
pub struct Shard {
    /// Its ULID.
    pub process: String,
    /// Its shard index.
    pub shard: i64,
    /// The host's word for itself; empty when it was not told.
    pub host: String,
    /// How it looks.
    pub state: ShardState,
    /// How old its last heartbeat is, by its clock and this machine's; `None` when it is registered no more.
    pub heartbeat_age: Option<Duration>,
    /// The share of the rate it said it sends at, in thousandths of a message a second; negative: no limit.
    pub share: Option<i64>,
    /// Why it stopped or is stopping, in a word.
    pub stop: Option<String>,
    /// What it has done. For a silent or dead one everything that was under way counts as in doubt.
    pub totals: Totals,
    /// Deliveries it has in hand.
    pub in_hand: u64,
    /// When it ended or was swept, milliseconds since the epoch.
    pub ended_ms: Option<i64>,
}

/// A run accounted for.
#[derive(Clone, Debug)]
pub struct Account {
    /// All its processes, first those that are registered.
    pub shards: Vec<Shard>,
    /// Their sum.
    pub totals: Totals,
    /// Deliveries that living processes have in hand: received, and in no class yet.
    pub in_hand: u64,
    /// Every id in trouble, those of processes that nobody has swept yet included.
    pub troubles: Vec<Trouble>,
}

impl Account {
    /// Whether every delivery is in exactly one class or in hand.
    pub fn is_balanced(&self) -> bool {
        self.totals.received == self.totals.classified() + self.in_hand
    }

    /// Whether any process looks alive.
    pub fn is_alive(&self) -> bool {
        self.shards.iter().any(|s| s.state == ShardState::Living)
    }
}

/// One registered process as read.
struct Seen {
    registration: Registration,
    beat: Option<Beat>,
    pages: Vec<StoredPage>,
}

impl<P: Ports> Ledger<P> {
    /// Accounts for the run `run`, changing nothing. `silence`: a heartbeat older than this is one of a process that is probably dead.
    /// Costs one read for each registered process beside a few for the run.
    ///
    /// Registrations are read before pages and pages before tallies. A lane's page goes only after the lane was folded into the tally, so
    /// no lane is missed, and one that is seen twice counts as it was last.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn account(&self, run: &str, silence: Duration) -> Result<Account, LedgerError> {
        let mut registrations = self.processes().await?;
        registrations.retain(|r| r.run == run);
        let names: Vec<String> = registrations.iter().map(|r| r.process.clone()).collect();
        let beats = self.beats(&names).await?;
        let reads = registrations
            .into_iter()
            .zip(beats)
            .map(|(registration, beat)| async move {
                let pages = self.pages(&registration.process).await?;
                Ok::<_, LedgerError>(Seen {
                    registration,
                    beat,
                    pages,
                })
            });
        let seen: Vec<Seen> = stream::iter(reads)
            .buffered(PAGES_AT_A_TIME)
            .try_collect()
            .await?;
        let mut tallies: BTreeMap<String, Tally> = self
            .tallies(run)
            .await?
            .into_iter()
            .map(|t| (t.process.clone(), t))
            .collect();

        let mut shards = Vec::new();
        let mut unswept: BTreeMap<Id, Vec<Fact>> = BTreeMap::new();
        for seen in seen {
            let tally = tallies.remove(&seen.registration.process);
            shards.push(self.registered(seen, tally, silence, &mut unswept));
        }
        shards.extend(tallies.into_values().map(ended));
        let mut totals = Totals::default();
        shards.iter().for_each(|s| totals.add(&s.totals));
        Ok(Account {
            in_hand: shards.iter().map(|s| s.in_hand).sum(),
            troubles: self.troubles_with(run, unswept).await?,
            totals,
            shards,
        })
    }

    /// A registered process, from its pages and what of it has been folded already.
    fn registered(
        &self,
        seen: Seen,
        tally: Option<Tally>,
        silence: Duration,
        unswept: &mut BTreeMap<Id, Vec<Fact>>,
    ) -> Shard {
        let Seen {
            registration,
            beat,
            pages,
        } = seen;
        let age_ms = beat
            .as_ref()
            .map(|b| (self.now_ms() - b.at_ms).max(0).unsigned_abs());
        let heartbeat_age = age_ms.map(Duration::from_millis);
        let tally = tally.unwrap_or_default();
        let state = match (&beat, tally.stop.as_deref()) {
            (Some(beat), _) if beat.fenced_by.is_some() => ShardState::Died,
            (None, _) | (_, Some("died")) => ShardState::Died,
            // It is settling its own pages.
            (_, Some(_)) => ShardState::Ended,
            _ if heartbeat_age.is_some_and(|age| age > silence) => ShardState::Silent,
            _ => ShardState::Living,
        };
        let mut totals = Totals::default();
        let mut in_hand = 0;
        let mut lanes = tally.lanes;
        for stored in pages {
            if lanes
                .get(&stored.lane)
                .is_some_and(|(sequence, _)| *sequence >= stored.sequence)
            {
                continue;
            }
            lanes.remove(&stored.lane);
            if state == ShardState::Living {
                totals.add(&stored.page.totals);
                let open = stored.page.entries.iter().filter(|e| !e.mark.is_counted());
                in_hand += open.count() as u64;
            } else {
                let (facts, settled) = stored.page.settle_for_the_dead();
                totals.add(&settled);
                for (id, fact) in facts {
                    unswept.entry(id).or_default().push(fact);
                }
            }
        }
        lanes.values().for_each(|(_, of_lane)| totals.add(of_lane));
        Shard {
            process: registration.process,
            shard: registration.shard,
            host: registration.host,
            state,
            heartbeat_age,
            share: beat.as_ref().map(|b| b.doing.share),
            stop: tally.stop.or(beat.and_then(|b| b.doing.stopping)),
            totals,
            in_hand,
            ended_ms: None,
        }
    }

    /// What the run lists, and what a sweep would add to it.
    async fn troubles_with(
        &self,
        run: &str,
        unswept: BTreeMap<Id, Vec<Fact>>,
    ) -> Result<Vec<Trouble>, LedgerError> {
        let mut troubles = self.troubles(run).await?;
        let new: Vec<(Id, Option<String>)> = unswept
            .iter()
            // As a sweep does.
            .filter(|(_, facts)| facts.iter().any(|f| f.trouble().is_some()))
            .filter(|(id, _)| !troubles.iter().any(|t| t.id == **id))
            .map(|(id, _)| (*id, None))
            .collect();
        troubles.extend(self.troubles_of(new).await?);
        for trouble in &mut troubles {
            for fact in unswept.get(&trouble.id).into_iter().flatten() {
                trouble.record = std::mem::take(&mut trouble.record).with(*fact);
            }
        }
        troubles.retain(|t| t.state() != RecordState::Sent);
        troubles.sort_by_key(|t| t.id);
        Ok(troubles)
    }
}

/// A process that is registered no more.
fn ended(tally: Tally) -> Shard {
    Shard {
        state: match tally.stop.as_deref() {
            Some("died") => ShardState::Died,
            _ => ShardState::Ended,
        },
        process: tally.process,
        shard: tally.shard,
        host: tally.host,
        heartbeat_age: None,
        share: None,
        stop: tally.stop,
        totals: tally.totals,
        in_hand: 0,
        ended_ms: Some(tally.at_ms),
    }
}
