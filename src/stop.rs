//! Why and how a drain stops. The first reason stands, except that the reasons which forbid even the clean-up replace the others.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::sync::Notify;

/// Why a route stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The run is over: the queue is drained, or nothing older than the cut-off is left. What is in hand is finished.
    Ended,
    /// SIGTERM or SIGINT.
    Interrupted,
    /// The window closes.
    WindowClosed,
    /// AWS is out of reach for good or a permission is gone; the words say which.
    Unavailable(String),
    /// This process was fenced or swept by another: it must send nothing and touch nothing any more.
    Superseded,
    /// A fault of this program.
    Failed(String),
}

impl Reason {
    /// One word for logs, the table and the result.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Interrupted => "interrupted",
            Self::WindowClosed => "window_closed",
            Self::Unavailable(_) => "unavailable",
            Self::Superseded => "superseded",
            Self::Failed(_) => "failed",
        }
    }

    /// Whether what is in hand must be left as it is.
    pub fn forbids_touching(&self) -> bool {
        matches!(self, Self::Superseded)
    }

    fn outranks(&self, other: &Self) -> bool {
        let rank = |r: &Self| match r {
            Self::Ended => 0,
            Self::Interrupted | Self::WindowClosed | Self::Unavailable(_) => 1,
            Self::Failed(_) => 2,
            Self::Superseded => 3,
        };
        rank(self) > rank(other)
    }
}

/// The shared stop switch of one route.
///
/// Not a `watch` channel: that one wakes its waiters in a random order, and a seed of the simulation must give one log.
#[derive(Clone, Default)]
pub struct Stop(Rc<Switch>);

#[derive(Default)]
struct Switch {
    reason: RefCell<Option<Reason>>,
    changed: Notify,
}

impl Stop {
    /// Asks for a stop. True: this reason is now the one in force.
    pub fn request(&self, reason: Reason) -> bool {
        let mut current = self.0.reason.borrow_mut();
        if current.as_ref().is_some_and(|c| !reason.outranks(c)) {
            return false;
        }
        *current = Some(reason);
        self.0.changed.notify_waiters();
        true
    }

    /// The reason in force.
    pub fn reason(&self) -> Option<Reason> {
        self.0.reason.borrow().clone()
    }

    fn is(&self, wanted: impl Fn(&Reason) -> bool) -> bool {
        self.0.reason.borrow().as_ref().is_some_and(wanted)
    }

    /// Whether anything asked for a stop.
    pub fn is_requested(&self) -> bool {
        self.is(|_| true)
    }

    /// Whether what is in hand unsent must not be sent any more.
    pub fn forbids_sending(&self) -> bool {
        self.is(|r| *r != Reason::Ended)
    }

    /// Whether nothing may be touched any more.
    pub fn forbids_touching(&self) -> bool {
        self.is(Reason::forbids_touching)
    }

    async fn until(&self, wanted: impl Fn(&Reason) -> bool) {
        loop {
            // Made before the look: a change in between is not missed.
            let changed = self.0.changed.notified();
            if self.is(&wanted) {
                return;
            }
            changed.await;
        }
    }

    /// Waits for a stop of any kind.
    pub async fn requested(&self) {
        self.until(|_| true).await;
    }

    /// Waits for a stop that forbids sending.
    pub async fn sending_forbidden(&self) {
        self.until(|r| *r != Reason::Ended).await;
    }

    /// Waits until nothing may be touched any more.
    pub async fn touching_forbidden(&self) {
        self.until(Reason::forbids_touching).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_stands_unless_a_graver_one_comes() {
        let stop = Stop::default();
        assert!(stop.request(Reason::Ended));
        assert!(!stop.forbids_sending());
        assert!(stop.request(Reason::Interrupted));
        assert!(!stop.request(Reason::WindowClosed));
        assert_eq!(stop.reason(), Some(Reason::Interrupted));
        assert!(stop.request(Reason::Superseded));
        assert!(!stop.request(Reason::Failed("x".into())));
        assert!(stop.forbids_touching());
    }
}
