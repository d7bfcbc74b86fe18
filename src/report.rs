//! What a run says of itself: the result line, and the totals it must balance by.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::exit::ExitCode;
use crate::journal::{RecordState, Totals};
use crate::message::{Counts, Id};

/// Requests made, as they went out on the wire (repeats by the SDK included).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// ReceiveMessage.
    pub receive: u64,
    /// SendMessageBatch.
    pub send: u64,
    /// DeleteMessageBatch.
    pub delete: u64,
    /// Every other SQS request.
    pub other_sqs: u64,
    /// GetItem, BatchGetItem, Query and other reads of the table.
    pub dynamodb_read: u64,
    /// PutItem, UpdateItem, DeleteItem.
    pub dynamodb_write: u64,
}

impl Requests {
    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.receive += other.receive;
        self.send += other.send;
        self.delete += other.delete;
        self.other_sqs += other.other_sqs;
        self.dynamodb_read += other.dynamodb_read;
        self.dynamodb_write += other.dynamodb_write;
    }
}

/// A doubt, or another id in trouble, by id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Doubt {
    /// The SQS message id.
    pub id: String,
    /// Its state in a word.
    pub state: RecordState,
}

impl Doubt {
    /// From the journal's terms.
    pub fn new(id: Id, state: RecordState) -> Self {
        Self {
            id: id.to_string(),
            state,
        }
    }
}

/// What the source still holds, by its own counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Remaining {
    /// Visible.
    pub visible: u64,
    /// Received and not deleted.
    pub in_flight: u64,
    /// Delayed.
    pub delayed: u64,
}

impl From<Counts> for Remaining {
    fn from(c: Counts) -> Self {
        Self {
            visible: c.visible,
            in_flight: c.in_flight,
            delayed: c.delayed,
        }
    }
}

/// How fast it went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rate {
    /// The limit, messages a second over all shards.
    pub limit: Option<f64>,
    /// Messages a second between the first and the last send; `None` when it sent for less than a second.
    pub average: Option<f64>,
    /// The most messages sent in any second.
    pub busiest_second: u32,
}

/// How one route's run went, as far as this process took part.
#[derive(Clone, Debug, Serialize)]
pub struct RouteReport {
    /// The run's id; `None` when it was not known yet.
    pub run_id: Option<String>,
    /// Whether all is well (exit code 0).
    pub result: bool,
    /// Messages moved.
    pub total: u64,
    /// The outcome in a word.
    pub outcome: &'static str,
    /// Why it did not run, or what is to be known about how it ended.
    pub message: Option<String>,
    /// Deliveries by class.
    #[serde(flatten)]
    pub totals: Totals,
    /// Ids in trouble that this process met (at most 1,000; all are in the table).
    pub doubts: Vec<Doubt>,
    /// How many there are, listed or not.
    pub doubts_in_all: usize,
    /// What the source still holds; `None` when it could not be asked.
    pub remaining: Option<Remaining>,
    /// Requests made.
    pub requests: Requests,
    /// How fast it went.
    pub rate: Rate,
    /// Every delivery is in exactly one class.
    #[serde(skip)]
    pub balanced: bool,
    /// How it ended.
    #[serde(skip)]
    pub exit: ExitCode,
    /// The run whose status tells why this one did not run.
    #[serde(skip)]
    pub see_run: Option<String>,
}

impl RouteReport {
    /// A route that did not run at all.
    pub fn not_run(exit: ExitCode, run_id: Option<String>, message: String) -> Self {
        Self {
            run_id,
            result: exit == ExitCode::Drained,
            total: 0,
            outcome: exit.outcome(),
            message: Some(message),
            totals: Totals::default(),
            doubts: Vec::new(),
            doubts_in_all: 0,
            remaining: None,
            requests: Requests::default(),
            rate: Rate::default(),
            balanced: true,
            exit,
            see_run: None,
        }
    }
}

/// How many messages were rejected and how many held, in words that leave out what is none.
pub fn parked_in_words(rejected: u64, held: u64) -> String {
    let messages = |n: u64| match n {
        1 => "1 message was".to_owned(),
        n => format!("{n} messages were"),
    };
    match (rejected, held) {
        (_, 0) => format!("{} rejected", messages(rejected)),
        (0, _) => format!("{} held", messages(held)),
        _ => format!("{} rejected and {held} held", messages(rejected)),
    }
}

/// Which process of its run this was.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ShardLabel {
    /// From 0.
    pub index: u32,
    /// How many there are said to be.
    pub of: u32,
}

/// The result of a process: the one line on standard output.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Which process.
    pub shard: ShardLabel,
    /// The outcome in a word: that of the route that decides the exit code.
    pub outcome: &'static str,
    /// The exit code.
    pub exit_code: u8,
    /// Every delivery of every route is in exactly one class.
    pub balanced: bool,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
    /// By route.
    pub routes: BTreeMap<String, RouteReport>,
}

/// Which of several routes' ends decides the process's exit code: the first of these that any route had. What retrying helps
/// comes before what it does not, so that a retried job goes on with the route that needs it.
pub const GRAVEST_FIRST: [ExitCode; 8] = [
    ExitCode::Failed,
    ExitCode::Unavailable,
    ExitCode::Interrupted,
    ExitCode::Refused,
    ExitCode::WindowClosed,
    ExitCode::FinishedWithRejects,
    ExitCode::OutsideWindow,
    ExitCode::Drained,
];

impl Report {
    /// Puts the routes' reports together.
    pub fn new(
        shard: ShardLabel,
        started_at: DateTime<Utc>,
        ended_at: DateTime<Utc>,
        routes: BTreeMap<String, RouteReport>,
    ) -> Self {
        let exit = GRAVEST_FIRST
            .into_iter()
            .find(|code| routes.values().any(|r| r.exit == *code))
            .unwrap_or(ExitCode::Drained);
        Self {
            shard,
            outcome: exit.outcome(),
            exit_code: exit.code(),
            balanced: routes.values().all(|r| r.balanced),
            started_at,
            ended_at,
            routes,
        }
    }

    /// The exit code.
    pub fn exit(&self) -> ExitCode {
        ExitCode::from_code(self.exit_code).unwrap_or(ExitCode::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gravest_route_decides() {
        let report = |ends: &[ExitCode]| {
            let routes = ends
                .iter()
                .enumerate()
                .map(|(i, e)| (i.to_string(), RouteReport::not_run(*e, None, String::new())))
                .collect();
            let now = DateTime::UNIX_EPOCH;
            Report::new(ShardLabel { index: 0, of: 1 }, now, now, routes).exit()
        };
        use ExitCode::*;
        assert_eq!(report(&[Drained, Drained]), Drained);
        assert_eq!(report(&[OutsideWindow, Drained]), OutsideWindow);
        assert_eq!(report(&[FinishedWithRejects, Interrupted]), Interrupted);
        assert_eq!(report(&[Unavailable, WindowClosed]), Unavailable);
        assert_eq!(report(&[Failed, Unavailable]), Failed);
    }

    #[test]
    fn what_is_none_is_not_told() {
        assert_eq!(parked_in_words(1, 0), "1 message was rejected");
        assert_eq!(parked_in_words(0, 40), "40 messages were held");
        assert_eq!(parked_in_words(2, 1), "2 messages were rejected and 1 held");
    }

    #[test]
    fn every_exit_code_has_its_place() {
        for code in ExitCode::ALL {
            assert!(GRAVEST_FIRST.contains(&code));
        }
    }
}
