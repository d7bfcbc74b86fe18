//! `sqs-drain`: parses, runs the sub-command, exits with its code.

use std::process::ExitCode;

use sqs_drain::cli::Cli;
use sqs_drain::command;

// Half of what a loop over the AWS SDK costs is allocation.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        // clap prints help to standard output and errors, with exit code 2, to standard error.
        Err(error) => error.exit(),
    };
    ExitCode::from(command::run(cli).code())
}
