//! Progress on standard error: a moving line on a terminal, and where that was asked for without one, a plain line every few seconds.

use std::cell::Cell;
use std::fmt;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::drain::Progress;
use crate::plan;

use super::words::a_second;

/// From one plain line to the next.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// Not at all.
    None,
    /// A line that moves.
    Moving,
    /// A line now and then, for a file or a collector of logs.
    Plain,
}

fn look(wanted: plan::Progress, terminal: bool) -> Look {
    match (wanted, terminal) {
        (plan::Progress::Never, _) | (plan::Progress::Auto, false) => Look::None,
        (_, true) => Look::Moving,
        (plan::Progress::Always, false) => Look::Plain,
    }
}

/// A route's progress line; showing nothing where none is wanted.
pub struct Line {
    look: Look,
    route: String,
    bar: ProgressBar,
    shown: Cell<u64>,
    /// When the last plain line was written, since the start.
    written: Cell<Option<Duration>>,
}

impl Line {
    /// A line for a route. `backlog`: how many messages the source said it holds.
    pub fn new(wanted: plan::Progress, route: &str, backlog: u64) -> Self {
        let look = look(wanted, std::io::stderr().is_terminal());
        let target = match look {
            Look::Moving => ProgressDrawTarget::stderr_with_hz(8),
            Look::None | Look::Plain => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(backlog), target);
        style(&bar, route);
        if look == Look::Moving {
            // This starts a thread.
            bar.enable_steady_tick(Duration::from_millis(250));
        }
        Self {
            look,
            route: route.to_owned(),
            bar,
            shown: Cell::new(0),
            written: Cell::new(None),
        }
    }

    /// Shows where the route is.
    pub fn show(&self, progress: Progress) {
        if self.look == Look::None {
            return;
        }
        let length = self.bar.length().unwrap_or_default();
        if progress.sent > length {
            self.bar.set_length(progress.sent);
        }
        if self.look == Look::Plain {
            if let Some(line) = self.plain(progress, self.bar.elapsed()) {
                // A closed standard error cannot be told that it is closed.
                let _ = writeln!(std::io::stderr(), "{line}");
            }
            return;
        }
        if self.shown.replace(progress.sent) != progress.sent {
            self.bar.set_position(progress.sent);
        }
        self.bar.set_message(rest(progress));
    }

    /// The plain line, where one is due so long after the start.
    fn plain(&self, progress: Progress, elapsed: Duration) -> Option<String> {
        let since = match self.written.get() {
            Some(written) if elapsed.saturating_sub(written) < PLAIN_EVERY => return None,
            Some(written) => elapsed.saturating_sub(written),
            None => Duration::ZERO,
        };
        self.written.set(Some(elapsed));
        let more = progress.sent - self.shown.replace(progress.sent).min(progress.sent);
        let speed = match more {
            0 => String::new(),
            _ if since.is_zero() => String::new(),
            more => format!(", {}/s", a_second(more as f64 / since.as_secs_f64())),
        };
        let length = self.bar.length().unwrap_or_default();
        Some(format!(
            "{} {}/{length} sent{speed}{}",
            self.route,
            progress.sent,
            rest(progress)
        ))
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
    let waiting = match (progress.paused, progress.waiting) {
        (true, _) => ", paused",
        (false, true) => ", waiting",
        (false, false) => "",
    };
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

    #[test]
    fn a_paused_run_says_so() {
        let paused = Progress {
            in_hand: 7,
            waiting: true,
            paused: true,
            ..Progress::default()
        };
        assert_eq!(rest(paused), ", 7 in hand, paused");
    }

    #[test]
    fn without_a_terminal_only_always_shows_anything() {
        use plan::Progress::{Always, Auto, Never};
        for (wanted, terminal, expected) in [
            (Auto, true, Look::Moving),
            (Auto, false, Look::None),
            (Always, true, Look::Moving),
            (Always, false, Look::Plain),
            (Never, true, Look::None),
            (Never, false, Look::None),
        ] {
            assert_eq!(look(wanted, terminal), expected, "{wanted:?} {terminal}");
        }
    }

    #[test]
    fn a_plain_line_comes_every_few_seconds() {
        let line = Line::new(plan::Progress::Never, "sms", 500);
        let at = |ms, sent| {
            let progress = Progress {
                sent,
                in_hand: 3,
                ..Progress::default()
            };
            line.plain(progress, Duration::from_millis(ms))
        };
        assert_eq!(at(250, 0).as_deref(), Some("sms 0/500 sent, 3 in hand"));
        assert_eq!(at(5_200, 90), None);
        assert_eq!(
            at(5_250, 100).as_deref(),
            Some("sms 100/500 sent, 20/s, 3 in hand")
        );
        assert_eq!(at(5_500, 100), None);
        assert_eq!(
            at(10_250, 100).as_deref(),
            Some("sms 100/500 sent, 3 in hand")
        );
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
