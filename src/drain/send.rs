//! Sending a prepared page: batches by destination, paced, one outcome per entry.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use super::backoff::Backoff;
use super::context::{Context, Shut};
use super::copy::{destination_of, group_of, outgoing};
use super::delivery::{Back, Delivery, Fate, Step};
use super::settings::Destination;
use crate::message::{BATCH_ENTRIES, Outgoing, SPLIT, SendOutcome};
use crate::port::{Clock, Ports, Sink};

/// Where a delivery of this page goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    Destination(usize),
    Reject,
    Hold,
}

/// A delivery and where it goes.
type Aimed<'a> = (Target, &'a Delivery);

/// Sends everything undecided of a page to where it belongs, and decides each delivery's fate.
///
/// Queues are sent to side by side. Of a group of a FIFO source what is for another queue than what stands before it waits until that is
/// done, and is given back when it was not.
pub async fn send_all<P: Ports>(ctx: &Context<P>, page: &[Delivery]) {
    let mut rest: Vec<Aimed<'_>> = page
        .iter()
        .filter(|d| d.is_open())
        .filter_map(|d| Some((target_of(ctx, d)?, d)))
        .collect();
    while !rest.is_empty() {
        let some;
        (some, rest) = match ctx.settings.source_fifo {
            true => first_of_each_group(rest),
            false => (rest, Vec::new()),
        };
        send_side_by_side(ctx, &some).await;
        if rest.is_empty() {
            return;
        }
        let broken: HashSet<Option<&str>> = some
            .iter()
            .filter(|(_, d)| stops_its_group(ctx, d))
            .map(|(_, d)| d.message.group_id.as_deref())
            .collect();
        rest.retain(|(_, d)| {
            let stays = !broken.contains(&d.message.group_id.as_deref());
            if !stays {
                d.decide(Fate::Unsent(Back::Now));
            }
            stays
        });
    }
}

/// Where an undecided delivery goes; `None`: nothing is sent of it.
fn target_of<P: Ports>(ctx: &Context<P>, delivery: &Delivery) -> Option<Target> {
    Some(match &delivery.step {
        Step::Send { .. } => Target::Destination(destination_of(&ctx.settings, &delivery.message)),
        Step::Hold { .. } => Target::Hold,
        Step::Reject => Target::Reject,
        Step::Delete | Step::Park { .. } | Step::Leave => return None,
    })
}

/// Of each group what is for the same queue as its first; and the rest.
fn first_of_each_group(list: Vec<Aimed<'_>>) -> (Vec<Aimed<'_>>, Vec<Aimed<'_>>) {
    let mut firsts: HashMap<Option<String>, Option<Target>> = HashMap::new();
    list.into_iter().partition(|(target, delivery)| {
        let first = firsts
            .entry(delivery.message.group_id.clone())
            .or_insert(Some(*target));
        if *first != Some(*target) {
            // What follows it waits with it.
            *first = None;
        }
        first.is_some()
    })
}

