//! The contract on the embedded endpoints, over HTTP, with a clock moved by hand.

use std::future::Future;
use std::rc::Rc;

use sqs_drain::local::{self, ManualClock, Options};

use super::http::{Http, Time, run};
use super::{Difference, suite};

/// None: the embedded server is to be as AWS is.
const DIFFERENCES: &[Difference] = &[];

/// 2026-03-02 08:00:00 in Seoul.
const START_MS: u64 = 1_772_406_000_000;

/// Runs a clause against endpoints of its own.
fn on_embedded<F: Future<Output = ()>>(clause: impl FnOnce(Http) -> F) {
    run(async {
        let clock = ManualClock::new(START_MS);
        let options = Options {
            clock: clock.clock(),
            ..Options::ephemeral()
        };
        let endpoints = local::start(options).await.expect("the endpoints start");
        crate::record::watch(&endpoints);
        let time = Time::Manual(Rc::new(move |by| clock.advance(by)));
        let bench = Http::new(&endpoints.sqs_url, &endpoints.dynamo_url, time, DIFFERENCES).await;
        clause(bench).await;
    });
}

macro_rules! on_embedded {
    ($module:ident $clause:ident) => {
        #[test]
        fn $clause() {
            on_embedded(crate::contract::$module::$clause);
        }
    };
}
suite!(on_embedded);
