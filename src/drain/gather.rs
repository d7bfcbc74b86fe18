//! Receiving: a lane's next page, gathered while the page before it is being sent.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};

use super::backoff::Backoff;
use super::context::{Context, DENIED_MAX};
use super::delivery::{Asked, Back, Delivery, Fate, Gathered, Step};
use super::hands::{FULL_BYTES, Seen};
use crate::message::{BATCH_ENTRIES, Message};
use crate::port::{Clock, Moment, Ports, QueueError, Source, Trouble};
use crate::stop::Reason;

/// How many deliveries may wait for an answer about their id before lanes stop receiving: what bounds memory.
const ASKING_MAX: usize = 2_000;

/// How many pages a lane has in hand at most: one being worked on and one behind it.
const PAGES_IN_HAND: usize = 2;

/// Receives pages for one lane until the drain stops.
pub async fn gather<P: Ports>(
    ctx: Rc<Context<P>>,
    lane: usize,
    pages: mpsc::Sender<Gathered>,
    ask: mpsc::UnboundedSender<Asked>,
) {
    let slots = Arc::new(Semaphore::new(PAGES_IN_HAND));
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    loop {
        let slot = tokio::select! {
            biased;
            () = ctx.stop.requested() => return,
            slot = slots.clone().acquire_owned() => slot,
        };
        let Ok(slot) = slot else { return };
        if !permit(&ctx).await {
            return;
        }
        let mut scout = None;
        if !ctx.busy.get() {
            tokio::select! {
                biased;
                () = ctx.stop.requested() => return,
                guard = ctx.scout.lock() => scout = Some(guard),
                () = ctx.woken.notified() => {}
            }
            // The wait for the scout's place may have been long: look at everything again.
            if !may_receive(&ctx) || (scout.is_some() && ctx.busy.get()) {
                continue;
            }
        }
        let most = page_max(&ctx);
        let (received, failure) = receive_page(&ctx, most, scout.is_none()).await;
        let deliveries = sort(&ctx, lane, received, &ask);
        drop(scout);
        if !deliveries.is_empty() {
            let slot = Some(slot);
            if pages.send(Gathered { deliveries, slot }).await.is_err() {
                return;
            }
        }
        match failure {
            Some(error) => give_way(&ctx, &error, &mut backoff).await,
            None => backoff.reset(),
        }
    }
}

/// Whether a receive may begin at this very moment.
fn may_receive<P: Ports>(ctx: &Context<P>) -> bool {
    !ctx.stop.is_requested()
        && ctx.gate().is_ok()
        && ctx.pacer.share() != 0
        && ctx.asking.get() < ASKING_MAX
        && !ctx.hands.borrow().is_full()
}

/// How many messages a page may have, so that the pages that all lanes may have in hand stay within [`FULL_BYTES`] if they are as
/// large as those of late.
fn page_max<P: Ports>(ctx: &Context<P>) -> usize {
    let pages = ctx.settings.lanes * PAGES_IN_HAND;
    let by_size = FULL_BYTES / pages / ctx.largest_lately.get().max(1);
    let most = ctx.pacer.page_max(ctx.settings.lanes, ctx.settings.page);
    most.min(by_size).max(1)
}

/// Waits until a receive may begin. False: the drain is stopping.
async fn permit<P: Ports>(ctx: &Context<P>) -> bool {
    loop {
        let changed = ctx.fresh.notified();
        if ctx.stop.is_requested() {
            return false;
        }
        if may_receive(ctx) {
            return true;
        }
        tokio::select! {
            biased;
            () = ctx.stop.requested() => return false,
            () = changed => {}
            // A lease runs out without anybody telling; look again from time to time.
            () = ctx.wiring.clock.sleep(ctx.settings.timings.heartbeat) => {}
        }
    }
}

/// One receive request and when it started.
type Received = (Moment, Vec<Message>);

/// Receives up to `most` messages. Only the first request polls long; the others go out together with it when the source
/// is known to be busy, and otherwise after it came back full.
async fn receive_page<P: Ports>(
    ctx: &Context<P>,
    most: usize,
    busy: bool,
) -> (Vec<Received>, Option<QueueError>) {
    let visibility = ctx.settings.timings.visibility;
    let one = |max: usize, wait: Duration| async move {
        let started = ctx.now();
        let answer = ctx.wiring.source.receive(max, wait, visibility).await;
        answer.map(|messages| (started, messages))
    };
    let first_max = most.min(BATCH_ENTRIES);
    let rest: Vec<usize> = (first_max..most)
        .step_by(BATCH_ENTRIES)
        .map(|from| (most - from).min(BATCH_ENTRIES))
        .collect();
    let others = || futures::future::join_all(rest.iter().map(|max| one(*max, Duration::ZERO)));
    let first = one(first_max, ctx.settings.timings.poll);
    let answers = if busy {
        let (first, mut others) = futures::join!(first, others());
        others.insert(0, first);
        others
    } else {
        let first = first.await;
        let full = first.as_ref().is_ok_and(|(_, m)| m.len() == first_max);
        let mut answers = vec![first];
        if full && !rest.is_empty() && may_receive(ctx) {
            answers.extend(others().await);
        }
        answers
    };
    let mut received = Vec::with_capacity(answers.len());
    let mut failure = None;
    let mut found = 0;
    for answer in answers {
        match answer {
            Ok(some) => {
                ctx.note_received();
                found += some.1.len();
                received.push(some);
            }
            Err(error) => {
                if error.kind == Trouble::Unreachable {
                    // The answer may have been lost: what it handed out is hidden for a visibility.
                    ctx.note_old();
                }
                failure = Some(error);
            }
        }
    }
    if found > 0 {
        ctx.empty_polls.set(0);
    } else if failure.is_none() {
        ctx.empty_polls.set(ctx.empty_polls.get() + 1);
    }
    if found >= first_max && !ctx.busy.replace(true) {
        ctx.woken.notify_waiters();
    } else if found == 0 {
        ctx.busy.set(false);
    }
    (received, failure)
}

