//! The files under jobdef/ against the program they start: exit codes and
//! retries, settings, timings. What they are to AWS is checked in
//! jobdef/check.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqs_drain::cli::{Cli, Command};
use sqs_drain::config::{KEYS, env_name};
use sqs_drain::exit::ExitCode;
use sqs_drain::plan::{Delivery, IN_FLIGHT_LIMIT, LogFormat, Plan, Progress, Refusal, Request};

const JOBS: [&str; 2] = ["batch-job.json", "batch-array-job.json"];

fn text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn json(name: &str) -> Value {
    serde_json::from_str(&text(&format!("jobdef/{name}")))
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn strings(value: &Value) -> Vec<String> {
    let entries = value.as_array().expect("a list");
    entries
        .iter()
        .map(|entry| entry.as_str().expect("a string").to_owned())
        .collect()
}

/// The three container definitions: name of the file, the container in it.
fn containers() -> Vec<(&'static str, Value)> {
    let mut found: Vec<(&'static str, Value)> = JOBS
        .iter()
        .map(|name| (*name, json(name)["containerProperties"].clone()))
        .collect();
    found.push((
        "ecs-task.json",
        json("ecs-task.json")["containerDefinitions"][0].clone(),
    ));
    found
}

fn environment(container: &Value) -> BTreeMap<String, String> {
    let entries = container["environment"].as_array().expect("a list");
    entries
        .iter()
        .map(|entry| {
            let field = |name: &str| entry[name].as_str().expect("a string").to_owned();
            (field("name"), field("value"))
        })
        .collect()
}

/// What the program makes of a container's command and environment, at the
/// opening of the window.
fn plan(container: &Value, more: &[(&str, &str)]) -> Result<Plan, Refusal> {
    let mut line = vec!["sqs-drain".to_owned()];
    line.extend(strings(&container["command"]));
    let cli = Cli::read(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
    let Command::Run(args) = cli.command else {
        panic!("{line:?} is not a run");
    };
    let mut environment = environment(container);
    for (name, value) in more {
        environment.insert((*name).to_owned(), (*value).to_owned());
    }
    let now: DateTime<Utc> = "2026-11-22T23:00:00Z".parse().expect("a time");
    Request {
        asked: args.routes,
        flags: args.settings.settings(),
        environment: environment.into_iter().collect(),
        file: None,
        now,
    }
    .plan()
}

/// Whether Batch starts a job again after this exit code, by its published
/// rules: the first matching `evaluateOnExit` decides, a pattern may end in
/// `*`, and what matches none is retried.
fn batch_retries(strategy: &Value, code: i32) -> bool {
    let code = code.to_string();
    let rules = strategy["evaluateOnExit"].as_array().expect("a list");
    for rule in rules {
        let pattern = rule["onExitCode"].as_str().expect("an exit code");
        let hit = match pattern.strip_suffix('*') {
            Some(start) => code.starts_with(start),
            None => code == pattern,
        };
        if hit {
            return rule["action"]
                .as_str()
                .is_some_and(|action| action.eq_ignore_ascii_case("retry"));
        }
    }
    true
}

#[test]
fn batch_retries_exactly_what_the_program_calls_retryable() {
    for name in JOBS {
        let strategy = &json(name)["retryStrategy"];
        for exit in ExitCode::ALL {
            if exit == ExitCode::Drained {
                continue; // A job that ends with 0 has succeeded; no rule is asked.
            }
            assert_eq!(
                batch_retries(strategy, i32::from(exit.code())),
                exit.retryable(),
                "{name}: exit code {} ({})",
                exit.code(),
                exit.description(),
            );
        }
        // A panic, SIGKILL, SIGSEGV, SIGTERM before the handler was there, and
        // what Batch itself reports for a host that went away (no exit code
        // matches, as there is none).
        for code in [101, 137, 139, 143] {
            assert!(batch_retries(strategy, code), "{name}: exit code {code}");
        }
        let rules = strategy["evaluateOnExit"].as_array().expect("a list");
        assert!(rules.len() <= 5, "{name}: Batch takes five rules");
        let attempts = strategy["attempts"].as_u64().expect("a number");
        assert!((2..=10).contains(&attempts), "{name}: Batch takes 1 to 10");
    }
}

#[test]
fn the_stack_has_the_same_rules() {
    let stack = text("jobdef/stack.yaml");
    let found: Vec<u8> = stack
        .lines()
        .filter_map(|line| line.split_once("Action: EXIT, OnExitCode: \""))
        .map(|(_, rest)| rest.split('"').next().unwrap_or_default())
        .map(|code| code.parse().expect("an exit code"))
        .collect();
    let once: Vec<u8> = ExitCode::ALL
        .into_iter()
        .filter(|exit| *exit != ExitCode::Drained && !exit.retryable())
        .map(ExitCode::code)
        .collect();
    // The single job and the array job.
    assert_eq!(found, [once.clone(), once].concat());
}

#[test]
fn every_definition_is_a_plan_the_program_accepts() {
    for (name, container) in containers() {
        let plan = plan(&container, &[]).unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        assert_eq!(plan.warnings.len(), 0, "{name}: {:?}", plan.warnings);
        assert_eq!(plan.process.log_format, LogFormat::Json, "{name}");
        assert_eq!(plan.process.progress, Progress::Never, "{name}");
        let [route] = plan.routes.as_slice() else {
            panic!("{name}: not one route");
        };
        assert_eq!(route.delivery, Delivery::AtLeastOnce, "{name}");
    }
}

/// A child of an array knows its place by the variables that Batch sets.
#[test]
fn an_array_child_knows_its_place() {
    let container = json("batch-array-job.json")["containerProperties"].clone();
    let batch = [
        ("AWS_BATCH_JOB_ARRAY_SIZE", "4"),
        ("AWS_BATCH_JOB_ARRAY_INDEX", "3"),
        ("AWS_BATCH_JOB_ATTEMPT", "2"),
        ("AWS_BATCH_JOB_ID", "b6ab1c52-0000-4000-8000-000000000000:3"),
    ];
    let plan = plan(&container, &batch).unwrap_or_else(|refusal| panic!("{refusal}"));
    assert_eq!((plan.process.shard.index, plan.process.shard.of), (3, 4));
}

/// A name that the program does not know would be ignored by nobody: it is
/// refused at the start of every run. So each must be a setting's.
#[test]
fn every_variable_is_a_setting() {
    let known: BTreeSet<String> = KEYS.iter().map(|key| env_name(key.name)).collect();
    let check = |place: &str, name: &str| {
        assert!(
            !name.starts_with("SQS_DRAIN_") || known.contains(name),
            "{place}: the program knows no {name}",
        );
    };
    for (place, container) in containers() {
        for name in environment(&container).keys() {
            check(place, name);
        }
    }
    let stack = text("jobdef/stack.yaml");
    let mut seen = 0;
    for word in stack.split(|c: char| !(c.is_ascii_uppercase() || c == '_')) {
        if word.starts_with("SQS_DRAIN_") {
            check("stack.yaml", word);
            seen += 1;
        }
    }
    assert!(
        seen > 30,
        "the stack's variables are no longer found: {seen}"
    );
}

/// SIGTERM to SIGKILL is longer than the grace; the attempt's time-out is
/// longer than the window, so that the program leaves by itself, and by no
/// more than a quarter of an hour.
#[test]
fn timings_agree_with_the_program() {
    // Fargate gives a stopped Batch container 30 s (no setting in the classic
    // container properties), and ECS what `stopTimeout` says.
    const BATCH_STOP: Duration = Duration::from_secs(30);
    let stop = json("ecs-task.json")["containerDefinitions"][0]["stopTimeout"]
        .as_u64()
        .map(Duration::from_secs)
        .expect("a number");
    for (name, container) in containers() {
        let plan = plan(&container, &[]).unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        let spare = Duration::from_secs(5);
        assert!(plan.process.grace + spare <= stop.min(BATCH_STOP), "{name}");
    }
    for name in JOBS {
        let definition = json(name);
        let plan = plan(&definition["containerProperties"], &[])
            .unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        let open = plan.routes[0]
            .window
            .longest_opening()
            .expect("a window that closes");
        let timeout = definition["timeout"]["attemptDurationSeconds"]
            .as_u64()
            .map(Duration::from_secs)
            .expect("a number");
        let longest = open + Duration::from_secs(15 * 60);
        assert!(
            timeout > open && timeout <= longest,
            "{name}: {timeout:?} for {open:?}"
        );
    }
}

/// What a schedule must not do: start the job outside the window.
#[test]
fn schedules_start_inside_the_window() {
    let container = json("batch-job.json")["containerProperties"].clone();
    let plan = plan(&container, &[]).unwrap_or_else(|refusal| panic!("{refusal}"));
    let window = &plan.routes[0].window;
    for (name, minutes) in [
        ("schedule.json", vec![0]),
        ("schedule-array.json", vec![0]),
        ("schedule-ecs.json", vec![0, 10, 20, 30, 40, 50]),
    ] {
        let schedule = json(name);
        let expression = schedule["ScheduleExpression"].as_str().expect("a string");
        let fields: Vec<&str> = expression
            .trim_start_matches("cron(")
            .trim_end_matches(')')
            .split(' ')
            .collect();
        let [minute, hour, "?", "*", "*", "*"] = fields.as_slice() else {
            panic!("{name}: {expression}");
        };
        let every: u32 = match minute.split_once('/') {
            Some(("0", step)) => step.parse().expect("a number"),
            None => 60,
            other => panic!("{name}: {other:?}"),
        };
        let found: Vec<u32> = (0..60).step_by(every as usize).collect();
        assert_eq!(found, minutes, "{name}");
        assert_eq!(schedule["ScheduleExpressionTimezone"], window.zone());
        let hour: u32 = hour.parse().expect("an hour");
        for minute in found {
            let civil = chrono::NaiveDate::from_ymd_opt(2026, 11, 23)
                .and_then(|day| day.and_hms_opt(hour, minute, 0))
                .expect("a time");
            let id = window.opening_id(window.instant_of(civil));
            assert!(id.is_some(), "{name}: the window is shut at {civil}");
        }
    }
}

/// How many shards a queue has room for: three pages for each lane, by the defaults that the plan has, the help names and the
/// project's page lists.
#[test]
fn the_page_says_how_many_shards_fit() {
    let container = json("batch-array-job.json")["containerProperties"].clone();
    let plan = plan(&container, &[]).unwrap_or_else(|refusal| panic!("{refusal}"));
    let (lanes, page) = (plan.routes[0].lanes, plan.routes[0].page);
    let held = 3 * lanes * page;
    let fit = IN_FLIGHT_LIMIT / held;
    let thousands = format!("{},{:03}", held / 1000, held % 1000);
    let words = text("jobdef/README.md")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let said = format!(
        "3 x {lanes} x {page} = {thousands} at the defaults, so beyond {fit} shards set `SQS_DRAIN_LANES` lower"
    );
    assert!(words.contains(&said), "jobdef/README.md: {said}");
    assert!(text("README.md").contains(&format!("| `--lanes`, `--page` | {lanes}, {page} |")));
    let help = sqs_drain::cli::command();
    let run = help.find_subcommand("run").expect("the sub-command");
    for (name, default) in [("lanes", lanes), ("page", page)] {
        let arg = run.get_arguments().find(|a| a.get_long() == Some(name));
        let help = arg.and_then(|a| a.get_help()).map(ToString::to_string);
        let help = help.unwrap_or_default();
        assert!(help.contains(&format!("[default: {default}]")), "{help}");
    }
}

/// The commands of the pages: lines of blocks, and those in the text that are whole.
#[test]
fn the_pages_commands_are_read_by_the_program() {
    let all = sqs_drain::cli::command();
    for (page, least) in [("README.md", 10), ("jobdef/README.md", 5)] {
        let text = text(page);
        let blocks = text.lines().filter_map(|line| line.strip_prefix("$ "));
        let spans = text.split('`').skip(1).step_by(2);
        let mut read = 0;
        for command in blocks.chain(spans) {
            let command = command.split(" #").next().unwrap_or_default();
            let whole = !command.contains("...") && !command.contains('|');
            let ours = match command.strip_prefix("cargo run --release -- ") {
                Some(rest) => format!("sqs-drain {rest}"),
                None => command.to_owned(),
            };
            // A name alone ("`sqs-drain`") is no command.
            if !whole || !ours.starts_with("sqs-drain ") || ours.contains("--help") {
                continue;
            }
            let words: Vec<&str> = ours.split_whitespace().collect();
            read += 1;
            if !ours.contains(" -") {
                // A sub-command is only named.
                let mut at = Some(&all);
                for word in &words[1..] {
                    at = at.and_then(|command| command.find_subcommand(word));
                }
                assert!(at.is_some(), "{page}: {command}");
                continue;
            }
            Cli::read(&words).unwrap_or_else(|error| panic!("{page}: {command}: {error}"));
        }
        assert!(read >= least, "{page}: {read} commands found");
    }
}
