//! The record of what the worker asks AWS for in the whole test run, which jobdef/check/test_operations.py holds against the
//! policies under jobdef/iam.
//!
//! Every worker (a process of the binary, or the library's adapters) signs with an access key id of its own, and is known by
//! it at the embedded endpoints. What the tests themselves ask for is signed with [`HARNESS`] and is not recorded. Where
//! `SQS_DRAIN_RECORD_OPERATIONS` names a file, each operation that was not there yet is appended to it, one JSON object a line:
//!
//! ```json
//! {"by":"run","call":"sqs:DeleteMessageBatch","on":["source"]}
//! ```
//!
//! `on` is what the resource is to that very worker: its source, destination, reject or hold queue, its table; two when it
//! is both; `queue` for adapters, which have no settings; `other`, with the name, when it was never told of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::{LazyLock, Mutex, PoisonError};

use serde_json::{Value, json};
use sqs_drain::cli::{Cli, Command, ConfigArgs, DoubtsCommand, TargetArgs, request_in};
use sqs_drain::config::{Environment, Settings};
use sqs_drain::local::{Call, Endpoints, Service};
use sqs_drain::plan::{Journal, Located, Plan, Refusal, Request};

/// The access key id of the tests themselves.
pub const HARNESS: &str = "test";

/// Names the file of the record.
const VARIABLE: &str = "SQS_DRAIN_RECORD_OPERATIONS";

/// Who asks, and what its resources are to it.
pub struct Caller {
    by: String,
    /// By name; `None`: it has no settings, every queue and table is its own.
    resources: Option<BTreeMap<String, BTreeSet<&'static str>>>,
}

#[derive(Default)]
struct Record {
    callers: BTreeMap<String, Caller>,
    seen: BTreeSet<String>,
}

static RECORD: LazyLock<Mutex<Record>> = LazyLock::new(Mutex::default);

/// An access key id for a worker.
pub fn sign_as(caller: Caller) -> String {
    let mut record = RECORD.lock().unwrap_or_else(PoisonError::into_inner);
    let key = format!("WORKER{:08}", record.callers.len());
    record.callers.insert(key.clone(), caller);
    key
}

/// Records what workers ask of these endpoints from now on, if a record is wanted.
pub fn watch(endpoints: &Endpoints) {
    let Some(path) = std::env::var_os(VARIABLE) else {
        return;
    };
    let append = || OpenOptions::new().create(true).append(true).open(&path);
    let file = append().unwrap_or_else(|error| panic!("{VARIABLE}={}: {error}", path.display()));
    endpoints.observe(move |call| note(call, &file));
}

fn note(call: &Call<'_>, mut file: &File) {
    let mut record = RECORD.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(caller) = call.access_key.and_then(|key| record.callers.get(key)) else {
        return;
    };
    let mut fresh = Vec::new();
    for line in lines(caller, call) {
        if !record.seen.contains(&line) {
            fresh.push(line);
        }
    }
    for line in fresh {
        // One write a line: other processes may append to the same file.
        file.write_all(format!("{line}\n").as_bytes())
            .expect("the record can be written");
        record.seen.insert(line);
    }
}

/// A line for each resource of a call.
fn lines(caller: &Caller, call: &Call<'_>) -> Vec<String> {
    let action = format!("{}:{}", call.service.name(), call.action);
    let (kind, names) = match call.service {
        Service::Sqs => ("queue", call.queue.map(str::to_owned).into_iter().collect()),
        Service::DynamoDb => ("table", tables(call.body)),
    };
    let line = |name: &String| {
        let on = match &caller.resources {
            None => json!([kind]),
            Some(known) => match known.get(name) {
                Some(roles) => json!(roles),
                None => {
                    let on = json!(["other"]);
                    return json!({"by": caller.by, "call": action, "on": on, "name": name});
                }
            },
        };
        json!({"by": caller.by, "call": action, "on": on})
    };
    match names.as_slice() {
        [] => vec![json!({"by": caller.by, "call": action, "on": ["nothing"]}).to_string()],
        names => names.iter().map(|name| line(name).to_string()).collect(),
    }
}

/// The tables that a DynamoDB request names.
fn tables(body: &[u8]) -> Vec<String> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    match (&body["TableName"], &body["RequestItems"]) {
        (Value::String(name), _) => vec![name.clone()],
        (_, Value::Object(items)) => items.keys().cloned().collect(),
        _ => Vec::new(),
    }
}

impl Caller {
    /// Adapters without settings.
    pub fn adapters(by: &str) -> Self {
        Self {
            by: by.to_owned(),
            resources: None,
        }
    }

    /// A run inside the test.
    pub fn inside(from: &str, to: &[&str], table: &str) -> Self {
        let mut caller = Self::named("run");
        caller.add("source", from);
        to.iter().for_each(|to| caller.add("destination", to));
        caller.add("table", table);
        caller
    }

    /// The binary with these arguments and variables: its resources are read by the program's own parser. A refused line has none,
    /// and must not ask for anything.
    pub fn process(args: &[&str], env: &[(&str, &str)]) -> Self {
        let by: Vec<&str> = match args {
            ["doubts", which, ..] => vec!["doubts", which],
            _ => args.iter().copied().take(1).collect(),
        };
        let mut caller = Self::named(&by.join(" "));
        let line = std::iter::once("sqs-drain").chain(args.iter().copied());
        if let Ok(cli) = Cli::read(line) {
            // What is wrong with it, the program under test says.
            let _ = caller.read(&cli.command, env);
        }
        caller
    }

