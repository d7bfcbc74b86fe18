//! `demo`: the embedded endpoints, sample messages, and the same worker as `run`.
use super::Failure;
use crate::cli::DemoArgs;
use crate::exit::ExitCode;

/// `sqs-drain demo`.
pub fn demo(_args: &DemoArgs) -> Result<ExitCode, Failure> {
    Err(Failure::new(ExitCode::Failed, "not built yet"))
}
