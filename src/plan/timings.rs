//! The lengths of time of a route, and where they contradict each other.

use std::time::Duration;

use super::{Refusal, Warning};
use crate::config::flag_name;

/// The longest an SQS message can stay hidden (SQS quota): 12 hours.
pub const VISIBILITY_LIMIT: Duration = Duration::from_secs(12 * 3600);

/// The longest an SQS receive can wait (`WaitTimeSeconds`).
pub const POLL_LIMIT: Duration = Duration::from_secs(20);

/// The shortest margin. It is what a deadline leaves for requests that take effect late: none at all would let a visibility change
/// that was given up show what another process has received since.
pub const LEAST_MARGIN: Duration = Duration::from_secs(1);

/// What a stop keeps for itself beside the longest poll it has to await.
pub const STOP_RESERVE: Duration = Duration::from_secs(10);

/// Calls a sweep of a dead process makes one after the other: fence, query of
/// its pages, items of the ids, page, totals.
const SWEEP_CALLS: u32 = 5;

/// The lengths of time of a route that have to agree with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timings {
    /// How long a received message stays hidden from others.
    pub visibility: Duration,
    /// How long one receive waits for messages.
    pub poll: Duration,
    /// How long a queue must look empty before it is taken to be so.
    pub settle: Duration,
    /// What is kept free before a deadline and before the window's closing.
    pub margin: Duration,
    /// How long one send may take.
    pub send_timeout: Duration,
    /// How long one DynamoDB call may take, its retries included.
    pub table_timeout: Duration,
    /// How often a process shows that it lives.
    pub heartbeat: Duration,
    /// How long a heartbeat must stand still before its process counts as dead.
    pub lease: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Timings {
            visibility: Duration::from_secs(120),
            poll: Duration::from_secs(2),
            settle: Duration::from_secs(3),
            margin: Duration::from_secs(5),
            send_timeout: Duration::from_secs(5),
            table_timeout: Duration::from_secs(3),
            heartbeat: Duration::from_secs(3),
            lease: Duration::from_secs(10),
        }
    }
}

impl Timings {
    /// How long before a message is visible again the last send with it may
    /// start: send timeout, two writes and the margin. The deadline is
    /// `received_at + visibility - deadline_reserve`.
    pub fn deadline_reserve(&self) -> Duration {
        self.send_timeout + 2 * self.table_timeout + self.margin
    }

    /// The longest from one heartbeat's answer to the next one's.
    pub fn heartbeat_round(&self) -> Duration {
        self.heartbeat + self.table_timeout
    }

    /// A visibility has to be longer than this: the deadline's reserve, two
    /// worst-case heartbeat rounds and one read (asking the table), after a
    /// receive that waited the whole poll. Without a table only the send, the
    /// margin and the poll count.
    pub fn shortest_visibility(&self, with_table: bool) -> Duration {
        if with_table {
            self.deadline_reserve() + 2 * self.heartbeat_round() + self.table_timeout + self.poll
        } else {
            self.margin + self.send_timeout + self.poll
        }
    }

    /// The longest from a process's death to the end of its sweep.
    pub fn sweep_time(&self) -> Duration {
        self.lease + SWEEP_CALLS * self.table_timeout
    }

    /// How long before the window's closing the last send starts, for a
    /// destination that keeps messages back for `delay`.
    pub fn closing_margin(&self, delay: Duration) -> Duration {
        self.margin + self.send_timeout + delay
    }

