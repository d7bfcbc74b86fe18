//! Why a window is open or shut, in words.

use std::fmt::Write as _;
use std::time::Duration;

use chrono::{DateTime, Datelike, NaiveTime, Utc, Weekday};

use super::spec::{DAY_MIN, Weekly};
use super::{Edge, State, Window};

const WEEK: [Weekday; 7] = [
    Weekday::Mon,
    Weekday::Tue,
    Weekday::Wed,
    Weekday::Thu,
    Weekday::Fri,
    Weekday::Sat,
    Weekday::Sun,
];

impl Window {
    /// Why the window is open or shut at `at`: the zone and its local time,
    /// the rule, this opening or the next ones, holidays and clock changes.
    /// Several lines, each a sentence.
    pub fn explain(&self, at: DateTime<Utc>) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_explanation(at, &mut text);
        text
    }

    fn write_explanation(&self, at: DateTime<Utc>, out: &mut String) -> std::fmt::Result {
        let today = at.with_timezone(&self.zone).date_naive();
        writeln!(
            out,
            "In {} it is {} (UTC {}).",
            self.zone(),
            self.local(at),
            utc(at)
        )?;
        writeln!(out, "The window is {}.", self.rule())?;
        if self.holiday(today) {
            writeln!(out, "{today} is a holiday.")?;
        }
        match self.state_at(at) {
            State::Open {
                opened_at,
                closes_at,
            } => {
                write!(out, "It is open since {}", self.local(opened_at))?;
                match closes_at {
                    Some(closes_at) => {
                        let left = for_people(closes_at - at);
                        writeln!(out, " and closes in {left}, at {}.", self.local(closes_at))?;
                    }
                    None => writeln!(out, " and does not close.")?,
                }
            }
            State::Shut {
                opens_at: Some(opens_at),
            } => {
                let left = for_people(opens_at - at);
                writeln!(
                    out,
                    "It is shut and opens in {left}, at {}.",
                    self.local(opens_at)
                )?;
            }
            State::Shut { opens_at: None } => {
                writeln!(out, "It is shut and never opens again.")?;
            }
        }
        if let Some(id) = self.opening_id(at) {
            writeln!(out, "A run of this opening is named ROUTE@{id}.")?;
        }
        for (opens_at, closes_at) in self.next_openings(at, 3) {
            write!(out, "Then open from {}", self.local(opens_at))?;
            match closes_at {
                Some(closes_at) => writeln!(out, " to {}.", self.local(closes_at))?,
                None => writeln!(out, " on.")?,
            }
        }
        if let Some(holiday) = self.holidays.range(today..).find(|date| **date > today) {
            writeln!(out, "The next holiday is {} {holiday}.", holiday.weekday())?;
        }
        self.write_clock_change(at, out)
    }

    /// The next clock change, and the edges of openings that it moves.
    fn write_clock_change(&self, at: DateTime<Utc>, out: &mut String) -> std::fmt::Result {
        let Some((change_at, before_s, after_s)) = self.next_clock_change(at) else {
            return writeln!(out, "The clocks do not change within the next 400 days.");
        };
        let way = if after_s > before_s {
            "forward"
        } else {
            "back"
        };
        let by = for_people(chrono::Duration::seconds(i64::from(
            (after_s - before_s).abs(),
        )));
        writeln!(
            out,
            "The clocks go {way} by {by} at {}.",
            self.local(change_at)
        )?;
        let day = change_at.with_timezone(&self.zone).date_naive();
        for opening in self.openings(day, day) {
            for (edge, verb) in [(opening.from, "opens"), (opening.to, "closes")] {
                if let Some(reason) = self.moved_by(edge, change_at, before_s, after_s) {
                    writeln!(
                        out,
                        "On {day} {} {reason}: the window {verb} at {}.",
                        edge.civil.time().format("%H:%M"),
                        self.local(edge.at),
                    )?;
                }
            }
        }
        Ok(())
    }

    /// Whether a clock change makes an edge's wall-clock time one that does
    /// not come, or comes twice.
    fn moved_by(
        &self,
        edge: Edge,
        change_at: DateTime<Utc>,
        before_s: i32,
        after_s: i32,
    ) -> Option<&'static str> {
        let wall =
            |offset_s: i32| change_at.naive_utc() + chrono::Duration::seconds(i64::from(offset_s));
        let (old, new) = (wall(before_s), wall(after_s));
        if (old..new).contains(&edge.civil) {
            Some("does not come")
        } else if (new..old).contains(&edge.civil) {
            Some("comes twice")
        } else {
            None
        }
    }

    /// The first change of the zone's offset within 400 days after `at`, with
    /// the offsets before and after it in seconds east of UTC.
    fn next_clock_change(&self, at: DateTime<Utc>) -> Option<(DateTime<Utc>, i32, i32)> {
        let at = super::civil::within_calendar(at);
        let before_s = self.offset_s(at);
        for day in 0..400 {
            let later = at + chrono::Duration::days(day + 1);
            if self.offset_s(later) == before_s {
                continue;
            }
            let (mut same, mut changed) = (at.timestamp() + day * 86_400, later.timestamp());
            while changed - same > 1 {
                let middle = same + (changed - same) / 2;
                let offset_s = self.offset_s(DateTime::from_timestamp(middle, 0)?);
                if offset_s == before_s {
                    same = middle;
                } else {
                    changed = middle;
                }
            }
            let change_at = DateTime::from_timestamp(changed, 0)?;
            return Some((change_at, before_s, self.offset_s(change_at)));
        }
        None
    }

    /// The window's rule as one phrase.
    pub fn rule(&self) -> String {
        let mut rule = if self.full {
            "always open".to_owned()
        } else {
            weekly_rule(&self.weekly)
                .map_or("never open".to_owned(), |spans| format!("open {spans}"))
        };
        if !self.holidays.is_empty() {
            let on_holidays = weekly_rule(&self.on_holidays).unwrap_or("not at all".to_owned());
            let count = self.holidays.len();
            let noun = if count == 1 { "holiday" } else { "holidays" };
            rule += &format!(", on {count} {noun} {on_holidays}");
        }
        rule
    }
}

