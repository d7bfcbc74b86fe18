//! The items of the checkpoint table as typed values.

use std::collections::BTreeMap;

use crate::journal::{Malformed, Page, Record, RecordState, Totals};
use crate::message::Id;
use crate::port::{Datum, Item};

/// Reads attributes of an item; a missing or mistyped one that must be there is [`Malformed`].
pub(super) struct Reader<'a>(pub &'a Item);

impl Reader<'_> {
    pub fn opt_n(&self, name: &str) -> Option<i64> {
        match self.0.get(name) {
            Some(Datum::N(n)) => Some(*n),
            _ => None,
        }
    }
    pub fn n(&self, name: &'static str) -> Result<i64, Malformed> {
        self.opt_n(name).ok_or(Malformed(name))
    }
    pub fn flag(&self, name: &str) -> bool {
        self.opt_n(name).is_some_and(|n| n != 0)
    }
    pub fn opt_s(&self, name: &str) -> Option<String> {
        match self.0.get(name) {
            Some(Datum::S(s)) => Some(s.clone()),
            _ => None,
        }
    }
    pub fn s(&self, name: &'static str) -> Result<String, Malformed> {
        self.opt_s(name).ok_or(Malformed(name))
    }
    pub fn totals(&self, name: &'static str) -> Result<Totals, Malformed> {
        match self.0.get(name) {
            Some(Datum::B(b)) => Totals::decode(b),
            None => Ok(Totals::default()),
            Some(_) => Err(Malformed(name)),
        }
    }
}

/// Builds an item from pairs; absent values are left out.
pub(super) fn item<const N: usize>(pairs: [(&str, Option<Datum>); N]) -> Item {
    pairs
        .into_iter()
        .filter_map(|(name, value)| value.map(|v| (name.to_owned(), v)))
        .collect()
}

pub(super) fn s(text: &str) -> Option<Datum> {
    Some(Datum::S(text.to_owned()))
}
pub(super) fn n(number: i64) -> Option<Datum> {
    Some(Datum::N(number))
}
pub(super) fn b(bytes: Vec<u8>) -> Option<Datum> {
    Some(Datum::B(bytes))
}

/// The attribute of a page that a sweep has sealed.
pub(super) const SEALED: &str = "sealed";

/// Which run drains a source now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The run id.
    pub run: String,
    /// Since when, milliseconds since the epoch.
    pub since_ms: i64,
}

/// A process registered under its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Its ULID.
    pub process: String,
    /// The run it works for.
    pub run: String,
    /// Its shard index, a label.
    pub shard: i64,
    /// Since when, milliseconds since the epoch.
    pub since_ms: i64,
    /// The host's word for itself (task or container id), for people.
    pub host: String,
}

/// What a coordinator tells a process through its heartbeat item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// The coordinator's term; a lower one cannot overwrite a higher one's grant.
    pub term: i64,
    /// Share of the rate, in thousandths of a message a second; negative: no limit.
    pub share: i64,
    /// The run is paused.
    pub paused: bool,
    /// The run's epoch that has ended, 0: none.
    pub ended: i64,
    /// How many processes the coordinator sees.
    pub processes: i64,
}

/// What a process tells of itself with each heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doing {
    /// The most it sends at until its next heartbeat, in thousandths of a message a second; negative: no limit.
    pub share: i64,
    /// It has nothing in hand and its polls come back empty.
    pub idle: bool,
    /// How long ago it last saw a message older than the cut-off, in milliseconds; `None`: never.
    pub old_seen_ms: Option<i64>,
    /// Its totals so far.
    pub totals: Totals,
    /// Why it is stopping, in a word, if it is.
    pub stopping: Option<String>,
}

/// A heartbeat item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    /// The number of the last beat.
    pub number: i64,
    /// What the coordinator wrote.
    pub grant: Grant,
    /// What the process wrote.
    pub doing: Doing,
    /// Who fenced it, if anyone: it can never beat again.
    pub fenced_by: Option<String>,
    /// When the process wrote it by its own clock, milliseconds since the epoch: for people only.
    pub at_ms: i64,
}

