//! The real clock: the operating system's, and the service's as its answers tell it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::port::{Clock, Moment, WallTimes};

/// How far two healthy clocks may drift apart, in parts per million. Quartz stays within 100, the kernel slews by at
/// most 500 (`adjtimex(2)`); a bound is widened by this much as it ages.
const DRIFT_PPM: i64 = 600;

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// What the `Date` headers of the service's answers say about its clock.
///
/// A header `Date: D` says that somewhere between our writing the request and our reading the answer the service's
/// clock stood in `[D, D + 1 s)`: `Date` has a resolution of one second (RFC 9110, 5.6.7). Every answer so gives a
/// lower and an upper bound of the distance between the service's clock and our monotonic one, and the bounds of
/// several answers are intersected. After one answer the bounds are a second and a round trip apart, after many the
/// shortest round trip. An answer whose bounds do not meet the earlier ones replaces them: then one of the clocks was
/// set or stood still.
#[derive(Debug, Default)]
pub struct ServiceClock {
    bounds: Mutex<Option<Bounds>>,
}

/// Service clock minus monotonic clock, in nanoseconds, as known at `at`.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    lower: i64,
    upper: i64,
    at: Moment,
}

impl Bounds {
    fn aged(self, now: Moment) -> Self {
        let age = nanos(now.since(self.at));
        let drift = age / 1_000_000 * DRIFT_PPM;
        Self {
            lower: self.lower.saturating_sub(drift),
            upper: self.upper.saturating_add(drift),
            at: now,
        }
    }
}

impl ServiceClock {
    /// Takes in one answer: `date_s` is its `Date` header in seconds since the Unix epoch, `sent` a moment before the
    /// request was written, `received` a moment after the answer's head was read.
    pub fn observe(&self, date_s: i64, sent: Moment, received: Moment) {
        let Some(date) = date_s.checked_mul(NANOS_PER_SECOND) else {
            return;
        };
        let new = Bounds {
            lower: date.saturating_sub(nanos(received.0)),
            upper: date
                .saturating_add(NANOS_PER_SECOND)
                .saturating_sub(nanos(sent.0)),
            at: received,
        };
        let mut bounds = self.bounds.lock().unwrap_or_else(PoisonError::into_inner);
        *bounds = Some(match bounds.map(|old| old.aged(received)) {
            Some(old) if old.lower < new.upper && new.lower < old.upper => Bounds {
                lower: old.lower.max(new.lower),
                upper: old.upper.min(new.upper),
                at: received,
            },
            _ => new,
        });
    }

    /// The earliest and the latest time of day the service's clock can show at `now`; `None` before the first answer.
    pub fn range(&self, now: Moment) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        let bounds = *self.bounds.lock().unwrap_or_else(PoisonError::into_inner);
        let bounds = bounds?.aged(now);
        let at = |offset: i64| DateTime::from_timestamp_nanos(offset.saturating_add(nanos(now.0)));
        Some((at(bounds.lower), at(bounds.upper)))
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// The [`Clock`] of the operating system, with the service's clock beside it. Clones share what they know.
///
/// [`WallTimes::service`] is the *earliest* time the service's clock can show: a window is so never taken for open
/// before the service's clock says so. At closing this reading lags by at most [`SystemClock::service_lag`], which is
/// one second and a round trip after the first answer and shrinks to a round trip; the margin before closing covers it.
#[derive(Clone, Debug, Default)]
pub struct SystemClock {
    service: Arc<ServiceClock>,
}

impl SystemClock {
    /// The clock whose service time is told by `service`.
    pub fn new(service: Arc<ServiceClock>) -> Self {
        Self { service }
    }

    /// By how much [`WallTimes::service`] may lag behind the service's clock; `None` before the first answer.
    pub fn service_lag(&self) -> Option<TimeDelta> {
        self.service
            .range(boot_time())
            .map(|(earliest, latest)| latest - earliest)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the port to the machine's time"
)]
impl Clock for SystemClock {
    fn now(&self) -> Moment {
        boot_time()
    }

