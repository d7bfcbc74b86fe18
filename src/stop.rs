//! Why and how a drain stops. The first reason stands, except that the reasons which forbid even the clean-up replace the others.

use std::rc::Rc;

use tokio::sync::watch;

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
#[derive(Clone)]
pub struct Stop(Rc<watch::Sender<Option<Reason>>>);

impl Default for Stop {
    fn default() -> Self {
        Self(Rc::new(watch::Sender::new(None)))
    }
}

impl Stop {
    /// Asks for a stop. True: this reason is now the one in force.
    pub fn request(&self, reason: Reason) -> bool {
        self.0.send_if_modified(|current| {
            if current.as_ref().is_none_or(|c| reason.outranks(c)) {
                *current = Some(reason);
                true
            } else {
                false
            }
        })
    }

    /// The reason in force.
    pub fn reason(&self) -> Option<Reason> {
        self.0.borrow().clone()
    }

    /// Whether anything asked for a stop.
    pub fn is_requested(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Whether what is in hand unsent must not be sent any more.
    pub fn forbids_sending(&self) -> bool {
        self.0
            .borrow()
            .as_ref()
            .is_some_and(|r| *r != Reason::Ended)
    }

    /// Whether nothing may be touched any more.
    pub fn forbids_touching(&self) -> bool {
        self.0
            .borrow()
            .as_ref()
            .is_some_and(Reason::forbids_touching)
    }

    async fn until(&self, wanted: impl Fn(&Reason) -> bool) {
        let mut seen = self.0.subscribe();
        // The sender lives as long as `self`: the wait cannot fail.
        let _ = seen.wait_for(|r| r.as_ref().is_some_and(&wanted)).await;
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