impl Beat {
    pub(super) fn doing_item(doing: &Doing, number: i64, at_ms: i64) -> Item {
        item([
            ("v", n(number)),
            ("at", n(at_ms)),
            ("ack", n(doing.share)),
            ("idle", n(i64::from(doing.idle))),
            ("old", n(doing.old_seen_ms.unwrap_or(-1))),
            ("t", b(doing.totals.encode())),
            ("stop", doing.stopping.as_deref().and_then(s)),
        ])
    }

    pub(super) fn grant_item(grant: &Grant) -> Item {
        item([
            ("term", n(grant.term)),
            ("share", n(grant.share)),
            ("paused", n(i64::from(grant.paused))),
            ("ended", n(grant.ended)),
            ("n", n(grant.processes)),
        ])
    }

    pub(super) fn read(item: &Item) -> Result<Self, Malformed> {
        let r = Reader(item);
        Ok(Self {
            number: r.n("v")?,
            grant: Grant {
                term: r.opt_n("term").unwrap_or(0),
                share: r.opt_n("share").unwrap_or(0),
                paused: r.flag("paused"),
                ended: r.opt_n("ended").unwrap_or(0),
                processes: r.opt_n("n").unwrap_or(0),
            },
            doing: Doing {
                share: r.opt_n("ack").unwrap_or(0),
                idle: r.flag("idle"),
                old_seen_ms: r.opt_n("old").filter(|ms| *ms >= 0),
                totals: r.totals("t")?,
                stopping: r.opt_s("stop"),
            },
            fenced_by: r.opt_s("fenced"),
            at_ms: r.opt_n("at").unwrap_or(0),
        })
    }
}

/// A page as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPage {
    /// Which lane's.
    pub lane: u32,
    /// Its sequence number.
    pub sequence: i64,
    /// Its content.
    pub page: Page,
    /// A sweep has sealed it: it changes no more.
    pub sealed: bool,
}

impl StoredPage {
    pub(super) fn to_item(page: &Page, sequence: i64) -> Item {
        item([
            ("q", n(sequence)),
            ("i", b(page.encode_entries())),
            ("t", b(page.totals.encode())),
        ])
    }

    pub(super) fn read(sk: &str, item: &Item) -> Result<Self, Malformed> {
        let r = Reader(item);
        let lane = sk
            .strip_prefix("page#")
            .and_then(|l| l.parse().ok())
            .ok_or(Malformed("page key"))?;
        let entries = match item.get("i") {
            Some(Datum::B(bytes)) => Page::decode_entries(bytes)?,
            // DynamoDB stores an empty binary as it is; other stores may leave it out.
            _ => Vec::new(),
        };
        Ok(Self {
            lane,
            sequence: r.n("q")?,
            page: Page {
                entries,
                totals: r.totals("t")?,
            },
            sealed: r.flag(SEALED),
        })
    }
}

/// A run as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunItem {
    /// The route's name.
    pub route: String,
    /// The source's name.
    pub source: String,
    /// The settings all its processes must share: a JSON object of flags.
    pub settings: String,
    /// First started, milliseconds since the epoch.
    pub since_ms: i64,
    /// Grows each time the run is gone on with after it had ended.
    pub epoch: i64,
    /// Messages sent before this (milliseconds since the epoch) are what the run is for; `None`: all.
    pub cutoff_ms: Option<i64>,
    /// The epoch is over.
    pub ended: bool,
    /// How it ended, in a word.
    pub outcome: Option<String>,
    /// The process that shares out the rate and declares the end.
    pub coordinator: Option<String>,
    /// Grows with each change of coordinator.
    pub term: i64,
    /// Paused by hand.
    pub paused: bool,
    /// The rate, in thousandths of a message a second; negative: no limit.
    pub rate: i64,
}

