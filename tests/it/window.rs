//! Windows against an oracle that knows nothing of how they are computed: it
//! walks over every minute, looks at the wall clock, and applies the module's
//! definition to what it sees.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, Timelike, Utc};
use chrono_tz::Tz;
use proptest::prelude::*;
use sqs_drain::window::{State, Window};

/// Days on either side of the day in question that the oracle walks over.
const REACH_DAYS: i64 = 4;

/// Zones with every kind of change: none at all, an hour, half an hour, at
/// midnight, over midnight, a day skipped, offsets of odd minutes.
const ZONES: &[&str] = &[
    "Asia/Seoul",
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Cairo",
    "Asia/Beirut",
    "America/Havana",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Africa/Casablanca",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Asia/Kathmandu",
];

/// A span of one weekday in minutes, as the test wrote it.
#[derive(Clone, Debug)]
struct Span {
    day: u32,
    start_min: i64,
    end_min: i64,
}

const DAY_MIN: i64 = 24 * 60;
const DAY_NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl Span {
    fn text(&self) -> String {
        let clock = |minute: i64| format!("{:02}:{:02}", minute / 60, minute % 60);
        let day = DAY_NAMES[self.day as usize];
        format!("{day} {}-{}", clock(self.start_min), clock(self.end_min))
    }

    /// How many minutes after its day's midnight it ends.
    fn real_end_min(&self) -> i64 {
        if self.end_min < self.start_min {
            self.end_min + DAY_MIN
        } else {
            self.end_min
        }
    }
}

#[derive(Clone, Debug)]
struct Case {
    zone: Tz,
    day: NaiveDate,
    spans: Vec<Span>,
    holidays: BTreeSet<NaiveDate>,
    on_holidays: Vec<Span>,
}

impl Case {
    fn window(&self) -> Window {
        let texts = |spans: &[Span]| spans.iter().map(Span::text).collect::<Vec<_>>();
        let holidays: Vec<String> = self.holidays.iter().map(ToString::to_string).collect();
        Window::parse(
            &texts(&self.spans),
            self.zone.name(),
            &holidays,
            &texts(&self.on_holidays),
        )
        .unwrap()
    }

    /// Whether a minute of the wall clock is inside the window, from the rules
    /// as the module states them.
    fn civil_open(&self, minute: NaiveDateTime) -> bool {
        let inside = |spans: &[Span], day: NaiveDate| {
            let after_midnight = (minute - day.and_hms_opt(0, 0, 0).unwrap()).num_minutes();
            spans.iter().any(|span| {
                span.day == day.weekday().num_days_from_monday()
                    && (span.start_min..span.real_end_min()).contains(&after_midnight)
            })
        };
        let today = minute.date();
        let yesterday = today - Days::new(1);
        let holiday = |day| self.holidays.contains(&day);
        let from_today = match holiday(today) {
            true => inside(&self.on_holidays, today),
            false => inside(&self.spans, today),
        };
        let from_yesterday = match (holiday(yesterday), holiday(today)) {
            // What a holiday's own windows open goes on over midnight.
            (true, _) => inside(&self.on_holidays, yesterday),
            // An ordinary span is cut where a holiday begins.
            (false, true) => false,
            (false, false) => inside(&self.spans, yesterday),
        };
        from_today || from_yesterday
    }

    fn walk(&self) -> Walk {
        let noon = self.day.and_hms_opt(12, 0, 0).unwrap().and_utc();
        let first = noon - chrono::Duration::days(REACH_DAYS);
        let local: Vec<NaiveDateTime> = (0..2 * REACH_DAYS * DAY_MIN)
            .map(|minute| {
                let at = first + chrono::Duration::minutes(minute);
                at.with_timezone(&self.zone).naive_local()
            })
            .collect();

        // The edges on the wall clock: maximal runs of open minutes.
        let (begin, end) = (*local.iter().min().unwrap(), *local.iter().max().unwrap());
        let mut edges: Vec<(NaiveDateTime, NaiveDateTime)> = Vec::new();
        let mut minute = begin;
        while minute <= end {
            let next = minute + chrono::Duration::minutes(1);
            if self.civil_open(minute) {
                match edges.last_mut() {
                    Some(run) if run.1 == minute => run.1 = next,
                    _ => edges.push((minute, next)),
                }
            }
            minute = next;
        }

        // When each edge is, and so which minutes are open.
        let mut open = vec![false; local.len()];
        for (from, to) in edges {
            let after_gap = |edge| local.iter().position(|wall| *wall > edge);
            let opens = local
                .iter()
                .rposition(|wall| *wall == from)
                .or_else(|| after_gap(from));
            let closes = local
                .iter()
                .position(|wall| *wall == to)
                .or_else(|| after_gap(to));
            let (opens, closes) = (opens.unwrap_or(local.len()), closes.unwrap_or(local.len()));
            if opens < closes {
                open[opens..closes].fill(true);
            }
        }
        let changes = (1..open.len())
            .filter(|index| open[*index] != open[index - 1])
            .collect();
        Walk {
            first,
            local,
            open,
            changes,
        }
    }
}