    /// Refuses lengths that contradict each other.
    ///
    /// # Errors
    /// A [`Refusal`] that names the flags and the lengths that would do.
    pub(super) fn check(&self, grace: Duration, with_table: bool) -> Result<Vec<Warning>, Refusal> {
        for (key, length) in [("visibility", self.visibility), ("poll", self.poll)] {
            if length.subsec_nanos() != 0 {
                return Err(Refusal::new(
                    format!("{} {} is not whole seconds", flag_name(key), show(length)),
                    "SQS counts it in seconds, write a whole number of them",
                ));
            }
        }
        let not_zero = [
            ("settle", self.settle),
            ("send_timeout", self.send_timeout),
            ("table_timeout", self.table_timeout),
            ("heartbeat", self.heartbeat),
            ("lease", self.lease),
        ];
        if let Some((key, _)) = not_zero.iter().find(|(_, length)| length.is_zero()) {
            return Err(Refusal::new(
                format!("{} is zero", flag_name(key)),
                "write a length of time above zero",
            ));
        }
        if self.margin < LEAST_MARGIN {
            return Err(Refusal::new(
                format!(
                    "--margin {} is too short: a request that takes effect after it was given up could touch what is another process's by then",
                    show(self.margin)
                ),
                format!("write --margin {} or more", show(LEAST_MARGIN)),
            ));
        }
        if self.visibility > VISIBILITY_LIMIT {
            return Err(Refusal::new(
                format!(
                    "--visibility {} is more than SQS allows",
                    show(self.visibility)
                ),
                format!("write at most {}", show(VISIBILITY_LIMIT)),
            ));
        }
        if self.poll.is_zero() || self.poll > POLL_LIMIT {
            return Err(Refusal::new(
                format!(
                    "--poll {} is not a long poll that SQS takes",
                    show(self.poll)
                ),
                "write 1s to 20s",
            ));
        }
        if self.poll + STOP_RESERVE > grace {
            return Err(Refusal::new(
                format!(
                    "--poll {} is too long for --grace {}: an open poll is awaited at a stop",
                    show(self.poll),
                    show(grace)
                ),
                format!(
                    "keep the poll {} below the grace, with a shorter --poll or --grace {} or more",
                    show(STOP_RESERVE),
                    show(self.poll + STOP_RESERVE)
                ),
            ));
        }
        if self.poll >= self.visibility {
            return Err(Refusal::new(
                format!(
                    "--poll {} is not below --visibility {}",
                    show(self.poll),
                    show(self.visibility)
                ),
                "write a shorter --poll or a longer --visibility",
            ));
        }
        let shortest = self.shortest_visibility(with_table);
        if self.visibility <= shortest {
            let needs = if with_table {
                "margin + send timeout + two table timeouts + two rounds of heartbeat and table timeout + one table timeout + poll"
            } else {
                "margin + send timeout + poll"
            };
            return Err(Refusal::new(
                format!(
                    "--visibility {} is too short: {needs} take {}",
                    show(self.visibility),
                    show(shortest)
                ),
                format!("write --visibility {} or more", show(next_second(shortest))),
            ));
        }
        if !with_table {
            return Ok(Vec::new());
        }
        if self.lease <= self.heartbeat_round() {
            return Err(Refusal::new(
                format!(
                    "--lease {} is too short: one heartbeat and its write take up to {}",
                    show(self.lease),
                    show(self.heartbeat_round())
                ),
                format!(
                    "write --lease {} or more",
                    show(next_second(self.heartbeat_round()))
                ),
            ));
        }
        let mut warnings = Vec::new();
        if self.visibility < self.sweep_time() {
            warnings.push(Warning::new(format!(
                "--visibility {} is shorter than the {} that lease and sweep of a dead process may take: safe, but its messages are received once more for nothing",
                show(self.visibility),
                show(self.sweep_time())
            )));
        }
        Ok(warnings)
    }
}

/// The first whole second after a length.
fn next_second(length: Duration) -> Duration {
    Duration::from_secs(length.as_secs() + 1)
}

/// A length of time as it would be written: `90s`, `5m`, `12h`, `1500ms`.
pub(super) fn show(length: Duration) -> String {
    let (seconds, millis) = (length.as_secs(), length.subsec_millis());
    match seconds {
        _ if millis != 0 => format!("{}ms", length.as_millis()),
        0 => "0s".to_owned(),
        _ if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        _ if seconds % 60 == 0 && seconds >= 300 => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}
