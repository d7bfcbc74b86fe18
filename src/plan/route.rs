//! One route: from what was written about it to what will be done.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::layers::{Layers, refuse};
use super::queues::{check_fifo_by_name, check_same_by_name};
use super::timings::show;
use super::values::{self, Wrong};
use super::{
    Cutoff, DeduplicationId, Delivery, IN_FLIGHT_LIMIT, Journal, PAGE_LIMIT, QueueRef, Refusal,
    RoutePlan, Timings, Warning,
};
use crate::config::{Raw, Setting, flag_name};
use crate::window::{Window, WindowError};

/// A page takes a lane two round trips, so at 12 ms a request eight lanes send some 10,000 messages a second, which is about what one core
/// can do through the SDK. More lanes only enlarge the working set: sixteen cost a tenth more CPU a message and 10 MB more memory.
const DEFAULT_LANES: u32 = 8;

/// The window of a route; `always` when none was written.
pub(super) fn window(layers: &Layers<'_>) -> Result<Window, Refusal> {
    let always = ["always".to_owned()];
    let specs = match layers.get("window") {
        Some(_) => layers.list("window"),
        None => &always[..],
    };
    let wrong = |key: &'static str| {
        move |error: WindowError| Refusal::line(format!("{}: {error}", layers.place(key)))
    };
    let on_holidays = layers.list("holiday_windows");
    let holidays = layers.list("holidays");
    let whole_week = Window::covers_whole_week(specs).map_err(wrong("window"))?;
    Window::covers_whole_week(on_holidays).map_err(wrong("holiday_windows"))?;
    if specs.is_empty() && on_holidays.is_empty() {
        return Err(never_opens(layers));
    }
    // What is wrong with a date is told before a zone is asked for.
    Window::parse(specs, "UTC", holidays, on_holidays).map_err(wrong("holidays"))?;
    let zone = match layers.get("zone") {
        Some(setting) => setting.raw.to_string(),
        // Without an edge on the wall clock, the zone only decides where the
        // days of a run's name end.
        None if whole_week && holidays.is_empty() => "UTC".to_owned(),
        None => {
            let written = if whole_week { "holidays" } else { "window" };
            return Err(Refusal::new(
                format!(
                    "{} is local time and no time zone is named",
                    layers.cite(written)
                ),
                "add --zone with an IANA name, such as --zone Asia/Seoul",
            ));
        }
    };
    if !on_holidays.is_empty() && layers.get("holidays").is_none() {
        return Err(Refusal::new(
            format!(
                "{} is for holidays and there are none",
                layers.cite("holiday_windows")
            ),
            "add --holidays DATE, or drop it",
        ));
    }
    Window::parse(specs, &zone, holidays, on_holidays).map_err(wrong("zone"))
}

fn never_opens(layers: &Layers<'_>) -> Refusal {
    Refusal::new(
        format!("{} never opens", layers.cite("window")),
        "write a window such as --window 08:00-21:00",
    )
}

/// What a route's plan is made of.
pub(super) struct RouteBuilder<'a> {
    /// The route's name.
    pub(super) name: &'a str,
    /// Where its settings are.
    pub(super) layers: &'a Layers<'a>,
    /// The time of planning.
    pub(super) now: DateTime<Utc>,
    /// The process's grace.
    pub(super) grace: Duration,
    /// How many processes there are said to be.
    pub(super) shards: u32,
}

