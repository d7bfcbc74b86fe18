//! The text of a window: weekdays, spans, zones and dates.

use std::ops::RangeInclusive;

use chrono::{Datelike, NaiveDate, Weekday};
use chrono_tz::{TZ_VARIANTS, Tz};

use super::WindowError;

/// Minutes of a civil day.
pub(super) const DAY_MIN: u16 = 24 * 60;

/// A span of a day in minutes after its midnight; past [`DAY_MIN`] when it
/// crosses midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) start_min: u16,
    pub(super) end_min: u16,
}

/// The spans of each weekday, Monday first, by the day on which they begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Weekly([Vec<Span>; 7]);

const WHOLE_DAY: Span = Span {
    start_min: 0,
    end_min: DAY_MIN,
};

impl Weekly {
    /// Every day, all day.
    pub(super) fn full() -> Weekly {
        Weekly(std::array::from_fn(|_| vec![WHOLE_DAY]))
    }

    /// Reads a list of texts, each of which may hold several spans.
    pub(super) fn parse(specs: &[String]) -> Result<Weekly, WindowError> {
        let mut weekly = Weekly::default();
        for spec in specs {
            weekly.add(spec)?;
        }
        for spans in &mut weekly.0 {
            spans.sort();
            spans.dedup();
        }
        Ok(weekly)
    }

    /// The spans that begin on a day, in order.
    pub(super) fn on(&self, day: NaiveDate) -> &[Span] {
        &self.0[day.weekday().num_days_from_monday() as usize]
    }

    pub(super) fn of(&self, weekday: Weekday) -> &[Span] {
        &self.0[weekday.num_days_from_monday() as usize]
    }

    /// Whether no minute of the week is left out.
    pub(super) fn is_full(&self) -> bool {
        let week_min = 7 * usize::from(DAY_MIN);
        let mut open = vec![false; week_min];
        for (day, spans) in self.0.iter().enumerate() {
            for span in spans {
                for minute in span.start_min..span.end_min {
                    let index = day * usize::from(DAY_MIN) + usize::from(minute);
                    open[index % week_min] = true;
                }
            }
        }
        open.into_iter().all(|minute| minute)
    }

    /// Adds one text. A comma separates spans and days alike, so a piece
    /// without a time is a day of the span that follows it.
    fn add(&mut self, text: &str) -> Result<(), WindowError> {
        let mut days: Vec<usize> = Vec::new();
        let mut days_named = false;
        let mut ends_open = true;
        for piece in text.split(',') {
            let piece = piece.trim();
            let lower = piece.to_ascii_lowercase();
            ends_open = false;
            if lower == "always" {
                if !days.is_empty() {
                    return Err(WindowError::Span {
                        text: text.trim().to_owned(),
                    });
                }
                *self = Weekly::full();
                continue;
            }
            let time_at = lower
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(lower.len());
            let (day_text, time_text) = lower.split_at(time_at);
            let day_text = day_text.trim();
            if !day_text.is_empty() {
                days.extend(parse_days(day_text, piece)?);
            }
            if time_text.is_empty() {
                if day_text.is_empty() {
                    return Err(WindowError::Span {
                        text: text.trim().to_owned(),
                    });
                }
                ends_open = true;
                continue;
            }
            if days.is_empty() {
                if days_named {
                    return Err(WindowError::DaysMissing {
                        text: piece.to_owned(),
                    });
                }
                days.extend(0..7);
            } else {
                days_named = true;
            }
            let span = parse_span(time_text, piece)?;
            for day in days.drain(..) {
                self.0[day].push(span);
            }
        }
        if ends_open {
            return Err(WindowError::Span {
                text: text.trim().to_owned(),
            });
        }
        Ok(())
    }
}

/// `mon`, `monday`, `mon-fri`, `sat-mon` (over the week's end) or `daily`.
fn parse_days(text: &str, piece: &str) -> Result<Vec<usize>, WindowError> {
    if text == "daily" {
        return Ok((0..7).collect());
    }
    let day = |name: &str| {
        let name = name.trim();
        // chrono takes `mon` and `monday`.
        name.parse::<Weekday>()
            .map(|weekday| weekday.num_days_from_monday() as usize)
            .map_err(|_| match name.is_empty() {
                true => WindowError::Span {
                    text: piece.to_owned(),
                },
                false => WindowError::Day {
                    day: name.to_owned(),
                },
            })
    };
    match text.split_once('-') {
        None => Ok(vec![day(text)?]),
        Some((first, last)) => {
            let (first, last) = (day(first)?, day(last)?);
            let length = (last + 7 - first) % 7;
            Ok((0..=length).map(|step| (first + step) % 7).collect())
        }
    }
}

/// `08:00-21:00`, `21:00-08:00` or `00:00-24:00`.
fn parse_span(text: &str, piece: &str) -> Result<Span, WindowError> {
    let not_a_span = || WindowError::Span {
        text: piece.to_owned(),
    };
    let (start, end) = text.split_once('-').ok_or_else(not_a_span)?;
    let start_min = parse_time(start.trim()).ok_or_else(not_a_span)?;
    let mut end_min = parse_time(end.trim()).ok_or_else(not_a_span)?;
    if start_min == DAY_MIN {
        return Err(not_a_span());
    }
    if start_min == end_min {
        return Err(WindowError::Empty {
            text: text.to_owned(),
        });
    }
    if end_min < start_min {
        end_min += DAY_MIN;
    }
    Ok(Span { start_min, end_min })
}

/// Minutes after midnight of `8:00`, `08:00` or `24:00`.
fn parse_time(text: &str) -> Option<u16> {
    let number = |digits: &str, lengths: RangeInclusive<usize>| {
        let digits_only = digits.bytes().all(|byte| byte.is_ascii_digit());
        (digits_only && lengths.contains(&digits.len())).then(|| digits.parse::<u16>().ok())?
    };
    let (hours, minutes) = text.split_once(':')?;
    let (hours, minutes) = (number(hours, 1..=2)?, number(minutes, 2..=2)?);
    let total = hours * 60 + minutes;
    (minutes < 60 && total <= DAY_MIN).then_some(total)
}

/// A date, `2026-12-25`.
pub(super) fn date(text: &str) -> Result<NaiveDate, WindowError> {
    let text = text.trim();
    let error = || WindowError::Holiday {
        text: text.to_owned(),
    };
    // Four digits of year, so that every date leaves room for a search.
    if text.len() != 10 || text.starts_with(['+', '-']) {
        return Err(error());
    }
    NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| error())
}

/// A time zone by its IANA name.
pub(super) fn zone(text: &str) -> Result<Tz, WindowError> {
    let text = text.trim();
    text.parse().map_err(|_| WindowError::Zone {
        zone: text.to_owned(),
        nearest: nearest_zone(text),
    })
}

/// The zone whose name is most like this text, if any is like enough. The part
/// after the region is compared too: people write `Seoul`.
fn nearest_zone(text: &str) -> Option<String> {
    const LIKE_ENOUGH: f64 = 0.85;
    let lower = text.to_ascii_lowercase().replace(' ', "_");
    TZ_VARIANTS
        .iter()
        .map(|zone| {
            let name = zone.name().to_ascii_lowercase();
            let city = name.rsplit('/').next().unwrap_or(&name);
            let likeness =
                strsim::jaro_winkler(&lower, &name).max(strsim::jaro_winkler(&lower, city) - 0.01);
            (likeness, zone.name())
        })
        .filter(|(likeness, _)| *likeness >= LIKE_ENOUGH)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name.to_owned())
}
