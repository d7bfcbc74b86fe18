//! Finds what was asked for, and reads what concerns the whole process.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::layers::Layers;
use super::route::{RouteBuilder, window};
use super::values;
use super::{
    LogFormat, LogLevel, Plan, ProcessPlan, Progress, QueueRef, Refusal, RoutePlan, SHARDS_LIMIT,
    Shard, Timings, Warning,
};
use crate::config::{
    Environment, FileRoute, Origin, Raw, RoutesFile, Setting, Settings, env_name, find_key,
    flag_name, nearest, split_list,
};
use crate::window::Window;

/// The name of the route that comes from flags alone.
const UNNAMED_ROUTE: &str = "default";

/// How long a stop may take: Batch and Fargate kill 30 s after the signal.
const DEFAULT_GRACE: Duration = Duration::from_secs(25);

/// How far two windows are looked at for a time at which both are open: every day of the week, and one more.
const A_WEEK: Duration = Duration::from_secs(8 * 86_400);

/// Everything that was said, not yet understood.
#[derive(Clone, Debug)]
pub struct Request {
    /// The routes asked for by name; none: all of the file's.
    pub asked: Vec<String>,
    /// The command line.
    pub flags: Settings,
    /// The environment; only `SQS_DRAIN_*` and `AWS_BATCH_*` are looked at.
    pub environment: Environment,
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

/// When a route may send.
#[derive(Clone, Debug)]
pub struct Hours {
    /// Its name.
    pub name: String,
    /// Its window.
    pub window: Window,
    /// How long after the opening a run may be begun.
    pub start_within: Option<Duration>,
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
                shards: process.shard.of,
            }
            .build(&mut warnings)
            .map_err(|refusal| self.on_route(refusal, name))?;
            routes.push(route);
        }
        check_routes_together(&routes, self.now, &mut warnings)?;
        Ok(Plan {
            process,
            routes,
            warnings,
        })
    }

    /// The windows of the routes asked for, and how long after an opening a run of each may be begun (`--start-within`), without looking at
    /// anything else.
    ///
    /// # Errors
    /// A [`Refusal`] for a window, zone, holiday or length of time that cannot be understood.
    pub fn windows(&self) -> Result<Vec<Hours>, Refusal> {
        let (environment, batch, _) = self.environment()?;
        let sorted = self.sort(&environment, &batch, false)?;
        let windows = sorted.routes.iter().map(|(name, layers)| {
            let on_route = |refusal| self.on_route(refusal, name);
            Ok(Hours {
                name: (*name).to_owned(),
                window: window(layers).map_err(on_route)?,
                start_within: layers.optional_duration("start_within").map_err(on_route)?,
            })
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
            let text = self.environment.get(variable);
            if let (Some(text), Some(key)) = (text, find_key(name)) {
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
                .any(|other: &&FileRoute| other.name == route.name)
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
        variable.map(split_list).unwrap_or_default()
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

/// What no route can see alone.
fn check_routes_together(
    routes: &[RoutePlan],
    now: DateTime<Utc>,
    warnings: &mut Vec<Warning>,
) -> Result<(), Refusal> {
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
            for (one, two) in [(route, other), (other, route)] {
                check_parked(one, two, warnings)?;
            }
            let feeds = |a: &RoutePlan, b: &RoutePlan| a.to.iter().any(|to| to.looks_like(&b.from));
            if feeds(route, other) && feeds(other, route) {
                let both = other.window.open_together(&route.window, now, A_WEEK);
                if let Some(at) = both {
                    return Err(Refusal::new(
                        format!(
                            "the routes {} and {} move messages to each other, and both windows are open at {}, so messages would go round in circles",
                            other.name,
                            route.name,
                            other.window.describe(at)
                        ),
                        "write windows that do not overlap, or ask for one of the routes",
                    ));
                }
                warnings.push(Warning::new(format!(
                    "the routes {} and {} move messages to each other: their windows must not overlap",
                    other.name, route.name
                )));
            }
        }
    }
    Ok(())
}

/// What a route parks must not be drained by another of the same start, which would go round in circles. Two routes may share a
/// hold or reject queue.
fn check_parked(
    route: &RoutePlan,
    other: &RoutePlan,
    warnings: &mut Vec<Warning>,
) -> Result<(), Refusal> {
    let parked = [("hold", route.hold()), ("reject", route.reject.as_ref())];
    for (role, queue) in parked {
        let Some(queue) = queue else { continue };
        if queue.looks_like(&other.from) {
            return Err(Refusal::new(
                format!(
                    "{queue} is the {role} queue of the route {} and the source of the route {}, so what is parked would be drained",
                    route.name, other.name
                ),
                format!(
                    "name another {role} queue, or ask for the route {} by itself, when this one has ended",
                    other.name
                ),
            ));
        }
        if other.to.iter().any(|to| to.looks_like(queue)) {
            warnings.push(Warning::new(format!(
                "{queue} is the {role} queue of the route {} and a destination of the route {}: what is parked there is delivered",
                route.name, other.name
            )));
        }
    }
    Ok(())
}
