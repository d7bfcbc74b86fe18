//! A lane: prepares a page in the journal, sends it, marks it, and settles it while the next one is being sent.
//!
//! The order of the steps is the guarantee. A page's ids are in the table before anything of it is sent; what was accepted
//! is marked before it is deleted; what goes back is out of the page before it is visible again; and whatever is not
//! settled before its deadline gets a record of its own.

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::backoff::Backoff;
use super::context::Context;
use super::delivery::{Asked, Back, Delivery, Fate, Gathered, Step};
use super::{send, settle};
use crate::journal::{Delivery as Policy, Next, Page, Totals};
use crate::ledger::{LedgerError, Transition};
use crate::port::{Clock, Moment, Ports};
use crate::rules::Rule;
use crate::stop::Reason;

/// Where a lane's pages come from.
pub enum Pages {
    /// Its own gatherer.
    Own(mpsc::Receiver<Gathered>),
    /// What came back and was asked about, shared with the other lanes for it.
    Shared(Rc<tokio::sync::Mutex<mpsc::Receiver<Gathered>>>),
}

impl Pages {
    async fn next(&mut self) -> Option<Gathered> {
        match self {
            Self::Own(pages) => pages.recv().await,
            Self::Shared(pages) => pages.lock().await.recv().await,
        }
    }

    fn ready(&mut self) -> Option<Gathered> {
        match self {
            Self::Own(pages) => pages.try_recv().ok(),
            Self::Shared(pages) => pages.try_lock().ok()?.try_recv().ok(),
        }
    }
}

/// One lane of a drain.
pub struct Lane<P: Ports> {
    ctx: Rc<Context<P>>,
    index: usize,
    sequence: i64,
    /// The page in the table has ids.
    stored: bool,
    saved: Totals,
    ask: Option<mpsc::UnboundedSender<Asked>>,
}

impl<P: Ports> Lane<P> {
    /// Lane number `index`. `ask`: where to ask about ids that somebody else has claimed; `None` for a lane whose messages
    /// were asked about already.
    pub fn new(
        ctx: Rc<Context<P>>,
        index: usize,
        ask: Option<mpsc::UnboundedSender<Asked>>,
    ) -> Self {
        Self {
            ctx,
            index,
            sequence: 0,
            stored: false,
            saved: Totals::default(),
            ask,
        }
    }

    /// Works on pages until their source ends (everything in hand is then settled) or nothing may be touched any more.
    pub async fn work(mut self, mut pages: Pages) {
        let ctx = self.ctx.clone();
        let mut done: Option<Gathered> = None;
        loop {
            let mut next = match &done {
                None => match pages.next().await {
                    Some(next) => Some(next),
                    None => {
                        self.close().await;
                        return;
                    }
                },
                // What was sent is marked with the next page's prepare only when that page is already in hand.
                Some(_) => pages.ready(),
            };
            if let Some(next) = &mut next {
                self.admit(&mut next.deliveries).await;
            }
            let done_list = done.as_ref().map_or(&[][..], |d| &d.deliveries);
            let next_list = next.as_ref().map_or(&[][..], |n| &n.deliveries);
            settle::note_held(&ctx, done_list).await;
            settle::too_early(&ctx, done_list).await;
            if !self.save(done_list, next_list).await {
                return;
            }
            let settle = async {
                settle::settle(&ctx, self.index, done_list).await;
                if !ctx.stop.forbids_touching() {
                    ctx.due[self.index][1].set(None);
                }
            };
            futures::join!(settle, send::send_all(&ctx, next_list));
            if ctx.stop.forbids_touching() {
                return;
            }
            ctx.due[self.index][1].set(ctx.due[self.index][0].take());
            // What was sent takes no place any more: the page after the next may be gathered.
            next.iter_mut().for_each(|n| n.slot = None);
            done = next;
            // What was settled otherwise than its mark says (a refused message that is parked by now) must not stand in the page of a
            // lane that waits, perhaps for long: a sweep would believe the mark.
            if done.is_none() && self.is_unsaved() && !self.close().await {
                return;
            }
        }
    }

    fn is_unsaved(&self) -> bool {
        self.ctx.totals.borrow()[self.index] != self.saved
    }

