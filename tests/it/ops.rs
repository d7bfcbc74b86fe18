//! The sub-commands beside `run`: the built binary against embedded endpoints, its lines and its exit codes.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::binary::world::{SCHEDULE, TABLE, WAIT, World};
use crate::record::{self, Caller};

mod doubts;
mod look;
mod notify;
mod plan;
mod steer;

/// How a sub-command ended.
pub struct Done {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Done {
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "out: {}\nerr: {}",
            self.out,
            self.err
        );
        self
    }

    #[track_caller]
    pub fn says(self, words: &[&str]) -> Self {
        for word in words {
            let all = format!("{}\n{}", self.out, self.err);
            assert!(all.contains(word), "no {word:?} in:\n{all}");
        }
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(self.out.trim()).unwrap_or_else(|e| panic!("{e}: {}", self.out))
    }
}

/// Runs the binary with these arguments, split at spaces, against a world's endpoints, and awaits its end.
pub async fn call(world: &World, line: &str) -> Done {
    call_in(world, line, &[]).await
}

/// The same, with more in the environment.
pub async fn call_in(world: &World, line: &str, env: &[(&str, &str)]) -> Done {
    let args: Vec<&str> = line.split_whitespace().collect();
    let key = record::sign_as(Caller::process(&args, env));
    let mut command = Command::new(env!("CARGO_BIN_EXE_sqs-drain"));
    command
        .args(args)
        .env_clear()
        .env("AWS_ENDPOINT_URL_SQS", &world.endpoints.sqs_url)
        .env("AWS_ENDPOINT_URL_DYNAMODB", &world.endpoints.dynamo_url)
        .env("AWS_REGION", "us-east-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_ACCESS_KEY_ID", key)
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .envs(env.iter().copied())
        .stdin(Stdio::null());
    let ended = tokio::task::spawn_blocking(move || command.output());
    let Output {
        status,
        stdout,
        stderr,
    } = ended.await.expect("a thread").expect("the binary runs");
    Done {
        code: status.code(),
        out: String::from_utf8(stdout).expect("text"),
        err: String::from_utf8(stderr).expect("text"),
    }
}

/// Pastes every whole command that a text names between back quotes, and sees it work. Answers with how many there were.
pub async fn paste(world: &World, text: &str) -> usize {
    let commands: Vec<&str> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|span| span.starts_with("sqs-drain "))
        .collect();
    for command in &commands {
        let line = command.trim_start_matches("sqs-drain ");
        call(world, line).await.exits(0);
    }
    commands.len()
}

/// The machine's time of day, by which the binary goes.
#[expect(clippy::disallowed_methods, reason = "another process's time is meant")]
pub fn time_of_day() -> chrono::DateTime<chrono::Utc> {
    chrono::Utc::now()
}

/// The flags of the usual route, always open.
pub fn route() -> String {
    format!("--from {WAIT} --to {SCHEDULE} --table {TABLE} --window always")
}

/// The status of the one route of a run.
pub async fn status_of(world: &World, run: &str) -> Value {
    let done = call(world, &format!("status {run} --table {TABLE} --json")).await;
    let status = done.exits(0).json();
    let routes = status["routes"].as_object().expect("routes");
    assert_eq!(routes.len(), 1, "{status}");
    routes.values().next().expect("one").clone()
}

/// A figure of a status.
#[track_caller]
pub fn figure(status: &Value, name: &str) -> u64 {
    status[name]
        .as_u64()
        .unwrap_or_else(|| panic!("no figure {name} in {status}"))
}

/// Whether all that was received is in a class or in hand, by the figures themselves.
#[track_caller]
pub fn balances(status: &Value) {
    let classes = [
        "sent",
        "deduplicated",
        "rejected",
        "held",
        "released",
        "in_doubt",
        "in_hand",
    ];
    let sum: u64 = classes.iter().map(|c| figure(status, c)).sum();
    assert_eq!(figure(status, "received"), sum, "{status}");
    assert_eq!(status["balanced"], true, "{status}");
}
