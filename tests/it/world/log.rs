//! What happened, in order: one compact line per port call, effect, answer and process event.

use std::fmt::Write;

/// The log of a world. Off, it costs nothing and changes nothing else: a failing seed is run again with it on.
#[derive(Default)]
pub struct Log {
    text: String,
    on: bool,
}

impl Log {
    /// A log that keeps lines when `on`.
    pub fn new(on: bool) -> Self {
        Self {
            text: String::new(),
            on,
        }
    }

    /// Whether lines are kept.
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// Appends one line under the virtual time `now_ms`.
    pub fn line(&mut self, now_ms: u64, what: std::fmt::Arguments<'_>) {
        if self.on {
            // Writing into a String cannot fail.
            let _ = writeln!(self.text, "{now_ms:>8} {what}");
        }
    }

    /// Everything so far.
    pub fn text(&self) -> &str {
        &self.text
    }
}
