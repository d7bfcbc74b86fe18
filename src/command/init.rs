//! `init`: creates the checkpoint table; doing so again changes nothing.

use std::io::Write;

use super::connect::table_failure;
use super::{Failure, now, runtime, start_log, target};
use crate::cli::InitArgs;
use crate::exit::ExitCode;
use crate::plan::{LogFormat, LogLevel};

/// `sqs-drain init`.
pub fn init(args: &InitArgs) -> Result<ExitCode, Failure> {
    let located = args.target.request(now())?.locate()?;
    start_log(LogFormat::Auto, LogLevel::Warn);
    runtime()?.block_on(async {
        let table = &located.table;
        let clients = target::aws(&located).await?.clients();
        let failed = |error| table_failure(table, &error);
        let before = clients.describe_table(table).await.map_err(failed)?;
        let created = clients.create_table(table).await.map_err(failed)?;
        let done = match before.and_then(|facts| facts.expires) {
            _ if created => "created: on demand, items expire by expires_at",
            Some(true) => "is there already: nothing to do",
            _ => "is there already: switched on that items expire by expires_at",
        };
        writeln!(std::io::stderr(), "sqs-drain: the table '{table}' {done}")?;
        Ok(ExitCode::Drained)
    })
}
