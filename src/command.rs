//! The sub-commands: the only place where settings, adapters and the drain meet.

use std::io::{IsTerminal, Write};

use crate::cli::{self, Cli, Command};
use crate::exit::ExitCode;
use crate::plan::{LogFormat, LogLevel, Refusal};

mod access;
mod check;
mod connect;
#[cfg(feature = "local")]
mod demo;
mod doubts;
mod drain;
mod explain;
mod init;
#[cfg(feature = "local")]
mod local;
mod look;
pub mod notify;
mod plan;
mod progress;
mod signals;
mod status;
mod steer;
mod target;
mod watched;
mod words;

/// Why a sub-command did not do its work: one line for people, and the exit code.
#[derive(Debug)]
pub struct Failure {
    /// How the process exits.
    pub exit: ExitCode,
    /// What is wrong and what to do; empty when nobody is there to read it.
    pub line: String,
}

impl Failure {
    /// A failure with this exit code.
    pub fn new(exit: ExitCode, line: impl Into<String>) -> Self {
        Self {
            exit,
            line: line.into(),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.exit_code(), refusal.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        // Whoever read what is written here has gone (`| head`): not a thing to complain of.
        let line = match error.kind() {
            std::io::ErrorKind::BrokenPipe => String::new(),
            _ => error.to_string(),
        };
        Self::new(ExitCode::Failed, line)
    }
}

/// Writes to standard output. A reader that has gone (`| head`) has read what it wanted.
///
/// # Errors
/// Anything else that keeps it from being written.
fn print(text: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Runs a sub-command to its end. What went wrong stands on standard error when this returns.
pub fn run(cli: Cli) -> ExitCode {
    match dispatch(cli) {
        Ok(exit) => exit,
        Err(failure) => {
            if !failure.line.is_empty() {
                // A closed standard error cannot be told that it is closed.
                let _ = writeln!(std::io::stderr(), "sqs-drain: {}", failure.line);
            }
            failure.exit
        }
    }
}

fn dispatch(cli: Cli) -> Result<ExitCode, Failure> {
    match cli.command {
        Command::Run(args) => drain::run(&args),
        #[cfg(feature = "local")]
        Command::Demo(args) => demo::demo(&args),
        #[cfg(feature = "local")]
        Command::Local(args) => local::local(&args),
        Command::Completions(args) => {
            let mut text = Vec::new();
            cli::write_completions(args.shell, &mut text)?;
            print(&text)?;
            Ok(ExitCode::Drained)
        }
        Command::Man(args) => {
            let mut page = Vec::new();
            cli::write_man(args.out.as_deref(), &mut page)?;
            print(&page)?;
            Ok(ExitCode::Drained)
        }
        Command::Init(args) => init::init(&args),
        Command::Plan(args) => plan::plan(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::Check(args) => check::check(&args),
        Command::Status(args) => status::status(&args),
        Command::Pause(args) => steer::pause(&args, true),
        Command::Resume(args) => steer::pause(&args, false),
        Command::Rate(args) => steer::rate(&args),
        Command::Doubts(args) => doubts::doubts(&args),
    }
}

/// The time of day, for what is decided before there are ports.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place of the sub-commands that asks the machine"
)]
fn now() -> chrono::DateTime<chrono::Utc> {
    chrono::Utc::now()
}

/// A single-threaded runtime: a process's work is requests under way, not computing, and one thread needs no locks.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Into::into)
}

/// Sends log lines to standard error: JSON where nobody watches, text on a terminal.
fn start_log(format: LogFormat, level: LogLevel) {
    use tracing_subscriber::filter::LevelFilter;
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let terminal = std::io::stderr().is_terminal();
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    // Of the libraries only what goes wrong is of interest, and never their requests: those hold message bodies.
    let filter = tracing_subscriber::filter::Targets::new()
        .with_default(LevelFilter::ERROR)
        .with_target("sqs_drain", level);
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    // A second subscriber can only be one of a test's.
    let _ = if json {
        registry.with(layer.json()).try_init()
    } else {
        registry.with(layer.with_ansi(terminal)).try_init()
    };
}
