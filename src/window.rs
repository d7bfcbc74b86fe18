//! The hours in which sending is allowed: civil time in an IANA zone.
//!
//! A window is a set of half-open spans `[08:00, 21:00)` of wall-clock time,
//! by weekday, any number a day. Spans that touch or overlap are one opening.
//! This module is pure, and the only one that knows time zones.
//!
//! # Midnight
//! A span whose end is not after its start crosses midnight: `21:00-08:00` on
//! Monday ends on Tuesday at 08:00. `24:00` may stand as an end.
//!
//! # Holidays
//! On a holiday only the `holiday_windows` are open (none given: shut). The
//! day is shut from its first to its last moment: a span of the day before
//! that crosses midnight is cut at 00:00, and a span that would begin on the
//! holiday does not take place, its tail of the next morning included.
//!
//! # When the clocks change
//! Neighbouring spans are merged on the wall clock first, so only the edges of
//! an opening can meet a clock change. Sending once too early or too late
//! cannot be taken back, waiting an hour can; so every edge is read the way
//! that sends less:
//!
//! * an edge at a time that the clocks skip (a gap) is at the first instant
//!   after the gap, for an opening and for a closing alike; a closing there is
//!   the same instant as the last one before the gap, since spans are half-open;
//! * an edge at a time that comes twice (a fold) is the *later* instant for an
//!   opening and the *earlier* one for a closing. A span that lies wholly in
//!   a fold may so come out empty: it does not open on that day.
//!
//! A time zone without clock changes (Asia/Seoul) is not touched by any of it.
//!
//! # Always
//! A window without a shut moment in its week (`always`, `00:00-24:00`) has no
//! opening to be named after; its openings are civil days.

mod civil;
mod explain;
mod spec;
mod text;
mod together;

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, Offset, TimeZone, Utc};
use chrono_tz::Tz;

pub use explain::too_late;

use civil::{closing_instant, midnight, opening_instant};
use spec::Weekly;

/// A civil window in a time zone; see the module for what its rules mean.
#[derive(Clone, Debug)]
pub struct Window {
    zone: Tz,
    weekly: Weekly,
    holidays: BTreeSet<NaiveDate>,
    on_holidays: Weekly,
    /// The weekly spans leave no moment shut: openings are civil days.
    full: bool,
}

/// Whether the window is open at an instant, and until or from when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Sending is allowed.
    Open {
        /// When this opening began; for a window that is always open, when the
        /// civil day (or, after a holiday, the opening) began.
        opened_at: DateTime<Utc>,
        /// The first instant at which it is shut again; `None`: never.
        closes_at: Option<DateTime<Utc>>,
    },
    /// Sending is not allowed.
    Shut {
        /// The next opening; `None`: never again.
        opens_at: Option<DateTime<Utc>>,
    },
}

/// Why a window's text cannot be understood. Displays as one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// The zone is not in the IANA database.
    #[error("{zone:?} is not a time zone{}", did_you_mean(.nearest))]
    Zone {
        /// The text as given.
        zone: String,
        /// The nearest zone name, when one is near.
        nearest: Option<String>,
    },
    /// A span is not written as `08:00-21:00`.
    #[error(
        "{text:?} is not a window: write it like \"08:00-21:00\", \"mon-fri 10:00-13:00\" or \"always\""
    )]
    Span {
        /// The text as given.
        text: String,
    },
    /// A weekday is not one.
    #[error("{day:?} is not a weekday: write mon, tue, wed, thu, fri, sat, sun or daily")]
    Day {
        /// The text as given.
        day: String,
    },
    /// A span has no length, or a whole day's; the text does not tell which.
    #[error(
        "{text:?} begins and ends at the same time: write \"00:00-24:00\" for the whole day, or another end"
    )]
    Empty {
        /// The text as given.
        text: String,
    },
    /// A span without days follows one with days in the same text.
    #[error(
        "{text:?} does not say on which days: put days before every span, such as \"daily {text}\""
    )]
    DaysMissing {
        /// The span as given.
        text: String,
    },
    /// A holiday is not a date.
    #[error("{text:?} is not a date: write it like \"2026-12-25\"")]
    Holiday {
        /// The text as given.
        text: String,
    },
}