impl RunItem {
    pub(super) fn to_item(&self) -> Item {
        item([
            ("route", s(&self.route)),
            ("source", s(&self.source)),
            ("settings", s(&self.settings)),
            ("since", n(self.since_ms)),
            ("epoch", n(self.epoch)),
            ("cutoff", self.cutoff_ms.and_then(n)),
            ("ended", n(i64::from(self.ended))),
            ("outcome", self.outcome.as_deref().and_then(s)),
            ("coordinator", self.coordinator.as_deref().and_then(s)),
            ("term", n(self.term)),
            ("paused", n(i64::from(self.paused))),
            ("rate", n(self.rate)),
        ])
    }

    pub(super) fn read(item: &Item) -> Result<Self, Malformed> {
        let r = Reader(item);
        Ok(Self {
            route: r.s("route")?,
            source: r.s("source")?,
            settings: r.s("settings")?,
            since_ms: r.n("since")?,
            epoch: r.n("epoch")?,
            cutoff_ms: r.opt_n("cutoff"),
            ended: r.flag("ended"),
            outcome: r.opt_s("outcome"),
            coordinator: r.opt_s("coordinator"),
            term: r.n("term")?,
            paused: r.flag("paused"),
            rate: r.n("rate")?,
        })
    }
}

/// The totals of one process in its run's record: per lane, so that folding a page twice changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Whose.
    pub process: String,
    /// Its shard index.
    pub shard: i64,
    /// The host's word for itself, where it was told.
    pub host: String,
    /// Each folded lane's last sequence number and totals.
    pub lanes: BTreeMap<u32, (i64, Totals)>,
    /// Sum over its lanes.
    pub totals: Totals,
    /// Why it stopped, in a word.
    pub stop: Option<String>,
    /// When its first lane was folded in, milliseconds since the epoch.
    pub at_ms: i64,
}

impl Tally {
    pub(super) fn read(process: &str, item: &Item) -> Result<Self, Malformed> {
        let r = Reader(item);
        let mut totals = Totals::default();
        let mut lanes = BTreeMap::new();
        for (name, value) in item {
            if let (Some(lane), Datum::B(bytes)) = (name.strip_prefix("lane"), value)
                && let Ok(lane) = lane.parse::<u32>()
            {
                let of_lane = Totals::decode(bytes)?;
                totals.add(&of_lane);
                let sequence = r.opt_n(&format!("seq{lane}")).unwrap_or(0);
                lanes.insert(lane, (sequence, of_lane));
            }
        }
        Ok(Self {
            process: process.to_owned(),
            shard: r.opt_n("shard").unwrap_or(0),
            host: r.opt_s("host").unwrap_or_default(),
            lanes,
            totals,
            stop: r.opt_s("stop"),
            at_ms: r.opt_n("at").unwrap_or(0),
        })
    }
}

/// An id in trouble, as the run lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Which message.
    pub id: Id,
    /// What it was when it was listed last.
    pub state: RecordState,
    /// A code of the destination's, where there is one.
    pub code: Option<String>,
}

/// An id in trouble with what its record says of it, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Which message.
    pub id: Id,
    /// Its record.
    pub record: Record,
    /// A code of the destination's, where there is one.
    pub code: Option<String>,
    /// When its record changed last, milliseconds since the epoch; `None`: it has no record yet.
    pub at_ms: Option<i64>,
    /// Who changed it last.
    pub by: Option<String>,
}

impl Trouble {
    /// Its state in a word.
    pub fn state(&self) -> RecordState {
        self.record.state()
    }
}

pub(super) fn read_record(item: &Item) -> Record {
    let r = Reader(item);
    let small = |name: &str| {
        r.opt_n(name)
            .and_then(|n| u8::try_from(n).ok())
            .unwrap_or(0)
    };
    Record {
        sent: r.flag("sent"),
        doubts: small("doubts"),
        resent: small("resent"),
        resent_by: r.opt_s("resent_by"),
        claimed_by: r.opt_s("claimed_by"),
        rejecting: r.flag("rejecting"),
        rejected: r.flag("rejected"),
        holding: r.flag("holding"),
        held: r.flag("held"),
        held_as: r.opt_s("held_as"),
        dropped: r.flag("dropped"),
        settled: r.flag("settled"),
        settled_by: r.opt_s("settled_by"),
        again: r.flag("again"),
        parked_in: r.opt_s("parked_in"),
    }
}