/// Takes what was received in hand: what is known as new goes to the lane, what may not be new is asked about first.
fn sort<P: Ports>(
    ctx: &Context<P>,
    lane: usize,
    received: Vec<Received>,
    ask: &mpsc::UnboundedSender<Asked>,
) -> Vec<Delivery> {
    let t = &ctx.settings.timings;
    let mut fresh = Vec::new();
    let mut asked = Vec::new();
    // In a FIFO source whatever follows a message that must be asked about waits with it.
    let mut waiting_groups = HashSet::new();
    // What follows one that is still in hand from an earlier delivery is left: that one may end in doubt.
    let mut blocked_groups = HashSet::new();
    for (received_at, messages) in received {
        let mut largest = None;
        for message in messages {
            ctx.received.set(ctx.received.get() + 1);
            if ctx
                .cutoff_ms
                .is_some_and(|cutoff| message.sent_at_ms < cutoff)
            {
                ctx.note_old();
            }
            let mut hands = ctx.hands.borrow_mut();
            let bytes = message.size_bytes();
            largest = largest.max(Some(bytes));
            let seen = hands.take(message.id, &message.receipt_handle, received_at, bytes);
            let step = match seen {
                Seen::InHand => {
                    if ctx.settings.source_fifo {
                        blocked_groups.extend(message.group_id.clone());
                    }
                    let mut totals = ctx.totals.borrow_mut();
                    totals[lane].received += 1;
                    totals[lane].deduplicated += 1;
                    continue;
                }
                Seen::Done => Step::Delete,
                Seen::New if hands.parked.contains(message.id) => Step::Park { again: true },
                Seen::New if hands.doubtful.contains(message.id) => Step::Send {
                    attempt: 1,
                    from: None,
                },
                Seen::New => Step::Send {
                    attempt: 0,
                    from: None,
                },
            };
            let group = ctx
                .settings
                .source_fifo
                .then(|| message.group_id.clone())
                .flatten();
            let behind = group.as_ref().is_some_and(|g| waiting_groups.contains(g));
            let must_ask = seen == Seen::New && message.receive_count > 1 && ctx.journal.is_some();
            let delivery = Delivery::new(
                message,
                received_at.after(t.sendable()),
                received_at.after(t.visibility),
                step,
            );
            if group.as_ref().is_some_and(|g| blocked_groups.contains(g)) {
                delivery.decide(Fate::Unsent(Back::Later));
                fresh.push(delivery);
            } else if must_ask || behind {
                waiting_groups.extend(group);
                asked.push(delivery);
            } else {
                fresh.push(delivery);
            }
        }
        if let Some(largest) = largest {
            let before = ctx.largest_lately.get();
            ctx.largest_lately.set(largest.max(before - before / 8));
        }
    }
    if !asked.is_empty() {
        ctx.asking.set(ctx.asking.get() + asked.len());
        // The asker ends only after every lane.
        let _ = ask.send(asked);
    }
    fresh
}

/// After a failed receive: waits, or ends the run when waiting cannot help.
async fn give_way<P: Ports>(ctx: &Context<P>, error: &QueueError, backoff: &mut Backoff) {
    let hopeless = match error.kind {
        Trouble::Missing => true,
        Trouble::Denied => backoff.failures() + 1 >= DENIED_MAX,
        _ => false,
    };
    if hopeless {
        let words = format!("the source cannot be received from: {error}");
        if ctx.stop.request(Reason::Unavailable(words)) {
            tracing::error!(route = %ctx.settings.route, code = %error.code, "the source cannot be received from");
        }
        return;
    }
    if backoff.failures() == 0 {
        tracing::warn!(route = %ctx.settings.route, code = %error.code, message = %error.message, "a receive failed: trying again");
    }
    let wait = backoff.next(&*ctx.wiring.clock);
    tokio::select! {
        biased;
        () = ctx.stop.requested() => {}
        () = ctx.wiring.clock.sleep(wait) => {}
    }
}
