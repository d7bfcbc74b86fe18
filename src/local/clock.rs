//! The time the embedded endpoints live by: the system's, or one that a test moves by hand.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Utc};
use tokio::sync::watch;

/// Longest single sleep on the system clock, so that a step of the wall clock is noticed.
const LONGEST_NAP: Duration = Duration::from_secs(1);

/// Where the endpoints read the time and wait for it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Clock(Kind);

#[derive(Clone, Debug, Default)]
enum Kind {
    #[default]
    System,
    Manual(Arc<watch::Sender<u64>>),
}

impl Clock {
    /// The system's wall clock.
    pub fn system() -> Self {
        Self(Kind::System)
    }

    /// Milliseconds since the Unix epoch.
    #[expect(clippy::disallowed_methods, reason = "this is the endpoints' clock")]
    pub fn now_ms(&self) -> u64 {
        match &self.0 {
            Kind::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
            Kind::Manual(now_ms) => *now_ms.borrow(),
        }
    }

    /// Returns once [`Clock::now_ms`] is at or past `at_ms`. On a manual clock only an advance gets it there.
    #[expect(clippy::disallowed_methods, reason = "this is the endpoints' clock")]
    pub async fn sleep_until(&self, at_ms: u64) {
        match &self.0 {
            Kind::System => loop {
                let left = at_ms.saturating_sub(self.now_ms());
                if left == 0 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(left).min(LONGEST_NAP)).await;
            },
            Kind::Manual(now_ms) => {
                // `self` holds the sender, so the channel cannot close before the time has come.
                let _ = now_ms.subscribe().wait_for(|now| *now >= at_ms).await;
            }
        }
    }

    /// The time as an HTTP `Date` header (RFC 7231's IMF-fixdate).
    pub fn http_date(&self) -> String {
        http_date(self.now_ms() / 1000)
    }
}

/// An IMF-fixdate for `unix_s` seconds since the epoch.
pub(super) fn http_date(unix_s: u64) -> String {
    DateTime::<Utc>::from_timestamp(i64::try_from(unix_s).unwrap_or(i64::MAX), 0)
        .unwrap_or_default()
        .format("%a, %d %b %Y %H:%M:%S GMT")
        .to_string()
}

/// A clock that stands still until it is told to move. Advancing it wakes every long poll, delay and visibility
/// timeout that has come due.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<watch::Sender<u64>>);

impl ManualClock {
    /// A clock that stands at `now_ms` milliseconds since the Unix epoch.
    pub fn new(now_ms: u64) -> Self {
        Self(Arc::new(watch::Sender::new(now_ms)))
    }

    /// The clock to hand to the endpoints ([`super::Options::clock`]).
    pub fn clock(&self) -> Clock {
        Clock(Kind::Manual(Arc::clone(&self.0)))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let by_ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.0.send_modify(|now| *now = now.saturating_add(by_ms));
    }

    /// Milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> u64 {
        *self.0.borrow()
    }
}
