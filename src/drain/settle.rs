//! Settling a page whose outcomes are marked: deletes, releases, and a record of its own for whatever cannot be settled in time.

use std::time::Duration;

use super::backoff::Backoff;
use super::context::Context;
use super::delivery::{Back, Delivery, Fate};
use super::send;
use crate::journal::Fact;
use crate::ledger::Listed;
use crate::message::{BATCH_ENTRIES, ReceiptOutcome, VISIBILITY_MAX_S};
use crate::port::{Clock, Ports, Source};
use crate::rules::Rule;

/// Settles a page that stands marked in the journal: when this returns, nothing of it is owed by this lane any more, or
/// nothing may be touched.
pub async fn settle<P: Ports>(ctx: &Context<P>, lane: usize, page: &[Delivery]) {
    if page.is_empty() {
        return;
    }
    let refused: Vec<&Delivery> = pick(page, |f| matches!(f, Fate::Refused(_)))
        .into_iter()
        .filter(|d| !d.park.get())
        .collect();
    let to_reject = !refused.is_empty() && ctx.wiring.reject.is_some();
    let refusals = async {
        if to_reject {
            send::send_to_reject(ctx, refused.clone()).await;
        }
        // A stop may have come between a refusal and its copy's send.
        let mut given_back = refused;
        given_back.retain(|d| matches!(*d.fate.borrow(), Fate::Unsent(_)));
        let (parked, lost): (Vec<&Delivery>, Vec<&Delivery>) =
            pick(page, |f| matches!(f, Fate::Refused(_)))
                .into_iter()
                .partition(|d| d.park.get());
        let rejected = pick(page, |f| *f == Fate::Rejected);
        futures::join!(
            park(ctx, parked),
            release(ctx, given_back),
            // A copy may be in the reject queue: whoever receives the message next must know.
            hand_over(ctx, lost),
            async {
                if to_reject {
                    delete(ctx, rejected).await;
                }
            },
        );
    };
    let done = pick(page, |f| match f {
        Fate::Sent | Fate::Known | Fate::Held(_) => true,
        Fate::Rejected => !to_reject,
        _ => false,
    });
    let unknown = pick(page, |f| *f == Fate::Unknown);
    let back = pick(page, |f| matches!(f, Fate::Unsent(_)));
    futures::join!(
        refusals,
        delete(ctx, done),
        hand_over(ctx, unknown),
        release(ctx, back),
    );
    list(ctx, page).await;
    let mut totals = ctx.totals.borrow_mut();
    let mut hands = ctx.hands.borrow_mut();
    let was_full = hands.is_full();
    for delivery in page {
        delivery.count(&mut totals[lane]);
        hands.drop(delivery.message.id);
    }
    if was_full && !hands.is_full() {
        // Lanes may be waiting to receive.
        ctx.fresh.notify_waiters();
    }
}

/// What must wait until the page is written, and does not where a test breaks the rule that says so.
pub async fn too_early<P: Ports>(ctx: &Context<P>, page: &[Delivery]) {
    if !ctx.keeps(Rule::MarkBeforeDelete) {
        delete(ctx, pick(page, |f| *f == Fate::Sent)).await;
    }
    if !ctx.keeps(Rule::PageBeforeVisibility) {
        release(ctx, pick(page, |f| matches!(f, Fate::Unsent(_)))).await;
    }
}

fn pick(page: &[Delivery], wanted: impl Fn(&Fate) -> bool) -> Vec<&Delivery> {
    page.iter().filter(|d| wanted(&d.fate.borrow())).collect()
}

fn handle<P: Ports>(ctx: &Context<P>, delivery: &Delivery) -> String {
    let hands = ctx.hands.borrow();
    let newest = hands.newest(delivery.message.id);
    newest
        .map_or(&delivery.message.receipt_handle, |n| &n.handle)
        .clone()
}

/// Notes the hold queue's name for each copy, before the page says that it is held: who reads *held* anywhere can rely on the way back
/// from the copy to its id, and only deletes the original. Goes on until that stands. Where it cannot any more, the message counts as one
/// whose answer was lost: it comes again, and is put into the hold queue again.
pub async fn note_held<P: Ports>(ctx: &Context<P>, page: &[Delivery]) {
    let Some(journal) = &ctx.journal else { return };
    let notes = page.iter().filter_map(|d| match &*d.fate.borrow() {
        Fate::Held(held_as) => Some((d, held_as.clone())),
        _ => None,
    });
    let notes = notes.map(|(delivery, held_as)| async move {
        let id = delivery.message.id;
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        while let Err(error) = journal.ledger.note_held_as(id, &held_as, ctx.name()).await {
            let goes_on = ctx.bear(&error, &mut backoff).await;
            if !ctx.keeps(Rule::HeldNotedBeforeDelete) {
                return;
            }
            if !goes_on {
                delivery.decide(Fate::Unknown);
                return;
            }
        }
    });
    futures::future::join_all(notes).await;
}

