//! The command line, and the only reader of the environment and of the routes
//! file. What was typed is handed on as text: [`crate::plan`] decides.

mod man;
mod settings;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

pub use man::write_man;
pub use settings::{ConfigArgs, SettingArgs, TargetArgs};

use crate::config::{ENV_PREFIX, Environment, KEYS, RoutesFile, Settings, env_name};
use crate::exit::ExitCode;
use crate::plan::{AwsEnvironment, Plan, Refusal, Request};

/// Drains an SQS wait queue into its destination queues: only inside permitted
/// hours, never faster than told, resumable after any kill.
#[derive(Parser, Clone, Debug)]
#[command(name = "sqs-drain", version, arg_required_else_help = true)]
#[command(
    after_help = "AWS endpoints, region and credentials are read from the SDK's own \
variables (AWS_REGION, AWS_ENDPOINT_URL, ...). A setting is taken from the first place that has \
it: flag, environment, route in the file, its [defaults], the file's top."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The sub-commands.
#[derive(Subcommand, Clone, Debug)]
pub enum Command {
    /// Drain the routes asked for, and print one line of result
    Run(RunArgs),
    /// See it work: endpoints in this process, sample messages, a real run
    #[cfg(feature = "local")]
    Demo(DemoArgs),
    /// Serve SQS and DynamoDB on this machine until stopped
    #[cfg(feature = "local")]
    Local(LocalArgs),
    /// Create the table for the journal
    Init(InitArgs),
    /// Show what a run would do now; changes nothing
    Plan(RunArgs),
    /// Say why the window is open or shut
    Explain(ExplainArgs),
    /// Check settings, permissions, queues, table and clock; changes nothing
    Check(RunArgs),
    /// Show a run from the table alone: under way, or long ended
    Status(StatusArgs),
    /// Pause a run under way
    Pause(RunTargetArgs),
    /// Go on with a paused run
    Resume(RunTargetArgs),
    /// Change the rate of a run under way
    Rate(RateArgs),
    /// List or settle the messages that may or may not have been sent
    Doubts(DoubtsArgs),
    /// Print a shell's completions
    Completions(CompletionsArgs),
    /// Print the manual page
    Man(ManArgs),
}

/// `run`, `plan`, `check`: routes and settings.
#[derive(Args, Clone, Debug, Default)]
pub struct RunArgs {
    /// Routes of the routes file [default: all]
    #[arg(value_name = "ROUTE")]
    pub routes: Vec<String>,
    /// The routes file.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Everything else.
    #[command(flatten)]
    pub settings: SettingArgs,
}

/// `explain`.
#[derive(Args, Clone, Debug, Default)]
pub struct ExplainArgs {
    /// Explain this time instead of now: 2026-11-23T08:00 (the window's zone), or with an offset
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// Routes and settings.
    #[command(flatten)]
    pub run: RunArgs,
}

/// `demo`.
#[cfg(feature = "local")]
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// Kill the worker part-way with SIGKILL, start it again, show what it settles
    #[arg(long)]
    pub kill: bool,
    /// Sample messages to move
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub messages: u64,
    /// Messages a second [default: no limit]
    #[arg(long, value_name = "N")]
    pub rate: Option<f64>,
    /// Delay of every answer of the endpoints
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub latency_ms: u64,
}