async fn send_side_by_side<P: Ports>(ctx: &Context<P>, some: &[Aimed<'_>]) {
    let mut targets: Vec<(Target, VecDeque<&Delivery>)> = Vec::new();
    for (target, delivery) in some {
        match targets.iter_mut().find(|(t, _)| t == target) {
            Some((_, list)) => list.push_back(delivery),
            None => targets.push((*target, VecDeque::from([*delivery]))),
        }
    }
    let sends = targets
        .into_iter()
        .map(|(target, list)| send_to(ctx, target, list));
    futures::future::join_all(sends).await;
}

/// Sends copies of refused messages to the reject queue: those it accepts become [`Fate::Rejected`].
pub async fn send_to_reject<P: Ports>(ctx: &Context<P>, refused: Vec<&Delivery>) {
    send_to(ctx, Target::Reject, refused.into()).await;
}

/// Sends a list to one queue, in rounds: each round's batches go out together, and what is to be tried again goes into the
/// next round. Towards FIFO a round has only the first of each group, so that nothing passes a failed one.
async fn send_to<P: Ports>(ctx: &Context<P>, target: Target, mut list: VecDeque<&Delivery>) {
    let (sink, facts) = match target {
        Target::Destination(n) => (
            Some(&ctx.wiring.sinks[n]),
            Some(&ctx.settings.destinations[n]),
        ),
        Target::Reject => (ctx.wiring.reject.as_ref(), ctx.settings.reject.as_ref()),
        Target::Hold => (ctx.wiring.hold.as_ref(), ctx.settings.hold.as_ref()),
    };
    let (Some(sink), Some(facts)) = (sink, facts) else {
        list.iter()
            .for_each(|d| d.decide(Fate::Unsent(Back::Later)));
        return;
    };
    let ordered = ctx.settings.source_fifo || facts.fifo;
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    let mut alone = false;
    while !list.is_empty() {
        let mut round: Vec<&Delivery> = Vec::with_capacity(list.len());
        if ordered {
            let mut groups = HashSet::new();
            let (heads, rest): (Vec<_>, Vec<_>) = list
                .into_iter()
                .partition(|d| groups.insert(group_of(&ctx.settings, facts, &d.message)));
            round = heads;
            list = rest.into();
        } else {
            round.extend(list.drain(..));
        }
        let most = if alone { 1 } else { ctx.pacer.batch_max() };
        let batches = cut(&round, most, facts.batch_bytes);
        let tries = batches
            .iter()
            .map(|batch| send_batch(ctx, target, &**sink, facts, batch));
        let again: Vec<Again> = futures::future::join_all(tries).await;
        alone = again.contains(&Again::Alone);
        let mut retry: VecDeque<&Delivery> = round
            .iter()
            .copied()
            .filter(|d| undecided(target, d))
            .collect();
        if ordered {
            stop_broken_groups(ctx, facts, &round, &mut list);
        }
        if retry.is_empty() {
            continue;
        }
        retry.append(&mut list);
        list = retry;
        if again.contains(&Again::Wait) {
            let wait = backoff.next(&*ctx.wiring.clock);
            if backoff.failures() > 4
                && let Target::Destination(n) = target
                && ctx.settings.destinations.len() > 1
            {
                // Others are waiting behind this one: leave it alone for a while.
                ctx.leave_alone(n);
            }
            tokio::select! {
                biased;
                () = ctx.stop.sending_forbidden() => {}
                () = ctx.wiring.clock.sleep(wait) => {}
            }
        }
    }
}

/// Whether a delivery still has to be sent to the target.
fn undecided(target: Target, delivery: &Delivery) -> bool {
    match &*delivery.fate.borrow() {
        Fate::Open => true,
        Fate::Refused(_) => {
            target == Target::Reject && !delivery.park.get() && !delivery.copy_lost.get()
        }
        _ => false,
    }
}

/// After an entry that was not delivered nothing later of its group may be sent before it.
fn stop_broken_groups<P: Ports>(
    ctx: &Context<P>,
    facts: &Destination,
    round: &[&Delivery],
    list: &mut VecDeque<&Delivery>,
) {
    let broken: HashSet<String> = round
        .iter()
        .filter(|d| stops_its_group(ctx, d))
        .map(|d| group_of(&ctx.settings, facts, &d.message).into_owned())
        .collect();
    if broken.is_empty() {
        return;
    }
    list.retain(|d| {
        let stays = !broken.contains(&*group_of(&ctx.settings, facts, &d.message));
        if !stays {
            d.decide(Fate::Unsent(Back::Now));
        }
        stays
    });
}

/// Whether nothing of its group may be sent before it has come again.
fn stops_its_group<P: Ports>(ctx: &Context<P>, delivery: &Delivery) -> bool {
    match &*delivery.fate.borrow() {
        Fate::Unknown | Fate::Unsent(_) => true,
        // A message that stays in the source stops its group; one that goes to the reject queue makes room.
        Fate::Refused(_) => ctx.wiring.reject.is_none(),
        _ => false,
    }
}

/// Cuts a list into batches of at most `most` entries and `bytes` in all.
fn cut<'a>(list: &[&'a Delivery], most: usize, bytes: usize) -> Vec<Vec<&'a Delivery>> {
    let mut batches: Vec<Vec<&Delivery>> = Vec::with_capacity(list.len().div_ceil(most.max(1)));
    let mut size = 0;
    for delivery in list {
        let own = delivery.message.size_bytes();
        match batches.last_mut() {
            Some(batch) if batch.len() < most.min(BATCH_ENTRIES) && size + own <= bytes => {
                batch.push(delivery);
                size += own;
            }
            _ => {
                batches.push(vec![delivery]);
                size = own;
            }
        }
    }
    batches
}

/// What a batch needs before its undecided entries are tried again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    /// Nothing (or nothing is left).
    Now,
    /// A pause.
    Wait,
    /// Single entries.
    Alone,
}

