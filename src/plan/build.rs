//! From what was written to what will be done.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::layers::{Layers, refuse};
use super::queues::{check_fifo_by_name, check_same_by_name};
use super::timings::show;
use super::values::{self, Wrong};
use super::{
    Cutoff, Delivery, IN_FLIGHT_LIMIT, Journal, LogFormat, LogLevel, PAGE_LIMIT, Plan, ProcessPlan,
    Progress, QueueRef, Refusal, RoutePlan, SHARDS_LIMIT, Shard, Timings, Warning,
};
use crate::config::{
    Origin, Raw, RoutesFile, Setting, Settings, env_name, flag_name, nearest, split_list,
};
use crate::window::{Window, WindowError};

/// The name of the route that comes from flags alone.
const UNNAMED_ROUTE: &str = "default";

/// How long a stop may take: Batch and Fargate kill 30 s after the signal.
const DEFAULT_GRACE: Duration = Duration::from_secs(25);

const DEFAULT_LANES: u32 = 16;

/// Everything that was said, not yet understood.
#[derive(Clone, Debug)]
pub struct Request {
    /// The routes asked for by name; none: all of the file's.
    pub asked: Vec<String>,
    /// The command line.
    pub flags: Settings,
    /// The environment; only `SQS_DRAIN_*` and `AWS_BATCH_*` are looked at.
    pub environment: BTreeMap<String, String>,
    /// The routes file, if one was named.
    pub file: Option<RoutesFile>,
    /// The time of planning.
    pub now: DateTime<Utc>,
}

/// Where a run's state is found, for the sub-commands that read or change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The table.
    pub table: String,
    /// The routes asked for; empty when neither `--from` nor a file was named.
    pub routes: Vec<LocatedRoute>,
    /// How long one call to the table may take, its retries included.
    pub table_timeout: Duration,
}

/// A route of [`Located`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocatedRoute {
    /// Its name.
    pub name: String,
    /// Its source.
    pub from: QueueRef,
}

/// What was written, sorted by route.
struct Sorted<'a> {
    process: Layers<'a>,
    routes: Vec<(&'a str, Layers<'a>)>,
}

impl Request {
    /// The validated plan.
    ///
    /// # Errors
    /// A [`Refusal`] for the first thing that is wrong or contradicts another.
    pub fn plan(&self) -> Result<Plan, Refusal> {
        let (environment, batch, mut warnings) = self.environment()?;
        let sorted = self.sort(&environment, &batch, true)?;
        let process = process_plan(&sorted.process)?;
        let mut routes: Vec<RoutePlan> = Vec::new();
        for (name, layers) in &sorted.routes {
            let route = RouteBuilder {
                name,
                layers,
                now: self.now,
                grace: process.grace,
            }
            .build(&mut warnings)
            .map_err(|refusal| self.on_route(refusal, name))?;
            routes.push(route);
        }
        check_routes_together(&routes, &mut warnings)?;
        Ok(Plan {
            process,
            routes,
            warnings,
        })
    }

    /// The windows of the routes asked for, without looking at anything else.
    ///
    /// # Errors
    /// A [`Refusal`] for a window, zone or holiday that cannot be understood.
    pub fn windows(&self) -> Result<Vec<(String, Window)>, Refusal> {
        let (environment, batch, _) = self.environment()?;
        let sorted = self.sort(&environment, &batch, false)?;
        let windows = sorted.routes.iter().map(|(name, layers)| {
            let window = window(layers).map_err(|refusal| self.on_route(refusal, name))?;
            Ok(((*name).to_owned(), window))
        });
        windows.collect()
    }