/// `local`.
#[cfg(feature = "local")]
#[derive(Args, Clone, Debug)]
pub struct LocalArgs {
    /// Port of the SQS endpoint; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 9324)]
    pub port: u16,
    /// Port of the DynamoDB endpoint; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 8000)]
    pub dynamodb_port: u16,
    /// Delay of every answer
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub latency_ms: u64,
    /// Keep the data here across restarts [default: in memory]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// `init`.
#[derive(Args, Clone, Debug, Default)]
pub struct InitArgs {
    /// The table.
    #[command(flatten)]
    pub target: TargetArgs,
}

/// `status`.
#[derive(Args, Clone, Debug, Default)]
pub struct StatusArgs {
    /// The run's id [default: the latest run of the routes asked for, or of --from]
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Print one JSON line in the shape of a run's result
    #[arg(long)]
    pub json: bool,
    /// Where it is.
    #[command(flatten)]
    pub target: TargetArgs,
}

/// `pause` and `resume`.
#[derive(Args, Clone, Debug, Default)]
pub struct RunTargetArgs {
    /// The run's id [default: the latest run of the routes asked for, or of --from]
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Where it is.
    #[command(flatten)]
    pub target: TargetArgs,
}

/// `rate`.
#[derive(Args, Clone, Debug)]
pub struct RateArgs {
    /// Messages a second over all shards together, or none
    #[arg(value_name = "N", allow_negative_numbers = true)]
    pub rate: String,
    /// The run's id [default: the latest run of the routes asked for, or of --from]
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Where it is.
    #[command(flatten)]
    pub target: TargetArgs,
}

/// `doubts`.
#[derive(Args, Clone, Debug)]
pub struct DoubtsArgs {
    /// What to do with them.
    #[command(subcommand)]
    pub command: DoubtsCommand,
}

/// The sub-commands of `doubts`.
#[derive(Subcommand, Clone, Debug)]
pub enum DoubtsCommand {
    /// List them
    List(DoubtsListArgs),
    /// Settle them, each once
    Settle(Box<DoubtsSettleArgs>),
}

/// `doubts list`.
#[derive(Args, Clone, Debug, Default)]
pub struct DoubtsListArgs {
    /// The run's id [default: the latest run of the routes asked for, or of --from]
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Print JSON, one doubt a line
    #[arg(long)]
    pub json: bool,
    /// Where it is.
    #[command(flatten)]
    pub target: TargetArgs,
}

/// `doubts settle`.
#[derive(Args, Clone, Debug, Default)]
#[command(group(clap::ArgGroup::new("action").required(true).args(["send", "drop"])))]
#[command(group(clap::ArgGroup::new("which").required(true).args(["ids", "all"])))]
pub struct DoubtsSettleArgs {
    /// Send them to the destination
    #[arg(long)]
    pub send: bool,
    /// With --send: also those sent by hand before whose answer was not seen; they may arrive twice
    #[arg(long, requires = "send")]
    pub again: bool,
    /// Drop them: they count as delivered
    #[arg(long)]
    pub drop: bool,
    /// All that are listed
    #[arg(long)]
    pub all: bool,
    /// Message ids
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
    /// Route of the routes file; needed when the file has several
    #[arg(long = "route", value_name = "ROUTE")]
    pub route: Option<String>,
    /// The routes file.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Everything else.
    #[command(flatten)]
    pub settings: SettingArgs,
}

/// `completions`.
#[derive(Args, Clone, Debug)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// `man`.
#[derive(Args, Clone, Debug, Default)]
pub struct ManArgs {
    /// Write one page for each sub-command into this directory
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

impl Cli {
    /// Reads a command line, program name first.
    ///
    /// # Errors
    /// clap's own: wrong usage (exit 2), or a request for help or version.
    pub fn read(
        args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<Cli, clap::Error> {
        let matches = command().try_get_matches_from(args)?;
        Cli::from_arg_matches(&matches)
    }
}

/// The command with every setting's environment variable in its help, and the exit codes at the end of that of `run`.
pub fn command() -> clap::Command {
    named().mut_subcommand("run", |run| run.after_help(exit_codes()))
}

fn named() -> clap::Command {
    name_variables(Cli::command())
}

fn exit_codes() -> String {
    let lines = ExitCode::ALL.map(|exit| format!("\n  {}  {}", exit.code(), exit.description()));
    format!("Exit codes:{}", lines.concat())
}

fn name_variables(command: clap::Command) -> clap::Command {
    command
        .mut_args(|arg| {
            let Some(long) = arg.get_long() else {
                return arg;
            };
            let name = long.replace('-', "_");
            let variable = match name.as_str() {
                "config" | "route" => env_name(&name),
                _ if KEYS.iter().any(|key| key.name == name) => env_name(&name),
                _ => return arg,
            };
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            arg.help(format!("{help} [env: {variable}]"))
        })
        .mut_subcommands(name_variables)
}

/// The part of the environment that this program looks at.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment"
)]
pub fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            let ours = name.starts_with(ENV_PREFIX) || name.starts_with("AWS_BATCH_");
            ours.then(|| (name, value.to_string_lossy().into_owned()))
        })
        .collect()
}