/// `mon-fri 10:00-13:00, sat-sun 10:00-18:00`. `None` when there are no spans.
fn weekly_rule(weekly: &Weekly) -> Option<String> {
    let told: Vec<String> = groups(weekly)
        .iter()
        .map(|(days, spans)| format!("{days} {}", spans.join(" and ")))
        .collect();
    (!told.is_empty()).then(|| told.join(", "))
}

/// The days of the week that have spans, each with them; neighbouring days with the same spans are told together.
pub(super) fn groups(weekly: &Weekly) -> Vec<(String, Vec<String>)> {
    let mut groups: Vec<(Weekday, Weekday, Vec<String>)> = Vec::new();
    for day in WEEK {
        let spans: Vec<String> = weekly
            .of(day)
            .iter()
            .map(|span| format!("{}-{}", clock(span.start_min), clock(span.end_min)))
            .collect();
        match groups.last_mut() {
            Some(group) if group.2 == spans => group.1 = day,
            _ => groups.push((day, day, spans)),
        }
    }
    groups.retain(|(_, _, spans)| !spans.is_empty());
    let named = |(first, last, spans)| {
        let days = match (first, last) {
            (Weekday::Mon, Weekday::Sun) => "daily".to_owned(),
            _ if first == last => short(first),
            _ => format!("{}-{}", short(first), short(last)),
        };
        (days, spans)
    };
    groups.into_iter().map(named).collect()
}

fn short(day: Weekday) -> String {
    day.to_string().to_lowercase()
}

/// A minute of a span as a clock shows it; the end of a day is `24:00`.
fn clock(minute: u16) -> String {
    let shown = if minute > DAY_MIN {
        minute - DAY_MIN
    } else {
        minute
    };
    format!("{:02}:{:02}", shown / 60, shown % 60)
}

fn utc(at: DateTime<Utc>) -> String {
    let midnight = at.time() == NaiveTime::MIN;
    let format = if midnight {
        "%Y-%m-%dT00:00Z"
    } else {
        "%Y-%m-%dT%H:%M:%SZ"
    };
    at.format(format).to_string()
}

/// Why a run may not be begun any more, if so: the window opened longer than `within` (`--start-within`) before `now`.
pub fn too_late(opened_at: DateTime<Utc>, now: DateTime<Utc>, within: Duration) -> Option<String> {
    let late = now - opened_at;
    let within = chrono::Duration::from_std(within).unwrap_or(chrono::TimeDelta::MAX);
    (late > within).then(|| {
        format!(
            "too late to begin: the window opened {} ago, and a run may be begun within {} (--start-within)",
            for_people(late),
            for_people(within)
        )
    })
}

/// A length of time in its two largest units: `2 d 3 h`, `48 min`, `20 s`.
pub(super) fn for_people(length: chrono::Duration) -> String {
    let total_s = length.num_seconds().max(0);
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let mut rest = total_s;
    let mut parts = Vec::new();
    for (unit_s, name) in units {
        let count = rest / unit_s;
        rest %= unit_s;
        if count > 0 {
            parts.push(format!("{count} {name}"));
        } else if !parts.is_empty() {
            break;
        }
        if parts.len() == 2 {
            break;
        }
    }
    if parts.is_empty() {
        "0 s".to_owned()
    } else {
        parts.join(" ")
    }
}
