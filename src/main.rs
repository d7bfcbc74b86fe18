//! `sqs-drain`: parses, runs the sub-command, exits with its code.

use std::process::ExitCode;

use sqs_drain::cli::Cli;
use sqs_drain::command;

// Half of what a loop over the AWS SDK costs is allocation.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    decline_huge_pages();
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        // clap prints help to standard output and errors, with exit code 2, to standard error.
        Err(error) => error.exit(),
    };
    ExitCode::from(command::run(cli).code())
}

/// The allocator asks the kernel for huge pages where they may be asked for. A working set of a few MB would then be counted in steps
/// of 2 MB: a quarter more resident for no time gained.
fn decline_huge_pages() {
    #[cfg(target_os = "linux")]
    // SAFETY: takes integers only. A kernel that does not know the request answers with an error, and nothing depends on it.
    unsafe {
        libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0);
    }
}
