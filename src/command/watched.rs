//! What a run that was joined says when nothing will move: that it is paused.

use std::cell::Cell;
use std::rc::Rc;

use super::connect::Real;
use super::words::command;
use crate::aws::clock::SystemClock;
use crate::drain::{Progress, Settings, Wiring};
use crate::port::Clock;

/// A route under way, as its progress shows it.
pub struct Watched {
    settings: Settings,
    table: Option<String>,
    clock: Rc<SystemClock>,
    seen: Cell<bool>,
}

impl Watched {
    /// A route that is about to be drained.
    pub fn new(settings: &Settings, wiring: &Wiring<Real>, table: Option<String>) -> Self {
        Self {
            settings: settings.clone(),
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
        let Some(run) = self.settings.run_id_at(self.clock.wall().local) else {
            return;
        };
        tracing::warn!(
            route = %self.settings.route,
            run,
            "the run is paused by hand, and nothing is sent until `{}`",
            command("resume", &run, table)
        );
    }
}