    /// Leaves an empty page with the lane's last totals. False when nothing may be touched any more.
    async fn close(&mut self) -> bool {
        self.stored |= self.is_unsaved();
        self.save(&[], &[]).await
    }

    /// Makes the transitions that must stand in the table before the prepare: taking over doubts, claiming ids.
    async fn admit(&self, page: &mut Vec<Delivery>) {
        let ctx = &*self.ctx;
        let now = ctx.now();
        for delivery in page.iter() {
            match delivery.step {
                Step::Delete => delivery.decide(Fate::Known),
                Step::Leave => delivery.decide(Fate::Unsent(Back::Later)),
                Step::Park { .. } => {
                    delivery.park.set(true);
                    delivery.decide(Fate::Refused("refused earlier in this run".to_owned()));
                }
                _ if now >= ctx.deadline(delivery) => delivery.decide(Fate::Unsent(Back::Later)),
                // A process that may be taken for dead takes no doubt: it could not send it.
                Step::Send { attempt, .. } if attempt > 0 && !ctx.is_fresh() => {
                    delivery.decide(Fate::Unsent(Back::Later));
                }
                _ => {}
            }
        }
        let claims = ctx.settings.delivery == Policy::AtMostOnce;
        let open = page.iter_mut().filter(|d| d.is_open());
        let conflicts = futures::future::join_all(open.map(|delivery| async move {
            match delivery.step.clone() {
                Step::Send { attempt, from } if attempt > 0 => {
                    take_doubt(ctx, delivery, attempt, from.as_deref()).await;
                    None
                }
                Step::Send { .. } if claims => claim(ctx, delivery).await,
                _ => None,
            }
        }))
        .await;
        let conflicts: Vec<_> = conflicts.into_iter().flatten().collect();
        if !conflicts.is_empty() {
            self.ask_about(page, &conflicts);
        }
        self.keep_group_order(page);
    }

    /// Somebody else has claimed these: whether that was a send or only a claim is known when it has let go of them.
    fn ask_about(&self, page: &mut Vec<Delivery>, conflicts: &[crate::message::Id]) {
        let disputed = |d: &Delivery| d.is_open() && conflicts.contains(&d.message.id);
        let ask = match &self.ask {
            // In a FIFO source it would pass what stands before it in its page: its next delivery is asked about, with its group.
            Some(ask) if !self.ctx.settings.source_fifo => ask,
            _ => {
                page.iter()
                    .filter(|d| disputed(d))
                    .for_each(|d| d.decide(Fate::Unsent(Back::Later)));
                return;
            }
        };
        let (asked, kept): (Vec<_>, Vec<_>) = std::mem::take(page).into_iter().partition(disputed);
        *page = kept;
        self.ctx.asking.set(self.ctx.asking.get() + asked.len());
        // The asker is there as long as a lane can ask; with it gone nothing may be touched any more.
        let _ = ask.send(asked);
    }

    /// In a FIFO source nothing may pass a message of its group that was taken out of the page.
    fn keep_group_order(&self, page: &[Delivery]) {
        if !self.ctx.settings.source_fifo {
            return;
        }
        let mut broken = std::collections::HashSet::new();
        for delivery in page {
            let Some(group) = delivery.message.group_id.as_deref() else {
                continue;
            };
            if matches!(*delivery.fate.borrow(), Fate::Unsent(_) | Fate::Refused(_)) {
                broken.insert(group);
            } else if delivery.is_open() && broken.contains(group) {
                delivery.decide(Fate::Unsent(Back::Later));
            }
        }
    }

