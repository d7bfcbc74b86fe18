//! The contract on independent servers, so that the embedded one is not its own judge. `.ci/peers` installs and starts
//! them and runs these tests; by themselves they are ignored.

use std::env;
use std::future::Future;

use super::http::{Http, Time, run};
use super::{Difference, suite};

/// The server's URL, from the environment variable `.ci/peers` sets.
#[expect(clippy::disallowed_methods, reason = "the script's way to say it")]
fn url(variable: &str) -> String {
    match env::var(variable) {
        Ok(url) => url,
        Err(_) => panic!("{variable} is not set: run .ci/peers"),
    }
}

mod ministack {
    //! `ministack` (PyPI): SQS and DynamoDB.

    use super::*;

    /// As of 1.5.33. Its batch sends drop system attributes; single sends keep them.
    const DIFFERENCES: &[Difference] =
        &[Difference::SecondDeleteRefused, Difference::NoTraceHeader];

    fn on_peer<F: Future<Output = ()>>(clause: impl FnOnce(Http) -> F) {
        let url = url("SQS_DRAIN_PEER_MINISTACK");
        run(async { clause(Http::new(&url, &url, Time::Real, DIFFERENCES).await).await });
    }

    macro_rules! on_ministack {
        ($module:ident $clause:ident) => {
            #[test]
            #[ignore = "needs SQS_DRAIN_PEER_MINISTACK, see .ci/peers"]
            fn $clause() {
                on_peer(crate::contract::$module::$clause);
            }
        };
    }
    suite!(on_ministack);
}

mod elasticmq {
    //! ElasticMQ (Maven Central): SQS alone.

    use super::*;

    /// As of 1.7.1. It refuses characters that SQS does not allow with `InvalidAttributeValue`.
    const DIFFERENCES: &[Difference] = &[
        Difference::SecondDeleteRefused,
        Difference::RefusedUnderAnotherCode,
    ];

    fn on_peer<F: Future<Output = ()>>(clause: impl FnOnce(Http) -> F) {
        let url = url("SQS_DRAIN_PEER_ELASTICMQ");
        run(async { clause(Http::new(&url, "", Time::Real, DIFFERENCES).await).await });
    }

    macro_rules! on_elasticmq {
        (store $clause:ident) => {};
        ($module:ident $clause:ident) => {
            #[test]
            #[ignore = "needs SQS_DRAIN_PEER_ELASTICMQ, see .ci/peers"]
            fn $clause() {
                on_peer(crate::contract::$module::$clause);
            }
        };
    }
    suite!(on_elasticmq);
}
