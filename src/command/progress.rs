//! Progress on standard error: a moving line on a terminal.

use std::cell::Cell;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::drain::Progress;
use crate::plan;

/// A route's progress line; showing nothing where none is wanted.
pub struct Line {
    bar: ProgressBar,
    shown: Cell<u64>,
}

impl Line {
    /// A line for a route. `backlog`: how many messages the source said it holds.
    pub fn new(wanted: plan::Progress, route: &str, backlog: u64) -> Self {
        let show = match wanted {
            plan::Progress::Auto => std::io::stderr().is_terminal(),
            plan::Progress::Always => true,
            plan::Progress::Never => false,
        };
        let target = if show {
            ProgressDrawTarget::stderr_with_hz(8)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(backlog), target);
        let template = "{prefix} {bar:30} {pos}/{len} sent, {per_sec}, {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(route.to_owned());
        if show {
            // This starts a thread.
            bar.enable_steady_tick(Duration::from_millis(250));
        }
        Self {
            bar,
            shown: Cell::new(0),
        }
    }

    /// Shows where the route is.
    pub fn show(&self, progress: Progress) {
        if self.bar.is_hidden() {
            return;
        }
        let length = self.bar.length().unwrap_or_default();
        if progress.sent > length {
            self.bar.set_length(progress.sent);
        }
        if self.shown.replace(progress.sent) != progress.sent {
            self.bar.set_position(progress.sent);
        }
        let waiting = if progress.waiting { ", waiting" } else { "" };
        self.bar
            .set_message(format!("{} in hand{waiting}", progress.in_hand));
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.bar.abandon();
    }
}