impl RouteBuilder<'_> {
    /// The route's plan; warnings are added to those of the others.
    pub(super) fn build(&self, warnings: &mut Vec<Warning>) -> Result<RoutePlan, Refusal> {
        let layers = self.layers;
        let from = layers
            .queue("from")?
            .ok_or_else(|| Refusal::new("there is no source", "add from = \"QUEUE\""))?;
        let to = self.destinations()?;
        let window = self.window(warnings)?;
        let journal = self.journal()?;
        let with_table = journal != Journal::None;
        let delivery = self.delivery(with_table)?;
        let timings = self.timings()?;
        let (rate, burst) = self.pace()?;
        if !with_table {
            self.check_division(rate, burst)?;
        }
        let start_within = self.start_within(&window)?;
        let route = RoutePlan {
            name: self.name.to_owned(),
            from,
            to,
            longest_shut: window.longest_shut(self.now),
            rate,
            burst,
            journal,
            run_id: layers.read("run_id", values::run_id)?,
            cutoff: self.cutoff(&window)?,
            delivery,
            reject: layers.queue("reject")?,
            start_within,
            wait_open: layers.switch("wait_open"),
            group_from_named: layers.read("group_from", values::group_from)?,
            deduplication_id: layers.choice(
                "deduplication_id",
                values::DEDUPLICATION_ID,
                DeduplicationId::MessageId,
            )?,
            allow_fifo_to_standard: layers.switch("allow_fifo_to_standard"),
            lanes: layers.whole("lanes", 1..=IN_FLIGHT_LIMIT as u32, DEFAULT_LANES)? as usize,
            page: layers.whole("page", 1..=PAGE_LIMIT as u32, PAGE_LIMIT as u32)? as usize,
            timings,
            window,
            window_named: layers.get("window").is_some(),
        };
        if route.lanes * route.page > IN_FLIGHT_LIMIT {
            return Err(Refusal::new(
                format!(
                    "--lanes {} of --page {} could have {} messages in flight, and SQS allows {IN_FLIGHT_LIMIT} a queue",
                    route.lanes,
                    route.page,
                    route.lanes * route.page
                ),
                "write fewer lanes or smaller pages",
            ));
        }
        let mut own = timings.check(self.grace, with_table)?;
        check_same_by_name(&route)?;
        own.extend(check_fifo_by_name(&route)?);
        check_window_length(&route)?;
        if layers.get("hold").is_some() && route.hold().is_none() {
            own.push(Warning::new(format!(
                "{} is not used: --delivery at-least-once holds nothing",
                layers.cite("hold")
            )));
        }
        warnings.extend(own.into_iter().map(|warning| warning.on_route(self.name)));
        Ok(route)
    }

    fn destinations(&self) -> Result<Vec<QueueRef>, Refusal> {
        let Some(setting) = self.layers.get("to") else {
            return Err(Refusal::new(
                "there is no destination",
                "add to = [\"QUEUE\"]",
            ));
        };
        let mut queues: Vec<QueueRef> = Vec::new();
        for text in self.layers.list("to") {
            let queue = QueueRef::parse(text).map_err(|wrong| {
                let one = Setting {
                    raw: Raw::Text(text.clone()),
                    origin: setting.origin.clone(),
                };
                refuse(&one, "to", wrong)
            })?;
            if let Some(other) = queues.iter().find(|other| other.looks_like(&queue)) {
                return Err(Refusal::new(
                    format!("the destination {queue} is named twice, also as {other}"),
                    "name it once (two queues of one name: write both as URLs)",
                ));
            }
            queues.push(queue);
        }
        if queues.is_empty() {
            return Err(Refusal::new(
                format!("{} names no destination", setting.cite("to")),
                "name at least one queue",
            ));
        }
        Ok(queues)
    }

    fn window(&self, warnings: &mut Vec<Warning>) -> Result<Window, Refusal> {
        let window = window(self.layers)?;
        if self.layers.get("window").is_none() {
            warnings.push(
                Warning::new(
                    "no window is set, so messages are sent at any hour (--window always says that this is meant)",
                )
                .on_route(self.name),
            );
        }
        if window.never_opens(self.now) {
            return Err(never_opens(self.layers));
        }
        Ok(window)
    }

    /// A table and no journal exclude each other where they stand side by
    /// side; otherwise the one in the stronger place counts.
    fn journal(&self) -> Result<Journal, Refusal> {
        for settings in &self.layers.0 {
            let off = settings
                .get("no_journal")
                .filter(|setting| setting.raw == Raw::Switch(true));
            match (settings.get("table"), off) {
                (Some(table), Some(off)) => {
                    return Err(Refusal::new(
                        format!(
                            "{} and {} contradict each other",
                            table.cite("table"),
                            off.cite("no_journal")
                        ),
                        "keep one of them",
                    ));
                }
                (Some(table), None) => {
                    return values::table(&table.raw.to_string())
                        .map(Journal::Table)
                        .map_err(|wrong| refuse(table, "table", wrong));
                }
                (None, Some(_)) => return Ok(Journal::None),
                (None, None) => {}
            }
        }
        Err(Refusal::new(
            "no table is named for the run's journal",
            "create one with `sqs-drain init --table sqs-drain` and add --table sqs-drain, or add --no-journal to go without resuming",
        ))
    }

    fn delivery(&self, with_table: bool) -> Result<Delivery, Refusal> {
        let at_most_once = self.layers.choice(
            "delivery",
            &[("at-least-once", false), ("at-most-once", true)],
            false,
        )?;
        if !at_most_once {
            return Ok(Delivery::AtLeastOnce);
        }
        if !with_table {
            return Err(Refusal::new(
                format!(
                    "{} needs a table to claim each message in",
                    self.layers.cite("delivery")
                ),
                "add --table NAME in place of --no-journal",
            ));
        }
        match self.layers.queue("hold")? {
            Some(hold) => Ok(Delivery::AtMostOnce { hold }),
            None => Err(Refusal::new(
                format!(
                    "{} needs a queue for its doubts",
                    self.layers.cite("delivery")
                ),
                "add --hold QUEUE",
            )),
        }
    }

    fn timings(&self) -> Result<Timings, Refusal> {
        let layers = self.layers;
        let built_in = Timings::default();
        Ok(Timings {
            visibility: layers.duration("visibility", built_in.visibility)?,
            poll: layers.duration("poll", built_in.poll)?,
            settle: layers.duration("settle", built_in.settle)?,
            margin: layers.duration("margin", built_in.margin)?,
            send_timeout: layers.duration("send_timeout", built_in.send_timeout)?,
            table_timeout: layers.duration("table_timeout", built_in.table_timeout)?,
            heartbeat: layers.duration("heartbeat", built_in.heartbeat)?,
            lease: layers.duration("lease", built_in.lease)?,
        })
    }

    fn pace(&self) -> Result<(Option<f64>, Option<u32>), Refusal> {
        let rate = self.layers.read("rate", |text| {
            values::parse_rate(text)
                .ok_or_else(|| Wrong::new(values::NOT_A_RATE, values::RATE_FORM))
        })?;
        let rate = rate.flatten();
        let burst = self.layers.optional_whole("burst", 1..=1_000_000)?;
        if burst.is_some() && rate.is_none() {
            return Err(Refusal::new(
                format!("{} means nothing without a rate", self.layers.cite("burst")),
                "add --rate, or drop the burst",
            ));
        }
        Ok((rate, burst))
    }

    /// Without a table nobody shares out the rate: each shard takes its part, and one that is less than the least that can be taken
    /// would make all of them together faster than told.
    fn check_division(&self, rate: Option<f64>, burst: Option<u32>) -> Result<(), Refusal> {
        let shards = self.shards;
        let too_small = |key: &str, least: String| {
            Refusal::new(
                format!(
                    "{} cannot be divided among {shards} shards without a table",
                    self.layers.cite(key)
                ),
                format!(
                    "write {} {least} or more, or fewer shards, or --table NAME in place of --no-journal",
                    flag_name(key)
                ),
            )
        };
        if rate.is_some_and(|rate| rate < values::LEAST_RATE * f64::from(shards)) {
            let least = (f64::from(shards) / 1000.0).to_string();
            return Err(too_small("rate", least));
        }
        if burst.is_some_and(|burst| burst < shards) {
            return Err(too_small("burst", shards.to_string()));
        }
        Ok(())
    }

    fn start_within(&self, window: &Window) -> Result<Option<Duration>, Refusal> {
        let start_within = self.layers.optional_duration("start_within")?;
        let wrong = |is: &str, change: &str| {
            Refusal::new(format!("{} {is}", self.layers.cite("start_within")), change)
        };
        match start_within {
            Some(length) if length.is_zero() => Err(wrong(
                "leaves no time to start in",
                "write a length of time such as 5m",
            )),
            Some(_) if window.is_always() => Err(wrong(
                "needs an opening to count from, and the window is always open",
                "set --window 08:00-21:00 or the like, or drop it",
            )),
            _ => Ok(start_within),
        }
    }

    fn cutoff(&self, window: &Window) -> Result<Cutoff, Refusal> {
        let cutoff = self.layers.read("cutoff", |text| match text {
            "run-start" => Ok(Cutoff::RunStart),
            "none" => Ok(Cutoff::None),
            _ => values::parse_instant(text, window)
                .map(Cutoff::At)
                .ok_or_else(|| {
                    Wrong::new(
                        "is not a cut-off",
                        "write run-start, none or a time such as 2026-11-23T08:00:00+09:00",
                    )
                }),
        })?;
        Ok(cutoff.unwrap_or(Cutoff::RunStart))
    }
}

/// A window that closes before its closing margin has passed permits no send.
fn check_window_length(route: &RoutePlan) -> Result<(), Refusal> {
    let margin = route.closing_margin(Duration::ZERO);
    match route.window.longest_opening() {
        Some(longest) if longest <= margin => Err(Refusal::new(
            format!(
                "the window is open for {} at most, and the last {} before a closing (margin and send timeout) are not used",
                show(longest),
                show(margin)
            ),
            "write a longer window or a shorter --margin",
        )),
        _ => Ok(()),
    }
}
