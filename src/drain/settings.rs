//! What one drain is told: a validated route and the facts of its queues, without names of things outside.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::journal::Delivery;
use crate::rules::Rules;
use crate::window::Window;

/// A destination as the drain must know it.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Shown in logs: the queue's name.
    pub name: String,
    /// It is a FIFO queue.
    pub fifo: bool,
    /// Its own `DelaySeconds`: what is sent becomes visible only so much later.
    pub delay: Duration,
    /// The most payload it takes in one batch, in bytes.
    pub batch_bytes: usize,
}

/// Where the group id towards a FIFO destination comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupFrom {
    /// The source message's own group id; without one, its message id.
    Source,
    /// The source message id: every message its own group.
    MessageId,
    /// The value of a message attribute; without it, the message id.
    Attribute(String),
    /// One group for all.
    Constant(String),
}

/// The durations of the protocol. That they agree with one another is checked before (`plan`).
#[derive(Clone, Copy, Debug)]
pub struct Timings {
    /// How long a received message stays hidden from others.
    pub visibility: Duration,
    /// The longest a send request may take.
    pub send_timeout: Duration,
    /// The longest one call to the table may take, its retries included.
    pub table_timeout: Duration,
    /// Slack in every deadline.
    pub margin: Duration,
    /// From one heartbeat to the next.
    pub heartbeat: Duration,
    /// How long a heartbeat must stand still before its process counts as dead.
    pub lease: Duration,
    /// How long a long poll waits (whole seconds).
    pub poll: Duration,
    /// How long a stop may take.
    pub grace: Duration,
    /// From one look at an empty queue's counts to the next.
    pub settle: Duration,
    /// How many such looks in a row must find nothing.
    pub settle_checks: u32,
    /// The run may end by its cut-off only when no older message was seen for so long at least, and for one visibility and what it takes
    /// to tell of it (see [`Timings::telling`]).
    pub cutoff_quiet: Duration,
}

impl Timings {
    /// The longest until a living process has told by its heartbeat what a poll of it found: a poll and two rounds of the heartbeat.
    pub fn telling(&self) -> Duration {
        self.poll + 2 * (self.heartbeat + self.table_timeout)
    }

    /// How long after the start of its receive a message's send may still begin (the design's deadline).
    pub fn sendable(&self) -> Duration {
        self.visibility
            .saturating_sub(self.send_timeout + 2 * self.table_timeout + self.margin)
    }
}

/// From when on a message is no longer what the run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cutoff {
    /// The start of the run's epoch.
    RunStart,
    /// None: the run ends only when the queue is empty.
    None,
    /// This moment.
    At(DateTime<Utc>),
}

/// Everything one drain is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The route's name.
    pub route: String,
    /// The run's id where it is given; otherwise derived from the route and the window's opening.
    pub run_id: Option<String>,
    /// The shard's index, a label.
    pub shard: u32,
    /// How many shards there are said to be: the divisor of the rate where there is no table.
    pub shards: u32,
    /// This host's word for itself.
    pub host: String,
    /// The settings all processes of a run must share: a JSON object of flags, kept in the run's record. See [`difference`].
    pub fingerprint: String,
    /// The name of the source (see [`crate::ledger::source_name`]).
    pub source: String,
    /// The source is a FIFO queue.
    pub source_fifo: bool,
    /// The destinations, in the order of the sinks.
    pub destinations: Vec<Destination>,
    /// The reject queue, if any.
    pub reject: Option<Destination>,
    /// The hold queue, if any.
    pub hold: Option<Destination>,
    /// When sending is allowed.
    pub window: Window,
    /// Messages a second over all shards; `None`: no limit.
    pub rate: Option<f64>,
    /// Messages let through at once over all shards; `None`: a batch for each shard.
    pub burst: Option<u32>,
    /// What becomes of doubts.
    pub delivery: Delivery,
    /// The run's cut-off.
    pub cutoff: Cutoff,
    /// Refuse to create a run later than this after the opening.
    pub start_within: Option<Duration>,
    /// Started early: wait for the opening.
    pub wait_open: bool,
    /// Where group ids come from.
    pub group_from: GroupFrom,
    /// Towards FIFO: carry the producer's deduplication id instead of the source message id.
    pub original_deduplication: bool,
    /// Concurrent workers.
    pub lanes: usize,
    /// The most messages of a page.
    pub page: usize,
    /// The durations.
    pub timings: Timings,
    /// [`Rules::ALL`], but for tests that break one.
    pub rules: Rules,
}

