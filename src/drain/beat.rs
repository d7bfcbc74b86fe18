//! The heartbeat: says that this process lives, takes back what the coordinator grants, and bounds how long it may send.

use std::rc::Rc;
use std::time::Duration;

use super::backoff::Backoff;
use super::context::{Context, Journal};
use crate::ledger::{Beaten, Doing, Grant, LedgerError};
use crate::pace::{Share, as_limit, larger};
use crate::port::{Clock, Moment, Ports};
use crate::rules::Rule;
use crate::stop::Reason;

/// With more processes than these they do not look between two heartbeats at what they are granted: the coordinator takes longer than that to
/// tell them all, and the reads would be many.
pub(super) const LOOK_BETWEEN_MAX: i64 = 1_024;

/// Beats until the task is dropped or this process is superseded. Beats are numbered: a retry repeats its number, and
/// freshness and the look at lanes past their time count from a number's *first* attempt.
pub async fn beat<P: Ports>(ctx: Rc<Context<P>>) {
    let Some(journal) = &ctx.journal else { return };
    let t = ctx.settings.timings;
    let clock = ctx.wiring.clock.clone();
    let mut number = 1;
    // What this process was granted and does not send at before it has said so.
    let mut announced = 0;
    // A heartbeat between leaves the others where they are: thousands that are told something at once do not beat at once from then on.
    let mut due = ctx.now();
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
    loop {
        // Whoever sees two beats after a receive concludes that everything whose visibility had run out is handed over.
        if ctx.is_overdue() && ctx.keeps(Rule::BeatsWithheld) {
            clock.sleep(Duration::from_millis(100)).await;
            continue;
        }
        let first_attempt = ctx.now();
        if first_attempt >= due {
            due = first_attempt.after(t.heartbeat);
        }
        let doing = doing(&ctx, first_attempt, announced);
        let beaten = loop {
            match journal
                .ledger
                .beat(&journal.me.process, number, &doing)
                .await
            {
                Ok(beaten) => break beaten,
                Err(LedgerError::Malformed(error)) => {
                    ctx.stop.request(Reason::Failed(error.to_string()));
                    return;
                }
                Err(error) => {
                    if !ctx.bear(&error, &mut backoff).await {
                        return;
                    }
                    number += i64::from(!ctx.keeps(Rule::NumberedBeats));
                }
            }
        };
        backoff.reset();
        let Beaten::Alive(beat) = beaten else {
            if ctx.stop.request(Reason::Superseded) {
                tracing::error!(route = %ctx.settings.route, "this process was taken for dead and superseded: it touches nothing any more");
            }
            return;
        };
        ctx.note_table_works();
        ctx.fresh_until.set(Some(first_attempt.after(t.lease)));
        let granted = beat.grant.share;
        // A larger share is announced first: what an item says is never less than what its process sends at.
        let raised = as_limit(granted) > as_limit(doing.share);
        announced = if raised { granted } else { 0 };
        ctx.apply_grant(Grant {
            share: if raised { ctx.pacer.share() } else { granted },
            ..beat.grant
        });
        ctx.fresh.notify_waiters();
        number += 1;
        if raised {
            continue;
        }
        let mut next = due;
        if ctx.pacer.share() != doing.share {
            // Another process may be waiting for this one's word that it sends slower now.
            next = next.min(ctx.now().after(ctx.pacer.settles_in()));
        }
        let half = t.heartbeat / 2;
        let wait = next.since(ctx.now());
        if wait > half && beat.grant.processes <= LOOK_BETWEEN_MAX {
            clock.sleep(wait.saturating_sub(half)).await;
            // A look that takes long holds up no heartbeat.
            tokio::select! {
                biased;
                () = clock.sleep(next.since(ctx.now())) => {}
                news = is_news(journal, &beat.grant) => if news { continue },
            }
        }
        clock.sleep(next.since(ctx.now())).await;
    }
}

/// Whether another share, a pause, its end or the run's is granted by now than was `known`. (More processes or another coordinator can wait.)
async fn is_news<P: Ports>(journal: &Journal<P>, known: &Grant) -> bool {
    let matters = |grant: &Grant| (grant.share, grant.paused, grant.ended);
    let me = [journal.me.process.clone()];
    // What is wrong with the table the next heartbeat says.
    let beats = journal.ledger.beats(&me).await.unwrap_or_default();
    let mut beats = beats.iter().flatten();
    beats.any(|beat| matters(&beat.grant) != matters(known))
}

fn doing<P: Ports>(ctx: &Context<P>, now: Moment, announced: Share) -> Doing {
    Doing {
        share: larger(ctx.pacer.share_lately(), announced),
        idle: ctx.is_idle(),
        old_seen_ms: ctx
            .old_seen
            .get()
            .map(|seen| now.since(seen).as_millis() as i64),
        totals: ctx.sum(),
        stopping: ctx.stop.reason().map(|r| r.word().to_owned()),
    }
}