fn did_you_mean(nearest: &Option<String>) -> String {
    match nearest {
        Some(name) => format!(": did you mean {name}?"),
        None => ": write an IANA name like Asia/Seoul".to_owned(),
    }
}

/// One edge of an opening: the wall-clock time it was meant at, and when it is.
#[derive(Clone, Copy, Debug)]
struct Edge {
    civil: NaiveDateTime,
    at: DateTime<Utc>,
}

/// One opening, from its first instant to the first one after it.
#[derive(Clone, Copy, Debug)]
struct Opening {
    from: Edge,
    to: Edge,
}

/// How far (in days) a search looks first: enough for a daily window. A weekly
/// one without holidays has all its edges within eight days.
const FIRST_REACH_DAYS: u64 = 2;

impl Window {
    /// Reads a window.
    ///
    /// `specs` are texts such as `08:00-21:00`, `mon-fri 10:00-13:00`,
    /// `sat,sun 10:00-18:00`, `daily 21:00-08:00` or `always`; a text may hold
    /// several, separated by commas. `zone` is an IANA name, `holidays` are
    /// dates (`2026-12-25`), `holiday_windows` are the spans open on them. No
    /// specs at all give a window that never opens ([`Window::never_opens`]).
    ///
    /// # Errors
    /// [`WindowError`], which names the text that cannot be understood.
    pub fn parse(
        specs: &[String],
        zone: &str,
        holidays: &[String],
        holiday_windows: &[String],
    ) -> Result<Window, WindowError> {
        let zone = spec::zone(zone)?;
        let weekly = Weekly::parse(specs)?;
        let on_holidays = Weekly::parse(holiday_windows)?;
        let holidays = holidays
            .iter()
            .map(|text| spec::date(text))
            .collect::<Result<_, _>>()?;
        let full = weekly.is_full();
        Ok(Window {
            zone,
            weekly,
            holidays,
            on_holidays,
            full,
        })
    }

    /// The window that is always open, its days counted in UTC.
    pub fn always() -> Window {
        Window {
            zone: Tz::UTC,
            weekly: Weekly::full(),
            holidays: BTreeSet::new(),
            on_holidays: Weekly::default(),
            full: true,
        }
    }

    /// Whether the text describes a week without a shut moment, for which the
    /// zone only decides where one civil day ends.
    ///
    /// # Errors
    /// As [`Window::parse`].
    pub fn covers_whole_week(specs: &[String]) -> Result<bool, WindowError> {
        Ok(Weekly::parse(specs)?.is_full())
    }