    fn named(by: &str) -> Self {
        Self {
            by: by.to_owned(),
            resources: Some(BTreeMap::new()),
        }
    }

    fn add(&mut self, role: &'static str, name: &str) {
        let known = self.resources.get_or_insert_default();
        known.entry(name.to_owned()).or_default().insert(role);
    }

    fn read(&mut self, command: &Command, env: &[(&str, &str)]) -> Result<(), Refusal> {
        let plan = |routes: &[String], config: &ConfigArgs, flags: Settings| {
            request(routes, config, flags, env)?.plan()
        };
        let locate = |target: &TargetArgs| {
            request(&target.routes, &target.config, target.settings(), env)?.locate()
        };
        match command {
            Command::Run(args) | Command::Plan(args) | Command::Check(args) => {
                self.plan(&plan(&args.routes, &args.config, args.settings.settings())?);
            }
            Command::Doubts(doubts) => match &doubts.command {
                DoubtsCommand::Settle(args) => {
                    let routes: Vec<String> = args.route.iter().cloned().collect();
                    self.plan(&plan(&routes, &args.config, args.settings.settings())?);
                }
                DoubtsCommand::List(args) => self.located(&locate(&args.target)?),
            },
            Command::Init(args) => self.located(&locate(&args.target)?),
            Command::Status(args) => self.located(&locate(&args.target)?),
            Command::Pause(args) | Command::Resume(args) => self.located(&locate(&args.target)?),
            Command::Rate(args) => self.located(&locate(&args.target)?),
            // The rest asks AWS for nothing.
            _ => {}
        }
        Ok(())
    }

    fn plan(&mut self, plan: &Plan) {
        for route in &plan.routes {
            self.add("source", route.from.name());
            for to in &route.to {
                self.add("destination", to.name());
            }
            if let Some(reject) = &route.reject {
                self.add("reject", reject.name());
            }
            if let Some(hold) = route.hold() {
                self.add("hold", hold.name());
            }
            if let Journal::Table(table) = &route.journal {
                self.add("table", table);
            }
        }
    }

    fn located(&mut self, located: &Located) {
        self.add("table", &located.table);
        for route in &located.routes {
            self.add("source", route.from.name());
        }
    }
}

/// What the program makes of its arguments, with this environment in place of its own.
fn request(
    asked: &[String],
    config: &ConfigArgs,
    flags: Settings,
    env: &[(&str, &str)],
) -> Result<Request, Refusal> {
    let environment: Environment = env
        .iter()
        .filter(|(name, value)| name.starts_with("SQS_DRAIN_") && !value.is_empty())
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    request_in(environment, asked, config, flags, chrono::Utc::now())
}

#[test]
fn a_caller_is_known_by_its_own_settings() {
    let roles = |caller: &Caller, name: &str| -> Vec<&str> {
        let known = caller.resources.as_ref().and_then(|r| r.get(name));
        known.into_iter().flatten().copied().collect()
    };
    let line = "run --from http://127.0.0.1:1/000000000000/wait --to a --to b --reject bad --delivery at-most-once --hold held --table tab --window always";
    let args: Vec<&str> = line.split(' ').collect();
    let caller = Caller::process(&args, &[]);
    assert_eq!(caller.by, "run");
    for (name, role) in [
        ("wait", "source"),
        ("a", "destination"),
        ("b", "destination"),
        ("bad", "reject"),
        ("held", "hold"),
        ("tab", "table"),
    ] {
        assert_eq!(roles(&caller, name), [role], "{name}");
    }
    let caller = Caller::process(
        &["doubts", "list", "--table", "tab"],
        &[("SQS_DRAIN_FROM", "w")],
    );
    assert_eq!(caller.by, "doubts list");
    assert_eq!(roles(&caller, "w"), ["source"]);
    assert_eq!(roles(&caller, "tab"), ["table"]);
    let call = |action: &'static str, queue: Option<&'static str>| Call {
        service: Service::Sqs,
        action,
        queue,
        access_key: None,
        body: b"{}",
    };
    let noted = |action, queue| -> Value {
        let lines = lines(&caller, &call(action, queue));
        assert_eq!(lines.len(), 1, "{lines:?}");
        serde_json::from_str(&lines[0]).expect("JSON")
    };
    let by = "doubts list";
    assert_eq!(
        noted("GetQueueUrl", Some("w")),
        json!({"by": by, "call": "sqs:GetQueueUrl", "on": ["source"]})
    );
    assert_eq!(
        noted("PurgeQueue", Some("x")),
        json!({"by": by, "call": "sqs:PurgeQueue", "on": ["other"], "name": "x"})
    );
    assert_eq!(
        noted("ListQueues", None),
        json!({"by": by, "call": "sqs:ListQueues", "on": ["nothing"]})
    );
    let several = br#"{"RequestItems":{"t":{},"u":{}}}"#;
    assert_eq!(tables(several), ["t", "u"]);
}
