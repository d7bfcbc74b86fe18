//! Progress on standard error: a moving line on a terminal.

use std::cell::Cell;
use std::fmt;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::drain::Progress;
use crate::plan;

use super::words::a_second;

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
        style(&bar, route);
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
        self.bar.set_message(rest(progress));
    }
}

fn style(bar: &ProgressBar, route: &str) {
    let template = "{prefix} {bar:30} {pos}/{len} sent{speed}{msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.with_key("speed", speed));
    }
    bar.set_prefix(route.to_owned());
}

/// What follows the figures.
fn rest(progress: Progress) -> String {
    let waiting = if progress.waiting { ", waiting" } else { "" };
    match progress.in_hand {
        0 => waiting.to_owned(),
        n => format!(", {n} in hand{waiting}"),
    }
}

/// The speed, as soon as there is one.
fn speed(state: &ProgressState, out: &mut dyn fmt::Write) {
    let speed = a_second(state.per_sec());
    if speed != "0" {
        // A line that cannot be shown is not shown.
        let _ = write!(out, ", {speed}/s");
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.bar.abandon();
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use indicatif::TermLike;

    use super::*;

    #[test]
    fn what_is_none_is_not_shown() {
        let of = |in_hand, waiting| {
            rest(Progress {
                in_hand,
                waiting,
                ..Progress::default()
            })
        };
        assert_eq!(of(0, false), "");
        assert_eq!(of(0, true), ", waiting");
        assert_eq!(of(30, true), ", 30 in hand, waiting");
    }

    /// Keeps what is written.
    #[derive(Clone, Debug, Default)]
    struct Screen(Arc<Mutex<String>>);

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            100
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().expect("text").push_str(text);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_has_sent_nothing_shows_no_speed() {
        let screen = Screen::default();
        let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
        let bar = ProgressBar::with_draw_target(Some(200), target);
        style(&bar, "wait");
        bar.tick();
        let shown = screen.0.lock().expect("text").clone();
        assert!(shown.trim_end().ends_with(" 0/200 sent"), "{shown:?}");
    }
}
