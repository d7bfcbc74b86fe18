//! What a run that was joined says when nothing will move: that it is paused.

use std::cell::Cell;
use std::rc::Rc;

use super::connect::Real;
use super::words::command;
use crate::aws::clock::SystemClock;
use crate::drain::{Progress, Settings, Wiring};
use crate::port::Clock;
use crate::window::Window;

/// A route under way, as its progress shows it.
pub struct Watched {
    route: String,
    run_id: Option<String>,
    window: Window,
    table: Option<String>,
    clock: Rc<SystemClock>,
    seen: Cell<bool>,
}

impl Watched {
    /// A route that is about to be drained.
    pub fn new(settings: &Settings, wiring: &Wiring<Real>, table: Option<String>) -> Self {
        Self {
            route: settings.route.clone(),
            run_id: settings.run_id.clone(),
            window: settings.window.clone(),
            table,
            clock: wiring.clock.clone(),
            seen: Cell::new(false),
        }
    }

    /// Takes note of the progress. Of a run that is paused already when it is joined it says so: its process would sit there silently.
    pub fn see(&self, progress: Progress) {
        let first = !self.seen.replace(true);
        let (true, true, Some(table)) = (first, progress.paused, &self.table) else {
            return;
        };
        let Some(run) = self.run() else { return };
        tracing::warn!(
            route = %self.route,
            run,
            "the run is paused by hand, and nothing is sent until `{}`",
            command("resume", &run, table)
        );
    }

    /// The run's id, as the drain has it: that of this opening, unless one was given.
    fn run(&self) -> Option<String> {
        self.run_id.clone().or_else(|| {
            let opening = self.window.opening_id(self.clock.wall().local)?;
            Some(format!("{}@{opening}", self.route))
        })
    }
}