/// Deletes, and hands over whatever was not deleted for sure before its deadline.
async fn delete<P: Ports>(ctx: &Context<P>, list: Vec<&Delivery>) {
    let batches = list.chunks(BATCH_ENTRIES);
    let unsettled = futures::future::join_all(batches.map(|b| delete_batch(ctx, b))).await;
    hand_over(ctx, unsettled.into_iter().flatten().collect()).await;
}

/// Deletes one batch, trying again what failed until the deadline. Answers with what is not settled.
async fn delete_batch<'a, P: Ports>(ctx: &Context<P>, batch: &[&'a Delivery]) -> Vec<&'a Delivery> {
    let mut todo: Vec<&Delivery> = batch.to_vec();
    let mut unsettled = Vec::new();
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(3));
    loop {
        let now = ctx.now();
        todo.retain(|d| {
            let timely = now < ctx.deadline(d);
            if !timely {
                unsettled.push(*d);
            }
            timely
        });
        if todo.is_empty() || ctx.stop.forbids_touching() {
            return unsettled;
        }
        let handles: Vec<String> = todo.iter().map(|d| handle(ctx, d)).collect();
        let outcomes = ctx.wiring.source.delete(&handles).await;
        let answered = ctx.now();
        let in_time =
            |d: &Delivery| answered < ctx.deadline(d) || !ctx.keeps(Rule::LateDeleteSettlesNothing);
        let mut again = Vec::new();
        let (mut code, mut denied) = (None, None);
        for (delivery, outcome) in todo.iter().zip(outcomes) {
            match outcome {
                // A delete answered late may have met a newer delivery's handle: it settles nothing.
                ReceiptOutcome::Done if in_time(delivery) => {}
                ReceiptOutcome::Done | ReceiptOutcome::Stale(_) => unsettled.push(*delivery),
                ReceiptOutcome::Retry(c) | ReceiptOutcome::Unknown(c) => {
                    code = Some(c);
                    again.push(*delivery);
                }
                ReceiptOutcome::Denied(c) => {
                    denied = Some(c);
                    again.push(*delivery);
                }
            }
        }
        todo = again;
        ctx.note_delete(denied.as_deref());
        if let Some(denied) = denied {
            if ctx.stop.is_requested() {
                // No use in waiting for somebody to see to it: whoever receives them next knows that they were sent.
                unsettled.append(&mut todo);
                return unsettled;
            }
            code = Some(denied);
        }
        if let Some(code) = code {
            if backoff.failures() == 0 {
                tracing::warn!(route = %ctx.settings.route, code, entries = todo.len(), "a delete failed: trying again");
            }
            let wait = backoff.next(&*ctx.wiring.clock);
            ctx.wiring.clock.sleep(wait).await;
        }
    }
}

/// Gives each id a record of its own, so that whoever receives it next knows. Goes on until that stands, or nothing may be touched.
async fn hand_over<P: Ports>(ctx: &Context<P>, list: Vec<&Delivery>) {
    let Some(journal) = &ctx.journal else {
        let mut hands = ctx.hands.borrow_mut();
        for delivery in list.iter().filter(|d| *d.fate.borrow() == Fate::Unknown) {
            hands.doubtful.insert(delivery.message.id);
        }
        return;
    };
    if !ctx.keeps(Rule::HandOver) {
        return;
    }
    let one = |delivery: &Delivery| {
        let id = delivery.message.id;
        let fact = delivery.entry().map(|e| Fact::of(&e));
        async move {
            let Some(fact) = fact else { return };
            let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
            while let Err(error) = journal.ledger.add_fact(id, fact, ctx.name()).await {
                if !ctx.bear(&error, &mut backoff).await {
                    return;
                }
            }
        }
    };
    futures::future::join_all(list.into_iter().map(one)).await;
}