impl Settings {
    /// The longest of what must lie between a send's start and the closing of the window.
    pub fn closing_margin(&self) -> Duration {
        let delay = self.destinations.iter().map(|d| d.delay).max();
        self.timings.send_timeout + self.timings.margin + delay.unwrap_or_default()
    }

    /// The id of the run that a process started at `at` belongs to: see [`Window::run_id`].
    pub fn run_id_at(&self, at: DateTime<Utc>) -> Option<String> {
        self.window.run_id(&self.route, self.run_id.as_deref(), at)
    }

    /// How many lanes work on what came back: a few, so that a queue full of messages that were received before is not
    /// drained one page at a time.
    pub fn return_lanes(&self) -> usize {
        self.lanes.div_ceil(4)
    }

    /// How many pages this process has in the table: one for each lane.
    pub fn pages(&self) -> usize {
        self.lanes + self.return_lanes()
    }
}

/// The lease in the settings of a run as its item has them; `None` when a version wrote them that put it otherwise.
pub fn lease_of(settings: &str) -> Option<Duration> {
    let flags: Map<String, Value> = serde_json::from_str(settings).ok()?;
    let seconds = flags.get(LEASE)?.as_str()?.strip_suffix('s')?;
    Duration::try_from_secs_f64(seconds.parse().ok()?).ok()
}

/// A lease as [`lease_of`] reads it.
pub fn lease_in_words(lease: Duration) -> String {
    format!("{}s", lease.as_secs_f64())
}

/// Its key among the settings that a run's processes must share.
pub const LEASE: &str = "--lease";

/// In which of the settings that a run's processes must share two of them differ: ` (--rate: 100 there, 200 here)`; empty when they do not, or
/// when one was written by a version that put it otherwise.
pub fn difference(there: &str, here: &str) -> String {
    let flags = |text| serde_json::from_str::<Map<String, Value>>(text).unwrap_or_default();
    let (there, here) = (flags(there), flags(here));
    let differing: Vec<String> = here
        .iter()
        .filter_map(|(flag, here)| {
            let there = there.get(flag)?;
            (there != here).then(|| format!("{flag}: {} there, {} here", word(there), word(here)))
        })
        .collect();
    match differing.is_empty() {
        true => String::new(),
        false => format!(" ({})", differing.join("; ")),
    }
}

fn word(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => number
            .as_f64()
            .map_or_else(|| number.to_string(), |number| number.to_string()),
        Value::Array(several) => several.iter().map(word).collect::<Vec<_>>().join(" and "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{difference, lease_in_words, lease_of};

    #[test]
    fn a_lease_is_read_as_it_was_written() {
        for lease in [
            Duration::from_secs(60),
            Duration::from_millis(2_500),
            Duration::from_millis(1),
        ] {
            let written = serde_json::json!({ super::LEASE: lease_in_words(lease) });
            assert_eq!(lease_of(&written.to_string()), Some(lease));
        }
        for other in ["", "a hash", r#"{"--lease": 10}"#, r#"{"--lease": "-1s"}"#] {
            assert_eq!(lease_of(other), None, "{other}");
        }
    }

    #[test]
    fn what_differs_is_named() {
        let there = r#"{"--to": ["a", "b"], "--hold": null, "--rate": 0.5, "--lease": "10s"}"#;
        let here =
            r#"{"--hold": "h", "--lease": "10s", "--new": 1, "--rate": 500.0, "--to": ["a"]}"#;
        assert_eq!(
            difference(there, here),
            " (--hold: none there, h here; --rate: 0.5 there, 500 here; --to: a and b there, a here)"
        );
        assert_eq!(difference(here, here), "");
        assert_eq!(difference("of another version", here), "");
    }
}