    /// The name of the window's time zone.
    pub fn zone(&self) -> &'static str {
        self.zone.name()
    }

    /// Whether the week has no shut moment (holidays apart).
    pub fn is_always(&self) -> bool {
        self.full
    }

    /// Whether there is no opening at `at` or after it.
    pub fn never_opens(&self, at: DateTime<Utc>) -> bool {
        self.state_at(at) == State::Shut { opens_at: None }
    }

    /// Whether the window is open at `at`, since when and until when.
    pub fn state_at(&self, at: DateTime<Utc>) -> State {
        match self.around(at) {
            (Some(opening), _) => State::Open {
                opened_at: opening.0,
                closes_at: opening.1,
            },
            (None, next) => State::Shut {
                opens_at: next.map(|edge| edge.at),
            },
        }
    }

    /// The id of the run of `route` that a process started at `at` belongs to, or would belong to if it waited: `given`, or else
    /// `route@opening`. `None` when nothing opens any more.
    pub fn run_id(&self, route: &str, given: Option<&str>, at: DateTime<Utc>) -> Option<String> {
        match given {
            Some(run_id) => Some(run_id.to_owned()),
            None => Some(format!("{route}@{}", self.opening_id(at)?)),
        }
    }

    /// The name of the opening that holds `at`, or else of the next one; it is
    /// the run's identity within its route: `2026-11-23T08:00+09:00`, and the
    /// civil day `2026-11-23` for a window that is always open. `None` when
    /// nothing opens any more.
    pub fn opening_id(&self, at: DateTime<Utc>) -> Option<String> {
        let begin = match self.state_at(at) {
            State::Open { opened_at, .. } => opened_at,
            State::Shut { opens_at } => opens_at?,
        };
        let local = begin.with_timezone(&self.zone);
        Some(if self.full {
            local.format("%Y-%m-%d").to_string()
        } else {
            local.format("%Y-%m-%dT%H:%M%:z").to_string()
        })
    }

    /// The next openings that begin after `at`, at most `count`, each with its
    /// closing. Empty for a window that is always open.
    pub fn next_openings(
        &self,
        at: DateTime<Utc>,
        count: usize,
    ) -> Vec<(DateTime<Utc>, Option<DateTime<Utc>>)> {
        let mut openings = Vec::new();
        let mut from = match self.state_at(at) {
            State::Open {
                closes_at: Some(closes_at),
                ..
            } => closes_at,
            State::Open {
                closes_at: None, ..
            } => return openings,
            State::Shut { .. } => at,
        };
        while openings.len() < count {
            let State::Shut {
                opens_at: Some(opens_at),
            } = self.state_at(from)
            else {
                break;
            };
            let closes_at = match self.state_at(opens_at) {
                State::Open { closes_at, .. } => closes_at,
                State::Shut { .. } => break,
            };
            openings.push((opens_at, closes_at));
            match closes_at {
                Some(closes_at) => from = closes_at,
                None => break,
            }
        }
        openings
    }

    /// The longest opening the window ever has, on the wall clock; `None`:
    /// without end. Zero when it never opens.
    pub fn longest_opening(&self) -> Option<Duration> {
        if self.full {
            return None;
        }
        // An ordinary stretch of weeks, and the surroundings of each holiday.
        let Some(monday) = NaiveDate::from_ymd_opt(2024, 1, 1) else {
            return Some(Duration::ZERO);
        };
        let ordinary = Window {
            holidays: BTreeSet::new(),
            ..self.clone()
        };
        let mut spans = ordinary.civil_spans(monday, monday + Days::new(21));
        for holiday in &self.holidays {
            let (first, last) = (*holiday - Days::new(10), *holiday + Days::new(10));
            spans.extend(self.civil_spans(first, last));
        }
        let longest = spans.iter().map(|(from, to)| *to - *from).max();
        Some(
            longest
                .and_then(|length| length.to_std().ok())
                .unwrap_or_default(),
        )
    }

    /// The longest time the window stays shut within the 400 days after
    /// `from`: what a queue that fills meanwhile has to keep.
    pub fn longest_shut(&self, from: DateTime<Utc>) -> Duration {
        let end = from + chrono::Duration::days(400);
        let mut longest = chrono::Duration::zero();
        let mut at = from;
        while at < end {
            match self.state_at(at) {
                State::Open {
                    closes_at: Some(closes_at),
                    ..
                } => at = closes_at,
                State::Open {
                    closes_at: None, ..
                } => break,
                State::Shut { opens_at } => {
                    let until = opens_at.unwrap_or(end);
                    longest = longest.max(until - at);
                    at = until;
                }
            }
        }
        longest.to_std().unwrap_or_default()
    }

    /// The instant of a wall-clock time in the window's zone, read as an
    /// opening is: after a gap, and the later of two.
    pub fn instant_of(&self, civil: NaiveDateTime) -> DateTime<Utc> {
        opening_instant(self.zone, civil)
    }

    /// An instant in the window's zone, for people:
    /// `Mon 2026-11-23 08:00 +09:00 (Asia/Seoul)`.
    pub fn describe(&self, at: DateTime<Utc>) -> String {
        format!("{} ({})", self.local(at), self.zone())
    }

    fn local(&self, at: DateTime<Utc>) -> String {
        let local = at.with_timezone(&self.zone);
        let seconds = if at.timestamp() % 60 == 0 { "" } else { ":%S" };
        local
            .format(&format!("%a %Y-%m-%d %H:%M{seconds} %:z"))
            .to_string()
    }

    fn offset_s(&self, at: DateTime<Utc>) -> i32 {
        self.zone
            .offset_from_utc_datetime(&at.naive_utc())
            .fix()
            .local_minus_utc()
    }

    fn holiday(&self, date: NaiveDate) -> bool {
        self.holidays.contains(&date)
    }

    /// The opening that holds `at` (its begin and end), and the begin of the next.
    #[allow(clippy::type_complexity)]
    fn around(
        &self,
        at: DateTime<Utc>,
    ) -> (Option<(DateTime<Utc>, Option<DateTime<Utc>>)>, Option<Edge>) {
        let at = civil::within_calendar(at);
        let date = at.with_timezone(&self.zone).date_naive();
        // Each shut week between two openings needs a holiday to explain it.
        let furthest = 8 * (self.holidays.len() as u64 + 4);
        let mut reach = FIRST_REACH_DAYS;
        loop {
            let first = date - Days::new(reach);
            let last = date + Days::new(reach);
            let openings = self.openings(first, last);
            let holding = openings.iter().find(|o| o.from.at <= at && at < o.to.at);
            let next = openings.iter().find(|o| o.from.at > at).map(|o| o.from);
            let exhausted = reach >= furthest;
            match holding {
                None if next.is_some() || exhausted => return (None, next),
                Some(opening) if self.full => {
                    let day = closing_instant(self.zone, midnight(date));
                    let begin = opening.from.at.max(day);
                    return (Some((begin, self.end_of_full(at, date))), None);
                }
                Some(opening) => {
                    let begins = opening.from.civil > midnight(first);
                    let ends = opening.to.civil < midnight(last);
                    if (begins && ends) || exhausted {
                        let end = ends.then_some(opening.to.at);
                        return (Some((opening.from.at, end)), None);
                    }
                }
                None => {}
            }
            reach = (reach * 4).min(furthest);
        }
    }

    /// When a window that only holidays shut is shut next: at an edge on one of
    /// them, since every other day is open throughout.
    fn end_of_full(&self, at: DateTime<Utc>, date: NaiveDate) -> Option<DateTime<Utc>> {
        let from = date - Days::new(1);
        self.holidays.range(from..).find_map(|holiday| {
            let after = midnight(*holiday + Days::new(2));
            self.openings(*holiday - Days::new(2), *holiday + Days::new(2))
                .iter()
                .find(|opening| opening.to.at > at && opening.to.civil <= after)
                .map(|opening| opening.to.at)
        })
    }

    /// All openings around the days `first..=last`. One that reaches out of
    /// these days may be longer than told here.
    fn openings(&self, first: NaiveDate, last: NaiveDate) -> Vec<Opening> {
        // Two more days on either side: one for spans over midnight, one for
        // zones that skipped a whole day.
        let spans = self.civil_spans(first - Days::new(2), last + Days::new(2));
        let mut openings: Vec<Opening> = Vec::with_capacity(spans.len());
        for (start, end) in spans {
            let from = Edge {
                civil: start,
                at: opening_instant(self.zone, start),
            };
            let to = Edge {
                civil: end,
                at: closing_instant(self.zone, end),
            };
            if from.at >= to.at {
                continue;
            }
            match openings.last_mut() {
                // Two spans with nothing but a gap between them.
                Some(before) if from.at <= before.to.at => before.to = to,
                _ => openings.push(Opening { from, to }),
            }
        }
        openings
    }

    /// The spans of the days `first..=last` on the wall clock, merged.
    fn civil_spans(
        &self,
        first: NaiveDate,
        last: NaiveDate,
    ) -> Vec<(NaiveDateTime, NaiveDateTime)> {
        let mut spans = Vec::new();
        for day in first.iter_days().take_while(|day| *day <= last) {
            let base = midnight(day);
            let holiday = self.holiday(day);
            let cut = !holiday && self.holiday(day + Days::new(1));
            let week = if holiday {
                &self.on_holidays
            } else {
                &self.weekly
            };
            for span in week.on(day) {
                let end_min = if cut {
                    span.end_min.min(spec::DAY_MIN)
                } else {
                    span.end_min
                };
                spans.push((
                    base + chrono::Duration::minutes(span.start_min.into()),
                    base + chrono::Duration::minutes(end_min.into()),
                ));
            }
        }
        spans.sort();
        let mut merged: Vec<(NaiveDateTime, NaiveDateTime)> = Vec::with_capacity(spans.len());
        for (start, end) in spans {
            match merged.last_mut() {
                Some(before) if start <= before.1 => before.1 = before.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        merged
    }
}

#[cfg(test)]
mod tests;
