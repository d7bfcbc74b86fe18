//! What a run under way says when nothing moves: that it is paused, and whom it waits for.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::connect::Real;
use super::words::command;
use crate::aws::clock::SystemClock;
use crate::aws::sqs::Queue;
use crate::drain::{Progress, Settings, Wiring};
use crate::message::Counts;
use crate::plan::ProcessPlan;
use crate::port::{Clock, Source};
use crate::window::Window;

/// How long nothing is received before the source is asked why.
const QUIET: Duration = Duration::from_secs(5);

/// At most once in so long it is said whom the run waits for.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// A route under way, as its progress shows it.
pub struct Watched {
    route: String,
    run_id: Option<String>,
    window: Window,
    table: Option<String>,
    visibility: Duration,
    /// Of the processes of a run one asks the source, so that a thousand do not.
    asks: bool,
    source: Rc<Queue>,
    clock: Rc<SystemClock>,
    last: Cell<Option<Progress>>,
}

impl Watched {
    /// A route that is about to be drained.
    pub fn new(
        process: &ProcessPlan,
        settings: &Settings,
        wiring: &Wiring<Real>,
        table: Option<String>,
    ) -> Self {
        Self {
            route: settings.route.clone(),
            run_id: settings.run_id.clone(),
            window: settings.window.clone(),
            table,
            visibility: settings.timings.visibility,
            asks: process.shard.index == 0,
            source: wiring.source.clone(),
            clock: wiring.clock.clone(),
            last: Cell::new(None),
        }
    }

    /// Takes note of the progress. Of a run that is paused already when it is joined it says so: its process would sit there silently.
    pub fn see(&self, progress: Progress) {
        let first = self.last.replace(Some(progress)).is_none();
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

    /// Says now and then that what is left in the source is in flight, where that is why nothing moves. Never ends.
    pub async fn tell_what_is_waited_for(&self) {
        if !self.asks {
            std::future::pending::<()>().await;
        }
        let mut before = None;
        loop {
            self.clock.sleep(QUIET).await;
            let now = self.last.get().filter(is_idle).map(|p| p.received);
            if now.is_some() && now == before {
                let counts = self.source.counts().await;
                if let Some(words) = counts.ok().and_then(|c| words(c, self.visibility)) {
                    tracing::info!(route = %self.route, "{words}");
                    self.clock.sleep(SAID_EVERY - QUIET).await;
                }
            }
            before = now;
        }
    }
}

/// Nothing is in hand, and nothing keeps it from receiving.
fn is_idle(progress: &Progress) -> bool {
    progress.in_hand == 0 && !progress.waiting
}

/// What is waited for, where that is what others had in hand.
fn words(counts: Counts, visibility: Duration) -> Option<String> {
    (counts.visible == 0 && counts.in_flight > 0).then(|| {
        format!(
            "waiting: {} messages are in flight in the source; what a process that died had in hand is visible again within {} s",
            counts.in_flight,
            visibility.as_secs_f64()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_in_flight_is_waited_for() {
        let of = |visible, in_flight| {
            let counts = Counts {
                visible,
                in_flight,
                ..Counts::default()
            };
            words(counts, Duration::from_secs(120))
        };
        assert_eq!(of(0, 0), None);
        assert_eq!(of(1, 510), None);
        let said = of(0, 510).expect("words");
        assert!(
            said.starts_with("waiting: 510 messages are in flight"),
            "{said}"
        );
        assert!(said.ends_with("within 120 s"), "{said}");
    }
}
