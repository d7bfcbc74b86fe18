//! Asking the table about messages that were delivered before.
//!
//! Another process may have such a message in hand, or have had it when it died. So, before its record is
//! believed, every other registered process is either seen to heartbeat *twice* after the receive (a process
//! does not beat while something whose visibility ran out is not handed over; the first beat may have been checked
//! before a freeze) or is swept.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::backoff::Backoff;
use super::context::Context;
use super::delivery::{Asked, Back, Delivery, Fate, Gathered, Step};
use super::watch::Watch;
use super::{fleet, settle, sweep};
use crate::journal::{Delivery as Policy, Next, Record};
use crate::ledger::LedgerError;
use crate::message::Id;
use crate::port::{Clock, Ports};
use crate::rules::Rule;

/// Answers questions until every lane that could ask has ended.
pub async fn answer<P: Ports>(
    ctx: Rc<Context<P>>,
    mut questions: mpsc::UnboundedReceiver<Asked>,
    pages: mpsc::Sender<Gathered>,
) {
    while let Some(mut deliveries) = questions.recv().await {
        while let Ok(more) = questions.try_recv() {
            deliveries.extend(more);
        }
        let asked = deliveries.len();
        let resolved = resolve(&ctx, deliveries).await;
        for page in into_pages(into_runs(&ctx, resolved), ctx.settings.page) {
            // The lanes for what came back outlive this task, unless nothing may be touched any more.
            let _ = pages.send(page).await;
        }
        ctx.asking.set(ctx.asking.get() - asked);
        ctx.fresh.notify_waiters();
    }
}

/// Cuts what was asked about into pages of at most `most`. What is in `runs` together stays together.
fn into_pages(runs: Vec<Vec<Delivery>>, most: usize) -> Vec<Gathered> {
    let mut pages: Vec<Vec<Delivery>> = Vec::new();
    for run in runs {
        match pages.last_mut() {
            Some(page) if page.len() + run.len() <= most => page.extend(run),
            _ => pages.push(run),
        }
    }
    let gathered = |deliveries| Gathered {
        deliveries,
        slot: None,
    };
    pages.into_iter().map(gathered).collect()
}

/// What must stand in one page: in a FIFO source what was received of a group (one receive's, so at most a page), because
/// only within a page does one that was not sent stop what follows it. Everything else stands alone.
fn into_runs<P: Ports>(ctx: &Context<P>, list: Vec<Delivery>) -> Vec<Vec<Delivery>> {
    let together = ctx.settings.source_fifo && ctx.keeps(Rule::GroupsWhole);
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut runs: Vec<Vec<Delivery>> = Vec::new();
    for delivery in list {
        let group = delivery.message.group_id.clone().filter(|_| together);
        let place = group.map_or(runs.len(), |g| *places.entry(g).or_insert(runs.len()));
        match runs.get_mut(place) {
            Some(run) => run.push(delivery),
            None => runs.push(vec![delivery]),
        }
    }
    runs
}

/// Finds out what each delivery's next step is. Whatever is still asking at its deadline is dropped.
async fn resolve<P: Ports>(ctx: &Context<P>, mut list: Vec<Delivery>) -> Vec<Delivery> {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(2));
    let records = loop {
        list = drop_late(ctx, list).await;
        if list.is_empty() {
            return list;
        }
        let ids: Vec<Id> = list.iter().map(|d| d.message.id).collect();
        match records_when_settled(ctx, &list, &ids).await {
            Ok(Some(records)) => break records,
            Ok(None) => {}
            Err(LedgerError::Superseded) => return Vec::new(),
            Err(error) => {
                if !ctx.bear(&error, &mut backoff).await {
                    return Vec::new();
                }
            }
        }
    };
    let run = ctx.journal.as_ref().map_or("", |j| j.me.run.as_str());
    for (delivery, record) in list.iter_mut().zip(records) {
        delivery.step = next_step(ctx, record, run);
    }
    list
}