    /// Writes the lane's page: what became of `done`, and `next` as about to be sent. Returns when it stands; false when
    /// nothing may be touched any more.
    async fn save(&mut self, done: &[Delivery], next: &[Delivery]) -> bool {
        let ctx = self.ctx.clone();
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        loop {
            if ctx.stop.forbids_touching() {
                return false;
            }
            // Not prepared yet, so surely not sent: may still be given back.
            let now = ctx.now();
            for delivery in next.iter().filter(|d| d.is_open()) {
                if now >= ctx.deadline(delivery) {
                    delivery.decide(Fate::Unsent(Back::Later));
                } else if ctx.stop.forbids_sending() {
                    delivery.decide(Fate::Unsent(Back::Now));
                }
            }
            self.keep_group_order(next);
            let prepared = if ctx.keeps(Rule::Prepare) { next } else { &[] };
            let page = self.page(done, prepared);
            let Some(journal) = &ctx.journal else {
                return true;
            };
            if page.entries.is_empty() && !self.stored {
                return true;
            }
            ctx.due[self.index][0].set(soonest(next));
            self.sequence += 1;
            let me = &journal.me.process;
            let written = journal
                .ledger
                .write_page(me, self.index as u32, self.sequence, &page)
                .await;
            match written {
                Ok(()) => {
                    self.stored = !page.entries.is_empty();
                    self.saved = page.totals;
                    ctx.stood.borrow_mut()[self.index] = page.totals_of_the_dead();
                    ctx.due[self.index][1].set(soonest(done));
                    return true;
                }
                Err(LedgerError::Superseded) => {
                    ctx.stop.request(Reason::Superseded);
                    return false;
                }
                Err(error) => {
                    // It may have been written, or be written later.
                    self.stored = true;
                    if !ctx.bear(&error, &mut backoff).await {
                        return false;
                    }
                }
            }
        }
    }

    /// The page as it should stand, and the totals with it.
    fn page(&self, done: &[Delivery], next: &[Delivery]) -> Page {
        let mut all = self.ctx.totals.borrow_mut();
        let totals = &mut all[self.index];
        let mut entries = Vec::with_capacity(done.len() + next.len());
        for delivery in done.iter().chain(next) {
            let entry = delivery.entry();
            if let Some(entry) = entry {
                delivery.enter(totals);
                entries.push(entry);
            }
            // While it stands in the page as under way, its class is the sweeper's business.
            if entry.is_none_or(|e| e.mark.is_counted()) {
                delivery.count(totals);
            }
        }
        Page {
            entries,
            totals: *totals,
        }
    }
}

/// When the first visibility of what stands in a page runs out.
fn soonest(list: &[Delivery]) -> Option<Moment> {
    list.iter()
        .filter(|d| d.entry().is_some())
        .map(|d| d.visible_at)
        .min()
}

/// A token that no other delivery bears: so that a transition's own success is recognised and nobody else's is.
fn token<P: Ports>(ctx: &Context<P>) -> String {
    format!("{}/{:016x}", ctx.name(), ctx.wiring.clock.random())
}

/// Makes a doubt this process's to send again. Where that fails the message is left.
async fn take_doubt<P: Ports>(
    ctx: &Context<P>,
    delivery: &Delivery,
    attempt: u8,
    from: Option<&str>,
) {
    let Some(journal) = &ctx.journal else { return };
    let id = delivery.message.id;
    let taken = journal
        .ledger
        .take_doubt(id, attempt, from, &token(ctx))
        .await;
    match taken {
        Ok(Transition::Made) => {}
        Ok(Transition::Refused(_)) => delivery.decide(Fate::Unsent(Back::Later)),
        Err(error) => {
            ctx.note_table(&error);
            delivery.decide(Fate::Unsent(Back::Later));
        }
    }
}

/// Claims an id. Answers with the id when somebody else has claimed it and how far that went is not known.
async fn claim<P: Ports>(ctx: &Context<P>, delivery: &mut Delivery) -> Option<crate::message::Id> {
    let journal = ctx.journal.as_ref()?;
    let id = delivery.message.id;
    let token = token(ctx);
    match journal.ledger.claim(id, &token).await {
        Ok(Transition::Made) => {
            delivery.claim = Some(token);
            None
        }
        Ok(Transition::Refused(record)) => match record.next(Policy::AtMostOnce, &journal.me.run) {
            Next::Delete => {
                delivery.decide(Fate::Known);
                None
            }
            _ => Some(id),
        },
        Err(error) => {
            // The claim may stand, or come to stand: the next delivery finds it and goes to the hold queue.
            ctx.note_table(&error);
            delivery.decide(Fate::Unsent(Back::Later));
            None
        }
    }
}