/// The SDK's own variables, as far as this program looks at what they say.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment"
)]
pub fn aws_environment() -> AwsEnvironment {
    let all = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        let text = value.to_string_lossy().into_owned();
        name.starts_with("AWS_").then_some((name, text))
    });
    AwsEnvironment::new(all.collect())
}

/// What was asked for, with the environment and the routes file read.
///
/// # Errors
/// A [`Refusal`] when the routes file cannot be read or is wrong.
fn request(
    asked: &[String],
    config: &ConfigArgs,
    flags: Settings,
    now: DateTime<Utc>,
) -> Result<Request, Refusal> {
    request_in(environment(), asked, config, flags, now)
}

/// What was asked for in this environment, with the routes file read.
///
/// # Errors
/// A [`Refusal`] when the routes file cannot be read or is wrong.
pub fn request_in(
    environment: Environment,
    asked: &[String],
    config: &ConfigArgs,
    flags: Settings,
    now: DateTime<Utc>,
) -> Result<Request, Refusal> {
    let file = match config_path(config, &environment) {
        Some(path) => Some(read_routes_file(&path)?),
        None => None,
    };
    Ok(Request {
        asked: asked.to_vec(),
        flags,
        environment,
        file,
        now,
    })
}

/// The routes file named by flag or, when that is absent, by `SQS_DRAIN_CONFIG`.
pub fn config_path(config: &ConfigArgs, environment: &Environment) -> Option<PathBuf> {
    let variable = || environment.get(&env_name("config")).map(PathBuf::from);
    config.config.clone().or_else(variable)
}

/// Reads a routes file.
///
/// # Errors
/// A [`Refusal`] when it cannot be read or is wrong.
pub fn read_routes_file(path: &Path) -> Result<RoutesFile, Refusal> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Refusal::new(
            format!("the routes file {name} cannot be read, {error}"),
            "name another with --config",
        )
    })?;
    RoutesFile::parse(&name, &text)
}

impl RunArgs {
    /// These arguments together with environment and routes file.
    ///
    /// # Errors
    /// A [`Refusal`] when the routes file cannot be read or is wrong.
    pub fn request(&self, now: DateTime<Utc>) -> Result<Request, Refusal> {
        request(&self.routes, &self.config, self.settings.settings(), now)
    }

    /// The validated plan.
    ///
    /// # Errors
    /// A [`Refusal`] for whatever is wrong first.
    pub fn plan(&self, now: DateTime<Utc>) -> Result<Plan, Refusal> {
        self.request(now)?.plan()
    }
}

impl DoubtsSettleArgs {
    /// These arguments together with environment and routes file.
    ///
    /// # Errors
    /// A [`Refusal`] when the routes file cannot be read or is wrong.
    pub fn request(&self, now: DateTime<Utc>) -> Result<Request, Refusal> {
        let asked: Vec<String> = self.route.iter().cloned().collect();
        request(&asked, &self.config, self.settings.settings(), now)
    }
}

impl TargetArgs {
    /// These arguments together with environment and routes file; for
    /// [`Request::locate`].
    ///
    /// # Errors
    /// A [`Refusal`] when the routes file cannot be read or is wrong.
    pub fn request(&self, now: DateTime<Utc>) -> Result<Request, Refusal> {
        request(&self.routes, &self.config, self.settings(), now)
    }
}

/// Writes a shell's completions.
///
/// # Errors
/// Those of the writer.
pub fn write_completions(shell: clap_complete::Shell, out: &mut dyn io::Write) -> io::Result<()> {
    // clap_complete panics when its writer fails, so it gets one that cannot.
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command(), "sqs-drain", &mut text);
    out.write_all(&text)
}

#[cfg(test)]
mod tests;
