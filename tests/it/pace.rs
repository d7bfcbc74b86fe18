//! The pacer on a machine that is always late: what was late is made good, no second has more than the rate and the burst, and
//! time in which nobody asked is no credit.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use sqs_drain::pace::{Pacer, share_of};
use sqs_drain::port::{Clock, Moment, WallTimes};

use crate::world::rng::Rng;

/// A clock by which every sleep ends late.
struct Late {
    now: Cell<Moment>,
    chance: RefCell<Rng>,
    /// The usual lateness, in milliseconds, at most.
    late_ms: u64,
    /// The lateness once in a hundred times, in milliseconds.
    stall_ms: u64,
    /// The lateness of the next one beside.
    once: Cell<Duration>,
}

impl Late {
    fn new(late_ms: u64, stall_ms: u64) -> Rc<Self> {
        Rc::new(Self {
            now: Cell::new(Moment(Duration::from_secs(1_000))),
            chance: RefCell::new(Rng::new(7)),
            late_ms,
            stall_ms,
            once: Cell::default(),
        })
    }

    fn pass(&self, time: Duration) {
        self.now.set(self.now.get().after(time));
    }
}

impl Clock for Late {
    fn now(&self) -> Moment {
        self.now.get()
    }

    fn wall(&self) -> WallTimes {
        WallTimes {
            local: chrono::DateTime::UNIX_EPOCH,
            service: None,
        }
    }

    async fn sleep(&self, duration: Duration) {
        // Whoever else is asking gets in line meanwhile.
        tokio::task::yield_now().await;
        let mut chance = self.chance.borrow_mut();
        let late_ms = match chance.chance(100) {
            true => self.stall_ms,
            false => chance.between(0, self.late_ms),
        };
        self.pass(duration + Duration::from_millis(late_ms) + self.once.take());
    }

    fn random(&self) -> u64 {
        0
    }
}

/// Lets `batches` of ten through, asked for at once and served one after the other; answers with when each was.
async fn served(pacer: &Pacer<Late>, clock: &Late, batches: usize) -> Vec<Moment> {
    let one = || async {
        pacer.take(10).await;
        clock.now()
    };
    futures::future::join_all((0..batches).map(|_| one())).await
}

/// The most messages in any second.
fn busiest(times: &[Moment]) -> usize {
    let second = Duration::from_secs(1);
    let within = |i: usize| {
        let from = times[i];
        times[i..]
            .iter()
            .take_while(|t| t.since(from) < second)
            .count()
    };
    (0..times.len()).map(|i| within(i) * 10).max().unwrap_or(0)
}

#[tokio::test]
async fn what_is_late_is_made_good_and_no_second_has_too_many() {
    // A bucket that forgot what was late would come to 447/s by 5 ms, and to 320/s by 20. More than the burst a second cannot be
    // made good: no second has more than the rate and the burst.
    for (late_ms, stall_ms, least) in [
        (0, 0, 495.0),
        (5, 5, 495.0),
        (10, 50, 490.0),
        (20, 200, 480.0),
        (40, 300, 440.0),
    ] {
        let clock = Late::new(late_ms, stall_ms);
        let pacer = Pacer::new(clock.clone());
        pacer.set(share_of(Some(500.0)), 10);
        let times = served(&pacer, &clock, 1_000).await;
        let took = times[999].since(times[0]).as_secs_f64();
        let average = 9_990.0 / took;
        assert!(
            (least..=505.0).contains(&average),
            "{average}/s, {late_ms} ms late"
        );
        assert!(
            busiest(&times) <= 510,
            "{}, {late_ms} ms late",
            busiest(&times)
        );
    }
}

#[tokio::test]
async fn a_stall_of_many_seconds_is_made_good_for_one_second_only() {
    let clock = Late::new(0, 0);
    let pacer = Pacer::new(clock.clone());
    pacer.set(share_of(Some(100.0)), 10);
    served(&pacer, &clock, 50).await;
    clock.once.set(Duration::from_secs(20));
    let times = served(&pacer, &clock, 150).await;
    assert!(busiest(&times) <= 110, "{}", busiest(&times));
    // 1,490 after the first, of which one second's 100 and the burst need not be waited for.
    let took = times[149].since(times[0]).as_secs_f64();
    assert!((13.7..14.0).contains(&took), "1,500 in {took} s");
}

#[tokio::test]
async fn time_in_which_nobody_asks_is_no_credit() {
    let clock = Late::new(0, 0);
    let pacer = Pacer::new(clock.clone());
    pacer.set(share_of(Some(100.0)), 10);
    served(&pacer, &clock, 10).await;
    clock.pass(Duration::from_secs(60));
    let times = served(&pacer, &clock, 10).await;
    let took = times[9].since(times[0]);
    assert!(took >= Duration::from_millis(899), "{took:?}");
}

#[tokio::test]
async fn a_lowered_share_is_free_a_second_later_and_a_follower_holds_for_one() {
    let clock = Late::new(0, 0);
    let pacer = Pacer::new(clock.clone());
    pacer.set(share_of(Some(500.0)), 10);
    served(&pacer, &clock, 100).await;
    pacer.set(share_of(Some(100.0)), 10);
    assert_eq!((pacer.share(), pacer.share_lately()), (100_000, 500_000));
    clock.pass(Duration::from_millis(500));
    pacer.set(share_of(Some(200.0)), 10);
    clock.pass(Duration::from_millis(499));
    assert_eq!(pacer.share_lately(), 500_000);
    assert_eq!(pacer.settles_in(), Duration::from_millis(1));
    clock.pass(Duration::from_millis(1));
    assert_eq!((pacer.share(), pacer.share_lately()), (200_000, 200_000));

    let follower = Pacer::new(clock.clone());
    let began = clock.now();
    follower.hold_a_second();
    follower.set(share_of(Some(500.0)), 10);
    let times = served(&follower, &clock, 2).await;
    assert!(times[0].since(began) >= Duration::from_secs(1));
    assert!(times[1].since(times[0]) >= Duration::from_millis(19));
}