struct Walk {
    first: DateTime<Utc>,
    local: Vec<NaiveDateTime>,
    open: Vec<bool>,
    /// The minutes at which open and shut change.
    changes: Vec<usize>,
}

impl Walk {
    fn at(&self, index: usize) -> DateTime<Utc> {
        self.first + chrono::Duration::minutes(index as i64)
    }

    /// The change before or at a minute, and the one after it.
    fn around(&self, index: usize) -> (Option<usize>, Option<usize>) {
        let changes = &self.changes;
        (
            changes
                .iter()
                .rev()
                .find(|change| **change <= index)
                .copied(),
            changes.iter().find(|change| **change > index).copied(),
        )
    }
}

/// What a window says at one minute, held against the walk.
fn check(case: &Case, window: &Window, walk: &Walk, index: usize) {
    // A minute's last instant is as open as its first.
    for second in [0, 59] {
        let at = walk.at(index) + chrono::Duration::seconds(second);
        let state = window.state_at(at);
        let said = format!(
            "{case:?} at {at}, wall clock {}: {state:?}",
            walk.local[index]
        );
        let (before, after) = walk.around(index);
        match state {
            State::Open {
                opened_at,
                closes_at,
            } => {
                assert!(walk.open[index], "open and should be shut: {said}");
                assert!(
                    case.civil_open(walk.local[index]),
                    "outside on the wall clock: {said}"
                );
                if let Some(after) = after {
                    assert_eq!(closes_at, Some(walk.at(after)), "closes: {said}");
                }
                if window.is_always() {
                    let date = walk.local[index].date();
                    let day = walk.local.iter().position(|wall| wall.date() == date);
                    let begin = before.max(day).unwrap();
                    assert_eq!(opened_at, walk.at(begin), "opened: {said}");
                } else if let Some(before) = before {
                    assert_eq!(opened_at, walk.at(before), "opened: {said}");
                }
                assert!(opened_at <= at, "{said}");
            }
            State::Shut { opens_at } => {
                assert!(!walk.open[index], "shut and should be open: {said}");
                if let Some(after) = after {
                    assert_eq!(opens_at, Some(walk.at(after)), "opens: {said}");
                }
                // The run that waits is the run of the opening it waits for.
                if let Some(opens_at) = opens_at {
                    assert!(opens_at > at, "{said}");
                    assert_eq!(window.opening_id(at), window.opening_id(opens_at), "{said}");
                }
            }
        }
    }
}

/// The days of a year on which the zone's clocks change.
fn change_days(zone: Tz, year: i32) -> Vec<NaiveDate> {
    let mut days = Vec::new();
    let mut day = NaiveDate::from_ymd_opt(year, 1, 1).unwrap();
    while day.year() == year {
        let next = day + Days::new(1);
        let minutes = |date: NaiveDate| {
            let at = date.and_hms_opt(0, 0, 0).unwrap().and_utc();
            (at.with_timezone(&zone).naive_local() - at.naive_utc()).num_minutes()
        };
        if minutes(day) != minutes(next) {
            days.push(day);
        }
        day = next;
    }
    days
}

fn span() -> impl Strategy<Value = Span> {
    // Half of the times lie where clocks change, and many meet each other.
    let time = prop_oneof![
        0..DAY_MIN,
        (0..=16i64).prop_map(|quarter| quarter * 15),
        (0..=24i64).prop_map(|hour| hour * 60),
    ];
    (0..7u32, time.clone(), time).prop_filter_map("no length", |(day, start_min, end_min)| {
        let fits = start_min < DAY_MIN && start_min != end_min;
        fits.then_some(Span {
            day,
            start_min,
            end_min,
        })
    })
}