/// Gives messages back: they are out of the page already.
async fn release<P: Ports>(ctx: &Context<P>, list: Vec<&Delivery>) {
    let unclaimed = futures::future::join_all(list.iter().map(|d| unclaim(ctx, d))).await;
    let visible: Vec<(&Delivery, Duration)> = list
        .iter()
        .zip(unclaimed)
        .filter(|(d, unclaimed)| *unclaimed && *d.fate.borrow() == Fate::Unsent(Back::Now))
        .map(|(d, _)| (*d, Duration::ZERO))
        .collect();
    change_visibility(ctx, &visible).await;
}

/// Gives back one's own claim on a message that was surely not sent. True: nothing stands in the next delivery's way.
async fn unclaim<P: Ports>(ctx: &Context<P>, delivery: &Delivery) -> bool {
    let (Some(journal), Some(token)) = (&ctx.journal, &delivery.claim) else {
        return true;
    };
    match journal.ledger.unclaim(delivery.message.id, token).await {
        Ok(gone) => gone,
        Err(error) => {
            ctx.note_table(&error);
            false
        }
    }
}

/// Hides refused messages in the source for as long as SQS allows, and notes that this run does not try them again.
async fn park<P: Ports>(ctx: &Context<P>, list: Vec<&Delivery>) {
    if list.is_empty() {
        return;
    }
    for delivery in &list {
        ctx.hands.borrow_mut().parked.insert(delivery.message.id);
    }
    if let Some(journal) = &ctx.journal {
        let notes = list.iter().map(|d| async move {
            let (id, run) = (d.message.id, &journal.me.run);
            if let Err(error) = journal.ledger.park(id, run, ctx.name()).await {
                ctx.note_table(&error);
            }
        });
        futures::future::join_all(notes).await;
        futures::future::join_all(list.iter().map(|d| unclaim(ctx, d))).await;
    }
    let visibility = ctx.settings.timings.visibility;
    let now = ctx.now();
    let hidden: Vec<(&Delivery, Duration)> = list
        .iter()
        .map(|d| {
            // The 12 hours count from the receive; one minute for the answer.
            let age = visibility.saturating_sub(d.visible_at.since(now));
            let rest = Duration::from_secs(u64::from(VISIBILITY_MAX_S)).saturating_sub(age);
            let rest = rest.saturating_sub(Duration::from_secs(60));
            (*d, Duration::from_secs(rest.as_secs()))
        })
        .collect();
    change_visibility(ctx, &hidden).await;
}

/// Changes visibility timeouts, each only while there is time for the answer: later the handle may show or hide somebody else's
/// delivery. What surely failed is tried once more, under the same condition; what may have been done is not, because somebody else may
/// have the message by now. It becomes visible by itself.
async fn change_visibility<P: Ports>(ctx: &Context<P>, list: &[(&Delivery, Duration)]) {
    let slack = ctx.settings.timings.send_timeout + ctx.settings.timings.margin;
    let batches = list.chunks(BATCH_ENTRIES).map(|batch| async move {
        let mut todo = batch.to_vec();
        for _ in 0..2 {
            let now = ctx.now();
            todo.retain(|(d, _)| now.after(slack) < d.visible_at);
            if todo.is_empty() {
                return;
            }
            let entries: Vec<(String, Duration)> = todo
                .iter()
                .map(|(d, visibility)| (handle(ctx, d), *visibility))
                .collect();
            let outcomes = ctx.wiring.source.set_visibility(&entries).await;
            todo = todo
                .into_iter()
                .zip(outcomes)
                .filter(|(_, outcome)| matches!(outcome, ReceiptOutcome::Retry(_)))
                .map(|(entry, _)| entry)
                .collect();
        }
    });
    futures::future::join_all(batches).await;
}

/// Lists what is in trouble: in the result, and under the run in the table.
async fn list<P: Ports>(ctx: &Context<P>, page: &[Delivery]) {
    let notes =
        page.iter()
            .filter_map(|d| d.trouble().map(|t| (d, t)))
            .map(|(delivery, (state, code))| {
                let id = delivery.message.id;
                ctx.note_trouble(id, state);
                async move {
                    let Some(journal) = &ctx.journal else { return };
                    let listed = Listed { id, state, code };
                    let mut backoff =
                        Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
                    // As long as the id stands in the page a sweeper would list it; afterwards nobody.
                    while let Err(error) = journal.ledger.list(&journal.me.run, &listed).await {
                        if !ctx.bear(&error, &mut backoff).await {
                            return;
                        }
                    }
                }
            });
    futures::future::join_all(notes).await;
}
