//! The way to the endpoint and back: a fixed time a request, half before its effect and half after.

#![expect(
    clippy::disallowed_methods,
    reason = "a network's time is real whatever the clock"
)]

use std::time::Duration;

use tokio::time::Instant;

use super::clock::Clock;

/// Added to every request. It is real time whatever the clock, as a network's is; delays that a fault rule asks for are
/// the clock's.
pub(super) struct Latency {
    clock: Clock,
    round_trip: Duration,
}

/// When a request came.
pub(super) struct Arrived(Option<Instant>);

impl Latency {
    pub fn new(clock: Clock, round_trip: Duration) -> Self {
        Self { clock, round_trip }
    }

    pub fn arrive(&self) -> Arrived {
        Arrived((!self.round_trip.is_zero()).then(Instant::now))
    }

    /// Waits until the request is there.
    pub async fn there(&self, arrived: &Arrived, extra: Duration) {
        if let Arrived(Some(at)) = arrived {
            tokio::time::sleep_until(*at + self.round_trip / 2).await;
        }
        self.delay(extra).await;
    }

    /// Waits until the answer is back. A request that waited for itself (a long poll) waits for the way back all the same.
    pub async fn back(&self, arrived: &Arrived, extra: Duration) {
        self.delay(extra).await;
        if let Arrived(Some(at)) = arrived {
            // Counted from the start where that is later: the timer's coarse grain is then paid once, not twice.
            let half_from_now = Instant::now() + self.round_trip / 2;
            let whole = *at + self.round_trip;
            let grain = Duration::from_millis(2);
            let until = if half_from_now > whole + grain {
                half_from_now
            } else {
                whole
            };
            tokio::time::sleep_until(until).await;
        }
    }

    async fn delay(&self, extra: Duration) {
        if !extra.is_zero() {
            let extra_ms = u64::try_from(extra.as_millis()).unwrap_or(u64::MAX);
            self.clock
                .sleep_until(self.clock.now_ms().saturating_add(extra_ms))
                .await;
        }
    }
}
