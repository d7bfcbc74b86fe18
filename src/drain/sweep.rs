//! Sweeping a process: a dead one's pages become records of their ids, its totals go to its run, its registration goes.
//! A process that ends cleanly does the same for itself.

use futures::{StreamExt, TryStreamExt};

use super::context::{Context, Journal};
use super::watch::Sighting;
use crate::journal::Totals;
use crate::ledger::{Ledger, LedgerError, Listed, Registration};
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

/// Turns a process's pages into records, folds its totals into its run, and removes it.
///
/// # Errors
/// When the table cannot be read or written; calling again goes on.
pub async fn sweep<P: Ports>(
    ledger: &Ledger<P>,
    of: &Registration,
    stop: &str,
    by: &str,
) -> Result<(), LedgerError> {
    ledger.fold_stop(of, stop).await?;
    loop {
        let pages = ledger.pages(&of.process).await?;
        if pages.is_empty() {
            break;
        }
        let sweeps = pages.iter().map(|stored| async move {
            let (facts, totals) = stored.page.settle_for_the_dead();
            for some in facts.chunks(25) {
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
            if totals != Totals::default() {
                ledger
                    .fold(of, stored.lane, stored.sequence, &totals)
                    .await?;
            }
            // A write of the dead that was under way may still have come: then the page is read and settled again.
            ledger
                .delete_page(&of.process, stored.lane, stored.sequence)
                .await?;
            Ok::<_, LedgerError>(())
        });
        // A few pages at a time: each brings up to 25 writes.
        futures::stream::iter(sweeps)
            .buffer_unordered(4)
            .try_collect::<Vec<()>>()
            .await?;
    }
    ledger.deregister(&of.process).await
}