    fn wall(&self) -> WallTimes {
        WallTimes {
            local: Utc::now(),
            service: self
                .service
                .range(boot_time())
                .map(|(earliest, _)| earliest),
        }
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn random(&self) -> u64 {
        // A v4 UUID fixes six of its 128 bits; turned by half a word against each other no fixed bit meets another.
        let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
        high ^ low.rotate_left(32)
    }
}

/// Monotonic time since the machine's start, the time it was suspended included.
pub fn boot_time() -> Moment {
    // Elsewhere (a developer's macOS) CLOCK_MONOTONIC itself goes on during sleep.
    #[cfg(target_os = "linux")]
    const CLOCK: libc::clockid_t = libc::CLOCK_BOOTTIME;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid, writable timespec for the duration of the call.
    let failed = unsafe { libc::clock_gettime(CLOCK, &raw mut time) } != 0;
    // clock_gettime(2) fails only for an unknown clock or a bad pointer; Linux has this clock since 2.6.39.
    assert!(!failed, "the operating system has no CLOCK_BOOTTIME");
    Moment(Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Moment {
        Moment(Duration::from_millis(ms))
    }

    fn range_ms(clock: &ServiceClock, now: Moment) -> (i64, i64) {
        let (earliest, latest) = clock.range(now).expect("an answer was observed");
        (earliest.timestamp_millis(), latest.timestamp_millis())
    }

    #[test]
    fn unknown_before_the_first_answer() {
        assert_eq!(ServiceClock::default().range(ms(5)), None);
        let wall = SystemClock::default().wall();
        assert_eq!(wall.service, None);
    }

    #[test]
    fn one_answer_bounds_the_clock_by_a_second_and_the_round_trip() {
        let clock = ServiceClock::default();
        clock.observe(1_000, ms(500), ms(700));
        // At the answer the service showed at least 1000 s, and at most 1001 s plus the 200 ms since the request.
        assert_eq!(range_ms(&clock, ms(700)), (1_000_000, 1_001_200));
    }

    #[test]
    fn a_long_poll_does_not_make_the_lower_bound_late() {
        let clock = ServiceClock::default();
        clock.observe(1_000, ms(0), ms(20_000));
        assert_eq!(range_ms(&clock, ms(20_000)).0, 1_000_000);
    }

    #[test]
    fn many_answers_narrow_the_bounds_to_the_round_trip() {
        let clock = ServiceClock::default();
        // The service's clock is 5,000.25 s ahead of ours; an answer every 10 ms, 4 ms each way.
        let mut last = 0;
        for i in 0..200 {
            let sent = i * 10;
            let service_ms = 5_000_250 + sent + 4;
            clock.observe((service_ms / 1000) as i64, ms(sent), ms(sent + 8));
            last = sent + 8;
        }
        let (earliest, latest) = range_ms(&clock, ms(last));
        let truth = 5_000_250 + last as i64;
        assert!(
            earliest <= truth && truth <= latest,
            "{earliest} {truth} {latest}"
        );
        assert!(latest - earliest <= 30, "{}", latest - earliest);
    }

    #[test]
    fn a_clock_that_was_set_replaces_what_was_known() {
        let clock = ServiceClock::default();
        clock.observe(1_000, ms(0), ms(10));
        clock.observe(9_000, ms(20), ms(30));
        assert_eq!(range_ms(&clock, ms(30)).0, 9_000_000);
        clock.observe(1_000, ms(40), ms(50));
        assert_eq!(range_ms(&clock, ms(50)).0, 1_000_000);
    }

    #[test]
    fn bounds_widen_with_age() {
        let clock = ServiceClock::default();
        clock.observe(1_000, ms(0), ms(0));
        let (earliest, latest) = range_ms(&clock, ms(10_000_000));
        assert_eq!(earliest, 11_000_000 - 6_000);
        assert_eq!(latest, 11_001_000 + 6_000);
    }

    #[test]
    fn absurd_dates_do_not_overflow() {
        let clock = ServiceClock::default();
        clock.observe(i64::MAX, ms(0), ms(1));
        assert_eq!(clock.range(ms(1)), None);
        clock.observe(9_000_000_000, ms(0), ms(1));
        assert!(clock.range(Moment(Duration::MAX)).is_some());
    }

    #[test]
    fn boot_time_is_monotonic() {
        let first = boot_time();
        assert!(boot_time() >= first);
        assert!(first > Moment::default());
    }

    #[test]
    fn random_bits_all_vary() {
        let clock = SystemClock::default();
        let (mut ones, mut zeros) = (0, 0);
        for _ in 0..200 {
            let bits = clock.random();
            ones |= bits;
            zeros |= !bits;
        }
        assert_eq!((ones, zeros), (u64::MAX, u64::MAX));
    }
}
