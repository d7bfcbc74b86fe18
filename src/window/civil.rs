//! From wall-clock time to instants.

use chrono::offset::LocalResult;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Utc};
use chrono_tz::Tz;

/// 00:00 of a civil day.
pub(super) fn midnight(date: NaiveDate) -> NaiveDateTime {
    date.and_time(NaiveTime::MIN)
}

/// The instant at which an opening at this wall-clock time begins: the later
/// one when it comes twice, the first one after the gap when it does not come.
pub(super) fn opening_instant(zone: Tz, civil: NaiveDateTime) -> DateTime<Utc> {
    match zone.from_local_datetime(&civil) {
        LocalResult::Single(at) => at.to_utc(),
        LocalResult::Ambiguous(a, b) => a.max(b).to_utc(),
        LocalResult::None => first_after_gap(zone, civil),
    }
}

/// The instant at which an opening that closes at this wall-clock time ends:
/// the earlier one when it comes twice, the gap's when it does not come.
pub(super) fn closing_instant(zone: Tz, civil: NaiveDateTime) -> DateTime<Utc> {
    match zone.from_local_datetime(&civil) {
        LocalResult::Single(at) => at.to_utc(),
        LocalResult::Ambiguous(a, b) => a.min(b).to_utc(),
        LocalResult::None => first_after_gap(zone, civil),
    }
}

/// The first instant whose wall-clock time is past `civil`, which the clocks
/// skip. Offsets lie within 26 hours (UTC+14 and UTC-12), so the instant lies
/// within that of `civil` read as UTC.
fn first_after_gap(zone: Tz, civil: NaiveDateTime) -> DateTime<Utc> {
    const REACH_S: i64 = 26 * 3600;
    let reads = |at_s: i64| {
        DateTime::from_timestamp(at_s, 0).map(|at| at.with_timezone(&zone).naive_local())
    };
    let (mut before, mut after) = (
        civil.and_utc().timestamp() - REACH_S,
        civil.and_utc().timestamp() + REACH_S,
    );
    while after - before > 1 {
        let middle = before + (after - before) / 2;
        match reads(middle) {
            Some(local) if local < civil => before = middle,
            _ => after = middle,
        }
    }
    DateTime::from_timestamp(after, 0).unwrap_or_else(|| civil.and_utc())
}

/// Keeps an instant within years that have room on either side for a search.
pub(super) fn within_calendar(at: DateTime<Utc>) -> DateTime<Utc> {
    const YEAR_1_S: i64 = -62_135_596_800;
    const YEAR_9999_S: i64 = 253_370_764_800;
    let (first, last) = (
        DateTime::from_timestamp(YEAR_1_S, 0).unwrap_or(at),
        DateTime::from_timestamp(YEAR_9999_S, 0).unwrap_or(at),
    );
    at.clamp(first, last)
}
