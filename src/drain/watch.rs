//! Watching other processes' heartbeats: no times of different machines are ever compared, only numbers that move or stand still.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::context::Context;
use crate::ledger::{Beat, Ledger, LedgerError};
use crate::port::{Moment, Ports};

/// What watching one process has shown so far.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// The heartbeat item as read last; `None`: it has none.
    pub beat: Option<Beat>,
    /// How many whole beats were seen to happen since the watch began.
    pub beats_seen: i64,
    /// For how long the number has surely stood still.
    pub still_for: Duration,
    /// It has no heartbeat item: it ended or was swept.
    pub gone: bool,
}

impl Sighting {
    /// Whether it counts as dead: fenced already, or its heartbeat stood still for a lease.
    pub fn is_dead(&self, lease: Duration) -> bool {
        self.beat
            .as_ref()
            .is_some_and(|b| b.fenced_by.is_some() || self.still_for >= lease)
    }
}

struct Watched {
    first: i64,
    number: i64,
    since: Moment,
}

/// A watch over other processes' heartbeats; beats count from the first look on.
#[derive(Default)]
pub struct Watch {
    watched: HashMap<String, Watched>,
}

impl Watch {
    /// Forgets processes that are not in `names`. True: there were some.
    pub fn keep(&mut self, names: &[String]) -> bool {
        let before = self.watched.len();
        let names: HashSet<&String> = names.iter().collect();
        self.watched.retain(|name, _| names.contains(name));
        self.watched.len() < before
    }

    /// Reads the heartbeats once and says what is known of each.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn look<P: Ports>(
        &mut self,
        ctx: &Context<P>,
        ledger: &Ledger<P>,
        names: &[String],
    ) -> Result<Vec<Sighting>, LedgerError> {
        let began = ctx.now();
        let beats = ledger.beats(names).await?;
        let ended = ctx.now();
        Ok(names
            .iter()
            .zip(beats)
            .map(|(name, beat)| {
                let Some(read) = &beat else {
                    return Sighting {
                        beat,
                        beats_seen: 0,
                        still_for: Duration::ZERO,
                        gone: true,
                    };
                };
                let entry = self.watched.entry(name.clone()).or_insert(Watched {
                    first: read.number,
                    number: read.number,
                    // It stood at this number when the answer came, not surely before.
                    since: ended,
                });
                if entry.number != read.number {
                    entry.number = read.number;
                    entry.since = ended;
                }
                Sighting {
                    beats_seen: entry.number - entry.first,
                    // It still stood there when this read began, not surely after.
                    still_for: began.since(entry.since),
                    gone: false,
                    beat,
                }
            })
            .collect())
    }
}
