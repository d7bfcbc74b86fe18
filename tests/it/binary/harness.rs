//! The worker as a child process: started, signalled, awaited, its result read.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long an event is waited for before a test gives up. Generous: it bounds failures, not successes.
pub const PATIENCE: Duration = Duration::from_secs(100);

/// Timings as short as the worker accepts, so that tests need not wait. The server's clock passes the visibility timeouts.
pub const TIMINGS: [&str; 18] = [
    "--visibility",
    "25s",
    "--send-timeout",
    "3s",
    "--table-timeout",
    "3s",
    "--margin",
    "1s",
    "--heartbeat",
    "500ms",
    "--lease",
    "4s",
    "--poll",
    "1s",
    "--settle",
    "300ms",
    "--grace",
    "20s",
];

/// Shorter still, for what comes back only when a visibility timeout has passed in real time.
pub const SHORTEST_VISIBILITY: [&str; 6] = [
    "--visibility",
    "17s",
    "--send-timeout",
    "2s",
    "--table-timeout",
    "2s",
];

/// Waits until `holds` does; `what` names it when it never does.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "never happened: {what}");
        pause().await;
    }
}

/// Between two looks at something that another process does.
#[expect(
    clippy::disallowed_methods,
    reason = "another process is waited for: there is no clock to inject into it"
)]
pub async fn pause() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}

/// This moment of real time.
#[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
pub fn now() -> Instant {
    Instant::now()
}

/// A worker that was started. Killed when dropped.
pub struct Worker {
    child: Child,
    out: File,
    err: File,
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn all_of(file: &mut File) -> String {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).expect("a seekable file");
    file.read_to_string(&mut text).expect("text");
    text
}

impl Worker {
    /// Starts the binary with these arguments and nothing in its environment but `env`.
    pub fn start<'a>(args: &[&str], env: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let out = tempfile::tempfile().expect("a file");
        let err = tempfile::tempfile().expect("a file");
        let child = Command::new(env!("CARGO_BIN_EXE_sqs-drain"))
            .args(args)
            .env_clear()
            .envs(env)
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("another handle"))
            .stderr(err.try_clone().expect("another handle"))
            .spawn()
            .expect("the binary starts");
        Self { child, out, err }
    }

    /// What it has logged so far. The child writes through the same open file, so nothing is sought in it.
    pub fn log(&self) -> String {
        use std::os::unix::fs::FileExt;
        let length = self.err.metadata().expect("metadata").len() as usize;
        let mut bytes = vec![0; length];
        self.err.read_exact_at(&mut bytes, 0).expect("the log");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: libc::c_int) {
        let pid = libc::pid_t::try_from(self.child.id()).expect("a process id");
        // SAFETY: kill(2) touches no memory; the child has not been waited for, so the id is still its own.
        let sent = unsafe { libc::kill(pid, signal) };
        assert_eq!(sent, 0, "the signal was sent");
    }

    /// Kills it with SIGKILL and waits until it is gone; answers with its log.
    pub fn kill(mut self) -> String {
        assert!(
            self.child.try_wait().expect("a child").is_none(),
            "it had ended before it was killed:\n{}",
            self.log()
        );
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
        self.log()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// Waits for its end.
    pub async fn ended(mut self) -> Ended {
        let start = now();
        while !self.has_ended() {
            assert!(
                start.elapsed() < PATIENCE,
                "it never ended:\n{}",
                self.log()
            );
            pause().await;
        }
        let status = self.child.wait().expect("a status");
        let stdout = all_of(&mut self.out);
        let stderr = all_of(&mut self.err);
        let result = match stdout.trim_end() {
            "" => Value::Null,
            line => serde_json::from_str(line)
                .unwrap_or_else(|e| panic!("one JSON line on standard output, not {line:?}: {e}")),
        };
        Ended {
            code: status.code(),
            result,
            stdout,
            stderr,
        }
    }
}

/// A worker's end.
pub struct Ended {
    pub code: Option<i32>,
    /// The result line; null when there was none.
    pub result: Value,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Asserts the exit code, and that the result (where there is one) says the same and balances.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "exit code; result {}\n{}",
            self.result,
            self.stderr
        );
        if !self.result.is_null() {
            assert_eq!(self.result["exit_code"], code, "{}", self.result);
            assert_eq!(self.result["balanced"], true, "{}", self.result);
        }
        self
    }

    /// The report of the unnamed route.
    pub fn route(&self) -> &Value {
        self.named("default")
    }

    /// A route's report.
    #[track_caller]
    pub fn named(&self, route: &str) -> &Value {
        let report = &self.result["routes"][route];
        assert!(
            report.is_object(),
            "no route {route}: {}\n{}",
            self.result,
            self.stderr
        );
        report
    }

    /// A figure of the unnamed route.
    #[track_caller]
    pub fn figure(&self, name: &str) -> u64 {
        self.route()[name]
            .as_u64()
            .unwrap_or_else(|| panic!("no figure {name} in {}", self.result))
    }

    /// The unnamed route's message.
    pub fn message(&self) -> &str {
        self.route()["message"].as_str().unwrap_or_default()
    }

    /// The ids the unnamed route lists, whatever their state.
    pub fn listed(&self) -> BTreeSet<String> {
        self.listed_as(|_| true)
    }

    /// The ids the unnamed route lists in such a state.
    pub fn listed_as(&self, wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
        let list = self.route()["doubts"].as_array().expect("a list");
        let text = |d: &Value, name: &str| d[name].as_str().expect("text").to_owned();
        list.iter()
            .filter(|d| wanted(&text(d, "state")))
            .map(|d| text(d, "id"))
            .collect()
    }
}
