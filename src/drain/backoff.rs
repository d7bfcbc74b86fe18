//! Waiting longer after each failure in a row.

use std::time::Duration;

use crate::port::Clock;

/// An exponential backoff with jitter.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    /// Between `first` and `most`, doubling.
    pub fn new(first: Duration, most: Duration) -> Self {
        Self {
            first,
            most,
            failures: 0,
        }
    }

    /// Failures in a row so far.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// A success: the next failure starts small again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// The next wait: between half and all of the doubled one.
    pub fn next(&mut self, clock: &impl Clock) -> Duration {
        let full = self
            .first
            .saturating_mul(1 << self.failures.min(16))
            .min(self.most);
        self.failures += 1;
        let half = full / 2;
        let jitter = clock.random() % (half.as_millis() as u64 + 1);
        half + Duration::from_millis(jitter)
    }
}