/// The same span on every day half of the time, as people write windows.
fn week() -> impl Strategy<Value = Vec<Span>> {
    let daily = prop::collection::vec(span(), 1..3).prop_map(|spans| {
        let on_all = |span: &Span| {
            (0..7)
                .map(|day| Span {
                    day,
                    ..span.clone()
                })
                .collect::<Vec<_>>()
        };
        spans.iter().flat_map(on_all).collect()
    });
    let always = Just(
        (0..7)
            .map(|day| Span {
                day,
                start_min: 0,
                end_min: DAY_MIN,
            })
            .collect(),
    );
    prop_oneof![4 => daily, 4 => prop::collection::vec(span(), 1..8), 1 => always]
}

fn case() -> impl Strategy<Value = Case> {
    let day = (
        0..ZONES.len(),
        2004..2031i32,
        any::<prop::sample::Index>(),
        any::<bool>(),
    );
    let holidays = prop::collection::btree_set(-3..=3i64, 0..4);
    (day, week(), holidays, prop::collection::vec(span(), 0..4)).prop_map(
        |((zone, year, pick, at_change), spans, holidays, on_holidays)| {
            let zone: Tz = ZONES[zone].parse().unwrap();
            let changes = change_days(zone, year);
            let day = if at_change && !changes.is_empty() {
                changes[pick.index(changes.len())]
            } else {
                NaiveDate::from_yo_opt(year, 1 + pick.index(365) as u32).unwrap()
            };
            let holidays = holidays
                .iter()
                .map(|offset| {
                    day.checked_add_signed(chrono::Duration::days(*offset))
                        .unwrap()
                })
                .collect();
            Case {
                zone,
                day,
                spans,
                holidays,
                on_holidays,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_window_is_what_every_minute_of_the_wall_clock_says(
        case in case(),
        samples in prop::collection::vec(any::<prop::sample::Index>(), 12),
    ) {
        let window = case.window();
        let walk = case.walk();
        // Nearer than two days to the walk's ends an edge may be cut off.
        let sure = 2 * DAY_MIN as usize..walk.open.len() - 2 * DAY_MIN as usize;
        let mut minutes: Vec<usize> = samples.iter().map(|index| index.index(walk.open.len())).collect();
        for &change in &walk.changes {
            minutes.extend([change - 1, change]);
        }
        for minute in minutes.into_iter().filter(|minute| sure.contains(minute)) {
            check(&case, &window, &walk, minute);
        }
    }

    #[test]
    fn openings_follow_each_other_without_overlap(case in case()) {
        let window = case.window();
        let start = case.day.and_hms_opt(0, 0, 0).unwrap().and_utc();
        let mut last = start;
        let mut names = BTreeSet::new();
        for (opens_at, closes_at) in window.next_openings(start, 20) {
            prop_assert!(opens_at >= last);
            let id = window.opening_id(opens_at).unwrap();
            let named = window.is_always() || names.insert(id.clone());
            prop_assert!(named, "{id} names two openings");
            let Some(closes_at) = closes_at else { break };
            prop_assert!(closes_at > opens_at);
            last = closes_at;
        }
    }
}

/// The law this program was written for: not from 21:00 to 08:00 in Seoul, on
/// any minute of a year, whatever the offset of whoever asks.
#[test]
fn no_minute_of_a_year_is_open_at_night_in_seoul() {
    let window = Window::parse(&["08:00-21:00".to_owned()], "Asia/Seoul", &[], &[]).unwrap();
    let zone: Tz = "Asia/Seoul".parse().unwrap();
    let start = NaiveDate::from_ymd_opt(2026, 1, 1)
        .unwrap()
        .and_hms_opt(0, 0, 0)
        .unwrap()
        .and_utc();
    for quarter in 0..365 * 24 * 4 {
        // Every quarter of an hour and the second before it.
        for second in [0, -1] {
            let at = start + chrono::Duration::seconds(quarter * 900 + second);
            let hour = at.with_timezone(&zone).hour();
            let open = matches!(window.state_at(at), State::Open { .. });
            assert_eq!(open, (8..21).contains(&hour), "{at}");
        }
    }
}
