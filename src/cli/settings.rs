//! The flags that are settings, kept as text until [`crate::plan`] reads them
//! together with environment and file.

use std::path::PathBuf;

use clap::Args;

use crate::config::{Origin, Raw, Secret, Settings, find_key};

/// Where the routes file is.
#[derive(Args, Clone, Debug, Default)]
pub struct ConfigArgs {
    /// Routes file (TOML); every setting below is a key in it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Every setting of a route and of the process.
#[derive(Args, Clone, Debug, Default)]
pub struct SettingArgs {
    #[command(flatten)]
    queues: QueueArgs,
    #[command(flatten)]
    window: WindowArgs,
    #[command(flatten)]
    pace: PaceArgs,
    #[command(flatten)]
    run: RunSettingArgs,
    #[command(flatten)]
    fifo: FifoArgs,
    #[command(flatten)]
    timings: TimingArgs,
    #[command(flatten)]
    process: ProcessArgs,
}

#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Queues")]
struct QueueArgs {
    /// Wait queue to drain: its name or URL
    #[arg(long, value_name = "QUEUE")]
    from: Option<String>,
    /// Destination; several share the messages by group or id
    #[arg(long, value_name = "QUEUE", value_delimiter = ',')]
    to: Vec<String>,
    /// Queue for messages the destination refuses for their own sake
    #[arg(long, value_name = "QUEUE")]
    reject: Option<String>,
    /// Queue for doubts under at-most-once
    #[arg(long, value_name = "QUEUE")]
    hold: Option<String>,
}

#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Window")]
struct WindowArgs {
    /// When sending is allowed: 08:00-21:00, "mon-fri 10:00-13:00", always
    #[arg(long, value_name = "SPAN")]
    window: Vec<String>,
    /// Time zone of the window (IANA name), such as Asia/Seoul
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// Dates on which the window stays shut, such as 2026-12-25
    #[arg(long, value_name = "DATE", value_delimiter = ',')]
    holidays: Vec<String>,
    /// When sending is allowed on holidays [default: not at all]
    #[arg(long, value_name = "SPAN")]
    holiday_windows: Vec<String>,
    /// Refuse to start a run later than this after the opening
    #[arg(long, value_name = "TIME")]
    start_within: Option<String>,
    /// Started early, wait for the opening instead of exit 3
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    wait_open: Option<bool>,
}

#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Pace")]
struct PaceArgs {
    /// Messages a second over all shards together [default: no limit]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    rate: Option<String>,
    /// Messages that may go at once over the rate [default: 10 a shard]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    burst: Option<String>,
    /// Concurrent workers in this process [default: 8]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    lanes: Option<String>,
    /// Messages a journal page may hold, 1 to 50 [default: 50]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    page: Option<String>,
}

#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Run")]
struct RunSettingArgs {
    /// DynamoDB table for the run's journal (see `init`)
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// Go without a table: nothing is remembered after a kill
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    no_journal: Option<bool>,
    /// What becomes of a doubt: at-least-once or at-most-once [default: at-least-once]
    #[arg(long, value_name = "POLICY")]
    delivery: Option<String>,
    /// When the run may end: run-start, none or a time [default: run-start]
    #[arg(long, value_name = "TIME")]
    cutoff: Option<String>,
    /// The run's id [default: ROUTE@opening of the window]
    #[arg(long, value_name = "ID")]
    run_id: Option<String>,
    /// Processes of the run [default: AWS_BATCH_JOB_ARRAY_SIZE or 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    shards: Option<String>,
    /// This process's index, from 0 [default: AWS_BATCH_JOB_ARRAY_INDEX or 0]
    #[arg(long, value_name = "I", allow_negative_numbers = true)]
    shard: Option<String>,
}

#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "FIFO")]
struct FifoArgs {
    /// Group id towards FIFO: source, id, attribute:NAME or constant:TEXT
    #[arg(long, value_name = "WHERE")]
    group_from: Option<String>,
    /// Deduplication id towards FIFO: message-id or original [default: message-id]
    #[arg(long, value_name = "WHICH")]
    deduplication_id: Option<String>,
    /// Allow a FIFO source to be drained into a standard queue
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    allow_fifo_to_standard: Option<bool>,
}

#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Timings (90s, 5m, 1500ms, 1h; a bare number is seconds)")]
struct TimingArgs {
    /// How long a received message stays hidden [default: 120s]
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    visibility: Option<String>,
    /// How long one receive waits, 1s to 20s [default: 2s]
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    poll: Option<String>,
    /// How long the queue must look empty before the run ends [default: 3s]
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    settle: Option<String>,
    /// Kept free before deadlines and the window's closing [default: 5s]
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    margin: Option<String>,
    /// How long one send may take [default: 5s]
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    send_timeout: Option<String>,
    /// How long one DynamoDB call may take, retries included [default: 3s]
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    table_timeout: Option<String>,
    /// How often a process shows that it lives [default: 3s]
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    heartbeat: Option<String>,
    /// How long a heartbeat stands still before its process is dead [default: 10s]
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    lease: Option<String>,
    /// How long a stop may take after the first signal [default: 25s]
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    grace: Option<String>,
}

#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Reporting")]
struct ProcessArgs {
    /// Slack webhook for a message when a run ends with anything but 0
    #[arg(long, value_name = "URL", value_parser = secret)]
    slack_webhook: Option<Secret>,
    /// Send that message at success too
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    notify_success: Option<bool>,
    /// Progress on standard error: auto, always or never [default: auto]
    #[arg(long, value_name = "WHEN")]
    progress: Option<String>,
    /// Log lines: auto, json or text [default: auto]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Log level: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Write the result to this file as well
    #[arg(long, value_name = "FILE")]
    result: Option<String>,
}

fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

/// What is needed to find a run's state, for the sub-commands that read or
/// change one.
#[derive(Args, Clone, Debug, Default)]
pub struct TargetArgs {
    /// The routes file and the route.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// DynamoDB table of the journal
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// Source of the run: its name or URL
    #[arg(long, value_name = "QUEUE")]
    from: Option<String>,
    /// Route of the routes file [default: all]
    #[arg(long = "route", value_name = "ROUTE", value_delimiter = ',')]
    pub routes: Vec<String>,
    /// How long one DynamoDB call may take, retries included [default: 3s]
    #[arg(long, value_name = "TIME")]
    table_timeout: Option<String>,
}

impl TargetArgs {
    /// The settings among these flags.
    pub fn settings(&self) -> Settings {
        let mut written = Written::default();
        written.text("table", &self.table);
        written.text("from", &self.from);
        written.text("table_timeout", &self.table_timeout);
        written.0
    }
}

impl SettingArgs {
    /// The settings among these flags.
    pub fn settings(&self) -> Settings {
        let mut written = Written::default();
        let SettingArgs {
            queues,
            window,
            pace,
            run,
            fifo,
            timings,
            process,
        } = self;
        written.text("from", &queues.from);
        written.list("to", &queues.to);
        written.text("reject", &queues.reject);
        written.text("hold", &queues.hold);
        written.list("window", &window.window);
        written.text("zone", &window.zone);
        written.list("holidays", &window.holidays);
        written.list("holiday_windows", &window.holiday_windows);
        written.text("start_within", &window.start_within);
        written.switch("wait_open", window.wait_open);
        written.text("rate", &pace.rate);
        written.text("burst", &pace.burst);
        written.text("lanes", &pace.lanes);
        written.text("page", &pace.page);
        written.text("table", &run.table);
        written.switch("no_journal", run.no_journal);
        written.text("delivery", &run.delivery);
        written.text("cutoff", &run.cutoff);
        written.text("run_id", &run.run_id);
        written.text("shards", &run.shards);
        written.text("shard", &run.shard);
        written.text("group_from", &fifo.group_from);
        written.text("deduplication_id", &fifo.deduplication_id);
        written.switch("allow_fifo_to_standard", fifo.allow_fifo_to_standard);
        written.text("visibility", &timings.visibility);
        written.text("poll", &timings.poll);
        written.text("settle", &timings.settle);
        written.text("margin", &timings.margin);
        written.text("send_timeout", &timings.send_timeout);
        written.text("table_timeout", &timings.table_timeout);
        written.text("heartbeat", &timings.heartbeat);
        written.text("lease", &timings.lease);
        written.text("grace", &timings.grace);
        if let Some(webhook) = &process.slack_webhook {
            written.raw("slack_webhook", Raw::Secret(webhook.clone()));
        }
        written.switch("notify_success", process.notify_success);
        written.text("progress", &process.progress);
        written.text("log_format", &process.log_format);
        written.text("log_level", &process.log_level);
        written.text("result", &process.result);
        written.0
    }
}

/// Collects what was written on the command line.
#[derive(Default)]
struct Written(Settings);

impl Written {
    fn raw(&mut self, name: &str, raw: Raw) {
        // A name that is no key would be a flag without effect; a test holds
        // every flag against the table of keys.
        if let Some(key) = find_key(name) {
            self.0.set(key, raw, Origin::Flag);
        }
    }

    fn text(&mut self, name: &str, text: &Option<String>) {
        if let Some(text) = text {
            self.raw(name, Raw::Text(text.clone()));
        }
    }

    fn list(&mut self, name: &str, texts: &[String]) {
        if !texts.is_empty() {
            self.raw(name, Raw::List(texts.to_vec()));
        }
    }

    fn switch(&mut self, name: &str, on: Option<bool>) {
        if let Some(on) = on {
            self.raw(name, Raw::Switch(on));
        }
    }
}