    /// The table and the sources of the routes asked for.
    ///
    /// # Errors
    /// A [`Refusal`] when no table was named, or the routes have several.
    pub fn locate(&self) -> Result<Located, Refusal> {
        let (environment, batch, _) = self.environment()?;
        let sorted = self.sort(&environment, &batch, false)?;
        let mut routes = Vec::new();
        let mut tables: Vec<(&str, String)> = Vec::new();
        let mut table_timeout = Timings::default().table_timeout;
        for (name, layers) in &sorted.routes {
            let on_route = |refusal| self.on_route(refusal, name);
            if let Some(from) = layers.queue("from").map_err(on_route)? {
                routes.push(LocatedRoute {
                    name: (*name).to_owned(),
                    from,
                });
            }
            if let Some(table) = layers.read("table", values::table).map_err(on_route)? {
                tables.push((name, table));
            }
            table_timeout = layers
                .duration("table_timeout", table_timeout)
                .map_err(on_route)?;
        }
        let Some((first_route, table)) = tables.first() else {
            return Err(Refusal::new(
                "no table is named, and a run's state is only there",
                "add --table NAME or --config FILE",
            ));
        };
        if let Some((other_route, other)) = tables.iter().find(|(_, other)| other != table) {
            return Err(Refusal::new(
                format!(
                    "route {first_route} has the table {table} and route {other_route} has {other}"
                ),
                "ask for one of them",
            ));
        }
        Ok(Located {
            table: table.clone(),
            routes,
            table_timeout,
        })
    }

    /// Names the route, unless it is the one and only from flags.
    fn on_route(&self, refusal: Refusal, name: &str) -> Refusal {
        if self.file.is_some() {
            refusal.on_route(name)
        } else {
            refusal
        }
    }

    /// The environment's own settings, those of AWS Batch, and a word about
    /// variables that look like settings and are not.
    fn environment(&self) -> Result<(Settings, Settings, Vec<Warning>), Refusal> {
        let (settings, unknown) = Settings::from_environment(&self.environment)?;
        let mut batch = Settings::default();
        for (variable, name) in [
            ("AWS_BATCH_JOB_ARRAY_SIZE", "shards"),
            ("AWS_BATCH_JOB_ARRAY_INDEX", "shard"),
        ] {
            let text = self
                .environment
                .get(variable)
                .filter(|text| !text.trim().is_empty());
            if let (Some(text), Some(key)) = (text, crate::config::find_key(name)) {
                let origin = Origin::Variable(variable);
                batch.set_text(key, text, origin)?;
            }
        }
        let warnings = unknown
            .iter()
            .map(|variable| {
                Warning::new(format!(
                    "the environment variable {variable} is not a setting and is ignored"
                ))
            })
            .collect();
        Ok((settings, batch, warnings))
    }