/// Sends one batch once: waits for its place in the rate, looks at deadline, window and heartbeat directly before the send,
/// and decides every entry that need not be tried again.
async fn send_batch<P: Ports>(
    ctx: &Context<P>,
    target: Target,
    sink: &P::Sink,
    facts: &Destination,
    batch: &[&Delivery],
) -> Again {
    let all = |fate: Fate| batch.iter().for_each(|d| d.decide(fate.clone()));
    if let Target::Destination(n) = target
        && ctx.is_stopped(n)
    {
        all(Fate::Unsent(Back::Later));
        return Again::Now;
    }
    // The earliest deadline bounds the wait: with the rate changed meanwhile it could be long.
    let deadline = ctx.first_deadline(batch.iter().copied());
    let paced = tokio::select! {
        biased;
        () = ctx.stop.sending_forbidden() => false,
        () = ctx.pacer.take(batch.len()) => true,
        () = ctx.wiring.clock.sleep(deadline.since(ctx.now())) => false,
    };
    match ctx.gate() {
        Ok(()) => {}
        Err(Shut::Stopping | Shut::Paused) => {
            all(Fate::Unsent(Back::Now));
            return Again::Now;
        }
        Err(Shut::Stale) => return wait_for_a_beat(ctx, batch).await,
    }
    let now = ctx.now();
    let (late, timely): (Vec<&Delivery>, Vec<&Delivery>) =
        batch.iter().copied().partition(|d| now >= ctx.deadline(d));
    late.iter()
        .for_each(|d| d.decide(Fate::Unsent(Back::Later)));
    if timely.is_empty() || !paced {
        return Again::Now;
    }
    let groups: Vec<_> = timely
        .iter()
        .map(|d| group_of(&ctx.settings, facts, &d.message))
        .collect();
    let entries: Vec<Outgoing<'_>> = timely
        .iter()
        .zip(&groups)
        .map(|(d, group)| outgoing(&ctx.settings, facts, &d.message, group))
        .collect();
    ctx.speed.note(now, timely.len() as u32);
    tracing::trace!(route = %ctx.settings.route, messages = timely.len(), "a send begins");
    let outcomes = sink.send(&entries).await;
    let mut again = Again::Now;
    for (delivery, outcome) in timely.iter().zip(outcomes) {
        again = match decide(ctx, target, delivery, outcome) {
            Again::Now => again,
            Again::Wait if again == Again::Alone => again,
            other => other,
        };
    }
    again
}

/// Decides one entry by its outcome.
fn decide<P: Ports>(
    ctx: &Context<P>,
    target: Target,
    delivery: &Delivery,
    outcome: SendOutcome,
) -> Again {
    match outcome {
        SendOutcome::Accepted { message_id } => {
            delivery.decide(match target {
                Target::Destination(n) => {
                    ctx.note_working(n);
                    Fate::Sent
                }
                Target::Reject => Fate::Rejected,
                Target::Hold => Fate::Held(message_id),
            });
            ctx.hands.borrow_mut().done.insert(delivery.message.id);
            Again::Now
        }
        SendOutcome::Rejected(code) => {
            match target {
                Target::Destination(n) => {
                    ctx.note_working(n);
                    tracing::warn!(
                        route = %ctx.settings.route,
                        id = %delivery.message.id,
                        code,
                        "the destination refuses a message for its own sake"
                    );
                    delivery.park.set(ctx.wiring.reject.is_none());
                    delivery.decide(Fate::Refused(code));
                }
                // It cannot be put aside either: it stays where it is.
                Target::Reject | Target::Hold => put_aside_failed(ctx, delivery, &code),
            }
            Again::Now
        }
        SendOutcome::Retry(code) => {
            if code == SPLIT {
                Again::Alone
            } else {
                Again::Wait
            }
        }
        SendOutcome::Stopped(code) => {
            match target {
                Target::Destination(n) => {
                    ctx.note_stopped(n, &code);
                    delivery.decide(Fate::Unsent(Back::Later));
                }
                Target::Reject | Target::Hold => put_aside_failed(ctx, delivery, &code),
            }
            Again::Now
        }
        SendOutcome::Unknown(code) => {
            tracing::warn!(
                route = %ctx.settings.route,
                id = %delivery.message.id,
                code,
                "a send's answer was lost: the message is in doubt"
            );
            // Of a refused message it is known that the destination has not got it: only its copy is in doubt, and it
            // stays refused.
            if delivery.is_refused() {
                delivery.copy_lost.set(true);
            } else {
                delivery.decide(Fate::Unknown);
            }
            Again::Now
        }
    }
}

fn put_aside_failed<P: Ports>(ctx: &Context<P>, delivery: &Delivery, code: &str) {
    tracing::error!(
        route = %ctx.settings.route,
        id = %delivery.message.id,
        code,
        "the reject or hold queue did not take a message: it stays in the source"
    );
    // A refusal that is known stays known: the message is parked.
    if delivery.is_refused() {
        delivery.park.set(true);
    } else {
        delivery.decide(Fate::Unsent(Back::Later));
    }
}

/// The heartbeat is too old to send: waits for the next good one, as long as the batch has time.
async fn wait_for_a_beat<P: Ports>(ctx: &Context<P>, batch: &[&Delivery]) -> Again {
    let deadline = ctx.first_deadline(batch.iter().copied());
    let fresh = ctx.fresh.notified();
    if !ctx.is_fresh() {
        tokio::select! {
            biased;
            () = ctx.stop.sending_forbidden() => {}
            () = fresh => {}
            () = ctx.wiring.clock.sleep(deadline.since(ctx.now())) => {}
        }
    }
    let now = ctx.now();
    for delivery in batch.iter().filter(|d| now >= ctx.deadline(d)) {
        delivery.decide(Fate::Unsent(Back::Later));
    }
    Again::Now
}
