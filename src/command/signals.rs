//! SIGTERM and SIGINT: the first asks for a clean stop, the second leaves at once.

use tokio::signal::unix::{SignalKind, signal};

use crate::exit::ExitCode;

/// Waits for the first SIGTERM or SIGINT; from then on the next one ends the process at once.
///
/// # Errors
/// When the handlers cannot be installed.
pub async fn first() -> std::io::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        std::process::exit(i32::from(ExitCode::Interrupted.code()));
    });
    Ok(())
}