    /// Finds the routes asked for and the layers of each.
    fn sort<'a>(
        &'a self,
        environment: &'a Settings,
        batch: &'a Settings,
        to_run: bool,
    ) -> Result<Sorted<'a>, Refusal> {
        let asked = self.asked();
        let Some(file) = &self.file else {
            let layers = Layers(vec![&self.flags, environment, batch]);
            if let Some(route) = asked.first() {
                return Err(Refusal::new(
                    format!("the route {route} is asked for, but no routes file is named"),
                    "add --config FILE, or describe one route with --from and --to instead",
                ));
            }
            if to_run {
                check_from_and_to(&layers)?;
            }
            return Ok(Sorted {
                process: layers.clone(),
                routes: vec![(UNNAMED_ROUTE, layers)],
            });
        };
        for settings in [&self.flags, environment] {
            for key in ["from", "to"] {
                if let Some(setting) = settings.get(key) {
                    return Err(Refusal::new(
                        format!(
                            "{} and the routes file {} both say what to drain",
                            setting.cite(key),
                            file.name
                        ),
                        format!(
                            "drop {}, or drop --config and {}",
                            written_as(setting, key),
                            env_name("config")
                        ),
                    ));
                }
            }
        }
        if file.routes.is_empty() {
            return Err(Refusal::new(
                format!("{} has no routes", file.name),
                "add a [route.NAME] with from and to",
            ));
        }
        let mut chosen = Vec::new();
        for name in &asked {
            let Some(route) = file.routes.iter().find(|route| route.name == *name) else {
                let change = match nearest(name, file.route_names()) {
                    Some(near) => format!("did you mean {near}?"),
                    None => {
                        let names: Vec<&str> = file.route_names().collect();
                        format!("it has {}", names.join(", "))
                    }
                };
                return Err(Refusal::new(
                    format!("{} has no route {name}", file.name),
                    change,
                ));
            };
            if !chosen
                .iter()
                .any(|other: &&crate::config::FileRoute| other.name == route.name)
            {
                chosen.push(route);
            }
        }
        if chosen.is_empty() {
            chosen.extend(&file.routes);
        }
        let mut routes = Vec::new();
        for route in chosen {
            if !values::valid_route_name(&route.name) {
                return Err(Refusal::new(
                    format!(
                        "{} line {}: {:?} is not a route's name",
                        file.name, route.line, route.name
                    ),
                    "write 1 to 64 letters, digits, -, _ or .",
                ));
            }
            let layers = vec![
                &self.flags,
                environment,
                batch,
                &route.settings,
                &file.defaults,
                &file.process,
            ];
            routes.push((route.name.as_str(), Layers(layers)));
        }
        let process = Layers(vec![&self.flags, environment, batch, &file.process]);
        Ok(Sorted { process, routes })
    }

    /// The routes asked for: as arguments, else in `SQS_DRAIN_ROUTE`.
    fn asked(&self) -> Vec<String> {
        if !self.asked.is_empty() {
            return self.asked.clone();
        }
        let variable = self.environment.get(&env_name("route"));
        variable.map(|text| split_list(text)).unwrap_or_default()
    }
}

/// What to drop to be rid of a setting.
fn written_as(setting: &Setting, key: &str) -> String {
    match setting.origin {
        Origin::Environment => env_name(key),
        _ => flag_name(key),
    }
}

fn check_from_and_to(layers: &Layers<'_>) -> Result<(), Refusal> {
    match (layers.get("from"), layers.get("to")) {
        (Some(_), Some(_)) => Ok(()),
        (None, None) => Err(Refusal::new(
            "nothing to drain is named",
            "add --from QUEUE and --to QUEUE, or --config FILE with routes",
        )),
        (Some(_), None) => Err(Refusal::new(
            format!("{} has no destination", layers.cite("from")),
            "add --to QUEUE",
        )),
        (None, Some(_)) => Err(Refusal::new(
            format!("{} has no source", layers.cite("to")),
            "add --from QUEUE",
        )),
    }
}

fn process_plan(layers: &Layers<'_>) -> Result<ProcessPlan, Refusal> {
    let of = layers.whole("shards", 1..=SHARDS_LIMIT, 1)?;
    let index = layers.whole("shard", 0..=SHARDS_LIMIT, 0)?;
    if index >= of {
        return Err(Refusal::new(
            format!(
                "{} is not below the number of shards, {of}",
                layers.cite("shard")
            ),
            format!(
                "shards count from 0, write 0 to {}, or set --shards",
                of - 1
            ),
        ));
    }
    let slack_webhook = match layers.get("slack_webhook") {
        Some(Setting {
            raw: Raw::Secret(secret),
            ..
        }) => {
            let url = secret.expose();
            // The value is a secret, so the line does not repeat it.
            if !(url.starts_with("https://") || url.starts_with("http://")) {
                return Err(Refusal::new(
                    format!("{} is not a URL", layers.cite("slack_webhook")),
                    "give the whole webhook URL, beginning with https://",
                ));
            }
            Some(secret.clone())
        }
        _ => None,
    };
    let notify_success = layers.switch("notify_success");
    if notify_success && slack_webhook.is_none() {
        return Err(Refusal::new(
            format!("{} has nowhere to send to", layers.cite("notify_success")),
            "add --slack-webhook URL",
        ));
    }
    Ok(ProcessPlan {
        shard: Shard { index, of },
        grace: layers.duration("grace", DEFAULT_GRACE)?,
        result: layers.read("result", |text| Ok(text.into()))?,
        progress: layers.choice("progress", values::PROGRESS, Progress::Auto)?,
        log_format: layers.choice("log_format", values::LOG_FORMAT, LogFormat::Auto)?,
        log_level: layers.choice("log_level", values::LOG_LEVEL, LogLevel::Info)?,
        slack_webhook,
        notify_success,
    })
}

