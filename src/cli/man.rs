//! The manual pages.

use std::io::{self, Write};
use std::path::Path;

use super::named;
use crate::exit::ExitCode;

/// Writes the manual page, or one page for each sub-command into `directory`.
///
/// # Errors
/// Those of the writer or the directory.
pub fn write_man(directory: Option<&Path>, out: &mut dyn Write) -> io::Result<()> {
    let mut command = named();
    // Sub-commands know their whole names only then.
    command.build();
    let command = with_usage(command);
    let Some(directory) = directory else {
        clap_mangen::Man::new(command).render(out)?;
        return out.write_all(exit_status().as_bytes());
    };
    std::fs::create_dir_all(directory)?;
    clap_mangen::generate_to(command, directory)?;
    for page in ["sqs-drain.1", "sqs-drain-run.1"] {
        let mut page = std::fs::OpenOptions::new()
            .append(true)
            .open(directory.join(page))?;
        page.write_all(exit_status().as_bytes())?;
    }
    Ok(())
}

/// The synopsis as the help has it: the generator's own lists every flag, and none with its value.
fn with_usage(mut command: clap::Command) -> clap::Command {
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim().to_owned();
    command.override_usage(usage).mut_subcommands(with_usage)
}

/// The section on exit codes (man-pages(7), "EXIT STATUS").
fn exit_status() -> String {
    let codes = ExitCode::ALL.map(|exit| {
        format!(
            ".TP\n\\fB{}\\fR\n{}\n",
            exit.code(),
            exit.description().replace('-', "\\-")
        )
    });
    format!(".SH EXIT STATUS\n{}", codes.concat())
}