/// The next step by a record. What an earlier run began with a queue that this one does not have goes on without it.
fn next_step<P: Ports>(ctx: &Context<P>, mut record: Record, run: &str) -> Step {
    let policy = ctx.settings.delivery;
    if record.rejecting && ctx.wiring.reject.is_none() {
        if policy == Policy::AtMostOnce && !record.holding {
            let again = record.parked_in.as_deref() == Some(run);
            return Step::Park { again };
        }
        record.rejecting = false;
    }
    // Only an at-most-once route has a hold queue. Here it is a doubt like any other.
    record.holding &= ctx.wiring.hold.is_some();
    step(record.next(policy, run))
}

fn step(next: Next) -> Step {
    match next {
        Next::New => Step::Send {
            attempt: 0,
            from: None,
        },
        Next::Delete => Step::Delete,
        Next::Resend { attempt, from } => Step::Send { attempt, from },
        Next::Hold { again } => Step::Hold { again },
        Next::Reject => Step::Reject,
        Next::Park => Step::Park { again: true },
        Next::Leave => Step::Leave,
    }
}

/// Drops what is past its deadline, and everything when the drain stops.
async fn drop_late<P: Ports>(ctx: &Context<P>, list: Vec<Delivery>) -> Vec<Delivery> {
    let now = ctx.now();
    let stopping = ctx.stop.forbids_sending();
    let (gone, kept): (Vec<_>, Vec<_>) = list
        .into_iter()
        .partition(|d| stopping || now >= ctx.deadline(d));
    for delivery in &gone {
        delivery.decide(Fate::Unsent(if stopping { Back::Now } else { Back::Later }));
    }
    if !ctx.stop.forbids_touching() {
        // These never stood in a page; their totals are kept with the last lane's.
        settle::settle(ctx, ctx.due.len() - 1, &gone).await;
    }
    kept
}

/// The records of the ids, once nobody else can have them in hand; `None` when the list has become due for another look.
async fn records_when_settled<P: Ports>(
    ctx: &Context<P>,
    list: &[Delivery],
    ids: &[Id],
) -> Result<Option<Vec<Record>>, LedgerError> {
    let Some(journal) = &ctx.journal else {
        return Ok(Some(vec![Record::default(); ids.len()]));
    };
    let beats = if ctx.keeps(Rule::TwoBeats) { 2 } else { 1 };
    let mut watch = Watch::default();
    let deadline = ctx.first_deadline(list);
    let mut others: BTreeMap<String, _> = BTreeMap::new();
    for other in journal.ledger.processes().await? {
        if other.process != journal.me.process {
            others.insert(other.process.clone(), other);
        }
    }
    while !others.is_empty() {
        let names: Vec<String> = others.keys().cloned().collect();
        let seen = watch.look(ctx, &journal.ledger, &names).await?;
        for (name, seen) in names.iter().zip(seen) {
            // Sweeping is the coordinator's business, twice a beat. Whoever else asks does it only when that does not happen: a
            // thousand processes that sweep the same one at once would only be in each other's way.
            let lease = ctx.settings.timings.lease;
            let dead =
                seen.is_dead(lease) && (fleet::is_coordinator(ctx) || seen.still_for >= 2 * lease);
            if dead && let Some(other) = others.get(name) {
                sweep::fence_and_sweep(ctx, journal, other, &seen).await?;
            }
            if seen.beats_seen >= beats || seen.gone {
                others.remove(name);
            }
        }
        if others.is_empty() {
            break;
        }
        if ctx.stop.forbids_sending() || ctx.now() >= deadline {
            return Ok(None);
        }
        tokio::select! {
            biased;
            () = ctx.stop.sending_forbidden() => return Ok(None),
            () = ctx.wiring.clock.sleep(ctx.settings.timings.heartbeat / 2) => {}
        }
    }
    journal.ledger.records(ids).await.map(Some)
}
