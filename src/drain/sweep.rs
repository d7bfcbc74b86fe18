//! Sweeping a process: a dead one's pages become records of their ids, its totals go to its run, its registration goes.
//! A process that ends cleanly does the same for itself.

use std::collections::HashMap;

use super::context::{Context, Journal};
use super::watch::Sighting;
use crate::journal::{Fact, Totals};
use crate::ledger::{Ledger, LedgerError, Listed, Registration, StoredPage, all_of};
use crate::message::Id;
use crate::port::Ports;

/// Fences a process that was watched standing still, and sweeps it. Does nothing when it has beaten after all.
///
/// # Errors
/// When the table cannot be read or written; calling again goes on.
pub async fn fence_and_sweep<P: Ports>(
    ctx: &Context<P>,
    journal: &Journal<P>,
    dead: &Registration,
    seen: &Sighting,
) -> Result<(), LedgerError> {
    let Some(beat) = &seen.beat else {
        return Ok(());
    };
    let me = &journal.me.process;
    if beat.fenced_by.is_none() && !journal.ledger.fence(&dead.process, beat.number, me).await? {
        return Ok(());
    }
    if beat.fenced_by.is_none() {
        tracing::warn!(
            route = %ctx.settings.route,
            process = %dead.process,
            shard = dead.shard,
            run = %dead.run,
            "a process is dead: settling what it left behind"
        );
    }
    ctx.last_death.set(ctx.now());
    sweep(&journal.ledger, dead, "died", me).await
}

/// How many ids' records are written at once.
const RECORDS_AT_ONCE: usize = 25;

/// How many pages are worked on at once.
const PAGES_AT_ONCE: usize = 4;

/// Turns a process's pages into records, folds its totals into its run, and removes it.
///
/// A page with ids is sealed before it is believed. Otherwise its owner, frozen and not dead, may settle what was read there as about to
/// be sent, and a doubt that is none would be listed; or its mark that something was sent may come in between, and would be lost.
///
/// # Errors
/// When the table cannot be read or written; calling again goes on.
pub async fn sweep<P: Ports>(
    ledger: &Ledger<P>,
    of: &Registration,
    stop: &str,
    by: &str,
) -> Result<(), LedgerError> {
    let mut folded = false;
    loop {
        let pages = ledger.pages(&of.process).await?;
        if pages.is_empty() {
            break;
        }
        // A page that was swept can rise again: by the late first attempts of a retried create and of a retried write. What it says was
        // settled long ago, and the totals that were folded say so by their sequence.
        let before = match pages.iter().any(|p| !p.page.entries.is_empty()) {
            true => ledger.folded(of).await?,
            false => HashMap::new(),
        };
        let has_risen = |stored: &StoredPage| {
            let before = before.get(&stored.lane);
            before.is_some_and(|sequence| *sequence > stored.sequence)
        };
        let firm = all_of(
            PAGES_AT_ONCE,
            pages.into_iter().map(|stored| async move {
                let firm = stored.sealed
                    || stored.page.entries.is_empty()
                    || ledger
                        .seal_page(&of.process, stored.lane, stored.sequence)
                        .await?;
                // What has changed since is read again.
                Ok(firm.then_some(stored))
            }),
        )
        .await?;
        let firm: Vec<StoredPage> = firm.into_iter().flatten().collect();
        let settled = all_of(
            PAGES_AT_ONCE,
            firm.iter().map(|stored| async move {
                let (mut facts, totals) = stored.page.settle_for_the_dead();
                if has_risen(stored) {
                    facts.clear();
                }
                write_facts(ledger, of, &facts, by).await?;
                Ok((stored.lane, stored.sequence, totals))
            }),
        )
        .await?;
        let lanes: Vec<_> = settled
            .into_iter()
            .filter(|(_, _, totals)| *totals != Totals::default())
            .collect();
        ledger.fold(of, Some(stop), &lanes).await?;
        folded = true;
        // An empty page was not sealed: when something was written to it meanwhile it stays, and is read again.
        all_of(
            PAGES_AT_ONCE,
            firm.iter()
                .map(|stored| ledger.delete_page(&of.process, stored.lane, stored.sequence)),
        )
        .await?;
    }
    if !folded {
        ledger.fold(of, Some(stop), &[]).await?;
    }
    ledger.deregister(&of.process).await
}

/// Adds what a page says to the records of its ids, and lists what is in trouble under the run.
async fn write_facts<P: Ports>(
    ledger: &Ledger<P>,
    of: &Registration,
    facts: &[(Id, Fact)],
    by: &str,
) -> Result<(), LedgerError> {
    for some in facts.chunks(RECORDS_AT_ONCE) {
        let writes = some.iter().map(|(id, fact)| async move {
            ledger.add_fact(*id, *fact, by).await?;
            if let Some(state) = fact.trouble() {
                let listed = Listed {
                    id: *id,
                    state,
                    code: None,
                };
                ledger.list(&of.run, &listed).await?;
            }
            Ok::<_, LedgerError>(())
        });
        futures::future::try_join_all(writes).await?;
    }
    Ok(())
}
