//! What to do, decided before anything is done: arguments, environment and
//! routes file become one validated [`Plan`], or one [`Refusal`] of one line.
//!
//! Everything here is pure. A setting is taken from the first place that has
//! it: flag, environment, the route in the file, the file's `[defaults]`, the
//! file's top, and last the built-in default. `AWS_BATCH_JOB_ARRAY_SIZE` and
//! `_INDEX` stand right behind the environment's own variables.

mod build;
mod environment;
mod layers;
mod queues;
mod route;
mod timings;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};

pub use crate::refusal::{Refusal, Warning};
pub use build::{Hours, Located, LocatedRoute, Request};
pub use environment::AwsEnvironment;
pub use queues::{QueueFacts, check_queues};
pub use timings::Timings;
pub use values::{NOT_A_RATE, RATE_FORM, parse_duration, parse_instant, parse_rate};

use crate::config::Secret;
use crate::window::Window;

/// The most messages of a standard queue that may be in flight at once (SQS
/// quota for standard queues; FIFO queues allow as many).
pub const IN_FLIGHT_LIMIT: usize = 120_000;

/// The most children an AWS Batch array job may have.
pub const SHARDS_LIMIT: u32 = 10_000;

/// The most messages a journal page may hold (so that a page of them fits one DynamoDB write unit).
pub const PAGE_LIMIT: usize = 50;

/// A validated request: nothing in it contradicts anything else as far as its
/// text can tell. What only the queues can tell is [`check_queues`]'s.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What concerns the whole process.
    pub process: ProcessPlan,
    /// The routes to work through, in the order asked for; at least one.
    pub routes: Vec<RoutePlan>,
    /// What is allowed but should be known.
    pub warnings: Vec<Warning>,
}

/// The part of a plan that concerns the whole process.
#[derive(Clone, Debug)]
pub struct ProcessPlan {
    /// Which process of its run this is.
    pub shard: Shard,
    /// How long a stop may take after the first signal.
    pub grace: Duration,
    /// A file that gets the result as well as standard output.
    pub result: Option<PathBuf>,
    /// Whether progress is shown.
    pub progress: Progress,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines are written.
    pub log_level: LogLevel,
    /// Where a message goes when a run ends with anything but 0.
    pub slack_webhook: Option<Secret>,
    /// Send that message at success too.
    pub notify_success: bool,
}

/// A process's place among the processes of its run. A label, and without a
/// table the divisor of the rate; it never decides which messages are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// From 0.
    pub index: u32,
    /// How many there are said to be, at least 1.
    pub of: u32,
}

/// When progress is shown on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// When standard error is a terminal.
    Auto,
    /// In any case.
    Always,
    /// Not at all.
    Never,
}

/// How log lines on standard error look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// The least important log lines that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Errors only.
    Error,
    /// And warnings.
    Warn,
    /// And what happens, a few lines a run.
    Info,
    /// And why.
    Debug,
    /// And every step.
    Trace,
}

/// One source, its destinations and everything that was said about them.
#[derive(Clone, Debug)]
pub struct RoutePlan {
    /// The route's name; `default` when it came from flags alone.
    pub name: String,
    /// The wait queue.
    pub from: QueueRef,
    /// Where its messages go; at least one, no two the same.
    pub to: Vec<QueueRef>,
    /// When sending is allowed.
    pub window: Window,
    /// The window was written, and is not the `always` of who wrote none.
    pub window_named: bool,
    /// The longest the window stays shut from the time of planning on.
    pub longest_shut: Duration,
    /// Messages a second over all shards together; `None`: no limit.
    pub rate: Option<f64>,
    /// Messages that may go at once over the rate; `None`: one batch of
    /// [`BATCH_ENTRIES`](crate::message::BATCH_ENTRIES) for each active shard.
    pub burst: Option<u32>,
    /// Where the run's state is kept.
    pub journal: Journal,
    /// A run's id in place of the derived one.
    pub run_id: Option<String>,
    /// From when on a message is no longer this run's business.
    pub cutoff: Cutoff,
    /// What becomes of a doubt.
    pub delivery: Delivery,
    /// Where messages go that the destination refuses for their own sake.
    pub reject: Option<QueueRef>,
    /// How long after the opening a run may still be created.
    pub start_within: Option<Duration>,
    /// Started early, wait for the opening.
    pub wait_open: bool,
    /// Where the group id towards a FIFO queue comes from, when it was said;
    /// see [`RoutePlan::group_from`].
    pub group_from_named: Option<GroupFrom>,
    /// The deduplication id towards a FIFO queue.
    pub deduplication_id: DeduplicationId,
    /// A FIFO source may be drained into a standard queue, losing its order.
    pub allow_fifo_to_standard: bool,
    /// Concurrent workers in this process, at least 1.
    pub lanes: usize,
    /// Messages a page may hold, 1 to [`PAGE_LIMIT`].
    pub page: usize,
    /// The lengths of time that have to agree with each other.
    pub timings: Timings,
}

impl RoutePlan {
    /// Where the group id towards a FIFO queue comes from.
    pub fn group_from(&self) -> GroupFrom {
        self.group_from_named.clone().unwrap_or(GroupFrom::Source)
    }

    /// The hold queue, which only at-most-once has.
    pub fn hold(&self) -> Option<&QueueRef> {
        match &self.delivery {
            Delivery::AtMostOnce { hold } => Some(hold),
            Delivery::AtLeastOnce => None,
        }
    }

    /// The id of the run that a process started at `at` belongs to, or would
    /// belong to if it waited: `route@opening`, unless one was given. `None`
    /// when the window never opens again.
    pub fn run_id_at(&self, at: DateTime<Utc>) -> Option<String> {
        self.window.run_id(&self.name, self.run_id.as_deref(), at)
    }

    /// How long before the window's closing the last send starts, for a
    /// destination that keeps messages back for `delay` (its `DelaySeconds`).
    pub fn closing_margin(&self, delay: Duration) -> Duration {
        self.timings.closing_margin(delay)
    }
}

/// A queue as it was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueRef {
    /// By its URL.
    Url(String),
    /// By its name, in the caller's account and region.
    Name(String),
}

/// Where a run's state is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Journal {
    /// In this DynamoDB table (name or ARN).
    Table(String),
    /// Nowhere: plain receive, send, delete.
    None,
}

/// From when on a message is no longer this run's business. It decides when a
/// run may end, never what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cutoff {
    /// The start of the run.
    RunStart,
    /// Never: the run ends when the queue is empty.
    None,
    /// This instant.
    At(DateTime<Utc>),
}

/// What becomes of a doubt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It is sent again and counted as a possible duplicate.
    AtLeastOnce,
    /// It goes to the hold queue.
    AtMostOnce {
        /// The hold queue.
        hold: QueueRef,
    },
}

/// Where the group id towards a FIFO queue comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupFrom {
    /// The message's own group id.
    Source,
    /// The message id: no order between any two.
    Id,
    /// The value of this message attribute.
    Attribute(String),
    /// The same for every message.
    Constant(String),
}

/// The deduplication id towards a FIFO queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeduplicationId {
    /// The source message id: every message is delivered.
    MessageId,
    /// The message's own: two that share one within five minutes become one.
    Original,
}

#[cfg(test)]
mod tests;