/// The window of a route; `always` when none was written.
fn window(layers: &Layers<'_>) -> Result<Window, Refusal> {
    let always = ["always".to_owned()];
    let specs = match layers.get("window") {
        Some(_) => layers.list("window"),
        None => &always[..],
    };
    let wrong = |key: &'static str| {
        move |error: WindowError| Refusal::line(format!("{}: {error}", layers.place(key)))
    };
    let on_holidays = layers.list("holiday_windows");
    let whole_week = Window::covers_whole_week(specs).map_err(wrong("window"))?;
    Window::covers_whole_week(on_holidays).map_err(wrong("holiday_windows"))?;
    let zone = match layers.get("zone") {
        Some(setting) => setting.raw.to_string(),
        // Without an edge on the wall clock, the zone only decides where the
        // days of a run's name end.
        None if whole_week && layers.get("holidays").is_none() => "UTC".to_owned(),
        None => {
            let written = if layers.get("window").is_some() {
                "window"
            } else {
                "holidays"
            };
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
    Window::parse(specs, &zone, layers.list("holidays"), on_holidays).map_err(|error| {
        let key = match error {
            WindowError::Zone { .. } => "zone",
            WindowError::Holiday { .. } => "holidays",
            _ => "window",
        };
        wrong(key)(error)
    })
}

struct RouteBuilder<'a> {
    name: &'a str,
    layers: &'a Layers<'a>,
    now: DateTime<Utc>,
    grace: Duration,
}

impl RouteBuilder<'_> {
    fn build(&self, warnings: &mut Vec<Warning>) -> Result<RoutePlan, Refusal> {
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
                super::DeduplicationId::MessageId,
            )?,
            allow_fifo_to_standard: layers.switch("allow_fifo_to_standard"),
            lanes: layers.whole("lanes", 1..=IN_FLIGHT_LIMIT as u32, DEFAULT_LANES)? as usize,
            page: layers.whole("page", 1..=PAGE_LIMIT as u32, PAGE_LIMIT as u32)? as usize,
            timings,
            window,
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
            return Err(Refusal::new(
                format!("{} never opens", self.layers.cite("window")),
                "write a window such as --window 08:00-21:00",
            ));
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
            values::parse_rate(text).ok_or_else(|| {
                Wrong::new(
                    "is not a number of messages a second above 0",
                    "write one such as 500 or 0.5, or none for no limit",
                )
            })
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

/// What no route can see alone.
fn check_routes_together(routes: &[RoutePlan], warnings: &mut Vec<Warning>) -> Result<(), Refusal> {
    for (index, route) in routes.iter().enumerate() {
        for other in &routes[..index] {
            if route.from.looks_like(&other.from) {
                return Err(Refusal::new(
                    format!(
                        "the routes {} and {} drain the same queue, {}",
                        other.name, route.name, route.from
                    ),
                    "one run drains a source at a time, ask for one of them",
                ));
            }
            if route.run_id.is_some() && route.run_id == other.run_id {
                return Err(Refusal::new(
                    format!(
                        "the routes {} and {} have the same run id",
                        other.name, route.name
                    ),
                    "give --run-id with one route, or each its own run_id",
                ));
            }
            let feeds = |a: &RoutePlan, b: &RoutePlan| a.to.iter().any(|to| to.looks_like(&b.from));
            if feeds(route, other) && feeds(other, route) {
                warnings.push(Warning::new(format!(
                    "the routes {} and {} move messages to each other: their windows must not overlap",
                    other.name, route.name
                )));
            }
        }
    }
    Ok(())
}
