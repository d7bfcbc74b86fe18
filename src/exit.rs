//! The exit codes of `sqs-drain`, in one place.
//!
//! AWS Batch decides by these numbers whether a job is tried again: its
//! `evaluateOnExit` has room for five rules and retries what matches none, so
//! 1 to 5 end the job and everything else (6, 7, a panic, a SIGKILL, a lost
//! host) is retried.

/// How a process ends: the number it exits with and what that number means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ExitCode {
    /// Everything that was owed has been moved.
    Drained = 0,
    /// Anything that none of the other codes describes.
    Failed = 1,
    /// Wrong usage or settings, or a failed preflight; nothing was received.
    Refused = 2,
    /// The window is shut, or the start came too late after its opening.
    OutsideWindow = 3,
    /// The window closed with messages left.
    WindowClosed = 4,
    /// The queue is drained, but messages were rejected or held.
    FinishedWithRejects = 5,
    /// Stopped by a signal, or superseded by another process.
    Interrupted = 6,
    /// AWS could not be reached, or permission was lost while running.
    Unavailable = 7,
}

impl ExitCode {
    /// Every code, in the order of its number.
    pub const ALL: [ExitCode; 8] = [
        ExitCode::Drained,
        ExitCode::Failed,
        ExitCode::Refused,
        ExitCode::OutsideWindow,
        ExitCode::WindowClosed,
        ExitCode::FinishedWithRejects,
        ExitCode::Interrupted,
        ExitCode::Unavailable,
    ];

    /// The number the process exits with.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The code with this number, if there is one.
    pub fn from_code(code: u8) -> Option<ExitCode> {
        Self::ALL.into_iter().find(|exit| exit.code() == code)
    }

    /// The one-word outcome that stands in the result (`"outcome"`).
    pub fn outcome(self) -> &'static str {
        match self {
            ExitCode::Drained => "drained",
            ExitCode::Failed => "failed",
            ExitCode::Refused => "refused",
            ExitCode::OutsideWindow => "outside_window",
            ExitCode::WindowClosed => "window_closed",
            ExitCode::FinishedWithRejects => "finished_with_rejects",
            ExitCode::Interrupted => "interrupted",
            ExitCode::Unavailable => "unavailable",
        }
    }

    /// What the code means, as the README and the job definitions say it.
    pub fn description(self) -> &'static str {
        match self {
            ExitCode::Drained => "drained",
            ExitCode::Failed => "anything else",
            ExitCode::Refused => "refused: usage, configuration, preflight",
            ExitCode::OutsideWindow => "not started: outside the window",
            ExitCode::WindowClosed => {
                "window closed with messages left (the next window continues)"
            }
            ExitCode::FinishedWithRejects => "finished, but messages were rejected or held",
            ExitCode::Interrupted => "interrupted or superseded, resumable",
            ExitCode::Unavailable => "AWS unavailable or permission lost, resumable",
        }
    }

    /// Whether starting the same command again is the right answer, so that a
    /// scheduler should retry it by itself.
    pub fn retryable(self) -> bool {
        matches!(self, ExitCode::Interrupted | ExitCode::Unavailable)
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(exit: ExitCode) -> Self {
        std::process::ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_the_documented_ones() {
        let numbers: Vec<u8> = ExitCode::ALL.iter().map(|exit| exit.code()).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7]);
        for exit in ExitCode::ALL {
            assert_eq!(ExitCode::from_code(exit.code()), Some(exit));
        }
        assert_eq!(ExitCode::from_code(8), None);
        assert_eq!(ExitCode::from_code(137), None);
    }

    #[test]
    fn only_six_and_seven_are_retried() {
        let retried: Vec<u8> = ExitCode::ALL
            .into_iter()
            .filter(|exit| exit.retryable())
            .map(ExitCode::code)
            .collect();
        assert_eq!(retried, [6, 7]);
    }
}
